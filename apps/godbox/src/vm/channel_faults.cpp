// SPDX-License-Identifier: Apache-2.0
#include "vm/channel_faults.h"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <string_view>

namespace godbox::app {
namespace {

constexpr Duration kQmpLimit = std::chrono::seconds(20);
constexpr std::uint64_t kDelayNsMax = 1'000'000;  // QEMU waits so long with all of the VM

// A field with two words, the first one the usual.
struct Choice {
  const char* field;
  const char* property;  // QEMU's
  std::array<const char*, 2> words;
};
constexpr Choice kAccess = {"access", "direct", {"direct", "counted"}};
constexpr std::array<Choice, 2> kFaults = {
    Choice{"link", "link", {"up", "down"}},
    Choice{"media", "media", {"ok", "dead"}},
};
struct Number {
  const char* field;
  const char* property;
};
constexpr Number kDelay = {"delay_ns", "access-delay-ns"};
constexpr std::array<Number, 3> kNumbers = {kDelay, Number{"bytes_read", "bytes-read"},
                                            Number{"bytes_written", "bytes-written"}};

Result<boost::json::value> get(emulator::vm::VirtualMachine& machine, const std::string& id,
                               const char* property) {
  const boost::json::object what{{"path", "/machine/peripheral/" + id}, {"property", property}};
  const Result<std::string> answer =
      machine.qmp("qom-get", boost::json::serialize(what), kQmpLimit);
  if (!answer) {
    return answer.error();
  }
  return boost::json::parse(*answer);
}

Result<void> set(emulator::vm::VirtualMachine& machine, const std::string& id, const char* property,
                 const boost::json::value& value) {
  const boost::json::object what{
      {"path", "/machine/peripheral/" + id}, {"property", property}, {"value", value}};
  const Result<std::string> answer =
      machine.qmp("qom-set", boost::json::serialize(what), kQmpLimit);
  return answer ? Result<void>() : Result<void>(answer.error());
}

Result<std::optional<bool>> is_second(const boost::json::object& request, const Choice& choice) {
  const boost::json::value* const value = request.if_contains(choice.field);
  if (value == nullptr) {
    return std::optional<bool>();
  }
  for (std::size_t i = 0; i < choice.words.size(); ++i) {
    if (value->is_string() && value->get_string() == choice.words[i]) {
      return std::optional<bool>(i == 1);
    }
  }
  return Error(Errc::invalid_argument,
               fmt::format("{}: {} is not allowed; allowed: {}, {}", choice.field,
                           boost::json::serialize(*value), choice.words[0], choice.words[1]));
}

Result<std::optional<std::uint64_t>> delay_of(const boost::json::object& request) {
  const boost::json::value* const value = request.if_contains(kDelay.field);
  if (value == nullptr) {
    return std::optional<std::uint64_t>();
  }
  boost::system::error_code failed;
  const auto number = value->to_number<std::uint64_t>(failed);
  if (failed || number > kDelayNsMax) {
    return Error(Errc::invalid_argument,
                 fmt::format("{}: {} is not allowed; allowed: 0 to {}", kDelay.field,
                             boost::json::serialize(*value), kDelayNsMax));
  }
  return std::optional<std::uint64_t>(number);
}

}  // namespace

Result<boost::json::object> read_channel(emulator::vm::VirtualMachine& machine,
                                         const std::string& id) {
  boost::json::object channel;
  const Result<boost::json::value> direct = get(machine, id, kAccess.property);
  if (!direct) {
    return direct.error();
  }
  channel[kAccess.field] = kAccess.words[direct->as_bool() ? 0 : 1];
  for (const Choice& choice : kFaults) {
    const Result<boost::json::value> word = get(machine, id, choice.property);
    if (!word) {
      return word.error();
    }
    channel[choice.field] = *word;
  }
  for (const Number& number : kNumbers) {
    const Result<boost::json::value> value = get(machine, id, number.property);
    if (!value) {
      return value.error();
    }
    channel[number.field] = *value;
  }
  return channel;
}

Result<void> change_channel(emulator::vm::VirtualMachine& machine, const std::string& id,
                            const boost::json::object& request) {
  const Result<std::optional<bool>> counted = is_second(request, kAccess);
  const Result<std::optional<std::uint64_t>> delay = delay_of(request);
  if (!counted || !delay) {
    return counted ? delay.error() : counted.error();
  }
  for (const Choice& choice : kFaults) {
    if (const Result<std::optional<bool>> one = is_second(request, choice); !one) {
      return one.error();
    }
  }
  if (*counted) {
    if (Result<void> done = set(machine, id, kAccess.property, !**counted); !done) {
      return done;
    }
  }
  if (*delay) {
    if (Result<void> done = set(machine, id, kDelay.property, **delay); !done) {
      return done;
    }
  }
  for (const Choice& choice : kFaults) {
    if (const boost::json::value* const word = request.if_contains(choice.field)) {
      if (Result<void> done = set(machine, id, choice.property, *word); !done) {
        return done;
      }
    }
  }
  return {};
}

bool changes_channel(const boost::json::object& request) {
  return request.contains(kAccess.field) || request.contains(kDelay.field) ||
         request.contains(kFaults[0].field) || request.contains(kFaults[1].field);
}

}  // namespace godbox::app
