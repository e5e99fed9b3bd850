// SPDX-License-Identifier: Apache-2.0
// The CUDA device when something goes wrong, over the fake driver: each fault has its name, and
// whatever it is, all that was taken is given back.
#include "cuda_device.h"

#include "cuda_queue.h"
#include <godbox/crc32c.h>
#include <godbox/driver/dma_buf.h>
#include <godbox_test/fake_cuda.h>

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <random>
#include <thread>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

using test::FakeCuda;
using test::FakeCudaLive;

constexpr const char* kLibrary = GODBOX_FAKE_CUDA;
constexpr int kOutOfMemory = 2, kIllegalAddress = 700, kLaunchFailed = 719, kEcc = 214;

std::unique_ptr<DeviceMemory> open_fake() {
  auto device = make_cuda_device({.library = kLibrary});
  if (!device.has_value()) {
    FAIL(device.error().message());
  }
  return std::move(*device);
}

std::string_view code_of(Errc code) { return to_string(code); }
template <class T>
std::string_view code_of(const Result<T>& result) {
  return to_string(result.has_value() ? Errc::ok : result.error().code);
}

std::vector<DeviceMark> poll_for(DeviceQueue& queue, std::size_t wanted) {
  std::vector<DeviceMark> marks;
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (marks.size() < wanted) {
    REQUIRE(std::chrono::steady_clock::now() < limit);
    std::array<DeviceMark, 8> some;
    const std::size_t count = queue.poll(some);
    marks.insert(marks.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(count));
    std::this_thread::yield();
  }
  return marks;
}

// A device with memory on both sides and a queue, which gives all back in the right order.
struct Setup {
  Setup() {
    auto on_device = device->allocate(64_KiB);
    auto pinned = device->allocate_staging(64_KiB);
    auto made = device->make_queue();
    REQUIRE((on_device.has_value() && pinned.has_value() && made.has_value()));
    memory = *on_device;
    staging = *pinned;
    queue = std::move(*made);
  }
  ~Setup() {
    queue.reset();
    device->release(memory);
    device->release_staging(staging);
  }
  Errc move_some(std::span<CrcBlock> crc = {}) const {
    const MovePiece piece{memory.data(), staging.data(), 5000};
    return queue->move({&piece, 1}, crc);
  }

  FakeCuda fake{kLibrary};
  std::unique_ptr<DeviceMemory> device = open_fake();
  MutableSpan memory, staging;
  std::unique_ptr<DeviceQueue> queue;
};

TEST_CASE("a CUDA device says what it is", "[unit]") {
  FakeCuda fake(kLibrary);
  const auto device = open_fake();
  CHECK(device->kind() == DeviceKind::cuda);
  CHECK(device->name() == "fake GPU (kernels on the CPU), driver 13.0");
}

TEST_CASE("a device that cannot be opened says at what it failed, and keeps nothing", "[unit]") {
  FakeCuda fake(kLibrary);
  for (const char* const call :
       {"cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetAttribute", "cuDevicePrimaryCtxRetain",
        "cuModuleLoadData", "cuModuleGetFunction", "cuMemAlloc", "cuMemcpyHtoD"}) {
    CAPTURE(call);
    fake->fail_call(call, 1, 999);
    const auto device = make_cuda_device({.library = kLibrary});
    REQUIRE_FALSE(device.has_value());
    CHECK(code_of(device) == "device_missing");
    if (std::string_view(call) == "cuDeviceGetAttribute") {
      CHECK(
          device.error().detail.ends_with("does not reach host memory at the host's own "
                                          "addresses"));
    } else {
      CHECK(device.error().detail.ends_with(call + std::string(": CUDA_ERROR_UNKNOWN (999)")));
    }
    CHECK(fake->live() == FakeCudaLive{});
  }
  fake->fail_work(1, kIllegalAddress);
  const auto broken = make_cuda_device({.library = kLibrary});
  REQUIRE_FALSE(broken.has_value());
  CHECK(code_of(broken) == "device_missing");
  // The work fails by itself, and whichever call comes after that says so.
  CHECK(broken.error().detail.starts_with(
      "fake GPU (kernels on the CPU), driver 13.0 does not work: the CUDA device was lost: cu"));
  CHECK(broken.error().detail.ends_with(": CUDA_ERROR_ILLEGAL_ADDRESS (700)"));
  CHECK(fake->live() == FakeCudaLive{});
  fake->reset();
  fake->set_device_count(0);
  CHECK(code_of(make_cuda_device({.library = kLibrary})) == "device_missing");
}

