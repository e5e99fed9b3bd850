// SPDX-License-Identifier: Apache-2.0
#include "cache_lines.h"
#include "system_error.h"
#include <godbox/driver/file_space.h>
#include <godbox/driver/machine_memory.h>
#include <godbox/driver/mapped_memory.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

// Linux 5.14 and 6.1; absent from older C library headers. A kernel without them answers EINVAL.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace godbox::driver {
namespace {

constexpr std::uint64_t kSmallPageBytes = 4096;
constexpr std::uint64_t kHugePageBytes = std::uint64_t{2} << 20U;
// Left to the rest of the machine: the kernel needs some to free any.
constexpr std::uint64_t kMachineReserveBytes = std::uint64_t{256} << 20U;
// Once that much more was found free, so much is given out before looking again: a look takes
// longer than a small allocation.
constexpr std::int64_t kMachineCreditBytes = std::int64_t{64} << 20U;
// Collapsing that fails so often in a row (no kernel support, fragmented memory) is given up.
constexpr int kCollapseFailuresMax = 16;
// A file that was removed between our opening and our locking it is opened anew.
constexpr int kOpenAttemptsMax = 16;

// A descriptor that is closed unless released.
class OwnedDescriptor {
 public:
  explicit OwnedDescriptor(int descriptor) : descriptor_(descriptor) {}
  OwnedDescriptor(OwnedDescriptor&& other) noexcept : descriptor_(other.release()) {}
  OwnedDescriptor& operator=(OwnedDescriptor&&) = delete;
  ~OwnedDescriptor() {
    if (descriptor_ >= 0) {
      close(descriptor_);
    }
  }

