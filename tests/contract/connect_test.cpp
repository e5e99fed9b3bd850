// SPDX-License-Identifier: Apache-2.0
//
// What connect() owes to a box that is not what it seems: one of another user at the default path,
// one that hands over descriptors and then takes its word back.
#include "src/served_box.h"
#include <godbox/connect.h>
#include <godbox/slab_lease.h>
#include <godbox/wire.h>

#include <array>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace godbox::test {
namespace {

// XDG_RUNTIME_DIR for the time of a test, so that the default path is in a folder of ours.
class RuntimeFolder {
 public:
  explicit RuntimeFolder(const std::string& path) {
    const char* const before = std::getenv("XDG_RUNTIME_DIR");
    before_ = before != nullptr ? std::optional<std::string>(before) : std::nullopt;
    REQUIRE(setenv("XDG_RUNTIME_DIR", path.c_str(), 1) == 0);
  }
  ~RuntimeFolder() {
    if (before_) {
      setenv("XDG_RUNTIME_DIR", before_->c_str(), 1);
    } else {
      unsetenv("XDG_RUNTIME_DIR");
    }
  }
  RuntimeFolder(const RuntimeFolder&) = delete;
  RuntimeFolder& operator=(const RuntimeFolder&) = delete;

 private:
  std::optional<std::string> before_;
};

Errc connect_code(const std::string& address) {
  const auto connection = connect(address);
  return connection.has_value() ? Errc::ok : connection.error().code;
}

TEST_CASE("a time to poll is at least none and at most a second", "[contract]") {
  for (const Duration wrong : {Duration(-1), Duration(std::chrono::seconds(1)) + Duration(1)}) {
    ConnectOptions options;
    options.busy_poll = wrong;
    const auto connected = connect("tcp:127.0.0.1:9", options);
    REQUIRE_FALSE(connected.has_value());
    CHECK(connected.error().code == Errc::invalid_argument);
    CHECK(connected.error().detail.find("busy_poll") != std::string::npos);
  }
}

TEST_CASE("a client opens at least four lanes if it is not told how many", "[contract]") {
  CHECK(default_lanes_per_eth_port(1) == 4);
  CHECK(default_lanes_per_eth_port(2) == 2);
  CHECK(default_lanes_per_eth_port(3) == 2);
  CHECK(default_lanes_per_eth_port(4) == 1);
  CHECK(default_lanes_per_eth_port(36) == 1);
}

TEST_CASE("at the default path only a box of this user or of root is used", "[contract]") {
  const ServedFolder base;
  REQUIRE(mkdir(base.path("run").c_str(), 0700) == 0);
  const RuntimeFolder set(base.path("run"));
  const std::string folder = base.path("run/godbox");
  CHECK(connect_code("unix:") == Errc::connect_failed);  // no folder yet
  const auto server = serve(small_box(""));
  const std::string socket = folder + "/control.sock";
  REQUIRE(std::filesystem::exists(socket));
  CHECK(connect_code("unix:") == Errc::ok);
  CHECK(connect_code("local:") == Errc::ok);
  SECTION("not in a folder that others can write to") {
    REQUIRE(chmod(folder.c_str(), 0777) == 0);
    const auto refused = connect("unix:");
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Errc::permission_denied);
    CHECK(refused.error().detail.find(folder) != std::string::npos);
    CHECK(connect_code("unix:" + socket) == Errc::permission_denied);  // the same, spelled out
    CHECK(connect_code("unix:" + folder + "/../godbox/control.sock") == Errc::ok);  // asked for
  }
  SECTION("not a socket or a folder of somebody else") {
    constexpr uid_t kSomebody = 12345;
    if (geteuid() != 0) {
      SKIP("needs root, to give files away");
    }
    REQUIRE(lchown(socket.c_str(), kSomebody, getegid()) == 0);
    const auto refused = connect("local:");
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Errc::permission_denied);
    CHECK(refused.error().detail.find(socket) != std::string::npos);
    CHECK(refused.error().detail.find("12345") != std::string::npos);
    REQUIRE(lchown(socket.c_str(), geteuid(), getegid()) == 0);
    CHECK(connect_code("unix:") == Errc::ok);
    REQUIRE(chown(folder.c_str(), kSomebody, getegid()) == 0);
    CHECK(connect_code("unix:") == Errc::permission_denied);
    REQUIRE(chown(folder.c_str(), geteuid(), getegid()) == 0);
  }
}

// A box that opens a session, describes itself, answers MAP_MEMORY as told, with descriptors, and
// goes when it is asked for its logical devices.
class FakeBox {
 public:
  using Answer = std::function<wire::Body(wire::Header)>;

