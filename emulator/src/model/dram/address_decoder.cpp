// SPDX-License-Identifier: Apache-2.0
#include "model/dram/address_decoder.h"

#include <godbox/assert.h>

#include <bit>

namespace godbox::emulator::model {
namespace {

using Field = AddressMapping::Field;
constexpr std::size_t kFields = 6;

}  // namespace

AddressDecoder::AddressDecoder(const DramSpec& spec)
    : line_count_(spec.organization.capacity() / kLine),
      rows_(spec.organization.rows),
      bank_bits_(static_cast<std::uint32_t>(std::bit_width(spec.organization.banks_per_group) - 1)),
      group_bits_(static_cast<std::uint32_t>(std::bit_width(spec.organization.bank_groups) - 1)),
      hash_banks_(spec.controller.mapping.hash_banks) {
  std::array<std::uint8_t, kFields> used{};
  for (const AddressMapping::Slice& slice : spec.controller.mapping.slices) {
    if (slice.field == Field::row) {
      continue;
    }
    GODBOX_ASSERT(slice_count_ < kSlicesMax);
    const auto field = static_cast<std::uint8_t>(slice.field);
    slices_[slice_count_++] = {static_cast<std::uint8_t>(slice.bits), field, used[field]};
    used[field] = static_cast<std::uint8_t>(used[field] + slice.bits);
  }
}

DecodedLine AddressDecoder::decode(std::uint64_t line) const {
  std::array<std::uint32_t, kFields> fields{};
  for (std::size_t i = 0; i < slice_count_; ++i) {
    const Slice& slice = slices_[i];
    const auto value = static_cast<std::uint32_t>(line & ((std::uint64_t{1} << slice.bits) - 1));
    fields[slice.field] |= value << slice.shift;
    line >>= slice.bits;
  }
  const auto row = static_cast<std::uint32_t>(line < rows_ ? line : line % rows_);
  std::uint32_t group = fields[static_cast<std::size_t>(Field::bank_group)];
  std::uint32_t bank = fields[static_cast<std::size_t>(Field::bank)];
  if (hash_banks_) {
    group ^= row & ((1U << group_bits_) - 1);
    bank ^= (row >> group_bits_) & ((1U << bank_bits_) - 1);
  }
  const std::uint32_t rank = fields[static_cast<std::size_t>(Field::rank)];
  return {.sub_channel = fields[static_cast<std::size_t>(Field::sub_channel)],
          .place = {.bank = (((rank << group_bits_) | group) << bank_bits_) | bank, .row = row}};
}

}  // namespace godbox::emulator::model
