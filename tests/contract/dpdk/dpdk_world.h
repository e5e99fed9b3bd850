// SPDX-License-Identifier: Apache-2.0
//
// DPDK's devices as worlds of the frame sources' contract. Thread-safety: one thread. Ownership:
// the process has one Eal, which ends with it.
#pragma once

#include "frame_source_contract.h"
#include <godbox/driver/dpdk_port.h>

#include <functional>
#include <string>

namespace godbox::test {

// The process's Eal; the first call starts it, and fails the test where it cannot.
[[nodiscard]] const std::shared_ptr<driver::Eal>& test_eal();

// A path for a socket or a file that nothing else has; it goes when the process does.
[[nodiscard]] std::string fresh_path(const std::string& stem);

// Asks again until it is so; false after 10 s.
[[nodiscard]] bool eventually(const std::function<bool()>& is_so);

// Opens a device of one queue; fails the test where it cannot.
[[nodiscard]] driver::DpdkPortPtr open_port(const driver::DpdkPortOptions& options);

// Two ports, once their links are up.
class DpdkPairWorld : public FrameSourceWorld {
 public:
  DpdkPairWorld(driver::DpdkPortPtr near, driver::DpdkPortPtr far);
  // A guest goes before its host: the other way round takes its driver a second.
  ~DpdkPairWorld() override;
  DpdkPairWorld(const DpdkPairWorld&) = delete;
  DpdkPairWorld& operator=(const DpdkPairWorld&) = delete;

  [[nodiscard]] driver::DpdkPort& near() override { return *near_; }
  [[nodiscard]] driver::DpdkPort& far() override { return *far_; }
  [[nodiscard]] std::size_t waiting_frames() const override { return 64; }
  void close_near() { near_.reset(); }
  void set_near(driver::DpdkPortPtr port) { near_ = std::move(port); }

 private:
  driver::DpdkPortPtr near_;
  driver::DpdkPortPtr far_;
};
using DpdkPairWorldPtr = std::unique_ptr<DpdkPairWorld>;

[[nodiscard]] DpdkPairWorldPtr make_ring_world(std::uint32_t mtu_bytes);
enum class NearEnd : std::uint8_t { guest, host };
[[nodiscard]] DpdkPairWorldPtr make_vhost_world(std::uint32_t mtu_bytes, NearEnd near);
[[nodiscard]] DpdkPairWorldPtr make_memif_world();

}  // namespace godbox::test
