// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/crc32c.h>
#include <godbox/sim/sim_network.h>

#include <algorithm>
#include <array>

namespace godbox::sim {

namespace {

template <class Span>
std::size_t total_bytes(std::span<const Span> spans) {
  GODBOX_ASSERT(spans.size() <= kStreamSpansMax);
  std::size_t total = 0;
  for (const Span& span : spans) {
    GODBOX_ASSERT(!span.empty());
    total += span.size();
  }
  return total;
}

constexpr std::uint8_t far_side(std::uint8_t side) { return side ^ 1U; }

}  // namespace

SimNetwork::SimNetwork(std::uint64_t seed, SimNetworkOptions options)
    : random_(seed), options_(options) {}

SimNetwork::~SimNetwork() {
  GODBOX_ASSERT(!running_);
  std::vector<ConnectionId> ids;
  for (const auto& [number, connection] : connections_) {
    ids.push_back(connection->id);
  }
  for (const ConnectionId id : ids) {
    for (const std::uint8_t side : {kServer, kClient}) {
      Connection* connection = find(id);
      if (connection != nullptr && connection->sides[side].endpoint != nullptr) {
        end_endpoint(*connection, side, Errc::cancelled);
      }
    }
  }
}

// --- StreamNetwork -------------------------------------------------------------------------------

ConnectionId SimNetwork::connect(const StreamAddress& to, StreamEndpoint& endpoint) {
  return connect_from(HostId(0), to, endpoint);
}

ConnectionId SimNetwork::connect_from(HostId host, const StreamAddress& to,
                                      StreamEndpoint& endpoint) {
  GODBOX_ASSERT(connections_.size() < kConnectionsMax);
  auto connection = std::make_unique<Connection>();
  Connection& made = *connection;
  made.id = ConnectionId(next_connection_++);
  made.client_host = host;
  made.address = to.to_string();
  made.delay = random_.duration(options_.delay_min, options_.delay_max);
  made.pipe_bytes_max = random_.between(options_.pipe_bytes_min, options_.pipe_bytes_max);
  made.sides[kClient].endpoint = &endpoint;
  connections_.emplace(made.id.value(), std::move(connection));
  ++counters_.connections;
  if (host.value() > 0 && hosts_[host.value() - 1]->dead_) {
    made.sides[kClient].muted = true;
    return made.id;
  }
  push(now() + made.delay + small_delay(), What::connect, made.id);
  schedule_pump(made, kClient);
  note("connect", &made, kClient, 0);
  return made.id;
}

void SimNetwork::close(ConnectionId id) {
  Connection* connection = find(id);
  if (connection != nullptr && connection->sides[kClient].endpoint != nullptr) {
    note("close", connection, kClient, 0);
    if (connection->sides[kClient].muted) {
      end_endpoint(*connection, kClient, Errc::cancelled);
    } else {
      close_side(*connection, kClient, Errc::cancelled, false);
    }
    bury();
  }
}

void SimNetwork::kick(ConnectionId id) {
  Connection* connection = find(id);
  if (connection != nullptr) {
    schedule_pump(*connection, kClient);
  }
}

Result<StreamAddress> SimNetwork::listen(const StreamAddress& at, StreamAcceptor& acceptor) {
  if (!at.is_loopback()) {
    return Error(Errc::address_not_loopback, at.to_string());
  }
  StreamAddress bound = at;
  if (at.kind == StreamAddress::Kind::tcp && at.tcp_port == 0) {
    bound.tcp_port = next_free_port_++;
  }
  const auto [place, fresh] = listeners_.try_emplace(bound.to_string());
  if (!fresh && place->second.acceptor != nullptr) {
    return Error(Errc::address_in_use, bound.to_string());
  }
  place->second.acceptor = &acceptor;
  return bound;
}

void SimNetwork::add_tick(Duration period, std::function<void(TimePoint)> tick) {
  GODBOX_ASSERT(period > Duration(0));
  ticks_.push_back(Tick{period, std::move(tick)});
  push(now() + period, What::tick, ConnectionId(), kClient, ticks_.size() - 1);
}

void SimNetwork::jump(Duration by) {
  GODBOX_ASSERT(!running_ && by >= Duration(0));
  note("jump", nullptr, kClient, static_cast<std::uint64_t>(by.count()));
  clock_.advance(by);
}

void SimNetwork::schedule(TimePoint at, std::function<void()> action) {
  const std::uint64_t number = next_action_++;
  actions_.emplace(number, std::move(action));
  push(std::max(at, now()), What::action, ConnectionId(), kClient, number);
}

std::size_t SimNetwork::run_until(TimePoint until) {
  if (running_) {
    return 0;
  }
  running_ = true;
  std::size_t handled = 0;
  std::uint64_t idle_ticks = 0;
  while (handled == 0 && !wake_) {
    if (events_.empty() || events_.top().at > until) {
      GODBOX_ASSERT(until != kNever);  // nothing can ever happen in this world
      clock_.set(std::max(now(), until));
      break;
    }
    const Event event = events_.top();
    events_.pop();
    events_at_instant_ = event.at > now() ? 0 : events_at_instant_ + 1;
    GODBOX_ASSERT(events_at_instant_ < kEventsAtOneInstantMax);
    clock_.set(std::max(now(), event.at));
    if (dispatch(event)) {
      ++counters_.events;
      if (event.what == What::tick) {
        GODBOX_ASSERT(++idle_ticks < kIdleTicksMax || until != kNever);
      } else {
        ++handled;
      }
      if (after_event_) {
        after_event_();
      }
    }
    bury();
  }
  wake_ = false;
  running_ = false;
  bury();
  return handled;
}

// --- Events --------------------------------------------------------------------------------------

SimNetwork::Connection* SimNetwork::find(ConnectionId id) {
  const auto found = connections_.find(id.value());
  return found == connections_.end() ? nullptr : found->second.get();
}

void SimNetwork::push(TimePoint at, What what, ConnectionId connection, std::uint8_t side,
                      std::uint64_t number) {
  events_.push(Event{at, next_sequence_++, what, side, connection, number});
}

bool SimNetwork::dispatch(const Event& event) {
  if (event.what == What::tick) {
    const Duration period = ticks_[event.number].period;
    push(now() + period, What::tick, ConnectionId(), kClient, event.number);
    ticks_[event.number].call(now());
    return true;
  }
  if (event.what == What::action) {
    const auto found = actions_.find(event.number);
    const std::function<void()> action = std::move(found->second);
    actions_.erase(found);
    note("action", nullptr, kClient, event.number);
    action();
    return true;
  }
  Connection* connection = find(event.connection);
  return connection != nullptr && dispatch_to(*connection, event);
}

bool SimNetwork::dispatch_to(Connection& connection, const Event& event) {
  Side& side = connection.sides[event.side];
  switch (event.what) {
    case What::connect:
      return reach_server(connection);
    case What::connected:
      return reach_client(connection);
    case What::arrive:
      return arrive(connection, event.side);
    default:
      break;
  }
  if (side.endpoint == nullptr || side.muted) {
    return false;
  }
  switch (event.what) {
    case What::connect_failed:
      note("connect failed", &connection, event.side, 0);
      ++counters_.refused;
      end_endpoint(connection, event.side, Errc::connect_failed);
      return true;
    case What::pump:
      return pump(connection, event.side);
    case What::write:
      return finish_write(connection, event.side);
    case What::read:
      return read(connection, event.side);
    case What::timer:
      return fire_timer(connection, event.side, event.number);
    case What::vanish:
      note("reset", &connection, event.side, 0);
      close_side(connection, event.side, Errc::lane_closed, false);
      return true;
    default:
      return false;
  }
}

bool SimNetwork::reach_server(Connection& connection) {
  Side& client = connection.sides[kClient];
  if (client.endpoint == nullptr || client.muted) {
    return false;
  }
  const auto found = listeners_.find(connection.address);
  if (found != listeners_.end() && found->second.silent) {
    push(now() + options_.connect_timeout, What::connect_failed, connection.id);
    return true;
  }
  if (found == listeners_.end() || found->second.acceptor == nullptr || found->second.down) {
    push(now() + connection.delay, What::connect_failed, connection.id);
    return true;
  }
  note("accept", &connection, kServer, 0);
  connection.established = true;
  push(now() + connection.delay, What::connected, connection.id);
  Side& server = connection.sides[kServer];
  server.owned = found->second.acceptor->accept(now());
  if (server.owned == nullptr) {
    put_end(connection, kServer, false, Duration(0));
    return true;
  }
  server.endpoint = server.owned.get();
  server.endpoint->set_waker([this, id = connection.id] {
    if (Connection* const woken = find(id)) {
      schedule_pump(*woken, kServer);
    }
  });
  server.connected = true;
  server.endpoint->on_connected(now());
  schedule_pump(connection, kServer);
  return true;
}

bool SimNetwork::reach_client(Connection& connection) {
  Side& client = connection.sides[kClient];
  if (client.endpoint == nullptr || client.muted) {
    return false;
  }
  note("connected", &connection, kClient, 0);
  client.connected = true;
  client.endpoint->on_connected(now());
  schedule_pump(connection, kClient);
  return true;
}

void SimNetwork::schedule_pump(Connection& connection, std::uint8_t side) {
  Side& end = connection.sides[side];
  if (end.endpoint != nullptr && !end.muted && !end.pump_scheduled) {
    end.pump_scheduled = true;
    push(now() + small_delay(), What::pump, connection.id, side);
  }
}

void SimNetwork::schedule_read(Connection& connection, std::uint8_t side) {
  Side& end = connection.sides[side];
  const Pipe& in = connection.sides[far_side(side)].out;
  if (end.endpoint != nullptr && end.connected && in.arrived > 0 && !end.read_scheduled) {
    end.read_scheduled = true;
    push(now() + small_delay(), What::read, connection.id, side);
  }
}

void SimNetwork::schedule_timer(Connection& connection, std::uint8_t side) {
  Side& end = connection.sides[side];
  const TimePoint deadline = end.endpoint->next_deadline();
  if (deadline < end.timer_at) {
    end.timer_at = deadline;
    push(std::max(deadline, now()), What::timer, connection.id, side, ++end.timer_generation);
  }
}

bool SimNetwork::pump(Connection& connection, std::uint8_t side) {
  Side& end = connection.sides[side];
  end.pump_scheduled = false;
  if (!end.writing) {
    std::size_t offered = 0;
    if (end.connected) {
      const std::span<const ConstSpan> spans = end.endpoint->send_spans();
      offered = total_bytes(spans);
      end.write_spans.assign(spans.begin(), spans.end());
    }
    if (offered > 0) {
      start_write(connection, side, offered);
    } else if (end.endpoint->wants_close()) {
      note("wants close", &connection, side, 0);
      close_side(connection, side, Errc::cancelled, true);
      return true;
    }
  }
  schedule_read(connection, side);
  schedule_timer(connection, side);
  return true;
}

void SimNetwork::start_write(Connection& connection, std::uint8_t side, std::size_t offered_bytes) {
  Side& end = connection.sides[side];
  const std::size_t space = end.out.ended ? offered_bytes
                                          : connection.pipe_bytes_max -
                                                std::min(connection.pipe_bytes_max, end.out.bytes);
  if (space == 0) {
    return;
  }
  end.writing = true;
  end.write_bytes = choose_chunk(std::min(offered_bytes, space));
  const std::size_t referable = referable_bytes(end);
  end.write_refers = referable > 0 && random_.one_in(2);
  if (end.write_refers) {
    end.write_bytes = std::min(end.write_bytes, referable);
  }
  push(now() + small_delay(), What::write, connection.id, side);
}

bool SimNetwork::finish_write(Connection& connection, std::uint8_t side) {
  Side& end = connection.sides[side];
  if (!end.writing) {
    return false;
  }
  end.writing = false;
  const std::size_t size = end.write_bytes;
  Packet packet;
  fill(packet, end.write_spans, size);
  if (end.write_refers) {
    packet.referred.assign(end.write_spans.begin(), end.write_spans.end());
  }
  note("write", &connection, side, (std::uint64_t{crc32c(packet.bytes)} << 32U) | size);
  put_packet(connection, side, std::move(packet), Duration(0));
  if (end.write_refers) {
    end.endpoint->on_sent_by_reference(size, now());
  } else {
    end.endpoint->on_sent(size, now());
  }
  schedule_pump(connection, side);
  return true;
}

bool SimNetwork::is_referring(const Pipe& pipe) {
  return std::any_of(pipe.packets.begin(), pipe.packets.end(),
                     [](const Packet& packet) { return !packet.referred.empty(); });
}

// How much from the front of what is to be written may leave by reference.
std::size_t SimNetwork::referable_bytes(const Side& side) {
  const std::span<const std::uint8_t> flags = side.endpoint->referable();
  GODBOX_ASSERT(flags.empty() || flags.size() == side.write_spans.size());
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < flags.size() && flags[i] != 0; ++i) {
    bytes += side.write_spans[i].size();
  }
  return bytes;
}

