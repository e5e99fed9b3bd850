// SPDX-License-Identifier: Apache-2.0
//
// Moves blocks of an engine's paged KV cache (godbox/striping/paged_kv.h) to the pool and back,
// layer by layer, over a Client. A store begins with names and block ids and gets each layer as
// soon as the engine has computed it; a load asks for layer 0 of all blocks first and tells of each
// layer when its pages are in place, so that the engine computes layer 0 while the others come. A
// miss, a fault, an eviction in between, a producer that dies or a lost session end in a status per
// name, for the engine to recompute those blocks; others go on. Wrong bytes are never delivered
// under ok.
//
// An object is `blocks_per_object` blocks. Its name in the pool is the caller's, "#" and
// PagedKv::object_format(), so engines that expect other bytes miss it. Ranks of tensor parallelism
// hold different heads: the caller puts the rank into its names, but with MLA, whose pages are the
// same on all ranks: there one rank stores and all load the same names.
//
// Memory of a device: the Client's transport reaches it (StagedTransport, MappedDeviceTransport).
// With KvMoverOptions::device, a store's layer and a load may be told to follow a stream of the
// engine, and each layer of a load has a DeviceEvent. Nothing waits for the device.
// Graphs: a stream that is being captured into one cannot be followed (invalid_argument): what
// would be followed is a later launch of the graph, which is not queued yet. Nor is event() for a
// stream under capture: the graph would wait for this load's record each time that it is launched,
// and for no later load. Follow and wait outside of the capture, around the launch.
// Poison: where the transport's device is a GPU and the pool is mapped, a GPU that reads memory
// which the machine has lost ends its context, and with it all that the process has on that device,
// the engine too: device_lost.
//
// Thread-safety: one thread, the Client's. Callbacks run inside progress() and the calls that drive
// it; they may begin transfers, and must not destroy the mover.
// Ownership: names and block ids are copied. The cache's pages of a transfer belong to it until its
// on_done; the mover refuses what would use them in two ways at once. The Client and the device
// outlive the mover, whose destructor drives the Client until the calls under way have ended (at
// most their timeout), and answers cancelled.
// Units: bytes, Durations, layers and blocks by index. Errors: of a call, a named Error; per name,
// those of Client's calls and device_lost, deadline_exceeded, cancelled.
#pragma once

