// SPDX-License-Identifier: Apache-2.0
//
// Memory sent by reference to other ends that do what a socket of ours never does.
#include <godbox/driver/asio_network.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

using std::chrono::milliseconds;

struct Lent {
  std::vector<std::byte> bytes = std::vector<std::byte>(200'000, std::byte{7});
  std::size_t referred_bytes = 0;
  bool is_kept = false;
  bool is_closed = false;

  void spoil() { std::fill(bytes.begin(), bytes.end(), std::byte{9}); }
};

// Sends its memory, once, and closes; spoils it when nobody needs it any more.
class LendingEndpoint final : public StreamEndpoint {
 public:
  explicit LendingEndpoint(Lent& lent) : lent_(lent) {}
  void on_connected(TimePoint) override {}
  std::span<const MutableSpan> receive_spans() override { return {}; }
  void on_received(std::size_t, TimePoint) override {}
  std::span<const ConstSpan> send_spans() override {
    span_ = ConstSpan(lent_.bytes).subspan(sent_bytes_);
    return span_.empty() ? std::span<const ConstSpan>() : std::span<const ConstSpan>(&span_, 1);
  }
  std::span<const std::uint8_t> referable() const override { return {&flag_, 1}; }
  void on_sent(std::size_t size_bytes, TimePoint) override { sent_bytes_ += size_bytes; }
  void on_sent_by_reference(std::size_t size_bytes, TimePoint) override {
    sent_bytes_ += size_bytes;
    lent_.referred_bytes += size_bytes;
  }
  std::shared_ptr<void> keep_referred() override {
    lent_.is_kept = true;
    return {&lent_, [](Lent* lent) {
              lent->is_kept = false;
              lent->spoil();
            }};
  }
  TimePoint next_deadline() const override { return kNever; }
  void on_timer(TimePoint) override {}
  bool wants_close() const override { return sent_bytes_ == lent_.bytes.size(); }
  void on_closed(Errc, TimePoint) override { lent_.is_closed = true; }

 private:
  Lent& lent_;
  std::size_t sent_bytes_ = 0;
  ConstSpan span_;
  std::uint8_t flag_ = 1;
};

struct Acceptor final : StreamAcceptor {
  std::unique_ptr<StreamEndpoint> accept(TimePoint) override {
    return std::make_unique<LendingEndpoint>(lent);
  }
  Lent lent;
};

void run_for(AsioNetwork& network, Duration time) {
  const TimePoint end = network.clock().now() + time;
  while (network.clock().now() < end) {
    (void)network.run_until(end);
  }
}

std::vector<std::byte> read_all(int socket) {
  std::vector<std::byte> bytes(300'000);
  std::size_t size = 0;
  ssize_t step = 0;
  while ((step = recv(socket, bytes.data() + size, bytes.size() - size, MSG_DONTWAIT)) > 0) {
    size += static_cast<std::size_t>(step);
  }
  bytes.resize(size);
  return bytes;
}

// A socket of none of our networks, with room for all that is lent.
int connect_to(AsioNetwork& network, Acceptor& acceptor) {
  const auto address = network.listen({StreamAddress::Kind::tcp, "127.0.0.1", 0}, acceptor);
  REQUIRE(address.has_value());
  const int client = socket(AF_INET, SOCK_STREAM, 0);
  const int room = 1 << 20;
  REQUIRE(setsockopt(client, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)) == 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(address->tcp_port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(connect(client, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0);
  return client;
}

TEST_CASE("lent memory is kept from an end that reads late, whatever else it does", "[unit]") {
  Acceptor acceptor;
  auto network = AsioNetwork::create({.sends_by_reference = true});
  REQUIRE(network.has_value());
  const int client = connect_to(**network, acceptor);
  const std::vector<std::byte> expected = acceptor.lent.bytes;
  run_for(**network, milliseconds(50));
  REQUIRE(acceptor.lent.is_closed);
  if (acceptor.lent.referred_bytes == 0) {
    close(client);
    SKIP("this kernel sends nothing by reference, or does not tell what was read");
  }
  REQUIRE(acceptor.lent.is_kept);

  SECTION("it ends its own direction") { REQUIRE(shutdown(client, SHUT_WR) == 0); }
  SECTION("it sends") { REQUIRE(send(client, "hello", 5, MSG_NOSIGNAL) == 5); }
  SECTION("it sends, and ends its own direction") {
    REQUIRE(send(client, "hello", 5, MSG_NOSIGNAL) == 5);
    REQUIRE(shutdown(client, SHUT_WR) == 0);
  }
  SECTION("it peeks") {
    std::vector<std::byte> peeked(200'000);
    REQUIRE(recv(client, peeked.data(), peeked.size(), MSG_PEEK) > 0);
  }
  SECTION("it reads a part") {
    std::vector<std::byte> part(1000);
    REQUIRE(recv(client, part.data(), part.size(), 0) == 1000);
    run_for(**network, milliseconds(50));
    CHECK(acceptor.lent.is_kept);
    REQUIRE(read_all(client) == std::vector<std::byte>(expected.begin() + 1000, expected.end()));
    run_for(**network, milliseconds(50));
    CHECK_FALSE(acceptor.lent.is_kept);
    close(client);
    return;
  }
  run_for(**network, milliseconds(100));
  CHECK(acceptor.lent.is_kept);
  CHECK(read_all(client) == expected);
  run_for(**network, milliseconds(50));
  CHECK_FALSE(acceptor.lent.is_kept);
  close(client);
}

TEST_CASE("lent memory is let go when the other end closes", "[unit]") {
  Acceptor acceptor;
  auto network = AsioNetwork::create({.sends_by_reference = true});
  REQUIRE(network.has_value());
  const int client = connect_to(**network, acceptor);
  run_for(**network, milliseconds(50));
  close(client);
  run_for(**network, milliseconds(50));
  CHECK_FALSE(acceptor.lent.is_kept);
}

}  // namespace
}  // namespace godbox::driver
