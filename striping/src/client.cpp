// SPDX-License-Identifier: Apache-2.0
#include "client_core.h"
#include <godbox/striping/client.h>

#include <optional>
#include <utility>

namespace godbox::striping {

namespace {
constexpr const char* kGoingAway = "the client is being destroyed";
}  // namespace

struct Client::Impl {
  Impl(StreamNetwork& network, ClientOptions options) : core(network, std::move(options)) {}

  // Starts what takes a callback and drives the network until that was called. From a callback of
  // a client that goes away nothing can be waited for.
  template <class Answer, class Start>
  Answer wait_for(Start&& start, Answer closing = Error(Errc::cancelled, kGoingAway)) {
    if (core.is_closing()) {
      return closing;
    }
    std::optional<Answer> answer;
    start([&answer](auto&& given) { answer.emplace(std::forward<decltype(given)>(given)); });
    core.drive_until([&answer] { return answer.has_value(); });
    return std::move(*answer);
  }
  template <class Start>
  std::vector<Errc> wait_for_statuses(std::size_t count, Start&& start) {
    return wait_for<std::vector<Errc>>(
        [&start](auto set) {
          start([set](std::span<const Errc> statuses) {
            set(std::vector<Errc>(statuses.begin(), statuses.end()));
          });
        },
        std::vector<Errc>(count, Errc::cancelled));
  }
  template <class Reply>
  Result<Reply> ask(wire::Op op, const wire::Body& body) {
    return wait_for<Result<Reply>>(
        [&](auto set) { core.request<Reply>(op, body, core.call_deadline(), set); });
  }

