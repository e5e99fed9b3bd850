// SPDX-License-Identifier: Apache-2.0
#include "device_registrations.h"

#include <godbox/assert.h>
#include <godbox/driver/verbs_transport.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

std::uintptr_t number_of(const void* at) { return reinterpret_cast<std::uintptr_t>(at); }

bool holds(const ibv_mr& region, const std::byte* data) {
  return number_of(data) >= number_of(region.addr) &&
         number_of(data) < number_of(region.addr) + region.length;
}

// Of a region that ends at that address.
DevicePiece piece_of(const ibv_mr& region, std::uintptr_t end, const std::byte* data,
                     std::size_t size_bytes) {
  return {region.lkey, region.rkey, std::min<std::size_t>(end - number_of(data), size_bytes)};
}

// Why there is no region of a dma-buf: the provider or the kernel has no such call, or what was
// given is none, too short, or at another place of its page.
Errc dma_buf_errc(int error_number) {
  switch (error_number) {
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
    case ENOTTY:
    case ENOSYS:
      return Errc::unsupported;
    case EINVAL:
    case EBADF:
      return Errc::invalid_argument;
    default:
      return Errc::limit_exceeded;
  }
}

}  // namespace

Result<AnnouncedMemory> AnnouncedMemory::of_dma_buf(MutableSpan memory, int descriptor,
                                                    SizeBytes offset) {
  AnnouncedMemory announced(memory);
  announced.offset_ = offset;
  announced.descriptor_ = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (announced.descriptor_ < 0) {
    return Error(errno == EBADF ? Errc::invalid_argument : Errc::limit_exceeded,
                 fmt::format("the dma-buf's descriptor {}: {}", descriptor,
                             std::generic_category().message(errno)));
  }
  return announced;
}

AnnouncedMemory::~AnnouncedMemory() {
  if (descriptor_ >= 0) {
    close(descriptor_);
  }
}

