// SPDX-License-Identifier: Apache-2.0
//
// What an inference engine asks before every request: how many leading blocks of this prompt are in
// the pool? The pool holds many sparse objects (named and placed, without memory); a call looks up
// a prompt of `keys` names over TCP and gives its lease back outside the timed part.
#include "bench/workloads.h"
#include "cli/json.h"
#include "measure/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

constexpr std::uint64_t kPutBatch = 4096;
constexpr std::uint32_t kPutBatchesInFlight = 4;
constexpr std::uint32_t kCallsPerRepeat = 20;
constexpr SizeBytes kObjectSizeMax{std::uint64_t{20} << 20U};
constexpr std::uint64_t kObjectGranule = 4096;

enum class Pattern : std::uint8_t { all_present, miss_in_the_middle, random_order };
constexpr std::string_view kPatternNames[] = {"all_present", "miss_at_half", "random_order"};

std::string object_name(std::uint64_t index) { return fmt::format("prompt/{:016x}", index); }

class LookupCase {
 public:
  LookupCase(Environment& environment, const BenchCase& subject, std::unique_ptr<Rig> rig)
      : environment_(environment),
        subject_(subject),
        rig_(std::move(rig)),
        keys_(static_cast<std::uint32_t>(
            std::min<std::uint64_t>(environment.plan().keys, subject.objects))),
        random_(environment.plan().seed) {}

  Result<Rows> run() {
    if (auto loaded = load(); !loaded) {
      return loaded.error();
    }
    const emulator::PoolUsage usage = rig_->box().service().usage();
    Rows rows;
    for (const Pattern pattern :
         {Pattern::all_present, Pattern::miss_in_the_middle, Pattern::random_order}) {
      Result<BenchRow> row = measure(pattern);
      if (!row) {
        return row.error();
      }
      row->extra["objects"] = usage.objects;
      row->extra["index_bytes_per_object"] = figure(
          static_cast<double>(usage.index_memory.count()) / static_cast<double>(usage.objects), 4);
      rows.push_back(std::move(*row));
    }
    return rows;
  }

 private:
  SizeBytes object_size() const {
    const SizeBytes share = rig_->box().config().capacity() / (subject_.objects * 4);
    const std::uint64_t granules = std::min(share, kObjectSizeMax).count() / kObjectGranule;
    return SizeBytes(std::max<std::uint64_t>(granules, 1) * kObjectGranule);
  }

  Result<void> load() {
    const SizeBytes size = object_size();
    const std::uint64_t batches = (subject_.objects + kPutBatch - 1) / kPutBatch;
    Progress progress(fmt::format("putting {} objects", subject_.objects),
                      static_cast<double>(batches));
    const LoopResult put = run_loop(
        rig_->client(), rig_->clock(), {batches, kPutBatchesInFlight},
        [&](std::uint64_t batch, Done done) {
          progress.advance(1);
          const std::uint64_t begin = batch * kPutBatch;
          put_batch(begin, std::min(begin + kPutBatch, subject_.objects), size, std::move(done));
        });
    if (put.failures > 0) {
      return Error(put.first_failure, "the sparse objects could not be put");
    }
    return {};
  }

  void put_batch(std::uint64_t begin, std::uint64_t end, SizeBytes size, Done done) {
    std::vector<std::string> names;
    names.reserve(end - begin);
    for (std::uint64_t i = begin; i < end; ++i) {
      names.push_back(object_name(i));
    }
    std::vector<striping::PutItem> items;
    items.reserve(names.size());
    for (const std::string& name : names) {
      items.push_back({name, {}, size});
    }
    rig_->client().submit_put(items, [done = std::move(done)](std::span<const Errc> statuses) {
      const auto failed = std::find_if(statuses.begin(), statuses.end(),
                                       [](Errc status) { return status != Errc::ok; });
      done(failed == statuses.end() ? Errc::ok : *failed);
    });
  }

  // The names of one prompt; of `random_order` each is any object of the pool.
  std::vector<std::string> prompt(Pattern pattern) {
    std::vector<std::string> names;
    std::uniform_int_distribution<std::uint64_t> any(0, subject_.objects - 1);
    std::uniform_int_distribution<std::uint64_t> any_begin(0, subject_.objects - keys_);
    const std::uint64_t begin = any_begin(random_);
    for (std::uint32_t i = 0; i < keys_; ++i) {
      names.push_back(object_name(pattern == Pattern::random_order ? any(random_) : begin + i));
    }
    if (pattern == Pattern::miss_in_the_middle) {
      names[keys_ / 2] = "prompt/not there";
    }
    return names;
  }

  Result<double> timed_call(Pattern pattern) {
    const std::vector<std::string> names = prompt(pattern);
    const std::vector<std::string_view> views(names.begin(), names.end());
    const std::size_t expected = pattern == Pattern::miss_in_the_middle ? keys_ / 2 : views.size();
    const TimePoint begin = rig_->clock().now();
    Result<striping::Lookup> found = rig_->client().lookup_prefix(views);
    const Duration took = rig_->clock().now() - begin;
    if (!found) {
      return found.error();
    }
    if (found->objects.size() != expected) {
      return Error(Errc::not_found, fmt::format("lookup_prefix found {} of {} names, not {}",
                                                found->objects.size(), keys_, expected));
    }
    rig_->client().release(*found);
    return std::chrono::duration<double, std::micro>(took).count();
  }

  Result<BenchRow> measure(Pattern pattern) {
    BenchRow row = row_for(environment_, subject_, *rig_, WorkOp::read, SizeBytes());
    const std::uint32_t calls = environment_.plan().repeats * kCallsPerRepeat;
    for (std::uint32_t call = 0; call < calls + 1; ++call) {
      const Result<double> latency_us = timed_call(pattern);
      if (!latency_us) {
        return latency_us.error();
      }
      if (call > 0) {  // the first one warms up
        row.latencies_us.push_back(*latency_us);
      }
    }
    row.extra["keys"] = keys_;
    row.extra["pattern"] = kPatternNames[static_cast<std::size_t>(pattern)];
    row.extra["object_bytes"] = object_size().count();
    environment_.progress().advance(environment_.plan().repeats);
    return row;
  }

  Environment& environment_;
  BenchCase subject_;
  std::unique_ptr<Rig> rig_;
  std::uint32_t keys_;
  std::mt19937_64 random_;
};

}  // namespace

Result<Rows> run_lookup_case(Environment& environment, const BenchCase& subject) {
  Result<std::unique_ptr<Rig>> rig =
      start_rig(environment.plan(), subject, {TransportKind::tcp, 1, 1, true});
  if (!rig) {
    return rig.error();
  }
  return LookupCase(environment, subject, std::move(*rig)).run();
}

}  // namespace godbox::app
