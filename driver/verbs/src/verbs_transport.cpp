// SPDX-License-Identifier: Apache-2.0
#include "verbs_lane.h"
#include <godbox/driver/verbs_transport.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

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

class VerbsTransport final : public Transport {
 public:
  VerbsTransport(VerbsOptions options, EventChannel channel, const Clock& clock)
      : options_(std::move(options)), channel_(std::move(channel)), clock_(clock) {
    for (std::size_t i = 0; i < options_.lanes.size(); ++i) {
      lanes_.push_back(std::make_unique<VerbsLane>(
          LaneId(static_cast<LaneId::rep>(i)), options_, channel_.get(),
          [this, by = options_.lanes[i].moved_by](ibv_context* device) {
            return registrations_of({device, by});
          },
          clock));
      lanes_.back()->open();
    }
  }
  ~VerbsTransport() override { lanes_.clear(); }  // queue pairs first
  VerbsTransport(const VerbsTransport&) = delete;
  VerbsTransport& operator=(const VerbsTransport&) = delete;

  std::string_view name() const override { return "verbs"; }
  std::size_t lane_count() const override { return lanes_.size(); }
  LaneStatus lane_status(LaneId lane) const override { return lanes_.at(lane.value())->status(); }

  Result<void> register_memory(MutableSpan memory) override {
    if (memory.empty()) {
      return Error(Errc::invalid_argument, "no memory to register");
    }
    for (auto& [device, registrations] : devices_) {
      if (registrations->add(memory) != Errc::ok) {
        for (auto& [other, undone] : devices_) {
          if (other == device) {
            break;
          }
          undone->remove(memory);
        }
        return Error(
            Errc::limit_exceeded,
            fmt::format("{} bytes cannot be registered with {}: {}; see ulimit -l", memory.size(),
                        ibv_get_device_name(device.first->device), std::strerror(errno)));
      }
    }
    announced_.push_back(memory);
    return boost::system::in_place_value;
  }
  void deregister_memory(MutableSpan memory) override {
    const auto found = std::ranges::find_if(announced_, [&](MutableSpan other) {
      return other.data() == memory.data() && other.size() == memory.size();
    });
    if (found == announced_.end()) {
      return;
    }
    announced_.erase(found);
    for (auto& [device, registrations] : devices_) {
      registrations->remove(memory);
    }
  }

  Errc post(LaneId lane, const WorkRequest& request) override {
    const Errc status = lanes_.at(lane.value())->status().state == LaneState::up
                            ? check_work_request(request)
                            : Errc::lane_closed;
    const bool has_to_wait =
        request.op == WorkOp::write &&
        std::ranges::any_of(lanes_, [](const auto& other) { return other->has_lost_writes(); });
    return status != Errc::ok ? status
           : has_to_wait      ? Errc::queue_full
                              : lanes_[lane.value()]->post(request);
  }
  std::size_t poll(std::span<Completion> out) override {
    std::size_t count = 0;
    for (const auto& lane : lanes_) {
      std::deque<Completion>& done = lane->completions();
      for (; count < out.size() && !done.empty(); ++count) {
        out[count] = done.front();
        done.pop_front();
      }
    }
    return count;
  }
  bool progress() override {
    bool is_busy = take_events();
    for (const auto& lane : lanes_) {
      is_busy = lane->progress() || is_busy;
    }
    mind_fences();
    return is_busy;
  }
  Duration poll_pause() const override {
    const bool is_waiting =
        std::ranges::any_of(lanes_, [](const auto& lane) { return lane->is_waiting(); });
    return is_waiting ? kBusyPause : Duration::max();
  }
  void fence(LaneId lane) override { lanes_.at(lane.value())->fence(); }
  void reopen(LaneId lane) override { lanes_.at(lane.value())->open(); }

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

  void mind_fences() {
    for (const auto& [index, lane, status] : std::exchange(*fence_answers_, {})) {
      if (status == Errc::ok) {
        lanes_[index]->on_fenced(lane);
      } else {
        lanes_[index]->on_fence_failed(lane, clock_.now());
      }
    }
    if (!options_.ask_for_fence) {
      return;
    }
    for (std::size_t index = 0; index < lanes_.size(); ++index) {
      if (!lanes_[index]->has_lost_writes()) {
        continue;
      }
      while (const auto lane = lanes_[index]->next_unfenced(clock_.now())) {
        options_.ask_for_fence(*lane, [answers = fence_answers_, index, lane = *lane](Errc status) {
          answers->push_back({index, lane, status});
        });
      }
    }
  }

  // Of a device, and by whom what is registered is moved.
  using DeviceUse = std::pair<ibv_context*, roce::MovedBy>;
  DeviceRegistrations* registrations_of(const DeviceUse& device) {
    const auto known = devices_.find(device);
    if (known != devices_.end()) {
      return known->second.get();
    }
    auto made = DeviceRegistrations::of(device.first, device.second);
    if (made == nullptr || std::ranges::any_of(announced_, [&](MutableSpan memory) {
          return made->add(memory) != Errc::ok;
        })) {
      return nullptr;
    }
    return devices_.emplace(device, std::move(made)).first->second.get();
  }

  struct FenceAnswer {
    std::size_t lane_index = 0;
    wire::LaneToken lane;
    Errc status = Errc::ok;
  };

  VerbsOptions options_;
  EventChannel channel_;
  const Clock& clock_;
  // May be filled in when the transport is gone.
  std::shared_ptr<std::vector<FenceAnswer>> fence_answers_ =
      std::make_shared<std::vector<FenceAnswer>>();
  std::vector<MutableSpan> announced_;
  std::map<DeviceUse, std::unique_ptr<DeviceRegistrations>> devices_;
  std::vector<std::unique_ptr<VerbsLane>> lanes_;
};

bool is_address(const std::string& text) {
  std::array<std::uint8_t, 16> bytes{};
  return inet_pton(AF_INET, text.c_str(), bytes.data()) == 1 ||
         inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1;
}

}  // namespace

Result<std::unique_ptr<Transport>> open_verbs_transport(const VerbsOptions& options,
                                                        const Clock& clock) {
  if (options.lanes.empty() || options.lanes.size() > kVerbsLanesMax) {
    return Error(Errc::config_invalid, fmt::format("{} lanes; 1 to {} are possible",
                                                   options.lanes.size(), kVerbsLanesMax));
  }
  if (options.requests_max == 0 || options.bytes_max < kWorkBytesMax) {
    return Error(Errc::config_invalid,
                 fmt::format("requests_max {}, bytes_max {}; at least 1 and {} are needed",
                             options.requests_max, options.bytes_max, kWorkBytesMax));
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
                             std::strerror(errno)));
  }
  if (fcntl(channel->fd, F_SETFL, fcntl(channel->fd, F_GETFL) | O_NONBLOCK) != 0) {
    return Error(Errc::io_error, std::strerror(errno));
  }
  return std::unique_ptr<Transport>(
      std::make_unique<VerbsTransport>(options, std::move(channel), clock));
}

}  // namespace godbox::driver
