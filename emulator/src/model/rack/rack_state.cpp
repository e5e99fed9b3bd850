// SPDX-License-Identifier: Apache-2.0
//
// The rack's rates, what a loss leaves of them, and what was counted.
#include "model/rack/rack_engine.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace godbox::emulator::model {
namespace {

constexpr std::uint32_t kPieceBytes = 1U << 20U;  // at least, as of BoxRun in step

Rate times(Rate rate, double factor) { return Rate(rate.bytes_per_second() * factor); }

Cut cut_of(const RackRunSpec& spec) {
  const std::uint32_t strip = static_cast<std::uint32_t>(spec.rates.strip.count());
  const std::uint32_t stripe = strip * spec.box.super_nics * spec.box.dram_channels_per_super_nic;
  return {.piece_bytes = (kPieceBytes + stripe - 1) / stripe * stripe,
          .stripe_bytes = stripe,
          .member_strip_bytes = strip};
}

}  // namespace

RackEngine::RackEngine(const RackRunSpec& spec, const RackShape& shape, const RackStages& stages,
                       double requests_per_s)
    : spec_(spec),
      shape_(shape),
      closed_(stages),
      cut_(cut_of(spec)),
      block_bytes_(static_cast<std::uint32_t>(spec.load.set.block.count())),
      arrival_mean_ps_(kPsPerSecond / requests_per_s),
      recompute_ps_(rounded(spec.load.recompute_s * kPsPerSecond)),
      half_way_ps_{rounded(stages[0].first_byte_ns * 1e3 / 2),
                   rounded(stages[1].first_byte_ns * 1e3 / 2)},
      random_(spec.load.seed),
      dram_(shape.spec.boxes),
      to_up_(shape.spec.boxes),
      to_down_(shape.box_groups()),
      to_host_(shape.host_groups()),
      sent_(shape.spec.hosts),
      to_down_in_(shape.host_groups()),
      to_box_(shape.box_groups()),
      to_dram_(shape.spec.boxes),
      to_send_(shape.spec.hosts),
      base_([&shape] {
        Bases base{};
        base.dram = 1;
        base.to_up = base.dram + shape.spec.boxes;
        base.to_down = base.to_up + shape.spec.boxes;
        base.to_host = base.to_down + shape.box_groups();
        base.sent = base.to_host + shape.host_groups();
        base.to_down_in = base.sent + shape.spec.hosts;
        base.to_box = base.to_down_in + shape.host_groups();
        base.to_dram = base.to_box + shape.box_groups();
        base.end = base.to_dram + shape.spec.boxes;
        return base;
      }()),
      order_(base_.end),
      port_lives_(std::size_t{shape.spec.boxes} * shape.ports_per_box, true),
      box_leaf_lives_(shape.spec.box_leaves, true),
      host_leaf_lives_(shape.spec.host_leaves, true),
      live_spines_(shape.spec.spines),
      known_boxes_(first_boxes(shape.spec.boxes)),
      host_lives_(shape.spec.hosts, true),
      box_void_(shape.spec.boxes),
      host_void_(shape.spec.hosts) {
  figures_.shape = shape;
  figures_.boxes.resize(shape.spec.boxes);
  for (std::size_t flow = 0; flow < 2; ++flow) {
    box_bytes_[flow].resize(shape.spec.boxes);
    host_bytes_[flow].resize(shape.spec.hosts);
  }
  lay_blocks();
  name_switches();
  set_services();
  name_stages();
}

void RackEngine::lay_blocks() {
  const BlockSet& set = spec_.load.set;
  holders_.resize(set.blocks);
  for (std::uint64_t block = 0; block < set.blocks; ++block) {
    const BlockPlaces places = rendezvous_places(block, known_boxes_, copies_of(block));
    holders_[block] = places.mask();
    for (std::uint32_t i = 0; i < places.count; ++i) {
      ++figures_.boxes[places.boxes[i]].blocks_before;
    }
  }
  for (RackBoxLoad& box : figures_.boxes) {
    box.blocks_after = box.blocks_before;
  }
  if (spec_.load.zipf > 0) {
    double sum = 0;
    for (std::uint64_t block = 0; block < set.blocks; ++block) {
      sum += std::pow(static_cast<double>(block + 1), -spec_.load.zipf);
      popularity_.push_back(sum);
    }
  }
}

