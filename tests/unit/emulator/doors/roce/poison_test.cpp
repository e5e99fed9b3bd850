// SPDX-License-Identifier: Apache-2.0
//
// Memory that has lost bytes, as a peer meets it: each kind of request, at each moment at which the
// loss may show.
#include "responder_fixture.h"
#include <godbox_test/heap_memory_target.h>

#include <functional>
#include <set>

namespace godbox::emulator {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::uint32_t kRegionBytes = 512U << 10U;

// A DRAM channel that loses pages when a test says so. Its memory is not coherent, so that the pool
// fetches the lines of an access anew: that is when a machine may find that a page is lost.
class LossyChannel final : public MemoryTarget {
 public:
  explicit LossyChannel(SizeBytes size) : heap_(size) {}

  void lose(const std::byte* byte) {
    lost_pages_.insert(page_of(byte));
    has_poison_ = true;
  }
  std::function<void()> on_fetch;

  [[nodiscard]] std::string_view kind() const override { return "lossy"; }
  [[nodiscard]] SizeBytes size() const override { return heap_.size(); }
  [[nodiscard]] Coherence coherence() const override { return Coherence::software; }
  [[nodiscard]] std::byte* data() const override { return heap_.data(); }
  [[nodiscard]] int descriptor() const override { return -1; }
  [[nodiscard]] SizeBytes backing_granularity() const override {
    return heap_.backing_granularity();
  }
  [[nodiscard]] bool is_always_present() const override { return false; }
  [[nodiscard]] Result<void> back(DramOffset offset, SizeBytes size) override {
    return heap_.back(offset, size);
  }
  [[nodiscard]] Result<void> discard(DramOffset offset, SizeBytes size) override {
    return heap_.discard(offset, size);
  }
  void flush(ConstSpan) const override {}
  void invalidate(ConstSpan) const override {
    if (on_fetch) {
      on_fetch();
    }
  }
  [[nodiscard]] bool is_poisoned(ConstSpan range) const override {
    return !range.empty() && lost_pages_.lower_bound(page_of(range.data())) !=
                                 lost_pages_.upper_bound(page_of(range.data() + range.size() - 1));
  }

 private:
  [[nodiscard]] std::size_t page_of(const std::byte* byte) const {
    return static_cast<std::size_t>(byte - heap_.data()) / kPageBytes;
  }
  test::HeapMemoryTarget heap_;
  std::set<std::size_t> lost_pages_;
};

// A port whose pool is one such channel, with a region in it.
struct LossyEnd {
  test::SeededRandom random{1};
  ManualClock clock;
  LossyChannel channel{SizeBytes(16U << 20U)};
  std::unique_ptr<TimingModel> timing = make_free_timing();
  PortFaults faults{1};
  std::unique_ptr<PoolService> service;
  std::unique_ptr<RoceDoor> door;
  std::unique_ptr<RocePort> port;
  SessionInfo session;
  RemoteMemory memory;
  std::byte* region = nullptr;  // where it lies
  roce::FrameHeader header;     // of the peer's frames
  OutFrame frame;

  LossyEnd() {
    clock.set(TimePoint(std::chrono::hours(1)));
    BoxConfig config;
    config.super_nics = 1;
    config.dram_channels_per_super_nic = 1;
    config.dram_channel_size = channel.size();
    REQUIRE(validate(config, SizeBytes(1U << 20U)).has_value());
    service = std::make_unique<PoolService>(config, std::vector<MemoryTarget*>{&channel},
                                            SizeBytes(1U << 30U), clock, random);
    door = std::make_unique<RoceDoor>(*service, *timing, faults);
    const Result<SessionInfo> opened = service->open_session("tenant");
    REQUIRE(opened.has_value());
    session = *opened;
    allocate();
    header.source = {2, 0, 0, 0, 0, 1};
    header.source_ip = roce::Gid::of_ipv4({10, 0, 0, 1});
    header.destination = {2, 0, 0, 0, 0, 2};
    header.destination_ip = roce::Gid::of_ipv4({10, 0, 0, 2});
    RocePortOptions options;
    options.mac = header.destination;
    options.addresses = {header.destination_ip};
    port = std::make_unique<RocePort>(*door, options, random);
  }
  void allocate() {
    const Result<wire::RegionReply> reply =
        service->allocate_region(session.id, SizeBytes(kRegionBytes));
    REQUIRE(reply.has_value());
    memory = {reply->key, reply->extents};
    REQUIRE(memory.extents.front().length_bytes == kRegionBytes);
    AccessTicket ticket;
    REQUIRE(service->begin_access(
                session.id, WorkOp::write,
                VirtualRange{memory.key, VirtualAddress(memory.address()), kRegionBytes},
                ticket) == Errc::ok);
    REQUIRE(ticket.spans.size() == 1);
    region = ticket.spans.front().data();
    service->end_access(ticket);
  }
  // The page of this byte of the region.
  void lose(std::size_t offset) { channel.lose(region + offset); }

