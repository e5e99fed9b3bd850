// SPDX-License-Identifier: Apache-2.0
//
// Frames and packets of RoCEv2 against golden vectors: each is spelled out here once more, has to
// become those bytes exactly, and has to be taken in as what it says. Then what is malformed.
#include <godbox/crc32.h>
#include <godbox/roce/frame.h>
#include <godbox/roce/icrc.h>
#include <godbox/roce/packet.h>
#include <godbox_test/hex_file.h>
#include <godbox_test/seeded_random.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>

using namespace godbox;
using namespace godbox::roce;

namespace {

using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kBase = 0x1000'0000;
constexpr RKey kKey(0x1234);
constexpr QueuePairNumber kOurs(0x11), kTheirs(0x12);

Bytes golden(const std::string& name) {
  return test::read_hex_file(std::filesystem::path(GODBOX_VECTORS_DIR) / "roce" / (name + ".hex"));
}

Bytes text(std::string_view from) {
  const auto bytes = std::as_bytes(std::span(from.data(), from.size()));
  return {bytes.begin(), bytes.end()};
}

Bytes counted(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>(i);
  }
  return bytes;
}

FrameHeader header_to_box() {
  return {.destination = {2, 0, 0, 0, 0, 2},
          .source = {2, 0, 0, 0, 0, 1},
          .source_ip = Gid::of_ipv4({10, 0, 0, 1}),
          .destination_ip = Gid::of_ipv4({10, 0, 0, 2}),
          .source_port = 0xC000};
}

FrameHeader header_from_box() {
  FrameHeader header = header_to_box();
  std::swap(header.source, header.destination);
  std::swap(header.source_ip, header.destination_ip);
  header.source_port = 0xC001;
  return header;
}

// What is to be a golden vector's bytes. The payload outlives nothing: it is kept here.
struct Message {
  FrameHeader header;
  Packet packet;
  Bytes payload;
};

