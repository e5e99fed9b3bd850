// SPDX-License-Identifier: Apache-2.0
//
// One TCP connection to a store that answers in the order of the requests. Requests are pipelined:
// those that are there go out together, values straight from the caller's memory; answers come
// straight to where they belong, several in one call. Nothing is copied in between, and nothing
// waits. Thread-safety: one thread. Ownership: owns the socket. Units: bytes.
// Errors: of connect(): invalid_argument, connect_failed; of move(): not_found, protocol_error
// (both name the answer), lane_closed, io_error. After one the connection is of no more use.
#pragma once

#include "plain_protocol.h"
#include <godbox/stream.h>

#include <array>
#include <deque>
#include <string>
#include <vector>

#include <sys/uio.h>

namespace godbox::compare {

class PlainConnection {
 public:
  // Where answers to be counted end up.
  using OnAnswered = std::function<void(std::uint32_t operation)>;

  [[nodiscard]] static Result<PlainConnection> connect(const StreamAddress& address,
                                                       PlainProtocol protocol);
  ~PlainConnection();
  PlainConnection(PlainConnection&& other) noexcept;
  PlainConnection& operator=(PlainConnection&&) = delete;
  PlainConnection(const PlainConnection&) = delete;
  PlainConnection& operator=(const PlainConnection&) = delete;

  // `operation` comes back with the answer.
  void add(KvOp op, const KvObject& object, std::uint32_t operation);
  // Sends and receives what goes without waiting; whether any byte moved.
  [[nodiscard]] Result<bool> move(const OnAnswered& on_answered);

  [[nodiscard]] std::size_t unanswered() const { return exchanges_.size(); }
  [[nodiscard]] int descriptor() const { return socket_; }
  [[nodiscard]] short wanted_events() const;  // of poll()

 private:
  static constexpr std::size_t kPiecesMax = 48;  // of one sendmsg or recvmsg
  static constexpr std::size_t kHeadMax = 32;    // of an answer
  static constexpr std::size_t kTailMax = 4;

  // A request and its answer.
  struct Exchange {
    KvOp op;
    KvObject object;
    std::uint32_t operation;
    Framing request;
    Framing answer;
    std::array<char, kHeadMax> got_head;
    std::array<char, kTailMax> got_tail;
  };
  using Pieces = std::array<iovec, 3>;

  PlainConnection(int socket, PlainProtocol protocol) : socket_(socket), protocol_(protocol) {}
  [[nodiscard]] static Pieces request_pieces(Exchange& exchange);
  [[nodiscard]] static Pieces answer_pieces(Exchange& exchange);
  [[nodiscard]] std::size_t gather(std::size_t first, std::uint64_t skip_bytes,
                                   Pieces (*pieces_of)(Exchange&));
  [[nodiscard]] Result<bool> send();
  [[nodiscard]] Result<bool> receive(const OnAnswered& on_answered);
  [[nodiscard]] Result<void> take(std::uint64_t bytes, const OnAnswered& on_answered);
  [[nodiscard]] Result<void> check_front(std::uint64_t bytes_behind) const;
  [[nodiscard]] std::string received_text(std::uint64_t bytes) const;

  int socket_;
  PlainProtocol protocol_;
  std::deque<Exchange> exchanges_;        // unanswered, oldest first
  std::size_t sent_ = 0;                  // of these, requests that are out as a whole
  std::uint64_t sent_of_next_bytes_ = 0;  // of the request after them
  std::uint64_t got_of_front_bytes_ = 0;  // of the oldest one's answer
  std::array<iovec, kPiecesMax> pieces_{};
};

}  // namespace godbox::compare
