// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/model/dram_spec.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

namespace godbox::emulator::model {
namespace {

using Field = AddressMapping::Field;

constexpr std::array<std::string_view, 6> kFieldNames = {"subchannel", "bankgroup", "bank",
                                                         "rank",       "column",    "row"};

std::uint32_t bits_of(std::uint64_t count) {
  return static_cast<std::uint32_t>(std::bit_width(count) - 1);
}

std::uint32_t bits_in(const DramOrganization& org, Field field) {
  switch (field) {
    case Field::sub_channel:
      return bits_of(org.sub_channels);
    case Field::bank_group:
      return bits_of(org.bank_groups);
    case Field::bank:
      return bits_of(org.banks_per_group);
    case Field::rank:
      return bits_of(org.ranks);
    case Field::column:
      return bits_of(org.row_bytes / kLine.count());
    case Field::row:
      return bits_of(org.rows);
  }
  return 0;
}

Error invalid(std::string text) { return {Errc::config_invalid, std::move(text)}; }

struct Range {
  std::string_view key;
  std::uint64_t value;
  std::uint64_t low;
  std::uint64_t high;
  bool power_of_two = false;
};

Result<void> check(const Range& range) {
  if (range.value < range.low || range.value > range.high ||
      (range.power_of_two && !std::has_single_bit(range.value))) {
    return invalid(fmt::format("dram.{} = {}: allowed is {}{} to {}", range.key, range.value,
                               range.power_of_two ? "a power of two from " : "", range.low,
                               range.high));
  }
  return {};
}

template <std::size_t N>
Result<void> check_all(const std::array<Range, N>& ranges) {
  for (const Range& range : ranges) {
    if (Result<void> one = check(range); !one) {
      return one;
    }
  }
  return {};
}

Result<void> check_organization(const DramOrganization& org) {
  const std::uint64_t rate_high = org.standard == DramStandard::ddr4 ? 3200 : 9200;
  return check_all(
      std::array<Range, 8>{{{"rate_mt_per_s", org.megatransfers_per_s, 1600, rate_high},
                            {"sub_channels", org.sub_channels, 1, 2, true},
                            {"sub_channel_bits", org.sub_channel_bits, 16, 64, true},
                            {"ranks", org.ranks, 1, kRanksMax, true},
                            {"bank_groups", org.bank_groups, 1, 8, true},
                            {"banks_per_group", org.banks_per_group, 1, 8, true},
                            {"row_bytes", org.row_bytes, 512, 16384, true},
                            {"rows", org.rows, 1024, std::uint64_t{1} << 20U}}});
}

Result<void> check_timings(const DramTimings& t) {
  // No value of JEDEC's reaches the upper ends; they catch a value that is in the wrong unit.
  constexpr std::uint64_t kMax = 1000;
  Result<void> each = check_all(std::array<Range, 19>{{{"burst", t.burst, 2, 16},
                                                       {"cl", t.cl, 5, kMax},
                                                       {"cwl", t.cwl, 5, kMax},
                                                       {"rcd", t.rcd, 5, kMax},
                                                       {"rp", t.rp, 5, kMax},
                                                       {"ras", t.ras, t.rcd, kMax},
                                                       {"rc", t.rc, t.ras + t.rp, kMax},
                                                       {"ccd_s", t.ccd_s, t.burst, kMax},
                                                       {"ccd_l", t.ccd_l, t.ccd_s, kMax},
                                                       {"ccd_s_wr", t.ccd_s_wr, t.burst, kMax},
                                                       {"ccd_l_wr", t.ccd_l_wr, t.ccd_s_wr, kMax},
                                                       {"rrd_s", t.rrd_s, 1, kMax},
                                                       {"rrd_l", t.rrd_l, 1, kMax},
                                                       {"faw", t.faw, t.rrd_s, kMax},
                                                       {"wr", t.wr, 1, kMax},
                                                       {"wtr_s", t.wtr_s, 1, kMax},
                                                       {"wtr_l", t.wtr_l, t.wtr_s, kMax},
                                                       {"rtp", t.rtp, 1, kMax},
                                                       {"ppd", t.ppd, 1, kMax}}});
  if (!each) {
    return each;
  }
  constexpr std::uint64_t kRefreshMax = 100'000;
  const std::uint64_t busy = std::uint64_t{t.rfc} + t.rp;
  return check_all(std::array<Range, 5>{
      {{"rfc", t.rfc, t.refi == 0 ? 0U : 1U, kRefreshMax},
       // A rank that is refreshed more than half of its time is no memory any more.
       {"refi", t.refi, t.refi == 0 ? 0U : 2 * busy, kRefreshMax},
       {"rank_switch", t.rank_switch, 0, 64},
       {"read_to_write", t.read_to_write, 0, 64},
       {"long_command", t.long_command, 1, 4}}});
}

Result<void> check_controller(const DramController& controller) {
  Result<void> queues = check_all(
      std::array<Range, 2>{{{"read_queue", controller.read_queue, 1, kQueueEntriesMax},
                            {"write_queue", controller.write_queue, 1, kQueueEntriesMax}}});
  if (!queues) {
    return queues;
  }
  const double low = controller.write_low;
  const double high = controller.write_high;
  if (!(low >= 0 && low < high && high <= 1)) {
    return invalid(fmt::format(
        "dram.write_low = {}, dram.write_high = {}: allowed is 0 <= write_low < write_high <= 1",
        low, high));
  }
  return {};
}

Result<void> check_mapping(const DramSpec& spec) {
  std::array<std::uint32_t, kFieldNames.size()> given{};
  const auto& slices = spec.controller.mapping.slices;
  for (std::size_t i = 0; i < slices.size(); ++i) {
    if (slices[i].field == Field::row && i + 1 != slices.size()) {
      return invalid("dram.mapping: row must be the last field");
    }
    given[static_cast<std::size_t>(slices[i].field)] += slices[i].bits;
  }
  if (slices.empty() || slices.back().field != Field::row) {
    return invalid("dram.mapping: row must be the last field");
  }
  for (std::size_t i = 0; i + 1 < kFieldNames.size(); ++i) {
    const std::uint32_t wanted = bits_in(spec.organization, static_cast<Field>(i));
    if (given[i] != wanted) {
      return invalid(
          fmt::format("dram.mapping = \"{}\": {} has {} bits, but the organization needs {}",
                      to_text(spec.controller.mapping), kFieldNames[i], given[i], wanted));
    }
  }
  return {};
}

std::string_view next_word(std::string_view& text) {
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) {
    text = {};
    return {};
  }
  text.remove_prefix(begin);
  const std::size_t end = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

Result<AddressMapping::Slice> parse_slice(std::string_view word) {
  const std::size_t colon = word.find(':');
  const std::string_view name = word.substr(0, colon);
  const auto* const found = std::find(kFieldNames.begin(), kFieldNames.end(), name);
  if (found == kFieldNames.end()) {
    return invalid(fmt::format("dram.mapping: \"{}\" is no field; allowed: {}", name,
                               fmt::join(kFieldNames, ", ")));
  }
  AddressMapping::Slice slice;
  slice.field = static_cast<Field>(found - kFieldNames.begin());
  if (slice.field == Field::row && colon == std::string_view::npos) {
    return slice;
  }
  const std::string_view digits =
      colon == std::string_view::npos ? std::string_view() : word.substr(colon + 1);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), slice.bits);
  if (error != std::errc() || end != digits.data() + digits.size() || slice.bits > 20) {
    return invalid(
        fmt::format("dram.mapping: \"{}\" needs a count of bits, such as \"{}:2\"", word, name));
  }
  return slice;
}

}  // namespace

