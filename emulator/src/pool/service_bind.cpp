// SPDX-License-Identifier: Apache-2.0
//
// Logical devices: what a VM has of the box as its own memory, and what several VMs share to read.
#include "pool/pool_impl.h"
#include <godbox/cxl/hdm_decoder.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

namespace godbox::emulator {
namespace {

constexpr SizeBytes kGranularity = cxl::kHdmAlignment;  // of a region, and so of what it shows
// Memory given back in one go: some ten milliseconds.
constexpr std::uint64_t kSettleBytesMax = std::uint64_t{256} << 20U;
constexpr int kClearRoundsMax = 4;
constexpr std::uint32_t kSlotsPerStepMax = 16384;

std::string mebibytes(std::uint64_t bytes) { return fmt::format("{} MiB", bytes >> 20U); }

Result<void> check_request(const wire::BindRequest& request) {
  if (!wire::is_vm_name(request.vm)) {
    return Error(Errc::invalid_argument,
                 fmt::format("the VM's name has {} bytes; allowed: 1 to {} letters, digits, '-', "
                             "'_' and '.'",
                             request.vm.size(), wire::kVmNameBytesMax));
  }
  const bool is_new = request.device == LdId() || !request.size.is_zero();
  if (is_new && (request.size.is_zero() || !(request.size % kGranularity).is_zero())) {
    return Error(
        Errc::invalid_argument,
        fmt::format("size {}: a logical device has a positive multiple of {} bytes ({})",
                    request.size.count(), kGranularity.count(), mebibytes(kGranularity.count())));
  }
  return {};
}

Error not_there(LdId id) {
  return {Errc::not_found, fmt::format("the box has no logical device {}", id.value())};
}

// "VM a", "VMs a, b and 3 more"
std::string names_of(const LogicalDevice& device) {
  constexpr std::size_t kNamesMax = 8;
  std::vector<std::string_view> names;
  std::size_t count = 0;
  for (const LogicalDevice::Holder& holder : device.holders) {
    if (!holder.has_let_go && ++count <= kNamesMax) {
      names.emplace_back(holder.vm);
    }
  }
  return fmt::format("VM{} {}{}", count == 1 ? "" : "s", fmt::join(names, ", "),
                     count > kNamesMax ? fmt::format(" and {} more", count - kNamesMax) : "");
}

}  // namespace

std::uint64_t PoolService::Impl::vm_quota_bytes(std::string_view vm) const {
  for (const VmQuota& quota : config.vm_quotas) {
    if (quota.vm == vm) {
      return quota.quota.count();
    }
  }
  return config.vm_quota ? config.vm_quota->count() : UINT64_MAX;
}

Result<void> PoolService::Impl::check_bind_limits(const Session& session,
                                                  const wire::BindRequest& request) {
  if (bound.size() >= wire::kLogicalDevicesMax || bound.holders() >= wire::kBoundHoldersMax) {
    return Error(Errc::limit_exceeded,
                 fmt::format("the box has {} logical devices with {} holders; {} and {} are most",
                             bound.size(), bound.holders(), wire::kLogicalDevicesMax,
                             wire::kBoundHoldersMax));
  }
  const bool is_copy = request.device != LdId();
  if (is_copy) {
    const LogicalDevice* const original = bound.find(request.device);
    if (original == nullptr || original->state == wire::LogicalDeviceState::leaving) {
      return not_there(request.device);
    }
    if (original->tenant != session.tenant || original->maker != request.vm) {
      return Error(Errc::access_denied, fmt::format("logical device {} is {}'s",
                                                    request.device.value(), names_of(*original)));
    }
    if (original->state != wire::LogicalDeviceState::bound || original->size != request.size ||
        bound.has_copy(request.device)) {
      return Error(
          Errc::invalid_argument,
          fmt::format("of logical device {} no copy of {} is made: that is for one that is "
                      "bound, of its size ({}), once",
                      request.device.value(), mebibytes(request.size.count()),
                      mebibytes(original->size.count())));
    }
  }
  const std::uint64_t of_vm = bound.bytes_of(request.vm).count();
  const std::uint64_t vm_quota = vm_quota_bytes(request.vm);
  if (!is_copy && (of_vm > vm_quota || request.size.count() > vm_quota - of_vm)) {
    return Error(
        Errc::quota_exceeded,
        fmt::format("VM {} has {} and asks for {}; its quota is {}", request.vm, mebibytes(of_vm),
                    mebibytes(request.size.count()), mebibytes(vm_quota)));
  }
  return {};
}

Result<void> PoolService::Impl::check_device_room(SizeBytes size, const Pending& pending) const {
  const std::uint64_t count = space.slabs_for(size.count());
  const bool may_evict = config.eviction == EvictionPolicy::lru && !pending.is_out_of_victims;
  const std::uint64_t slabs_there = may_evict ? space.clearable_slabs() : space.free_slabs();
  if (count > std::min<std::uint64_t>(slabs_there, wire::kLogicalDeviceSlabsMax)) {
    const std::uint64_t slab_bytes = slabs.geometry().slab_bytes();
    return Error(Errc::pool_full,
                 fmt::format("{} take {} slabs of {}, and {} can be had", mebibytes(size.count()),
                             count, mebibytes(slab_bytes), slabs_there));
  }
  const std::uint64_t kept = space.live_bytes() - (may_evict ? evictable_live_bytes : 0);
  if (kept + size.count() > backing.chunk_limit_bytes()) {
    return backing_full(size);
  }
  // Where clients have pinned the pages, evicting would free none.
  return backing.missing_for_bound(size.count()) > 0 && !backing.may_release()
             ? Result<void>(backing_full(size))
             : Result<void>();
}

Result<void> PoolService::Impl::place_device(SizeBytes size, std::vector<std::uint32_t>& slots,
                                             Pending& pending) {
  if (const std::uint64_t missing = backing.missing_for_bound(size.count()); missing > 0) {
    if (backing.idle_chunks() > 0) {
      const std::uint64_t chunk_bytes = slabs.geometry().chunk_total_bytes();
      backing.plan_release((missing + chunk_bytes - 1) / chunk_bytes, pending.backing);
      return {};
    }
    return no_space(Errc::backing_full, missing, pending) == Errc::ok ? Result<void>()
                                                                      : backing_full(size);
  }
  if (const std::uint64_t count = space.slabs_for(size.count()); !space.take_slabs(count, slots)) {
    pending.clear_slabs = count;
    return {};
  }
  backing.add_bound(size.count());
  return {};
}

Error PoolService::Impl::backing_full(SizeBytes size) const {
  return {Errc::backing_full,
          fmt::format("{} of memory are asked for; of {} (backing_limit), {} are in use",
                      mebibytes(size.count()), mebibytes(backing.limit_bytes()),
                      mebibytes(backing.backed_bytes() + backing.bound_bytes()))};
}

Result<PoolService::Binding> PoolService::Impl::bind_new(SessionId session_id,
                                                         const wire::BindRequest& request,
                                                         const std::shared_ptr<SlabMemory>& memory,
                                                         Pending& pending) {
  Session* const session = session_of(session_id);
  if (session == nullptr) {
    return Errc::session_lost;
  }
  if (Result<void> allowed = check_bind_limits(*session, request); !allowed) {
    return allowed.error();
  }
  // Before anything is evicted, for a device that there cannot be.
  if (Result<void> fits = check_device_room(request.size, pending); !fits) {
    return fits.error();
  }
  if (const Errc room = check_quota(*session, request.size.count(), pending); room != Errc::ok) {
    const Tenant& tenant = tenants.at(session->tenant);
    return Error(room, fmt::format("the tenant has {} and asks for {}; its quota is {}",
                                   mebibytes(tenant.reserved_bytes),
                                   mebibytes(request.size.count()), mebibytes(tenant.quota_bytes)));
  }
  if (pending.evict_bytes > 0) {
    return Error(Errc::quota_exceeded);
  }
  std::vector<std::uint32_t> slots;
  if (Result<void> placed = place_device(request.size, slots, pending); !placed || slots.empty()) {
    return placed ? Error(Errc::pool_full) : placed.error();
  }
  LogicalDevice& device = *bound.create();
  device.size = request.size;
  device.tenant = session->tenant;
  device.maker = request.vm;
  device.copy_of = request.device;
  device.slots = std::move(slots);
  device.memory = memory;
  tenants.add_user(device.tenant);
  tenants.at(device.tenant).reserved_bytes += device.size.count();
  return add_holder(*session, device, request.vm);
}

Result<PoolService::Binding> PoolService::Impl::bind_sealed(SessionId session_id,
                                                            const wire::BindRequest& request) {
  Session* const session = session_of(session_id);
  if (session == nullptr) {
    return Errc::session_lost;
  }
  LogicalDevice* const device = bound.find(request.device);
  if (device == nullptr || device->state == wire::LogicalDeviceState::leaving) {
    return not_there(request.device);
  }
  if (device->tenant != session->tenant) {
    return Error(Errc::access_denied,
                 fmt::format("logical device {} is another tenant's", request.device.value()));
  }
  if (device->state != wire::LogicalDeviceState::sealed) {
    return Error(Errc::already_exists,
                 fmt::format("logical device {} is {}'s own; several share it once it is sealed",
                             request.device.value(), names_of(*device)));
  }
  for (const LogicalDevice::Holder& holder : device->holders) {
    if (holder.session == session_id || (!holder.has_let_go && holder.vm == request.vm)) {
      return Error(Errc::already_exists, fmt::format("VM {} has logical device {} already",
                                                     request.vm, request.device.value()));
    }
  }
  if (bound.holders() >= wire::kBoundHoldersMax) {
    return Error(Errc::limit_exceeded,
                 fmt::format("logical devices have {} holders, the most", wire::kBoundHoldersMax));
  }
  return add_holder(*session, *device, request.vm);
}

PoolService::Binding PoolService::Impl::add_holder(Session& session, LogicalDevice& device,
                                                   std::string_view vm) {
  // Only the end of its connection shows that its memory is touched no more.
  session.is_mapped = true;
  device.holders.push_back({session.id, std::string(vm)});
  wire::BindReply reply{device.id, device.is_sealed, device.size, {}};
  for (const std::uint32_t slot : device.slots) {
    reply.slabs.push_back(slabs.slab(slot).id);
  }
  return {std::move(reply), device.memory};
}

void PoolService::Impl::clear_slabs(std::unique_lock<std::mutex>& lock, Pending& pending) {
  const std::uint64_t wanted = std::exchange(pending.clear_slabs, 0);
  if (++pending.clear_rounds > kClearRoundsMax) {
    pending.is_out_of_victims = true;
    return;
  }
  std::vector<std::uint64_t> objects_bytes(slabs.slots_end());
  for_each_evictable(lock, [this, &objects_bytes](std::uint32_t /*index*/, const ObjectSlot& slot) {
    std::uint32_t last = kNoSlot;  // an object's extents in one slab follow each other
    for (const PackedExtent& extent : index.extents(slot)) {
      const std::uint32_t slab = slabs.find(extent.unpacked().address.slab);
      if (slab != last && slab < objects_bytes.size()) {
        objects_bytes[slab] += slot.size_bytes;
      }
      last = slab;
    }
  });
  space.drain(wanted - std::min(wanted, space.free_slabs()), objects_bytes);
  for_each_evictable(lock, [this](std::uint32_t index_of_slot, const ObjectSlot& slot) {
    const std::span<const PackedExtent> extents = index.extents(slot);
    if (std::any_of(extents.begin(), extents.end(), [this](const PackedExtent& extent) {
          return space.is_draining(extent.unpacked());
        })) {
      evict(index_of_slot);
    }
  });
  space.stop_draining();
}

template <class Visit>
void PoolService::Impl::for_each_evictable(std::unique_lock<std::mutex>& lock, Visit&& visit) {
  for (std::uint32_t i = 0; i < index.slots().end(); ++i) {
    if (i % kSlotsPerStepMax == kSlotsPerStepMax - 1) {
      open_briefly(lock);
    }
    const ObjectSlot& slot = index.slot(i);
    if (slot.state == SlotState::committed && slot.is_in_lru) {
      visit(i, slot);
    }
  }
}

void PoolService::Impl::release_devices(const Session& session) {
  for (auto& [id, device] : bound.devices()) {
    if (device.holder_of(session.id) == nullptr) {
      continue;
    }
    std::erase_if(device.holders, [&session](const LogicalDevice::Holder& holder) {
      return holder.session == session.id;
    });
    if (device.state == wire::LogicalDeviceState::bound) {
      device.state = wire::LogicalDeviceState::leaving;
    }
  }
}

LogicalDevice* PoolService::Impl::next_leaving() {
  for (auto& [id, device] : bound.devices()) {
    if (device.state == wire::LogicalDeviceState::leaving && device.holders.empty() &&
        !device.is_settling && !device.is_being_sealed) {
      return &device;
    }
  }
  return nullptr;
}

void PoolService::Impl::settle_leaving(std::unique_lock<std::mutex>& lock) {
  std::uint64_t left = kSettleBytesMax;
  for (LogicalDevice* device = next_leaving(); device != nullptr && left > 0;
       device = next_leaving()) {
    const SizeBytes from(device->discarded_bytes);
    const SizeBytes part(std::min(left, device->size.count() - from.count()));
    std::shared_ptr<SlabMemory> memory = device->memory;
    // Of a sealed one the last descriptor's end is all that gives it back.
    const bool may_discard = !device->is_sealed;
    device->is_settling = true;
    lock.unlock();
    if (may_discard) {
      // Where that fails, too.
      (void)memory->discard(from, part);
    }
    lock.lock();
    device->is_settling = false;
    device->discarded_bytes += part.count();
    left -= part.count();
    if (device->discarded_bytes == device->size.count()) {
      device->memory.reset();
      device->is_settling = true;
      lock.unlock();
      memory.reset();
      lock.lock();
      forget(*device);
    }
  }
}

void PoolService::Impl::forget(const LogicalDevice& device) {
  space.give_back_slabs(device.slots);
  backing.remove_bound(device.size.count());
  tenants.at(device.tenant).reserved_bytes -= device.size.count();
  release_tenant(device.tenant);
  bound.erase(device.id);
}

Result<PoolService::Binding> PoolService::bind(SessionId session_id,
                                               const wire::BindRequest& request) {
  if (Result<void> checked = check_request(request); !checked) {
    return checked.error();
  }
  if (request.size.is_zero()) {
    const std::lock_guard lock(impl_->mutex);
    return impl_->bind_sealed(session_id, request);
  }
  if (!impl_->make_slab_memory) {
    return Error(Errc::unsupported,
                 "this box's DRAM channels are no memory of its machine's own (memory = \"memfd\" "
                 "or \"tmpfs\"), so that it cannot give VMs parts of them");
  }
  if (request.size.count() > impl_->slabs.geometry().capacity_bytes()) {
    return Error(Errc::too_large,
                 fmt::format("{} are asked for; the box has {}", mebibytes(request.size.count()),
                             mebibytes(impl_->slabs.geometry().capacity_bytes())));
  }
  // Before space is taken, as this may fail, and after the lock is open again it is gone.
  Result<std::shared_ptr<SlabMemory>> memory = impl_->make_slab_memory(request.size);
  if (!memory) {
    return memory.error();
  }
  std::unique_lock lock(impl_->mutex);
  Impl::Pending pending;
  Result<Binding> outcome = Error(Errc::pool_full);
  impl_->with_space(lock, pending,
                    [&] { outcome = impl_->bind_new(session_id, request, *memory, pending); });
  return outcome;
}

Result<void> PoolService::unbind(SessionId session_id, LdId id) {
  std::unique_lock lock(impl_->mutex);
  LogicalDevice* const device = impl_->bound.find(id);
  LogicalDevice::Holder* const holder = device == nullptr ? nullptr : device->holder_of(session_id);
  if (holder == nullptr || holder->has_let_go) {
    return device == nullptr
               ? not_there(id)
               : Error(Errc::not_found,
                       fmt::format("this session has not got logical device {}", id.value()));
  }
  if (device->is_being_sealed) {
    return Error(Errc::write_in_flight,
                 fmt::format("logical device {} is being sealed", id.value()));
  }
  if (device->state == wire::LogicalDeviceState::bound) {
    device->holders.clear();
    device->state = wire::LogicalDeviceState::leaving;
    impl_->settle_leaving(lock);
  } else {
    holder->has_let_go = true;
  }
  return {};
}

Result<void> PoolService::seal(SessionId session_id, LdId id) {
  std::unique_lock lock(impl_->mutex);
  LogicalDevice* device = impl_->bound.find(id);
  if (device == nullptr || device->state == wire::LogicalDeviceState::leaving) {
    return not_there(id);
  }
  if (device->state == wire::LogicalDeviceState::sealed) {
    return Error(Errc::already_exists, fmt::format("logical device {} is sealed", id.value()));
  }
  if (device->holder_of(session_id) == nullptr) {
    return Error(Errc::access_denied,
                 fmt::format("logical device {} is {}'s", id.value(), names_of(*device)));
  }
  if (device->is_being_sealed) {
    return Error(Errc::write_in_flight,
                 fmt::format("logical device {} is being sealed", id.value()));
  }
  device->is_being_sealed = true;
  const std::shared_ptr<SlabMemory> memory = device->memory;
  lock.unlock();
  const Result<void> sealed = memory->seal();
  lock.lock();
  // It cannot have been erased; but its session may have ended.
  device = impl_->bound.find(id);
  device->is_being_sealed = false;
  device->is_sealed = sealed.has_value();
  if (!sealed) {
    return sealed.error();
  }
  if (device->state == wire::LogicalDeviceState::leaving) {
    return Errc::session_lost;
  }
  device->state = wire::LogicalDeviceState::sealed;
  device->holders.clear();
  return {};
}

Result<void> PoolService::drop(SessionId session_id, LdId id) {
  std::unique_lock lock(impl_->mutex);
  const Session* const session = impl_->session_of(session_id);
  if (session == nullptr) {
    return Errc::session_lost;
  }
  LogicalDevice* const device = impl_->bound.find(id);
  if (device == nullptr || device->state == wire::LogicalDeviceState::leaving) {
    return not_there(id);
  }
  if (device->tenant != session->tenant) {
    return Error(Errc::access_denied,
                 fmt::format("logical device {} is another tenant's", id.value()));
  }
  if (device->active_holders() > 0) {
    return Error(Errc::already_exists,
                 fmt::format("logical device {} is bound to {}", id.value(), names_of(*device)));
  }
  device->state = wire::LogicalDeviceState::leaving;
  impl_->settle_leaving(lock);
  return {};
}

void PoolService::list_bound(wire::ListBoundReply& reply) const {
  const std::lock_guard lock(impl_->mutex);
  for (const auto& [id, device] : impl_->bound.devices()) {
    wire::LogicalDeviceRecord& record = reply.devices.emplace_back();
    record.device = id;
    record.state = device.state;
    record.size = device.size;
    record.tenant = impl_->tenants.at(device.tenant).name;
    for (const LogicalDevice::Holder& holder : device.holders) {
      record.holders.push_back({holder.vm, holder.has_let_go});
    }
  }
}

}  // namespace godbox::emulator
