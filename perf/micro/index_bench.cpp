// SPDX-License-Identifier: Apache-2.0
//
// The pool's index through PoolService: what a lookup of 1,000 names costs at 10 thousand and at 10
// million objects, what a put costs while the tables grow, and how much memory an object takes.
// The names of a lookup are the same each time (hot: all in the caches) or drawn from all objects
// (random: at 10 million every access is a cache miss). No byte of the pool is touched.
//
//   index_bench           10 thousand and 10 million objects; about a minute, 2 GiB
//   index_bench --small   10 and 100 thousand, few rounds: only shows that it runs
#include "processor_time.h"
#include <godbox/clock.h>
#include <godbox/emulator/pool_service.h>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

namespace {

using namespace godbox;
using namespace godbox::emulator;

constexpr std::size_t kNamesPerLookup = 1000;
constexpr std::size_t kNamesPerPut = 64;
constexpr std::uint64_t kObjectBytes = 4096;
constexpr std::uint32_t kDramChannels = 18;

// Memory that is said to be there and never touched.
class AbsentMemory final : public MemoryTarget {
 public:
  explicit AbsentMemory(SizeBytes size) : size_(size) {}
  [[nodiscard]] std::string_view kind() const override { return "absent"; }
  [[nodiscard]] SizeBytes size() const override { return size_; }
  [[nodiscard]] Coherence coherence() const override { return Coherence::coherent; }
  [[nodiscard]] std::byte* data() const override { return nullptr; }
  [[nodiscard]] int descriptor() const override { return -1; }
  [[nodiscard]] SizeBytes backing_granularity() const override { return SizeBytes(4096); }
  [[nodiscard]] bool is_always_present() const override { return false; }
  [[nodiscard]] Result<void> back(DramOffset, SizeBytes) override { return {}; }
  [[nodiscard]] Result<void> discard(DramOffset, SizeBytes) override { return {}; }
  void flush(ConstSpan) const override {}
  void invalidate(ConstSpan) const override {}

 private:
  SizeBytes size_;
};

class BenchRandom final : public RandomSource {
 public:
  void fill(MutableSpan out) override {
    for (std::byte& byte : out) {
      byte = static_cast<std::byte>(engine_());
    }
  }

 private:
  std::mt19937_64 engine_{1};
};

// 16 to 32 characters, as a hash or a short path has.
std::string name_of(std::uint64_t i) {
  return fmt::format("{:016x}{:.{}}", i * 0x9E3779B97F4A7C15U, "/layer0/rank0000", i % 17);
}

// Time that this thread has had a core: on a busy machine the longest put would otherwise say how
// long the thread was not running.
double cpu_microseconds() { return godbox::perf::thread_processor_seconds() * 1e6; }

double microseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
      .count();
}

std::uint64_t resident_bytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  unsigned long total = 0;
  unsigned long resident = 0;
  const bool is_read = file != nullptr && std::fscanf(file, "%lu %lu", &total, &resident) == 2;
  if (file != nullptr) {
    std::fclose(file);
  }
  return is_read ? resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

struct Figures {
  std::vector<double> values;

  void print(std::string_view what) {
    std::sort(values.begin(), values.end());
    fmt::print("  {:<34} median {:8.1f}  min {:8.1f}  max {:8.1f} us\n", what,
               values[values.size() / 2], values.front(), values.back());
  }
};

class IndexBench {
 public:
  IndexBench(std::uint64_t objects, int rounds) : objects_(objects), rounds_(rounds) {
    BoxConfig config = *preset("emfasys18");
    std::vector<MemoryTarget*> targets;
    for (std::uint32_t i = 0; i < kDramChannels; ++i) {
      channels_.push_back(std::make_unique<AbsentMemory>(config.dram_channel_size));
      targets.push_back(channels_.back().get());
    }
    service_ = std::make_unique<PoolService>(config, targets, config.capacity(), clock_, random_);
    session_ = service_->open_session("bench")->id;
  }

