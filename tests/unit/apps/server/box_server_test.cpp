// SPDX-License-Identifier: Apache-2.0
#include <godbox/app/box_server.h>
#include <godbox/driver/machine_memory.h>

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>
#include <string>

#include <unistd.h>

using namespace godbox;
using namespace godbox::app;

namespace {

// A folder that goes with the test.
struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("godbox-server-" + std::to_string(::getpid()));
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
};

emulator::BoxConfig small_box(const Folder& folder) {
  emulator::BoxConfig config = emulator::preset("laptop").value();
  config.dram_channel_size = 16_MiB;
  config.tcp_port_base = 0;
  config.control_socket = (folder.path / "control.sock").string();
  return config;
}

}  // namespace

TEST_CASE("without a backing limit a box takes half of the machine's memory at most", "[unit]") {
  const Folder folder;
  const auto server = BoxServer::start(small_box(folder)).value();
  CHECK(server->backing_limit() == driver::machine_memory_bytes() / 2);
}

TEST_CASE("without a backing limit a box of devices uses all of them", "[unit]") {
  const Folder folder;
  emulator::BoxConfig config = small_box(folder);
  config.memory = emulator::MemoryKind::device;
  config.memory_path = (folder.path / "device{}").string();
  for (std::uint32_t i = 0; i < config.dram_channels(); ++i) {
    const auto path = folder.path / ("device" + std::to_string(i));
    std::ofstream(path).close();
    std::filesystem::resize_file(path, config.dram_channel_size.count());
  }
  const auto server = BoxServer::start(config).value();
  CHECK(server->backing_limit() == config.capacity());
}
