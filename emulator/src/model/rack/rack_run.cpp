// SPDX-License-Identifier: Apache-2.0
#include "model/number_check.h"
#include "model/rack/rack_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace godbox::emulator::model {
namespace {

constexpr std::uint32_t kSwitchHops = 3;  // leaf, spine, leaf
constexpr SizeBytes kBlockMax{std::uint64_t{1} << 30U};

Error invalid(std::string text) { return {Errc::config_invalid, std::move(text)}; }

// A block in step is a stripe at least: a smaller one would be said to take all channels at once.
Result<void> check_load(const RackRunSpec& spec) {
  const RackLoad& load = spec.load;
  const SizeBytes stripe =
      spec.rates.strip * spec.box.super_nics * spec.box.dram_channels_per_super_nic;
  for (const NumberCheck& number :
       {NumberCheck{"requests", static_cast<double>(load.requests), 1,
                    static_cast<double>(kRackRequestsMax)},
        NumberCheck{"load", load.load, 1e-6, kRackLoadMax},
        NumberCheck{"read_share", load.read_share, 0, 1},
        NumberCheck{"zipf", load.zipf, 0, kZipfMax},
        NumberCheck{"recompute_s", load.recompute_s, 0, 1e6},
        NumberCheck{"blocks", static_cast<double>(load.set.blocks), 1,
                    static_cast<double>(kRackBlocksMax)},
        NumberCheck{"hot_blocks", static_cast<double>(load.set.hot_blocks), 0,
                    static_cast<double>(load.set.blocks)},
        NumberCheck{"copies", static_cast<double>(load.set.hot_copies), 1,
                    static_cast<double>(std::min(spec.rack.boxes, kBlockCopiesMax))},
        NumberCheck{"block_bytes", static_cast<double>(load.set.block.count()),
                    static_cast<double>(stripe.count()), static_cast<double>(kBlockMax.count())}}) {
    if (Result<void> valid = check(number); !valid) {
      return valid;
    }
  }
  return {};
}

Result<void> check_capacity(const RackRunSpec& spec) {
  const BlockSet& set = spec.load.set;
  const std::uint64_t most = spec.box_capacity / set.block;
  std::vector<std::uint64_t> blocks(spec.rack.boxes);
  for (std::uint64_t block = 0; block < set.blocks; ++block) {
    const BlockPlaces places = rendezvous_places(block, first_boxes(spec.rack.boxes),
                                                 block < set.hot_blocks ? set.hot_copies : 1);
    for (std::uint32_t i = 0; i < places.count; ++i) {
      ++blocks[places.boxes[i]];
    }
  }
  const auto fullest = std::max_element(blocks.begin(), blocks.end());
  if (*fullest > most) {
    return invalid(
        fmt::format("blocks = {}, hot_blocks = {}, copies = {}: box {} would have {} "
                    "blocks of {} bytes; allowed is at most {}, what fits into its {} "
                    "bytes",
                    set.blocks, set.hot_blocks, set.hot_copies, fullest - blocks.begin(), *fullest,
                    set.block.count(), most, spec.box_capacity.count()));
  }
  return {};
}

std::string name_of(const RackLoss& loss) {
  return loss.part == RackPart::port ? fmt::format("port {} of box {}", loss.port, loss.index)
                                     : fmt::format("{} {}", to_string(loss.part), loss.index);
}

Result<void> check_loss(const RackLoss& loss, const RackShape& shape, double last_s) {
  const auto check_index = [&loss](std::uint32_t count, std::uint32_t least) -> Result<void> {
    if (count < least) {
      return invalid(
          fmt::format("loss of {}: allowed where the rack has {} or more", name_of(loss), least));
    }
    if (loss.index >= count) {
      return invalid(fmt::format("loss of {}: allowed is {}0 to {}", name_of(loss),
                                 loss.part == RackPart::port ? "box " : "", count - 1));
    }
    return {};
  };
  const RackSpec& rack = shape.spec;
  Result<void> valid;
  switch (loss.part) {
    case RackPart::none:
      return {};
    case RackPart::box:
      valid = check_index(rack.boxes, 2);
      break;
    case RackPart::port:
      valid = check_index(rack.boxes, 1);
      if (valid && loss.port >= shape.ports_per_box) {
        return invalid(fmt::format("loss of {}: allowed is port 0 to {}", name_of(loss),
                                   shape.ports_per_box - 1));
      }
      break;
    case RackPart::box_leaf:
      valid = check_index(rack.box_leaves, 2);
      break;
    case RackPart::host_leaf:
      valid = check_index(rack.host_leaves, 2);
      break;
    case RackPart::spine:
      valid = check_index(rack.spines, 2);
      break;
  }
  if (!valid) {
    return valid;
  }
  if (!(loss.at_s >= 0 && loss.at_s <= last_s)) {
    return invalid(
        fmt::format("loss at {} s: allowed is 0 to {:.6g}, when about the last request "
                    "comes",
                    loss.at_s, last_s));
  }
  return {};
}

// A box all of whose ports of one SuperNIC are lost is lost, as its blocks lie on all channels.
Result<void> check_survivors(const RackRunSpec& spec, const RackShape& shape) {
  const auto leaves_no_box = [&](const auto& is_lost) {
    for (std::uint32_t box = 0; box < shape.spec.boxes; ++box) {
      bool lives = true;
      const std::uint32_t each = spec.box.eth_ports_per_super_nic;
      for (std::uint32_t first = 0; first < shape.ports_per_box; first += each) {
        bool any = false;
        for (std::uint32_t port = first; port < first + each; ++port) {
          any = any || !is_lost(box, port);
        }
        lives = lives && any;
      }
      if (lives) {
        return false;
      }
    }
    return true;
  };
  const RackLoss& loss = spec.loss;
  const bool is_all =
      (loss.part == RackPart::box_leaf && leaves_no_box([&](std::uint32_t box, std::uint32_t port) {
         return shape.leaf_of_port(box, port) == loss.index;
       })) ||
      (loss.part == RackPart::port && leaves_no_box([&](std::uint32_t box, std::uint32_t port) {
         return box == loss.index && port == loss.port;
       }));
  if (is_all) {
    return invalid(
        fmt::format("loss of {}: each box would have a SuperNIC without a port; "
                    "allowed is what leaves a box whole",
                    name_of(loss)));
  }
  return {};
}

RackBound bound_of(const RackShape& shape, const RackStages& stages, double read_share) {
  RackBound bound{std::numeric_limits<double>::infinity(), ""};
  const auto take = [&bound](double bytes_per_s, std::string_view by) {
    if (bytes_per_s < bound.bytes_per_s) {
      bound = {bytes_per_s, by};
    }
  };
  const RackSpec& rack = shape.spec;
  double dram_s = 0;  // of one box for a byte of the mixture
  for (const bool is_write : {false, true}) {
    const FlowStages& flow = stages[is_write ? 1 : 0];
    const double share = is_write ? 1 - read_share : read_share;
    if (share <= 0) {
      continue;
    }
    dram_s += share / flow.dram.limited.bytes_per_second();
    for (const StageFigures* stage : {&flow.link, &flow.path, &flow.port}) {
      if (stage->limited > Rate()) {
        take(rack.boxes * stage->limited.bytes_per_second() / share, stage->name);
      }
    }
    const double wire =
        shape.port_rate.bytes_per_second() * flow.payload_share / rack.oversubscription;
    const double of_boxes = static_cast<double>(rack.boxes) * shape.ports_per_box * wire;
    const double of_hosts = static_cast<double>(rack.hosts) * shape.nics_per_host * wire;
    take((is_write ? of_hosts : of_boxes) / share, "leaf to spine");
    take((is_write ? of_boxes : of_hosts) / share, "spine to leaf");
    for (const StageFigures* stage : {&flow.nic, &flow.pcie}) {
      take(rack.hosts * stage->limited.bytes_per_second() / share, stage->name);
    }
  }
  take(rack.boxes / dram_s, stages[0].dram.name);
  return bound;
}

}  // namespace

