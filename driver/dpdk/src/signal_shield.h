// SPDX-License-Identifier: Apache-2.0
//
// While it lives, this thread gets no signals: the threads that DPDK starts inherit that, so
// signals stay with the program's own, and a device whose other end is gone raises no SIGPIPE.
// Thread-safety: the thread that made it ends it. Errors: none.
#pragma once

#include <csignal>
#include <ctime>

#include <pthread.h>

namespace godbox::driver {

class SignalShield {
 public:
  SignalShield() {
    sigset_t blocked;
    sigfillset(&blocked);
    for (const int own_fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) {
      sigdelset(&blocked, own_fault);
    }
    pthread_sigmask(SIG_BLOCK, &blocked, &before_);
    sigpending(&pending_before_);
  }
  ~SignalShield() {
    if (sigismember(&pending_before_, SIGPIPE) == 0) {
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      const timespec at_once{};
      (void)sigtimedwait(&pipe, nullptr, &at_once);
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SignalShield(const SignalShield&) = delete;
  SignalShield& operator=(const SignalShield&) = delete;

 private:
  sigset_t before_{};
  sigset_t pending_before_{};
};

}  // namespace godbox::driver
