// SPDX-License-Identifier: Apache-2.0
//
// pool bind, unbind, list, seal, drop: parts of a running box as the memory of VMs (docs/vm.md).
// The box knows who has what; a VM's own process, asked by the VM's name, plugs devices in and out.
#include "box/open_box.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/lists.h"
#include "cli/log.h"
#include "cli/table.h"
#include "commands/commands.h"
#include "vm/request_fields.h"
#include "vm/vm_control.h"
#include "vm/vm_limits.h"
#include <godbox/cxl/channel_serial.h>
#include <godbox/emulator/box_config.h>
#include <godbox/slab_lease.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace godbox::app {
namespace {

using wire::LogicalDeviceRecord;
using wire::LogicalDeviceState;

struct PoolOptions {
  BoxChoice box;
  std::string vm;
  std::string tenant;
  std::string size;
  std::uint32_t device = 0;
  std::string up;
  std::uint32_t dram_channel = 0;
  std::string address;
  std::string length = "64";
  bool down = false;
  bool force = false;
  bool json = false;
  bool has_limit = false;  // --timeout was given
};

constexpr std::string_view kFooter = R"(Examples:
  godbox pool bind --vm a --size 256MiB --up numa   more memory for the VM "a", now
  godbox pool list                                  which VM has which logical device
  godbox pool unbind --device 1 --down              back to the box, emptied
A logical device is a part of the box, striped over all of its DRAM channels. The VM is one of
godbox vm run --hot-plug-slots (or --form slots). It gives the device back however it ends; so
it does when godbox pool bind ends before the device is up. Without --timeout a VM is waited for as
long as its own limits are.)";
constexpr std::string_view kSealFooter = R"(Examples:
  godbox pool seal --device 1 --down                a common KV prefix, written by one VM,
  godbox pool bind --vm b --device 2 --up dax       is read by others: the number is in the answer
  godbox pool drop --device 2
What is sealed stays in the box, whoever made it, until it is dropped. Where the VM's QEMU keeps the
memory mapped, a copy is sealed, under a number of its own; both need room for a while.)";

// Where the box is, as another process finds it too.
Result<std::string> socket_path(const BoxChoice& choice) {
  constexpr std::string_view kLocal = "unix:";
  if (choice.address.empty()) {
    return emulator::default_control_socket();
  }
  if (!choice.address.starts_with(kLocal)) {
    return Error(
        Errc::config_invalid,
        fmt::format("--connect: \"{}\" is not allowed; allowed: unix:PATH, a box's control "
                    "socket",
                    choice.address));
  }
  const std::string path = choice.address.substr(kLocal.size());
  return path.empty() ? emulator::default_control_socket()
                      : std::filesystem::absolute(path).lexically_normal().string();
}

Duration limit_of(const PoolOptions& options) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(options.box.timeout_s));
}

// Of a VM's answer to a request in which so many bytes are filled or copied.
Duration vm_limit_of(const PoolOptions& options, SizeBytes filled) {
  return options.has_limit ? limit_of(options) : vm_change_limit(filled);
}

std::string_view state_name(LogicalDeviceState state) {
  constexpr std::string_view kNames[] = {"bound", "sealed", "leaving"};
  return kNames[static_cast<std::size_t>(state)];
}

Error no_box(const std::string& path, const Error& error) {
  return error.code == Errc::connect_failed
             ? Error(error.code,
                     fmt::format("no box answers at unix:{}; `godbox serve` starts one", path))
             : error;
}

struct Box {
  std::string path;
  std::uint32_t number = 0;
  std::vector<LogicalDeviceRecord> devices;
};

Result<Box> look(const PoolOptions& options) {
  const Result<std::string> path = socket_path(options.box);
  if (!path) {
    return path.error();
  }
  Result<BoundDevices> bound = list_bound(*path, limit_of(options));
  if (!bound) {
    return no_box(*path, bound.error());
  }
  return Box{*path, bound->box_number, std::move(bound->devices)};
}

