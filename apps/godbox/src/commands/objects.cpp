// SPDX-License-Identifier: Apache-2.0
//
// put, get, ls, rm: objects of a running box, from and to files. An object is held in this
// process's memory while it is moved.
#include "box/open_box.h"
#include "cli/byte_files.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/log.h"
#include "cli/printable.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "commands/commands.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <array>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <unistd.h>

namespace godbox::app {
namespace {

constexpr std::uint32_t kNamesPerList = 1000;
constexpr Duration kProgressPeriod = std::chrono::milliseconds(100);

struct ObjectOptions {
  BoxChoice box;
  std::string name;
  std::string file = "-";
  std::vector<std::string> names;
  std::string pin = "none";  // put
  double soft_ttl_s = 0;
  double ttl_s = 0;
  bool json = false;
};

constexpr std::string_view kPutFooter = R"(Examples:
  godbox put block/0 kv.bin          a file
  tar c dir | godbox put backup -    standard input
  godbox put system/0 kv.bin --pin hard   never evicted
  godbox put chat/0 kv.bin --ttl 3600     gone after an hour, or when its room is needed
  godbox put block/0 kv.bin --connect verbs:127.0.0.1:7400    over RDMA
  godbox put block/0 kv.bin --connect roce:127.0.0.1:7400 --wire 10.0.2.9/24@dgram:/tmp/a,/tmp/b
Objects never change: putting a name that is there ends with exit code 5.)";
constexpr std::string_view kGetFooter = R"(Examples:
  godbox get block/0 copy.bin        into a file (replaced when complete)
  godbox get backup | tar x          to standard output
A name that is not in the pool ends with exit code 3.)";
constexpr std::string_view kLsFooter = R"(Examples:
  godbox ls                          all names, sorted
  godbox ls block/ --json            names and sizes under a prefix)";
constexpr std::string_view kRmFooter = R"(Examples:
  godbox rm block/0 block/1
  godbox ls block/ | cut -f 2 | xargs godbox rm
Ends with exit code 3 when a name was not there; the others are removed.)";

void print_moved(const ObjectOptions& options, std::string_view op, std::size_t bytes,
                 std::chrono::duration<double> took) {
  if (!options.json) {
    return;
  }
  boost::json::object object{{"op", op}};
  for (const auto& item : named(options.name)) {
    object[item.key()] = item.value();
  }
  object["size_bytes"] = bytes;
  object["seconds"] = rounded(took.count());
  object["gb_per_s"] = figure(static_cast<double>(bytes) / 1e9 / took.count());
  print_json(stdout, object, true);
}

// Drives the client until `status` says that the object's transfer is over; a bar shows how many of
// its bytes have arrived.
void wait_for(Connection& session, std::string what, std::uint64_t bytes,
              const std::optional<Errc>& status) {
  Progress progress(std::move(what), static_cast<double>(bytes));
  const std::uint64_t begin = session.client().counters().bytes_done;
  while (!status) {
    session.client().progress(session.network().clock().now() + kProgressPeriod);
    progress.set(static_cast<double>(session.client().counters().bytes_done - begin));
  }
}

Result<void> check_length(std::string_view what, const std::string& text, std::size_t least) {
  if (text.size() >= least && text.size() <= wire::kNameBytesMax) {
    return {};
  }
  return Error(Errc::invalid_argument, fmt::format("{} has {} bytes; allowed: {} to {}", what,
                                                   text.size(), least, wire::kNameBytesMax));
}

Result<void> check_name(const std::string& name) { return check_length("NAME", name, 1); }

// What the box has no memory for is not read.
Result<std::vector<std::byte>> read_object(const std::string& file, SizeBytes limit) {
  Result<std::vector<std::byte>> bytes = read_file(file, limit);
  if (!bytes && bytes.error().code == Errc::too_large) {
    return Error(Errc::too_large, fmt::format("\"{}\" has more bytes than the box's memory, {}",
                                              file, format_size(limit)));
  }
  if (bytes && bytes->empty()) {
    return Error(Errc::invalid_argument,
                 fmt::format("\"{}\" is empty; an object has at least 1 byte", file));
  }
  return bytes;
}

Result<SizeBytes> memory_of(const BoxChoice& box) {
  const auto session = open_box(box);
  return session ? Result<SizeBytes>((*session)->client().box().backing_limit) : session.error();
}

