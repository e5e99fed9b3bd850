// SPDX-License-Identifier: Apache-2.0
#include "compare_options.h"

#include "cli/lists.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace godbox::compare {
namespace {

constexpr std::string_view kUsage = R"(usage: godbox_compare --contestant SPEC... [options]
Sets and gets the same values in stores that run already, one after the other, and prints what each
took as JSON. perf/compare/run.py starts the stores and calls this.
  --contestant SPEC   name=N,kind=resp2|memcached|godbox,address=HOST:PORT (of godbox
                      local:PATH too) and, as wanted,
                      pid=P (the server's), connections=C and in-flight=F (per thread), batch=B,
                      ops=set+get (its part of --ops), memory=reused (only what is in flight),
                      ports=N (of godbox; else all)
  --ops LIST          set, get, read in the order to be done (set,get)
  --size SIZE         of a value (1MiB)
  --working-set SIZE  of all values (1GiB)
  --pass-bytes SIZE   moved by one pass (the working set, once)
  --threads N         client threads (1)
  --repeats N         of all passes, in turn (1)
  --verify            after the last repeat get all once more and compare every byte
  --seed N            of the values (1))";

Error bad(std::string_view option, std::string_view value, std::string_view why) {
  return {Errc::invalid_argument, fmt::format("{} \"{}\": {}", option, value, why)};
}

Result<std::size_t> parse_count(std::string_view option, std::string_view text, std::size_t max,
                                std::size_t min = 1) {
  const Result<std::uint64_t> number = app::parse_number(option, text);
  if (!number || *number < min || *number > max) {
    return bad(option, text, fmt::format("allowed are {} to {}", min, max));
  }
  return static_cast<std::size_t>(*number);
}

Result<SizeBytes> parse_one_size(std::string_view option, std::string_view text) {
  const Result<std::vector<SizeBytes>> sizes = app::parse_sizes(option, text);
  if (!sizes || sizes->size() != 1) {
    return bad(option, text, "one size like 64KiB or 1GiB is wanted");
  }
  return sizes->front();
}

Result<std::vector<KvOp>> parse_ops(std::string_view option, std::string text) {
  std::replace(text.begin(), text.end(), '+', ',');
  const auto words = app::split_list(option, text);
  if (!words) {
    return words.error();
  }
  std::vector<KvOp> ops;
  for (const std::string& word : *words) {
    const std::optional<KvOp> op = kv_op_of(word);
    if (!op) {
      return bad(option, word, "allowed are set, get and read");
    }
    ops.push_back(*op);
  }
  return ops;
}

template <class T>
Result<void> put_into(T& place, Result<T> parsed) {
  if (!parsed) {
    return parsed.error();
  }
  place = std::move(*parsed);
  return {};
}

Result<void> set_field(Contestant& contestant, const std::string& key, const std::string& value) {
  constexpr std::string_view kOption = "--contestant";
  if (key == "name") {
    contestant.name = value;
    return {};
  }
  if (key == "address") {
    contestant.address = value;
    return {};
  }
  if (key == "kind") {
    for (const Kind kind : {Kind::resp2, Kind::memcached, Kind::godbox}) {
      if (value == to_string(kind)) {
        contestant.kind = kind;
        return {};
      }
    }
    return bad(kOption, value, "a kind is resp2, memcached or godbox");
  }
  if (key == "memory") {
    contestant.reuse = value == "reused";
    return contestant.reuse || value == "whole"
               ? Result<void>()
               : bad(kOption, value, "the client's memory is whole or reused");
  }
  if (key == "pid") {
    std::size_t pid = 0;
    Result<void> parsed = put_into(pid, parse_count(kOption, value, 1U << 30U));
    contestant.server = static_cast<pid_t>(pid);
    return parsed;
  }
  if (key == "connections") {
    return put_into(contestant.connections, parse_count(kOption, value, kConnectionsMax, 0));
  }
  if (key == "ports") {
    return put_into(contestant.eth_ports, parse_count(kOption, value, kConnectionsMax, 0));
  }
  if (key == "in-flight") {
    return put_into(contestant.in_flight, parse_count(kOption, value, kInFlightMax));
  }
  if (key == "batch") {
    return put_into(contestant.batch, parse_count(kOption, value, kInFlightMax));
  }
  if (key == "ops") {
    return put_into(contestant.ops, parse_ops(kOption, value));
  }
  return bad(kOption, key, "no such field");
}

Result<Contestant> parse_contestant(const std::string& text) {
  const auto fields = app::split_list("--contestant", text);
  if (!fields) {
    return fields.error();
  }
  Contestant contestant;
  bool has_kind = false;
  for (const std::string& field : *fields) {
    const std::size_t equals = field.find('=');
    if (equals == std::string::npos) {
      return bad("--contestant", field, "fields are KEY=VALUE");
    }
    const std::string key = field.substr(0, equals);
    has_kind = has_kind || key == "kind";
    if (auto set = set_field(contestant, key, field.substr(equals + 1)); !set) {
      return set.error();
    }
  }
  if (contestant.name.empty() || contestant.address.empty() || !has_kind) {
    return bad("--contestant", text, "name, kind and address are wanted");
  }
  if (contestant.kind != Kind::godbox && contestant.connections == 0) {
    return bad("--contestant", text, "at least one connection is wanted");
  }
  return contestant;
}

Result<void> set_option(CompareOptions& options, const std::string& option,
                        const std::string& value) {
  if (option == "--contestant") {
    Result<Contestant> contestant = parse_contestant(value);
    if (!contestant) {
      return contestant.error();
    }
    options.contestants.push_back(std::move(*contestant));
    return {};
  }
  if (option == "--ops") {
    return put_into(options.ops, parse_ops(option, value));
  }
  if (option == "--size") {
    return put_into(options.size, parse_one_size(option, value));
  }
  if (option == "--working-set") {
    return put_into(options.working_set, parse_one_size(option, value));
  }
  if (option == "--pass-bytes") {
    return put_into(options.pass_bytes, parse_one_size(option, value));
  }
  if (option == "--threads") {
    return put_into(options.threads, parse_count(option, value, kThreadsMax));
  }
  if (option == "--repeats") {
    return put_into(options.repeats, parse_count(option, value, 1000));
  }
  if (option == "--seed") {
    return put_into(options.seed, app::parse_number(option, value));
  }
  return bad("option", option, "there is none such; see --help");
}

Result<void> check(CompareOptions& options) {
  if (options.contestants.empty()) {
    return Error(Errc::invalid_argument, "no --contestant is given");
  }
  if (options.working_set < options.size * options.threads) {
    return Error(Errc::invalid_argument,
                 fmt::format("--working-set: {} bytes are no value of {} bytes per thread",
                             options.working_set.count(), options.size.count()));
  }
  if (options.pass_bytes.is_zero()) {
    options.pass_bytes = options.working_set;
  }
  if (options.pass_bytes < options.size * options.threads) {
    return Error(Errc::invalid_argument, "--pass-bytes: each thread has to move a value");
  }
  return {};
}

}  // namespace

Result<CompareOptions> parse_compare_options(const std::vector<std::string>& words) {
  CompareOptions options;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--help" || word == "-h") {
      options.help = true;
      return options;
    }
    if (word == "--verify") {
      options.verify = true;
      continue;
    }
    if (i + 1 == words.size()) {
      return bad("option", word, "its value is missing, or there is none such; see --help");
    }
    if (auto set = set_option(options, word, words[++i]); !set) {
      return set.error();
    }
  }
  if (auto checked = check(options); !checked) {
    return checked.error();
  }
  return options;
}

std::string_view compare_usage() { return kUsage; }

}  // namespace godbox::compare
