// SPDX-License-Identifier: Apache-2.0
//
// One device of DPDK, configured and started, with the pools of its queues. Thread-safety: opening
// and closing on one thread; the callback comes from DPDK's. Ownership: its queues share it; it
// owns the device and the pools. Units: bytes. Errors: those of open_dpdk_port().
#pragma once

#include "eal_log.h"
#include "eal_state.h"
#include <godbox/driver/dpdk_port.h>

#include <atomic>

#include <rte_ethdev.h>

namespace godbox::driver {

// A frame is at most MTU + this: Ethernet header and a VLAN tag.
inline constexpr std::uint32_t kFrameOverheadBytes = RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN;

// The rings of a pair; they go when both of its devices have.
class RingPair {
 public:
  [[nodiscard]] static Result<std::shared_ptr<RingPair>> make(const DpdkRingPairOptions& options);
  RingPair() = default;
  ~RingPair();
  RingPair(const RingPair&) = delete;
  RingPair& operator=(const RingPair&) = delete;

  rte_ring* rings[2] = {};  // to end 0, to end 1
};

class Device {
 public:
  struct QueuePools {
    rte_mempool* receive = nullptr;
    rte_mempool* send = nullptr;
  };

  // Finds the device or makes it, and starts it.
  [[nodiscard]] static Result<std::shared_ptr<Device>> open(const std::shared_ptr<Eal>& eal,
                                                            const DpdkPortOptions& options);
  // Makes that end of a pair and starts it.
  [[nodiscard]] static Result<std::shared_ptr<Device>> open_end(
      const std::shared_ptr<Eal>& eal, const DpdkRingPairOptions& options,
      const std::shared_ptr<RingPair>& rings, int end);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] const DpdkPortOptions& options() const { return options_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const MacAddress& mac() const { return mac_; }
  [[nodiscard]] const QueuePools& pools(std::uint16_t queue) const { return pools_[queue]; }
  [[nodiscard]] bool interrupts() const { return interrupts_; }
  [[nodiscard]] bool link_is_up() const;
  // Grows when the other end came or went, or changed its queues: who waits has to arm anew.
  [[nodiscard]] std::uint32_t changes() const { return changes_.load(std::memory_order_acquire); }
  // To be written to at such a change; -1 takes it back. One per queue.
  void set_change_event(std::uint16_t queue, int descriptor);

 private:
  // Of a name that was claimed.
  Device(std::shared_ptr<Eal> eal, const DpdkPortOptions& options, std::shared_ptr<RingPair> rings);

  // The device's number, once it is there. Errors: those of open().
  [[nodiscard]] Result<std::uint16_t> find() const;
  [[nodiscard]] Result<std::uint16_t> make_end(int end) const;
  [[nodiscard]] Result<void> start(std::uint16_t port);
  [[nodiscard]] Result<void> check(const rte_eth_dev_info& info) const;
  [[nodiscard]] Result<void> configure(const rte_eth_dev_info& info);
  [[nodiscard]] Result<void> set_up_queues(const rte_eth_dev_info& info);
  [[nodiscard]] Result<void> make_pools();
  [[nodiscard]] Result<void> run();
  [[nodiscard]] Result<void> settle_mac();
  static int on_change(std::uint16_t port, rte_eth_event_type event, void* self, void* result);
  void listen_to_changes(bool listens);
  // "cannot <what> net_vhost0: <DPDK's reason>"
  [[nodiscard]] Error error(const LogCapture& log, std::string_view what, int status) const;

  std::shared_ptr<Eal> eal_;
  DpdkPortOptions options_;
  std::uint16_t port_ = RTE_MAX_ETHPORTS;  // none yet
  std::shared_ptr<RingPair> rings_;
  std::string name_;
  MacAddress mac_{};
  std::vector<QueuePools> pools_;
  bool interrupts_ = false;
  bool listens_ = false;
  std::atomic<std::uint32_t> changes_ = 0;
  std::mutex events_mutex_;
  std::vector<int> change_events_;
};

}  // namespace godbox::driver