Result<RackStages> rack_stages(const RackRunSpec& spec) {
  BoxModel model = spec.model;
  model.ethernet.switch_hops = kSwitchHops;
  const std::uint32_t channels = spec.box.super_nics * spec.box.dram_channels_per_super_nic;
  const std::uint32_t ports = spec.box.super_nics * spec.box.eth_ports_per_super_nic;
  RackStages stages;
  for (const bool is_write : {false, true}) {
    // So large that it takes every port; from one host.
    const auto closed = time_transfer(
        model, spec.box, {SizeBytes(std::uint64_t{1} << 50U), channels, ports, spec.nics_per_host},
        is_write ? spec.rates.write : spec.rates.read);
    if (!closed) {
      return closed.error();
    }
    FlowStages& flow = stages[is_write ? 1 : 0];
    flow.path.name = "SuperNIC path";  // where it is no bound, there is no such stage
    flow.path.count = spec.box.super_nics;
    for (const StageFigures& stage : closed->stages) {
      (stage.name == "DRAM channel"    ? flow.dram
       : stage.name == "CXL link"      ? flow.link
       : stage.name == "SuperNIC path" ? flow.path
       : stage.name == "Ethernet port" ? flow.port
       : stage.name == "host NIC"      ? flow.nic
                                       : flow.pcie) = stage;
    }
    flow.payload_share = ethernet_payload_share(model.ethernet, is_write);
    flow.first_byte_ns = closed->first_byte_ns;
  }
  return stages;
}

