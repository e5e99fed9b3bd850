// SPDX-License-Identifier: Apache-2.0
//
// A StreamNetwork of one thread and a manual clock whose only server is a small scripted box: it
// speaks the control protocol, keeps objects in a map, and can be told to answer wrongly, late, or
// not at all. Data goes through a LocalTransport over its DRAM channels on the heap (or one that a
// test makes), so a client under test runs whole.
#pragma once

#include <godbox/stream.h>
#include <godbox/striping/local_transport.h>
#include <godbox/wire.h>
#include <godbox_test/heap_memory_target.h>

#include <catch2/catch_test_macros.hpp>

#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace godbox::test {

// One connection's client end, and the frames it has sent.
struct ScriptedConnection {
  StreamEndpoint* endpoint = nullptr;
  bool connected = false;
  bool closed = false;
  std::vector<std::byte> from_client;
  std::deque<wire::Body> to_client;
};

class ScriptedBox final : public StreamNetwork {
 public:
  static constexpr std::uint16_t kChannels = 5;
  static constexpr std::uint64_t kChannelBytes = 4U << 20U;

  struct Object {
    SizeBytes size;
    std::vector<Extent> extents;
    std::vector<std::uint32_t> crc32c;
    bool sparse = false;
  };

  ScriptedBox() {
    for (std::uint16_t i = 0; i < kChannels; ++i) {
      channels.push_back(std::make_unique<HeapMemoryTarget>(SizeBytes(kChannelBytes)));
      static_cast<void>(channels.back()->back(DramOffset(0), SizeBytes(kChannelBytes)));
    }
  }

  // --- StreamNetwork ---
  [[nodiscard]] const Clock& clock() const override { return time; }
  [[nodiscard]] ConnectionId connect(const StreamAddress&, StreamEndpoint& endpoint) override {
    connections.push_back({.endpoint = &endpoint, .from_client = {}, .to_client = {}});
    return ConnectionId(connections.size());
  }
  void close(ConnectionId id) override { end(id, Errc::cancelled); }
  void kick(ConnectionId) override {}
  [[nodiscard]] Result<StreamAddress> listen(const StreamAddress&, StreamAcceptor&) override {
    return Error(Errc::unsupported);
  }
  void add_tick(Duration, std::function<void(TimePoint)>) override {}
  void wake() override {}
  std::size_t run_until(TimePoint until) override {
    std::size_t events = 0;
    for (std::size_t i = 0; i < connections.size(); ++i) {
      events += pump(ConnectionId(i + 1));
    }
    if (events > 0) {
      return events;
    }
    TimePoint next = next_event ? std::min(until, next_event()) : until;
    for (const ScriptedConnection& one : connections) {
      if (!one.closed) {
        next = std::min(next, one.endpoint->next_deadline());
      }
    }
    if (next == kNever) {
      FAIL("the client waits for nothing, for ever");
    }
    time.set(std::max(time.now(), next));
    for (ScriptedConnection& one : connections) {
      if (!one.closed && one.endpoint->next_deadline() <= time.now()) {
        one.endpoint->on_timer(time.now());
        ++events;
      }
    }
    return events;
  }
  // The box hangs up, or the endpoint does.
  void end(ConnectionId id, Errc reason) {
    if (id.value() == 0 || id.value() > connections.size()) {
      return;
    }
    ScriptedConnection& one = connections[id.value() - 1];
    if (!one.closed) {
      one.closed = true;
      one.endpoint->on_closed(reason, time.now());
    }
  }

  // The client's mapping of the same memory.
  [[nodiscard]] std::vector<std::unique_ptr<MemoryTarget>> mapping() {
    std::vector<std::unique_ptr<MemoryTarget>> views;
    for (const std::unique_ptr<HeapMemoryTarget>& channel : channels) {
      views.push_back(std::make_unique<View>(*channel));
    }
    return views;
  }
  [[nodiscard]] int asked(wire::Op op) const {
    const auto found = requests.find(op);
    return found == requests.end() ? 0 : found->second;
  }

