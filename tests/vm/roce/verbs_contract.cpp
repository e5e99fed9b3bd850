// SPDX-License-Identifier: Apache-2.0
//
// The contract of transports over RDMA, in a guest with an RDMA device, against a RoCE port.
// Environment: GODBOX_ROCE_BOX is "ADDRESS SESSION SECRET SECRET CONTROL-ADDRESS CONTROL-PORT":
// what roce_server says of its session, and where its commands (allocate, free) are taken over TCP.
#include "transport_contract.h"
#include <godbox/driver/verbs_transport.h>

#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <thread>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

namespace godbox::test {
namespace {

constexpr std::size_t kLanes = 2;

struct RoceBox {
  std::string address, control_address;
  std::uint64_t session = 0;
  wire::SessionSecret secret;
  std::uint16_t control_port = 0;
};

RoceBox roce_box() {
  const char* const text = std::getenv("GODBOX_ROCE_BOX");
  if (text == nullptr) {
    SKIP("needs GODBOX_ROCE_BOX: tests/vm/roce/verbs_test.py sets it in a guest");
  }
  std::istringstream words(text);
  RoceBox box;
  words >> box.address >> std::hex >> box.session >> box.secret.words[0] >> box.secret.words[1] >>
      box.control_address >> std::dec >> box.control_port;
  REQUIRE(!words.fail());
  return box;
}

// Commands to the server, one line each, and its answers.
class Control {
 public:
  explicit Control(const RoceBox& box) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(box.control_port);
    REQUIRE(inet_pton(AF_INET, box.control_address.c_str(), &address.sin_addr) == 1);
    REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  }
  ~Control() { close(socket_); }
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  std::istringstream ask(const std::string& command) {
    const std::string line = command + "\n";
    REQUIRE(send(socket_, line.data(), line.size(), 0) == static_cast<ssize_t>(line.size()));
    std::string answer;
    for (char byte = 0; byte != '\n';) {
      REQUIRE(recv(socket_, &byte, 1, 0) == 1);
      answer += byte;
    }
    std::istringstream words(answer);
    words >> std::hex;
    return words;
  }

 private:
  int socket_;
};

class VerbsWorld final : public TransportWorld {
 public:
  explicit VerbsWorld(const RoceBox& box) : control_(box) {
    driver::VerbsOptions options;
    options.lanes.assign(kLanes, {.addresses = {box.address}, .super_nic = SuperNicId(0)});
    options.session = SessionId(box.session);
    options.secret = box.secret;
    auto transport = driver::open_verbs_transport(options, clock_);
    if (!transport.has_value()) {
      FAIL(transport.error().message());
    }
    transport_ = std::move(*transport);
  }
  ~VerbsWorld() override {
    for (const RKey key : keys_) {
      (void)free(key);
    }
  }
  VerbsWorld(const VerbsWorld&) = delete;
  VerbsWorld& operator=(const VerbsWorld&) = delete;

  Transport& transport() override { return *transport_; }
  TimePoint now() const override { return clock_.now(); }
  void step(TimePoint until) override {
    if (!transport_->progress() && now() < until) {
      std::this_thread::sleep_for(
          std::min<Duration>({transport_->poll_pause(), until - now(), kStep}));
    }
  }
  Place allocate(SizeBytes size) override {
    std::istringstream words = control_.ask("allocate " + std::to_string(size.count()));
    std::uint32_t key = 0, slab = 0, length = 0;
    std::uint64_t offset = 0;
    words >> key;
    Place place{RKey(key), {}};
    while (words >> slab >> offset >> length) {
      place.extents.push_back({{SlabId(slab), SlabOffset(offset)}, length});
    }
    REQUIRE(!place.extents.empty());
    keys_.push_back(place.key);
    return place;
  }
  void revoke(const Place& place) override {
    std::erase(keys_, place.key);
    REQUIRE(free(place.key));
  }
  bool names_refusals() const override { return false; }

 private:
  static constexpr Duration kStep = std::chrono::milliseconds(5);

  bool free(RKey key) {
    std::string answer;
    control_.ask("free " + std::to_string(key.value())) >> answer;
    return answer == "ok";
  }

