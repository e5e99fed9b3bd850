// SPDX-License-Identifier: Apache-2.0
//
// DPDK's log as lines: to the owner's hook, and to whoever wants to say why a call of this thread
// failed. Thread-safety: any thread. Ownership: the stream lives as long as the process, as DPDK's
// own threads may write to it to the end. Errors: none.
#pragma once

#include <godbox/driver/dpdk_eal.h>

#include <string>

namespace godbox::driver {

// From now on DPDK logs to the hook; an empty one takes nothing.
void set_dpdk_log(DpdkLog log);

// While it lives, what DPDK logs on this thread is kept; of nested ones, by the inner one.
class LogCapture {
 public:
  enum class Also : std::uint8_t { to_hook, nowhere };
  explicit LogCapture(Also also = Also::to_hook);
  ~LogCapture();
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  void add(DpdkLogLevel level, std::string_view line);
  [[nodiscard]] bool swallows() const { return also_ == Also::nowhere; }
  // "what: the last errors in DPDK's words (the system's text of error_number)".
  [[nodiscard]] std::string explain(std::string_view what, int error_number) const;

 private:
  static constexpr std::size_t kLinesMax = 3;
  Also also_;
  LogCapture* outer_;
  std::vector<std::string> lines_;
};

// The named code for an errno as DPDK uses it.
[[nodiscard]] Errc dpdk_errc(int error_number);

}  // namespace godbox::driver
