// SPDX-License-Identifier: Apache-2.0
#include "bench/device_pages.h"

#include "measure/pattern.h"
#include <godbox/crc32c.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <random>
#include <thread>
#include <utility>

namespace godbox::app {
namespace {

constexpr SizeBytes kStaging{std::uint64_t{64} << 20U};
constexpr std::uint64_t kTensorAlignment = 256;
constexpr Duration kPatience = std::chrono::seconds(60);

kv::PagedShape shape_of(const kv::ModelGeometry& model, std::uint32_t block_tokens,
                        std::uint32_t blocks) {
  const bool is_latent = model.attention == kv::Attention::multi_head_latent;
  kv::PagedShape shape;
  shape.layers = model.layers;
  shape.planes = is_latent ? 1 : 2;
  shape.blocks = blocks;
  shape.block_tokens = block_tokens;
  shape.heads = is_latent ? 1 : model.kv_heads;
  shape.head_dim = is_latent ? model.kv_lora_rank + model.qk_rope_head_dim : model.head_dim;
  return shape;
}

std::uint64_t page_bytes(const kv::PagedShape& shape) {
  return std::uint64_t{shape.planes} * shape.block_tokens * shape.heads * shape.head_dim *
         kv::bytes_per_element(shape.dtype);
}

}  // namespace

Result<DeviceBuffer> DeviceBuffer::of_device(DeviceMemory& device, SizeBytes size) {
  const Result<MutableSpan> bytes = device.allocate(size);
  if (!bytes) {
    return bytes.error();
  }
  DeviceBuffer buffer;
  buffer.device_ = &device;
  buffer.bytes_ = *bytes;
  return buffer;
}

Result<DeviceBuffer> DeviceBuffer::staging(DeviceMemory& device, SizeBytes size) {
  const Result<MutableSpan> bytes = device.allocate_staging(size);
  if (!bytes) {
    return bytes.error();
  }
  DeviceBuffer buffer;
  buffer.device_ = &device;
  buffer.bytes_ = *bytes;
  buffer.is_staging_ = true;
  return buffer;
}

DeviceBuffer::~DeviceBuffer() {
  if (device_ != nullptr && is_staging_) {
    device_->release_staging(bytes_);
  } else if (device_ != nullptr) {
    device_->release(bytes_);
  }
}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept
    : device_(std::exchange(other.device_, nullptr)),
      bytes_(other.bytes_),
      is_staging_(other.is_staging_) {}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(bytes_, other.bytes_);
  std::swap(is_staging_, other.is_staging_);
  return *this;
}

Result<TimedQueue> TimedQueue::create(DeviceMemory& device) {
  Result<std::unique_ptr<DeviceQueue>> made = device.make_queue();
  if (!made) {
    return made.error();
  }
  TimedQueue queue;
  queue.queue_ = std::move(*made);
  return queue;
}

template <class Call>
Errc TimedQueue::submit(const Call& call) {
  for (;;) {
    const Errc status = call();
    if (status == Errc::queue_full) {
      // Room for one more is enough: a queue that runs empty would be measured as slow.
      if (const Errc done = wait_for_mark(); done != Errc::ok) {
        return done;
      }
      continue;
    }
    if (status == Errc::ok && queue_->mark(next_mark_) == Errc::ok) {
      ++next_mark_;
    }
    return status;
  }
}

Errc TimedQueue::move(std::span<const MovePiece> pieces, std::span<CrcBlock> crc) {
  return submit([&] { return queue_->move(pieces, crc); });
}

Errc TimedQueue::copy(MutableSpan to, ConstSpan from) {
  return submit([&] { return queue_->copy(to, from); });
}

Errc TimedQueue::wait_for_mark() {
  const SteadyClock clock;
  const TimePoint until = clock.now() + kPatience;
  DeviceMark mark;
  while (queue_->poll({&mark, 1}) == 0) {
    if (last_polled_ + 1 == next_mark_ || clock.now() > until) {
      return Errc::io_error;  // full of nothing, or it does not end
    }
    std::this_thread::yield();
  }
  last_polled_ = mark.id;
  return mark.status;
}

Errc TimedQueue::finish() {
  const std::uint64_t id = next_mark_;
  for (bool is_marked = false; !is_marked || last_polled_ < id;) {
    if (!is_marked) {
      const Errc marked = queue_->mark(id);
      if (marked == Errc::ok) {
        is_marked = true;
        ++next_mark_;
        continue;
      }
      if (marked != Errc::queue_full) {
        return marked;
      }
    }
    if (const Errc done = wait_for_mark(); done != Errc::ok) {
      return done;
    }
  }
  return Errc::ok;
}

Result<std::unique_ptr<DevicePages>> DevicePages::create(DeviceMemory& device,
                                                         const kv::ModelGeometry& model,
                                                         std::uint32_t block_tokens,
                                                         SizeBytes working_set,
                                                         std::uint64_t seed) {
  std::unique_ptr<DevicePages> pages(new DevicePages);
  pages->seed_ = seed;
  kv::PagedShape shape = shape_of(model, block_tokens, 1);
  pages->block_bytes_ = SizeBytes(page_bytes(shape) * shape.layers);
  const std::uint64_t listed =
      std::max<std::uint64_t>(working_set.count() / pages->block_bytes_.count(), 1);
  // Block 0 is nobody's, as in the engines.
  shape.blocks = static_cast<std::uint32_t>(listed + 1);
  const std::uint64_t tensor = page_bytes(shape) * shape.blocks;
  const std::uint64_t stride =
      (tensor + kTensorAlignment - 1) / kTensorAlignment * kTensorAlignment;
  Result<DeviceBuffer> region = DeviceBuffer::of_device(device, SizeBytes(stride * shape.layers));
  Result<DeviceBuffer> staging = DeviceBuffer::staging(device, kStaging);
  Result<TimedQueue> queue = TimedQueue::create(device);
  if (!region || !staging || !queue) {
    return !region ? region.error() : !staging ? staging.error() : queue.error();
  }
  pages->region_ = std::move(*region);
  pages->staging_ = std::move(*staging);
  pages->queue_ = std::move(*queue);
  std::vector<MutableSpan> tensors;
  for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
    tensors.push_back(pages->region().subspan(layer * stride, tensor));
  }
  Result<kv::PagedKv> cache =
      kv::PagedKv::create(shape, shape.planes == 2 ? "PBTHD" : "BTHD", tensors);
  if (!cache) {
    return cache.error();
  }
  pages->cache_.emplace(std::move(*cache));
  pages->blocks_.resize(listed);
  std::iota(pages->blocks_.begin(), pages->blocks_.end(), 1U);
  std::shuffle(pages->blocks_.begin(), pages->blocks_.end(), std::mt19937_64(seed));
  return pages;
}

