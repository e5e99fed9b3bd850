// SPDX-License-Identifier: Apache-2.0
#include "contest.h"

#include <godbox/app/box_server.h>
#include <godbox/emulator/box_config.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <unistd.h>

using namespace godbox;
using namespace godbox::compare;
using Catch::Matchers::ContainsSubstring;

namespace {

std::filesystem::path make_folder() {
  std::string path = (std::filesystem::temp_directory_path() / "contest-XXXXXX").string();
  REQUIRE(::mkdtemp(path.data()) != nullptr);
  return path;
}

// A box of this test, and a contestant that uses it.
class OwnBox {
 public:
  OwnBox() {
    emulator::BoxConfig config = emulator::preset("laptop").value();
    config.tcp_port_base = 0;
    config.control_socket = folder_ / "control.sock";
    server_ = app::BoxServer::start(std::move(config)).value();
    contestant.name = "box";
    contestant.address =
        server_->eth_port_addresses().front().to_string().substr(std::string("tcp:").size());
    contestant.server = ::getpid();
    contestant.connections = 0;
    contestant.in_flight = 6;
    contestant.batch = 4;
  }
  ~OwnBox() {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  OwnBox(const OwnBox&) = delete;
  OwnBox& operator=(const OwnBox&) = delete;

  Contestant contestant;

 private:
  std::filesystem::path folder_ = make_folder();
  std::unique_ptr<app::BoxServer> server_;
};

struct OwnValues {
  std::vector<std::byte> memory = std::vector<std::byte>(std::size_t{25} * 65536);
  Values values{memory, 64_KiB, 7};
  OwnValues() { fill(values); }
};

}  // namespace

TEST_CASE("a pass moves every value, whatever threads and calls divide it into", "[unit]") {
  OwnBox box;
  const OwnValues own;
  constexpr PassOptions kSet{KvOp::set, 3, 27, false};
  const Pass set = run_pass(box.contestant, own.values, kSet).value();
  CHECK(set.bytes == std::uint64_t{27} * 65536);
  CHECK(set.seconds > 0);
  CHECK(set.client_cpu_seconds > 0);
  CHECK(set.server_cpu_seconds.value_or(0) > 0);
  CHECK(set.latencies_us.size() >= 27 / 4);
  // Names that are there already get their value anew.
  CHECK(run_pass(box.contestant, own.values, kSet).has_value());
  for (const KvOp op : {KvOp::get, KvOp::read}) {
    fill(own.values);
    REQUIRE(run_pass(box.contestant, own.values, {op, 3, 27, true}).has_value());
    CHECK(count_wrong(own.values) == 0);
  }
}

TEST_CASE("what was not read is seen", "[unit]") {
  OwnBox box;
  const OwnValues own;
  REQUIRE(run_pass(box.contestant, own.values, {KvOp::set, 1, 25, false}).has_value());
  box.contestant.in_flight = 1;
  box.contestant.batch = 1;
  // Ten of 25 values, and the one that warms up.
  REQUIRE(run_pass(box.contestant, own.values, {KvOp::get, 1, 10, true}).has_value());
  CHECK(count_wrong(own.values) > std::uint64_t{13} * 65536);
}

TEST_CASE("memory that is used again holds only what is in flight", "[unit]") {
  OwnBox box;
  const OwnValues own;
  box.contestant.reuse = true;
  REQUIRE(run_pass(box.contestant, own.values, {KvOp::set, 1, 25, false}).has_value());
  REQUIRE(run_pass(box.contestant, own.values, {KvOp::get, 1, 25, true}).has_value());
  // One call of four at a time: the rest is as it was spoiled.
  CHECK(count_wrong(own.values) > std::uint64_t{20} * 65536);
}

TEST_CASE("a value that is not there ends the pass with its name", "[unit]") {
  OwnBox box;
  const OwnValues own;
  const auto pass = run_pass(box.contestant, own.values, {KvOp::get, 2, 24, false});
  REQUIRE_FALSE(pass.has_value());
  CHECK(pass.error().code == Errc::not_found);
  CHECK_THAT(pass.error().detail, ContainsSubstring("box: get \"key:0000"));
}

TEST_CASE("a contestant that is not there is named", "[unit]") {
  const OwnValues own;
  Contestant nobody;
  nobody.name = "nobody";
  nobody.address = "127.0.0.1:1";
  for (const Kind kind : {Kind::resp2, Kind::memcached, Kind::godbox}) {
    nobody.kind = kind;
    const auto pass = run_pass(nobody, own.values, {KvOp::get, 2, 24, false});
    REQUIRE_FALSE(pass.has_value());
    CHECK(pass.error().code == Errc::connect_failed);
    CHECK_THAT(pass.error().detail, ContainsSubstring("nobody: "));
  }
}
