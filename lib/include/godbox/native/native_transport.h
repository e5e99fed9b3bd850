// SPDX-License-Identifier: Apache-2.0
//
// Transport over lanes of the native protocol: one LaneClient per lane on any StreamNetwork (TCP in
// the product, virtual time in the simulator). Thread-safety: the network's thread. Ownership: the
// network outlives the transport. Units: bytes. Errors: see godbox/transport.h; a lane that cannot
// be opened is down with its reason.
#pragma once

#include <godbox/native/lane_client.h>
#include <godbox/transport.h>

#include <memory>
#include <vector>

namespace godbox::native {

struct LaneTarget {
  StreamAddress address;
  EthPortId eth_port;
  SuperNicId super_nic;
};

struct NativeTransportOptions {
  SessionId session;
  wire::SessionSecret secret;
  Epoch epoch;
  std::vector<LaneTarget> lanes;  // one entry per lane, kLanesMax at most
  // Only the first so many are opened now, the others by reopen(); 0: all.
  std::size_t lanes_at_start = 0;
  Duration reply_timeout = std::chrono::milliseconds(2500);
};

class NativeTransport final : public Transport {
 public:
  static constexpr std::size_t kLanesMax = 1024;

  NativeTransport(StreamNetwork& network, NativeTransportOptions options);
  ~NativeTransport() override;
  NativeTransport(const NativeTransport&) = delete;
  NativeTransport& operator=(const NativeTransport&) = delete;

  [[nodiscard]] std::string_view name() const override { return "tcp"; }
  [[nodiscard]] std::size_t lane_count() const override { return lanes_.size(); }
  [[nodiscard]] LaneStatus lane_status(LaneId lane) const override;
  [[nodiscard]] Result<void> register_memory(MutableSpan memory) override;
  void deregister_memory(MutableSpan memory) override;
  [[nodiscard]] Errc post(LaneId lane, const WorkRequest& request) override;
  [[nodiscard]] std::size_t poll(std::span<Completion> out) override;
  // The network's events do the work; here is only what is left over of lost lanes.
  bool progress() override;
  void fence(LaneId lane) override;
  void reopen(LaneId lane) override;

 private:
  struct Lane {
    LaneTarget target;
    std::unique_ptr<LaneClient> client;  // nullptr: unopened
    ConnectionId connection;
  };
  void open(std::size_t index);
  void ask_for_fence();
  void on_fenced(Errc status);

  StreamNetwork& network_;
  NativeTransportOptions options_;
  std::vector<Lane> lanes_;
  RingQueue<Completion> completions_;
  // Lanes that ended with writes unanswered. No write is posted until the box has fenced them, or a
  // late one could overwrite it. In front: those of the request under way.
  std::vector<wire::LaneToken> unfenced_;
  std::size_t being_fenced_ = 0;
};

}  // namespace godbox::native
