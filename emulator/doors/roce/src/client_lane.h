// SPDX-License-Identifier: Apache-2.0
//
// One lane of a client that is its own requester: a connection of its port and its queue pair.
// Thread-safety: one thread. Ownership: options and ports outlive it, as its setting does; each
// connection event that it has() is its own. Errors: status().
#pragma once

#include "client_port.h"
#include <godbox/emulator/roce/roce_transport.h>
#include <godbox/rdma/client_lane.h>
#include <godbox/roce/parameters.h>

#include <memory>
#include <string>
#include <vector>

namespace godbox::emulator {

class RoceClientLane final : public rdma::ClientLane<rdma::Flight> {
 public:
  using Ports = std::vector<std::unique_ptr<RoceClientPort>>;  // by interface

  RoceClientLane(const Setting& set, const RoceTransportOptions& options, const Ports& ports)
      : ClientLane(set), of_(options.lanes[set.id.value()]), options_(options), ports_(ports) {}
  ~RoceClientLane() { close(); }

  // The event is one of this lane's connection.
  [[nodiscard]] bool has(const RoceClientPort& port, ConnectionId connection) const {
    return connection_ == connection && ports_[way().interface_index].get() == &port;
  }
  void on_event(const ConnectionEvent& event);
  // True: there was something to do.
  bool progress();

 private:
  void connect() override;
  void disconnect(bool has_ended, bool leaves_writes) override;
  const std::string& port_name() const override { return way().name; }

  [[nodiscard]] const RoceWay& way() const { return of_.ways[way_]; }
  [[nodiscard]] RocePort& port() { return ports_[way().interface_index]->port(); }
  // Of a lane that has no connection.
  void go_next_way() { way_ = (way_ + 1) % of_.ways.size(); }
  void ask();

  void on_established(const ConnectionEvent& event);
  void on_refusal(const ConnectionRefusal& refusal);

  bool post_sends();
  [[nodiscard]] Errc post_send(rdma::Flight& flight);
  bool take_completions();
  void on_failed(SendCompletion failed);

  const RoceLaneOptions& of_;
  const RoceTransportOptions& options_;
  const Ports& ports_;
  std::size_t way_ = 0;
  std::size_t ways_left_ = 0;  // to be tried before the lane is down, beside this one
  roce::PathMtu path_mtu_{};   // of this one
  std::string too_large_;      // what the first way said that has no room for its path MTU
  ConnectionId connection_{};
  roce::QueuePairNumber number_{};
};

}  // namespace godbox::emulator
