// SPDX-License-Identifier: Apache-2.0
//
// What two Linux kernels have said to each other (tests/vectors/record_rxe.py: perftest and rping,
// rxe at both ends), replayed: its requests get the recorded answers of our responder, and the same
// work the recorded requests of our requester, byte for byte from the BTH to the padding. The bytes
// before and the ICRC, which covers some of them, are each sender's own. Requests to our responder
// have our queue pair, key and address in the place of theirs, which no answer says. Which requests
// ask for an acknowledgement is the requester's choice, but for one that nothing follows.
#include <godbox_test/roce_end.h>
#include <godbox_test/roce_peer.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

namespace godbox::emulator {
namespace {

using roce::Opcode;
using test::Bytes;
using test::RemoteMemory;

constexpr std::size_t kBthBytes = 12, kAckAt = 8;

// A frame of the recording.
struct Recorded {
  roce::FrameHeader header;
  Bytes bytes;          // BTH to padding
  roce::Packet packet;  // its payload lies in `bytes`
};

bool is_answer(Opcode opcode) {
  return opcode >= Opcode::read_response_first && opcode <= Opcode::atomic_acknowledge;
}

template <class Number>
Number number_at(ConstSpan bytes, std::size_t at) {
  Number number = 0;
  std::memcpy(&number, bytes.data() + at, sizeof(number));
  return number;
}

// Of a little-endian pcap file (draft-ietf-opsawg-pcap) of Ethernet.
std::vector<Recorded> read_frames(const std::filesystem::path& path) {
  constexpr std::size_t kFileHeaderBytes = 24, kFrameHeaderBytes = 16;
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const ConstSpan data = std::as_bytes(std::span(text));
  REQUIRE(data.size() > kFileHeaderBytes);
  REQUIRE(number_at<std::uint32_t>(data, 0) == 0xA1B2C3D4);
  std::vector<Recorded> frames;
  for (std::size_t at = kFileHeaderBytes; at + kFrameHeaderBytes <= data.size();) {
    const auto size_bytes = number_at<std::uint32_t>(data, at + 8);
    at += kFrameHeaderBytes;
    REQUIRE(at + size_bytes <= data.size());
    roce::Frame frame;
    REQUIRE(roce::decode_frame(data.subspan(at, size_bytes), frame) == roce::FrameKind::roce);
    REQUIRE(roce::has_right_icrc(frame));
    at += size_bytes;
    Recorded& one =
        frames.emplace_back(Recorded{.header = frame.header,
                                     .bytes = Bytes(frame.packet.begin(), frame.packet.end()),
                                     .packet = {}});
    REQUIRE(roce::decode_packet(one.bytes, one.packet) == roce::Malformed::no);
  }
  return frames;
}

// The packets of one request, and the answers to it.
struct Message {
  std::vector<Recorded> requests, answers;

  [[nodiscard]] const roce::Packet& first() const { return requests.front().packet; }
  [[nodiscard]] SendOp op() const {
    switch (first().opcode) {
      case Opcode::read_request:
        return SendOp::read;
      case Opcode::compare_swap:
        return SendOp::compare_swap;
      case Opcode::fetch_add:
        return SendOp::fetch_add;
      default:
        return roce::format_of(first().opcode)->reth ? SendOp::write : SendOp::send;
    }
  }
  [[nodiscard]] bool is_atomic() const {
    return op() == SendOp::fetch_add || op() == SendOp::compare_swap;
  }
  [[nodiscard]] static Bytes payload_of(const std::vector<Recorded>& packets) {
    Bytes payload;
    for (const Recorded& one : packets) {
      payload.insert(payload.end(), one.packet.payload.begin(), one.packet.payload.end());
    }
    return payload;
  }
};

// The requests of one end of a queue pair, in order.
struct Flow {
  roce::QueuePairNumber requester, responder;
  std::vector<Message> messages;

