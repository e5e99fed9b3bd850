// SPDX-License-Identifier: Apache-2.0
#include "stream_contract.h"
#include <godbox/driver/asio_network.h>

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace godbox::test {
namespace {

std::unique_ptr<driver::AsioNetwork> make_network(driver::AsioNetworkOptions options) {
  options.sends_by_reference = true;
  auto network = driver::AsioNetwork::create(options);
  REQUIRE(network.has_value());
  return std::move(*network);
}

// A TCP port that nobody uses now, bound for a moment to find out.
std::uint16_t unused_tcp_port() {
  const int probe = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  REQUIRE(bind(probe, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(getsockname(probe, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  close(probe);
  return ntohs(address.sin_port);
}

class TcpWorld final : public StreamWorld {
 public:
  StreamNetwork& network() override { return *network_; }
  StreamAddress free_address() override {
    return {StreamAddress::Kind::tcp, "127.0.0.1", unused_tcp_port()};
  }
  bool refers() const override { return true; }

 private:
  std::unique_ptr<driver::AsioNetwork> network_ =
      make_network({.busy_poll = std::chrono::microseconds(50)});
};

class UnixWorld final : public StreamWorld {
 public:
  explicit UnixWorld(driver::AsioNetworkOptions options) : network_(make_network(options)) {
    std::string folder = std::filesystem::temp_directory_path() / "godbox-contract-XXXXXX";
    REQUIRE(mkdtemp(folder.data()) != nullptr);
    folder_ = folder;
  }
  ~UnixWorld() override {
    network_.reset();
    std::filesystem::remove_all(folder_);
  }
  StreamNetwork& network() override { return *network_; }
  StreamAddress free_address() override {
    return {StreamAddress::Kind::local_socket, fmt::format("{}/{}.sock", folder_, ++count_), 0};
  }
  bool carries_descriptors() const override { return true; }

 private:
  std::string folder_;
  int count_ = 0;
  std::unique_ptr<driver::AsioNetwork> network_;
};

TEST_CASE("streams over TCP keep the contract of streams", "[contract]") {
  check_contract(stream_contract(), [] { return std::make_unique<TcpWorld>(); });
}

TEST_CASE("streams over Unix sockets keep the contract of streams", "[contract]") {
  check_contract(stream_contract(),
                 [] { return std::make_unique<UnixWorld>(driver::AsioNetworkOptions{}); });
}

TEST_CASE("streams of a network that polls as long as it pays keep the contract", "[contract]") {
  check_contract(stream_contract(), [] {
    return std::make_unique<UnixWorld>(
        driver::AsioNetworkOptions{.busy_poll_if_it_pays = std::chrono::milliseconds(1)});
  });
}

}  // namespace
}  // namespace godbox::test