void RackEngine::name_switches() {
  for (const auto& [part, leaves] : {std::pair{RackPart::box_leaf, shape_.ports_of_leaves()},
                                     std::pair{RackPart::host_leaf, shape_.nics_of_leaves()}}) {
    for (std::uint32_t leaf = 0; leaf < leaves.size(); ++leaf) {
      figures_.switches.push_back(
          {.part = part,
           .index = leaf,
           .ports = leaves[leaf],
           .limited = times(shape_.port_rate, leaves[leaf] * closed_[0].payload_share /
                                                  shape_.spec.oversubscription)});
    }
  }
  const double ports = static_cast<double>(shape_.spec.boxes) * shape_.ports_per_box +
                       static_cast<double>(shape_.spec.hosts) * shape_.nics_per_host;
  for (std::uint32_t spine = 0; spine < shape_.spec.spines; ++spine) {
    figures_.switches.push_back(
        {.part = RackPart::spine,
         .index = spine,
         .limited =
             times(shape_.port_rate, ports * closed_[0].payload_share /
                                         shape_.spec.oversubscription / shape_.spec.spines)});
  }
}

// --- Rates. ---

void RackEngine::set_stage(RackStageIndex index, std::size_t server, Rate limited, double members,
                           double passes_on_bytes, bool is_write) {
  Stage& stage = stages_[index];
  if (stage.servers.size() <= server) {
    stage.servers.resize(server + 1);
    services_[index].resize(server + 1);
  }
  services_[index][server][is_write ? 1 : 0] = service_of(limited, members, cut_, passes_on_bytes);
}

void RackEngine::set_services() {
  const double frame = spec_.model.ethernet.mtu_bytes;
  for (const bool is_write : {false, true}) {
    const FlowStages& closed = closed_[is_write ? 1 : 0];
    const auto one = [is_write](RackStageIndex read) {
      return static_cast<RackStageIndex>(read + (is_write ? 1 : 0));
    };
    for (std::uint32_t box = 0; box < shape_.spec.boxes; ++box) {
      // Strips take the ports of the SuperNIC that owns their channel: of a stripe, the SuperNIC
      // with the fewest ports left is the last.
      const double share = std::max(live_port_share(box), 1e-9);
      set_stage(kAtDram, box, closed.dram.limited, closed.dram.count, 0, is_write);
      set_stage(one(kAtLinkRead), box, closed.link.limited, closed.link.count, 0, is_write);
      set_stage(one(kAtPathRead), box, closed.path.limited, closed.path.count, frame, is_write);
      set_stage(one(kAtPortRead), box, times(closed.port.limited, share), closed.port.count * share,
                0, is_write);
    }
    for (std::uint32_t host = 0; host < shape_.spec.hosts; ++host) {
      const double live = std::max(live_nics(host), 1U);
      const double share = live / shape_.nics_per_host;
      set_stage(one(kAtNicRead), host, times(closed.nic.limited, share), live, frame, is_write);
      set_stage(one(kAtPcieRead), host, times(closed.pcie.limited, share), live,
                spec_.model.host_pcie.max_payload_bytes, is_write);
    }
    // A switch passes frames on while they come in; the time it takes is in the way's delay.
    const double to_spines = static_cast<double>(live_spines_) / shape_.spec.spines *
                             shape_.port_rate.bytes_per_second() * closed.payload_share /
                             shape_.spec.oversubscription;
    const double port = shape_.port_rate.bytes_per_second() * closed.payload_share;
    for (const bool of_boxes : {true, false}) {
      const std::uint32_t groups = of_boxes ? shape_.box_groups() : shape_.host_groups();
      const std::uint32_t members = of_boxes ? shape_.spec.boxes : shape_.spec.hosts;
      const std::uint32_t each = of_boxes ? shape_.ports_per_box : shape_.nics_per_host;
      // Reads go up from the boxes and down to the hosts.
      const RackStageIndex stage = one(of_boxes != is_write ? kAtUpRead : kAtDownRead);
      for (std::uint32_t group = 0; group < groups; ++group) {
        const std::uint32_t ports = (members - group + groups - 1) / groups * each;
        const Rate limited(ports * to_spines * std::max(live_leaf_share(of_boxes, group), 1e-9));
        set_stage(stage, group, limited, std::max(1.0, limited.bytes_per_second() / port), 0,
                  is_write);
      }
    }
  }
}

