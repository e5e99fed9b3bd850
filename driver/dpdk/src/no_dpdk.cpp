// SPDX-License-Identifier: Apache-2.0
// In the place of all else here where there was no DPDK.
#include <godbox/driver/dpdk_port.h>

namespace godbox::driver {
namespace {

Error no_dpdk() {
  return {Errc::device_missing,
          "this godbox was built without DPDK: install libdpdk-dev and build it with "
          "GODBOX_WITH_DPDK=ON"};
}

}  // namespace

struct Eal::State {};

Result<std::shared_ptr<Eal>> Eal::start(const EalOptions&) { return no_dpdk(); }

Eal::~Eal() = default;

SizeBytes dpdk_port_memory(const DpdkPortOptions&, const EalOptions&) { return {}; }

Result<std::vector<DpdkPortPtr>> open_dpdk_port(const std::shared_ptr<Eal>&,
                                                const DpdkPortOptions&) {
  return no_dpdk();
}

Result<DpdkRingPair> open_dpdk_ring_pair(const std::shared_ptr<Eal>&, const DpdkRingPairOptions&) {
  return no_dpdk();
}

}  // namespace godbox::driver
