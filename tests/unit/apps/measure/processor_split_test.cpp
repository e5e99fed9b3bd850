// SPDX-License-Identifier: Apache-2.0
#include "measure/processor_split.h"

#include <catch2/catch_test_macros.hpp>

#include <thread>

using namespace godbox::app;

namespace {

cpu_set_t processors_of_this_thread() {
  cpu_set_t set{};
  REQUIRE(::sched_getaffinity(0, sizeof(set), &set) == 0);
  return set;
}

}  // namespace

TEST_CASE("the two ends of a measurement have no processor in common", "[unit]") {
  const cpu_set_t before = processors_of_this_thread();
  if (CPU_COUNT(&before) < 2) {
    SKIP("needs two processors");
  }
  {
    const ProcessorSplit split;
    REQUIRE(split.is_apart());
    cpu_set_t far{};
    split.begin_far_end();
    std::thread([&far] { (void)::sched_getaffinity(0, sizeof(far), &far); }).join();
    split.end_far_end();
    const cpu_set_t near = processors_of_this_thread();
    cpu_set_t both{};
    CPU_AND(&both, &near, &far);
    CHECK(CPU_COUNT(&near) == 1);
    CHECK(CPU_COUNT(&far) == CPU_COUNT(&before) - 1);
    CHECK(CPU_COUNT(&both) == 0);
  }
  const cpu_set_t after = processors_of_this_thread();
  CHECK(CPU_EQUAL(&before, &after));
}
