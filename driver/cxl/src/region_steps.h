// SPDX-License-Identifier: Apache-2.0
//
// The steps by which a region is made, given to a driver, and taken away again.
// Source: Linux 6.12 Documentation/ABI/testing/sysfs-bus-cxl, sysfs-bus-dax, sysfs-devices-memory.
// Thread-safety: one thread. Errors: as journal.h.
#pragma once

#include "journal.h"
#include <godbox/driver/cxl_regions.h>

#include <set>
#include <string>
#include <vector>

namespace godbox::driver {

inline constexpr std::string_view kRegionDriver = "/sys/bus/cxl/drivers/cxl_region";
inline constexpr std::string_view kDaxDriver = "/sys/bus/dax/drivers/device_dax";
inline constexpr std::string_view kKmemDriver = "/sys/bus/dax/drivers/kmem";
inline constexpr std::string_view kDaxAutoprobe = "/sys/bus/dax/drivers_autoprobe";
inline constexpr std::string_view kAutoOnline = "/sys/devices/system/memory/auto_online_blocks";
inline constexpr Duration kPollPeriod = std::chrono::milliseconds(20);

// Makes, commits and starts the region; its name. In `use` numa, a name that device_dax was told to
// take earlier is forgotten first.
[[nodiscard]] Result<std::string> make_region(CxlTree& tree, Journal& journal, const CxlView& view,
                                              const CxlRegionPlan& plan, CxlUse use);
// Waits for the region's dax device; its name. Errors: device_missing.
[[nodiscard]] Result<std::string> wait_for_dax(CxlTree& tree, const std::string& region,
                                               Duration wait_max);
[[nodiscard]] Result<void> give_to_device_dax(CxlTree& tree, Journal& journal,
                                              const std::string& dax);
// Until all of the region's memory blocks are on line and movable, and the node is there. is_new:
// the region was made just now, so that all of it goes when this is undone.
[[nodiscard]] Result<void> give_to_kmem(CxlTree& tree, Journal& journal, const std::string& region,
                                        const std::string& dax, Duration wait_max, bool is_new);

// All blocks of the region but those named, the highest first; when one cannot, those before it
// come on line again.
[[nodiscard]] Result<void> take_memory_offline(CxlTree& tree, const CxlRegion& region,
                                               const std::set<std::string>& but = {});
// All blocks of the region, as movable memory.
[[nodiscard]] Result<void> put_memory_online(CxlTree& tree, const CxlRegion& region);
// From whichever driver has it. Memory must be off line.
[[nodiscard]] Result<void> take_from_driver(CxlTree& tree, const CxlDax& dax);
[[nodiscard]] Result<void> remove_region(CxlTree& tree, const CxlView& view,
                                         const CxlRegion& region);

// Regions in these windows whose devices were all pulled out, which keep their place there:
// removed, unless memory of theirs is still known to the kernel. Their names. Another program may
// be making a region that looks the same for a moment: only one that stays so for a while counts.
[[nodiscard]] Result<std::vector<std::string>> remove_orphans(CxlTree& tree, const CxlView& view,
                                                              const std::set<std::string>& windows);

}  // namespace godbox::driver
