// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the native door share: a box with a control connection and lanes, and frames
// that an encoder would refuse to make.
#pragma once

#include <godbox/assert.h>
#include <godbox/crc32c.h>
#include <godbox_test/door_peer.h>
#include <godbox_test/test_box.h>

#include <cstring>
#include <memory>

namespace godbox::emulator {

struct DoorFixture {
  explicit DoorFixture(const test::TestBoxOptions& options = {})
      : box(options),
        control(std::make_unique<test::DoorPeer>(box.box().control_door(), box.clock())),
        session(control->open_control()) {}

  [[nodiscard]] std::unique_ptr<test::DoorPeer> connect(std::uint16_t eth_port = 0) {
    return std::make_unique<test::DoorPeer>(box.eth_port(eth_port), box.clock());
  }
  [[nodiscard]] std::unique_ptr<test::DoorPeer> open_lane(std::uint16_t eth_port = 0) {
    std::unique_ptr<test::DoorPeer> lane = connect(eth_port);
    static_cast<void>(lane->open_lane(session));
    return lane;
  }
  [[nodiscard]] wire::RegionReply allocate(std::uint64_t size_bytes) {
    const test::PeerFrame frame = control->call(wire::Op::allocate_region,
                                                wire::AllocateRegionRequest{SizeBytes(size_bytes)});
    GODBOX_ASSERT(frame.header.status == Errc::ok);
    return *wire::decode<wire::RegionReply>(frame.body);
  }
  [[nodiscard]] wire::ReserveAnswer reserve(std::string_view name, std::uint64_t size_bytes) {
    wire::ReserveRequest request;
    request.items.push_back({name, SizeBytes(size_bytes), false});
    const test::PeerFrame frame = control->call(wire::Op::reserve, request);
    GODBOX_ASSERT(frame.header.status == Errc::ok);
    const wire::ReserveReply reply = *wire::decode<wire::ReserveReply>(frame.body);
    GODBOX_ASSERT(reply.answers.at(0).status == Errc::ok);
    return reply.answers[0];
  }
  [[nodiscard]] Errc abort(ReservationId reservation) {
    const test::PeerFrame frame =
        control->call(wire::Op::abort, wire::ReservationsRequest{{reservation}});
    return wire::decode<wire::StatusesReply>(frame.body)->statuses.at(0);
  }
  [[nodiscard]] std::uint64_t frames_rejected(std::uint16_t eth_port = 0) {
    return box.eth_port(eth_port).counters().frames_rejected.load();
  }

  test::TestBox box;
  std::unique_ptr<test::DoorPeer> control;
  wire::HelloReply session;
};

// A frame whose header is changed behind the encoder's back; its CRC is right again afterwards.
template <class Change>
[[nodiscard]] test::Bytes changed_frame(const wire::Header& header, ConstSpan body,
                                        Change&& change) {
  test::Bytes frame = wire::encode_frame(header, body);
  change(MutableSpan(frame).first(wire::kHeaderBytes));
  const std::uint32_t crc = crc32c(ConstSpan(frame).first(wire::kHeaderBytes - 4));
  std::memcpy(frame.data() + wire::kHeaderBytes - 4, &crc, sizeof(crc));
  return frame;
}

// Offsets of docs/wire-protocol.md, section 2.
inline constexpr std::size_t kOpOffset = 4;
inline constexpr std::size_t kFlagsOffset = 5;
inline constexpr std::size_t kStatusOffset = 6;
inline constexpr std::size_t kBodyBytesOffset = 24;
inline constexpr std::size_t kPayloadBytesOffset = 28;
inline constexpr std::size_t kTrafficClassOffset = 40;
inline constexpr std::size_t kReservedOffset = 41;

inline void put_u32(MutableSpan at, std::size_t offset, std::uint32_t value) {
  std::memcpy(at.data() + offset, &value, sizeof(value));
}

}  // namespace godbox::emulator