  [[nodiscard]] roce::PathMtu path_mtu() const {
    std::size_t most = 0;
    for (const Message& message : messages) {
      for (const auto* packets : {&message.requests, &message.answers}) {
        for (const Recorded& one : *packets) {
          most = std::max(most, one.packet.payload.size());
        }
      }
    }
    for (const auto mtu : {roce::PathMtu::bytes_256, roce::PathMtu::bytes_512,
                           roce::PathMtu::bytes_1024, roce::PathMtu::bytes_2048}) {
      if (most <= roce::bytes_of(mtu)) {
        return mtu;
      }
    }
    return roce::PathMtu::bytes_4096;
  }
};

bool begins_message(Opcode opcode) {
  return opcode != Opcode::send_middle && opcode != Opcode::send_last &&
         opcode != Opcode::write_middle && opcode != Opcode::write_last;
}

std::vector<Flow> flows_of(std::vector<Recorded> frames) {
  std::vector<Flow> flows;
  // By requester, and by the responder's queue pair.
  std::map<std::pair<MacAddress, std::uint32_t>, std::size_t> known;
  std::map<MacAddress, std::size_t> latest;  // of a requester
  for (Recorded& one : frames) {
    const roce::Packet& packet = one.packet;
    if (packet.destination_qp.value() == 1) {
      continue;  // the connection manager's
    }
    if (is_answer(packet.opcode)) {
      Flow& flow = flows.at(latest.at(one.header.destination));
      flow.requester = packet.destination_qp;
      flow.messages.back().answers.push_back(std::move(one));
      continue;
    }
    const auto key = std::pair(one.header.source, packet.destination_qp.value());
    const auto [found, is_new] = known.try_emplace(key, flows.size());
    if (is_new) {
      flows.push_back({.requester = {}, .responder = packet.destination_qp, .messages = {}});
    }
    latest[one.header.source] = found->second;
    Flow& flow = flows[found->second];
    if (begins_message(packet.opcode)) {
      flow.messages.emplace_back();
    }
    flow.messages.back().requests.push_back(std::move(one));
  }
  return flows;
}

// Moving a Recorded moves its bytes; the payload goes on to lie in them.
std::vector<Flow> recorded_flows() {
  return flows_of(
      read_frames(std::filesystem::path(GODBOX_VECTORS_DIR) / "pcap" / "rxe_to_rxe.pcap"));
}

// Whether a packet asks for an acknowledgement is left out of requests.
Bytes comparable(ConstSpan packet, bool is_request) {
  REQUIRE(packet.size() >= kBthBytes);
  Bytes bytes(packet.begin(), packet.end());
  if (is_request) {
    bytes[kAckAt] &= std::byte{0x7F};
  }
  return bytes;
}

Bytes packet_of(ConstSpan bytes) {
  roce::Frame frame;
  REQUIRE(roce::decode_frame(bytes, frame) == roce::FrameKind::roce);
  REQUIRE(roce::has_right_icrc(frame));
  return {frame.packet.begin(), frame.packet.end()};
}

// An end with one queue pair, whose peer is what was recorded.
struct Replay {
  static constexpr MacAddress kPeer{2, 0, 0, 0, 0, 1};
  test::RoceEnd end;
  roce::QueuePairNumber number;
  roce::FrameHeader from_peer;

  Replay(const Flow& flow, roce::QueuePairNumber remote) {
    const auto local = end.port().allot_queue_pair();
    REQUIRE(local.has_value());
    number = local->number;
    QueuePairOptions options = end.pair_options();
    options.number = number;
    options.remote_number = remote;
    options.path_mtu = flow.path_mtu();
    options.first_psn_received = options.first_psn_sent = flow.messages.front().first().psn;
    options.path.destination = kPeer;
    options.path.destination_ip = roce::Gid::of_ipv4({10, 0, 0, 1});
    REQUIRE(end.port().connect_queue_pair(options, end.now()) == Errc::ok);
    from_peer.source = kPeer;
    from_peer.destination = end.port().options().mac;
    from_peer.source_ip = options.path.destination_ip;
    from_peer.destination_ip = options.path.source_ip;
  }

