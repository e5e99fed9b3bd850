// SPDX-License-Identifier: Apache-2.0
//
// Frame sources of the kernel keep the contract: pairs of Unix datagram sockets, packet sockets at
// both ends of a veth pair, and the far ends of two TAP interfaces on a bridge, the latter in a
// network namespace of the test's own.
#include "frame_source_contract.h"
#include <godbox/driver/socket_frames.h>
#include <godbox/driver/tap_frames.h>
#include <godbox_test/without_rights.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <span>
#include <thread>
#include <vector>

#include <poll.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

namespace godbox::test {
namespace {

using driver::DatagramFramesOptions;

// A folder that goes with the test.
class TestFolder {
 public:
  TestFolder() {
    std::string name = std::filesystem::temp_directory_path() / "godbox-frames-XXXXXX";
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  [[nodiscard]] std::string file(const char* name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

DatagramFramesOptions options_of(const TestFolder& folder, std::uint32_t mtu_bytes, bool is_near) {
  DatagramFramesOptions options;
  options.local_path = folder.file(is_near ? "near" : "far");
  options.remote_path = folder.file(is_near ? "far" : "near");
  options.mac = {2, 0, 0, 0, 0, static_cast<std::uint8_t>(is_near ? 1 : 2)};
  options.mtu_bytes = mtu_bytes;
  return options;
}

std::unique_ptr<FrameSource> opened(Result<std::unique_ptr<FrameSource>> source) {
  if (!source) {
    FAIL(source.error().detail);
  }
  return std::move(*source);
}

class DatagramWorld final : public FrameSourceWorld {
 public:
  explicit DatagramWorld(std::uint32_t mtu_bytes)
      : near_(opened(open_datagram_frames(options_of(folder_, mtu_bytes, true)))),
        far_(opened(open_datagram_frames(options_of(folder_, mtu_bytes, false)))) {}
  [[nodiscard]] FrameSource& near() override { return *near_; }
  [[nodiscard]] FrameSource& far() override { return *far_; }

 private:
  TestFolder folder_;
  std::unique_ptr<FrameSource> near_, far_;
};

class PacketWorld final : public FrameSourceWorld {
 public:
  PacketWorld()
      : near_(opened(driver::open_packet_frames("gbnear"))),
        far_(opened(driver::open_packet_frames("gbfar"))) {}
  [[nodiscard]] FrameSource& near() override { return *near_; }
  [[nodiscard]] FrameSource& far() override { return *far_; }
  // The kernel loses what its buffer has no room for, and tells only of some.
  [[nodiscard]] bool counts_every_loss() const override { return false; }

 private:
  std::unique_ptr<FrameSource> near_, far_;
};

driver::TapFramesOptions tap_options(std::string interface, bool is_near = true) {
  return {.interface = std::move(interface),
          .mac = {2, 0, 0, 0, 1, static_cast<std::uint8_t>(is_near ? 1 : 2)}};
}

bool run(const std::string& commands) {
  return std::system(("{ " + commands + "; } >/dev/null 2>&1").c_str()) == 0;
}

// Both interfaces are of a bridge, which hands each frame to the other one.
class TapWorld final : public FrameSourceWorld {
 public:
  explicit TapWorld(std::uint32_t mtu_bytes)
      : near_(opened(open_tap_frames(options_of("gbtap0", mtu_bytes, true)))),
        far_(opened(open_tap_frames(options_of("gbtap1", mtu_bytes, false)))) {
    const bool is_bridged = run(
        "ip link add gbbridge type bridge mcast_snooping 0 && ip link set gbtap0 master gbbridge &&"
        " ip link set gbtap1 master gbbridge && ip link set gbbridge up");
    if (!is_bridged) {
      SKIP("needs bridges, and ip of iproute2");
    }
  }
  ~TapWorld() override { run("ip link del gbbridge"); }
  TapWorld(const TapWorld&) = delete;
  TapWorld& operator=(const TapWorld&) = delete;
  [[nodiscard]] FrameSource& near() override { return *near_; }
  [[nodiscard]] FrameSource& far() override { return *far_; }
  // The kernel loses what its queue has no room for, and does not tell.
  [[nodiscard]] bool counts_every_loss() const override { return false; }

 private:
  static driver::TapFramesOptions options_of(const char* name, std::uint32_t mtu_bytes,
                                             bool is_near) {
    driver::TapFramesOptions options = tap_options(name, is_near);
    options.mtu_bytes = mtu_bytes;
    return options;
  }

  std::unique_ptr<FrameSource> near_, far_;
};

// A network of this thread's own with a veth pair; why there is none, where there is none.
std::string enter_own_network() {
  if (unshare(CLONE_NEWNET) != 0) {
    return "needs the right to make network namespaces";
  }
  // Without IPv6 the kernel says nothing there by itself.
  const int status = std::system(
      "{ { echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; true; } &&"
      " ip link add gbnear mtu 1500 type veth peer name gbfar mtu 1500 &&"
      " ip link set gbnear up && ip link set gbfar up; } >/dev/null 2>&1");
  return status == 0 ? "" : "needs veth pairs, and ip of iproute2";
}

void need_own_network() {
  static const std::string why_not = enter_own_network();
  if (!why_not.empty()) {
    SKIP(why_not);
  }
}

}  // namespace

TEST_CASE("datagram sockets keep the contract of frame sources", "[contract]") {
  check_contract(frame_source_contract(), [] { return std::make_unique<DatagramWorld>(1500); });
}

TEST_CASE("datagram sockets with jumbo frames keep it too", "[contract]") {
  check_contract(frame_source_contract(), [] { return std::make_unique<DatagramWorld>(4200); });
}

TEST_CASE("packet sockets keep the contract of frame sources", "[contract]") {
  need_own_network();
  check_contract(frame_source_contract(), [] { return std::make_unique<PacketWorld>(); });
}

void need_taps() {
  need_own_network();
  if (access("/dev/net/tun", R_OK | W_OK) != 0) {
    SKIP("needs /dev/net/tun");
  }
}

TEST_CASE("TAP interfaces keep the contract of frame sources", "[contract]") {
  need_taps();
  const auto mtu_bytes = GENERATE(std::uint32_t{1500}, std::uint32_t{4200});
  check_contract(frame_source_contract(),
                 [mtu_bytes] { return std::make_unique<TapWorld>(mtu_bytes); });
}

TEST_CASE("a TAP interface that is made goes with its port, one that was there stays",
          "[contract]") {
  need_taps();
  const std::string made = "gbmade";
  {
    driver::TapFramesOptions options = tap_options(made);
    options.mtu_bytes = 4200;
    const auto source = opened(open_tap_frames(options));
    CHECK(source->mtu_bytes() == 4200);
    CHECK(run("ip link show gbmade up | grep 'mtu 4200'"));
    // One is at its far end, and no second.
    CHECK(open_tap_frames(options).error().code == Errc::already_exists);
  }
  CHECK_FALSE(run("ip link show gbmade"));

  REQUIRE(run("ip tuntap add gbkept mode tap && ip link set gbkept mtu 2000"));
  {
    driver::TapFramesOptions options = tap_options("gbkept");
    CHECK(opened(open_tap_frames(options))->mtu_bytes() == 2000);
    CHECK_FALSE(run("ip link show gbkept up | grep gbkept"));  // as it was
    options.mtu_bytes = 2001;
    CHECK(open_tap_frames(options).error().code == Errc::invalid_argument);
    // What is sent while it is down is lost, and counted.
    options.mtu_bytes.reset();
    const auto source = opened(open_tap_frames(options));
    REQUIRE(source->room_to_send(60).size() == 60);
    source->commit();
    source->flush();
    CHECK(source->counters().send_drops == 1);
    CHECK(source->counters().sent_frames == 0);
  }
  CHECK(run("ip link show gbkept"));
  // One that was made for a user needs no right of his.
  {
    REQUIRE(run("ip link del gbkept && ip tuntap add gbkept mode tap user 0"));
    const WithoutRights none;
    CHECK(open_tap_frames(tap_options("gbkept")).has_value());
  }
  CHECK(run("ip link del gbkept"));
}

TEST_CASE("a TAP port whose interface is gone waits for nothing", "[contract]") {
  need_taps();
  const auto source = opened(open_tap_frames(tap_options("gbgoing")));
  REQUIRE(run("ip link del gbgoing"));
  std::array<ConstSpan, 4> frames;
  pollfd waiting{source->wait_descriptor(), POLLIN, 0};
  for (int i = 0; i < 3; ++i) {  // it may find out by the first one
    CHECK(source->receive(frames) == 0);
    REQUIRE(source->room_to_send(60).size() == 60);
    source->commit();
    source->flush();
  }
  CHECK(waiting.fd == source->wait_descriptor());
  CHECK(poll(&waiting, 1, 0) == 0);
  CHECK(source->counters().send_drops == 3);
  CHECK(source->counters().sent_frames == 0);
}

TEST_CASE("a TAP port says what is wrong with its options", "[contract]") {
  need_taps();
  const auto error_of = [](const driver::TapFramesOptions& options) {
    const auto source = open_tap_frames(options);
    REQUIRE(!source.has_value());
    CHECK(source.error().detail.find(options.interface) != std::string::npos);
    return source.error().code;
  };
  for (const char* name : {"", ".", "..", "a/b", "a b", "gb%d", "a:1", "sixteen-bytes-16"}) {
    CAPTURE(name);
    CHECK(error_of(tap_options(name)) == Errc::invalid_argument);
  }
  driver::TapFramesOptions options = tap_options("gbwrong");
  options.mtu_bytes = 67;
  CHECK(error_of(options) == Errc::invalid_argument);
  options.mtu_bytes = 9199;
  CHECK(error_of(options) == Errc::invalid_argument);
  options = tap_options("gbwrong");
  options.mac = {1};
  CHECK(error_of(options) == Errc::invalid_argument);
  options.mac = {};
  CHECK(error_of(options) == Errc::invalid_argument);
  CHECK(error_of(tap_options("gbnear")) == Errc::not_found);      // an end of a veth pair
  CHECK(error_of(tap_options("all")) == Errc::invalid_argument);  // a name of the kernel's own
  CHECK_FALSE(run("ip link show gbwrong"));
}

TEST_CASE("a TAP port without the right to it says which right that is", "[contract]") {
  need_taps();
  const WithoutRights none;
  const auto source = driver::open_tap_frames(tap_options("gbnone"));
  REQUIRE_FALSE(source.has_value());
  CHECK(source.error().message() ==
        "permission_denied: tap gbnone needs CAP_NET_ADMIN, which this process has not: run it as "
        "root, or give it to the program (setcap cap_net_admin+ep PROGRAM)");
}

// A frame with these bytes behind the addresses: tags, if any, and an ether type.
std::vector<std::byte> frame_with(FrameSource& from, FrameSource& to, std::uint32_t number,
                                  std::size_t size_bytes, std::initializer_list<int> behind) {
  constexpr std::size_t kBothAddresses = 12;
  std::vector<std::byte> frame(size_bytes);
  write_test_frame(frame, to.mac(), from.mac(), number);
  std::ranges::transform(behind, frame.begin() + kBothAddresses,
                         [](int value) { return static_cast<std::byte>(value); });
  return frame;
}

// All of them at once.
void send(FrameSource& from, std::span<const std::vector<std::byte>> frames) {
  for (const std::vector<std::byte>& frame : frames) {
    const MutableSpan room = from.room_to_send(frame.size());
    REQUIRE(room.size() == frame.size());
    std::ranges::copy(frame, room.begin());
    from.commit();
  }
  from.flush();
}

// These come, as they were sent and in this order.
void expect(FrameSource& to, std::span<const std::vector<std::byte>> sent) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::array<ConstSpan, 16> frames;
  for (std::size_t next = 0; next < sent.size();) {
    REQUIRE(std::chrono::steady_clock::now() < limit);
    const std::size_t count = to.receive(frames);
    for (std::size_t i = 0; i < count; ++i, ++next) {
      CAPTURE(next);
      REQUIRE(next < sent.size());
      CHECK(std::ranges::equal(frames[i], sent[next]));
    }
    std::this_thread::yield();
  }
}

TEST_CASE("a packet socket hands over each frame with the tags that it came with", "[contract]") {
  need_own_network();
  PacketWorld world;
  FrameSource& near = world.near();
  FrameSource& far = world.far();
  // Neighbours that have a tag and none: what was told of one frame may not come with the next.
  std::vector<std::vector<std::byte>> frames = {
      frame_with(near, far, 0, 60, {0x88, 0xb5}),
      frame_with(near, far, 1, 1518, {0x81, 0x00, 0x60, 0x05, 0x88, 0xb5}),  // VLAN 5, priority 3
      frame_with(near, far, 2, 1514, {0x88, 0xb5}),
      frame_with(near, far, 3, 64, {0x81, 0x00, 0x00, 0x00, 0x88, 0xb5}),  // a tag of zeros
      frame_with(near, far, 4, 64, {0x81, 0x00, 0xff, 0xff, 0x88, 0xb5}),
      frame_with(near, far, 5, 100, {0x88, 0xa8, 0x00, 0x07, 0x88, 0xb5}),  // a provider's
      frame_with(near, far, 6, 100, {0x88, 0xa8, 0x00, 0x07, 0x81, 0x00, 0x00, 0x05, 0x88, 0xb5}),
      frame_with(near, far, 7, 100, {0x88, 0xb5})};
  for (int round = 0; round < 2; ++round) {
    send(near, frames);
    expect(far, frames);
    // The second round finds other frames in each place.
    std::ranges::reverse(frames);
  }
  CHECK(far.counters().received_bytes == near.counters().sent_bytes);
  CHECK(far.counters().receive_drops == 0);
}

TEST_CASE("a packet socket without the right to it says which right that is", "[contract]") {
  const WithoutRights none;
  const auto source = driver::open_packet_frames("lo");
  REQUIRE_FALSE(source.has_value());
  CHECK(source.error().message() ==
        "permission_denied: a packet socket on lo needs CAP_NET_RAW, which this process has not: "
        "run it as root, or give it to the program (setcap cap_net_raw+ep PROGRAM)");
}

TEST_CASE("a datagram port says what is wrong with its options", "[contract]") {
  const TestFolder folder;
  const auto error_after = [&](auto&& change) {
    DatagramFramesOptions options = options_of(folder, 1500, true);
    change(options);
    const auto source = open_datagram_frames(options);
    REQUIRE(!source.has_value());
    CHECK(!source.error().detail.empty());
    return source.error().code;
  };
  using Options = DatagramFramesOptions;
  CHECK(error_after([](Options& o) { o.mtu_bytes = 67; }) == Errc::invalid_argument);
  CHECK(error_after([](Options& o) { o.mtu_bytes = 9199; }) == Errc::invalid_argument);
  CHECK(error_after([](Options& o) { o.mac = {}; }) == Errc::invalid_argument);
  CHECK(error_after([](Options& o) { o.mac[0] = 3; }) == Errc::invalid_argument);
  CHECK(error_after([](Options& o) { o.local_path.clear(); }) == Errc::invalid_argument);
  CHECK(error_after([](Options& o) { o.remote_path.assign(108, 'x'); }) == Errc::invalid_argument);
  CHECK(error_after([](Options& o) { o.local_path = "/nowhere/near"; }) == Errc::io_error);
  std::ofstream(folder.file("file")) << "kept";
  CHECK(error_after([&](Options& o) { o.local_path = folder.file("file"); }) ==
        Errc::already_exists);
  CHECK(std::filesystem::exists(folder.file("file")));
}

TEST_CASE("a datagram port's file is its own, and what the dead left is replaced", "[contract]") {
  const TestFolder folder;
  const DatagramFramesOptions options = options_of(folder, 1500, true);
  {
    const std::unique_ptr<FrameSource> source = opened(open_datagram_frames(options));
    struct stat found {};
    REQUIRE(stat(options.local_path.c_str(), &found) == 0);
    CHECK((found.st_mode & 0777U) == 0600);
    CHECK(open_datagram_frames(options).error().code == Errc::already_exists);
  }
  CHECK(!std::filesystem::exists(options.local_path));
  std::filesystem::path kept = options.local_path + ".kept";
  {
    const std::unique_ptr<FrameSource> source = opened(open_datagram_frames(options));
    std::filesystem::rename(options.local_path, kept);
  }
  std::filesystem::rename(kept, options.local_path);
  CHECK(opened(open_datagram_frames(options)) != nullptr);
}

TEST_CASE("frames to nobody are lost and counted", "[contract]") {
  const TestFolder folder;
  const auto source = opened(open_datagram_frames(options_of(folder, 1500, true)));
  for (int i = 0; i < 100; ++i) {
    REQUIRE(source->room_to_send(60).size() == 60);
    source->commit();
  }
  source->flush();
  CHECK(source->counters().send_drops == 100);
  CHECK(source->counters().sent_frames == 0);
}

}  // namespace godbox::test