TEST_CASE("an ordinal that no device has is refused with those that there are", "[unit]") {
  FakeCuda fake(kLibrary);
  fake->set_device_count(2);
  for (const int ordinal : {-1, 2, 1000}) {
    const auto device = make_cuda_device({.ordinal = ordinal, .library = kLibrary});
    REQUIRE_FALSE(device.has_value());
    CHECK(code_of(device) == "invalid_argument");
    CHECK(device.error().detail ==
          "CUDA device " + std::to_string(ordinal) + " was asked for; there are 0 to 1");
  }
  CHECK(make_cuda_device({.ordinal = 1, .library = kLibrary}).has_value());
}

TEST_CASE("memory that is full says how much was asked for and how much there is", "[unit]") {
  FakeCuda fake(kLibrary);
  const auto device = open_fake();
  fake->set_memory_max(1 << 20);
  const auto refused = device->allocate(2_MiB);
  REQUIRE_FALSE(refused.has_value());
  CHECK(code_of(refused) == "device_memory_full");
  CHECK(refused.error().detail ==
        "2097152 bytes were asked for: cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY (2); 0 of "
        "1048576 bytes are free on fake GPU (kernels on the CPU), driver 13.0");
  const auto pinned = device->allocate_staging(2_MiB);
  REQUIRE_FALSE(pinned.has_value());
  CHECK(code_of(pinned) == "limit_exceeded");
}

TEST_CASE("a queue or an event that cannot be made gives back what it had", "[unit]") {
  FakeCuda fake(kLibrary);
  {
    const auto device = open_fake();
    const auto first = device->make_queue();  // has what the device keeps for queues
    const FakeCudaLive before = fake->live();
    for (const char* const call : {"cuMemHostAlloc", "cuMemAlloc", "cuEventCreate"}) {
      for (const int nth : {1, 300}) {
        if (nth > 1 && std::string_view(call) != "cuEventCreate") {
          continue;
        }
        CAPTURE(call, nth);
        fake->fail_call(call, nth, kOutOfMemory);
        const auto queue = device->make_queue();
        REQUIRE_FALSE(queue.has_value());
        CHECK(queue.error().detail.find(call) != std::string::npos);
        CHECK(fake->live() == before);
      }
    }
    fake->fail_call("cuStreamCreateWithPriority", 1, kOutOfMemory);
    CHECK(code_of(device->make_queue()) == "device_memory_full");
    fake->fail_call("cuEventCreate", 1, kOutOfMemory);
    CHECK(code_of(device->make_event()) == "device_memory_full");
    CHECK(device->make_queue().has_value());
  }
  CHECK(fake->live() == FakeCudaLive{});
}

TEST_CASE("queues that go frees no memory, for which CUDA would wait for the device", "[unit]") {
  FakeCuda fake(kLibrary);
  const auto device = open_fake();
  CHECK(device->make_queue().has_value());
  const FakeCudaLive after_one = fake->live();
  for (int i = 0; i < 5; ++i) {
    CHECK(device->make_queue().has_value());
  }
  CHECK(fake->live() == after_one);
}

TEST_CASE("an engine's thread is after each call as it was before", "[unit]") {
  const Setup setup;
  CHECK(code_of(setup.move_some()) == "ok");
  CHECK(code_of(setup.queue->mark(1)) == "ok");
  CHECK(poll_for(*setup.queue, 1).front().status == Errc::ok);
  // Had a call left the device's context behind, the fake would take calls without one.
  const auto driver = load_cuda_driver(kLibrary);
  REQUIRE(driver.has_value());
  CUdeviceptr at = 0;
  CHECK(driver->cuMemAlloc(&at, 16) == CUDA_ERROR_INVALID_CONTEXT);
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  CHECK(driver->cuThreadExchangeStreamCaptureMode(&mode) == CUDA_SUCCESS);
  CHECK(mode == CU_STREAM_CAPTURE_MODE_GLOBAL);
}