Result<wire::Retention> retention_of(const ObjectOptions& options) {
  constexpr std::uint32_t kSecondsMax = std::numeric_limits<std::uint32_t>::max() / 1000;
  wire::Retention retention;
  retention.pin = options.pin == "hard"   ? wire::Pin::hard
                  : options.pin == "soft" ? wire::Pin::soft
                                          : wire::Pin::none;
  struct Ttl {
    std::string_view option;
    double seconds;
    std::uint32_t* ms;
  };
  for (const Ttl& ttl : {Ttl{"--soft-ttl", options.soft_ttl_s, &retention.soft_ttl_ms},
                         Ttl{"--ttl", options.ttl_s, &retention.hard_ttl_ms}}) {
    if (!(ttl.seconds == 0 || (ttl.seconds >= 0.001 && ttl.seconds <= kSecondsMax))) {
      return Error(Errc::invalid_argument,
                   fmt::format("{} {}: allowed is 0 (no end), and 0.001 to {} seconds", ttl.option,
                               ttl.seconds, kSecondsMax));
    }
    *ttl.ms = static_cast<std::uint32_t>(std::lround(ttl.seconds * 1000));
  }
  return retention;
}

ExitCode run_put(const ObjectOptions& options) {
  if (const Result<void> checked = check_name(options.name); !checked) {
    return fail("put", checked.error());
  }
  const Result<wire::Retention> retention = retention_of(options);
  if (!retention) {
    return fail("put", retention.error());
  }
  // In a session of its own: reading may take longer than one that is not heard of lasts.
  const Result<SizeBytes> limit = memory_of(options.box);
  if (!limit) {
    return fail("put", limit.error());
  }
  Result<std::vector<std::byte>> bytes = read_object(options.file, *limit);
  if (!bytes) {
    return fail("put", bytes.error());
  }
  const auto session = open_box(options.box);
  if (!session) {
    return fail("put", session.error());
  }
  const LocalSegment data{bytes->data(), bytes->size()};
  const striping::PutItem item{
      .name = options.name, .data = std::span(&data, 1), .retention = *retention};
  const auto begin = std::chrono::steady_clock::now();
  std::optional<Errc> status;
  (*session)->client().submit_put(
      std::span(&item, 1), [&](std::span<const Errc> statuses) { status = statuses.front(); });
  wait_for(**session, "storing " + format_size(SizeBytes(bytes->size())), bytes->size(), status);
  if (*status != Errc::ok) {
    return fail("put", call_error(**session, options.box,
                                  Error(*status, fmt::format("\"{}\"", options.name))));
  }
  print_moved(options, "put", bytes->size(), std::chrono::steady_clock::now() - begin);
  return ExitCode::ok;
}

Result<std::vector<std::byte>> fetch(Connection& session, const std::string& name) {
  striping::Client& client = session.client();
  Result<striping::Lookup> found = client.lookup(std::array{std::string_view(name)});
  if (!found) {
    return found.error();
  }
  const striping::FoundObject& object = found->objects.front();
  if (object.status != Errc::ok && object.status != Errc::present_unleased) {
    return Error(object.status, fmt::format("\"{}\"", name));
  }
  if (object.sparse) {
    return Error(Errc::not_backed, fmt::format("\"{}\" has a size, {}, and no bytes", name,
                                               format_size(object.size)));
  }
  std::vector<std::byte> bytes(object.size.count());
  const LocalSegment into{bytes.data(), bytes.size()};
  const std::span<const LocalSegment> pieces(&into, 1);
  std::optional<Errc> status;
  client.submit_get_found(*found, std::span(&pieces, 1),
                          [&](std::span<const Errc> statuses) { status = statuses.front(); });
  wait_for(session, "reading " + format_size(object.size), bytes.size(), status);
  client.release(*found);
  if (*status != Errc::ok) {
    return Error(*status, fmt::format("\"{}\"", name));
  }
  return bytes;
}

ExitCode run_get(const ObjectOptions& options) {
  if (options.json && options.file == "-") {
    return fail("get", Error(Errc::invalid_argument,
                             "--json: standard output carries the object; name a file for it"));
  }
  if (const Result<void> checked = check_name(options.name); !checked) {
    return fail("get", checked.error());
  }
  const auto session = open_box(options.box);
  if (!session) {
    return fail("get", session.error());
  }
  const auto begin = std::chrono::steady_clock::now();
  const Result<std::vector<std::byte>> bytes = fetch(**session, options.name);
  if (!bytes) {
    return fail("get", call_error(**session, options.box, bytes.error()));
  }
  const auto took = std::chrono::steady_clock::now() - begin;
  if (const Result<void> written = write_file(options.file, *bytes); !written) {
    return fail("get", written.error());
  }
  print_moved(options, "get", bytes->size(), took);
  return ExitCode::ok;
}

