// SPDX-License-Identifier: Apache-2.0
#include "host_device.h"

#include "ranges.h"
#include <godbox/assert.h>
#include <godbox/crc32c.h>
#include <godbox/driver/host_device.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include <sys/mman.h>

namespace godbox::driver {

void HostProgress::advance() {
  {
    const std::lock_guard lock(mutex_);
    done_.fetch_add(1, std::memory_order_release);
  }
  advanced_.notify_all();
}

void HostProgress::wait_for(std::uint64_t sequence) {
  std::unique_lock lock(mutex_);
  advanced_.wait(lock, [&] { return done() >= sequence; });
}

Result<bool> HostEvent::is_done() const { return !progress_ || progress_->done() >= sequence_; }

HostQueue::HostQueue()
    : pieces_(kMovePiecesMax),
      commands_(kCommandsMax),
      progress_(std::make_shared<HostProgress>()),
      worker_([this] { work(); }) {}

HostQueue::~HostQueue() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  worker_.join();
}

bool HostQueue::is_full() const { return issued_ - progress_->done() >= kCommandsMax; }

void HostQueue::enqueue(Command command) {
  commands_[issued_ % kCommandsMax] = std::move(command);
  {
    const std::lock_guard lock(mutex_);
    ++issued_;
  }
  changed_.notify_one();
}

Errc HostQueue::move(std::span<const MovePiece> pieces, std::span<CrcBlock> crc) {
  const Errc checked = check_move(pieces, crc);
  if (checked != Errc::ok) {
    return checked;
  }
  const std::uint64_t pieces_queued = pieces_issued_ - pieces_done_.load(std::memory_order_acquire);
  if (is_full() || pieces.size() > kMovePiecesMax - pieces_queued) {
    return Errc::queue_full;
  }
  const std::size_t begin = pieces_issued_ % kMovePiecesMax;
  const std::size_t before_wrap = std::min(pieces.size(), kMovePiecesMax - begin);
  std::copy_n(pieces.begin(), before_wrap, pieces_.data() + begin);
  std::copy(pieces.begin() + static_cast<std::ptrdiff_t>(before_wrap), pieces.end(),
            pieces_.data());
  pieces_issued_ += pieces.size();
  enqueue({.pieces_begin = begin, .pieces_count = pieces.size(), .crc = crc});
  return Errc::ok;
}

Errc HostQueue::copy(MutableSpan to, ConstSpan from) {
  if (const Errc checked = check_copy(to, from); checked != Errc::ok) {
    return checked;
  }
  if (is_full()) {
    return Errc::queue_full;
  }
  enqueue({.to = to, .from = from});
  return Errc::ok;
}

Errc HostQueue::mark(std::uint64_t id) {
  if (marks_end_ - marks_begin_ == kMarksMax) {
    return Errc::queue_full;
  }
  marks_[marks_end_ % kMarksMax] = {.id = id, .sequence = issued_};
  ++marks_end_;
  return Errc::ok;
}

std::size_t HostQueue::poll(std::span<DeviceMark> out) {
  const std::uint64_t done = progress_->done();
  std::size_t count = 0;
  while (count < out.size() && marks_begin_ != marks_end_) {
    const Mark& mark = marks_[marks_begin_ % kMarksMax];
    if (mark.sequence > done) {
      break;
    }
    out[count] = {.id = mark.id, .status = Errc::ok};
    ++count;
    ++marks_begin_;
  }
  return count;
}

// Events count commands, so recording one is no command of its own.
Errc HostQueue::record(DeviceEvent& event) {
  auto* const recorded = dynamic_cast<HostEvent*>(&event);
  if (recorded == nullptr) {
    return Errc::invalid_argument;  // another device's
  }
  recorded->progress_ = progress_;
  recorded->sequence_ = issued_;
  return Errc::ok;
}

Errc HostQueue::wait(const DeviceEvent& event) {
  const auto* const awaited = dynamic_cast<const HostEvent*>(&event);
  if (awaited == nullptr) {
    return Errc::invalid_argument;  // another device's
  }
  if (!awaited->progress_ || awaited->progress_ == progress_) {
    return Errc::ok;  // never recorded, or in this order already
  }
  if (is_full()) {
    return Errc::queue_full;
  }
  enqueue({.awaited = awaited->progress_, .awaited_sequence = awaited->sequence_});
  return Errc::ok;
}

Errc HostQueue::follow(void* native_stream) {
  return native_stream == nullptr ? Errc::ok : Errc::invalid_argument;
}

void HostQueue::work() {
  std::unique_lock lock(mutex_);
  for (std::uint64_t next = 0;; ++next) {
    changed_.wait(lock, [&] { return ending_ || issued_ > next; });
    if (issued_ == next) {
      return;  // ending, and all that was queued is done
    }
    lock.unlock();
    run(commands_[next % kCommandsMax]);
    progress_->advance();
    lock.lock();
  }
}

void HostQueue::run(Command& command) {
  if (command.awaited) {
    command.awaited->wait_for(command.awaited_sequence);
    command.awaited.reset();
  } else if (!command.to.empty()) {
    copy_bytes(command.to, command.from);
    publish_copies();
  } else {
    run_move(command);
    publish_copies();
    pieces_done_.fetch_add(command.pieces_count, std::memory_order_release);
  }
}

