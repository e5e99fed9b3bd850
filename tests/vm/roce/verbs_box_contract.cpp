// SPDX-License-Identifier: Apache-2.0
//
// The contract of transports over RDMA to a box whose own RDMA device moves the bytes: box and
// client in this process, in a guest. Environment: GODBOX_VERBS_BOX is what a port of the box is
// made of, "10.0.2.15/24@verbs:rxe0".
#include "rdma_contract.h"
#include "src/served_world.h"
#include "src/transport_work.h"
#include <godbox/driver/verbs_transport.h>

#include <cstdlib>
#include <string>
#include <thread>

namespace godbox::test {
namespace {

std::vector<std::string> verbs_port() {
  const char* const text = std::getenv("GODBOX_VERBS_BOX");
  if (text == nullptr) {
    SKIP("needs GODBOX_VERBS_BOX: tests/vm/roce/verbs_box_test.py sets it in a guest");
  }
  return {text};
}

std::unique_ptr<ServedWorld> world_over(const MemoryForm& form = {},
                                        const ConnectOptions& options = {}) {
  return std::make_unique<ServedWorld>("verbs:", options, nullptr, form, verbs_port());
}

TEST_CASE("a box with an RDMA device keeps the contract of transports", "[box]") {
  (void)verbs_port();  // or skipped here
  check_contract(transport_contract(), [] { return world_over(); });
  check_contract(rdma_contract(), [] {
    ConnectOptions options;
    options.lanes_per_eth_port = 2;
    return world_over({}, options);
  });
}

TEST_CASE("so does one whose channels share their memory, in granules", "[box]") {
  (void)verbs_port();  // or skipped here
  check_contract(transport_contract(), [] { return world_over(kFinelyInterleaved); });
}

class ServedClient {
 public:
  ServedClient() {
    emulator::BoxConfig config = small_box(folder_.socket());
    config.backing_limit = SizeBytes(std::uint64_t{96} << 20U);
    config.roce_ports = verbs_port();
    server = serve(std::move(config));
    const std::string tcp = server->eth_port_addresses().front().to_string();
    auto connected = connect("verbs:" + tcp.substr(tcp.find(':') + 1));
    if (!connected.has_value()) {
      FAIL(connected.error().message());
    }
    connection = std::move(*connected);
  }
  [[nodiscard]] striping::Client& client() { return connection->client(); }
  [[nodiscard]] emulator::PoolUsage usage() { return server->box().service().usage(); }

 private:
  ServedFolder folder_;

 public:
  std::unique_ptr<app::BoxServer> server;
  std::unique_ptr<Connection> connection;
};

void check_put_and_get(striping::Client& client, const std::string& name, Bytes& bytes) {
  const LocalSegment out{bytes.data(), bytes.size()};
  const striping::PutItem put{name, {&out, 1}, {}};
  REQUIRE(client.put({&put, 1}) == std::vector<Errc>{Errc::ok});
  Bytes copy(bytes.size());
  const LocalSegment in{copy.data(), copy.size()};
  const striping::GetItem get{name, {&in, 1}};
  REQUIRE(client.get({&get, 1}) == std::vector<Errc>{Errc::ok});
  REQUIRE(copy == bytes);
}

// Memory comes and goes many times over: what the device has pinned of a chunk that the pool has
// given back must not be read again, nor keep it.
TEST_CASE("memory that the pool gives back and takes again is registered anew", "[box]") {
  ServedClient box;
  for (unsigned round = 0; round < 6; ++round) {
    CAPTURE(round);
    for (unsigned i = 0; i < 12; ++i) {  // more than the box has memory for: eviction
      Bytes bytes = random_bytes(std::size_t{9} << 20U, round * 16 + i);
      const std::string name = std::to_string(round) + "/" + std::to_string(i);
      check_put_and_get(box.client(), name, bytes);
    }
  }
  CHECK(box.usage().evictions > 0);
  CHECK(box.usage().backed.count() <= std::uint64_t{96} << 20U);
}

TEST_CASE("a client that dies in the middle of a write leaves nothing pinned", "[box]") {
  ServedClient box;
  auto region = box.client().allocate(SizeBytes(std::uint64_t{16} << 20U));
  REQUIRE(region.has_value());
  Transport& transport = box.client().transport();
  Run write(1, WorkOp::write, {region->key, region->extents}, std::size_t{16} << 20U);
  REQUIRE(transport.post(kLane, write.request) == Errc::ok);
  (void)transport.progress();
  box.connection.reset();
  const auto is_gone = [&] { return box.usage().sessions == 0 && box.usage().quarantined == 0; };
  for (int i = 0; i < 200 && !is_gone(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  CHECK(is_gone());
  CHECK(box.usage().regions == 0);
}

// A client that knows only READ and WRITE has nobody here to answer them.
TEST_CASE("a lane whose client would move the bytes itself is refused, and told why", "[box]") {
  ServedClient box;
  const std::string text = verbs_port().front();
  const auto session = box.server->box().service().open_session("by hand");
  REQUIRE(session.has_value());
  driver::VerbsOptions options;
  options.lanes = {{.addresses = {text.substr(0, text.find('/'))}, .super_nic = SuperNicId(0)}};
  options.session = session->id;
  options.secret = session->secret;
  std::string why;
  options.on_connect_failed = [&why](LaneId, const Error& error) { why = error.message(); };
  const SteadyClock clock;
  const auto refused_by = [&] {
    const auto transport = driver::open_verbs_transport(options, clock);
    REQUIRE(transport.has_value());
    settle(**transport);
    return (*transport)->lane_status(LaneId(0)).last_error;
  };
  CHECK(refused_by() == Errc::unsupported);
  options.lanes[0].moved_by = roce::MovedBy::box;
  options.secret.words[0] ^= 1;
  CHECK(refused_by() == Errc::access_denied);
}

}  // namespace
}  // namespace godbox::test
