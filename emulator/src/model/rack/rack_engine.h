// SPDX-License-Identifier: Apache-2.0
//
// The events of a rack in virtual time (rack_run.h). A piece of a block is an event where it leaves
// a box's DRAM or comes to it, and where pieces of several ways meet: at the leaves' links up, at
// those down, at a host, at a box. What follows one upon the other without a meeting is computed at
// once. Thread-safety: none. Ownership: values. Units: in the names. Errors: as rack_run.h.
#pragma once

#include "model/box/box_stage.h"
#include "model/box/event_order.h"
#include "model/seeded_random.h"
#include <godbox/emulator/model/rack_run.h>
#include <godbox/ring_queue.h>

#include <functional>
#include <queue>
#include <unordered_map>

namespace godbox::emulator::model {

// What the closed form says of one box and of one host, by direction.
struct FlowStages {
  StageFigures dram;
  StageFigures link;
  StageFigures path;
  StageFigures port;
  StageFigures nic;  // all of a host's
  StageFigures pcie;
  double payload_share = 1;  // of what is on the wire
  double first_byte_ns = 0;
};
using RackStages = std::array<FlowStages, 2>;  // by is_write
[[nodiscard]] Result<RackStages> rack_stages(const RackRunSpec& spec);

enum RackStageIndex : std::uint8_t {
  kAtDram,
  kAtLinkRead,
  kAtLinkWrite,
  kAtPathRead,
  kAtPathWrite,
  kAtPortRead,
  kAtPortWrite,
  kAtUpRead,  // box leaves to spines
  kAtUpWrite,
  kAtDownRead,  // spines to host leaves
  kAtDownWrite,
  kAtNicRead,
  kAtNicWrite,
  kAtPcieRead,
  kAtPcieWrite,
  kRackStages
};

class RackEngine {
 public:
  RackEngine(const RackRunSpec& spec, const RackShape& shape, const RackStages& stages,
             double requests_per_s);

  Result<void> run(const GoesOn& goes_on);
  [[nodiscard]] RackFigures figures();

 private:
  enum class Kind : std::uint8_t { read, put, restore };
  // A request, or a block that is put again, on its way.
  struct Flight {
    std::uint64_t asked_ps = 0;
    std::uint64_t end_ps = 0;
    std::uint64_t block = 0;
    std::uint32_t host = 0;
    std::uint32_t left_bytes = 0;
    std::uint32_t lost_bytes = 0;  // to be sent again when the loss is noticed
    std::uint32_t parts = 0;       // pieces and entries of queues that name it
    std::uint8_t box = 0;
    Kind kind = Kind::read;
    bool is_disturbed = false;
    bool is_over = true;  // done, given up, or tried again as another one
  };
  struct Piece {
    Times times;
    std::uint32_t flight = 0;
    std::uint32_t bytes = 0;
  };
  // Before the DRAM: what is left of a read, or a piece that is written. Before a NIC: what is left
  // of a put.
  struct Waiting {
    Times times;
    std::uint32_t flight = 0;
    std::uint32_t bytes = 0;
    bool is_write = false;
  };
  enum class What : std::uint8_t { arrival, loss, notice, recomputed };
  struct Timed {
    std::uint64_t at_ps = 0;
    std::uint64_t number = 0;
    What what = What::arrival;
    std::uint32_t host = 0;
    std::uint64_t block = 0;
    std::uint64_t asked_ps = 0;
    bool is_disturbed = false;
    bool operator>(const Timed& other) const {
      return at_ps != other.at_ps ? at_ps > other.at_ps : number > other.number;
    }
  };

  // --- What is asked (rack_engine.cpp) ---
  void run_timed();
  void schedule(Timed timed);
  void arrive();
  void read(const Timed& asked);
  void put(Kind kind, std::uint32_t host, std::uint64_t block, std::uint64_t asked_ps,
           std::uint8_t box, bool is_disturbed);
  void restore(std::uint64_t block, std::uint32_t host);
  void retry(const Flight& flight);
  void complete(Flight& flight, RackOutcome outcome);
  [[nodiscard]] std::uint64_t pick_block();
  [[nodiscard]] std::uint32_t copies_of(std::uint64_t block) const;
  std::uint32_t new_flight(const Flight& flight);
  void enqueue(std::uint32_t index, std::uint32_t bytes);

  // --- Pieces ---
  void run_event(std::size_t stream);
  void set_dram_next(std::size_t box);
  void read_dram(std::size_t box);
  void leave_box(std::size_t box);
  void leave_spine_to_hosts(std::size_t group);
  void enter_host(std::size_t group);
  void send_next(std::size_t host);
  void leave_host(std::size_t host);
  void leave_spine_to_boxes(std::size_t group);
  void enter_box(std::size_t group);
  void enter_dram(std::size_t box);
  void finish(const Piece& piece, bool is_write);
  void drop_part(std::uint32_t flight);
  // Whether nothing comes to its host, or to or from its box, any more.
  [[nodiscard]] bool is_cut_off(const Flight& flight) const {
    return !host_lives_[flight.host] || (lost_boxes_ >> flight.box & 1U) != 0;
  }
  [[nodiscard]] std::uint32_t after_loss(Flight& flight, std::uint32_t bytes);

