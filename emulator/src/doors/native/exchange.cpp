// SPDX-License-Identifier: Apache-2.0
#include "exchange.h"

#include <godbox/assert.h>
#include <godbox/crc32c.h>

#include <algorithm>
#include <utility>

namespace godbox::emulator {
namespace {

constexpr std::size_t kFirstPayloadSpan = 2;  // behind header and body

std::uint64_t reply_bytes(const Exchange& exchange) {
  return wire::kHeaderBytes + exchange.body.size() +
         (exchange.has_payload ? exchange.ticket.total_bytes : 0);
}

struct IsLater {
  bool operator()(const Exchange* a, const Exchange* b) const {
    return a->ready != b->ready ? a->ready > b->ready : a->order > b->order;
  }
};

}  // namespace

Exchange& ExchangeTable::open(const wire::Header& request, TimePoint now) {
  GODBOX_ASSERT(in_flight_.size() - parked_ < limits_.requests_max);
  if (free_.empty()) {
    free_.push_back(std::make_unique<Exchange>());
  }
  in_flight_.push_back(std::move(free_.back()));
  free_.pop_back();
  Exchange& exchange = *in_flight_.back();
  exchange.request = request;
  exchange.deadline =
      request.deadline_ms == 0 ? kNever : now + std::chrono::milliseconds(request.deadline_ms);
  return exchange;
}

void ExchangeTable::count_bytes(Exchange& exchange, std::uint64_t bytes) {
  exchange.counted_bytes += bytes;
  bytes_ += bytes;
}

void ExchangeTable::end_access(Exchange& exchange) {
  if (exchange.has_access) {
    exchange.has_access = false;
    service_.end_access(exchange.ticket);
  }
}

bool ExchangeTable::park(Exchange& exchange) {
  if (parked_ >= limits_.requests_max) {
    return false;
  }
  exchange.is_parked = true;
  ++parked_;
  return true;
}

void ExchangeTable::reply(Exchange& exchange, Reply reply, TimePoint ready) {
  GODBOX_ASSERT(reply.body.size() <= wire::kBodyBytesMax);
  GODBOX_ASSERT(!reply.has_payload || exchange.has_access);
  parked_ -= std::exchange(exchange.is_parked, false) ? 1U : 0U;
  exchange.body = std::move(reply.body);
  share_.add(exchange.body.size());
  exchange.has_payload = reply.has_payload;
  exchange.has_descriptors = reply.has_descriptors;
  exchange.bound = std::move(reply.bound);
  count_bytes(exchange, exchange.body.size());
  wire::Header header;
  header.op = exchange.request.op;
  header.is_response = true;
  header.status = reply.status;
  header.request_id = exchange.request.request_id;
  header.epoch = service_.epoch();
  header.body_bytes = static_cast<std::uint32_t>(exchange.body.size());
  header.body_crc32c = exchange.body.empty() ? 0 : crc32c(exchange.body);
  header.payload_bytes =
      reply.has_payload ? static_cast<std::uint32_t>(exchange.ticket.total_bytes) : 0;
  wire::encode_header(header, exchange.header);
  exchange.span_index = 0;
  exchange.span_inside = 0;
  exchange.ready = ready;
  exchange.order = order_++;
  waiting_.push_back(&exchange);
  std::push_heap(waiting_.begin(), waiting_.end(), IsLater());
}

void ExchangeTable::collect_ready(TimePoint now) {
  while (!waiting_.empty() && waiting_.front()->ready <= now) {
    std::pop_heap(waiting_.begin(), waiting_.end(), IsLater());
    Exchange* const exchange = waiting_.back();
    waiting_.pop_back();
    make_sendable(*exchange);
  }
}

void ExchangeTable::make_sendable(Exchange& exchange) {
  const bool is_last = is_background(exchange.request.traffic_class);
  const Exchange* const overtaken = is_last                         ? nullptr
                                    : foreground_behind_ == nullptr ? first_
                                                                    : foreground_behind_->next;
  if (overtaken != nullptr &&
      overtaken_bytes_ >= (kBackgroundShare - 1) * reply_bytes(*overtaken)) {
    foreground_behind_ = last_;  // it has waited for its share
    overtaken_bytes_ = 0;
  } else if (overtaken != nullptr) {
    overtaken_bytes_ += reply_bytes(exchange);
  }
  Exchange* const before = is_last ? last_ : foreground_behind_;
  Exchange*& link = before == nullptr ? first_ : before->next;
  exchange.next = std::exchange(link, &exchange);
  last_ = exchange.next == nullptr ? &exchange : last_;
  foreground_behind_ = is_last ? foreground_behind_ : &exchange;
}

TimePoint ExchangeTable::next_ready() const {
  return waiting_.empty() ? kNever : waiting_.front()->ready;
}

std::span<const ConstSpan> ExchangeTable::send_spans() {
  if (!offered_.empty()) {
    return offered_;  // the network may still be sending them
  }
  offered_flags_.clear();
  offers_referable_ = false;
  std::size_t budget_bytes = kSendWindowBytes;
  bool is_behind = foreground_behind_ == nullptr;
  for (Exchange* exchange = first_;
       exchange != nullptr && budget_bytes > 0 && offered_.size() < kStreamSpansMax;
       exchange = exchange->next) {
    if (exchange->has_descriptors && exchange != first_) {
      break;
    }
    append_spans(*exchange, budget_bytes);
    // What is on its way cannot be overtaken.
    foreground_behind_ = is_behind ? exchange : foreground_behind_;
    is_behind |= exchange == foreground_behind_;
  }
  return offered_;
}

void ExchangeTable::append_spans(const Exchange& exchange, std::size_t& budget_bytes) {
  std::size_t inside = exchange.span_inside;
  for (std::size_t i = exchange.span_index;
       i < exchange.span_count() && budget_bytes > 0 && offered_.size() < kStreamSpansMax; ++i) {
    const ConstSpan rest = exchange.span(i).subspan(inside);
    inside = 0;
    if (!rest.empty()) {
      const bool is_referable = i >= kFirstPayloadSpan && exchange.ticket.is_referable;
      offered_.push_back(rest.first(std::min(rest.size(), budget_bytes)));
      offered_flags_.push_back(is_referable ? 1 : 0);
      offers_referable_ = offers_referable_ || is_referable;
      budget_bytes -= offered_.back().size();
    }
  }
}

void ExchangeTable::sent(std::size_t size_bytes, bool by_reference) {
  offered_.clear();
  while (size_bytes > 0) {
    GODBOX_ASSERT(first_ != nullptr);
    Exchange& exchange = *first_;
    const std::size_t left = exchange.span(exchange.span_index).size() - exchange.span_inside;
    const std::size_t step = std::min(size_bytes, left);
    exchange.span_inside += step;
    sent_bytes_ += step;
    exchange.referred_end = by_reference ? sent_bytes_ : exchange.referred_end;
    size_bytes -= step;
    while (exchange.span_index < exchange.span_count() &&
           exchange.span_inside == exchange.span(exchange.span_index).size()) {
      ++exchange.span_index;
      exchange.span_inside = 0;
    }
    if (exchange.span_index == exchange.span_count()) {
      first_ = exchange.next;
      last_ = first_ == nullptr ? nullptr : last_;
      foreground_behind_ = foreground_behind_ == &exchange ? nullptr : foreground_behind_;
      close(exchange);
    }
  }
}

void ExchangeTable::taken(std::uint64_t stream_bytes) {
  taken_bytes_ = std::max(taken_bytes_, stream_bytes);
  while (!referred_.empty() && referred_.front()->end <= stream_bytes) {
    std::unique_ptr<Referred> referred = std::move(referred_.front());
    referred_.pop_front();
    service_.end_access(referred->ticket);
    free_referred_.push_back(std::move(referred));
  }
}

// The reply is over, or its connection is, and the peer has not got all of it.
void ExchangeTable::refer(Exchange& exchange) {
  if (free_referred_.empty()) {
    free_referred_.push_back(std::make_unique<Referred>());
  }
  std::unique_ptr<Referred> referred = std::move(free_referred_.back());
  free_referred_.pop_back();
  std::swap(referred->ticket, exchange.ticket);
  exchange.has_access = false;
  referred->end = exchange.referred_end;
  referred_.push_back(std::move(referred));
}

std::shared_ptr<void> ExchangeTable::keep_referred() {
  struct Kept {
    explicit Kept(PoolService& of) : service(of) {}
    ~Kept() {
      for (AccessTicket& ticket : tickets) {
        service.end_access(ticket);
      }
    }
    Kept(const Kept&) = delete;
    Kept& operator=(const Kept&) = delete;
    PoolService& service;
    std::vector<AccessTicket> tickets;
  };
  if (first_ != nullptr && first_->referred_end > taken_bytes_) {
    refer(*first_);
    // Poison may be looked for there still.
    first_->ticket.spans = referred_[referred_.size() - 1]->ticket.spans;
  }
  auto kept = std::make_shared<Kept>(service_);
  while (!referred_.empty()) {
    kept->tickets.push_back(std::move(referred_.front()->ticket));
    referred_.pop_front();
  }
  return kept;
}

void ExchangeTable::close(Exchange& exchange) {
  if (exchange.referred_end > taken_bytes_ && exchange.has_access) {
    refer(exchange);
  }
  exchange.referred_end = 0;
  end_access(exchange);
  bytes_ -= exchange.counted_bytes;
  exchange.counted_bytes = 0;
  parked_ -= std::exchange(exchange.is_parked, false) ? 1U : 0U;
  share_.remove(exchange.body.size());
  exchange.body = {};
  exchange.has_payload = false;
  exchange.has_descriptors = false;
  exchange.bound.reset();
  exchange.next = nullptr;
  const auto found =
      std::find_if(in_flight_.begin(), in_flight_.end(),
                   [&](const std::unique_ptr<Exchange>& e) { return e.get() == &exchange; });
  GODBOX_ASSERT(found != in_flight_.end());
  std::swap(*found, in_flight_.back());
  free_.push_back(std::move(in_flight_.back()));
  in_flight_.pop_back();
}

bool ExchangeTable::offers_poison() const {
  if (!service_.has_poison()) {
    return false;
  }
  for (const Exchange* exchange = first_; exchange != nullptr; exchange = exchange->next) {
    if (exchange->has_payload && service_.check_access(exchange->ticket) != Errc::ok) {
      return true;
    }
  }
  return false;
}

void ExchangeTable::find_poison() const {
  for (const std::unique_ptr<Exchange>& exchange : in_flight_) {
    if (exchange->has_access || !exchange->ticket.spans.empty()) {
      service_.find_poison(exchange->ticket);
    }
  }
}

void ExchangeTable::release_all() {
  offered_.clear();
  waiting_.clear();
  first_ = nullptr;
  last_ = nullptr;
  foreground_behind_ = nullptr;
  while (!in_flight_.empty()) {
    in_flight_.back()->referred_end = 0;
    close(*in_flight_.back());
  }
  taken(UINT64_MAX);
}

}  // namespace godbox::emulator
