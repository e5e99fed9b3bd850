// SPDX-License-Identifier: Apache-2.0
#include "device.h"

#include "device_text.h"
#include "signal_shield.h"
#include <godbox/driver/dpdk_kernel_devices.h>
#include <godbox/driver/socket_path.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <semaphore>

#include <rte_alarm.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

// Besides what waits in the device: a burst that the owner holds, or a sender has taken ahead, one
// that the driver fills or has not given back yet, one that waits for flush(), and the room of a
// sender.
constexpr std::uint32_t kSpareFrames = 3 * kDpdkBurstFrames + 1;
// What drivers put beside a frame in its buffer: virtio's header, a checksum.
constexpr std::uint32_t kDriverBytes = 32;
// A ring that a preempted thread blocks for no other: cores here have other work, too.
constexpr const char* kPoolOps = "ring_mt_rts";
constexpr std::uint64_t kReceiveOffloads =
    RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;

// Packets that a NIC spreads over queues by: RoCEv2 is UDP, and its source port tells flows apart.
constexpr std::uint64_t kSpreadBy = RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP;

// NICs count buffers in KiB, and some drivers want two at the least.
constexpr std::uint32_t kBufferUnitBytes = 1024;
constexpr std::uint32_t kBufferBytesMin = 2048;

// Lines that a pool puts behind a buffer, and the part of a huge page that no buffer fits into.
constexpr std::uint32_t kSpreadLinesMax = 3;
constexpr std::uint32_t kHugePagePartLost = 64;

std::uint16_t data_room_bytes(std::uint32_t mtu_bytes) {
  const std::uint32_t bytes = mtu_bytes + kFrameOverheadBytes + kDriverBytes;
  return static_cast<std::uint16_t>(
      RTE_PKTMBUF_HEADROOM + std::max(kBufferBytesMin, RTE_ALIGN_CEIL(bytes, kBufferUnitBytes)));
}
static_assert(RTE_PKTMBUF_HEADROOM + kDpdkMtuMax + kFrameOverheadBytes + kDriverBytes +
                  kBufferUnitBytes <
              UINT16_MAX);

bool is_of_pci(const EalOptions& options, std::string_view name) {
  return std::ranges::count(options.pci_addresses, name, driver_name) != 0;
}

// Neither net_vhost nor net_memif starts where a process that was killed has left its socket.
Result<void> clear_listening_path(const std::string& device) {
  const std::string_view driver = driver_name(device);
  const std::string listening = device_argument(device, "iface");
  if (driver.starts_with("net_vhost") && !listening.empty() &&
      device_argument(device, "client") != "1") {
    return clear_socket_path(listening, SOCK_STREAM);
  }
  const std::string role = device_argument(device, "role"),
                    shared = device_argument(device, "socket");
  const bool is_server = role == "server" || role == "master";
  if (driver.starts_with("net_memif") && is_server && !shared.empty() &&
      device_argument(device, "socket-abstract") == "no") {
    // Its type is SOCK_SEQPACKET: whether somebody listens there is told without being let in, as a
    // connection that ends at once makes DPDK's interrupt thread (22.11) panic.
    return clear_socket_path(shared, SOCK_STREAM);
  }
  return {};
}

// Drivers cut a path that is too long for a socket, and take what is left of it.
Result<void> check_paths(const std::string& device) {
  for (const char* const name : {"iface", "path", "socket"}) {
    const std::string path = device_argument(device, name);
    const Result<sockaddr_un> fitting = path.empty() ? sockaddr_un{} : socket_address(path);
    if (!fitting) {
      return Error(Errc::config_invalid, fmt::format("{}={}", name, fitting.error().detail));
    }
  }
  return clear_listening_path(device);
}

