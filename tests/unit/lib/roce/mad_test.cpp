// SPDX-License-Identifier: Apache-2.0
//
// Connection management's messages as Linux sends them (tests/vectors/cm, captured; the fields are
// those that tshark names), all kinds of messages out and in again, and what is no such message.
#include <godbox/roce/frame.h>
#include <godbox/roce/mad.h>
#include <godbox/roce/packet.h>
#include <godbox/roce/parameters.h>
#include <godbox/roce/pool_hello.h>
#include <godbox_test/hex_file.h>
#include <godbox_test/seeded_random.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace godbox;
using namespace godbox::roce;

namespace {

using Bytes = std::vector<std::byte>;

// The MAD of a captured frame.
Bytes captured(const std::string& name) {
  const Bytes bytes =
      test::read_hex_file(std::filesystem::path(GODBOX_VECTORS_DIR) / "cm" / (name + ".hex"));
  Frame frame;
  Packet packet;
  REQUIRE(decode_frame(bytes, frame) == FrameKind::roce);
  REQUIRE(has_right_icrc(frame));
  REQUIRE(decode_packet(frame.packet, packet) == Malformed::no);
  CHECK(packet.opcode == Opcode::ud_send_only);
  CHECK(packet.destination_qp.value() == kGsiQueuePair);
  CHECK(packet.q_key == kGsiQKey);
  return {packet.payload.begin(), packet.payload.end()};
}

template <class Message>
Message message_of(const Bytes& bytes) {
  const std::optional<CmMad> mad = decode_mad(bytes);
  REQUIRE(mad.has_value());
  REQUIRE(std::holds_alternative<Message>(mad->message));
  return std::get<Message>(mad->message);
}

Bytes encoded(const CmMad& mad) {
  Bytes bytes(kMadBytes);
  encode_mad(mad, std::span(bytes).first<kMadBytes>());
  return bytes;
}

}  // namespace

TEST_CASE("a REQ of Linux says what tshark reads in it", "[unit][roce]") {
  const Bytes bytes = captured("req");
  const CmReq req = message_of<CmReq>(bytes);
  CHECK(decode_mad(bytes)->transaction_id == 0x269dde469);
  CHECK(req.local_comm_id == CommId(0x69e4dd69));
  CHECK(req.service_id == tcp_service(7174));
  CHECK(req.local_ca_guid == 0x505400fffe123456);
  CHECK(req.local_qpn == QueuePairNumber(0x11));
  CHECK(req.responder_resources == 1);
  CHECK(req.initiator_depth == 1);
  CHECK(req.remote_response_timeout == 20);
  CHECK(req.local_response_timeout == 20);
  CHECK(req.transport == 0);
  CHECK(req.starting_psn == Psn(0xd1da17));
  CHECK(req.retry_count == 7);
  CHECK(req.rnr_retry_count == 7);
  CHECK(req.p_key == 0xFFFF);
  CHECK(path_mtu_from_number(req.path_mtu) == PathMtu::bytes_4096);
  CHECK(req.cm_retries_max == 15);
  CHECK(req.local_gid == Gid::of_ipv4({10, 0, 2, 15}));
  CHECK(req.remote_gid == Gid::of_ipv4({10, 0, 2, 2}));
  // tshark 4.0 reads these two at other bits than the specification and Linux have them.
  CHECK(req.flow_label == 0x556f4);
  CHECK(req.packet_rate == 0);
  CHECK(req.hop_limit == 64);
  CHECK(req.ack_timeout == 17);
  const std::optional<CmIpHeader> ip = decode_ip_header(req.private_data);
  REQUIRE(ip.has_value());
  CHECK(ip->source == req.local_gid);
  CHECK(ip->destination == req.remote_gid);
  CHECK(ip->source_port != 0);
}

TEST_CASE("an RTU and a DREQ of Linux name both ends", "[unit][roce]") {
  const CmRtu rtu = message_of<CmRtu>(captured("rtu"));
  const CmDreq dreq = message_of<CmDreq>(captured("dreq"));
  CHECK(rtu.local_comm_id == CommId(0x69e4dd69));
  CHECK(dreq.local_comm_id == rtu.local_comm_id);
  CHECK(dreq.remote_comm_id == rtu.remote_comm_id);
  CHECK(dreq.remote_qpn.value() > 1);
  // These have nothing that is left out.
  CHECK(encoded({decode_mad(captured("rtu"))->transaction_id, rtu}) == captured("rtu"));
  CHECK(encoded({decode_mad(captured("dreq"))->transaction_id, dreq}) == captured("dreq"));
}

