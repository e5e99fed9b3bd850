// SPDX-License-Identifier: Apache-2.0
//
// The engine against JEDEC's rules, looked up pair by pair, and against a controller that looks at
// every request in every cycle.
#include "dram_rules.h"
#include "model/seeded_random.h"

#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>

#include <optional>

namespace godbox_test {
namespace {

using namespace godbox::emulator::model;

DramSpec spec_of(const DimmLabel& label) {
  const auto spec = jedec_dram(label);
  REQUIRE(spec.has_value());
  return *spec;
}

struct Request {
  DramPlace place;
  bool is_write = false;
  Cycle arrival = 0;
};

// Few rows, so that there are hits, misses and conflicts.
std::vector<Request> some_requests(const DramSpec& spec, std::size_t count, double mean_gap,
                                   std::uint64_t seed) {
  SeededRandom random(seed);
  std::vector<Request> requests;
  double now = 0;
  for (std::size_t i = 0; i < count; ++i) {
    now += random.exponential(mean_gap);
    requests.push_back({{static_cast<std::uint32_t>(random.below(spec.organization.banks())),
                         static_cast<std::uint32_t>(random.below(3))},
                        random.uniform() < 0.4,
                        static_cast<Cycle>(now)});
  }
  return requests;
}

struct Outcome {
  std::vector<IssuedCommand> log;
  std::vector<Cycle> issued;  // by request
};

Outcome run_engine(const DramSpec& spec, const std::vector<Request>& requests) {
  DramEngine engine(spec);
  Outcome outcome;
  outcome.issued.resize(requests.size(), -1);
  engine.log_to(&outcome.log);
  const auto done = [&](std::uint32_t tag, bool, Cycle issued, Cycle) {
    outcome.issued[tag] = issued;
  };
  Cycle front = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    front = std::max(front, requests[i].arrival);
    engine.run(front, done);
    while (!engine.has_room(requests[i].is_write)) {
      engine.run_to_access(kCycleNever, [&](std::uint32_t tag, bool w, Cycle issued, Cycle end) {
        done(tag, w, issued, end);
        front = std::max(front, issued);
      });
    }
    engine.submit(requests[i].place, requests[i].is_write, static_cast<std::uint32_t>(i), front);
  }
  while (engine.queued() != 0) {
    engine.run_to_access(kCycleNever, done);
  }
  return outcome;
}

std::vector<DramSpec> various_devices() {
  std::vector<DramSpec> specs;
  specs.push_back(spec_of({DramStandard::ddr5, 5600, 16, 8, 1, 1}));
  specs.push_back(spec_of({DramStandard::ddr5, 6400, 32, 4, 2, 2}));
  specs.push_back(spec_of({DramStandard::ddr4, 2400, 8, 4, 2, 1}));
  specs.push_back(spec_of({DramStandard::ddr4, 3200, 16, 16, 1, 1}));
  for (std::size_t i = 0; i < 4; ++i) {
    DramSpec other = specs[i];
    other.controller.rule = SchedulerRule::oldest_ready;
    specs.push_back(other);
    other = specs[i];
    other.controller.row_policy = RowPolicy::closed;
    specs.push_back(other);
  }
  for (DramSpec& spec : specs) {
    spec.controller.read_queue = 24;
    spec.controller.write_queue = 24;
    spec.timings.refi /= 4;  // more of what is rare
  }
  return specs;
}

TEST_CASE("no command breaks a rule of JEDEC", "[unit][model][dram]") {
  for (const DramSpec& spec : various_devices()) {
    for (const double gap : {1.0, 20.0, 100.0}) {
      INFO(spec.name << ", a request every " << gap << " cycles, seed 7");
      const Outcome outcome = run_engine(spec, some_requests(spec, 1500, gap, 7));
      REQUIRE(outcome.log.size() > 1500);
      DramRules rules(spec);
      for (const IssuedCommand& command : outcome.log) {
        REQUIRE(rules.wrong_state(command.command, command.bank).empty());
        REQUIRE(command.at >= rules.earliest(command.command, command.bank));
        rules.add(command);
      }
    }
  }
}

// Looks at every queued request in every cycle, and at JEDEC's rules for each.
class CycleByCycle {
 public:
  explicit CycleByCycle(const DramSpec& spec) : spec_(spec), rules_(spec), opened_for_(kBanksMax) {}