Result<void> check_options(const DpdkPortOptions& options) {
  if (options.device.empty() || options.device.front() == ',') {
    return Error(Errc::config_invalid,
                 fmt::format("device = \"{}\"; a DPDK device is like net_tap0 or 0000:3b:00.0",
                             options.device));
  }
  if (options.mtu_bytes < kDpdkMtuMin || options.mtu_bytes > kDpdkMtuMax) {
    return Error(Errc::config_invalid, fmt::format("mtu_bytes = {}; an MTU is {} to {} bytes",
                                                   options.mtu_bytes, kDpdkMtuMin, kDpdkMtuMax));
  }
  if (options.queues == 0 || options.queues > kDpdkQueuesMax) {
    return Error(Errc::config_invalid, fmt::format("queues = {}; a port has 1 to {} of them",
                                                   options.queues, kDpdkQueuesMax));
  }
  for (const std::uint16_t count : {options.receive_descriptors, options.send_descriptors}) {
    if (count < kDpdkDescriptorsMin || count > kDpdkDescriptorsMax) {
      return Error(Errc::config_invalid,
                   fmt::format("{} descriptors; a queue has {} to {} of them", count,
                               kDpdkDescriptorsMin, kDpdkDescriptorsMax));
    }
  }
  return {};
}

// Of what a driver answers, 0 where it says nothing: its -1 is no EPERM, and its reason is in the
// log.
int number_of(int status) { return status == -1 ? 0 : -status; }

// Drivers say little of what the kernel keeps from them, and most of it in their logs alone: what
// is missing comes first, and their words behind it.
Error explained(std::string_view device, const Error& error) {
  const Result<void> checked = check_kernel_device(device);
  return checked ? error
                 : Error(checked.error().code,
                         fmt::format("{}; {}", checked.error().detail, error.detail));
}

bool is_zero(const MacAddress& mac) { return mac == MacAddress{}; }

Error is_open(std::string_view name) {
  return {Errc::already_exists, fmt::format("{} is open in this process", name)};
}

// Returns when DPDK's interrupt thread is through with what it does now. A driver that stops asks
// it to forget the device, which it does not while it is at it, and calls what is gone later
// (net_virtio_user in 22.11). Twice, as what it does may have been put off to an alarm.
void settle_interrupts() {
  for (int turn = 0; turn < 2; ++turn) {
    std::binary_semaphore passed(0);
    const auto pass = [](void* semaphore) {
      static_cast<std::binary_semaphore*>(semaphore)->release();
    };
    if (rte_eal_alarm_set(1, pass, &passed) == 0) {
      passed.acquire();
    }
  }
}

}  // namespace

// A pool keeps each buffer within as few pages as it can, so without huge pages a buffer takes
// whole ones (rte_mempool_op_calc_mem_size_helper()). In a huge page a few are side by side, with
// lines between them that spread them over the memory's channels, and the rest of the page is lost.
SizeBytes dpdk_port_memory(const DpdkPortOptions& options, const EalOptions& eal) {
  const std::uint64_t frames = std::uint64_t{options.receive_descriptors} +
                               options.send_descriptors + std::uint64_t{2} * kSpareFrames;
  const std::uint64_t buffer_bytes = data_room_bytes(options.mtu_bytes) + sizeof(rte_mbuf) +
                                     sizeof(rte_mempool_objhdr) +
                                     std::uint64_t{kSpreadLinesMax} * RTE_CACHE_LINE_SIZE;
  const auto page_bytes = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  const std::uint64_t frame_bytes = eal.huge_pages
                                        ? buffer_bytes + buffer_bytes / kHugePagePartLost
                                        : (buffer_bytes + page_bytes - 1) / page_bytes * page_bytes;
  constexpr std::uint64_t kRings = std::uint64_t{512} << 10U;
  return SizeBytes(options.queues * (frames * frame_bytes + kRings));
}

