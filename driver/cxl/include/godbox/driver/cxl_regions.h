// SPDX-License-Identifier: Apache-2.0
//
// Brings DRAM channels up and down: makes CXL regions over them through sysfs, so that the same
// code works with every kernel from 6.2 on and needs no libcxl that knows RAM regions, and gives
// them to the kernel's device_dax (a device file per region) or kmem (memory of a NUMA node,
// movable). Whose bytes: a channel whose serial number says "pool" is never made NUMA memory, not
// by the kernel's own probing either. Devices that are no channel of a godbox are left alone unless
// they are named or all_devices says so. All or nothing: what cxl_up did is undone in reverse order
// when a step fails; cxl_down leaves a region whose memory is in use as it was, and one of which a
// later step fails to the next cxl_down. Calling one again when nothing is left to do changes
// nothing. Thread-safety: one call at a time; other processes are kept out (CxlTree::lock).
// Ownership: none. Units: bytes. Errors: access_denied (a pool channel as NUMA memory),
// invalid_argument (what was asked for does not exist or cannot be made), device_missing (bus,
// driver or file not there), permission_denied (not root), unsupported (the kernel or machine
// cannot), address_in_use (another process is at it), deadline_exceeded is not used: what does not
// come in time is device_missing; io_error (the kernel refused a step). Each names the step, the
// file, the value, the errno and the likely reason.
#pragma once

#include <godbox/driver/cxl_channels.h>
#include <godbox/driver/cxl_view.h>

#include <chrono>

namespace godbox::driver {

enum class CxlUse : std::uint8_t { dax, numa };
[[nodiscard]] std::string_view to_string(CxlUse use);

// Which devices: those with one of the serial numbers, or, with none given, every channel of a
// godbox (and with all_devices every device), of one owner if that is given.
struct CxlSelection {
  std::vector<std::uint64_t> serials{};
  bool all_devices = false;
  std::optional<cxl::ChannelOwner> owner{};
};

// A region to make: in which window, over which devices by position.
struct CxlRegionPlan {
  std::string root_decoder;
  SizeBytes granularity;  // 0: the window's
  std::vector<std::uint64_t> serials;
};

// The regions for these devices, by ascending address, as one host bridge's decoders must be
// committed. A window of one channel's size becomes an x1 region. A larger one becomes one
// interleaved region where so many equal channels under its host bridges fill it exactly, position
// i under target i % ways; otherwise x1 regions while there is room, or, where the window itself is
// interleaved, the widest region that fits. Channels of different owners never share a region.
// Regions under one host bridge are interleaved at CxlView::wanted_granularity, or 4 KiB.
// Errors: invalid_argument, naming each device for which there is no place and why.
[[nodiscard]] Result<std::vector<CxlRegionPlan>> plan_cxl_regions(
    const CxlView& view, const std::vector<const CxlMemdev*>& memdevs);
// That a plan can be made: devices free and reached by the window, position by position.
// Errors: invalid_argument, naming the position and what is allowed.
[[nodiscard]] Result<void> check_cxl_plan(const CxlView& view, const CxlRegionPlan& plan);

struct CxlUpOptions {
  CxlUse use = CxlUse::dax;
  CxlSelection selection{};
  // Instead of plan_cxl_regions' own; the selection is then all their serials.
  std::vector<CxlRegionPlan> plans{};
  Duration probe_wait_max = std::chrono::seconds(5);    // for devices to appear
  Duration device_wait_max = std::chrono::seconds(30);  // for a region's dax device or memory
};

struct CxlUpReport {
  std::vector<std::string> regions_created{};
  std::vector<std::uint64_t> brought_up{};  // serials
  std::vector<std::uint64_t> already_up{};
  std::vector<CxlChannel> channels{};  // the selected ones, as they are now
};
[[nodiscard]] Result<CxlUpReport> cxl_up(CxlTree& tree, const CxlUpOptions& options);

struct CxlDownReport {
  std::vector<std::string> regions_removed{};
  std::vector<std::uint64_t> brought_down{};  // serials
  std::vector<std::uint64_t> already_down{};
};
// Takes memory off line, then the dax device, the region and the device's decoder, the highest
// region first. Memory that is in use stays on line, all of the region. Without serial numbers also
// what devices left in the same windows that were pulled out; cxl_up does that, too.
[[nodiscard]] Result<CxlDownReport> cxl_down(CxlTree& tree, const CxlSelection& selection);

}  // namespace godbox::driver
