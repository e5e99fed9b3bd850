// SPDX-License-Identifier: Apache-2.0
//
// Connection management as a peer meets it: from REQ to the end of timewait, what is repeated, what
// is refused and why, and what a stranger can make a port hold.
#include "responder_fixture.h"
#include <godbox/roce/link.h>
#include <godbox_test/cm_peer.h>

#include <catch2/generators/catch_generators.hpp>

#include <algorithm>

namespace godbox::emulator {
namespace {

using roce::CmDrep;
using roce::CmDreq;
using roce::CmMra;
using roce::CmRej;
using roce::CmRep;
using roce::CmReq;
using roce::CmRtu;
using roce::RejReason;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::CmPeer;
using Kind = ConnectionEvent::Kind;

constexpr roce::ServiceId kService = roce::tcp_service(7174);

CmRtu rtu_of(const CmReq& req, const CmRep& rep) {
  return {.local_comm_id = req.local_comm_id, .remote_comm_id = rep.local_comm_id};
}
CmDreq dreq_of(const CmReq& req, const CmRep& rep) {
  return {.local_comm_id = req.local_comm_id,
          .remote_comm_id = rep.local_comm_id,
          .remote_qpn = rep.local_qpn};
}

RejReason reason_of(const std::optional<CmRej>& rej) {
  REQUIRE(rej.has_value());
  return rej->reason;
}

Packet read_over(const CmRep& rep, std::uint32_t psn, const RemoteMemory& memory) {
  return {.opcode = Opcode::read_request,
          .destination_qp = rep.local_qpn,
          .wants_ack = true,
          .psn = rep.starting_psn + psn,
          .address = memory.address(),
          .r_key = memory.key,
          .length_bytes = 64};
}

ConnectionEvent taken(RoceEnd& end, Kind kind) {
  const std::optional<ConnectionEvent> event = end.port().take_connection_event();
  REQUIRE(event.has_value());
  CHECK(event->kind == kind);
  return *event;
}

// A connection of a program that listens, accepted and not established yet.
struct Listened {
  RoceEnd end;
  CmPeer peer{end};
  CmReq req;
  CmRep rep;
  roce::QueuePairNumber number{};

