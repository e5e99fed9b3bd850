// SPDX-License-Identifier: Apache-2.0
//
// The least that one small access over TCP can take: a request and its reply on one loopback
// connection, by plain send and recv, and nothing else. The reply comes from one buffer and goes
// into another, walking through both, as a read of the pool does; a write is the other way round.
// The far end blocks, as a server does; the near end blocks too, or looks for the reply until it is
// there: which is faster depends on what else the machine does. Thread-safety: one thread; the far
// end is a thread of its own. Ownership: the buffers outlive it. Units: bytes, microseconds.
// Errors: invalid_argument (a size of 0, or larger than a buffer), io_error.
#pragma once

#include <godbox/perf/ceiling.h>

#include <memory>
#include <vector>

namespace godbox::perf {

struct PingPongOptions {
  std::size_t request_bytes = 64;
  std::size_t reply_bytes = 4096;
};

class PingPong {
 public:
  // The longer one of request and reply is what walks through the buffers.
  [[nodiscard]] static Result<std::unique_ptr<PingPong>> start(const CeilingBuffers& buffers,
                                                               const PingPongOptions& options);
  ~PingPong();
  PingPong(const PingPong&) = delete;
  PingPong& operator=(const PingPong&) = delete;

  enum class Wait : std::uint8_t { block, spin };
  // So many round trips, one after the other; microseconds of each.
  [[nodiscard]] Result<std::vector<double>> measure(std::size_t round_trips, Wait wait);

 private:
  struct Impl;
  explicit PingPong(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::perf
