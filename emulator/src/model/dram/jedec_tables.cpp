// SPDX-License-Identifier: Apache-2.0
//
// JEDEC's tables. A value "a ns, at least b nCK" is one Minimum; cycles come by JEDEC's own
// rounding rules, so that a value which the clock divides to within the rule's tolerance takes no
// extra cycle.
#include <godbox/emulator/model/dram_spec.h>

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace godbox::emulator::model {
namespace {

struct Minimum {
  double ns = 0;
  std::uint32_t cycles = 0;
};

class Clock {
 public:
  Clock(DramStandard standard, std::uint32_t megatransfers_per_s)
      : standard_(standard), ps_(2e6 / megatransfers_per_s) {}

  [[nodiscard]] std::uint32_t cycles(Minimum value) const {
    const double ratio = value.ns * 1000.0 / ps_;
    // JESD79-4C 13.3 (rounding algorithms): 2.5 % of a cycle is forgiven; JESD79-5B 13.2: 0.3 % of
    // the value.
    const double rounded =
        standard_ == DramStandard::ddr4 ? std::ceil(ratio - 0.025) : std::floor(ratio * 0.997 + 1);
    return std::max(static_cast<std::uint32_t>(std::max(rounded, 0.0)), value.cycles);
  }

 private:
  DramStandard standard_;
  double ps_;
};

struct Bin {
  DramStandard standard;
  std::uint32_t megatransfers_per_s;
  std::uint32_t cl, rcd, rp;
  std::uint32_t cwl;  // DDR4: first set of JESD79-4C table "CWL"; DDR5: CL - 2
};

// DDR4: JESD79-4C section 10, the bins that modules are sold in (2400T, 2666V, 2933Y, 3200AA).
// DDR5: JESD79-5B section 10, bins AN.
constexpr std::array<Bin, 7> kBins{{{DramStandard::ddr4, 2400, 17, 17, 17, 12},
                                    {DramStandard::ddr4, 2666, 19, 19, 19, 14},
                                    {DramStandard::ddr4, 2933, 21, 21, 21, 16},
                                    {DramStandard::ddr4, 3200, 22, 22, 22, 16},
                                    {DramStandard::ddr5, 4800, 34, 34, 34, 32},
                                    {DramStandard::ddr5, 5600, 40, 40, 40, 38},
                                    {DramStandard::ddr5, 6400, 46, 46, 46, 44}}};

// tRFC1 of JESD79-4C table 36 and JESD79-5B table 75, by density of a die.
struct RefreshTime {
  DramStandard standard;
  std::uint32_t density_gbit;
  double rfc_ns;
};
constexpr std::array<RefreshTime, 8> kRefreshTimes{{{DramStandard::ddr4, 2, 160},
                                                    {DramStandard::ddr4, 4, 260},
                                                    {DramStandard::ddr4, 8, 350},
                                                    {DramStandard::ddr4, 16, 550},
                                                    {DramStandard::ddr5, 8, 195},
                                                    {DramStandard::ddr5, 16, 295},
                                                    {DramStandard::ddr5, 24, 410},
                                                    {DramStandard::ddr5, 32, 410}}};

Error not_in_table(std::string_view key, std::uint32_t value, std::string_view allowed) {
  return {Errc::config_invalid,
          fmt::format("{} = {}: not in JEDEC's table; allowed: {}", key, value, allowed)};
}

Result<Bin> find_bin(const DimmLabel& label) {
  for (const Bin& bin : kBins) {
    if (bin.standard == label.standard && bin.megatransfers_per_s == label.megatransfers_per_s) {
      return bin;
    }
  }
  return not_in_table(
      "rate_mt_per_s", label.megatransfers_per_s,
      label.standard == DramStandard::ddr4 ? "2400, 2666, 2933, 3200" : "4800, 5600, 6400");
}

Result<double> find_rfc_ns(const DimmLabel& label) {
  for (const RefreshTime& row : kRefreshTimes) {
    if (row.standard == label.standard && row.density_gbit == label.density_gbit) {
      return row.rfc_ns;
    }
  }
  return not_in_table("density_gbit", label.density_gbit,
                      label.standard == DramStandard::ddr4 ? "2, 4, 8, 16" : "8, 16, 24, 32");
}

// JESD79-4C section 4, JESD79-5B section 2.7: addressing of x4, x8 and x16 devices.
DramOrganization organization_of(const DimmLabel& label) {
  const bool is_ddr4 = label.standard == DramStandard::ddr4;
  DramOrganization result;
  result.standard = label.standard;
  result.megatransfers_per_s = label.megatransfers_per_s;
  result.sub_channels = is_ddr4 ? 1 : 2;
  result.sub_channel_bits = is_ddr4 ? 64 : 32;
  result.ranks = label.ranks_per_dimm * label.dimms_per_channel;
  const std::uint32_t groups = is_ddr4 ? 4 : 8;
  result.bank_groups = label.device_bits == 16 ? groups / 2 : groups;
  result.banks_per_group = !is_ddr4 && label.density_gbit == 8 ? 2 : 4;
  // One device: DDR4 has 2^10 columns of its width, DDR5 a page of 1 KiB, or 2 KiB where it is x16.
  const std::uint32_t page_bytes =
      is_ddr4 ? 1024 * label.device_bits / 8 : (label.device_bits == 16 ? 2048U : 1024U);
  result.row_bytes = page_bytes * (result.sub_channel_bits / label.device_bits);
  const std::uint64_t device_bytes = (std::uint64_t{label.density_gbit} << 30U) / 8;
  result.rows = device_bytes / page_bytes / result.banks_per_rank();
  return result;
}

DramTimings ddr4_timings(const DimmLabel& label, const Clock& clock) {
  const std::uint32_t rate = label.megatransfers_per_s;
  const bool is_x16 = label.device_bits == 16;
  DramTimings t;
  // JESD79-4C tables 133 to 138 (timing parameters by speed bin).
  t.burst = 4;
  t.ras = clock.cycles({32, 0});
  t.ccd_s = 4;
  t.ccd_l = clock.cycles({5, 5});
  t.ccd_s_wr = t.ccd_s;
  t.ccd_l_wr = t.ccd_l;
  const double rrd_s_ns = rate >= 3200 ? 2.5 : rate >= 2933 ? 2.7 : rate >= 2666 ? 3.0 : 3.3;
  t.rrd_s = clock.cycles({is_x16 ? 5.3 : rrd_s_ns, 4});
  t.rrd_l = is_x16 ? clock.cycles({6.4, 4}) : clock.cycles({4.9, 4});
  if (is_x16) {
    t.faw = clock.cycles({30, 28});
  } else {
    t.faw = label.device_bits == 8 ? clock.cycles({21, 20}) : clock.cycles({0, 16});
  }
  t.wr = clock.cycles({15, 0});
  t.wtr_s = clock.cycles({2.5, 2});
  t.wtr_l = clock.cycles({7.5, 4});
  t.rtp = clock.cycles({7.5, 4});
  t.refi = clock.cycles({7800, 0});
  t.rank_switch = 2;    // postamble of one rank, preamble of the next
  t.read_to_write = 2;  // JESD79-4C 4.24.4: RL + BL/2 - WL + 2
  return t;
}

DramTimings ddr5_timings(const DimmLabel& label, const Clock& clock) {
  DramTimings t;
  // JESD79-5B tables 521 and following (timing parameters by speed bin), BL16.
  t.burst = 8;
  t.ras = clock.cycles({32, 0});
  t.ccd_s = 8;
  t.ccd_l = clock.cycles({5, 8});
  t.ccd_s_wr = 8;
  // A x4 device keeps a code of 128 data bits and writes 64 of them, so it reads the rest first.
  t.ccd_l_wr = label.device_bits == 4 ? clock.cycles({20, 32}) : clock.cycles({10, 16});
  t.rrd_s = 8;
  t.rrd_l = clock.cycles({5, 8});
  t.faw = label.device_bits == 16 ? 40 : 32;
  t.wr = clock.cycles({30, 48});
  t.wtr_s = clock.cycles({2.5, 4});
  t.wtr_l = clock.cycles({10, 16});
  t.rtp = clock.cycles({7.5, 12});
  t.ppd = 2;
  t.refi = clock.cycles({3900, 0});
  t.rank_switch = 2;
  t.read_to_write = 4;  // 2 tCK between the strobes, tRPST 0.5 tCK, tWPRE 2 tCK
  t.long_command = 2;
  return t;
}

// JEDEC's bins have 12.5 to 17 ns; 8 ns is below what any array of DDR4 or DDR5 was sold with, and
// 50 above, so that a number outside is of another unit or another rate.
Result<void> check_array_times(const DramTimings& t, double cycle_ns) {
  constexpr double kLeastNs = 8;
  constexpr double kMostNs = 50;
  struct Time {
    std::string_view key;
    std::uint32_t cycles;
  };
  for (const Time& time : {Time{"cl", t.cl}, Time{"rcd", t.rcd}, Time{"rp", t.rp}}) {
    const double ns = time.cycles * cycle_ns;
    if (!(ns >= kLeastNs && ns <= kMostNs)) {
      return Error(Errc::config_invalid, fmt::format("{} = {}: {:.1f} ns; allowed is {} to {} ns",
                                                     time.key, time.cycles, ns, kLeastNs, kMostNs));
    }
  }
  return {};
}

Result<void> check_ranks(const DimmLabel& label) {
  if (std::has_single_bit(label.ranks_per_dimm) && std::has_single_bit(label.dimms_per_channel) &&
      label.ranks_per_dimm <= kRanksMax / label.dimms_per_channel) {
    return {};
  }
  return Error(Errc::config_invalid,
               fmt::format("ranks_per_dimm = {}, dimms_per_channel = {}: allowed are powers of "
                           "two, {} ranks in all at most",
                           label.ranks_per_dimm, label.dimms_per_channel, kRanksMax));
}

}  // namespace

Result<DramSpec> jedec_dram(const DimmLabel& label) {
  if (label.device_bits != 4 && label.device_bits != 8 && label.device_bits != 16) {
    return not_in_table("device_bits", label.device_bits, "4, 8, 16");
  }
  if (const Result<void> ranks = check_ranks(label); !ranks) {
    return ranks.error();
  }
  const Result<Bin> bin = find_bin(label);
  if (!bin) {
    return bin.error();
  }
  const Result<double> rfc_ns = find_rfc_ns(label);
  if (!rfc_ns) {
    return rfc_ns.error();
  }
  const Clock clock(label.standard, label.megatransfers_per_s);
  DramSpec spec;
  spec.organization = organization_of(label);
  DramTimings& t = spec.timings;
  t = label.standard == DramStandard::ddr4 ? ddr4_timings(label, clock)
                                           : ddr5_timings(label, clock);
  t.cl = label.cl != 0 ? label.cl : bin->cl;
  t.rcd = label.rcd != 0 ? label.rcd : bin->rcd;
  t.rp = label.rp != 0 ? label.rp : bin->rp;
  if (const Result<void> times = check_array_times(t, spec.organization.cycle_ns()); !times) {
    return times.error();
  }
  t.cwl = label.standard == DramStandard::ddr5 ? t.cl - 2 : bin->cwl;
  t.rc = t.ras + t.rp;
  t.rfc = clock.cycles({*rfc_ns, 0});
  spec.name = fmt::format("{}-{} {}-{}-{} {}Gb x{}, {} rank{}", to_string(label.standard),
                          label.megatransfers_per_s, t.cl, t.rcd, t.rp, label.density_gbit,
                          label.device_bits, spec.organization.ranks,
                          spec.organization.ranks == 1 ? "" : "s");
  spec.controller.mapping = default_mapping(spec.organization);
  const Result<void> valid = validate(spec);
  if (!valid) {
    return valid.error();
  }
  return spec;
}

}  // namespace godbox::emulator::model
