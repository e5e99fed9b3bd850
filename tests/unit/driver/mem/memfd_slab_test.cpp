// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/memfd_slab.h>

#include <catch2/catch_test_macros.hpp>

#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

constexpr SizeBytes kSize = 2_MiB;

template <class T>
Errc code(const Result<T>& result) {
  return result.has_value() ? Errc::ok : result.error().code;
}

std::shared_ptr<SlabMemory> make(SizeBytes size = kSize) {
  auto made = MemfdSlab::create(size);
  REQUIRE(made.has_value());
  return std::move(*made);
}

std::uint64_t held_bytes(const SlabMemory& memory) {
  struct stat status {};
  REQUIRE(::fstat(memory.descriptor(), &status) == 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

class Mapping {
 public:
  Mapping(const SlabMemory& memory, int protection)
      : size_(memory.size().count()),
        data_(::mmap(nullptr, size_, protection, MAP_SHARED, memory.descriptor(), 0)) {}
  ~Mapping() {
    if (is_mapped()) {
      ::munmap(data_, size_);
    }
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  [[nodiscard]] bool is_mapped() const { return data_ != MAP_FAILED; }
  [[nodiscard]] char* bytes() const { return static_cast<char*>(data_); }

 private:
  std::size_t size_;
  void* data_;
};

TEST_CASE("a device's memory is sparse until it is backed, and zeros", "[unit]") {
  const auto memory = make();
  CHECK(memory->size() == kSize);
  CHECK(held_bytes(*memory) == 0);
  REQUIRE(back_slab(memory->descriptor(), 1_MiB, 1_MiB).has_value());
  CHECK(held_bytes(*memory) == (1U << 20U));
  const Mapping mapping(*memory, PROT_READ);
  REQUIRE(mapping.is_mapped());
  CHECK(std::string_view(mapping.bytes(), kSize.count()).find_first_not_of('\0') ==
        std::string_view::npos);
}

TEST_CASE("nobody who has a device's descriptor can change its size", "[unit]") {
  const auto memory = make();
  CHECK(::ftruncate(memory->descriptor(), 4096) != 0);
  CHECK(::ftruncate(memory->descriptor(), 4 << 20) != 0);
}

TEST_CASE("what is discarded reads as zeros through a mapping that is kept", "[unit]") {
  const auto memory = make();
  const Mapping mapping(*memory, PROT_READ | PROT_WRITE);
  std::memset(mapping.bytes(), 'x', kSize.count());
  CHECK(code(memory->discard(1_MiB, 1_MiB + 1_B)) == Errc::out_of_range);
  CHECK(code(memory->discard(3_MiB, 0_B)) == Errc::out_of_range);
  REQUIRE(memory->discard(0_B, 1_MiB).has_value());
  CHECK(mapping.bytes()[0] == 0);
  CHECK(mapping.bytes()[(1U << 20U) - 1] == 0);
  CHECK(mapping.bytes()[1U << 20U] == 'x');
  REQUIRE(memory->discard(0_B, kSize).has_value());
  CHECK(mapping.bytes()[kSize.count() - 1] == 0);
}

TEST_CASE("a device is sealed once nobody has it mapped for writing, and then for good", "[unit]") {
  const auto memory = make();
  {
    const Mapping writing(*memory, PROT_READ | PROT_WRITE);
    writing.bytes()[5] = 'x';
    CHECK(code(memory->seal()) == Errc::write_in_flight);
    writing.bytes()[6] = 'y';  // nothing has changed
  }
  REQUIRE(memory->seal().has_value());
  const std::string path = "/proc/self/fd/" + std::to_string(memory->descriptor());
  CHECK_FALSE(Mapping(*memory, PROT_READ | PROT_WRITE).is_mapped());
  CHECK(::pwrite(memory->descriptor(), "z", 1, 5) < 0);
  CHECK(code(memory->discard(0_B, kSize)) == Errc::access_denied);
  CHECK(code(memory->seal()) == Errc::access_denied);  // once
  const int reading = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(reading >= 0);
  void* const data = ::mmap(nullptr, kSize.count(), PROT_READ, MAP_SHARED, reading, 0);
  REQUIRE(data != MAP_FAILED);
  CHECK(std::memcmp(static_cast<char*>(data) + 5, "xy", 2) == 0);
  CHECK(::mprotect(data, kSize.count(), PROT_READ | PROT_WRITE) != 0);
  ::munmap(data, kSize.count());
  ::close(reading);
}

TEST_CASE("a copy has the bytes, and a sealed device takes none", "[unit]") {
  const auto from = make();
  const auto to = make();
  {
    const Mapping mapping(*from, PROT_READ | PROT_WRITE);
    for (std::size_t i = 0; i < kSize.count(); ++i) {
      mapping.bytes()[i] = static_cast<char>(i * 7 + i / 4096);
    }
  }
  REQUIRE(copy_slab(from->descriptor(), to->descriptor(), 4_KiB, kSize - 4_KiB).has_value());
  {
    const Mapping a(*from, PROT_READ);
    const Mapping b(*to, PROT_READ);
    CHECK(std::memcmp(a.bytes() + 4096, b.bytes() + 4096, kSize.count() - 4096) == 0);
    CHECK(b.bytes()[1] == 0);
  }
  REQUIRE(to->seal().has_value());
  CHECK(code(copy_slab(from->descriptor(), to->descriptor(), 0_B, 4_KiB)) == Errc::access_denied);
}

TEST_CASE("a device of more than the machine has left is refused, and one of no whole pages",
          "[unit]") {
  CHECK(code(MemfdSlab::create(64_TiB)) == Errc::backing_full);
  CHECK(code(MemfdSlab::create(0_B)) == Errc::invalid_argument);
  CHECK(code(MemfdSlab::create(6000_B)) == Errc::invalid_argument);
}

}  // namespace
}  // namespace godbox::driver