  Listened() {
    REQUIRE(end.port().listen(kService) == Errc::ok);
    req = peer.req(kService);
    peer.send(req);
    const ConnectionEvent event = taken(end, Kind::requested);
    const Result<roce::QueuePairNumber> accepted = end.port().accept(event.id, {}, end.now());
    REQUIRE(accepted.has_value());
    number = *accepted;
    const std::optional<CmRep> got = peer.take<CmRep>();
    REQUIRE(got.has_value());
    rep = *got;
  }
  void establish() {
    peer.send(rtu_of(req, rep));
    CHECK(taken(end, Kind::established).number == number);
  }
};

}  // namespace

TEST_CASE("a connection with the secret of a session is a lane of it", "[unit][roce]") {
  RoceEnd end;
  CmPeer peer(end);
  const RemoteMemory memory = end.allocate(4096);
  const Bytes content = pattern(4096);
  end.set_bytes_of(memory, content);
  const CmReq req = peer.pool_req(end.session());
  peer.send(req, 77);
  const std::optional<roce::CmMad> answer = peer.take_mad();
  REQUIRE(answer.has_value());
  CHECK(answer->transaction_id == 77);
  const CmRep rep = std::get<CmRep>(answer->message);
  CHECK(rep.remote_comm_id == req.local_comm_id);
  CHECK(rep.responder_resources == 8);  // what the peer wants to have under way
  CHECK(rep.initiator_depth == 4);
  const auto welcome =
      roce::decode_pool_welcome(std::span(rep.private_data).first<roce::kPoolWelcomeBytes>());
  REQUIRE(welcome.has_value());
  CHECK(end.service().is_lane_open(end.session().id, welcome->lane));
  peer.send(rtu_of(req, rep));
  CHECK(end.port().counters().connections_established.get() == 1);

  peer.send_packet(read_over(rep, 0, memory));
  const std::optional<RoceAnswer> read = peer.take_packet();
  REQUIRE(read.has_value());
  CHECK(read->packet.destination_qp == req.local_qpn);
  CHECK(std::ranges::equal(read->payload, ConstSpan(content).first(64)));

  peer.send(dreq_of(req, rep), 78);
  const std::optional<roce::CmMad> end_of_it = peer.take_mad();
  REQUIRE(end_of_it.has_value());
  CHECK(end_of_it->transaction_id == 78);
  CHECK(std::holds_alternative<CmDrep>(end_of_it->message));
  CHECK(!end.service().is_lane_open(end.session().id, welcome->lane));
  peer.send_packet(read_over(rep, 1, memory));
  CHECK(!peer.take_packet().has_value());
  // Its DREP may have been lost; and the numbers come back after a while.
  peer.send(dreq_of(req, rep));
  CHECK(peer.take<CmDrep>().has_value());
  CHECK(end.port().usage().connections == 1);
  peer.advance(seconds(5));
  CHECK(end.port().usage().connections == 0);
  CHECK(end.port().usage().queue_pairs == 0);
  CHECK(!end.port().take_connection_event().has_value());
}

TEST_CASE("who proves no session is refused, and told why", "[unit][roce]") {
  RoceEnd end;
  CmPeer peer(end);
  const auto refusal = [&](CmReq req) {
    peer.send(req);
    const std::optional<CmRej> rej = peer.take<CmRej>();
    CHECK(reason_of(rej) == RejReason::consumer);
    CHECK(rej->remote_comm_id == req.local_comm_id);
    return roce::decode_pool_refusal(std::span(rej->private_data).first<roce::kPoolRefusalBytes>());
  };
  SessionInfo session = end.session();
  session.secret.words[1] ^= 1;
  CHECK(refusal(peer.pool_req(session)) == Errc::access_denied);
  session = end.session();
  session.id = SessionId(session.id.value() ^ 1U);
  CHECK(refusal(peer.pool_req(session)) == Errc::session_lost);
  CHECK(refusal(peer.req(roce::kPoolService)) == Errc::bad_version);  // zeros
  session = end.session();
  CmReq by_box = peer.pool_req(session);  // a port without a device that could move them
  roce::encode_pool_hello(
      {session.id, session.secret, roce::MovedBy::box},
      std::span(by_box.private_data).last<roce::kCmUserDataBytes>().first<roce::kPoolHelloBytes>());
  CHECK(refusal(by_box) == Errc::unsupported);
  CHECK(end.port().usage().connections == 0);
  CHECK(end.port().usage().queue_pairs == 0);
}

TEST_CASE("a REQ that cannot be is refused with its reason", "[unit][roce]") {
  RoceEnd end;
  CmPeer peer(end);
  REQUIRE(end.port().listen(kService) == Errc::ok);
  CHECK(end.port().listen(kService) == Errc::already_exists);
  CHECK(end.port().listen(roce::kPoolService) == Errc::already_exists);
  const auto reason_after = [&](auto&& change) {
    CmReq req = peer.req(kService);
    change(req);
    peer.send(req);
    return reason_of(peer.take<CmRej>());
  };
  CHECK(reason_after([](CmReq& r) { r.service_id = roce::tcp_service(7175); }) ==
        RejReason::bad_service_id);
  CHECK(reason_after([](CmReq& r) { r.transport = 1; }) == RejReason::bad_transport);
  CHECK(reason_after([](CmReq& r) { r.path_mtu = 0; }) == RejReason::bad_mtu);
  CHECK(reason_after([](CmReq& r) { r.path_mtu = 6; }) == RejReason::bad_mtu);
  CHECK(reason_after([](CmReq& r) { r.local_gid.bytes[15] ^= 1; }) == RejReason::bad_gid);
  CHECK(reason_after([](CmReq& r) { r.remote_gid.bytes[15] ^= 1; }) == RejReason::bad_gid);
  CHECK(end.port().usage().connections == 0);
  CHECK(!end.port().take_connection_event().has_value());
}

TEST_CASE("a port without a pool has not the pool's service", "[unit][roce]") {
  RoceEnd end({.has_pool = false});
  CmPeer peer(end);
  peer.send(peer.req(roce::kPoolService));
  CHECK(reason_of(peer.take<CmRej>()) == RejReason::bad_service_id);
  CHECK(end.port().usage().connections == 0);
}

TEST_CASE("a program that listens sees a request, and accepts or rejects it", "[unit][roce]") {
  RoceEnd end;
  CmPeer peer(end);
  REQUIRE(end.port().listen(kService) == Errc::ok);
  CmReq req = peer.req(kService);
  req.private_data[36] = 0xAA;
  peer.send(req);
  CHECK(!peer.take_mad().has_value());
  const ConnectionEvent event = taken(end, Kind::requested);
  CHECK(event.request.service == kService);
  CHECK(event.request.source == peer.header().source_ip);
  CHECK(event.request.initiator_depth == 8);
  REQUIRE(event.request.ip.has_value());
  CHECK(event.request.ip->source_port == 40'000);
  CHECK(event.request.private_data[0] == 0xAA);
  SECTION("it takes its time, which is asked for") {
    peer.send(req);
    const std::optional<CmMra> mra = peer.take<CmMra>();
    REQUIRE(mra.has_value());
    CHECK(mra->remote_comm_id == req.local_comm_id);
    peer.advance(kRoceDecisionMax + milliseconds(1));
    CHECK(reason_of(peer.take<CmRej>()) == RejReason::no_resources);
    CHECK(taken(end, Kind::closed).id == event.id);
    CHECK(end.port().accept(event.id, {}, end.now()).error().code == Errc::not_found);
  }
  SECTION("it rejects it, with a word") {
    const std::array<std::uint8_t, 3> why{1, 2, 3};
    CHECK(end.port().reject(event.id, why, end.now()) == Errc::ok);
    const std::optional<CmRej> rej = peer.take<CmRej>();
    CHECK(reason_of(rej) == RejReason::consumer);
    CHECK(std::ranges::equal(std::span(rej->private_data).first(3), why));
    CHECK(end.port().reject(event.id, why, end.now()) == Errc::not_found);
  }
  SECTION("the peer gives up first") {
    CmRej rej;
    rej.local_comm_id = req.local_comm_id;
    rej.reason = RejReason::timeout;
    rej.info_bytes = 8;
    for (std::size_t i = 0; i < 8; ++i) {
      rej.info[i] = static_cast<std::uint8_t>(req.local_ca_guid >> (8 * (7 - i)));
    }
    peer.send(rej);
    CHECK(taken(end, Kind::closed).id == event.id);
  }
  CHECK(end.port().usage().connections == 0);
  CHECK(end.port().usage().queue_pairs == 0);
}

TEST_CASE("a REP is sent again until the peer shows that it has it", "[unit][roce]") {
  Listened of;
  const Bytes greeting = pattern(16);
  std::vector<std::byte> mine = greeting;
  const MutableSpan piece(mine);
  REQUIRE(of.end.port().post_send(of.number, {.id = WorkId(5), .local = {&piece, 1}}) == Errc::ok);
  SECTION("by a duplicate REQ") {
    of.peer.send(of.req);
    CHECK(of.peer.take<CmRep>() == of.rep);
    of.establish();
  }
  SECTION("by time, as the peer's own timeout says") {
    of.peer.advance(seconds(4));
    CHECK(!of.peer.take_mad().has_value());
    of.peer.advance(seconds(1));  // 4.3 s
    CHECK(of.peer.take<CmRep>() == of.rep);
    of.establish();
  }
  SECTION("the peer asks for time") {
    of.peer.send(CmMra{.local_comm_id = of.req.local_comm_id,
                       .remote_comm_id = of.rep.local_comm_id,
                       .received = roce::CmAnswered::rep,
                       .service_timeout = 21});  // 8.6 s
    of.peer.advance(seconds(12));
    CHECK(!of.peer.take_mad().has_value());
    of.peer.advance(seconds(1));
    CHECK(of.peer.take<CmRep>() == of.rep);
    of.establish();
  }
  SECTION("the RTU is lost, and a request comes instead") {
    CHECK(!of.peer.take_packet().has_value());
    of.peer.send_packet({.opcode = Opcode::send_only,
                         .destination_qp = of.rep.local_qpn,
                         .wants_ack = true,
                         .psn = of.rep.starting_psn},
                        pattern(4));
    CHECK(taken(of.end, Kind::established).number == of.number);
  }
  // What was posted waited for that, and begins where the peer wants it.
  std::optional<RoceAnswer> packet = of.peer.take_packet();
  while (packet && packet->packet.opcode != Opcode::send_only) {
    packet = of.peer.take_packet();
  }
  REQUIRE(packet.has_value());
  CHECK(packet->packet.psn == of.req.starting_psn);
  CHECK(packet->payload == greeting);
  of.peer.advance(seconds(60));
  CHECK(!of.peer.take<CmRep>().has_value());
}

TEST_CASE("a REP that nobody takes ends, and so does one that is refused", "[unit][roce]") {
  Listened of;
  SECTION("nobody") {
    of.peer.advance(seconds(100));
    for (int i = 0; i < of.req.cm_retries_max; ++i) {
      CHECK(of.peer.take<CmRep>() == of.rep);
    }
    CHECK(reason_of(of.peer.take<CmRej>()) == RejReason::timeout);
  }
  SECTION("refused") {
    of.peer.send(CmRej{.local_comm_id = of.req.local_comm_id,
                       .remote_comm_id = of.rep.local_comm_id,
                       .rejected = roce::CmAnswered::rep,
                       .reason = RejReason::consumer});
  }
  CHECK(taken(of.end, Kind::closed).number == of.number);
  CHECK(of.end.port().is_broken(of.number));
  of.end.port().destroy_queue_pair(of.number);
  of.peer.advance(seconds(5));
  CHECK(of.end.port().usage().connections == 0);
  CHECK(!of.peer.take_mad().has_value());
}

TEST_CASE("this end says that it goes, until it is heard", "[unit][roce]") {
  Listened of;
  of.establish();
  const auto is_dreq = [&] {
    const std::optional<CmDreq> dreq = of.peer.take<CmDreq>();
    return dreq && dreq->local_comm_id == of.rep.local_comm_id &&
           dreq->remote_comm_id == of.req.local_comm_id && dreq->remote_qpn == of.req.local_qpn;
  };
  enum class Way : std::uint8_t { disconnects, destroys, fails };
  const Way way = GENERATE(Way::disconnects, Way::destroys, Way::fails);
  switch (way) {
    case Way::disconnects:
      CHECK(of.end.port().disconnect(of.number, of.end.now()) == Errc::ok);
      CHECK(of.end.port().disconnect(of.number, of.end.now()) == Errc::not_found);
      break;
    case Way::destroys:
      of.end.port().destroy_queue_pair(of.number);
      of.peer.advance(milliseconds(1));
      break;
    case Way::fails:  // a WRITE where nothing may be written: the NAK first
      of.peer.send_packet({.opcode = Opcode::write_only,
                           .destination_qp = of.rep.local_qpn,
                           .wants_ack = true,
                           .psn = of.rep.starting_psn,
                           .length_bytes = 4},
                          pattern(4));
      CHECK(said(of.peer.take_packet()).syndrome == kNakInvalid);
      CHECK(!of.peer.take_mad().has_value());
      of.peer.advance(milliseconds(51));
      break;
  }
  CHECK(is_dreq());
  of.peer.advance(seconds(5));
  CHECK(is_dreq());
  SECTION("heard") {
    of.peer.send(
        CmDrep{.local_comm_id = of.req.local_comm_id, .remote_comm_id = of.rep.local_comm_id});
  }
  SECTION("never heard") {
    of.peer.advance(seconds(30));
    CHECK(is_dreq());
    CHECK(is_dreq());
  }
  CHECK(!of.peer.take_mad().has_value());
  if (way != Way::destroys) {
    CHECK(taken(of.end, Kind::closed).number == of.number);
    of.end.port().destroy_queue_pair(of.number);
  }
  CHECK(!of.end.port().take_connection_event().has_value());
  of.peer.advance(seconds(5));
  CHECK(of.end.port().usage().connections == 0);
  CHECK(of.end.port().usage().queue_pairs == 0);
}

TEST_CASE("what was received before the peer went can still be taken", "[unit][roce]") {
  Listened of;
  of.establish();
  std::vector<std::byte> memory(16);
  const MutableSpan piece(memory);
  REQUIRE(of.end.port().post_receive(of.number, {.id = WorkId(1), .local = {&piece, 1}}) ==
          Errc::ok);
  of.peer.send_packet(
      {.opcode = Opcode::send_only, .destination_qp = of.rep.local_qpn, .psn = of.rep.starting_psn},
      pattern(16));
  of.peer.send(dreq_of(of.req, of.rep));
  CHECK(of.peer.take<CmDrep>().has_value());
  CHECK(taken(of.end, Kind::closed).number == of.number);
  const std::optional<ReceiveCompletion> received = of.end.port().take_received(of.number);
  REQUIRE(received.has_value());
  CHECK(received->status == WorkStatus::ok);
  CHECK(memory == pattern(16));
  of.end.port().destroy_queue_pair(of.number);
}

TEST_CASE("a peer that has begun anew ends what it has forgotten", "[unit][roce]") {
  Listened of;
  of.establish();
  CmReq again = of.peer.req(kService);
  again.local_qpn = of.req.local_qpn;
  of.peer.send(again);
  CHECK(reason_of(of.peer.take<CmRej>()) == RejReason::stale_connection);
  CHECK(of.peer.take<CmDreq>().has_value());
  of.peer.send(
      CmDrep{.local_comm_id = of.req.local_comm_id, .remote_comm_id = of.rep.local_comm_id});
  // A repetition of the first REQ that was long on its way is no new connection.
  of.peer.send(of.req);
  CHECK(reason_of(of.peer.take<CmRej>()) == RejReason::stale_connection);
  of.end.port().destroy_queue_pair(of.number);
  of.peer.advance(seconds(5));
  of.peer.send(again);
  CHECK(taken(of.end, Kind::closed).number == of.number);
  CHECK(taken(of.end, Kind::requested).request.source == of.peer.header().source_ip);
}

TEST_CASE("another host can neither end a connection nor go on with it", "[unit][roce]") {
  Listened of;
  CmPeer other(of.end, 9);
  other.send(rtu_of(of.req, of.rep));
  CHECK(!of.end.port().take_connection_event().has_value());
  of.establish();
  other.send(dreq_of(of.req, of.rep));
  CHECK(other.take<CmDrep>().has_value());  // so that it need not ask again
  CmDreq wrong = dreq_of(of.req, of.rep);
  wrong.remote_qpn = roce::QueuePairNumber(of.rep.local_qpn.value() ^ 1U);
  of.peer.send(wrong);
  CHECK(of.peer.take<CmDrep>().has_value());
  CHECK(!of.end.port().is_broken(of.number));
  // The same numbers of another host are another connection's.
  CmReq req = of.req;
  req.local_gid = other.header().source_ip;
  other.send(req);
  CHECK(taken(of.end, Kind::requested).request.source == other.header().source_ip);
}

TEST_CASE("one host may ask for a hundred connections at once", "[unit][roce]") {
  RoceEnd end;
  CmPeer peer(end);
  REQUIRE(end.port().listen(kService) == Errc::ok);
  for (int i = 0; i < 100; ++i) {
    peer.send(peer.req(kService));
  }
  for (int i = 0; i < 100; ++i) {
    const ConnectionId id = taken(end, Kind::requested).id;
    REQUIRE(end.port().accept(id, {}, end.now()).has_value());
    CHECK(peer.take<CmRep>().has_value());
  }
}

TEST_CASE("strangers hold little, and are answered at a rate", "[unit][roce]") {
  RoceEnd end;
  CmPeer peer(end), other(end, 2);
  REQUIRE(end.port().listen(kService) == Errc::ok);
  for (std::size_t i = 0; i < kRoceHalfOpenPerPeerMax; ++i) {
    peer.send(peer.req(kService));
    CHECK(!peer.take_mad().has_value());
  }
  peer.send(peer.req(kService));
  CHECK(reason_of(peer.take<CmRej>()) == RejReason::no_resources);
  other.send(other.req(kService));
  CHECK(!other.take_mad().has_value());
  CHECK(end.port().usage().connections == kRoceHalfOpenPerPeerMax + 1);
  for (std::size_t i = 0; i < std::size_t{2} * kRoceReqBurstMax; ++i) {
    peer.send(peer.req(kService));
    static_cast<void>(peer.take_mad());
  }
  CHECK(end.port().counters().dropped_limit.get() > 0);
  CHECK(end.port().usage().connections == kRoceHalfOpenPerPeerMax + 1);
  std::size_t answers = 0;
  for (int i = 0; i < 1000; ++i) {
    peer.send(CmDreq{.local_comm_id = roce::CommId(1), .remote_comm_id = roce::CommId(2)});
    answers += peer.take<CmDrep>().has_value() ? 1U : 0U;
  }
  CHECK(answers == kRoceStrangerBurstMax);
  peer.advance(kRoceDecisionMax + milliseconds(1));
  CHECK(end.port().usage().connections == 0);
}

TEST_CASE("messages that make no sense are dropped", "[unit][roce]") {
  RoceEnd end;
  CmPeer peer(end);
  const RocePortCounters& counters = end.port().counters();
  peer.send(CmRtu{.local_comm_id = roce::CommId(1), .remote_comm_id = roce::CommId(2)});
  peer.send(CmRep{});
  peer.send(CmDrep{});
  peer.send(CmMra{});
  peer.send(CmRej{});
  CHECK(counters.dropped_state.get() == 5);
  Packet datagram{.opcode = Opcode::ud_send_only,
                  .destination_qp = roce::QueuePairNumber(1),
                  .q_key = roce::kGsiQKey};
  peer.send_packet(datagram, pattern(256));  // no MAD of ours
  peer.send_packet(datagram, pattern(252));
  CHECK(counters.dropped_malformed.get() == 2);
  datagram.q_key = 1;
  peer.send_packet(datagram, pattern(256));
  CHECK(counters.dropped_key.get() == 1);
  peer.send_packet({.opcode = Opcode::send_only, .destination_qp = roce::QueuePairNumber(1)},
                   pattern(256));
  CHECK(counters.dropped_stranger.get() == 1);
  CHECK(!peer.take_mad().has_value());
  peer.send(roce::CmSidrReq{.request_id = 5, .service_id = kService});
  const auto sidr = peer.take<roce::CmSidrRep>();
  REQUIRE(sidr.has_value());
  CHECK(sidr->status == roce::kSidrUnsupported);
}

TEST_CASE("a port answers ARP and ping, in jumbo frames too, at a rate", "[unit][roce]") {
  RoceEnd end;
  roce::LinkMessage echo;
  echo.kind = roce::LinkKind::echo_request;
  echo.header.source = {2, 0, 0, 0, 0, 1};
  echo.header.destination = end.port().options().mac;
  echo.header.source_ip = roce::Gid::of_ipv4({10, 0, 0, 1});
  echo.header.destination_ip = end.port().options().addresses.front();
  const Bytes body = pattern(4172);
  echo.echo = body;
  end.port().on_frame(roce::encode_link(echo), end.now());
  const Bytes answer = end.take_frame();
  roce::LinkMessage decoded;
  REQUIRE(roce::decode_link(answer, decoded) == roce::LinkKind::echo_reply);
  CHECK(std::ranges::equal(decoded.echo, body));
  CHECK(end.port().counters().link_answers.get() == 1);
  for (std::uint32_t i = 0; i < 2 * kRoceLinkBurstMax; ++i) {
    end.port().on_frame(roce::encode_link(echo), end.now());
    static_cast<void>(end.take_frame());
  }
  CHECK(end.port().counters().link_answers.get() == kRoceLinkBurstMax);
  CHECK(end.port().counters().dropped_limit.get() == kRoceLinkBurstMax + 1);
}

}  // namespace godbox::emulator
