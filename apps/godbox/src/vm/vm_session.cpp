// SPDX-License-Identifier: Apache-2.0
#include "vm/vm_session.h"

#include "vm/accelerator.h"
#include "vm/channel_faults.h"
#include "vm/own_program.h"
#include "vm/pool_memory.h"
#include "vm/request_fields.h"
#include "vm/vm_limits.h"
#include <godbox/driver/machine_memory.h>
#include <godbox/driver/mapped_memory.h>
#include <godbox/emulator/vm/cdat.h>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

namespace godbox::app {

using emulator::vm::CommandStreams;
using emulator::vm::DataFile;
using emulator::vm::GuestCommand;
using emulator::vm::VirtualMachine;
using emulator::vm::VmLaunch;

namespace {

constexpr Duration kPowerOffLimit = std::chrono::seconds(15);
constexpr std::size_t kSilentPeersMax = 32;

std::string_view name_of(BringUp mode) { return mode == BringUp::numa ? "numa" : "dax"; }

// A window of one host bridge does not tell the guest at which granularity its regions are.
std::string granularity_argument(const emulator::vm::VmPlan& plan) {
  std::set<std::uint64_t> granularities;
  for (const emulator::vm::PlannedRegion& region : plan.regions) {
    if (region.ways > 1 && plan.topology.windows[region.window.value()].targets.size() == 1) {
      granularities.insert(region.granularity.count());
    }
  }
  return granularities.size() == 1 ? fmt::format("godbox.granularity={}", *granularities.begin())
                                   : "";
}

Result<void> check_guest_memory(const emulator::vm::VmConfig& config) {
  const SizeBytes available = driver::available_memory_bytes();
  if (config.guest_memory <= available) {
    return {};
  }
  return Error(Errc::backing_full,
               fmt::format("the guest's memory is {} MiB and this machine has {} MiB left; "
                           "--guest-memory takes less",
                           config.guest_memory.count() >> 20U, available.count() >> 20U));
}

}  // namespace

VmSession::VmSession(const emulator::vm::VmPlan& plan, const VmSessionOptions& options)
    : plan_(plan), options_(options) {}
VmSession::~VmSession() = default;

Result<std::unique_ptr<VmSession>> VmSession::start(const emulator::vm::VmPlan& plan,
                                                    const VmSessionOptions& options) {
  std::unique_ptr<VmSession> session(new VmSession(plan, options));
  if (Result<void> checked = check_guest_memory(plan.config); !checked) {
    return checked.error();
  }
  Result<emulator::vm::QemuProgram> qemu = emulator::vm::find_qemu(options.qemu_program);
  if (!qemu) {
    return qemu.error();
  }
  session->qemu_ = std::move(*qemu);
  spdlog::info("vm: {}", session->qemu_.description());
  Result<VmControl> control = VmControl::listen(options.name);
  if (!control) {
    return control.error();
  }
  session->control_.emplace(std::move(*control));
  if (Result<void> made = session->make_memory(); !made) {
    return made.error();
  }
  // Until the channels are up: no command comes between the boot and bringing them up.
  session->changing_ = "boot";
  if (Result<void> booted = session->boot(); !booted) {
    return booted.error();
  }
  if (Result<void> up = session->bring_up(); !up) {
    session->power_off();
    return up.error();
  }
  return session;
}

Result<void> VmSession::make_memory() {
  if (options_.pool != nullptr) {
    if (Result<void> fits = fit_to_pool(); !fits) {
      return fits;
    }
  } else if (qemu_.is_patched) {
    inputs_.interleaved = emulator::vm::interleaved_memories(plan_);
  }
  for (const cxl::Type3Device& device : plan_.topology.devices) {
    const Result<int> memory = memory_of(device, inputs_.backing_paths.size());
    if (!memory) {
      return Error(memory.error().code, fmt::format("{}: {}", device.name, memory.error().detail));
    }
    inputs_.backing_paths.push_back(emulator::vm::descriptor_path(*memory));
    Result<DataFile> table =
        DataFile::create(emulator::vm::cdat_table(device.capacity, plan_.channel));
    if (!table) {
      return table.error();
    }
    inputs_.cdat_paths.push_back(table->path());
    tables_.push_back(std::move(*table));
  }
  if (!plan_.topology.switches.empty()) {
    Result<DataFile> table = DataFile::create(emulator::vm::switch_cdat_table());
    if (!table) {
      return table.error();
    }
    inputs_.switch_cdat_path = table->path();
    tables_.push_back(std::move(*table));
  }
  return {};
}

// What QEMU has to know of the box's channels that share a memory.
Result<void> VmSession::fit_to_pool() {
  const std::vector<emulator::ChannelGroup> groups = channel_groups(*options_.pool);
  Result<std::vector<emulator::vm::InterleavedMemory>> memories =
      interleaved_memories(plan_, groups);
  if (!memories) {
    return memories.error();
  }
  if (!groups.empty() && !qemu_.is_patched) {
    return Error(Errc::unsupported,
                 fmt::format("the box's memory lies in the order of interleaved regions, which "
                             "only a QEMU that qemu-patches/build made can show; this is {}",
                             qemu_.description()));
  }
  inputs_.interleaved = std::move(*memories);
  if (qemu_.is_patched && emulator::channel_groups(plan_) != groups) {
    spdlog::warn(
        "vm: the regions are not the box's memory as it lies: it is served eight bytes at "
        "a time where they differ; without --form the guest gets it at full speed");
  }
  return {};
}

// A descriptor of what is behind a device.
Result<int> VmSession::memory_of(const cxl::Type3Device& device, std::size_t index) {
  if (options_.pool != nullptr) {
    const std::size_t channel = plan_.channel_of_device[index].value();
    if (channel >= options_.pool->descriptors().size() ||
        device.capacity != options_.pool->dram_channel_size()) {
      return Error(
          Errc::config_invalid,
          fmt::format("{} MiB of DRAM channel {}; the box has {} of {} MiB",
                      device.capacity.count() >> 20U, channel, options_.pool->descriptors().size(),
                      options_.pool->dram_channel_size().count() >> 20U));
    }
    return options_.pool->descriptors()[channel];
  }
  const auto id = cxl::Type3DeviceId(static_cast<std::uint16_t>(index));
  for (std::size_t i = 0; i < inputs_.interleaved.size(); ++i) {
    const emulator::vm::InterleavedMemory& shared = inputs_.interleaved[i];
    if (std::find(shared.devices.begin(), shared.devices.end(), id) == shared.devices.end()) {
      continue;
    }
    if (!shared_memory_.contains(i)) {
      const Result<int> memory = new_memory(shared.size);
      if (!memory) {
        return memory.error();
      }
      shared_memory_[i] = *memory;
    }
    return shared_memory_[i];
  }
  return new_memory(device.capacity);
}

Result<int> VmSession::new_memory(SizeBytes size) {
  auto memory = driver::MappedMemory::memfd(size);
  if (!memory) {
    return memory.error();
  }
  memory_.push_back(std::move(*memory));
  return memory_.back()->descriptor();
}

Result<void> VmSession::boot() {
  VmLaunch launch;
  launch.qemu_program = qemu_.path;
  launch.has_network = options_.has_network;
  Result<emulator::vm::GuestImage> image = emulator::vm::find_guest_image(options_.image_folder);
  if (!image) {
    return image.error();
  }
  launch.image = *image;
  Result<std::vector<std::string>> arguments = emulator::vm::qemu_arguments(plan_, inputs_);
  if (!arguments) {
    return arguments.error();
  }
  launch.machine_arguments = std::move(*arguments);
  launch.kernel_arguments = granularity_argument(plan_);
  const Result<emulator::vm::Accelerator> accelerator =
      choose_accelerator(options_.accelerator, launch, options_.stop_descriptor);
  if (!accelerator) {
    return accelerator.error();
  }
  launch.accelerator = accelerator_ = *accelerator;
  const TimePoint start = SteadyClock().now();
  launch.on_progress = [start](std::string_view what) {
    const std::chrono::duration<double> passed = SteadyClock().now() - start;
    spdlog::info("vm: {:4.1f} s: {}", passed.count(), what);
  };
  if (options_.shows_console) {
    launch.on_console_line = [](std::string_view line) { spdlog::info("guest: {}", line); };
  }
  Result<std::unique_ptr<VirtualMachine>> machine = VirtualMachine::start(std::move(launch));
  if (!machine) {
    return machine.error();
  }
  machine_ = std::move(*machine);
  machine_->watch(control_->descriptor(), [this] { take_peer(); });
  if (options_.stop_descriptor >= 0) {
    // Once: it stays readable, and the guest powers off in order.
    machine_->watch(options_.stop_descriptor, [this] {
      machine_->unwatch(options_.stop_descriptor);
      machine_->cancel();
    });
  }
  return machine_->wait_until_ready(options_.boot_limit);
}

Result<void> VmSession::bring_up() {
  Result<void> done;
  if (options_.bring_up != BringUp::none) {
    const std::string_view mode = name_of(options_.bring_up);
    spdlog::info("vm: bringing {} channels up as {}", plan_.topology.devices.size(), mode);
    changing_ = fmt::format("godbox cxl up --as {}", mode);
    done = guest_does({own_program(), "cxl", "up", "--as", std::string(mode)}, changing_,
                      kBringUpLimit);
  }
  changing_.clear();
  return done;
}

void VmSession::power_off() {
  if (machine_ != nullptr) {
    machine_->power_off(kPowerOffLimit);
    if (!machine_->qemu_messages().empty()) {
      spdlog::warn("vm: QEMU said: {}", machine_->qemu_messages());
    }
  }
}

void VmSession::take_peer() {
  std::optional<VmControl::Peer> peer = control_->accept();
  if (!peer) {
    return;
  }
  if (silent_peers_.size() == kSilentPeersMax) {
    machine_->unwatch(silent_peers_.front().descriptor());
    silent_peers_.erase(silent_peers_.begin());
  }
  const int descriptor = peer->descriptor();
  machine_->watch(descriptor, [this, descriptor] { hear(descriptor); });
  silent_peers_.push_back(std::move(*peer));
}

void VmSession::hear(int descriptor) {
  const auto at = std::find_if(
      silent_peers_.begin(), silent_peers_.end(),
      [descriptor](const VmControl::Peer& one) { return one.descriptor() == descriptor; });
  const VmControl::Peer peer = std::move(*at);
  silent_peers_.erase(at);
  machine_->unwatch(descriptor);
  peer.serve([this](const VmControl::Request& request) { return answer(request); });
}

boost::json::object VmSession::answer(const VmControl::Request& asked) {
  const boost::json::object& request = asked.fields;
  const boost::json::value* const verb = request.if_contains("do");
  const std::string_view what =
      verb != nullptr && verb->is_string() ? std::string_view(verb->get_string()) : "";
  Result<boost::json::object> reply = Error(Errc::unsupported);
  if (what == "stop") {
    machine_->cancel();
    reply = boost::json::object{{"stopping", true}};
  } else if (what == "status") {
    reply = status();
  } else if (!changing_.empty()) {
    reply = Error(Errc::queue_full,
                  fmt::format("the VM does \"{}\" just now; one thing at a time", changing_));
  } else if (what == "exec") {
    reply = machine_->is_busy()
                ? Error(Errc::queue_full, "the VM runs another command; one at a time")
                : exec(asked);
  } else {
    // Each of these waits, and other requests are answered meanwhile.
    changing_ = what;
    reply = change(what, asked);
    changing_.clear();
  }
  return reply ? *reply : error_reply(reply.error());
}

// Also while a command runs in the guest.
Result<boost::json::object> VmSession::change(std::string_view what,
                                              const VmControl::Request& asked) {
  const boost::json::object& request = asked.fields;
  if (what == "attach") {
    return attach();
  }
  if (what == "detach" || what == "unbind") {
    return detach(request);
  }
  if (what == "bind") {
    return bind(asked);
  }
  if (what == "seal") {
    return seal(request);
  }
  if (what == "channel") {
    return channels(request);
  }
  if (what == "poison") {
    return request.contains("dram_channel") ? poison_channel(request) : poison(request);
  }
  return Error(Errc::unsupported, fmt::format("a VM knows no \"{}\"", what));
}

Result<boost::json::object> VmSession::exec(const VmControl::Request& asked) {
  const auto& [request, descriptors, peer] = asked;
  GuestCommand command;
  const boost::json::value* const arguments = request.if_contains("arguments");
  const boost::json::value* const folder = request.if_contains("folder");
  if (arguments == nullptr || !arguments->is_array() || descriptors.size() != 2) {
    return Error(Errc::invalid_argument, "exec needs arguments and two descriptors");
  }
  for (const boost::json::value& argument : arguments->get_array()) {
    if (!argument.is_string()) {
      return Error(Errc::invalid_argument, "exec: an argument is no text");
    }
    command.arguments.emplace_back(argument.get_string());
  }
  if (folder != nullptr && folder->is_string()) {
    command.folder = folder->get_string();
  }
  command.on_terminal = is_set(request, "terminal");
  const CommandStreams streams{command.on_terminal ? descriptors[0] : -1, descriptors[0],
                               descriptors[1]};
  // Who asked says no more: what becomes readable is its end, with which the command ends too.
  machine_->watch(peer, [this, peer = peer] {
    machine_->unwatch(peer);
    machine_->interrupt_command();
  });
  const Result<int> status = machine_->run(command, streams, Duration::zero());
  machine_->unwatch(peer);
  if (!status) {
    return status.error();
  }
  return boost::json::object{{"status", *status}};
}

boost::json::object VmSession::status() const {
  boost::json::array attached;
  for (const auto& [slot, one] : attached_) {
    boost::json::object told{{"slot", slot},
                             {"serial", one.serial},
                             {"size_bytes", one.size().count()},
                             {"read_only", one.is_read_only()},
                             {"memory", emulator::vm::descriptor_path(one.descriptor())}};
    told["logical_device"] =
        one.lease ? boost::json::value(one.lease->device().value()) : boost::json::value(nullptr);
    told["box_lost"] = one.lease && one.lease->is_lost();
    attached.push_back(std::move(told));
  }
  return {{"name", options_.name},
          {"form", to_string(plan_.config.form)},
          {"channels", plan_.topology.devices.size()},
          {"busy", machine_->is_busy()},
          {"process", machine_->process_id()},
          {"qemu", qemu_.path},
          {"qemu_version", qemu_.version},
          {"qemu_patched", qemu_.is_patched},
          {"accelerator", to_string(accelerator_)},
          {"qemu_messages", machine_->qemu_messages()},
          {"hot_plug_slots", plan_.hot_plug_slots.size()},
          {"attached", std::move(attached)}};
}

Result<std::size_t> VmSession::find_slot(SizeBytes size) const {
  bool is_one_free = false;
  for (std::size_t slot = 0; slot < plan_.hot_plug_slots.size(); ++slot) {
    const bool is_free = !attached_.contains(slot);
    if (is_free && plan_.hot_plug_slots[slot].size >= size) {
      return slot;
    }
    is_one_free = is_one_free || is_free;
  }
  if (is_one_free) {
    return Error(Errc::too_large,
                 fmt::format("{} MiB are more than the slots' windows take, {} MiB; godbox vm run "
                             "--hot-plug-size makes them larger",
                             size.count() >> 20U, plan_.config.slot_size().count() >> 20U));
  }
  return Error(Errc::limit_exceeded,
               fmt::format("all {} slots are taken; godbox vm run --hot-plug-slots makes more",
                           plan_.hot_plug_slots.size()));
}

Result<boost::json::object> VmSession::attach() {
  const SizeBytes size = plan_.config.box.dram_channel_size;
  const Result<std::size_t> slot = find_slot(size);
  if (!slot) {
    return slot.error();
  }
  auto memory = driver::MappedMemory::memfd(size);
  if (!memory) {
    return memory.error();
  }
  Result<DataFile> cdat = DataFile::create(emulator::vm::cdat_table(size, plan_.channel));
  if (!cdat) {
    return cdat.error();
  }
  const unsigned number = static_cast<unsigned>(plan_.topology.devices.size()) + attached_ever_;
  const cxl::ChannelSerial serial{
      .owner = cxl::ChannelOwner::bound,
      .box = plan_.config.box_id,
      .dram_channel = DramChannelId(static_cast<std::uint16_t>(number))};
  Attached attached{.memory = std::move(*memory),
                    .lease = nullptr,
                    .request = {},
                    .cdat = std::move(*cdat),
                    .serial = serial.value(),
                    .id = fmt::format("attached{}", ++attached_ever_)};
  if (Result<void> shown = show(*slot, std::move(attached)); !shown) {
    return shown.error();
  }
  return boost::json::object{
      {"slot", *slot}, {"serial", serial.value()}, {"size_bytes", size.count()}};
}

Result<void> VmSession::show(std::size_t slot, Attached attached) {
  if (Result<void> plugged = plug_in(plan_.hot_plug_slots[slot], attached); !plugged) {
    return plugged;
  }
  const std::string seen = fmt::format(
      "for try in $(seq 200); do grep -qx 0x{:x} /sys/bus/cxl/devices/mem*/serial && exit 0; "
      "sleep 0.1; done; exit 1",
      attached.serial);
  const auto at = attached_.emplace(slot, std::move(attached)).first;
  Result<void> there = guest_does({"sh", "-c", seen}, "looking for the new device", kBringUpLimit);
  if (there) {
    return there;
  }
  // One that the guest does not let go of either stays, to be taken out later.
  if (const Result<bool> unplugged = unplug(at->second); unplugged) {
    leave_slot(at, *unplugged);
  }
  return there;
}

Result<void> VmSession::plug_in(const emulator::vm::HotPlugSlot& slot, const Attached& attached) {
  boost::json::object backend{{"qom-type", "memory-backend-file"},
                              {"id", attached.id + "-memory"},
                              {"mem-path", emulator::vm::descriptor_path(attached.descriptor())},
                              {"size", attached.size().count()},
                              {"share", true},
                              {"reserve", false}};
  if (attached.is_read_only()) {
    backend["readonly"] = true;
  }
  const boost::json::object device{{"driver", "cxl-type3"},
                                   {"id", attached.id},
                                   {"bus", emulator::vm::port_id(slot.port)},
                                   {"volatile-memdev", attached.id + "-memory"},
                                   {"cdat", attached.cdat.path()},
                                   {"sn", attached.serial}};
  Result<std::string> done =
      machine_->qmp("object-add", boost::json::serialize(backend), kQmpLimit);
  if (!done) {
    return done.error();
  }
  done = machine_->qmp("device_add", boost::json::serialize(device), kQmpLimit);
  if (!done) {
    const boost::json::object what{{"id", attached.id + "-memory"}};
    (void)machine_->qmp("object-del", boost::json::serialize(what), kQmpLimit);
    return done.error();
  }
  return {};
}

void VmSession::leave_slot(Slots::iterator at, bool is_unmapped) {
  Attached attached = std::move(at->second);
  attached_.erase(at);
  if (attached.lease) {
    give_back(std::move(attached), is_unmapped);
  }
}

Result<VmSession::Slots::iterator> VmSession::find_attached(const boost::json::object& request) {
  const bool is_named = request.contains("serial");
  const Result<std::uint64_t> serial = number_of(request, "serial", 0);
  if (!serial) {
    return serial.error();
  }
  auto found = attached_.begin();
  while (found != attached_.end() && is_named && found->second.serial != *serial) {
    ++found;
  }
  if (found == attached_.end()) {
    return Error(Errc::not_found, is_named ? fmt::format("no channel {:#x} is attached", *serial)
                                           : std::string("nothing is attached"));
  }
  return found;
}

Result<boost::json::object> VmSession::detach(const boost::json::object& request) {
  const Result<Slots::iterator> found = find_attached(request);
  if (!found) {
    return found.error();
  }
  const Result<bool> is_unmapped = take_out((*found)->second, request);
  if (!is_unmapped) {
    return is_unmapped.error();
  }
  const std::uint64_t serial = (*found)->second.serial;
  leave_slot(*found, *is_unmapped);
  return boost::json::object{{"serial", serial}};
}

Result<VmSession::Found> VmSession::find_device(std::uint64_t serial) const {
  for (std::size_t i = 0; i < plan_.topology.devices.size(); ++i) {
    if (plan_.topology.devices[i].serial_number == serial) {
      const auto device = cxl::Type3DeviceId(static_cast<cxl::Type3DeviceId::rep>(i));
      return Found{emulator::vm::device_id(device), plan_.topology.devices[i].capacity};
    }
  }
  for (const auto& [slot, channel] : attached_) {
    if (channel.serial == serial) {
      return Found{channel.id, channel.size()};
    }
  }
  return Error(Errc::not_found, fmt::format("this VM has no channel {:#x}", serial));
}

std::vector<std::uint64_t> VmSession::serials() const {
  std::vector<std::uint64_t> serials;
  for (const cxl::Type3Device& device : plan_.topology.devices) {
    serials.push_back(device.serial_number);
  }
  for (const auto& [slot, channel] : attached_) {
    serials.push_back(channel.serial);
  }
  return serials;
}

// What all channels, or the one that is named, are; after the changes that the request asks for.
Result<boost::json::object> VmSession::channels(const boost::json::object& request) {
  if (!qemu_.is_patched) {
    return Error(Errc::unsupported,
                 fmt::format("faults and counters of channels need a QEMU that qemu-patches/build "
                             "made; this is {}",
                             qemu_.description()));
  }
  const Result<std::uint64_t> serial = number_of(request, "serial", 0);
  if (!serial) {
    return serial.error();
  }
  const bool is_named = request.contains("serial");
  if (changes_channel(request) && !is_named) {
    return Error(Errc::invalid_argument, "a change needs the channel's serial number");
  }
  boost::json::array channels;
  for (const std::uint64_t one : is_named ? std::vector{*serial} : serials()) {
    const Result<Found> device = find_device(one);
    if (!device) {
      return device.error();
    }
    if (Result<void> changed = change_channel(*machine_, device->id, request); !changed) {
      return changed.error();
    }
    Result<boost::json::object> channel = read_channel(*machine_, device->id);
    if (!channel) {
      return channel.error();
    }
    (*channel)["serial"] = one;
    channels.push_back(std::move(*channel));
  }
  return boost::json::object{{"channels", std::move(channels)}};
}

Result<void> VmSession::lose_pool() {
  for (std::size_t i = 0; i < plan_.topology.devices.size(); ++i) {
    const auto device = cxl::Type3DeviceId(static_cast<cxl::Type3DeviceId::rep>(i));
    if (!qemu_.is_patched) {
      return Error(Errc::unsupported, "a stock QEMU cannot take a channel's memory away");
    }
    if (Result<void> dead =
            change_channel(*machine_, emulator::vm::device_id(device), {{"media", "dead"}});
        !dead) {
      return dead;
    }
  }
  return {};
}

// CXL r3.1 8.2.9.9.4.3 (Clear Poison) is the guest's to do: by the file that its kernel has for it.
Result<void> VmSession::clear_poison(std::uint64_t serial, std::uint64_t dpa,
                                     std::uint64_t length) {
  const std::string clear = fmt::format(
      "cd /sys/bus/cxl/devices; mountpoint -q /sys/kernel/debug || "
      "mount -t debugfs debugfs /sys/kernel/debug || exit 1; "
      "for mem in mem*; do grep -qx 0x{:x} $mem/serial || continue; "
      "for at in $(seq {} {} {}); do echo $at >/sys/kernel/debug/cxl/$mem/clear_poison || exit 1; "
      "done; exit 0; done; exit 1",
      serial, dpa, kPoisonUnitBytes, dpa + length - kPoisonUnitBytes);
  return guest_does({"sh", "-c", clear}, "clearing poison", kBringUpLimit);
}

// CXL r3.1 8.2.9.9.4.2 (Inject Poison), as QEMU offers it to its owner: in units of 64 bytes.
Result<boost::json::object> VmSession::poison(const boost::json::object& request) {
  const Result<std::uint64_t> serial = number_of(request, "serial", 0);
  const Result<std::uint64_t> dpa = number_of(request, "dpa", 0);
  const Result<std::uint64_t> length = number_of(request, "length_bytes", kPoisonUnitBytes);
  for (const Result<std::uint64_t>* const one : {&serial, &dpa, &length}) {
    if (!*one) {
      return one->error();
    }
  }
  const Result<Found> device = find_device(*serial);
  if (!device) {
    return device.error();
  }
  if (*dpa % kPoisonUnitBytes != 0 || *length % kPoisonUnitBytes != 0 || *length == 0 ||
      *length > kPoisonBytesMax || *dpa > device->size.count() ||
      *length > device->size.count() - *dpa) {
    return Error(Errc::invalid_argument,
                 fmt::format("{} bytes from DPA {:#x}: poison comes in units of {} bytes, at most "
                             "{}, and channel {:#x} has {:#x} bytes",
                             *length, *dpa, kPoisonUnitBytes, kPoisonBytesMax, *serial,
                             device->size.count()));
  }
  if (is_set(request, "clear")) {
    if (Result<void> cleared = clear_poison(*serial, *dpa, *length); !cleared) {
      return cleared.error();
    }
    return boost::json::object{{"serial", *serial}, {"dpa", *dpa}, {"length_bytes", *length}};
  }
  const Result<std::string> injected = machine_->qmp(
      "cxl-inject-poison",
      boost::json::serialize(boost::json::object{
          {"path", "/machine/peripheral/" + device->id}, {"start", *dpa}, {"length", *length}}),
      kQmpLimit);
  if (!injected) {
    return injected.error();
  }
  return boost::json::object{{"serial", *serial}, {"dpa", *dpa}, {"length_bytes", *length}};
}

}  // namespace godbox::app