void RackEngine::name_stages() {
  const auto name = [this](RackStageIndex index, std::string_view text, BoxFlow flow,
                           std::uint32_t count) {
    Stage& stage = stages_[index];
    stage.name = text;
    stage.flow = flow;
    stage.count = count;
    const std::size_t direction = flow == BoxFlow::write ? 1 : 0;
    double sum = 0;
    for (const auto& service : services_[index]) {
      const double ps_per_byte = service[direction].ps_per_byte;
      sum += ps_per_byte > 0 ? kPsPerSecond / ps_per_byte : 0;
    }
    stage.limited = Rate(sum);
  };
  const RackSpec& rack = shape_.spec;
  name(kAtDram, "DRAM channel", BoxFlow::both, rack.boxes * closed_[0].dram.count);
  for (const bool is_write : {false, true}) {
    const BoxFlow flow = is_write ? BoxFlow::write : BoxFlow::read;
    const auto one = [is_write](RackStageIndex read) {
      return static_cast<RackStageIndex>(read + (is_write ? 1 : 0));
    };
    name(one(kAtLinkRead), "CXL link", flow, rack.boxes * closed_[0].link.count);
    name(one(kAtPathRead), "SuperNIC path", flow, rack.boxes * closed_[0].path.count);
    name(one(kAtPortRead), "Ethernet port", flow, rack.boxes * shape_.ports_per_box);
    name(one(kAtUpRead), "leaf to spine", flow,
         (is_write ? rack.host_leaves : rack.box_leaves) * rack.spines);
    name(one(kAtDownRead), "spine to leaf", flow,
         (is_write ? rack.box_leaves : rack.host_leaves) * rack.spines);
    name(one(kAtNicRead), "host NIC", flow, rack.hosts * shape_.nics_per_host);
    name(one(kAtPcieRead), "host PCIe", flow, rack.hosts * shape_.nics_per_host);
  }
}

// --- What a loss leaves. ---

// Of the SuperNIC with the fewest ports left, the part that is.
double RackEngine::live_port_share(std::uint32_t box) const {
  const std::uint32_t each = spec_.box.eth_ports_per_super_nic;
  std::uint32_t least = each;
  for (std::uint32_t first = 0; first < shape_.ports_per_box; first += each) {
    std::uint32_t live = 0;
    for (std::uint32_t port = first; port < first + each; ++port) {
      live += port_lives_[std::size_t{box} * shape_.ports_per_box + port] ? 1 : 0;
    }
    least = std::min(least, live);
  }
  return static_cast<double>(least) / each;
}

// The part of a group's ports that is on leaves that are left.
double RackEngine::live_leaf_share(bool of_boxes, std::uint32_t group) const {
  const std::uint32_t each = of_boxes ? shape_.spec.leaves_per_box : shape_.spec.leaves_per_host;
  const std::vector<bool>& lives = of_boxes ? box_leaf_lives_ : host_leaf_lives_;
  const std::vector<std::uint32_t> ports =
      of_boxes ? shape_.ports_of_leaves() : shape_.nics_of_leaves();
  double all = 0;
  double live = 0;
  for (std::uint32_t leaf = group * each; leaf < (group + 1) * each; ++leaf) {
    all += ports[leaf];
    live += lives[leaf] ? ports[leaf] : 0;
  }
  return all > 0 ? live / all : 0;
}

