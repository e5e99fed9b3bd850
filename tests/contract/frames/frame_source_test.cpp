// SPDX-License-Identifier: Apache-2.0
//
// Frame sources over sockets keep the contract: pairs of Unix datagram sockets, and packet sockets
// at both ends of a veth pair, in a network namespace of the test's own.
#include "frame_source_contract.h"
#include <godbox/driver/socket_frames.h>
#include <godbox_test/without_rights.h>

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

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
  [[nodiscard]] bool carries_tags() const override { return false; }

 private:
  std::unique_ptr<FrameSource> near_, far_;
};

// A network of this thread's own with a veth pair; why there is none, where there is none.
std::string enter_own_network() {
  if (unshare(CLONE_NEWNET) != 0) {
    return "needs the right to make network namespaces";
  }
  // Without IPv6 the kernel says nothing there by itself.
  const int status = std::system(
      "{ ip link add gbnear mtu 1500 type veth peer name gbfar mtu 1500 &&"
      " { echo 1 >/proc/sys/net/ipv6/conf/gbnear/disable_ipv6;"
      " echo 1 >/proc/sys/net/ipv6/conf/gbfar/disable_ipv6; true; } &&"
      " ip link set gbnear up && ip link set gbfar up; } >/dev/null 2>&1");
  return status == 0 ? "" : "needs veth pairs, and ip of iproute2";
}

}  // namespace

TEST_CASE("datagram sockets keep the contract of frame sources", "[contract]") {
  check_contract(frame_source_contract(), [] { return std::make_unique<DatagramWorld>(1500); });
}

TEST_CASE("datagram sockets with jumbo frames keep it too", "[contract]") {
  check_contract(frame_source_contract(), [] { return std::make_unique<DatagramWorld>(4200); });
}

TEST_CASE("packet sockets keep the contract of frame sources", "[contract]") {
  static const std::string why_not = enter_own_network();
  if (!why_not.empty()) {
    SKIP(why_not);
  }
  check_contract(frame_source_contract(), [] { return std::make_unique<PacketWorld>(); });
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