  FakeBox(const std::string& path, std::vector<int> descriptors, Answer answer)
      : descriptors_(std::move(descriptors)), answer_(std::move(answer)) {
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    REQUIRE(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    REQUIRE(listen(listener_, 1) == 0);
    thread_ = std::thread([this] { serve_one(); });
  }
  ~FakeBox() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  FakeBox(const FakeBox&) = delete;
  FakeBox& operator=(const FakeBox&) = delete;

 private:
  void serve_one() {
    const int peer = accept(listener_, nullptr, nullptr);
    std::array<std::byte, wire::kHeaderBytes> bytes{};
    while (recv(peer, bytes.data(), bytes.size(), MSG_WAITALL) ==
           static_cast<ssize_t>(bytes.size())) {
      wire::Header header = wire::decode_header(bytes).value();
      std::vector<std::byte> body(header.body_bytes);
      if (!body.empty() && recv(peer, body.data(), body.size(), MSG_WAITALL) <= 0) {
        break;
      }
      if (header.op == wire::Op::list_bound) {
        break;
      }
      header.is_response = true;
      header.deadline_ms = 0;
      answer(peer, header);
    }
    close(peer);
  }

  void answer(int peer, wire::Header header) {
    wire::Body frame;
    if (header.op == wire::Op::hello) {
      wire::HelloReply hello;
      hello.session = SessionId(4);
      hello.epoch = Epoch(9);
      hello.requests_in_flight_max = 16;
      hello.session_timeout_ms = 30'000;
      hello.resume_ms = 2000;
      frame = wire::encode_frame(header, wire::encode(hello));
    } else if (header.op == wire::Op::info) {
      wire::InfoReply info;
      info.box_name = "fake";
      info.mode = "free";
      info.dram_channel_super_nic = {SuperNicId(0)};
      info.dram_channel_size = SizeBytes(1U << 20U);
      frame = wire::encode_frame(header, wire::encode(info));
    } else if (header.op == wire::Op::map_memory) {
      return send_with_descriptors(peer, answer_(header));
    } else {
      frame = wire::encode_frame(header, {});
    }
    (void)send(peer, frame.data(), frame.size(), MSG_NOSIGNAL);
  }

  void send_with_descriptors(int peer, wire::Body frame) {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 8)> control{};
    iovec piece{frame.data(), frame.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors_.size());
    cmsghdr* const part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int) * descriptors_.size());
    std::memcpy(CMSG_DATA(part), descriptors_.data(), sizeof(int) * descriptors_.size());
    (void)sendmsg(peer, &message, MSG_NOSIGNAL);
  }

  std::vector<int> descriptors_;
  Answer answer_;
  int listener_ = -1;
  std::thread thread_;
};

wire::Body map_reply(wire::Header header, std::vector<SizeBytes> sizes) {
  wire::MapReply reply;
  reply.dram_channel_sizes = std::move(sizes);
  return wire::encode_frame(header, wire::encode(reply));
}

TEST_CASE("a question about logical devices ends with the box that it was put to", "[contract]") {
  const ServedFolder folder;
  const FakeBox box(folder.socket(), {}, {});
  const auto begun = std::chrono::steady_clock::now();
  const Result<BoundDevices> bound = list_bound(folder.socket(), std::chrono::seconds(30));
  REQUIRE_FALSE(bound.has_value());
  CHECK(bound.error().code == Errc::session_lost);
  CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(10));
}

TEST_CASE("descriptors of a box that cannot be used are closed", "[contract]") {
  struct Case {
    const char* what;
    Errc code;
    FakeBox::Answer answer;
  };
  const cxl::Interleave pair{cxl::InterleaveWays::create(2).value(),
                             cxl::InterleaveGranularity::create(256_B).value()};
  const std::array<Case, 5> cases = {{
      {"one memory for both, and two descriptors", Errc::protocol_error,
       [pair](wire::Header header) {
         wire::MapReply reply{{SizeBytes(4096), SizeBytes(4096)}, false, {}};
         reply.placements = {{0, {pair, 0}}, {0, {pair, 1}}};
         return wire::encode_frame(header, wire::encode(reply));
       }},
      {"refused after all", Errc::access_denied,
       [](wire::Header header) {
         header.status = Errc::access_denied;
         return wire::encode_frame(header, {});
       }},
      {"fewer sizes than descriptors", Errc::protocol_error,
       [](wire::Header header) { return map_reply(header, {SizeBytes(4096)}); }},
      {"more sizes than descriptors", Errc::protocol_error,
       [](wire::Header header) {
         return map_reply(header, std::vector<SizeBytes>(3, SizeBytes(4096)));
       }},
      {"a descriptor smaller than said", Errc::out_of_range,
       [](wire::Header header) {
         return map_reply(header, {SizeBytes(4096), SizeBytes(4096)});
       }},
  }};
  for (const Case& one : cases) {
    CAPTURE(one.what);
    const ServedFolder folder;
    std::array<int, 2> ends{};
    REQUIRE(pipe2(ends.data(), O_CLOEXEC) == 0);
    {
      const FakeBox box(folder.socket(), {ends[1], ends[1]}, one.answer);
      const auto refused = connect("local:" + folder.socket());
      REQUIRE_FALSE(refused.has_value());
      CHECK(refused.error().code == one.code);
    }
    // Nobody kept a copy of the writing end: the reading end sees the end of the pipe.
    close(ends[1]);
    REQUIRE(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    char byte = 0;
    CHECK(read(ends[0], &byte, 1) == 0);
    close(ends[0]);
  }
}

}  // namespace
}  // namespace godbox::test
