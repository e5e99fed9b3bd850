// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/vm/cdat.h>
#include <godbox/emulator/vm/qemu_command.h>

#include <fmt/format.h>

#include <algorithm>

namespace godbox::emulator::vm {
namespace {

constexpr std::string_view kGuestRamId = "guest_ram";

std::string size_text(SizeBytes size) {
  constexpr SizeBytes kMebibyte{1U << 20U};
  return (size % kMebibyte).is_zero() ? fmt::format("{}M", size / kMebibyte)
                                      : fmt::format("{}", size.count());
}

class Command {
 public:
  Command(const VmPlan& plan, const QemuInputs& inputs) : plan_(plan), inputs_(inputs) {}

  std::vector<std::string> arguments() && {
    add_machine();
    add_memory();
    for (std::size_t b = 0; b < topology().host_bridges.size(); ++b) {
      add_bridge(b);
    }
    for (std::size_t s = 0; s < topology().switches.size(); ++s) {
      add_switch(s);
    }
    for (std::size_t d = 0; d < topology().devices.size(); ++d) {
      const auto device = cxl::Type3DeviceId(static_cast<std::uint16_t>(d));
      add_device(device);
    }
    add_numa();
    return std::move(arguments_);
  }

 private:
  [[nodiscard]] const cxl::Topology& topology() const { return plan_.topology; }

  void add(std::string option, std::string value) {
    arguments_.push_back(std::move(option));
    arguments_.push_back(std::move(value));
  }

  void add_machine() {
    std::string machine = "q35,cxl=on,hmat=on";
    for (std::size_t w = 0; w < topology().windows.size(); ++w) {
      const cxl::FixedMemoryWindow& window = topology().windows[w];
      for (std::size_t t = 0; t < window.targets.size(); ++t) {
        machine += fmt::format(",cxl-fmw.{}.targets.{}={}", w, t, bridge_id(window.targets[t]));
      }
      machine += fmt::format(",cxl-fmw.{}.size={},cxl-fmw.{}.interleave-granularity={}", w,
                             size_text(window.size), w, window.granularity.count());
    }
    add("-M", std::move(machine));
    // Linux commits no region under a hypervisor: it cannot flush the processor's caches there.
    add("-cpu", fmt::format("max,hypervisor=off,phys-bits={}", plan_.address_bits));
  }

  void add_memory() {
    const std::string size = size_text(plan_.config.guest_memory);
    add("-m", size);
    add("-smp", std::to_string(plan_.config.cpus));
    add("-object", fmt::format("memory-backend-memfd,id={},size={},share=on", kGuestRamId, size));
  }

  // Where a device's memory is: its own, or that of several.
  struct Slice {
    const InterleavedMemory* memory = nullptr;
    std::size_t position = 0;
  };
  [[nodiscard]] Slice slice_of(cxl::Type3DeviceId device) const {
    for (const InterleavedMemory& memory : inputs_.interleaved) {
      const auto at = std::find(memory.devices.begin(), memory.devices.end(), device);
      if (at != memory.devices.end()) {
        return {.memory = &memory,
                .position = static_cast<std::size_t>(at - memory.devices.begin())};
      }
    }
    return {};
  }

  void add_backend(cxl::Type3DeviceId device, SizeBytes size) {
    add("-object", fmt::format("memory-backend-file,id={},size={},share=on,reserve=off,mem-path={}",
                               memory_backend_id(device), size_text(size),
                               option_value(inputs_.backing_paths[device.value()])));
  }

  // Of several devices in the list's order the first one brings the memory of all.
  void add_device(cxl::Type3DeviceId device) {
    const cxl::Type3Device& one = topology().devices[device.value()];
    const Slice slice = slice_of(device);
    cxl::Type3DeviceId backend = device;
    std::string placed;
    if (slice.memory == nullptr) {
      add_backend(backend, one.capacity);
    } else {
      const InterleavedMemory& memory = *slice.memory;
      backend = *std::min_element(memory.devices.begin(), memory.devices.end());
      if (backend == device) {
        add_backend(backend, memory.size);
      }
      placed = fmt::format(
          ",volatile-memdev-ways={},volatile-memdev-granularity={},volatile-memdev-position={}",
          memory.devices.size(), memory.granularity.count(), slice.position);
    }
    const bool has_cdat =
        !inputs_.cdat_paths.empty() && !inputs_.cdat_paths[device.value()].empty();
    add("-device",
        fmt::format("cxl-type3,id={},bus={},volatile-memdev={}{},sn={:#x}{}", device_id(device),
                    port_id(one.attached_to), memory_backend_id(backend), placed, one.serial_number,
                    has_cdat ? ",cdat=" + option_value(inputs_.cdat_paths[device.value()]) : ""));
  }

  // Nodes without memory but the guest's: Linux makes the windows' nodes itself. The generic ports'
  // numbers come after those.
  void add_numa() {
    const unsigned cpus = plan_.config.cpus;
    add("-numa", cpus == 1
                     ? fmt::format("node,nodeid=0,memdev={},cpus=0", kGuestRamId)
                     : fmt::format("node,nodeid=0,memdev={},cpus=0-{}", kGuestRamId, cpus - 1));
    for (const PlannedWindow& window : plan_.windows) {
      add("-numa", fmt::format("node,nodeid={}", window.numa_node));
    }
    const HostSide& host = plan_.config.host_side;
    add_locality(0, host.latency + host.own_memory, host.bandwidth);
    for (std::size_t b = 0; b < topology().host_bridges.size(); ++b) {
      const auto bridge = cxl::HostBridgeId(static_cast<std::uint16_t>(b));
      const unsigned node = plan_.generic_port_node(bridge);
      add("-numa", fmt::format("node,nodeid={}", node));
      add("-object",
          fmt::format("acpi-generic-port,id=gp{},pci-bus={},node={}", b, bridge_id(bridge), node));
      add_locality(node, host.latency, host.bandwidth);
    }
  }

