// SPDX-License-Identifier: Apache-2.0
//
// What a VM does with a logical device, and what the machine under it looks for: in the guest the
// device is found by its serial number and mapped, on the host the same bytes are a file. A pattern
// is a mark of 64 bytes at the beginning of some pages, different for each seed; all else is zero.
//
//   bound_worker fill SERIAL SEED       writes the pattern through the guest's mapping
//   bound_worker check SERIAL SEED      finds it there
//   bound_worker zero SERIAL SEED       finds zeros in as many pages
//   bound_worker store SERIAL SEED      writes other bytes over it, which must change nothing
//   bound_worker load SERIAL SEED       writes and checks until it is killed, or the device goes
//   bound_worker scan FILE SEED SIZE    on the host: every byte is the pattern's
//   bound_worker empty FILE 0 SIZE      on the host: every byte is zero
//
// Exit status: 0; 1 with a sentence where bytes are wrong; 2 for anything else; 7 when the device
// went away under it.
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::size_t kMarkWords = 8;
constexpr std::uint64_t kMarks = 128;
constexpr int kWrong = 1;
constexpr int kFailed = 2;
constexpr int kGone = 7;
const fs::path kCxl = "/sys/bus/cxl/devices";
const fs::path kDax = "/sys/bus/dax/devices";

using Mark = std::array<std::uint64_t, kMarkWords>;

// SplitMix64 (Steele, Lea, Flood 2014): every bit of the answer depends on every bit of `value`.
std::uint64_t mixed(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15U;
  value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27U)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31U);
}

Mark mark_of(std::uint64_t seed, std::uint64_t page) {
  Mark mark{};
  for (std::size_t i = 0; i < mark.size(); ++i) {
    mark[i] = mixed(seed * 1000003 + page * kMarkWords + i) | 1U;  // never zero
  }
  return mark;
}

std::map<std::uint64_t, Mark> pattern_of(std::uint64_t seed, std::uint64_t size_bytes) {
  std::map<std::uint64_t, Mark> marks;
  for (std::uint64_t k = 0; k < kMarks; ++k) {
    const std::uint64_t page = mixed(seed ^ (k << 48U)) % (size_bytes / kPageBytes);
    marks[page] = mark_of(seed, page);
  }
  return marks;
}

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "bound_worker: %s\n", why.c_str());
  std::exit(kFailed);
}

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

bool begins(const fs::path& path, const std::string& word) {
  return path.filename().string().starts_with(word);
}

// The dax device that a CXL device's decoder serves, by way of its region.
fs::path dax_of(const fs::path& endpoint) {
  for (const auto& decoder : fs::directory_iterator(endpoint)) {
    const std::string region =
        begins(decoder.path(), "decoder") ? first_line(decoder.path() / "region") : "";
    for (const auto& dax : fs::directory_iterator(kDax)) {
      const std::string path = fs::canonical(dax.path()).string();
      if (!region.empty() && path.find("/" + region + "/") != std::string::npos) {
        return "/dev" / dax.path().filename();
      }
    }
  }
  return {};
}

fs::path find_dax(std::uint64_t serial) {
  for (const auto& memdev : fs::directory_iterator(kCxl)) {
    if (!begins(memdev.path(), "mem") ||
        std::strtoull(first_line(memdev.path() / "serial").c_str(), nullptr, 0) != serial) {
      continue;
    }
    for (const auto& endpoint : fs::directory_iterator(kCxl)) {
      if (begins(endpoint.path(), "endpoint") &&
          fs::canonical(endpoint.path() / "uport") == fs::canonical(memdev.path())) {
        if (fs::path dax = dax_of(endpoint.path()); !dax.empty()) {
          return dax;
        }
      }
    }
  }
  fail("no dax device of that serial number");
}

struct Memory {
  char* bytes = nullptr;
  std::uint64_t size_bytes = 0;
};

Memory map(const fs::path& path, std::uint64_t size_bytes, bool writable) {
  const int file = ::open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
  const int protection = PROT_READ | (writable ? PROT_WRITE : 0);
  void* const bytes =
      file < 0 ? MAP_FAILED : ::mmap(nullptr, size_bytes, protection, MAP_SHARED, file, 0);
  if (bytes == MAP_FAILED) {
    fail(path.string() + ": " + std::strerror(errno));
  }
  ::close(file);
  return {static_cast<char*>(bytes), size_bytes};
}

Memory map_device(std::uint64_t serial) {
  const fs::path path = find_dax(serial);
  const std::string size = first_line(kDax / path.filename() / "size");
  return map(path, std::strtoull(size.c_str(), nullptr, 0), true);
}

int wrong(std::uint64_t page, const char* expected) {
  std::fprintf(stderr, "bound_worker: page %llu is not %s\n", static_cast<unsigned long long>(page),
               expected);
  return kWrong;
}