Result<LogicalDeviceRecord> find_device(const Box& box, std::uint32_t number) {
  const auto found =
      std::find_if(box.devices.begin(), box.devices.end(), [number](const auto& record) {
        return record.device.value() == number && record.state != LogicalDeviceState::leaving;
      });
  if (found == box.devices.end()) {
    return Error(Errc::not_found, fmt::format("the box has no logical device {}", number));
  }
  return *found;
}

// The VMs that have it, those that have let go left out.
std::vector<std::string> vms_of(const LogicalDeviceRecord& record) {
  std::vector<std::string> names;
  for (const wire::BoundHolder& holder : record.holders) {
    if (!holder.has_let_go) {
      names.push_back(holder.vm);
    }
  }
  return names;
}

std::uint64_t serial_of(const Box& box, const LogicalDeviceRecord& record) {
  const auto owner = record.state == LogicalDeviceState::sealed ? cxl::ChannelOwner::shared
                                                                : cxl::ChannelOwner::bound;
  return cxl::ChannelSerial::of_device(owner, box.number, record.device).value();
}

boost::json::object record_json(const Box& box, const LogicalDeviceRecord& record) {
  boost::json::array vms;
  boost::json::array let_go;
  for (const wire::BoundHolder& holder : record.holders) {
    (holder.has_let_go ? let_go : vms).push_back(json_text(holder.vm).c_str());
  }
  return {{"logical_device", record.device.value()},
          {"serial", serial_of(box, record)},
          {"state", state_name(record.state)},
          {"size_bytes", record.size.count()},
          {"tenant", json_text(record.tenant)},
          {"vms", std::move(vms)},
          {"let_go", std::move(let_go)}};
}

ExitCode run_list(const PoolOptions& options) {
  const Result<Box> box = look(options);
  if (!box) {
    return fail("pool list", box.error());
  }
  if (options.json) {
    boost::json::array devices;
    for (const LogicalDeviceRecord& record : box->devices) {
      devices.push_back(record_json(*box, record));
    }
    print_json(stdout, boost::json::object{{"logical_devices", std::move(devices)}}, true);
    return ExitCode::ok;
  }
  Table table({{"logical device", Table::Align::right},
               {"size", Table::Align::right},
               {"state", Table::Align::left},
               {"tenant", Table::Align::left},
               {"VMs", Table::Align::left}});
  for (const LogicalDeviceRecord& record : box->devices) {
    table.add({std::to_string(record.device.value()), format_size(record.size),
               std::string(state_name(record.state)), json_text(record.tenant),
               fmt::format("{}", fmt::join(vms_of(record), ", "))});
  }
  fmt::print("{}", table.render("  "));
  return ExitCode::ok;
}

// The VM takes back what nobody waits for; which one that is, the box says.
Error not_bound(const Box& before, const PoolOptions& options, const Error& error) {
  if (error.code != Errc::deadline_exceeded) {
    return error;
  }
  std::string which = options.device != 0 ? fmt::format("logical device {}", options.device)
                                          : std::string("a device that it may have got");
  const Result<Box> now = look(options);
  for (const LogicalDeviceRecord& record : now ? now->devices : before.devices) {
    const std::vector<std::string> vms = vms_of(record);
    if (std::find(vms.begin(), vms.end(), options.vm) != vms.end() &&
        !find_device(before, record.device.value())) {
      which = fmt::format("logical device {}", record.device.value());
    }
  }
  return {error.code, fmt::format("VM {}: {}; {} is taken back (godbox pool list)", options.vm,
                                  error.detail, which)};
}

