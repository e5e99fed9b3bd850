// SPDX-License-Identifier: Apache-2.0
#include "frame_reader.h"

#include <godbox/assert.h>

#include <algorithm>
#include <cstring>

namespace godbox::emulator {

std::span<const MutableSpan> FrameReader::spans() {
  offered_.clear();
  if (ahead_begin_ > 0) {
    std::memmove(ahead_.data(), ahead_.data() + ahead_begin_, ahead_size());
    ahead_end_ -= ahead_begin_;
    ahead_begin_ = 0;
  }
  const std::size_t ahead_max = is_eager_ ? kAheadBytes : kCarefulAheadBytes;
  switch (stage_) {
    case Stage::header:
      offer_ahead(ahead_max);
      break;
    case Stage::body:
      offer_body();
      break;
    case Stage::payload:
      offer_payload();
      if (offered_.size() < kStreamSpansMax) {
        offer_ahead(ahead_max);
      }
      break;
  }
  return offered_;
}

void FrameReader::offer_ahead(std::size_t size_bytes_max) {
  // A careful limit may be behind what an eager one has already caught.
  if (ahead_end_ < size_bytes_max) {
    offered_.push_back(MutableSpan(ahead_).subspan(ahead_end_, size_bytes_max - ahead_end_));
  }
}

void FrameReader::offer_body() {
  if (body_received_ == body_buffer_.size()) {
    grow_body();
  }
  const std::size_t size_bytes = std::min(body_buffer_.size(), body_bytes_) - body_received_;
  offered_.push_back(MutableSpan(body_buffer_).subspan(body_received_, size_bytes));
  // Behind the body of a large WRITE comes payload, which nothing must catch early.
  if (is_eager_ && body_received_ + size_bytes == body_bytes_) {
    offer_ahead(kAheadBytes);
  }
}

void FrameReader::offer_payload() {
  if (payload_spans_.empty()) {
    sink_.resize(kSinkBytes);
    const std::uint64_t size_bytes = std::min<std::uint64_t>(payload_left_, kSinkBytes);
    offered_.push_back(MutableSpan(sink_).first(size_bytes));
    if (size_bytes < payload_left_) {
      return;
    }
  }
  std::size_t inside = payload_inside_;
  for (std::size_t i = payload_index_;
       i < payload_spans_.size() && offered_.size() < kStreamSpansMax; ++i) {
    offered_.push_back(payload_spans_[i].subspan(inside));
    inside = 0;
  }
}

void FrameReader::grow_body() {
  const std::size_t wanted = std::min(std::max(body_received_ * 2, kBodyStepBytes), body_bytes_);
  if (body_buffer_.size() < wanted) {
    body_buffer_.resize(wanted);
  }
}

std::size_t FrameReader::bytes_least() const {
  return stage_ == Stage::payload && payload_left_ > 0
             ? static_cast<std::size_t>(std::min<std::uint64_t>(payload_left_, kWaitBytesMax))
             : 1;
}

void FrameReader::received(std::size_t size_bytes) {
  if (stage_ == Stage::body) {
    const std::size_t taken = std::min(size_bytes, body_bytes_ - body_received_);
    body_received_ += taken;
    size_bytes -= taken;
  } else if (stage_ == Stage::payload) {
    const std::size_t taken = std::min<std::uint64_t>(size_bytes, payload_left_);
    advance_payload(taken);
    size_bytes -= taken;
  }
  ahead_end_ += size_bytes;
  GODBOX_ASSERT(ahead_end_ <= kAheadBytes);
}

void FrameReader::advance_payload(std::size_t size_bytes) {
  payload_left_ -= size_bytes;
  if (payload_spans_.empty()) {
    return;
  }
  while (size_bytes > 0) {
    const std::size_t left = payload_spans_[payload_index_].size() - payload_inside_;
    const std::size_t step = std::min(size_bytes, left);
    payload_inside_ += step;
    size_bytes -= step;
    if (payload_inside_ == payload_spans_[payload_index_].size()) {
      ++payload_index_;
      payload_inside_ = 0;
    }
  }
}

FrameReader::Piece FrameReader::next() {
  switch (stage_) {
    case Stage::header:
      return ahead_size() >= wire::kHeaderBytes ? Piece::header : Piece::none;
    case Stage::body:
      if (!is_body_in_ahead_ && body_received_ < body_bytes_) {
        return Piece::none;
      }
      if (!is_body_in_ahead_) {
        body_ = ConstSpan(body_buffer_).first(body_bytes_);
      }
      return Piece::body;
    case Stage::payload:
      return payload_left_ == 0 ? Piece::payload : Piece::none;
  }
  return Piece::none;
}

std::span<const std::byte, wire::kHeaderBytes> FrameReader::header_bytes() const {
  GODBOX_ASSERT(stage_ == Stage::header && ahead_size() >= wire::kHeaderBytes);
  return std::span<const std::byte, wire::kHeaderBytes>(ahead_.data() + ahead_begin_,
                                                        wire::kHeaderBytes);
}

void FrameReader::expect_body(const wire::Header& header) {
  GODBOX_ASSERT(stage_ == Stage::header);
  ahead_begin_ += wire::kHeaderBytes;
  stage_ = Stage::body;
  is_eager_ = header.payload_bytes <= kAheadBytes;
  body_bytes_ = header.body_bytes;
  body_received_ = 0;
  is_body_in_ahead_ = ahead_size() >= body_bytes_;
  const std::size_t caught = std::min(ahead_size(), body_bytes_);
  const ConstSpan caught_bytes = ConstSpan(ahead_).subspan(ahead_begin_, caught);
  ahead_begin_ += caught;
  if (is_body_in_ahead_) {
    body_ = caught_bytes;  // stays where it is until spans() is called again
    return;
  }
  grow_body();
  std::memcpy(body_buffer_.data(), caught_bytes.data(), caught);
  body_received_ = caught;
}

void FrameReader::expect_payload(std::span<const MutableSpan> spans, std::uint64_t payload_bytes) {
  GODBOX_ASSERT(stage_ == Stage::body);
  stage_ = Stage::payload;
  payload_spans_ = spans;
  payload_index_ = 0;
  payload_inside_ = 0;
  payload_left_ = payload_bytes;
  absorb_ahead();
}

void FrameReader::drain_payload(std::uint64_t payload_bytes) { expect_payload({}, payload_bytes); }

// Puts what was read ahead of the payload into its place.
void FrameReader::absorb_ahead() {
  while (payload_left_ > 0 && ahead_size() > 0) {
    std::size_t step = std::min<std::uint64_t>(ahead_size(), payload_left_);
    if (!payload_spans_.empty()) {
      const MutableSpan to = payload_spans_[payload_index_].subspan(payload_inside_);
      step = std::min(step, to.size());
      std::memcpy(to.data(), ahead_.data() + ahead_begin_, step);
    }
    advance_payload(step);
    ahead_begin_ += step;
  }
}

void FrameReader::finish_frame() {
  stage_ = Stage::header;
  body_ = {};
  payload_spans_ = {};
  if (body_buffer_.size() > kBodyKeptBytes) {
    body_buffer_ = {};
  }
  if (!sink_.empty()) {
    sink_ = {};
  }
}

}  // namespace godbox::emulator