  Outcome run(const std::vector<Request>& requests) {
    Outcome outcome;
    outcome.issued.resize(requests.size(), -1);
    std::size_t next = 0;
    std::size_t done = 0;
    for (Cycle now = 0; done < requests.size(); ++now) {
      REQUIRE(now < 10'000'000);
      const auto room = [&](bool is_write) {
        return queued(is_write) <
               (is_write ? spec_.controller.write_queue : spec_.controller.read_queue);
      };
      const auto take = [&] {
        while (next < requests.size() && requests[next].arrival <= now &&
               room(requests[next].is_write)) {
          queue_.push_back({next, requests[next]});
          ++next;
          update_mode();
        }
      };
      take();
      if (const auto served = serve(now)) {
        outcome.issued[*served] = now;
        ++done;
        take();
      }
    }
    return outcome;
  }

 private:
  struct Queued {
    std::size_t number;
    Request request;
  };
  struct Best {
    int priority = 3;  // 0: the row was opened for it, 1: row hit, 2: ACT or PRE; or 2 for both
    std::size_t position = 0;
    DramCommand command = DramCommand::read;
  };

  [[nodiscard]] std::size_t queued(bool is_write) const {
    return static_cast<std::size_t>(
        std::count_if(queue_.begin(), queue_.end(),
                      [&](const Queued& q) { return q.request.is_write == is_write; }));
  }
  void update_mode() {
    const std::size_t writes = queued(true);
    const std::size_t reads = queued(false);
    const double size = spec_.controller.write_queue;
    is_write_mode_ =
        is_write_mode_
            ? writes > 0 &&
                  (static_cast<double>(writes) >= std::ceil(spec_.controller.write_low * size) ||
                   reads == 0)
            : static_cast<double>(writes) > std::floor(spec_.controller.write_high * size) ||
                  (reads == 0 && writes > 0);
  }
  [[nodiscard]] bool wants_open_row(const Queued& q) const {
    return rules_.is_open(q.request.place.bank) &&
           rules_.row(q.request.place.bank) == q.request.place.row;
  }
  [[nodiscard]] std::optional<Best> option(std::size_t position, Cycle now) const {
    const Queued& q = queue_[position];
    const std::uint32_t bank = q.request.place.bank;
    const auto& opened_for = opened_for_[bank];
    if (opened_for && *opened_for == q.number) {
      const DramCommand access = q.request.is_write ? DramCommand::write : DramCommand::read;
      return rules_.earliest(access, bank) <= now ? std::optional<Best>({0, position, access})
                                                  : std::nullopt;
    }
    if (q.request.is_write != is_write_mode_ || opened_for) {
      return std::nullopt;
    }
    Best best{2, position, DramCommand::activate};
    const bool is_oldest_ready = spec_.controller.rule == SchedulerRule::oldest_ready;
    if (wants_open_row(q)) {
      best = {is_oldest_ready ? 2 : 1, position,
              q.request.is_write ? DramCommand::write : DramCommand::read};
    } else if (rules_.is_open(bank)) {
      const bool is_wanted = std::any_of(queue_.begin(), queue_.end(), [&](const Queued& other) {
        return other.request.place.bank == bank && other.request.is_write == is_write_mode_ &&
               wants_open_row(other) && (!is_oldest_ready || other.number < q.number);
      });
      if (is_wanted) {
        return std::nullopt;
      }
      best.command = DramCommand::precharge;
    }
    return rules_.earliest(best.command, bank) <= now ? std::optional(best) : std::nullopt;
  }
  std::optional<std::size_t> serve(Cycle now) {
    std::optional<Best> best;
    for (std::size_t i = 0; i < queue_.size(); ++i) {
      const auto other = option(i, now);
      if (other && (!best || other->priority < best->priority)) {
        best = other;  // among equals the older one, which came first
      }
    }
    if (!best) {
      return std::nullopt;
    }
    const Queued q = queue_[best->position];
    IssuedCommand issued{best->command, q.request.place.bank, q.request.place.row, now, false};
    if (best->command == DramCommand::activate) {
      opened_for_[q.request.place.bank] = q.number;
    }
    if (best->command != DramCommand::read && best->command != DramCommand::write) {
      rules_.add(issued);
      return std::nullopt;
    }
    if (opened_for_[q.request.place.bank] == q.number) {
      opened_for_[q.request.place.bank].reset();
    }
    queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(best->position));
    issued.closes_row =
        spec_.controller.row_policy == RowPolicy::closed &&
        std::none_of(queue_.begin(), queue_.end(), [&](const Queued& other) {
          return other.request.place.bank == q.request.place.bank && wants_open_row(other);
        });
    rules_.add(issued);
    update_mode();
    return q.number;
  }

