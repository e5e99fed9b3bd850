// SPDX-License-Identifier: Apache-2.0
//
// How connections of the simulated network end, and everything that a test breaks on purpose.
#include <godbox/assert.h>
#include <godbox/sim/sim_network.h>

#include <algorithm>

namespace godbox::sim {

namespace {

constexpr std::uint8_t far_side(std::uint8_t side) { return side ^ 1U; }

}  // namespace

// --- Ends of connections -------------------------------------------------------------------------

void SimNetwork::end_endpoint(Connection& connection, std::uint8_t side, Errc reason) {
  Side& end = connection.sides[side];
  StreamEndpoint* endpoint = end.endpoint;
  end.endpoint = nullptr;
  end.writing = false;
  end.write_spans.clear();
  drop_unread(connection.sides[far_side(side)].out);
  if (is_referring(end.out)) {
    end.out.kept = endpoint->keep_referred();
    if (end.out.dead || connection.sides[far_side(side)].muted) {
      stop_referring(end.out);  // nobody ever reads it
    }
  }
  endpoint->on_closed(reason, now());
  if (end.owned != nullptr) {
    dead_endpoints_.push_back(std::move(end.owned));
  }
  // Not before its on_closed is over, and never inside run_until: a callback may be on the stack.
  const bool both_gone = connection.sides[kClient].endpoint == nullptr &&
                         connection.sides[kServer].endpoint == nullptr;
  if (both_gone) {
    const auto found = connections_.find(connection.id.value());
    if (found != connections_.end()) {
      graveyard_.push_back(std::move(found->second));
      connections_.erase(found);
    }
  }
}

void SimNetwork::close_side(Connection& connection, std::uint8_t side, Errc reason, bool graceful) {
  if (connection.established) {
    // Bytes that nobody will read make TCP answer with a reset.
    const bool unread = connection.sides[far_side(side)].out.bytes > 0;
    if (!graceful) {
      put_part_of_write(connection, side);
    }
    put_end(connection, side, unread || (!graceful && random_.one_in(2)), Duration(0));
  }
  end_endpoint(connection, side, reason);
}

void SimNetwork::put_end(Connection& connection, std::uint8_t from, bool with_loss,
                         Duration extra) {
  Pipe& pipe = connection.sides[from].out;
  if (pipe.ended) {
    return;
  }
  if (with_loss) {
    lose_tail(pipe);
  }
  Packet end;
  end.kind = with_loss ? PacketKind::reset : PacketKind::fin;
  put_packet(connection, from, std::move(end), extra);
  pipe.ended = true;
}

// A kernel may have taken a part of a write whose completion the process never sees.
void SimNetwork::put_part_of_write(Connection& connection, std::uint8_t side) {
  Side& end = connection.sides[side];
  if (!end.writing || random_.one_in(2)) {
    return;
  }
  const std::size_t size = random_.between(1, end.write_bytes);
  Packet packet;
  fill(packet, end.write_spans, size);
  put_packet(connection, side, std::move(packet), Duration(0));
}

// Keeps a random part of what is under way, from its start.
void SimNetwork::lose_tail(Pipe& pipe) {
  const std::size_t under_way = pipe.packets.size() - pipe.arrived;
  if (under_way == 0) {
    return;
  }
  const std::size_t keep = pipe.arrived + random_.below(under_way + 1);
  while (pipe.packets.size() > keep) {
    const Packet& last = pipe.packets.back();
    const std::size_t lost = last.bytes.size() - last.read_bytes;
    pipe.bytes -= lost;
    counters_.bytes_lost += lost;
    pipe.packets.pop_back();
  }
  if (pipe.packets.size() > pipe.arrived && pipe.packets.back().bytes.size() > 1 &&
      random_.one_in(2)) {
    std::vector<std::byte>& bytes = pipe.packets.back().bytes;
    const std::size_t kept = random_.between(1, bytes.size());
    pipe.bytes -= bytes.size() - kept;
    counters_.bytes_lost += bytes.size() - kept;
    bytes.resize(kept);
  }
}

void SimNetwork::drop_unread(Pipe& pipe) {
  counters_.bytes_lost += pipe.bytes;
  pipe.packets.clear();
  pipe.arrived = 0;
  pipe.bytes = 0;
  pipe.kept.reset();
}

// What is on its way is a copy from now on.
void SimNetwork::stop_referring(Pipe& pipe) {
  for (Packet& packet : pipe.packets) {
    packet.referred.clear();
  }
  pipe.kept.reset();
}

// --- Faults --------------------------------------------------------------------------------------

SimHost& SimNetwork::add_host() {
  const HostId id(static_cast<std::uint32_t>(hosts_.size() + 1));
  hosts_.push_back(std::make_unique<SimHost>(*this, id));
  return *hosts_.back();
}

std::vector<ConnectionView> SimNetwork::connections() const {
  std::vector<ConnectionView> views;
  for (const auto& [number, connection] : connections_) {
    views.push_back(ConnectionView{connection->id, connection->client_host, connection->address,
                                   connection->established});
  }
  return views;
}

void SimNetwork::cut(ConnectionId id, Duration notice_max) {
  Connection* connection = find(id);
  if (connection == nullptr || !connection->established) {
    return;
  }
  note("cut", connection, kClient, 0);
  ++counters_.cuts;
  for (const std::uint8_t side : {kClient, kServer}) {
    put_part_of_write(*connection, side);
    put_end(*connection, side, true, random_.duration(Duration(0), notice_max));
  }
}

void SimNetwork::half_dead(ConnectionId id) {
  Connection* connection = find(id);
  if (connection != nullptr && connection->established) {
    note("half dead", connection, kClient, 0);
    connection->sides[kClient].out.dead = true;
    connection->sides[kServer].out.dead = true;
  }
}

void SimNetwork::stall(ConnectionId id, Duration time) {
  Connection* connection = find(id);
  if (connection != nullptr) {
    note("stall", connection, kClient, static_cast<std::uint64_t>(time.count()));
    for (Side& side : connection->sides) {
      side.out.stalled_until = std::max(side.out.stalled_until, now() + time);
    }
  }
}

void SimNetwork::set_down(const StreamAddress& at, bool down, bool silent) {
  Listener& listener = listeners_[at.to_string()];
  listener.down = down;
  listener.silent = down && silent;
  note(down ? "port down" : "port up", nullptr, kServer, at.tcp_port);
}

void SimNetwork::kill_host(HostId host, bool silent) {
  GODBOX_ASSERT(host.value() > 0);
  hosts_[host.value() - 1]->dead_ = true;
  note(silent ? "power loss" : "kill", nullptr, kClient, host.value());
  for (const auto& [number, connection] : connections_) {
    Side& client = connection->sides[kClient];
    if (connection->client_host != host || client.endpoint == nullptr || client.muted) {
      continue;
    }
    if (silent) {
      client.out.dead = true;
      connection->sides[kServer].out.dead = true;
    } else if (connection->established) {
      put_part_of_write(*connection, kClient);
      put_end(*connection, kClient, random_.one_in(2), Duration(0));
    }
    stop_referring(connection->sides[kServer].out);  // its kernel drops what it had not read
    client.muted = true;
    client.writing = false;
  }
}

void SimNetwork::revive_host(HostId host) { hosts_[host.value() - 1]->dead_ = false; }

void SimNetwork::unlisten(const StreamAddress& at, Duration notice_max) {
  GODBOX_ASSERT(!running_);  // the caller may destroy what its endpoints stand on
  const std::string address = at.to_string();
  listeners_[address].acceptor = nullptr;
  note("unlisten", nullptr, kServer, at.tcp_port);
  std::vector<ConnectionId> ids;
  for (const auto& [number, connection] : connections_) {
    if (connection->address != address) {
      continue;
    }
    stop_referring(connection->sides[kServer].out);  // a kernel keeps pages, whoever mapped them
    if (connection->sides[kServer].endpoint != nullptr) {
      ids.push_back(connection->id);
    }
  }
  for (const ConnectionId id : ids) {
    Connection& connection = *find(id);
    put_part_of_write(connection, kServer);
    put_end(connection, kServer, true, random_.duration(Duration(0), notice_max));
    end_endpoint(connection, kServer, Errc::lane_closed);
  }
  bury();
}

}  // namespace godbox::sim
