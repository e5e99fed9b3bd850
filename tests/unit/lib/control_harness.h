// SPDX-License-Identifier: Apache-2.0
//
// A control client on a network that the test plays by hand.
#pragma once

#include <godbox/native/control_client.h>

#include <catch2/catch_test_macros.hpp>

#include <cstring>
#include <vector>

namespace godbox::native {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline constexpr TimePoint kStart{seconds(100)};

struct Harness {
  std::vector<int>* record_closed = nullptr;
  ControlClient client{"tenant-a", [this](std::span<const int> left) {
                         record_closed->insert(record_closed->end(), left.begin(), left.end());
                       }};
  std::vector<std::byte> sent;
  struct Reply {
    Errc status;
    std::vector<std::byte> body;
  };
  std::vector<Reply> replies;

  void drain(TimePoint now = kStart) {
    for (;;) {
      std::size_t taken = 0;
      for (const ConstSpan span : client.send_spans()) {
        sent.insert(sent.end(), span.begin(), span.end());
        taken += span.size();
      }
      if (taken == 0) {
        return;
      }
      client.on_sent(taken, now);
    }
  }

  void deliver(ConstSpan bytes, std::size_t chunk = SIZE_MAX, TimePoint now = kStart) {
    while (!bytes.empty() && !client.receive_spans().empty()) {
      const MutableSpan span = client.receive_spans()[0];
      const std::size_t step = std::min({span.size(), bytes.size(), chunk});
      std::memcpy(span.data(), bytes.data(), step);
      client.on_received(step, now);
      bytes = bytes.subspan(step);
    }
  }

  static wire::Body frame(wire::Op op, std::uint64_t id, Errc status, ConstSpan body,
                          Epoch epoch = Epoch(9)) {
    wire::Header header;
    header.op = op;
    header.is_response = true;
    header.status = status;
    header.request_id = id;
    header.epoch = op == wire::Op::hello ? Epoch(0) : epoch;
    return wire::encode_frame(header, body);
  }

  void open(std::uint32_t requests_in_flight_max = 2 * ControlClient::kRequestsMax,
            std::uint16_t resume_ms = 0) {
    client.on_connected(kStart);
    drain();
    wire::HelloReply hello;
    hello.session = SessionId(4);
    hello.epoch = Epoch(9);
    hello.session_timeout_ms = 30000;
    hello.requests_in_flight_max = requests_in_flight_max;
    hello.secret = {{11, 12}};
    hello.resume_ms = resume_ms;
    deliver(frame(wire::Op::hello, 0, Errc::ok, wire::encode(hello)));
    REQUIRE(client.is_open());
    sent.clear();
  }

  void ask(TimePoint deadline = kNever, wire::Op op = wire::Op::status, ConstSpan body = {}) {
    client.request(op, body, kStart, deadline, [this](Errc status, ConstSpan reply) {
      replies.push_back({status, {reply.begin(), reply.end()}});
    });
  }
  // Of the frames sent, one after the other.
  [[nodiscard]] std::vector<wire::Header> sent_headers() const {
    std::vector<wire::Header> headers;
    for (ConstSpan left = sent; !left.empty();) {
      headers.push_back(wire::decode_header(left.first<wire::kHeaderBytes>()).value());
      left = left.subspan(wire::kHeaderBytes + headers.back().body_bytes);
    }
    return headers;
  }
  // The network takes the first bytes of what is offered, and no more.
  void send(std::size_t size_bytes, TimePoint now) {
    std::size_t left = size_bytes;
    for (const ConstSpan span : client.send_spans()) {
      const std::size_t step = std::min(left, span.size());
      sent.insert(sent.end(), span.begin(), span.begin() + static_cast<std::ptrdiff_t>(step));
      left -= step;
    }
    REQUIRE(left == 0);
    client.on_sent(size_bytes, now);
  }

  wire::Header sent_header() const {
    return wire::decode_header(ConstSpan(sent).first<wire::kHeaderBytes>()).value();
  }
};

}  // namespace godbox::native
