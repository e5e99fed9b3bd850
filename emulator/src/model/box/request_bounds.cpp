// SPDX-License-Identifier: Apache-2.0
#include "model/box/request_bounds.h"

namespace godbox::emulator::model {

RequestBounds::RequestBounds(const Shape& shape, const PsPerByte& ps_per_byte)
    : shape_(shape), ps_per_byte_(ps_per_byte), slowness_(shape.channels, 1.0) {
  const std::uint32_t super_nics = shape.channels / shape.channels_per_super_nic;
  const std::array<std::size_t, 6> members{shape.channels,
                                           shape.channels,
                                           super_nics,
                                           std::size_t{super_nics} * shape.ports_per_super_nic,
                                           std::size_t{shape.hosts} * shape.nics_per_host,
                                           std::size_t{shape.hosts} * shape.nics_per_host};
  free_[kDram].resize(members[0]);
  for (std::size_t i = 1; i < members.size(); ++i) {
    free_[of_flow(static_cast<StageIndex>(2 * i - 1), false)].resize(members[i]);
    free_[of_flow(static_cast<StageIndex>(2 * i - 1), true)].resize(members[i]);
  }
}

std::uint64_t RequestBounds::bytes_of(const BoxRequest& request, std::uint32_t channel) const {
  const std::uint64_t strip = shape_.strip_bytes;
  const std::uint64_t whole = request.size.count() / strip;
  // Of the request's strips, the first that is on this channel.
  const std::uint64_t first =
      (channel + shape_.channels - request.first_channel % shape_.channels) % shape_.channels;
  const std::uint64_t strips = whole > first ? (whole - first - 1) / shape_.channels + 1 : 0;
  return strips * strip + (whole % shape_.channels == first ? request.size.count() % strip : 0);
}

void RequestBounds::book(StageIndex stage, std::size_t member, double work_ps, std::uint64_t at_ps,
                         Latest& latest) {
  std::uint64_t& free = free_[stage][member];
  free = std::max(free, at_ps) + rounded(work_ps);
  if (free > latest.end_ps) {
    latest = {free, stage};
  }
}

std::optional<StageIndex> RequestBounds::book(const BoxRequest& request, std::uint64_t at_ps,
                                              std::uint64_t delay_ps) {
  const bool is_write = request.is_write;
  const auto of = [is_write](StageIndex read) { return of_flow(read, is_write); };
  const auto work = [&](StageIndex stage, double bytes) {
    return bytes * ps_per_byte_[stage][is_write ? 1 : 0];
  };
  Latest latest{at_ps + delay_ps, std::nullopt};
  for (std::uint32_t first = 0; first < shape_.channels; first += shape_.channels_per_super_nic) {
    double bytes = 0;
    for (std::uint32_t i = first; i < first + shape_.channels_per_super_nic; ++i) {
      const auto of_channel = static_cast<double>(bytes_of(request, i));
      book(kDram, i, work(kDram, of_channel) * slowness_[i], at_ps, latest);
      book(of(kLinkRead), i, work(of(kLinkRead), of_channel) * slowness_[i], at_ps, latest);
      bytes += of_channel;
    }
    const std::uint32_t super_nic = first / shape_.channels_per_super_nic;
    book(of(kPathRead), super_nic, work(of(kPathRead), bytes), at_ps, latest);
    const std::uint32_t ports = shape_.ports_per_super_nic;
    for (std::uint32_t i = super_nic * ports; i < (super_nic + 1) * ports; ++i) {
      book(of(kPortRead), i, work(of(kPortRead), bytes / ports), at_ps, latest);
    }
  }
  const std::uint32_t nics = shape_.nics_per_host;
  const double bytes = static_cast<double>(request.size.count()) / nics;
  for (std::uint32_t i = request.host * nics; i < (request.host + 1) * nics; ++i) {
    book(of(kNicRead), i, work(of(kNicRead), bytes), at_ps, latest);
    book(of(kPcieRead), i, work(of(kPcieRead), bytes), at_ps, latest);
  }
  return latest.stage;
}

}  // namespace godbox::emulator::model
