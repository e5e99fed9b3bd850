// SPDX-License-Identifier: Apache-2.0
#include "server_lane.h"
#include "socket_address.h"
#include <godbox/driver/verbs_server.h>
#include <godbox/roce/pool_hello.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

constexpr int kBacklog = 128;
constexpr std::uint32_t kPiecesMax = 16;
constexpr std::uint8_t kReadsMax = 16;
// Polled for so long after there was something to do, before anybody waits.
constexpr Duration kBusyPoll = std::chrono::microseconds(50);

struct DestroyChannel {
  void operator()(rdma_event_channel* channel) const { rdma_destroy_event_channel(channel); }
};
struct DestroyId {
  void operator()(rdma_cm_id* id) const { rdma_destroy_id(id); }
};
struct FreeDomain {
  void operator()(ibv_pd* domain) const { ibv_dealloc_pd(domain); }
};
struct DestroyWakeups {
  void operator()(ibv_comp_channel* channel) const { ibv_destroy_comp_channel(channel); }
};

bool make_nonblocking(int descriptor) {
  return fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK) == 0;
}

Error system_error(Errc code, std::string_view what) {
  return {code, fmt::format("{}: {}", what, std::generic_category().message(errno))};
}

}  // namespace

struct VerbsServer::Impl {
  Impl(PoolAccess& pool, RegisteredMemory& memory, const Clock& clock)
      : context{.pool = pool, .memory = memory.state(), .clock = clock} {}
  ~Impl() {
    lanes.clear();
    listeners.clear();
    if (domain != nullptr) {
      context.memory.forget(domain.get());
    }
    if (wake >= 0) {
      close(wake);
    }
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<void> listen(const VerbsServerOptions& options);
  Result<void> listen_at(const std::string& address);
  Result<void> use_device(ibv_context* device);

  bool take_events();
  void on_event(const rdma_cm_event& event, std::span<const std::uint8_t> data);
  void on_request(rdma_cm_id* id, std::span<const std::uint8_t> data, std::uint8_t reads_max);
  void reject(rdma_cm_id* id, Errc why);
  ServerLane* lane_of(const rdma_cm_id* id);
  bool progress();
  void wait();

  ServerContext context;
  std::unique_ptr<rdma_event_channel, DestroyChannel> channel;
  std::unique_ptr<ibv_pd, FreeDomain> domain;
  std::unique_ptr<ibv_comp_channel, DestroyWakeups> wakeups;
  std::vector<std::unique_ptr<rdma_cm_id, DestroyId>> listeners;
  std::vector<std::pair<rdma_cm_id*, std::unique_ptr<ServerLane>>> lanes;
  int wake = -1;
  std::atomic<bool> stopping{false};
  TimePoint next_sweep{}, poll_until{};
  EthPortId eth_port;
  std::string device;
  MacAddress mac{};
  std::uint32_t path_mtu_bytes = 0;
};

// --- Opening ---

Result<void> VerbsServer::Impl::listen(const VerbsServerOptions& options) {
  channel.reset(rdma_create_event_channel());
  if (channel == nullptr) {
    return system_error(Errc::device_missing,
                        "no RDMA device can be used here; is there one, and is the module rdma_ucm "
                        "loaded? (rdma_cm)");
  }
  wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake < 0 || !make_nonblocking(channel->fd)) {
    return system_error(Errc::io_error, "eventfd");
  }
  eth_port = options.eth_port;
  device = options.device;
  if (options.addresses.empty()) {
    return Error(Errc::config_invalid, "a server without an address");
  }
  for (const std::string& address : options.addresses) {
    if (Result<void> done = listen_at(address); !done) {
      return done;
    }
  }
  return {};
}

Result<void> VerbsServer::Impl::listen_at(const std::string& address) {
  std::optional<sockaddr_storage> at = socket_address(address, kVerbsServicePort);
  if (!at) {
    return Error(Errc::config_invalid, address + ": no IP address");
  }
  rdma_cm_id* made = nullptr;
  if (rdma_create_id(channel.get(), &made, nullptr, RDMA_PS_TCP) != 0) {
    return system_error(Errc::limit_exceeded, "rdma_create_id");
  }
  std::unique_ptr<rdma_cm_id, DestroyId> id(made);
  if (rdma_bind_addr(id.get(), reinterpret_cast<sockaddr*>(&*at)) != 0) {
    return errno == EADDRINUSE
               ? Error(Errc::address_in_use,
                       fmt::format("{}: another program listens there", address))
               : system_error(Errc::device_missing,
                              fmt::format("{}: no RDMA device here has that address", address));
  }
  if (id->verbs == nullptr) {
    return Error(Errc::device_missing,
                 fmt::format("{}: no RDMA device here has that address", address));
  }
  const std::string its = ibv_get_device_name(id->verbs->device);
  if (!device.empty() && device != its) {
    return Error(Errc::config_invalid,
                 fmt::format("{} is {}'s address, and not {}'s", address, its, device));
  }
  device = its;
  if (domain == nullptr) {
    if (Result<void> used = use_device(id->verbs); !used) {
      return used;
    }
  }
  if (rdma_listen(id.get(), kBacklog) != 0) {
    return errno == EADDRINUSE ? Error(Errc::address_in_use,
                                       fmt::format("{}: another program listens there", address))
                               : system_error(Errc::io_error, "rdma_listen");
  }
  listeners.push_back(std::move(id));
  return {};
}

