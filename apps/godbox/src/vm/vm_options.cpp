// SPDX-License-Identifier: Apache-2.0
#include "vm/vm_options.h"

#include "cli/byte_files.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace godbox::app {
namespace {

namespace vm = emulator::vm;

Error not_allowed(std::string_view option, std::string_view value, std::string_view allowed) {
  return {Errc::config_invalid,
          fmt::format("{}: \"{}\" is not allowed; allowed: {}", option, value, allowed)};
}

// A written topology says all of these itself.
Result<void> check_together(const VmOptions& options) {
  if (options.topology_file.empty()) {
    return {};
  }
  if (options.form || options.granularity || options.behind_switches || options.hot_plug_slots ||
      options.hot_plug_size) {
    return Error(Errc::config_invalid,
                 "--topology says where everything is: it goes without --form, --granularity, "
                 "--switches, --hot-plug-slots and --hot-plug-size");
  }
  return {};
}

Result<cxl::ChannelOwner> parse_owner(const std::string& text) {
  for (const cxl::ChannelOwner owner : {cxl::ChannelOwner::bound, cxl::ChannelOwner::pool}) {
    if (text == cxl::to_string(owner)) {
      return owner;
    }
  }
  return not_allowed("--owner", text, "bound, pool");
}

}  // namespace

void add_vm_options(CLI::App& command, VmOptions& options) {
  add_box_options(command, options.box);
  command.add_option(
      "--form", options.form,
      "How the DRAM channels are shown (default: as the box's memory lies). channels: a "
      "region each; super-nics: a region per SuperNIC; widest: as few as are legal; "
      "slots: none, but slots for what is bound later");
  command.add_option("--granularity", options.granularity,
                     "Of the interleave, 256 to 16KiB (default: 4KiB, or the largest legal one)");
  command.add_flag("--switches", options.behind_switches, "A CXL switch per SuperNIC");
  command.add_option("--topology", options.topology_file,
                     "TOML file with a topology of your own, instead of a form");
  command.add_option("--guest-memory", options.guest_memory, "The guest's own DRAM")
      ->capture_default_str();
  command.add_option("--cpus", options.cpus, "The guest's processors")->capture_default_str();
  command.add_option(
      "--owner", options.owner,
      "bound (default): the channels are this VM's own memory; pool: the box serves them, and "
      "the guest reaches them through dax only");
  command.add_option("--box-id", options.box_id, "In the devices' serial numbers (default: 0)");
  command.add_option("--hot-plug-slots", options.hot_plug_slots,
                     "Empty root ports, each with a window (default: none; in the form slots 2)");
  command.add_option("--hot-plug-size", options.hot_plug_size,
                     "The largest device that such a slot takes, in multiples of 256MiB (default: "
                     "a DRAM channel's size)");
}

Result<vm::VmConfig> build_vm_config(const VmOptions& options) {
  const Result<emulator::BoxConfig> box = build_config(options.box);
  if (!box) {
    return box.error();
  }
  const Result<vm::ChannelForm> form =
      options.form ? vm::parse_channel_form(*options.form) : Result<vm::ChannelForm>(box->form);
  if (!form) {
    return not_allowed("--form", *options.form,
                       fmt::format("{}", fmt::join(vm::kChannelFormNames, ", ")));
  }
  const Result<cxl::ChannelOwner> owner = parse_owner(options.owner.value_or("bound"));
  if (!owner) {
    return owner.error();
  }
  vm::VmConfig config;
  config.box = *box;
  config.form = *form;
  config.owner = *owner;
  config.cpus = options.cpus;
  config.behind_switches = options.behind_switches;
  config.box_id = options.box_id.value_or(0);
  config.hot_plug_slots = options.hot_plug_slots;
  if (options.hot_plug_size) {
    const Result<SizeBytes> size = emulator::parse_size(*options.hot_plug_size);
    if (!size) {
      return not_allowed("--hot-plug-size", *options.hot_plug_size, "a size like 256MiB or 4GiB");
    }
    config.hot_plug_size = *size;
  }
  config.granularity = options.form ? std::nullopt : box->interleave_granularity;
  if (options.granularity) {
    const Result<SizeBytes> size = emulator::parse_size(*options.granularity);
    if (!size) {
      return not_allowed("--granularity", *options.granularity, "a size like 256, 4KiB or 16KiB");
    }
    config.granularity = *size;
  }
  const Result<SizeBytes> memory = emulator::parse_size(options.guest_memory);
  if (!memory) {
    return not_allowed("--guest-memory", options.guest_memory, "a size like 512MiB or 2GiB");
  }
  config.guest_memory = *memory;
  return config;
}

Result<vm::VmPlan> build_vm_plan(const VmOptions& options) {
  if (const Result<void> together = check_together(options); !together) {
    return together.error();
  }
  const Result<vm::VmConfig> config = build_vm_config(options);
  if (!config) {
    return config.error();
  }
  if (options.topology_file.empty()) {
    return vm::make_plan(*config);
  }
  const Result<std::string> text = read_text_file(options.topology_file);
  if (!text) {
    return Error(Errc::config_invalid, "--topology: " + text.error().detail);
  }
  const Result<vm::WrittenTopology> written =
      vm::read_topology(*config, *text, options.topology_file);
  return written ? vm::plan_of(*config, *written) : Result<vm::VmPlan>(written.error());
}

}  // namespace godbox::app