Result<RackBound> rack_bound(const RackRunSpec& spec) {
  const Result<RackShape> shape = rack_shape(spec.rack, spec.box, spec.nics_per_host);
  const Result<RackStages> stages = rack_stages(spec);
  if (!shape || !stages) {
    return shape ? stages.error() : shape.error();
  }
  return bound_of(*shape, *stages, spec.load.read_share);
}

Result<RackFigures> run_rack(const RackRunSpec& spec, const GoesOn& goes_on) {
  const Result<RackShape> shape = rack_shape(spec.rack, spec.box, spec.nics_per_host);
  if (!shape) {
    return shape.error();
  }
  if (const Result<void> valid = check_load(spec); !valid) {
    return valid.error();
  }
  if (const Result<void> valid = check_capacity(spec); !valid) {
    return valid.error();
  }
  const Result<RackStages> stages = rack_stages(spec);
  if (!stages) {
    return stages.error();
  }
  const RackBound bound = bound_of(*shape, *stages, spec.load.read_share);
  const double requests_per_s =
      spec.load.load * bound.bytes_per_s / static_cast<double>(spec.load.set.block.count());
  const double last_s = static_cast<double>(spec.load.requests) / requests_per_s;
  if (last_s > double{BoxRun::kSecondsMax}) {
    return invalid(
        fmt::format("load = {}: {} requests come in {:.6g} s; allowed is at most {} s "
                    "of virtual time",
                    spec.load.load, spec.load.requests, last_s, BoxRun::kSecondsMax));
  }
  for (const Result<void>& valid :
       {check_loss(spec.loss, *shape, last_s), check_survivors(spec, *shape)}) {
    if (!valid) {
      return valid.error();
    }
  }
  RackEngine engine(spec, *shape, *stages, requests_per_s);
  if (const Result<void> run = engine.run(goes_on); !run) {
    return run.error();
  }
  RackFigures figures = engine.figures();
  figures.requests_per_s = requests_per_s;
  figures.bound_bytes_per_s = bound.bytes_per_s;
  figures.bound_by = bound.by;
  return figures;
}

}  // namespace godbox::emulator::model