AnnouncedMemory& AnnouncedMemory::operator=(AnnouncedMemory&& other) noexcept {
  memory_ = other.memory_;
  offset_ = other.offset_;
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

MemoryRegion AnnouncedMemory::register_with(ibv_pd* domain, std::size_t at, std::size_t size_bytes,
                                            int access) const {
  std::byte* const begin = memory_.data() + at;
  return MemoryRegion(is_dma_buf() ? ibv_reg_dmabuf_mr(domain, offset_.count() + at, size_bytes,
                                                       number_of(begin), descriptor_, access)
                                   : ibv_reg_mr(domain, begin, size_bytes, access));
}

DeviceRegistrations::DeviceRegistrations(ibv_pd* domain, roce::MovedBy moved_by)
    : domain_(domain),
      read_access_(moved_by == roce::MovedBy::box ? IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE
                                                  : IBV_ACCESS_LOCAL_WRITE),
      write_access_(moved_by == roce::MovedBy::box ? IBV_ACCESS_REMOTE_READ : 0) {}

std::unique_ptr<DeviceRegistrations> DeviceRegistrations::of(ibv_context* device,
                                                             roce::MovedBy moved_by) {
  ibv_pd* const domain = ibv_alloc_pd(device);
  return domain != nullptr
             ? std::unique_ptr<DeviceRegistrations>(new DeviceRegistrations(domain, moved_by))
             : nullptr;
}

DeviceRegistrations::~DeviceRegistrations() {
  slices_.clear();
  ibv_dealloc_pd(domain_);
}

Errc DeviceRegistrations::add(const AnnouncedMemory& announced) {
  const MutableSpan memory = announced.memory();
  for (std::size_t at = 0; at < memory.size(); at += kVerbsSliceBytes) {
    const std::size_t size = std::min(kVerbsSliceBytes, memory.size() - at);
    errno = ENOSPC;
    MemoryRegion region =
        slices_.size() < kVerbsSlicesMax
            ? announced.register_with(domain_, at, size, read_access_ | write_access_)
            : nullptr;
    if (region == nullptr) {
      const int error_number = errno;
      remove(memory.first(at));
      errno = error_number;
      return announced.is_dma_buf() ? dma_buf_errc(error_number) : Errc::limit_exceeded;
    }
    slices_.emplace(memory.data() + at, Slice{size, announced.is_dma_buf(), std::move(region)});
    dma_bufs_ += announced.is_dma_buf() ? 1 : 0;
  }
  return Errc::ok;
}

void DeviceRegistrations::add_refused(MutableSpan memory) {
  for (std::size_t at = 0; at < memory.size(); at += kVerbsSliceBytes) {
    const std::size_t size = std::min(kVerbsSliceBytes, memory.size() - at);
    slices_.emplace(memory.data() + at, Slice{size, true, nullptr});
    ++dma_bufs_;
  }
}

void DeviceRegistrations::remove(MutableSpan memory) {
  for (std::size_t at = 0; at < memory.size(); at += kVerbsSliceBytes) {
    const std::size_t size = std::min(kVerbsSliceBytes, memory.size() - at);
    const auto [first, last] = slices_.equal_range(memory.data() + at);
    const auto found = std::find_if(
        first, last, [&](const auto& entry) { return entry.second.size_bytes == size; });
    if (found != last) {
      dma_bufs_ -= found->second.is_dma_buf ? 1 : 0;
      slices_.erase(found);
    }
  }
}

DeviceRegistrations::Slices::const_iterator DeviceRegistrations::slice_with(
    const std::byte* data) const {
  for (auto next = slices_.upper_bound(data); next != slices_.begin();) {
    --next;
    if (number_of(data) < number_of(next->first) + next->second.size_bytes) {
      return next;
    }
  }
  return slices_.end();
}

std::optional<DevicePiece> DeviceRegistrations::announced(const std::byte* data,
                                                          std::size_t size_bytes) const {
  const auto found = slice_with(data);
  if (found == slices_.end() || found->second.region == nullptr) {
    return std::nullopt;
  }
  const auto& [begin, slice] = *found;
  return piece_of(*slice.region, number_of(begin) + slice.size_bytes, data, size_bytes);
}

// A piece lies in one announced memory, or in none: its first byte says which.
DeviceRegistrations::DmaBufUse DeviceRegistrations::dma_buf_use(const WorkRequest& request) const {
  auto use = DmaBufUse::none;
  for (std::size_t i = 0; dma_bufs_ > 0 && i < request.local.size(); ++i) {
    const LocalSegment& segment = request.local[i];
    const auto found = segment.size_bytes > 0 ? slice_with(segment.data) : slices_.end();
    if (found != slices_.end() && found->second.is_dma_buf) {
      use = std::max(use, found->second.region == nullptr ? DmaBufUse::refused : DmaBufUse::some);
    }
  }
  return use;
}

Errc DeviceRegistrations::cover(const WorkRequest& request, RequestRegions& out) {
  static const std::uintptr_t page_bytes = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  struct Range {
    std::uintptr_t begin, end;
  };
  std::vector<Range> ranges;
  for (const LocalSegment& segment : request.local) {
    const std::byte* at = segment.data;
    for (std::size_t left = segment.size_bytes; left > 0;) {
      const std::optional<DevicePiece> known = announced(at, left);
      const std::size_t size = known ? known->size_bytes : left;
      if (!known) {
        ranges.push_back({number_of(at), number_of(at) + size});
      }
      at += size;
      left -= size;
    }
  }
  std::ranges::sort(ranges, {}, &Range::begin);
  const int access = request.op == WorkOp::read ? read_access_ : write_access_;
  for (auto next = ranges.begin(); next != ranges.end();) {
    Range all = *next++;
    // Pages that are there anyway lie between pieces whose pages touch.
    while (next != ranges.end() && next->begin / page_bytes <= all.end / page_bytes &&
           next->end - all.begin <= kVerbsSliceBytes) {
      all.end = std::max(all.end, next->end);
      ++next;
    }
    MemoryRegion region(
        ibv_reg_mr(domain_, reinterpret_cast<void*>(all.begin), all.end - all.begin, access));
    if (region == nullptr) {
      out.clear();
      return Errc::limit_exceeded;
    }
    out.push_back(std::move(region));
  }
  return Errc::ok;
}

DevicePiece DeviceRegistrations::piece(const RequestRegions& regions, const std::byte* data,
                                       std::size_t size_bytes) const {
  const auto after =
      std::ranges::upper_bound(regions, number_of(data), {},
                               [](const MemoryRegion& region) { return number_of(region->addr); });
  if (after != regions.begin() && holds(**std::prev(after), data)) {
    const ibv_mr& region = **std::prev(after);
    return piece_of(region, number_of(region.addr) + region.length, data, size_bytes);
  }
  const std::optional<DevicePiece> known = announced(data, size_bytes);
  GODBOX_ASSERT(known.has_value());
  return *known;
}

}  // namespace godbox::driver
