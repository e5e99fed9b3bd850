// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/verbs_door.h>

namespace godbox::emulator {
namespace {

class PoolTransfer final : public PoolAccess::Transfer {
 public:
  PoolTransfer(PoolService& service, TimingModel& timing, EthPortId eth_port)
      : service_(service), timing_(timing), eth_port_(eth_port) {}
  ~PoolTransfer() override {
    if (!ticket_.pinned.empty()) {
      service_.end_access(ticket_);
    }
  }
  PoolTransfer(const PoolTransfer&) = delete;
  PoolTransfer& operator=(const PoolTransfer&) = delete;

  Errc begin(const PoolAccess::Lane& by, WorkOp op, std::span<const RemoteSegment> segments,
             TimePoint now) override {
    const Errc status = service_.begin_access({by.session, by.token}, op, segments, ticket_);
    if (status == Errc::ok) {
      ready_ = timing_.admit({.op = op,
                              .eth_port = eth_port_,
                              .total_bytes = ticket_.total_bytes,
                              .dram_channels = ticket_.dram_channels},
                             now);
    }
    return status;
  }
  std::span<const MutableSpan> spans() const override { return ticket_.spans; }
  TimePoint ready() const override { return ready_; }
  Errc end(bool has_failed) override {
    if (has_failed) {
      service_.find_poison(ticket_);  // whoever asks again is told
    }
    const Errc status = service_.has_poison() ? service_.check_access(ticket_) : Errc::ok;
    service_.end_access(ticket_);
    return status;
  }

 private:
  PoolService& service_;
  TimingModel& timing_;
  EthPortId eth_port_;
  AccessTicket ticket_;
  TimePoint ready_{};
};

}  // namespace

bool VerbsDoor::is_dead() const {
  return faults_.kind_at(eth_port_, clock_.now()) == PortFaultKind::dead;
}

Result<PoolAccess::Lane> VerbsDoor::join(SessionId session, const wire::SessionSecret& secret) {
  if (is_dead()) {
    return Error(Errc::lane_closed);
  }
  const Result<wire::LaneToken> token = service_.join_session(session, secret);
  if (!token) {
    return token.error();
  }
  return Lane{session, *token};
}

void VerbsDoor::leave(const Lane& lane) { service_.leave_lane(lane.session, lane.token); }

bool VerbsDoor::is_open(const Lane& lane) const {
  return !is_dead() && service_.is_lane_open(lane.session, lane.token);
}

void VerbsDoor::hear(const Lane& lane) { static_cast<void>(service_.touch_session(lane.session)); }

std::unique_ptr<PoolAccess::Transfer> VerbsDoor::make_transfer() {
  return std::make_unique<PoolTransfer>(service_, timing_, eth_port_);
}

}  // namespace godbox::emulator
