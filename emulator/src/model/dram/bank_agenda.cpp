// SPDX-License-Identifier: Apache-2.0
#include "model/dram/bank_agenda.h"

#include <godbox/assert.h>

namespace godbox::emulator::model {
namespace {

constexpr std::uint32_t kAllBits = 0xFFFF;

}  // namespace

BankAgenda::BankAgenda(const DramOrganization& organization, const Spacings& spacings,
                       std::uint32_t ahead)
    : banks_per_group_(organization.banks_per_group),
      stride_((organization.ranks * organization.bank_groups + kLanes - 1) / kLanes * kLanes),
      lanes_per_group_(banks_per_group_ * kLanes),
      lane_count_(stride_ * banks_per_group_),
      span_(kTicks - 1 - static_cast<Cycle>(ahead)),
      precharge_spacing_(static_cast<Tick>(spacings.precharges)) {
  GODBOX_ASSERT(span_ > 0 && stride_ <= kGroupsMax && lane_count_ <= kBanksMax);
  for (ByBank& times : ready_) {
    times.fill(kNever);
  }
  for (ByGroup& times : shared_) {
    times.fill(kLongPast);
  }
  const auto by_two_groups = [&](const Spacing& spacing) {
    const std::uint32_t per_rank = organization.bank_groups;
    ByTwoGroups all(std::size_t{per_rank} * organization.ranks);
    for (std::uint32_t from = 0; from < all.size(); ++from) {
      for (std::uint32_t to = 0; to < all.size(); ++to) {
        const std::uint32_t elsewhere =
            from / per_rank == to / per_rank ? spacing.same_rank : spacing.other_rank;
        all[from][to] = static_cast<Tick>(from == to ? spacing.same_group : elsewhere);
      }
    }
    return all;
  };
  for (std::size_t issued = 0; issued < 2; ++issued) {
    for (std::size_t next = 0; next < 2; ++next) {
      access_spacing_[issued][next] = by_two_groups(spacings.accesses[issued][next]);
    }
  }
  activate_spacing_ = by_two_groups({spacings.activates, 0, 0});
  is_same_rank_ = by_two_groups({kAllBits, kAllBits, 0});
}

// `now` becomes the base.
void BankAgenda::move_base(Cycle now) {
  const auto earlier = [by = now - base_](Tick& time) {
    time =
        time == kNever ? kNever : static_cast<Tick>(std::max(Cycle{time} - by, Cycle{kLongPast}));
  };
  for (ByBank& times : ready_) {
    std::for_each(times.begin(), times.end(), earlier);
  }
  for (ByGroup& times : shared_) {
    std::for_each(times.begin(), times.end(), earlier);
  }
  base_ = now;
}

}  // namespace godbox::emulator::model
