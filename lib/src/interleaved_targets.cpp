// SPDX-License-Identifier: Apache-2.0
#include <godbox/interleaved_targets.h>

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <utility>

namespace godbox {
namespace {

// Which channels have a unit, and which gave it back while others kept it.
struct Unit {
  std::uint16_t present = 0;
  std::uint16_t stale = 0;
};
static_assert(cxl::kInterleaveWaysMax <= 16);

struct Free {
  void operator()(Unit* units) const { std::free(units); }
};

// What the channels share.
class Shared {
 public:
  Shared(std::unique_ptr<MemoryTarget> memory, unsigned ways, SizeBytes unit)
      : memory_(std::move(memory)),
        ways_(ways),
        unit_(unit),
        // Pages that nobody touches are not there.
        units_(static_cast<Unit*>(std::calloc(memory_->size() / (unit * ways), sizeof(Unit)))) {
    if (units_ == nullptr) {
      throw std::bad_alloc();
    }
  }

  [[nodiscard]] MemoryTarget& memory() const { return *memory_; }
  [[nodiscard]] SizeBytes unit() const { return unit_; }

  // Of [begin, end) units of one channel; scrub(unit) zeroes that channel's granules of a unit.
  template <class Scrub>
  Result<void> back(std::uint16_t channel_bit, std::uint64_t begin, std::uint64_t end,
                    Scrub&& scrub) {
    const std::lock_guard lock(mutex_);
    while (begin < end) {
      // A run of units that nobody has, in one call; then what others have.
      std::uint64_t absent = begin;
      while (absent < end && units_[absent].present == 0) {
        ++absent;
      }
      if (Result<void> backed = back_all(begin, absent); !backed) {
        return backed;
      }
      for (; begin < absent; ++begin) {
        units_[begin] = {.present = channel_bit, .stale = 0};
      }
      for (; begin < end && units_[begin].present != 0; ++begin) {
        if ((units_[begin].stale & channel_bit) != 0) {
          scrub(begin);
        }
        units_[begin].stale &= static_cast<std::uint16_t>(~channel_bit);
        units_[begin].present |= channel_bit;
      }
    }
    return {};
  }

  Result<void> discard(std::uint16_t channel_bit, std::uint64_t begin, std::uint64_t end) {
    const std::lock_guard lock(mutex_);
    while (begin < end) {
      std::uint64_t last = begin;  // a run of units that nobody else has
      while (last < end && units_[last].present == channel_bit) {
        ++last;
      }
      if (Result<void> discarded = discard_all(begin, last); !discarded) {
        return discarded;
      }
      for (; begin < last; ++begin) {
        units_[begin] = {};
      }
      for (; begin < end && units_[begin].present != channel_bit; ++begin) {
        if ((units_[begin].present & channel_bit) != 0) {
          units_[begin].present &= static_cast<std::uint16_t>(~channel_bit);
          units_[begin].stale |= channel_bit;
        }
      }
    }
    return {};
  }

 private:
  Result<void> back_all(std::uint64_t begin, std::uint64_t end) {
    return begin == end ? Result<void>() : memory_->back(offset_of(begin), size_of(begin, end));
  }
  Result<void> discard_all(std::uint64_t begin, std::uint64_t end) {
    return begin == end ? Result<void>() : memory_->discard(offset_of(begin), size_of(begin, end));
  }
  [[nodiscard]] DramOffset offset_of(std::uint64_t unit) const {
    return DramOffset((unit_ * ways_ * unit).count());
  }
  [[nodiscard]] SizeBytes size_of(std::uint64_t begin, std::uint64_t end) const {
    return unit_ * ways_ * (end - begin);
  }

  std::unique_ptr<MemoryTarget> memory_;
  unsigned ways_;
  SizeBytes unit_;
  std::unique_ptr<Unit[], Free> units_;
  std::mutex mutex_;
};

class InterleavedTarget final : public MemoryTarget {
 public:
  InterleavedTarget(std::shared_ptr<Shared> shared, const cxl::ChannelOrder& order)
      : shared_(std::move(shared)),
        size_(memory().size() / order.interleave.ways.count()),
        bit_(static_cast<std::uint16_t>(1U << order.position)) {
    be_part_of(memory(), order);
  }