Result<std::shared_ptr<RingPair>> RingPair::make(const DpdkRingPairOptions& options) {
  auto pair = std::make_shared<RingPair>();
  for (int end = 0; end < 2; ++end) {
    const LogCapture log;
    pair->rings[end] =
        rte_ring_create(fmt::format("godbox_{}{}", options.name, end).c_str(), options.frames_max,
                        SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    if (pair->rings[end] == nullptr) {
      const int error_number = rte_errno;
      return Error(dpdk_errc(error_number),
                   log.explain(fmt::format("cannot make the ring pair \"{}\" of frames_max = {}",
                                           options.name, options.frames_max),
                               error_number));
    }
  }
  return pair;
}

RingPair::~RingPair() {
  for (rte_ring* ring : rings) {
    void* frame = nullptr;
    while (ring != nullptr && rte_ring_dequeue(ring, &frame) == 0) {
      rte_pktmbuf_free(static_cast<rte_mbuf*>(frame));
    }
    rte_ring_free(ring);
  }
}

Device::Device(std::shared_ptr<Eal> eal, const DpdkPortOptions& options,
               std::shared_ptr<RingPair> rings)
    : eal_(std::move(eal)),
      options_(options),
      rings_(std::move(rings)),
      name_(driver_name(options.device)),
      pools_(options.queues),
      change_events_(options.queues, -1) {}

Result<std::shared_ptr<Device>> Device::open(const std::shared_ptr<Eal>& eal,
                                             const DpdkPortOptions& options) {
  const SignalShield shield;
  Result<void> done = check_options(options);
  if (done && !eal->state().claim_device(std::string(driver_name(options.device)))) {
    done = is_open(driver_name(options.device));
  }
  if (!done) {
    return done.error();
  }
  const std::shared_ptr<Device> device(new Device(eal, options, nullptr));
  if (Result<void> checked = check_paths(options.device); !checked) {
    return checked.error();
  }
  const Result<std::uint16_t> port = device->find();
  done = port ? device->start(*port) : Result<void>(port.error());
  return done ? Result<std::shared_ptr<Device>>(device) : explained(options.device, done.error());
}

Result<std::shared_ptr<Device>> Device::open_end(const std::shared_ptr<Eal>& eal,
                                                 const DpdkRingPairOptions& options,
                                                 const std::shared_ptr<RingPair>& rings, int end) {
  const SignalShield shield;
  const DpdkPortOptions port_options = {.device = fmt::format("net_ring_{}{}", options.name, end),
                                        .mtu_bytes = options.mtu_bytes,
                                        .send_descriptors = options.frames_max};
  Result<void> done = check_options(port_options);
  if (done && !eal->state().claim_device(port_options.device)) {
    done = is_open(port_options.device);
  }
  if (!done) {
    return done.error();
  }
  const std::shared_ptr<Device> device(new Device(eal, port_options, rings));
  const Result<std::uint16_t> port = device->make_end(end);
  if (!port) {
    return port.error();
  }
  done = device->start(*port);
  return done ? Result<std::shared_ptr<Device>>(device) : done.error();
}

Result<std::uint16_t> Device::find() const {
  const bool is_pci = is_of_pci(eal_->state().options, name_);
  if (!is_pci && name_.find(':') != std::string::npos) {
    return Error(Errc::config_invalid,
                 fmt::format("device {} is none of pci_addresses, which DPDK started with", name_));
  }
  const LogCapture log;
  if (const int status = is_pci ? 0 : rte_dev_probe(options_.device.c_str()); status != 0) {
    const int error_number = number_of(status);
    return Error(
        dpdk_errc(error_number),
        log.explain(fmt::format("cannot make the device \"{}\"", options_.device), error_number) +
            (status == -EFAULT ? "; is its driver's package (librte-net-...) installed?" : ""));
  }
  std::uint16_t port = 0;
  if (rte_eth_dev_get_port_by_name(name_.c_str(), &port) != 0) {
    return Error(Errc::device_missing, fmt::format("DPDK has no Ethernet device {}; is a driver "
                                                   "like vfio-pci bound to it?",
                                                   name_));
  }
  return port;
}

Result<std::uint16_t> Device::make_end(int end) const {
  const LogCapture log;
  // The driver puts "net_ring_" before it.
  const std::string short_name = name_.substr(std::string_view("net_ring_").size());
  const int port =
      rte_eth_from_rings(short_name.c_str(), &rings_->rings[end], 1, &rings_->rings[1 - end], 1, 0);
  if (port < 0) {
    return error(log, "make the device", -rte_errno);
  }
  return static_cast<std::uint16_t>(port);
}

Result<void> Device::start(std::uint16_t port) {
  port_ = port;
  rte_eth_dev_info info;
  if (const int status = rte_eth_dev_info_get(port, &info); status != 0) {
    return Error(dpdk_errc(-status), fmt::format("DPDK says nothing of {}", name_));
  }
  Result<void> done = check(info);
  for (const auto step : {&Device::configure, &Device::set_up_queues}) {
    done = done ? (this->*step)(info) : done;
  }
  for (const auto step : {&Device::run, &Device::settle_mac}) {
    done = done ? (this->*step)() : done;
  }
  return done;
}

Error Device::error(const LogCapture& log, std::string_view what, int status) const {
  const int error_number = number_of(status);
  return {dpdk_errc(error_number),
          log.explain(fmt::format("cannot {} {}", what, name_), error_number)};
}

Result<void> Device::check(const rte_eth_dev_info& info) const {
  const unsigned queues_max = std::min(info.max_rx_queues, info.max_tx_queues);
  if (options_.queues > queues_max) {
    return Error(Errc::out_of_range,
                 fmt::format("queues = {}, but {} has {}; some drivers have more "
                             "by an argument: {},...,queues={}",
                             options_.queues, name_, queues_max, name_, options_.queues));
  }
  const std::uint32_t overhead = info.max_mtu != UINT16_MAX && info.max_rx_pktlen > info.max_mtu
                                     ? info.max_rx_pktlen - info.max_mtu
                                     : RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
  const std::uint32_t most = std::min<std::uint32_t>(info.max_mtu, info.max_rx_pktlen - overhead);
  const std::uint32_t least = std::max<std::uint32_t>(info.min_mtu, kDpdkMtuMin);
  if (options_.mtu_bytes < least || options_.mtu_bytes > most) {
    return Error(Errc::out_of_range, fmt::format("mtu_bytes = {}, but {} takes {} to {}",
                                                 options_.mtu_bytes, name_, least, most));
  }
  return {};
}

Result<void> Device::configure(const rte_eth_dev_info& info) {
  rte_eth_conf conf{};
  conf.rxmode.mtu = options_.mtu_bytes;
  // Only hardware has looked at the bytes; virtual devices say "good" of what nobody has.
  if (is_of_pci(eal_->state().options, name_)) {
    conf.rxmode.offloads = info.rx_offload_capa & kReceiveOffloads;
  }
  conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
  if (options_.queues > 1 && (info.flow_type_rss_offloads & kSpreadBy) != 0) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads & kSpreadBy;
  }
  conf.intr_conf.rxq = 1;
  interrupts_ = true;
  const LogCapture log;
  int status = rte_eth_dev_configure(port_, options_.queues, options_.queues, &conf);
  if (status == -ENOTSUP) {
    conf.intr_conf.rxq = 0;
    interrupts_ = false;
    status = rte_eth_dev_configure(port_, options_.queues, options_.queues, &conf);
  }
  if (status != 0) {
    return error(log, "configure", status);
  }
  return {};
}

