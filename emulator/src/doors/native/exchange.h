// SPDX-License-Identifier: Apache-2.0
//
// The requests of one connection, each from its header to the last byte of its reply. Replies
// become sendable at their time, in the order of these times (ties: as they were queued), those of
// foreground requests before those of background ones that have not begun to leave, and are offered
// as header bytes plus spans of DRAM channel memory that stay pinned until they have left.
// Thread-safety: the network's thread. Ownership: exchanges belong to the table and are reused, so
// a warm one allocates nothing. Units: bytes, TimePoints. Errors: none.
#pragma once

#include "reply_budget.h"
#include <godbox/emulator/pool_service.h>
#include <godbox/ring_queue.h>
#include <godbox/stream.h>
#include <godbox/wire.h>

#include <array>
#include <memory>
#include <vector>

namespace godbox::emulator {

struct Exchange {
  wire::Header request;
  TimePoint deadline = kNever;  // the client's
  AccessTicket ticket;
  bool has_access = false;          // the ticket pins memory
  bool is_parked = false;           // waits for something to happen
  std::uint64_t counted_bytes = 0;  // against bytes_in_flight_max

  // The reply, once queued.
  std::array<std::byte, wire::kHeaderBytes> header{};
  wire::Body body;
  bool has_payload = false;      // the ticket's spans
  bool has_descriptors = false;  // descriptors ride on its first bytes, which nothing may precede
  std::shared_ptr<SlabMemory> bound{};  // then it is this one's alone, and not the DRAM channels'
  TimePoint ready{};
  std::uint64_t order = 0;
  std::size_t span_index = 0;      // next to send: 0 header, 1 body, then payload
  std::size_t span_inside = 0;     // bytes of it that have left
  std::uint64_t referred_end = 0;  // of what left by reference, in bytes of the stream; 0: none
  Exchange* next = nullptr;        // in the queue of sendable replies

  [[nodiscard]] std::size_t span_count() const {
    return 2 + (has_payload ? ticket.spans.size() : 0);
  }
  [[nodiscard]] ConstSpan span(std::size_t index) const {
    return index == 0 ? ConstSpan(header) : index == 1 ? ConstSpan(body) : ticket.spans[index - 2];
  }
};

struct Reply {
  Errc status = Errc::ok;
  wire::Body body;
  bool has_payload = false;
  bool has_descriptors = false;
  std::shared_ptr<SlabMemory> bound{};
};

class ExchangeTable {
 public:
  // Payload offered to the network in one call.
  static constexpr std::size_t kSendWindowBytes = std::size_t{1} << 20U;

  struct Limits {
    std::size_t requests_max = 0;
    std::uint64_t bytes_max = 0;
  };
  ExchangeTable(PoolService& service, Limits limits) : service_(service), limits_(limits) {}
  ~ExchangeTable() { release_all(); }
  ExchangeTable(const ExchangeTable&) = delete;
  ExchangeTable& operator=(const ExchangeTable&) = delete;

  // No more requests until replies have left. The last request taken may exceed bytes_max. Parked
  // ones do not count, until they are answered.
  [[nodiscard]] bool is_full() const {
    return in_flight_.size() - parked_ >= limits_.requests_max || bytes_ >= limits_.bytes_max;
  }
  [[nodiscard]] bool is_empty() const { return in_flight_.empty(); }
  // From now on the bodies of replies count as this tenant's, from reply() until they have left.
  void count_replies(ReplyBudget& budget, std::string_view tenant) { share_.join(budget, tenant); }
  // False: as much of the tenant's waits to be read as may.
  [[nodiscard]] bool has_room() const { return share_.has_room(); }

  // A request whose header and body are here. !is_full().
  [[nodiscard]] Exchange& open(const wire::Header& request, TimePoint now);
  // Counts `bytes` against bytes_max until the reply has left.
  void count_bytes(Exchange& exchange, std::uint64_t bytes);
  void end_access(Exchange& exchange);
  // It will be answered later; false: so many are that this one has to be answered now.
  [[nodiscard]] bool park(Exchange& exchange);
  // Queues the reply; it may leave at `ready`.
  void reply(Exchange& exchange, Reply reply, TimePoint ready);

  // Makes replies sendable whose time has come.
  void collect_ready(TimePoint now);
  [[nodiscard]] bool has_sendable() const { return first_ != nullptr; }
  [[nodiscard]] TimePoint next_ready() const;
  // Stable until the next sent().
  [[nodiscard]] std::span<const ConstSpan> send_spans();
  // As StreamEndpoint says: of the last send_spans().
  [[nodiscard]] std::span<const std::uint8_t> referable() const {
    return offers_referable_ ? std::span<const std::uint8_t>(offered_flags_)
                             : std::span<const std::uint8_t>();
  }
  void sent(std::size_t size_bytes, bool by_reference);
  // The peer has the first `stream_bytes` of all that was sent.
  void taken(std::uint64_t stream_bytes);
  // Takes over the accesses to what left by reference: they end when the result is destroyed.
  [[nodiscard]] std::shared_ptr<void> keep_referred();
  // Of the reply that leaves next.
  [[nodiscard]] TrafficClass send_class() const {
    return first_ != nullptr ? first_->request.traffic_class : TrafficClass::foreground;
  }
  // The next byte to send is the first of a reply with descriptors.
  [[nodiscard]] bool descriptors_are_next() const {
    return first_ != nullptr && first_->has_descriptors && first_->span_index == 0 &&
           first_->span_inside == 0;
  }
  // Whose descriptor that is; nullptr: the DRAM channels' are.
  [[nodiscard]] const SlabMemory* bound_memory_is_next() const { return first_->bound.get(); }
  void descriptors_sent() { first_->has_descriptors = false; }

  // Bytes of a reply that is to be sent, or on its way, are lost: zeros may be in their place.
  [[nodiscard]] bool offers_poison() const;
  // Looks for poison in all memory that the network may have been using.
  void find_poison() const;
  // The network lets go of everything: pins end.
  void release_all();

 private:
  // An access that goes on after its reply has left.
  struct Referred {
    AccessTicket ticket;
    std::uint64_t end = 0;  // of what left by reference, in bytes of the stream
  };

  void make_sendable(Exchange& exchange);
  void append_spans(const Exchange& exchange, std::size_t& budget_bytes);
  void refer(Exchange& exchange);
  void close(Exchange& exchange);

  PoolService& service_;
  Limits limits_;
  ReplyBudget::Share share_;
  std::vector<std::unique_ptr<Exchange>> in_flight_;
  std::vector<std::unique_ptr<Exchange>> free_;
  std::vector<Exchange*> waiting_;  // a heap by (ready, order)
  Exchange* first_ = nullptr;       // sendable, in order
  Exchange* last_ = nullptr;
  Exchange* foreground_behind_ = nullptr;  // where the next foreground one goes; null: in front
  std::uint64_t overtaken_bytes_ = 0;      // foreground that was put before waiting background
  std::size_t parked_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t order_ = 0;
  std::vector<ConstSpan> offered_;
  std::vector<std::uint8_t> offered_flags_;  // one each
  bool offers_referable_ = false;
  RingQueue<std::unique_ptr<Referred>> referred_;
  std::vector<std::unique_ptr<Referred>> free_referred_;
  std::uint64_t sent_bytes_ = 0;   // ever
  std::uint64_t taken_bytes_ = 0;  // of these
};

}  // namespace godbox::emulator