TEST_CASE("every message comes back as it was", "[unit][roce]") {
  CmReq req = message_of<CmReq>(captured("req"));
  req.is_subnet_local = true;
  req.has_srq = true;
  req.has_flow_control = true;
  req.service_level = 15;
  CmRep rep;
  rep.local_comm_id = CommId(1);
  rep.remote_comm_id = CommId(0xFFFF'FFFF);
  rep.local_qpn = QueuePairNumber(0xFF'FFFE);
  rep.starting_psn = Psn(0xABCDEF);
  rep.responder_resources = 128;
  rep.initiator_depth = 3;
  rep.target_ack_delay = 31;
  rep.rnr_retry_count = 7;
  rep.has_srq = true;
  rep.local_ca_guid = 0x0102'0304'0506'0708;
  rep.private_data.back() = 9;
  CmRej rej;
  rej.local_comm_id = CommId(1);
  rej.remote_comm_id = CommId(2);
  rej.rejected = CmAnswered::rep;
  rej.reason = RejReason::stale_connection;
  rej.info_bytes = 72;
  rej.info.back() = 1;
  rej.private_data.back() = 2;
  CmDreq dreq{.local_comm_id = CommId(3),
              .remote_comm_id = CommId(4),
              .remote_qpn = QueuePairNumber(0x123456),
              .private_data = {}};
  dreq.private_data.back() = 3;
  const CmMessage messages[] = {
      req,
      rep,
      rej,
      dreq,
      CmRtu{.local_comm_id = CommId(3), .remote_comm_id = CommId(4), .private_data = {}},
      CmMra{.local_comm_id = CommId(3),
            .remote_comm_id = CommId(4),
            .received = CmAnswered::other,
            .service_timeout = 31},
      CmDrep{.local_comm_id = CommId(3), .remote_comm_id = CommId(4)},
      CmSidrReq{.request_id = 1, .p_key = 2, .service_id = tcp_service(3)},
      CmSidrRep{.request_id = 1, .status = 2, .service_id = tcp_service(3)}};
  for (const CmMessage& message : messages) {
    CAPTURE(message.index());
    const CmMad mad{0x1122'3344'5566'7788, message};
    CHECK(decode_mad(encoded(mad)) == mad);
  }
}

TEST_CASE("what is no message of connection management is none", "[unit][roce]") {
  const Bytes whole = captured("req");
  CHECK(!decode_mad(ConstSpan(whole).first(255)).has_value());
  Bytes longer = whole;
  longer.resize(260);
  CHECK(!decode_mad(longer).has_value());
  // Base version, class, class version, method, attribute.
  for (const std::size_t byte : {0U, 1U, 2U, 3U, 16U, 17U}) {
    Bytes changed = whole;
    changed[byte] ^= std::byte{0x40};
    CAPTURE(byte);
    CHECK(!decode_mad(changed).has_value());
  }
  CmReq req = message_of<CmReq>(whole);
  req.private_data[0] = 1;  // another version of rdma_cm
  CHECK(!decode_ip_header(req.private_data).has_value());
  req.private_data[0] = 0;
  req.private_data[1] = 0x50;
  CHECK(!decode_ip_header(req.private_data).has_value());
}

TEST_CASE("a connection to the pool says who it is in 32 bytes", "[unit][roce]") {
  const PoolHello hello{.session = SessionId(0x0102'0304'0506'0708),
                        .secret = {.words = {0x1112'1314'1516'1718, 0x2122'2324'2526'2728}}};
  std::array<std::uint8_t, kPoolHelloBytes> data{};
  encode_pool_hello(hello, data);
  const std::array<std::uint8_t, kPoolHelloBytes> expected{
      0,    1,    0,    0,    0,    0,    0,    0,    0x01, 0x02, 0x03,
      0x04, 0x05, 0x06, 0x07, 0x08, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16,
      0x17, 0x18, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28};
  CHECK(data == expected);
  CHECK(decode_pool_hello(data) == hello);
  for (const std::size_t byte : {1U, 2U, 7U}) {
    std::array<std::uint8_t, kPoolHelloBytes> changed = data;
    changed[byte] ^= 2;
    CHECK(!decode_pool_hello(changed).has_value());
  }
  PoolHello by_box = hello;
  by_box.moved_by = MovedBy::box;
  encode_pool_hello(by_box, data);
  CHECK(data[7] == 1);
  CHECK(decode_pool_hello(data) == by_box);
  std::array<std::uint8_t, kPoolWelcomeBytes> welcome{};
  encode_pool_welcome({.eth_port = EthPortId(3), .lane = wire::LaneToken(0x0405'0607)}, welcome);
  CHECK(welcome == std::array<std::uint8_t, kPoolWelcomeBytes>{0, 1, 0, 3, 4, 5, 6, 7});
  CHECK(decode_pool_welcome(welcome)->lane == wire::LaneToken(0x0405'0607));
  std::array<std::uint8_t, kPoolRefusalBytes> refusal{};
  encode_pool_refusal(Errc::session_lost, refusal);
  CHECK(refusal == std::array<std::uint8_t, kPoolRefusalBytes>{0, 1, 401 >> 8, 401 & 0xFF});
  CHECK(decode_pool_refusal(refusal) == Errc::session_lost);
  std::array<std::uint8_t, kPoolNakBytes> nak{};
  CHECK(!decode_pool_nak(nak).has_value());
  encode_pool_nak({.syndrome = kSyndromeNakAccess, .psn = Psn(0x12'3456)}, nak);
  CHECK(nak == std::array<std::uint8_t, kPoolNakBytes>{0, 1, 0, 0x62, 0, 0x12, 0x34, 0x56});
  CHECK(decode_pool_nak(nak) == PoolNak{kSyndromeNakAccess, Psn(0x12'3456)});
  for (const std::uint8_t not_fatal : {std::uint8_t{0x00}, kSyndromeNakSequence, kSyndromeRnrNak}) {
    nak[3] = not_fatal;
    CHECK(!decode_pool_nak(nak).has_value());
  }
  // Whoever refuses may be anybody.
  encode_pool_refusal(static_cast<Errc>(4711), refusal);
  CHECK(decode_pool_refusal(refusal) == Errc::protocol_error);
  for (const Errc none : {Errc::ok, Errc::device_lost}) {
    encode_pool_refusal(none, refusal);
    CHECK_FALSE(decode_pool_refusal(refusal).has_value());
  }
}
