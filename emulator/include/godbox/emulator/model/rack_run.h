// SPDX-License-Identifier: Apache-2.0
//
// Boxes and hosts behind a leaf-spine network in virtual time: hosts that read and put KV blocks,
// which lie on boxes by rendezvous hashing (rendezvous.h), with one box, port or switch that is
// lost on the way. A discrete-event simulation like BoxRun in step (box_run.h), whose stages and
// rates these are: each box and each host takes its DRAM channels, links, ports, NICs as one that
// is as wide as all of them, and so does each group of leaves its uplinks. Between them lie two
// queues: of the leaves' links to the spines and of those from the spines.
//   Requests come at random (Poisson). A read is of a known block, by Zipf's law over their
// numbers; a put is of a new one. A loss is noticed after `notice_ms`: until then what goes through
// the lost part is lost and sent again at that time; what a lost box had is a miss, which its host
// computes again and puts where the block belongs now.
// The same spec gives the same figures to the last bit: no clock, no thread, chance by the seed.
// Thread-safety: pure functions. Ownership: values. Units: in the names; ps are picoseconds of
// virtual time; all figures are modelled. Errors: config_invalid, naming key, value and what is
// allowed; cancelled, where `goes_on` says no.
#pragma once

#include <godbox/emulator/model/box_run.h>
#include <godbox/emulator/model/rack_spec.h>
#include <godbox/emulator/model/rendezvous.h>

#include <functional>

namespace godbox::emulator::model {

// How blocks lie on the boxes.
struct BlockSet {
  std::uint64_t blocks = 100'000;
  SizeBytes block{};
  std::uint64_t hot_blocks = 0;  // the first so many have several copies
  std::uint32_t hot_copies = 1;  // of each of these
};

struct RackLoad {
  BlockSet set{};
  std::uint64_t requests = 100'000;
  double load = 0.5;       // of what the rack can move at most: rack_bound()
  double read_share = 1;   // of the requests
  double zipf = 0;         // block i is read in proportion to 1 / (i + 1)^zipf
  double recompute_s = 0;  // what a host takes for a block that it does not find
  std::uint64_t seed = 1;
};
inline constexpr std::uint64_t kRackRequestsMax = 10'000'000;
inline constexpr std::uint64_t kRackBlocksMax = 10'000'000;
inline constexpr double kRackLoadMax = 4;
inline constexpr double kZipfMax = 4;

enum class RackPart : std::uint8_t { none, box, port, box_leaf, host_leaf, spine };
inline constexpr std::array<std::string_view, 6> kRackPartNames = {
    "none", "box", "port", "box-leaf", "host-leaf", "spine"};
[[nodiscard]] constexpr std::string_view to_string(RackPart part) {
  return kRackPartNames[static_cast<std::size_t>(part)];
}

struct RackLoss {
  RackPart part = RackPart::none;
  std::uint32_t index = 0;
  std::uint32_t port = 0;  // of the box `index`
  double at_s = 0;
};

struct RackRunSpec {
  BoxModel model;
  BoxShape box;
  BoxRates rates;
  RackSpec rack;
  std::uint32_t nics_per_host = 1;
  SizeBytes box_capacity;
  RackLoad load;
  RackLoss loss;
};

enum class RackOutcome : std::uint8_t {
  found,       // read
  recomputed,  // a read of what no box had
  put,
};

struct RackCompletion {
  std::uint64_t at_ps = 0;
  std::uint64_t end_ps = 0;
  std::uint32_t host = 0;
  std::uint8_t box = 0;  // that answered at last; of what is recomputed: where it belongs
  RackOutcome outcome = RackOutcome::found;
  bool is_disturbed = false;  // by the loss: something of it was lost and sent again
};

struct RackBoxLoad {
  std::uint64_t requests = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
  double dram_busy_s = 0;
  std::uint64_t blocks_before = 0;  // copies that belong there
  std::uint64_t blocks_after = 0;   // ... once the loss is noticed
  bool is_lost = false;
};

// A leaf's links to all spines, or a spine's to all leaves.
struct RackSwitchLoad {
  RackPart part = RackPart::none;
  std::uint32_t index = 0;
  std::uint32_t ports = 0;  // of boxes or NICs
  Rate limited;             // to (from) the spines, each direction, payload
  double bytes_read = 0;    // through them: up from boxes' leaves, down to those of hosts
  double bytes_written = 0;
  bool is_lost = false;
};

struct RackMoves {
  std::uint64_t blocks_lost = 0;  // no copy is left
  std::uint64_t copies_lost = 0;
  std::uint64_t copies_moved = 0;  // belong to another box than before: what has to be copied
  std::uint64_t restored = 0;      // of these, put again in this run
  std::uint64_t bytes_restored = 0;
  std::uint64_t requests_retried = 0;
  std::uint64_t bytes_sent_again = 0;
  std::uint32_t boxes_cut_off = 0;  // lost, or with a SuperNIC that no port is left of
  std::uint32_t hosts_cut_off = 0;
};

struct RackFigures {
  RackShape shape;
  double requests_per_s = 0;  // offered
  double bound_bytes_per_s = 0;
  std::string_view bound_by;  // a stage's name
  std::uint64_t asked = 0;    // completions and what cut-off hosts gave up
  std::uint64_t given_up = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
  std::uint64_t end_ps = 0;  // when the last of it was done
  std::uint64_t pieces = 0;  // that were moved
  std::vector<RackCompletion> done;
  std::vector<StageLoad> stages;
  std::vector<RackBoxLoad> boxes;
  std::vector<RackSwitchLoad> switches;
  RackMoves moves;
  // By kBinPs of virtual time in which a piece was done.
  std::vector<std::uint64_t> bin_bytes_read;
  std::vector<std::uint64_t> bin_bytes_written;
  static constexpr std::uint64_t kBinPs = 100'000'000'000;
};

// What the rack can move at most if every box has the same of it: bytes per second by the stage
// that bounds it.
struct RackBound {
  double bytes_per_s = 0;
  std::string_view by;
};
[[nodiscard]] Result<RackBound> rack_bound(const RackRunSpec& spec);

// Called now and then with the requests that have come; false stops the run.
using GoesOn = std::function<bool(std::uint64_t requests)>;
[[nodiscard]] Result<RackFigures> run_rack(const RackRunSpec& spec, const GoesOn& goes_on = {});

}  // namespace godbox::emulator::model
