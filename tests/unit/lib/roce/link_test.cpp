// SPDX-License-Identifier: Apache-2.0
//
// What a port answers as a host on Ethernet, against frames that scapy built
// (tests/vectors/make_link_vectors.py), and what it does not answer.
#include <godbox/roce/link.h>
#include <godbox_test/hex_file.h>
#include <godbox_test/seeded_random.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace godbox;
using namespace godbox::roce;

namespace {

using Bytes = std::vector<std::byte>;

constexpr MacAddress kBoxMac{2, 0, 0, 0, 0, 2}, kHostMac{2, 0, 0, 0, 0, 1};
const Gid kBox = Gid::of_ipv4({10, 0, 0, 2}), kHost = Gid::of_ipv4({10, 0, 0, 1});
constexpr Gid kBox6{{0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};
constexpr Gid kHost6{{0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
const std::vector<Gid> kAddresses{kBox, kBox6};

struct Case {
  const char* name;
  LinkKind asked, answer;
};
constexpr Case kCases[] = {
    {"arp", LinkKind::arp_request, LinkKind::arp_reply},
    {"arp_unicast", LinkKind::arp_request, LinkKind::arp_reply},
    {"arp_vlan", LinkKind::arp_request, LinkKind::arp_reply},
    {"arp_probe", LinkKind::arp_request, LinkKind::arp_reply},
    {"neighbour", LinkKind::neighbour_solicitation, LinkKind::neighbour_advertisement},
    {"neighbour_local", LinkKind::neighbour_solicitation, LinkKind::neighbour_advertisement},
    {"neighbour_unicast", LinkKind::neighbour_solicitation, LinkKind::neighbour_advertisement},
    {"neighbour_duplicate", LinkKind::neighbour_solicitation, LinkKind::neighbour_advertisement},
    {"echo", LinkKind::echo_request, LinkKind::echo_reply},
    {"echo_v6", LinkKind::echo_request, LinkKind::echo_reply},
};

Bytes golden(const std::string& name) {
  return test::read_hex_file(std::filesystem::path(GODBOX_VECTORS_DIR) / "link" / (name + ".hex"));
}

LinkKind kind_of(ConstSpan frame) {
  LinkMessage message;
  return decode_link(frame, message);
}

// The answer of the box to a frame; empty: none.
Bytes answer_to(ConstSpan frame) {
  LinkMessage asked;
  static_cast<void>(decode_link(frame, asked));
  const std::optional<LinkMessage> answer = answer_of(asked, kBoxMac, kAddresses);
  return answer ? encode_link(*answer) : Bytes();
}

LinkMessage decoded(const Bytes& frame) {
  LinkMessage message;
  REQUIRE(decode_link(frame, message) != LinkKind::malformed);
  return message;
}

}  // namespace

TEST_CASE("a port answers each question as scapy spells it out", "[unit][roce]") {
  for (const Case& of : kCases) {
    CAPTURE(of.name);
    const Bytes asked = golden(std::string(of.name) + "_asked");
    const Bytes answer = golden(std::string(of.name) + "_answer");
    CHECK(kind_of(asked) == of.asked);
    CHECK(answer_to(asked) == answer);
    CHECK(kind_of(answer) == of.answer);
    CHECK(answer_to(answer).empty());
    // Devices pad short frames.
    Bytes padded = asked;
    padded.resize(std::max<std::size_t>(padded.size(), 60));
    CHECK(answer_to(padded) == answer);
  }
}

TEST_CASE("questions and answers decode to what was encoded", "[unit][roce]") {
  LinkMessage arp;
  arp.kind = LinkKind::arp_request;
  arp.header.source = kHostMac;
  arp.header.destination.fill(0xFF);
  arp.header.source_ip = kHost;
  arp.header.destination_ip = kBox;
  arp.link_address = kHostMac;
  CHECK(encode_link(arp) == golden("arp_asked"));
  const LinkMessage is_at = decoded(golden("arp_answer"));
  CHECK(is_at.link_address == kBoxMac);
  CHECK(is_at.header.source_ip == kBox);
  CHECK(is_at.header.destination_ip == kHost);

  const Bytes solicitation = golden("neighbour_asked");
  const LinkMessage solicited = decoded(solicitation);
  CHECK(solicited.target == kBox6);
  CHECK(solicited.link_address == kHostMac);
  CHECK(encode_link(solicited) == solicitation);
  const LinkMessage advertised = decoded(golden("neighbour_answer"));
  CHECK(advertised.target == kBox6);
  CHECK(advertised.link_address == kBoxMac);
  CHECK(advertised.is_solicited);
  CHECK(advertised.overrides);
  CHECK(!advertised.is_router);
  CHECK(decoded(golden("arp_vlan_asked")).header.vlan == 0x6064);
  CHECK(decoded(golden("echo_asked")).echo.size() == 4 + 57);
}

TEST_CASE("what is not for the port, or not to be answered, is not", "[unit][roce]") {
  const auto silent = [](const std::string& name, auto&& change) {
    LinkMessage message;
    const Bytes frame = golden(name);
    static_cast<void>(decode_link(frame, message));
    change(message);
    const Bytes changed = encode_link(message);
    CHECK(kind_of(changed) == message.kind);
    return answer_to(changed).empty();
  };
  const Gid other = Gid::of_ipv4({10, 0, 0, 3});
  const Gid other6{{0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3}};
  const MacAddress other_mac{2, 0, 0, 0, 0, 3}, group{1, 0, 0x5E, 0, 0, 1};
  CHECK(!silent("echo_asked", [](LinkMessage&) {}));
  for (const char* name : {"arp_asked", "neighbour_asked", "echo_asked", "echo_v6_asked"}) {
    CAPTURE(name);
    CHECK(silent(name, [&](LinkMessage& m) { m.header.destination = other_mac; }));
    CHECK(silent(name, [&](LinkMessage& m) { m.header.source = group; }));
  }
  CHECK(silent("arp_asked", [&](LinkMessage& m) { m.header.destination_ip = other; }));
  CHECK(silent("neighbour_asked", [&](LinkMessage& m) { m.target = other6; }));
  CHECK(silent("echo_asked", [&](LinkMessage& m) { m.header.destination_ip = other; }));
  // A ping to all would be answered by all.
  CHECK(silent("echo_asked", [&](LinkMessage& m) { m.header.destination.fill(0xFF); }));
  CHECK(silent("echo_v6_asked", [](LinkMessage& m) { m.header.source_ip = Gid{}; }));
  CHECK(silent("echo_v6_asked", [](LinkMessage& m) {
    m.header.source_ip = kHost6;
    m.header.source_ip.bytes[0] = 0xFF;
  }));
}

TEST_CASE("malformed neighbours are found out", "[unit][roce]") {
  const auto kind_after = [](const std::string& name, auto&& change) {
    LinkMessage message;
    const Bytes frame = golden(name);
    static_cast<void>(decode_link(frame, message));
    change(message);
    return kind_of(encode_link(message));
  };
  // From beyond a router.
  CHECK(kind_after("neighbour_asked", [](LinkMessage& m) { m.header.hop_limit = 254; }) ==
        LinkKind::malformed);
  CHECK(kind_after("neighbour_answer", [](LinkMessage& m) { m.header.hop_limit = 64; }) ==
        LinkKind::malformed);
  CHECK(kind_after("neighbour_asked", [](LinkMessage& m) { m.target.bytes[0] = 0xFF; }) ==
        LinkKind::malformed);
  // Who has no address says none of the link either, and asks a group.
  CHECK(kind_after("neighbour_duplicate_asked",
                   [](LinkMessage& m) { m.link_address = kHostMac; }) == LinkKind::malformed);
  CHECK(kind_after("neighbour_duplicate_asked",
                   [](LinkMessage& m) { m.header.destination_ip = kBox6; }) == LinkKind::malformed);
  CHECK(kind_after("neighbour_duplicate_answer", [](LinkMessage& m) { m.is_solicited = true; }) ==
        LinkKind::malformed);
}

TEST_CASE("a changed bit or a lost byte of a question is no question", "[unit][roce]") {
  for (const Case& of : kCases) {
    const Bytes whole = golden(std::string(of.name) + "_asked");
    for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
      CAPTURE(of.name, bytes);
      CHECK(answer_to(ConstSpan(whole).first(bytes)).empty());
    }
    const bool has_checksum = of.asked != LinkKind::arp_request;
    for (std::size_t bit = std::size_t{14} * 8; has_checksum && bit < whole.size() * 8; ++bit) {
      Bytes changed = whole;
      changed[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
      CAPTURE(of.name, bit);
      // Of IPv6, traffic class, flow label and the hop limit of an echo are under no checksum.
      const std::size_t byte = bit / 8 - 14;
      const bool is_v6 = std::string(of.name) != "echo";
      const bool may_change =
          is_v6 && (byte <= 3 || (of.asked == LinkKind::echo_request && byte == 7));
      CHECK((may_change || answer_to(changed).empty()));
    }
  }
}

TEST_CASE("random frames of the link harm nobody", "[unit][roce]") {
  const std::uint64_t seed = 20'270;
  CAPTURE(seed);
  test::SeededRandom random(seed);
  for (int i = 0; i < 20'000; ++i) {
    Bytes frame = golden(std::string(kCases[random.below(std::size(kCases))].name) + "_asked");
    frame.resize(random.below(frame.size() + 1));
    for (std::uint64_t changes = random.below(4); changes > 0 && !frame.empty(); --changes) {
      frame[random.below(frame.size())] = static_cast<std::byte>(random.below(256));
    }
    const Bytes answer = answer_to(frame);
    CHECK(answer.size() <= frame.size() + 8);
  }
}
