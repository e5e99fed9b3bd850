// SPDX-License-Identifier: Apache-2.0
#include "queue.h"

namespace godbox::driver {

Result<std::vector<DpdkPortPtr>> open_dpdk_port(const std::shared_ptr<Eal>& eal,
                                                const DpdkPortOptions& options) {
  const Result<std::shared_ptr<Device>> device = Device::open(eal, options);
  if (!device) {
    return device.error();
  }
  std::vector<DpdkPortPtr> queues;
  for (std::uint16_t queue = 0; queue < options.queues; ++queue) {
    queues.push_back(std::make_unique<Queue>(*device, queue));
  }
  return queues;
}

Result<DpdkRingPair> open_dpdk_ring_pair(const std::shared_ptr<Eal>& eal,
                                         const DpdkRingPairOptions& options) {
  const Result<std::shared_ptr<RingPair>> rings = RingPair::make(options);
  if (!rings) {
    return rings.error();
  }
  DpdkRingPair pair;
  for (int end = 0; end < 2; ++end) {
    const Result<std::shared_ptr<Device>> device = Device::open_end(eal, options, *rings, end);
    if (!device) {
      return device.error();
    }
    pair.ends[end] = std::make_unique<Queue>(*device, std::uint16_t{0});
  }
  return pair;
}

}  // namespace godbox::driver
