// SPDX-License-Identifier: Apache-2.0
//
// The simulator keeps the contracts that the real networks and transports keep: what runs well here
// has not met a kinder world.
#include "stream_contract.h"
#include "transport_contract.h"
#include <godbox/native/native_transport.h>
#include <godbox/sim/sim_box.h>
#include <godbox/striping/client.h>

#include <array>

namespace godbox::sim {
namespace {

using std::chrono::milliseconds;

class SimStreamWorld final : public test::StreamWorld {
 public:
  explicit SimStreamWorld(std::uint64_t seed) : network_(std::make_unique<SimNetwork>(seed)) {}
  StreamNetwork& network() override { return *network_; }
  StreamAddress free_address() override {
    return {StreamAddress::Kind::tcp, "127.0.0.1", next_port_++};
  }
  bool refers() const override { return true; }
  Duration timer_slack() const override { return Duration(0); }

 private:
  std::unique_ptr<SimNetwork> network_;
  std::uint16_t next_port_ = 1;
};

SimBoxOptions small_box() {
  SimBoxOptions options;
  options.config.name = "sim";
  options.config.super_nics = 3;
  options.config.dram_channels_per_super_nic = 2;
  options.config.eth_ports_per_super_nic = 1;
  options.config.dram_channel_size = SizeBytes(std::uint64_t{16} << 20U);
  options.backing_limit = options.config.capacity();
  return options;
}

class SimTransportWorld final : public test::TransportWorld {
 public:
  explicit SimTransportWorld(std::uint64_t seed)
      : network_(seed), box_(network_, small_box(), seed) {
    box_.start();
    auto client = striping::Client::connect(
        network_, box_.control_address(), {},
        [](const striping::Client::TransportContext& context)
            -> Result<std::unique_ptr<Transport>> {
          native::NativeTransportOptions lanes;
          lanes.session = context.session.session;
          lanes.secret = context.session.secret;
          lanes.epoch = context.session.epoch;
          for (const wire::EthPortInfo& port : context.box.eth_ports) {
            lanes.lanes.push_back({*StreamAddress::parse(port.address), port.id, port.super_nic});
          }
          return std::make_unique<native::NativeTransport>(context.network, std::move(lanes));
        });
    REQUIRE(client.has_value());
    client_ = std::move(*client);
  }

  Transport& transport() override { return client_->transport(); }
  TimePoint now() const override { return network_.now(); }
  void step(TimePoint until) override { static_cast<void>(network_.run_until(until)); }
  Place allocate(SizeBytes size) override {
    auto region = client_->allocate(size);
    REQUIRE(region.has_value());
    return {region->key, region->extents};
  }
  void revoke(const Place& place) override {
    striping::Region region;
    region.key = place.key;
    REQUIRE(client_->free(region).has_value());
  }

 private:
  SimNetwork network_;
  SimBox box_;
  std::unique_ptr<striping::Client> client_;
};

constexpr std::array<std::uint64_t, 3> kSeeds{1, 2, 3};

TEST_CASE("streams in virtual time keep the contract of streams", "[sim]") {
  for (const std::uint64_t seed : kSeeds) {
    DYNAMIC_SECTION("seed " << seed) {
      test::check_contract(test::stream_contract(),
                           [&] { return std::make_unique<SimStreamWorld>(seed); });
    }
  }
}

TEST_CASE("the transport in virtual time keeps the contract of transports", "[sim]") {
  for (const std::uint64_t seed : kSeeds) {
    DYNAMIC_SECTION("seed " << seed) {
      test::check_contract(test::transport_contract(),
                           [&] { return std::make_unique<SimTransportWorld>(seed); });
    }
  }
}

}  // namespace
}  // namespace godbox::sim
