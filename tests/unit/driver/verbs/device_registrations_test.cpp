// SPDX-License-Identifier: Apache-2.0
// What is asked of libibverbs for memory, on a device that this program plays.
#include "src/device_registrations.h"

#include "src/inline_sends.h"
#include <godbox/driver/verbs_transport.h>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <cerrno>
#include <map>
#include <memory>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#undef ibv_reg_mr

namespace {

struct Registered {
  std::uintptr_t begin = 0;  // by which the device knows it
  std::size_t size_bytes = 0;
  std::uint64_t offset = 0;  // in a dma-buf
  int descriptor = -1;
  int access = 0;
};

// By key. Tests run one after the other.
std::map<std::uint32_t, Registered>& registered() {
  static std::map<std::uint32_t, Registered> all;
  return all;
}
int refusal = 0;           // errno of the next ones
int registrations_to = 0;  // that succeed before
std::uint32_t inline_room = 0;

ibv_mr* add(ibv_pd* domain, const Registered& of) {
  if (refusal != 0 && registrations_to-- <= 0) {
    errno = refusal;
    return nullptr;
  }
  static std::uint32_t key = 0;
  ++key;
  registered()[key] = of;
  auto region = std::make_unique<ibv_mr>();
  region->pd = domain;
  // As libibverbs does: of a dma-buf the address is the offset.
  region->addr = reinterpret_cast<void*>(of.descriptor >= 0 ? of.offset : of.begin);
  region->length = of.size_bytes;
  region->lkey = region->rkey = key;
  return region.release();
}

}  // namespace

extern "C" {
ibv_pd* ibv_alloc_pd(ibv_context*) { return std::make_unique<ibv_pd>().release(); }
int ibv_dealloc_pd(ibv_pd* domain) {
  const std::unique_ptr<ibv_pd> owned(domain);
  return 0;
}
ibv_mr* ibv_reg_mr(ibv_pd* domain, void* begin, std::size_t size, int access) {
  return add(domain, {reinterpret_cast<std::uintptr_t>(begin), size, 0, -1, access});
}
ibv_mr* ibv_reg_mr_iova2(ibv_pd* domain, void* begin, std::size_t size, std::uint64_t,
                         unsigned access) {
  return ibv_reg_mr(domain, begin, size, static_cast<int>(access));
}
ibv_mr* ibv_reg_dmabuf_mr(ibv_pd* domain, std::uint64_t offset, std::size_t size,
                          std::uint64_t begin, int descriptor, int access) {
  return add(domain, {begin, size, offset, descriptor, access});
}
int ibv_dereg_mr(ibv_mr* region) {
  const std::unique_ptr<ibv_mr> owned(region);
  registered().erase(region->lkey);
  return 0;
}
int rdma_create_qp(rdma_cm_id*, ibv_pd*, ibv_qp_init_attr* wanted) {
  if (wanted->cap.max_inline_data > inline_room) {
    errno = EINVAL;
    return -1;
  }
  wanted->cap.max_inline_data = inline_room;  // a device may give more than was asked for
  return 0;
}
}

namespace godbox::driver {
namespace {

using DmaBufUse = DeviceRegistrations::DmaBufUse;

// A descriptor in the place of a dma-buf's, and addresses that nobody has mapped.
struct PlayedDmaBuf {
  explicit PlayedDmaBuf(std::size_t size_bytes)
      : memory(reinterpret_cast<std::byte*>(std::uintptr_t{0x7000'0000'0000}), size_bytes),
        descriptor(memfd_create("played", MFD_CLOEXEC)) {}
  ~PlayedDmaBuf() { close(descriptor); }
  PlayedDmaBuf(const PlayedDmaBuf&) = delete;
  PlayedDmaBuf& operator=(const PlayedDmaBuf&) = delete;

  [[nodiscard]] AnnouncedMemory announced(SizeBytes offset = SizeBytes(0)) const {
    Result<AnnouncedMemory> made = AnnouncedMemory::of_dma_buf(memory, descriptor, offset);
    REQUIRE(made.has_value());
    return std::move(*made);
  }