ExitCode run_ls(const ObjectOptions& options) {
  if (const Result<void> checked = check_length("PREFIX", options.name, 0); !checked) {
    return fail("ls", checked.error());
  }
  const auto session = open_box(options.box);
  if (!session) {
    return fail("ls", session.error());
  }
  boost::json::array entries;
  const bool is_tty = Terminal::of(STDOUT_FILENO).is_tty;
  std::string after;
  for (bool more = true; more;) {
    const Result<wire::ListReply> page =
        (*session)->client().list(options.name, after, kNamesPerList);
    if (!page) {
      return fail("ls", call_error(**session, options.box, page.error()));
    }
    for (const wire::ListEntry& entry : page->entries) {
      if (options.json) {
        boost::json::object object = named(entry.name);
        object["size_bytes"] = entry.size.count();
        entries.push_back(std::move(object));
      } else {
        fmt::print("{:>10}\t{}\n", format_size(entry.size),
                   is_tty ? printable(entry.name) : entry.name);
      }
      after = entry.name;
    }
    more = page->more && !page->entries.empty();
  }
  if (options.json) {
    print_json(stdout, boost::json::object{{"objects", std::move(entries)}}, false);
  }
  return ExitCode::ok;
}

ExitCode run_rm(const ObjectOptions& options) {
  for (const std::string& name : options.names) {
    if (const Result<void> checked = check_name(name); !checked) {
      return fail("rm", checked.error());
    }
  }
  const auto session = open_box(options.box);
  if (!session) {
    return fail("rm", session.error());
  }
  const std::vector<std::string_view> names(options.names.begin(), options.names.end());
  const std::vector<Errc> statuses = (*session)->client().remove(names);
  ExitCode code = ExitCode::ok;
  boost::json::array results;
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    boost::json::object result = named(names[i]);
    result["status"] = to_string(statuses[i]);
    results.push_back(std::move(result));
    if (statuses[i] != Errc::ok) {
      code = fail("rm", call_error(**session, options.box,
                                   Error(statuses[i], fmt::format("\"{}\"", names[i]))));
    }
  }
  if (options.json) {
    print_json(stdout, boost::json::object{{"removed", std::move(results)}}, false);
  }
  return code;
}

using Run = ExitCode (*)(const ObjectOptions&);

CLI::App& add_command(CLI::App& program, Action& chosen, const char* name, const char* what,
                      std::string_view footer, Run run,
                      const std::shared_ptr<ObjectOptions>& options) {
  CLI::App* const command = program.add_subcommand(name, what);
  add_connect_options(*command, options->box);
  command->add_option("--tenant", options->box.tenant,
                      "Whose names these are (default: the one without a name)");
  command->add_flag("--json", options->json, "Print the outcome as JSON");
  command->footer(std::string(footer));
  command->callback([options, run, &chosen] { chosen = [options, run] { return run(*options); }; });
  return *command;
}

}  // namespace

void add_object_commands(CLI::App& program, Action& chosen) {
  const auto put = std::make_shared<ObjectOptions>();
  CLI::App& put_command =
      add_command(program, chosen, "put", "Store a file in the pool", kPutFooter, run_put, put);
  put_command.add_option("NAME", put->name, "The object's name")->required();
  put_command.add_option("FILE", put->file, "Where its bytes are; - for standard input")
      ->required();
  put_command
      .add_option("--pin", put->pin,
                  "none; soft: evicted after all that have none; hard: never evicted")
      ->check(CLI::IsMember({"none", "soft", "hard"}))
      ->capture_default_str();
  put_command.add_option("--ttl", put->ttl_s, "Seconds after which it is gone (default: no end)");
  put_command.add_option("--soft-ttl", put->soft_ttl_s,
                         "Seconds after which it is the first to be evicted (default: no end)");

  const auto get = std::make_shared<ObjectOptions>();
  CLI::App& get_command =
      add_command(program, chosen, "get", "Read an object", kGetFooter, run_get, get);
  get_command.add_option("NAME", get->name, "The object's name")->required();
  get_command.add_option("FILE", get->file, "Where its bytes go; - for standard output")
      ->capture_default_str();

  const auto ls = std::make_shared<ObjectOptions>();
  add_command(program, chosen, "ls", "List objects: size, tab, name", kLsFooter, run_ls, ls)
      .add_option("PREFIX", ls->name, "Only names that begin with it");

  const auto rm = std::make_shared<ObjectOptions>();
  add_command(program, chosen, "rm", "Remove objects", kRmFooter, run_rm, rm)
      .add_option("NAME", rm->names, "The objects' names")
      ->required();
}

}  // namespace godbox::app
