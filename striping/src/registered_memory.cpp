// SPDX-License-Identifier: Apache-2.0
#include "registered_memory.h"

#include <algorithm>
#include <cstdint>

namespace godbox::striping {

namespace {

// Of the CPUs that this runs on. Where pages are larger, memories that share one are refused.
constexpr std::size_t kPageBytes = 4096;

MutableSpan pages_of(MutableSpan memory) {
  const auto begin = reinterpret_cast<std::uintptr_t>(memory.data());
  const std::size_t before = begin % kPageBytes;
  const std::size_t bytes = (before + memory.size() + kPageBytes - 1) / kPageBytes * kPageBytes;
  return {memory.data() - before, bytes};
}

std::byte* end_of(MutableSpan memory) { return memory.data() + memory.size(); }

bool overlap(MutableSpan a, MutableSpan b) { return a.data() < end_of(b) && b.data() < end_of(a); }

bool is_same(MutableSpan a, MutableSpan b) { return a.data() == b.data() && a.size() == b.size(); }

}  // namespace

RegisteredMemory::~RegisteredMemory() {
  for (const Run& run : runs_) {
    device_.unregister_host(run.pages);
  }
}

Result<void> RegisteredMemory::add(MutableSpan memory) {
  if (memory.empty()) {
    return Error(Errc::invalid_argument, "memory to register is empty");
  }
  const MutableSpan pages = pages_of(memory);
  std::vector<Run> runs;  // as they will be
  std::vector<MutableSpan> added;
  std::byte* at = pages.data();
  const auto fill_up_to = [&](std::byte* end) -> Result<void> {
    if (at >= end) {
      return {};
    }
    const MutableSpan gap(at, end);
    Result<void> done = device_.register_host(gap);
    if (done) {
      added.push_back(gap);
      runs.push_back({.pages = gap, .users = 1});
    }
    return done;
  };
  Result<void> done;
  for (const Run& run : runs_) {
    if (done && overlap(run.pages, pages)) {
      done = fill_up_to(run.pages.data());
      at = std::max(at, end_of(run.pages));
    } else if (done && run.pages.data() >= end_of(pages)) {
      done = fill_up_to(end_of(pages));
      at = end_of(pages);
    }
    runs.push_back({.pages = run.pages,
                    .users = run.users + (overlap(run.pages, pages) ? std::size_t{1} : 0)});
  }
  if (done) {
    done = fill_up_to(end_of(pages));
  }
  if (!done) {
    for (const MutableSpan gap : added) {
      device_.unregister_host(gap);
    }
    return done;
  }
  runs_ = std::move(runs);
  memories_.push_back(memory);
  return {};
}

Result<void> RegisteredMemory::add_unless_reached(MutableSpan memory) {
  const bool shares =
      !memory.empty() && std::any_of(runs_.begin(), runs_.end(), [&](const Run& run) {
        return overlap(run.pages, pages_of(memory));
      });
  // What is in reach by pages of this has to keep them, too.
  return !memory.empty() && !shares && device_.reaches(memory) ? Result<void>() : add(memory);
}

void RegisteredMemory::remove(MutableSpan memory) {
  const auto found = std::find_if(memories_.begin(), memories_.end(),
                                  [&](MutableSpan known) { return is_same(known, memory); });
  if (found != memories_.end()) {
    memories_.erase(found);
    release(pages_of(memory));
  }
}

void RegisteredMemory::release(MutableSpan pages) {
  for (Run& run : runs_) {
    if (overlap(run.pages, pages) && --run.users == 0) {
      device_.unregister_host(run.pages);
    }
  }
  std::erase_if(runs_, [](const Run& run) { return run.users == 0; });
}

}  // namespace godbox::striping
