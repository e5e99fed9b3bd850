// SPDX-License-Identifier: Apache-2.0
//
// From the number of a line in a DRAM channel to its place, by the controller's mapping. A
// bijection over the channel's capacity. Thread-safety: immutable after construction. Units: lines
// of 64 bytes. Errors: none; the mapping has been validated, and numbers beyond the capacity wrap.
#pragma once

#include "model/dram/dram_engine.h"

namespace godbox::emulator::model {

struct DecodedLine {
  std::uint32_t sub_channel = 0;
  DramPlace place;
};

class AddressDecoder {
 public:
  explicit AddressDecoder(const DramSpec& spec);
  [[nodiscard]] DecodedLine decode(std::uint64_t line) const;
  [[nodiscard]] std::uint64_t line_count() const { return line_count_; }

 private:
  static constexpr std::size_t kSlicesMax = 16;
  struct Slice {
    std::uint8_t bits = 0;
    std::uint8_t field = 0;
    std::uint8_t shift = 0;  // of this slice in its field
  };
  std::array<Slice, kSlicesMax> slices_{};
  std::size_t slice_count_ = 0;
  std::uint64_t line_count_ = 0;
  std::uint64_t rows_ = 1;
  std::uint32_t bank_bits_ = 0;
  std::uint32_t group_bits_ = 0;
  bool hash_banks_ = false;
};

}  // namespace godbox::emulator::model