AddressMapping default_mapping(const DramOrganization& organization) {
  AddressMapping mapping;
  for (const Field field :
       {Field::sub_channel, Field::bank_group, Field::column, Field::bank, Field::rank}) {
    if (const std::uint32_t bits = bits_in(organization, field); bits != 0) {
      mapping.slices.push_back({field, bits});
    }
  }
  mapping.slices.push_back({Field::row, 0});
  return mapping;
}

Result<AddressMapping> parse_mapping(std::string_view text, bool hash_banks) {
  AddressMapping mapping;
  mapping.hash_banks = hash_banks;
  for (std::string_view word = next_word(text); !word.empty(); word = next_word(text)) {
    const Result<AddressMapping::Slice> slice = parse_slice(word);
    if (!slice) {
      return slice.error();
    }
    mapping.slices.push_back(*slice);
  }
  if (mapping.slices.empty()) {
    return invalid(
        "dram.mapping = \"\": allowed is a list such as \"subchannel:1 bankgroup:3 "
        "column:7 bank:2 row\"");
  }
  return mapping;
}

std::string to_text(const AddressMapping& mapping) {
  std::string text;
  for (const AddressMapping::Slice& slice : mapping.slices) {
    const std::string_view name = kFieldNames[static_cast<std::size_t>(slice.field)];
    text += text.empty() ? "" : " ";
    text += slice.field == Field::row ? std::string(name) : fmt::format("{}:{}", name, slice.bits);
  }
  return text;
}

Result<void> validate(const DramSpec& spec) {
  for (const Result<void>& part :
       {check_organization(spec.organization), check_timings(spec.timings),
        check_controller(spec.controller)}) {
    if (!part) {
      return part;
    }
  }
  const DramOrganization& org = spec.organization;
  const std::uint64_t burst_bytes =
      std::uint64_t{spec.timings.burst} * 2 * org.sub_channel_bits / 8;
  if (burst_bytes != kLine.count()) {
    return invalid(
        fmt::format("dram.burst = {} cycles of {} bits move {} bytes; it must be a line "
                    "of {}",
                    spec.timings.burst, org.sub_channel_bits, burst_bytes, kLine.count()));
  }
  if (org.banks_per_rank() > kBanksPerRankMax) {
    return invalid(fmt::format("dram: {} bank groups of {} banks are {}; at most {} in a rank",
                               org.bank_groups, org.banks_per_group, org.banks_per_rank(),
                               kBanksPerRankMax));
  }
  return check_mapping(spec);
}

double refresh_loss(const DramTimings& timings) {
  return timings.refi == 0 ? 0.0 : static_cast<double>(timings.rfc) / timings.refi;
}

}  // namespace godbox::emulator::model
