// SPDX-License-Identifier: Apache-2.0
//
// The native protocol's door: the server end of docs/wire-protocol.md over any StreamNetwork. A
// connection is a StreamEndpoint that receives payload straight into DRAM channel memory and sends
// straight from it; what it covers stays pinned until the network has let go of it.
// Thread-safety: each connection on its network's thread; acceptors and counters from any thread.
// Ownership: service and timing outlive the door, the door its networks' connections.
// Units: bytes. Errors: bad frames close the connection and are counted; bad requests get a status.
#pragma once

#include <godbox/emulator/pool_service.h>
#include <godbox/emulator/port_fault.h>
#include <godbox/emulator/timing.h>
#include <godbox/stream.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace godbox::emulator {

struct EthPortCounters {
  std::atomic<std::uint64_t> bytes_received{0};
  std::atomic<std::uint64_t> bytes_sent{0};
  std::atomic<std::uint64_t> bytes_referred{0};  // of these, by reference
  std::atomic<std::uint64_t> requests{0};
  std::atomic<std::uint64_t> connections_open{0};
  std::atomic<std::uint64_t> connections_accepted{0};
  // Over, but the other end has not read all that it was sent by reference, and has not closed.
  std::atomic<std::uint64_t> connections_lingering{0};
  std::atomic<std::uint64_t> frames_rejected{0};  // connections closed for what they sent
};

class ReplyBudget;

struct NativeDoorOptions {
  std::uint32_t requests_in_flight_max = 64;                     // per lane
  std::uint64_t bytes_in_flight_max = std::uint64_t{32} << 20U;  // per lane
  std::uint32_t connections_max = 4096;
  // Of all doors of a box together. What is beyond either is answered with limit_exceeded, and
  // beyond kRefusalsMax at a time closed without a word.
  std::uint32_t connections_total_max = 65536;
  // Bodies of replies that clients have not read yet, of all doors of a box together. A tenant of
  // which as much waits as is free is served no further request until some of it has left.
  std::uint64_t reply_bytes_total_max = std::uint64_t{256} << 20U;
  Duration hello_timeout = std::chrono::seconds(5);
  Duration stall_timeout = std::chrono::seconds(15);  // a peer that stops reading or mid-frame
  Duration sweep_period = std::chrono::milliseconds(200);
};

// What the door tells about the box; owned by Box.
struct DoorContext {
  static constexpr std::uint32_t kRefusalsMax = 64;

  PoolService& service;
  TimingModel& timing;
  const BoxConfig& config;
  const PortFaults& port_faults;
  // INFO's answer, complete once all ports listen.
  std::function<wire::InfoReply()> info;
  std::function<std::string()> status_json;
  std::function<std::vector<int>()> memory_descriptors;  // MAP_MEMORY; empty: not offered
  std::function<wire::MapReply()> memory_map;            // what they are
  std::atomic<std::uint64_t>& connections_open;          // through all doors
  ReplyBudget& replies;                                  // likewise
};

class NativeDoor final : public StreamAcceptor {
 public:
  // `eth_port` empty: the control socket's door, which carries control connections and MAP_MEMORY
  // only.
  NativeDoor(DoorContext& context, std::optional<EthPortId> eth_port, NativeDoorOptions options);
  ~NativeDoor() override;

  [[nodiscard]] std::unique_ptr<StreamEndpoint> accept(TimePoint now) override;
  [[nodiscard]] const EthPortCounters& counters() const;
  // A port out of order: refuses new connections and closes the open ones at their next event, as
  // one does that is dead by its PortFault.
  void set_down(bool down);
  [[nodiscard]] bool is_down() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::emulator
