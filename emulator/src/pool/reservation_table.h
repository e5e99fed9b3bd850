// SPDX-License-Identifier: Apache-2.0
//
// Reservations between their two phases: which slot, whose, until when; and how recent ones ended,
// so that a late commit hears "expired" and not "unknown". Thread-safety: none of its own
// (PoolService's lock). Errors: Errc of find().
#pragma once

#include "fair_share.h"
#include "pool/deadline_heap.h"
#include "pool/slot_array.h"
#include <godbox/result.h>

#include <deque>
#include <vector>

namespace godbox::emulator {

class ReservationTable {
 public:
  static constexpr std::uint32_t kReservationsMax = 1U << 20U;  // a FairShare

  struct Record {
    std::uint32_t generation = 0;
    std::uint32_t slot = kNoIndex;  // kNoIndex: ended
    std::uint32_t session = 0;
    std::uint32_t tenant = 0;
    Errc outcome = Errc::not_found;  // what a commit of an ended one is answered
    Duration life{};                 // that each layer gives it anew
    std::uint32_t layers_ready = 0;
    std::uint32_t read_key = 0;  // of those layers; 0: none
    std::uint32_t crc_blocks_ready = 0;
  };

  [[nodiscard]] bool has_room(std::uint32_t tenant) const { return shares_.may_take(tenant, 1); }
  struct New {
    std::uint32_t slot = kNoIndex;
    std::uint32_t session = 0;
    std::uint32_t tenant = 0;
    TimePoint deadline;
    Duration life{};
  };
  // has_room().
  [[nodiscard]] std::uint32_t open(const New& wanted);
  // A layer more is there: the reservation has its whole life before it.
  void layer_done(std::uint32_t reservation, std::uint32_t crc_blocks, TimePoint now);
  void set_read_key(std::uint32_t reservation, std::uint32_t key) {
    records_[reservation].read_key = key;
  }
  [[nodiscard]] ReservationId id_of(std::uint32_t reservation) const {
    return ReservationId((std::uint64_t{records_[reservation].generation} << 32U) |
                         (reservation + 1));
  }
  [[nodiscard]] const Record& record(std::uint32_t reservation) const {
    return records_[reservation];
  }
  [[nodiscard]] TimePoint deadline_of(std::uint32_t reservation) const {
    return deadlines_.deadline_of(reservation);
  }
  // Of a live reservation of this session. Errors: not_found, reservation_expired.
  struct Found {
    Errc status = Errc::ok;
    std::uint32_t reservation = kNoIndex;
  };
  [[nodiscard]] Found find(ReservationId id, std::uint32_t session) const;
  [[nodiscard]] std::uint32_t first_overdue(TimePoint now) const;
  void close(std::uint32_t reservation, Errc outcome);
  [[nodiscard]] std::uint64_t live() const { return shares_.used(); }
  [[nodiscard]] std::uint64_t memory_bytes() const;

 private:
  std::vector<Record> records_;
  std::deque<std::uint32_t> free_;  // first in, first out: an outcome is remembered for long
  DeadlineHeap deadlines_;
  FairShare shares_{kReservationsMax};
};

}  // namespace godbox::emulator
