// SPDX-License-Identifier: Apache-2.0
//
// DPDK's devices that the kernel is behind, in a network namespace of the test's own. It has no
// interface but those made here; IPv6 is off, which would send frames of its own.
#include "dpdk_world.h"
#include <godbox_test/without_rights.h>

#include <catch2/generators/catch_generators.hpp>
#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <utility>

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

namespace godbox::test {
namespace {

bool write_file(const char* path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  return static_cast<bool>(file.flush());
}

// Why it cannot be entered; empty: this thread, and so all of DPDK, is in it.
std::string enter_network_namespace() {
  const auto user = getuid();
  const auto group = getgid();
  if (unshare(CLONE_NEWNET) != 0) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
      return fmt::format("the right to make network namespaces: {}", std::strerror(errno));
    }
    (void)write_file("/proc/self/setgroups", "deny");
    if (!write_file("/proc/self/uid_map", fmt::format("0 {} 1", user)) ||
        !write_file("/proc/self/gid_map", fmt::format("0 {} 1", group))) {
      return "the right to map a user";
    }
  }
  for (const char* which : {"all", "default"}) {
    (void)write_file(fmt::format("/proc/sys/net/ipv6/conf/{}/disable_ipv6", which).c_str(), "1");
  }
  return "";
}

bool runs(const std::string& command) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe)
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

// Enters it once in this process, before DPDK starts.
void need_namespace() {
  static const std::string missing = enter_network_namespace();
  if (!missing.empty()) {
    SKIP("needs " << missing);
  }
  if (!runs("ip link show lo")) {
    SKIP("needs the program ip");
  }
}

// Two interfaces that are each other's other end.
class Veth {
 public:
  Veth(std::string one, const std::string& other) : one_(std::move(one)) {
    REQUIRE(runs(fmt::format("ip link add {} type veth peer name {}", one_, other)));
    REQUIRE(runs(fmt::format("ip link set {} up", one_)));
    REQUIRE(runs(fmt::format("ip link set {} up", other)));
  }
  ~Veth() { (void)runs("ip link del " + one_); }
  Veth(const Veth&) = delete;
  Veth& operator=(const Veth&) = delete;

 private:
  std::string one_;
};

driver::DpdkPortPtr open_packet(int number, const std::string& interface) {
  return open_port({.device = fmt::format("net_af_packet{},iface={}", number, interface)});
}

// The kernel drops at a full socket and takes tags out, and DPDK is told of neither.
class KernelWorld final : public DpdkPairWorld {
 public:
  using DpdkPairWorld::DpdkPairWorld;
  [[nodiscard]] bool counts_every_loss() const override { return false; }
  [[nodiscard]] bool carries_tags() const override { return false; }
};

TEST_CASE("packet sockets of DPDK at a veth's ends keep the contract", "[contract][dpdk]") {
  need_namespace();
  const Veth veth("gb0", "gb1");
  check_contract(frame_source_contract(), [] {
    return std::make_unique<KernelWorld>(open_packet(0, "gb0"), open_packet(1, "gb1"));
  });
}

TEST_CASE("a tap of DPDK and a packet socket on it keep the contract", "[contract][dpdk]") {
  need_namespace();
  if (access("/dev/net/tun", R_OK | W_OK) != 0) {
    SKIP("needs /dev/net/tun");
  }
  // Both are ports on one interface, whose address is the tap's.
  const auto open_ends = [] {
    std::pair<driver::DpdkPortPtr, driver::DpdkPortPtr> ends;
    ends.first = open_port({.device = "net_tap0,iface=gb2"});
    ends.second = open_port(
        {.device = "net_af_packet0,iface=gb2", .mac = MacAddress{0x02, 0x67, 0x62, 0, 0, 2}});
    return ends;
  };
  SECTION("the tap is the sender") {
    check_contract(frame_source_contract(), [&] {
      auto [tap, packet] = open_ends();
      return std::make_unique<KernelWorld>(std::move(tap), std::move(packet));
    });
  }
  SECTION("the tap is the receiver") {
    check_contract(frame_source_contract(), [&] {
      auto [tap, packet] = open_ends();
      return std::make_unique<KernelWorld>(std::move(packet), std::move(tap));
    });
  }
}

// Why a device does not open.
Error refusal(const std::string& device) {
  const auto ports = driver::open_dpdk_port(test_eal(), {.device = device});
  REQUIRE_FALSE(ports.has_value());
  UNSCOPED_INFO(ports.error().message());
  return ports.error();
}

bool says(const Error& error, std::string_view words) {
  return error.detail.find(words) != std::string::npos;
}

TEST_CASE("a socket of DPDK on no interface is refused by the interface's name, with DPDK's reason",
          "[contract][dpdk]") {
  need_namespace();
  const std::string driver = GENERATE("net_af_packet0", "net_af_xdp0");
  const Error missing = refusal(driver + ",iface=gb9");
  CHECK(missing.code == Errc::device_missing);
  CHECK(says(missing, "there is no network interface \"gb9\"; cannot make the device"));
  const Error unnamed = refusal(driver);
  CHECK(unnamed.code == Errc::config_invalid);
  CHECK(says(unnamed, driver + ",iface=INTERFACE"));
}

TEST_CASE("a right that the kernel wants of a device is named, and how to come by it",
          "[contract][dpdk]") {
  struct Case {
    std::string device, rights, setcap;
  };
  need_namespace();
  const Veth veth("gb5", "gb6");
  const auto [device, rights, setcap] =
      GENERATE(Case{"net_af_packet0,iface=gb5", "CAP_NET_RAW", "cap_net_raw+ep"},
               Case{"net_af_xdp0,iface=gb5", "CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF",
                    "cap_net_raw,cap_net_admin,cap_bpf+ep"},
               Case{"net_pcap0,iface=gb5", "CAP_NET_RAW", "cap_net_raw+ep"},
               Case{"net_tap0,iface=gb7", "CAP_NET_ADMIN", "cap_net_admin+ep"});
  CAPTURE(device);
  if (device.starts_with("net_tap") && access("/dev/net/tun", R_OK | W_OK) != 0) {
    SKIP("needs /dev/net/tun");
  }
  (void)test_eal();  // starts with all rights
  {
    const WithoutRights none;
    const Error error = refusal(device);
    CHECK(error.code == Errc::permission_denied);
    CHECK(says(error, " needs " + rights + ", which this process has not: run it as root, or "));
    CHECK(says(error, "setcap " + setcap));
  }
  // With the right it is no such error, and the device is not left half open.
  const auto ports = driver::open_dpdk_port(test_eal(), {.device = device});
  CHECK((ports || ports.error().code != Errc::permission_denied));
  if (!device.starts_with("net_af_xdp")) {
    CHECK(ports.has_value());
  }
}

TEST_CASE("XDP sockets of DPDK at a veth's ends keep the contract", "[contract][dpdk]") {
  need_namespace();
  const Veth veth("gb3", "gb4");
  const auto options = [](int end) {
    return driver::DpdkPortOptions{.device = fmt::format("net_af_xdp{},iface=gb{}", end, 3 + end)};
  };
  // DPDK's own reason says whether the kernel has no XDP or the user no CAP_BPF.
  if (const auto probe = driver::open_dpdk_port(test_eal(), options(0)); !probe) {
    SKIP("needs XDP sockets: " << probe.error().message());
  }
  check_contract(frame_source_contract(), [&] {
    driver::DpdkPortPtr near = open_port(options(0));
    return std::make_unique<KernelWorld>(std::move(near), open_port(options(1)));
  });
}

}  // namespace
}  // namespace godbox::test