void SimNetwork::fill(Packet& packet, std::span<const ConstSpan> spans, std::size_t size_bytes) {
  packet.bytes.clear();
  packet.bytes.reserve(size_bytes);
  for (const ConstSpan span : spans) {
    const std::size_t step = std::min(size_bytes - packet.bytes.size(), span.size());
    packet.bytes.insert(packet.bytes.end(), span.begin(),
                        span.begin() + static_cast<std::ptrdiff_t>(step));
  }
}

void SimNetwork::put_packet(Connection& connection, std::uint8_t from, Packet packet,
                            Duration extra) {
  Pipe& pipe = connection.sides[from].out;
  if (pipe.ended) {
    counters_.bytes_lost += packet.bytes.size();
    return;
  }
  if (options_.corrupt_packet_one_in > 0 && (from == kServer || options_.corrupt_both_directions) &&
      !packet.bytes.empty() && random_.one_in(options_.corrupt_packet_one_in)) {
    packet.bytes[random_.below(packet.bytes.size())] ^= std::byte{0x20};
    ++counters_.corrupted_packets;
  }
  TimePoint arrival =
      now() + connection.delay + extra + random_.duration(Duration(0), options_.jitter_max);
  if (options_.bandwidth.bytes_per_second() > 0) {
    arrival = std::max(arrival, std::max(pipe.last_arrival, now() + connection.delay) +
                                    options_.bandwidth.time_for(SizeBytes(packet.bytes.size())));
  }
  pipe.last_arrival = std::max(pipe.last_arrival, arrival);
  packet.arrival = pipe.last_arrival;
  pipe.bytes += packet.bytes.size();
  push(packet.arrival, What::arrive, connection.id, far_side(from));
  pipe.packets.push_back(std::move(packet));
}

