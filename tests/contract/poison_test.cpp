// SPDX-License-Identifier: Apache-2.0
//
// A DRAM channel that loses its memory while it is served: the box lives on, and whoever wants the
// bytes is told, over each transport. A file that shrinks under its mapping stands for poison: both
// raise SIGBUS, and make the kernel's own copies fail.
#include "src/served_box.h"
#include <godbox/connect.h>
#include <godbox/driver/host_device.h>
#include <godbox/driver/mapped_memory.h>
#include <godbox/striping/local_transport.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace godbox::test {
namespace {

constexpr std::size_t kObjectBytes = std::size_t{3} << 20U;

// A box over files that stand for devices dax.
emulator::BoxConfig box_of_files(const ServedFolder& folder) {
  emulator::BoxConfig config = small_box(folder.socket());
  config.memory = emulator::MemoryKind::device;
  for (std::uint32_t i = 0; i < config.dram_channels(); ++i) {
    config.memory_devices.push_back(folder.path("dax" + std::to_string(i)));
    std::ofstream(config.memory_devices.back()).close();
    std::filesystem::resize_file(config.memory_devices.back(), config.dram_channel_size.count());
  }
  return config;
}

Errc put(striping::Client& client, std::string_view name, std::vector<std::byte>& bytes) {
  const LocalSegment piece{bytes.data(), bytes.size()};
  const striping::PutItem item{name, {&piece, 1}};
  return client.put({&item, 1}).at(0);
}

Errc get(striping::Client& client, std::string_view name, std::vector<std::byte>& bytes) {
  const LocalSegment piece{bytes.data(), bytes.size()};
  const striping::GetItem item{name, {&piece, 1}};
  return client.get({&item, 1}).at(0);
}

void check_losing_a_channel(bool over_tcp, const ConnectOptions& options = {}) {
  const ServedFolder folder;
  const emulator::BoxConfig config = box_of_files(folder);
  const auto server = serve(config);
  const std::string address = over_tcp ? server->eth_port_addresses().front().to_string()
                                       : "local:" + server->control_address().host;
  const auto connected = connect(address, options);
  if (!connected.has_value()) {
    FAIL(connected.error().message());
  }
  striping::Client& client = (*connected)->client();
  std::vector<std::byte> bytes(kObjectBytes, std::byte{0x5A});
  REQUIRE(put(client, "kept", bytes) == Errc::ok);
  std::vector<std::byte> read(kObjectBytes);
  REQUIRE(get(client, "kept", read) == Errc::ok);
  CHECK(read == bytes);
  std::filesystem::resize_file(config.memory_devices[3], 0);
  CHECK(get(client, "kept", read) == Errc::poison);
  // What the box itself has met is no more; it does not see what a mapping meets.
  CHECK(get(client, "kept", read) == (over_tcp ? Errc::not_found : Errc::poison));
  CHECK(put(client, "new", bytes) == Errc::poison);
  CHECK(get(client, "new", read) == Errc::not_found);
  CHECK(client.is_open());
  CHECK(client.status_json().has_value());
}

TEST_CASE("a DRAM channel that is lost is told of over TCP", "[contract]") {
  check_losing_a_channel(true);
}

TEST_CASE("a DRAM channel that is lost is told of over shared mapping", "[contract]") {
  check_losing_a_channel(false);
}

TEST_CASE("a DRAM channel that is lost is told of when a device reads it", "[contract]") {
  const std::unique_ptr<DeviceMemory> device = driver::make_host_device();
  ConnectOptions options;
  options.device.memory = device.get();
  check_losing_a_channel(true, options);
  check_losing_a_channel(false, options);
  options.device.path = DevicePath::staged;
  check_losing_a_channel(false, options);
}

}  // namespace
}  // namespace godbox::test
