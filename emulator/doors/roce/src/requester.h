// SPDX-License-Identifier: Apache-2.0
//
// The requester of a reliable connection: sends what was posted, and again from the first packet
// without an answer when one is missing (go-back-N; IBTA volume 1, 9.7.5 and 9.9.2). A READ goes on
// from its first missing packet. A state machine without I/O: packets and time in, packets out.
// Retries: a timeout, a NAK for a PSN and a gap in READ responses cost one each; progress gives all
// of them back. Requests complete in the order in which they were posted, and not before all frames
// that show their memory have been released.
// Thread-safety: the port's thread. Ownership: the counters outlive it; memory of requests is its
// poster's. Units: bytes, TimePoints. Errors: WorkStatus of completions; the first one that fails
// breaks the queue pair off, and the others are flushed.
#pragma once

#include "out_packet.h"
#include <godbox/emulator/roce/counters.h>
#include <godbox/emulator/roce/queue_pair.h>
#include <godbox/emulator/roce/work.h>
#include <godbox/ring_queue.h>
#include <godbox/roce/pool_hello.h>

#include <optional>
#include <vector>

namespace godbox::emulator {

class RoceRequester {
 public:
  RoceRequester(RocePortCounters& counters, const QueuePairOptions& options);

  // Errors: queue_full; lane_closed (broken off); too_large (over 2^31 bytes); invalid_argument
  // (too many pieces, an atomic whose memory is not one piece of 8 bytes, or a READ or atomic of
  // which the peer answers none).
  [[nodiscard]] Errc post(const SendRequest& request);
  [[nodiscard]] std::optional<SendCompletion> take_completed();

  // An opcode that is a response. The payload is read during the call alone.
  void on_response(const roce::Packet& packet, TimePoint now);
  // The peer has ended with this NAK, and answers nothing more: the request that it is of fails,
  // and those before it of which the answer is missing are flushed.
  void on_end(const roce::PoolNak& nak, TimePoint now);
  // The next packet, complete but for its destination; false: there is none now.
  [[nodiscard]] bool next(OutPacket& out, TimePoint now);
  [[nodiscard]] TimePoint next_deadline() const;
  void on_timer(TimePoint now);
  void release(ReleaseToken token);

  // Frames that show memory of requests are under way.
  [[nodiscard]] bool has_frames() const;
  [[nodiscard]] bool is_broken() const { return is_broken_; }
  // All that was posted and has not completed is flushed.
  void break_off();

 private:
  struct Work {
    WorkId id;
    SendOp op = SendOp::send;
    std::vector<MutableSpan> local;
    std::uint64_t remote_address = 0;
    RKey key;
    std::optional<std::uint32_t> immediate;
    bool is_solicited = false;
    std::uint64_t swap_or_add = 0, compare = 0;

    std::uint32_t length_bytes = 0;
    std::uint32_t packets = 1;
    bool has_psn = false;
    roce::Psn first, last;
    std::uint32_t frames = 0;   // under way, that show its memory
    bool is_under_way = false;  // a request that wants a response
    bool is_done = false;
    WorkStatus status = WorkStatus::ok;

    // Its answer is more than an ACK.
    [[nodiscard]] bool wants_response() const {
      return op == SendOp::read || is_atomic() || op == SendOp::atomic_write;
    }
    [[nodiscard]] bool is_atomic() const {
      return op == SendOp::compare_swap || op == SendOp::fetch_add;
    }
  };

  [[nodiscard]] Work& work(std::uint64_t serial) { return works_[serial - first_serial_]; }
  [[nodiscard]] std::uint64_t end_serial() const { return first_serial_ + works_.size(); }
  [[nodiscard]] bool is_waiting() const { return unacked_ != next_; }
  [[nodiscard]] bool may_send(const Work& of) const;

  void fill_request(Work& of, OutPacket& out);
  void fill_message_packet(Work& of, OutPacket& out);
  void add_payload(Work& of, std::uint32_t offset, std::uint32_t bytes, OutPacket& out) const;
  [[nodiscard]] static roce::Opcode opcode_of(const Work& of, bool is_first, bool is_last);
  [[nodiscard]] std::uint32_t mtu_bytes() const { return roce::bytes_of(options_.path_mtu); }

  [[nodiscard]] bool is_of_something_sent(roce::Psn psn) const;
  // All up to `psn` has been done at the other end. False: responses before it are missing.
  [[nodiscard]] bool acknowledge_to(roce::Psn psn, TimePoint now);
  void on_ack(const roce::Packet& packet, TimePoint now);
  void on_nak(const roce::Packet& packet, TimePoint now);
  void on_read_response(const roce::Packet& packet, TimePoint now);
  void on_atomic_response(const roce::Packet& packet, TimePoint now);
  // The work whose response is expected next, if it is that of `psn`; what was posted before it is
  // done then. nullptr: the response is late, or others before it are missing.
  [[nodiscard]] Work* reach(roce::Psn psn, TimePoint now);
  static void copy_out(const Work& of, std::uint32_t offset, ConstSpan payload);
  void progress(roce::Psn unacked, TimePoint now);
  void complete_oldest(TimePoint now);
  void on_gap();
  void go_back();
  [[nodiscard]] bool spend_retry();
  void fail(WorkStatus status) { fail(status, oldest_); }
  // Of the request of this number; the others are flushed.
  void fail(WorkStatus status, std::uint64_t failed);
  void collect();

  RocePortCounters& counters_;
  const QueuePairOptions options_;
  RingQueue<Work> works_;
  std::vector<std::vector<MutableSpan>> free_pieces_;
  std::uint64_t first_serial_ = 1;  // of works_: numbers of all that was ever posted
  std::uint64_t current_ = 1;       // whose packet is next
  std::uint64_t oldest_ = 1;        // the first that is not done
  roce::Psn next_;                  // to send
  roce::Psn unacked_;               // the first without an answer
  roce::Psn sent_end_;              // behind all that was ever sent
  std::uint32_t reads_under_way_ = 0;
  std::uint32_t packets_since_ack_ = 0;  // since an acknowledgement was asked for
  TimePoint timeout_at_ = kNever;
  TimePoint rnr_until_{};
  std::uint8_t retries_left_;
  std::uint8_t rnr_retries_left_;
  bool has_gone_back_ = false;  // for a gap, without progress since
  bool is_broken_ = false;
  RingQueue<SendCompletion> completed_;
};

}  // namespace godbox::emulator
