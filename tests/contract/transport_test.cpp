// SPDX-License-Identifier: Apache-2.0
#include "src/served_box.h"
#include "transport_contract.h"
#include <godbox/connect.h>
#include <godbox/driver/host_device.h>

#include <string>

namespace godbox::test {
namespace {

// A box with its threads in this process, and a client of it. Room comes from the client's calls;
// the transport is driven by hand between them.
class ServedWorld final : public TransportWorld {
 public:
  ServedWorld(const std::string& scheme, const ConnectOptions& options,
              std::unique_ptr<DeviceMemory> device = nullptr)
      : device_(std::move(device)) {
    server_ = serve(small_box(folder_.socket()));
    ConnectOptions with_device = options;
    with_device.device.memory = device_.get();
    auto connection = connect(scheme + folder_.socket(), with_device);
    if (!connection.has_value()) {
      FAIL(connection.error().message());
    }
    connection_ = std::move(*connection);
  }

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
    std::vector<std::byte> bytes(size.count());
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
  bool checks_keys() const override { return connection_->client().transport().checks_keys(); }

 private:
  // A helper thread of the local transport wakes the network too early for one step now and then.
  static constexpr Duration kStep = std::chrono::milliseconds(5);

  ServedFolder folder_;
  SteadyClock clock_;
  std::unique_ptr<DeviceMemory> device_;
  std::unique_ptr<app::BoxServer> server_;
  std::unique_ptr<Connection> connection_;
};

TEST_CASE("the local transport keeps the contract of transports", "[contract]") {
  check_contract(transport_contract(),
                 [] { return std::make_unique<ServedWorld>("local:", ConnectOptions{}); });
}

TEST_CASE("the local transport with three copying threads keeps the contract of transports",
          "[contract]") {
  check_contract(transport_contract(), [] {
    ConnectOptions options;
    options.copy_threads = 3;
    return std::make_unique<ServedWorld>("local:", options);
  });
}

TEST_CASE("the transport over TCP keeps the contract of transports", "[contract]") {
  check_contract(transport_contract(),
                 [] { return std::make_unique<ServedWorld>("unix:", ConnectOptions{}); });
}

TEST_CASE("the transport over TCP with two lanes per port keeps the contract of transports",
          "[contract]") {
  check_contract(transport_contract(), [] {
    ConnectOptions options;
    options.lanes_per_eth_port = 2;
    options.lanes_on_demand = false;
    return std::make_unique<ServedWorld>("unix:", options);
  });
}

// Over a device that is the host's, so that the suite's own memory is in its reach.
std::unique_ptr<ServedWorld> device_world(const std::string& scheme, DevicePath path,
                                          const std::string& data_path) {
  ConnectOptions options;
  options.device.path = path;
  options.device.staged.staging = 32_MiB;
  options.device.staged.device = 32_MiB;
  options.copy_threads = 2;
  auto world = std::make_unique<ServedWorld>(scheme, options, driver::make_host_device());
  REQUIRE(world->data_path() == data_path);
  return world;
}

TEST_CASE("staging over TCP keeps the contract of transports", "[contract]") {
  check_contract(transport_contract(),
                 [] { return device_world("unix:", DevicePath::automatic, "staged over tcp"); });
}

TEST_CASE("staging over the local transport keeps the contract of transports", "[contract]") {
  check_contract(transport_contract(),
                 [] { return device_world("local:", DevicePath::staged, "staged over local"); });
}

TEST_CASE("a device over the mapped pool keeps the contract of transports", "[contract]") {
  check_contract(transport_contract(),
                 [] { return device_world("local:", DevicePath::automatic, "mapped-device"); });
}

}  // namespace
}  // namespace godbox::test
