// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/striping/slab_layout.h>

#include <fmt/format.h>

#include <bit>
#include <string>
#include <utility>

namespace godbox::striping {

namespace {

constexpr std::uint32_t kStripBytesMin = 64;  // a cache line: less would be cut by every copy

Error invalid(const wire::SlabRecord& record, std::string text) {
  return Error(Errc::config_invalid, fmt::format("slab {}: {}", record.id.value(), text));
}

// The sentence that says what is wrong with the scalars; empty when nothing is.
std::string check_shape(const wire::SlabRecord& record) {
  const std::size_t members = record.members.size();
  if (members == 0 || members > kSlabMembersMax) {
    return fmt::format("members: {} given, 1 to {} allowed", members, kSlabMembersMax);
  }
  if (record.strip_bytes < kStripBytesMin || !std::has_single_bit(record.strip_bytes)) {
    return fmt::format("strip_bytes: {} is not a power of two of at least {}", record.strip_bytes,
                       kStripBytesMin);
  }
  const std::uint64_t piece = record.piece_size.count();
  if (piece == 0 || piece % record.strip_bytes != 0) {
    return fmt::format("piece_size: {} is not a positive multiple of strip_bytes {}", piece,
                       record.strip_bytes);
  }
  if (piece > std::numeric_limits<std::uint64_t>::max() / kSlabMembersMax) {
    return fmt::format("piece_size: {} times {} members overflows", piece, members);
  }
  if (record.rotation >= members) {
    return fmt::format("rotation: {} is not below the {} members", record.rotation, members);
  }
  return {};
}

std::string check_members(const wire::SlabRecord& record) {
  const std::uint64_t piece = record.piece_size.count();
  for (std::size_t i = 0; i < record.members.size(); ++i) {
    const wire::SlabMember& member = record.members[i];
    if (member.offset.count() > std::numeric_limits<std::uint64_t>::max() - piece) {
      return fmt::format("members[{}].offset: {} plus the piece overflows", i,
                         member.offset.count());
    }
    for (std::size_t before = 0; before < i; ++before) {
      if (record.members[before].dram_channel == member.dram_channel) {
        return fmt::format("members[{}].dram_channel: {} is already member {}", i,
                           member.dram_channel.value(), before);
      }
    }
  }
  return {};
}

}  // namespace

Result<SlabLayout> SlabLayout::create(const wire::SlabRecord& record) {
  std::string wrong = check_shape(record);
  if (wrong.empty()) {
    wrong = check_members(record);
  }
  if (!wrong.empty()) {
    return invalid(record, std::move(wrong));
  }
  SlabLayout layout(record);
  layout.strip_shift_ = static_cast<std::uint32_t>(std::countr_zero(record.strip_bytes));
  return layout;
}

DramRun SlabLayout::locate(SlabOffset offset) const {
  GODBOX_ASSERT(offset.count() < capacity().count());
  const std::uint64_t members = record_.members.size();
  const std::uint64_t strip = offset.count() >> strip_shift_;
  const std::uint64_t inside = offset.count() & (record_.strip_bytes - 1U);
  const std::uint64_t row = strip / members;
  std::uint64_t index = strip - row * members + record_.rotation;
  if (index >= members) {
    index -= members;
  }
  const wire::SlabMember& member = record_.members[index];
  return {.dram_channel = member.dram_channel,
          .offset = member.offset + SizeBytes((row << strip_shift_) + inside),
          .length_bytes = static_cast<std::uint32_t>(record_.strip_bytes - inside)};
}

std::optional<SlabOffset> SlabLayout::offset_of(DramChannelId dram_channel,
                                                DramOffset offset) const {
  const std::uint64_t members = record_.members.size();
  for (std::uint64_t index = 0; index < members; ++index) {
    const wire::SlabMember& member = record_.members[index];
    if (member.dram_channel != dram_channel) {
      continue;
    }
    if (offset < member.offset || offset - member.offset >= record_.piece_size) {
      return std::nullopt;
    }
    const std::uint64_t in_piece = (offset - member.offset).count();
    const std::uint64_t row = in_piece >> strip_shift_;
    const std::uint64_t position = (index + members - record_.rotation) % members;
    const std::uint64_t strip = row * members + position;
    return SlabOffset((strip << strip_shift_) + (in_piece & (record_.strip_bytes - 1U)));
  }
  return std::nullopt;
}

}  // namespace godbox::striping