  SteadyClock clock_;
  Control control_;
  std::vector<RKey> keys_;
  std::unique_ptr<Transport> transport_;
};

TEST_CASE("the transport over RDMA keeps the contract of transports", "[contract]") {
  const RoceBox box = roce_box();
  check_contract(transport_contract(), [&box] { return std::make_unique<VerbsWorld>(box); });
}

// All of the pool's bytes at a place, as one remote list.
std::vector<RemoteSegment> all_of(const TransportWorld::Place& place) {
  std::vector<RemoteSegment> segments;
  for (const Extent& extent : place.extents) {
    segments.push_back({place.key, extent.address, extent.length_bytes});
  }
  return segments;
}

bool is_up(Transport& transport) { return transport.lane_status(LaneId(0)).state == LaneState::up; }

struct Run {
  std::vector<std::byte> memory;
  std::vector<LocalSegment> local;
  std::vector<RemoteSegment> remote;
  WorkRequest request;

  Run(std::uint64_t id, WorkOp op, const TransportWorld::Place& place, std::size_t size)
      : memory(size), local{{memory.data(), size}}, remote(all_of(place)) {
    request.id = WorkId(id);
    request.op = op;
    request.total_bytes = size;
    request.remote = remote;
    request.local = local;
  }
};

std::map<std::uint64_t, Errc> finish(VerbsWorld& world, std::size_t count) {
  std::map<std::uint64_t, Errc> done;
  REQUIRE(world.run([&] {
    (void)world.transport().progress();
    for (Completion one; world.transport().poll({&one, 1}) > 0;) {
      CHECK(done.emplace(one.id.value(), one.status).second);
    }
    return done.size() >= count;
  }));
  return done;
}

TEST_CASE("one refused request costs the others of its lane nothing", "[contract]") {
  constexpr std::size_t kSize = 100'000, kCount = 32, kBad = 9;
  VerbsWorld world(roce_box());
  const auto place = world.allocate(SizeBytes(kSize));
  REQUIRE(world.run([&] { return is_up(world.transport()); }));
  Run write(0, WorkOp::write, place, kSize);
  for (std::size_t i = 0; i < kSize; ++i) {
    write.memory[i] = static_cast<std::byte>(i * 7 + i / 255);
  }
  REQUIRE(world.transport().post(LaneId(0), write.request) == Errc::ok);
  CHECK(finish(world, 1).at(0) == Errc::ok);
  std::vector<std::unique_ptr<Run>> runs;
  for (std::size_t i = 0; i < kCount; ++i) {
    runs.push_back(std::make_unique<Run>(i, WorkOp::read, place, kSize));
    if (i == kBad) {
      for (RemoteSegment& segment : runs.back()->remote) {
        segment.key = RKey(segment.key.value() ^ 1U);
      }
    }
    REQUIRE(world.transport().post(LaneId(0), runs.back()->request) == Errc::ok);
  }
  for (const auto& [id, status] : finish(world, kCount)) {
    CAPTURE(id);
    CHECK(status == (id == kBad ? Errc::key_revoked : Errc::ok));
    CHECK((runs[id]->memory == write.memory) == (id != kBad));
  }
}

TEST_CASE("announced memory is used, also where a request lies in two pieces of it", "[contract]") {
  constexpr std::size_t kSize = 300'000, kFirst = 123'457;
  VerbsWorld world(roce_box());
  const auto place = world.allocate(SizeBytes(kSize));
  Run write(0, WorkOp::write, place, kSize), read(1, WorkOp::read, place, kSize);
  const MutableSpan before = MutableSpan(write.memory).first(kFirst);
  REQUIRE(world.transport().register_memory(before).has_value());
  REQUIRE(world.run([&] { return is_up(world.transport()); }));
  REQUIRE(world.transport().register_memory(MutableSpan(write.memory).subspan(kFirst)).has_value());
  for (unsigned char round = 1; round < 4; ++round) {
    std::ranges::fill(write.memory, std::byte{round});
    REQUIRE(world.transport().post(LaneId(0), write.request) == Errc::ok);
    CHECK(finish(world, 1).at(0) == Errc::ok);
    REQUIRE(world.transport().post(LaneId(0), read.request) == Errc::ok);
    CHECK(finish(world, 1).at(1) == Errc::ok);
    CHECK(read.memory == write.memory);
    world.transport().deregister_memory(before);  // then half of it is not; again: nothing to do
  }
}

TEST_CASE("a request whose deadline has passed is not begun", "[contract]") {
  VerbsWorld world(roce_box());
  const auto place = world.allocate(SizeBytes(4096));
  REQUIRE(world.run([&] { return is_up(world.transport()); }));
  Run late(0, WorkOp::read, place, 4096), next(1, WorkOp::read, place, 4096);
  std::ranges::fill(late.memory, std::byte{0xEE});
  late.request.deadline = world.now();
  REQUIRE(world.transport().post(LaneId(0), late.request) == Errc::ok);
  REQUIRE(world.transport().post(LaneId(0), next.request) == Errc::ok);
  const auto done = finish(world, 2);
  CHECK(done.at(0) == Errc::deadline_exceeded);
  CHECK(done.at(1) == Errc::ok);
  CHECK(late.memory == std::vector<std::byte>(4096, std::byte{0xEE}));
}

TEST_CASE("after a fence of WRITEs no other begins before the far side has answered",
          "[contract]") {
  constexpr std::size_t kSize = std::size_t{4} << 20U;
  VerbsWorld world(roce_box());
  const auto place = world.allocate(SizeBytes(kSize));
  Transport& transport = world.transport();
  REQUIRE(world.run(
      [&] { return is_up(transport) && transport.lane_status(LaneId(1)).state == LaneState::up; }));
  Run first(0, WorkOp::write, place, kSize), second(1, WorkOp::write, place, kSize);
  REQUIRE(transport.post(LaneId(0), first.request) == Errc::ok);
  (void)transport.progress();
  transport.fence(LaneId(0));
  CHECK(transport.post(LaneId(1), second.request) == Errc::queue_full);
  CHECK(finish(world, 1).at(0) == Errc::lane_fenced);
  REQUIRE(world.run([&] {
    (void)transport.progress();
    return transport.post(LaneId(1), second.request) == Errc::ok;
  }));
  CHECK(finish(world, 1).at(1) == Errc::ok);
}

TEST_CASE("a lane without the session's secret is refused, and says why", "[contract]") {
  const RoceBox box = roce_box();
  driver::VerbsOptions options;
  options.lanes = {{.addresses = {box.address}, .super_nic = SuperNicId(0)}};
  options.session = SessionId(box.session);
  std::string why;
  options.on_connect_failed = [&why](LaneId, const Error& error) { why = error.message(); };
  const SteadyClock clock;
  const auto transport = driver::open_verbs_transport(options, clock);
  REQUIRE(transport.has_value());
  const TimePoint limit = clock.now() + std::chrono::seconds(20);
  while ((*transport)->lane_status(LaneId(0)).state == LaneState::connecting &&
         clock.now() < limit) {
    (void)(*transport)->progress();
  }
  CHECK((*transport)->lane_status(LaneId(0)).state == LaneState::down);
  CHECK((*transport)->lane_status(LaneId(0)).last_error == Errc::access_denied);
  CHECK(why == "access_denied: " + box.address + ": the box rejects the connection: access_denied");
}

TEST_CASE("an address that no RDMA device has a route to is passed over, or named", "[contract]") {
  const RoceBox box = roce_box();
  const std::string nowhere = "fd00:dead::9";
  driver::VerbsOptions options;
  options.lanes = {{.addresses = {nowhere, box.address}, .super_nic = SuperNicId(0)},
                   {.addresses = {nowhere}, .super_nic = SuperNicId(0)}};
  options.session = SessionId(box.session);
  options.secret = box.secret;
  std::map<LaneId, Error> why;
  options.on_connect_failed = [&why](LaneId lane, const Error& error) { why[lane] = error; };
  const SteadyClock clock;
  const auto transport = driver::open_verbs_transport(options, clock);
  REQUIRE(transport.has_value());
  const TimePoint limit = clock.now() + std::chrono::seconds(20);
  while (!is_up(**transport) && clock.now() < limit) {
    (void)(*transport)->progress();
  }
  CHECK(is_up(**transport));
  CHECK((*transport)->lane_status(LaneId(1)).state == LaneState::down);
  REQUIRE(why.size() == 1);
  CHECK(why.at(LaneId(1)).code == Errc::device_missing);
  CHECK(why.at(LaneId(1)).detail.find(nowhere + ": no RDMA device here has a route there") == 0);
}

}  // namespace
}  // namespace godbox::test
