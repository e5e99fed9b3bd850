// SPDX-License-Identifier: Apache-2.0
//
// What a VM sees of a box: in which form its DRAM channels become CXL regions, and how large the
// guest itself is. Thread-safety: plain values and pure functions. Ownership: values. Units: bytes,
// nanoseconds, bytes per second. Errors: config_invalid, naming what is allowed.
#pragma once

#include <godbox/cxl/channel_serial.h>
#include <godbox/emulator/box_config.h>
#include <godbox/result.h>
#include <godbox/units.h>

#include <array>
#include <optional>
#include <string_view>

namespace godbox::emulator::vm {

using emulator::ChannelForm;
using emulator::kChannelFormNames;

// Errors: config_invalid for a word that is not one of kChannelFormNames.
[[nodiscard]] Result<ChannelForm> parse_channel_form(std::string_view text);

// The part of an access before the host bridge: what the guest's firmware says of its generic ports
// (ACPI SRAT and HMAT).
struct HostSide {
  // A core's way to its own memory, Meta Vistara's AMD Turin host: 130 ns idle, less the DRAM's 31.
  Duration latency = std::chrono::nanoseconds(100);
  // These 31: DDR5-5600, 40-40-40 at 0.357 ns (JEDEC JESD79-5, AN bin), a closed row.
  Duration own_memory = std::chrono::nanoseconds(31);
  // Of one host bridge; above what 8 links of Gen5 x8 carry, so that it bounds nothing.
  Rate bandwidth{256e9};
};

struct VmConfig {
  static constexpr unsigned kSlotsOfForm = 2;

  BoxConfig box;
  // Which region, and so which dax device or NUMA node, a byte of a channel is in.
  ChannelForm form = ChannelForm::channels;
  SizeBytes guest_memory{std::uint64_t{1} << 30U};  // the guest's own DRAM, NUMA node 0
  unsigned cpus = 2;
  // Of windows and regions. Unset: 4 KiB, or the largest below it that is legal.
  std::optional<SizeBytes> granularity;
  // One switch per SuperNIC with its channels behind it.
  bool behind_switches = false;
  cxl::ChannelOwner owner = cxl::ChannelOwner::bound;
  std::uint32_t box_id = 0;  // in the devices' serial numbers; at most ChannelSerial::kBoxMax
  // Empty root ports, each with a window of hot_plug_size. Without it none; in the form `slots` 2.
  std::optional<unsigned> hot_plug_slots;
  // The largest device that a slot takes. Without it a DRAM channel's.
  std::optional<SizeBytes> hot_plug_size;

  [[nodiscard]] unsigned slot_count() const {
    return hot_plug_slots.value_or(form == ChannelForm::slots ? kSlotsOfForm : 0);
  }
  [[nodiscard]] SizeBytes slot_size() const {
    return hot_plug_size.value_or(box.dram_channel_size);
  }
  HostSide host_side;
};

inline constexpr unsigned kVmCpusMax = 64;
inline constexpr unsigned kHotPlugSlotsMax = 16;
inline constexpr SizeBytes kHotPlugSizeMax{std::uint64_t{16} << 40U};
inline constexpr SizeBytes kGuestMemoryMin{std::uint64_t{256} << 20U};
inline constexpr SizeBytes kGuestMemoryMax{std::uint64_t{1} << 40U};

}  // namespace godbox::emulator::vm
