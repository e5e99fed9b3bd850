// SPDX-License-Identifier: Apache-2.0
//
// One lane of a client that is its own requester: a connection of its port and its queue pair.
// Thread-safety: one thread. Ownership: options and port outlive it, as its setting does; each
// connection event of the port whose id is connection() is its own. Errors: status().
#pragma once

#include "client_port.h"
#include <godbox/emulator/roce/roce_transport.h>
#include <godbox/rdma/client_lane.h>
#include <godbox/roce/parameters.h>

#include <algorithm>
#include <string>

namespace godbox::emulator {

class RoceClientLane final : public rdma::ClientLane<rdma::Flight> {
 public:
  RoceClientLane(const Setting& set, const RoceTransportOptions& options, RoceClientPort& port)
      : ClientLane(set),
        of_(options.lanes[set.id.value()]),
        port_(port.port()),
        path_mtu_(*roce::path_mtu_for(
            std::min(of_.mtu_bytes, options.interfaces[of_.interface_index].mtu_bytes))) {}
  ~RoceClientLane() { close(); }

  [[nodiscard]] ConnectionId connection() const { return connection_; }
  void on_event(const ConnectionEvent& event);
  // True: there was something to do.
  bool progress();

 private:
  void connect() override;
  void disconnect(bool has_ended, bool leaves_writes) override;
  const std::string& port_name() const override { return of_.name; }

  void on_established(const ConnectionEvent& event);
  void on_refusal(const ConnectionRefusal& refusal);

  bool post_sends();
  [[nodiscard]] Errc post_send(rdma::Flight& flight);
  bool take_completions();
  void on_failed(WorkStatus status);

  const RoceLaneOptions& of_;
  RocePort& port_;
  const roce::PathMtu path_mtu_;
  ConnectionId connection_{};
  roce::QueuePairNumber number_{};
};

}  // namespace godbox::emulator
