// SPDX-License-Identifier: Apache-2.0
//
// An endpoint whose behaviour a test sets field by field, and which checks by itself what a network
// may never do: call anything after on_closed, call on_closed twice, report bytes nobody offered.
#pragma once

#include <godbox/stream.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <functional>
#include <optional>
#include <vector>

namespace godbox::test {

// Byte `index` of the test pattern; no period that a buffer size could hide.
[[nodiscard]] inline std::byte pattern_byte(std::size_t index) {
  const std::uint64_t mixed = (index + 1) * 0x9E3779B97F4A7C15ULL;
  return static_cast<std::byte>(mixed >> 56U);
}

[[nodiscard]] inline std::vector<std::byte> pattern(std::size_t size_bytes) {
  std::vector<std::byte> bytes(size_bytes);
  for (std::size_t i = 0; i < size_bytes; ++i) {
    bytes[i] = pattern_byte(i);
  }
  return bytes;
}

class ScriptedEndpoint : public StreamEndpoint {
 public:
  // What the endpoint heard; may outlive it, as accepted endpoints die with their connection.
  struct Record {
    int connected_count = 0;
    int closed_count = 0;
    int timer_count = 0;
    std::size_t sent_bytes = 0;
    std::vector<std::byte> received;
    std::vector<int> descriptors;
    std::optional<Errc> reason;
    TimePoint timer_at{};
    bool is_destroyed = false;
  };

  explicit ScriptedEndpoint(Record& its_record) : record(its_record) {}
  ~ScriptedEndpoint() override { record.is_destroyed = true; }
  ScriptedEndpoint(const ScriptedEndpoint&) = delete;
  ScriptedEndpoint& operator=(const ScriptedEndpoint&) = delete;

  static constexpr std::size_t kEchoBytesMax = std::size_t{4} << 20U;

  // --- The script. ---
  std::vector<std::byte> to_send;
  bool is_echo = false;      // sends what it receives
  bool is_receiving = true;  // false: offers no space
  bool closes_when_sent = false;
  bool takes_descriptors = false;
  TimePoint deadline = kNever;
  std::size_t send_piece_bytes = 100'000;  // spans of this size, as many as fit in a call
  std::size_t receive_piece_bytes = 70'001;
  std::size_t pieces_max = 4;
  std::vector<int> give_descriptors;
  std::function<std::size_t()> bytes_least;  // empty: 1
  std::function<void()> at_connected, at_received, at_sent, at_timer, at_closed;

  Record& record;

  void on_connected(TimePoint) override {
    alive();
    ++record.connected_count;
    if (is_echo) {
      to_send.reserve(kEchoBytesMax);  // spans handed out stay where they are while more comes in
    }
    call(at_connected);
  }

  std::span<const MutableSpan> receive_spans() override {
    alive();
    receive_spans_.clear();
    if (is_receiving) {
      buffer_.resize(receive_piece_bytes * pieces_max);
      for (std::size_t i = 0; i < pieces_max; ++i) {
        receive_spans_.push_back(
            MutableSpan(buffer_).subspan(i * receive_piece_bytes, receive_piece_bytes));
      }
    }
    offered_bytes_ = receive_spans_.size() * receive_piece_bytes;
    return receive_spans_;
  }

  std::size_t receive_bytes_least() const override {
    alive();
    return bytes_least ? bytes_least() : 1;
  }

  void on_received(std::size_t size_bytes, TimePoint) override {
    alive();
    REQUIRE(record.connected_count == 1);
    REQUIRE(size_bytes > 0);
    REQUIRE(size_bytes <= offered_bytes_);
    const auto end = buffer_.begin() + static_cast<std::ptrdiff_t>(size_bytes);
    if (is_echo) {
      to_send.insert(to_send.end(), buffer_.begin(), end);
    } else {
      record.received.insert(record.received.end(), buffer_.begin(), end);
    }
    call(at_received);
  }

  std::span<const ConstSpan> send_spans() override {
    alive();
    send_spans_.clear();
    std::size_t begin = record.sent_bytes;
    while (begin < to_send.size() && send_spans_.size() < pieces_max) {
      const std::size_t size = std::min(send_piece_bytes, to_send.size() - begin);
      send_spans_.push_back(ConstSpan(to_send).subspan(begin, size));
      begin += size;
    }
    return send_spans_;
  }

  void on_sent(std::size_t size_bytes, TimePoint) override {
    alive();
    REQUIRE(record.connected_count == 1);
    REQUIRE(size_bytes > 0);
    record.sent_bytes += size_bytes;
    REQUIRE(record.sent_bytes <= to_send.size());
    call(at_sent);
  }

  TimePoint next_deadline() const override {
    alive();
    return deadline;
  }

  void on_timer(TimePoint now) override {
    alive();
    REQUIRE(now >= deadline);
    ++record.timer_count;
    record.timer_at = now;
    deadline = kNever;
    call(at_timer);
  }

  bool wants_close() const override {
    alive();
    return closes_when_sent;
  }

  void on_closed(Errc reason, TimePoint) override {
    alive();
    ++record.closed_count;
    record.reason = reason;
    call(at_closed);
  }

  std::span<const int> descriptors_to_send() override { return give_descriptors; }
  void on_descriptors_sent() override { give_descriptors.clear(); }
  bool wants_descriptors() const override { return takes_descriptors; }
  void on_descriptors(std::span<const int> descriptors) override {
    alive();
    record.descriptors.insert(record.descriptors.end(), descriptors.begin(), descriptors.end());
  }

 private:
  void alive() const {
    if (record.closed_count != 0) {
      FAIL("a member was called after on_closed");
    }
  }
  static void call(const std::function<void()>& hook) {
    if (hook) {
      hook();
    }
  }

  std::vector<std::byte> buffer_;
  std::size_t offered_bytes_ = 0;
  std::vector<MutableSpan> receive_spans_;
  std::vector<ConstSpan> send_spans_;
};

// Makes one scripted endpoint per connection, or refuses.
class ScriptedAcceptor final : public StreamAcceptor {
 public:
  bool refuses = false;
  std::function<void(ScriptedEndpoint&)> script;
  // Of each accepted connection, in order; stable addresses.
  std::vector<std::unique_ptr<ScriptedEndpoint::Record>> records;
  // Of the accepted connections that live.
  ScriptedEndpoint* last = nullptr;

  std::unique_ptr<StreamEndpoint> accept(TimePoint) override {
    if (refuses) {
      return nullptr;
    }
    records.push_back(std::make_unique<ScriptedEndpoint::Record>());
    auto endpoint = std::make_unique<ScriptedEndpoint>(*records.back());
    if (script) {
      script(*endpoint);
    }
    last = endpoint.get();
    return endpoint;
  }
};

}  // namespace godbox::test
