// SPDX-License-Identifier: Apache-2.0
#include "host.h"
#include "runs.h"

#include <boost/json/array.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <string>
#include <utility>

namespace godbox::inference {
namespace {

constexpr std::uint32_t kConversations = 2;

// A memory that is decoded in, beside the others.
struct Contestant {
  std::string name;
  std::vector<driver::NumaNodeId> nodes;
  std::unique_ptr<Host> host;
  Sequence sequence;
  double first_token_s = 0;
  Spread tokens_per_s;
  Spread copy_mb_per_s;  // of its pages, by memcpy
};

class DecodeRun {
 public:
  DecodeRun(const Plan& plan, Report& report)
      : plan_(plan),
        options_(plan.options),
        report_(report),
        weights_(plan.geometry, options_.seed) {}

  Result<void> go() {
    begin(plan_, weights_, "decode", report_);
    if (Result<void> done = compare_memories(); !done) {
      return done;
    }
    if (Result<void> done = expect_the_others(); !done) {
      return done;
    }
    if (options_.addresses.empty()) {
      report_.say("no --connect: nothing is spilled");
      return {};
    }
    // Each door in both directions, and what one has taken another gives.
    boost::json::array rounds;
    const std::size_t doors = options_.addresses.size();
    for (std::size_t i = 0; i < doors; ++i) {
      const Doors pair{.spill_to = options_.addresses[i],
                       .fetch_from = options_.addresses[(i + 1) % doors]};
      Result<boost::json::object> round = spill_and_fetch(pair);
      if (!round) {
        return round.error();
      }
      rounds.push_back(std::move(*round));
    }
    report_.figures()["rounds"] = std::move(rounds);
    return {};
  }

 private:
  [[nodiscard]] std::size_t tokens_of_one() const {
    return std::size_t{options_.prompt_tokens} + options_.output_tokens;
  }

  Result<Contestant> enter(std::string name, std::vector<driver::NumaNodeId> nodes) {
    Result<std::unique_ptr<Host>> host = Host::create(plan_, weights_, nodes, tokens_of_one());
    if (!host) {
      return host.error();
    }
    Contestant one{.name = std::move(name),
                   .nodes = std::move(nodes),
                   .host = std::move(*host),
                   .sequence = Sequence(make_prompt(plan_, 0)),
                   .tokens_per_s = {},
                   .copy_mb_per_s = {}};
    const Result<double> first = decode(one.host->engine(), one.sequence, 1);
    if (!first) {
      return first.error();
    }
    one.first_token_s = *first;
    return one;
  }

  // The same conversation in both, in turns, so that what else the machine does hits both.
  Result<void> compare_memories() {
    std::vector<Contestant> contestants;
    for (const auto& [name, nodes] : {std::pair(std::string("node 0"), std::vector{kNodeZero}),
                                      std::pair(name_of_cache_nodes(), cache_nodes())}) {
      Result<Contestant> one = enter(name, nodes);
      if (!one) {
        return one.error();
      }
      contestants.push_back(std::move(*one));
    }
    for (std::uint32_t repeat = 0; repeat < options_.repeats; ++repeat) {
      for (Contestant& one : contestants) {
        Engine::rewind(one.sequence, options_.prompt_tokens - 1);
        const Result<double> took =
            decode(one.host->engine(), one.sequence, options_.output_tokens);
        if (!took) {
          return took.error();
        }
        one.tokens_per_s.add(options_.output_tokens / *took);
        one.copy_mb_per_s.add(one.host->memory().copy_rate(copy_).bytes_per_second() / 1e6);
        if (expected_.empty()) {
          expected_.push_back(expected_of(one.sequence));
        }
        compare(report_, one.name, one.sequence, expected_[0]);
      }
    }
    return tell(contestants);
  }

  Result<void> tell(std::vector<Contestant>& contestants) {
    boost::json::array memories;
    for (Contestant& one : contestants) {
      const Result<std::string> where = check_placement(*one.host, one.nodes, report_);
      if (!where) {
        return where.error();
      }
      const Spread& rate = one.tokens_per_s;
      report_.say(fmt::format(
          "  {:<20} {:6.2f} tokens/s (median of {}, {:.2f} to {:.2f}), first of a prompt of {} "
          "after {}; {}, copied at {:.0f} MB/s",
          one.name, rate.median(), rate.samples.size(), rate.least(), rate.most(),
          options_.prompt_tokens, seconds_text(one.first_token_s), *where,
          one.copy_mb_per_s.median()));
      memories.push_back({{"name", one.name},
                          {"placement", *where},
                          {"first_token_s", one.first_token_s},
                          {"tokens_per_s", rate.figures()},
                          {"copy_mb_per_s", one.copy_mb_per_s.figures()}});
    }
    const double ratio =
        contestants[1].tokens_per_s.median() / contestants[0].tokens_per_s.median();
    report_.say(fmt::format("  {:.3f} of node 0, which is the ceiling; {} tokens, {}", ratio,
                            options_.output_tokens,
                            report_.problems().empty() ? "equal, and their logits to the bit"
                                                       : "not what they have to be"));
    report_.figures()["memories"] = std::move(memories);
    report_.figures()["ratio"] = ratio;
    report_.figures()["tokens"] =
        boost::json::array(expected_[0].tokens.begin(), expected_[0].tokens.end());
    return {};
  }