ExitCode run_bind(const PoolOptions& options) {
  const Result<Box> box = look(options);
  if (!box) {
    return fail("pool bind", box.error());
  }
  boost::json::object request{{"do", "bind"}, {"box", box->path}, {"tenant", options.tenant}};
  SizeBytes size;
  if (!options.size.empty()) {
    const Result<SizeBytes> parsed = emulator::parse_size(options.size);
    if (!parsed || parsed->is_zero()) {
      return fail("pool bind",
                  Error(Errc::config_invalid,
                        fmt::format("--size: \"{}\" is not allowed; allowed: a multiple of 256MiB",
                                    options.size)));
    }
    size = *parsed;
    request["size_bytes"] = size.count();
  } else {
    request["logical_device"] = options.device;
  }
  if (!options.up.empty()) {
    request["up"] = options.up;
  }
  const auto reply = ask_vm(options.vm, request, {}, vm_limit_of(options, size));
  if (!reply) {
    return fail("pool bind", not_bound(*box, options, reply.error()));
  }
  if (options.json) {
    print_json(stdout, *reply, true);
    return ExitCode::ok;
  }
  const auto number = [&reply](std::string_view key) {
    return reply->at(key).to_number<std::uint64_t>();
  };
  fmt::print("logical device {}: {} in {} slabs over {} DRAM channels, {} VM {}, serial {:#x}\n",
             number("logical_device"), format_size(SizeBytes(number("size_bytes"))),
             number("slabs"), number("dram_channels"),
             reply->at("read_only").as_bool() ? "to be read by" : "bound to", options.vm,
             number("serial"));
  return ExitCode::ok;
}

// Of one VM, or of all that have the device.
Result<void> unbind_from(const Box& box, const LogicalDeviceRecord& record,
                         const std::vector<std::string>& vms, const PoolOptions& options) {
  for (const std::string& vm : vms) {
    const boost::json::object request{{"do", "unbind"},
                                      {"serial", serial_of(box, record)},
                                      {"down", options.down},
                                      {"force", options.force}};
    const auto reply = ask_vm(vm, request, {}, vm_limit_of(options, SizeBytes()));
    if (!reply) {
      return Error(reply.error().code, fmt::format("VM {}: {}", vm, reply.error().detail));
    }
  }
  return {};
}

// With `is_own`: a device that the VM alone has, else any.
Result<std::vector<std::string>> holders_for(const LogicalDeviceRecord& record,
                                             const PoolOptions& options) {
  std::vector<std::string> vms = vms_of(record);
  if (!options.vm.empty()) {
    if (std::find(vms.begin(), vms.end(), options.vm) == vms.end()) {
      return Error(Errc::not_found, fmt::format("VM {} has not got logical device {}", options.vm,
                                                record.device.value()));
    }
    return std::vector<std::string>{options.vm};
  }
  if (vms.empty()) {
    return Error(Errc::not_found, fmt::format("no VM has logical device {}; what is sealed goes by "
                                              "godbox pool drop",
                                              record.device.value()));
  }
  return vms;
}

ExitCode run_unbind(const PoolOptions& options) {
  const Result<Box> box = look(options);
  if (!box) {
    return fail("pool unbind", box.error());
  }
  const Result<LogicalDeviceRecord> record = find_device(*box, options.device);
  if (!record) {
    return fail("pool unbind", record.error());
  }
  const Result<std::vector<std::string>> vms = holders_for(*record, options);
  if (!vms) {
    return fail("pool unbind", vms.error());
  }
  if (Result<void> done = unbind_from(*box, *record, *vms, options); !done) {
    return fail("pool unbind", done.error());
  }
  return ExitCode::ok;
}

ExitCode run_seal(const PoolOptions& options) {
  const Result<Box> box = look(options);
  if (!box) {
    return fail("pool seal", box.error());
  }
  const Result<LogicalDeviceRecord> record = find_device(*box, options.device);
  if (!record) {
    return fail("pool seal", record.error());
  }
  if (record->state != LogicalDeviceState::bound || record->holders.empty()) {
    return fail("pool seal", Error(Errc::already_exists, fmt::format("logical device {} is sealed",
                                                                     record->device.value())));
  }
  const boost::json::object request{{"do", "seal"},
                                    {"serial", serial_of(*box, *record)},
                                    {"down", options.down},
                                    {"force", options.force}};
  const auto reply =
      ask_vm(record->holders.front().vm, request, {}, vm_limit_of(options, record->size));
  if (!reply) {
    return fail("pool seal",
                Error(reply.error().code,
                      fmt::format("VM {}: {}", record->holders.front().vm, reply.error().detail)));
  }
  if (options.json) {
    print_json(stdout, *reply, true);
    return ExitCode::ok;
  }
  fmt::print("logical device {} is sealed{}\n",
             reply->at("logical_device").to_number<std::uint64_t>(),
             reply->at("copied").as_bool()
                 ? fmt::format(", a copy of {}, which is gone", record->device.value())
                 : std::string());
  return ExitCode::ok;
}

