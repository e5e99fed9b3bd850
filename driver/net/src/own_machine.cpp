// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/own_machine.h>

#include <algorithm>
#include <fstream>

namespace godbox::driver {

std::string host_machine_of(std::string_view kernel_command_line) {
  constexpr std::string_view kKey = "godbox.host=";
  constexpr std::string_view kSpace = " \t\n";
  std::string host;
  for (std::size_t begin = 0; begin < kernel_command_line.size();) {
    const std::size_t end =
        std::min(kernel_command_line.find_first_of(kSpace, begin), kernel_command_line.size());
    const std::string_view word = kernel_command_line.substr(begin, end - begin);
    if (word.starts_with(kKey)) {
      host = word.substr(kKey.size());
    }
    begin = end + 1;
  }
  return host;
}

const std::string& host_machine() {
  static const std::string host = [] {
    std::ifstream file("/proc/cmdline");
    std::string line;
    std::getline(file, line);
    return host_machine_of(line);
  }();
  return host;
}

bool is_own_machine(const StreamAddress& address, std::string_view host_machine) {
  return address.is_loopback() || (address.kind == StreamAddress::Kind::tcp &&
                                   !host_machine.empty() && address.host == host_machine);
}

}  // namespace godbox::driver