std::map<std::string, Message> messages_to_box() {
  const auto request = [](Opcode opcode, std::uint32_t psn, bool wants_ack = true) {
    return Packet{
        .opcode = opcode, .destination_qp = kOurs, .wants_ack = wants_ack, .psn = Psn(psn)};
  };
  const auto at = [](Packet packet, std::uint64_t address, std::uint32_t length) {
    packet.address = address;
    packet.r_key = kKey;
    packet.length_bytes = length;
    return packet;
  };
  const FrameHeader to_box = header_to_box();
  std::map<std::string, Message> all;
  all["read_request"] = {to_box, at(request(Opcode::read_request, 0x100), kBase, 5), {}};
  all["write_only"] = {to_box, at(request(Opcode::write_only, 0x101), kBase + 8, 4), text("ABCD")};
  Packet add = at(request(Opcode::fetch_add, 0x103), kBase + 16, 0);
  add.swap_or_add = 1;
  all["fetch_add"] = {to_box, add, {}};
  Packet swap = at(request(Opcode::compare_swap, 0x104), kBase + 24, 0);
  swap.swap_or_add = 0x1122'3344'5566'7788;
  swap.compare = 7;
  all["compare_swap"] = {to_box, swap, {}};
  all["write_first"] = {to_box, at(request(Opcode::write_first, 0x105, false), kBase, 600),
                        counted(256)};
  all["write_middle"] = {to_box, request(Opcode::write_middle, 0x106, false), counted(256)};
  all["write_last"] = {to_box, request(Opcode::write_last, 0x107), counted(88)};
  Packet immediate = request(Opcode::write_last_immediate, 0x108);
  immediate.is_solicited = true;
  immediate.immediate = 0xDEAD'BEEF;
  all["write_last_immediate"] = {to_box, immediate, text("abc")};
  immediate = at(request(Opcode::write_only_immediate, 0x109), kBase, 0);
  immediate.immediate = 42;
  all["write_only_immediate"] = {to_box, immediate, {}};
  Packet send = request(Opcode::send_only, 0xFF'FFFF);
  send.destination_qp = QueuePairNumber(0xABCDEF);
  send.is_migrated = true;
  all["send_only"] = {to_box, send, text("xy")};
  immediate = request(Opcode::send_only_immediate, 0x10A, false);
  immediate.immediate = 1;
  all["send_only_immediate"] = {to_box, immediate, {}};
  Packet invalidate = request(Opcode::send_last_invalidate, 0x10B, false);
  invalidate.r_key = kKey;
  all["send_last_invalidate"] = {to_box, invalidate, text("z")};
  all["atomic_write"] = {to_box, at(request(Opcode::atomic_write, 0x10F), kBase + 32, 8),
                         text("12345678")};
  Packet flush = at(request(Opcode::flush, 0x110), kBase, 64);
  flush.flush_flags = 0x11;
  all["flush"] = {to_box, flush, {}};
  Packet ud = request(Opcode::ud_send_only, 0x10, false);
  ud.destination_qp = QueuePairNumber(kGsiQueuePair);
  ud.q_key = kGsiQKey;
  ud.source_qp = QueuePairNumber(1);
  all["ud_send_only"] = {to_box, ud, counted(256)};
  FrameHeader other = to_box;
  other.vlan = 0x6064;
  other.traffic_class = 0x6A;
  other.identification = 0xBEEF;
  all["read_request_vlan"] = {other, all["read_request"].packet, {}};
  other = to_box;
  other.source_ip = {{0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
  other.destination_ip = {{0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};
  other.traffic_class = 0x2A;
  other.flow_label = 0x54321;
  all["read_request_ipv6"] = {other, all["read_request"].packet, {}};
  return all;
}

std::map<std::string, Message> messages_from_box() {
  const auto answer = [](Opcode opcode, std::uint32_t psn, std::uint8_t syndrome,
                         std::uint32_t msn) {
    return Packet{.opcode = opcode,
                  .destination_qp = kTheirs,
                  .psn = Psn(psn),
                  .syndrome = syndrome,
                  .msn = msn};
  };
  constexpr std::uint8_t kAck = kSyndromeAckUnlimited;
  const FrameHeader from_box = header_from_box();
  std::map<std::string, Message> all;
  all["read_response_only"] = {from_box, answer(Opcode::read_response_only, 0x100, kAck, 1),
                               text("hello")};
  all["acknowledge"] = {from_box, answer(Opcode::acknowledge, 0x101, kAck, 2), {}};
  all["nak_access"] = {from_box, answer(Opcode::acknowledge, 0x102, kSyndromeNakAccess, 2), {}};
  all["rnr_nak"] = {from_box, answer(Opcode::acknowledge, 0x111, kSyndromeRnrNak | 12, 9), {}};
  Packet atomic = answer(Opcode::atomic_acknowledge, 0x103, kAck, 3);
  atomic.original = 41;
  all["atomic_acknowledge"] = {from_box, atomic, {}};
  all["read_response_first"] = {from_box, answer(Opcode::read_response_first, 0x10C, kAck, 9),
                                counted(256)};
  all["read_response_middle"] = {from_box, answer(Opcode::read_response_middle, 0x10D, 0, 0),
                                 counted(256)};
  all["read_response_last"] = {from_box, answer(Opcode::read_response_last, 0x10E, kAck, 9),
                               text("q")};
  return all;
}

std::map<std::string, Message> all_messages() {
  std::map<std::string, Message> all = messages_to_box();
  all.merge(messages_from_box());
  FrameHeader header;
  header.destination = {0xE4, 0x1D, 0x2D, 0xAB, 0x2B, 0xC2};
  header.source = {0x7C, 0xFE, 0x90, 0x64, 0x3B, 0x32};
  header.source_ip = Gid::of_ipv4({10, 0, 17, 1});
  header.destination_ip = Gid::of_ipv4({10, 0, 18, 1});
  header.traffic_class = 0xC2;
  header.identification = 0x718C;
  header.source_port = 0;
  all["captured_cnp"] = {header,
                         {.opcode = Opcode::congestion_notification,
                          .becn = true,
                          .destination_qp = QueuePairNumber(0x118)},
                         Bytes(16)};
  return all;
}

// A frame as a box makes it: headers, payload and padding in pieces, with the ICRC over them.
Bytes encode(const Message& message) {
  Packet packet = message.packet;
  packet.payload = message.payload;
  std::array<std::byte, kHeaderBytesMax> headers{};
  const std::size_t header_bytes = encode_headers(packet, headers);
  const std::size_t pad = pad_bytes(message.payload.size());
  std::array<std::byte, kFrameHeaderBytesMax> before{};
  const std::size_t before_bytes = encode_frame_header(
      message.header, header_bytes + message.payload.size() + pad + kIcrcBytes, before);
  const std::size_t ethernet_bytes = message.header.vlan ? 18 : 14;
  Bytes frame(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(before_bytes));
  frame.insert(frame.end(), headers.begin(),
               headers.begin() + static_cast<std::ptrdiff_t>(header_bytes));
  std::uint32_t icrc = icrc_begin(ConstSpan(frame).subspan(ethernet_bytes));
  const Bytes padding(pad);
  icrc = crc32(padding, crc32(message.payload, icrc));
  frame.insert(frame.end(), message.payload.begin(), message.payload.end());
  frame.insert(frame.end(), padding.begin(), padding.end());
  std::array<std::byte, 4> stored{};
  store_icrc(icrc, stored);
  frame.insert(frame.end(), stored.begin(), stored.end());
  return frame;
}

void check_same(const Packet& a, const Packet& b) {
  CHECK(a.opcode == b.opcode);
  CHECK(a.is_solicited == b.is_solicited);
  CHECK(a.is_migrated == b.is_migrated);
  CHECK(a.p_key == b.p_key);
  CHECK(a.fecn == b.fecn);
  CHECK(a.becn == b.becn);
  CHECK(a.destination_qp == b.destination_qp);
  CHECK(a.wants_ack == b.wants_ack);
  CHECK(a.psn == b.psn);
  CHECK(a.q_key == b.q_key);
  CHECK(a.source_qp == b.source_qp);
  CHECK(a.address == b.address);
  CHECK(a.r_key == b.r_key);
  CHECK(a.length_bytes == b.length_bytes);
  CHECK(a.swap_or_add == b.swap_or_add);
  CHECK(a.compare == b.compare);
  CHECK(a.syndrome == b.syndrome);
  CHECK(a.msn == b.msn);
  CHECK(a.original == b.original);
  CHECK(a.immediate == b.immediate);
  CHECK(a.flush_flags == b.flush_flags);
}

FrameKind kind_of(const Bytes& bytes) {
  Frame frame;
  return decode_frame(bytes, frame);
}

Malformed malformed(const Bytes& packet) {
  Packet out;
  return decode_packet(packet, out);
}

// The packet of a golden frame.
Bytes golden_packet(const std::string& name) {
  const Bytes bytes = golden(name);
  Frame frame;
  REQUIRE(decode_frame(bytes, frame) == FrameKind::roce);
  return {frame.packet.begin(), frame.packet.end()};
}

}  // namespace

TEST_CASE("messages become the golden frames, byte for byte", "[unit]") {
  std::size_t files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(GODBOX_VECTORS_DIR) / "roce")) {
    files += entry.is_regular_file() ? 1 : 0;
  }
  const auto messages = all_messages();
  CHECK(messages.size() == files);
  for (const auto& [name, message] : messages) {
    CAPTURE(name);
    CHECK(encode(message) == golden(name));
  }
}

TEST_CASE("golden frames are taken in as what they say", "[unit]") {
  for (const auto& [name, message] : all_messages()) {
    CAPTURE(name);
    Bytes bytes = golden(name);
    Frame frame;
    REQUIRE(decode_frame(bytes, frame) == FrameKind::roce);
    CHECK(frame.header == message.header);
    CHECK(has_right_icrc(frame));
    Packet packet;
    REQUIRE(decode_packet(frame.packet, packet) == Malformed::no);
    check_same(packet, message.packet);
    CHECK(std::equal(packet.payload.begin(), packet.payload.end(), message.payload.begin(),
                     message.payload.end()));
    // Short frames arrive with Ethernet's padding.
    bytes.resize(bytes.size() + 9, std::byte{0xEE});
    REQUIRE(decode_frame(bytes, frame) == FrameKind::roce);
    CHECK(has_right_icrc(frame));
  }
}

TEST_CASE("the ICRC covers all that no switch may change, and nothing else", "[unit]") {
  for (const auto& [name, message] : all_messages()) {
    const Bytes right = golden(name);
    const bool is_ipv4 = message.header.source_ip.is_ipv4();
    const std::size_t ip = message.header.vlan ? 18 : 14, udp = ip + (is_ipv4 ? 20 : 40);
    Frame before;
    REQUIRE(decode_frame(right, before) == FrameKind::roce);
    for (std::size_t at = ip; at < right.size(); ++at) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        CAPTURE(name, at, bit);
        Bytes bytes = right;
        bytes[at] ^= static_cast<std::byte>(1U << bit);
        const std::size_t in_ip = at - ip;
        const bool is_variant =
            (is_ipv4 ? in_ip == 1 || in_ip == 8 || in_ip == 10 || in_ip == 11
                     : (in_ip == 0 && bit < 4) || (in_ip >= 1 && in_ip <= 3) || in_ip == 7) ||
            at == udp + 6 || at == udp + 7 || at == udp + 12;
        const bool is_icrc = at >= right.size() - 4;
        const Frame changed{.header = {},
                            .headers = ConstSpan(bytes).subspan(ip, before.headers.size()),
                            .packet = ConstSpan(bytes).subspan(udp + 8, before.packet.size()),
                            .icrc = is_icrc
                                        ? before.icrc ^ 1U << bit << 8U * (at - (right.size() - 4))
                                        : before.icrc};
        // The version and the header's length say where things are: whole frames are refused then.
        if (in_ip != 0 || (!is_ipv4 && bit < 4)) {
          REQUIRE(has_right_icrc(changed) == is_variant);
        }
      }
    }
  }
}

