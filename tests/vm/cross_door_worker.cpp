// SPDX-License-Identifier: Apache-2.0
//
// One side of the cross-door test: puts objects, reads and compares them, or keeps others coming
// and going, through whichever door its address names. What an object holds follows from its name.
//   usage: cross_door_worker write|read|churn ADDRESS PREFIX COUNT [SIZE_MIN SIZE_MAX]
// Prints a line of JSON. Exit status 0: every object was there and every byte right.
#include <godbox/connect.h>
#include <godbox_test/seeded_random.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

namespace godbox {
namespace {

constexpr std::size_t kBatch = 20;
constexpr Duration kTimeout = std::chrono::seconds(120);

volatile std::sig_atomic_t stopped = 0;

struct Job {
  std::string verb;
  std::string address;
  std::string prefix;
  std::size_t count = 0;
  std::size_t size_min = 256;
  std::size_t size_max = 262144;
};

struct Tally {
  std::size_t objects = 0;
  std::uint64_t bytes = 0;
  std::size_t failures = 0;
  std::size_t wrong = 0;
  std::string first_failure;
};

std::uint64_t hash_of(std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325U;  // FNV-1a
  for (const char character : name) {
    hash = (hash ^ static_cast<unsigned char>(character)) * 0x100000001B3U;
  }
  return hash;
}

// Sizes are spread evenly over their logarithm.
std::vector<std::byte> contents_of(const std::string& name, const Job& job) {
  test::SeededRandom random(hash_of(name));
  const double span =
      std::log2(static_cast<double>(job.size_max) / static_cast<double>(job.size_min));
  const double at = static_cast<double>(random.below(1U << 20U)) / (1U << 20U);
  const auto size =
      static_cast<std::size_t>(static_cast<double>(job.size_min) * std::exp2(at * span));
  std::vector<std::byte> bytes(std::min(size, job.size_max));
  random.fill(bytes);
  return bytes;
}

class Worker {
 public:
  Worker(const Job& job, striping::Client& client) : job_(job), client_(client) {}

  void write(std::size_t first, std::size_t count) {
    over_batches(first, count, [this](std::span<const std::string> names) {
      std::vector<std::vector<std::byte>> bytes;
      std::vector<LocalSegment> segments;
      std::vector<striping::PutItem> items;
      for (const std::string& name : names) {
        bytes.push_back(contents_of(name, job_));
      }
      for (std::vector<std::byte>& one : bytes) {
        segments.push_back({one.data(), one.size()});
      }
      for (std::size_t i = 0; i < names.size(); ++i) {
        items.push_back({.name = names[i], .data = {&segments[i], 1}});
      }
      note(names, client_.put(items), bytes);
    });
  }

  void read(std::size_t first, std::size_t count) {
    over_batches(first, count, [this](std::span<const std::string> names) {
      std::vector<std::vector<std::byte>> expected;
      std::vector<std::vector<std::byte>> bytes;
      std::vector<LocalSegment> segments;
      std::vector<striping::GetItem> items;
      for (const std::string& name : names) {
        expected.push_back(contents_of(name, job_));
        bytes.emplace_back(expected.back().size(), std::byte{0xEE});
      }
      for (std::vector<std::byte>& one : bytes) {
        segments.push_back({one.data(), one.size()});
      }
      for (std::size_t i = 0; i < names.size(); ++i) {
        items.push_back({.name = names[i], .into = {&segments[i], 1}});
      }
      const std::vector<Errc> statuses = client_.get(items);
      for (std::size_t i = 0; i < names.size(); ++i) {
        tally_.wrong += statuses[i] == Errc::ok && bytes[i] != expected[i] ? 1U : 0U;
      }
      note(names, statuses, bytes);
    });
  }

  void remove(std::size_t first, std::size_t count) {
    over_batches(first, count, [this](std::span<const std::string> names) {
      const std::vector<std::string_view> views(names.begin(), names.end());
      (void)client_.remove(views);
    });
  }

  [[nodiscard]] const Tally& tally() const { return tally_; }

 private:
  void over_batches(std::size_t first, std::size_t count,
                    const std::function<void(std::span<const std::string>)>& each) {
    for (std::size_t begin = first; begin < first + count && stopped == 0; begin += kBatch) {
      std::vector<std::string> names;
      for (std::size_t i = begin; i < std::min(begin + kBatch, first + count); ++i) {
        names.push_back(job_.prefix + "/" + std::to_string(i));
      }
      each(names);
    }
  }

  void note(std::span<const std::string> names, const std::vector<Errc>& statuses,
            const std::vector<std::vector<std::byte>>& bytes) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (statuses[i] == Errc::ok) {
        ++tally_.objects;
        tally_.bytes += bytes[i].size();
      } else if (++tally_.failures == 1) {
        tally_.first_failure = names[i] + " " + std::string(to_string(statuses[i]));
      }
    }
  }

  const Job& job_;
  striping::Client& client_;
  Tally tally_;
};

int run(const Job& job) {
  ConnectOptions options;
  options.client.timeout = kTimeout;
  options.client.lease = std::chrono::seconds(30);
  const auto connection = connect(job.address, options);
  if (!connection) {
    std::fprintf(stderr, "cross_door_worker: %s\n", connection.error().message().c_str());
    return 4;
  }
  Worker worker(job, (*connection)->client());
  const auto start = std::chrono::steady_clock::now();
  if (job.verb == "write") {
    worker.write(0, job.count);
  } else if (job.verb == "read") {
    worker.read(0, job.count);
  } else {
    // A failure ends it: what is left to see is in the tally.
    for (std::size_t round = 0; stopped == 0 && worker.tally().failures == 0; ++round) {
      worker.write(round * job.count, job.count);
      worker.read(round * job.count, job.count);
      worker.remove(round * job.count, job.count);
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  const Tally& tally = worker.tally();
  std::printf(
      "{\"verb\": \"%s\", \"objects\": %zu, \"bytes\": %llu, \"failures\": %zu, "
      "\"wrong\": %zu, \"first_failure\": \"%s\", \"seconds\": %.2f}\n",
      job.verb.c_str(), tally.objects, static_cast<unsigned long long>(tally.bytes), tally.failures,
      tally.wrong, tally.first_failure.c_str(), took.count());
  return tally.failures == 0 && tally.wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace godbox

int main(int argc, char** argv) {
  if (argc != 5 && argc != 7) {
    std::fprintf(stderr,
                 "usage: cross_door_worker write|read|churn ADDRESS PREFIX COUNT "
                 "[SIZE_MIN SIZE_MAX]\n");
    return 2;
  }
  std::signal(SIGTERM, [](int) { godbox::stopped = 1; });
  godbox::Job job{.verb = argv[1], .address = argv[2], .prefix = argv[3]};
  job.count = std::strtoull(argv[4], nullptr, 10);
  if (argc == 7) {
    job.size_min = std::strtoull(argv[5], nullptr, 10);
    job.size_max = std::strtoull(argv[6], nullptr, 10);
  }
  return godbox::run(job);
}