bool SimNetwork::arrive(Connection& connection, std::uint8_t side) {
  Side& writer = connection.sides[far_side(side)];
  Pipe& pipe = writer.out;
  if (pipe.dead || pipe.arrived >= pipe.packets.size() ||
      pipe.packets[pipe.arrived].arrival > now()) {
    return false;
  }
  if (now() < pipe.stalled_until) {
    push(pipe.stalled_until, What::arrive, connection.id, side);
    return false;
  }
  Side& end = connection.sides[side];
  if (end.endpoint == nullptr || end.muted) {
    const bool data = pipe.packets[pipe.arrived].kind == PacketKind::data;
    drop_unread(pipe);
    if (data && writer.endpoint != nullptr && !writer.muted) {
      push(now() + connection.delay, What::vanish, connection.id, far_side(side));
    }
    return true;
  }
  Packet& packet = pipe.packets[pipe.arrived++];
  if (packet.kind == PacketKind::reset && random_.one_in(2)) {
    note("reset arrives", &connection, side, pipe.bytes);
    close_side(connection, side, Errc::lane_closed, false);
    return true;
  }
  schedule_read(connection, side);
  return true;
}

bool SimNetwork::read(Connection& connection, std::uint8_t side) {
  Side& end = connection.sides[side];
  Pipe& in = connection.sides[far_side(side)].out;
  end.read_scheduled = false;
  if (in.arrived == 0) {
    return false;
  }
  if (in.packets.front().kind != PacketKind::data) {
    note("end arrives", &connection, side, 0);
    close_side(connection, side, Errc::lane_closed, false);
    return true;
  }
  std::size_t available = 0;
  for (std::size_t i = 0; i < in.arrived && in.packets[i].kind == PacketKind::data; ++i) {
    available += in.packets[i].bytes.size() - in.packets[i].read_bytes;
  }
  const std::span<const MutableSpan> spans = end.endpoint->receive_spans();
  const std::size_t wanted = total_bytes(spans);
  if (wanted == 0) {
    return true;  // the next pump tries again
  }
  const std::size_t size = choose_chunk(std::min(available, wanted));
  if (end.writing && random_.one_in(8)) {
    finish_write(connection, side);  // stream.h: receive_spans() survive it
    if (end.endpoint == nullptr) {
      return true;
    }
  }
  std::size_t done = 0;
  bool has_taken = false;
  for (MutableSpan span : spans) {
    span = span.first(std::min(span.size(), size - done));
    while (!span.empty()) {
      Packet& packet = in.packets.front();
      if (!packet.referred.empty()) {
        fill(packet, packet.referred, packet.bytes.size());
      }
      const ConstSpan left = ConstSpan(packet.bytes).subspan(packet.read_bytes);
      const std::size_t step = std::min(left.size(), span.size());
      std::copy_n(left.begin(), step, span.begin());
      span = span.subspan(step);
      done += step;
      packet.read_bytes += step;
      if (packet.read_bytes == packet.bytes.size()) {
        in.taken_bytes += packet.bytes.size();
        has_taken = has_taken || !packet.referred.empty();
        in.packets.pop_front();
        --in.arrived;
      }
    }
  }
  in.bytes -= size;
  counters_.bytes_delivered += size;
  note("read", &connection, side, size);
  const Side& writer = connection.sides[far_side(side)];
  if (has_taken && writer.endpoint != nullptr && !writer.muted) {
    writer.endpoint->on_taken(in.taken_bytes);
  }
  if (in.kept != nullptr && !is_referring(in)) {
    in.kept.reset();
  }
  end.endpoint->on_received(size, now());
  schedule_pump(connection, side);
  schedule_pump(connection, far_side(side));  // there is room again
  return true;
}

