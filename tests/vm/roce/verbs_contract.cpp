// SPDX-License-Identifier: Apache-2.0
//
// The contract of transports over RDMA, in a guest with an RDMA device, against a RoCE port.
// Environment: GODBOX_ROCE_BOX is "ADDRESS SESSION SECRET SECRET CONTROL-ADDRESS CONTROL-PORT":
// what roce_server says of its session, and where its commands (allocate, free) are taken over TCP.
#include "rdma_contract.h"
#include "src/transport_work.h"
#include <godbox/driver/verbs_transport.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <thread>

#include <arpa/inet.h>
#include <sys/mman.h>
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
  const auto world = [&box] { return std::make_unique<VerbsWorld>(box); };
  check_contract(transport_contract(), world);
  check_contract(rdma_contract(), world);
}

TEST_CASE("announced memory is used, also where a request lies in two pieces of it", "[contract]") {
  constexpr std::size_t kSize = 300'000, kFirst = 123'457;
  VerbsWorld world(roce_box());
  const auto place = world.allocate(SizeBytes(kSize));
  Bytes out(kSize), in(kSize);
  const MutableSpan before = MutableSpan(out).first(kFirst);
  REQUIRE(world.transport().register_memory(before).has_value());
  wait_until_up(world);
  REQUIRE(world.transport().register_memory(MutableSpan(out).subspan(kFirst)).has_value());
  for (std::uint32_t round = 1; round < 4; ++round) {
    std::ranges::copy(random_bytes(kSize, round), out.begin());
    REQUIRE(move(world, WorkOp::write, place, 0, out) == Errc::ok);
    REQUIRE(move(world, WorkOp::read, place, 0, in) == Errc::ok);
    CHECK(in == out);
    world.transport().deregister_memory(before);  // then half of it is not; again: nothing to do
  }
}

TEST_CASE("a dma-buf is refused by its name where the device takes none", "[contract]") {
  VerbsWorld world(roce_box());
  Transport& transport = world.transport();
  wait_until_up(world);
  Bytes bytes(8192);
  const int descriptor = memfd_create("no dma-buf", MFD_CLOEXEC);
  REQUIRE(descriptor >= 0);
  const Result<void> refused = transport.register_dma_buf(bytes, descriptor, SizeBytes(0));
  close(descriptor);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::unsupported);  // Linux's rxe
  CHECK(refused.error().detail.find("dma-buf cannot be registered with rxe") != std::string::npos);
  const Result<void> none = transport.register_dma_buf(bytes, -1, SizeBytes(0));
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().code == Errc::invalid_argument);
  const Result<void> empty = transport.register_dma_buf({}, -1, SizeBytes(0));
  REQUIRE_FALSE(empty.has_value());
  CHECK(empty.error().code == Errc::invalid_argument);
}

TEST_CASE("what fits into a send goes with it, in as many pieces as it has", "[contract]") {
  VerbsWorld world(roce_box());
  wait_until_up(world);
  const auto place = world.allocate(SizeBytes(4096));
  for (const std::size_t size : {1U, 8U, 127U, 128U, 129U, 1000U}) {
    CAPTURE(size);
    Bytes out = random_bytes(size, static_cast<std::uint32_t>(size)), in(size);
    Work work;
    work.remote = part_of(place, 0, size);
    for (std::size_t at = 0; at < size; at += 13) {
      work.local.push_back({out.data() + at, std::min<std::size_t>(13, size - at)});
    }
    REQUIRE(finish(world, work.seal(78, WorkOp::write), kLane) == Errc::ok);
    REQUIRE(move(world, WorkOp::read, place, 0, in) == Errc::ok);
    CHECK(in == out);
  }
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
  settle(**transport);
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
  settle(**transport);
  settle(**transport, LaneId(1));
  CHECK((*transport)->lane_status(LaneId(0)).state == LaneState::up);
  CHECK((*transport)->lane_status(LaneId(1)).state == LaneState::down);
  REQUIRE(why.size() == 1);
  CHECK(why.at(LaneId(1)).code == Errc::device_missing);
  CHECK(why.at(LaneId(1)).detail.find(nowhere + ": no RDMA device here has a route there") == 0);
}

}  // namespace
}  // namespace godbox::test
