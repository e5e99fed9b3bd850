// SPDX-License-Identifier: Apache-2.0
//
// A stage of the box in virtual time: servers side by side, each first come, first served.
// Thread-safety: none. Ownership: values. Units: in the names. Errors: none.
#pragma once

#include <godbox/emulator/model/box_run.h>

#include <algorithm>
#include <vector>

namespace godbox::emulator::model {

inline constexpr double kPsPerSecond = 1e12;

// Those with a flow each follow in pairs.
enum StageIndex : std::uint8_t {
  kDram,
  kLinkRead,
  kLinkWrite,
  kPathRead,
  kPathWrite,
  kPortRead,
  kPortWrite,
  kNicRead,
  kNicWrite,
  kPcieRead,
  kPcieWrite,
  kStages
};
[[nodiscard]] constexpr StageIndex of_flow(StageIndex read, bool is_write) {
  return static_cast<StageIndex>(read + (is_write ? 1 : 0));
}

// What a strip is on its way: when its first and last bytes are there.
struct Times {
  std::uint64_t head_ps = 0;
  std::uint64_t tail_ps = 0;
};

[[nodiscard]] inline std::uint64_t rounded(double ps) {
  return static_cast<std::uint64_t>(ps + 0.5);
}

// What a stage takes for a flow. In step, the stage is many members side by side: no strip is
// through sooner than the part of it that goes through one of them.
struct Service {
  double ps_per_byte = 0;
  double member_ps_per_byte = 0;
  std::uint32_t member_strip_bytes = 0;
  std::uint32_t stripe_bytes = 0;  // of all DRAM channels; not in step: a strip
  std::uint64_t passes_on_ps = 0;  // before the first bytes are passed on: a frame
  std::uint32_t strip_bytes = 0;   // a whole one, with its times
  std::uint64_t strip_ps = 0;
  std::uint64_t strip_least_ps = 0;

  [[nodiscard]] std::uint64_t work_ps(std::uint32_t bytes) const {
    return bytes == strip_bytes ? strip_ps : rounded(bytes * ps_per_byte);
  }
  [[nodiscard]] std::uint64_t least_ps(std::uint32_t bytes) const {
    return bytes == strip_bytes ? strip_least_ps : least_of(bytes);
  }
  [[nodiscard]] std::uint64_t least_of(std::uint32_t bytes) const {
    const std::uint32_t stripes = (bytes + stripe_bytes - 1) / stripe_bytes;
    return rounded(std::min(bytes, stripes * member_strip_bytes) * member_ps_per_byte);
  }
};

// How a flow is cut: the pieces that are events, and how many DRAM channels' strips are in each.
struct Cut {
  std::uint32_t piece_bytes = 0;  // a strip, or in step some stripes
  std::uint32_t stripe_bytes = 0;
  std::uint32_t member_strip_bytes = 0;
};

// What a server takes that stands for `members` side by side with `limited` in all; of no rate: no
// time.
[[nodiscard]] inline Service service_of(Rate limited, double members, const Cut& cut,
                                        double passes_on_bytes) {
  Service service{.member_strip_bytes = cut.member_strip_bytes,
                  .stripe_bytes = cut.stripe_bytes,
                  .strip_bytes = cut.piece_bytes};
  if (limited > Rate()) {
    service.ps_per_byte = kPsPerSecond / limited.bytes_per_second();
    service.member_ps_per_byte = service.ps_per_byte * members;
  }
  service.passes_on_ps = rounded(passes_on_bytes * service.member_ps_per_byte);
  service.strip_ps = rounded(cut.piece_bytes * service.ps_per_byte);
  service.strip_least_ps = service.least_of(cut.piece_bytes);
  return service;
}

// One of a stage: first come, first served.
struct Server {
  double slowness = 1;  // times as long as a healthy one
  std::uint64_t free_ps = 0;
  std::uint64_t busy_ps = 0;
  std::uint64_t waited_ps = 0;

  Times pass(const Times& in, const Service& service, std::uint32_t bytes) {
    std::uint64_t work = service.work_ps(bytes);
    if (slowness != 1) [[unlikely]] {
      work = rounded(static_cast<double>(work) * slowness);
    }
    const std::uint64_t passes_on = std::min(service.passes_on_ps, work);
    const std::uint64_t start = std::max(in.head_ps, free_ps);
    waited_ps += start - in.head_ps;
    busy_ps += work;
    free_ps = start + work;
    return {start + passes_on,
            std::max({free_ps, start + service.least_ps(bytes), in.tail_ps + passes_on})};
  }
};

// Servers side by side with what they take for one flow.
struct Stage {
  std::string_view name;
  BoxFlow flow = BoxFlow::both;
  std::uint32_t count = 0;
  Rate limited;
  std::vector<Server> servers;
  std::uint64_t strips = 0;

  [[nodiscard]] StageLoad load() const {
    StageLoad load{.name = name, .flow = flow, .count = count, .limited = limited};
    std::uint64_t waited_ps = 0;
    for (const Server& server : servers) {
      const double busy_s = static_cast<double>(server.busy_ps) / kPsPerSecond;
      load.busy_s += busy_s;
      load.busy_s_max = std::max(load.busy_s_max, busy_s);
      waited_ps += server.waited_ps;
    }
    // In step, one stands for all of them.
    load.busy_s *= static_cast<double>(count) / static_cast<double>(servers.size());
    load.wait_mean_s =
        strips == 0 ? 0
                    : static_cast<double>(waited_ps) / static_cast<double>(strips) / kPsPerSecond;
    return load;
  }
};

}  // namespace godbox::emulator::model
