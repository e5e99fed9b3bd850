// SPDX-License-Identifier: Apache-2.0
//
// Work of a queue pair on memory of this side: what a program at this end sends, reads, writes and
// receives. What a peer does to the pool needs none of it.
// Thread-safety: plain values. Ownership: the memory of a work request is the caller's; it is used
// until the request completes. Units: bytes. Errors: WorkStatus.
#pragma once

#include <godbox/units.h>

#include <optional>
#include <span>
#include <string_view>

namespace godbox::emulator {

enum class SendOp : std::uint8_t {
  send,
  read,
  write,
  compare_swap,  // the local piece is 8 bytes, for the value of before
  fetch_add,
  atomic_write,  // the local piece is 8 bytes, and aligned where it goes
};

struct SendRequest {
  WorkId id{};
  SendOp op = SendOp::send;
  std::span<const MutableSpan> local{};  // kRoceLocalPiecesMax at most; copied, the bytes are not
  std::uint64_t remote_address = 0;      // but for send
  RKey key{};
  std::optional<std::uint32_t> immediate{};  // of send and write
  bool is_solicited = false;
  std::uint64_t swap_or_add = 0, compare = 0;
};

struct ReceiveRequest {
  WorkId id{};
  std::span<const MutableSpan> local{};
};

// IBTA volume 1, 11.6.2: completion return status.
enum class WorkStatus : std::uint8_t {
  ok,
  local_length,        // a message was longer than the memory for it
  remote_invalid,      // NAK: invalid request
  remote_access,       // NAK: remote access error
  remote_operational,  // NAK: remote operational error
  retries_exceeded,    // no answer
  rnr_exceeded,        // the other end has no receive request
  flushed,             // the queue pair failed before, or was closed
};
[[nodiscard]] std::string_view to_string(WorkStatus status);

struct SendCompletion {
  WorkId id;
  WorkStatus status = WorkStatus::ok;
};

struct ReceiveCompletion {
  WorkId id;
  WorkStatus status = WorkStatus::ok;
  std::uint32_t length_bytes = 0;  // of the SEND, or of the WRITE with immediate data
  std::optional<std::uint32_t> immediate{};
  bool is_write = false;  // of a WRITE: the memory is untouched
  bool is_solicited = false;
};

}  // namespace godbox::emulator
