// SPDX-License-Identifier: Apache-2.0
//
// The state of a port: its queue pairs, whose turn it is to send, and their timers. Frames are in
// port_frames.cpp, those of the link and of connection management in port_control.cpp.
// Thread-safety: the port's thread. Units: bytes, TimePoints.
#pragma once

#include "connections.h"
#include "context.h"
#include "queue_pair.h"
#include <godbox/emulator/roce/port.h>
#include <godbox/ring_queue.h>

#include <unordered_map>
#include <unordered_set>

namespace godbox::emulator {

struct RocePort::Impl {
  // `of_door`: nullptr for a port without a pool.
  Impl(RoceDoor::State* of_door, RocePortOptions port_options, RandomSource& source);
  ~Impl();

  // --- Frames in (port_frames.cpp) ---
  void on_frame(ConstSpan frame, TimePoint now);
  // `may_be_anothers`: it has not been looked at whose of several queues the frame is.
  void take_in(ConstSpan bytes, bool may_be_anothers, TimePoint now);
  void on_roce(ConstSpan bytes, const roce::Frame& frame, bool may_be_anothers, TimePoint now);
  [[nodiscard]] bool is_ours(const roce::FrameHeader& header) const;
  [[nodiscard]] bool is_own_address(const roce::Gid& address) const;
  [[nodiscard]] bool is_silent(TimePoint now) const;
  // What a queue pair's packet is dropped for; nullptr: it is taken.
  [[nodiscard]] RoceCounter* objection(const roce::Frame& frame, const roce::Packet& packet,
                                       const RoceQueuePair* pair);

  [[nodiscard]] RoceCounter* management_objection(const roce::Packet& packet);

  // --- Of several queues (port_queues.cpp) ---
  std::size_t take_given(std::size_t frames_max, TimePoint now);
  // True: the frame was another queue's, and is nothing more of this one.
  [[nodiscard]] bool was_given_away(ConstSpan bytes, const roce::Frame& frame,
                                    const roce::Packet& packet, TimePoint now);
  // Of a packet of connection management; nothing: whoever it came to sees to it.
  [[nodiscard]] std::optional<std::size_t> owner_of(const roce::Frame& frame,
                                                    const roce::CmMad& mad) const;
  // True for a REJ that names nothing of this end's, so that all queues have to look whose it is.
  [[nodiscard]] bool is_for_all(const roce::CmMad& mad) const;
  [[nodiscard]] bool was_management_given_away(ConstSpan bytes, const roce::Frame& frame,
                                               const roce::Packet& packet, TimePoint now);
  void give(std::size_t to, ConstSpan bytes);
  // A number of this queue's, as drawn or near it.
  [[nodiscard]] std::uint64_t number_from(std::uint32_t drawn) const {
    return options.queues != nullptr ? options.queues->number_of(options.queue, drawn) : drawn;
  }

  // --- The link and connection management (port_control.cpp) ---
  void on_link(ConstSpan bytes, TimePoint now);
  void on_management(const roce::Frame& frame, const roce::Packet& packet, TimePoint now);
  // Of an answer to a frame.
  [[nodiscard]] roce::FrameHeader path_back(const roce::FrameHeader& header) const;
  void queue_mad(const roce::FrameHeader& path, roce::QueuePairNumber to, roce::Psn psn,
                 const roce::CmMad& mad);
  void queue_control(std::vector<std::byte> frame);
  [[nodiscard]] std::uint64_t ca_guid() const;  // the MAC address as an EUI-64

  // --- Frames out (port_frames.cpp) ---
  [[nodiscard]] bool next_frame(OutFrame& out, TimePoint now);
  [[nodiscard]] bool next_data_frame(OutFrame& out, TimePoint now);
  void frame_packet(RoceQueuePair& pair, OutPacket& packet, OutFrame& out);
  [[nodiscard]] std::size_t copy_frame(const OutFrame& frame, MutableSpan out);
  void release(ReleaseToken token);

  // --- Queue pairs (port.cpp) ---
  [[nodiscard]] RoceQueuePair* find(roce::QueuePairNumber number);
  [[nodiscard]] Result<LocalQueuePair> allot();
  [[nodiscard]] Errc connect(QueuePairOptions options, TimePoint now);
  void destroy(roce::QueuePairNumber number);
  // It may have something to send now.
  void activate(RoceQueuePair& pair);
  void update_timer(RoceQueuePair& pair);
  void sweep(TimePoint now);
  [[nodiscard]] TimePoint next_deadline() const;
  void on_timer(TimePoint now);

  const RocePortOptions options;
  const roce::PathMtu path_mtu_max;
  RandomSource& random;
  RoceContext context;

  using Number = std::uint32_t;
  std::unordered_map<Number, std::unique_ptr<RoceQueuePair>> pairs;
  std::unordered_map<Number, std::unique_ptr<RoceQueuePair>> departed;  // frames under way
  std::unordered_set<Number> allotted;                                  // not connected yet
  RingQueue<RoceQueuePair*> active;
  std::uint32_t turn_frames = 0;  // of the first of `active`
  IntrusiveDeadlineHeap timers;   // of queue pairs
  TimePoint next_sweep{};
  RingQueue<std::vector<std::byte>> control_frames;
  RateLimit link_limit{kRoceLinkBurstMax, kRoceLinkPeriod};
  // Messages of connection management for one other queue, and for all of them.
  RateLimit given_mads_limit{kRoceReqBurstMax, kRoceReqPeriod};
  RateLimit for_all_limit{kRoceStrangerBurstMax, kRoceStrangerPeriod};
  RoceConnections connections{*this};
  OutPacket packet;  // scratch
};

}  // namespace godbox::emulator
