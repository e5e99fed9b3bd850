// SPDX-License-Identifier: Apache-2.0
//
// Memory that an RDMA device may reach: what was announced, in slices, and what one request needs
// besides. What was announced may be another device's, as a dma-buf: no processor touches that.
// Thread-safety: one thread. Ownership: owns the protection domain and its memory regions; no queue
// pair of the domain outlives it. Errors: named at each call.
#pragma once

#include <godbox/roce/pool_hello.h>
#include <godbox/transport.h>
#include <godbox/units.h>

#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <infiniband/verbs.h>

namespace godbox::driver {

struct DeregisterMemory {
  void operator()(ibv_mr* region) const { ibv_dereg_mr(region); }
};
using MemoryRegion = std::unique_ptr<ibv_mr, DeregisterMemory>;

// A piece of memory as a device names it: as many of the bytes asked for as lie in one region.
struct DevicePiece {
  std::uint32_t key = 0;
  std::uint32_t remote_key = 0;  // for the far side
  std::size_t size_bytes = 0;
};

// Memory of one request that was not announced; sorted by address.
using RequestRegions = std::vector<MemoryRegion>;

// Memory to be reached for longer than a request. Ownership: of its own duplicate of the
// descriptor.
class AnnouncedMemory {
 public:
  explicit AnnouncedMemory(MutableSpan memory) : memory_(memory) {}
  // A dma-buf. Errors: invalid_argument (a descriptor that is none), limit_exceeded (of
  // descriptors).
  [[nodiscard]] static Result<AnnouncedMemory> of_dma_buf(MutableSpan memory, int descriptor,
                                                          SizeBytes offset);
  ~AnnouncedMemory();
  AnnouncedMemory(AnnouncedMemory&& other) noexcept { *this = std::move(other); }
  AnnouncedMemory& operator=(AnnouncedMemory&& other) noexcept;

  [[nodiscard]] MutableSpan memory() const { return memory_; }
  [[nodiscard]] bool is_dma_buf() const { return descriptor_ >= 0; }
  // Of a part of it; nullptr: the device refuses (errno).
  [[nodiscard]] MemoryRegion register_with(ibv_pd* domain, std::size_t at, std::size_t size_bytes,
                                           int access) const;

 private:
  MutableSpan memory_;
  int descriptor_ = -1;
  SizeBytes offset_{};
};

class DeviceRegistrations {
 public:
  // `moved_by` the box: what is registered is open to the far side of the domain's queue pairs.
  [[nodiscard]] static std::unique_ptr<DeviceRegistrations> of(ibv_context* device,
                                                               roce::MovedBy moved_by);
  ~DeviceRegistrations();
  DeviceRegistrations(const DeviceRegistrations&) = delete;
  DeviceRegistrations& operator=(const DeviceRegistrations&) = delete;

  [[nodiscard]] ibv_pd* domain() { return domain_; }
  // Errors: limit_exceeded (the device or the system allows no more), unsupported (it takes no
  // dma-buf), invalid_argument (what is no dma-buf, or does not fit it); errno says more.
  [[nodiscard]] Errc add(const AnnouncedMemory& memory);
  // Of a dma-buf that the device does not take: requests with its memory are known by that.
  void add_refused(MutableSpan memory);
  void remove(MutableSpan memory);
  // What the request has to do with dma-bufs: `refused` before `some`.
  enum class DmaBufUse : std::uint8_t { none, some, refused };
  [[nodiscard]] DmaBufUse dma_buf_use(const WorkRequest& request) const;
  // Registers what the request's local pieces need besides, page by page. Errors: limit_exceeded.
  [[nodiscard]] Errc cover(const WorkRequest& request, RequestRegions& out);
  // Of memory that is announced or covered.
  [[nodiscard]] DevicePiece piece(const RequestRegions& regions, const std::byte* data,
                                  std::size_t size_bytes) const;

 private:
  // The region of a dma-buf has another address; one that is refused has none.
  struct Slice {
    std::size_t size_bytes = 0;
    bool is_dma_buf = false;
    MemoryRegion region{};
  };
  using Slices = std::multimap<const std::byte*, Slice>;  // by their first byte

  DeviceRegistrations(ibv_pd* domain, roce::MovedBy moved_by);
  [[nodiscard]] std::optional<DevicePiece> announced(const std::byte* data,
                                                     std::size_t size_bytes) const;

  [[nodiscard]] Slices::const_iterator slice_with(const std::byte* data) const;

  ibv_pd* domain_;
  int read_access_, write_access_;  // of memory that a READ writes to, and that a WRITE reads
  Slices slices_;
  std::size_t dma_bufs_ = 0;  // slices
};

}  // namespace godbox::driver
