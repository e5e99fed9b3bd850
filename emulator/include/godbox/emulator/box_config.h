// SPDX-License-Identifier: Apache-2.0
//
// Configuration of a box: presets, a TOML file, overrides from the command line, checked as one.
// Thread-safety: plain values. Units: bytes, bytes per second, in each name.
// Errors: config_invalid, or address_not_loopback for listen_host, with a sentence that names key,
// value and what is allowed.
#pragma once

#include <godbox/memory_target.h>
#include <godbox/result.h>
#include <godbox/stream.h>
#include <godbox/transport.h>
#include <godbox/units.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::emulator {

enum class MemoryKind : std::uint8_t { memfd, tmpfs, hugetlbfs, device, numa };
// What the local control socket, which only its owner can open, gives to map: everything, writable,
// to any tenant, which is for processes that trust each other; or nothing. `cxl` is `trusted`, and
// sessions on the Ethernet ports may say too that they map the memory: as the CXL devices of a VM.
enum class MapMemory : std::uint8_t { off, trusted, cxl };
inline constexpr std::array<std::string_view, 3> kMapMemoryNames = {"off", "trusted", "cxl"};
[[nodiscard]] constexpr std::string_view to_string(MapMemory map_memory) {
  return kMapMemoryNames[static_cast<std::size_t>(map_memory)];
}
// In which form the box shows its DRAM channels to machines, and so in which order their bytes lie
// in memory: channels of one region share one memory, in the order of the region's addresses.
enum class ChannelForm : std::uint8_t {
  channels,    // A: every DRAM channel a region of its own, with a window of its own
  super_nics,  // B: a region and a window per SuperNIC, over its channels
  widest,      // C: as few regions as are legal; 16 + 2 for 18 channels, 16 + 8 + 4 for 28
  slots,       // no channel at all: hot-plug slots, for what is bound later; of VMs, not of boxes
};
inline constexpr std::array<std::string_view, 4> kChannelFormNames = {"channels", "super-nics",
                                                                      "widest", "slots"};
inline constexpr std::array<std::string_view, 3> kBoxFormNames = {"channels", "super-nics",
                                                                  "widest"};
[[nodiscard]] constexpr std::string_view to_string(ChannelForm form) {
  return kChannelFormNames[static_cast<std::size_t>(form)];
}
enum class TimingMode : std::uint8_t { free, paced };
enum class EvictionPolicy : std::uint8_t { none, lru };

struct TenantQuota {
  std::string tenant;
  SizeBytes quota;
};

struct VmQuota {
  std::string vm;
  SizeBytes quota;
};

// Whether sealed bytes may go to clients by reference to the pool's memory instead of as copies:
// `automatic` where that is safe (memory that is mapped in trust, clients of the box's user on this
// machine, a kernel that tells what they have read) and faster.
enum class SendByReference : std::uint8_t { off, automatic };
inline constexpr std::array<std::string_view, 2> kSendByReferenceNames = {"off", "auto"};
[[nodiscard]] constexpr std::string_view to_string(SendByReference send_by_reference) {
  return kSendByReferenceNames[static_cast<std::size_t>(send_by_reference)];
}

// Whether the box's threads may look for the next request for a while before they sleep:
// `automatic` where there is more than one processor, after small requests, as long as that pays.
enum class BusyPoll : std::uint8_t { off, automatic };
inline constexpr std::array<std::string_view, 2> kBusyPollNames = {"off", "auto"};
[[nodiscard]] constexpr std::string_view to_string(BusyPoll busy_poll) {
  return kBusyPollNames[static_cast<std::size_t>(busy_poll)];
}

// What the paced mode holds a box to, before the time scale: payload of one of each, and how long a
// first byte takes there and back. A rate of 0 is unlimited.
struct StageRates {
  Rate dram_channel{};
  Rate cxl_link{};
  Rate eth_port{};
  Rate super_nic_path{};     // between the links and the ports of one SuperNIC
  Duration channel_delay{};  // DRAM, link and controller
  Duration network_delay{};  // SuperNIC, port, and the way to the host
};
// DRAM channels work for both; everything else has a direction for each.
struct PacedRates {
  StageRates read;
  StageRates write;

  [[nodiscard]] static PacedRates both(const StageRates& rates) { return {rates, rates}; }
  [[nodiscard]] const StageRates& of(WorkOp op) const { return op == WorkOp::read ? read : write; }
};

struct BoxConfig {
  std::string name = "godbox";
  std::uint32_t super_nics = 9;
  std::uint32_t dram_channels_per_super_nic = 2;
  std::uint32_t eth_ports_per_super_nic = 4;
  SizeBytes dram_channel_size{std::uint64_t{1} << 40U};
  // Ethernet port i listens on listen_host, TCP port tcp_port_base + i; base 0 takes free ones.
  std::string listen_host = "127.0.0.1";
  std::uint16_t tcp_port_base = 7400;
  std::string control_socket;  // empty: default_control_socket()