TEST_CASE("a mark that was passed before the device was lost is told so", "[unit]") {
  const Setup setup;
  const auto other = setup.device->make_queue();
  REQUIRE(other.has_value());
  CHECK(code_of(setup.move_some()) == "ok");
  CHECK(code_of(setup.queue->mark(1)) == "ok");
  CHECK(code_of(setup.queue->mark(2)) == "ok");
  std::array<DeviceMark, 1> mark;
  while (setup.queue->poll(mark) == 0) {
    std::this_thread::yield();
  }
  setup.fake->hold(true);
  setup.fake->fail_work(1, kEcc);
  CHECK(code_of((*other)->copy(setup.memory, setup.staging)) == "ok");
  CHECK(code_of((*other)->mark(3)) == "ok");
  setup.fake->hold(false);
  CHECK(poll_for(**other, 1).front().status == Errc::device_lost);
  CHECK(code_of(setup.move_some()) == "device_lost");
  REQUIRE(setup.queue->poll(mark) == 1);
  CHECK(mark[0].id == 2);
  CHECK(mark[0].status == Errc::ok);
}

TEST_CASE("a device is reached by any thread", "[unit]") {
  Setup setup;
  std::array<CrcBlock, 1> crc{CrcBlock{5000, 0}};
  std::thread([&] {
    (void)setup.move_some(crc);
    (void)setup.queue->mark(1);
  }).join();
  CHECK(poll_for(*setup.queue, 1).front().status == Errc::ok);
  CHECK(crc[0].crc32c == crc32c(ConstSpan(setup.staging).first(5000)));
}

TEST_CASE("a kernel's fault loses the device: marks end, all calls say why, all is given back",
          "[unit]") {
  FakeCuda fake(kLibrary);
  for (const int result : {kIllegalAddress, kLaunchFailed, kEcc}) {
    {
      const Setup setup;
      const auto event = setup.device->make_event();
      REQUIRE(event.has_value());
      fake->hold(true);
      fake->fail_work(2, result);
      std::array<CrcBlock, 1> crc{CrcBlock{5000, 77}};
      CHECK(code_of(setup.move_some()) == "ok");
      CHECK(code_of(setup.queue->mark(1)) == "ok");
      CHECK(code_of(setup.move_some(crc)) == "ok");
      CHECK(code_of(setup.queue->mark(2)) == "ok");
      CHECK(code_of(setup.queue->record(**event)) == "ok");
      CHECK(code_of(setup.queue->mark(3)) == "ok");
      fake->hold(false);
      const std::vector<DeviceMark> marks = poll_for(*setup.queue, 3);
      CHECK(marks[1].id == 2);
      CHECK(marks[1].status == Errc::device_lost);
      CHECK(marks[2].status == Errc::device_lost);
      CHECK(crc[0].crc32c == 77);
      CHECK(code_of(setup.move_some()) == "device_lost");
      CHECK(code_of(setup.queue->mark(4)) == "device_lost");
      CHECK(code_of(setup.queue->copy(setup.memory, setup.staging)) == "device_lost");
      CHECK(code_of(setup.queue->record(**event)) == "device_lost");
      CHECK(code_of(setup.queue->wait(**event)) == "device_lost");
      CHECK(code_of(setup.queue->follow(nullptr)) == "device_lost");
      CHECK(code_of((*event)->is_done()) == "device_lost");
      const auto more = setup.device->allocate(4_KiB);
      REQUIRE_FALSE(more.has_value());
      CHECK(code_of(more) == "device_lost");
      CHECK(more.error().detail.find("the CUDA device was lost: ") == 0);
      CHECK(more.error().detail.find("(" + std::to_string(result) + ")") != std::string::npos);
      CHECK(code_of(setup.device->allocate_staging(4_KiB)) == "device_lost");
      CHECK(code_of(setup.device->register_host(setup.staging)) == "device_lost");
      CHECK(code_of(setup.device->make_queue()) == "device_lost");
      CHECK(code_of(setup.device->make_event()) == "device_lost");
      CHECK(code_of(export_dma_buf(*setup.device, setup.memory)) == "device_lost");
      CHECK_FALSE(setup.device->reaches(setup.memory));
    }
    CHECK(fake->live() == FakeCudaLive{});
    fake->reset();
  }
}