  [[nodiscard]] int get() const { return descriptor_; }
  [[nodiscard]] int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

Result<void> check_new_size(SizeBytes size, std::uint64_t granularity_bytes) {
  if (size.is_zero() || size.count() % granularity_bytes != 0) {
    return Error(Errc::invalid_argument, fmt::format("{} bytes is no positive multiple of {}",
                                                     size.count(), granularity_bytes));
  }
  return {};
}

// What a file or device can hold; 0 where the system does not say.
std::uint64_t capacity_of(const struct stat& status) {
  if (!S_ISCHR(status.st_mode)) {
    return static_cast<std::uint64_t>(status.st_size);
  }
  std::ifstream file(
      fmt::format("/sys/dev/char/{}:{}/size", major(status.st_rdev), minor(status.st_rdev)));
  std::uint64_t bytes = 0;
  return file >> bytes ? bytes : 0;
}

// Of a device dax, whose mappings are made of such pieces only; a page of everything else.
std::uint64_t alignment_of(const struct stat& status) {
  std::uint64_t bytes = 0;
  if (S_ISCHR(status.st_mode)) {
    std::ifstream file(
        fmt::format("/sys/dev/char/{}:{}/align", major(status.st_rdev), minor(status.st_rdev)));
    file >> bytes;
  }
  return std::max(bytes, kSmallPageBytes);
}

Result<void> take_lock(const OwnedDescriptor& file, const std::string& path,
                       DeviceUse use = DeviceUse::owned) {
  const int kind = use == DeviceUse::owned ? LOCK_EX : LOCK_SH;
  if (flock(file.get(), kind | LOCK_NB) == 0) {
    return {};
  }
  return errno == EWOULDBLOCK
             ? Error(Errc::address_in_use, fmt::format("{} is in use by another box", path))
             : memory_error("lock", path, errno);
}

// A second open file description of what `locked` has open. A lock lives as long as any copy of the
// description it was taken on: if that were the one that clients get, a client that outlives a
// killed box would keep the box from starting again.
Result<OwnedDescriptor> open_again(const OwnedDescriptor& locked, const std::string& path,
                                   int flags) {
  OwnedDescriptor file(open(path.c_str(), flags | O_RDWR | O_CLOEXEC));
  struct stat first {};
  struct stat second {};
  if (file.get() < 0 || fstat(locked.get(), &first) != 0 || fstat(file.get(), &second) != 0) {
    return memory_error("open", path, errno);
  }
  if (first.st_dev != second.st_dev || first.st_ino != second.st_ino) {
    return Error(Errc::address_in_use, fmt::format("{} was replaced while it was opened", path));
  }
  return file;
}

// Opens `path`, made at need, and takes its lock: from here on it is ours alone. Whoever removes
// such a file holds its lock, so that a file which still has its name keeps it.
Result<OwnedDescriptor> open_locked(const std::string& path, int flags) {
  for (int attempt = 0; attempt < kOpenAttemptsMax; ++attempt) {
    OwnedDescriptor file(
        open(path.c_str(), flags | O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    struct stat status {};
    if (file.get() < 0 || fstat(file.get(), &status) != 0) {
      return memory_error("open", path, errno);
    }
    if (!S_ISREG(status.st_mode)) {
      return Error(Errc::unsupported, fmt::format("{} is no file", path));
    }
    if (status.st_uid != geteuid()) {
      return Error(Errc::permission_denied, fmt::format("{} belongs to another user", path));
    }
    if (auto locked = take_lock(file, path); !locked) {
      return locked.error();
    }
    if (fstat(file.get(), &status) == 0 && status.st_nlink > 0) {
      return file;
    }
  }
  return Error(Errc::address_in_use, fmt::format("{} is removed again and again", path));
}

// As open_locked, and empty. What a crashed box left is replaced rather than emptied: a client of
// that box may still have it mapped, and would die of a page that is gone.
Result<OwnedDescriptor> open_fresh(const std::string& path) {
  Result<OwnedDescriptor> file = open_locked(path, 0);
  struct stat status {};
  if (!file || (fstat(file->get(), &status) == 0 && status.st_size == 0)) {
    return file;
  }
  if (unlink(path.c_str()) != 0) {
    return memory_error("replace", path, errno);
  }
  return open_locked(path, O_EXCL);
}

struct FileSystem {
  bool is_hugetlbfs = false;
  std::uint64_t granularity_bytes = kSmallPageBytes;
};

// Of the folder, so that nothing is made where it would be of no use.
Result<FileSystem> memory_file_system(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  struct statfs status {};
  if (statfs(folder.c_str(), &status) != 0) {
    return memory_error("examine the folder of", path, errno);
  }
  if (status.f_type == HUGETLBFS_MAGIC) {
    return FileSystem{true, static_cast<std::uint64_t>(status.f_bsize)};
  }
  if (status.f_type != TMPFS_MAGIC) {
    return Error(Errc::unsupported, fmt::format("{} is not on tmpfs or hugetlbfs", path));
  }
  return FileSystem{};
}

}  // namespace

MappedMemory::MappedMemory(Kind kind, int descriptor, SizeBytes size, SizeBytes granularity,
                           Coherence coherence)
    : kind_(kind),
      descriptor_(descriptor),
      size_(size),
      granularity_(granularity),
      coherence_(coherence),
      has_holes_(kind != Kind::device),
      is_machine_memory_(kind == Kind::memfd || kind == Kind::tmpfs) {}

MappedMemory::~MappedMemory() {
  guard_ = PoisonGuard();
  if (data_ != nullptr) {
    munmap(data_, size_.count());
  }
  if (!unlink_path_.empty()) {
    unlink(unlink_path_.c_str());  // while the lock is still held, so that it is surely ours
  }
  close(descriptor_);
  if (lock_descriptor_ >= 0) {
    close(lock_descriptor_);
  }
}

// Takes `descriptor` over.
Result<std::unique_ptr<MappedMemory>> MappedMemory::create(Kind kind, int descriptor,
                                                           SizeBytes size, SizeBytes granularity,
                                                           Coherence coherence, bool writable,
                                                           const std::string& name) {
  OwnedDescriptor owned(descriptor);
  if (coherence == Coherence::software && !can_flush_cache_lines()) {
    return Error(Errc::unsupported,
                 "software coherence: this processor has no way to flush its cache lines");
  }
  std::unique_ptr<MappedMemory> memory(
      new MappedMemory(kind, owned.release(), size, granularity, coherence));
  struct stat status {};
  if (fstat(memory->descriptor_, &status) == 0) {
    memory->page_ = SizeBytes(std::max(alignment_of(status), granularity.count()));
    struct statfs system {};  // somebody else's descriptor may be of huge pages too
    if (fstatfs(memory->descriptor_, &system) == 0 && system.f_type == HUGETLBFS_MAGIC) {
      memory->page_ =
          std::max(memory->page_, SizeBytes(static_cast<std::uint64_t>(system.f_bsize)));
    }
  }
  if (auto mapped = memory->map(writable, name); !mapped) {
    return mapped.error();
  }
  Result<PoisonGuard> guard = PoisonGuard::create(ConstSpan(memory->data_, size.count()),
                                                  memory->page_, memory->has_poison_);
  if (!guard) {
    return guard.error();
  }
  memory->guard_ = std::move(*guard);
  return memory;
}

Result<void> MappedMemory::map(bool writable, const std::string& name) {
  // Huge pages need an aligned mapping: reserve one more alignment of address space, map inside it,
  // give the ends back.
  const std::uint64_t alignment = std::max(kHugePageBytes, page_.count());
  const std::uint64_t reserved_bytes = size_.count() + alignment;
  void* const reserved =
      mmap(nullptr, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) {
    return memory_error("reserve address space for", name, errno);
  }
  auto* const begin = static_cast<std::byte*>(reserved);
  const std::uint64_t skew = reinterpret_cast<std::uintptr_t>(begin) % alignment;
  std::byte* const aligned = begin + (skew == 0 ? 0 : alignment - skew);
  const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  if (mmap(aligned, size_.count(), protection, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, descriptor_,
           0) == MAP_FAILED) {
    const int error_number = errno;
    munmap(reserved, reserved_bytes);
    return memory_error("map", name, error_number);
  }
  data_ = aligned;
  if (aligned != begin) {
    munmap(begin, static_cast<std::size_t>(aligned - begin));
  }
  const std::uint64_t used_bytes = static_cast<std::uint64_t>(aligned - begin) + size_.count();
  // Whole pages: a mapping's last page may reach beyond size_.
  const std::uint64_t tail = (used_bytes + kSmallPageBytes - 1) & ~(kSmallPageBytes - 1);
  if (tail < reserved_bytes) {
    munmap(begin + tail, reserved_bytes - tail);
  }
  if (kind_ != Kind::hugetlbfs && kind_ != Kind::device) {
    // A wish: a kernel without transparent huge pages refuses it, and all still works.
    (void)madvise(data_, size_.count(), MADV_HUGEPAGE);
  }
  return {};
}

Result<std::unique_ptr<MappedMemory>> MappedMemory::memfd(SizeBytes size) {
  if (auto checked = check_new_size(size, kSmallPageBytes); !checked) {
    return checked.error();
  }
  const std::string name = fmt::format("a memfd of {} bytes", size.count());
  OwnedDescriptor owned(memfd_create("godbox-dram-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (owned.get() < 0) {
    return memory_error("create", name, errno);
  }
  if (ftruncate(owned.get(), static_cast<off_t>(size.count())) != 0 ||
      fcntl(owned.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return memory_error("size and seal", name, errno);
  }
  return create(Kind::memfd, owned.release(), size, SizeBytes(kSmallPageBytes), Coherence::coherent,
                true, name);
}

Result<std::unique_ptr<MappedMemory>> MappedMemory::file(const std::string& path, SizeBytes size,
                                                         MappedFileOptions options) {
  const Result<FileSystem> system = memory_file_system(path);
  if (!system) {
    return system.error();
  }
  if (auto checked = check_new_size(size, system->granularity_bytes); !checked) {
    return Error(checked.error().code, fmt::format("{}: {}", path, checked.error().detail));
  }
  Result<OwnedDescriptor> locked = open_fresh(path);
  if (!locked) {
    return locked.error();
  }
  Result<OwnedDescriptor> file = open_again(*locked, path, O_NOFOLLOW);
  if (!file) {
    if (file.error().code != Errc::address_in_use) {
      unlink(path.c_str());
    }
    return file.error();
  }
  if (fchmod(file->get(), 0600) != 0 ||
      ftruncate(file->get(), static_cast<off_t>(size.count())) != 0) {
    const Error error = memory_error("size", path, errno);
    unlink(path.c_str());
    return error;
  }
  auto memory = create(system->is_hugetlbfs ? Kind::hugetlbfs : Kind::tmpfs, file->release(), size,
                       SizeBytes(system->granularity_bytes), options.coherence, true, path);
  if (!memory) {
    unlink(path.c_str());
    return memory;
  }
  (*memory)->lock_descriptor_ = locked->release();
  if (options.unlink_on_close) {
    (*memory)->unlink_path_ = path;
  }
  return memory;
}

Result<std::unique_ptr<MappedMemory>> MappedMemory::device(const std::string& path, SizeBytes size,
                                                           Coherence coherence, DeviceUse use) {
  if (auto checked = check_new_size(size, kSmallPageBytes); !checked) {
    return checked.error();
  }
  OwnedDescriptor locked(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (locked.get() < 0) {
    return memory_error("open", path, errno);
  }
  struct stat status {};
  struct statfs system {};
  if (fstat(locked.get(), &status) != 0 || fstatfs(locked.get(), &system) != 0) {
    return memory_error("examine", path, errno);
  }
  if (!S_ISCHR(status.st_mode) && !S_ISREG(status.st_mode)) {
    return Error(Errc::unsupported, fmt::format("{} is no character device and no file", path));
  }
  const std::uint64_t capacity_bytes = capacity_of(status);
  if (capacity_bytes < size.count()) {
    return Error(Errc::out_of_range, fmt::format("{} has {} bytes, fewer than the {} wanted", path,
                                                 capacity_bytes, size.count()));
  }
  if (size.count() % alignment_of(status) != 0) {
    return Error(Errc::invalid_argument,
                 fmt::format("{}: {} bytes is no multiple of its alignment of {}", path,
                             size.count(), alignment_of(status)));
  }
  // Some things cannot be locked; that is no reason not to use them.
  if (auto taken = take_lock(locked, path, use);
      !taken && taken.error().code == Errc::address_in_use) {
    return taken.error();
  }
  // A file may have holes, which back() has to fill: better refused here than there.
  if (S_ISREG(status.st_mode) && change_file_space(locked.get(), FALLOC_FL_KEEP_SIZE, 0,
                                                   SizeBytes(kSmallPageBytes)) == EOPNOTSUPP) {
    return Error(Errc::unsupported,
                 fmt::format("{}: its file system cannot allocate ahead (fallocate)", path));
  }
  Result<OwnedDescriptor> device = open_again(locked, path, 0);
  if (!device) {
    return device.error();
  }
  auto memory = create(Kind::device, device->release(), size, SizeBytes(kSmallPageBytes), coherence,
                       true, path);
  if (memory) {
    (*memory)->lock_descriptor_ = locked.release();
    (*memory)->has_holes_ = S_ISREG(status.st_mode);
    (*memory)->is_machine_memory_ = S_ISREG(status.st_mode) && system.f_type == TMPFS_MAGIC;
  }
  return memory;
}

Result<SizeBytes> MappedMemory::device_size(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    return memory_error("examine", path, errno);
  }
  const bool is_device = S_ISCHR(status.st_mode);
  const std::uint64_t bytes = is_device || S_ISREG(status.st_mode) ? capacity_of(status) : 0;
  if (is_device && bytes == 0) {
    return Error(Errc::unsupported, fmt::format("{} is a device without a size", path));
  }
  if (!is_device && !S_ISREG(status.st_mode)) {
    return Error(Errc::unsupported, fmt::format("{} is no character device and no file", path));
  }
  return SizeBytes(bytes);
}

Result<std::unique_ptr<MappedMemory>> MappedMemory::from_descriptor(int descriptor, SizeBytes size,
                                                                    bool writable) {
  OwnedDescriptor owned(descriptor);
  const std::string name = fmt::format("the memory behind descriptor {}", descriptor);
  if (auto checked = check_new_size(size, kSmallPageBytes); !checked) {
    return checked.error();
  }
  struct stat status {};
  if (fstat(owned.get(), &status) != 0) {
    return memory_error("examine", name, errno);
  }
  const std::uint64_t capacity_bytes = capacity_of(status);
  if (capacity_bytes < size.count()) {
    return Error(Errc::out_of_range, fmt::format("{} has {} bytes, fewer than the {} announced",
                                                 name, capacity_bytes, size.count()));
  }
  return create(Kind::descriptor, owned.release(), size, SizeBytes(kSmallPageBytes),
                Coherence::coherent, writable, name);
}

Result<std::size_t> MappedMemory::remove_stale_files(const std::string& directory,
                                                     const std::string& prefix) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(directory.c_str()), closedir);
  if (folder == nullptr) {
    return memory_error("list", directory, errno);
  }
  std::size_t removed_count = 0;
  while (const dirent* const entry = readdir(folder.get())) {  // NOLINT(concurrency-mt-unsafe)
    const std::string name = entry->d_name;
    if (!name.starts_with(prefix)) {
      continue;
    }
    const OwnedDescriptor file(
        openat(dirfd(folder.get()), name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    struct stat status {};
    const bool is_ours = file.get() >= 0 && fstat(file.get(), &status) == 0 &&
                         S_ISREG(status.st_mode) && status.st_uid == geteuid();
    // Whoever still uses it holds its lock; a file that lost its name meanwhile has left that to
    // another one.
    if (is_ours && flock(file.get(), LOCK_EX | LOCK_NB) == 0 && fstat(file.get(), &status) == 0 &&
        status.st_nlink > 0 && unlinkat(dirfd(folder.get()), name.c_str(), 0) == 0) {
      ++removed_count;
    }
  }
  return removed_count;
}

std::string_view MappedMemory::kind() const {
  switch (kind_) {
    case Kind::memfd:
      return "memfd";
    case Kind::tmpfs:
      return "file";
    case Kind::hugetlbfs:
      return "hugetlbfs";
    case Kind::device:
      return "device";
    case Kind::descriptor:
      return "descriptor";
  }
  return "unknown";
}

Result<void> MappedMemory::check_range(DramOffset offset, SizeBytes size) const {
  if (offset.count() > size_.count() || size.count() > size_.count() - offset.count()) {
    return Error(Errc::out_of_range,
                 fmt::format("[{}, +{}) is outside of the DRAM channel's {} bytes", offset.count(),
                             size.count(), size_.count()));
  }
  if (offset.count() % granularity_.count() != 0 || size.count() % granularity_.count() != 0) {
    return Error(Errc::out_of_range,
                 fmt::format("[{}, +{}) is not made of whole granules of {} bytes", offset.count(),
                             size.count(), granularity_.count()));
  }
  return {};
}

// Shared memory is given out until the machine has none left and the kernel kills somebody, so we
// look before we take. What is present already costs nothing and is never refused.
Result<void> MappedMemory::check_machine(DramOffset offset, SizeBytes size) const {
  static std::atomic<std::int64_t> credit_bytes{0};  // of the process, as the memory is
  const auto wanted = static_cast<std::int64_t>(size.count());
  if (credit_bytes.fetch_sub(wanted, std::memory_order_relaxed) >= wanted) {
    return {};
  }
  const SizeBytes available = available_memory_bytes();
  const std::uint64_t needed_bytes = size.count() + kMachineReserveBytes;
  const bool is_plenty =
      available.count() >= needed_bytes + static_cast<std::uint64_t>(kMachineCreditBytes);
  credit_bytes.store(is_plenty ? kMachineCreditBytes : 0, std::memory_order_relaxed);
  if (available.count() >= needed_bytes) {
    return {};
  }
  const off_t hole = lseek(descriptor_, static_cast<off_t>(offset.count()), SEEK_HOLE);
  if (hole >= 0 && static_cast<std::uint64_t>(hole) >= offset.count() + size.count()) {
    return {};
  }
  return Error(Errc::backing_full,
               fmt::format("{} bytes wanted, the machine has {} available and keeps {}",
                           size.count(), available.count(), kMachineReserveBytes));
}

// Makes the range's whole 2 MiB blocks huge pages. A block must hold one page for the kernel to
// look at it; the rest of it is then zeroed as part of the huge page, at no more cost than in small
// ones. One call for all blocks, because each call first waits for the other processors.
void MappedMemory::make_huge(DramOffset offset, SizeBytes size) {
  const std::uint64_t begin = (offset.count() + kHugePageBytes - 1) & ~(kHugePageBytes - 1);
  const std::uint64_t end = (offset.count() + size.count()) & ~(kHugePageBytes - 1);
  if (begin >= end || collapse_failures_.load(std::memory_order_relaxed) >= kCollapseFailuresMax) {
    return;
  }
  for (std::uint64_t block = begin; block < end; block += kHugePageBytes) {
    if (change_file_space(descriptor_, 0, block, SizeBytes(kSmallPageBytes)) != 0) {
      return;  // back() meets the same error and reports it
    }
  }
  if (madvise(data_ + begin, end - begin, MADV_COLLAPSE) == 0) {
    collapse_failures_.store(0, std::memory_order_relaxed);
  } else {
    collapse_failures_.fetch_add(1, std::memory_order_relaxed);
  }
}

Result<void> MappedMemory::back(DramOffset offset, SizeBytes size) {
  if (auto checked = check_range(offset, size); !checked) {
    return checked;
  }
  if (kind_ == Kind::descriptor) {
    return Error(Errc::unsupported, "this memory is backed by the process that owns it");
  }
  if (!has_holes_ || size.is_zero()) {
    return {};
  }
  if (is_machine_memory_) {
    if (auto checked = check_machine(offset, size); !checked) {
      return checked;
    }
  }
  if (kind_ == Kind::memfd || kind_ == Kind::tmpfs) {
    make_huge(offset, size);
  }
  // A file that has shrunk is lost memory, and stays so.
  const int error_number =
      change_file_space(descriptor_, FALLOC_FL_KEEP_SIZE, offset.count(), size);
  if (error_number != 0) {
    const Error error =
        memory_error("back", fmt::format("{} bytes of {}", size.count(), kind()), error_number);
    return error_number == ENOMEM ? Error(Errc::backing_full, error.detail) : error;
  }
  if (kind_ == Kind::device) {
    return {};  // a file's pages may have to be read: not before somebody wants them
  }
  // Page tables now rather than at the first access of each page on the data path. Without it
  // (Linux before 5.14) all still works.
  (void)madvise(data_ + offset.count(), size.count(), MADV_POPULATE_WRITE);
  return {};
}

Result<void> MappedMemory::discard(DramOffset offset, SizeBytes size) {
  if (auto checked = check_range(offset, size); !checked) {
    return checked;
  }
  if (kind_ == Kind::device || kind_ == Kind::descriptor) {
    return Error(Errc::unsupported, fmt::format("memory of a {} cannot be given back", kind()));
  }
  if (size.is_zero()) {
    return {};
  }
  const int error_number = change_file_space(
      descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset.count(), size);
  if (error_number != 0) {
    return memory_error("give back", fmt::format("{} bytes of {}", size.count(), kind()),
                        error_number);
  }
  return {};
}

void MappedMemory::flush(ConstSpan range) const {
  if (coherence_ == Coherence::software) {
    write_back_lines(range);
  }
}

void MappedMemory::invalidate(ConstSpan range) const {
  if (coherence_ == Coherence::software) {
    drop_lines(range);
  }
}

}  // namespace godbox::driver