  DramSpec spec_;
  DramRules rules_;
  std::vector<Queued> queue_;
  std::vector<std::optional<std::size_t>> opened_for_;
  bool is_write_mode_ = false;
};

TEST_CASE("every access is in the cycle in which a cycle by cycle controller has it",
          "[unit][model][dram]") {
  std::vector<DramSpec> specs;
  for (const DimmLabel& label : {DimmLabel{DramStandard::ddr5, 5600, 8, 8, 1, 1},
                                 DimmLabel{DramStandard::ddr4, 2400, 8, 8, 2, 1}}) {
    DramSpec spec = spec_of(label);
    spec.controller.read_queue = 12;
    spec.controller.write_queue = 12;
    spec.controller.row_hits_max = 0;
    spec.timings.refi = 0;
    specs.push_back(spec);
    spec.controller.row_policy = RowPolicy::closed;
    specs.push_back(spec);
    spec.controller.row_policy = RowPolicy::open;
    spec.controller.rule = SchedulerRule::oldest_ready;
    specs.push_back(spec);
  }
  for (const DramSpec& spec : specs) {
    for (const double gap : {2.0, 15.0, 60.0}) {
      for (const std::uint64_t seed : {1U, 2U}) {
        INFO(spec.name << ", "
                       << kSchedulerRuleNames[static_cast<std::size_t>(spec.controller.rule)]
                       << ", rows "
                       << kRowPolicyNames[static_cast<std::size_t>(spec.controller.row_policy)]
                       << ", a request every " << gap << " cycles, seed " << seed);
        const std::vector<Request> requests = some_requests(spec, 300, gap, seed);
        CHECK(run_engine(spec, requests).issued == CycleByCycle(spec).run(requests).issued);
      }
    }
  }
}

TEST_CASE("a rank is refreshed once in each interval, however busy it is", "[unit][model][dram]") {
  DramSpec spec = spec_of({DramStandard::ddr5, 5600, 16, 4, 2, 1});
  const Outcome outcome = run_engine(spec, some_requests(spec, 60'000, 5.0, 3));
  std::map<std::uint32_t, std::vector<Cycle>> refreshes;
  for (const IssuedCommand& command : outcome.log) {
    if (command.command == DramCommand::refresh) {
      refreshes[command.bank].push_back(command.at);
    }
  }
  REQUIRE(refreshes.size() == 2);
  for (const auto& [bank, times] : refreshes) {
    REQUIRE(times.size() > 10);
    for (std::size_t i = 1; i < times.size(); ++i) {
      // Each may be late by the accesses that rows were opened for, and the next is not.
      CHECK(times[i] - times[i - 1] > spec.timings.refi - 700);
      CHECK(times[i] - times[i - 1] < spec.timings.refi + 700);
    }
    const Cycle all = times.back() - times.front();
    CHECK(std::abs(all - Cycle{spec.timings.refi} * static_cast<Cycle>(times.size() - 1)) < 700);
  }
}

TEST_CASE("a request is never kept waiting by hits in another row for ever",
          "[unit][model][dram]") {
  DramSpec spec = spec_of({DramStandard::ddr5, 5600, 16, 8, 1, 1});
  spec.controller.row_hits_max = 16;
  std::vector<Request> requests{{{0, 1}, false, 0}, {{0, 2}, false, 10}};
  for (Cycle i = 0; i < 500; ++i) {
    requests.push_back({{0, 1}, false, 20 + i});
  }
  CHECK(run_engine(spec, requests).issued[1] < 16 * spec.timings.ccd_l + 200);
  spec.controller.row_hits_max = 0;
  CHECK(run_engine(spec, requests).issued[1] > 100 * Cycle{spec.timings.ccd_l});
}

}  // namespace
}  // namespace godbox_test
