// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/dpdk_kernel_devices.h>
#include <godbox/driver/kernel_rights.h>
#include <godbox_test/without_rights.h>

#include <catch2/catch_test_macros.hpp>

#include <filesystem>

namespace godbox::driver {
namespace {

namespace fs = std::filesystem;
using test::WithoutRights;

TEST_CASE("the kernel shares those devices of DPDK whose frames it hears") {
  for (const char* device :
       {"net_af_packet0,iface=eth0", "net_af_xdp1,iface=eth0", "net_tap0", "net_tap0,iface=gb0",
        "net_pcap0,iface=eth0", "net_pcap0,rx_iface=eth0,tx_pcap=out",
        "net_virtio_user0,path=/dev/vhost-net,iface=gb0"}) {
    CAPTURE(device);
    CHECK(is_shared_with_kernel(device));
  }
  for (const char* device :
       {"net_vhost0,iface=/run/a", "net_memif0,role=server", "net_ring0",
        "net_virtio_user0,path=/a", "net_pcap0,rx_pcap=in,tx_pcap=out", "0000:ff:1f.7"}) {
    CAPTURE(device);
    CHECK_FALSE(is_shared_with_kernel(device));
    const WithoutRights none;
    CHECK(check_kernel_device(device).has_value());
  }
}

TEST_CASE("a NIC is the kernel's too where its driver there stays") {
  std::size_t seen = 0;
  std::error_code none;
  for (const fs::directory_entry& device : fs::directory_iterator("/sys/bus/pci/devices", none)) {
    const bool has_interface = fs::exists(device.path() / "net");
    seen += has_interface ? 1 : 0;
    CHECK(is_shared_with_kernel(device.path().filename().string() + ",arg=1") == has_interface);
  }
  if (seen == 0) {
    SKIP("needs a network card on PCI");
  }
}

TEST_CASE("of several rights those that are missing are named, and no others") {
  const WithoutRights none;
  constexpr KernelRight kBoth[] = {KernelRight::net_raw, KernelRight::bpf};
  const auto missing = missing_rights(kBoth);
  CHECK(missing == std::vector<KernelRight>{KernelRight::net_raw, KernelRight::bpf});
  CHECK(missing_rights({}).empty());
  CHECK(lacks_rights("it", missing).message() ==
        "permission_denied: it needs CAP_NET_RAW, CAP_BPF, which this process has not: run it as "
        "root, or give it to the program (setcap cap_net_raw,cap_bpf+ep PROGRAM)");
}

}  // namespace
}  // namespace godbox::driver
