// SPDX-License-Identifier: Apache-2.0
//
// The world of the transports' contract over a served box: a box with its threads in this process,
// and a client of it. Room comes from the client's calls; the transport is driven by hand between
// them. With a device, which is strict about what it reaches, the suite's memory is its staging.
#pragma once

#include "served_box.h"
#include "transport_contract.h"
#include <godbox/connect.h>
#include <godbox_test/faulty_device.h>

#include <algorithm>
#include <memory_resource>
#include <optional>
#include <string>

namespace godbox::test {

// What is allocated by the default resource of this process comes from a device's staging, for as
// long as this lives.
class StagingMemory final : public std::pmr::memory_resource {
 public:
  explicit StagingMemory(DeviceMemory& device)
      : device_(device), before_(std::pmr::set_default_resource(this)) {}
  ~StagingMemory() override { std::pmr::set_default_resource(before_); }
  StagingMemory(const StagingMemory&) = delete;
  StagingMemory& operator=(const StagingMemory&) = delete;

 private:
  void* do_allocate(std::size_t bytes, std::size_t /*alignment*/) override {
    const auto memory = device_.allocate_staging(SizeBytes(bytes));
    if (!memory.has_value()) {
      FAIL(memory.error().message());
    }
    return memory->data();
  }
  void do_deallocate(void* at, std::size_t bytes, std::size_t /*alignment*/) override {
    device_.release_staging({static_cast<std::byte*>(at), bytes});
  }
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }

  DeviceMemory& device_;
  std::pmr::memory_resource* before_;
};

// In which order the box's memory lies.
struct MemoryForm {
  emulator::ChannelForm form = emulator::ChannelForm::channels;
  std::optional<SizeBytes> granularity;
};
inline const MemoryForm kFinelyInterleaved{emulator::ChannelForm::super_nics, SizeBytes(256)};
inline const MemoryForm kWidelyInterleaved{emulator::ChannelForm::widest, std::nullopt};

class ServedWorld final : public TransportWorld {
 public:
  ServedWorld(const std::string& scheme, const ConnectOptions& options,
              std::unique_ptr<DeviceMemory> device = nullptr, const MemoryForm& form = {},
              std::vector<std::string> roce_ports = {})
      : device_(std::move(device)) {
    emulator::BoxConfig config = small_box(folder_.socket());
    config.form = form.form;
    config.interleave_granularity = form.granularity;
    config.roce_ports = std::move(roce_ports);
    server_ = serve(std::move(config));
    ConnectOptions with_device = options;
    if (device_ != nullptr) {
      strict_.emplace(*device_);
      memory_.emplace(*strict_);
      with_device.device.memory = &*strict_;
    }
    const std::string tcp = server_->eth_port_addresses().front().to_string();
    auto connection =
        connect(scheme == "verbs:" || scheme == "roce:" ? scheme + tcp.substr(tcp.find(':') + 1)
                                                        : scheme + folder_.socket(),
                with_device);
    if (!connection.has_value()) {
      FAIL(connection.error().message());
    }
    connection_ = std::move(*connection);
  }
  ~ServedWorld() override {
    connection_.reset();
    CHECK((!strict_ || (strict_->strays == 0 && strict_->is_clean())));
  }
  ServedWorld(const ServedWorld&) = delete;
  ServedWorld& operator=(const ServedWorld&) = delete;

  Transport& transport() override { return connection_->client().transport(); }
  TimePoint now() const override { return clock_.now(); }
  void step(TimePoint until) override {
    if (!transport().progress()) {
      const Duration pause = std::min<Duration>(kStep, transport().poll_pause());
      (void)connection_->network().run_until(std::min(until, now() + pause));
    }
  }
  Place allocate(SizeBytes size) override {
    auto region = connection_->client().allocate(size);
    if (!region.has_value()) {
      FAIL(region.error().message());
    }
    // A first access, so that the client learns the layout of the slabs.
    std::pmr::vector<std::byte> bytes(size.count());
    const striping::RegionPiece all{RegionOffset(0), {bytes.data(), bytes.size()}};
    REQUIRE(connection_->client().write(*region, {&all, 1}) == Errc::ok);
    return {region->key, region->extents};
  }
  void revoke(const Place& place) override {
    striping::Region region;
    region.key = place.key;
    REQUIRE(connection_->client().free(region).has_value());
  }
  [[nodiscard]] const std::string& data_path() const { return connection_->data_path(); }
  [[nodiscard]] app::BoxServer& server() { return *server_; }
  bool checks_keys() const override { return connection_->client().transport().checks_keys(); }
  bool names_refusals() const override {
    return connection_->client().transport().name() != "roce";
  }

 private:
  // A helper thread of the local transport wakes the network too early for one step now and then.
  static constexpr Duration kStep = std::chrono::milliseconds(5);

  ServedFolder folder_;
  SteadyClock clock_;
  std::unique_ptr<DeviceMemory> device_;
  std::optional<FaultyDevice> strict_;
  std::optional<StagingMemory> memory_;
  std::unique_ptr<app::BoxServer> server_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace godbox::test
