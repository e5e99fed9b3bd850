// SPDX-License-Identifier: Apache-2.0
//
// RoCEv2 through one Ethernet port of the box: frames and time in, frames out. A state machine
// without I/O: DPDK, a TAP device, a VM's socket or a test pump it. It answers requests of its
// queue pairs from the pool, sends what its own users post, and says nothing to strangers, but that
// it answers what any host on Ethernet answers (ARP, neighbour discovery, ping; godbox/roce/link.h)
// and whoever asks for a connection. Answers and connections go to the MAC address that a frame
// came from; a port looks for nobody's address itself. A pump gives it each frame that comes, asks
// next_frame() until there is none, and calls on_timer() at next_deadline(). After on_frame(),
// on_timer(), release() and calls about queue pairs there may be frames to send. Thread-safety: one
// thread, the pump's; counters from any. All ports of a box share its pool, so its one table of
// keys: any port reaches what a key opens (docs/rdma.md). Ownership: door and random source outlive
// the port. Units: bytes, TimePoints. Errors: named at each call; what is wrong in a frame is
// counted (counters.h).
#pragma once

#include <godbox/emulator/pool_service.h>
#include <godbox/emulator/port_fault.h>
#include <godbox/emulator/roce/connection.h>
#include <godbox/emulator/roce/counters.h>
#include <godbox/emulator/roce/out_frame.h>
#include <godbox/emulator/roce/queue_pair.h>
#include <godbox/emulator/roce/queues.h>
#include <godbox/emulator/roce/work.h>
#include <godbox/emulator/timing.h>
#include <godbox/random_source.h>

#include <memory>
#include <optional>
#include <vector>

namespace godbox::emulator {

// What all RoCE ports of one box share. Outlives them.
class RoceDoor {
 public:
  RoceDoor(PoolService& service, TimingModel& timing, const PortFaults& port_faults);
  ~RoceDoor();
  RoceDoor(const RoceDoor&) = delete;
  RoceDoor& operator=(const RoceDoor&) = delete;

  struct State;
  [[nodiscard]] State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

struct RocePortOptions {
  EthPortId eth_port;
  MacAddress mac{};
  std::vector<roce::Gid> addresses;  // 1 to kRoceAddressesMax
  std::uint32_t ethernet_mtu_bytes = 1500;
  std::uint32_t queue_pairs_max = kRoceQueuePairsMax;
  // Of an Ethernet port with several: what they share, and which of them this one is.
  RoceQueues* queues = nullptr;
  std::size_t queue = 0;
};

class RocePort {
 public:
  // Asserts that the options are within their limits, and that the MTU has room for a path MTU.
  RocePort(RoceDoor& door, RocePortOptions options, RandomSource& random);
  // A port that only asks: without a pool, so that it refuses every access (NAK: remote access
  // error), and has not the pool's service.
  RocePort(RocePortOptions options, RandomSource& random);
  ~RocePort();
  RocePort(const RocePort&) = delete;
  RocePort& operator=(const RocePort&) = delete;

  // --- Frames. ---
  void on_frame(ConstSpan frame, TimePoint now);
  // Of a port with several queues: takes frames of this one that came to others, at most
  // `frames_max` of them; how many. A pump asks each round.
  std::size_t take_given(std::size_t frames_max, TimePoint now);
  // The next frame; false: there is none now. A frame with a token shows memory until the token is
  // released.
  [[nodiscard]] bool next_frame(OutFrame& out, TimePoint now);
  // Copies a frame to where it is sent from, with an ICRC over the copy; `out` holds
  // frame.size_bytes(). Returns how many bytes: 0 where the memory has lost some of them, so that
  // the frame must not be sent. The token is still to be released.
  [[nodiscard]] std::size_t copy_frame(const OutFrame& frame, MutableSpan out);
  void release(ReleaseToken token);
  // What became of it: the wire has it, or it never went out.
  void count_sent(const OutFrame& frame);
  void count_unsent();
  [[nodiscard]] TimePoint next_deadline() const;
  void on_timer(TimePoint now);

