// SPDX-License-Identifier: Apache-2.0
//
// A port over IPv6, and with the tags of VLANs: from the question where it is to bytes that are
// read and written, with a look at each frame as it lies on the wire.
#include "responder_fixture.h"
#include <godbox/roce/icrc.h>
#include <godbox/roce/link.h>
#include <godbox/roce/pool_hello.h>
#include <godbox_test/cm_peer.h>

#include <catch2/generators/catch_generators.hpp>

#include <algorithm>

namespace godbox::emulator {
namespace {

using roce::CmRep;
using roce::CmReq;
using test::CmPeer;
using Tag = std::optional<std::uint16_t>;

constexpr roce::Gid kHost6{{0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
constexpr roce::Gid kBox6{{0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};
// The group of those whose addresses end like the box's (RFC 4291, 2.7.1), and its MAC address.
constexpr roce::Gid kGroupOfBox{{0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF, 0, 0, 2}};
constexpr MacAddress kGroupOfBoxMac{0x33, 0x33, 0xFF, 0, 0, 2};
constexpr MacAddress kHostMac{2, 0, 0, 0, 0, 1};

std::uint32_t be16(ConstSpan frame, std::size_t at) {
  return std::to_integer<std::uint32_t>(frame[at]) << 8U |
         std::to_integer<std::uint32_t>(frame[at + 1]);
}

// Ethernet, IPv6 and UDP of a frame say the right things of its size, and there is no checksum:
// RoCEv2 leaves that to the ICRC (IBTA volume 1, A17.3.2).
void check_over_ipv6(ConstSpan frame) {
  constexpr std::size_t kIp = 14, kUdp = kIp + 40;
  REQUIRE(frame.size() > kUdp + 8);
  CHECK(be16(frame, 12) == 0x86DD);
  CHECK(be16(frame, kIp) >> 12U == 6);
  CHECK(be16(frame, kIp + 4) == frame.size() - kUdp);
  CHECK(frame[kIp + 6] == std::byte{17});
  CHECK(frame[kIp + 7] != std::byte{0});  // hops
  CHECK(be16(frame, kUdp) >= 0xC000);
  CHECK(be16(frame, kUdp + 2) == roce::kUdpPort);
  CHECK(be16(frame, kUdp + 4) == frame.size() - kUdp);
  CHECK(be16(frame, kUdp + 6) == 0);
  roce::Frame decoded;
  REQUIRE(roce::decode_frame(frame, decoded) == roce::FrameKind::roce);
  CHECK(roce::has_right_icrc(decoded));
}

// What an end says to a frame.
std::vector<Bytes> ask(RoceEnd& end, ConstSpan frame) {
  end.on_frame(frame);
  std::vector<Bytes> answers;
  for (Bytes out = end.take_frame(); !out.empty(); out = end.take_frame()) {
    answers.push_back(std::move(out));
  }
  return answers;
}
Bytes only(std::vector<Bytes> answers) {
  REQUIRE(answers.size() == 1);
  return std::move(answers.front());
}

template <class Message>
Message message_in(const roce::FrameHeader& asker, ConstSpan frame) {
  const std::optional<RoceAnswer> answer = test::answer_to(asker, frame);
  REQUIRE(answer.has_value());
  const std::optional<roce::CmMad> mad = roce::decode_mad(answer->payload);
  REQUIRE(mad.has_value());
  REQUIRE(std::holds_alternative<Message>(mad->message));
  return std::get<Message>(mad->message);
}

test::RoceEndOptions with_addresses(std::vector<roce::Gid> addresses) {
  test::RoceEndOptions options;
  options.addresses = std::move(addresses);
  return options;
}

Packet over(const CmRep& rep, std::uint32_t psn, Opcode opcode, const RemoteMemory& memory,
            std::uint32_t length_bytes) {
  Packet packet = write_begin(opcode, rep.starting_psn.value() + psn, memory, length_bytes, true);
  packet.destination_qp = rep.local_qpn;
  return packet;
}

}  // namespace

TEST_CASE("over IPv6 a port is found, connected to, written and read", "[unit][roce]") {
  RoceEnd end(with_addresses({kBox6}));
  CmPeer peer(end);
  peer.header().source_ip = kHost6;
  const roce::FrameHeader& asker = peer.header();

  roce::LinkMessage where{.kind = roce::LinkKind::neighbour_solicitation, .header = asker};
  where.header.destination = kGroupOfBoxMac;
  where.header.destination_ip = kGroupOfBox;
  where.header.hop_limit = 255;
  where.link_address = asker.source;
  where.target = kBox6;
  const Bytes there = only(ask(end, roce::encode_link(where)));
  roce::LinkMessage here;
  REQUIRE(roce::decode_link(there, here) == roce::LinkKind::neighbour_advertisement);
  CHECK(here.target == kBox6);
  CHECK(here.link_address == end.port().options().mac);
  CHECK(here.is_solicited);
  CHECK(here.header.destination == asker.source);
  CHECK(here.header.destination_ip == kHost6);
  CHECK(here.header.hop_limit == 255);
  where.target = kHost6;  // another's
  CHECK(ask(end, roce::encode_link(where)).empty());

  const CmReq req = peer.pool_req(end.session());
  const Bytes replied = only(ask(end, peer.frame_of(req)));
  check_over_ipv6(replied);
  const CmRep rep = message_in<CmRep>(asker, replied);
  CHECK(rep.remote_comm_id == req.local_comm_id);
  const roce::CmRtu rtu{.local_comm_id = req.local_comm_id, .remote_comm_id = rep.local_comm_id};
  CHECK(ask(end, peer.frame_of(rtu)).empty());
  CHECK(end.port().counters().connections_established.get() == 1);

  const RemoteMemory memory = end.allocate(4096);
  const Bytes content = pattern(1001);
  const Bytes done = only(
      ask(end, test::roce_frame(asker, over(rep, 0, Opcode::write_only, memory, 1001), content)));
  check_over_ipv6(done);
  CHECK(test::answer_to(asker, done)->packet.syndrome == kAck);
  Bytes expected = content;
  expected.resize(4096);
  CHECK(end.bytes_of(memory) == expected);

  const std::vector<Bytes> shown =
      ask(end, test::roce_frame(asker, over(rep, 1, Opcode::read_request, memory, 3001)));
  CHECK(shown.size() == 3);
  Bytes read;
  for (const Bytes& frame : shown) {
    check_over_ipv6(frame);
    const std::optional<RoceAnswer> answer = test::answer_to(asker, frame);
    REQUIRE(answer.has_value());
    CHECK(answer->header.source_ip == kBox6);
    CHECK(answer->packet.destination_qp == req.local_qpn);
    read.insert(read.end(), answer->payload.begin(), answer->payload.end());
  }
  CHECK(read == Bytes(expected.begin(), expected.begin() + 3001));
  // Another host's are not its peer's.
  roce::FrameHeader other = asker;
  other.source_ip.bytes[14] = 1;
  CHECK(ask(end, test::roce_frame(other, over(rep, 4, Opcode::read_request, memory, 8))).empty());
  CHECK(end.port().counters().dropped_wrong_source.get() == 1);

  const roce::CmDreq dreq{.local_comm_id = req.local_comm_id,
                          .remote_comm_id = rep.local_comm_id,
                          .remote_qpn = rep.local_qpn};
  const Bytes ended = only(ask(end, peer.frame_of(dreq)));
  check_over_ipv6(ended);
  static_cast<void>(message_in<roce::CmDrep>(asker, ended));
  CHECK(end.port().counters().dropped_malformed.get() == 0);
}

namespace {

// Two ports with addresses of both versions, and a link on which each frame is looked at.
struct Linked {
  RoceEnd client{client_options()};
  RoceEnd box{with_addresses({roce::Gid::of_ipv4({10, 0, 0, 2}), kBox6})};
  std::size_t frames = 0;

  static test::RoceEndOptions client_options() {
    test::RoceEndOptions options = with_addresses({roce::Gid::of_ipv4({10, 0, 0, 1}), kHost6});
    options.mac = kHostMac;
    options.box.seed = 77;
    options.seed = 78;
    return options;
  }
  // Until neither has anything to say.
  void carry() {
    for (bool is_quiet = false; !is_quiet;) {
      is_quiet = true;
      for (const auto& [from, to] : {std::pair{&client, &box}, {&box, &client}}) {
        if (const Bytes frame = from->take_frame(); !frame.empty()) {
          check_over_ipv6(frame);
          ++frames;
          to->on_frame(frame);
          is_quiet = false;
        }
      }
    }
  }
  WorkStatus run(roce::QueuePairNumber number, SendOp op, const RemoteMemory& memory,
                 MutableSpan bytes) {
    REQUIRE(client.port().post_send(number, {.op = op,
                                             .local = {&bytes, 1},
                                             .remote_address = memory.address(),
                                             .key = memory.key}) == Errc::ok);
    carry();
    const std::optional<SendCompletion> done = client.port().take_completed(number);
    REQUIRE(done.has_value());
    return done->status;
  }
};

}  // namespace

TEST_CASE("a port that asks over IPv6 uses its address of that version", "[unit][roce]") {
  Linked linked;
  ConnectionAttempt attempt;
  attempt.destination = kBox6;
  attempt.next_hop = linked.box.port().options().mac;
  attempt.service = roce::kPoolService;
  const SessionInfo& session = linked.box.session();
  roce::encode_pool_hello({.session = session.id, .secret = session.secret},
                          std::span(attempt.private_data).first<roce::kPoolHelloBytes>());
  REQUIRE(linked.client.port().connect(attempt, linked.client.now()).has_value());
  linked.carry();
  const std::optional<ConnectionEvent> event = linked.client.port().take_connection_event();
  REQUIRE(event.has_value());
  REQUIRE(event->kind == ConnectionEvent::Kind::established);

  const RemoteMemory memory = linked.box.allocate(10'000);
  Bytes out = pattern(10'000), in(10'000), word(8);
  const Bytes written = out;
  CHECK(linked.run(event->number, SendOp::write, memory, out) == WorkStatus::ok);
  CHECK(linked.box.bytes_of(memory) == written);
  CHECK(linked.run(event->number, SendOp::read, memory, in) == WorkStatus::ok);
  CHECK(in == written);
  CHECK(linked.run(event->number, SendOp::fetch_add, memory, word) == WorkStatus::ok);
  CHECK(std::ranges::equal(word, ConstSpan(written).first(8)));
  CHECK(linked.frames > 3 + 2 * 10);
  REQUIRE(linked.client.port().disconnect(event->number, linked.client.now()) == Errc::ok);
  linked.carry();
  CHECK(linked.box.port().counters().connections_closed.get() == 1);
  CHECK(linked.client.port().counters().dropped_malformed.get() == 0);
  CHECK(linked.box.port().counters().dropped_malformed.get() == 0);
}

TEST_CASE("what comes with a tag is answered with it, and what comes without with none",
          "[unit][roce]") {
  const Tag tag = GENERATE(Tag(), Tag(std::uint16_t{5}), Tag(std::uint16_t{0x6064}));
  const std::size_t queues = GENERATE(1U, 4U);
  CAPTURE(tag.has_value(), tag.value_or(0), queues);
  RoceEnd end(queued(queues));
  CmPeer peer(end);
  peer.header().vlan = tag;
  const roce::FrameHeader& asker = peer.header();
  const auto link_answer = [&](roce::LinkMessage message) {
    const Bytes bytes = only(ask(end, roce::encode_link(message)));
    roce::LinkMessage answer;
    REQUIRE(roce::decode_link(bytes, answer) != roce::LinkKind::malformed);
    CHECK(answer.header.vlan == tag);
    CHECK(be16(bytes, 12) == (tag ? 0x8100U : bytes.size() == 42 ? 0x0806U : 0x0800U));
    return answer.kind;
  };
  const auto roce_answer = [&](ConstSpan frame) {
    const std::optional<RoceAnswer> answer = test::answer_to(asker, only(ask(end, frame)));
    REQUIRE(answer.has_value());
    CHECK(answer->header.vlan == tag);
    return *answer;
  };
  roce::LinkMessage who{
      .kind = roce::LinkKind::arp_request, .header = asker, .link_address = asker.source};
  who.header.destination.fill(0xFF);
  CHECK(link_answer(who) == roce::LinkKind::arp_reply);
  const Bytes ping = pattern(36);
  CHECK(link_answer({.kind = roce::LinkKind::echo_request, .header = asker, .echo = ping}) ==
        roce::LinkKind::echo_reply);

  static_cast<void>(roce_answer(peer.frame_of(peer.req(roce::tcp_service(1)))));  // a REJ
  const CmReq req = peer.pool_req(end.session());
  const auto mad = roce::decode_mad(roce_answer(peer.frame_of(req)).payload);
  REQUIRE(mad.has_value());
  const CmRep rep = std::get<CmRep>(mad->message);
  CHECK(ask(end, peer.frame_of(roce::CmRtu{.local_comm_id = req.local_comm_id,
                                           .remote_comm_id = rep.local_comm_id}))
            .empty());
  const RemoteMemory memory = end.allocate(64);
  const auto written =
      roce_answer(test::roce_frame(asker, over(rep, 0, Opcode::write_only, memory, 8), pattern(8)));
  CHECK(written.packet.syndrome == kAck);
  const auto read =
      roce_answer(test::roce_frame(asker, over(rep, 1, Opcode::read_request, memory, 8)));
  CHECK(read.payload == pattern(8));
  const auto refused =
      roce_answer(test::roce_frame(asker, over(rep, 2, Opcode::read_request, memory, 4096)));
  CHECK(refused.packet.syndrome == kNakAccess);
  static_cast<void>(roce_answer(peer.frame_of(roce::CmDreq{.local_comm_id = req.local_comm_id,
                                                           .remote_comm_id = rep.local_comm_id,
                                                           .remote_qpn = rep.local_qpn})));
}

TEST_CASE("a queue pair that was set up with a tag sends it", "[unit][roce]") {
  RoceEnd end;
  QueuePairOptions options = end.pair_options();
  options.path.vlan = 0x2007;
  RocePeer peer(end, options);
  peer.header().vlan = 0x2007;
  const RemoteMemory memory = end.allocate(64);
  peer.send_read(0, memory.key, memory.address(), 8);
  const std::optional<RoceAnswer> read = peer.take();
  REQUIRE(read.has_value());
  CHECK(read->header.vlan == 0x2007);
}

}  // namespace godbox::emulator
