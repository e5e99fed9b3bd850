// SPDX-License-Identifier: Apache-2.0
#include "fake_transport.h"
#include "scripted_box.h"
#include <godbox/crc32c.h>
#include <godbox/striping/client.h>

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <random>

namespace godbox::striping {
namespace {

using namespace std::chrono_literals;
using test::FakeTransport;
using test::ScriptedBox;

const StreamAddress kAddress = StreamAddress::parse("unix:/run/scripted.sock").value();

// A client over the box's own memory.
std::unique_ptr<Client> connect(ScriptedBox& box, ClientOptions options = {}) {
  return Client::connect(
             box, kAddress, std::move(options),
             [&box](const Client::TransportContext& context) -> Result<std::unique_ptr<Transport>> {
               LocalTransportOptions local;
               local.layout_of = context.layout_of;
               return std::unique_ptr<Transport>(
                   std::make_unique<LocalTransport>(box.mapping(), std::move(local)));
             })
      .value();
}
// A client over a FakeTransport, which the test gets to see.
std::unique_ptr<Client> connect_fake(ScriptedBox& box, FakeTransport*& seen,
                                     ClientOptions options = {}) {
  return Client::connect(
             box, kAddress, std::move(options),
             [&](const Client::TransportContext&) -> Result<std::unique_ptr<Transport>> {
               auto fake = std::make_unique<FakeTransport>(box.time, 2);
               fake->lanes[0].delay = fake->lanes[1].delay = 0ns;
               seen = fake.get();
               box.next_event = [seen = fake.get()] { return seen->next_event(); };
               return std::unique_ptr<Transport>(std::move(fake));
             })
      .value();
}

std::vector<std::byte> random_bytes(std::size_t size, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random());
  }
  return bytes;
}

Errc put_one(Client& client, std::string_view name, std::vector<std::byte>& bytes) {
  const LocalSegment piece{.data = bytes.data(), .size_bytes = bytes.size()};
  const PutItem item{.name = name, .data = {&piece, 1}};
  return client.put({&item, 1}).front();
}
Errc get_one(Client& client, std::string_view name, std::vector<std::byte>& into) {
  const LocalSegment piece{.data = into.data(), .size_bytes = into.size()};
  const GetItem item{.name = name, .into = {&piece, 1}};
  return client.get({&item, 1}).front();
}

TEST_CASE("what is put is got back, in pieces of any size, and removed", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box);
  CHECK(client->is_open());
  CHECK(client->box().box_name == "scripted");
  CHECK(client->session().epoch == Epoch(77));
  std::vector<std::vector<std::byte>> values;
  std::vector<std::vector<LocalSegment>> pieces;
  std::vector<std::string> names;
  for (std::uint32_t i = 0; i < 12; ++i) {
    values.push_back(random_bytes(std::size_t{i} * i * 3001, i));  // 0 to 363,121 bytes
    names.push_back("object " + std::to_string(i));
  }
  std::vector<PutItem> puts;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t cut = values[i].size() / 3;
    pieces.push_back({{.data = values[i].data(), .size_bytes = cut},
                      {.data = values[i].data() + cut, .size_bytes = values[i].size() - cut}});
    puts.push_back({.name = names[i], .data = pieces.back()});
  }
  CHECK(client->put(puts) == std::vector<Errc>(12, Errc::ok));
  CHECK(box.asked(wire::Op::reserve) == 1);
  CHECK(box.asked(wire::Op::commit) == 1);
  CHECK(box.asked(wire::Op::describe_slabs) == 1);
  CHECK(box.asked(wire::Op::abort) == 0);
  CHECK(box.objects.at("object 1").crc32c == std::vector<std::uint32_t>{crc32c(values[1])});
  CHECK(box.objects.at("object 0").extents.empty());

  std::vector<std::vector<std::byte>> back;
  std::vector<GetItem> gets;
  std::deque<LocalSegment> into;
  for (std::size_t i = 0; i < values.size(); ++i) {
    back.emplace_back(values[i].size());
    into.push_back({.data = back[i].data(), .size_bytes = back[i].size()});
    gets.push_back({.name = names[i], .into = {&into.back(), 1}});
  }
  CHECK(client->get(gets) == std::vector<Errc>(12, Errc::ok));
  CHECK(back == values);
  CHECK(box.asked(wire::Op::lookup) == 1);
  client->progress(box.time.now());
  CHECK(box.leases_open.empty());

  const std::string_view doomed[] = {"object 3", "nothing", "", "object 4"};
  CHECK(client->remove(doomed) ==
        std::vector<Errc>{Errc::ok, Errc::not_found, Errc::invalid_argument, Errc::ok});
  CHECK(get_one(*client, "object 3", back[3]) == Errc::not_found);
  CHECK(client->operations_in_flight() == 0);
}

