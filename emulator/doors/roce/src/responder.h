// SPDX-License-Identifier: Apache-2.0
//
// The responder of a reliable connection: what a peer's requests do to the pool, and what is
// answered. A state machine without I/O: packets and time in, packets out. It checks requests in
// the order of IBTA volume 1, 9.7.4 (responder's), as Linux's rxe does:
//   1 PSN   2 sequence of opcodes   3 rights of the queue pair   4 resources
//   5 length, then key, range and rights of the memory   6 duplicates   7 execution
// What it is to send is state, not a queue: READs and atomics that are remembered, one coalesced
// ACK, one NAK; packets are made when they are asked for. So a peer can make it hold nothing beyond
// its resources, and answers leave in the order of their PSNs.
// Thread-safety: the port's thread. Ownership: the context outlives it. Units: bytes, TimePoints.
// Errors: a request that is refused is answered with a NAK; one that is fatal breaks the queue pair
// off: it takes nothing more, and sends what came before, then the NAK.
#pragma once

#include "context.h"
#include "out_packet.h"
#include "rate_limit.h"
#include <godbox/emulator/roce/queue_pair.h>
#include <godbox/emulator/roce/work.h>
#include <godbox/ring_queue.h>
#include <godbox/roce/packet.h>
#include <godbox/roce/pool_hello.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

namespace godbox::emulator {

class RoceResponder {
 public:
  RoceResponder(RoceContext& context, const QueuePairOptions& options);
  ~RoceResponder();
  RoceResponder(const RoceResponder&) = delete;
  RoceResponder& operator=(const RoceResponder&) = delete;

  // An opcode that is a request. The payload is read during the call alone.
  void on_request(const roce::Packet& packet, TimePoint now);
  // The next packet, complete but for its destination; false: there is none now.
  [[nodiscard]] bool next(OutPacket& out, TimePoint now);
  // When next() has something, as far as is known now.
  [[nodiscard]] TimePoint output_ready() const;
  [[nodiscard]] TimePoint next_deadline() const {
    return std::min(write_.pinned_until, reads_pinned_until_);
  }
  void on_timer(TimePoint now);

  // Errors: queue_full, lane_closed (broken off), invalid_argument (too many pieces).
  [[nodiscard]] Errc post_receive(const ReceiveRequest& request);
  [[nodiscard]] std::optional<ReceiveCompletion> take_received();

  // After a fatal NAK, or break_off().
  [[nodiscard]] bool is_broken() const { return is_broken_; }
  // That NAK, though it has left, or break_off() has kept it from leaving.
  [[nodiscard]] const std::optional<roce::PoolNak>& fatal_nak() const { return fatal_nak_; }
  // A key or an address was wrong: somebody may be guessing.
  [[nodiscard]] bool met_violation() const { return met_violation_; }
  // Without a word: nothing is taken or sent any more, and nothing stays pinned but for frames
  // under way.
  void break_off();
  // The bytes of the packet that had this PSN have turned out to be lost.
  void on_poison(roce::Psn psn);
  // next() said no because too much is pinned by frames under way: ask again when some are
  // released.
  [[nodiscard]] bool is_blocked() const { return is_blocked_; }

 private:
  // What a check says; the names of NAKs, but for ok and not_ready.
  enum class Verdict : std::uint8_t { ok, not_ready, invalid, access, operational };
  enum class Open : std::uint8_t { nothing, send, write };
  enum class Head : std::uint8_t { nothing, ack, resource, nak };  // what leaves next

  // A READ or an atomic, remembered for its retries. Its answer is the packets [next, last].
  struct Resource {
    enum class Kind : std::uint8_t { read, atomic, atomic_write };
    Kind kind = Kind::read;
    roce::Psn first, last;
    VirtualRange range;          // of a READ
    std::uint64_t original = 0;  // of an atomic
    std::uint32_t msn = 0;

    bool is_pending = false;
    bool is_begun = false;  // a packet of this answer has left
    roce::Psn next;
    VirtualRange left;  // of a READ, to be sent
    WindowId window = kNoWindow;
    std::uint32_t window_left = 0;  // bytes of it from here
    std::size_t span_index = 0;     // where in it
    std::size_t span_inside = 0;
    TimePoint ready{};
    bool is_timed = false;            // `ready` holds for the next window as well
    bool is_counted = false;          // found no window
    TimePoint pinned_until = kNever;  // if its turn has not come by then
  };
  // A WRITE whose packets are coming in.
  struct Write {
    VirtualRange left;
    std::uint32_t total_bytes = 0;
    bool has_access = false;
    AccessTicket ticket;
    std::uint32_t window_left = 0;
    std::size_t span_index = 0;
    std::size_t span_inside = 0;
    TimePoint pinned_until = kNever;
  };
  struct Receive {
    WorkId id;
    std::vector<MutableSpan> pieces;
  };
  struct Nak {
    std::uint8_t syndrome = 0;
    roce::Psn psn;
  };