std::uint64_t DevicePages::offset_of(const std::byte* at) const {
  return static_cast<std::uint64_t>(at - region().data());
}

std::vector<LocalSegment> DevicePages::segments(std::span<const std::uint32_t> blocks) const {
  std::vector<LocalSegment> all;
  for (std::uint32_t layer = 0; layer < cache_->shape().layers; ++layer) {
    cache_->append_layer(layer, blocks, kv::PoolOrder::token_major, all);
  }
  return all;
}

template <class Fill>
Result<void> DevicePages::write_all(const Fill& fill) {
  const MutableSpan all = region();
  for (std::size_t at = 0; at < all.size();) {
    const std::size_t length = std::min(staging().size(), all.size() - at);
    fill(staging().first(length), at);
    Errc status = queue_.copy(all.subspan(at, length), staging().first(length));
    status = status == Errc::ok ? queue_.finish() : status;
    if (status != Errc::ok) {
      return Error(status, "the device's pages could not be written");
    }
    at += length;
  }
  return {};
}

Result<void> DevicePages::fill(std::uint64_t generation) {
  return write_all([this, generation](MutableSpan out, std::uint64_t offset) {
    fill_pattern(out, pattern(generation), offset);
  });
}

Result<void> DevicePages::spoil_all() {
  return write_all([](MutableSpan out, std::uint64_t) { spoil(out); });
}

Result<void> DevicePages::verify(std::uint64_t generation, std::span<const std::uint32_t> blocks,
                                 Verification& verification) {
  // Layer by layer of the memory, which is read as it lies; then only listed blocks are looked at.
  const std::vector<LocalSegment> all = segments(blocks);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> runs;
  runs.reserve(all.size());
  for (const LocalSegment& one : all) {
    runs.emplace_back(offset_of(one.data), one.size_bytes);
  }
  std::sort(runs.begin(), runs.end());
  auto run = runs.begin();
  verification.crc32c = 0;
  for (std::uint64_t at = 0; at < region().size();) {
    const std::uint64_t length = std::min<std::uint64_t>(staging().size(), region().size() - at);
    Errc status = queue_.copy(staging().first(length), region().subspan(at, length));
    status = status == Errc::ok ? queue_.finish() : status;
    if (status != Errc::ok) {
      return Error(status, "the device's pages could not be read");
    }
    while (run != runs.end() && run->first < at + length) {
      const std::uint64_t in_here = std::min(run->second, at + length - run->first);
      const ConstSpan bytes = staging().subspan(run->first - at, in_here);
      verification.bytes_checked += in_here;
      verification.wrong_bytes += count_wrong_bytes(bytes, pattern(generation), run->first);
      verification.crc32c = crc32c(bytes, verification.crc32c);
      if (in_here < run->second) {
        *run = {run->first + in_here, run->second - in_here};
        break;
      }
      ++run;
    }
    at += length;
  }
  return {};
}

Result<void> DevicePages::verify_packed(std::span<const LocalSegment> segments, ConstSpan packed,
                                        std::uint64_t generation, std::span<const CrcBlock> crc,
                                        Verification& verification) {
  std::size_t segment = 0;
  std::size_t block = 0;
  std::uint64_t in_segment = 0;
  std::uint64_t in_block = 0;
  std::uint32_t running = 0;
  for (std::uint64_t at = 0; at < packed.size();) {
    const std::uint64_t length = std::min<std::uint64_t>(staging().size(), packed.size() - at);
    Errc status = queue_.copy(staging().first(length), packed.subspan(at, length));
    status = status == Errc::ok ? queue_.finish() : status;
    if (status != Errc::ok) {
      return Error(status, "the packed bytes could not be read");
    }
    for (std::uint64_t done = 0; done < length;) {
      const LocalSegment& one = segments[segment];
      std::uint64_t run = std::min(one.size_bytes - in_segment, length - done);
      run = crc.empty() ? run : std::min(run, crc[block].length_bytes - in_block);
      const ConstSpan bytes = staging().subspan(done, run);
      verification.bytes_checked += run;
      verification.wrong_bytes +=
          count_wrong_bytes(bytes, pattern(generation), offset_of(one.data) + in_segment);
      done += run;
      in_segment = (in_segment + run) % one.size_bytes;
      segment += in_segment == 0 ? 1 : 0;
      if (!crc.empty()) {
        running = crc32c(bytes, running);
        in_block += run;
        if (in_block == crc[block].length_bytes) {
          verification.wrong_bytes += running == crc[block].crc32c ? 0 : in_block;
          running = 0;
          in_block = 0;
          ++block;
        }
      }
    }
    at += length;
  }
  return {};
}

}  // namespace godbox::app