Result<void> VerbsServer::Impl::use_device(ibv_context* its) {
  ibv_device_attr limits{};
  ibv_port_attr port{};
  domain.reset(ibv_alloc_pd(its));
  wakeups.reset(ibv_create_comp_channel(its));
  if (domain == nullptr || wakeups == nullptr || !make_nonblocking(wakeups->fd) ||
      ibv_query_device(its, &limits) != 0 || ibv_query_port(its, 1, &port) != 0) {
    return system_error(Errc::limit_exceeded, device);
  }
  const auto at_most = [](int limit, std::uint32_t most) {
    return std::clamp<std::uint32_t>(static_cast<std::uint32_t>(std::max(limit, 1)), 1, most);
  };
  context.domain = domain.get();
  context.wakeups = wakeups.get();
  context.write_pieces_max = at_most(limits.max_sge, kPiecesMax);
  context.read_pieces_max =
      at_most(limits.max_sge_rd > 0 ? std::min(limits.max_sge, limits.max_sge_rd) : limits.max_sge,
              kPiecesMax);
  context.reads_max = static_cast<std::uint8_t>(at_most(limits.max_qp_init_rd_atom, kReadsMax));
  path_mtu_bytes = 128U << static_cast<unsigned>(port.active_mtu);
  // The first entry is made of the MAC address (RFC 4291, appendix A).
  ibv_gid gid{};
  if (ibv_query_gid(its, 1, 0, &gid) == 0 && gid.raw[11] == 0xFF && gid.raw[12] == 0xFE) {
    mac = {static_cast<std::uint8_t>(gid.raw[8] ^ 2U),
           gid.raw[9],
           gid.raw[10],
           gid.raw[13],
           gid.raw[14],
           gid.raw[15]};
  }
  return {};
}

// --- Serving ---

ServerLane* VerbsServer::Impl::lane_of(const rdma_cm_id* id) {
  const auto found = std::ranges::find_if(lanes, [&](const auto& of) { return of.first == id; });
  return found == lanes.end() ? nullptr : found->second.get();
}

bool VerbsServer::Impl::take_events() {
  bool is_busy = false;
  rdma_cm_event* event = nullptr;
  while (rdma_get_cm_event(channel.get(), &event) == 0) {
    is_busy = true;
    // Acknowledged first, as a lane may go, and its connection with it.
    const rdma_cm_event copy = *event;
    std::array<std::uint8_t, 256> data{};
    const std::size_t size =
        event->param.conn.private_data == nullptr ? 0 : event->param.conn.private_data_len;
    if (size > 0) {
      std::memcpy(data.data(), event->param.conn.private_data, size);
    }
    rdma_ack_cm_event(event);
    on_event(copy, std::span(data).first(size));
  }
  return is_busy;
}

void VerbsServer::Impl::on_event(const rdma_cm_event& event, std::span<const std::uint8_t> data) {
  if (event.event == RDMA_CM_EVENT_CONNECT_REQUEST) {
    // As rdma_cm turns them: how many READs of this end the client can answer.
    return on_request(event.id, data, event.param.conn.initiator_depth);
  }
  ServerLane* const lane = lane_of(event.id);
  if (lane == nullptr) {
    return;
  }
  switch (event.event) {
    case RDMA_CM_EVENT_ESTABLISHED:
      return lane->on_established();
    case RDMA_CM_EVENT_DISCONNECTED:
    case RDMA_CM_EVENT_CONNECT_ERROR:
    case RDMA_CM_EVENT_UNREACHABLE:
    case RDMA_CM_EVENT_REJECTED:
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
      return lane->end();
    default:
      return;
  }
}

void VerbsServer::Impl::reject(rdma_cm_id* id, Errc why) {
  std::array<std::uint8_t, roce::kPoolRefusalBytes> told{};
  roce::encode_pool_refusal(why, told);
  rdma_reject(id, told.data(), told.size());
  rdma_destroy_id(id);
  context.counters.rejected.fetch_add(1, std::memory_order_relaxed);
}

