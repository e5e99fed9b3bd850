// SPDX-License-Identifier: Apache-2.0
#include "model/cxl/flit_packer.h"

#include <algorithm>

namespace godbox::emulator::model {

FlitPacker::FlitPacker(const CxlLinkSpec& spec, CxlDirection direction) {
  constexpr SlotFormat kNone{0, 0};
  constexpr std::uint32_t kNoLimit = 64;
  const bool is_short = spec.flit_bytes == 68;
  slots_per_flit_ = is_short ? 4 : 15;
  has_data_flits_ = is_short;
  if (direction == CxlDirection::m2s) {
    // A Req has 87 bits (256-byte flits: 100), an RwD header as many and a few: one to a slot. H4,
    // H5 and G4, G5; 256 bytes: H4, H14 and G4, G14.
    header_slot_ = generic_slot_ = {{{1, 0}, {0, 1}, kNone}};
    plain_max_ = is_short ? 2 : kNoLimit;
    headers_max_ = is_short ? 1 : kNoLimit;
    return;
  }
  if (is_short) {
    // An NDR has 30 bits, a DRS header 40: H3, H4, H5 in 96 bits; G4, G5, G6 in 128.
    header_slot_ = {{{1, 1}, {0, 2}, {2, 0}}};
    generic_slot_ = {{{1, 2}, {0, 2}, {3, 0}}};
  } else {
    // Both have 40 bits: two in the 112 of a header slot, three in 128.
    header_slot_ = {{{2, 0}, {0, 2}, kNone}};
    generic_slot_ = {{{3, 0}, {0, 3}, kNone}};
  }
  plain_max_ = is_short ? 2 : kNoLimit;
  headers_max_ = is_short ? 3 : kNoLimit;
  if (!spec.shares_data_headers) {
    for (Formats* const formats : {&header_slot_, &generic_slot_}) {
      for (SlotFormat& format : *formats) {
        format.headers = std::min(format.headers, 1U);
      }
    }
  }
}

// Of the formats the one that takes most of what waits; of two the one that takes the oldest.
void FlitPacker::put_headers(const Formats& formats, CxlCredits& credits, PackedFlit& flit) {
  const auto headers_left = static_cast<std::uint32_t>(std::min<std::size_t>(
      {headers_.size(), credits.with_data, headers_max_ - flit.header_count}));
  const auto plain_left = static_cast<std::uint32_t>(
      std::min<std::size_t>({plain_.size(), credits.plain, plain_max_ - flit.plain_count}));
  const bool is_header_older =
      headers_left != 0 && (plain_left == 0 || headers_.front().age < plain_.front().age);
  SlotFormat best{0, 0};
  std::uint32_t best_score = 0;
  for (const SlotFormat& format : formats) {
    const SlotFormat fits{std::min(format.headers, headers_left),
                          std::min(format.plain, plain_left)};
    const bool has_oldest = (is_header_older ? fits.headers : fits.plain) != 0;
    const std::uint32_t score = 2 * (fits.headers + fits.plain) + (has_oldest ? 1 : 0);
    if (score > best_score) {
      best = fits;
      best_score = score;
    }
  }
  for (std::uint32_t i = 0; i < best.headers; ++i) {
    lines_.push_back(headers_.front().tag);
    headers_.pop_front();
  }
  for (std::uint32_t i = 0; i < best.plain; ++i) {
    flit.plain[flit.plain_count++] = plain_.front().tag;
    plain_.pop_front();
  }
  flit.header_count += best.headers;
  flit.slots_used += best_score != 0 ? 1 : 0;
  data_slots_owed_ += best.headers * kSlotsPerLine;
  credits.with_data -= best.headers;
  credits.plain -= best.plain;
}

void FlitPacker::put_data(PackedFlit& flit) {
  --data_slots_owed_;
  ++flit.slots_used;
  if (data_slots_owed_ % kSlotsPerLine == 0) {
    flit.lines[flit.line_count++] = lines_.front();
    lines_.pop_front();
  }
}

PackedFlit FlitPacker::pack(CxlCredits& credits) {
  PackedFlit flit;
  std::uint32_t slot = 0;
  if (!has_data_flits_ || data_slots_owed_ < slots_per_flit_) {
    put_headers(header_slot_, credits, flit);
    slot = 1;
  }
  for (; slot < slots_per_flit_; ++slot) {
    if (data_slots_owed_ != 0) {
      put_data(flit);
    } else {
      put_headers(generic_slot_, credits, flit);
    }
  }
  return flit;
}

}  // namespace godbox::emulator::model
