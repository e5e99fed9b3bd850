// SPDX-License-Identifier: Apache-2.0
//
// JEDEC's rules as a list of pairs of commands with their least distance, kept apart from how the
// engine does it: when a command may be issued after the ones before, by looking back at each kind.
// Thread-safety: none. Units: cycles. Errors: none.
#pragma once

#include "model/dram/dram_engine.h"

#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace godbox_test {

using godbox::emulator::model::Cycle;
using godbox::emulator::model::DramCommand;
using godbox::emulator::model::DramSpec;
using godbox::emulator::model::IssuedCommand;

class DramRules {
 public:
  explicit DramRules(const DramSpec& spec)
      : t_(spec.timings), org_(spec.organization), banks_(org_.banks()) {}

  // The first cycle at which the command is legal, with the state after all that was added.
  [[nodiscard]] Cycle earliest(DramCommand command, std::uint32_t bank) const {
    Cycle at = 0;
    const auto after = [&at](Cycle last, std::uint32_t distance) {
      if (last >= 0) {
        at = std::max(at, last + distance);
      }
    };
    for (const Past& past : history_) {
      if (!past.is_internal) {
        after(past.at, past.command == DramCommand::precharge ||
                               past.command == DramCommand::precharge_all ||
                               past.command == DramCommand::refresh
                           ? 1
                           : t_.long_command);
      }
      for (const std::uint32_t b : banks_of(command, bank)) {
        if (command == DramCommand::precharge_all && !banks_[b].is_open) {
          continue;  // there it does nothing
        }
        for (const std::uint32_t other : banks_of(past.command, past.bank)) {
          if (const int distance = least(past, other, command, b); distance >= 0) {
            after(past.at, static_cast<std::uint32_t>(distance));
          }
        }
      }
    }
    if (command == DramCommand::activate) {  // the fourth last ACT of the rank
      std::uint32_t seen = 0;
      for (auto past = history_.rbegin(); past != history_.rend(); ++past) {
        if (past->command == DramCommand::activate && rank(past->bank) == rank(bank) &&
            ++seen == 4) {
          after(past->at, t_.faw);
          break;
        }
      }
    }
    return at;
  }

  // Empty when the command is legal in the bank's state.
  [[nodiscard]] std::string wrong_state(DramCommand command, std::uint32_t bank) const {
    switch (command) {
      case DramCommand::activate:
        return banks_[bank].is_open ? "ACT to an open bank" : "";
      case DramCommand::read:
      case DramCommand::write:
        return banks_[bank].is_open ? "" : "access to a closed bank";
      case DramCommand::refresh:
        for (const std::uint32_t b : banks_of(command, bank)) {
          if (banks_[b].is_open) {
            return "REF with a bank open";
          }
        }
        return "";
      case DramCommand::precharge:
      case DramCommand::precharge_all:
        return "";
    }
    return "no command";
  }

  void add(const IssuedCommand& issued) {
    // Nothing reaches further back than tRFC, or tFAW, or the recovery of a write.
    const Cycle horizon = t_.rfc + t_.rc + t_.faw + t_.cwl + t_.burst + t_.wr + t_.cl + 64;
    while (!history_.empty() && history_.front().at + horizon < issued.at) {
      history_.pop_front();
    }
    history_.push_back({issued.command, issued.bank, issued.at, false});
    for (const std::uint32_t b : banks_of(issued.command, issued.bank)) {
      if (issued.command == DramCommand::activate) {
        banks_[b] = {true, issued.row};
      } else if (issued.command == DramCommand::precharge ||
                 issued.command == DramCommand::precharge_all) {
        banks_[b].is_open = false;
      }
    }
    if (issued.closes_row) {
      close_by_itself(issued.bank);
    }
  }
  [[nodiscard]] bool is_open(std::uint32_t bank) const { return banks_[bank].is_open; }
  [[nodiscard]] std::uint32_t row(std::uint32_t bank) const { return banks_[bank].row; }

