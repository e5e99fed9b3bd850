// SPDX-License-Identifier: Apache-2.0
//
// A frame to send: header bytes, then a payload where it lies, in pieces of DRAM channel memory
// that stay pinned until the frame's token is released. Nothing here has copied the payload.
// A pump either copies the frame (RocePort::copy_frame, which makes the ICRC over its copy), or
// sends the pieces themselves and finish_frame()'s bytes behind them, where the bytes cannot change
// meanwhile (`is_stable`).
// Thread-safety: plain values. Ownership: the pieces are the pool's or a work request's; the token
// says until when they may be read. Units: bytes. Errors: none. Nothing allocates.
#pragma once

#include <godbox/assert.h>
#include <godbox/emulator/roce/limits.h>
#include <godbox/roce/packet.h>
#include <godbox/units.h>

#include <array>

namespace godbox::emulator {

// 0: there is nothing to release.
using ReleaseToken = Id<struct ReleaseTokenTag, std::uint64_t>;

// A payload in pieces, neighbours merged.
class PayloadSpans {
 public:
  void clear() {
    count_ = 0;
    bytes_ = 0;
  }
  void add(ConstSpan piece) {
    if (piece.empty()) {
      return;
    }
    bytes_ += piece.size();
    if (count_ > 0 && spans_[count_ - 1].data() + spans_[count_ - 1].size() == piece.data()) {
      spans_[count_ - 1] = {spans_[count_ - 1].data(), spans_[count_ - 1].size() + piece.size()};
      return;
    }
    GODBOX_ASSERT(count_ < spans_.size());
    spans_[count_++] = piece;
  }
  [[nodiscard]] std::span<const ConstSpan> spans() const { return std::span(spans_).first(count_); }
  [[nodiscard]] std::size_t size_bytes() const { return bytes_; }

 private:
  std::array<ConstSpan, kRocePayloadSpansMax> spans_{};
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
};

// Frames without pieces (ARP, connection management) lie in `headers` whole.
inline constexpr std::size_t kOutHeaderBytesMax = kRoceControlFrameBytesMax;
inline constexpr std::size_t kOutTrailerBytesMax = 3 + roce::kIcrcBytes;

struct OutFrame {
  std::array<std::byte, kOutHeaderBytesMax> headers;
  std::size_t header_bytes = 0;
  std::size_t ip_offset = 0;  // in `headers`: from where the ICRC covers
  PayloadSpans payload;
  std::size_t pad_bytes = 0;
  bool has_icrc = false;   // padding and ICRC follow the payload
  bool is_stable = false;  // the payload cannot change until the token is released
  ReleaseToken token;
  roce::Psn psn;  // for the port

  [[nodiscard]] ConstSpan header() const { return ConstSpan(headers).first(header_bytes); }
  [[nodiscard]] std::size_t size_bytes() const {
    return header_bytes + payload.size_bytes() + (has_icrc ? pad_bytes + roce::kIcrcBytes : 0);
  }
};

// Padding and ICRC of a frame whose payload is sent from where it lies; returns how many bytes.
std::size_t finish_frame(const OutFrame& frame, std::span<std::byte, kOutTrailerBytesMax> out);

}  // namespace godbox::emulator
