// SPDX-License-Identifier: Apache-2.0
//
// A client's end of RoCEv2 that costs next to nothing, to load a port of a box: requests from
// templates whose PSN, address and ICRC alone are new, WRITEs of payloads whose CRCs are known,
// answers counted by the few fields that say what they are; one of kVerifyEvery READ answers is
// decoded, its ICRC checked and every byte compared. It keeps so many requests under way on each
// queue pair and retries nothing: what is lost ends the run with an error, and so does a NAK.
// Thread-safety: one thread, that of its frame source. Ownership: the source outlives the load.
// Units: bytes, packets. Errors: io_error (an answer that should not be, or none for a second).
// Nothing allocates while it runs.
#pragma once

#include <godbox/frame_source.h>
#include <godbox/result.h>
#include <godbox/ring_queue.h>
#include <godbox/roce/frame.h>
#include <godbox/roce/packet.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace godbox::perf {

inline constexpr std::uint32_t kRoceBlockBytes = 1U << 20U;
inline constexpr std::uint32_t kRocePacketBytes = 4096;  // the path MTU
inline constexpr std::uint32_t kVerifyEvery = 64;

// Blocks of kRoceBlockBytes of the box's memory, by their virtual addresses: the working set.
struct RoceTarget {
  RKey key;
  std::vector<std::uint64_t> blocks;
};

struct RocePairEnds {
  roce::QueuePairNumber client, box;
  roce::Psn first_psn;  // of the client's requests
};

enum class RoceOp : std::uint8_t { read, write };

struct RoceRun {
  RoceOp op = RoceOp::read;
  std::uint32_t size_bytes = kRoceBlockBytes;  // a block, or a part of one packet
  std::size_t queue_pairs = 1;                 // of those there are
  std::uint32_t depth = 4;                     // requests under way, on each
  std::uint64_t requests = 0;  // in all; blocks in a shuffled order, again and again
  bool in_order = false;       // the blocks in their order
  bool verify_all = false;
};

struct RoceRunResult {
  std::uint64_t requests = 0;
  std::uint64_t packets_sent = 0, packets_received = 0;
  std::uint64_t bytes_compared = 0;
  double seconds = 0;
};

class RoceLoad {
 public:
  // `header`: addresses, MACs and whatever else all frames have in common.
  RoceLoad(FrameSource& wire, const roce::FrameHeader& header, RoceTarget target,
           std::span<const RocePairEnds> pairs, std::uint64_t seed);

  // Sends the requests and waits for all answers. Each run of WRITEs has bytes of its own, and goes
  // over all blocks: what later READs compare.
  [[nodiscard]] Result<RoceRunResult> run(const RoceRun& run);

 private:
  static constexpr std::size_t kPayloads = 61;  // a prime, so that neighbours differ everywhere
  static constexpr std::size_t kHeaderBytesMax = roce::kFrameHeaderBytesMax + roce::kHeaderBytesMax;

  // The headers of all frames of one opcode of one queue pair.
  struct Template {
    std::array<std::byte, kHeaderBytesMax> bytes{};
    std::size_t size_bytes = 0;
  };
  struct Request {
    roce::Psn first_psn, last_psn;
    std::uint64_t block = 0;  // index
    std::uint32_t at = 0;     // in the block
  };
  struct Pair {
    RocePairEnds ends;
    roce::Psn next_psn;
    roce::Psn next_answer;  // of READs
    RingQueue<Request> under_way;
    std::uint32_t packets_left = 0;  // of the WRITE that is being sent, under_way's last
    Template read, write_first, write_middle, write_last;
  };

  [[nodiscard]] Template make_template(roce::Opcode opcode, const Pair& pair,
                                       std::uint32_t length_bytes, std::size_t payload_bytes) const;
  void prepare(Pair& pair, const RoceRun& run) const;
  [[nodiscard]] Request next_request(const RoceRun& run);
  // One packet of the pair's; false: the wire has no room now.
  [[nodiscard]] bool send_read(Pair& pair, const Request& request);
  [[nodiscard]] bool send_write_packet(Pair& pair);
  void write_headers(const Template& from, roce::Psn psn, std::uint64_t address, MutableSpan to,
                     std::uint32_t& icrc) const;
  void send_some(Pair& pair, const RoceRun& run);
  [[nodiscard]] Result<void> take(ConstSpan frame, const RoceRun& run);
  [[nodiscard]] Result<void> take_read_answer(Pair& pair, ConstSpan frame, roce::Psn psn,
                                              const RoceRun& run);
  [[nodiscard]] Result<void> compare(ConstSpan frame, const Request& request, std::uint32_t at);
  [[nodiscard]] std::size_t payload_of(std::uint64_t block, std::uint32_t at) const {
    const std::uint64_t packet = block * (kRoceBlockBytes / kRocePacketBytes);
    return ((packet + at / kRocePacketBytes) * 37 + runs_of_writes_) % kPayloads;
  }
  // The ICRC of a frame with a whole payload, from that of its headers: a CRC is linear.
  [[nodiscard]] std::uint32_t with_payload(std::uint32_t crc, std::size_t payload) const;
  [[nodiscard]] std::uint64_t random();

  FrameSource& wire_;
  roce::FrameHeader header_;
  RoceTarget target_;
  std::vector<std::uint32_t> order_;  // of the blocks, shuffled
  std::vector<Pair> pairs_;
  std::vector<std::byte> payloads_;
  std::array<std::uint32_t, kPayloads> payload_crcs_{};
  std::array<std::array<std::uint32_t, 256>, 4>
      advance_{};  // a CRC's bytes over a payload's length
  std::array<ConstSpan, 64> received_;
  std::uint64_t random_;
  std::uint64_t begun_ = 0;
  std::uint64_t runs_of_writes_ = 0;
  RoceRunResult result_;
};

}  // namespace godbox::perf