  // --- The script ---
  ManualClock time;
  std::map<std::string, Object> objects;
  std::set<std::uint64_t> reservations_open;
  std::map<wire::Op, int> requests;         // how often each was asked
  std::set<wire::Op> silent;                // never answered
  std::map<wire::Op, Errc> refuse;          // answered with this status
  std::deque<Errc> commit_statuses;         // the next items' statuses, before the usual
  std::size_t lookup_names_max = SIZE_MAX;  // more: too_large
  std::uint32_t lease_ms_max = 5000;
  std::set<std::string> unleased;  // found, but never leased
  std::vector<std::uint64_t> leases_open;
  std::function<void(wire::Op)> on_request;
  std::function<TimePoint()> next_event;  // of a transport that lives on the same clock
  bool hides_slabs = false;               // DESCRIBE_SLABS answers none
  std::function<void(wire::SlabsReply&)> edit_slabs;
  std::function<void(wire::LookupReply&)> edit_lookup;
  std::uint32_t extent_bytes = 100'000;  // objects are cut into such extents
  std::vector<std::unique_ptr<HeapMemoryTarget>> channels;
  std::vector<ScriptedConnection> connections;

 private:
  class View final : public MemoryTarget {
   public:
    explicit View(HeapMemoryTarget& of) : of_(of) {}
    std::string_view kind() const override { return "view"; }
    SizeBytes size() const override { return of_.size(); }
    Coherence coherence() const override { return Coherence::coherent; }
    std::byte* data() const override { return of_.data(); }
    int descriptor() const override { return -1; }
    SizeBytes backing_granularity() const override { return SizeBytes(4096); }
    Result<void> back(DramOffset, SizeBytes) override { return {}; }
    Result<void> discard(DramOffset, SizeBytes) override { return {}; }
    void flush(ConstSpan) const override {}
    void invalidate(ConstSpan) const override {}

   private:
    HeapMemoryTarget& of_;
  };

  std::size_t pump(ConnectionId id) {
    ScriptedConnection& one = connections[id.value() - 1];
    if (one.closed) {
      return 0;
    }
    if (!one.connected) {
      one.connected = true;
      one.endpoint->on_connected(time.now());
      return 1;
    }
    std::size_t sent = 0;
    for (const ConstSpan span : one.endpoint->send_spans()) {
      one.from_client.insert(one.from_client.end(), span.begin(), span.end());
      sent += span.size();
    }
    if (sent > 0) {
      one.endpoint->on_sent(sent, time.now());
      take_frames(id);
      return 1;
    }
    if (one.endpoint->wants_close()) {
      end(id, Errc::lane_closed);
      return 1;
    }
    return deliver(one);
  }

  std::size_t deliver(ScriptedConnection& one) {
    if (one.to_client.empty()) {
      return 0;
    }
    const wire::Body frame = std::move(one.to_client.front());
    one.to_client.pop_front();
    std::size_t at = 0;
    while (at < frame.size() && !one.closed) {
      const std::span<const MutableSpan> spans = one.endpoint->receive_spans();
      if (spans.empty()) {
        break;
      }
      const std::size_t take = std::min(spans.front().size(), frame.size() - at);
      std::memcpy(spans.front().data(), frame.data() + at, take);
      at += take;
      one.endpoint->on_received(take, time.now());
    }
    return 1;
  }

  void take_frames(ConnectionId id) {
    while (true) {
      ScriptedConnection& one = connections[id.value() - 1];
      if (one.from_client.size() < wire::kHeaderBytes) {
        return;
      }
      const wire::Header header =
          wire::decode_header(ConstSpan(one.from_client).first<wire::kHeaderBytes>()).value();
      const std::size_t total = wire::kHeaderBytes + header.body_bytes;
      if (one.from_client.size() < total) {
        return;
      }
      const wire::Body body(one.from_client.begin() + wire::kHeaderBytes,
                            one.from_client.begin() + static_cast<std::ptrdiff_t>(total));
      one.from_client.erase(one.from_client.begin(),
                            one.from_client.begin() + static_cast<std::ptrdiff_t>(total));
      requests[header.op] += 1;
      if (on_request) {
        on_request(header.op);
      }
      if (header.op == wire::Op::goodbye || silent.contains(header.op)) {
        continue;
      }
      wire::Header reply;
      reply.op = header.op;
      reply.is_response = true;
      reply.request_id = header.request_id;
      reply.epoch = Epoch(77);
      wire::Body answer;
      if (refuse.contains(header.op)) {
        reply.status = refuse[header.op];
      } else {
        reply.status = handle(header.op, body, answer);
      }
      connections[id.value() - 1].to_client.push_back(wire::encode_frame(reply, answer));
    }
  }

