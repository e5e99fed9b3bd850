// SPDX-License-Identifier: Apache-2.0
#include "plain_client.h"

#include "scripted_store.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

using namespace godbox;
using namespace godbox::compare;
using Catch::Matchers::ContainsSubstring;
using godbox_test::ScriptedStore;
using godbox_test::StoreScript;

namespace {

constexpr std::string_view kName = "key:000000000007";
constexpr Duration kTimeout = std::chrono::milliseconds(300);

// One client, some values, and what became of the operations over them.
struct Talk {
  explicit Talk(const ScriptedStore& store, PlainProtocol protocol, std::size_t count = 1,
                std::size_t each_bytes = 10)
      : bytes(count * each_bytes, std::byte{0x55}), value_bytes(each_bytes) {
    PlainClientOptions options;
    options.protocol = protocol;
    options.timeout = kTimeout;
    client =
        PlainClient::connect({StreamAddress::Kind::tcp, "127.0.0.1", store.tcp_port()}, options)
            .value();
  }
  Result<void> run(KvOp op) {
    std::vector<KvObject> objects;
    for (std::size_t i = 0; i < bytes.size() / value_bytes; ++i) {
      objects.push_back({kName, MutableSpan(bytes).subspan(i * value_bytes, value_bytes)});
    }
    std::optional<Result<void>> result;
    client->submit(op, objects, [&](const Result<void>& done) { result = done; });
    for (int turn = 0; turn < 1000 && !result; ++turn) {
      client->progress();
    }
    REQUIRE(result.has_value());
    return *result;
  }
  [[nodiscard]] std::string text() const {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  std::vector<std::byte> bytes;
  std::size_t value_bytes;
  std::unique_ptr<KvClient> client;
};

Error failed(const StoreScript& script, PlainProtocol protocol, KvOp op) {
  ScriptedStore store(script);
  Talk talk(store, protocol);
  const Result<void> result = talk.run(op);
  REQUIRE_FALSE(result.has_value());
  // A broken connection is never used again.
  REQUIRE(talk.run(op).error().detail == result.error().detail);
  talk.client.reset();
  return result.error();
}

std::vector<std::string> in_single_bytes(const std::string& text) {
  std::vector<std::string> bytes;
  for (const char byte : text) {
    bytes.emplace_back(1, byte);
  }
  return bytes;
}

}  // namespace

TEST_CASE("a plain client asks as the protocol says, and values go out whole", "[unit]") {
  const bool is_resp = GENERATE(true, false);
  const PlainProtocol protocol = is_resp ? PlainProtocol::resp2 : PlainProtocol::memcached_meta;
  ScriptedStore store({1, {is_resp ? "+OK\r\n+OK\r\n" : "HD\r\nHD\r\n"}, false});
  Talk talk(store, protocol, 2);
  std::fill(talk.bytes.begin() + 10, talk.bytes.end(), std::byte{'b'});
  CHECK(talk.run(KvOp::set).has_value());
  talk.client.reset();
  const std::string head = is_resp ? fmt::format("*3\r\n$3\r\nSET\r\n$16\r\n{}\r\n$10\r\n", kName)
                                   : fmt::format("ms {} 10\r\n", kName);
  CHECK(store.received() == head + "UUUUUUUUUU\r\n" + head + "bbbbbbbbbb\r\n");
}

TEST_CASE("answers arrive where they belong, however they are cut", "[unit]") {
  const bool is_resp = GENERATE(true, false);
  const bool is_cut = GENERATE(true, false);
  const PlainProtocol protocol = is_resp ? PlainProtocol::resp2 : PlainProtocol::memcached_meta;
  const std::string head = is_resp ? "$10\r\n" : "VA 10\r\n";
  // A value may hold what looks like an answer's end.
  const std::string all = head + "01234\r\n$-1\r\n" + head + "abcdefghij\r\n";
  ScriptedStore store({1, is_cut ? in_single_bytes(all) : std::vector{all}, false});
  Talk talk(store, protocol, 2);
  CHECK(talk.run(KvOp::get).has_value());
  CHECK(talk.text() == "01234\r\n$-1abcdefghij");
  talk.client.reset();
  const std::string ask = is_resp ? fmt::format("*2\r\n$3\r\nGET\r\n$16\r\n{}\r\n", kName)
                                  : fmt::format("mg {} v\r\n", kName);
  CHECK(store.received() == ask + ask);
}

TEST_CASE("a miss is a miss", "[unit]") {
  const Error redis = failed({1, {"$-1\r\n"}}, PlainProtocol::resp2, KvOp::get);
  CHECK(redis.code == Errc::not_found);
  CHECK_THAT(redis.detail, ContainsSubstring("get \"key:000000000007\""));
  CHECK(failed({1, {"EN\r\n"}}, PlainProtocol::memcached_meta, KvOp::get).code == Errc::not_found);
}

TEST_CASE("an error of the server is told in its own words", "[unit]") {
  const std::string why = "-OOM command not allowed when used memory > 'maxmemory'.";
  const Error set = failed({1, {why + "\r\n"}}, PlainProtocol::resp2, KvOp::set);
  CHECK(set.code == Errc::protocol_error);
  CHECK_THAT(set.detail, ContainsSubstring(why) && ContainsSubstring("not \"+OK\""));
  CHECK_THAT(
      failed({1, in_single_bytes(why + "\r\n"), false}, PlainProtocol::resp2, KvOp::get).detail,
      ContainsSubstring(why));
  CHECK_THAT(failed({1, {"SERVER_ERROR out of memory storing object\r\n"}},
                    PlainProtocol::memcached_meta, KvOp::set)
                 .detail,
             ContainsSubstring("SERVER_ERROR out of memory storing object"));
}

TEST_CASE("a value of another length is not taken", "[unit]") {
  const Error longer = failed({1, {"$11\r\n01234567890\r\n"}}, PlainProtocol::resp2, KvOp::get);
  CHECK(longer.code == Errc::protocol_error);
  CHECK_THAT(longer.detail, ContainsSubstring("\"$11\", not \"$10\""));
  CHECK_THAT(
      failed({1, {"VA 9\r\n012345678\r\n"}}, PlainProtocol::memcached_meta, KvOp::get).detail,
      ContainsSubstring("\"VA 9\", not \"VA 10\""));
  // The head is right and the value is not.
  const Error end = failed({1, {"$10\r\n0123456789ab"}}, PlainProtocol::resp2, KvOp::get);
  CHECK(end.code == Errc::protocol_error);
  CHECK_THAT(end.detail, ContainsSubstring("comes \"ab\", not its end"));
}

TEST_CASE("bytes that are no text are shown so that they can be read", "[unit]") {
  CHECK_THAT(
      failed({1, {std::string("\x16\x03\x01\n", 4)}}, PlainProtocol::resp2, KvOp::get).detail,
      ContainsSubstring("\\x16\\x03\\x01"));
}

TEST_CASE("a connection that ends in the middle says where", "[unit]") {
  const Error error = failed({1, {"$10\r\n0123"}}, PlainProtocol::resp2, KvOp::get);
  CHECK(error.code == Errc::lane_closed);
  CHECK_THAT(error.detail,
             ContainsSubstring("closed by the server") && ContainsSubstring("after 9 of 17 bytes"));
  CHECK(failed({1, {}}, PlainProtocol::memcached_meta, KvOp::set).code == Errc::lane_closed);
}

TEST_CASE("an answer that does not come ends in a deadline", "[unit]") {
  const Error error = failed({1, {"$10\r\n0123"}, false}, PlainProtocol::resp2, KvOp::get);
  CHECK(error.code == Errc::deadline_exceeded);
  CHECK_THAT(error.detail, ContainsSubstring("no byte has moved for 0.3 s"));
}

TEST_CASE("a server that answers before it was asked is wrong", "[unit]") {
  // More than the sockets hold, so that the first value is not out when its answer comes.
  constexpr std::size_t kBytes = std::size_t{64} << 20U;
  ScriptedStore store({1, {"+OK\r\n"}, true});
  Talk talk(store, PlainProtocol::resp2, 1, kBytes);
  const Result<void> result = talk.run(KvOp::set);
  REQUIRE_FALSE(result.has_value());
  CHECK((result.error().code == Errc::protocol_error || result.error().code == Errc::lane_closed));
}

TEST_CASE("remote memory is not to be had from a store of values", "[unit]") {
  ScriptedStore store({0, {}, true});
  Talk talk(store, PlainProtocol::resp2);
  CHECK(talk.run(KvOp::read).error().code == Errc::unsupported);
  talk.client.reset();
}

TEST_CASE("nobody there, and no address", "[unit]") {
  PlainClientOptions options;
  CHECK(PlainClient::connect({StreamAddress::Kind::tcp, "127.0.0.1", 1}, options).error().code ==
        Errc::connect_failed);
  CHECK(PlainClient::connect({StreamAddress::Kind::tcp, "localhost", 1}, options).error().code ==
        Errc::invalid_argument);
  options.connections = 0;
  CHECK(PlainClient::connect({StreamAddress::Kind::tcp, "127.0.0.1", 1}, options).error().code ==
        Errc::invalid_argument);
}
