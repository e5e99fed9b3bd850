// SPDX-License-Identifier: Apache-2.0
// Lanes whose connections and sends are played.
#include <godbox/rdma/client_transport.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace godbox::rdma {
namespace {

struct PlayedFlight : Flight {
  std::vector<int> reachable{};
  void let_go() { reachable.clear(); }
};

// One send for each remote segment.
class PlayedLane final : public ClientLane<PlayedFlight> {
 public:
  explicit PlayedLane(const Setting& set) : ClientLane(set) {}
  ~PlayedLane() { close(); }

  bool progress() {
    if (!is_up()) {
      return false;
    }
    const bool is_busy =
        post_flights([this](PlayedFlight& flight) { return begin(flight, clock().now()); },
                     [this](PlayedFlight& flight) {
                       if (sends.size() == room) {
                         return is_refusing ? Posting::refused : Posting::no_room;
                       }
                       while (!flight.advance(flight.next_bytes().size())) {
                       }
                       sends.push_back(flight.request.id);
                       last_send = number_send();
                       flight.answers_due = answers_due;
                       return Posting::posted;
                     });
    finish_done();
    return is_busy;
  }
  void accept() { on_accepted(roce::PoolWelcome{EthPortId(2), wire::LaneToken(9)}); }
  void reject(std::optional<Errc> why) { on_rejected(why, 28); }
  void greet_strangely() { on_accepted(std::nullopt); }
  void leave_unanswered() { on_unanswered(); }
  void finish(std::uint64_t send) { finish_up_to(send); }
  void answer() {
    --flights().front().answers_due;
    finish_done();
  }
  void refuse(Errc status) { on_refused(status); }
  void refuse(std::uint64_t send, Errc status) { on_refused(send, status); }
  void end() { on_far_side_ended(); }

  std::vector<WorkId> sends;
  std::size_t room = 1000;
  bool is_refusing = false;
  std::uint64_t last_send = 0;
  std::uint32_t answers_due = 0;
  int connects = 0;
  std::vector<bool> disconnects;  // had the far side ended

 private:
  void connect() override { ++connects; }
  void disconnect(bool has_ended, bool leaves_writes) override {
    disconnects.push_back(has_ended);
    if (leaves_writes) {
      unfenced().add(lane());
    }
    sends.clear();
  }
  const std::string& port_name() const override { return name_; }

  std::string name_ = "10.0.0.2";
};

class PlayedTransport final : public ClientTransport<PlayedLane> {
 public:
  PlayedTransport(const ClientOptions& options, const Clock& clock)
      : ClientTransport(options.ask_for_fence, clock), options_(options) {
    for (const std::uint16_t i : {std::uint16_t{0}, std::uint16_t{1}}) {
      add_lane(std::make_unique<PlayedLane>(
          PlayedLane::Setting{LaneId(i), SuperNicId(i), options_, unfenced(), clock}));
    }
  }
  ~PlayedTransport() override { end_lanes(); }

  std::string_view name() const override { return "played"; }
  Result<void> register_memory(MutableSpan) override { return {}; }
  void deregister_memory(MutableSpan) override {}
  bool progress() override { return progress_lanes(); }
  [[nodiscard]] bool has_work() const { return has_requests() || is_waiting(); }
  PlayedLane& operator[](std::size_t i) { return *lanes()[i]; }

 private:
  const ClientOptions options_;
};

constexpr LaneId kFirst{0}, kSecond{1};

// A transport of two lanes, and what it was told and tells.
struct World {
  World() {
    options.requests_max = 3;
    options.bytes_max = kWorkBytesMax;
    options.ask_for_fence = [this](wire::LaneToken, std::function<void(Errc)> on_answer) {
      fences.push_back(std::move(on_answer));
    };
    options.on_connect_failed = [this](LaneId, const Error& error) {
      failures.push_back(error.message());
    };
    transport = std::make_unique<PlayedTransport>(options, clock);
  }
  void bring_up() {
    (*transport)[0].accept();
    (*transport)[1].accept();
  }
  PlayedLane& lane() { return (*transport)[0]; }
  [[nodiscard]] LaneState state() const { return transport->lane_status(kFirst).state; }

