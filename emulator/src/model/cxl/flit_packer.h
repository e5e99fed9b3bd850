// SPDX-License-Identifier: Apache-2.0
//
// Packs the CXL.mem messages of one direction into flits, slot by slot, by the rules of CXL r3.1
// 4.2.5 (68 bytes: header slot of 12 bytes, three slots of 16; flits of data only) and 4.3.4 (256
// bytes: header slot of 14 bytes, 14 slots of 16). Messages without data are M2S Req and S2M NDR,
// those with a line of four slots M2S RwD and S2M DRS. Messages of a kind stay in order; data
// follow their headers in order. Thread-safety: none. Units: messages, slots. Errors: none.
#pragma once

#include <godbox/emulator/model/cxl_link.h>

#include <array>
#include <cstdint>
#include <deque>

namespace godbox::emulator::model {

// The messages that a flit may take, by the receiver's buffers.
struct CxlCredits {
  std::uint32_t plain = 0;
  std::uint32_t with_data = 0;
};

struct PackedFlit {
  static constexpr std::size_t kPlainMax = 2 + 14 * 3;
  static constexpr std::size_t kLinesMax = 4;
  std::uint32_t plain_count = 0;  // messages without data
  std::uint32_t line_count = 0;   // messages whose last data slot is in this flit
  std::uint32_t header_count = 0;
  std::uint32_t slots_used = 0;
  std::array<std::uint32_t, kPlainMax> plain{};  // tags
  std::array<std::uint32_t, kLinesMax> lines{};
};

class FlitPacker {
 public:
  FlitPacker(const CxlLinkSpec& spec, CxlDirection direction);

  void push(bool has_data, std::uint32_t tag) {
    (has_data ? headers_ : plain_).push_back({tag, next_age_++});
  }
  // Messages that have not begun to leave.
  [[nodiscard]] std::size_t waiting() const { return headers_.size() + plain_.size(); }
  [[nodiscard]] bool has_work(const CxlCredits& credits) const {
    return data_slots_owed_ != 0 || (!plain_.empty() && credits.plain != 0) ||
           (!headers_.empty() && credits.with_data != 0);
  }
  // The next flit; takes from `credits` what it uses.
  [[nodiscard]] PackedFlit pack(CxlCredits& credits);

 private:
  // Messages that a slot takes at most.
  struct SlotFormat {
    std::uint32_t headers;
    std::uint32_t plain;
  };
  struct Message {
    std::uint32_t tag;
    std::uint64_t age;
  };
  static constexpr std::uint32_t kSlotsPerLine = 4;
  static constexpr std::size_t kFormatsMax = 3;
  using Formats = std::array<SlotFormat, kFormatsMax>;

  void put_headers(const Formats& formats, CxlCredits& credits, PackedFlit& flit);
  void put_data(PackedFlit& flit);

  Formats header_slot_;
  Formats generic_slot_;
  std::uint32_t slots_per_flit_;  // the header slot included
  std::uint32_t plain_max_;       // of a flit
  std::uint32_t headers_max_;
  bool has_data_flits_;  // flits without a header slot
  std::deque<Message> plain_;
  std::deque<Message> headers_;
  std::deque<std::uint32_t> lines_;  // headers that have left; their data follow
  std::uint32_t data_slots_owed_ = 0;
  std::uint64_t next_age_ = 0;
};

}  // namespace godbox::emulator::model