Result<void> Device::set_up_queues(const rte_eth_dev_info& info) {
  const LogCapture log;
  if (const int status = rte_eth_dev_adjust_nb_rx_tx_desc(port_, &options_.receive_descriptors,
                                                          &options_.send_descriptors);
      status != 0) {
    return error(log, "choose the descriptors of", status);
  }
  if (Result<void> made = make_pools(); !made) {
    return Error(made.error().code, log.explain(made.error().detail, rte_errno));
  }
  rte_eth_txconf send = info.default_txconf;
  send.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
  const int socket = rte_eth_dev_socket_id(port_);
  for (std::uint16_t queue = 0; queue < options_.queues; ++queue) {
    int status =
        rte_eth_rx_queue_setup(port_, queue, options_.receive_descriptors,
                               static_cast<unsigned>(socket), nullptr, pools_[queue].receive);
    status = status != 0 ? status
                         : rte_eth_tx_queue_setup(port_, queue, options_.send_descriptors,
                                                  static_cast<unsigned>(socket), &send);
    if (status != 0) {
      return error(log, fmt::format("set up queue {} of", queue), status);
    }
  }
  return {};
}

Result<void> Device::make_pools() {
  static std::atomic<std::uint32_t> made = 0;  // names of pools that are parked are taken
  const auto make = [this](std::uint32_t descriptors) {
    return rte_pktmbuf_pool_create_by_ops(
        fmt::format("godbox_pool_{}", made++).c_str(), descriptors + kSpareFrames, 0, 0,
        data_room_bytes(options_.mtu_bytes), rte_eth_dev_socket_id(port_), kPoolOps);
  };
  for (QueuePools& pools : pools_) {
    pools.receive = make(options_.receive_descriptors);
    pools.send = pools.receive == nullptr ? nullptr : make(options_.send_descriptors);
    if (pools.send == nullptr) {
      return Error(
          dpdk_errc(rte_errno),
          fmt::format("no room for the frames of {}: a port of mtu_bytes = {}, queues = {} "
                      "takes {} MiB of DPDK's memory, {} MiB for all ports",
                      name_, options_.mtu_bytes, options_.queues,
                      (dpdk_port_memory(options_, eal_->state().options).count() >> 20U) + 1,
                      eal_->state().options.memory.count() >> 20U));
    }
  }
  return {};
}