  void pass(RackStageIndex stage, std::size_t server, Piece& piece, bool is_write) {
    Stage& at = stages_[stage];
    ++at.strips;
    piece.times = at.servers[server].pass(piece.times, services_[stage][server][is_write ? 1 : 0],
                                          piece.bytes);
  }
  void append(std::size_t stream, RingQueue<Piece>& queue, const Piece& piece) {
    const bool was_empty = queue.empty();
    queue.push_back(piece);
    if (was_empty) {
      order_.set(stream, piece.times.head_ps);
    }
  }
  // The front of a queue, whose stream goes on with the next one.
  Piece take(std::size_t stream, RingQueue<Piece>& queue) {
    const Piece piece = queue.front();
    queue.pop_front();
    order_.set(stream, queue.empty() ? EventOrder::kNever : queue.front().times.head_ps);
    return piece;
  }

  // --- Rates, the loss, figures (rack_state.cpp) ---
  void lay_blocks();
  void name_switches();
  void set_services();
  void set_stage(RackStageIndex index, std::size_t server, Rate limited, double members,
                 double passes_on_bytes, bool is_write);
  void name_stages();
  [[nodiscard]] double live_port_share(std::uint32_t box) const;
  [[nodiscard]] double live_leaf_share(bool of_boxes, std::uint32_t group) const;
  [[nodiscard]] std::uint32_t live_nics(std::uint32_t host) const;
  [[nodiscard]] double port_weight(std::uint32_t box, std::uint32_t port) const;
  void lose();
  void notice();
  void count_moves();
  void count_switches();

  RackRunSpec spec_;
  RackShape shape_;
  RackStages closed_;
  Cut cut_;
  std::uint32_t block_bytes_;
  double arrival_mean_ps_;
  std::uint64_t recompute_ps_;
  std::array<std::uint64_t, 2> half_way_ps_{};  // as BoxEngine's
  SeededRandom random_;

  std::array<Stage, kRackStages> stages_;
  std::array<std::vector<std::array<Service, 2>>, kRackStages> services_;  // by server, is_write

  std::vector<Flight> flights_;
  std::vector<std::uint32_t> unused_;
  std::priority_queue<Timed, std::vector<Timed>, std::greater<>> timed_;
  std::uint64_t timed_number_ = 0;
  std::uint64_t arrived_ = 0;
  std::uint64_t puts_ = 0;
  std::vector<double> popularity_;  // sums of 1 / (i + 1)^zipf; empty: all alike
  std::vector<BoxMask> holders_;    // by block
  std::unordered_map<std::uint64_t, BoxMask> restoring_;

  // Streams of events, each sorted by its pieces' heads; their numbers in order_ in this order,
  // behind that of timed_.
  std::vector<RingQueue<Waiting>> dram_;      // by box
  std::vector<RingQueue<Piece>> to_up_;       // by box: read, out of its ports
  std::vector<RingQueue<Piece>> to_down_;     // by group of box leaves: read, at the spines
  std::vector<RingQueue<Piece>> to_host_;     // by group of host leaves: read
  std::vector<RingQueue<Piece>> sent_;        // by host: written, at most one
  std::vector<RingQueue<Piece>> to_down_in_;  // by group of host leaves: written, at the spines
  std::vector<RingQueue<Piece>> to_box_;      // by group of box leaves: written
  std::vector<RingQueue<Piece>> to_dram_;     // by box: written, through the link
  std::vector<RingQueue<Waiting>> to_send_;   // by host: no stream
  struct Bases {
    std::size_t dram, to_up, to_down, to_host, sent, to_down_in, to_box, to_dram, end;
  };
  Bases base_;
  EventOrder order_;
  std::uint64_t now_ps_ = 0;

  // What is left of the rack.
  std::vector<bool> port_lives_;  // by box and port
  std::vector<bool> box_leaf_lives_;
  std::vector<bool> host_leaf_lives_;
  std::uint32_t live_spines_;
  BoxMask lost_boxes_ = 0;
  BoxMask known_boxes_;  // that hosts take for living
  std::vector<bool> host_lives_;
  // Parts of what goes there that are lost until the loss is noticed.
  std::vector<double> box_void_;
  std::vector<double> host_void_;
  double spine_void_ = 0;

  RackFigures figures_;
  // Since the network last changed, by is_write.
  std::array<std::vector<std::uint64_t>, 2> box_bytes_;
  std::array<std::vector<std::uint64_t>, 2> host_bytes_;
};

}  // namespace godbox::emulator::model
