// SPDX-License-Identifier: Apache-2.0
//
// put, get, ls, rm: objects of a running box, from and to files. An object is held in this
// process's memory while it is moved.
#include "box/open_box.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/log.h"
#include "commands/byte_files.h"
#include "commands/commands.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace godbox::app {
namespace {

constexpr std::uint32_t kNamesPerList = 1000;

struct ObjectOptions {
  std::string address;
  std::string name;
  std::string file = "-";
  std::vector<std::string> names;
  bool json = false;
};

constexpr std::string_view kPutFooter = R"(Examples:
  godbox put block/0 kv.bin          a file
  tar c dir | godbox put backup -    standard input
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
  print_json(
      stdout,
      boost::json::object{{"op", op},
                          {"name", options.name},
                          {"size_bytes", bytes},
                          {"seconds", rounded(took.count())},
                          {"gb_per_s", rounded(static_cast<double>(bytes) / 1e9 / took.count())}},
      true);
}

ExitCode run_put(const ObjectOptions& options) {
  Result<std::vector<std::byte>> bytes = read_file(options.file);
  if (!bytes) {
    return fail("put", bytes.error());
  }
  const auto session = open_box(options.address);
  if (!session) {
    return fail("put", session.error());
  }
  const LocalSegment data{bytes->data(), bytes->size()};
  const striping::PutItem item{options.name, std::span(&data, 1), SizeBytes()};
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<Errc> statuses = (*session)->client().put(std::span(&item, 1));
  if (statuses.front() != Errc::ok) {
    return fail("put", Error(statuses.front(), fmt::format("\"{}\"", options.name)));
  }
  print_moved(options, "put", bytes->size(), std::chrono::steady_clock::now() - begin);
  return ExitCode::ok;
}

Result<std::vector<std::byte>> fetch(striping::Client& client, std::string_view name) {
  Result<striping::Lookup> found = client.lookup(std::array{name});
  if (!found) {
    return found.error();
  }
  const striping::FoundObject& object = found->objects.front();
  if (object.status != Errc::ok && object.status != Errc::present_unleased) {
    return Error(object.status, fmt::format("\"{}\"", name));
  }
  std::vector<std::byte> bytes(object.size.count());
  const LocalSegment into{bytes.data(), bytes.size()};
  const std::span<const LocalSegment> pieces(&into, 1);
  const std::vector<Errc> statuses = client.get_found(*found, std::span(&pieces, 1));
  client.release(*found);
  if (statuses.front() != Errc::ok) {
    return Error(statuses.front(), fmt::format("\"{}\"", name));
  }
  return bytes;
}

ExitCode run_get(const ObjectOptions& options) {
  if (options.json && options.file == "-") {
    return fail("get", Error(Errc::invalid_argument,
                             "--json: standard output carries the object; name a file for it"));
  }
  const auto session = open_box(options.address);
  if (!session) {
    return fail("get", session.error());
  }
  const auto begin = std::chrono::steady_clock::now();
  const Result<std::vector<std::byte>> bytes = fetch((*session)->client(), options.name);
  if (!bytes) {
    return fail("get", bytes.error());
  }
  const auto took = std::chrono::steady_clock::now() - begin;
  if (const Result<void> written = write_file(options.file, *bytes); !written) {
    return fail("get", written.error());
  }
  print_moved(options, "get", bytes->size(), took);
  return ExitCode::ok;
}

ExitCode run_ls(const ObjectOptions& options) {
  const auto session = open_box(options.address);
  if (!session) {
    return fail("ls", session.error());
  }
  boost::json::array entries;
  std::string after;
  for (bool more = true; more;) {
    const Result<wire::ListReply> page =
        (*session)->client().list(options.name, after, kNamesPerList);
    if (!page) {
      return fail("ls", page.error());
    }
    for (const wire::ListEntry& entry : page->entries) {
      if (options.json) {
        entries.push_back(
            boost::json::object{{"name", entry.name}, {"size_bytes", entry.size.count()}});
      } else {
        fmt::print("{:>10}\t{}\n", format_size(entry.size), entry.name);
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
  const auto session = open_box(options.address);
  if (!session) {
    return fail("rm", session.error());
  }
  const std::vector<std::string_view> names(options.names.begin(), options.names.end());
  const std::vector<Errc> statuses = (*session)->client().remove(names);
  ExitCode code = ExitCode::ok;
  boost::json::array results;
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    results.push_back(boost::json::object{{"name", names[i]}, {"status", to_string(statuses[i])}});
    if (statuses[i] != Errc::ok) {
      code = fail("rm", Error(statuses[i], fmt::format("\"{}\"", names[i])));
    }
  }
  if (options.json) {
    print_json(stdout, boost::json::object{{"removed", std::move(results)}}, false);
  }
  return code;
}

using Run = ExitCode (*)(const ObjectOptions&);

CLI::App& add_command(CLI::App& program, Action& chosen, const char* name, const char* what,
                      std::string_view footer, Run run, std::shared_ptr<ObjectOptions> options) {
  CLI::App* const command = program.add_subcommand(name, what);
  add_connect_option(*command, options->address);
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
