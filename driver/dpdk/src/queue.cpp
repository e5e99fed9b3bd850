// SPDX-License-Identifier: Apache-2.0
#include "queue.h"

#include <godbox/assert.h>

#include <fmt/format.h>

#include <algorithm>

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

namespace godbox::driver {
namespace {

bool is_tagged(const rte_mbuf* frame) {
  return rte_pktmbuf_mtod(frame, const rte_ether_hdr*)->ether_type ==
         rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN);
}

// Whether it is as long as a frame of this MTU may be.
bool fits(const rte_mbuf* frame, std::uint32_t mtu_bytes) {
  const std::uint32_t size = rte_pktmbuf_pkt_len(frame);
  return size >= RTE_ETHER_HDR_LEN &&
         (size <= mtu_bytes + RTE_ETHER_HDR_LEN ||
          (size <= mtu_bytes + kFrameOverheadBytes && is_tagged(frame)));
}

// The masks' other values are: not looked at, good, none in the packet.
bool has_bad_checksum(const rte_mbuf* frame) {
  return (frame->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_BAD ||
         (frame->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_BAD;
}

}  // namespace

Queue::Queue(std::shared_ptr<Device> device, std::uint16_t queue)
    : device_(std::move(device)),
      port_(device_->port()),
      queue_(queue),
      mtu_bytes_(device_->options().mtu_bytes),
      send_pool_(device_->pools(queue).send),
      wake_(ReceiveWake::make(*device_, queue)) {}

Queue::~Queue() {
  rte_pktmbuf_free_bulk(held_.data(), held_count_);
  rte_pktmbuf_free_bulk(pending_.data(), static_cast<unsigned>(pending_count_));
  rte_pktmbuf_free(room_);
  if (room_count_ > 0) {
    rte_mempool_put_bulk(send_pool_, reinterpret_cast<void**>(rooms_.data()),
                         static_cast<unsigned>(room_count_));
  }
}

std::string Queue::name() const {
  return device_->options().queues == 1 ? fmt::format("dpdk {}", device_->name())
                                        : fmt::format("dpdk {} queue {}", device_->name(), queue_);
}

std::uint16_t Queue::receive_burst(std::uint16_t frames_max) {
  std::uint16_t count = rte_eth_rx_burst(port_, queue_, held_.data(), frames_max);
  if (wake_ != nullptr) {
    if (count == 0 && wake_->on_none()) {
      count = rte_eth_rx_burst(port_, queue_, held_.data(), frames_max);
    }
    if (count > 0) {
      wake_->on_frames();
    }
  }
  return count;
}

ConstSpan Queue::accept(rte_mbuf* frame) {
  // Buffers hold whole frames, so a driver that chains some had a reason of its own: move together.
  if ((frame->nb_segs > 1 && rte_pktmbuf_linearize(frame) != 0) || !fits(frame, mtu_bytes_) ||
      has_bad_checksum(frame)) {
    return {};
  }
  return {rte_pktmbuf_mtod(frame, const std::byte*), rte_pktmbuf_pkt_len(frame)};
}

std::size_t Queue::receive(std::span<ConstSpan> frames) {
  rte_pktmbuf_free_bulk(held_.data(), held_count_);
  held_count_ = 0;
  if (frames.empty()) {
    return 0;
  }
  const std::uint16_t came =
      receive_burst(static_cast<std::uint16_t>(std::min(frames.size(), kDpdkBurstFrames)));
  std::uint64_t bytes = 0;
  for (std::uint16_t i = 0; i < came; ++i) {
    rte_mbuf* const frame = held_[i];
    const ConstSpan accepted = accept(frame);
    if (accepted.empty()) {
      receive_drops_.add(1);
      rte_pktmbuf_free(frame);
      continue;
    }
    frames[held_count_] = accepted;
    held_[held_count_++] = frame;
    bytes += accepted.size();
  }
  received_frames_.add(held_count_);
  received_bytes_.add(bytes);
  return held_count_;
}

MutableSpan Queue::room_to_send(std::size_t size_bytes) {
  room_is_given_ = false;
  if (size_bytes < RTE_ETHER_HDR_LEN || size_bytes > mtu_bytes_ + kFrameOverheadBytes) {
    return {};
  }
  if (is_refused_) {
    flush();
    if (is_refused_) {
      return {};
    }
  }
  if (room_ == nullptr && !take_room()) {
    return {};
  }
  room_is_given_ = true;
  room_->data_len = static_cast<std::uint16_t>(size_bytes);
  room_->pkt_len = static_cast<std::uint32_t>(size_bytes);
  return {rte_pktmbuf_mtod(room_, std::byte*), size_bytes};
}

// Frames come from their pool many at a time: threads that are none of DPDK's have no cache of it,
// and its ring is where this processor and those that free frames meet. What is written first of
// the frame after this one, which another processor may have had last, is fetched while this one is
// filled.
bool Queue::take_room() {
  if (room_count_ == 0) {
    for (std::size_t wanted = rooms_.size(); wanted > 0 && room_count_ == 0; wanted /= 2) {
      if (rte_mempool_get_bulk(send_pool_, reinterpret_cast<void**>(rooms_.data()),
                               static_cast<unsigned>(wanted)) == 0) {
        room_count_ = wanted;
      }
    }
    if (room_count_ == 0) {
      return false;
    }
  }
  room_ = rooms_[--room_count_];
  rte_pktmbuf_reset(room_);
  if (room_count_ > 0) {
    auto* const next = reinterpret_cast<std::byte*>(rooms_[room_count_ - 1]);
    __builtin_prefetch(next, 1);
    __builtin_prefetch(next + RTE_CACHE_LINE_SIZE, 1);
  }
  return true;
}

void Queue::commit() {
  GODBOX_ASSERT(room_is_given_);
  room_is_given_ = false;
  if (!fits(room_, mtu_bytes_)) {  // as long as a tagged one, and has no tag
    send_drops_.add(1);
    return;
  }
  pending_bytes_[pending_count_] = room_->pkt_len;
  pending_[pending_count_++] = room_;
  room_ = nullptr;
  if (pending_count_ == pending_.size()) {
    flush();
  }
}

void Queue::flush() {
  is_refused_ = false;
  while (pending_count_ > 0) {
    const std::uint16_t sent = rte_eth_tx_burst(port_, queue_, pending_.data(),
                                                static_cast<std::uint16_t>(pending_count_));
    if (sent == 0) {
      is_refused_ = link_is_up();
      if (!is_refused_) {
        drop_pending();
      }
      return;
    }
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < sent; ++i) {
      bytes += pending_bytes_[i];
    }
    sent_frames_.add(sent);
    sent_bytes_.add(bytes);
    forget_pending(sent);
  }
}

void Queue::drop_pending() {
  send_drops_.add(pending_count_);
  rte_pktmbuf_free_bulk(pending_.data(), static_cast<unsigned>(pending_count_));
  forget_pending(pending_count_);
}

void Queue::forget_pending(std::size_t count) {
  std::copy(pending_.begin() + static_cast<std::ptrdiff_t>(count),
            pending_.begin() + static_cast<std::ptrdiff_t>(pending_count_), pending_.begin());
  std::copy(pending_bytes_.begin() + static_cast<std::ptrdiff_t>(count),
            pending_bytes_.begin() + static_cast<std::ptrdiff_t>(pending_count_),
            pending_bytes_.begin());
  pending_count_ -= count;
}

int Queue::wait_descriptor() const { return wake_ == nullptr ? -1 : wake_->descriptor(); }

FrameCounters Queue::counters() const {
  FrameCounters counters{.received_frames = received_frames_.get(),
                         .received_bytes = received_bytes_.get(),
                         .sent_frames = sent_frames_.get(),
                         .sent_bytes = sent_bytes_.get(),
                         .receive_drops = receive_drops_.get(),
                         .send_drops = send_drops_.get()};
  rte_eth_stats device{};
  if (queue_ == 0 && rte_eth_stats_get(port_, &device) == 0) {
    counters.receive_drops += device.imissed + device.ierrors;
    counters.send_drops += device.oerrors;
  }
  return counters;
}

}  // namespace godbox::driver