void fill(const Memory& memory, std::uint64_t seed) {
  for (const auto& [page, mark] : pattern_of(seed, memory.size_bytes)) {
    std::memcpy(memory.bytes + page * kPageBytes, mark.data(), sizeof(mark));
  }
}

int check(const Memory& memory, std::uint64_t seed) {
  for (const auto& [page, mark] : pattern_of(seed, memory.size_bytes)) {
    if (std::memcmp(memory.bytes + page * kPageBytes, mark.data(), sizeof(mark)) != 0) {
      return wrong(page, "what was written");
    }
  }
  return 0;
}

bool is_zero(const char* bytes, std::size_t size) {
  return bytes[0] == 0 && std::memcmp(bytes, bytes + 1, size - 1) == 0;
}

int zero(const Memory& memory, std::uint64_t seed) {
  for (const auto& [page, mark] : pattern_of(seed, memory.size_bytes)) {
    if (!is_zero(memory.bytes + page * kPageBytes, kPageBytes)) {
      return wrong(page, "zeros");
    }
  }
  return 0;
}

// All of it, on the host.
int scan(const Memory& memory, std::uint64_t seed, bool is_filled) {
  const auto marks =
      is_filled ? pattern_of(seed, memory.size_bytes) : std::map<std::uint64_t, Mark>();
  auto next = marks.begin();
  for (std::uint64_t page = 0; page < memory.size_bytes / kPageBytes; ++page) {
    const char* bytes = memory.bytes + page * kPageBytes;
    std::size_t size = kPageBytes;
    if (next != marks.end() && next->first == page) {
      if (std::memcmp(bytes, next->second.data(), sizeof(Mark)) != 0) {
        return wrong(page, "the mark that belongs there");
      }
      bytes += sizeof(Mark);
      size -= sizeof(Mark);
      ++next;
    }
    if (!is_zero(bytes, size)) {
      return wrong(page, "zero but for its mark");
    }
  }
  return 0;
}

// Writes are the guest's, and go nowhere; what is there stays.
int store(const Memory& memory, std::uint64_t seed) {
  for (const auto& [page, mark] : pattern_of(seed, memory.size_bytes)) {
    std::memset(memory.bytes + page * kPageBytes, 'x', sizeof(mark));
    std::memset(memory.bytes + page * kPageBytes + 1000, 'y', 8);
  }
  return check(memory, seed);
}

[[noreturn]] void load(const Memory& memory, std::uint64_t seed) {
  const auto marks = pattern_of(seed, memory.size_bytes);
  for (;;) {
    for (const auto& [page, mark] : marks) {
      char* const at = memory.bytes + page * kPageBytes;
      std::memcpy(at, mark.data(), sizeof(mark));
      Mark found{};
      std::memcpy(found.data(), at, sizeof(found));
      if (found != mark) {
        // Until the kernel has taken the mapping away, a module that is being pulled reads as ones
        // or, where QEMU no longer finds it behind its window, as zeros. Had it been lost before it
        // was pulled, the driver would see a load that ended too early.
        const bool is_gone = std::all_of(
            found.begin(), found.end(), [&mark = mark, i = std::size_t{0}](auto word) mutable {
              return word == mark[i++] || word == ~std::uint64_t{0} || word == 0;
            });
        std::fprintf(stderr, "bound_worker: %016llx ... in the place of %016llx\n",
                     static_cast<unsigned long long>(found.back()),
                     static_cast<unsigned long long>(mark.back()));
        std::exit(is_gone ? kGone : wrong(page, "what was written a moment ago"));
      }
    }
    ::usleep(2000);  // others want the processor too
  }
}

extern "C" void on_bus_error(int) { ::_exit(kGone); }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    fail("usage: see its source");
  }
  const std::string verb = argv[1];
  const std::uint64_t seed = std::strtoull(argv[3], nullptr, 0);
  std::signal(SIGBUS, on_bus_error);
  if (verb == "scan" || verb == "empty") {
    const std::uint64_t size_bytes = argc > 4 ? std::strtoull(argv[4], nullptr, 0) : 0;
    return size_bytes == 0 ? kFailed : scan(map(argv[2], size_bytes, false), seed, verb == "scan");
  }
  const Memory memory = map_device(std::strtoull(argv[2], nullptr, 0));
  if (verb == "fill") {
    fill(memory, seed);
    return 0;
  }
  if (verb == "check") {
    return check(memory, seed);
  }
  if (verb == "zero") {
    return zero(memory, seed);
  }
  if (verb == "store") {
    return store(memory, seed);
  }
  if (verb == "load") {
    load(memory, seed);
  }
  fail("unknown: " + verb);
}