TEST_CASE("each key of a batch has its own status", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box);
  std::vector<std::byte> bytes = random_bytes(5000, 1);
  const std::string long_name(513, 'x');
  REQUIRE(put_one(*client, "there", bytes) == Errc::ok);
  const LocalSegment piece{.data = bytes.data(), .size_bytes = bytes.size()};
  const LocalSegment nowhere{.data = nullptr, .size_bytes = bytes.size()};
  const PutItem puts[] = {{.name = "there", .data = {&piece, 1}},
                          {.name = "new", .data = {&piece, 1}},
                          {.name = "", .data = {&piece, 1}},
                          {.name = long_name, .data = {&piece, 1}},
                          {.name = "no memory", .data = {&nowhere, 1}},
                          {.name = "sparse", .data = {}, .sparse_size = SizeBytes(1'000'000)}};
  CHECK(client->put(puts) == std::vector<Errc>{Errc::already_exists, Errc::ok,
                                               Errc::invalid_argument, Errc::invalid_argument,
                                               Errc::invalid_argument, Errc::ok});
  CHECK(box.objects.at("sparse").sparse);
  std::vector<std::byte> other(4999);
  const LocalSegment shorter{.data = other.data(), .size_bytes = other.size()};
  std::vector<std::byte> back(5000);
  const LocalSegment right{.data = back.data(), .size_bytes = back.size()};
  const GetItem gets[] = {
      {.name = "there", .into = {&right, 1}},   {.name = "absent", .into = {&right, 1}},
      {.name = "new", .into = {&shorter, 1}},   {.name = "sparse", .into = {&right, 1}},
      {.name = long_name, .into = {&right, 1}}, {.name = "new", .into = {&nowhere, 1}}};
  CHECK(client->get(gets) == std::vector<Errc>{Errc::ok, Errc::not_found, Errc::invalid_argument,
                                               Errc::not_backed, Errc::invalid_argument,
                                               Errc::invalid_argument});
  CHECK(back == bytes);
}

TEST_CASE("wrong bytes in the pool are a crc_mismatch for their key alone", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box);
  std::vector<std::byte> bytes = random_bytes(3000, 1);
  for (const char* name : {"a", "b", "c"}) {
    REQUIRE(put_one(*client, name, bytes) == Errc::ok);
  }
  const Extent& extent = box.objects.at("b").extents.front();
  const std::uint64_t at = extent.address.offset.count();
  REQUIRE(at < std::uint64_t{4096} * ScriptedBox::kChannels);  // first row of slab 1's strips
  box.channels[at / 4096]->data()[at % 4096] ^= std::byte{1};
  std::vector<std::byte> a(3000), b(3000), c(3000);
  const LocalSegment pieces[] = {{a.data(), 3000}, {b.data(), 3000}, {c.data(), 3000}};
  const GetItem gets[] = {{.name = "a", .into = {&pieces[0], 1}},
                          {.name = "b", .into = {&pieces[1], 1}},
                          {.name = "c", .into = {&pieces[2], 1}}};
  CHECK(client->get(gets) == std::vector<Errc>{Errc::ok, Errc::crc_mismatch, Errc::ok});
  CHECK(c == bytes);
}

TEST_CASE("a client without CRC neither gives nor checks any", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box, {.tenant = {}, .crc = false});
  std::vector<std::byte> bytes = random_bytes(3000, 1);
  REQUIRE(put_one(*client, "a", bytes) == Errc::ok);
  CHECK(box.objects.at("a").crc32c.empty());
  std::vector<std::byte> back(3000);
  CHECK(get_one(*client, "a", back) == Errc::ok);
  CHECK(back == bytes);
}