  Errc handle(wire::Op op, const wire::Body& body, wire::Body& answer) {
    switch (op) {
      case wire::Op::hello:
        answer = wire::encode(hello());
        break;
      case wire::Op::info:
        answer = wire::encode(info());
        break;
      case wire::Op::describe_slabs:
        answer = wire::encode(slabs(wire::decode<wire::SlabIdsRequest>(body).value()));
        break;
      case wire::Op::reserve:
        answer = wire::encode(reserve(wire::decode<wire::ReserveRequest>(body).value()));
        break;
      case wire::Op::commit:
        answer = wire::encode(commit(wire::decode<wire::CommitRequest>(body).value()));
        break;
      case wire::Op::abort:
        answer = wire::encode(abort(wire::decode<wire::ReservationsRequest>(body).value()));
        break;
      case wire::Op::lookup:
        return lookup(wire::decode<wire::LookupRequest>(body).value(), answer);
      case wire::Op::release:
        for (const LeaseId lease : wire::decode<wire::LeasesRequest>(body).value().leases) {
          std::erase(leases_open, lease.value());
        }
        break;
      case wire::Op::remove:
        answer = wire::encode(remove(wire::decode<wire::NamesRequest>(body).value()));
        break;
      case wire::Op::list:
        answer = wire::encode(list(wire::decode<wire::ListRequest>(body).value()));
        break;
      case wire::Op::status:
        answer = wire::encode(wire::TextReply{"{\"mode\":\"scripted\"}"});
        break;
      case wire::Op::allocate_region:
        answer = wire::encode(wire::RegionReply{
            RKey(5), place(wire::decode<wire::AllocateRegionRequest>(body).value().size)});
        break;
      default:
        break;
    }
    return Errc::ok;
  }

