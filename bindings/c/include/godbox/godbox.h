// SPDX-License-Identifier: Apache-2.0
//
// Godbox from C, and from what calls C: an inference engine in Python with ctypes, for one. Objects
// of a box's pool, and the blocks of a paged KV cache stored and loaded layer by layer, from host
// memory or a GPU's. One shared library, libgodbox.so; its symbols carry the version GODBOX_0.
//
// Errors: calls answer a godbox_status, 0 where all went well; GODBOX_... below names those that a
// caller acts on, godbox_status_name() names all. godbox_last_error() is a sentence about the last
// call of this thread that failed. Calls with a list answer for the call, and per item in
// `statuses`, where a miss or a fault is no failure of the call. No exception leaves the library.
//
// Threads: a pool has a thread of its own that drives it, so its session lives without calls. Every
// function may be called from any thread, many at a time; calls that wait block only their caller.
// A handle must not be used while or after it is closed or freed.
//
// Ownership: what is passed in is copied before the call returns, except memory: buffers of put and
// get are in use until the call returns, pages of a store or load until it is done, tensors of a KV
// cache until that is closed. Handles are the caller's to close. A closed pool ends all that it has
// under way with GODBOX_CANCELLED; handles of it then answer GODBOX_SESSION_LOST and are still to
// be freed. In a child of fork() handles are dead: connect there.
//
// Units: bytes, milliseconds; blocks and layers count from 0. Structs begin with their size, so
// that fields can be added: set it with GODBOX_INIT or to sizeof, and all else that is not needed
// to 0.
#ifndef GODBOX_GODBOX_H
#define GODBOX_GODBOX_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GODBOX_API __attribute__((visibility("default")))
#define GODBOX_INIT(type) ((type){.size = sizeof(type)})

typedef int32_t godbox_status;
enum {
  GODBOX_OK = 0,
  GODBOX_NOT_FOUND = 100,  // a miss
  GODBOX_ALREADY_EXISTS = 101,
  GODBOX_INVALID_ARGUMENT = 102,
  GODBOX_OUT_OF_RANGE = 103,
  GODBOX_TOO_LARGE = 104,
  GODBOX_DEADLINE_EXCEEDED = 105,
  GODBOX_CANCELLED = 106,
  GODBOX_CRC_MISMATCH = 107,
  GODBOX_LEASE_EXPIRED = 109,
  GODBOX_KEY_REVOKED = 111,  // gone while it was read: a miss
  GODBOX_QUEUE_FULL = 115,
  GODBOX_UNSUPPORTED = 116,
  GODBOX_CONNECT_FAILED = 203,
  GODBOX_SESSION_LOST = 401,  // connect anew
  GODBOX_POOL_FULL = 402,
  GODBOX_BACKING_FULL = 403,
  GODBOX_QUOTA_EXCEEDED = 404,
  GODBOX_LIMIT_EXCEEDED = 405,  // of the machine: memory, threads; of the box: what may be pinned
  GODBOX_DEVICE_MISSING = 504,
  GODBOX_DEVICE_LOST = 600,
  GODBOX_DEVICE_MEMORY_FULL = 601
};

// "0.1.0"
GODBOX_API const char* godbox_version(void);
// "not_found"; "unknown" for what is none.
GODBOX_API const char* godbox_status_name(godbox_status status);
// Of this thread; valid until its next call that fails.
GODBOX_API const char* godbox_last_error(void);

// ---- a pool ----

typedef struct godbox_pool godbox_pool;

typedef struct godbox_options {
  size_t size;
  const char* tenant;
  // Where the KV cache lies: NULL or "none": this process's memory, nothing else; "cuda": a GPU's,
  // an error where there is none that works; "host": host memory, treated as a device's; "auto":
  // cuda, or else host.
  const char* device;
  int32_t device_ordinal;       // of CUDA devices
  uint32_t lanes_per_eth_port;  // 0: as many as suit
  uint64_t timeout_ms;          // of each call to the box; 0: 10 s
  uint64_t lease_ms;            // how long what a lookup has found is kept; 0: 5 s
  uint32_t copy_threads;        // of a mapped pool; 0: 1
} godbox_options;

