// SPDX-License-Identifier: Apache-2.0
#include "port_impl.h"
#include <godbox/crc32.h>
#include <godbox/roce/mad.h>

#include <array>
#include <span>
#include <type_traits>
#include <variant>

namespace godbox::emulator {
namespace {

// Whose a REQ is before it has a number here: its repetitions go the same way, and so does another
// one for the same queue pair of the peer's, by which a stale connection is found.
std::uint32_t hash_of(const roce::CmReq& req, const roce::FrameHeader& header) {
  struct Peer {
    std::array<std::uint8_t, 16> address;
    std::uint64_t ca_guid;
    std::uint64_t number;
  };
  static_assert(sizeof(Peer) == 32);  // no byte between
  const Peer peer{header.source_ip.bytes, req.local_ca_guid, req.local_qpn.value()};
  return crc32(std::as_bytes(std::span(&peer, 1)));
}

}  // namespace

std::size_t RocePort::Impl::take_given(std::size_t frames_max, TimePoint now) {
  return options.queues == nullptr
             ? 0
             : options.queues->take(options.queue, frames_max,
                                    [&](ConstSpan bytes) { take_in(bytes, false, now); });
}

std::optional<std::size_t> RocePort::Impl::owner_of(const roce::Frame& frame,
                                                    const roce::CmMad& mad) const {
  const RoceQueues& queues = *options.queues;
  return std::visit(
      [&](const auto& message) -> std::optional<std::size_t> {
        using Message = std::decay_t<decltype(message)>;
        if constexpr (std::is_same_v<Message, roce::CmReq>) {
          return queues.queue_for(hash_of(message, frame.header), options.queue);
        } else if constexpr (std::is_same_v<Message, roce::CmSidrReq> ||
                             std::is_same_v<Message, roce::CmSidrRep>) {
          return std::nullopt;
        } else {
          return message.remote_comm_id == roce::CommId()
                     ? std::nullopt
                     : std::optional(queues.owner_of(message.remote_comm_id.value()));
        }
      },
      mad.message);
}

// Of who gave up waiting for a REP, and says its own GUID (IBTA volume 1, 12.6.7.2).
bool RocePort::Impl::is_for_all(const roce::CmMad& mad) const {
  const auto* const rej = std::get_if<roce::CmRej>(&mad.message);
  return rej != nullptr && rej->remote_comm_id == roce::CommId() &&
         rej->reason == roce::RejReason::timeout && rej->info_bytes >= sizeof(std::uint64_t);
}

void RocePort::Impl::give(std::size_t to, ConstSpan bytes) {
  const bool is_taken = options.queues->give(options.queue, to, bytes);
  (is_taken ? context.counters.frames_given : context.counters.dropped_queue).add();
}

// What is refused anyway is refused here, so that strangers do not have queues work for each other.
bool RocePort::Impl::was_given_away(ConstSpan bytes, const roce::Frame& frame,
                                    const roce::Packet& in, TimePoint now) {
  const std::uint32_t number = in.destination_qp.value();
  if (number == roce::kGsiQueuePair) {
    return management_objection(in) == nullptr && was_management_given_away(bytes, frame, in, now);
  }
  const std::size_t owner = options.queues->owner_of(number);
  if (owner == options.queue || !options.queues->is_open(number)) {
    return false;
  }
  give(owner, bytes);
  return true;
}

bool RocePort::Impl::was_management_given_away(ConstSpan bytes, const roce::Frame& frame,
                                               const roce::Packet& in, TimePoint now) {
  const std::optional<roce::CmMad> mad = roce::decode_mad(in.payload);
  const bool for_all = mad && is_for_all(*mad);
  const std::size_t owner = mad ? owner_of(frame, *mad).value_or(options.queue) : options.queue;
  if ((owner == options.queue && !for_all) || !has_right_icrc(frame)) {
    return false;
  }
  if (!(for_all ? for_all_limit : given_mads_limit).take(now)) {
    context.counters.dropped_limit.add();
    return true;
  }
  if (!for_all) {
    give(owner, bytes);
    return true;
  }
  for (std::size_t other = 0; other < options.queues->count(); ++other) {
    if (other != options.queue) {
      give(other, bytes);
    }
  }
  return false;
}

}  // namespace godbox::emulator
