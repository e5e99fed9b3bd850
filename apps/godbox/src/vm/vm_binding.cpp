// SPDX-License-Identifier: Apache-2.0
//
// Logical devices of a box, given to the guest and taken back while it runs.
#include "vm/own_program.h"
#include "vm/request_fields.h"
#include "vm/vm_limits.h"
#include "vm/vm_session.h"
#include <godbox/cxl/channel_serial.h>
#include <godbox/driver/memfd_slab.h>
#include <godbox/emulator/vm/cdat.h>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace godbox::app {

using emulator::vm::ChannelTiming;
using emulator::vm::DataFile;

namespace {

// Between two looks at what the VM wants.
constexpr Duration kTurn = std::chrono::milliseconds(5);
constexpr SizeBytes kFillStep{std::uint64_t{64} << 20U};
// Each of them is a connection to the box, with a thread of its own, for as long as the VM runs.
constexpr std::size_t kKeptMappedMax = 64;

// All of it but the size has been checked by who sends it; the rest is the box's to check.
Result<SlabRequest> slab_request(const boost::json::object& request, const std::string& vm) {
  const Result<std::string> socket = text_of(request, "box");
  const Result<std::string> tenant = text_of(request, "tenant");
  const Result<std::uint64_t> size = number_of(request, "size_bytes", 0);
  const Result<std::uint64_t> device = number_of(request, "logical_device", 0);
  if (!socket || !tenant) {
    return socket ? tenant.error() : socket.error();
  }
  if (!size || !device) {
    return size ? device.error() : size.error();
  }
  if (*device > wire::kLdIdMax || ((*device == 0) == (*size == 0))) {
    return Error(Errc::invalid_argument,
                 fmt::format("a logical device has a size, or is one of 1 to {}", wire::kLdIdMax));
  }
  return SlabRequest{.control_socket = *socket,
                     .tenant = *tenant,
                     .vm = vm,
                     .size = SizeBytes(*size),
                     .device = LdId(static_cast<std::uint16_t>(*device)),
                     .timeout = kBoxLimit};
}

// Where bytes of a DRAM channel are in a device: DPAs and how many from there on.
std::vector<std::pair<std::uint64_t, std::uint64_t>> device_runs(
    const striping::LogicalDeviceLayout& layout, std::uint64_t dram_channel, std::uint64_t address,
    std::uint64_t length) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> runs;
  for (std::uint64_t at = address; at < address + length; at += kPoisonUnitBytes) {
    const std::optional<cxl::Dpa> dpa =
        layout.dpa_of(DramChannelId(static_cast<std::uint16_t>(dram_channel)), DramOffset(at));
    if (!dpa) {
      continue;
    }
    if (!runs.empty() && runs.back().first + runs.back().second == dpa->count()) {
      runs.back().second += kPoisonUnitBytes;
    } else {
      runs.emplace_back(dpa->count(), kPoisonUnitBytes);
    }
  }
  return runs;
}

Error nobody_waits() { return {Errc::cancelled, "who asked for it has gone away"}; }

Error of_device(LdId device, const Error& error) {
  return {error.code, fmt::format("logical device {}: {}", device.value(), error.detail)};
}

// What the guest is told of it: one device over all members' DRAM channels.
ChannelTiming timing_of(const ChannelTiming& channel, std::size_t dram_channels) {
  ChannelTiming timing = channel;
  const auto count = static_cast<double>(dram_channels);
  timing.read_bandwidth = Rate(timing.read_bandwidth.bytes_per_second() * count);
  timing.write_bandwidth = Rate(timing.write_bandwidth.bytes_per_second() * count);
  return timing;
}

}  // namespace

