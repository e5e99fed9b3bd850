// SPDX-License-Identifier: Apache-2.0
//
// What a DRAM channel is made of: organization, timings in clock cycles, and the policies of its
// memory controller. jedec_dram() makes one from what a DIMM's label says and JEDEC's tables; a
// parameter file (device_file.h) may give each value by itself.
// Spec: JESD79-4C (DDR4), JESD79-5B (DDR5). Names are JEDEC's without the leading t or n.
// Thread-safety: plain values and pure functions. Ownership: values.
// Units: clock cycles (nCK) unless the name says otherwise; a DDR clock is half of the rate.
// Errors: config_invalid with a sentence that names the parameter, its value and what is allowed.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::emulator::model {

enum class DramStandard : std::uint8_t { ddr4, ddr5 };
inline constexpr std::array<std::string_view, 2> kDramStandardNames = {"DDR4", "DDR5"};
[[nodiscard]] constexpr std::string_view to_string(DramStandard standard) {
  return kDramStandardNames[static_cast<std::size_t>(standard)];
}

// Limits of the model's tables.
inline constexpr std::uint32_t kRanksMax = 8;
inline constexpr std::uint32_t kDimmsPerChannelMax = 2;  // what hosts wire
inline constexpr std::uint32_t kBanksPerRankMax = 32;
inline constexpr std::uint32_t kBanksMax = kRanksMax * kBanksPerRankMax;
inline constexpr std::uint32_t kQueueEntriesMax = 256;  // of one direction
inline constexpr SizeBytes kLine{64};                   // what one burst moves

struct DramOrganization {
  DramStandard standard = DramStandard::ddr5;
  std::uint32_t megatransfers_per_s = 0;  // per data pin
  std::uint32_t sub_channels = 1;         // DDR5: 2 independent halves
  std::uint32_t sub_channel_bits = 64;    // data without ECC
  std::uint32_t ranks = 1;                // of all DIMMs of the channel, which share its bus
  std::uint32_t bank_groups = 4;
  std::uint32_t banks_per_group = 4;
  std::uint64_t rows = 0;       // per bank
  std::uint32_t row_bytes = 0;  // of one bank, over the devices of a rank

  [[nodiscard]] std::uint32_t banks_per_rank() const { return bank_groups * banks_per_group; }
  [[nodiscard]] std::uint32_t banks() const { return ranks * banks_per_rank(); }
  // All pins busy, both sub-channels.
  [[nodiscard]] Rate peak() const {
    return Rate(static_cast<double>(megatransfers_per_s) * 1e6 * sub_channel_bits * sub_channels /
                8);
  }
  [[nodiscard]] double cycle_ns() const { return 2000.0 / megatransfers_per_s; }
  [[nodiscard]] SizeBytes capacity() const {
    return SizeBytes(rows * row_bytes) * (std::uint64_t{banks()} * sub_channels);
  }
};

struct DramTimings {
  std::uint32_t burst = 0;          // BL/2: cycles that a line occupies the data bus
  std::uint32_t cl = 0;             // READ to first data
  std::uint32_t cwl = 0;            // WRITE to first data
  std::uint32_t rcd = 0;            // ACT to READ or WRITE
  std::uint32_t rp = 0;             // PRE to ACT
  std::uint32_t ras = 0;            // ACT to PRE
  std::uint32_t rc = 0;             // ACT to ACT, same bank
  std::uint32_t ccd_s = 0;          // READ to READ, other bank group
  std::uint32_t ccd_l = 0;          // same bank group
  std::uint32_t ccd_s_wr = 0;       // WRITE to WRITE, other bank group
  std::uint32_t ccd_l_wr = 0;       // same bank group
  std::uint32_t rrd_s = 0;          // ACT to ACT, other bank group
  std::uint32_t rrd_l = 0;          // same bank group
  std::uint32_t faw = 0;            // window of four ACTs of a rank
  std::uint32_t wr = 0;             // last data written to PRE
  std::uint32_t wtr_s = 0;          // last data written to READ, other bank group
  std::uint32_t wtr_l = 0;          // same bank group
  std::uint32_t rtp = 0;            // READ to PRE
  std::uint32_t ppd = 1;            // PRE to PRE of a rank (DDR5)
  std::uint32_t rfc = 0;            // REF of all banks to ACT
  std::uint32_t refi = 0;           // average distance of two REFs of a rank; 0: no refresh
  std::uint32_t rank_switch = 0;    // bus idle between data of two ranks
  std::uint32_t read_to_write = 0;  // bus idle between read data and write data of a rank
  std::uint32_t long_command = 1;   // cycles of the command bus for ACT, READ, WRITE (DDR5: 2)
};

