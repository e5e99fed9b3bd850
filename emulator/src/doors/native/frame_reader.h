// SPDX-License-Identifier: Apache-2.0
//
// Cuts a received byte stream into frames of the native protocol: header, body, payload. It knows
// nothing of what they mean; the connection reads a piece, decides, and names the next one.
//
// It reads ahead of the piece it waits for, because a receive call costs more than copying the few
// bytes it may catch too early: up to kAheadBytes, so that many small requests come in one call.
// Around large WRITEs it reads ahead only as far as no payload can lie (a header and one segment),
// so that large payloads go straight to where they belong, without any copy.
//
// Thread-safety: the network's thread. Ownership: payload memory is the caller's and stays valid
// until the payload is complete or the connection is gone. Units: bytes. Errors: none; sizes were
// checked by the caller.
#pragma once

#include <godbox/stream.h>
#include <godbox/wire.h>

#include <array>
#include <vector>

namespace godbox::emulator {

class FrameReader {
 public:
  static constexpr std::size_t kCarefulAheadBytes = wire::kHeaderBytes + sizeof(wire::Segment);
  // More than a WRITE of one page of 4 KiB, so that its end shows that there is no more.
  static constexpr std::size_t kAheadBytes = 4096 + 512;
  static_assert(kAheadBytes > kCarefulAheadBytes + 4096);
  // A body's buffer grows by what has arrived, not by what was announced.
  static constexpr std::size_t kBodyStepBytes = std::size_t{64} << 10U;
  // Larger buffers are given back after use. A lane's largest body stays, so that it is warm.
  static constexpr std::size_t kBodyKeptBytes =
      std::size_t{wire::kSegmentsPerRequestMax} * sizeof(wire::Segment);
  // Most of a payload that is waited for before it is read: more than this leaves the caches
  // between the two copies of the network.
  static constexpr std::size_t kWaitBytesMax = std::size_t{256} << 10U;
  // Where a refused payload goes, again and again.
  static constexpr std::size_t kSinkBytes = std::size_t{64} << 10U;

  enum class Piece : std::uint8_t { none, header, body, payload };

  // Where the next bytes go; empty never.
  [[nodiscard]] std::span<const MutableSpan> spans();
  void received(std::size_t size_bytes);
  // What is worth waiting for: much of a payload at a time.
  [[nodiscard]] std::size_t bytes_least() const;

  // The piece that is complete now; none: more bytes are needed. After a header the caller calls
  // expect_body; after a body expect_payload, drain_payload or finish_frame; after a payload
  // finish_frame.
  [[nodiscard]] Piece next();
  [[nodiscard]] std::span<const std::byte, wire::kHeaderBytes> header_bytes() const;
  [[nodiscard]] ConstSpan body() const { return body_; }

  void expect_body(const wire::Header& header);
  // `spans` cover `payload_bytes` of the header exactly.
  void expect_payload(std::span<const MutableSpan> spans, std::uint64_t payload_bytes);
  void drain_payload(std::uint64_t payload_bytes);
  void finish_frame();

  // Bytes of a frame are here, and others are missing.
  [[nodiscard]] bool is_mid_frame() const {
    return stage_ != Stage::header || ahead_begin_ != ahead_end_;
  }

 private:
  enum class Stage : std::uint8_t { header, body, payload };

  [[nodiscard]] std::size_t ahead_size() const { return ahead_end_ - ahead_begin_; }
  void offer_ahead(std::size_t size_bytes_max);
  void offer_body();
  void offer_payload();
  void grow_body();
  void advance_payload(std::size_t size_bytes);
  void absorb_ahead();

  Stage stage_ = Stage::header;
  bool is_eager_ = true;  // reads ahead in full

  std::array<std::byte, kAheadBytes> ahead_{};
  std::size_t ahead_begin_ = 0;
  std::size_t ahead_end_ = 0;

  std::size_t body_bytes_ = 0;     // announced
  std::size_t body_received_ = 0;  // of them in body_buffer_
  bool is_body_in_ahead_ = false;
  std::vector<std::byte> body_buffer_;
  ConstSpan body_;  // once complete

  std::span<const MutableSpan> payload_spans_;  // empty while draining
  std::size_t payload_index_ = 0;
  std::size_t payload_inside_ = 0;  // bytes of payload_spans_[payload_index_] already here
  std::uint64_t payload_left_ = 0;
  std::vector<std::byte> sink_;

  std::vector<MutableSpan> offered_;
};

}  // namespace godbox::emulator