  [[nodiscard]] std::string_view kind() const override { return memory().kind(); }
  [[nodiscard]] SizeBytes size() const override { return size_; }
  [[nodiscard]] Coherence coherence() const override { return memory().coherence(); }
  [[nodiscard]] std::byte* data() const override { return memory().data(); }
  [[nodiscard]] int descriptor() const override { return memory().descriptor(); }
  [[nodiscard]] SizeBytes backing_granularity() const override { return shared_->unit(); }
  [[nodiscard]] bool is_always_present() const override { return memory().is_always_present(); }
  [[nodiscard]] bool is_guarded() const override { return memory().is_guarded(); }
  [[nodiscard]] bool is_poisoned(ConstSpan range) const override {
    return memory().is_poisoned(range);
  }
  void flush(ConstSpan range) const override { memory().flush(range); }
  void invalidate(ConstSpan range) const override { memory().invalidate(range); }

  [[nodiscard]] Result<void> back(DramOffset offset, SizeBytes size) override {
    if (Result<void> checked = check_range(offset, size); !checked) {
      return checked;
    }
    return shared_->back(bit_, offset.count() / unit(), (offset.count() + size.count()) / unit(),
                         [this](std::uint64_t index) { scrub(index); });
  }

  [[nodiscard]] Result<void> discard(DramOffset offset, SizeBytes size) override {
    if (Result<void> checked = check_range(offset, size); !checked) {
      return checked;
    }
    if (is_always_present() && !size.is_zero()) {
      return Error(Errc::unsupported, fmt::format("memory of a {} cannot be given back", kind()));
    }
    return shared_->discard(bit_, offset.count() / unit(),
                            (offset.count() + size.count()) / unit());
  }

 private:
  [[nodiscard]] MemoryTarget& memory() const { return shared_->memory(); }
  [[nodiscard]] std::uint64_t unit() const { return shared_->unit().count(); }

  [[nodiscard]] Result<void> check_range(DramOffset offset, SizeBytes size) const {
    const bool is_inside =
        offset.count() <= size_.count() && size.count() <= size_.count() - offset.count();
    if (is_inside && offset.count() % unit() == 0 && size.count() % unit() == 0) {
      return {};
    }
    return Error(Errc::out_of_range,
                 fmt::format("[{}, +{}) is not made of whole units of {} bytes of the DRAM "
                             "channel's {}",
                             offset.count(), size.count(), unit(), size_.count()));
  }

  void scrub(std::uint64_t index) const {
    for_each_piece(*this, DramOffset(index * unit()), unit(), [this](MutableSpan piece) {
      std::memset(piece.data(), 0, piece.size());
      flush(piece);
    });
  }

  std::shared_ptr<Shared> shared_;
  SizeBytes size_;
  std::uint16_t bit_;
};

}  // namespace

Result<std::vector<std::unique_ptr<MemoryTarget>>> interleaved_targets(
    std::unique_ptr<MemoryTarget> memory, const cxl::Interleave& interleave, SizeBytes unit_min) {
  const unsigned ways = interleave.ways.count();
  const SizeBytes unit =
      std::max({memory->backing_granularity(), interleave.granularity.size(), unit_min});
  if (memory->size().is_zero() || !(memory->size() % (unit * ways)).is_zero()) {
    return Error(Errc::invalid_argument,
                 fmt::format("{} bytes of memory for {} DRAM channels: a multiple of {} bytes is "
                             "needed",
                             memory->size().count(), ways, (unit * ways).count()));
  }
  auto shared = std::make_shared<Shared>(std::move(memory), ways, unit);
  std::vector<std::unique_ptr<MemoryTarget>> targets;
  for (unsigned position = 0; position < ways; ++position) {
    targets.push_back(std::make_unique<InterleavedTarget>(
        shared, cxl::ChannelOrder{.interleave = interleave,
                                  .position = static_cast<std::uint8_t>(position)}));
  }
  return targets;
}

}  // namespace godbox
