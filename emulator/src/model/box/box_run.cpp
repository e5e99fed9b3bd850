// SPDX-License-Identifier: Apache-2.0
#include "model/box/box_engine.h"
#include <godbox/emulator/model/box_run.h>

#include <fmt/format.h>

#include <algorithm>

namespace godbox::emulator::model {
namespace {

constexpr std::uint32_t kInStepBytes = 1U << 20U;
constexpr std::uint32_t kPortsPerSuperNicMax = 64;

Error invalid(std::string text) { return {Errc::config_invalid, std::move(text)}; }

struct Count {
  std::string_view key;
  std::uint64_t value;
  std::uint64_t most;
  std::uint64_t least = 1;
};
Result<void> check(const Count& count) {
  if (count.value < count.least || count.value > count.most) {
    return invalid(fmt::format("{} = {}: allowed is {} to {}", count.key, count.value, count.least,
                               count.most));
  }
  return {};
}

Result<void> check_slow_channels(const BoxRunSpec& spec, std::uint64_t channels) {
  if (spec.in_step && !spec.slow_channels.empty()) {
    return invalid("slow_channels: in step no channel is slower than the others");
  }
  for (const SlowChannel& slow : spec.slow_channels) {
    if (slow.dram_channel >= channels) {
      return invalid(fmt::format("slow_channels: dram_channel = {}: allowed is 0 to {}",
                                 slow.dram_channel, channels - 1));
    }
    if (!(slow.rate_share > 0 && slow.rate_share <= 1)) {
      return invalid(
          fmt::format("slow_channels: rate_share = {}: allowed is above 0, to 1", slow.rate_share));
    }
  }
  return {};
}

Result<void> check(const BoxRunSpec& spec) {
  const std::uint64_t channels =
      std::uint64_t{spec.shape.super_nics} * spec.shape.dram_channels_per_super_nic;
  for (const Count& count :
       {Count{"super_nics", spec.shape.super_nics, kStripeChannelsMax},
        Count{"dram_channels_per_super_nic", spec.shape.dram_channels_per_super_nic,
              kStripeChannelsMax},
        Count{"super_nics x dram_channels_per_super_nic", channels, kStripeChannelsMax},
        Count{"eth_ports_per_super_nic", spec.shape.eth_ports_per_super_nic, kPortsPerSuperNicMax},
        Count{"hosts", spec.hosts, kHostsMax},
        Count{"nics_per_host", spec.nics_per_host, kNicsPerHostMax},
        Count{"strip_bytes", spec.rates.strip.count(), kStripMax.count(), kStripMin.count()}}) {
    if (Result<void> valid = check(count); !valid) {
      return valid;
    }
  }
  return check_slow_channels(spec, channels);
}

}  // namespace

Result<BoxRates> box_rates(const BoxModel& model, SizeBytes strip) {
  const Result<ChannelRates> read = channel_rates(model, false, strip);
  if (!read) {
    return read.error();
  }
  const Result<ChannelRates> write = channel_rates(model, true, strip);
  if (!write) {
    return write.error();
  }
  return BoxRates{.read = *read, .write = *write, .strip = strip};
}

BoxEngine::BoxEngine(const BoxRunSpec& spec)
    : spec_(spec),
      channels_(spec.in_step ? 1 : spec.shape.super_nics * spec.shape.dram_channels_per_super_nic),
      channels_per_super_nic_(spec.in_step ? 1 : spec.shape.dram_channels_per_super_nic),
      ports_(spec.in_step ? 1 : spec.shape.super_nics * spec.shape.eth_ports_per_super_nic),
      ports_per_super_nic_(spec.in_step ? 1 : spec.shape.eth_ports_per_super_nic),
      nics_(spec.hosts * (spec.in_step ? 1 : spec.nics_per_host)),
      nics_per_host_(spec.in_step ? 1 : spec.nics_per_host),
      strip_bytes_(static_cast<std::uint32_t>(spec.rates.strip.count())),
      stripe_bytes_(strip_bytes_),
      dram_(channels_),
      to_path_(channels_),
      to_nic_(ports_),
      to_port_(nics_),
      to_path_in_(ports_),
      to_dram_(channels_),
      to_send_(nics_),
      order_(1 + 3 * channels_ + 2 * ports_ + nics_) {
  if (spec.in_step) {
    stripe_bytes_ *= spec.shape.super_nics * spec.shape.dram_channels_per_super_nic;
    strip_bytes_ = (kInStepBytes + stripe_bytes_ - 1) / stripe_bytes_ * stripe_bytes_;
  }
  for (std::size_t flow = 0; flow < 2; ++flow) {
    turns_[flow].resize(ports_ / ports_per_super_nic_);
    port_bytes_[flow].resize(ports_);
    channel_bytes_[flow].resize(std::size_t{spec.shape.super_nics} *
                                spec.shape.dram_channels_per_super_nic);
  }
}

Result<void> BoxEngine::set_stages() {
  const BoxShape& shape = spec_.shape;
  const std::uint32_t channels = shape.super_nics * shape.dram_channels_per_super_nic;
  const std::uint32_t ports = shape.super_nics * shape.eth_ports_per_super_nic;
  for (const bool is_write : {false, true}) {
    // So large that it takes every port.
    const Transfer transfer{SizeBytes(std::uint64_t{1} << 50U), channels, ports,
                            spec_.hosts * spec_.nics_per_host};
    const auto closed = time_transfer(spec_.model, shape, transfer,
                                      is_write ? spec_.rates.write : spec_.rates.read);
    if (!closed) {
      return closed.error();
    }
    set_flow(*closed, is_write);
  }
  set_bounds();
  for (const SlowChannel& slow : spec_.slow_channels) {
    for (const StageIndex stage : {kDram, kLinkRead, kLinkWrite}) {
      stages_[stage].servers[slow.dram_channel].slowness = 1 / slow.rate_share;
    }
    bounds_->set_slowness(slow.dram_channel, 1 / slow.rate_share);
  }
  return {};
}

// Of the box as it is, in step or not.
void BoxEngine::set_bounds() {
  const BoxShape& shape = spec_.shape;
  RequestBounds::PsPerByte ps_per_byte{};
  for (std::size_t stage = 0; stage < kStages; ++stage) {
    for (std::size_t flow = 0; flow < 2; ++flow) {
      ps_per_byte[stage][flow] = services_[stage][flow].member_ps_per_byte;
    }
  }
  bounds_.emplace(
      RequestBounds::Shape{.channels = shape.super_nics * shape.dram_channels_per_super_nic,
                           .channels_per_super_nic = shape.dram_channels_per_super_nic,
                           .ports_per_super_nic = shape.eth_ports_per_super_nic,
                           .hosts = spec_.hosts,
                           .nics_per_host = spec_.nics_per_host,
                           .strip_bytes = spec_.rates.strip.count()},
      ps_per_byte);
}

void BoxEngine::set_flow(const TransferFigures& closed, bool is_write) {
  const double frame = spec_.model.ethernet.mtu_bytes;
  const BoxFlow flow = is_write ? BoxFlow::write : BoxFlow::read;
  half_way_ps_[is_write ? 1 : 0] = rounded(closed.first_byte_ns * 1e3 / 2);
  const auto one = [is_write](StageIndex read) { return of_flow(read, is_write); };
  const std::uint32_t super_nics = ports_ / ports_per_super_nic_;
  // A box without a bound between its links and ports.
  StageFigures open;
  open.name = "SuperNIC path";
  open.count = spec_.shape.super_nics;
  const StageFigures* path = &open;
  for (const StageFigures& stage : closed.stages) {
    // DRAM, link and port have the time of their first line or frame in their delay.
    if (stage.name == "DRAM channel") {
      set_stage(kDram, channels_, stage, BoxFlow::both, is_write, 0);
    } else if (stage.name == "CXL link") {
      set_stage(one(kLinkRead), channels_, stage, flow, is_write, 0);
    } else if (stage.name == "SuperNIC path") {
      path = &stage;
    } else if (stage.name == "Ethernet port") {
      set_stage(one(kPortRead), ports_, stage, flow, is_write, 0);
    } else if (stage.name == "host NIC") {
      set_stage(one(kNicRead), nics_, stage, flow, is_write, frame);
    } else {
      set_stage(one(kPcieRead), nics_, stage, flow, is_write,
                spec_.model.host_pcie.max_payload_bytes);
    }
  }
  set_stage(one(kPathRead), super_nics, *path, flow, is_write, frame);
}

void BoxEngine::set_stage(StageIndex index, std::size_t servers, const StageFigures& figures,
                          BoxFlow flow, bool is_write, double passes_on_bytes) {
  Stage& stage = stages_[index];
  stage.name = figures.name;
  stage.flow = flow;
  stage.count = figures.count;
  if (!(flow == BoxFlow::both && is_write)) {
    stage.limited = figures.limited;
  }
  stage.servers.resize(servers);
  const Rate of_server(figures.limited.bytes_per_second() / static_cast<double>(servers));
  services_[index][is_write ? 1 : 0] = service_of(
      of_server, static_cast<double>(figures.count) / static_cast<double>(servers),
      {strip_bytes_, stripe_bytes_, static_cast<std::uint32_t>(spec_.rates.strip.count())},
      passes_on_bytes);
}

void BoxEngine::count_channels(const BoxRequest& request) {
  const std::uint64_t strip = spec_.rates.strip.count();
  std::vector<std::uint64_t>& bytes = channel_bytes_[request.is_write ? 1 : 0];
  const std::uint64_t whole = request.size.count() / strip;
  const std::uint64_t channels = bytes.size();
  for (std::uint64_t i = 0; i < channels; ++i) {
    const std::uint64_t strips = whole / channels + (i < whole % channels ? 1 : 0);
    bytes[(request.first_channel + i) % channels] += strips * strip;
  }
  bytes[(request.first_channel + whole) % channels] += request.size.count() % strip;
}

Result<void> BoxEngine::submit(const BoxRequest& request) {
  const auto refused = [&request](std::string why) {
    return Error(Errc::invalid_argument, fmt::format("request {}: {}", request.id, why));
  };
  if (request.size.is_zero()) {
    return refused("size = 0: allowed is 1 byte or more");
  }
  if (request.host >= spec_.hosts) {
    return refused(fmt::format("host = {}: allowed is 0 to {}", request.host, spec_.hosts - 1));
  }
  if (request.at_ps < now_ps_ || request.at_ps > BoxRun::kSecondsMax * kSecondPs) {
    return refused(fmt::format("at_ps = {}: allowed is {} to {}", request.at_ps, now_ps_,
                               BoxRun::kSecondsMax * kSecondPs));
  }
  const std::uint64_t strips = (request.size.count() + strip_bytes_ - 1) / strip_bytes_;
  if (strips > BoxRun::kStripsMax - strips_waiting_) {
    return Error(Errc::limit_exceeded,
                 fmt::format("request {}: {} strips, and {} wait; allowed are {} together",
                             request.id, strips, strips_waiting_, BoxRun::kStripsMax));
  }
  strips_waiting_ += strips;
  count_channels(request);
  std::uint32_t index = 0;
  if (unused_.empty()) {
    index = static_cast<std::uint32_t>(requests_.size());
    requests_.emplace_back();
  } else {
    index = unused_.back();
    unused_.pop_back();
  }
  requests_[index] = {
      .asked = request,
      .strips = static_cast<std::uint32_t>(strips),
      .last_bytes = static_cast<std::uint32_t>(request.size.count() - (strips - 1) * strip_bytes_),
      .left = static_cast<std::uint32_t>(strips),
      .end_ps = 0,
      .bound_by = std::nullopt};
  submitted_.push({request.at_ps + half_way_ps_[request.is_write ? 1 : 0], submissions_++, index});
  order_.set(0, submitted_.top().at_ps);
  return {};
}

BoxLoadFigures BoxEngine::figures() const {
  BoxLoadFigures figures;
  figures.strips = strips_done_;
  figures.bytes_read = bytes_[0];
  figures.bytes_written = bytes_[1];
  figures.end_ps = end_ps_;
  for (const Stage& stage : stages_) {
    figures.stages.push_back(stage.load());
  }
  const std::size_t channels = channel_bytes_[0].size();
  for (std::size_t i = 0; i < channels; ++i) {
    figures.channel_bytes.push_back(channel_bytes_[0][i] + channel_bytes_[1][i]);
  }
  figures.port_bytes_read = port_bytes_[0];
  figures.port_bytes_written = port_bytes_[1];
  if (spec_.in_step) {
    const std::size_t ports =
        std::size_t{spec_.shape.super_nics} * spec_.shape.eth_ports_per_super_nic;
    figures.port_bytes_read.assign(ports, 0);
    figures.port_bytes_written.assign(ports, 0);
    for (std::size_t port = 0; port < ports; ++port) {
      const std::size_t first =
          port / spec_.shape.eth_ports_per_super_nic * spec_.shape.dram_channels_per_super_nic;
      for (std::size_t i = first; i < first + spec_.shape.dram_channels_per_super_nic; ++i) {
        figures.port_bytes_read[port] += channel_bytes_[0][i] / spec_.shape.eth_ports_per_super_nic;
        figures.port_bytes_written[port] +=
            channel_bytes_[1][i] / spec_.shape.eth_ports_per_super_nic;
      }
    }
  }
  const std::size_t seconds = std::max(second_bytes_[0].size(), second_bytes_[1].size());
  figures.second_bytes_read = second_bytes_[0];
  figures.second_bytes_written = second_bytes_[1];
  figures.second_bytes_read.resize(seconds);
  figures.second_bytes_written.resize(seconds);
  return figures;
}

BoxRun::BoxRun(std::unique_ptr<BoxEngine> engine) : engine_(std::move(engine)) {}
BoxRun::BoxRun(BoxRun&&) noexcept = default;
BoxRun& BoxRun::operator=(BoxRun&&) noexcept = default;
BoxRun::~BoxRun() = default;

Result<BoxRun> BoxRun::make(const BoxRunSpec& spec) {
  if (const Result<void> valid = check(spec); !valid) {
    return valid.error();
  }
  auto engine = std::make_unique<BoxEngine>(spec);
  if (const Result<void> set = engine->set_stages(); !set) {
    return set.error();
  }
  return BoxRun(std::move(engine));
}

Result<void> BoxRun::submit(const BoxRequest& request) { return engine_->submit(request); }
std::optional<BoxCompletion> BoxRun::next(std::uint64_t until_ps, std::uint64_t events_max) {
  return engine_->next(until_ps, events_max);
}
bool BoxRun::is_on_its_way() const { return engine_->is_on_its_way(); }
std::uint64_t BoxRun::now_ps() const { return engine_->now_ps(); }
BoxLoadFigures BoxRun::figures() const { return engine_->figures(); }

}  // namespace godbox::emulator::model