  // False when a put or lookup did not answer what it has to.
  bool run() {
    fmt::print("{} objects, names of 16 to 32 bytes, 1 extent, 1 CRC (real, 1 thread)\n", objects_);
    const std::uint64_t resident_before = resident_bytes();
    if (!put_all()) {
      return false;
    }
    const PoolUsage usage = service_->usage();
    fmt::print(
        "  memory per object: {:.0f} bytes told, {:.0f} resident (limit 300)\n",
        static_cast<double>(usage.index_memory.count()) / static_cast<double>(objects_),
        static_cast<double>(resident_bytes() - resident_before) / static_cast<double>(objects_));
    return look_up("lookup of 1000, hot", true, 0) && look_up("lookup of 1000, random", false, 0) &&
           look_up("lookup of 1000 and lease, random", false, 1000);
  }

  [[nodiscard]] std::uint64_t hash() const { return hash_; }

 private:
  bool put_all() {
    Figures puts;
    const auto begin = std::chrono::steady_clock::now();
    for (std::uint64_t first = 0; first < objects_; first += kNamesPerPut) {
      std::vector<std::string> names;
      wire::ReserveRequest request;
      for (std::uint64_t i = first; i < std::min(first + kNamesPerPut, objects_); ++i) {
        names.push_back(name_of(i));
      }
      for (const std::string& name : names) {
        request.items.push_back({name, SizeBytes(kObjectBytes), false});
      }
      const double batch_begin = cpu_microseconds();
      wire::ReserveReply reserved;
      service_->reserve(session_, request, reserved);
      wire::CommitRequest commit;
      for (const wire::ReserveAnswer& answer : reserved.answers) {
        commit.items.push_back({answer.reservation, {static_cast<std::uint32_t>(first)}});
      }
      wire::StatusesReply committed;
      service_->commit(session_, commit, committed);
      puts.values.push_back(cpu_microseconds() - batch_begin);
      for (const Errc status : committed.statuses) {
        if (status != Errc::ok) {
          fmt::print(stderr, "index_bench: put failed: {}\n", to_string(status));
          return false;
        }
      }
    }
    const double total = microseconds_since(begin);
    puts.print("put of 64 while growing, CPU time");
    fmt::print("  {:<34} {:.2f} us each\n", "put", total / static_cast<double>(objects_));
    return true;
  }

  bool look_up(std::string_view what, bool is_hot, std::uint32_t lease_ms) {
    std::mt19937_64 random(42);
    Figures figures;
    wire::LookupReply reply;
    std::vector<std::string> names;
    for (int round = 0; round <= rounds_; ++round) {
      if (!is_hot || round == 0) {
        names.clear();
        for (std::size_t i = 0; i < kNamesPerLookup; ++i) {
          names.push_back(name_of(random() % objects_));
        }
      }
      wire::LookupRequest request{false, lease_ms, {names.begin(), names.end()}};
      reply.objects.clear();
      reply.extents.clear();
      reply.crc32c.clear();
      const auto begin = std::chrono::steady_clock::now();
      const Errc status = service_->lookup(session_, request, reply);
      const double time = microseconds_since(begin);
      if (status != Errc::ok) {
        fmt::print(stderr, "index_bench: lookup failed: {}\n", to_string(status));
        return false;
      }
      if (round > 0) {  // the first only warms up
        figures.values.push_back(time);
      }
      service_->release(session_, {{reply.lease}});
      for (const wire::LookupObject& object : reply.objects) {
        if (object.status != Errc::ok) {
          fmt::print(stderr, "index_bench: lookup failed: {}\n", to_string(object.status));
          return false;
        }
        hash_ = hash_ * 31 + object.size.count();
      }
    }
    figures.print(what);
    return true;
  }

  std::uint64_t objects_;
  int rounds_;
  std::uint64_t hash_ = 0;
  SteadyClock clock_;
  BenchRandom random_;
  std::vector<std::unique_ptr<AbsentMemory>> channels_;
  std::unique_ptr<PoolService> service_;
  SessionId session_;
};

}  // namespace

int main(int argc, char** argv) {
  const bool is_small = argc > 1 && std::string_view(argv[1]) == "--small";
  std::uint64_t hash = 0;
  for (const std::uint64_t objects :
       {std::uint64_t{10'000}, is_small ? std::uint64_t{100'000} : std::uint64_t{10'000'000}}) {
    const auto bench = std::make_unique<IndexBench>(objects, is_small ? 20 : 1000);
    if (!bench->run()) {
      return 1;
    }
    hash = hash * 31 + bench->hash();
  }
  fmt::print("result hash {:016x}\n", hash);
  return 0;
}
