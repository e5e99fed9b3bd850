// SPDX-License-Identifier: Apache-2.0
//
// A port of a box on an RDMA device of this machine: clients connect by rdma_connect, with the
// proof of a session, and order the device to move bytes between the pool and memory of theirs
// (godbox/roce/move_order.h; docs/rdma.md, "A box with an RDMA device"). The processor takes orders
// and posts work; it touches no byte. What may be moved is the pool's to say (PoolAccess), by the
// keys that clients have of it: none of the device's keys opens the pool to anybody.
// A lane that sends what is no order, that the pool has fenced or closed (within kVerbsSweepPeriod)
// or whose memory the device cannot reach is closed. Its bytes are let go once its queue pair is
// destroyed, after which the device touches none of them, and only then is the client told.
// Thread-safety: run() on one thread, counters() and stop() from any; the rest from one. Ownership:
// pool, memory and clock outlive the server. Units: bytes. Errors: see open().
// Source: rdma-core 44, rdma_cm(7), ibv_post_send(3).
#pragma once

#include <godbox/clock.h>
#include <godbox/driver/registered_memory.h>
#include <godbox/frame_source.h>
#include <godbox/pool_access.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace godbox::driver {

inline constexpr std::size_t kVerbsServerLanesMax = 1024;
// READs and WRITEs of one lane that its device has at a time.
inline constexpr std::uint32_t kVerbsServerSendsMax = 256;
// How long a connection may take to be established.
inline constexpr Duration kVerbsAcceptMax = std::chrono::seconds(10);
// How often lanes are asked about that nothing comes of.
inline constexpr Duration kVerbsSweepPeriod = std::chrono::milliseconds(50);

struct VerbsServerOptions {
  std::vector<std::string> addresses;  // IPv4 or IPv6, of the device; one at least
  std::string device;                  // such as "mlx5_0"; empty: whichever has the addresses
  EthPortId eth_port;                  // what clients are told
};

class VerbsServer {
 public:
  // Listens, and answers nobody before run(). Errors: config_invalid (no such address, another
  // device's), device_missing (no RDMA device has the address, or a build without the libraries),
  // address_in_use, limit_exceeded, io_error.
  [[nodiscard]] static Result<std::unique_ptr<VerbsServer>> open(const VerbsServerOptions& options,
                                                                 PoolAccess& pool,
                                                                 RegisteredMemory& memory,
                                                                 const Clock& clock);
  ~VerbsServer();
  VerbsServer(const VerbsServer&) = delete;
  VerbsServer& operator=(const VerbsServer&) = delete;

  // Serves until stop(), and closes all lanes at its end.
  void run();
  void stop();

  [[nodiscard]] const std::string& device() const;
  [[nodiscard]] MacAddress mac() const;  // zeros where the device has none
  [[nodiscard]] std::uint32_t path_mtu_bytes() const;
  // By name, as status names them (docs/status.md, "RoCE ports").
  [[nodiscard]] std::vector<std::pair<std::string_view, std::uint64_t>> counters() const;

 private:
  struct Impl;
  explicit VerbsServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::driver
