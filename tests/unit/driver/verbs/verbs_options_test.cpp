// SPDX-License-Identifier: Apache-2.0
// What needs no RDMA device; the rest is tests/vm/roce/verbs_contract.cpp.
#include <godbox/driver/verbs_transport.h>

#include <catch2/catch_test_macros.hpp>

#include <functional>

namespace godbox::driver {
namespace {

TEST_CASE("options of the transport over RDMA are refused by the name of what is wrong") {
  VerbsOptions good;
  good.lanes = {{.addresses = {"10.0.0.1"}, .super_nic = SuperNicId(0)},
                {.addresses = {"10.0.0.2", "fe80::1"}, .super_nic = SuperNicId(1)}};
  struct Wrong {
    std::function<void(VerbsOptions&)> change;
    std::string named;
  };
  const SteadyClock clock;
  for (const Wrong& wrong : {
           Wrong{[](VerbsOptions& of) { of.lanes.clear(); }, "0 lanes"},
           Wrong{[](VerbsOptions& of) { of.lanes.resize(rdma::kLanesMax + 1, of.lanes[0]); },
                 "257 lanes"},
           Wrong{[](VerbsOptions& of) { of.lanes[1].addresses[1] = "box-1"; }, "box-1"},
           Wrong{[](VerbsOptions& of) { of.lanes[0].addresses = {"10.0.0.256"}; }, "10.0.0.256"},
           Wrong{[](VerbsOptions& of) { of.lanes[1].addresses.clear(); }, "without an address"},
           Wrong{[](VerbsOptions& of) { of.requests_max = 0; }, "requests_max 0"},
           Wrong{[](VerbsOptions& of) { of.bytes_max = kWorkBytesMax - 1; }, "bytes_max 16777215"},
       }) {
    CAPTURE(wrong.named);
    VerbsOptions options = good;
    wrong.change(options);
    const auto transport = open_verbs_transport(options, clock);
    REQUIRE_FALSE(transport.has_value());
    CHECK(transport.error().code == Errc::config_invalid);
    CHECK(transport.error().detail.find(wrong.named) != std::string::npos);
  }
}

}  // namespace
}  // namespace godbox::driver
