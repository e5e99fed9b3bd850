// SPDX-License-Identifier: Apache-2.0
#include "door_fixture.h"
#include <godbox/emulator/roce/counters.h>
#include <godbox/emulator/roce_port_config.h>

#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <set>
#include <string>

namespace godbox::emulator {
namespace {

using namespace std::chrono_literals;

boost::json::object status_of(DoorFixture& fixture) {
  return boost::json::parse(fixture.box.box().status_json()).as_object();
}

// "dram_channels[].id" and the like, of everything that holds a value.
void collect_paths(const boost::json::value& value, const std::string& path,
                   std::set<std::string>& paths) {
  if (const auto* object = value.if_object()) {
    for (const auto& [key, member] : *object) {
      collect_paths(member, path.empty() ? std::string(key) : path + "." + std::string(key), paths);
    }
  } else if (const auto* array = value.if_array()) {
    for (const boost::json::value& item : *array) {
      collect_paths(item, path + "[]", paths);
    }
  } else {
    paths.insert(path);
  }
}

// The first cell of each table row: | `field` | ...
std::set<std::string> documented_fields() {
  std::ifstream file(GODBOX_VECTORS_DIR "/../../docs/status.md");
  REQUIRE(file.is_open());
  std::set<std::string> fields;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("| `")) {
      fields.insert(line.substr(3, line.find('`', 3) - 3));
    }
  }
  return fields;
}

TEST_CASE("docs/status.md lists the fields of the status, all of them and no others",
          "[unit][status]") {
  DoorFixture fixture;
  const RocePortCounters counters;
  RocePortEntry roce;
  roce.addresses = {{roce::Gid::of_ipv4({10, 0, 2, 2}), 24}};
  roce.counters = [&counters] {
    auto values = named_values(counters);
    // A served port's wire has these of its own (apps/server).
    values.emplace_back("wire_receive_drops", 0);
    values.emplace_back("wire_send_drops", 0);
    return values;
  };
  fixture.box.box().add_roce_port(std::move(roce));
  std::set<std::string> answered;
  collect_paths(status_of(fixture), "", answered);
  const std::set<std::string> documented = documented_fields();
  for (const std::string& field : answered) {
    INFO("not documented: " << field);
    CHECK(documented.contains(field));
  }
  for (const std::string& field : documented) {
    INFO("documented, but not answered: " << field);
    CHECK(answered.contains(field));
  }
  CHECK(documented.size() == 127);
}

TEST_CASE("the status tells the box's shape and use", "[unit][status]") {
  test::TestBoxOptions options;
  options.super_nics = 3;
  options.dram_channels_per_super_nic = 2;
  options.eth_ports_per_super_nic = 1;
  options.backing_limit = SizeBytes(40U << 20U);
  DoorFixture fixture(options);
  fixture.box.box().set_eth_port_address(EthPortId(2), *StreamAddress::parse("tcp:[::1]:7402"));
  fixture.box.eth_port(1).set_down(true);
  fixture.box.clock().advance(1234ms);
  static_cast<void>(fixture.reserve("object", 10000));
  static_cast<void>(fixture.allocate(20000));

  const boost::json::object status = status_of(fixture);
  CHECK(status.at("name") == "test");
  CHECK(status.at("mode") == "free");
  CHECK(status.at("time_scale") == 1.0);
  CHECK(status.at("uptime_ms") == 1234);
  CHECK(status.at("capacity_bytes") == 6 * (8 << 20));
  CHECK(status.at("backing_limit_bytes") == 40 << 20);
  CHECK(status.at("reservations") == 1);
  CHECK(status.at("regions") == 1);
  CHECK(status.at("objects") == 0);
  CHECK(status.at("sessions") == 1);
  CHECK(status.at("reserved_bytes").to_number<std::uint64_t>() >= 30000);
  CHECK(status.at("backed_bytes").to_number<std::uint64_t>() >= 30000);

  const boost::json::array& channels = status.at("dram_channels").as_array();
  REQUIRE(channels.size() == 6);
  CHECK(channels[5].at("id") == 5);
  CHECK(channels[5].at("super_nic") == 2);
  CHECK(channels[5].at("size_bytes") == 8 << 20);

  const boost::json::array& eth_ports = status.at("eth_ports").as_array();
  REQUIRE(eth_ports.size() == 3);
  CHECK(eth_ports[0].at("address") == "");
  CHECK(eth_ports[0].at("down") == false);
  CHECK(eth_ports[1].at("down") == true);
  CHECK(eth_ports[2].at("address") == "tcp:[::1]:7402");
  CHECK(eth_ports[2].at("super_nic") == 2);
  CHECK(status.at("control_socket").at("connections_open") == 1);
}

TEST_CASE("the status counts bytes where they went", "[unit][status]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(64 << 10);  // 16 KiB on each DRAM channel
  const std::unique_ptr<test::DoorPeer> lane = fixture.open_lane(1);
  const std::vector<RemoteSegment> segments = test::segments_of(region.key, region.extents);
  lane->send_write(segments, test::Bytes(64 << 10));
  lane->send_read(segments);
  lane->send_read(segments);

  const boost::json::object status = status_of(fixture);
  for (const boost::json::value& channel : status.at("dram_channels").as_array()) {
    CHECK(channel.at("bytes_written") == 16 << 10);
    CHECK(channel.at("bytes_read") == 32 << 10);
    CHECK(channel.at("requests") == 3);
  }
  const boost::json::value& eth_port = status.at("eth_ports").at(1);
  CHECK(eth_port.at("requests") == 3);
  CHECK(eth_port.at("connections_open") == 1);
  CHECK(eth_port.at("connections_accepted") == 1);
  CHECK(eth_port.at("bytes_received").to_number<std::uint64_t>() > 64 << 10);
  CHECK(eth_port.at("bytes_sent").to_number<std::uint64_t>() > 128 << 10);
  CHECK(status.at("eth_ports").at(0).at("requests") == 0);
}

TEST_CASE("the epoch is told as 16 digits", "[unit][status]") {
  DoorFixture fixture;
  const boost::json::object status = status_of(fixture);
  const std::string epoch(status.at("epoch").as_string());
  CHECK(epoch.size() == 16);
  CHECK(std::stoull(epoch, nullptr, 16) == fixture.session.epoch.value());
}

}  // namespace
}  // namespace godbox::emulator
