// SPDX-License-Identifier: Apache-2.0
//
// While it lives, this thread has no right that root has beyond other users' (capabilities(7)).
// Thread-safety: the thread that made it ends it; other threads keep theirs. Errors: asserted by
// the test.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include <array>

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace godbox::test {

class WithoutRights {
 public:
  WithoutRights() {
    REQUIRE(syscall(SYS_capget, &header_, before_.data()) == 0);
    Rights now = before_;
    for (__user_cap_data_struct& word : now) {
      word.effective = 0;
    }
    REQUIRE(syscall(SYS_capset, &header_, now.data()) == 0);
  }
  ~WithoutRights() { (void)syscall(SYS_capset, &header_, before_.data()); }
  WithoutRights(const WithoutRights&) = delete;
  WithoutRights& operator=(const WithoutRights&) = delete;

 private:
  using Rights = std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3>;
  __user_cap_header_struct header_{_LINUX_CAPABILITY_VERSION_3, 0};
  Rights before_{};
};

}  // namespace godbox::test