TEST_CASE("a prefix lookup is one request, leases what it found, and its objects can be read",
          "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box);
  std::vector<std::byte> bytes = random_bytes(150'000, 1);
  for (const char* name : {"k0", "k1", "k2", "k4"}) {
    REQUIRE(put_one(*client, name, bytes) == Errc::ok);
  }
  const std::string_view names[] = {"k0", "k1", "k2", "k3", "k4"};
  const TimePoint asked_at = box.time.now();
  Lookup found = client->lookup_prefix(names).value();
  CHECK(box.asked(wire::Op::lookup) == 1);
  REQUIRE(found.objects.size() == 3);
  CHECK(found.objects[2].extent_count == 2);
  CHECK(found.objects[2].crc_count == 3);
  CHECK(found.lease != LeaseId());
  CHECK(found.lease_until == asked_at + 5s - 50ms);
  CHECK(box.leases_open.size() == 1);

  std::vector<std::byte> a(150'000), b(150'000), c(150'000);
  const LocalSegment pieces[] = {{a.data(), a.size()}, {b.data(), b.size()}, {c.data(), c.size()}};
  const std::span<const LocalSegment> into[] = {{&pieces[0], 1}, {&pieces[1], 1}, {&pieces[2], 1}};
  CHECK(client->get_found(found, into) == std::vector<Errc>(3, Errc::ok));
  CHECK(a == bytes);
  CHECK(c == bytes);
  CHECK(client->get_found(found, std::span(into).first(2)) ==
        std::vector<Errc>(2, Errc::invalid_argument));
  client->progress(box.time.now());
  CHECK(box.leases_open.size() == 1);  // a read of what was found leaves the lease alone
  client->release(found);
  client->progress(box.time.now());
  CHECK(box.leases_open.empty());
  CHECK(found.lease == LeaseId());
  CHECK(client->get_found(found, into) == std::vector<Errc>(3, Errc::lease_expired));
}

TEST_CASE("a lease goes back with the last copy of its lookup, also after the client", "[unit]") {
  ScriptedBox box;
  std::unique_ptr<Client> client = connect(box);
  std::vector<std::byte> bytes = random_bytes(10, 1);
  REQUIRE(put_one(*client, "a", bytes) == Errc::ok);
  const std::string_view names[] = {"a", "b"};
  {
    Lookup first = client->lookup(names).value();
    REQUIRE(first.objects.size() == 2);
    CHECK(first.objects[1].status == Errc::not_found);
    const Lookup copy = first;
    first = Lookup{};
    client->progress(box.time.now());
    CHECK(box.leases_open.size() == 1);
  }
  client->progress(box.time.now());
  CHECK(box.leases_open.empty());
  const Lookup outlives = client->lookup(names).value();
  client.reset();
  CHECK(outlives.objects.size() == 2);
}

TEST_CASE("an expired lease is not read under, before or after the copy", "[unit]") {
  ScriptedBox box;
  box.lease_ms_max = 1000;
  const std::unique_ptr<Client> client = connect(box);
  std::vector<std::byte> bytes = random_bytes(5000, 1);
  REQUIRE(put_one(*client, "a", bytes) == Errc::ok);
  const std::string_view names[] = {"a"};
  const Lookup found = client->lookup(names).value();
  std::vector<std::byte> back(5000);
  const LocalSegment piece{back.data(), back.size()};
  const std::span<const LocalSegment> into[] = {{&piece, 1}};
  box.time.advance(949ms);
  CHECK(client->get_found(found, into) == std::vector<Errc>{Errc::ok});
  box.time.advance(1ms);
  CHECK(client->get_found(found, into) == std::vector<Errc>{Errc::lease_expired});
  // The answer takes longer than the lease: get() does not trust what it would copy.
  box.on_request = [&](wire::Op op) {
    if (op == wire::Op::lookup) {
      box.time.advance(1s);
    }
  };
  CHECK(get_one(*client, "a", back) == Errc::lease_expired);
}

TEST_CASE("a copy from a mapping that outlasts its lease is not trusted", "[unit]") {
  ScriptedBox box;
  box.lease_ms_max = 1000;
  FakeTransport* fake = nullptr;
  const std::unique_ptr<Client> client = connect_fake(box, fake);
  std::vector<std::byte> bytes = random_bytes(5000, 1);
  REQUIRE(put_one(*client, "a", bytes) == Errc::ok);
  fake->lanes[0].delay = fake->lanes[1].delay = 951ms;
  CHECK(get_one(*client, "a", bytes) == Errc::ok);  // a key guards the bytes
  fake->shown_name = "local";
  CHECK(get_one(*client, "a", bytes) == Errc::lease_expired);
  fake->lanes[0].delay = fake->lanes[1].delay = 949ms;
  CHECK(get_one(*client, "a", bytes) == Errc::ok);
}

TEST_CASE("a lease too short to be trusted does not keep a key from reading", "[unit]") {
  ScriptedBox box;
  box.lease_ms_max = 20;  // less than lease_margin
  const std::unique_ptr<Client> mapped = connect(box);
  std::vector<std::byte> bytes = random_bytes(5000, 1);
  REQUIRE(put_one(*mapped, "a", bytes) == Errc::ok);
  std::vector<std::byte> back(5000);
  CHECK(get_one(*mapped, "a", back) == Errc::lease_expired);  // nothing else guards the bytes
  FakeTransport* fake = nullptr;
  const std::unique_ptr<Client> keyed = connect_fake(box, fake);
  CHECK(get_one(*keyed, "a", back) == Errc::ok);
  const std::string_view names[] = {"a"};
  const Lookup found = keyed->lookup(names).value();
  const LocalSegment piece{back.data(), back.size()};
  const std::span<const LocalSegment> into[] = {{&piece, 1}};
  box.time.advance(1s);
  CHECK(keyed->get_found(found, into) == std::vector<Errc>{Errc::ok});
  fake->outcome = [](const FakeTransport::Posted&) { return Errc::key_revoked; };
  CHECK(keyed->get_found(found, into) == std::vector<Errc>{Errc::key_revoked});
}

TEST_CASE("a lease within its own margin is refused when the client is made", "[unit]") {
  ScriptedBox box;
  const auto status_with = [&box](Duration lease) {
    ClientOptions options;
    options.lease = lease;
    const auto made =
        Client::connect(box, kAddress, options,
                        [](const Client::TransportContext&) -> Result<std::unique_ptr<Transport>> {
                          return Error(Errc::device_missing, "no transport");
                        });
    REQUIRE_FALSE(made.has_value());
    return made.error().code;
  };
  CHECK(status_with(1ms) == Errc::invalid_argument);
  CHECK(status_with(50ms) == Errc::invalid_argument);
  CHECK(status_with(-1ms) == Errc::invalid_argument);
  CHECK(box.connections.empty());
  CHECK(status_with(51ms) == Errc::device_missing);
  CHECK(status_with(0ms) == Errc::device_missing);
}

TEST_CASE("what cannot be leased is read where a key guards it, and not from a mapping", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> mapped = connect(box);
  std::vector<std::byte> bytes = random_bytes(5000, 1);
  REQUIRE(put_one(*mapped, "a", bytes) == Errc::ok);
  box.unleased.insert("a");
  std::vector<std::byte> back(5000);
  CHECK(get_one(*mapped, "a", back) == Errc::present_unleased);
  FakeTransport* fake = nullptr;
  const std::unique_ptr<Client> keyed = connect_fake(box, fake);
  CHECK(get_one(*keyed, "a", back) == Errc::ok);
  fake->outcome = [](const FakeTransport::Posted&) { return Errc::key_revoked; };
  CHECK(get_one(*keyed, "a", back) == Errc::key_revoked);
}

TEST_CASE("an answer that would be too large is asked for in halves", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box);
  std::vector<std::byte> bytes = random_bytes(100, 1);
  std::vector<std::string> names;
  for (int i = 0; i < 10; ++i) {
    names.push_back("n" + std::to_string(i));
    if (i != 6) {
      REQUIRE(put_one(*client, names.back(), bytes) == Errc::ok);
    }
  }
  const std::vector<std::string_view> views(names.begin(), names.end());
  box.lookup_names_max = 3;
  const Lookup each = client->lookup(views).value();
  REQUIRE(each.objects.size() == 10);
  for (std::size_t i = 0; i < 10; ++i) {
    CHECK(each.objects[i].status == (i == 6 ? Errc::not_found : Errc::ok));
    CHECK(each.objects[i].extent_begin == (i <= 6 ? i : i - 1));
  }
  CHECK(box.leases_open.size() > 1);
  const Lookup prefix = client->lookup_prefix(views).value();
  CHECK(prefix.objects.size() == 6);
  box.lookup_names_max = 0;
  CHECK(client->lookup(views).error().code == Errc::too_large);
}

TEST_CASE("a commit that was too early is repeated until it is taken", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box);
  std::vector<std::byte> bytes = random_bytes(5000, 1);
  const LocalSegment piece{bytes.data(), bytes.size()};
  const PutItem puts[] = {{.name = "a", .data = {&piece, 1}},
                          {.name = "b", .data = {&piece, 1}},
                          {.name = "c", .data = {&piece, 1}}};
  box.commit_statuses = {Errc::ok, Errc::write_in_flight, Errc::already_exists,
                         Errc::write_in_flight, Errc::write_in_flight};
  CHECK(client->put(puts) == std::vector<Errc>{Errc::ok, Errc::ok, Errc::already_exists});
  CHECK(box.asked(wire::Op::commit) == 4);
  CHECK(box.time.now() >= TimePoint(7ms));  // 1 + 2 + 4 ms of waiting
  client->progress(box.time.now());
  CHECK(box.reservations_open.empty());  // c's was given back
}

