// SPDX-License-Identifier: Apache-2.0
//
// What clients can take from each other at a door: places for requests that wait, and memory for
// replies that nobody reads.
#include "door_fixture.h"
#include "doors/native/reply_budget.h"

#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>

namespace godbox::emulator {
namespace {

using test::DoorPeer;
using namespace std::chrono_literals;

class Sleeper final : public WakeTarget {
 public:
  void wake(std::uint64_t /*token*/, WakeReason /*reason*/) override {}
};

// Takes all places that one tenant may have; the tokens of the requests are 0, 1 and so on.
std::uint64_t flood(PoolService& service, SessionId session, Sleeper& sleeper) {
  wire::LookupReply reply;
  std::uint64_t count = 0;
  while (
      service.wait(session, {0, 0, 1000, {"never"}}, {&sleeper, count, true}, reply).is_waiting) {
    ++count;
  }
  return count;
}

void send_wait(DoorPeer& peer, std::string_view name, std::uint32_t wait_ms) {
  peer.send_frame(peer.request(wire::Op::wait),
                  wire::encode(wire::WaitRequest{0, 0, wait_ms, {name}}));
}

std::unique_ptr<DoorPeer> open(DoorFixture& fixture, std::string_view tenant) {
  std::unique_ptr<DoorPeer> peer = fixture.connect();
  (void)peer->open_control(tenant);
  return peer;
}

TEST_CASE("a tenant that floods the box with requests that wait keeps no other from waiting",
          "[unit][native_door]") {
  DoorFixture fixture;
  PoolService& service = fixture.box.service();
  Sleeper sleeper;
  const SessionId evil = service.open_session("evil")->id;
  const std::uint64_t taken = flood(service, evil, sleeper);
  const std::unique_ptr<DoorPeer> calm = open(fixture, "test");
  send_wait(*calm, "object", 60'000);
  CHECK_FALSE(calm->take_frame());
  const wire::ReserveAnswer put = fixture.reserve("object", 10);
  wire::CommitRequest commit;
  commit.items.push_back({put.reservation, {}});
  (void)fixture.control->call(wire::Op::commit, commit);
  calm->pump();
  const auto answer = calm->take_frame();
  REQUIRE(answer.has_value());
  CHECK(wire::decode<wire::LookupReply>(answer->body)->objects.at(0).status == Errc::ok);

  // Its own are refused, until one of them is over, in whichever way.
  const std::unique_ptr<DoorPeer> full = open(fixture, "evil");
  send_wait(*full, "never", 60'000);
  CHECK(full->take_frame()->header.status == Errc::limit_exceeded);
  service.cancel_wait(sleeper, taken - 1);
  for (int i = 0; i < 4; ++i) {
    const std::unique_ptr<DoorPeer> peer = open(fixture, "evil");
    send_wait(*peer, "never", 60'000);
    CHECK_FALSE(peer->take_frame());
    send_wait(*full, "never", 60'000);
    CHECK(full->take_frame()->header.status == Errc::limit_exceeded);
    switch (i) {
      case 0:
        peer->close();
        break;
      case 1:
        peer->send_frame(peer->request(wire::Op::goodbye), {});
        break;
      case 2:
        peer->advance(60s);
        CHECK(peer->take_frame()->header.status == Errc::ok);
        break;
      default:
        // A second request, as the first one waits: credits of a connection are no way around it.
        send_wait(*peer, "never", 0);
        CHECK(peer->take_frame()->header.status == Errc::ok);
        break;
    }
  }
  for (std::uint64_t token = 0; token + 1 < taken; ++token) {
    service.cancel_wait(sleeper, token);
  }
  CHECK(flood(service, evil, sleeper) == taken);
}

// 64 clients that ask and do not read, one of the same tenant that does, and one of another.
struct DeafClients {
  static constexpr std::uint64_t kBudgetBytes = 1U << 20U;
  static constexpr std::size_t kNames = 1000;                                      // of a request
  static constexpr std::size_t kReplyBytes = kNames * sizeof(wire::LookupRecord);  // and a little
  static constexpr int kRequests = 16;                                             // of a client

  explicit DeafClients(bool sends_headers_first = false)
      : fixture([] {
          test::TestBoxOptions options;
          options.door.reply_bytes_total_max = kBudgetBytes;
          return options;
        }()) {
    wire::LookupRequest lookup;
    lookup.names.assign(kNames, "missing");
    body = wire::encode(lookup);
    for (int i = 0; i < 64; ++i) {
      clients.push_back(open(fixture, "deaf"));
      clients.back()->takes_output = false;
    }
    if (sends_headers_first) {
      send_headers_first();
      return;
    }
    for (int request = 0; request < kRequests; ++request) {
      for (const std::unique_ptr<DoorPeer>& client : clients) {
        client->send_frame(client->request(wire::Op::lookup), body);
      }
    }
  }
  // All headers first: when they are looked at, nothing waits for anybody yet.
  void send_headers_first() {
    for (const std::unique_ptr<DoorPeer>& client : clients) {
      frames.push_back(wire::encode_frame(client->request(wire::Op::lookup), body));
      client->send(ConstSpan(frames.back()).first(wire::kHeaderBytes + 1));
    }
    for (std::size_t i = 0; i < clients.size(); ++i) {
      clients[i]->send(ConstSpan(frames[i]).subspan(wire::kHeaderBytes + 1));
    }
  }
  [[nodiscard]] std::uint64_t reply_bytes() {
    return boost::json::parse(fixture.box.box().status_json())
        .at("reply_bytes")
        .to_number<std::uint64_t>();
  }

  DoorFixture fixture;
  wire::Body body;
  std::vector<std::vector<std::byte>> frames;
  std::vector<std::unique_ptr<DoorPeer>> clients;
};

TEST_CASE("clients that do not read take a bounded part of the box's memory",
          "[unit][native_door]") {
  DeafClients deaf;
  // Half, and the reply that went beyond it.
  CHECK(deaf.reply_bytes() >= DeafClients::kBudgetBytes / 2);
  CHECK(deaf.reply_bytes() <= DeafClients::kBudgetBytes / 2 + DeafClients::kReplyBytes + 100);
  std::size_t unread = 0;
  for (const std::unique_ptr<DoorPeer>& client : deaf.clients) {
    unread += client->unread_bytes() > 0 ? 1 : 0;
  }
  CHECK(unread > 60);

  SECTION("another tenant is served beside them") {
    for (int i = 0; i < 100; ++i) {
      REQUIRE(deaf.fixture.control->call(wire::Op::lookup, ConstSpan(deaf.body)).header.status ==
              Errc::ok);
    }
  }
  SECTION("once they read, each has all its answers") {
    for (const std::unique_ptr<DoorPeer>& client : deaf.clients) {
      client->takes_output = true;
      client->pump();
    }
    for (const std::unique_ptr<DoorPeer>& client : deaf.clients) {
      client->advance(10ms);
      for (int request = 0; request < DeafClients::kRequests; ++request) {
        const auto answer = client->take_frame();
        REQUIRE(answer.has_value());
        CHECK(answer->header.status == Errc::ok);
        CHECK(answer->body.size() >= DeafClients::kReplyBytes);
      }
    }
    CHECK(deaf.reply_bytes() == 0);
  }
  SECTION("one of their tenant that reads is served once they are cut off") {
    deaf.clients.resize(20);
    const std::unique_ptr<DoorPeer> reader = open(deaf.fixture, "deaf");
    reader->send_frame(reader->request(wire::Op::lookup), deaf.body);
    CHECK_FALSE(reader->take_frame());
    // Each time some are, those that were not served yet take their place, and go in their turn.
    auto answer = reader->take_frame();
    for (int second = 0; second < 40 && !answer; ++second) {
      reader->advance(1s);
      for (const std::unique_ptr<DoorPeer>& client : deaf.clients) {
        client->pump();
      }
      // It is the box that keeps it waiting, in the middle of a frame.
      REQUIRE_FALSE(reader->is_closed());
      answer = reader->take_frame();
    }
    REQUIRE(answer.has_value());
    CHECK(answer->body.size() >= DeafClients::kReplyBytes);
    CHECK(deaf.reply_bytes() <= DeafClients::kBudgetBytes / 2 + DeafClients::kReplyBytes + 100);
  }
  SECTION("what they had is free once they are gone") {
    deaf.clients.clear();
    CHECK(deaf.reply_bytes() == 0);
  }
}

TEST_CASE("nor do those whose requests had all begun when nothing waited for them",
          "[unit][native_door]") {
  DeafClients deaf(true);
  CHECK(deaf.reply_bytes() >= DeafClients::kBudgetBytes / 2);
  CHECK(deaf.reply_bytes() <= DeafClients::kBudgetBytes / 2 + DeafClients::kReplyBytes + 100);
  CHECK(deaf.fixture.control->call(wire::Op::lookup, ConstSpan(deaf.body)).header.status ==
        Errc::ok);
  for (const std::unique_ptr<DoorPeer>& client : deaf.clients) {
    client->takes_output = true;
    client->pump();
  }
  for (const std::unique_ptr<DoorPeer>& client : deaf.clients) {
    client->advance(10ms);
    const auto answer = client->take_frame();
    REQUIRE(answer.has_value());
    CHECK(answer->header.status == Errc::ok);
    CHECK(answer->body.size() >= DeafClients::kReplyBytes);
  }
  CHECK(deaf.reply_bytes() == 0);
}

TEST_CASE("requests that wait are answered once there is room for their replies",
          "[unit][native_door]") {
  DeafClients deaf;
  const std::unique_ptr<DoorPeer> control = open(deaf.fixture, "test");
  deaf.clients.clear();
  std::vector<std::unique_ptr<DoorPeer>> waiting;
  wire::WaitRequest wait{0, 0, 1000, {}};
  wait.names.assign(DeafClients::kNames, "missing");
  for (int i = 0; i < 64; ++i) {
    waiting.push_back(open(deaf.fixture, "deaf"));
    waiting.back()->takes_output = false;
    for (int request = 0; request < 4; ++request) {
      waiting.back()->send_frame(waiting.back()->request(wire::Op::wait), wire::encode(wait));
    }
  }
  deaf.fixture.box.clock().advance(1s);
  for (const std::unique_ptr<DoorPeer>& client : waiting) {
    client->pump();
  }
  CHECK(deaf.reply_bytes() >= DeafClients::kBudgetBytes / 2);
  CHECK(deaf.reply_bytes() <= DeafClients::kBudgetBytes / 2 + DeafClients::kReplyBytes + 100);
  for (const std::unique_ptr<DoorPeer>& client : waiting) {
    client->takes_output = true;
    client->pump();
  }
  for (const std::unique_ptr<DoorPeer>& client : waiting) {
    client->advance(10ms);
    for (int request = 0; request < 4; ++request) {
      REQUIRE(client->take_frame().has_value());
    }
  }
  CHECK(deaf.reply_bytes() == 0);
}

TEST_CASE("the budget of replies knows tenants as long as they have connections",
          "[unit][native_door]") {
  ReplyBudget budget(100);
  ReplyBudget::Share nobody;
  nobody.add(1000);
  CHECK(budget.bytes() == 0);
  CHECK(nobody.has_room());
  for (int round = 0; round < 2; ++round) {
    ReplyBudget::Share first;
    ReplyBudget::Share second;
    ReplyBudget::Share other;
    first.join(budget, "a");
    second.join(budget, "a");
    other.join(budget, "b");
    first.add(49);
    CHECK(second.has_room());
    first.add(1);
    CHECK_FALSE(second.has_room());
    CHECK(other.has_room());
    other.add(70);  // the reply that goes beyond
    CHECK(budget.bytes() == 120);
    CHECK_FALSE(other.has_room());
    first.remove(50);
    CHECK(second.has_room());
    other.remove(70);
    CHECK(other.has_room());
  }
}

}  // namespace
}  // namespace godbox::emulator