bool SimNetwork::fire_timer(Connection& connection, std::uint8_t side, std::uint64_t generation) {
  Side& end = connection.sides[side];
  if (generation != end.timer_generation) {
    return false;
  }
  end.timer_at = kNever;
  const bool due = end.endpoint->next_deadline() <= now();
  if (due) {
    note("timer", &connection, side, 0);
    end.endpoint->on_timer(now());
    schedule_pump(connection, side);
  }
  if (end.endpoint != nullptr && !due) {
    schedule_timer(connection, side);
  }
  return due;
}

// --- Helpers -------------------------------------------------------------------------------------

std::size_t SimNetwork::choose_chunk(std::size_t bytes_max) {
  GODBOX_ASSERT(bytes_max > 0);
  bytes_max = std::min(bytes_max, options_.chunk_bytes_max);
  if (random_.one_in(options_.tiny_chunk_one_in)) {
    return std::min<std::size_t>(bytes_max, random_.between(1, 80));
  }
  if (random_.one_in(options_.short_chunk_one_in)) {
    return random_.between(1, bytes_max);
  }
  return bytes_max;
}

// Never zero, so that events that cause each other cannot spin at one instant.
Duration SimNetwork::small_delay() {
  return random_.duration(Duration(1), std::chrono::microseconds(2));
}

void SimNetwork::note(const char* what, const Connection* connection, std::uint8_t side,
                      std::uint64_t number) {
  const std::uint64_t place = connection == nullptr ? 0 : (connection->id.value() << 1U) | side;
  trace_hash_ = mix64(trace_hash_ ^ static_cast<std::uint64_t>(now().time_since_epoch().count()));
  trace_hash_ = mix64(trace_hash_ ^ place) + number;
  if (trace_) {
    trace_(std::to_string(now().time_since_epoch().count()) + " ns " + what + " #" +
           std::to_string(place >> 1U) + (side == kClient ? " client " : " server ") +
           (connection == nullptr ? std::string() : connection->address) + " " +
           std::to_string(number));
  }
}

void SimNetwork::bury() {
  if (!running_) {
    dead_endpoints_.clear();
    graveyard_.clear();
  }
}

}  // namespace godbox::sim
