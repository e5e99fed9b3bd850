// SPDX-License-Identifier: Apache-2.0
//
// A small box that serves in this process: a folder for its control socket, and a configuration
// that starts in milliseconds and takes no address anybody else wants.
#pragma once

#include <godbox/app/box_server.h>

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace godbox::test {

class ServedFolder {
 public:
  ServedFolder() : path_(std::filesystem::temp_directory_path() / "godbox-box-XXXXXX") {
    REQUIRE(mkdtemp(path_.data()) != nullptr);
  }
  ~ServedFolder() { std::filesystem::remove_all(path_); }
  ServedFolder(const ServedFolder&) = delete;
  ServedFolder& operator=(const ServedFolder&) = delete;
  [[nodiscard]] std::string socket() const { return path("control.sock"); }
  [[nodiscard]] std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

[[nodiscard]] inline emulator::BoxConfig small_box(const std::string& control_socket) {
  emulator::BoxConfig config;
  config.super_nics = 3;
  config.dram_channels_per_super_nic = 2;
  config.eth_ports_per_super_nic = 1;
  config.dram_channel_size = SizeBytes(std::uint64_t{64} << 20U);
  config.tcp_port_base = 0;
  config.control_socket = control_socket;
  config.backing_limit = SizeBytes(std::uint64_t{512} << 20U);
  config.server_threads = 2;
  return config;
}

[[nodiscard]] inline std::unique_ptr<app::BoxServer> serve(emulator::BoxConfig config) {
  auto server = app::BoxServer::start(std::move(config));
  if (!server.has_value()) {
    FAIL(server.error().message());
  }
  return std::move(*server);
}

}  // namespace godbox::test