void VerbsServer::Impl::on_request(rdma_cm_id* id, std::span<const std::uint8_t> data,
                                   std::uint8_t reads_max) {
  context.counters.requested.fetch_add(1, std::memory_order_relaxed);
  const auto hello = data.size() >= roce::kPoolHelloBytes
                         ? roce::decode_pool_hello(data.first<roce::kPoolHelloBytes>())
                         : std::nullopt;
  if (!hello) {
    return reject(id, Errc::bad_version);
  }
  if (hello->moved_by != roce::MovedBy::box || reads_max == 0) {
    return reject(id, Errc::unsupported);
  }
  if (lanes.size() >= kVerbsServerLanesMax) {
    return reject(id, Errc::limit_exceeded);
  }
  const Result<PoolAccess::Lane> joined = context.pool.join(hello->session, hello->secret);
  if (!joined) {
    return reject(id, joined.error().code);
  }
  std::array<std::uint8_t, roce::kPoolWelcomeBytes> welcome{};
  roce::encode_pool_welcome({.eth_port = eth_port, .lane = joined->token}, welcome);
  lanes.emplace_back(id, std::make_unique<ServerLane>(context, id, *joined));
  if (!lanes.back().second->accept(welcome, reads_max)) {
    context.counters.rejected.fetch_add(1, std::memory_order_relaxed);
    lanes.pop_back();  // the client is disconnected
  }
}

bool VerbsServer::Impl::progress() {
  bool is_busy = take_events();
  const TimePoint now = context.clock.now();
  for (const auto& [id, lane] : lanes) {
    is_busy = lane->progress(now) || is_busy;
  }
  if (now >= next_sweep) {
    next_sweep = now + kVerbsSweepPeriod;
    for (const auto& [id, lane] : lanes) {
      lane->sweep(now);
    }
  }
  is_busy =
      std::erase_if(lanes, [](const auto& of) { return of.second->is_over(); }) > 0 || is_busy;
  if (is_busy) {
    poll_until = now + kBusyPoll;
  }
  return is_busy;
}

void VerbsServer::Impl::wait() {
  TimePoint until = lanes.empty() ? kNever : next_sweep;
  for (const auto& [id, lane] : lanes) {
    lane->ask_for_wakeup();
    until = std::min(until, lane->next_deadline());
  }
  // What came before it was asked for wakes nobody.
  if (progress()) {
    return;
  }
  const TimePoint now = context.clock.now();
  int timeout_ms = -1;
  if (until != kNever) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
    timeout_ms = static_cast<int>(std::clamp<decltype(left)>(left, 0, 1000));
  }
  std::array<pollfd, 3> from{
      {{channel->fd, POLLIN, 0}, {wakeups->fd, POLLIN, 0}, {wake, POLLIN, 0}}};
  static_cast<void>(poll(from.data(), from.size(), timeout_ms));
  ibv_cq* queue = nullptr;
  void* its = nullptr;
  while (ibv_get_cq_event(wakeups.get(), &queue, &its) == 0) {
    ibv_ack_cq_events(queue, 1);
  }
}

VerbsServer::VerbsServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
VerbsServer::~VerbsServer() = default;

Result<std::unique_ptr<VerbsServer>> VerbsServer::open(const VerbsServerOptions& options,
                                                       PoolAccess& pool, RegisteredMemory& memory,
                                                       const Clock& clock) {
  auto impl = std::make_unique<Impl>(pool, memory, clock);
  if (Result<void> listening = impl->listen(options); !listening) {
    return listening.error();
  }
  return std::unique_ptr<VerbsServer>(new VerbsServer(std::move(impl)));
}

void VerbsServer::run() {
  while (!impl_->stopping.load(std::memory_order_acquire)) {
    if (!impl_->progress() && impl_->context.clock.now() >= impl_->poll_until) {
      impl_->wait();
    }
  }
  impl_->lanes.clear();
}

void VerbsServer::stop() {
  impl_->stopping.store(true, std::memory_order_release);
  const std::uint64_t one = 1;
  static_cast<void>(write(impl_->wake, &one, sizeof(one)));
}

const std::string& VerbsServer::device() const { return impl_->device; }
MacAddress VerbsServer::mac() const { return impl_->mac; }
std::uint32_t VerbsServer::path_mtu_bytes() const { return impl_->path_mtu_bytes; }

std::vector<std::pair<std::string_view, std::uint64_t>> VerbsServer::counters() const {
  const ServerCounters& of = impl_->context.counters;
  return {{"connections_requested", of.requested.load()},
          {"connections_established", of.established.load()},
          {"connections_rejected", of.rejected.load()},
          {"connections_closed", of.closed.load()},
          {"reads", of.reads.load()},
          {"writes", of.writes.load()},
          {"bytes_read", of.bytes_read.load()},
          {"bytes_written", of.bytes_written.load()},
          {"orders_refused", of.refused.load()},
          {"orders_malformed", of.malformed.load()},
          {"lanes_failed", of.failed.load()},
          {"queue_pairs_open", of.lanes.load()}};
}

}  // namespace godbox::driver