// Addresses: "unix:PATH", "local:PATH", "tcp:HOST:PORT", "verbs:HOST:PORT", "dax:HOST:PORT"
// (docs/ of godbox; an empty PATH is the default box's). `options` may be NULL.
GODBOX_API godbox_status godbox_connect(const char* address, const godbox_options* options,
                                        godbox_pool** pool);
GODBOX_API void godbox_close(godbox_pool* pool);
// "NVIDIA H200, driver 12.8", "host memory (no GPU)" or "none", and why that was taken. Valid until
// the pool is closed.
GODBOX_API const char* godbox_device_name(const godbox_pool* pool);
GODBOX_API const char* godbox_device_reason(const godbox_pool* pool);
// Which way bytes take: "tcp", "local", "staged over tcp", "mapped-device". As long valid.
GODBOX_API const char* godbox_data_path(const godbox_pool* pool);

// Names: `count` strings, ended by NUL where `sizes` is NULL.
typedef struct godbox_names {
  const char* const* data;
  const size_t* sizes;
  size_t count;
} godbox_names;

// Objects of one buffer each, in host memory. statuses: one per name, as for Client::put() and
// get(): GODBOX_ALREADY_EXISTS, GODBOX_NOT_FOUND, ...; invalid_argument where the object has
// another size.
GODBOX_API godbox_status godbox_put(godbox_pool* pool, const godbox_names* names,
                                    const void* const* data, const size_t* sizes,
                                    godbox_status* statuses);
// The same, but a name that is there is taken from the object that has it, when the new one is
// there as a whole; who reads the old one reads it to its end.
GODBOX_API godbox_status godbox_rebind(godbox_pool* pool, const godbox_names* names,
                                       const void* const* data, const size_t* sizes,
                                       godbox_status* statuses);
GODBOX_API godbox_status godbox_get(godbox_pool* pool, const godbox_names* names, void* const* data,
                                    const size_t* sizes, godbox_status* statuses);
// How many leading names are there, in one round trip.
GODBOX_API godbox_status godbox_lookup_prefix(godbox_pool* pool, const godbox_names* names,
                                              size_t* found);
// Waits, for timeout_ms at most, until layer `layer` (from 0) of each object is written, or the
// object is there as a whole; the box tells it, nobody polls. Above 10 minutes it is 10 minutes,
// which is as long as a box waits. A status for each name: GODBOX_OK,
// GODBOX_NOT_FOUND or GODBOX_DEADLINE_EXCEEDED (less than that is there), GODBOX_INVALID_ARGUMENT.
GODBOX_API godbox_status godbox_wait(godbox_pool* pool, const godbox_names* names, uint32_t layer,
                                     uint64_t timeout_ms, godbox_status* statuses);
// How long objects are kept, instead of what was said before. A soft pin has an object evicted
// after all that have none, a hard one never (it counts against the tenant's quota as held). Once a
// soft TTL is over the object is the first to be evicted, once a hard one is it is gone. TTLs count
// from this call; 0: no end.
typedef enum godbox_pin {
  GODBOX_PIN_NONE = 0,
  GODBOX_PIN_SOFT = 1,
  GODBOX_PIN_HARD = 2
} godbox_pin;
typedef struct godbox_retention {
  size_t size;
  int32_t pin;  // a godbox_pin
  uint32_t soft_ttl_ms;
  uint32_t hard_ttl_ms;
} godbox_retention;
// A status for each name: GODBOX_OK, GODBOX_NOT_FOUND, GODBOX_QUOTA_EXCEEDED, and for a hard pin
// beyond what may be held GODBOX_LIMIT_EXCEEDED.
GODBOX_API godbox_status godbox_retain(godbox_pool* pool, const godbox_names* names,
                                       const godbox_retention* retention, godbox_status* statuses);
GODBOX_API godbox_status godbox_remove(godbox_pool* pool, const godbox_names* names,
                                       godbox_status* statuses);