enum class RowPolicy : std::uint8_t {
  open,    // a row stays open until another one of its bank is wanted
  closed,  // a row is closed with the last request that is queued for it
};
inline constexpr std::array<std::string_view, 2> kRowPolicyNames = {"open", "closed"};

enum class SchedulerRule : std::uint8_t {
  row_hit_first,  // FR-FCFS: of what can go now, hits first, then age; hits hold their row open
  // Of what can go now, the oldest, be it a hit or the opening or closing of a row; a row is held
  // open by older hits only.
  oldest_ready,
};
inline constexpr std::array<std::string_view, 2> kSchedulerRuleNames = {"row_hit_first",
                                                                        "oldest_ready"};

// Which bits of a line's number choose what, from the lowest on: "subchannel", "bankgroup", "bank",
// "rank", "column" or "row", each with a count of bits. Rows take what is left at the top.
struct AddressMapping {
  enum class Field : std::uint8_t { sub_channel, bank_group, bank, rank, column, row };
  struct Slice {
    Field field = Field::row;
    std::uint32_t bits = 0;
  };
  std::vector<Slice> slices;
  // Bank group and bank are XORed with low bits of the row, so that strides which are a multiple of
  // the row size do not all meet in one bank.
  bool hash_banks = true;
};

struct DramController {
  // Entries, of each sub-channel. Data sheets do not say them: 64 is chosen here (Ramulator 2's
  // default is 32), and the marks below are Ramulator 2's defaults.
  std::uint32_t read_queue = 64;
  std::uint32_t write_queue = 64;
  // Writes are served in batches: from the high mark (or with no read waiting) down to the low one.
  double write_high = 0.8;
  double write_low = 0.2;
  SchedulerRule rule = SchedulerRule::row_hit_first;
  RowPolicy row_policy = RowPolicy::open;
  // row_hit_first: after so many hits in a row that keep another request of the bank waiting, that
  // one is served. 0: never. Chosen here: half a row of DDR5.
  std::uint32_t row_hits_max = 64;
  // All ranks refreshed at the same time, or one after the other over the interval.
  bool stagger_refresh = true;
  AddressMapping mapping;
};

struct DramSpec {
  std::string name;
  DramOrganization organization;
  DramTimings timings;
  DramController controller;
};

// What a DIMM's label says.
struct DimmLabel {
  DramStandard standard = DramStandard::ddr5;
  std::uint32_t megatransfers_per_s = 5600;
  std::uint32_t density_gbit = 16;  // of one die
  std::uint32_t device_bits = 8;    // x4, x8, x16
  std::uint32_t ranks_per_dimm = 1;
  std::uint32_t dimms_per_channel = 1;
  // CL, tRCD and tRP of the speed bin; 0: the fastest standard bin of the rate.
  std::uint32_t cl = 0;
  std::uint32_t rcd = 0;
  std::uint32_t rp = 0;
};

// Rates that JEDEC's tables here cover: DDR4 2400, 2666, 2933, 3200; DDR5 4800, 5600, 6400.
[[nodiscard]] Result<DramSpec> jedec_dram(const DimmLabel& label);

// The mapping that jedec_dram() gives: neighbouring lines go to different sub-channels and bank
// groups, so that sequential access is not held by the long spacing within a bank group.
[[nodiscard]] AddressMapping default_mapping(const DramOrganization& organization);

// "subchannel:1 bankgroup:3 column:6 bank:2 rank:1 row". Error: config_invalid.
[[nodiscard]] Result<AddressMapping> parse_mapping(std::string_view text, bool hash_banks);
[[nodiscard]] std::string to_text(const AddressMapping& mapping);

// All relations between the values: within the tables' limits, powers of two where JEDEC has them,
// a mapping that covers the organization exactly, timings that do not contradict each other.
[[nodiscard]] Result<void> validate(const DramSpec& spec);

// The parts of the time that refresh takes from every bank, tRFC / tREFI.
[[nodiscard]] double refresh_loss(const DramTimings& timings);

}  // namespace godbox::emulator::model
