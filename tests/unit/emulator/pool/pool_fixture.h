// SPDX-License-Identifier: Apache-2.0
//
// A pool on fake DRAM channels and a manual clock, with the calls of a client in one line each.
#pragma once

#include "fake_dram_channel.h"
#include <godbox/clock.h>
#include <godbox/emulator/pool_service.h>
#include <godbox_test/fake_slab_memory.h>
#include <godbox_test/seeded_random.h>

#include <catch2/catch_test_macros.hpp>

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace godbox::emulator::test {

struct PoolOptions {
  std::uint32_t dram_channels = 6;
  SizeBytes channel_size{16U << 20U};
  SizeBytes backing_limit{std::uint64_t{1} << 40U};
  EvictionPolicy eviction = EvictionPolicy::lru;
  double high_watermark = 0.95;
  double low_watermark = 0.90;
  std::uint64_t seed = 1;
  bool has_memory = true;
  std::optional<SizeBytes> tenant_quota{};
  std::vector<TenantQuota> tenant_quotas{};
  std::optional<SizeBytes> vm_quota{};
  std::vector<VmQuota> vm_quotas{};
  bool has_slab_memory = true;
};

class Pool {
 public:
  explicit Pool(const PoolOptions& options = {}) : random_(options.seed) {
    BoxConfig config;
    config.super_nics = 1;
    config.dram_channels_per_super_nic = options.dram_channels;
    config.dram_channel_size = options.channel_size;
    config.eviction = options.eviction;
    config.high_watermark = options.high_watermark;
    config.low_watermark = options.low_watermark;
    config.tenant_quota = options.tenant_quota;
    config.tenant_quotas = options.tenant_quotas;
    config.vm_quota = options.vm_quota;
    config.vm_quotas = options.vm_quotas;
    REQUIRE(validate(config, SizeBytes(1U << 16U)).has_value());
    std::vector<MemoryTarget*> targets;
    for (std::uint32_t i = 0; i < options.dram_channels; ++i) {
      channels.push_back(std::make_unique<FakeDramChannel>(options.channel_size));
      channels.back()->has_memory = options.has_memory;
      targets.push_back(channels.back().get());
    }
    service = std::make_unique<PoolService>(
        config, targets, options.backing_limit, clock, random_,
        options.has_slab_memory ? slab_memories.maker() : SlabMemoryMaker());
  }

  [[nodiscard]] SessionId open(std::string_view tenant = "tenant") {
    const Result<SessionInfo> session = service->open_session(tenant);
    REQUIRE(session.has_value());
    return session->id;
  }

  [[nodiscard]] wire::ReserveAnswer reserve(SessionId session, std::string_view name,
                                            std::uint64_t size_bytes, bool sparse = false,
                                            std::uint32_t deadline_ms = 0) {
    wire::ReserveRequest request;
    request.deadline_ms = deadline_ms;
    request.items.push_back({name, SizeBytes(size_bytes), sparse});
    wire::ReserveReply reply;
    service->reserve(session, request, reply);
    REQUIRE(reply.answers.size() == 1);
    return reply.answers[0];
  }
  [[nodiscard]] Errc commit(SessionId session, ReservationId reservation,
                            std::vector<std::uint32_t> crcs = {}) {
    wire::StatusesReply reply;
    service->commit(session, {{{reservation, std::move(crcs)}}}, reply);
    REQUIRE(reply.statuses.size() == 1);
    return reply.statuses[0];
  }
  [[nodiscard]] Errc abort(SessionId session, ReservationId reservation) {
    wire::StatusesReply reply;
    service->abort(session, {{reservation}}, reply);
    REQUIRE(reply.statuses.size() == 1);
    return reply.statuses[0];
  }
  [[nodiscard]] Errc put(SessionId session, std::string_view name, std::uint64_t size_bytes,
                         bool sparse = false) {
    const wire::ReserveAnswer answer = reserve(session, name, size_bytes, sparse);
    return answer.status == Errc::ok ? commit(session, answer.reservation) : answer.status;
  }
  // A put of one item, with all that an item may say.
  [[nodiscard]] Errc put_item(SessionId session, const wire::ReserveItem& item) {
    wire::ReserveReply reply;
    service->reserve(session, {0, {item}}, reply);
    REQUIRE(reply.answers.size() == 1);
    const wire::ReserveAnswer& answer = reply.answers[0];
    return answer.status == Errc::ok ? commit(session, answer.reservation) : answer.status;
  }
  [[nodiscard]] Errc retain(SessionId session, std::string_view name,
                            const wire::Retention& retention) {
    wire::StatusesReply reply;
    service->retain(session, {{{name, retention}}}, reply);
    REQUIRE(reply.statuses.size() == 1);
    return reply.statuses[0];
  }
  [[nodiscard]] wire::UsageReply usage_of(SessionId session) {
    const Result<wire::UsageReply> usage = service->tenant_usage(session);
    REQUIRE(usage.has_value());
    return *usage;
  }
  [[nodiscard]] wire::LookupReply lookup(SessionId session, std::vector<std::string_view> names,
                                         std::uint32_t lease_ms = 0, bool prefix = false) {
    wire::LookupReply reply;
    const Errc status = service->lookup(session, {prefix, lease_ms, std::move(names)}, reply);
    REQUIRE(status == Errc::ok);
    return reply;
  }
  [[nodiscard]] Errc status_of(SessionId session, std::string_view name) {
    return lookup(session, {name}).objects.at(0).status;
  }
  void release(SessionId session, LeaseId lease) { service->release(session, {{lease}}); }
  [[nodiscard]] Errc remove(SessionId session, std::string_view name) {
    wire::StatusesReply reply;
    service->remove(session, {{name}}, reply);
    REQUIRE(reply.statuses.size() == 1);
    return reply.statuses[0];
  }

  [[nodiscard]] Result<PoolService::Binding> bind(SessionId session, std::string_view vm,
                                                  SizeBytes size) {
    return service->bind(session, {size, LdId(), vm});
  }
  [[nodiscard]] Result<PoolService::Binding> share(SessionId session, std::string_view vm,
                                                   LdId device) {
    return service->bind(session, {SizeBytes(), device, vm});
  }
  [[nodiscard]] Result<PoolService::Binding> bind_copy(SessionId session, std::string_view vm,
                                                       LdId original, SizeBytes size) {
    return service->bind(session, {size, original, vm});
  }
  [[nodiscard]] std::vector<wire::LogicalDeviceRecord> devices() {
    wire::ListBoundReply reply;
    service->list_bound(reply);
    return reply.devices;
  }

  // One segment per extent.
  [[nodiscard]] static std::vector<RemoteSegment> segments_of(RKey key,
                                                              const std::vector<Extent>& extents) {
    std::vector<RemoteSegment> segments;
    segments.reserve(extents.size());
    for (const Extent& extent : extents) {
      segments.push_back({key, extent.address, extent.length_bytes});
    }
    return segments;
  }
  [[nodiscard]] Errc access(SessionId session, WorkOp op,
                            const std::vector<RemoteSegment>& segments) {
    AccessTicket ticket;
    const Errc status = service->begin_access(session, op, segments, ticket);
    if (status == Errc::ok) {
      service->end_access(ticket);
    }
    return status;
  }
  // Writes `value` to all bytes.
  [[nodiscard]] Errc fill(SessionId session, RKey key, const std::vector<Extent>& extents,
                          std::byte value) {
    AccessTicket ticket;
    const Errc status =
        service->begin_access(session, WorkOp::write, segments_of(key, extents), ticket);
    if (status == Errc::ok) {
      for (const MutableSpan span : ticket.spans) {
        std::memset(span.data(), static_cast<int>(value), span.size());
      }
      service->end_access(ticket);
    }
    return status;
  }
  // True if every byte is `value`.
  [[nodiscard]] bool holds(SessionId session, RKey key, const std::vector<Extent>& extents,
                           std::byte value) {
    AccessTicket ticket;
    REQUIRE(service->begin_access(session, WorkOp::read, segments_of(key, extents), ticket) ==
            Errc::ok);
    bool holds = true;
    for (const MutableSpan span : ticket.spans) {
      for (const std::byte byte : span) {
        holds = holds && byte == value;
      }
    }
    service->end_access(ticket);
    return holds;
  }
  void advance(Duration by) {
    clock.advance(by);
    service->on_timer();
  }
  [[nodiscard]] std::uint64_t backed_in_channels() const {
    std::uint64_t total = 0;
    for (const auto& channel : channels) {
      total += channel->backed_bytes;
    }
    return total;
  }

  ManualClock clock;
  std::vector<std::unique_ptr<FakeDramChannel>> channels;
  godbox::test::FakeSlabMemories slab_memories;

 private:
  godbox::test::SeededRandom random_;

 public:
  std::unique_ptr<PoolService> service;
};

}  // namespace godbox::emulator::test