  // A queue pair with a path MTU of 1024 bytes, whose first request has PSN 0.
  roce::QueuePairNumber connect() {
    const auto local = port->allot_queue_pair();
    REQUIRE(local.has_value());
    QueuePairOptions options;
    options.session = session.id;
    options.lane = *service->join_session(session.id, session.secret);
    options.allows_read = options.allows_write = options.allows_atomic = true;
    options.number = local->number;
    options.remote_number = roce::QueuePairNumber(RocePeer::kNumber);
    options.path.source_ip = header.destination_ip;
    options.path.destination = header.source;
    options.path.destination_ip = header.source_ip;
    REQUIRE(port->connect_queue_pair(options, clock.now()) == Errc::ok);
    return local->number;
  }
  void send(roce::QueuePairNumber to, Packet packet, ConstSpan payload = {}) {
    packet.destination_qp = to;
    port->on_frame(test::roce_frame(header, packet, payload), clock.now());
  }
  // The next frame that goes out.
  std::optional<RoceAnswer> take() {
    while (port->next_frame(frame, clock.now())) {
      Bytes bytes(frame.size_bytes());
      bytes.resize(port->copy_frame(frame, bytes));
      port->release(frame.token);
      if (!bytes.empty()) {
        return test::answer_to(header, bytes);
      }
    }
    return std::nullopt;
  }
  // The queue pair has ended with one such NAK, and keeps nothing.
  void check_ended(roce::QueuePairNumber number) {
    CHECK_FALSE(take().has_value());
    CHECK(port->is_broken(number));
    CHECK(port->counters().naks_operational.get() == 1);
    CHECK(port->usage().windows == 0);
    send(number, write_begin(Opcode::write_only, 1, memory, 4, true), pattern(4));
    CHECK_FALSE(take().has_value());
    CHECK(service->free_region(session.id, memory.key) == Errc::ok);
    CHECK(service->usage().quarantined == 0);
  }
};

struct Request {
  const char* what;
  Opcode opcode;
  std::size_t payload_bytes = 0;
  std::uint32_t length_bytes = 0;
};
constexpr std::array<Request, 6> kRequests{{
    {"READ", Opcode::read_request, 0, 64},
    {"WRITE", Opcode::write_only, 64, 64},
    {"first packet of a WRITE", Opcode::write_first, 1024, 2000},
    {"COMPARE SWAP", Opcode::compare_swap},
    {"FETCH ADD", Opcode::fetch_add},
    {"ATOMIC WRITE", Opcode::atomic_write, 8, 8},
}};

void ask(LossyEnd& end, roce::QueuePairNumber number, const Request& request) {
  end.send(number, write_begin(request.opcode, 0, end.memory, request.length_bytes, true),
           pattern(request.payload_bytes));
}

Packet read_of(const RemoteMemory& memory, std::uint32_t psn, std::uint32_t length_bytes) {
  return write_begin(Opcode::read_request, psn, memory, length_bytes, true);
}

}  // namespace

TEST_CASE("requests for memory that is lost are refused as an operational error", "[unit][roce]") {
  for (const Request& request : kRequests) {
    CAPTURE(request.what);
    LossyEnd end;
    const roce::QueuePairNumber number = end.connect();
    end.lose(0);
    ask(end, number, request);
    CHECK(said(end.take()) == ack(0, 0, kNakOperational));
    CHECK(end.port->counters().bytes_written.get() == 0);
    CHECK(end.port->counters().atomics.get() == 0);
    end.check_ended(number);
  }
}

TEST_CASE("memory that turns out to be lost while a request is done ends it as well",
          "[unit][roce]") {
  for (const Request& request : kRequests) {
    CAPTURE(request.what);
    LossyEnd end;
    const roce::QueuePairNumber number = end.connect();
    end.channel.on_fetch = [&end] { end.lose(0); };
    ask(end, number, request);
    // A READ has been taken in by then, and ends where its first byte was to be.
    const std::uint32_t done = request.opcode == Opcode::read_request ? 1 : 0;
    CHECK(said(end.take()) == ack(0, done, kNakOperational));
    CHECK(end.port->counters().bytes_written.get() == 0);
    CHECK(end.port->counters().bytes_read.get() == 0);
    CHECK(end.port->counters().atomics.get() == 0);
    end.check_ended(number);
  }
}