TEST_CASE("frames that are cut off, or of something else, are told apart", "[unit]") {
  const Bytes right = golden("read_request_vlan");
  for (std::size_t size = 0; size < right.size(); ++size) {
    CAPTURE(size);
    const Bytes cut(right.begin(), right.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK(kind_of(cut) == FrameKind::too_short);
  }
  const auto changed = [](std::string_view name, std::size_t at, std::uint8_t value) {
    Bytes bytes = golden(std::string(name));
    bytes[at] = static_cast<std::byte>(value);
    return kind_of(bytes);
  };
  CHECK(changed("write_only", 12, 0x88) == FrameKind::other);          // another ether type
  CHECK(changed("write_only", 14 + 9, 6) == FrameKind::bad_checksum);  // TCP, and not summed anew
  CHECK(changed("write_only", 14, 0x46) == FrameKind::bad_checksum);   // options that are none
  CHECK(changed("write_only", 14, 0x44) == FrameKind::too_short);      // a header of 16 bytes
  CHECK(changed("write_only", 14, 0x65) == FrameKind::too_short);      // version 6
  CHECK(changed("write_only", 14 + 2, 0xFF) == FrameKind::too_short);
  CHECK(changed("write_only", 14 + 20 + 3, 0xB8) == FrameKind::other);  // UDP port
  CHECK(changed("write_only", 14 + 20 + 5, 0x2B) == FrameKind::too_short);
  CHECK(changed("read_request_ipv6", 14 + 6, 58) == FrameKind::other);
  CHECK(changed("read_request_ipv6", 14, 0x40) == FrameKind::too_short);
  // A fragment with a right checksum: more are to come.
  Bytes fragment = golden("write_only");
  fragment[14 + 6] = std::byte{0x60};
  fragment[14 + 10] = static_cast<std::byte>(std::to_integer<unsigned>(fragment[14 + 10]) - 0x20U);
  CHECK(kind_of(fragment) == FrameKind::fragment);
  // IPv4's addresses in IPv6.
  Bytes mapped = golden("read_request_ipv6");
  const Gid gid = Gid::of_ipv4({10, 0, 0, 1});
  std::transform(gid.bytes.begin(), gid.bytes.end(), mapped.begin() + 14 + 8,
                 [](std::uint8_t byte) { return static_cast<std::byte>(byte); });
  CHECK(kind_of(mapped) == FrameKind::other);
}

TEST_CASE("packets that say too little or too much are refused", "[unit]") {
  for (const auto& [name, message] : all_messages()) {
    const Bytes right = golden_packet(name);
    CAPTURE(name);
    CHECK(malformed(right) == Malformed::no);
    const std::size_t headers =
        right.size() - message.payload.size() - pad_bytes(message.payload.size());
    for (std::size_t size = 0; size < headers; ++size) {
      CHECK(malformed(Bytes(right.begin(), right.begin() + static_cast<std::ptrdiff_t>(size))) ==
            Malformed::too_short);
    }
  }
  Bytes packet = golden_packet("read_request");
  packet.push_back(std::byte{0});
  CHECK(malformed(packet) == Malformed::payload_size);
  packet.back() = std::byte{0};
  packet[1] = std::byte{0x10};  // padding of one byte
  CHECK(malformed(packet) == Malformed::no);
  packet = golden_packet("atomic_write");
  packet.resize(packet.size() - 4);
  CHECK(malformed(packet) == Malformed::payload_size);
  packet = golden_packet("acknowledge");
  packet[1] = std::byte{0x10};
  CHECK(malformed(packet) == Malformed::too_short);
  packet[1] = std::byte{1};
  CHECK(malformed(packet) == Malformed::transport_version);
  packet[1] = std::byte{0};
  for (const unsigned opcode : {0x15U, 0x18U, 0x1BU, 0x1EU, 0x20U, 0x63U, 0x66U, 0x80U, 0xFFU}) {
    CAPTURE(opcode);
    packet[0] = static_cast<std::byte>(opcode);
    CHECK(malformed(packet) == Malformed::unknown_opcode);
  }
}

TEST_CASE("any bytes are taken in or refused, and what is taken in comes out the same", "[unit]") {
  const std::uint64_t seed = 0x20CE;
  CAPTURE(seed);
  test::SeededRandom random(seed);
  const auto messages = all_messages();
  std::size_t taken = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto at = messages.begin();
    std::advance(at, random.below(messages.size()));
    Bytes packet = golden_packet(at->first);
    const std::size_t changes = 1 + random.below(4);
    for (std::size_t change = 0; change < changes; ++change) {
      packet[random.below(packet.size())] = static_cast<std::byte>(random.next_u32());
    }
    packet.resize(random.below(packet.size() + 8));
    Packet out;
    if (decode_packet(packet, out) != Malformed::no) {
      continue;
    }
    ++taken;
    std::array<std::byte, kHeaderBytesMax> headers{};
    const std::size_t header_bytes = encode_headers(out, headers);
    Packet again;
    Bytes encoded(headers.begin(), headers.begin() + static_cast<std::ptrdiff_t>(header_bytes));
    encoded.insert(encoded.end(), out.payload.begin(), out.payload.end());
    encoded.resize(encoded.size() + pad_bytes(out.payload.size()));
    REQUIRE(decode_packet(encoded, again) == Malformed::no);
    check_same(again, out);
    REQUIRE(std::equal(again.payload.begin(), again.payload.end(), out.payload.begin(),
                       out.payload.end()));
  }
  CHECK(taken > 1000);
}

TEST_CASE("sequence numbers go round, and half of the circle is ahead", "[unit]") {
  CHECK(Psn(0xFF'FFFF) + 1 == Psn(0));
  CHECK(distance(Psn(0xFF'FFFE), Psn(3)) == 5);
  CHECK(distance(Psn(3), Psn(0xFF'FFFE)) == -5);
  CHECK(distance(Psn(7), Psn(7)) == 0);
  CHECK(distance(Psn(0), Psn(0x7F'FFFF)) == 0x7F'FFFF);
  CHECK(distance(Psn(0), Psn(0x80'0000)) == -0x80'0000);
}

TEST_CASE("the UDP source port is Linux's of both queue pairs", "[unit]") {
  // rdma_calc_flow_label() and rdma_flow_label_to_udp_sport() by hand.
  CHECK(udp_source_port(0x11, 0x12) == 0xC132);
  CHECK(udp_source_port(0xFFFF, 0xFFFF) == 0xCFC6);
}
