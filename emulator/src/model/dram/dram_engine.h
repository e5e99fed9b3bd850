// SPDX-License-Identifier: Apache-2.0
//
// One DRAM sub-channel and its memory controller, command by command. Event driven: each step finds
// the command that can be issued first and goes there; cycles between are never looked at, and the
// result is what a controller that looks at every cycle would do. Fixed arrays; nothing is
// allocated after construction. Thread-safety: none; one owner. Units: cycles of the DRAM clock
// since the start. Errors: none.
#pragma once

#include "model/dram/bank_agenda.h"
#include <godbox/emulator/model/dram_spec.h>

#include <vector>

namespace godbox::emulator::model {

// A place of a line in a sub-channel. `bank` counts over ranks, bank groups and banks.
struct DramPlace {
  std::uint32_t bank = 0;
  std::uint32_t row = 0;
};

struct DramCounters {
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;
  std::uint64_t activates = 0;
  std::uint64_t precharges = 0;
  std::uint64_t refreshes = 0;
  std::uint64_t row_hits = 0;       // lines that found their row open
  std::uint64_t row_misses = 0;     // ... their bank closed
  std::uint64_t row_conflicts = 0;  // ... another row open
  std::uint64_t turnarounds = 0;    // changes between reading and writing
  Cycle bus_busy = 0;               // cycles with data on the bus
};

enum class DramCommand : std::uint8_t { read, write, activate, precharge, precharge_all, refresh };

// For tests: what was on the command bus.
struct IssuedCommand {
  DramCommand command = DramCommand::read;
  std::uint32_t bank = 0;  // the first bank of the rank for precharge_all and refresh
  std::uint32_t row = 0;   // activate only
  Cycle at = 0;
  bool closes_row = false;  // an access with auto-precharge
};

class DramEngine {
 public:
  explicit DramEngine(const DramSpec& spec);
  // Every command is appended to `log`, which outlives the engine.
  void log_to(std::vector<IssuedCommand>* log) { log_ = log; }

  [[nodiscard]] bool has_room(bool is_write) const {
    return queued_[is_write ? 1 : 0] < queue_size_[is_write ? 1 : 0];
  }
  [[nodiscard]] std::uint32_t queued() const { return queued_[0] + queued_[1]; }
  // There must be room, and everything before `now` must have been run.
  void submit(const DramPlace& place, bool is_write, std::uint32_t tag, Cycle now);

  // Issues all commands that can go before `until`. For every READ and WRITE,
  // done(tag, is_write, issued, data_end) is called, which may submit at `issued`.
  template <class Done>
  void run(Cycle until, Done&& done) {
    while (step(until, done)) {
    }
  }
  // The same up to and with the next READ or WRITE; false when none is issued before `until`.
  template <class Done>
  bool run_to_access(Cycle until, Done&& done) {
    const std::uint64_t before = counters_.reads + counters_.writes;
    while (step(until, done)) {
      if (counters_.reads + counters_.writes != before) {
        return true;
      }
    }
    return false;
  }

  [[nodiscard]] const DramCounters& counters() const { return counters_; }
  [[nodiscard]] Cycle read_data_end(Cycle issued) const { return issued + t_.cl + t_.burst; }

 private:
  using Wish = BankAgenda::Wish;
  using Key = BankAgenda::Key;
  static constexpr std::uint16_t kNone = 0xFFFF;
  static constexpr std::uint32_t kClosed = 0xFFFFFFFF;
  static constexpr std::uint32_t kWords = kBanksMax / 64;
  static constexpr Cycle kUnknown = -1;
  // Ages are counted anew when they reach the end.
  static constexpr std::uint32_t kAgeBits = 13;
  static constexpr std::uint32_t kAges = 1U << kAgeBits;
  static constexpr std::size_t kNodes = std::size_t{2} * kQueueEntriesMax;

  struct Node {
    std::uint32_t row = 0;
    std::uint32_t tag = 0;
    std::uint16_t age = 0;
    std::uint16_t next = kNone;
    std::uint16_t bank = kNone;  // kNone: the node is free
    bool is_write = false;
    bool is_counted = false;  // as hit, miss or conflict
  };
  struct List {
    std::uint16_t head = kNone;
    std::uint16_t tail = kNone;
  };
  struct alignas(64) Bank {
    Cycle act_ready = 0;
    Cycle access_ready = 0;  // tRCD after ACT
    Cycle pre_ready = 0;
    std::uint32_t open_row = kClosed;
    std::uint16_t hits_in_row = 0;  // accesses since ACT
    BankAgenda::Place place;
    std::uint8_t rank = 0;
    // 1 + the direction in which the row was opened: the oldest request there keeps it open.
    std::uint8_t pinned = 0;
    bool is_refresh_pending = false;  // of its rank: only what rows were opened for goes on
    std::array<List, 2> hits;         // reads, writes that want the open row; oldest first
    std::array<List, 2> misses;       // ... another row
  };
  struct Rank {
    Cycle pre_ready = 0;
    Cycle refresh_due = kCycleNever;
    std::array<Cycle, 4> last_acts{};
    std::uint32_t next_act = 0;  // index of the oldest in last_acts
    bool is_refresh_pending = false;
  };
  // What goes next: the first command for a request, or one for the whole of a rank.
  struct Choice {
    std::uint16_t node = kNone;
    std::uint16_t rank = kNone;
    Cycle at = kCycleNever;
  };

