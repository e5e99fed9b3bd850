// SPDX-License-Identifier: Apache-2.0
#include "pool/reservation_table.h"

namespace godbox::emulator {
namespace {

// So many ended reservations are remembered before their records are used again.
constexpr std::size_t kRemembered = 1024;

}  // namespace

std::uint32_t ReservationTable::open(const New& wanted) {
  std::uint32_t reservation = 0;
  if (free_.size() > kRemembered || records_.size() >= kReservationsMax) {
    reservation = free_.front();
    free_.pop_front();
  } else {
    reservation = static_cast<std::uint32_t>(records_.size());
    records_.emplace_back();
  }
  Record& record = records_[reservation];
  ++record.generation;
  record.slot = wanted.slot;
  record.session = wanted.session;
  record.tenant = wanted.tenant;
  record.life = wanted.life;
  record.layers_ready = 0;
  record.read_key = 0;
  record.crc_blocks_ready = 0;
  deadlines_.insert(reservation, wanted.deadline);
  shares_.take(wanted.tenant, 1);
  return reservation;
}

void ReservationTable::layer_done(std::uint32_t reservation, std::uint32_t crc_blocks,
                                  TimePoint now) {
  ++records_[reservation].layers_ready;
  records_[reservation].crc_blocks_ready += crc_blocks;
  deadlines_.erase(reservation);
  deadlines_.insert(reservation, now + records_[reservation].life);
}

ReservationTable::Found ReservationTable::find(ReservationId id, std::uint32_t session) const {
  const std::uint32_t reservation = static_cast<std::uint32_t>(id.value()) - 1;
  if (reservation >= records_.size()) {
    return {Errc::not_found, kNoIndex};
  }
  const Record& record = records_[reservation];
  if (record.generation != id.value() >> 32U || record.session != session) {
    return {Errc::not_found, kNoIndex};
  }
  if (record.slot == kNoIndex) {
    return {record.outcome, kNoIndex};
  }
  return {Errc::ok, reservation};
}

std::uint32_t ReservationTable::first_overdue(TimePoint now) const {
  return !deadlines_.empty() && deadlines_.first_deadline() <= now ? deadlines_.first_id()
                                                                   : kNoIndex;
}

void ReservationTable::close(std::uint32_t reservation, Errc outcome) {
  Record& record = records_[reservation];
  GODBOX_ASSERT(record.slot != kNoIndex);
  record.slot = kNoIndex;
  record.outcome = outcome;
  deadlines_.erase(reservation);
  free_.push_back(reservation);
  shares_.give_back(record.tenant, 1);
}

std::uint64_t ReservationTable::memory_bytes() const {
  return records_.capacity() * sizeof(Record) + free_.size() * sizeof(std::uint32_t) +
         deadlines_.memory_bytes() + shares_.memory_bytes();
}

}  // namespace godbox::emulator
