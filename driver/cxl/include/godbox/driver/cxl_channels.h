// SPDX-License-Identifier: Apache-2.0
//
// The DRAM channels that this machine sees as CXL memory devices: each one's serial number, what it
// is at the moment (nothing, a dax device, NUMA memory) and where. A channel is found by its serial
// number, never by the order of probing; a device that is no channel of a godbox has no `identity`.
//   driver::SysfsTree tree;
//   const auto channels = driver::find_cxl_channels(tree);
// Thread-safety: plain values; find_cxl_channels as its tree. Ownership: none. Units: bytes.
// Errors: device_missing (no CXL bus), io_error (a file that the kernel writes holds no number).
#pragma once

#include <godbox/cxl/channel_serial.h>
#include <godbox/driver/cxl_tree.h>
#include <godbox/result.h>
#include <godbox/units.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::driver {

// What a channel's bytes are to this machine.
enum class CxlMode : std::uint8_t {
  none,        // in no region
  incomplete,  // in a region that was not finished, or not committed
  unbound,     // a dax device that no driver has
  devdax,      // a device file, /dev/daxN.M
  numa,        // memory of a NUMA node; see CxlChannel::is_online
};
[[nodiscard]] std::string_view to_string(CxlMode mode);

struct CxlChannel {
  std::uint64_t serial = 0;
  std::optional<cxl::ChannelSerial> identity;  // nothing: a device of somebody else
  std::string memdev;                          // "mem0"
  std::string pci_address;                     // "0000:11:00.0"; empty when not known
  SizeBytes size;                              // volatile capacity

  std::string region;                           // "region0"; empty in mode none
  unsigned region_ways = 0;                     // over how many channels the region is interleaved
  unsigned region_position = 0;                 // which of them this one is
  SizeBytes region_granularity{};               // 0 in mode none
  SizeBytes region_size{};                      // of all its channels together
  std::optional<std::uint64_t> region_start{};  // its address, which only root may see

  CxlMode mode = CxlMode::none;
  std::string dax_device;              // "/dev/dax0.0" in mode devdax, else empty
  std::optional<int> numa_node;        // of the dax device or its memory; else the device's
  bool is_online = false;              // mode numa: every memory block is on line, and movable
  std::vector<std::string> windows{};  // root decoders that reach it, "decoder0.0"
};

// Sorted by serial number; of equal ones (a machine with none set), by memdev.
[[nodiscard]] Result<std::vector<CxlChannel>> find_cxl_channels(const CxlTree& tree);

// Whether a device file may be taken as one's own memory: what is no CXL channel may, and what is
// bound; the pool of a box may not, which serves it to others, nor what is sealed.
// Errors: access_denied, naming device, DRAM channel and box.
[[nodiscard]] Result<void> check_not_pool(const CxlTree& tree, const std::string& dax_device);

}  // namespace godbox::driver
