// SPDX-License-Identifier: Apache-2.0
//
// One queue of a device as a frame source. Thread-safety, units: those of DpdkPort. Ownership: it
// owns the frames that it gave out, those that wait for flush(), and the room of the next one.
#pragma once

#include "receive_wake.h"

#include <array>

namespace godbox::driver {

class Queue final : public DpdkPort {
 public:
  Queue(std::shared_ptr<Device> device, std::uint16_t queue);
  ~Queue() override;

  [[nodiscard]] std::string name() const override;
  [[nodiscard]] MacAddress mac() const override { return device_->mac(); }
  [[nodiscard]] std::uint32_t mtu_bytes() const override { return mtu_bytes_; }
  [[nodiscard]] std::size_t receive(std::span<ConstSpan> frames) override;
  [[nodiscard]] MutableSpan room_to_send(std::size_t size_bytes) override;
  void commit() override;
  void flush() override;
  [[nodiscard]] int wait_descriptor() const override;
  [[nodiscard]] FrameCounters counters() const override;
  [[nodiscard]] bool link_is_up() const override { return device_->link_is_up(); }

 private:
  // Written by the queue's thread alone, and read by any.
  class Count {
   public:
    void add(std::uint64_t n) {
      value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

   private:
    std::atomic<std::uint64_t> value_ = 0;
  };

  [[nodiscard]] std::uint16_t receive_burst(std::uint16_t frames_max);
  // The frame's bytes; empty for one that is dropped.
  [[nodiscard]] ConstSpan accept(rte_mbuf* frame);
  [[nodiscard]] bool take_room();
  void drop_pending();
  // So many at the front have gone.
  void forget_pending(std::size_t count);

  std::shared_ptr<Device> device_;
  std::uint16_t port_;
  std::uint16_t queue_;
  std::uint32_t mtu_bytes_;
  rte_mempool* send_pool_;
  std::unique_ptr<ReceiveWake> wake_;  // null where the driver cannot interrupt

  std::array<rte_mbuf*, kDpdkBurstFrames> held_{};  // given out by the last receive()
  std::uint16_t held_count_ = 0;
  rte_mbuf* room_ = nullptr;
  std::array<rte_mbuf*, kDpdkBurstFrames> rooms_{};  // of the pool, for later; not reset
  std::size_t room_count_ = 0;
  bool room_is_given_ = false;
  std::array<rte_mbuf*, kDpdkBurstFrames> pending_{};
  std::array<std::uint32_t, kDpdkBurstFrames> pending_bytes_{};  // the device may free a frame
  std::size_t pending_count_ = 0;
  bool is_refused_ = false;  // the device has not taken all of them

  Count received_frames_, received_bytes_, sent_frames_, sent_bytes_, receive_drops_, send_drops_;
};

}  // namespace godbox::driver
