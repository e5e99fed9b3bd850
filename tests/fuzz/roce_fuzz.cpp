// SPDX-License-Identifier: Apache-2.0
//
// A RoCE port and what may be done to it, step by step: godbox_test/roce_steps.h says how an input
// is read, and what has to hold. What the saved inputs are for, and that they do it, is in
// tests/unit/emulator/doors/roce/saved_steps_test.cpp; tests/vectors/make_roce_vectors.py makes
// those that are sessions.
#include <godbox_test/roce_steps.h>

// The name and signature are libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  godbox::test::RoceSteps().run(std::as_bytes(std::span(data, size_bytes)));
  return 0;
}
