// SPDX-License-Identifier: Apache-2.0
#include "verbs_lane.h"
#include <godbox/driver/verbs_transport.h>
#include <godbox/rdma/client_transport.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <system_error>

#include <arpa/inet.h>
#include <fcntl.h>

namespace godbox::driver {
namespace {

// How long whoever drives the transport may wait while its devices have work.
constexpr Duration kBusyPause = std::chrono::microseconds(50);

struct DestroyChannel {
  void operator()(rdma_event_channel* channel) const { rdma_destroy_event_channel(channel); }
};
using EventChannel = std::unique_ptr<rdma_event_channel, DestroyChannel>;

class VerbsTransport final : public rdma::ClientTransport<VerbsLane> {
 public:
  VerbsTransport(VerbsOptions options, EventChannel channel, const Clock& clock)
      : ClientTransport(options.ask_for_fence, clock),
        options_(std::move(options)),
        channel_(std::move(channel)) {
    for (std::size_t i = 0; i < options_.lanes.size(); ++i) {
      const VerbsLaneOptions& of = options_.lanes[i];
      const VerbsLane::Setting set{LaneId(static_cast<LaneId::rep>(i)), of.super_nic, options_,
                                   unfenced(), clock};
      add_lane(std::make_unique<VerbsLane>(set, of, channel_.get(),
                                           [this, by = of.moved_by](ibv_context* device) {
                                             return registrations_of({device, by});
                                           }));
    }
  }
  ~VerbsTransport() override { end_lanes(); }  // queue pairs before devices

  std::string_view name() const override { return "verbs"; }

  Result<void> register_memory(MutableSpan memory) override {
    if (memory.empty()) {
      return Error(Errc::invalid_argument, "no memory to register");
    }
    return announce(AnnouncedMemory(memory));
  }
  Result<void> register_dma_buf(MutableSpan memory, int descriptor, SizeBytes offset) override {
    if (memory.empty()) {
      return Error(Errc::invalid_argument, "no memory to register");
    }
    Result<AnnouncedMemory> announced = AnnouncedMemory::of_dma_buf(memory, descriptor, offset);
    return announced ? announce(std::move(*announced)) : announced.error();
  }
  void deregister_memory(MutableSpan memory) override {
    const auto found = std::ranges::find_if(announced_, [&](const AnnouncedMemory& other) {
      return other.memory().data() == memory.data() && other.memory().size() == memory.size();
    });
    if (found == announced_.end()) {
      return;
    }
    announced_.erase(found);
    for (auto& [device, registrations] : devices_) {
      registrations->remove(memory);
    }
  }

  bool progress() override {
    const bool was_busy = take_events();
    return progress_lanes() || was_busy;
  }
  Duration poll_pause() const override {
    return has_requests() || is_waiting() ? kBusyPause : Duration::max();
  }

 private:
  bool take_events() {
    bool is_busy = false;
    rdma_cm_event* event = nullptr;
    while (rdma_get_cm_event(channel_.get(), &event) == 0) {
      is_busy = true;
      auto* const lane = static_cast<VerbsLane*>(event->id->context);
      // Acknowledged first, as the lane may destroy what it is about: private data goes with it.
      rdma_cm_event copy = *event;
      std::array<std::uint8_t, 256> data{};
      const std::size_t size = event->param.conn.private_data_len;
      if (event->param.conn.private_data != nullptr) {
        std::memcpy(data.data(), event->param.conn.private_data, size);
        copy.param.conn.private_data = data.data();
      }
      rdma_ack_cm_event(event);
      lane->on_event(copy);
    }
    return is_busy;
  }

  Result<void> announce(AnnouncedMemory memory) {
    for (auto& [device, registrations] : devices_) {
      const Errc status = registrations->add(memory);
      if (status == Errc::ok) {
        continue;
      }
      const int error_number = errno;
      for (auto& [other, undone] : devices_) {
        if (other == device) {
          break;
        }
        undone->remove(memory.memory());
      }
      return Error(status,
                   fmt::format("{} bytes{} cannot be registered with {}: {}{}",
                               memory.memory().size(), memory.is_dma_buf() ? " of a dma-buf" : "",
                               ibv_get_device_name(device.first->device),
                               std::generic_category().message(error_number),
                               memory.is_dma_buf() ? "" : "; see ulimit -l"));
    }
    announced_.push_back(std::move(memory));
    return boost::system::in_place_value;
  }

  // Of a device, and by whom what is registered is moved.
  using DeviceUse = std::pair<ibv_context*, roce::MovedBy>;
  DeviceRegistrations* registrations_of(const DeviceUse& device) {
    const auto known = devices_.find(device);
    if (known != devices_.end()) {
      return known->second.get();
    }
    auto made = DeviceRegistrations::of(device.first, device.second);
    if (made == nullptr) {
      return nullptr;
    }
    for (const AnnouncedMemory& memory : announced_) {
      const Errc status = made->add(memory);
      if (status != Errc::ok && !memory.is_dma_buf()) {
        return nullptr;
      }
      if (status != Errc::ok) {  // the device is of use for all else
        made->add_refused(memory.memory());
      }
    }
    return devices_.emplace(device, std::move(made)).first->second.get();
  }

  const VerbsOptions options_;
  EventChannel channel_;
  std::vector<AnnouncedMemory> announced_;
  std::map<DeviceUse, std::unique_ptr<DeviceRegistrations>> devices_;
};

bool is_address(const std::string& text) {
  std::array<std::uint8_t, 16> bytes{};
  return inet_pton(AF_INET, text.c_str(), bytes.data()) == 1 ||
         inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1;
}

}  // namespace

Result<std::unique_ptr<Transport>> open_verbs_transport(const VerbsOptions& options,
                                                        const Clock& clock) {
  if (Result<void> checked = check_client_options(options, options.lanes.size()); !checked) {
    return checked.error();
  }
  for (const VerbsLaneOptions& lane : options.lanes) {
    if (lane.addresses.empty()) {
      return Error(Errc::config_invalid, "a lane without an address");
    }
    for (const std::string& address : lane.addresses) {
      if (!is_address(address)) {
        return Error(Errc::config_invalid, fmt::format("{}: no IP address", address));
      }
    }
  }
  EventChannel channel(rdma_create_event_channel());
  if (channel == nullptr) {
    return Error(Errc::device_missing,
                 fmt::format("no RDMA device can be used here (rdma_cm: {}); is there one, and is "
                             "the module rdma_ucm loaded?",
                             std::generic_category().message(errno)));
  }
  if (fcntl(channel->fd, F_SETFL, fcntl(channel->fd, F_GETFL) | O_NONBLOCK) != 0) {
    return Error(Errc::io_error, std::generic_category().message(errno));
  }
  return std::unique_ptr<Transport>(
      std::make_unique<VerbsTransport>(options, std::move(channel), clock));
}

}  // namespace godbox::driver
