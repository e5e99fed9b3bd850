// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/driver/kernel_random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>

#include <sys/mman.h>
#include <sys/random.h>

namespace godbox::driver {
namespace {

// getrandom(2): up to 256 bytes are never cut short by a signal.
constexpr std::size_t kRequestBytesMax = 256;
constexpr std::size_t kPageBytes = 4096;

void get_random(MutableSpan out) {
  while (!out.empty()) {
    const ssize_t got = getrandom(out.data(), std::min(out.size(), kRequestBytesMax), 0);
    GODBOX_ASSERT(got > 0 || (got < 0 && errno == EINTR));
    out = out.subspan(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  }
}

}  // namespace

// The count lies in the page itself: a forked child's page reads as zero, so it holds no bytes.
struct KernelRandom::Page {
  std::size_t left_bytes;
  std::array<std::byte, kPageBytes - sizeof(std::size_t)> bytes;
};

KernelRandom::KernelRandom() {
  void* const memory =
      mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  GODBOX_ASSERT(memory != MAP_FAILED);
  GODBOX_ASSERT(madvise(memory, sizeof(Page), MADV_WIPEONFORK) == 0);
  page_ = ::new (memory) Page{};
}

KernelRandom::~KernelRandom() { munmap(page_, sizeof(Page)); }

void KernelRandom::fill(MutableSpan out) {
  if (out.size() > page_->bytes.size()) {
    get_random(out);
    return;
  }
  const std::lock_guard lock(mutex_);
  while (!out.empty()) {
    if (page_->left_bytes == 0) {
      get_random(page_->bytes);
      page_->left_bytes = page_->bytes.size();
    }
    const std::size_t take = std::min(out.size(), page_->left_bytes);
    std::byte* const from = page_->bytes.data() + (page_->left_bytes - take);
    std::memcpy(out.data(), from, take);
    std::memset(from, 0, take);
    page_->left_bytes -= take;
    out = out.subspan(take);
  }
}

}  // namespace godbox::driver
