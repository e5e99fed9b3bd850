// SPDX-License-Identifier: Apache-2.0
#include "src/served_world.h"
#include "transport_contract.h"

namespace godbox::test {
namespace {

TEST_CASE("the local transport keeps the contract of transports", "[contract]") {
  check_contract(transport_contract(),
                 [] { return std::make_unique<ServedWorld>("local:", ConnectOptions{}); });
}

TEST_CASE("the local transport with three copying threads keeps the contract of transports",
          "[contract]") {
  check_contract(transport_contract(), [] {
    ConnectOptions options;
    options.copy_threads = 3;
    return std::make_unique<ServedWorld>("local:", options);
  });
}

TEST_CASE("the transport over TCP keeps the contract of transports", "[contract]") {
  check_contract(transport_contract(),
                 [] { return std::make_unique<ServedWorld>("unix:", ConnectOptions{}); });
}

TEST_CASE("transports keep the contract over memory in the order of interleaved regions",
          "[contract]") {
  for (const std::string scheme : {"local:", "unix:"}) {
    for (const MemoryForm& form : {kFinelyInterleaved, kWidelyInterleaved}) {
      DYNAMIC_SECTION(scheme << " " << to_string(form.form)) {
        check_contract(transport_contract(), [&scheme, &form] {
          return std::make_unique<ServedWorld>(scheme, ConnectOptions{}, nullptr, form);
        });
      }
    }
  }
}

TEST_CASE("the transport over TCP with two lanes per port keeps the contract of transports",
          "[contract]") {
  check_contract(transport_contract(), [] {
    ConnectOptions options;
    options.lanes_per_eth_port = 2;
    options.lanes_on_demand = false;
    return std::make_unique<ServedWorld>("unix:", options);
  });
}

}  // namespace
}  // namespace godbox::test
