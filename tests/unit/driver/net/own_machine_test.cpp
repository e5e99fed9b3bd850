// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/own_machine.h>

#include <catch2/catch_test_macros.hpp>

namespace godbox::driver {
namespace {

StreamAddress address(std::string_view text) { return *StreamAddress::parse(text); }

TEST_CASE("a kernel's command line names the machine that the VM runs on", "[unit]") {
  CHECK(host_machine_of("").empty());
  CHECK(host_machine_of("console=ttyS0 quiet\n").empty());
  CHECK(host_machine_of("quiet godbox.host=10.0.2.2 panic=-1\n") == "10.0.2.2");
  CHECK(host_machine_of("godbox.host=10.0.2.2\n") == "10.0.2.2");
  CHECK(host_machine_of("godbox.host=1.1.1.1 godbox.host=10.0.2.2") == "10.0.2.2");
  CHECK(host_machine_of("xgodbox.host=10.0.2.2 godbox.hosts=1.1.1.1").empty());
  CHECK(host_machine_of("godbox.host=").empty());
}

TEST_CASE("only this machine and a VM's own host are connected to", "[unit]") {
  CHECK(is_own_machine(address("tcp:127.0.0.1:7400"), ""));
  CHECK(is_own_machine(address("unix:/tmp/socket"), ""));
  CHECK_FALSE(is_own_machine(address("tcp:10.0.2.2:7400"), ""));
  CHECK(is_own_machine(address("tcp:10.0.2.2:7400"), "10.0.2.2"));
  CHECK_FALSE(is_own_machine(address("tcp:10.0.2.20:7400"), "10.0.2.2"));
  CHECK_FALSE(is_own_machine(address("tcp:192.168.1.1:7400"), "10.0.2.2"));
  CHECK(is_own_machine(address("tcp:127.0.0.1:7400"), "10.0.2.2"));
}

}  // namespace
}  // namespace godbox::driver
