// SPDX-License-Identifier: Apache-2.0
//
// What every FrameSource promises (godbox/frame_source.h), checked on two that are each other's
// other end, with nobody else on the wire.
#pragma once

#include "contract_case.h"
#include <godbox/frame_source.h>

namespace godbox::test {

class FrameSourceWorld {
 public:
  virtual ~FrameSourceWorld() = default;

  [[nodiscard]] virtual FrameSource& near() = 0;
  [[nodiscard]] virtual FrameSource& far() = 0;
  // So many frames of any size wait at a receiver that does not ask; more may be refused or lost.
  [[nodiscard]] virtual std::size_t waiting_frames() const { return 8; }
  // What was sent and has not come is in the counters of one of the two.
  [[nodiscard]] virtual bool counts_every_loss() const { return true; }
  // Tags of VLANs stay in the bytes, and a tagged frame may have a full payload.
  [[nodiscard]] virtual bool carries_tags() const { return true; }
};

// After EtherType 0x88B5 (IEEE 802: for experiments) a number, then bytes that the seed and the
// number make: one frame of a test. `frame` is at least 18 bytes.
void write_test_frame(MutableSpan frame, const MacAddress& to, const MacAddress& from,
                      std::uint32_t number);
// Whether it is that frame, to the last byte.
[[nodiscard]] bool is_test_frame(ConstSpan frame, std::size_t size_bytes, const MacAddress& to,
                                 const MacAddress& from, std::uint32_t number);

[[nodiscard]] std::span<const ContractCase<FrameSourceWorld>> frame_source_contract();

}  // namespace godbox::test
