// SPDX-License-Identifier: Apache-2.0
#include "demo/prefix_reuse.h"

#include "cli/format.h"
#include "cli/json.h"
#include "measure/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

constexpr std::uint64_t kNewBlocks = 2;
constexpr std::uint32_t kTokensPerBlock = 64;
constexpr std::size_t kLookups = 50;
constexpr double kLookupSecondsMax = 1e-3;

// Asks several times, for a median; the last answer is kept.
Result<striping::Lookup> timed_lookups(striping::Client& client, const Clock& clock,
                                       std::span<const std::string_view> names,
                                       std::vector<double>& latencies_s) {
  Result<striping::Lookup> found = Error(Errc::not_found);
  for (std::size_t i = 0; i < kLookups; ++i) {
    if (found) {
      client.release(*found);
    }
    const TimePoint begin = clock.now();
    found = client.lookup_prefix(names);
    latencies_s.push_back(std::chrono::duration<double>(clock.now() - begin).count());
    if (!found) {
      break;
    }
  }
  return found;
}

// The last blocks become new ones, which are not in the pool yet.
void begin_turn_two(BlockMover& mover, std::uint64_t old_blocks) {
  for (std::uint64_t i = old_blocks; i < mover.blocks().count(); ++i) {
    mover.blocks().renew(i);
  }
}

void tell(Stage& stage, std::size_t hits, double lookup_s, const MovedBlocks& loaded,
          const MovedBlocks& stored) {
  stage.story.say(fmt::format("  lookup_prefix: the first {} blocks are there, {} (real)", hits,
                              format_duration(lookup_s)));
  stage.story.say(fmt::format("  loading them:  {} in {} (emulated), every byte compared",
                              format_size(SizeBytes(loaded.bytes)),
                              format_duration(loaded.seconds)));
  stage.story.say(fmt::format("  storing:       only the {} new in {} (emulated)",
                              format_size(SizeBytes(stored.bytes)),
                              format_duration(stored.seconds)));
}

}  // namespace

Result<void> show_prefix_reuse(Stage& stage, BlockMover& mover) {
  const std::uint64_t old_blocks = mover.blocks().count() - kNewBlocks;
  stage.story.heading("4. A prompt's beginning is there already",
                      fmt::format("   Turn two repeats the {} tokens of turn one and adds {}.",
                                  old_blocks * kTokensPerBlock, kNewBlocks * kTokensPerBlock));
  begin_turn_two(mover, old_blocks);
  std::vector<std::string_view> prompt;
  for (std::uint64_t i = 0; i < mover.blocks().count(); ++i) {
    prompt.push_back(mover.blocks().name(i));
  }
  std::vector<double> latencies_s;
  Result<striping::Lookup> found =
      timed_lookups(mover.rig().client(), mover.rig().clock(), prompt, latencies_s);
  if (!found) {
    return found.error();
  }
  const std::size_t hits = found->objects.size();
  mover.rig().client().release(*found);
  const Result<MovedBlocks> loaded = mover.load(0, old_blocks);
  if (!loaded) {
    return loaded.error();
  }
  const Result<MovedBlocks> stored = mover.store(old_blocks, kNewBlocks);
  if (!stored) {
    return stored.error();
  }
  const double lookup_s = summarise(latencies_s).median;
  tell(stage, hits, lookup_s, *loaded, *stored);
  stage.story.add({"leading blocks found by one lookup",
                   fmt::format("{} of {}", hits, prompt.size()),
                   fmt::format("{} of {}", old_blocks, prompt.size()),
                   false,
                   hits == old_blocks,
                   {{"hits", hits}, {"names", prompt.size()}}});
  stage.story.add({"time of that lookup (median)",
                   format_duration(lookup_s),
                   "< 1 ms",
                   false,
                   lookup_s < kLookupSecondsMax,
                   {{"seconds", rounded(lookup_s, 4)}}});
  return {};
}

}  // namespace godbox::app