Result<void> Device::run() {
  const LogCapture log;
  listen_to_changes(true);
  if (const int status = rte_eth_dev_start(port_); status != 0) {
    return error(log, "start", status);
  }
  (void)rte_eth_dev_set_link_up(port_);  // where a driver knows that
  // NDP and others send to groups; a driver that cannot has no filter.
  (void)rte_eth_allmulticast_enable(port_);
  (void)rte_eth_stats_reset(port_);
  return {};
}

// Virtual devices filter nothing: what we say is our address is.
Result<void> Device::settle_mac() {
  const LogCapture log;
  rte_ether_addr own{};
  if (const int status = rte_eth_macaddr_get(port_, &own); status != 0) {
    return error(log, "ask for the address of", status);
  }
  std::ranges::copy(own.addr_bytes, mac_.begin());
  if (options_.mac.has_value()) {
    mac_ = *options_.mac;
  } else if (is_zero(mac_)) {
    rte_eth_random_addr(mac_.data());
  } else {
    return {};
  }
  rte_ether_addr wanted{};
  std::ranges::copy(mac_, wanted.addr_bytes);
  if (rte_is_valid_assigned_ether_addr(&wanted) == 0) {
    return Error(Errc::config_invalid,
                 fmt::format("mac of {} is not an address of one station", name_));
  }
  if (rte_eth_dev_default_mac_addr_set(port_, &wanted) != 0 &&
      rte_eth_promiscuous_get(port_) != 1) {
    if (const int status = rte_eth_promiscuous_enable(port_); status != 0 && status != -ENOTSUP) {
      return error(log, "give its mac to", status);
    }
  }
  return {};
}

Device::~Device() {
  const SignalShield shield;
  listen_to_changes(false);
  rte_eth_dev_info info{};
  const LogCapture log;
  if (port_ != RTE_MAX_ETHPORTS && rte_eth_dev_info_get(port_, &info) == 0) {
    settle_interrupts();
    (void)rte_eth_dev_stop(port_);
    (void)rte_eth_dev_close(port_);
    (void)rte_dev_remove(info.device);
  }
  rings_.reset();
  for (const QueuePools& pools : pools_) {
    eal_->state().release_pool(pools.receive);
    eal_->state().release_pool(pools.send);
  }
  eal_->state().release_device(name_);
}

bool Device::link_is_up() const {
  rte_eth_link link{};
  return rte_eth_link_get_nowait(port_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

void Device::listen_to_changes(bool listens) {
  if (listens == listens_) {
    return;
  }
  listens_ = listens;
  for (const rte_eth_event_type event : {RTE_ETH_EVENT_INTR_LSC, RTE_ETH_EVENT_QUEUE_STATE}) {
    if (listens) {
      (void)rte_eth_dev_callback_register(port_, event, &Device::on_change, this);
      continue;
    }
    while (rte_eth_dev_callback_unregister(port_, event, &Device::on_change, this) == -EAGAIN) {
      (void)usleep(100);  // it runs just now, on a thread of DPDK's
    }
  }
}

int Device::on_change(std::uint16_t /*port*/, rte_eth_event_type /*event*/, void* self,
                      void* /*result*/) {
  auto* const device = static_cast<Device*>(self);
  device->changes_.fetch_add(1, std::memory_order_release);
  const std::scoped_lock lock(device->events_mutex_);
  for (const int descriptor : device->change_events_) {
    if (descriptor >= 0) {
      (void)eventfd_write(descriptor, 1);
    }
  }
  return 0;
}

void Device::set_change_event(std::uint16_t queue, int descriptor) {
  const std::scoped_lock lock(events_mutex_);
  change_events_[queue] = descriptor;
}

}  // namespace godbox::driver
