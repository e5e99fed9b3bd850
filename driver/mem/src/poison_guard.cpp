// SPDX-License-Identifier: Apache-2.0
#include "system_error.h"
#include <godbox/driver/poison_guard.h>

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <mutex>
#include <utility>

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

// A guarded mapping. The handler reads what `begin`, published last, makes valid.
struct Slot {
  std::atomic<std::uintptr_t> begin{0};  // 0: free
  std::atomic<std::uintptr_t> end{0};
  std::atomic<std::uintptr_t> page_bytes{0};
  std::atomic<std::atomic<bool>*> flag{nullptr};
  std::atomic<std::size_t> page_count{0};  // may exceed kPagesMax
  std::array<std::atomic<std::uintptr_t>, PoisonGuard::kPagesMax> pages{};
};

struct Registry {
  std::mutex mutex;  // of creation and destruction, never of the handler
  bool is_installed = false;
  struct sigaction before {};
  std::atomic<std::size_t> slots_used{0};
  std::array<Slot, PoisonGuard::kGuardsMax> slots;
};

// Never destroyed: a signal may come while the process ends.
Registry& registry() {
  static Registry& made = *new Registry;
  return made;
}

void note_page(Slot& slot, std::uintptr_t page) {
  const std::size_t index = slot.page_count.fetch_add(1, std::memory_order_relaxed);
  if (index < slot.pages.size()) {
    slot.pages[index].store(page, std::memory_order_relaxed);
  }
  slot.flag.load(std::memory_order_relaxed)->store(true, std::memory_order_release);
}

// True if the address is guarded, and can be accessed now.
bool replace_page(std::uintptr_t address) {
  Registry& all = registry();
  const std::size_t used = all.slots_used.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < used; ++i) {
    Slot& slot = all.slots[i];
    const std::uintptr_t begin = slot.begin.load(std::memory_order_acquire);
    if (begin == 0 || address < begin || address >= slot.end.load(std::memory_order_relaxed)) {
      continue;
    }
    const std::uintptr_t page_bytes = slot.page_bytes.load(std::memory_order_relaxed);
    const std::uintptr_t page = address - (address - begin) % page_bytes;
    // Noted first: another thread that reads the zeros must find the note.
    note_page(slot, page);
    void* const at = reinterpret_cast<void*>(page);  // NOLINT(performance-no-int-to-ptr)
    // mmap(2) itself: the library's mmap() is a write to the page for ThreadSanitizer, and other
    // threads may be reading it.
    return syscall(SYS_mmap, at, page_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != -1;
  }
  return false;
}

// The signal is not ours. What handled it before does so now; the default action is taken by the
// access itself, which is repeated once this returns.
void pass_on(int number, siginfo_t* info, void* context) {
  const struct sigaction& before = registry().before;
  if ((before.sa_flags & SA_SIGINFO) != 0) {
    before.sa_sigaction(number, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(number);
  } else {
    struct sigaction standard {};
    standard.sa_handler = SIG_DFL;
    sigaction(number, &standard, nullptr);
    if (info->si_code <= 0 || info->si_code == BUS_MCEERR_AO) {
      raise(number);  // sent, not caused by an access that would be repeated
    }
  }
}

void on_sigbus(int number, siginfo_t* info, void* context) {
  const int error_number = errno;
  const bool is_caused = info->si_code > 0 && info->si_code != BUS_MCEERR_AO;
  // BUS_MCEERR_AO tells of a lost page that nobody has touched yet: replaced all the same.
  const bool has_address = is_caused || info->si_code == BUS_MCEERR_AO;
  if (!has_address || !replace_page(reinterpret_cast<std::uintptr_t>(info->si_addr))) {
    pass_on(number, info, context);
  }
  errno = error_number;
}

Result<void> install(Registry& all) {
  if (all.is_installed) {
    return {};
  }
  struct sigaction action {};
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigemptyset(&action.sa_mask);
  // Both calls, so that `before` is complete before the first signal.
  if (sigaction(SIGBUS, nullptr, &all.before) != 0 || sigaction(SIGBUS, &action, nullptr) != 0) {
    return memory_error("handle", "SIGBUS", errno);
  }
  all.is_installed = true;
  return {};
}

}  // namespace

Result<PoisonGuard> PoisonGuard::create(ConstSpan mapping, SizeBytes page,
                                        std::atomic<bool>& flag) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  if (auto installed = install(all); !installed) {
    return installed.error();
  }
  for (std::size_t i = 0; i < all.slots.size(); ++i) {
    Slot& slot = all.slots[i];
    if (slot.begin.load(std::memory_order_relaxed) != 0) {
      continue;
    }
    const auto begin = reinterpret_cast<std::uintptr_t>(mapping.data());
    slot.end.store(begin + mapping.size(), std::memory_order_relaxed);
    slot.page_bytes.store(page.count(), std::memory_order_relaxed);
    slot.flag.store(&flag, std::memory_order_relaxed);
    slot.page_count.store(0, std::memory_order_relaxed);
    for (std::atomic<std::uintptr_t>& one : slot.pages) {
      one.store(0, std::memory_order_relaxed);
    }
    slot.begin.store(begin, std::memory_order_release);
    if (i >= all.slots_used.load(std::memory_order_relaxed)) {
      all.slots_used.store(i + 1, std::memory_order_release);
    }
    return PoisonGuard(i);
  }
  return Error(
      Errc::limit_exceeded,
      fmt::format("{} mappings are guarded against poison already, which is the most", kGuardsMax));
}

PoisonGuard::~PoisonGuard() {
  if (slot_ != kNoSlot) {
    const std::lock_guard lock(registry().mutex);
    registry().slots[slot_].begin.store(0, std::memory_order_release);
  }
}

PoisonGuard::PoisonGuard(PoisonGuard&& other) noexcept
    : slot_(std::exchange(other.slot_, kNoSlot)) {}

PoisonGuard& PoisonGuard::operator=(PoisonGuard&& other) noexcept {
  std::swap(slot_, other.slot_);
  return *this;
}

bool PoisonGuard::is_poisoned(ConstSpan range) const {
  if (slot_ == kNoSlot) {
    return false;
  }
  const Slot& slot = registry().slots[slot_];
  const std::size_t count = slot.page_count.load(std::memory_order_acquire);
  if (count > slot.pages.size()) {
    return true;
  }
  const auto begin = reinterpret_cast<std::uintptr_t>(range.data());
  const std::uintptr_t page_bytes = slot.page_bytes.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uintptr_t page = slot.pages[i].load(std::memory_order_relaxed);
    // 0: counted by a handler that has not come to write it down yet; it may be any page.
    if (page == 0 || (page < begin + range.size() && begin < page + page_bytes)) {
      return true;
    }
  }
  return false;
}

}  // namespace godbox::driver