TEST_CASE("a WRITE ends with the packet that meets lost memory", "[unit][roce]") {
  LossyEnd end;
  const roce::QueuePairNumber number = end.connect();
  end.send(number, write_begin(Opcode::write_first, 0, end.memory, 2100), pattern(1024));
  CHECK_FALSE(end.take().has_value());
  end.lose(0);
  end.send(number, write_packet(Opcode::write_middle, 1), pattern(1024));
  CHECK(said(end.take()) == ack(1, 0, kNakOperational));
  CHECK(end.port->counters().writes.get() == 0);
  end.check_ended(number);
}

TEST_CASE("a READ whose memory is lost while it is sent ends there", "[unit][roce]") {
  LossyEnd end;
  const roce::QueuePairNumber number = end.connect();
  end.send(number, write_begin(Opcode::write_only, 0, end.memory, 4, true), pattern(4));
  end.send(number, read_of(end.memory, 1, 3000));
  end.send(number, read_of(end.memory, 4, 8));
  CHECK(said(end.take()) == ack(0, 3));
  const std::optional<RoceAnswer> answer = end.take();
  REQUIRE(answer.has_value());
  CHECK(answer->packet.opcode == Opcode::read_response_first);
  CHECK(answer->packet.psn == Psn(1));
  end.lose(0);
  CHECK(said(end.take()) == ack(2, 3, kNakOperational));
  end.check_ended(number);
}

TEST_CASE("a READ of several windows is answered up to the one that is lost", "[unit][roce]") {
  LossyEnd end;
  const roce::QueuePairNumber number = end.connect();
  end.lose(kRoceWindowBytes + kPageBytes);
  end.send(number, read_of(end.memory, 0, 2 * kRoceWindowBytes));
  constexpr std::uint32_t kPackets = kRoceWindowBytes / 1024;
  for (std::uint32_t psn = 0; psn < kPackets; ++psn) {
    const std::optional<RoceAnswer> answer = end.take();
    REQUIRE(answer.has_value());
    REQUIRE(answer->packet.psn == Psn(psn));
    REQUIRE(answer->payload.size() == 1024);
  }
  CHECK(said(end.take()) == ack(kPackets, 1, kNakOperational));
  end.check_ended(number);
}

TEST_CASE("frames under way that show lost memory do not go out, and their READ ends",
          "[unit][roce]") {
  LossyEnd end;
  const roce::QueuePairNumber number = end.connect();
  end.send(number, read_of(end.memory, 0, 3000));
  auto first = std::make_unique<OutFrame>(), second = std::make_unique<OutFrame>();
  REQUIRE(end.port->next_frame(*first, end.clock.now()));
  REQUIRE(end.port->next_frame(*second, end.clock.now()));
  end.lose(0);
  Bytes copy(2048);
  SECTION("in their order") {
    CHECK(end.port->copy_frame(*first, copy) == 0);
    CHECK(end.port->copy_frame(*second, copy) == 0);  // nothing more is to be said
    end.port->release(first->token);
    end.port->release(second->token);
    CHECK(said(end.take()) == ack(0, 1, kNakOperational));
    end.check_ended(number);
  }
  SECTION("of a queue pair that is gone") {
    end.port->destroy_queue_pair(number);
    CHECK(end.port->copy_frame(*first, copy) == 0);
    end.port->release(first->token);
    end.port->release(second->token);
    CHECK_FALSE(end.take().has_value());
    CHECK(end.port->counters().naks_operational.get() == 0);
    CHECK(end.port->usage().windows == 0);
  }
}

TEST_CASE("memory that is not lost is served on, by other queue pairs too", "[unit][roce]") {
  LossyEnd end;
  const roce::QueuePairNumber number = end.connect(), other = end.connect();
  end.lose(kPageBytes);
  end.send(other, read_of(end.memory, 0, 8));
  CHECK(end.take()->packet.opcode == Opcode::read_response_only);
  Packet lost = read_of(end.memory, 0, 8);
  lost.address += kPageBytes;
  end.send(number, lost);
  CHECK(said(end.take()) == ack(0, 0, kNakOperational));
  CHECK(end.port->is_broken(number));
  end.send(other, write_begin(Opcode::write_only, 1, end.memory, 4, true), pattern(4));
  CHECK(said(end.take()) == ack(1, 2));
  CHECK_FALSE(end.port->is_broken(other));
}

}  // namespace godbox::emulator
