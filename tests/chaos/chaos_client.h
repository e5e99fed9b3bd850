// SPDX-License-Identifier: Apache-2.0
//
// A client process of the chaos test: puts, gets, removes, writes and reads until its time is over,
// connects again whenever its session is lost, and ends with an error at the first wrong byte, the
// first answer that cannot be, or the first call that takes longer than its deadline.
// Thread-safety: one thread. Units: in each name. Errors: the exit status; texts on stderr.
#pragma once

#include <godbox/sim/content.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace godbox::chaos {

struct ClientArguments {
  std::string control_socket;
  std::vector<std::uint16_t> relay_tcp_ports;  // per Ethernet port; empty: straight to the box
  std::uint64_t seed = 1;
  std::chrono::milliseconds time{5000};
};

// The objects that all clients put and get: the name alone says what the bytes must be.
inline constexpr std::size_t kNames = 160;
[[nodiscard]] std::string name_of(std::size_t index);
[[nodiscard]] std::size_t size_of(std::size_t index);
[[nodiscard]] std::uint64_t seed_of(std::size_t index);

// 0, or 1 after saying what was wrong.
[[nodiscard]] int run_client(const ClientArguments& arguments);

}  // namespace godbox::chaos
