// SPDX-License-Identifier: Apache-2.0
//
// Remote memory access with RDMA semantics: register memory, post work requests, poll completions.
// One interface over shared mapping (local), TCP, verbs/RoCE and simulation; one contract suite
// (tests/contract) runs over them all.
//
// A work request moves one byte stream that three lists describe side by side, each in its own
// pieces and all of the same total: where the bytes are in the pool (`remote`), where they are in
// this process (`local`), and optionally their CRC32C in blocks (`crc`). A write fills the CRCs
// in; a read compares them and completes with crc_mismatch when one differs. Because the transport
// does it while the block is in the cache, it costs no second pass over memory.
//
// Fencing (DESIGN section 5): a posted request owns its lists and its local bytes until it
// completes. fence() ends that at once for all requests of a lane: when it returns, no byte of them
// is read or written by this side any more, and the far side refuses or quarantines what is still
// under way. A device cannot be told to stop: where one moves bytes of such requests, they complete
// once it is through, however long that takes, and until then requests_held() counts them.
//
// Thread-safety: one thread, that of the StreamNetwork or caller that drives progress().
// Errors: a completion's status; see Errc's groups for what each means.
#pragma once

#include <godbox/result.h>
#include <godbox/traffic_class.h>
#include <godbox/units.h>

namespace godbox {

struct RemoteSegment {
  RKey key;
  PoolAddress address;
  std::uint32_t length_bytes = 0;
};

struct LocalSegment {
  std::byte* data = nullptr;  // a write does not change it
  std::size_t size_bytes = 0;
};

struct CrcBlock {
  std::uint32_t length_bytes = 0;
  std::uint32_t crc32c = 0;
};

enum class WorkOp : std::uint8_t { read, write };

inline constexpr std::size_t kWorkSegmentsMax = 4096;  // remote segments in one request
inline constexpr std::size_t kWorkBytesMax = std::size_t{16} << 20U;  // payload of one request

struct WorkRequest {
  WorkId id;
  WorkOp op = WorkOp::read;
  std::uint64_t total_bytes = 0;
  std::span<const RemoteSegment> remote;
  std::span<const LocalSegment> local;
  std::span<CrcBlock> crc;  // empty, or covering total_bytes
  // After this nobody wants the answer: the far side need not begin, nor answer a read, any more.
  // The request still ends with its completion or its lane.
  TimePoint deadline = kNever;
  TrafficClass traffic_class = TrafficClass::foreground;
};

// What every Transport::post() refuses whatever its lanes: too_large (total_bytes above
// kWorkBytesMax, more than kWorkSegmentsMax remote segments); invalid_argument (no bytes, lists
// whose totals differ from total_bytes or overflow, a local piece without memory, a remote segment
// or a CRC block of no length, a traffic class that is none). A local piece may be empty. Errc::ok
// for all else.
[[nodiscard]] Errc check_work_request(const WorkRequest& request);

struct Completion {
  WorkId id;
  LaneId lane;
  Errc status = Errc::ok;
};

// unopened: nobody has needed it yet; reopen() opens it, as it does one that is down.
enum class LaneState : std::uint8_t { connecting, up, down, unopened };

struct LaneStatus {
  LaneState state = LaneState::down;
  EthPortId eth_port;
  SuperNicId super_nic;
  std::uint32_t requests_in_flight = 0;
  std::uint64_t bytes_in_flight = 0;
  std::uint32_t requests_in_flight_max = 0;  // credits, as the far side granted them
  std::uint64_t bytes_in_flight_max = 0;
  Errc last_error = Errc::ok;  // why it is down
};

class Transport {
 public:
  virtual ~Transport() = default;

  [[nodiscard]] virtual std::string_view name() const = 0;  // "local", "tcp", "sim"
  // False where a mapping is the authority: no key guards what is read then, a lease alone does.
  [[nodiscard]] virtual bool checks_keys() const { return true; }
  [[nodiscard]] virtual std::size_t lane_count() const = 0;
  [[nodiscard]] virtual LaneStatus lane_status(LaneId lane) const = 0;

  // Announces memory that requests will use, so that a transport that pins memory does it once.
  // Errors: invalid_argument (empty), limit_exceeded.
  [[nodiscard]] virtual Result<void> register_memory(MutableSpan memory) = 0;
  virtual void deregister_memory(MutableSpan memory) = 0;
  // Memory of a device as a dma-buf, where it begins at `offset`, by its addresses: a NIC moves its
  // bytes, and nothing else here touches them, so that requests with it have no CRCs; each of their
  // pieces lies in it or outside. The descriptor may be closed then. Errors: limit_exceeded,
  // invalid_argument (empty, no dma-buf, not its range), unsupported (bytes go through this
  // process; the NIC or the kernel takes none: of a NIC that is met later its requests end with
  // that, as invalid_argument ends those with CRCs). Source: Linux, <linux/dma-buf.h>.
  [[nodiscard]] virtual Result<void> register_dma_buf(MutableSpan memory, int descriptor,
                                                      SizeBytes offset);

  // Takes the request or refuses it without side effect: lane_closed (not up), what
  // check_work_request() answers, queue_full (no credit on this lane).
  [[nodiscard]] virtual Errc post(LaneId lane, const WorkRequest& request) = 0;
  // Takes up to out.size() completions; returns how many.
  [[nodiscard]] virtual std::size_t poll(std::span<Completion> out) = 0;
  // Does work that is ready (copies, socket events) without waiting; true if there was any.
  virtual bool progress() = 0;
  // How long whoever drives it may wait for the network before it calls progress() again: as long
  // as it likes where all that happens is an event of the network or wakes it, less while work is
  // under way whose end does neither, as that of a device.
  [[nodiscard]] virtual Duration poll_pause() const { return Duration::max(); }
  // Closes the lane; each of its requests completes with lane_fenced. See above. Does not wait.
  virtual void fence(LaneId lane) = 0;
  // Fenced requests of the lane that have not completed, as a device still moves their bytes.
  [[nodiscard]] virtual std::uint32_t requests_held(LaneId) const { return 0; }
  // Begins to bring a lane up that is down or unopened; lane_status() tells the outcome. Nothing
  // happens while requests of it are held.
  virtual void reopen(LaneId lane) = 0;
};

}  // namespace godbox
