// SPDX-License-Identifier: Apache-2.0
//
// One run of the whole product in virtual time: a box, its doors, one to four clients with their
// transports, a random workload that a reference model follows, and faults. A seed decides all of
// it; the same seed runs the same way again. Checked: every callback comes exactly once and in
// time, no wrong byte is ever returned, every answer is one that the model allows, nothing touches
// memory after its operation is over, and when all clients are gone the box has given all space,
// leases and sessions back.
// Thread-safety: one thread per run. Units: virtual time. Errors: the report's violations.
#pragma once

#include <godbox/units.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace godbox::sim {

// Mistakes that the harness makes on purpose, so that a test can see its checks fail.
enum class InjectedBug : std::uint8_t {
  none,
  drop_crc_check,  // the network flips bits and clients do not check CRCs
  lose_callback,   // a completion is swallowed
  late_write,      // a buffer is written after its operation is over
  leak_space,      // a session that never ends holds a reservation
  forget_remove,   // the model is not told of a remove
  forget_rebind,   // the model is told that a put which rebinds does not
  forget_ttl,      // the model takes each hard TTL for twice as long
  forget_unpin,    // the model takes whatever is retained for pinned
  skip_event,      // a subscriber's replies lose their first event
};

struct SimWorldOptions {
  std::uint64_t seed = 1;
  std::uint64_t operations = 1000;
  std::uint64_t faults = 5;
  // Tenants with quotas, one of which floods the pool with objects and leases; objects put layer by
  // layer, and readers that wait.
  bool tenants = false;
  // Names bound anew, pins, TTLs, watermarks, subscribers, layers; an observer who sees all.
  bool bindings = false;
  // Faults are only such as end control connections, alone or with their port, while lanes over
  // another stand: no session may be lost, and no operation hear of it.
  bool control_cuts = false;
  InjectedBug bug = InjectedBug::none;
  std::function<void(const std::string&)> log;  // every operation and fault; empty: none
  bool log_network = false;                     // and every event of the network
};

struct SimReport {
  std::vector<std::string> violations;  // the run ends at the first few
  std::uint64_t hash = 0;               // of the whole run
  Duration virtual_time{};
  std::string shape;                          // what the seed made of the world
  std::map<std::string, std::uint64_t> seen;  // what happened how often
};

[[nodiscard]] SimReport run_sim(const SimWorldOptions& options);

}  // namespace godbox::sim