ExitCode run_drop(const PoolOptions& options) {
  const Result<Box> box = look(options);
  if (!box) {
    return fail("pool drop", box.error());
  }
  const Result<LogicalDeviceRecord> record = find_device(*box, options.device);
  if (!record) {
    return fail("pool drop", record.error());
  }
  if (options.force && record->state == LogicalDeviceState::sealed) {
    if (Result<void> done = unbind_from(*box, *record, vms_of(*record), options); !done) {
      return fail("pool drop", done.error());
    }
  }
  if (Result<void> done = drop_device(box->path, record->tenant, record->device, limit_of(options));
      !done) {
    return fail("pool drop", done.error());
  }
  return ExitCode::ok;
}

Result<boost::json::object> poison_request(const Box& box, const PoolOptions& options) {
  const Result<std::uint64_t> address = parse_number("--address", options.address);
  const Result<SizeBytes> length = emulator::parse_size(options.length);
  if (!address || !length) {
    return address ? Error(Errc::config_invalid, "--length: " + length.error().detail)
                   : address.error();
  }
  if (Result<void> checked = check_poison(options.dram_channel, *address, length->count());
      !checked) {
    return checked.error();
  }
  return boost::json::object{{"do", "poison"},
                             {"box_number", box.number},
                             {"dram_channel", options.dram_channel},
                             {"address", *address},
                             {"length_bytes", length->count()}};
}

// Wherever a failing chip's bytes are some VM's, its QEMU is told.
ExitCode run_poison(const PoolOptions& options) {
  const Result<Box> box = look(options);
  if (!box) {
    return fail("pool poison", box.error());
  }
  const Result<boost::json::object> request = poison_request(*box, options);
  if (!request) {
    return fail("pool poison", request.error());
  }
  std::set<std::string> vms;
  for (const LogicalDeviceRecord& record : box->devices) {
    const std::vector<std::string> names = vms_of(record);
    vms.insert(names.begin(), names.end());
  }
  boost::json::array marked;
  for (const std::string& vm : vms) {
    const auto reply = ask_vm(vm, *request, {}, vm_limit_of(options, SizeBytes()));
    if (!reply) {
      return fail("pool poison",
                  Error(reply.error().code, fmt::format("VM {}: {}", vm, reply.error().detail)));
    }
    for (const boost::json::value& one : reply->at("marked").as_array()) {
      marked.push_back(one);
      marked.back().as_object()["vm"] = vm;
    }
  }
  if (marked.empty()) {
    return fail(
        "pool poison",
        Error(Errc::not_found, fmt::format("{} bytes from {} of DRAM channel {} are no VM's",
                                           options.length, options.address, options.dram_channel)));
  }
  if (options.json) {
    print_json(stdout, boost::json::object{{"marked", std::move(marked)}}, true);
    return ExitCode::ok;
  }
  for (const boost::json::value& one : marked) {
    const boost::json::object& at = one.as_object();
    fmt::print("VM {}: {} bytes from DPA {:#x} of {:#x}\n", std::string(at.at("vm").as_string()),
               at.at("length_bytes").to_number<std::uint64_t>(),
               at.at("dpa").to_number<std::uint64_t>(), at.at("serial").to_number<std::uint64_t>());
  }
  return ExitCode::ok;
}

using Run = ExitCode (*)(const PoolOptions&);

CLI::App* add_one(CLI::App& pool, Action& chosen, const std::string& name, const std::string& about,
                  const std::shared_ptr<PoolOptions>& options, Run run) {
  CLI::App* const command = pool.add_subcommand(name, about);
  add_connect_options(*command, options->box);
  command->callback([options, run, command, &chosen] {
    options->has_limit = command->get_option("--timeout")->count() > 0;
    chosen = [options, run] { return run(*options); };
  });
  return command;
}