 private:
  struct Past {
    DramCommand command;
    std::uint32_t bank;
    Cycle at;
    bool is_internal;  // auto-precharge: on no bus
  };
  struct BankState {
    bool is_open = false;
    std::uint32_t row = 0;
  };

  // As soon as the bank's own rules for a PRE allow it.
  void close_by_itself(std::uint32_t bank) {
    Cycle at = 0;
    for (const Past& past : history_) {
      if (past.bank == bank && past.command != DramCommand::precharge &&
          past.command != DramCommand::precharge_all && past.command != DramCommand::refresh) {
        at = std::max(at, past.at + least(past, bank, DramCommand::precharge, bank));
      }
    }
    history_.push_back({DramCommand::precharge, bank, at, true});
    banks_[bank].is_open = false;
  }
  [[nodiscard]] std::uint32_t rank(std::uint32_t bank) const {
    return bank / org_.banks_per_rank();
  }
  [[nodiscard]] std::uint32_t group(std::uint32_t bank) const {
    return bank / org_.banks_per_group;
  }
  [[nodiscard]] std::vector<std::uint32_t> banks_of(DramCommand command, std::uint32_t bank) const {
    std::vector<std::uint32_t> all{bank};
    if (command == DramCommand::precharge_all || command == DramCommand::refresh) {
      for (std::uint32_t b = bank + 1; b < bank + org_.banks_per_rank(); ++b) {
        all.push_back(b);
      }
    }
    return all;
  }
  // Between `past` on bank `a` and `next` on bank `b`; -1: no rule.
  [[nodiscard]] int least(const Past& past, std::uint32_t a, DramCommand next,
                          std::uint32_t b) const {
    using C = DramCommand;
    const bool is_same_bank = a == b;
    const bool is_same_group = group(a) == group(b);
    const bool is_same_rank = rank(a) == rank(b);
    const auto n = [](std::uint32_t value) { return static_cast<int>(value); };
    const bool next_is_pre = next == C::precharge || next == C::precharge_all;
    const bool next_is_act = next == C::activate || next == C::refresh;
    switch (past.command) {
      case C::activate:
        if (is_same_bank) {
          return next_is_act ? n(t_.rc) : next_is_pre ? n(t_.ras) : n(t_.rcd);
        }
        return next == C::activate && is_same_rank ? n(is_same_group ? t_.rrd_l : t_.rrd_s) : -1;
      case C::precharge:
      case C::precharge_all:
        if (is_same_bank && next_is_act) {
          return n(t_.rp);
        }
        return next_is_pre && is_same_rank && !past.is_internal ? n(t_.ppd) : -1;
      case C::refresh:
        return is_same_bank && next_is_act ? n(t_.rfc) : -1;
      case C::read:
        if (next == C::read) {
          return n(!is_same_rank ? t_.burst + t_.rank_switch : is_same_group ? t_.ccd_l : t_.ccd_s);
        }
        if (next == C::write) {
          return n(t_.cl + t_.burst + (is_same_rank ? t_.read_to_write : t_.rank_switch)) -
                 n(t_.cwl);
        }
        return next_is_pre && is_same_bank ? n(t_.rtp) : -1;
      case C::write:
        if (next == C::write) {
          return n(!is_same_rank   ? t_.burst + t_.rank_switch
                   : is_same_group ? t_.ccd_l_wr
                                   : t_.ccd_s_wr);
        }
        if (next == C::read) {
          return is_same_rank ? n(t_.cwl + t_.burst + (is_same_group ? t_.wtr_l : t_.wtr_s))
                              : n(t_.cwl + t_.burst + t_.rank_switch) - n(t_.cl);
        }
        return next_is_pre && is_same_bank ? n(t_.cwl + t_.burst + t_.wr) : -1;
    }
    return -1;
  }

  godbox::emulator::model::DramTimings t_;
  godbox::emulator::model::DramOrganization org_;
  std::vector<BankState> banks_;
  std::deque<Past> history_;
};

}  // namespace godbox_test