  void add_locality(unsigned target, Duration latency, Rate bandwidth) {
    const std::string begin =
        fmt::format("hmat-lb,initiator=0,target={},hierarchy=memory,data-type=", target);
    add("-numa", fmt::format("{}access-latency,latency={}", begin, latency.count()));
    // QEMU counts in MiB/s, and the guest reads the number as MB/s.
    add("-numa", fmt::format("{}access-bandwidth,bandwidth={:.0f}M", begin,
                             bandwidth.bytes_per_second() / 1e6));
  }

  void add_bridge(std::size_t index) {
    const cxl::HostBridge& bridge = topology().host_bridges[index];
    const auto id = cxl::HostBridgeId(static_cast<std::uint16_t>(index));
    add("-device",
        fmt::format("pxb-cxl,id={},bus=pcie.0,bus_nr={}", bridge_id(id), bridge.bus_number));
    for (const unsigned number : bridge.root_ports) {
      add("-device", fmt::format("cxl-rp,id={},bus={},port={},{}",
                                 port_id({.component = id, .port_number = number}), bridge_id(id),
                                 number, next_slot()));
    }
  }

  void add_switch(std::size_t index) {
    const cxl::CxlSwitch& one = topology().switches[index];
    const auto id = cxl::CxlSwitchId(static_cast<std::uint16_t>(index));
    const std::string name = fmt::format("sw{}", index);
    std::string upstream = fmt::format("cxl-upstream,id={},bus={}", name, port_id(one.upstream));
    if (!inputs_.switch_cdat_path.empty()) {
      upstream += ",cdat=" + option_value(inputs_.switch_cdat_path);
    }
    add("-device", std::move(upstream));
    for (const unsigned number : one.downstream_ports) {
      add("-device", fmt::format("cxl-downstream,id={},bus={},port={},{}",
                                 port_id({.component = id, .port_number = number}), name, number,
                                 next_slot()));
    }
  }

  // No two ports share chassis and slot.
  std::string next_slot() {
    const unsigned slot = slots_++;
    return fmt::format("chassis={},slot={}", slot / kSlotsPerChassis + 1, slot % kSlotsPerChassis);
  }

  static constexpr unsigned kSlotsPerChassis = 32;
  const VmPlan& plan_;
  const QemuInputs& inputs_;
  std::vector<std::string> arguments_;
  unsigned slots_ = 0;
};

Result<void> check_inputs(const VmPlan& plan, const QemuInputs& inputs) {
  const std::size_t devices = plan.topology.devices.size();
  if (inputs.backing_paths.size() != devices) {
    return Error(Errc::invalid_argument,
                 fmt::format("{} backing files for {} devices; allowed: one per device",
                             inputs.backing_paths.size(), devices));
  }
  if (!inputs.cdat_paths.empty() && inputs.cdat_paths.size() != devices) {
    return Error(Errc::invalid_argument,
                 fmt::format("{} CDAT files for {} devices; allowed: none, or one per device",
                             inputs.cdat_paths.size(), devices));
  }
  return {};
}

bool needs_quotes(std::string_view word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=,./:@%";
  return word.empty() || word.find_first_not_of(kPlain) != std::string_view::npos;
}

std::string shell_word(std::string_view word) {
  if (!needs_quotes(word)) {
    return std::string(word);
  }
  std::string text = "'";
  for (const char c : word) {
    text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return text + "'";
}

}  // namespace

std::string bridge_id(cxl::HostBridgeId bridge) { return fmt::format("hb{}", bridge.value()); }

std::string port_id(const cxl::CxlPort& port) {
  if (const auto* const bridge = std::get_if<cxl::HostBridgeId>(&port.component)) {
    return fmt::format("{}rp{}", bridge_id(*bridge), port.port_number);
  }
  return fmt::format("sw{}dp{}", std::get<cxl::CxlSwitchId>(port.component).value(),
                     port.port_number);
}

std::string device_id(cxl::Type3DeviceId device) { return fmt::format("mem{}", device.value()); }

std::string memory_backend_id(cxl::Type3DeviceId device) {
  return fmt::format("dram{}", device.value());
}

Result<std::vector<std::string>> qemu_arguments(const VmPlan& plan, const QemuInputs& inputs) {
  if (const Result<void> fit = check_inputs(plan, inputs); !fit) {
    return fit.error();
  }
  return Command(plan, inputs).arguments();
}

std::string option_value(std::string_view value) {
  std::string text;
  for (const char c : value) {
    text.append(c == ',' ? 2 : 1, c);
  }
  return text;
}

std::string shell_text(std::string_view program, std::span<const std::string> arguments) {
  std::string text = shell_word(program);
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const bool is_option = arguments[i].starts_with('-');
    text += (is_option ? " \\\n  " : " ") + shell_word(arguments[i]);
  }
  return text + '\n';
}

}  // namespace godbox::emulator::vm