TEST_CASE("a commit that is never taken ends at the deadline, and the space goes back", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box, {.tenant = {}, .timeout = 200ms});
  std::vector<std::byte> bytes = random_bytes(5000, 1);
  box.commit_statuses.assign(10'000, Errc::write_in_flight);
  CHECK(put_one(*client, "a", bytes) == Errc::deadline_exceeded);
  CHECK(box.time.now() <= TimePoint(200ms));
  CHECK(box.asked(wire::Op::commit) < 15);  // the delay grows
  client->progress(box.time.now());
  CHECK(box.reservations_open.empty());
}

TEST_CASE("a put whose bytes cannot be written is aborted, others are committed", "[unit]") {
  ScriptedBox box;
  FakeTransport* fake = nullptr;
  const std::unique_ptr<Client> client = connect_fake(box, fake);
  std::vector<std::byte> bytes = random_bytes(200'000, 1);
  const LocalSegment piece{bytes.data(), bytes.size()};
  const LocalSegment small{bytes.data(), 100};
  const PutItem puts[] = {{.name = "a", .data = {&small, 1}},
                          {.name = "b", .data = {&piece, 1}},
                          {.name = "c", .data = {&small, 1}}};
  fake->outcome = [](const FakeTransport::Posted& one) {
    return one.request.total_bytes > 60'000 ? Errc::poison : Errc::ok;
  };
  CHECK(client->put(puts) == std::vector<Errc>{Errc::ok, Errc::poison, Errc::ok});
  client->progress(box.time.now());
  CHECK(box.objects.size() == 2);
  CHECK(box.reservations_open.empty());
}

TEST_CASE("a call ends at its deadline whatever the box leaves unanswered", "[unit]") {
  for (const wire::Op op :
       {wire::Op::reserve, wire::Op::describe_slabs, wire::Op::commit, wire::Op::lookup}) {
    ScriptedBox box;
    const std::unique_ptr<Client> client = connect(box, {.tenant = {}, .timeout = 300ms});
    box.silent.insert(op);
    std::vector<std::byte> bytes = random_bytes(5000, 1);
    const TimePoint begin = box.time.now();
    const Errc status =
        op == wire::Op::lookup ? get_one(*client, "a", bytes) : put_one(*client, "a", bytes);
    CHECK(status == Errc::deadline_exceeded);
    CHECK(box.time.now() - begin == 300ms);
    CHECK(box.objects.empty());
    CHECK(client->is_open());
  }
}

TEST_CASE("a stalled data path ends calls at their deadline", "[unit]") {
  ScriptedBox box;
  FakeTransport* fake = nullptr;
  const std::unique_ptr<Client> client = connect_fake(box, fake, {.tenant = {}, .timeout = 300ms});
  fake->lanes[0].stalled = fake->lanes[1].stalled = true;
  std::vector<std::byte> bytes = random_bytes(5000, 1);
  CHECK(put_one(*client, "a", bytes) == Errc::deadline_exceeded);
  CHECK(fake->posted.empty());
  client->progress(box.time.now());
  CHECK(box.reservations_open.empty());
}

TEST_CASE("wrong answers of a box are protocol errors, not crashes", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box);
  std::vector<std::byte> bytes = random_bytes(5000, 1);
  REQUIRE(put_one(*client, "a", bytes) == Errc::ok);
  box.objects.at("a").extents.pop_back();
  box.objects.at("a").crc32c.pop_back();
  CHECK(get_one(*client, "a", bytes) == Errc::protocol_error);
  box.refuse[wire::Op::reserve] = Errc::pool_full;
  CHECK(put_one(*client, "b", bytes) == Errc::pool_full);
  box.refuse[wire::Op::lookup] = Errc::wrong_epoch;
  CHECK(get_one(*client, "a", bytes) == Errc::wrong_epoch);
}

