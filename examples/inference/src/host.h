// SPDX-License-Identifier: Apache-2.0
//
// What both runs are made of: an engine with a cache of its own on some nodes, and timed decoding.
// Thread-safety: one thread. Ownership: a host owns memory, pools and engine; plan and weights
// outlive it. Units: seconds, tokens. Errors: those of memory, connection and engine.
#pragma once

#include "cache_memory.h"
#include "engine.h"
#include "options.h"
#include "report.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace godbox::inference {

inline constexpr driver::NumaNodeId kNodeZero{0};

// Doors by address; empty: none.
struct Doors {
  std::string spill_to;
  std::string fetch_from;
};

class Host {
 public:
  // A cache for so many tokens on these nodes.
  [[nodiscard]] static Result<std::unique_ptr<Host>> create(
      const Plan& plan, const Weights& weights, std::span<const driver::NumaNodeId> nodes,
      std::size_t cache_tokens, const Doors& doors = {});

  [[nodiscard]] Engine& engine() { return *engine_; }
  [[nodiscard]] CacheMemory& memory() { return memory_; }
  [[nodiscard]] KvPool* spill_to() { return spill_to_; }
  [[nodiscard]] KvPool* fetch_from() { return fetch_from_; }

 private:
  explicit Host(CacheMemory memory) : memory_(std::move(memory)) {}
  [[nodiscard]] Result<KvPool*> open(const std::string& address, Duration timeout);

  CacheMemory memory_;
  std::vector<std::unique_ptr<KvPool>> pools_;
  KvPool* spill_to_ = nullptr;
  KvPool* fetch_from_ = nullptr;
  std::optional<Engine> engine_;
};

// What a sequence has to say, whatever memory and pool it was decoded with.
struct Expected {
  std::vector<std::uint32_t> tokens;
  std::uint64_t logits_digest = 0;
};
[[nodiscard]] Expected expected_of(const Sequence& sequence);
void compare(Report& report, const std::string& what, const Sequence& sequence,
             const Expected& expected);

// Seconds until so many tokens were decoded.
[[nodiscard]] Result<double> decode(Engine& engine, Sequence& sequence, std::size_t tokens);

// What every report begins with.
void begin(const Plan& plan, const Weights& weights, const char* command, Report& report);
// "real", or in a VM "emulated".
[[nodiscard]] std::string_view mode();
// Where the host's cache lies; a problem if that is elsewhere than on `nodes`.
[[nodiscard]] Result<std::string> check_placement(Host& host,
                                                  std::span<const driver::NumaNodeId> nodes,
                                                  Report& report);

}  // namespace godbox::inference