  // A request of two segments.
  WorkRequest request(std::uint64_t id, WorkOp op) {
    WorkRequest made;
    made.id = WorkId(id);
    made.op = op;
    made.total_bytes = 100;
    made.remote = remote;
    made.local = local;
    return made;
  }
  Errc post(std::uint64_t id, WorkOp op, LaneId on = kFirst) {
    return transport->post(on, request(id, op));
  }
  std::vector<std::pair<std::uint64_t, Errc>> poll() {
    std::array<Completion, 8> out;
    std::vector<std::pair<std::uint64_t, Errc>> done;
    for (std::size_t i = 0, count = transport->poll(out); i < count; ++i) {
      done.emplace_back(out[i].id.value(), out[i].status);
    }
    return done;
  }

  ManualClock clock;
  ClientOptions options;
  std::vector<std::function<void(Errc)>> fences;
  std::vector<std::string> failures;
  std::vector<std::byte> memory = std::vector<std::byte>(100);
  std::vector<LocalSegment> local{{memory.data(), 100}};
  std::vector<RemoteSegment> remote{{RKey(1), {SlabId(1), SlabOffset(0)}, 60},
                                    {RKey(1), {SlabId(2), SlabOffset(0)}, 40}};
  std::unique_ptr<PlayedTransport> transport;
};

using Done = std::vector<std::pair<std::uint64_t, Errc>>;
using Ids = std::vector<WorkId>;

TEST_CASE("a lane comes up with the port that it was told, and takes requests from then on",
          "[unit]") {
  World world;
  CHECK(world.state() == LaneState::connecting);
  CHECK(world.post(1, WorkOp::read) == Errc::lane_closed);
  CHECK(world.transport->has_work());
  world.bring_up();
  CHECK_FALSE(world.transport->has_work());
  const LaneStatus status = world.transport->lane_status(kFirst);
  CHECK(status.state == LaneState::up);
  CHECK(status.eth_port == EthPortId(2));
  CHECK(status.requests_in_flight_max == 3);
  CHECK(world.post(1, WorkOp::read) == Errc::ok);
  CHECK(world.transport->has_work());
  CHECK(world.transport->lane_status(kFirst).requests_in_flight == 1);
  CHECK(world.transport->lane_status(kFirst).bytes_in_flight == 100);
  WorkRequest wrong = world.request(2, WorkOp::read);
  wrong.total_bytes = 99;
  CHECK(world.transport->post(kFirst, wrong) == Errc::invalid_argument);
}

TEST_CASE("each way in which connecting fails has its code and its sentence", "[unit]") {
  World world;
  Errc code = Errc::ok;
  std::string why;
  SECTION("in the box's words") {
    world.lane().reject(Errc::session_lost);
    code = Errc::session_lost;
    why = "session_lost: 10.0.0.2: the box rejects the connection: session_lost";
  }
  SECTION("in nobody's words") {
    world.lane().reject(std::nullopt);
    code = Errc::lane_closed;
    why = "lane_closed: 10.0.0.2: the connection is rejected (IBTA reason 28)";
  }
  SECTION("by silence") {
    world.lane().leave_unanswered();
    code = Errc::lane_timeout;
    why = "lane_timeout: 10.0.0.2: nobody answers to the request for a connection";
  }
  SECTION("by a stranger") {
    world.lane().greet_strangely();
    code = Errc::protocol_error;
    why = "protocol_error: 10.0.0.2: what accepts the connection is no box's pool";
  }
  CHECK(world.state() == LaneState::down);
  CHECK(world.transport->lane_status(kFirst).last_error == code);
  CHECK(world.failures == std::vector{why});
  world.transport->reopen(kFirst);
  CHECK(world.state() == LaneState::connecting);
  CHECK(world.transport->lane_status(kFirst).last_error == Errc::ok);
  world.transport->reopen(kFirst);  // it is on its way
  CHECK(world.lane().connects == 2);
}

TEST_CASE("requests go out in order as there is room, and end when their last send is done",
          "[unit]") {
  World world;
  world.bring_up();
  world.lane().room = 3;
  for (const std::uint64_t id : {1U, 2U, 3U}) {
    REQUIRE(world.post(id, WorkOp::read) == Errc::ok);
  }
  CHECK(world.post(4, WorkOp::read) == Errc::queue_full);
  CHECK(world.transport->progress());
  CHECK(world.lane().sends == Ids{WorkId(1), WorkId(1), WorkId(2)});
  world.lane().finish(1);
  CHECK(world.poll().empty());
  world.lane().finish(3);  // the second request is posted in part
  CHECK(world.poll() == Done{{1, Errc::ok}});
  CHECK_FALSE(world.transport->progress());
  world.lane().room = 6;
  CHECK(world.transport->progress());
  world.lane().finish(6);
  CHECK(world.poll() == Done{{2, Errc::ok}, {3, Errc::ok}});
  CHECK(world.transport->lane_status(kFirst).bytes_in_flight == 0);
  CHECK_FALSE(world.transport->has_work());
}

TEST_CASE("bytes in flight are bounded as requests are", "[unit]") {
  World world;
  world.bring_up();
  std::vector<std::byte> large(kWorkBytesMax - 50);
  const std::array<LocalSegment, 1> local{{{large.data(), large.size()}}};
  const std::array<RemoteSegment, 1> remote{
      {{RKey(1), {SlabId(1), SlabOffset(0)}, static_cast<std::uint32_t>(large.size())}}};
  WorkRequest request = world.request(1, WorkOp::read);
  request.total_bytes = large.size();
  request.remote = remote;
  request.local = local;
  REQUIRE(world.transport->post(kFirst, request) == Errc::ok);
  CHECK(world.post(2, WorkOp::read) == Errc::queue_full);
  CHECK(world.post(2, WorkOp::read, kSecond) == Errc::ok);
}

TEST_CASE("a request whose time has passed ends in its turn, without a send", "[unit]") {
  World world;
  world.bring_up();
  world.clock.advance(Duration(10));
  REQUIRE(world.post(1, WorkOp::read) == Errc::ok);
  WorkRequest late = world.request(2, WorkOp::read);
  late.deadline = TimePoint(Duration(10));
  REQUIRE(world.transport->post(kFirst, late) == Errc::ok);
  CHECK(world.transport->progress());
  CHECK(world.lane().sends == Ids{WorkId(1), WorkId(1)});
  CHECK(world.poll().empty());
  world.lane().finish(2);
  CHECK(world.poll() == Done{{1, Errc::ok}, {2, Errc::deadline_exceeded}});
}

TEST_CASE("a request waits for the answers that it has asked the box for", "[unit]") {
  World world;
  world.bring_up();
  world.lane().answers_due = 1;
  REQUIRE(world.post(1, WorkOp::read) == Errc::ok);
  CHECK(world.transport->progress());
  world.lane().finish(world.lane().last_send);
  CHECK(world.poll().empty());
  world.lane().answer();
  CHECK(world.poll() == Done{{1, Errc::ok}});
}

TEST_CASE("after a refusal the lane begins again with all but what was refused", "[unit]") {
  World world;
  world.bring_up();
  for (const std::uint64_t id : {1U, 2U}) {
    REQUIRE(world.post(id, WorkOp::write) == Errc::ok);
  }
  CHECK(world.transport->progress());
  world.lane().finish(1);
  world.lane().refuse(Errc::key_revoked);
  CHECK(world.poll() == Done{{1, Errc::key_revoked}});
  CHECK(world.lane().disconnects == std::vector{true});
  CHECK(world.state() == LaneState::up);
  CHECK(world.post(3, WorkOp::write) == Errc::ok);  // what the far side has refused is not to come
  world.lane().accept();
  CHECK(world.transport->progress());
  CHECK(world.lane().sends == Ids{WorkId(2), WorkId(2), WorkId(3), WorkId(3)});
  world.lane().finish(4);  // counted anew
  CHECK(world.poll() == Done{{2, Errc::ok}, {3, Errc::ok}});
  CHECK(world.failures.empty());
}

// Of two sends each.
void send_three_reads(World& world) {
  world.bring_up();
  for (const std::uint64_t id : {1U, 2U, 3U}) {
    REQUIRE(world.post(id, WorkOp::read) == Errc::ok);
  }
  CHECK(world.transport->progress());
  REQUIRE(world.lane().sends.size() == 6);
}

TEST_CASE("a request that is refused behind others ends in its turn", "[unit]") {
  World world;
  send_three_reads(world);
  const std::uint64_t send = GENERATE(3U, 4U);  // the second one's first or last
  world.lane().refuse(send, Errc::key_revoked);
  CHECK(world.poll().empty());
  CHECK(world.state() == LaneState::up);
  world.lane().accept();
  CHECK(world.transport->progress());
  CHECK(world.lane().sends == Ids{WorkId(1), WorkId(1), WorkId(3), WorkId(3)});
  world.lane().finish(1);
  CHECK(world.poll().empty());
  world.lane().finish(2);
  CHECK(world.poll() == Done{{1, Errc::ok}, {2, Errc::key_revoked}});
  world.lane().finish(4);
  CHECK(world.poll() == Done{{3, Errc::ok}});
}

TEST_CASE("requests that are refused behind others one after the other are sent once", "[unit]") {
  World world;
  send_three_reads(world);
  world.lane().refuse(3U, Errc::key_revoked);  // of the second one
  world.lane().accept();
  CHECK(world.transport->progress());
  CHECK(world.lane().sends == Ids{WorkId(1), WorkId(1), WorkId(3), WorkId(3)});
  world.lane().refuse(3U, Errc::poison);  // of the third one
  world.lane().accept();
  CHECK(world.transport->progress());
  CHECK(world.lane().sends == Ids{WorkId(1), WorkId(1)});
  world.lane().finish(2);
  CHECK(world.poll() == Done{{1, Errc::ok}, {2, Errc::key_revoked}, {3, Errc::poison}});
}

TEST_CASE("where a lane cannot begin again it is down, and says what each request ends with",
          "[unit]") {
  World world;
  world.bring_up();
  for (const std::uint64_t id : {1U, 2U}) {
    REQUIRE(world.post(id, WorkOp::read) == Errc::ok);
  }
  CHECK(world.transport->progress());
  world.lane().refuse(Errc::poison);
  world.lane().reject(Errc::session_lost);
  CHECK(world.state() == LaneState::down);
  // The lane's error is not the request's: another lane may do it.
  CHECK(world.poll() == Done{{1, Errc::poison}, {2, Errc::lane_closed}});
  CHECK(world.failures.size() == 1);
}

TEST_CASE("after a fence of WRITEs no lane takes one before the box has fenced", "[unit]") {
  World world;
  world.bring_up();
  REQUIRE(world.post(1, WorkOp::write) == Errc::ok);
  CHECK(world.transport->progress());
  world.transport->fence(kFirst);
  CHECK(world.state() == LaneState::down);
  CHECK(world.poll() == Done{{1, Errc::lane_fenced}});
  CHECK(world.lane().disconnects == std::vector{false});
  CHECK(world.post(2, WorkOp::write, kSecond) == Errc::queue_full);
  CHECK(world.post(3, WorkOp::read, kSecond) == Errc::ok);
  (void)world.transport->progress();
  REQUIRE(world.fences.size() == 1);
  world.fences[0](Errc::ok);
  (void)world.transport->progress();
  CHECK(world.post(2, WorkOp::write, kSecond) == Errc::ok);
}

TEST_CASE("a fence waits for nothing where no WRITE can be under way", "[unit]") {
  World world;
  world.bring_up();
  SECTION("there were READs alone") {
    REQUIRE(world.post(1, WorkOp::read) == Errc::ok);
    CHECK(world.transport->progress());
  }
  SECTION("the WRITE has not gone out") {
    world.lane().room = 0;
    REQUIRE(world.post(1, WorkOp::write) == Errc::ok);
    CHECK(world.transport->progress());
  }
  SECTION("its sends so far are answered") {
    world.lane().room = 1;
    REQUIRE(world.post(1, WorkOp::write) == Errc::ok);
    CHECK(world.transport->progress());
    world.lane().finish(1);
  }
  world.transport->fence(kFirst);
  CHECK(world.poll() == Done{{1, Errc::lane_fenced}});
  CHECK(world.post(2, WorkOp::write, kSecond) == Errc::ok);
}

TEST_CASE("a WRITE of which the box owes an answer may be under way", "[unit]") {
  World world;
  world.bring_up();
  world.lane().answers_due = 1;
  REQUIRE(world.post(1, WorkOp::write) == Errc::ok);
  CHECK(world.transport->progress());
  world.lane().finish(world.lane().last_send);
  world.transport->fence(kFirst);
  CHECK(world.post(2, WorkOp::write, kSecond) == Errc::queue_full);
}

TEST_CASE("a lane that its far side has ended takes no more WRITEs, and is not asked for",
          "[unit]") {
  World world;
  world.bring_up();
  REQUIRE(world.post(1, WorkOp::write) == Errc::ok);
  CHECK(world.transport->progress());
  world.lane().end();
  CHECK(world.state() == LaneState::down);
  CHECK(world.transport->lane_status(kFirst).last_error == Errc::lane_closed);
  CHECK(world.poll() == Done{{1, Errc::lane_closed}});
  CHECK(world.post(2, WorkOp::write, kSecond) == Errc::ok);
}

TEST_CASE("a queue pair that takes no more ends its lane", "[unit]") {
  World world;
  world.bring_up();
  world.lane().room = 1;
  world.lane().is_refusing = true;
  REQUIRE(world.post(1, WorkOp::read) == Errc::ok);
  CHECK(world.transport->progress());
  CHECK(world.state() == LaneState::down);
  CHECK(world.poll() == Done{{1, Errc::lane_closed}});
}

TEST_CASE("completions are taken as many at a time as are asked for", "[unit]") {
  World world;
  world.bring_up();
  for (const LaneId on : {kFirst, kSecond}) {
    REQUIRE(world.post(10 + on.value(), WorkOp::read, on) == Errc::ok);
    REQUIRE(world.post(20 + on.value(), WorkOp::read, on) == Errc::ok);
    world.transport->fence(on);
  }
  std::array<Completion, 3> out;
  CHECK(world.transport->poll(out) == 3);
  CHECK(out[0].id == WorkId(10));
  CHECK(out[2].id == WorkId(11));
  CHECK(out[2].lane == kSecond);
  CHECK(world.poll() == Done{{21, Errc::lane_fenced}});
}

TEST_CASE("options of transports over RDMA are refused by the name of what is wrong", "[unit]") {
  const auto refusal = [](const ClientOptions& options, std::size_t lanes) {
    const Result<void> checked = check_client_options(options, lanes);
    return checked ? std::string() : checked.error().message();
  };
  ClientOptions options;
  CHECK(refusal(options, 1).empty());
  CHECK(refusal(options, kLanesMax).empty());
  CHECK(refusal(options, 0) == "config_invalid: 0 lanes; 1 to 256 are possible");
  CHECK(refusal(options, 257) == "config_invalid: 257 lanes; 1 to 256 are possible");
  options.requests_max = 0;
  CHECK(refusal(options, 1).find("requests_max 0") != std::string::npos);
  options.requests_max = 1;
  options.bytes_max = kWorkBytesMax - 1;
  CHECK(refusal(options, 1).find("bytes_max 16777215") != std::string::npos);
}

}  // namespace
}  // namespace godbox::rdma