TEST_CASE("a slab that is gone takes along only what lay there", "[unit]") {
  ScriptedBox box;
  std::vector<std::byte> bytes = random_bytes(5000, 1);
  REQUIRE(put_one(*connect(box), "stays", bytes) == Errc::ok);
  REQUIRE(put_one(*connect(box), "goes", bytes) == Errc::ok);
  // Present when it was looked up, and evicted before the question for its slab.
  box.objects.at("goes").extents.front().address.slab = SlabId(12);
  box.edit_slabs = [](wire::SlabsReply& reply) {
    std::erase_if(reply.slabs,
                  [](const wire::SlabRecord& record) { return record.id == SlabId(12); });
  };
  std::vector<std::byte> stays(5000), goes(5000);
  const LocalSegment pieces[] = {{stays.data(), 5000}, {goes.data(), 5000}};
  const GetItem gets[] = {{.name = "goes", .into = {&pieces[1], 1}},
                          {.name = "stays", .into = {&pieces[0], 1}}};
  // A mapping has no keys: there the lease has to be over.
  CHECK(connect(box)->get(gets) == std::vector<Errc>{Errc::lease_expired, Errc::ok});
  CHECK(stays == bytes);
  CHECK(connect(box)->get({gets, 1}) == std::vector<Errc>{Errc::lease_expired});

  box.hides_slabs = true;
  const std::unique_ptr<Client> client = connect(box);
  CHECK(put_one(*client, "new", bytes) == Errc::reservation_expired);
  client->progress(box.time.now());
  CHECK(box.reservations_open.empty());
  const Result<Region> region = client->allocate(SizeBytes(5000));
  REQUIRE(region.has_value());
  const RegionPiece piece{.offset = RegionOffset(0), .local = pieces[0]};
  CHECK(client->write(*region, {&piece, 1}) == Errc::key_revoked);
  CHECK(client->read(*region, {&piece, 1}) == Errc::key_revoked);

  FakeTransport* fake = nullptr;
  const std::unique_ptr<Client> not_mapped = connect_fake(box, fake);
  CHECK(not_mapped->get({gets, 1}) == std::vector<Errc>{Errc::key_revoked});
}

TEST_CASE("a lookup answers only with statuses that it can have", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box);
  std::vector<std::byte> bytes = random_bytes(100, 1);
  REQUIRE(put_one(*client, "a", bytes) == Errc::ok);
  const std::string_view names[] = {"a"};
  Errc given = Errc::ok;
  box.edit_lookup = [&given](wire::LookupReply& reply) { reply.objects.at(0).status = given; };
  const auto prefix = [&](Errc status) {
    given = status;
    const Result<Lookup> found = client->lookup_prefix(names);
    return found ? Errc::ok : found.error().code;
  };
  CHECK(prefix(Errc::ok) == Errc::ok);
  CHECK(prefix(Errc::present_unleased) == Errc::ok);
  CHECK(prefix(Errc::not_found) == Errc::protocol_error);  // a prefix ends before what is absent
  CHECK(prefix(Errc::poison) == Errc::protocol_error);
  given = Errc::not_found;
  CHECK(get_one(*client, "a", bytes) == Errc::not_found);
  given = Errc::key_revoked;
  CHECK(get_one(*client, "a", bytes) == Errc::protocol_error);
}

TEST_CASE("a slab's layout is that which was asked for, and never changes", "[unit]") {
  ScriptedBox box;
  std::vector<std::byte> bytes = random_bytes(5000, 1);
  const auto put = [&] { return put_one(*connect(box), "a", bytes); };
  box.edit_slabs = [](wire::SlabsReply& reply) {
    reply.slabs.push_back(reply.slabs.front());
    reply.slabs.back().id = SlabId(99);
  };
  CHECK(put() == Errc::protocol_error);
  box.edit_slabs = [](wire::SlabsReply& reply) {
    reply.slabs.push_back(reply.slabs.front());
    reply.slabs.back().strip_bytes *= 2;
  };
  CHECK(put() == Errc::protocol_error);
  // Said twice and alike is no contradiction.
  box.edit_slabs = [](wire::SlabsReply& reply) { reply.slabs.push_back(reply.slabs.front()); };
  CHECK(put() == Errc::ok);
}

