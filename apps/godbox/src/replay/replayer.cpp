// SPDX-License-Identifier: Apache-2.0
#include "replay/replayer.h"

#include "bench/balance.h"
#include "measure/pattern.h"
#include "measure/statistics.h"
#include <godbox/perf/mapped_buffer.h>

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace godbox::app {
namespace {

using striping::Lookup;
using striping::PutItem;

// Sparse puts of one call: they move no bytes.
constexpr std::size_t kSparsePutsMax = 4096;

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

// So many of the objects found, with what belongs to them alone: a prompt has thousands of blocks.
Lookup part_of(const Lookup& found, std::size_t begin, std::size_t count) {
  Lookup part;
  part.lease = found.lease;
  part.lease_until = found.lease_until;
  part.hold = found.hold;
  for (std::size_t i = begin; i < begin + count; ++i) {
    striping::FoundObject object = found.objects[i];
    const auto extents = std::span(found.extents).subspan(object.extent_begin, object.extent_count);
    const auto crcs = std::span(found.crc32c).subspan(object.crc_begin, object.crc_count);
    object.extent_begin = static_cast<std::uint32_t>(part.extents.size());
    object.crc_begin = static_cast<std::uint32_t>(part.crc32c.size());
    part.extents.insert(part.extents.end(), extents.begin(), extents.end());
    part.crc32c.insert(part.crc32c.end(), crcs.begin(), crcs.end());
    part.objects.push_back(object);
  }
  return part;
}

class Replayer {
 public:
  Replayer(Rig& rig, const ReplayOptions& options, perf::MappedBuffer memory)
      : rig_(rig), options_(options), memory_(std::move(memory)) {
    for (std::uint32_t i = 0; i < options_.blocks_at_once; ++i) {
      const std::size_t at = options_.index_only ? 0 : i * options_.block.count();
      buffers_.push_back({memory_.bytes().data() + at, options_.block.count()});
    }
  }

  Result<ReplayResult> run(const Trace& trace, Progress& progress) {
    const std::uint64_t evictions_before = rig_.box().service().usage().evictions;
    const std::vector<std::uint64_t> bytes_before = counted_bytes(rig_.box());
    const TimePoint begin = rig_.clock().now();
    for (const TraceRequest& request : trace) {
      if (auto waited = wait_for(begin, request); !waited) {
        return waited.error();
      }
      if (auto done = play(request); !done) {
        return done.error();
      }
      progress.advance(1);
    }
    result_.seconds = seconds(rig_.clock().now() - begin - checking_);
    result_.checking_seconds = seconds(checking_);
    result_.moving_seconds = seconds(moving_);
    result_.evictions = rig_.box().service().usage().evictions - evictions_before;
    if (result_.bytes_read + result_.bytes_written > 0) {
      result_.channel_bytes = difference(counted_bytes(rig_.box()), bytes_before);
      result_.channel_imbalance = imbalance(result_.channel_bytes);
    }
    return std::move(result_);
  }

 private:
  // Adds what the work takes to a sum of times.
  template <class Work>
  auto timed(Duration& sum, Work&& work) {
    const TimePoint begin = rig_.clock().now();
    auto result = work();
    sum += rig_.clock().now() - begin;
    return result;
  }

  // Until the request's time by the trace's clock; the session is kept alive meanwhile.
  Result<void> wait_for(TimePoint begin, const TraceRequest& request) {
    if (options_.speed <= 0) {
      return {};
    }
    constexpr double kSecondsMax = 1e9;
    const auto since = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
        std::min(static_cast<double>(request.at.count()) / 1e3 / options_.speed, kSecondsMax)));
    while (rig_.clock().now() < begin + since) {
      rig_.client().progress(begin + since);
    }
    return rig_.client().is_open() ? Result<void>()
                                   : Error(Errc::session_lost, "while waiting for a request");
  }

  Result<void> play(const TraceRequest& request) {
    ++result_.requests;
    result_.block_references += request.blocks.size();
    if (request.blocks.empty()) {
      return {};
    }
    names_.clear();
    for (const std::uint64_t block : request.blocks) {
      names_.push_back(fmt::format("kv/{:016x}", block));
    }
    const std::vector<std::string_view> views(names_.begin(), names_.end());
    const TimePoint begin = rig_.clock().now();
    const Duration checking_before = checking_;
    Result<Lookup> found = rig_.client().lookup_prefix(views);
    if (!found) {
      return found.error();
    }
    result_.lookup_us.push_back(seconds(rig_.clock().now() - begin) * 1e6);
    const std::size_t hits = found->objects.size();
    result_.prefix_hits += hits;
    if (!options_.index_only) {
      if (auto read = read_all(*found, request); !read) {
        return read.error();
      }
    }
    rig_.client().release(*found);
    if (auto put = put_all(request, hits); !put) {
      return put.error();
    }
    const Duration took = rig_.clock().now() - begin - (checking_ - checking_before);
    result_.request_ms.push_back(seconds(took) * 1e3);
    return {};
  }

  Result<void> read_all(const Lookup& found, const TraceRequest& request) {
    for (std::size_t begin = 0; begin < found.objects.size(); begin += options_.blocks_at_once) {
      const std::size_t count =
          std::min<std::size_t>(options_.blocks_at_once, found.objects.size() - begin);
      std::vector<std::span<const LocalSegment>> into;
      const Lookup part = timed(checking_, [&] {
        for (std::size_t i = 0; i < count; ++i) {
          spoil({buffers_[i].data, buffers_[i].size_bytes});
          into.emplace_back(&buffers_[i], 1);
        }
        return part_of(found, begin, count);
      });
      const std::vector<Errc> statuses =
          timed(moving_, [&] { return rig_.client().get_found(part, into); });
      Result<void> checked = timed(checking_, [&] {
        return check_reads(statuses, part, std::span(request.blocks).subspan(begin, count));
      });
      if (!checked) {
        return checked;
      }
    }
    return {};
  }

  Result<void> check_reads(std::span<const Errc> statuses, const Lookup& part,
                           std::span<const std::uint64_t> blocks) {
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (auto checked = check_read(statuses[i], part, i, blocks[i]); !checked) {
        return checked;
      }
    }
    return {};
  }

  Result<void> check_read(Errc status, const Lookup& part, std::size_t index, std::uint64_t block) {
    if (status == Errc::key_revoked || status == Errc::lease_expired || status == Errc::not_found) {
      ++result_.lost_hits;
      return {};
    }
    if (status != Errc::ok) {
      return Error(status, fmt::format("block {} could not be read", block));
    }
    const ConstSpan bytes(buffers_[index].data, buffers_[index].size_bytes);
    result_.bytes_read += bytes.size();
    result_.wrong_bytes += count_wrong_bytes(bytes, {options_.seed, block});
    const striping::FoundObject& object = part.objects[index];
    const auto on_channel = bytes_by_layout(
        rig_.box(), std::span(part.extents).subspan(object.extent_begin, object.extent_count));
    if (!on_channel) {
      return on_channel.error();
    }
    result_.block_imbalance_max =
        std::max(result_.block_imbalance_max.value_or(0), imbalance(*on_channel));
    return {};
  }

  // What the prefix did not cover, in order; a block that stands there twice is put once.
  Result<void> put_all(const TraceRequest& request, std::size_t hits) {
    std::unordered_set<std::uint64_t> seen(
        request.blocks.begin(), request.blocks.begin() + static_cast<std::ptrdiff_t>(hits));
    std::vector<std::size_t> wanted;
    for (std::size_t i = hits; i < request.blocks.size(); ++i) {
      if (seen.insert(request.blocks[i]).second) {
        wanted.push_back(i);
      }
    }
    const std::size_t at_once = options_.index_only ? kSparsePutsMax : options_.blocks_at_once;
    for (std::size_t begin = 0; begin < wanted.size(); begin += at_once) {
      const std::size_t count = std::min(at_once, wanted.size() - begin);
      if (auto put = put_some(request, std::span(wanted).subspan(begin, count)); !put) {
        return put;
      }
    }
    return {};
  }

  // The blocks with their bytes, which are made here.
  std::vector<PutItem> make_items(const TraceRequest& request,
                                  std::span<const std::size_t> wanted) {
    std::vector<PutItem> items;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      PutItem item{.name = names_[wanted[i]], .data = {}};
      if (options_.index_only) {
        item.sparse_size = options_.block;
      } else {
        fill_pattern({buffers_[i].data, buffers_[i].size_bytes},
                     {options_.seed, request.blocks[wanted[i]]});
        item.data = {&buffers_[i], 1};
      }
      items.push_back(item);
    }
    return items;
  }

  Result<void> put_some(const TraceRequest& request, std::span<const std::size_t> wanted) {
    const std::vector<PutItem> items =
        timed(checking_, [&] { return make_items(request, wanted); });
    for (const Errc status : timed(moving_, [&] { return rig_.client().put(items); })) {
      switch (status) {
        case Errc::ok:
          ++result_.puts;
          result_.bytes_written += options_.index_only ? 0 : options_.block.count();
          break;
        case Errc::already_exists:
          ++result_.already_there;
          break;
        case Errc::pool_full:
        case Errc::backing_full:
          ++result_.refused_puts;
          break;
        default:
          return Error(status, "a block could not be put");
      }
    }
    return {};
  }

  Rig& rig_;
  const ReplayOptions& options_;
  perf::MappedBuffer memory_;
  std::vector<LocalSegment> buffers_;
  std::vector<std::string> names_;
  Duration checking_{};
  Duration moving_{};
  ReplayResult result_;
};

}  // namespace

Result<ReplayResult> replay_trace(Rig& rig, const Trace& trace, const ReplayOptions& options,
                                  Progress& progress) {
  const SizeBytes bytes =
      options.index_only ? SizeBytes(4096) : options.block * options.blocks_at_once;
  Result<perf::MappedBuffer> memory = perf::MappedBuffer::anonymous(bytes);
  if (!memory) {
    return memory.error();
  }
  return Replayer(rig, options, std::move(*memory)).run(trace, progress);
}

}  // namespace godbox::app