#include <godbox/device_memory.h>
#include <godbox/striping/client.h>
#include <godbox/striping/paged_kv.h>

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace godbox::kv {

struct KvMoverOptions {
  std::uint32_t blocks_per_object = 1;
  PoolOrder order = PoolOrder::token_major;
  // What a transfer has under way at most, in calls of about call_size each; one call always.
  SizeBytes window = SizeBytes(std::uint64_t{64} << 20U);
  SizeBytes call_size = SizeBytes(std::uint64_t{8} << 20U);
  // Whose memory the cache is; nullptr: this process's, and there are no events or streams.
  DeviceMemory* device = nullptr;
};

// What to move: a name per object, and the blocks of each, `blocks_per_object` a name, in order.
struct KvList {
  std::span<const std::string_view> names;
  std::span<const std::uint32_t> blocks;
};

// A place in a stream of the engine's (CUDA: a CUstream, nullptr is the legacy default stream).
struct StreamPlace {
  void* native_stream = nullptr;
};

struct KvOptions {
  // When it is over, what is not done ends with deadline_exceeded, after the calls under way; 0:
  // never (each call of the Client has its own timeout).
  Duration timeout{};
  TrafficClass traffic_class = TrafficClass::foreground;
  // Of stores.
  bool rebinds = false;
  wire::Retention retention{};
  // Of loads. prefix: names behind the first miss are not_found too, in one round trip.
  bool prefix = true;
  // Of loads: nothing is written before what is queued now on this stream is done.
  const StreamPlace* follow = nullptr;
};

class KvStore;
class KvLoad;

class KvMover {
 public:
  static constexpr std::size_t kObjectsMax = wire::kBatchItemsMax;  // of one transfer
  static constexpr std::size_t kTransfersMax = 256;                 // that are not done
  static constexpr std::size_t kCallsMax = 1024;                    // of all, under way at a time

  using OnStatuses = std::function<void(std::span<const Errc>)>;
  // Layers are told of in order.
  using OnLayer = std::function<void(std::uint32_t layer)>;

  // Errors: invalid_argument naming the option (0 blocks per object, no window or call size, a
  // layer of an object below wire::kLayerBytesMin), or the plane that is not the device's memory;
  // those of the device.
  [[nodiscard]] static Result<std::unique_ptr<KvMover>> create(striping::Client& client,
                                                               const Clock& clock, PagedKv cache,
                                                               const KvMoverOptions& options = {});
  ~KvMover();
  KvMover(const KvMover&) = delete;
  KvMover& operator=(const KvMover&) = delete;

  [[nodiscard]] const PagedKv& cache() const;
  // One layer of one object.
  [[nodiscard]] SizeBytes layer_size() const;
  // What `name` is called in the pool.
  [[nodiscard]] std::string name_in_pool(std::string_view name) const;

  // A store reserves its objects; store_layer() then gives it layer after layer, each once its
  // pages are computed: now, or when the engine's stream is through with what is queued on it now.
  // Per name: ok, already_exists, pool_full, ...; after the last layer on_done is called.
  // Errors of both: invalid_argument (an empty list, another number of blocks, a name, a block that
  // a load is writing, a layer that is not the next), too_large, out_of_range (a block), queue_full
  // (kTransfersMax), unsupported (a stream without a device), those of the device's queue.
  [[nodiscard]] Result<KvStore> begin_store(const KvList& list, const KvOptions& options,
                                            OnStatuses on_done);
  [[nodiscard]] Result<void> store_layer(const KvStore& store, std::uint32_t layer,
                                         const StreamPlace* follow = nullptr);
  // Loads find their objects and read them, layer after layer, `window` at a time; until layer 0 is
  // in place, less than a layer's bytes behind it. on_layer(l): nothing will write pages of layer l
  // any more, and those of names whose status is ok so far are in place. After the last layer
  // on_done is called: ok, not_found, key_revoked, crc_mismatch, ...; invalid_argument: the object
  // is not what the name says. Errors as of begin_store(); invalid_argument also for a block named
  // twice or in use by a store.
  [[nodiscard]] Result<KvLoad> begin_load(const KvList& list, const KvOptions& options,
                                          OnLayer on_layer, OnStatuses on_done);
  // Ends it with cancelled for what is not done, after the calls under way. Objects of a store that
  // have not all their layers will never be there.
  void cancel(const KvStore& store);
  void cancel(const KvLoad& load);

  // Drives the Client and the mover until something happened or `until` is reached.
  bool progress(TimePoint until);
  // When progress() has something to do at the latest, without an event of the Client's: for loops
  // that sleep elsewhere.
  [[nodiscard]] TimePoint next_deadline() const;
  // Drive until the layer is in place (see on_layer) or the transfer has ended. False: `until` came
  // first.
  bool wait_layer(const KvLoad& load, std::uint32_t layer, TimePoint until);
  bool wait(const KvLoad& load, TimePoint until);
  bool wait(const KvStore& store, TimePoint until);
  // All layers at once, and until it is done. An Error of the call is every name's status.
  [[nodiscard]] std::vector<Errc> store(const KvList& list, const KvOptions& options = {});
  [[nodiscard]] std::vector<Errc> load(const KvList& list, const KvOptions& options = {});

 private:
  struct Impl;
  explicit KvMover(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class StoreState;  // private to the mover
class LoadState;

// A store or load under way; a handle that may be copied and outlive its mover.
class KvStore {
 public:
  [[nodiscard]] bool is_done() const;
  [[nodiscard]] std::span<const Errc> statuses() const;  // so far

 private:
  friend class KvMover;
  explicit KvStore(std::shared_ptr<StoreState> state) : state_(std::move(state)) {}
  std::shared_ptr<StoreState> state_;
};

class KvLoad {
 public:
  [[nodiscard]] bool is_done() const;
  [[nodiscard]] std::span<const Errc> statuses() const;  // so far
  [[nodiscard]] std::uint32_t layers_ready() const;      // the first n are in place
  // Blocks whose contents are unspecified: those of names that failed so far.
  [[nodiscard]] std::vector<std::uint32_t> failed_blocks() const;
  // With a device: recorded when the layer is in place, and done at once; for streams of the device
  // to wait for once on_layer() or wait_layer() has told so. nullptr before, and without a device.
  [[nodiscard]] const DeviceEvent* event(std::uint32_t layer) const;

 private:
  friend class KvMover;
  explicit KvLoad(std::shared_ptr<LoadState> state) : state_(std::move(state)) {}
  std::shared_ptr<LoadState> state_;
};

}  // namespace godbox::kv
