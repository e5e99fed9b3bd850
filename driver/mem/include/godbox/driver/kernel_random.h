// SPDX-License-Identifier: Apache-2.0
//
// Random bits from the kernel's generator: getrandom(2), fetched a page at a time, because a batch
// of reservations asks for thousands of keys. Thread-safety: any thread (one lock, held for a copy
// of a few bytes or one system call). Ownership: owns its page. The page is wiped in a forked
// child, so that parent and child never hand out the same bits; bytes that were handed out are
// erased from it. Units: bytes. Errors: none; a kernel without getrandom is a failed assertion.
#pragma once

#include <godbox/random_source.h>

#include <mutex>

namespace godbox::driver {

class KernelRandom final : public RandomSource {
 public:
  KernelRandom();
  ~KernelRandom() override;
  KernelRandom(const KernelRandom&) = delete;
  KernelRandom& operator=(const KernelRandom&) = delete;

  void fill(MutableSpan out) override;

 private:
  struct Page;

  std::mutex mutex_;
  Page* page_;
};

}  // namespace godbox::driver