  static wire::HelloReply hello() {
    wire::HelloReply reply;
    reply.session = SessionId(1);
    reply.epoch = Epoch(77);
    reply.requests_in_flight_max = 64;
    reply.bytes_in_flight_max = 1U << 20U;
    reply.lease_ms_max = 60'000;
    reply.session_timeout_ms = 30'000;
    return reply;
  }
  static wire::InfoReply info() {
    wire::InfoReply reply;
    reply.box_name = "scripted";
    reply.mode = "free";
    for (std::uint16_t i = 0; i < kChannels; ++i) {
      reply.dram_channel_super_nic.push_back(SuperNicId(static_cast<std::uint16_t>(i / 2)));
    }
    reply.dram_channel_size = SizeBytes(kChannelBytes);
    reply.capacity = SizeBytes(kChannelBytes * kChannels);
    reply.backing_limit = reply.capacity;
    return reply;
  }
  // Slabs 1 (strips of 4 KiB) and 2 (128 B), each half of the memory.
  [[nodiscard]] wire::SlabsReply slabs(const wire::SlabIdsRequest& request) const {
    wire::SlabsReply reply;
    for (const SlabId id : request.ids) {
      if (hides_slabs) {
        break;
      }
      wire::SlabRecord record;
      record.id = id;
      record.strip_bytes = id == SlabId(1) ? 4096 : 128;
      record.piece_size = SizeBytes(kChannelBytes / 2);
      for (std::uint16_t i = 0; i < kChannels; ++i) {
        record.members.push_back({.dram_channel = DramChannelId(i),
                                  .offset = DramOffset(id == SlabId(1) ? 0 : kChannelBytes / 2)});
      }
      reply.slabs.push_back(record);
    }
    if (edit_slabs) {
      edit_slabs(reply);
    }
    return reply;
  }
  // Space for `size` bytes, in turns from both slabs.
  std::vector<Extent> place(SizeBytes size) {
    std::vector<Extent> extents;
    for (std::uint64_t left = size.count(); left > 0;) {
      const auto take = static_cast<std::uint32_t>(std::min<std::uint64_t>(left, extent_bytes));
      const std::uint32_t slab = 1 + static_cast<std::uint32_t>(extents.size() % 2);
      std::uint64_t& next = next_offset_[slab - 1];
      extents.push_back({.address = {SlabId(slab), SlabOffset(next)}, .length_bytes = take});
      next += take + 13;
      left -= take;
    }
    return extents;
  }
  wire::ReserveReply reserve(const wire::ReserveRequest& request) {
    wire::ReserveReply reply;
    for (const wire::ReserveItem& item : request.items) {
      wire::ReserveAnswer answer;
      const std::string name(item.name);
      if (objects.contains(name)) {
        answer.status = Errc::already_exists;
      } else {
        answer.reservation = ReservationId(next_reservation_++);
        answer.write_key = RKey(item.sparse ? 0 : 9);
        answer.extents = place(item.size);
        reservations_open.insert(answer.reservation.value());
        reserved_[answer.reservation.value()] = {name,
                                                 {item.size, answer.extents, {}, item.sparse}};
      }
      reply.answers.push_back(std::move(answer));
    }
    return reply;
  }
  wire::StatusesReply commit(const wire::CommitRequest& request) {
    wire::StatusesReply reply;
    for (const wire::CommitItem& item : request.items) {
      Errc status = Errc::ok;
      if (!commit_statuses.empty()) {
        status = commit_statuses.front();
        commit_statuses.pop_front();
      }
      if (status == Errc::ok) {
        auto& [name, object] = reserved_.at(item.reservation.value());
        object.crc32c = item.crc32c;
        objects[name] = object;
        reservations_open.erase(item.reservation.value());
      }
      reply.statuses.push_back(status);
    }
    return reply;
  }
  wire::StatusesReply abort(const wire::ReservationsRequest& request) {
    wire::StatusesReply reply;
    for (const ReservationId id : request.reservations) {
      reply.statuses.push_back(reservations_open.erase(id.value()) > 0 ? Errc::ok
                                                                       : Errc::not_found);
    }
    return reply;
  }
  Errc lookup(const wire::LookupRequest& request, wire::Body& answer) {
    if (request.names.size() > lookup_names_max) {
      return Errc::too_large;
    }
    wire::LookupReply reply;
    for (const std::string_view name : request.names) {
      const auto found = objects.find(std::string(name));
      if (found == objects.end() && request.prefix) {
        break;
      }
      wire::LookupObject object;
      object.status = found == objects.end() ? Errc::not_found : Errc::ok;
      if (found != objects.end()) {
        object.read_key = RKey(8);
        object.size = found->second.size;
        object.sparse = found->second.sparse;
        object.extent_count = static_cast<std::uint32_t>(found->second.extents.size());
        object.crc_count = static_cast<std::uint32_t>(found->second.crc32c.size());
        reply.extents.insert(reply.extents.end(), found->second.extents.begin(),
                             found->second.extents.end());
        reply.crc32c.insert(reply.crc32c.end(), found->second.crc32c.begin(),
                            found->second.crc32c.end());
        if (unleased.contains(found->first)) {
          object.status = Errc::present_unleased;
        } else {
          reply.lease_ms = std::min(request.lease_ms, lease_ms_max);
        }
      }
      reply.objects.push_back(object);
    }
    if (reply.lease_ms > 0) {
      reply.lease = LeaseId(next_lease_++);
      leases_open.push_back(reply.lease.value());
    }
    if (edit_lookup) {
      edit_lookup(reply);
    }
    answer = wire::encode(reply);
    return Errc::ok;
  }
  wire::StatusesReply remove(const wire::NamesRequest& request) {
    wire::StatusesReply reply;
    for (const std::string_view name : request.names) {
      reply.statuses.push_back(objects.erase(std::string(name)) > 0 ? Errc::ok : Errc::not_found);
    }
    return reply;
  }
  wire::ListReply list(const wire::ListRequest& request) {
    wire::ListReply reply;
    for (const auto& [name, object] : objects) {
      if (name.starts_with(request.prefix) && name > request.after) {
        reply.more |= reply.entries.size() == request.names_max;
        if (!reply.more) {
          reply.entries.push_back({name, object.size});
        }
      }
    }
    return reply;
  }

  std::map<std::uint64_t, std::pair<std::string, Object>> reserved_;
  std::uint64_t next_reservation_ = 1;
  std::uint64_t next_lease_ = 1;
  std::uint64_t next_offset_[2] = {0, 0};
};

}  // namespace godbox::test
