// SPDX-License-Identifier: Apache-2.0
//
// What a RoCE port counts. Each frame that comes in is counted once: as taken, or under the reason
// for which it was dropped without a word. Of a port with several queues each counts for itself:
// the one that a frame came to its arrival, the one that it was given to what became of it. A REJ
// that names nothing of this end's is given to all of them, and each says what became of it there.
// Thread-safety: atomics; written by the port's thread, read by any. Units: in each name.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace godbox::emulator {

class RoceCounter {
 public:
  // One thread writes: no locked instruction is needed.
  void add(std::uint64_t count = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  // Of what goes up and down.
  void set(std::uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct RocePortCounters {
  RoceCounter frames_received, bytes_received;
  RoceCounter frames_sent, bytes_sent;
  RoceCounter frames_unsent;  // no room on the wire for too long, or its memory had lost bytes

  RoceCounter frames_given;  // received here, and given to another queue, which they belong to

  // Dropped without a word.
  RoceCounter dropped_port_fault;  // the port is dead or silent on purpose
  RoceCounter dropped_not_ours;    // other MAC or IP address
  RoceCounter dropped_other;       // no protocol of ours
  RoceCounter dropped_malformed;   // lengths, version, opcode, checksum, fragment
  RoceCounter dropped_icrc;
  RoceCounter dropped_stranger;      // no such queue pair, or not of this kind
  RoceCounter dropped_wrong_source;  // not the queue pair's peer
  RoceCounter dropped_key;           // P_Key or Q_Key
  RoceCounter dropped_state;         // the queue pair is not in a state for it
  RoceCounter dropped_sequence;      // behind a NAK, or a duplicate that nobody remembers
  RoceCounter dropped_response;      // a response to nothing that was asked
  RoceCounter dropped_limit;         // beyond a limit of connection management or the link
  RoceCounter dropped_queue;         // another queue's, which has no room

  // The link and connection management.
  RoceCounter link_answers;     // to ARP, neighbour solicitations and echoes
  RoceCounter link_frames;      // of the link that want no answer
  RoceCounter control_dropped;  // frames of both to be sent, beyond a limit
  RoceCounter management;       // messages of connection management that were taken in
  RoceCounter connections_requested, connections_established, connections_rejected;
  RoceCounter connections_closed;     // that had been accepted
  RoceCounter connection_duplicates;  // REQs that had been taken before

  // Responder.
  RoceCounter sends, writes, reads, atomics;  // messages done
  RoceCounter bytes_written, bytes_read;      // payload; of READs as sent, repeats included
  RoceCounter duplicates;                     // requests that had been done before
  RoceCounter acks;
  RoceCounter naks_sequence, naks_invalid, naks_access, naks_operational, naks_not_ready;
  RoceCounter naks_withheld;  // by the rate limit
  RoceCounter pins_expired;   // of WRITEs that stalled, and of READs that waited for others
  // READs, each once, for which too much was pinned when they came, or when their turn came.
  RoceCounter windows_exhausted;

  // Requester.
  RoceCounter timeouts, retransmits;  // retransmits: times that it went back
  RoceCounter rnr_waits;

  RoceCounter cnps_sent, cnps_received;

  RoceCounter queue_pairs_open;  // now
};

// All of them, by the names that they have here.
[[nodiscard]] std::vector<std::pair<std::string_view, std::uint64_t>> named_values(
    const RocePortCounters& counters);

}  // namespace godbox::emulator
