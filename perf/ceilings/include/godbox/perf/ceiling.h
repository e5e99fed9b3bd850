// SPDX-License-Identifier: Apache-2.0
//
// What this machine could do at best, measured beside what godbox does: the same direction, number
// of threads and connections, kind of memory and working set, and nothing else. A figure divided by
// its ceiling of the same minute holds on other machines too, and the neighbours' noise cancels.
// Thread-safety: one thread at a time; a ceiling starts its helper threads for each measurement.
// Ownership: the buffers outlive the ceiling. Units: bytes; GB/s are 1e9 bytes of payload per
// second. Errors: those of the system, as io_error.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <memory>
#include <string>

namespace godbox::perf {

enum class Direction : std::uint8_t { read, write };  // pool to user; user to pool

struct CeilingBuffers {
  MutableSpan pool_side;
  int pool_descriptor = -1;  // of pool_side from offset 0, for sendfile
  MutableSpan user_side;
  bool pool_is_huge = false;  // MappedBuffer::is_huge() of the pool's side: said by variant()
};

class Ceiling {
 public:
  virtual ~Ceiling() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;
  // The variant that calibrate() found best and the pool side's pages: "memcpy, pieces of 4096 KiB,
  // 1 threads, huge pages".
  [[nodiscard]] virtual std::string variant() const = 0;
  // Tries every variant over `bytes` and keeps the fastest.
  [[nodiscard]] virtual Result<void> calibrate(Direction direction, SizeBytes bytes) = 0;
  // Moves `bytes`, walking on through both buffers from where the last call ended; GB/s.
  [[nodiscard]] virtual Result<double> measure(Direction direction, SizeBytes bytes) = 0;
};

struct CopyCeilingOptions {
  std::size_t threads = 1;
  std::size_t strip_bytes = std::size_t{64} << 10U;
  bool streaming = false;  // non-temporal stores instead of memcpy
};
// Copies between the buffers, in pieces of 4 MiB or of a strip.
[[nodiscard]] std::unique_ptr<Ceiling> make_copy_ceiling(const CeilingBuffers& buffers,
                                                         const CopyCeilingOptions& options);

struct SocketCeilingOptions {
  std::size_t connections = 1;
  std::size_t server_threads = 1;  // the client side is the calling thread
  bool sendfile = false;           // reads only: the server sends by sendfile instead of send
};
// send and recv, non-blocking with epoll, over TCP connections on loopback that stay open; pieces
// of 256 KiB and of 1 MiB. No frames, no checks: what any protocol on these sockets stays below.
[[nodiscard]] Result<std::unique_ptr<Ceiling>> make_socket_ceiling(
    const CeilingBuffers& buffers, const SocketCeilingOptions& options);

}  // namespace godbox::perf
