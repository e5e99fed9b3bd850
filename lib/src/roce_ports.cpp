// SPDX-License-Identifier: Apache-2.0
#include <godbox/roce_ports.h>

#include <algorithm>
#include <charconv>
#include <string_view>

namespace godbox::wire {
namespace {

template <class Number>
std::optional<Number> parse_number(std::string_view text, int base) {
  Number number = 0;
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, number, base);
  return error == std::errc() && at == end ? std::optional(number) : std::nullopt;
}

// "02:67:0a:00:02:02".
std::optional<MacAddress> parse_mac(std::string_view text) {
  MacAddress mac{};
  constexpr std::size_t kDigits = 2;
  if (text.size() != mac.size() * (kDigits + 1) - 1) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < mac.size(); ++i) {
    const std::size_t at = i * (kDigits + 1);
    const auto byte = parse_number<std::uint8_t>(text.substr(at, kDigits), 16);
    if (!byte || (i > 0 && text[at - 1] != ':')) {
      return std::nullopt;
    }
    mac[i] = *byte;
  }
  return mac;
}

// "mac=..." and "mtu=...", each behind a comma.
void take_options(std::string_view text, RocePort& port) {
  constexpr std::string_view kMac = "mac=", kMtu = "mtu=";
  for (std::size_t at = text.find(','); at != std::string_view::npos; at = text.find(',')) {
    text.remove_prefix(at + 1);
    const std::string_view option = text.substr(0, text.find(','));
    if (option.starts_with(kMac)) {
      port.mac = parse_mac(option.substr(kMac.size()));
    } else if (option.starts_with(kMtu)) {
      port.mtu_bytes = parse_number<std::uint32_t>(option.substr(kMtu.size()), 10).value_or(0);
    }
  }
}

}  // namespace

std::vector<RocePort> roce_ports(const std::vector<EthPortInfo>& ports) {
  constexpr std::string_view kByClient = "roce:", kByBox = "verbs:";
  std::vector<RocePort> found;
  for (const EthPortInfo& port : ports) {
    const bool is_by_box = port.address.starts_with(kByBox);
    if (!is_by_box && !port.address.starts_with(kByClient)) {
      continue;
    }
    const roce::MovedBy moved_by = is_by_box ? roce::MovedBy::box : roce::MovedBy::client;
    const std::string_view rest =
        std::string_view(port.address).substr((is_by_box ? kByBox : kByClient).size());
    auto same = std::ranges::find_if(found, [&](const RocePort& other) {
      return other.id == port.id && other.moved_by == moved_by;
    });
    if (same == found.end()) {
      same = found.insert(
          found.end(),
          {.id = port.id, .super_nic = port.super_nic, .addresses = {}, .moved_by = moved_by});
      take_options(rest, *same);
    }
    same->addresses.emplace_back(rest.substr(0, rest.find_first_of("/,")));
  }
  return found;
}

}  // namespace godbox::wire