  template <class Done>
  bool step(Cycle until, Done&& done) {
    const Choice choice = choose(until);
    if (choice.node == kNone) {
      if (choice.rank == kNone) {
        return false;
      }
      issue_to_rank(choice.rank, choice.at);
      return true;
    }
    const Node& node = nodes_[choice.node];
    const std::uint32_t row = banks_[node.bank].open_row;
    if (row == node.row) {
      const bool is_write = node.is_write;
      const std::uint32_t tag = node.tag;
      issue_access(choice.node, choice.at);
      const Cycle data = choice.at + (is_write ? t_.cwl : t_.cl);
      done(tag, is_write, choice.at, data + t_.burst);
    } else if (row == kClosed) {
      open_row(choice.node, choice.at);
    } else {
      precharge(choice.node, choice.at);
    }
    return true;
  }

  [[nodiscard]] std::uint32_t direction() const { return is_write_mode_ ? 1 : 0; }
  [[nodiscard]] std::uint16_t next_node() const {
    return node_of_age_[kAges - 1 - (static_cast<std::uint32_t>(next_.key) & (kAges - 1))];
  }
  // Of equals the older goes first.
  [[nodiscard]] Key key(std::uint32_t priority, std::uint16_t node) const {
    return static_cast<Key>((priority << kAgeBits) + (kAges - 1 - nodes_[node].age));
  }

  // Constants of the run.
  DramTimings t_;
  bool is_oldest_ready_;
  RowPolicy row_policy_;
  std::uint32_t row_hits_max_;
  std::array<std::uint32_t, 2> queue_size_;
  std::uint32_t write_high_;
  std::uint32_t write_low_;
  std::uint32_t rank_count_;
  std::uint32_t bank_count_;
  std::uint32_t banks_per_rank_;

  BankAgenda agenda_;
  BankAgenda::Next next_{.at = kUnknown};  // of the agenda, while command_free_ is not after it
  std::array<Bank, kBanksMax> banks_{};
  std::array<Rank, kRanksMax> ranks_{};
  std::array<Node, kNodes> nodes_{};
  std::array<std::uint16_t, kAges> node_of_age_{};
  std::uint16_t free_node_ = kNone;
  std::array<std::uint32_t, 2> queued_{};
  std::array<std::uint64_t, kWords> busy_{};  // banks with requests
  std::uint32_t next_age_ = 0;
  bool is_write_mode_ = false;
  bool last_was_write_ = false;
  Cycle command_free_ = 0;  // no command before
  Cycle next_refresh_ = kCycleNever;
  std::uint32_t refreshes_pending_ = 0;
  DramCounters counters_;
  std::vector<IssuedCommand>* log_ = nullptr;

  [[nodiscard]] Choice choose(Cycle until);
  [[nodiscard]] Choice choose_with_refresh(Cycle until);
  [[nodiscard]] Choice choose_rank(Cycle now) const;
  void mark_refreshes_due(Cycle now);

  void update_write_mode();
  void plan(const Bank& bank);
  void plan_closed(const Bank& bank);
  void plan_pinned(const Bank& bank);
  void plan_open(const Bank& bank);
  void consider(std::uint32_t index);
  [[nodiscard]] BankAgenda::Next first_wish(Cycle now);
  void plan_all();
  void count_ages_anew();

  void begin_command(Cycle at) {
    next_.at = kUnknown;
    agenda_.issue_at(at);
  }
  void issue_access(std::uint16_t node, Cycle at);
  void issue_to_rank(std::uint32_t rank, Cycle at);
  void open_row(std::uint16_t node, Cycle at);
  void precharge(std::uint16_t node, Cycle at);
  void note_precharge(std::uint32_t bank, Cycle at);
  void close_row(std::uint32_t index, Cycle act_ready);

  void note(DramCommand command, std::uint32_t bank, Cycle at) {
    if (log_ != nullptr) {
      log(command, bank, at);
    }
  }
  void log(DramCommand command, std::uint32_t bank, Cycle at);

  void find_hits(Bank& bank, std::uint32_t direction);
  void append(List& list, std::uint16_t node) {
    nodes_[node].next = kNone;
    if (list.head == kNone) {
      list.head = node;
    } else {
      nodes_[list.tail].next = node;
    }
    list.tail = node;
  }
  std::uint16_t take_head(List& list) {
    const std::uint16_t node = list.head;
    list.head = nodes_[node].next;
    return node;
  }
  void count_first_command(Node& node, std::uint64_t& counter) {
    counter += node.is_counted ? 0 : 1;
    node.is_counted = true;
  }
};

}  // namespace godbox::emulator::model