  // 1
  void on_future(TimePoint now);
  // 2 to 4
  [[nodiscard]] Verdict check_sequence(const roce::Packet& packet) const;
  [[nodiscard]] Verdict check_rights(const roce::Packet& packet) const;
  [[nodiscard]] Verdict check_resources(const roce::Packet& packet) const;
  // 5 and 7
  [[nodiscard]] Verdict check_length(const roce::Packet& packet) const;
  [[nodiscard]] Verdict execute(const roce::Packet& packet, TimePoint now);
  [[nodiscard]] Verdict execute_send(const roce::Packet& packet);
  [[nodiscard]] Verdict execute_write(const roce::Packet& packet, TimePoint now);
  [[nodiscard]] Verdict execute_read(const roce::Packet& packet, TimePoint now);
  [[nodiscard]] Verdict execute_atomic(const roce::Packet& packet, TimePoint now);
  void complete_message(const roce::Packet& packet, TimePoint now);
  void complete_receive(const ReceiveCompletion& completion);
  void refuse(Verdict verdict, const roce::Packet& packet, TimePoint now);
  // 6
  void on_duplicate(const roce::Packet& packet, TimePoint now);
  [[nodiscard]] bool repeat_read(Resource& resource, const roce::Packet& packet);

  [[nodiscard]] Verdict open_write(TimePoint now);
  void close_write();
  void publish();
  [[nodiscard]] Verdict copy_in(ConstSpan payload, TimePoint now);

  [[nodiscard]] Resource& resource(std::size_t index) {
    return resources_[(resources_begin_ + index) % resources_.size()];
  }
  [[nodiscard]] Resource& add_resource(Resource::Kind kind, const roce::Packet& packet,
                                       std::uint32_t packets);
  [[nodiscard]] Resource* find_resource(roce::Psn psn);
  [[nodiscard]] const Resource* find_pending() const;
  [[nodiscard]] Resource* first_pending();  // there is one
  [[nodiscard]] std::size_t place_of(const Resource& resource) const;
  void set_pending(Resource& resource);
  void stop_pending(Resource& resource);
  void stop_all();
  // `is_first`: of what is to be answered.
  [[nodiscard]] WindowId take_window(bool is_first);
  [[nodiscard]] Verdict open_window(Resource& resource, TimePoint now);
  void close_window(Resource& resource);
  void unpin(Resource& resource);
  void unpin_behind(const Resource& resource);
  void unpin_waiting(TimePoint now);
  void count_exhausted(Resource& resource);

  [[nodiscard]] Head head() const;
  [[nodiscard]] bool send_response(Resource& resource, OutPacket& out, TimePoint now);
  [[nodiscard]] bool send_read_response(Resource& resource, OutPacket& out, TimePoint now);
  void prefetch_next(const Resource& of, std::uint32_t bytes);
  void send_ack(OutPacket& out);
  void send_nak(OutPacket& out);
  void queue_ack(roce::Psn psn, TimePoint ready);
  void fail(std::uint8_t syndrome, roce::Psn psn);
  void flush_receives();
  [[nodiscard]] static std::optional<std::uint8_t> syndrome_of(Verdict verdict);
  [[nodiscard]] Verdict verdict_of(Errc status);
  [[nodiscard]] std::uint32_t mtu_bytes() const { return roce::bytes_of(options_.path_mtu); }

  RoceContext& context_;
  const QueuePairOptions options_;
  const AccessBy by_;

  roce::Psn expected_;      // of the next new request
  roce::Psn acknowledged_;  // of the last SEND, WRITE or atomic that was executed
  std::uint32_t msn_ = 0;
  Open open_ = Open::nothing;
  bool is_behind_nak_ = false;  // requests ahead are dropped until the expected one comes
  bool is_broken_ = false;
  bool met_violation_ = false;
  bool is_blocked_ = false;

  std::vector<Resource> resources_;  // a ring, in the order of PSNs
  std::size_t resources_begin_ = 0;
  std::size_t resources_count_ = 0;
  std::size_t pending_from_ = 0;  // none before it is pending
  std::size_t pending_count_ = 0;
  WindowId own_window_ = kNoWindow;        // the last one that was this queue pair's own
  TimePoint reads_pinned_until_ = kNever;  // none of those that wait has to be let go before

  Write write_;
  bool has_unpublished_ = false;  // copies that publish() has not ordered yet
  RingQueue<Receive> receives_;
  std::vector<std::vector<MutableSpan>> free_pieces_;
  std::size_t receive_piece_ = 0;  // of the first, where the next byte goes
  std::size_t receive_inside_ = 0;
  std::uint32_t receive_bytes_ = 0;  // of the SEND so far
  RingQueue<ReceiveCompletion> received_;

  bool has_ack_ = false;
  roce::Psn ack_psn_;
  TimePoint ack_ready_{};
  TimePoint write_ready_{};  // of what was written since the last ACK
  std::optional<Nak> nak_;
  std::optional<roce::PoolNak> fatal_nak_;
  RateLimit nak_limit_{kRoceNakBurstMax, kRoceNakPeriod};
};

}  // namespace godbox::emulator