  ClientCore core;
};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

// Before its members go: the last callbacks may still use the client.
Client::~Client() { impl_->core.close(); }

Result<std::unique_ptr<Client>> Client::connect(StreamNetwork& network,
                                                const StreamAddress& control_address,
                                                ClientOptions options,
                                                const TransportFactory& make_transport) {
  auto impl = std::make_unique<Impl>(network, std::move(options));
  const Result<void> opened = impl->core.open(control_address, make_transport);
  if (!opened) {
    return opened.error();
  }
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

const wire::InfoReply& Client::box() const { return impl_->core.box(); }

const wire::HelloReply& Client::session() const { return impl_->core.session(); }

Transport& Client::transport() { return impl_->core.transport(); }

const ExecutorCounters& Client::counters() const { return impl_->core.executor().counters(); }

bool Client::is_open() const { return impl_->core.is_open(); }
ConnectionId Client::control_connection() const { return impl_->core.control_connection(); }
std::uint64_t Client::sessions_resumed() const { return impl_->core.sessions_resumed(); }

void Client::submit_put(std::span<const PutItem> items, OnStatuses on_done,
                        const CallOptions& options) {
  start_put(impl_->core, items, options, std::move(on_done));
}

void Client::submit_get(std::span<const GetItem> items, OnStatuses on_done,
                        const CallOptions& options) {
  start_get(impl_->core, items, options, std::move(on_done));
}

void Client::submit_get_found(const Lookup& found,
                              std::span<const std::span<const LocalSegment>> into,
                              OnStatuses on_done, const CallOptions& options) {
  start_get_found(impl_->core, found, into, options, std::move(on_done));
}

void Client::submit_lookup(std::span<const std::string_view> names, bool prefix, OnLookup on_done) {
  start_lookup(impl_->core, names, prefix, std::move(on_done));
}

void Client::submit_remove(std::span<const std::string_view> names, OnStatuses on_done) {
  start_remove(impl_->core, names, std::move(on_done));
}

void Client::submit_begin_layers(std::span<const LayeredItem> items, OnLayeredPut on_done) {
  start_begin_layers(impl_->core, items, std::move(on_done));
}

void Client::submit_put_layer(const LayeredPut& put, std::uint32_t layer,
                              std::span<const std::span<const LocalSegment>> data,
                              OnStatuses on_done, const CallOptions& options) {
  start_put_layer(impl_->core, put.state_, layer, data, options, std::move(on_done));
}

void Client::submit_wait(std::span<const std::string_view> names, std::uint32_t layer,
                         Duration wait, OnLookup on_done) {
  start_wait(impl_->core, names, layer, wait, std::move(on_done));
}

void Client::submit_get_layer(const Lookup& found, std::uint32_t layer,
                              std::span<const std::span<const LocalSegment>> into,
                              OnStatuses on_done, const CallOptions& options) {
  start_get_layer(impl_->core, found, layer, into, options, std::move(on_done));
}

void Client::submit_retain(std::span<const wire::RetainItem> items, OnStatuses on_done) {
  start_retain(impl_->core, items, std::move(on_done));
}

void Client::submit_events(const wire::EventsRequest& request, OnEvents on_done) {
  start_events(impl_->core, request, std::move(on_done));
}

void Client::submit_usage(OnUsage on_done) { start_usage(impl_->core, std::move(on_done)); }

void Client::release(Lookup& found) {
  if (found.hold != nullptr) {
    found.hold->release();
    found.hold.reset();
  }
  found.lease = LeaseId();
  found.lease_until = TimePoint{};
}

std::vector<Errc> Client::put(std::span<const PutItem> items, const CallOptions& options) {
  return impl_->wait_for_statuses(items.size(),
                                  [&](auto done) { submit_put(items, done, options); });
}

std::vector<Errc> Client::get(std::span<const GetItem> items, const CallOptions& options) {
  return impl_->wait_for_statuses(items.size(),
                                  [&](auto done) { submit_get(items, done, options); });
}

std::vector<Errc> Client::get_found(const Lookup& found,
                                    std::span<const std::span<const LocalSegment>> into,
                                    const CallOptions& options) {
  return impl_->wait_for_statuses(into.size(),
                                  [&](auto done) { submit_get_found(found, into, done, options); });
}

Result<Lookup> Client::lookup_prefix(std::span<const std::string_view> names) {
  return impl_->wait_for<Result<Lookup>>([&](auto done) { submit_lookup(names, true, done); });
}

Result<Lookup> Client::lookup(std::span<const std::string_view> names) {
  return impl_->wait_for<Result<Lookup>>([&](auto done) { submit_lookup(names, false, done); });
}

std::vector<Errc> Client::remove(std::span<const std::string_view> names) {
  return impl_->wait_for_statuses(names.size(), [&](auto done) { submit_remove(names, done); });
}

Result<LayeredPut> Client::begin_layers(std::span<const LayeredItem> items) {
  return impl_->wait_for<Result<LayeredPut>>([&](auto done) { submit_begin_layers(items, done); });
}

std::vector<Errc> Client::put_layer(const LayeredPut& put, std::uint32_t layer,
                                    std::span<const std::span<const LocalSegment>> data,
                                    const CallOptions& options) {
  return impl_->wait_for_statuses(
      data.size(), [&](auto done) { submit_put_layer(put, layer, data, done, options); });
}

Result<Lookup> Client::wait(std::span<const std::string_view> names, std::uint32_t layer,
                            Duration wait) {
  return impl_->wait_for<Result<Lookup>>([&](auto done) { submit_wait(names, layer, wait, done); });
}

std::vector<Errc> Client::get_layer(const Lookup& found, std::uint32_t layer,
                                    std::span<const std::span<const LocalSegment>> into,
                                    const CallOptions& options) {
  return impl_->wait_for_statuses(
      into.size(), [&](auto done) { submit_get_layer(found, layer, into, done, options); });
}

std::vector<Errc> Client::retain(std::span<const wire::RetainItem> items) {
  return impl_->wait_for_statuses(items.size(), [&](auto done) { submit_retain(items, done); });
}

Result<wire::EventsReply> Client::events(const wire::EventsRequest& request) {
  return impl_->wait_for<Result<wire::EventsReply>>(
      [&](auto done) { submit_events(request, done); });
}

Result<wire::UsageReply> Client::usage() {
  return impl_->wait_for<Result<wire::UsageReply>>([&](auto done) { submit_usage(done); });
}

Result<wire::ListReply> Client::list(std::string_view prefix, std::string_view after,
                                     std::uint32_t names_max) {
  if (prefix.size() > wire::kNameBytesMax || after.size() > wire::kNameBytesMax) {
    return Error(Errc::invalid_argument, "prefix and after: longer than any name");
  }
  return impl_->ask<wire::ListReply>(wire::Op::list,
                                     wire::encode(wire::ListRequest{prefix, after, names_max}));
}

Result<std::string> Client::status_json() {
  Result<wire::TextReply> reply = impl_->ask<wire::TextReply>(wire::Op::status, {});
  if (!reply) {
    return reply.error();
  }
  return std::move(reply->text);
}

Result<Region> Client::allocate(SizeBytes size) {
  Result<wire::RegionReply> reply = impl_->ask<wire::RegionReply>(
      wire::Op::allocate_region, wire::encode(wire::AllocateRegionRequest{size}));
  if (!reply) {
    return reply.error();
  }
  if (total_bytes(reply->extents) != size.count()) {
    return Error(Errc::protocol_error, "the region's extents are not of the size asked for");
  }
  return Region{.key = reply->key, .size = size, .extents = std::move(reply->extents)};
}

Result<void> Client::free(Region& region) {
  const Result<NoReply> reply =
      impl_->ask<NoReply>(wire::Op::free_region, wire::encode(wire::FreeRegionRequest{region.key}));
  if (!reply) {
    return reply.error();
  }
  region = Region{};
  return {};
}

void Client::submit_region(WorkOp op, const Region& region, std::span<const RegionPiece> pieces,
                           std::function<void(Errc)> on_done, const CallOptions& options) {
  start_region(impl_->core, op, region, pieces, options, std::move(on_done));
}

Errc Client::write(const Region& region, std::span<const RegionPiece> pieces,
                   const CallOptions& options) {
  return impl_->wait_for<Errc>(
      [&](auto done) { submit_region(WorkOp::write, region, pieces, done, options); },
      Errc::cancelled);
}

Errc Client::read(const Region& region, std::span<const RegionPiece> pieces,
                  const CallOptions& options) {
  return impl_->wait_for<Errc>(
      [&](auto done) { submit_region(WorkOp::read, region, pieces, done, options); },
      Errc::cancelled);
}

bool Client::progress(TimePoint until) { return impl_->core.progress(until); }

std::size_t Client::operations_in_flight() const { return impl_->core.operations_in_flight(); }

}  // namespace godbox::striping
