// SPDX-License-Identifier: Apache-2.0
//
// Memory of logical devices without bytes: it only remembers how much of it is present and whether
// it is sealed. Descriptors are numbers from 1000 on, each given once.
// Thread-safety: one thread. Ownership: the maker outlives what it made. Errors: those asked for.
#pragma once

#include <godbox/assert.h>
#include <godbox/slab_memory.h>

#include <memory>

namespace godbox::test {

class FakeSlabMemories {
 public:
  // What the next calls answer.
  Errc make_status = Errc::ok;
  Errc seal_status = Errc::ok;
  Errc discard_status = Errc::ok;
  std::function<void()> on_discard;  // as if another thread came between

  std::size_t live = 0;             // that somebody still has
  std::uint64_t present_bytes = 0;  // of these
  std::uint64_t discarded_bytes = 0;
  int last_descriptor = 999;

  [[nodiscard]] SlabMemoryMaker maker() {
    return [this](SizeBytes size) -> Result<std::shared_ptr<SlabMemory>> {
      if (make_status != Errc::ok) {
        return Error(make_status, "the machine has none");
      }
      return std::shared_ptr<SlabMemory>(std::make_shared<Memory>(*this, size, ++last_descriptor));
    };
  }

 private:
  class Memory final : public SlabMemory {
   public:
    Memory(FakeSlabMemories& all, SizeBytes size, int descriptor)
        : all_(all), size_(size), descriptor_(descriptor), present_bytes_(size.count()) {
      ++all_.live;
      all_.present_bytes += present_bytes_;
    }
    ~Memory() override {
      --all_.live;
      all_.present_bytes -= present_bytes_;
    }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    [[nodiscard]] SizeBytes size() const override { return size_; }
    [[nodiscard]] int descriptor() const override { return descriptor_; }
    [[nodiscard]] Result<void> discard(SizeBytes offset, SizeBytes size) override {
      // From its start on, each byte once: so all of them are when present_bytes is 0.
      GODBOX_ASSERT(!is_sealed_ && offset.count() == size_.count() - present_bytes_ &&
                    size.count() <= present_bytes_);
      if (all_.on_discard) {
        all_.on_discard();
      }
      if (all_.discard_status != Errc::ok) {
        return all_.discard_status;
      }
      present_bytes_ -= size.count();
      all_.present_bytes -= size.count();
      all_.discarded_bytes += size.count();
      return {};
    }
    [[nodiscard]] Result<void> seal() override {
      if (all_.seal_status != Errc::ok) {
        return Error(all_.seal_status, "somebody has it mapped");
      }
      GODBOX_ASSERT(!is_sealed_);
      is_sealed_ = true;
      return {};
    }

   private:
    FakeSlabMemories& all_;
    SizeBytes size_;
    int descriptor_;
    std::uint64_t present_bytes_;
    bool is_sealed_ = false;
  };
};

}  // namespace godbox::test