void HostQueue::run_move(const Command& command) {
  std::size_t block = 0;
  std::uint32_t inside = 0;  // the block
  std::uint32_t crc = 0;
  for (std::size_t i = 0; i < command.pieces_count; ++i) {
    MovePiece piece = pieces_[(command.pieces_begin + i) % kMovePiecesMax];
    if (command.crc.empty()) {
      copy_bytes({piece.to, piece.length_bytes}, {piece.from, piece.length_bytes});
      continue;
    }
    while (piece.length_bytes > 0) {
      CrcBlock& of = command.crc[block];
      const std::uint32_t bytes = std::min(piece.length_bytes, of.length_bytes - inside);
      crc = copy_bytes_crc32c({piece.to, bytes}, {piece.from, bytes}, crc);
      piece.to += bytes;
      piece.from += bytes;
      piece.length_bytes -= bytes;
      inside += bytes;
      if (inside == of.length_bytes) {
        of.crc32c = crc;
        crc = 0;
        inside = 0;
        ++block;
      }
    }
  }
}

namespace {

constexpr std::size_t kHugePageBytes = std::size_t{2} << 20U;

class HostDevice final : public DeviceMemory {
 public:
  explicit HostDevice(const HostDeviceOptions& options) : options_(options) {}
  ~HostDevice() override {
    // Memory is released before its device goes.
    GODBOX_ASSERT(allocated_.empty() && staging_.empty());
  }
  HostDevice(const HostDevice&) = delete;
  HostDevice& operator=(const HostDevice&) = delete;

  DeviceKind kind() const override { return DeviceKind::host; }
  std::string name() const override { return "host memory (no GPU)"; }

  Result<MutableSpan> allocate(SizeBytes size) override {
    const std::lock_guard lock(mutex_);
    const SizeBytes max = options_.memory_max;
    if (!max.is_zero() && size > max - allocated_size_) {
      return Error(Errc::device_memory_full,
                   "the host device has " + std::to_string(allocated_size_.count()) + " of " +
                       std::to_string(max.count()) + " bytes in use; " +
                       std::to_string(size.count()) + " more were asked for");
    }
    auto mapped = map(size, Errc::device_memory_full, allocated_);
    if (mapped) {
      allocated_size_ += size;
    }
    return mapped;
  }
  void release(MutableSpan memory) override {
    const std::lock_guard lock(mutex_);
    unmap(memory, allocated_);
    allocated_size_ -= SizeBytes(memory.size());
  }
  Result<MutableSpan> allocate_staging(SizeBytes size) override {
    const std::lock_guard lock(mutex_);
    return map(size, Errc::limit_exceeded, staging_);
  }
  void release_staging(MutableSpan memory) override {
    const std::lock_guard lock(mutex_);
    unmap(memory, staging_);
  }

  Result<void> register_host(MutableSpan memory) override {
    const std::lock_guard lock(mutex_);
    if (memory.empty() || memory.data() == nullptr) {
      return Error(Errc::invalid_argument, "memory to register is empty");
    }
    registered_.emplace(memory.data(), memory.size());
    return {};
  }
  void unregister_host(MutableSpan memory) override {
    const std::lock_guard lock(mutex_);
    forget(memory, registered_);
  }
  bool reaches(ConstSpan memory) const override { return memory.data() != nullptr; }

  Result<std::unique_ptr<DeviceQueue>> make_queue() override {
    try {
      return std::unique_ptr<DeviceQueue>(std::make_unique<HostQueue>());
    } catch (const std::system_error& error) {
      return Error(Errc::limit_exceeded, std::string("a queue needs a thread: ") + error.what());
    }
  }
  Result<std::unique_ptr<DeviceEvent>> make_event() override {
    return std::unique_ptr<DeviceEvent>(std::make_unique<HostEvent>());
  }

 private:
  static Result<MutableSpan> map(SizeBytes size, Errc if_full, Ranges& into) {
    if (size.is_zero()) {
      return Error(Errc::invalid_argument, "0 bytes were asked for");
    }
    void* const address =
        mmap(nullptr, size.count(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) {
      return Error(if_full, "the machine gives no " + std::to_string(size.count()) + " bytes");
    }
    if (size.count() >= kHugePageBytes) {
      (void)madvise(address, size.count(), MADV_HUGEPAGE);  // a wish: without, it is only slower
    }
    const MutableSpan memory(static_cast<std::byte*>(address), size.count());
    into.emplace(memory.data(), memory.size());
    return memory;
  }
  static void unmap(MutableSpan memory, Ranges& from) {
    forget(memory, from);
    GODBOX_ASSERT(munmap(memory.data(), memory.size()) == 0);
  }

  const HostDeviceOptions options_;
  std::mutex mutex_;
  SizeBytes allocated_size_{};
  Ranges allocated_, staging_;
  Registrations registered_;
};

}  // namespace

std::unique_ptr<DeviceMemory> make_host_device(const HostDeviceOptions& options) {
  return std::make_unique<HostDevice>(options);
}

}  // namespace godbox::driver
