// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/kernel_rights.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <iterator>
#include <string>

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

#ifndef CAP_BPF  // of headers before Linux 5.8
#define CAP_BPF 39
#endif

struct Named {
  unsigned number;
  std::string_view name;
};

Named named(KernelRight right) {
  switch (right) {
    case KernelRight::bpf:
      return {CAP_BPF, "CAP_BPF"};
    case KernelRight::net_admin:
      return {CAP_NET_ADMIN, "CAP_NET_ADMIN"};
    case KernelRight::net_raw:
      return {CAP_NET_RAW, "CAP_NET_RAW"};
  }
  return {};
}

// A bit for each.
std::uint64_t effective_rights() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
  if (syscall(SYS_capget, &header, data.data()) != 0) {
    return 0;
  }
  return std::uint64_t{data[1].effective} << 32U | data[0].effective;
}

}  // namespace

std::vector<KernelRight> missing_rights(std::span<const KernelRight> needed) {
  const std::uint64_t had = effective_rights();
  const auto has = [had](unsigned number) { return (had >> number & 1U) != 0; };
  std::vector<KernelRight> missing;
  std::ranges::copy_if(needed, std::back_inserter(missing), [&](KernelRight right) {
    // Who administers the system may what CAP_BPF says, too.
    return !has(named(right).number) && !(right == KernelRight::bpf && has(CAP_SYS_ADMIN));
  });
  return missing;
}

Error lacks_rights(std::string_view what, std::span<const KernelRight> missing) {
  std::string names, setcap;
  for (const KernelRight right : missing) {
    const std::string_view name = named(right).name;
    names += (names.empty() ? "" : ", ") + std::string(name);
    setcap += setcap.empty() ? "" : ",";
    std::ranges::transform(name, std::back_inserter(setcap),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  }
  return {Errc::permission_denied,
          fmt::format("{} needs {}, which this process has not: run it as root, or give it to the "
                      "program (setcap {}+ep PROGRAM)",
                      what, names, setcap)};
}

}  // namespace godbox::driver
