// SPDX-License-Identifier: Apache-2.0
//
// A small box with one RoCE port, driven by hand in virtual time: its pool, a session that has
// memory there, and the port as a pump sees it. The port may have several queues; which of them a
// frame comes to is for the seed to say.
// Thread-safety: none. Ownership: owns all of it. Units: bytes. Errors: asserts when it cannot be
// made.
#pragma once

#include <godbox/emulator/roce/port.h>
#include <godbox_test/seeded_random.h>
#include <godbox_test/test_box.h>

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace godbox::test {

using Bytes = std::vector<std::byte>;

struct RoceEndOptions {
  TestBoxOptions box{};
  MacAddress mac{2, 0, 0, 0, 0, 2};
  std::vector<roce::Gid> addresses{roce::Gid::of_ipv4({10, 0, 0, 2})};
  std::uint32_t ethernet_mtu_bytes = 4200;
  std::uint32_t queue_pairs_max = emulator::kRoceQueuePairsMax;
  std::uint64_t seed = 1;
  RandomSource* numbers = nullptr;  // of queue pairs; nullptr: of the seed
  bool has_pool = true;             // the port, which refuses all accesses else
  std::size_t queues = 1;
};

// Memory of the pool as a verbs client sees it.
struct RemoteMemory {
  RKey key;
  std::vector<Extent> extents;
  // Of the first byte; the memory is one extent where a test says that it is contiguous.
  [[nodiscard]] std::uint64_t address() const {
    return to_virtual(extents.front().address)->value();
  }
};

class RoceEnd {
 public:
  explicit RoceEnd(const RoceEndOptions& options = {});

  [[nodiscard]] TestBox& box() { return box_; }
  [[nodiscard]] emulator::PoolService& service() { return box_.service(); }
  [[nodiscard]] emulator::RocePort& port(std::size_t queue = 0) { return *ports_[queue]; }
  [[nodiscard]] std::size_t queues() const { return ports_.size(); }
  [[nodiscard]] emulator::RoceDoor& door() { return door_; }
  [[nodiscard]] emulator::PortFaults& faults() { return faults_; }
  [[nodiscard]] const emulator::SessionInfo& session() const { return session_; }
  [[nodiscard]] TimePoint now() { return box_.clock().now(); }

  // A session of its own, of a tenant.
  [[nodiscard]] emulator::SessionInfo open_session(std::string_view tenant);
  // Zeros.
  [[nodiscard]] RemoteMemory allocate(std::size_t size_bytes) {
    return allocate(session_, size_bytes);
  }
  [[nodiscard]] RemoteMemory allocate(const emulator::SessionInfo& session, std::size_t size_bytes);
  // A sealed object of these bytes, leased.
  [[nodiscard]] RemoteMemory put(std::string_view name, ConstSpan bytes);
  // Memory that may only be written, and only until it is committed.
  [[nodiscard]] wire::ReserveAnswer reserve(std::string_view name, std::size_t size_bytes);
  [[nodiscard]] Bytes bytes_of(const RemoteMemory& memory) { return box_.bytes_of(memory.extents); }
  void set_bytes_of(const RemoteMemory& memory, ConstSpan bytes) {
    box_.set_bytes_of(memory.extents, bytes);
  }
  // All bytes of all DRAM channels.
  [[nodiscard]] Bytes all_memory();
  // Session and lane of a new queue pair of the session, with all rights.
  [[nodiscard]] emulator::QueuePairOptions pair_options() { return pair_options(session_); }
  [[nodiscard]] emulator::QueuePairOptions pair_options(const emulator::SessionInfo& session);

  // The next frame as it goes over the wire, by a copy or, every other time, from where it lies:
  // both have to be the same. Empty: there is none now.
  [[nodiscard]] Bytes take_frame();
  // --- The port with all of its queues, as pumps drive them. ---
  void on_frame(ConstSpan frame);
  [[nodiscard]] TimePoint next_deadline() const;
  void on_timer();
  // Time passes, and the port does what is due; `pump` takes its frames before and between.
  void advance(Duration by, const std::function<void()>& pump);

 private:
  [[nodiscard]] bool take_frame(emulator::RocePort& port, Bytes& bytes);

  TestBox box_;
  SeededRandom random_;
  std::unique_ptr<emulator::TimingModel> timing_;
  emulator::PortFaults faults_;
  emulator::RoceDoor door_;
  std::unique_ptr<emulator::RoceQueues> queues_;  // null: it has one
  std::vector<std::unique_ptr<emulator::RocePort>> ports_;
  SeededRandom nic_;  // which queue a frame comes to
  emulator::SessionInfo session_;
  emulator::OutFrame frame_;
};

}  // namespace godbox::test
