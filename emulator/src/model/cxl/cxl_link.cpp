// SPDX-License-Identifier: Apache-2.0
#include "model/cxl/flit_packer.h"
#include "model/cxl/link_direction.h"

#include <fmt/format.h>

#include <algorithm>

namespace godbox::emulator::model {
namespace {

Error invalid(std::string text) { return {Errc::config_invalid, std::move(text)}; }

// Lines of an endless mix, spread evenly: which of their messages have data in one direction.
class LineMix {
 public:
  LineMix(CxlDirection direction, double read_share)
      : reads_have_data_(direction == CxlDirection::s2m), read_share_(read_share) {}
  bool next_has_data() {
    reads_due_ += read_share_;
    const bool is_read = reads_due_ >= 1;
    reads_due_ -= is_read ? 1 : 0;
    return is_read == reads_have_data_;
  }

 private:
  bool reads_have_data_;
  double read_share_;
  double reads_due_ = 0;
};

// Lines per flit of one direction, long enough that what is cut off at the ends is below 0.1 %.
double lines_per_flit(const CxlLinkSpec& spec, CxlDirection direction, double read_share) {
  constexpr std::uint32_t kFlits = 8000;
  constexpr std::uint32_t kWarmUp = 200;
  constexpr std::size_t kBacklog = 64;
  FlitPacker packer(spec, direction);
  LineMix mix(direction, read_share);
  std::uint64_t done = 0;
  for (std::uint32_t i = 0; i < kFlits + kWarmUp; ++i) {
    while (packer.waiting() < kBacklog) {
      packer.push(mix.next_has_data(), 0);
    }
    CxlCredits credits{kBacklog, kBacklog};
    const PackedFlit flit = packer.pack(credits);
    done += i < kWarmUp ? 0 : flit.plain_count + flit.line_count;
  }
  return static_cast<double>(done) / kFlits;
}

// Messages per nanosecond of one direction whose receiver frees each buffer `hold_ns` after its
// message; of a mix of lines each has one message in either direction.
double lines_per_ns(const CxlLinkSpec& spec, CxlDirection direction, double read_share,
                    double hold_ns) {
  constexpr std::uint32_t kLines = 20'000;
  LinkDirection link(spec, direction);
  LineMix mix(direction, read_share);
  for (std::uint32_t i = 0; i < kLines; ++i) {
    link.push(mix.next_has_data(), i, 0);
  }
  double first_ns = 0;
  double last_ns = 0;
  for (std::uint32_t done = 0; done < kLines;) {
    link.send([&](std::uint32_t, bool has_data, double at_ns) {
      link.give_credit(has_data, at_ns + hold_ns + link.credit_return_ns());
      first_ns = done == 0 ? at_ns : first_ns;
      last_ns = at_ns;
      ++done;
    });
  }
  return (kLines - 1) / (last_ns - first_ns);
}

}  // namespace

Result<void> validate(const CxlLinkSpec& spec) {
  if (spec.lanes != 4 && spec.lanes != 8 && spec.lanes != 16) {
    return invalid(fmt::format("link.lanes = {}: allowed are 4, 8, 16", spec.lanes));
  }
  if (spec.flit_bytes != 68 && spec.flit_bytes != 256) {
    return invalid(fmt::format("link.flit_bytes = {}: allowed are 68, 256", spec.flit_bytes));
  }
  if (spec.generation == PcieGeneration::gen6 && spec.flit_bytes == 68) {
    return invalid(
        "link.flit_bytes = 68: allowed is 256 with link.generation = \"gen6\"; 64 GT/s has no "
        "flits of 68 bytes");
  }
  if (!(spec.crossing_ns >= 0 && spec.crossing_ns <= 1000)) {
    return invalid(fmt::format("link.crossing_ns = {}: allowed is 0 to 1000", spec.crossing_ns));
  }
  struct Credit {
    std::string_view key;
    std::uint32_t value;
  };
  for (const Credit& credit :
       {Credit{"request_credits", spec.request_credits},
        Credit{"write_credits", spec.write_credits}, Credit{"data_credits", spec.data_credits},
        Credit{"completion_credits", spec.completion_credits}}) {
    if (credit.value < 1 || credit.value > kLinkCreditsMax) {
      return invalid(fmt::format("link.{} = {}: allowed is 1 to {}", credit.key, credit.value,
                                 kLinkCreditsMax));
    }
  }
  return {};
}

Result<CxlLinkCeiling> cxl_link_ceiling(const CxlLinkSpec& spec, double read_share) {
  if (const Result<void> valid = validate(spec); !valid) {
    return valid.error();
  }
  if (!(read_share >= 0 && read_share <= 1)) {
    return invalid(fmt::format("read_share = {}: allowed is 0 to 1", read_share));
  }
  CxlLinkCeiling result;
  for (const CxlDirection direction : {CxlDirection::m2s, CxlDirection::s2m}) {
    result.lines_per_flit[static_cast<std::size_t>(direction)] =
        lines_per_flit(spec, direction, read_share);
  }
  const auto [m2s, s2m] = result.lines_per_flit;
  result.bound = m2s < s2m ? CxlDirection::m2s : CxlDirection::s2m;
  result.data = Rate(std::min(m2s, s2m) * 64 * 1e9 / spec.flit_ns());
  return result;
}

Result<CxlLinkRate> cxl_link_rate(const CxlLinkSpec& spec, double read_share,
                                  double device_hold_ns) {
  constexpr double kCutOff = 0.99;  // what the ends of a run of lines may cost
  const Result<CxlLinkCeiling> ceiling = cxl_link_ceiling(spec, read_share);
  if (!ceiling) {
    return ceiling.error();
  }
  const double per_ns = std::min(lines_per_ns(spec, CxlDirection::m2s, read_share, device_hold_ns),
                                 lines_per_ns(spec, CxlDirection::s2m, read_share, 0));
  const Rate data(per_ns * 64 * 1e9);
  const bool waits = data.bytes_per_second() < kCutOff * ceiling->data.bytes_per_second();
  return CxlLinkRate{waits ? data : ceiling->data, waits};
}

}  // namespace godbox::emulator::model
