// SPDX-License-Identifier: Apache-2.0
//
// One pass of one contestant: client threads that each keep operations in flight over keys of their
// own, and what they and the server took for it. Thread-safety: one pass at a time; it makes its
// threads itself. Ownership: the memory is the caller's. Units: bytes, seconds, microseconds.
// Errors: the first of any thread's client.
#pragma once

#include "kv_client.h"

#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

namespace godbox::compare {

enum class Kind : std::uint8_t { resp2, memcached, godbox };
[[nodiscard]] std::string_view to_string(Kind kind);

struct Contestant {
  std::string name;
  Kind kind = Kind::godbox;
  std::string address;          // "127.0.0.1:6379"; of godbox "local:PATH" too
  pid_t server = 0;             // 0: not known, its processor time is not measured
  std::vector<KvOp> ops{};      // that it takes part in
  std::size_t connections = 1;  // per thread; of godbox lanes per Ethernet port, 0: its default
  std::size_t eth_ports = 0;    // of godbox, used by each thread; 0: all
  std::size_t in_flight = 1;    // objects per thread
  std::size_t batch = 1;        // of them per call
  // The client's memory is only what is in flight, used again and again, so that it stays in the
  // caches: what redis-benchmark does. All objects then get the same few values.
  bool reuse = false;
};

struct Values {
  MutableSpan memory;  // object i lies at i * size
  SizeBytes size;
  std::uint64_t seed = 1;
  [[nodiscard]] std::uint64_t count() const { return memory.size() / size.count(); }
};
// Gives each object the bytes that belong to it.
void fill(const Values& values);
[[nodiscard]] std::uint64_t count_wrong(const Values& values);

struct PassOptions {
  KvOp op = KvOp::get;
  std::size_t threads = 1;
  std::uint64_t objects = 0;  // how many are moved in all, walking the values again and again
  bool spoil = false;         // fill the memory with something else before it is read into
};

struct Pass {
  std::uint64_t bytes = 0;
  double seconds = 0;
  double client_cpu_seconds = 0;             // of this process
  std::optional<double> server_cpu_seconds;  // of the server's, all its threads
  std::vector<double> latencies_us;          // of each call
};

[[nodiscard]] Result<Pass> run_pass(const Contestant& contestant, const Values& values,
                                    const PassOptions& options);

}  // namespace godbox::compare