TEST_CASE("a driver call that fails in a queue loses the device", "[unit]") {
  for (const char* const call :
       {"cuLaunchKernel", "cuMemcpyAsync", "cuEventRecord", "cuStreamWaitEvent"}) {
    CAPTURE(call);
    const Setup setup;
    const auto event = setup.device->make_event();
    REQUIRE(event.has_value());
    setup.fake->fail_call(call, 1, 999);
    const std::array codes{setup.move_some(), setup.queue->copy(setup.memory, setup.staging),
                           setup.queue->mark(1), setup.queue->wait(**event)};
    CHECK(std::count(codes.begin(), codes.end(), Errc::device_lost) >= 1);
    CHECK(code_of(setup.device->allocate(4_KiB)) == "device_lost");
  }
}

TEST_CASE("a device that the engine has reset is lost, and the engine goes on", "[unit]") {
  alignas(4096) static std::array<std::byte, 4096> page;
  const Setup setup;
  const auto event = setup.device->make_event();
  REQUIRE(event.has_value());
  REQUIRE(setup.device->register_host(page).has_value());
  CHECK(code_of(setup.queue->record(**event)) == "ok");
  CHECK(code_of(setup.move_some()) == "ok");
  CHECK(code_of(setup.queue->mark(1)) == "ok");
  const std::size_t frees = setup.fake->calls("cuMemFree");
  setup.fake->reset_device();
  std::vector<std::byte> heap(16);
  CHECK_FALSE(setup.device->reaches(heap));
  CHECK(poll_for(*setup.queue, 1).front().status == Errc::device_lost);
  CHECK(code_of(setup.move_some()) == "device_lost");
  CHECK(code_of(setup.queue->mark(2)) == "device_lost");
  CHECK(code_of((*event)->is_done()) == "device_lost");
  CHECK(code_of(setup.device->make_queue()) == "device_lost");
  const auto refused = setup.device->allocate(4_KiB);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().detail ==
        "the CUDA device was lost: cuCtxPushCurrent: an error unknown to the driver (709)");
  setup.device->unregister_host(page);
  CHECK(setup.fake->calls("cuMemFree") == frees);
}

TEST_CASE("what the driver no longer knows when it is freed is no reason to end", "[unit]") {
  alignas(4096) static std::array<std::byte, 4096> page;
  const Setup setup;
  REQUIRE(setup.device->register_host(page).has_value());
  setup.fake->unregister_all();
  setup.device->unregister_host(page);  // 713
  CHECK(code_of(setup.move_some()) == "ok");
  setup.fake->fail_call("cuMemFree", 1, 1);
  const auto more = setup.device->allocate(4_KiB);
  REQUIRE(more.has_value());
  setup.device->release(*more);
  CHECK(code_of(setup.move_some()) == "ok");
}

TEST_CASE("a handle of its own that the driver no longer knows loses the device", "[unit]") {
  const Setup setup;
  CHECK(code_of(setup.queue->mark(1)) == "ok");
  CHECK(code_of(setup.move_some()) == "ok");
  CHECK(code_of(setup.queue->mark(2)) == "ok");
  setup.fake->fail_call("cuEventQuery", 1, 400);  // CUDA_ERROR_INVALID_HANDLE
  CHECK(poll_for(*setup.queue, 2).back().status == Errc::device_lost);
}

