// SPDX-License-Identifier: Apache-2.0
#include "backed_units.h"
#include <godbox/driver/registered_memory.h>

#include <algorithm>
#include <utility>

namespace godbox::driver {
namespace {

// Where [offset, offset + size) of a channel lies: of channels that share a memory, with the same
// bytes of the others, as the pool backs them together.
MutableSpan unit_of(const MemoryTarget& target, DramOffset offset, SizeBytes size) {
  const std::uint64_t ways = target.order().interleave.ways.count();
  return {target.data() + offset.count() * ways, size.count() * ways};
}

class WatchedTarget final : public MemoryTarget {
 public:
  WatchedTarget(std::unique_ptr<MemoryTarget> target, RegisteredMemory::State& state)
      : target_(std::move(target)), state_(state) {
    be_part_of(*target_, target_->order());
  }

  std::string_view kind() const override { return target_->kind(); }
  SizeBytes size() const override { return target_->size(); }
  Coherence coherence() const override { return target_->coherence(); }
  std::byte* data() const override { return target_->data(); }
  int descriptor() const override { return target_->descriptor(); }
  SizeBytes backing_granularity() const override { return target_->backing_granularity(); }
  bool is_always_present() const override { return target_->is_always_present(); }
  Result<void> back(DramOffset offset, SizeBytes size) override {
    Result<void> backed = target_->back(offset, size);
    if (backed) {
      state_.add(unit_of(*target_, offset, size));
    }
    return backed;
  }
  Result<void> discard(DramOffset offset, SizeBytes size) override {
    state_.remove(unit_of(*target_, offset, size));
    Result<void> discarded = target_->discard(offset, size);
    if (!discarded) {
      state_.add(unit_of(*target_, offset, size));  // it stays as it was
    }
    return discarded;
  }
  void flush(ConstSpan range) const override { target_->flush(range); }
  void invalidate(ConstSpan range) const override { target_->invalidate(range); }
  bool is_guarded() const override { return target_->is_guarded(); }
  bool is_poisoned(ConstSpan range) const override { return target_->is_poisoned(range); }

 private:
  std::unique_ptr<MemoryTarget> target_;
  RegisteredMemory::State& state_;
};

}  // namespace

void RegisteredMemory::State::add(MutableSpan unit) {
  const std::lock_guard lock(mutex_);
  units_.try_emplace(unit.data(), Unit{unit.size()});
}

void RegisteredMemory::State::remove(MutableSpan unit) {
  const std::lock_guard lock(mutex_);
  units_.erase(unit.data());
}

Result<DevicePiece> RegisteredMemory::State::piece(ibv_pd* domain, std::byte* data,
                                                   std::size_t size_bytes) {
  const std::lock_guard lock(mutex_);
  const auto after = units_.upper_bound(data);
  if (after == units_.begin()) {
    return Error(Errc::out_of_range);
  }
  auto& [begin, unit] = *std::prev(after);
  const auto inside = static_cast<std::size_t>(data - begin);
  if (inside >= unit.size_bytes) {
    return Error(Errc::out_of_range);
  }
  MemoryRegion& region = unit.regions[domain];
  if (region == nullptr) {
    region.reset(
        ibv_reg_mr(domain, begin, unit.size_bytes, static_cast<int>(IBV_ACCESS_LOCAL_WRITE)));
    if (region == nullptr) {
      unit.regions.erase(domain);
      return Error(Errc::limit_exceeded);
    }
  }
  return DevicePiece{.key = region->lkey,
                     .remote_key = 0,
                     .size_bytes = std::min(size_bytes, unit.size_bytes - inside)};
}

void RegisteredMemory::State::forget(ibv_pd* domain) {
  const std::lock_guard lock(mutex_);
  for (auto& [begin, unit] : units_) {
    unit.regions.erase(domain);
  }
}

RegisteredMemory::RegisteredMemory() : state_(std::make_unique<State>()) {}
RegisteredMemory::~RegisteredMemory() = default;

std::unique_ptr<MemoryTarget> RegisteredMemory::watch(std::unique_ptr<MemoryTarget> target) {
  return std::make_unique<WatchedTarget>(std::move(target), *state_);
}

}  // namespace godbox::driver