  // What the other conversations have to come out as: on node 0, without a pool.
  Result<void> expect_the_others() {
    Result<std::unique_ptr<Host>> host =
        Host::create(plan_, weights_, std::array{kNodeZero}, tokens_of_one());
    if (!host) {
      return host.error();
    }
    for (std::uint32_t number = 1; number < kConversations; ++number) {
      Sequence sequence(make_prompt(plan_, number));
      if (Result<double> done = decode((*host)->engine(), sequence, options_.output_tokens);
          !done) {
        return done.error();
      }
      expected_.push_back(expected_of(sequence));
      (*host)->engine().release(sequence);
    }
    return {};
  }

  Result<boost::json::object> spill_and_fetch(const Doors& doors) {
    Result<std::unique_ptr<Host>> host =
        Host::create(plan_, weights_, cache_nodes(), tokens_of_one(), doors);
    if (!host) {
      return host.error();
    }
    std::vector<Sequence> conversations;
    for (std::uint32_t number = 0; number < kConversations; ++number) {
      conversations.emplace_back(make_prompt(plan_, number));
      // What an earlier run has left would spare this one its work.
      Sequence whole = conversations.back();
      whole.tokens.insert(whole.tokens.end(), expected_[number].tokens.begin(),
                          expected_[number].tokens.end());
      const Result<void> removed =
          (*host)->fetch_from()->remove((*host)->engine().names_of(whole, whole.tokens.size()));
      if (!removed) {
        return removed.error();
      }
    }
    if (Result<void> done = take_turns((*host)->engine(), conversations); !done) {
      return done.error();
    }
    const std::string what =
        fmt::format("spill to {}, fetch from {}", doors.spill_to, doors.fetch_from);
    const std::size_t before = report_.problems().size();
    for (std::size_t i = 0; i < conversations.size(); ++i) {
      compare(report_, fmt::format("{}: conversation {}", what, i), conversations[i], expected_[i]);
    }
    if (Result<std::string> where = check_placement(**host, cache_nodes(), report_); !where) {
      return where.error();
    }
    return tell_round(what, doors, **host, report_.problems().size() == before);
  }

  // One cache for all of them: who has had his turn leaves it to the next.
  Result<void> take_turns(Engine& engine, std::vector<Sequence>& conversations) const {
    for (std::size_t done = 0; done < options_.output_tokens;) {
      const std::size_t turn =
          std::min<std::size_t>(options_.turn_tokens, options_.output_tokens - done);
      for (Sequence& one : conversations) {
        if (Result<double> took = decode(engine, one, turn); !took) {
          return took.error();
        }
        engine.spill(one);
      }
      done += turn;
    }
    return {};
  }

  boost::json::object tell_round(const std::string& what, const Doors& doors, Host& host,
                                 bool is_equal) {
    const PoolCounters& out = host.spill_to()->counters();
    const PoolCounters& in = host.fetch_from()->counters();
    const EngineCounters& engine = host.engine().counters();
    const std::uint64_t block_kib = host.spill_to()->block_size().count() >> 10U;
    const double out_s = std::chrono::duration<double>(out.store_time).count();
    const double in_s = std::chrono::duration<double>(in.fetch_time).count();
    report_.say(fmt::format(
        "{}: {} spills of {} blocks of {} KiB in {}, {} blocks fetched in {}, {} tokens computed "
        "again; tokens and logits {}",
        what, engine.spills, out.blocks_stored, block_kib, seconds_text(out_s), in.blocks_fetched,
        seconds_text(in_s), engine.tokens_recomputed, is_equal ? "equal" : "NOT equal"));
    report_.require(out.blocks_failed.empty() && in.blocks_failed.empty(),
                    what + ": blocks were lost");
    report_.require(in.blocks_fetched > 0, what + ": nothing was fetched");
    // A block that was not full when its sequence was spilled is no block of the pool's.
    report_.require(engine.tokens_recomputed <= engine.spills * PagedCache::kBlockTokens,
                    what + ": more was computed again than what no full block had");
    return {{"spill_to", doors.spill_to},
            {"fetch_from", doors.fetch_from},
            {"spills", engine.spills},
            {"block_bytes", host.spill_to()->block_size().count()},
            {"blocks_stored", out.blocks_stored},
            {"blocks_already_there", out.blocks_already_there},
            {"blocks_fetched", in.blocks_fetched},
            {"blocks_missed", in.blocks_missed},
            {"store_s", out_s},
            {"fetch_s", in_s},
            {"tokens_computed", engine.tokens_computed},
            {"tokens_recomputed", engine.tokens_recomputed},
            {"equal", is_equal}};
  }

  [[nodiscard]] std::string name_of_cache_nodes() const {
    std::vector<unsigned> numbers;
    for (const driver::NumaNodeId node : plan_.nodes) {
      numbers.push_back(node.value());
    }
    return numbers.empty() ? "node 0, again" : fmt::format("node {}", fmt::join(numbers, " and "));
  }

  [[nodiscard]] std::vector<driver::NumaNodeId> cache_nodes() const {
    return plan_.nodes.empty() ? std::vector{kNodeZero} : plan_.nodes;
  }

  const Plan& plan_;
  const Options& options_;
  Report& report_;
  Weights weights_;
  std::vector<Expected> expected_;  // by conversation
  std::vector<std::byte> copy_;     // of a cache, for its memory's rate
};

}  // namespace

Result<void> run_decode(const Plan& plan, Report& report) { return DecodeRun(plan, report).go(); }

}  // namespace godbox::inference