template <class Work>
auto VmSession::while_serving(Work work) -> decltype(work()) {
  auto outcome = std::async(std::launch::async, std::move(work));
  bool is_running = true;
  while (outcome.wait_for(is_running ? Duration::zero() : kTurn) != std::future_status::ready) {
    if (is_running) {
      const Result<void> served = machine_->serve(kTurn);
      is_running = served || served.error().code == Errc::deadline_exceeded;
    }
  }
  return outcome.get();
}

Result<std::unique_ptr<SlabLease>> VmSession::ask_for(const SlabRequest& request) {
  return while_serving([request] { return SlabLease::bind(request); });
}

Result<void> VmSession::seal_lease(SlabLease& lease) {
  return while_serving([&lease] { return lease.seal(); });
}

Result<void> VmSession::fill(const SlabLease& to, const SlabLease* from, int peer) {
  return while_serving([&to, from, peer]() -> Result<void> {
    for (SizeBytes at; at < to.size();) {
      if (is_gone(peer)) {
        return nobody_waits();
      }
      const SizeBytes step = std::min(kFillStep, to.size() - at);
      if (Result<void> backed = driver::back_slab(to.descriptor(), at, step); !backed) {
        return backed;
      }
      if (from != nullptr) {
        if (auto copied = driver::copy_slab(from->descriptor(), to.descriptor(), at, step);
            !copied) {
          return copied;
        }
      }
      at += step;
    }
    return {};
  });
}

Result<void> VmSession::check_kept_mapped(LdId device) {
  // A box that is gone counts nothing.
  std::erase_if(kept_mapped_, [](const auto& kept) { return kept.second->is_lost(); });
  const bool is_kept =
      std::any_of(kept_mapped_.begin(), kept_mapped_.end(),
                  [device](const auto& kept) { return kept.second->device() == device; });
  if (is_kept || kept_mapped_.size() < kKeptMappedMax) {
    return {};
  }
  return Error(Errc::limit_exceeded,
               fmt::format("logical device {}: this VM's QEMU keeps {} sealed devices mapped that "
                           "were taken from it, the most; they go when the VM ends",
                           device.value(), kept_mapped_.size()));
}

Result<VmSession::Attached> VmSession::attached_of(std::unique_ptr<SlabLease> lease,
                                                   const SlabRequest& request) {
  const ChannelTiming timing = timing_of(plan_.channel, lease->layout().dram_channels());
  Result<DataFile> cdat = DataFile::create(emulator::vm::cdat_table(lease->size(), timing));
  if (!cdat) {
    return cdat.error();
  }
  const cxl::ChannelSerial serial = cxl::ChannelSerial::of_device(
      lease->is_sealed() ? cxl::ChannelOwner::shared : cxl::ChannelOwner::bound,
      lease->box_number(), lease->device());
  return Attached{.memory = nullptr,
                  .lease = std::move(lease),
                  .request = request,
                  .cdat = std::move(*cdat),
                  .serial = serial.value(),
                  .id = fmt::format("attached{}", ++attached_ever_)};
}

Result<boost::json::object> VmSession::bind(const VmControl::Request& asked) {
  // What the guest is doing for it ends with who asked, and nobody else's command.
  machine_->watch(asked.peer, [this, peer = asked.peer, is_beside = machine_->is_busy()] {
    machine_->unwatch(peer);
    is_beside ? machine_->interrupt_beside() : machine_->interrupt_command();
  });
  Result<boost::json::object> reply = bind_for(asked.fields, asked.peer);
  machine_->unwatch(asked.peer);
  return reply;
}

