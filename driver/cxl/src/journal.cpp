// SPDX-License-Identifier: Apache-2.0
#include "journal.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace godbox::driver {
namespace {

struct Reason {
  CxlStep step;
  int error_number;
  std::string_view text;
};

// Linux 6.12, drivers/cxl/core/region.c, hdm.c; mm/memory_hotplug.c; drivers/dax/bus.c.
constexpr Reason kReasons[] = {
    {CxlStep::commit, ENXIO,
     "the kernel will not synchronize the CPU cache state under a hypervisor; start the guest with "
     "-cpu max,hypervisor=off, or use a kernel with CONFIG_CXL_REGION_INVALIDATION_TEST"},
    {CxlStep::commit, EBUSY,
     "decoders are committed in ascending order of address, and one above or below is in the way"},
    {CxlStep::commit, ETIMEDOUT, "the device's decoder did not commit in time"},
    {CxlStep::decommit, ENXIO,
     "the kernel will not synchronize the CPU cache state under a hypervisor"},
    {CxlStep::decommit, EBUSY, "a region at a higher address is still there: it goes first"},
    {CxlStep::create_region, EBUSY, "another program made a region at the same moment"},
    {CxlStep::set_region_size, ENOSPC, "the window has no room for it"},
    {CxlStep::set_region_size, ENOMEM, "the window has no room for it"},
    {CxlStep::set_region_size, ERANGE, "the window has no room for it"},
    {CxlStep::set_region_size, ENXIO, "the window has no room for it"},
    {CxlStep::set_region_size, EINVAL, "a region's size is a multiple of 256 MiB times its ways"},
    {CxlStep::set_ways, EINVAL, "the ways are the window's times a power of two, at most 16"},
    {CxlStep::set_granularity, EINVAL, "an interleaved window allows its own granularity only"},
    {CxlStep::set_dpa_size, EBUSY, "the device's decoder is part of a region"},
    {CxlStep::set_dpa_size, ENOSPC, "the device has no volatile capacity left"},
    {CxlStep::set_target, ENXIO,
     "the device at position i has to be under target i % ways of the window, each host bridge has "
     "4 decoders at most, and ways (without their factor 3) times granularity are 32 KiB at most"},
    {CxlStep::set_target, EBUSY,
     "a host bridge's regions are made in ascending order of address, and each of its decoders "
     "serves one"},
    {CxlStep::set_target, EINVAL, "the decoder and the region do not have the same kind or size"},
    {CxlStep::bind_region, ENXIO,
     "its range is in use, or (before Linux 6.3) the CPU cache state cannot be synchronized under "
     "a "
     "hypervisor: -cpu max,hypervisor=off"},
    {CxlStep::bind_dax, ENODEV, "the driver does not take this device"},
    {CxlStep::offline_memory, EBUSY,
     "pages in it are in use and could not be moved; stop the programs that use this node's "
     "memory, "
     "or free memory elsewhere"},
    {CxlStep::offline_memory, EINTR, "it was stopped by a signal"},
    {CxlStep::online_memory, EBUSY, "the kernel has not added the memory completely yet"},
    {CxlStep::online_memory, EINVAL, "the memory cannot be movable"},
};

std::string reason_for(CxlStep step, int error_number) {
  if (error_number == EACCES || error_number == EPERM) {
    return ": only root may do that";
  }
  if (error_number == EINTR) {
    return ": it was stopped by a signal";
  }
  for (const Reason& reason : kReasons) {
    if (reason.step == step && reason.error_number == error_number) {
      return fmt::format(": {}", reason.text);
    }
  }
  return "";
}

Errc code_for(int error_number) {
  switch (error_number) {
    case EACCES:
    case EPERM:
    case EROFS:
      return Errc::permission_denied;
    case ENOENT:
    case ENODEV:
      return Errc::device_missing;
    case EINTR:
      return Errc::cancelled;
    default:
      return Errc::io_error;
  }
}

// Gone already: as good as taken back.
bool is_gone(const Error& error) { return error.code == Errc::device_missing; }

}  // namespace

