// SPDX-License-Identifier: Apache-2.0
//
// Where the bytes of a logical device are in a box's DRAM channels. A logical device (CXL r3.1
// 2.5: what a box gives to one VM) takes whole slabs, each a piece of every member DRAM channel,
// and its DPAs go through them in order: byte d is byte d mod C of slab d / C, with C the slabs'
// capacity, and striped within that slab. The memory that a VM gets for it is in the order of its
// DPAs (godbox/slab_memory.h), so that a DPA is also the offset in that memory. Pure; bijective and
// balanced (tests/unit/striping/logical_device_layout_test.cpp).
// Thread-safety: immutable after construction. Ownership: values. Units: bytes.
// Errors: config_invalid, naming what does not fit.
#pragma once

#include <godbox/cxl/hdm_decoder.h>
#include <godbox/striping/slab_layout.h>

#include <optional>
#include <vector>

namespace godbox::striping {

class LogicalDeviceLayout {
 public:
  // `slabs` in the order of the DPAs: alike in capacity, apart in the DRAM channels, and as many as
  // `size` takes.
  [[nodiscard]] static Result<LogicalDeviceLayout> create(SizeBytes size,
                                                          std::vector<SlabLayout> slabs);

  [[nodiscard]] SizeBytes size() const { return size_; }
  [[nodiscard]] std::size_t slab_count() const { return slabs_.size(); }
  [[nodiscard]] std::size_t dram_channels() const { return slabs_.front().member_count(); }
  // The place of one byte; dpa < size() (asserted). Its length: to the end of its strip. O(1).
  [[nodiscard]] DramRun locate(cxl::Dpa dpa) const;
  // Inverse of locate; nullopt where the byte is not of this device, as beyond its end in its last
  // slab. O(log slabs).
  [[nodiscard]] std::optional<cxl::Dpa> dpa_of(DramChannelId dram_channel, DramOffset offset) const;

 private:
  // A slab's piece of a DRAM channel.
  struct Piece {
    DramChannelId dram_channel;
    DramOffset offset;
    std::uint32_t slab = 0;  // index in slabs_
    auto operator<=>(const Piece&) const = default;
  };
  LogicalDeviceLayout(SizeBytes size, std::vector<SlabLayout> slabs, std::vector<Piece> pieces)
      : size_(size), slabs_(std::move(slabs)), pieces_(std::move(pieces)) {}

  SizeBytes size_;
  std::vector<SlabLayout> slabs_;
  std::vector<Piece> pieces_;  // sorted
};

}  // namespace godbox::striping