TEST_CASE("a forked child makes no call of CUDA's", "[unit]") {
  const Setup setup;
  CHECK(code_of(setup.move_some()) == "ok");
  CHECK(code_of(setup.queue->mark(1)) == "ok");
  CHECK(poll_for(*setup.queue, 1).front().status == Errc::ok);
  const std::size_t pushed = setup.fake->calls("cuCtxPushCurrent");
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const bool is_lost = setup.move_some() == Errc::device_lost &&
                         setup.queue->mark(2) == Errc::device_lost &&
                         code_of(setup.device->allocate(4_KiB)) == "device_lost" &&
                         code_of(setup.device->make_event()) == "device_lost" &&
                         !setup.device->reaches(setup.memory);
    setup.device->release(setup.memory);
    setup.device->release_staging(setup.staging);
    _exit(is_lost && setup.fake->calls("cuCtxPushCurrent") == pushed ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(code_of(setup.move_some()) == "ok");
}

TEST_CASE("work for which the driver has no room fails alone", "[unit]") {
  const Setup setup;
  for (const int result : {kOutOfMemory, 701}) {
    CAPTURE(result);
    setup.fake->fail_call("cuLaunchKernel", 1, result);
    CHECK(code_of(setup.move_some()) == "device_memory_full");
    CHECK(code_of(setup.move_some()) == "ok");
    setup.fake->fail_call("cuEventRecord", 1, result);
    CHECK(code_of(setup.queue->mark(1)) == "queue_full");
    CHECK(code_of(setup.queue->mark(1)) == "ok");
    CHECK(poll_for(*setup.queue, 1).front().status == Errc::ok);
  }
  setup.fake->fail_call("cuLaunchKernel", 1, kOutOfMemory);
  setup.fake->fail_call("cuMemGetInfo", 1, kLaunchFailed);
  CHECK(code_of(setup.move_some()) == "device_lost");
}

TEST_CASE("memory that the device does not reach is told apart", "[unit]") {
  const Setup setup;
  std::vector<std::byte> heap(4096);
  CHECK(setup.device->reaches(setup.memory));
  CHECK(setup.device->reaches(setup.staging.subspan(100, 5)));
  CHECK_FALSE(setup.device->reaches(heap));
  CHECK_FALSE(setup.device->reaches({setup.memory.data(), setup.memory.size() + 1}));
  CHECK(code_of(setup.queue->copy(setup.memory.first(4096), heap)) == "invalid_argument");
  CHECK(code_of(setup.move_some()) == "ok");  // and the device is as good as before
}

TEST_CASE("host memory that is only for reading can be registered, and moved from", "[unit]") {
  constexpr std::size_t kSize = 8192;
  void* const at = mmap(nullptr, kSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(at != MAP_FAILED);
  const MutableSpan pages(static_cast<std::byte*>(at), kSize);
  {
    const Setup setup;
    REQUIRE(setup.device->register_host(pages).has_value());
    CHECK(setup.device->reaches(pages));
    std::array<CrcBlock, 1> crc{CrcBlock{8000, 0}};
    const MovePiece piece{setup.memory.data(), pages.data() + 7, 8000};
    CHECK(code_of(setup.queue->move({&piece, 1}, crc)) == "ok");
    CHECK(code_of(setup.queue->mark(1)) == "ok");
    CHECK(poll_for(*setup.queue, 1).front().status == Errc::ok);
    CHECK(crc[0].crc32c == crc32c(ConstSpan(pages).first(8000)));
    setup.device->unregister_host(pages);
    CHECK_FALSE(setup.device->reaches(pages));
  }
  (void)munmap(at, kSize);
}

TEST_CASE("what cannot be registered is refused by what it is", "[unit]") {
  const Setup setup;
  alignas(4096) static std::array<std::byte, 4096> page;
  const std::array answers{std::pair{2, "limit_exceeded"}, std::pair{801, "unsupported"},
                           std::pair{712, "invalid_argument"}, std::pair{999, "unsupported"}};
  for (const auto& [result, code] : answers) {
    CAPTURE(result);
    setup.fake->fail_call("cuMemHostRegister", 1, result);
    const auto refused = setup.device->register_host(page);
    REQUIRE_FALSE(refused.has_value());
    CHECK(code_of(refused) == code);
    CHECK(refused.error().detail.starts_with("4096 bytes were asked for: cuMemHostRegister: "));
  }
  // None of it has lost the device. If the device is lost, the driver says so to whatever is asked.
  CHECK(code_of(setup.move_some()) == "ok");
  setup.fake->fail_call("cuMemHostRegister", 1, kLaunchFailed);
  setup.fake->fail_call("cuMemGetInfo", 1, kLaunchFailed);
  CHECK(code_of(setup.device->register_host(page)) == "device_lost");
}

TEST_CASE("two pieces of memory in one page are registered each for itself", "[unit]") {
  alignas(4096) static std::array<std::byte, std::size_t{3} * 4096> pages;
  const std::span<std::byte> all(pages);
  const MutableSpan first = all.subspan(100, 5000), second = all.subspan(5100, 4000);
  const Setup setup;
  REQUIRE(setup.device->register_host(first).has_value());
  REQUIRE(setup.device->register_host(second).has_value());
  REQUIRE(setup.device->register_host(all.subspan(5000, 200)).has_value());
  CHECK(setup.fake->live().registrations == 2);
  setup.device->unregister_host(first);
  setup.device->unregister_host(all.subspan(5000, 200));
  CHECK(setup.device->reaches(second));
  const MovePiece piece{second.data(), setup.memory.data(), 4000};
  CHECK(code_of(setup.queue->move({&piece, 1}, {})) == "ok");
  CHECK(code_of(setup.queue->mark(1)) == "ok");
  CHECK(poll_for(*setup.queue, 1).front().status == Errc::ok);
  setup.device->unregister_host(second);
  CHECK(setup.fake->live().registrations == 0);
}

TEST_CASE("any memories, registered in any order, are in reach as long as they are", "[unit]") {
  constexpr std::size_t kPage = 4096, kPages = 32;
  alignas(kPage) static std::array<std::byte, kPages * kPage> pages;
  const std::uint32_t seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const Setup setup;
  std::vector<MutableSpan> registered;
  for (int i = 0; i < 3000; ++i) {
    if (registered.size() < 12 && random() % 2 == 0) {
      const std::size_t at = random() % (kPages * kPage);
      const std::size_t size_max = std::min(4 * kPage, kPages * kPage - at);
      registered.push_back(MutableSpan(pages).subspan(at, 1 + random() % size_max));
      REQUIRE(setup.device->register_host(registered.back()).has_value());
    } else if (!registered.empty()) {
      const std::size_t which = random() % registered.size();
      setup.device->unregister_host(registered[which]);
      registered.erase(registered.begin() + static_cast<std::ptrdiff_t>(which));
    }
    for (const MutableSpan memory : registered) {
      const MovePiece piece{setup.memory.data(), memory.data(),
                            static_cast<std::uint32_t>(memory.size())};
      REQUIRE(setup.queue->move({&piece, 1}, {}) == Errc::ok);
    }
    REQUIRE(setup.queue->mark(1) == Errc::ok);
    REQUIRE(poll_for(*setup.queue, 1).front().status == Errc::ok);
    REQUIRE((setup.fake->live().registrations == 0) == registered.empty());
  }
  for (const MutableSpan memory : registered) {
    setup.device->unregister_host(memory);
  }
  CHECK(setup.fake->live().registrations == 0);
}

TEST_CASE("memory that cannot be pinned as a whole leaves pinned what was", "[unit]") {
  constexpr std::size_t kPage = 4096;
  alignas(kPage) static std::array<std::byte, 5 * kPage> pages;
  const MutableSpan all(pages);
  const Setup setup;
  REQUIRE(setup.device->register_host(all.subspan(kPage, 1)).has_value());
  REQUIRE(setup.device->register_host(all.subspan(3 * kPage, 1)).has_value());
  setup.fake->fail_call("cuMemHostRegister", 2, kOutOfMemory);  // of the three that are missing
  CHECK(code_of(setup.device->register_host(all)) == "limit_exceeded");
  CHECK(setup.fake->live().registrations == 2);
  REQUIRE(setup.device->register_host(all).has_value());
  CHECK(setup.fake->live().registrations == 5);
  setup.device->unregister_host(all);
  CHECK(setup.fake->live().registrations == 2);
  setup.device->unregister_host(all.subspan(kPage, 1));
  setup.device->unregister_host(all.subspan(3 * kPage, 1));
}

TEST_CASE("memory that the driver has is registered without asking it to pin it", "[unit]") {
  const Setup setup;
  REQUIRE(setup.device->register_host(setup.memory).has_value());
  REQUIRE(setup.device->register_host(setup.staging.subspan(3, 5)).has_value());
  CHECK(setup.fake->live().registrations == 0);
  setup.device->unregister_host(setup.memory);
  setup.device->unregister_host(setup.staging.subspan(3, 5));
}

TEST_CASE("memory that is not pinned for want of room is not registered for reading", "[unit]") {
  const Setup setup;
  std::vector<std::byte> heap(1 << 20);
  setup.fake->set_memory_max(1 << 19);
  const auto refused = setup.device->register_host(heap);
  setup.fake->set_memory_max(std::size_t{1} << 32U);
  REQUIRE_FALSE(refused.has_value());
  CHECK(code_of(refused) == "limit_exceeded");
  CHECK_FALSE(setup.device->reaches(heap));
}

TEST_CASE("a GPU that is full is no GPU that is missing", "[unit]") {
  FakeCuda fake(kLibrary);
  for (const char* const call : {"cuDevicePrimaryCtxRetain", "cuModuleLoadData", "cuMemAlloc"}) {
    fake->fail_call(call, 1, kOutOfMemory);
    CHECK(code_of(make_cuda_device({.library = kLibrary})) == "device_memory_full");
  }
}

TEST_CASE("memory that is not there cannot be registered", "[unit]") {
  const Setup setup;
  const MutableSpan nowhere(reinterpret_cast<std::byte*>(4096), 4096);
  CHECK(code_of(setup.device->register_host(nowhere)) == "unsupported");
}

TEST_CASE("a queue that nobody marks or polls goes on", "[unit]") {
  // It takes more work as its old work is done.
  const Setup setup;
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  for (std::size_t i = 0; i < 5 * CudaQueue::kStepsMax; ++i) {
    while (setup.queue->copy(setup.memory.first(64), setup.staging.first(64)) != Errc::ok) {
      REQUIRE(std::chrono::steady_clock::now() < limit);
      std::this_thread::yield();
    }
  }
}

TEST_CASE("a queue that is held up says that it is full, and has begun nothing", "[unit]") {
  const Setup setup;
  setup.fake->hold(true);
  std::size_t taken = 0;
  while (setup.move_some() == Errc::ok) {
    ++taken;
  }
  CHECK(taken == CudaQueue::kStepsMax);
  CHECK(code_of(setup.move_some()) == "queue_full");
  CHECK(code_of(setup.queue->copy(setup.memory, setup.staging)) == "queue_full");
  CHECK(code_of(setup.queue->follow(nullptr)) == "queue_full");
  CHECK(code_of(setup.queue->mark(1)) == "ok");
  setup.fake->hold(false);
  CHECK(poll_for(*setup.queue, 1).front().status == Errc::ok);
  CHECK(code_of(setup.move_some()) == "ok");
}

TEST_CASE("the ring of tiles is full before the queue is, and is free again later", "[unit]") {
  const Setup setup;
  std::vector<MovePiece> pieces;
  for (std::size_t i = 0; i < DeviceQueue::kMovePiecesMax; ++i) {
    pieces.push_back({setup.memory.data() + i, setup.staging.data() + i, 1});
  }
  for (int round = 0; round < 3; ++round) {
    setup.fake->hold(true);
    int taken = 0;
    while (setup.queue->move(pieces, {}) == Errc::ok) {
      ++taken;
    }
    CHECK(taken >= 2);
    CHECK(taken < 10);
    setup.fake->hold(false);
    CHECK(code_of(setup.queue->mark(1)) == "ok");
    CHECK(poll_for(*setup.queue, 1).front().status == Errc::ok);
  }
}

TEST_CASE("a kernel that is bound by the bus leaves most of the device to the engine", "[unit]") {
  const Setup setup;
  const auto more = setup.device->allocate(2_MiB);
  const auto pinned = setup.device->allocate_staging(2_MiB);
  REQUIRE((more.has_value() && pinned.has_value()));
  const auto blocks_of = [&](std::byte* to, const std::byte* from) {
    const MovePiece piece{to, from, 1 << 20};
    CHECK(code_of(setup.queue->move({&piece, 1}, {})) == "ok");
    return setup.fake->last_grid();
  };
  CHECK(blocks_of(more->data(), more->data() + (1 << 20)) == 64);  // 16 processors, 4 on each
  CHECK(blocks_of(more->data(), pinned->data()) == 32);
  CHECK(blocks_of(pinned->data(), more->data()) == 32);
  CHECK(code_of(setup.move_some()) == "ok");
  CHECK(setup.fake->last_grid() == 1);  // 3 tiles
  CHECK(code_of(setup.queue->mark(1)) == "ok");
  CHECK(poll_for(*setup.queue, 1).front().status == Errc::ok);
  setup.device->release(*more);
  setup.device->release_staging(*pinned);
}

TEST_CASE("how a move over the bus uses the device can be set", "[unit]") {
  FakeCuda fake(kLibrary);
  // 256 tiles where there are 32 blocks, 512 where there are 64, 32 where there are 4.
  const std::array copies_of{std::pair{CudaTuning{}, 0}, std::pair{CudaTuning{511, 1000}, 1},
                             std::pair{CudaTuning{512, 1000}, 0}, std::pair{CudaTuning{31, 4}, 1}};
  for (const auto& [tuning, copied] : copies_of) {
    auto device = make_cuda_device({.library = kLibrary, .tuning = tuning});
    REQUIRE(device.has_value());
    const auto memory = (*device)->allocate(1_MiB);
    const auto pinned = (*device)->allocate_staging(1_MiB);
    auto queue = (*device)->make_queue();
    REQUIRE((memory.has_value() && pinned.has_value() && queue.has_value()));
    const std::size_t copies = fake->calls("cuMemcpyAsync");
    const MovePiece piece{memory->data(), pinned->data(), 1 << 20};
    CHECK(code_of((*queue)->move({&piece, 1}, {})) == "ok");
    CHECK(fake->calls("cuMemcpyAsync") - copies == static_cast<std::size_t>(copied));
    CHECK(fake->last_grid() == std::min(64U, tuning.blocks_over_bus_max));
    queue->reset();
    (*device)->release(*memory);
    (*device)->release_staging(*pinned);
  }
}

TEST_CASE("a queue follows a stream of the engine's", "[unit]") {
  const Setup setup;
  const auto engine = setup.device->make_queue();
  REQUIRE(engine.has_value());
  setup.fake->hold(true);
  std::fill(setup.staging.begin(), setup.staging.end(), std::byte{0x3C});
  CHECK(code_of((*engine)->copy(setup.memory, setup.staging)) == "ok");
  CHECK(code_of(setup.queue->follow((*engine)->native_handle())) == "ok");
  CHECK(code_of(setup.queue->follow(nullptr)) == "ok");
  std::array<CrcBlock, 1> crc{CrcBlock{100, 0}};
  const MovePiece piece{setup.memory.data() + 1000, setup.memory.data(), 100};
  CHECK(code_of(setup.queue->move({&piece, 1}, crc)) == "ok");
  CHECK(code_of(setup.queue->mark(1)) == "ok");
  setup.fake->hold(false);
  CHECK(poll_for(*setup.queue, 1).front().status == Errc::ok);
  CHECK(crc[0].crc32c == crc32c(std::vector<std::byte>(100, std::byte{0x3C})));
  setup.fake->fail_call("cuStreamIsCapturing", 1, 906);  // CUDA_ERROR_STREAM_CAPTURE_IMPLICIT
  CHECK(code_of(setup.queue->follow(nullptr)) == "invalid_argument");
  int no_stream = 0;
  CHECK(code_of(setup.queue->follow(&no_stream)) == "invalid_argument");
}

TEST_CASE("events of another device are refused", "[unit]") {
  const Setup setup;
  const auto other = open_fake();
  const auto event = other->make_event();
  REQUIRE(event.has_value());
  CHECK(code_of(setup.queue->record(**event)) == "invalid_argument");
  CHECK(code_of(setup.queue->wait(**event)) == "invalid_argument");
}

TEST_CASE("device memory is exported as a dma-buf that holds its bytes", "[unit]") {
  const Setup setup;
  std::fill(setup.staging.begin(), setup.staging.end(), std::byte{0xB7});
  CHECK(code_of(setup.queue->copy(setup.memory, setup.staging)) == "ok");
  CHECK(code_of(setup.queue->mark(1)) == "ok");
  CHECK(poll_for(*setup.queue, 1).front().status == Errc::ok);
  const auto exported = export_dma_buf(*setup.device, setup.memory.subspan(100, 5000));
  REQUIRE(exported.has_value());
  CHECK(exported->offset() == 100_B);
  void* const at = mmap(nullptr, 8192, PROT_READ, MAP_SHARED, exported->descriptor(), 0);
  REQUIRE(at != MAP_FAILED);
  CHECK(static_cast<const std::byte*>(at)[5000] == std::byte{0xB7});
  (void)munmap(at, 8192);
  CHECK(code_of(export_dma_buf(*setup.device, setup.staging)) == "invalid_argument");
  setup.fake->fail_call("cuMemGetHandleForAddressRange", 1, 801);
  CHECK(code_of(export_dma_buf(*setup.device, setup.memory)) == "unsupported");
}

}  // namespace
}  // namespace godbox::driver