std::string_view to_string(CxlStep step) {
  switch (step) {
    case CxlStep::create_region:
      return "creating a region";
    case CxlStep::set_ways:
      return "setting the region's ways";
    case CxlStep::set_granularity:
      return "setting the region's granularity";
    case CxlStep::set_decoder_mode:
      return "setting the device decoder's mode";
    case CxlStep::set_dpa_size:
      return "setting the device decoder's size";
    case CxlStep::set_region_size:
      return "setting the region's size";
    case CxlStep::set_target:
      return "setting the region's target";
    case CxlStep::commit:
      return "committing the region";
    case CxlStep::bind_region:
      return "starting the region";
    case CxlStep::bind_dax:
      return "giving the dax device to its driver";
    case CxlStep::set_online_policy:
      return "setting how memory comes on line";
    case CxlStep::set_autoprobe:
      return "setting whether drivers take dax devices by themselves";
    case CxlStep::online_memory:
      return "taking a memory block on line";
    case CxlStep::offline_memory:
      return "taking a memory block off line";
    case CxlStep::unbind_dax:
      return "taking the dax device from its driver";
    case CxlStep::unbind_region:
      return "stopping the region";
    case CxlStep::decommit:
      return "resetting the region's decoders";
    case CxlStep::delete_region:
      return "deleting the region";
  }
  return "a step";
}

std::string errno_name(int error_number) {
  const char* const name = strerrorname_np(error_number);
  return name == nullptr ? fmt::format("errno {}", error_number) : name;
}

Error step_error(CxlStep step, const std::string& path, const std::string& value,
                 int error_number) {
  return {code_for(error_number),
          fmt::format("{} failed: writing \"{}\" to {}: {} ({}){}", to_string(step),
                      value == "\n" ? "\\n" : value, path,
                      std::generic_category().message(error_number), errno_name(error_number),
                      reason_for(step, error_number))};
}

Result<void> write_step(CxlTree& tree, CxlStep step, const std::string& path,
                        const std::string& value) {
  const int error_number = tree.write(path, value);
  return error_number == 0 ? Result<void>() : step_error(step, path, value, error_number);
}

Result<void> Journal::write(CxlStep step, const std::string& path, const std::string& value) {
  return write_step(tree_, step, path, value);
}

void Journal::on_undo(CxlStep step, std::string path, std::string value) {
  undo_.push_back([step, path = std::move(path), value = std::move(value)](CxlTree& tree) {
    return write_step(tree, step, path, value);
  });
}

Result<void> Journal::set_for_now(CxlStep step, const std::string& path, const std::string& value) {
  const auto before = tree_.read(path);
  if (!before) {
    return before.error();
  }
  if (*before == value) {
    return {};
  }
  if (auto written = write(step, path, value); !written) {
    return written;
  }
  settings_.push_back(
      [step, path, old = *before](CxlTree& tree) { return write_step(tree, step, path, old); });
  return {};
}

Result<void> Journal::restore_settings() {
  Result<void> first;
  for (auto at = settings_.rbegin(); at != settings_.rend(); ++at) {
    const Undo& setting = *at;
    const Result<void> done = setting(tree_);
    first = first ? done : first;
  }
  settings_.clear();
  return first;
}

Result<void> Journal::finish() {
  undo_.clear();
  return restore_settings();
}

Error Journal::rollback(Error error) {
  for (auto at = undo_.rbegin(); at != undo_.rend(); ++at) {
    const Undo& undo = *at;
    const Result<void> done = undo(tree_);
    if (!done && !is_gone(done.error())) {
      // Settings stay as well: with drivers' probing off, nobody takes what is left.
      error.detail += fmt::format("; what was done before could not all be taken back: {}",
                                  done.error().detail);
      undo_.clear();
      settings_.clear();
      return error;
    }
  }
  undo_.clear();
  if (const Result<void> done = restore_settings(); !done) {
    error.detail += fmt::format("; a setting was not put back: {}", done.error().detail);
  }
  return error;
}

}  // namespace godbox::driver