  MutableSpan memory;
  int descriptor;
};

struct Request {
  std::vector<LocalSegment> local;
  WorkRequest request;
  explicit Request(std::vector<LocalSegment> pieces, WorkOp op = WorkOp::write)
      : local(std::move(pieces)) {
    request.op = op;
    request.local = local;
  }
};

std::unique_ptr<DeviceRegistrations> make_device(roce::MovedBy by = roce::MovedBy::client) {
  refusal = 0;
  auto device = DeviceRegistrations::of(nullptr, by);
  REQUIRE(device != nullptr);
  REQUIRE(registered().empty());
  return device;
}

TEST_CASE("a dma-buf is registered in slices, each at its offset and its address") {
  const PlayedDmaBuf of(2 * kVerbsSliceBytes + 4096);
  auto device = make_device();
  REQUIRE(device->add(of.announced(SizeBytes(8192))) == Errc::ok);
  REQUIRE(registered().size() == 3);
  std::size_t at = 0;
  for (const auto& [key, slice] : registered()) {
    CHECK(slice.begin == reinterpret_cast<std::uintptr_t>(of.memory.data()) + at);
    CHECK(slice.offset == 8192 + at);
    CHECK(slice.size_bytes == std::min(kVerbsSliceBytes, of.memory.size() - at));
    CHECK(slice.access == IBV_ACCESS_LOCAL_WRITE);
    at += slice.size_bytes;
  }
  // A piece over the border of two slices is two.
  std::byte* const border = of.memory.data() + kVerbsSliceBytes - 100;
  const DevicePiece first = device->piece({}, border, 300);
  CHECK(first.size_bytes == 100);
  const DevicePiece second = device->piece({}, border + 100, 200);
  CHECK(second.size_bytes == 200);
  CHECK(second.key != first.key);
  device->remove(of.memory);
  CHECK(registered().empty());
}

TEST_CASE("memory announced as a dma-buf outlives the descriptor that it came with") {
  const int descriptor = memfd_create("played", MFD_CLOEXEC);
  std::array<std::byte, 64> memory{};
  Result<AnnouncedMemory> made = AnnouncedMemory::of_dma_buf(memory, descriptor, SizeBytes(0));
  close(descriptor);
  REQUIRE(made.has_value());
  auto device = make_device();
  REQUIRE(device->add(*made) == Errc::ok);
  const int own = registered().begin()->second.descriptor;
  CHECK(own != descriptor);
  CHECK(fcntl(own, F_GETFD) == FD_CLOEXEC);
  {
    const AnnouncedMemory moved = std::move(*made);
    CHECK(fcntl(own, F_GETFD) == FD_CLOEXEC);
  }
  CHECK(fcntl(own, F_GETFD) == -1);
  const Result<AnnouncedMemory> none =
      AnnouncedMemory::of_dma_buf(memory, descriptor, SizeBytes(0));
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().code == Errc::invalid_argument);
}

TEST_CASE("a request's memory is known to be a dma-buf's, and one that the device refused") {
  const PlayedDmaBuf of(8192);
  std::array<std::byte, 100> host{};
  auto device = make_device();
  const Request neither({{host.data(), 100}}), both({{host.data(), 100}, {of.memory.data(), 10}}),
      empty({{host.data(), 100}, {of.memory.data(), 0}});
  CHECK(device->dma_buf_use(both.request) == DmaBufUse::none);
  REQUIRE(device->add(of.announced()) == Errc::ok);
  CHECK(device->dma_buf_use(neither.request) == DmaBufUse::none);
  CHECK(device->dma_buf_use(both.request) == DmaBufUse::some);
  CHECK(device->dma_buf_use(empty.request) == DmaBufUse::none);
  // Host memory beside it is registered for the request, and nothing of the dma-buf.
  RequestRegions regions;
  REQUIRE(device->cover(both.request, regions) == Errc::ok);
  REQUIRE(regions.size() == 1);
  CHECK(regions[0]->addr == host.data());
  device->remove(of.memory);
  CHECK(device->dma_buf_use(both.request) == DmaBufUse::none);
  device->add_refused(of.memory);
  CHECK(device->dma_buf_use(both.request) == DmaBufUse::refused);
  CHECK(device->dma_buf_use(neither.request) == DmaBufUse::none);
  device->remove(of.memory);
  CHECK(device->dma_buf_use(both.request) == DmaBufUse::none);
}

TEST_CASE("a refusal is told by its cause, and leaves nothing registered") {
  const PlayedDmaBuf of(3 * kVerbsSliceBytes);
  std::array<std::byte, 64> host{};
  struct Case {
    int error_number;
    Errc of_dma_buf;
  };
  for (const auto& [error_number, expected] :
       {Case{EOPNOTSUPP, Errc::unsupported}, Case{EPROTONOSUPPORT, Errc::unsupported},
        Case{EINVAL, Errc::invalid_argument}, Case{ENOMEM, Errc::limit_exceeded}}) {
    CAPTURE(error_number);
    auto device = make_device();
    refusal = error_number;
    registrations_to = 2;
    CHECK(device->add(of.announced()) == expected);
    CHECK(errno == error_number);
    CHECK(registered().empty());
    CHECK(device->dma_buf_use(Request({{of.memory.data(), 1}}).request) == DmaBufUse::none);
    registrations_to = 0;
    CHECK(device->add(AnnouncedMemory(host)) == Errc::limit_exceeded);
  }
  refusal = 0;
}

TEST_CASE("memory is open to the box only where its device moves the bytes") {
  std::array<std::byte, 64> host{};
  for (const auto by : {roce::MovedBy::client, roce::MovedBy::box}) {
    auto device = make_device(by);
    REQUIRE(device->add(AnnouncedMemory(host)) == Errc::ok);
    const int access = registered().begin()->second.access;
    const int remote = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
    CHECK((access & remote) == (by == roce::MovedBy::box ? remote : 0));
  }
}

TEST_CASE("sends are inline as far as the device has room, and no longer than was asked for") {
  const ibv_qp_init_attr wanted{};
  inline_room = 512;
  CHECK(create_inline_queue_pair(nullptr, nullptr, wanted) == 128);
  inline_room = 101;
  CHECK(create_inline_queue_pair(nullptr, nullptr, wanted) == 64);
  inline_room = 0;
  CHECK(create_inline_queue_pair(nullptr, nullptr, wanted) == 0);
  CHECK(inline_flag(128, 128) == IBV_SEND_INLINE);
  CHECK(inline_flag(129, 128) == 0);
  CHECK(inline_flag(1, 0) == 0);
}

}  // namespace
}  // namespace godbox::driver
