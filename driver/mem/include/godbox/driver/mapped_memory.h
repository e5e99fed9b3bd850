// SPDX-License-Identifier: Apache-2.0
//
// A DRAM channel's bytes as a shared mapping of a memfd, a tmpfs or hugetlbfs file, a device, or a
// descriptor that another process handed over. Mappings are sparse: 18 TiB cost address space only,
// until back() makes a range present.
// Huge pages. Shared memory that is backed in blocks of 2 MiB is collapsed into huge pages
// (MADV_COLLAPSE, which works whatever shmem_enabled says), because a client that maps the channel
// then takes one page fault per 2 MiB instead of 512, and the data path fewer TLB misses. Measured
// on a 2-core Zen 5 VM, 1 GiB, strips of 64 KiB: a client's first write pass went from 1.2-2.3 to
// 5.5-14 GB/s, random 4 KiB reads from 2.1-4.7 to 2.7-6.2 GB/s; backing cost the same.
// Devices, files and other processes' memory are guarded: see poison_guard.h.
// Thread-safety: as MemoryTarget: concurrent on disjoint ranges; data() is constant for life.
// Ownership: the target owns mapping and descriptor, and unmaps and closes both.
// Units: bytes. Errors: named at each call; each names the path and the system's reason.
#pragma once

#include <godbox/driver/poison_guard.h>
#include <godbox/memory_target.h>

#include <atomic>
#include <memory>
#include <string>

namespace godbox::driver {

struct MappedFileOptions {
  // Removes the file's name when the target is destroyed.
  bool unlink_on_close = true;
  Coherence coherence = Coherence::coherent;
};

// Whether a device is one box's own, or a box's elsewhere that several clients here reach through
// it.
enum class DeviceUse : std::uint8_t { owned, shared };

class MappedMemory final : public MemoryTarget {
 public:
  // Anonymous shared memory, sealed so that nobody who gets the descriptor can shrink it under us.
  // Errors: invalid_argument (size 0 or no multiple of 4 KiB), limit_exceeded (descriptors or
  // address space), io_error.
  [[nodiscard]] static Result<std::unique_ptr<MappedMemory>> memfd(SizeBytes size);

  // A file on tmpfs or hugetlbfs, made with mode 0600; what a crash left under that name is
  // replaced. While the target lives it holds the file's lock, so that two boxes never share one;
  // descriptor() does not carry the lock, so that its copies never keep it.
  // Errors: those of memfd(); address_in_use (another process holds it), permission_denied,
  // device_missing (no such directory), unsupported (another file system). None leaves a file.
  [[nodiscard]] static Result<std::unique_ptr<MappedMemory>> file(const std::string& path,
                                                                  SizeBytes size,
                                                                  MappedFileOptions options = {});

  // A character device (device dax) or an existing regular file, mapped as it is, contents kept.
  // A device is always present, and back() checks the range only; of a file, back() fills the
  // holes. discard() is unsupported. Holds its lock as file() does, where it has one; those who
  // share it as the clients of one box keep out who would own it, and not each other.
  // Errors: device_missing, permission_denied, address_in_use (another process holds it),
  // out_of_range (smaller than `size`), invalid_argument (no multiple of the device's alignment),
  // unsupported (neither of the two, or a file system that cannot fill holes ahead), io_error.
  [[nodiscard]] static Result<std::unique_ptr<MappedMemory>> device(
      const std::string& path, SizeBytes size, Coherence coherence = Coherence::coherent,
      DeviceUse use = DeviceUse::owned);

  // What such a device or file holds. Errors: device_missing, permission_denied, unsupported
  // (neither of the two, or a device that does not say its size), io_error.
  [[nodiscard]] static Result<SizeBytes> device_size(const std::string& path);

  // Somebody else's memfd. Takes the descriptor over, also when it fails. Only ranges that the
  // owner has backed may be touched; back() and discard() are unsupported.
  // Errors: out_of_range (smaller than `size`), permission_denied, limit_exceeded, io_error.
  [[nodiscard]] static Result<std::unique_ptr<MappedMemory>> from_descriptor(int descriptor,
                                                                             SizeBytes size,
                                                                             bool writable);

  // Removes files in `directory` whose names begin with `prefix` and which no living target holds:
  // what a crashed box left behind. Returns how many. Errors: device_missing, permission_denied.
  [[nodiscard]] static Result<std::size_t> remove_stale_files(const std::string& directory,
                                                              const std::string& prefix);

  ~MappedMemory() override;
  MappedMemory(const MappedMemory&) = delete;
  MappedMemory& operator=(const MappedMemory&) = delete;

  [[nodiscard]] std::string_view kind() const override;
  [[nodiscard]] bool is_guarded() const override { return true; }
  [[nodiscard]] SizeBytes size() const override { return size_; }
  [[nodiscard]] Coherence coherence() const override { return coherence_; }
  [[nodiscard]] std::byte* data() const override { return data_; }
  [[nodiscard]] int descriptor() const override { return descriptor_; }
  [[nodiscard]] SizeBytes backing_granularity() const override { return granularity_; }
  [[nodiscard]] bool is_always_present() const override {
    return kind_ == Kind::device || kind_ == Kind::descriptor;
  }
  // out_of_range also for what is not made of whole granules; unsupported for somebody else's
  // memory. Refuses with backing_full before the machine runs out of memory, not after, and when
  // the file's disk is full.
  [[nodiscard]] Result<void> back(DramOffset offset, SizeBytes size) override;
  [[nodiscard]] Result<void> discard(DramOffset offset, SizeBytes size) override;
  void flush(ConstSpan range) const override;
  void invalidate(ConstSpan range) const override;
  [[nodiscard]] bool is_poisoned(ConstSpan range) const override {
    return guard_.is_poisoned(range);
  }

 private:
  enum class Kind : std::uint8_t { memfd, tmpfs, hugetlbfs, device, descriptor };

  MappedMemory(Kind kind, int descriptor, SizeBytes size, SizeBytes granularity,
               Coherence coherence);
  [[nodiscard]] static Result<std::unique_ptr<MappedMemory>> create(
      Kind kind, int descriptor, SizeBytes size, SizeBytes granularity, Coherence coherence,
      bool writable, const std::string& name);
  [[nodiscard]] Result<void> map(bool writable, const std::string& name);
  [[nodiscard]] Result<void> check_range(DramOffset offset, SizeBytes size) const;
  [[nodiscard]] Result<void> check_machine(DramOffset offset, SizeBytes size) const;
  void make_huge(DramOffset offset, SizeBytes size);

  Kind kind_;
  int descriptor_;
  SizeBytes size_;
  SizeBytes granularity_;
  Coherence coherence_;
  bool has_holes_;            // back() has something to do
  bool is_machine_memory_;    // and takes it from the machine's memory
  int lock_descriptor_ = -1;  // never handed out
  std::byte* data_ = nullptr;
  SizeBytes page_{4096};  // in which the memory is mapped, and lost
  PoisonGuard guard_;
  std::string unlink_path_;
  std::atomic<int> collapse_failures_{0};
};

}  // namespace godbox::driver