Result<boost::json::object> VmSession::bind_for(const boost::json::object& request, int peer) {
  const Result<SlabRequest> asked = slab_request(request, options_.name);
  const Result<std::string> up = text_of(request, "up");
  if (!asked || !up) {
    return asked ? up.error() : asked.error();
  }
  if (Result<std::size_t> slot = find_slot(asked->size); !slot) {
    return slot.error();
  }
  if (asked->device != LdId()) {
    if (Result<void> kept = check_kept_mapped(asked->device); !kept) {
      return kept.error();
    }
  }
  Result<std::unique_ptr<SlabLease>> lease = ask_for(*asked);
  if (!lease) {
    return lease.error();
  }
  const LdId number = (*lease)->device();
  const Result<std::size_t> slot = find_slot((*lease)->size());
  if (!slot) {
    return of_device(number, slot.error());
  }
  if (!(*lease)->is_sealed()) {
    if (Result<void> backed = fill(**lease, nullptr, peer); !backed) {
      return of_device(number, backed.error());
    }
  }
  boost::json::object told{{"slot", *slot},
                           {"logical_device", number.value()},
                           {"size_bytes", (*lease)->size().count()},
                           {"read_only", (*lease)->is_sealed()},
                           {"slabs", (*lease)->layout().slab_count()},
                           {"dram_channels", (*lease)->layout().dram_channels()}};
  Result<Attached> attached = attached_of(std::move(*lease), *asked);
  if (!attached) {
    return of_device(number, attached.error());
  }
  const std::uint64_t serial = attached->serial;
  told["serial"] = serial;
  if (is_gone(peer)) {
    return of_device(number, nobody_waits());
  }
  if (Result<void> shown = show(*slot, std::move(*attached)); !shown) {
    return of_device(number, shown.error());
  }
  kept_mapped_.erase(serial);  // the lease that was just had counts this VM from now on
  if (!up->empty() && !is_gone(peer)) {
    const std::vector<std::string> bring = {
        own_program(), "cxl", "up", "--as", *up, "--serial", fmt::format("{:#x}", serial)};
    if (Result<void> done = guest_does(bring, "godbox cxl up", kBringUpLimit); !done) {
      return after_bound(*slot, *up, peer, done.error());
    }
  }
  if (is_gone(peer)) {
    return after_bound(*slot, *up, peer, nobody_waits());
  }
  return told;
}

Error VmSession::after_bound(std::size_t slot, std::string_view up, int peer, const Error& error) {
  const auto at = attached_.find(slot);
  const LdId number = at->second.lease->device();
  if (!is_gone(peer)) {
    return {error.code, fmt::format("logical device {} is bound, and not up: {}", number.value(),
                                    error.detail)};
  }
  // Nobody knows that the VM has it. What was brought up in part is brought down as far as it goes.
  if (!up.empty()) {
    (void)bring_down(at->second, kBringUpLimit);
  }
  const Result<bool> is_unmapped = take_out(at->second, {});
  if (is_unmapped) {
    spdlog::warn("vm: logical device {} was taken back: {}", number.value(), nobody_waits().detail);
    leave_slot(at, *is_unmapped);
  } else {
    spdlog::warn("vm: logical device {} stays bound, although {}: {}", number.value(),
                 nobody_waits().detail, is_unmapped.error().detail);
  }
  return of_device(number, nobody_waits());
}

void VmSession::give_back(Attached attached, bool is_unmapped) {
  SlabLease& lease = *attached.lease;
  // A box that is gone has nothing to take back.
  if (const Result<void> given = while_serving([&lease] { return lease.give_back(); });
      !given && given.error().code != Errc::session_lost) {
    spdlog::warn("vm: logical device {}: {}", attached.lease->device().value(),
                 given.error().message());
  }
  // Of what can be read alone, the box cannot take the pages from a QEMU that maps them: it counts
  // them until the lease is gone, with the VM.
  if (attached.lease->is_sealed() && !is_unmapped) {
    kept_mapped_[attached.serial] = std::move(attached.lease);
  }
}