std::uint32_t RackEngine::live_nics(std::uint32_t host) const {
  std::uint32_t live = 0;
  for (std::uint32_t nic = 0; nic < shape_.nics_per_host; ++nic) {
    live += host_leaf_lives_[shape_.leaf_of_nic(host, nic)] ? 1 : 0;
  }
  return live;
}

// The part of a box's bytes that goes through a port: of its SuperNIC's share, with the others that
// are left there.
double RackEngine::port_weight(std::uint32_t box, std::uint32_t port) const {
  const std::size_t base = std::size_t{box} * shape_.ports_per_box;
  if (!port_lives_[base + port]) {
    return 0;
  }
  const std::uint32_t each = spec_.box.eth_ports_per_super_nic;
  const std::uint32_t first = port / each * each;
  std::uint32_t live = 0;
  for (std::uint32_t i = first; i < first + each; ++i) {
    live += port_lives_[base + i] ? 1 : 0;
  }
  return 1.0 / spec_.box.super_nics / live;
}

void RackEngine::lose() {
  count_switches();
  const RackLoss& loss = spec_.loss;
  const auto lose_port = [this](std::uint32_t box, std::uint32_t port) {
    box_void_[box] += port_weight(box, port);
    return std::size_t{box} * shape_.ports_per_box + port;
  };
  switch (loss.part) {
    case RackPart::none:
      return;
    case RackPart::box:
      lost_boxes_ |= BoxMask{1} << loss.index;
      break;
    case RackPart::port:
      port_lives_[lose_port(loss.index, loss.port)] = false;
      break;
    case RackPart::box_leaf: {
      std::vector<std::size_t> lost;
      for (std::uint32_t box = 0; box < shape_.spec.boxes; ++box) {
        for (std::uint32_t port = 0; port < shape_.ports_per_box; ++port) {
          if (shape_.leaf_of_port(box, port) == loss.index) {
            lost.push_back(lose_port(box, port));
          }
        }
      }
      for (const std::size_t port : lost) {
        port_lives_[port] = false;
      }
      box_leaf_lives_[loss.index] = false;
      break;
    }
    case RackPart::host_leaf:
      host_leaf_lives_[loss.index] = false;
      for (std::uint32_t host = 0; host < shape_.spec.hosts; ++host) {
        const std::uint32_t live = live_nics(host);
        host_void_[host] = live > 0 ? 1 - static_cast<double>(live) / shape_.nics_per_host : 0;
        host_lives_[host] = live > 0;
        figures_.moves.hosts_cut_off += live > 0 ? 0 : 1;
      }
      break;
    case RackPart::spine:
      spine_void_ = 1.0 / live_spines_;
      --live_spines_;
      break;
  }
  for (RackSwitchLoad& one : figures_.switches) {
    one.is_lost = one.part == loss.part && one.index == loss.index;
  }
  for (std::uint32_t box = 0; box < shape_.spec.boxes; ++box) {
    if (live_port_share(box) == 0) {
      lost_boxes_ |= BoxMask{1} << box;
    }
    if ((lost_boxes_ >> box & 1U) == 0) {
      continue;
    }
    ++figures_.moves.boxes_cut_off;
    figures_.boxes[box].is_lost = true;
    box_void_[box] = 0;
    while (!dram_[box].empty()) {
      const std::uint32_t flight = dram_[box].front().flight;
      dram_[box].pop_front();
      drop_part(flight);
    }
    set_dram_next(box);
  }
  set_services();
}

void RackEngine::notice() {
  known_boxes_ &= ~lost_boxes_;
  std::fill(box_void_.begin(), box_void_.end(), 0.0);
  std::fill(host_void_.begin(), host_void_.end(), 0.0);
  spine_void_ = 0;
  count_moves();
  for (BoxMask& holders : holders_) {
    holders &= known_boxes_;
  }
  const std::size_t flights = flights_.size();
  for (std::uint32_t index = 0; index < flights; ++index) {
    Flight& flight = flights_[index];
    if (flight.is_over) {
      continue;
    }
    const bool is_cut_off = !host_lives_[flight.host];
    if (is_cut_off || (lost_boxes_ >> flight.box & 1U) != 0) {
      flight.is_over = true;
      if (flight.parts == 0) {
        unused_.push_back(index);
      }
      const Flight given_up = flight;
      if (is_cut_off) {
        figures_.given_up += given_up.kind == Kind::restore ? 0 : 1;
      } else {
        retry(given_up);
      }
    } else if (flight.lost_bytes > 0) {
      const std::uint32_t bytes = flight.lost_bytes;
      flight.lost_bytes = 0;
      enqueue(index, bytes);
    }
  }
}