CLI::Option* add_device(CLI::App& command, PoolOptions& options, const std::string& about) {
  return command.add_option("--device", options.device, about)
      ->check(CLI::Range(1U, wire::kLdIdMax));
}

void add_force(CLI::App& command, PoolOptions& options) {
  command.add_flag("--down", options.down,
                   "The guest takes it off line first (godbox cxl down in it)");
  command.add_flag(
      "--force", options.force,
      "Also if the guest uses it: where it cannot take it off line, it is asked to let go "
      "all the same");
}

void add_json(CLI::App& command, PoolOptions& options) {
  command.add_flag("--json", options.json, "One line of JSON (docs/vm.md)");
}

void add_changes(CLI::App& pool, Action& chosen) {
  auto bind = std::make_shared<PoolOptions>();
  CLI::App* const bind_it = add_one(
      pool, chosen, "bind", "Give a VM a logical device: a part of the box, live", bind, run_bind);
  bind_it->add_option("--vm", bind->vm, "The VM's name")->required();
  bind_it->add_option("--tenant", bind->tenant, "On whose quota (default: the one without a name)");
  CLI::Option_group* const which = bind_it->add_option_group("which");
  which->add_option("--size", bind->size, "Of a new device, a multiple of 256MiB");
  add_device(*which, *bind, "One that is sealed, for the VM to read");
  which->require_option(1);
  bind_it->add_option("--up", bind->up, "Bring it up in the guest: dax or numa")
      ->check(CLI::IsMember({"dax", "numa"}));
  add_json(*bind_it, *bind);

  auto unbind = std::make_shared<PoolOptions>();
  CLI::App* const unbind_it = add_one(
      pool, chosen, "unbind", "Take a logical device back; its bytes are gone", unbind, run_unbind);
  add_device(*unbind_it, *unbind, "Its number")->required();
  unbind_it->add_option("--vm", unbind->vm, "Only from this VM, of those that share it");
  add_force(*unbind_it, *unbind);

  auto seal = std::make_shared<PoolOptions>();
  CLI::App* const seal_it =
      add_one(pool, chosen, "seal",
              "Take a device from its VM and keep its bytes, for any number of VMs to read", seal,
              run_seal);
  add_device(*seal_it, *seal, "Its number")->required();
  add_force(*seal_it, *seal);
  add_json(*seal_it, *seal);
  seal_it->footer(std::string(kSealFooter));

  auto drop = std::make_shared<PoolOptions>();
  CLI::App* const drop_it =
      add_one(pool, chosen, "drop", "End a sealed device that no VM has", drop, run_drop);
  add_device(*drop_it, *drop, "Its number")->required();
  drop_it->add_flag("--force", drop->force, "Take it from the VMs that have it first, used or not");
}

}  // namespace

void add_pool(CLI::App& program, Action& chosen) {
  CLI::App* const pool = program.add_subcommand(
      "pool", "The box as fabric manager: parts of it as the memory of VMs, bound and taken back");
  pool->require_subcommand(1);
  pool->footer(std::string(kFooter));
  add_changes(*pool, chosen);
  auto poison = std::make_shared<PoolOptions>();
  CLI::App* const poison_it = add_one(
      *pool, chosen, "poison", "Mark bytes of a DRAM channel as lost, for the VMs that have them",
      poison, run_poison);
  poison_it->add_option("--dram-channel", poison->dram_channel, "Its number in the box")
      ->required();
  poison_it->add_option("--address", poison->address, "Of the first byte, in the DRAM channel")
      ->required();
  poison_it->add_option("--length", poison->length, "A multiple of 64, at most 1MiB")
      ->capture_default_str();
  add_json(*poison_it, *poison);

  auto list = std::make_shared<PoolOptions>();
  CLI::App* const list_it =
      add_one(*pool, chosen, "list", "Which VM has which logical device", list, run_list);
  add_json(*list_it, *list);
}

}  // namespace godbox::app
