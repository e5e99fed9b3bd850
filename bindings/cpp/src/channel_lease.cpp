// SPDX-License-Identifier: Apache-2.0
#include "map_memory.h"
#include "socket_owner.h"
#include <godbox/channel_lease.h>
#include <godbox/cxl/channel_serial.h>
#include <godbox/driver/asio_network.h>
#include <godbox/emulator/box_config.h>
#include <godbox/stream_ports.h>
#include <godbox/striping/local_transport.h>

#include <atomic>
#include <future>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace godbox {
namespace {

constexpr Duration kTurn = std::chrono::milliseconds(500);

}  // namespace

struct ChannelLease::Impl {
  ~Impl() {
    is_ending = true;
    if (keeper.joinable()) {
      keeper.join();
    }
    for (const int descriptor : descriptors) {
      ::close(descriptor);
    }
  }

  // The thread that has the session: makes it, says how that went, and drives it.
  void keep(const StreamAddress& control, std::promise<Result<void>> started) {
    auto network = driver::AsioNetwork::create({});
    if (!network) {
      started.set_value(network.error());
      return;
    }
    auto client = striping::Client::connect(
        **network, control, {},
        [&](const striping::Client::TransportContext& context) { return take_memory(context); });
    if (!client) {
      started.set_value(
          Error(client.error().code, control.to_string() + ": " + client.error().detail));
      return;
    }
    // What VMs are not to have must not be lent to one.
    const Result<std::string> status = (*client)->status_json();
    if (!status || status->find(R"("map_memory":"cxl")") == std::string::npos) {
      started.set_value(Error(Errc::unsupported, control.to_string() +
                                                     ": the box does not show its memory to VMs; "
                                                     "godbox serve --map-memory cxl does"));
      return;
    }
    started.set_value({});
    while (!is_ending && (*client)->is_open()) {
      (*client)->progress((*network)->clock().now() + kTurn);
    }
    is_lost = !is_ending;
  }

  Result<std::unique_ptr<Transport>> take_memory(
      const striping::Client::TransportContext& context) {
    auto targets = map_dram_channels(context, std::chrono::seconds(10));
    if (!targets) {
      return targets.error();
    }
    for (const std::unique_ptr<MemoryTarget>& target : *targets) {
      const int copy = ::fcntl(target->descriptor(), F_DUPFD_CLOEXEC, 0);
      if (copy < 0) {
        return Error(Errc::limit_exceeded, "no descriptor left for a DRAM channel");
      }
      descriptors.push_back(copy);
      orders.push_back(target->order());
      memories.push_back(target->data());
    }
    size = context.box.dram_channel_size;
    box_number = cxl::box_number(context.session.epoch);
    for (const wire::EthPortInfo& port : wire::stream_ports(context.box.eth_ports)) {
      eth_ports.push_back(port.address);
    }
    for (const SuperNicId id : context.box.dram_channel_super_nic) {
      super_nics = std::max<std::uint32_t>(super_nics, id.value() + 1U);
    }
    return std::unique_ptr<Transport>(std::make_unique<striping::LocalTransport>(
        std::move(*targets), striping::LocalTransportOptions{.layout_of = context.layout_of}));
  }

  std::vector<int> descriptors;
  std::vector<cxl::ChannelOrder> orders;
  std::vector<const std::byte*> memories;  // where they are mapped: which are the same
  SizeBytes size;
  std::uint32_t super_nics = 0;
  std::uint32_t box_number = 0;
  std::vector<std::string> eth_ports;
  std::atomic<bool> is_ending{false};
  std::atomic<bool> is_lost{false};
  std::thread keeper;
};

ChannelLease::ChannelLease(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChannelLease::~ChannelLease() = default;

Result<std::unique_ptr<ChannelLease>> ChannelLease::take(std::string_view control_socket) {
  const std::string path =
      control_socket.empty() ? emulator::default_control_socket() : std::string(control_socket);
  const Result<StreamAddress> control = StreamAddress::parse("unix:" + path);
  if (!control) {
    return control.error();
  }
  if (path == emulator::default_control_socket()) {
    if (auto trusted = check_socket_owner(path); !trusted) {
      return Error(trusted.error().code, control->to_string() + ": " + trusted.error().detail);
    }
  }
  auto impl = std::make_unique<Impl>();
  std::promise<Result<void>> started;
  std::future<Result<void>> outcome = started.get_future();
  impl->keeper =
      std::thread([&state = *impl, address = *control, promise = std::move(started)]() mutable {
        state.keep(address, std::move(promise));
      });
  if (Result<void> ready = outcome.get(); !ready) {
    return ready.error();
  }
  return std::unique_ptr<ChannelLease>(new ChannelLease(std::move(impl)));
}

const std::vector<int>& ChannelLease::descriptors() const { return impl_->descriptors; }
const std::vector<cxl::ChannelOrder>& ChannelLease::orders() const { return impl_->orders; }
std::vector<DramChannelId> ChannelLease::sharers(DramChannelId channel) const {
  std::vector<DramChannelId> sharers(impl_->orders[channel.value()].interleave.ways.count());
  for (std::size_t i = 0; i < impl_->orders.size(); ++i) {
    if (impl_->memories[i] == impl_->memories[channel.value()]) {
      sharers[impl_->orders[i].position] = DramChannelId(static_cast<std::uint16_t>(i));
    }
  }
  return sharers;
}
SizeBytes ChannelLease::dram_channel_size() const { return impl_->size; }
std::uint32_t ChannelLease::super_nics() const { return impl_->super_nics; }
std::uint32_t ChannelLease::box_number() const { return impl_->box_number; }
const std::vector<std::string>& ChannelLease::eth_ports() const { return impl_->eth_ports; }
bool ChannelLease::is_lost() const { return impl_->is_lost; }

}  // namespace godbox