// What the loss does to where blocks belong; holders_ are still those of before.
void RackEngine::count_moves() {
  if (lost_boxes_ == 0) {
    return;
  }
  for (RackBoxLoad& box : figures_.boxes) {
    box.blocks_after = 0;
  }
  for (std::uint64_t block = 0; block < holders_.size(); ++block) {
    const BlockPlaces places = rendezvous_places(block, known_boxes_, copies_of(block));
    for (std::uint32_t i = 0; i < places.count; ++i) {
      ++figures_.boxes[places.boxes[i]].blocks_after;
    }
    figures_.moves.copies_lost +=
        static_cast<std::uint64_t>(std::popcount(holders_[block] & lost_boxes_));
    figures_.moves.blocks_lost += (holders_[block] & ~lost_boxes_) == 0 ? 1 : 0;
    figures_.moves.copies_moved +=
        static_cast<std::uint64_t>(std::popcount(places.mask() & ~holders_[block]));
  }
}

// --- Figures. ---

// Bytes of boxes and hosts since the network last changed, over the leaves and spines that were
// there.
void RackEngine::count_switches() {
  const std::uint32_t box_leaves = shape_.spec.box_leaves;
  const std::uint32_t leaves = box_leaves + shape_.spec.host_leaves;
  for (std::size_t flow = 0; flow < 2; ++flow) {
    double all = 0;
    const auto add = [this, flow](std::size_t index, double bytes) {
      RackSwitchLoad& one = figures_.switches[index];
      (flow == 1 ? one.bytes_written : one.bytes_read) += bytes;
    };
    for (std::uint32_t box = 0; box < shape_.spec.boxes; ++box) {
      const auto bytes = static_cast<double>(std::exchange(box_bytes_[flow][box], 0));
      all += bytes;
      (flow == 1 ? figures_.boxes[box].bytes_written : figures_.boxes[box].bytes_read) +=
          static_cast<std::uint64_t>(bytes);
      for (std::uint32_t port = 0; port < shape_.ports_per_box; ++port) {
        add(shape_.leaf_of_port(box, port), bytes * port_weight(box, port));
      }
    }
    for (std::uint32_t host = 0; host < shape_.spec.hosts; ++host) {
      const auto bytes = static_cast<double>(std::exchange(host_bytes_[flow][host], 0));
      const std::uint32_t live = live_nics(host);
      for (std::uint32_t nic = 0; nic < shape_.nics_per_host; ++nic) {
        const std::uint32_t leaf = shape_.leaf_of_nic(host, nic);
        if (host_leaf_lives_[leaf]) {
          add(box_leaves + leaf, bytes / live);
        }
      }
    }
    for (std::uint32_t spine = 0; spine < shape_.spec.spines; ++spine) {
      if (!figures_.switches[leaves + spine].is_lost) {
        add(leaves + spine, all / live_spines_);
      }
    }
  }
}

RackFigures RackEngine::figures() {
  count_switches();
  figures_.asked = arrived_;
  for (std::uint32_t box = 0; box < shape_.spec.boxes; ++box) {
    figures_.boxes[box].dram_busy_s =
        static_cast<double>(stages_[kAtDram].servers[box].busy_ps) / kPsPerSecond;
  }
  for (const Stage& stage : stages_) {
    figures_.stages.push_back(stage.load());
  }
  const std::size_t bins =
      std::max(figures_.bin_bytes_read.size(), figures_.bin_bytes_written.size());
  figures_.bin_bytes_read.resize(bins);
  figures_.bin_bytes_written.resize(bins);
  return std::move(figures_);
}

}  // namespace godbox::emulator::model