  // --- Queue pairs that are set up by word of mouth. ---
  struct LocalQueuePair {
    roce::QueuePairNumber number{};
    roce::Psn first_psn_sent;
  };
  // A number among the free ones, and where its PSNs begin, both at random. Errors: limit_exceeded.
  [[nodiscard]] Result<LocalQueuePair> allot_queue_pair();
  // Connects one that was allotted: options.number, and the peer. The port takes over the session's
  // lane: it leaves the session with the queue pair. Errors: not_found (not allotted, or connected
  // before), invalid_argument (a path MTU or a source address that the port has not, numbers out of
  // range).
  [[nodiscard]] Errc connect_queue_pair(const QueuePairOptions& options, TimePoint now);
  // Its work is flushed and forgotten, and its connection, if it has one, ends. Memory of its
  // requests may be read until the frames under way have been released.
  void destroy_queue_pair(roce::QueuePairNumber number);

  // --- Connections that peers ask for. Those of the pool's service (godbox/roce/pool_hello.h) the
  // port takes itself: they become lanes of the sessions that they name. ---
  // From now on, connections of this service are asked about. Errors: limit_exceeded,
  // already_exists.
  [[nodiscard]] Errc listen(roce::ServiceId service);
  // What happened to connections of services that are listened to.
  [[nodiscard]] std::optional<ConnectionEvent> take_connection_event();
  // The queue pair is there at once: receive requests may be posted before the peer knows. What
  // is sent waits until the connection is established. Errors: not_found (not asked for, or not any
  // more), limit_exceeded (and the peer is refused).
  [[nodiscard]] Result<roce::QueuePairNumber> accept(ConnectionId id,
                                                     const ConnectionAcceptance& acceptance,
                                                     TimePoint now);
  // `private_data` of at most 148 bytes tells the peer why. Errors: not_found.
  [[nodiscard]] Errc reject(ConnectionId id, std::span<const std::uint8_t> private_data,
                            TimePoint now);
  // --- Connections that this end asks for. ---
  // Events tell the outcome: established, with the queue pair's number, or closed. What is lost on
  // the way goes out again. Errors: invalid_argument (no own address of that version, a path MTU
  // that the port has not, a number out of its range), limit_exceeded.
  [[nodiscard]] Result<ConnectionId> connect(const ConnectionAttempt& attempt, TimePoint now);
  // Of one whose outcome is not known yet: it is forgotten, without an event. Errors: not_found.
  [[nodiscard]] Errc abandon(ConnectionId id);

  // Ends the connection: nothing more is taken or sent. An event says when the peer knows; the
  // queue pair stays until it is destroyed. Errors: not_found.
  [[nodiscard]] Errc disconnect(roce::QueuePairNumber number, TimePoint now);

  // --- Work. ---
  // Errors: not_found, and those of the requester and responder: queue_full, lane_closed,
  // invalid_argument, too_large.
  [[nodiscard]] Errc post_send(roce::QueuePairNumber number, const SendRequest& request);
  [[nodiscard]] Errc post_receive(roce::QueuePairNumber number, const ReceiveRequest& request);
  [[nodiscard]] std::optional<SendCompletion> take_completed(roce::QueuePairNumber number);
  [[nodiscard]] std::optional<ReceiveCompletion> take_received(roce::QueuePairNumber number);
  // True for one that is not there, too.
  [[nodiscard]] bool is_broken(roce::QueuePairNumber number) const;

  [[nodiscard]] const RocePortCounters& counters() const;
  [[nodiscard]] const RocePortOptions& options() const;
  [[nodiscard]] roce::PathMtu path_mtu_max() const;
  struct Usage {
    std::size_t queue_pairs = 0;
    std::size_t windows = 0;         // pinned pieces of the pool
    std::size_t control_frames = 0;  // queued to be sent
    std::size_t connections = 0;     // those that wait for their end included
  };
  [[nodiscard]] Usage usage() const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::emulator