  void feed(roce::Packet packet) {
    packet.destination_qp = number;
    end.on_frame(test::roce_frame(from_peer, packet, packet.payload));
  }
  [[nodiscard]] std::vector<Bytes> take() {
    std::vector<Bytes> packets;
    for (Bytes bytes = end.take_frame(); !bytes.empty(); bytes = end.take_frame()) {
      packets.push_back(packet_of(bytes));
    }
    return packets;
  }
};

void check_same(const std::vector<Bytes>& ours, const std::vector<Recorded>& theirs,
                bool is_request) {
  REQUIRE(ours.size() == theirs.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    CAPTURE(i);
    CHECK(comparable(ours[i], is_request) == comparable(theirs[i].bytes, is_request));
  }
}

// The memory that a flow's requests are about, as ours.
struct Place {
  std::uint64_t begin = UINT64_MAX;
  RemoteMemory memory;
  Bytes model;
  std::map<std::uint64_t, bool> counted;  // words that an atomic has been on

  Place(const Flow& flow, test::RoceEnd& end) {
    std::uint64_t last = 0;
    for (const Message& message : flow.messages) {
      if (message.op() != SendOp::send) {
        begin = std::min(begin, message.first().address);
        const std::uint64_t size_bytes = message.is_atomic() ? 8 : message.first().length_bytes;
        last = std::max(last, message.first().address + size_bytes);
      }
    }
    if (last == 0) {
      return;
    }
    begin &= ~std::uint64_t{7};  // atomics want words of their own
    REQUIRE(last - begin <= 1U << 20U);
    memory = end.allocate(last - begin);
    REQUIRE(memory.extents[0].length_bytes >= last - begin);
    model = end.bytes_of(memory);
  }
  [[nodiscard]] std::byte* at(std::uint64_t address) { return model.data() + (address - begin); }
};

// What the other end's program had put there before this request.
void put_what_was_there(Place& place, test::RoceEnd& end, const Message& message) {
  const roce::Packet& request = message.first();
  if (message.op() == SendOp::read) {
    const Bytes there = Message::payload_of(message.answers);
    REQUIRE(there.size() == request.length_bytes);
    std::copy(there.begin(), there.end(), place.at(request.address));
    end.set_bytes_of(place.memory, place.model);
  } else if (message.is_atomic() && !std::exchange(place.counted[request.address], true)) {
    const std::uint64_t there = message.answers.at(0).packet.original;
    std::memcpy(place.at(request.address), &there, sizeof(there));
    end.set_bytes_of(place.memory, place.model);
  }
}

void note_change(Place& place, const Message& message) {
  const roce::Packet& request = message.first();
  if (message.op() == SendOp::write) {
    const Bytes bytes = Message::payload_of(message.requests);
    std::copy(bytes.begin(), bytes.end(), place.at(request.address));
  } else if (message.is_atomic()) {
    const std::uint64_t before = message.answers.at(0).packet.original;
    std::uint64_t after = before + request.swap_or_add;
    if (message.op() == SendOp::compare_swap) {
      after = before == request.compare ? request.swap_or_add : before;
    }
    std::memcpy(place.at(request.address), &after, sizeof(after));
  }
}

// Its answers are the recorded ones, and its memory is as theirs has to be.
void replay_to_responder(const Flow& flow) {
  Replay replay(flow, flow.requester);
  RocePort& port = replay.end.port();
  Place place(flow, replay.end);
  Bytes room(65536);
  const std::array<MutableSpan, 1> rooms{room};
  for (std::size_t i = 0; i < flow.messages.size(); ++i) {
    const Message& message = flow.messages[i];
    CAPTURE(i, message.first().psn.value());
    put_what_was_there(place, replay.end, message);
    if (message.op() == SendOp::send) {
      REQUIRE(port.post_receive(replay.number, {WorkId(i), rooms}) == Errc::ok);
    }
    for (const Recorded& one : message.requests) {
      roce::Packet packet = one.packet;
      const auto format = roce::format_of(packet.opcode);
      if (format->reth || format->atomic_eth) {
        packet.address = place.memory.address() + (packet.address - place.begin);
        packet.r_key = place.memory.key;
      }
      replay.feed(packet);
    }
    check_same(replay.take(), message.answers, false);
    if (message.op() == SendOp::send) {
      const auto done = port.take_received(replay.number);
      const Bytes sent = Message::payload_of(message.requests);
      REQUIRE(done.has_value());
      REQUIRE(done->length_bytes == sent.size());
      CHECK(std::equal(sent.begin(), sent.end(), room.begin()));
      continue;
    }
    note_change(place, message);
    CHECK(replay.end.bytes_of(place.memory) == place.model);
  }
  CHECK(port.usage().windows == 0);
}

// The same work makes the recorded requests, and their answers complete it with what they say.
void replay_to_requester(const Flow& flow) {
  Replay replay(flow, flow.responder);
  RocePort& port = replay.end.port();
  for (std::size_t i = 0; i < flow.messages.size(); ++i) {
    const Message& message = flow.messages[i];
    const roce::Packet& first = message.first();
    CAPTURE(i, first.psn.value());
    Bytes bytes = Message::payload_of(message.requests);
    if (message.op() == SendOp::read) {
      bytes.resize(first.length_bytes);
    } else if (message.is_atomic()) {
      bytes.resize(8);
    }
    const std::array<MutableSpan, 1> local{bytes};
    REQUIRE(port.post_send(replay.number, {.id = WorkId(i),
                                           .op = message.op(),
                                           .local = local,
                                           .remote_address = first.address,
                                           .key = first.r_key,
                                           .swap_or_add = first.swap_or_add,
                                           .compare = first.compare}) == Errc::ok);
    const std::vector<Bytes> requests = replay.take();
    check_same(requests, message.requests, true);
    REQUIRE_FALSE(requests.empty());
    CHECK((requests.back()[kAckAt] & std::byte{0x80}) != std::byte{0});  // nobody else asks
    REQUIRE_FALSE(port.take_completed(replay.number).has_value());
    for (const Recorded& answer : message.answers) {
      replay.feed(answer.packet);
    }
    const auto done = port.take_completed(replay.number);
    REQUIRE(done.has_value());
    CHECK(done->id == WorkId(i));
    CHECK(done->status == WorkStatus::ok);
    if (message.op() == SendOp::read) {
      CHECK(bytes == Message::payload_of(message.answers));
    } else if (message.is_atomic()) {
      CHECK(number_at<std::uint64_t>(bytes, 0) == message.answers.at(0).packet.original);
    }
    CHECK(replay.take().empty());
  }
  CHECK(port.counters().retransmits.get() == 0);
}

}  // namespace

TEST_CASE("the recording has all kinds of requests, none repeated", "[unit][roce]") {
  const std::vector<Flow> flows = recorded_flows();
  CHECK(flows.size() == 9);  // a program each, and rping asks both ways
  std::map<SendOp, int> messages;
  std::map<Opcode, int> packets;
  for (const Flow& flow : flows) {
    std::optional<roce::Psn> next;
    for (const Message& message : flow.messages) {
      ++messages[message.op()];
      CHECK((!next || message.first().psn == *next));
      const std::size_t count =
          message.op() == SendOp::read ? message.answers.size() : message.requests.size();
      next = message.first().psn + static_cast<std::uint32_t>(count);
      REQUIRE_FALSE(message.answers.empty());
      for (const auto* each : {&message.requests, &message.answers}) {
        for (const Recorded& one : *each) {
          ++packets[one.packet.opcode];
        }
      }
    }
  }
  for (const SendOp op :
       {SendOp::send, SendOp::read, SendOp::write, SendOp::compare_swap, SendOp::fetch_add}) {
    CAPTURE(static_cast<int>(op));
    CHECK(messages[op] >= 5);
  }
  CHECK(packets.size() >= 13);  // of the kinds of packets
}

TEST_CASE("Linux's requests get the answers of our responder that Linux gave", "[unit][roce]") {
  for (const Flow& flow : recorded_flows()) {
    CAPTURE(flow.responder.value(), flow.messages.size());
    replay_to_responder(flow);
  }
}

TEST_CASE("Linux's work makes the requests of our requester that Linux made", "[unit][roce]") {
  for (const Flow& flow : recorded_flows()) {
    CAPTURE(flow.responder.value(), flow.messages.size());
    replay_to_requester(flow);
  }
}

}  // namespace godbox::emulator