Result<boost::json::object> VmSession::seal(const boost::json::object& request) {
  const Result<Slots::iterator> found = find_attached(request);
  if (!found) {
    return found.error();
  }
  const std::size_t slot = (*found)->first;
  if (!(*found)->second.lease || (*found)->second.lease->is_sealed()) {
    return Error(Errc::invalid_argument,
                 fmt::format("{:#x} is {}", (*found)->second.serial,
                             (*found)->second.lease ? "sealed" : "no logical device of a box"));
  }
  const Result<bool> is_unmapped = take_out((*found)->second, request);
  if (!is_unmapped) {
    return is_unmapped.error();
  }
  Attached attached = std::move((*found)->second);
  attached_.erase(*found);
  const Result<LdId> sealed = seal_bytes(attached);
  if (sealed && *sealed == attached.lease->device()) {
    return boost::json::object{{"logical_device", sealed->value()}, {"copied", false}};
  }
  if (sealed) {
    give_back(std::move(attached), *is_unmapped);
    return boost::json::object{{"logical_device", sealed->value()}, {"copied", true}};
  }
  // Nothing is lost: the guest gets it again.
  attached.id = fmt::format("attached{}", ++attached_ever_);
  if (Result<void> shown = show(slot, std::move(attached)); !shown) {
    return Error(sealed.error().code,
                 fmt::format("{}; and the guest could not be given it again: {}",
                             sealed.error().detail, shown.error().detail));
  }
  return sealed.error();
}

Result<LdId> VmSession::seal_bytes(const Attached& attached) {
  const Result<void> sealed = seal_lease(*attached.lease);
  if (sealed || sealed.error().code != Errc::write_in_flight) {
    return sealed ? Result<LdId>(attached.lease->device()) : sealed.error();
  }
  SlabRequest request = attached.request;
  request.size = attached.lease->size();
  request.device = attached.lease->device();  // of which it is a copy
  const Result<std::unique_ptr<SlabLease>> copy = ask_for(request);
  if (!copy) {
    return Error(copy.error().code,
                 fmt::format("QEMU keeps the memory mapped, so that a copy is sealed; but {}",
                             copy.error().detail));
  }
  if (Result<void> filled = fill(**copy, attached.lease.get(), -1); !filled) {
    return filled.error();
  }
  if (Result<void> done = seal_lease(**copy); !done) {
    return done.error();
  }
  return (*copy)->device();
}

Result<boost::json::object> VmSession::poison_channel(const boost::json::object& request) {
  const Result<std::uint64_t> box = number_of(request, "box_number", 0);
  const Result<std::uint64_t> channel = number_of(request, "dram_channel", 0);
  const Result<std::uint64_t> address = number_of(request, "address", 0);
  const Result<std::uint64_t> length = number_of(request, "length_bytes", kPoisonUnitBytes);
  for (const Result<std::uint64_t>* const one : {&box, &channel, &address, &length}) {
    if (!*one) {
      return one->error();
    }
  }
  if (Result<void> checked = check_poison(*channel, *address, *length); !checked) {
    return checked.error();
  }
  boost::json::array marked;
  for (const auto& [slot, attached] : attached_) {
    if (!attached.lease || attached.lease->box_number() != *box) {
      continue;
    }
    for (const auto& [dpa, bytes] :
         device_runs(attached.lease->layout(), *channel, *address, *length)) {
      Result<boost::json::object> done =
          poison({{"serial", attached.serial}, {"dpa", dpa}, {"length_bytes", bytes}});
      if (!done) {
        return done.error();
      }
      marked.push_back(std::move(*done));
    }
  }
  return boost::json::object{{"marked", std::move(marked)}};
}

void VmSession::note_lost_boxes() {
  for (const auto& [slot, attached] : attached_) {
    const bool is_told =
        std::find(told_lost_.begin(), told_lost_.end(), attached.serial) != told_lost_.end();
    if (attached.lease && attached.lease->is_lost() && !is_told) {
      told_lost_.push_back(attached.serial);
      spdlog::warn(
          "vm: the box of logical device {} ({:#x}) is gone; the guest keeps its memory until it "
          "is taken out (godbox vm detach)",
          attached.lease->device().value(), attached.serial);
    }
  }
}

}  // namespace godbox::app
