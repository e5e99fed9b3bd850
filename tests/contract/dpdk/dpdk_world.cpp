// SPDX-License-Identifier: Apache-2.0
#include "dpdk_world.h"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include <unistd.h>

namespace godbox::test {

using driver::DpdkPortPtr;

const std::shared_ptr<driver::Eal>& test_eal() {
  static const Result<std::shared_ptr<driver::Eal>> eal =
      driver::Eal::start({.memory = SizeBytes(std::uint64_t{512} << 20U)});
  INFO((eal ? std::string() : eal.error().message()));
  REQUIRE(eal.has_value());
  return *eal;
}

std::string fresh_path(const std::string& stem) {
  struct Folder {
    Folder() : path(fmt::format("/tmp/godbox-dpdk-{}", getpid())) {
      std::filesystem::create_directory(path);
    }
    ~Folder() { std::filesystem::remove_all(path); }
    std::string path;
    int count = 0;
  };
  static Folder folder;
  return fmt::format("{}/{}{}", folder.path, stem, folder.count++);
}

bool eventually(const std::function<bool()>& is_so) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > limit) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return true;
}

DpdkPortPtr open_port(const driver::DpdkPortOptions& options) {
  Result<std::vector<DpdkPortPtr>> ports = driver::open_dpdk_port(test_eal(), options);
  INFO((ports ? std::string() : ports.error().message()));
  REQUIRE(ports.has_value());
  REQUIRE(ports->size() == 1);
  return std::move(ports->front());
}

DpdkPairWorld::DpdkPairWorld(DpdkPortPtr near, DpdkPortPtr far)
    : near_(std::move(near)), far_(std::move(far)) {
  CAPTURE(near_->name(), near_->link_is_up(), far_->name(), far_->link_is_up());
  REQUIRE(eventually([this] { return near_->link_is_up() && far_->link_is_up(); }));
}

DpdkPairWorld::~DpdkPairWorld() {
  if (near_ != nullptr && near_->name().starts_with("dpdk net_virtio_user")) {
    near_.reset();
  }
}

DpdkPairWorldPtr make_ring_world(std::uint32_t mtu_bytes) {
  Result<driver::DpdkRingPair> pair =
      driver::open_dpdk_ring_pair(test_eal(), {.mtu_bytes = mtu_bytes});
  INFO((pair ? std::string() : pair.error().message()));
  REQUIRE(pair.has_value());
  return std::make_unique<DpdkPairWorld>(std::move(pair->ends[0]), std::move(pair->ends[1]));
}

DpdkPairWorldPtr make_vhost_world(std::uint32_t mtu_bytes, NearEnd near) {
  const std::string socket = fresh_path("vhost");
  DpdkPortPtr host = open_port({.device = "net_vhost0,iface=" + socket, .mtu_bytes = mtu_bytes});
  DpdkPortPtr guest =
      open_port({.device = "net_virtio_user0,path=" + socket, .mtu_bytes = mtu_bytes});
  return near == NearEnd::guest
             ? std::make_unique<DpdkPairWorld>(std::move(guest), std::move(host))
             : std::make_unique<DpdkPairWorld>(std::move(host), std::move(guest));
}

DpdkPairWorldPtr make_memif_world() {
  const std::string socket = ",id=0,socket-abstract=no,socket=" + fresh_path("memif");
  DpdkPortPtr server = open_port({.device = "net_memif0,role=server" + socket});
  DpdkPortPtr client = open_port({.device = "net_memif1,role=client" + socket});
  return std::make_unique<DpdkPairWorld>(std::move(client), std::move(server));
}

}  // namespace godbox::test
