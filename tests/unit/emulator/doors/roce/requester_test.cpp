// SPDX-License-Identifier: Apache-2.0
//
// The requester's rules: against a responder of ours over a link that loses what a test says, and
// against a peer that answers by hand.
#include "requester.h"

#include <godbox_test/roce_world.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstring>

namespace godbox::emulator {
namespace {

using roce::Opcode;
using roce::Packet;
using roce::Psn;
using test::Bytes;
using test::RemoteMemory;
using test::RoceWorld;

// A requester alone; the test is the other end.
struct Alone {
  RocePortCounters counters;
  QueuePairOptions options;
  std::unique_ptr<RoceRequester> requester;
  TimePoint now{std::chrono::hours(1)};
  OutPacket out;

  explicit Alone(std::uint8_t retries = 2, std::uint8_t rnr_retries = 2) {
    options.path_mtu = roce::PathMtu::bytes_256;
    options.first_psn_sent = Psn(100);
    options.retries_max = retries;
    options.rnr_retries_max = rnr_retries;
    options.timeout = 10;  // 4.19 ms
    options.reads_max = 2;
    requester = std::make_unique<RoceRequester>(counters, options);
  }
  // The next packet, released at once.
  std::optional<Packet> take() {
    if (!requester->next(out, now)) {
      return std::nullopt;
    }
    if (out.token != ReleaseToken()) {
      requester->release(out.token);
    }
    return out.packet;
  }
  std::vector<std::uint32_t> take_psns() {
    std::vector<std::uint32_t> psns;
    while (const std::optional<Packet> packet = take()) {
      psns.push_back(packet->psn.value());
    }
    return psns;
  }
  void answer(std::uint32_t psn, std::uint8_t syndrome = roce::kSyndromeAckUnlimited) {
    requester->on_response({.opcode = Opcode::acknowledge, .psn = Psn(psn), .syndrome = syndrome},
                           now);
  }
  void answer_read(std::uint32_t psn, Opcode opcode, ConstSpan payload) {
    Packet packet{.opcode = opcode, .psn = Psn(psn), .syndrome = roce::kSyndromeAckUnlimited};
    packet.payload = payload;
    requester->on_response(packet, now);
  }
  void pass(Duration time) {
    now += time;
    if (requester->next_deadline() <= now) {
      requester->on_timer(now);
    }
  }
  std::optional<WorkStatus> done() {
    const std::optional<SendCompletion> completion = requester->take_completed();
    return completion ? std::optional(completion->status) : std::nullopt;
  }
  Errc post(SendOp op, MutableSpan bytes, std::uint64_t id = 1) {
    const std::array<MutableSpan, 1> local{bytes};
    return requester->post(
        {.id = WorkId(id), .op = op, .local = local, .remote_address = 4096, .key = RKey(9)});
  }
};

}  // namespace

TEST_CASE("a message is cut at the path MTU, and its last packet wants an answer", "[unit][roce]") {
  Alone alone;
  Bytes bytes = test::pattern_bytes(600, 1);
  REQUIRE(alone.post(SendOp::write, bytes) == Errc::ok);
  std::optional<Packet> packet = alone.take();
  REQUIRE(packet.has_value());
  CHECK(packet->opcode == Opcode::write_first);
  CHECK(packet->psn == Psn(100));
  CHECK(packet->address == 4096);
  CHECK(packet->r_key == RKey(9));
  CHECK(packet->length_bytes == 600);
  CHECK_FALSE(packet->wants_ack);
  CHECK(alone.out.payload.size_bytes() == 256);
  packet = alone.take();
  CHECK(packet->opcode == Opcode::write_middle);
  packet = alone.take();
  CHECK(packet->opcode == Opcode::write_last);
  CHECK(packet->wants_ack);
  CHECK(alone.out.payload.size_bytes() == 88);
  CHECK_FALSE(alone.take().has_value());
  alone.answer(102);
  CHECK(alone.done() == WorkStatus::ok);
  CHECK(alone.requester->next_deadline() == kNever);
}

TEST_CASE("so many packets are under way, and answers are asked for in between", "[unit][roce]") {
  Alone alone;
  Bytes bytes(std::size_t{256} * 300);
  REQUIRE(alone.post(SendOp::write, bytes) == Errc::ok);
  std::vector<std::uint32_t> asked;
  std::size_t sent = 0;
  while (const std::optional<Packet> packet = alone.take()) {
    ++sent;
    if (packet->wants_ack) {
      asked.push_back(packet->psn.value() - 100);
    }
  }
  CHECK(sent == 128);
  CHECK(asked == std::vector<std::uint32_t>{31, 63, 95, 127});
  alone.answer(131);
  CHECK(alone.take_psns().size() == 32);
}

TEST_CASE("what a peer answers none of is not posted, as it would never go out", "[unit][roce]") {
  Alone alone;
  alone.options.reads_max = 0;
  alone.requester = std::make_unique<RoceRequester>(alone.counters, alone.options);
  Bytes bytes(8);
  for (const SendOp op :
       {SendOp::read, SendOp::compare_swap, SendOp::fetch_add, SendOp::atomic_write}) {
    CHECK(alone.post(op, bytes) == Errc::invalid_argument);
  }
  CHECK(alone.post(SendOp::write, bytes) == Errc::ok);
  CHECK(alone.take_psns() == std::vector<std::uint32_t>{100});
}

TEST_CASE("a NAK for a PSN and a timeout go back to the first without an answer", "[unit][roce]") {
  Alone alone;
  Bytes bytes(1024);
  REQUIRE(alone.post(SendOp::write, bytes) == Errc::ok);
  REQUIRE(alone.post(SendOp::send, bytes, 2) == Errc::ok);
  CHECK(alone.take_psns() == std::vector<std::uint32_t>{100, 101, 102, 103, 104, 105, 106, 107});
  alone.answer(102, roce::kSyndromeNakSequence);
  CHECK(alone.take_psns() == std::vector<std::uint32_t>{102, 103, 104, 105, 106, 107});
  alone.answer(105);
  CHECK(alone.done() == WorkStatus::ok);
  alone.pass(std::chrono::microseconds(4195));
  CHECK(alone.counters.timeouts.get() == 1);
  CHECK(alone.take_psns() == std::vector<std::uint32_t>{106, 107});
  alone.answer(107);
  CHECK(alone.done() == WorkStatus::ok);
}

TEST_CASE("retries end, and progress gives them back", "[unit][roce]") {
  Alone alone(2);
  Bytes bytes(512);
  REQUIRE(alone.post(SendOp::write, bytes) == Errc::ok);
  REQUIRE(alone.post(SendOp::write, bytes, 2) == Errc::ok);
  CHECK(alone.take_psns().size() == 4);
  for (int i = 0; i < 2; ++i) {
    alone.pass(std::chrono::milliseconds(5));
    CHECK(alone.take_psns().size() == 4);
  }
  alone.answer(100);
  for (int i = 0; i < 2; ++i) {
    alone.pass(std::chrono::milliseconds(5));
    CHECK(alone.take_psns().size() == 3);
  }
  CHECK_FALSE(alone.done().has_value());
  alone.pass(std::chrono::milliseconds(5));
  CHECK(alone.done() == WorkStatus::retries_exceeded);
  CHECK(alone.done() == WorkStatus::flushed);
  CHECK(alone.requester->is_broken());
  CHECK(alone.post(SendOp::write, bytes) == Errc::lane_closed);
  CHECK_FALSE(alone.take().has_value());
}

TEST_CASE("a receiver that is not ready is asked again when it said", "[unit][roce]") {
  Alone alone(2, 2);
  Bytes bytes(8);
  REQUIRE(alone.post(SendOp::send, bytes) == Errc::ok);
  CHECK(alone.take_psns() == std::vector<std::uint32_t>{100});
  for (int i = 0; i < 2; ++i) {
    alone.answer(100, roce::kSyndromeRnrNak | 20);  // 10.24 ms
    CHECK_FALSE(alone.take().has_value());
    alone.pass(std::chrono::microseconds(10'239));
    CHECK_FALSE(alone.take().has_value());
    CHECK(alone.requester->next_deadline() == alone.now + std::chrono::microseconds(1));
    alone.pass(std::chrono::microseconds(1));
    CHECK(alone.take_psns() == std::vector<std::uint32_t>{100});
  }
  alone.answer(100, roce::kSyndromeRnrNak | 20);
  CHECK(alone.done() == WorkStatus::rnr_exceeded);

  Alone patient(2, 7);
  REQUIRE(patient.post(SendOp::send, bytes) == Errc::ok);
  for (int i = 0; i < 100; ++i) {
    CHECK(patient.take_psns() == std::vector<std::uint32_t>{100});
    patient.answer(100, roce::kSyndromeRnrNak | 1);
    patient.pass(std::chrono::microseconds(10));
  }
  CHECK_FALSE(patient.requester->is_broken());
}

TEST_CASE("fatal NAKs complete the request that they are for", "[unit][roce]") {
  struct Case {
    std::uint8_t syndrome;
    WorkStatus status;
  };
  for (const Case& each :
       {Case{0x61, WorkStatus::remote_invalid}, Case{0x62, WorkStatus::remote_access},
        Case{0x63, WorkStatus::remote_operational}}) {
    Alone alone;
    Bytes bytes(300);
    REQUIRE(alone.post(SendOp::write, bytes) == Errc::ok);
    REQUIRE(alone.post(SendOp::write, bytes) == Errc::ok);
    REQUIRE(alone.post(SendOp::read, bytes) == Errc::ok);
    CHECK(alone.take_psns().size() == 5);
    alone.answer(102, each.syndrome);
    CHECK(alone.done() == WorkStatus::ok);
    CHECK(alone.done() == each.status);
    CHECK(alone.done() == WorkStatus::flushed);
  }
}

// InfiniBand gives them no meaning. Linux's rxe ends, too; other drivers ignore them.
TEST_CASE("a syndrome that is reserved ends the request as an operational error", "[unit][roce]") {
  for (const int syndrome : {0x40, 0x5F, 0x64, 0x65, 0x7F}) {
    CAPTURE(syndrome);
    Alone alone;
    Bytes bytes(300);
    REQUIRE(alone.post(SendOp::write, bytes) == Errc::ok);
    REQUIRE(alone.post(SendOp::write, bytes) == Errc::ok);
    REQUIRE(alone.post(SendOp::write, bytes) == Errc::ok);
    CHECK(alone.take_psns().size() == 6);
    alone.answer(102, static_cast<std::uint8_t>(syndrome));
    CHECK(alone.done() == WorkStatus::ok);
    CHECK(alone.done() == WorkStatus::remote_operational);
    CHECK(alone.done() == WorkStatus::flushed);
    CHECK(alone.requester->is_broken());
  }
}

TEST_CASE("a peer that ends says which request it refused, whatever answers were lost",
          "[unit][roce]") {
  Alone alone;
  Bytes bytes(300);
  for (const SendOp op :
       {SendOp::write, SendOp::read, SendOp::write, SendOp::write, SendOp::write}) {
    REQUIRE(alone.post(op, bytes) == Errc::ok);
  }
  CHECK(alone.take_psns() ==
        std::vector<std::uint32_t>{100, 101, 102, 104, 105, 106, 107, 108, 109});
  // Of what was never sent, or has been answered.
  for (const std::uint32_t psn : {99U, 110U, 5000U}) {
    alone.requester->on_end({roce::kSyndromeNakAccess, Psn(psn)}, alone.now);
    CHECK_FALSE(alone.requester->is_broken());
  }
  SECTION("with answers before it missing") {
    alone.requester->on_end({roce::kSyndromeNakAccess, Psn(107)}, alone.now);
    CHECK(alone.done() == WorkStatus::ok);       // whoever refuses has done what came before
    CHECK(alone.done() == WorkStatus::flushed);  // but its bytes have not come
    CHECK(alone.done() == WorkStatus::flushed);
    CHECK(alone.done() == WorkStatus::remote_access);
    CHECK(alone.done() == WorkStatus::flushed);
  }
  SECTION("with none missing") {
    alone.answer_read(102, Opcode::read_response_first, Bytes(256));
    alone.answer_read(103, Opcode::read_response_last, Bytes(44));
    alone.requester->on_end({roce::kSyndromeNakOperational, Psn(104)}, alone.now);
    CHECK(alone.done() == WorkStatus::ok);
    CHECK(alone.done() == WorkStatus::ok);
    CHECK(alone.done() == WorkStatus::remote_operational);
    CHECK(alone.done() == WorkStatus::flushed);
    CHECK(alone.done() == WorkStatus::flushed);
  }
  CHECK_FALSE(alone.done().has_value());
  CHECK(alone.requester->next_deadline() == kNever);
  alone.requester->on_end({roce::kSyndromeNakAccess, Psn(107)}, alone.now);  // once more
  CHECK_FALSE(alone.done().has_value());
}

TEST_CASE("a READ goes on from its first missing packet", "[unit][roce]") {
  Alone alone;
  Bytes bytes(1000);
  const Bytes content = test::pattern_bytes(1000, 3);
  const ConstSpan all(content);
  REQUIRE(alone.post(SendOp::read, bytes) == Errc::ok);
  std::optional<Packet> packet = alone.take();
  REQUIRE(packet.has_value());
  CHECK(packet->opcode == Opcode::read_request);
  CHECK(packet->length_bytes == 1000);
  CHECK(packet->wants_ack);
  CHECK_FALSE(alone.take().has_value());
  alone.answer_read(100, Opcode::read_response_first, all.first(256));
  alone.answer_read(102, Opcode::read_response_middle, all.subspan(512, 256));
  alone.answer_read(103, Opcode::read_response_last, all.subspan(768));
  packet = alone.take();
  REQUIRE(packet.has_value());
  CHECK(packet->psn == Psn(101));
  CHECK(packet->address == 4096 + 256);
  CHECK(packet->length_bytes == 744);
  CHECK(alone.counters.retransmits.get() == 1);  // once, for both
  alone.answer_read(101, Opcode::read_response_first, all.subspan(256, 256));
  alone.answer_read(102, Opcode::read_response_middle, all.subspan(512, 256));
  CHECK_FALSE(alone.done().has_value());
  alone.answer_read(103, Opcode::read_response_last, all.subspan(768));
  CHECK(alone.done() == WorkStatus::ok);
  CHECK(bytes == content);
}

TEST_CASE("an acknowledgement past a READ says that its responses were lost", "[unit][roce]") {
  Alone alone;
  Bytes bytes(300);
  REQUIRE(alone.post(SendOp::write, bytes, 1) == Errc::ok);
  REQUIRE(alone.post(SendOp::read, bytes, 2) == Errc::ok);
  REQUIRE(alone.post(SendOp::write, bytes, 3) == Errc::ok);
  CHECK(alone.take_psns() == std::vector<std::uint32_t>{100, 101, 102, 104, 105});
  alone.answer(105);
  CHECK(alone.done() == WorkStatus::ok);
  CHECK_FALSE(alone.done().has_value());
  CHECK(alone.take_psns() == std::vector<std::uint32_t>{102, 104, 105});
  // A response acknowledges what was posted before it.
  alone.answer_read(102, Opcode::read_response_first, ConstSpan(bytes).first(256));
  alone.answer_read(103, Opcode::read_response_last, ConstSpan(bytes).first(44));
  CHECK(alone.done() == WorkStatus::ok);
  alone.answer(105);
  CHECK(alone.done() == WorkStatus::ok);
}

TEST_CASE("only so many READs are under way", "[unit][roce]") {
  Alone alone;
  Bytes bytes(8);
  for (int i = 0; i < 5; ++i) {
    REQUIRE(alone.post(SendOp::read, bytes) == Errc::ok);
  }
  CHECK(alone.take_psns() == std::vector<std::uint32_t>{100, 101});
  alone.answer_read(100, Opcode::read_response_only, bytes);
  CHECK(alone.take_psns() == std::vector<std::uint32_t>{102});
  alone.pass(std::chrono::milliseconds(5));  // again, both
  CHECK(alone.take_psns() == std::vector<std::uint32_t>{101, 102});
}

TEST_CASE("responses that fit nothing change nothing", "[unit][roce]") {
  Alone alone;
  Bytes bytes(600), word(8, std::byte{1});
  REQUIRE(alone.post(SendOp::read, bytes) == Errc::ok);
  REQUIRE(alone.post(SendOp::fetch_add, word) == Errc::ok);
  const Bytes junk = test::pattern_bytes(256, 9);
  alone.answer_read(100, Opcode::read_response_first, junk);  // nothing was asked yet
  alone.answer(100);
  CHECK(alone.take_psns() == std::vector<std::uint32_t>{100, 103});
  alone.answer_read(100, Opcode::read_response_first, ConstSpan(junk).first(255));
  alone.answer_read(100, Opcode::read_response_only, junk);
  alone.answer_read(99, Opcode::read_response_first, junk);
  alone.answer_read(500, Opcode::read_response_first, junk);
  alone.answer(104);
  alone.answer(104, roce::kSyndromeNakAccess);
  alone.answer(99, roce::kSyndromeNakAccess);
  alone.requester->on_response({.opcode = Opcode::atomic_acknowledge, .psn = Psn(100)}, alone.now);
  CHECK(bytes == Bytes(600));
  CHECK_FALSE(alone.requester->is_broken());
  CHECK_FALSE(alone.done().has_value());
  CHECK_FALSE(alone.take().has_value());
  alone.answer_read(100, Opcode::read_response_first, junk);
  alone.answer_read(101, Opcode::read_response_middle, junk);
  alone.answer_read(102, Opcode::read_response_last, ConstSpan(junk).first(88));
  alone.answer_read(103, Opcode::read_response_only, {});
  CHECK(word == Bytes(8, std::byte{1}));
  Packet atomic{.opcode = Opcode::atomic_acknowledge, .psn = Psn(103), .original = 7};
  alone.requester->on_response(atomic, alone.now);
  CHECK(alone.done() == WorkStatus::ok);
  CHECK(alone.done() == WorkStatus::ok);
  CHECK(word[0] == std::byte{7});
}

TEST_CASE("immediate data goes with the last packet of a message", "[unit][roce]") {
  struct Case {
    SendOp op;
    std::size_t bytes;
    std::vector<Opcode> opcodes;
  };
  using enum Opcode;
  const std::array<Case, 6> cases{{
      {SendOp::send, 0, {send_only_immediate}},
      {SendOp::send, 256, {send_only_immediate}},
      {SendOp::send, 600, {send_first, send_middle, send_last_immediate}},
      {SendOp::write, 0, {write_only_immediate}},
      {SendOp::write, 256, {write_only_immediate}},
      {SendOp::write, 600, {write_first, write_middle, write_last_immediate}},
  }};
  for (const Case& each : cases) {
    Alone alone;
    Bytes bytes(each.bytes);
    const std::array<MutableSpan, 1> local{bytes};
    REQUIRE(alone.requester->post(
                {.op = each.op, .local = local, .immediate = 0xCAFE'F00D, .is_solicited = true}) ==
            Errc::ok);
    std::vector<Opcode> opcodes;
    while (const std::optional<Packet> packet = alone.take()) {
      opcodes.push_back(packet->opcode);
      const bool is_last = opcodes.size() == each.opcodes.size();
      CHECK(packet->immediate == (is_last ? 0xCAFE'F00D : 0));
      CHECK(packet->is_solicited == is_last);
      CHECK(packet->wants_ack == is_last);
    }
    CHECK(opcodes == each.opcodes);
    alone.answer(100 + static_cast<std::uint32_t>(opcodes.size()) - 1);
    CHECK(alone.done() == WorkStatus::ok);
  }
}

TEST_CASE("a COMPARE SWAP carries both words, and keeps what was there", "[unit][roce]") {
  Alone alone;
  std::uint64_t word = 0;
  const MutableSpan bytes = std::as_writable_bytes(std::span(&word, 1));
  REQUIRE(alone.requester->post({.op = SendOp::compare_swap,
                                 .local = {&bytes, 1},
                                 .remote_address = 4096,
                                 .key = RKey(9),
                                 .swap_or_add = 7,
                                 .compare = 40}) == Errc::ok);
  const std::optional<Packet> packet = alone.take();
  REQUIRE(packet.has_value());
  CHECK(packet->opcode == Opcode::compare_swap);
  CHECK(packet->address == 4096);
  CHECK(packet->r_key == RKey(9));
  CHECK(packet->swap_or_add == 7);
  CHECK(packet->compare == 40);
  CHECK(packet->wants_ack);
  CHECK(alone.out.payload.size_bytes() == 0);
  const Packet response{.opcode = Opcode::atomic_acknowledge, .psn = Psn(100), .original = 41};
  alone.requester->on_response(response, alone.now);
  CHECK(alone.done() == WorkStatus::ok);
  CHECK(word == 41);
}

TEST_CASE("an ATOMIC WRITE carries its word, and is done with a response of its own",
          "[unit][roce]") {
  Alone alone;
  Bytes word = test::pattern_bytes(8, 5);
  const Bytes content = word;
  REQUIRE(alone.post(SendOp::atomic_write, word) == Errc::ok);
  const std::optional<Packet> packet = alone.take();
  REQUIRE(packet.has_value());
  CHECK(packet->opcode == Opcode::atomic_write);
  CHECK(packet->address == 4096);
  CHECK(packet->length_bytes == 8);
  CHECK(packet->wants_ack);
  REQUIRE(alone.out.payload.spans().size() == 1);
  CHECK(std::ranges::equal(alone.out.payload.spans()[0], content));
  SECTION("which has no payload") {
    alone.answer_read(100, Opcode::read_response_only, content);
    CHECK_FALSE(alone.done().has_value());
    alone.answer_read(100, Opcode::read_response_only, {});
    CHECK(alone.done() == WorkStatus::ok);
  }
  SECTION("an acknowledgement is none: it is asked for again") {
    alone.answer(100);
    CHECK_FALSE(alone.done().has_value());
    CHECK(alone.take_psns() == std::vector<std::uint32_t>{100});
    alone.answer_read(100, Opcode::read_response_only, {});
    CHECK(alone.done() == WorkStatus::ok);
  }
  CHECK(word == content);
}

TEST_CASE("a request does not complete while a frame shows its memory", "[unit][roce]") {
  Alone alone;
  Bytes bytes(8);
  REQUIRE(alone.post(SendOp::write, bytes) == Errc::ok);
  REQUIRE(alone.requester->next(alone.out, alone.now));
  const ReleaseToken token = alone.out.token;
  alone.answer(100);
  CHECK_FALSE(alone.done().has_value());
  CHECK(alone.requester->has_frames());
  alone.requester->release(token);
  CHECK(alone.done() == WorkStatus::ok);
}

TEST_CASE("posting refuses what cannot be", "[unit][roce]") {
  Alone alone;
  Bytes bytes(64);
  std::vector<MutableSpan> pieces(17, MutableSpan(bytes).first(1));
  CHECK(alone.requester->post({.op = SendOp::write, .local = pieces}) == Errc::invalid_argument);
  CHECK(alone.post(SendOp::fetch_add, MutableSpan(bytes).first(4)) == Errc::invalid_argument);
  const std::array<MutableSpan, 1> huge{MutableSpan(bytes.data(), (1U << 30U) + 1)};
  CHECK(alone.requester->post({.op = SendOp::read, .local = huge}) == Errc::too_large);
  for (std::size_t i = 0; i < kRoceSendsMax; ++i) {
    REQUIRE(alone.post(SendOp::write, bytes) == Errc::ok);
  }
  CHECK(alone.post(SendOp::write, bytes) == Errc::queue_full);
}

TEST_CASE("both ends read, write and send at the same time", "[unit][roce]") {
  RoceWorld world({.lost = 0.01, .seed = 5});
  const RemoteMemory of_box = world.box().allocate(65536);
  const RemoteMemory of_client = world.client().allocate(65536);
  const auto pair = world.connect(world.client().pair_options(), world.box().pair_options());
  // As in rping: the client tells where its memory is, the box reads it and writes it back.
  Bytes told(16), heard(16), fetched(65536);
  const std::uint64_t address = of_client.address();
  const std::uint32_t key = of_client.key.value();
  std::memcpy(told.data(), &address, 8);
  std::memcpy(told.data() + 8, &key, 4);
  const Bytes content = test::pattern_bytes(65536, 4);
  world.client().set_bytes_of(of_client, content);
  const std::array<MutableSpan, 1> heard_in{heard}, told_out{told}, fetched_in{fetched};
  REQUIRE(world.box().port().post_receive(pair.box, {WorkId(1), heard_in}) == Errc::ok);
  REQUIRE(world.run(pair, {.id = WorkId(2), .op = SendOp::send, .local = told_out}) ==
          WorkStatus::ok);
  REQUIRE(world.box().port().take_received(pair.box).has_value());
  SendRequest read{.id = WorkId(3), .op = SendOp::read, .local = fetched_in};
  std::uint32_t heard_key = 0;
  std::memcpy(&read.remote_address, heard.data(), 8);
  std::memcpy(&heard_key, heard.data() + 8, 4);
  read.key = RKey(heard_key);
  REQUIRE(world.box().port().post_send(pair.box, read) == Errc::ok);
  Bytes mine(30000, std::byte{0x77});
  const std::array<MutableSpan, 1> mine_out{mine};
  REQUIRE(world.client().port().post_send(pair.client, {.id = WorkId(4),
                                                        .op = SendOp::write,
                                                        .local = mine_out,
                                                        .remote_address = of_box.address(),
                                                        .key = of_box.key}) == Errc::ok);
  std::optional<SendCompletion> of_read, of_write;
  REQUIRE(world.run_until([&] {
    of_read = of_read ? of_read : world.box().port().take_completed(pair.box);
    of_write = of_write ? of_write : world.client().port().take_completed(pair.client);
    return of_read && of_write;
  }));
  CHECK(of_read->status == WorkStatus::ok);
  CHECK(of_write->status == WorkStatus::ok);
  CHECK(fetched == content);
  Bytes expected(65536);
  std::ranges::copy(mine, expected.begin());
  CHECK(world.box().bytes_of(of_box) == expected);
}

TEST_CASE("immediate data, COMPARE SWAP and ATOMIC WRITE are done once over a link that loses",
          "[unit][roce]") {
  RoceWorld world({.lost = 0.1, .doubled = 0.1, .seed = 6});
  const RemoteMemory memory = world.box().allocate(4096);
  const auto pair = world.connect(world.client().pair_options(), world.box().pair_options());
  Bytes room(3000), out = test::pattern_bytes(3000, 8), word(8);
  const std::array<MutableSpan, 1> room_in{room}, out_of{out}, word_of{word};
  Bytes expected(4096);
  for (std::uint32_t i = 0; i < 40; ++i) {
    RocePort& box = world.box().port();
    const SendOp op = i % 2 == 0 ? SendOp::send : SendOp::write;
    REQUIRE(box.post_receive(pair.box, {WorkId(i), room_in}) == Errc::ok);
    REQUIRE(world.run(pair, {.id = WorkId(i),
                             .op = op,
                             .local = out_of,
                             .remote_address = memory.address(),
                             .key = memory.key,
                             .immediate = i}) == WorkStatus::ok);
    const std::optional<ReceiveCompletion> received = box.take_received(pair.box);
    REQUIRE(received.has_value());
    CHECK(received->id == WorkId(i));
    CHECK(received->immediate == i);
    CHECK(received->is_write == (op == SendOp::write));
    CHECK(received->length_bytes == 3000);
  }
  CHECK(room == out);
  std::ranges::copy(out, expected.begin());
  for (std::uint64_t i = 0; i < 40; ++i) {
    const std::uint64_t before = i;
    std::memcpy(word.data(), &before, 8);
    std::memcpy(expected.data() + 8, &before, 8);
    SendRequest request{.op = SendOp::atomic_write,
                        .local = word_of,
                        .remote_address = memory.address() + 8,
                        .key = memory.key};
    REQUIRE(world.run(pair, request) == WorkStatus::ok);
    REQUIRE(world.box().bytes_of(memory) == expected);
    request.op = SendOp::compare_swap;
    request.compare = before;
    request.swap_or_add = before + 1000;
    REQUIRE(world.run(pair, request) == WorkStatus::ok);
    std::memcpy(expected.data() + 8, &request.swap_or_add, 8);
    REQUIRE(world.box().bytes_of(memory) == expected);
    CHECK(std::memcmp(word.data(), &before, 8) == 0);
  }
  CHECK(world.box().port().counters().atomics.get() == 80);
  CHECK(world.client().port().counters().retransmits.get() > 0);
}

TEST_CASE("a dead port ends requests after their retries", "[unit][roce]") {
  RoceWorld world;
  const RemoteMemory memory = world.box().allocate(4096);
  QueuePairOptions client = world.client().pair_options();
  client.retries_max = 2;
  client.timeout = 14;
  const auto pair = world.connect(client, world.box().pair_options());
  world.box().faults().set(EthPortId(0), {.kind = PortFaultKind::dead}, world.now());
  Bytes bytes(100);
  const std::array<MutableSpan, 1> local{bytes};
  const TimePoint begin = world.now();
  CHECK(world.run(pair, {.id = WorkId(1),
                         .op = SendOp::read,
                         .local = local,
                         .remote_address = memory.address(),
                         .key = memory.key}) == WorkStatus::retries_exceeded);
  // Three timeouts of 67.1 ms.
  CHECK(world.now() - begin > std::chrono::milliseconds(201));
  CHECK(world.now() - begin < std::chrono::milliseconds(202));
}

}  // namespace godbox::emulator