TEST_CASE("layouts that nobody uses are forgotten when there are too many", "[unit]") {
  constexpr std::size_t kLayoutsMax = 16384;
  ScriptedBox box;
  FakeTransport* fake = nullptr;
  const std::unique_ptr<Client> client = connect_fake(box, fake);
  std::vector<std::byte> bytes(kLayoutsMax + 1);
  const auto write = [&](std::uint32_t first_slab, std::size_t count) {
    Region region{.key = RKey(5), .size = SizeBytes(count), .extents = {}};
    for (std::uint32_t i = 0; i < count; ++i) {
      region.extents.push_back({.address = {SlabId(first_slab + i), {}}, .length_bytes = 1});
    }
    const RegionPiece piece{.offset = RegionOffset(0), .local = {bytes.data(), count}};
    const int before = box.asked(wire::Op::describe_slabs);
    const Errc status = client->write(region, {&piece, 1});
    return std::pair(status, box.asked(wire::Op::describe_slabs) - before);
  };
  CHECK(write(1, 10'000) == std::pair(Errc::ok, 10));
  CHECK(write(1, 10'000) == std::pair(Errc::ok, 0));
  CHECK(write(20'001, 10'000) == std::pair(Errc::ok, 10));
  CHECK(write(20'001, 10'000) == std::pair(Errc::ok, 0));
  CHECK(write(1, 1) == std::pair(Errc::ok, 1));
  CHECK(write(1, kLayoutsMax + 1).first == Errc::queue_full);
  CHECK(write(1, kLayoutsMax).first == Errc::ok);
}

TEST_CASE("a session lost in silence is told at once, with what to do", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box);
  const auto answer = [&] {
    const TimePoint begin = box.time.now();
    const Result<std::string> status = client->status_json();
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().code == Errc::session_lost);
    CHECK(status.error().detail.find("connect again") != std::string::npos);
    CHECK(box.time.now() == begin);
    CHECK_FALSE(client->is_open());
  };
  SECTION("the box hung up while nobody looked") {
    box.end(ConnectionId(1), Errc::lane_closed);
    answer();
  }
  SECTION("nobody looked for longer than any session lasts") {
    box.silent.insert(wire::Op::status);
    box.time.advance(41s);
    answer();
    CHECK(box.asked(wire::Op::status) == 0);
  }
  answer();
}

TEST_CASE("when the session is lost every call ends once with session_lost", "[unit]") {
  ScriptedBox box;
  FakeTransport* fake = nullptr;
  const std::unique_ptr<Client> client = connect_fake(box, fake);
  std::vector<std::byte> bytes = random_bytes(200'000, 1);
  const LocalSegment piece{bytes.data(), bytes.size()};
  int calls = 0;
  const auto lost = [&](std::span<const Errc> statuses) {
    ++calls;
    CHECK(statuses.size() == 1);
    CHECK(statuses.front() == Errc::session_lost);
  };
  fake->lanes[0].stalled = fake->lanes[1].stalled = true;
  const PutItem put{.name = "a", .data = {&piece, 1}};
  client->submit_put({&put, 1}, lost);
  while (fake->posted.empty()) {
    client->progress(box.time.now());
  }
  const GetItem get{.name = "b", .into = {&piece, 1}};
  client->submit_get({&get, 1}, lost);
  const std::string_view name[] = {"b"};
  client->submit_remove(name, lost);
  client->submit_lookup(name, true, [&](const Result<Lookup>& found) {
    ++calls;
    REQUIRE_FALSE(found.has_value());
    CHECK(found.error().code == Errc::session_lost);
  });
  CHECK(client->operations_in_flight() == 4);
  box.end(ConnectionId(1), Errc::lane_closed);
  for (int i = 0; i < 20; ++i) {
    client->progress(box.time.now());
  }
  CHECK(calls == 4);
  CHECK(fake->posted.empty());
  CHECK_FALSE(client->is_open());
  CHECK(client->operations_in_flight() == 0);
  CHECK(put_one(*client, "c", bytes) == Errc::session_lost);
  CHECK(client->lookup(name).error().code == Errc::session_lost);
  CHECK(client->status_json().error().code == Errc::session_lost);
  CHECK(client->allocate(SizeBytes(100)).error().code == Errc::session_lost);
}

TEST_CASE("a client that goes away ends each call once with cancelled", "[unit]") {
  for (int rounds_before = 0; rounds_before < 12; ++rounds_before) {
    CAPTURE(rounds_before);
    ScriptedBox box;
    FakeTransport* fake = nullptr;
    std::unique_ptr<Client> client = connect_fake(box, fake);
    std::vector<std::byte> bytes = random_bytes(200'000, 1);
    const LocalSegment piece{bytes.data(), bytes.size()};
    box.commit_statuses.assign(100, Errc::write_in_flight);
    int calls = 0;
    const auto cancelled = [&](std::span<const Errc> statuses) {
      ++calls;
      CHECK(std::vector<Errc>(statuses.begin(), statuses.end()) ==
            std::vector<Errc>(2, Errc::cancelled));
    };
    const PutItem puts[] = {{.name = "a", .data = {&piece, 1}}, {.name = "b", .data = {&piece, 1}}};
    client->submit_put(puts, cancelled);
    for (int i = 0; i < rounds_before; ++i) {
      client->progress(box.time.now());
      box.time.advance(200us);
    }
    CHECK(calls == 0);
    client.reset();
    CHECK(calls == 1);
    CHECK(box.connections[0].closed);
  }
}

TEST_CASE("callbacks that submit for ever do not keep a client from going away", "[unit]") {
  ScriptedBox box;
  FakeTransport* fake = nullptr;
  std::unique_ptr<Client> owner = connect_fake(box, fake);
  Client& client = *owner;
  const std::string_view name[] = {"a"};
  const LocalSegment nothing{};
  const PutItem put{.name = "a", .data = {&nothing, 1}};
  const GetItem get{.name = "a", .into = {&nothing, 1}};
  const Lookup found;
  const Region region;
  std::map<std::string, int> calls;
  const auto count = [&calls](const std::string& kind, Errc status) {
    CHECK(status == Errc::cancelled);
    calls[kind] += 1;
    REQUIRE(calls[kind] < 10);
  };
  std::map<std::string, std::function<void()>> submit;
  const auto again = [&](const std::string& kind) {
    return [&, kind](std::span<const Errc> statuses) {
      count(kind, statuses.empty() ? Errc::cancelled : statuses.front());
      submit[kind]();
    };
  };
  submit["put"] = [&] { client.submit_put({&put, 1}, again("put")); };
  submit["get"] = [&] { client.submit_get({&get, 1}, again("get")); };
  submit["get_found"] = [&] { client.submit_get_found(found, {}, again("get_found")); };
  submit["remove"] = [&] { client.submit_remove(name, again("remove")); };
  submit["lookup"] = [&] {
    client.submit_lookup(name, false, [&](const Result<Lookup>& result) {
      REQUIRE_FALSE(result.has_value());
      count("lookup", result.error().code);
      submit["lookup"]();
    });
  };
  submit["region"] = [&] {
    const RegionPiece beyond{.offset = RegionOffset(1), .local = {}};
    client.submit_region(WorkOp::read, region, {&beyond, 1}, [&](Errc status) {
      count("region", calls["region"] == 0 ? Errc::cancelled : status);  // the first: out_of_range
      submit["region"]();
    });
  };
  for (const auto& [kind, begin] : submit) {
    begin();
  }
  CHECK(client.operations_in_flight() == submit.size());
  owner.reset();
  for (const auto& [kind, begin] : submit) {
    CAPTURE(kind);
    CHECK(calls[kind] == 2);  // its own, and that of the call which it made
  }
}

TEST_CASE("plain calls in a last callback do not wait", "[unit]") {
  ScriptedBox box;
  std::unique_ptr<Client> owner = connect(box);
  Client& client = *owner;
  const std::string_view name[] = {"a"};
  std::vector<std::byte> bytes(100);
  int called = 0;
  client.submit_remove(name, [&](std::span<const Errc>) {
    ++called;
    CHECK(put_one(client, "a", bytes) == Errc::cancelled);
    CHECK(get_one(client, "a", bytes) == Errc::cancelled);
    CHECK(client.lookup(name).error().code == Errc::cancelled);
    CHECK(client.status_json().error().code == Errc::cancelled);
    CHECK(client.write(Region{}, {}) == Errc::cancelled);
    CHECK_FALSE(client.progress(kNever));
  });
  owner.reset();
  CHECK(called == 1);
}

TEST_CASE("more calls than a client takes in are refused at once", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box);
  std::size_t done = 0;
  for (std::size_t i = 0; i < Client::kOperationsMax; ++i) {
    client->submit_get_found(Lookup{}, {}, [&done](std::span<const Errc>) { ++done; });
  }
  CHECK(client->operations_in_flight() == Client::kOperationsMax);
  CHECK(done == 0);
  const std::string_view names[] = {"a", "b"};
  std::vector<Errc> refused;
  client->submit_remove(names, [&refused](std::span<const Errc> statuses) {
    refused.assign(statuses.begin(), statuses.end());
  });
  CHECK(refused == std::vector<Errc>(2, Errc::queue_full));
  CHECK(client->lookup(names).error().code == Errc::queue_full);
  client->progress(box.time.now());
  CHECK(done == Client::kOperationsMax);
  CHECK(client->operations_in_flight() == 0);
  CHECK(client->remove(names) == std::vector<Errc>(2, Errc::not_found));
}

TEST_CASE("callbacks may use the client, also with calls that wait", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box);
  std::vector<std::byte> bytes = random_bytes(5000, 1);
  const LocalSegment piece{bytes.data(), bytes.size()};
  const PutItem put{.name = "a", .data = {&piece, 1}};
  std::vector<std::byte> back(5000);
  int done = 0;
  client->submit_put({&put, 1}, [&](std::span<const Errc> statuses) {
    CHECK(statuses.front() == Errc::ok);
    CHECK(get_one(*client, "a", back) == Errc::ok);
    const std::string_view name[] = {"a"};
    client->submit_remove(name, [&](std::span<const Errc> removed) {
      CHECK(removed.front() == Errc::ok);
      ++done;
    });
    ++done;
  });
  while (done < 2) {
    client->progress(kNever);
  }
  CHECK(back == bytes);
}

TEST_CASE("pieces of a region begin and end anywhere", "[unit]") {
  ScriptedBox box;
  box.extent_bytes = 7001;
  const std::unique_ptr<Client> client = connect(box);
  Region region = client->allocate(SizeBytes(300'000)).value();
  CHECK(region.extents.size() == 43);
  std::vector<std::byte> model(300'000);
  std::vector<std::byte> all(300'000);
  const RegionPiece whole{.offset = RegionOffset(0), .local = {all.data(), all.size()}};
  REQUIRE(client->write(region, {&whole, 1}) == Errc::ok);
  const std::uint32_t seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937 random(seed);
  std::vector<std::byte> source = random_bytes(300'000, seed);
  for (int round = 0; round < 40; ++round) {
    // Writes that do not overlap each other, from anywhere in `source`.
    std::vector<RegionPiece> pieces;
    for (std::uint64_t at = random() % 5000; at < 300'000;) {
      const std::uint64_t size =
          std::min<std::uint64_t>(random() % (round % 2 == 0 ? 40'000U : 300U), 300'000 - at);
      const std::uint64_t from = random() % (300'000 - size + 1);
      pieces.push_back({.offset = RegionOffset(at), .local = {source.data() + from, size}});
      std::memcpy(model.data() + at, source.data() + from, size);
      at += size + random() % 5000;
    }
    REQUIRE(client->write(region, pieces) == Errc::ok);
  }
  REQUIRE(client->read(region, {&whole, 1}) == Errc::ok);
  CHECK(all == model);
  std::vector<std::byte> some(1000);
  const RegionPiece backwards[] = {{.offset = RegionOffset(299'500), .local = {some.data(), 500}},
                                   {.offset = RegionOffset(13), .local = {some.data() + 500, 500}}};
  REQUIRE(client->read(region, backwards) == Errc::ok);
  CHECK(std::memcmp(some.data(), model.data() + 299'500, 500) == 0);
  CHECK(std::memcmp(some.data() + 500, model.data() + 13, 500) == 0);
  CHECK(client->free(region).has_value());
  CHECK(region.extents.empty());
}

TEST_CASE("pieces beyond a region are out of range and nothing moves", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box);
  const Region region = client->allocate(SizeBytes(10'000)).value();
  std::vector<std::byte> bytes(10'001, std::byte{1});
  const auto status = [&](std::uint64_t offset, std::size_t size) {
    const RegionPiece piece{.offset = RegionOffset(offset), .local = {bytes.data(), size}};
    return client->write(region, {&piece, 1});
  };
  CHECK(status(0, 10'001) == Errc::out_of_range);
  CHECK(status(10'000, 1) == Errc::out_of_range);
  CHECK(status(UINT64_MAX, 2) == Errc::out_of_range);
  CHECK(status(10'000, 0) == Errc::ok);
  CHECK(status(9'999, 1) == Errc::ok);
  CHECK(client->write(region, {}) == Errc::ok);
}

TEST_CASE("lists and texts come through", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box);
  std::vector<std::byte> bytes = random_bytes(10, 1);
  for (const char* name : {"x1", "x2", "x3", "y"}) {
    REQUIRE(put_one(*client, name, bytes) == Errc::ok);
  }
  const wire::ListReply listed = client->list("x", "x1", 1).value();
  REQUIRE(listed.entries.size() == 1);
  CHECK(listed.entries[0].name == "x2");
  CHECK(listed.more);
  CHECK(client->status_json().value() == "{\"mode\":\"scripted\"}");
  CHECK(client->list(std::string(513, 'x'), "", 1).error().code == Errc::invalid_argument);
}

TEST_CASE("calls about nothing end well", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box);
  CHECK(client->put({}).empty());
  CHECK(client->get({}).empty());
  CHECK(client->remove({}).empty());
  CHECK(client->lookup({}).value().objects.empty());
  CHECK(client->lookup_prefix({}).value().objects.empty());
  CHECK(client->operations_in_flight() == 0);
}

TEST_CASE("a box that cannot be reached or does not answer is an error in time", "[unit]") {
  const auto failure = [](auto&& prepare) {
    ScriptedBox box;
    prepare(box);
    const auto client =
        Client::connect(box, kAddress, {.tenant = {}, .timeout = 1s},
                        [](const Client::TransportContext&) -> Result<std::unique_ptr<Transport>> {
                          return Error(Errc::device_missing, "no transport");
                        });
    REQUIRE_FALSE(client.has_value());
    CHECK(box.time.now() <= TimePoint(1s));
    return client.error().code;
  };
  CHECK(failure([](ScriptedBox&) {}) == Errc::device_missing);
  CHECK(failure([](ScriptedBox& box) { box.silent.insert(wire::Op::hello); }) ==
        Errc::deadline_exceeded);
  CHECK(failure([](ScriptedBox& box) { box.silent.insert(wire::Op::info); }) ==
        Errc::deadline_exceeded);
  CHECK(failure([](ScriptedBox& box) { box.refuse[wire::Op::hello] = Errc::limit_exceeded; }) ==
        Errc::limit_exceeded);
  CHECK(failure([](ScriptedBox& box) {
          box.on_request = [&box](wire::Op) { box.connections[0].to_client.clear(); };
          box.silent.insert(wire::Op::hello);
          box.refuse[wire::Op::info] = Errc::bad_version;
        }) == Errc::deadline_exceeded);
}

TEST_CASE("more keys than one request holds are split, and answered in order", "[unit]") {
  ScriptedBox box;
  const std::unique_ptr<Client> client = connect(box);
  std::vector<std::string> names;
  for (int i = 0; i < 20'000; ++i) {
    names.push_back("key " + std::to_string(i));
  }
  std::vector<PutItem> puts;
  for (const std::string& name : names) {
    puts.push_back({.name = name, .data = {}});
  }
  CHECK(client->put(puts) == std::vector<Errc>(20'000, Errc::ok));
  CHECK(box.asked(wire::Op::reserve) == 2);
  CHECK(box.objects.size() == 20'000);
  box.objects.erase("key 17000");
  const std::vector<std::string_view> views(names.begin(), names.end());
  const Lookup each = client->lookup(views).value();
  REQUIRE(each.objects.size() == 20'000);
  CHECK(each.objects[16'999].status == Errc::ok);
  CHECK(each.objects[17'000].status == Errc::not_found);
  CHECK(client->lookup_prefix(views).value().objects.size() == 17'000);
  const std::vector<Errc> removed = client->remove(views);
  CHECK(std::count(removed.begin(), removed.end(), Errc::ok) == 19'999);
  CHECK(removed[17'000] == Errc::not_found);
}

TEST_CASE("affine placement knows the SuperNIC of each byte from the box", "[unit]") {
  ScriptedBox box;
  FakeTransport* fake = nullptr;
  ClientOptions options;
  options.lane_policy = LanePolicy::affine;
  const std::unique_ptr<Client> client = connect_fake(box, fake, options);
  fake->lanes[0].status.super_nic = SuperNicId(0);
  fake->lanes[1].status.super_nic = SuperNicId(1);
  std::set<std::pair<std::uint16_t, std::uint64_t>> lane_and_offset;
  fake->outcome = [&](const FakeTransport::Posted& one) {
    for (const RemoteSegment& segment : one.request.remote) {
      lane_and_offset.emplace(one.lane.value(), segment.address.offset.count());
    }
    return Errc::ok;
  };
  box.extent_bytes = 4096 - 13;  // with the gap: one strip of slab 1 each
  const Region region = client->allocate(SizeBytes(std::uint64_t{3} * 2 * 4083)).value();
  std::vector<std::byte> bytes(4083);
  for (const std::uint64_t extent : {0U, 2U, 4U}) {  // on slab 1: DRAM channels 0, 1, 2
    const RegionPiece piece{.offset = RegionOffset(extent * 4083),
                            .local = {bytes.data(), bytes.size()}};
    CHECK(client->write(region, {&piece, 1}) == Errc::ok);
  }
  CHECK(lane_and_offset ==
        std::set<std::pair<std::uint16_t, std::uint64_t>>{{0, 0}, {0, 4096}, {1, 8192}});
}

}  // namespace
}  // namespace godbox::striping