// What happens to the tenant's objects, whoever does it.
typedef enum godbox_event_kind {
  GODBOX_EVENT_PUT = 0,     // it can be got
  GODBOX_EVENT_REBIND = 1,  // likewise, and another one has lost the name to it
  GODBOX_EVENT_REMOVE = 2,
  GODBOX_EVENT_EVICT = 3,   // to make room
  GODBOX_EVENT_EXPIRE = 4,  // by its hard TTL
  GODBOX_EVENT_LOSE = 5     // the memory has lost bytes of it
} godbox_event_kind;
typedef struct godbox_event {
  uint64_t sequence;  // grows
  int32_t kind;       // a godbox_event_kind; later versions may have more
  const char* name;   // ended by NUL, and may have others in it
  size_t name_size;
  uint64_t size_bytes;
} godbox_event;
// `event` and its name are valid during the call.
typedef void (*godbox_on_event)(void* user, const godbox_event* event);
// Calls `on_event` on this thread, which may use the pool, for each event behind *position, in
// their order, and moves *position behind them; waits for timeout_ms at most, above 10 minutes for
// these, where there are none. 0 is the position of what happens from now on. A position may be
// kept for longer than the box lives. *lost: events that were forgotten before they were told, at
// least so many; may be NULL. Called again at once it tells what did not fit into one answer.
GODBOX_API godbox_status godbox_events(godbox_pool* pool, uint64_t* position, uint64_t timeout_ms,
                                       godbox_on_event on_event, void* user, uint64_t* lost);

// What the tenant has in the pool, and what it may have. Bytes are those that objects take there.
typedef struct godbox_tenant_usage {
  size_t size;
  uint64_t quota_bytes;  // 0: none
  uint64_t reserved_bytes;
  uint64_t held_bytes;  // of them, by leases and hard pins
  uint64_t objects;
  uint64_t evictions;
  uint64_t names_found;  // by lookups
  uint64_t names_missed;
} godbox_tenant_usage;
GODBOX_API godbox_status godbox_usage(godbox_pool* pool, godbox_tenant_usage* usage);

// ---- a paged KV cache ----

typedef struct godbox_kv godbox_kv;

typedef struct godbox_tensor {
  void* data;  // of PyTorch: tensor.data_ptr()
  uint64_t size_bytes;
} godbox_tensor;

// A plane of a layer by its strides, for layouts that have no name.
typedef struct godbox_plane {
  godbox_tensor tensor;  // all that may be touched
  void* base;            // block 0, token 0, head 0
  uint64_t block_stride_bytes;
  uint64_t token_stride_bytes;
  uint64_t head_stride_bytes;
} godbox_plane;

typedef struct godbox_kv_cache {
  size_t size;
  uint32_t layers;
  uint32_t planes;  // 2: K and V; 1: the latent plane of MLA
  uint32_t blocks;
  uint32_t block_tokens;
  uint32_t heads;     // of KV, on this rank; 1 with MLA
  uint32_t head_dim;  // with MLA kv_lora_rank + qk_rope_head_dim
  const char* dtype;  // "bf16", "fp16", "fp8_e4m3", "fp8_e5m2", "fp32", or as PyTorch spells it
  // "vllm-flash-attn", "vllm-flashinfer", "vllm-packed", "vllm-mla" (also with "-hnd", "-layers",
  // "-layers-hnd"), "sglang-mha", "sglang-mla", "sglang-host-..."; or the axes of contiguous
  // tensors, outermost first, as letters: L layers, P planes, B blocks, T tokens of a block, H
  // heads, D head_dim. NULL: `plane_list`.
  const char* layout;
  // A tensor per layer where the axes have no L, per plane where they have no P; all of K, then all
  // of V.
  const godbox_tensor* tensors;
  size_t tensor_count;
  const godbox_plane* plane_list;  // K of all layers, then V of all layers
  size_t plane_count;
  // How objects lie in the pool; engines that agree on these two share them.
  uint32_t blocks_per_object;  // 0: 1
  const char* pool_order;      // NULL or "nhd"; "hnd"
  uint64_t window_bytes;       // under way at a time per transfer; 0: 64 MiB
  uint64_t call_bytes;         // of one call; 0: 8 MiB
} godbox_kv_cache;