  MemoryKind memory = MemoryKind::memfd;
  std::string memory_path;                  // directory (tmpfs, hugetlbfs) or device, "{}" = index
  std::vector<std::string> memory_devices;  // device: one path per DRAM channel, instead
  // device: `software` where other hosts use the same memory, as a CXL 2.0 pool is shared.
  Coherence memory_coherence = Coherence::coherent;
  std::string numa_nodes;  // numa: one per DRAM channel, like "1-18" or "2,4,6"
  // Fixed for the box's life; other forms than `channels` need memory that is memfd or tmpfs.
  ChannelForm form = ChannelForm::channels;
  // Of the regions. Unset: 4 KiB, or the largest below it that is legal.
  std::optional<SizeBytes> interleave_granularity;
  MapMemory map_memory = MapMemory::trusted;
  SendByReference send_by_reference = SendByReference::automatic;
  BusyPoll busy_poll = BusyPoll::automatic;
  std::optional<SizeBytes> backing_limit;  // unset: half of the machine's; devices: all

  EvictionPolicy eviction = EvictionPolicy::lru;
  // Of what the true limit (space or backing) leaves beside regions, reservations and leases:
  double high_watermark = 0.95;  // eviction starts
  double low_watermark = 0.90;   // and goes on to here
  // What a tenant may have in the pool: of its own, or else as all others. Unset: no limit.
  std::optional<SizeBytes> tenant_quota;
  std::vector<TenantQuota> tenant_quotas;
  // What a VM may have of its own, by its name (PoolService::bind), or else as all others.
  std::optional<SizeBytes> vm_quota;
  std::vector<VmQuota> vm_quotas;
  Duration lease_max = std::chrono::seconds(30);
  Duration reservation_max = std::chrono::seconds(60);
  Duration session_timeout = std::chrono::seconds(30);
  // How long a session goes on without its control connection, so that its client can open another
  // one: while a lane of it stands. 0: not at all.
  Duration session_grace = std::chrono::seconds(2);

  TimingMode mode = TimingMode::free;
  // What channels, links and SuperNICs are (docs/model.md): the name of a device that comes with
  // godbox, or a parameter file; and keys of it with other values, "link.lanes=16". They say what
  // the paced mode holds the box to, and what a VM's kernel is told of its memory.
  std::string device = "emfasys";
  std::vector<std::string> device_settings;
  Rate eth_port_rate{100e9};  // of the wire, each direction
  // Instead of what the device says: for boxes in which one stage alone is looked at.
  std::optional<PacedRates> rates;
  double time_scale = 1.0;  // paced: rates are divided by it, delays multiplied
  // DRAM channels that move a share of their rate: "3=slow:10%", as parse_channel_fault() reads
  // them (channel_fault.h); of a channel's several the last holds.
  std::vector<std::string> channel_faults;
  // What is wrong with Ethernet ports from the start: "3=slow:10%", "4=dead", "5=flap:1s", ... as
  // parse_numbered_port_fault() reads them (port_fault.h); of a port's several the last holds.
  std::vector<std::string> port_faults;

  // Which Ethernet ports are reached by RDMA too, and how: "10.0.2.2/24@packet:eth1", ... as
  // parse_roce_ports() reads them (roce_port_config.h).
  std::vector<std::string> roce_ports;
  bool dpdk_huge_pages = false;  // of those on DPDK

  std::uint32_t server_threads = 0;  // 0: one per two cores, at most one per Ethernet port

  [[nodiscard]] std::uint32_t dram_channels() const {
    return super_nics * dram_channels_per_super_nic;
  }
  [[nodiscard]] std::uint32_t eth_ports() const { return super_nics * eth_ports_per_super_nic; }
  [[nodiscard]] SizeBytes capacity() const { return dram_channel_size * dram_channels(); }
  [[nodiscard]] SuperNicId super_nic_of(DramChannelId id) const {
    return SuperNicId(static_cast<std::uint16_t>(id.value() / dram_channels_per_super_nic));
  }
  [[nodiscard]] SuperNicId super_nic_of(EthPortId id) const {
    return SuperNicId(static_cast<std::uint16_t>(id.value() / eth_ports_per_super_nic));
  }
};

// Names of the presets: emfasys18, emfasys28, acf1, laptop (DESIGN section 9). Their device and
// their ports are published (sources at each).
[[nodiscard]] std::vector<std::string_view> preset_names();
[[nodiscard]] Result<BoxConfig> preset(std::string_view name);
// Applies a TOML document over `base` ("preset" in it replaces the base first). `where` names it in
// errors. Unknown keys are errors that suggest the nearest known one.
[[nodiscard]] Result<BoxConfig> apply_toml(BoxConfig base, std::string_view text,
                                           std::string_view where);
// "64KiB", "256 MiB", "1TiB", "4096"; "44.8GB/s", "100Gbit/s", never 0.
[[nodiscard]] Result<SizeBytes> parse_size(std::string_view text);
[[nodiscard]] Result<Rate> parse_rate(std::string_view text);
// "1-18", "0", "2,4-6": numbers from 0 to 1023, none twice, in the order given.
[[nodiscard]] Result<std::vector<std::uint16_t>> parse_numa_nodes(std::string_view text);
// All relations between keys: 1..64 DRAM channels, sizes in multiples of 256 MiB (1 MiB in tests
// through `dram_channel_granularity`), watermarks 0 < low <= high <= 1, loopback only, port range
// fits ...
[[nodiscard]] Result<void> validate(const BoxConfig& config,
                                    SizeBytes dram_channel_granularity = SizeBytes(256U << 20U));
// $XDG_RUNTIME_DIR/godbox/control.sock, or /tmp/godbox-<uid>/control.sock.
[[nodiscard]] std::string default_control_socket();

}  // namespace godbox::emulator
