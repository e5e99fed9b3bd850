// SPDX-License-Identifier: Apache-2.0
#include "registered_memory.h"

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>

namespace godbox::striping {
namespace {

constexpr std::size_t kPage = 4096;

// Registers whole pages, each once, as a GPU's driver does.
class Pinning final : public DeviceMemory {
 public:
  DeviceKind kind() const override { return DeviceKind::host; }
  std::string name() const override { return "pinning"; }
  Result<MutableSpan> allocate(SizeBytes) override { return Error(Errc::unsupported); }
  void release(MutableSpan) override {}
  Result<MutableSpan> allocate_staging(SizeBytes) override { return Error(Errc::unsupported); }
  void release_staging(MutableSpan) override {}
  Result<void> register_host(MutableSpan memory) override {
    REQUIRE(reinterpret_cast<std::uintptr_t>(memory.data()) % kPage == 0);
    REQUIRE((memory.size() % kPage == 0 && !memory.empty()));
    if (runs.size() == runs_max) {
      return Error(Errc::limit_exceeded, "the test says so");
    }
    for (const MutableSpan run : runs) {
      REQUIRE((end(run) <= memory.data() || end(memory) <= run.data()));
    }
    runs.push_back(memory);
    return {};
  }
  void unregister_host(MutableSpan memory) override {
    REQUIRE(std::erase_if(runs, [memory](MutableSpan run) {
              return run.data() == memory.data() && run.size() == memory.size();
            }) == 1);
  }
  bool reaches(ConstSpan memory) const override {
    for (const std::byte* at = memory.data(); at < memory.data() + memory.size();) {
      const auto run = std::find_if(runs.begin(), runs.end(), [at](MutableSpan one) {
        return one.data() <= at && at < end(one);
      });
      if (run == runs.end()) {
        return false;
      }
      at = end(*run);
    }
    return true;
  }
  Result<std::unique_ptr<DeviceQueue>> make_queue() override { return Error(Errc::unsupported); }
  Result<std::unique_ptr<DeviceEvent>> make_event() override { return Error(Errc::unsupported); }

  static std::byte* end(MutableSpan memory) { return memory.data() + memory.size(); }
  std::vector<MutableSpan> runs;
  std::size_t runs_max = SIZE_MAX;
};

// So many whole pages.
struct Pages {
  explicit Pages(std::size_t count)
      : memory(static_cast<std::byte*>(std::aligned_alloc(kPage, count * kPage))) {}
  ~Pages() { std::free(memory); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  [[nodiscard]] MutableSpan at(std::size_t offset, std::size_t size) const {
    return {memory + offset, size};
  }
  std::byte* memory;
};

TEST_CASE("two buffers in one page are in reach until both have gone", "[unit]") {
  const Pages pages(2);
  Pinning device;
  RegisteredMemory registered(device);
  const MutableSpan first = pages.at(16, 100), second = pages.at(200, kPage);
  REQUIRE(registered.add(first).has_value());
  REQUIRE(registered.add_unless_reached(pages.at(120, 8)).has_value());
  REQUIRE(registered.add(second).has_value());
  CHECK(device.reaches(second));
  registered.remove(first);
  registered.remove(first);  // again: nothing to do
  CHECK(device.reaches(second));
  registered.remove(second);
  CHECK(device.reaches(pages.at(120, 8)));
  CHECK_FALSE(device.reaches(second));
  registered.remove(pages.at(120, 8));
  CHECK(device.runs.empty());
}

TEST_CASE("memory that cannot be registered as a whole leaves things as they were", "[unit]") {
  const Pages pages(5);
  Pinning device;
  RegisteredMemory registered(device);
  REQUIRE(registered.add(pages.at(kPage, 1)).has_value());
  REQUIRE(registered.add(pages.at(3 * kPage, 1)).has_value());
  device.runs_max = 4;
  CHECK(registered.add(pages.at(0, 5 * kPage)).error().code == Errc::limit_exceeded);
  CHECK(device.runs.size() == 2);
  registered.remove(pages.at(0, 5 * kPage));
  CHECK(device.runs.size() == 2);
  device.runs_max = 5;
  CHECK(registered.add(pages.at(0, 5 * kPage)).has_value());
  CHECK(device.reaches(pages.at(0, 5 * kPage)));
  CHECK(registered.add({}).error().code == Errc::invalid_argument);
}

TEST_CASE("any memories, registered in any order, are in reach as long as they are", "[unit]") {
  const std::uint32_t seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937 random(seed);
  constexpr std::size_t kPages = 32;
  const Pages pages(kPages);
  Pinning device;
  {
    RegisteredMemory registered(device);
    std::vector<MutableSpan> added;
    for (int i = 0; i < 5000; ++i) {
      if (added.size() < 12 && random() % 2 == 0) {
        const std::size_t at = random() % (kPages * kPage - 1);
        const std::size_t size = 1 + random() % std::min(4 * kPage, kPages * kPage - at);
        added.push_back(pages.at(at, std::min(size, kPages * kPage - at)));
        REQUIRE(registered.add(added.back()).has_value());
      } else if (!added.empty()) {
        const std::size_t which = random() % added.size();
        registered.remove(added[which]);
        added.erase(added.begin() + static_cast<std::ptrdiff_t>(which));
      }
      for (const MutableSpan memory : added) {
        REQUIRE(device.reaches(memory));
      }
      REQUIRE(device.runs.empty() == added.empty());
    }
  }
  CHECK(device.runs.empty());
}

}  // namespace
}  // namespace godbox::striping