GODBOX_API godbox_status godbox_kv_open(godbox_pool* pool, const godbox_kv_cache* cache,
                                        godbox_kv** kv);
// Its transfers are to be freed before.
GODBOX_API void godbox_kv_close(godbox_kv* kv);
// Bytes of one layer of an object, and what is put behind names in the pool ("#nhd-bf16-...").
GODBOX_API uint64_t godbox_kv_layer_bytes(const godbox_kv* kv);
GODBOX_API const char* godbox_kv_suffix(const godbox_kv* kv);
// How many leading objects are there with all their layers.
GODBOX_API godbox_status godbox_kv_lookup_prefix(godbox_kv* kv, const godbox_names* names,
                                                 size_t* found);
// godbox_wait() for the cache's own objects.
GODBOX_API godbox_status godbox_kv_wait(godbox_kv* kv, const godbox_names* names, uint32_t layer,
                                        uint64_t timeout_ms, godbox_status* statuses);

// blocks: blocks_per_object for each name, in the order of the names.
typedef struct godbox_blocks {
  const uint32_t* data;
  size_t count;
} godbox_blocks;

typedef struct godbox_transfer_options {
  size_t size;
  uint64_t timeout_ms;  // of the whole transfer; 0: none
  int32_t background;   // not 0: gives way to transfers that are not
  int32_t any_order;    // loads. 0: names behind the first miss are misses too
  // A load writes nothing before what is queued now on this stream is done; NULL: at once. The
  // address of a variable that holds the CUstream, which may be NULL.
  void* const* follow_stream;
} godbox_transfer_options;

// A store: begins, takes layer after layer as they are computed, and is there after the last.
typedef struct godbox_store godbox_store;
GODBOX_API godbox_status godbox_store_begin(godbox_kv* kv, const godbox_names* names,
                                            const godbox_blocks* blocks,
                                            const godbox_transfer_options* options,
                                            godbox_store** store);
// Layers in order. `follow_stream`: as above.
GODBOX_API godbox_status godbox_store_layer(godbox_store* store, uint32_t layer,
                                            void* const* follow_stream);
// Until it is done, or GODBOX_DEADLINE_EXCEEDED. statuses: per name, may be NULL.
GODBOX_API godbox_status godbox_store_wait(godbox_store* store, uint64_t timeout_ms,
                                           godbox_status* statuses);
// Cancels what is not done, and waits until nothing reads its pages.
GODBOX_API void godbox_store_free(godbox_store* store);

// A load: layer 0 of all objects comes first.
typedef struct godbox_load godbox_load;
GODBOX_API godbox_status godbox_load_begin(godbox_kv* kv, const godbox_names* names,
                                           const godbox_blocks* blocks,
                                           const godbox_transfer_options* options,
                                           godbox_load** load);
// Until nothing will write this layer any more: its pages are in place, but those of the blocks
// that godbox_load_failed_blocks() names. GODBOX_DEADLINE_EXCEEDED: not yet.
GODBOX_API godbox_status godbox_load_wait_layer(godbox_load* load, uint32_t layer,
                                                uint64_t timeout_ms);
// The CUevent of a layer that godbox_load_wait_layer() has told of; NULL before, and without a
// CUDA device. Lives until the load is freed.
GODBOX_API void* godbox_load_layer_event(godbox_load* load, uint32_t layer);
GODBOX_API godbox_status godbox_load_wait(godbox_load* load, uint64_t timeout_ms,
                                          godbox_status* statuses);
// The blocks that have to be computed after all: how many there are so far, of which the first
// `blocks_max` are written to `blocks`.
GODBOX_API size_t godbox_load_failed_blocks(godbox_load* load, uint32_t* blocks, size_t blocks_max);
GODBOX_API void godbox_load_free(godbox_load* load);

#ifdef __cplusplus
}
#endif

#endif
