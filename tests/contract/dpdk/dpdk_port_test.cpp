// SPDX-License-Identifier: Apache-2.0
//
// What is DPDK's ports' own: devices that are refused, ends that come and go, several queues, many
// ports, files of frames.
#include "dpdk_world.h"

#include <catch2/generators/catch_generators.hpp>
#include <fmt/format.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace godbox::test {
namespace {

using driver::DpdkPort;
using driver::DpdkPortOptions;
using driver::DpdkPortPtr;

Error refusal(const DpdkPortOptions& options) {
  const Result<std::vector<DpdkPortPtr>> ports = driver::open_dpdk_port(test_eal(), options);
  REQUIRE_FALSE(ports.has_value());
  return ports.error();
}

bool send(DpdkPort& from, const MacAddress& to, std::uint32_t number, std::size_t size_bytes) {
  const MutableSpan room = from.room_to_send(size_bytes);
  if (room.empty()) {
    return false;
  }
  write_test_frame(room, to, from.mac(), number);
  from.commit();
  from.flush();
  return true;
}

bool arrives(DpdkPort& at, const MacAddress& from, std::uint32_t number, std::size_t size_bytes) {
  std::array<ConstSpan, 1> frame;
  return eventually([&] { return at.receive(frame) == 1; }) &&
         is_test_frame(frame[0], size_bytes, at.mac(), from, number);
}

TEST_CASE("a device that cannot be is refused with DPDK's reason", "[contract][dpdk]") {
  struct Case {
    DpdkPortOptions options;
    Errc code;
    std::string named;
  };
  const std::vector<Case> cases = {
      {{.device = ""}, Errc::config_invalid, "device = \"\""},
      {{.device = ",iface=x"}, Errc::config_invalid, "device = \",iface=x\""},
      {{.device = "net_nothing0"}, Errc::config_invalid, "net_nothing0"},
      {{.device = "net_vhost7,color=red"}, Errc::io_error, "color=red"},
      {{.device = "net_pcap7,rx_pcap=/nowhere/a.pcap"}, Errc::io_error, "/nowhere/a.pcap"},
      {{.device = "net_vhost7,iface=/nowhere/at/all"}, Errc::io_error, "/nowhere/at/all"},
      {{.device = "0000:00:00.0"}, Errc::config_invalid, "0000:00:00.0"},
      {{.device = "net_null0", .mtu_bytes = 67}, Errc::config_invalid, "mtu_bytes = 67"},
      {{.device = "net_null0", .mtu_bytes = 9601}, Errc::config_invalid, "mtu_bytes = 9601"},
      {{.device = "net_memif0,socket-abstract=no,socket=" + fresh_path("refused"),
        .mtu_bytes = 9000},
       Errc::out_of_range,
       "mtu_bytes = 9000, but net_memif0 takes 68 to 1500"},
      {{.device = "net_null0", .queues = 0}, Errc::config_invalid, "queues = 0"},
      {{.device = "net_null0", .queues = 17}, Errc::config_invalid, "queues = 17"},
      {{.device = "net_vhost0,iface=" + fresh_path("refused"), .queues = 2},
       Errc::out_of_range,
       "queues = 2, but net_vhost0 has 1"},
      {{.device = "net_null0", .receive_descriptors = 63}, Errc::config_invalid, "63 descriptors"},
      {{.device = "net_null0", .send_descriptors = 4097}, Errc::config_invalid, "4097 descriptors"},
      {{.device = "net_null0", .mac = MacAddress{1, 2, 3, 4, 5, 6}}, Errc::config_invalid, "mac"},
  };
  for (const Case& refused : cases) {
    const Error error = refusal(refused.options);
    CAPTURE(refused.options.device, error.message());
    CHECK(to_string(error.code) == to_string(refused.code));
    CHECK(error.detail.find(refused.named) != std::string::npos);
  }
}

TEST_CASE("a device of a name that is open is refused, and the open one stays",
          "[contract][dpdk]") {
  const DpdkPairWorldPtr world = make_ring_world(1500);
  const Result<driver::DpdkRingPair> again = driver::open_dpdk_ring_pair(test_eal(), {});
  REQUIRE_FALSE(again.has_value());
  CAPTURE(again.error().message());
  CHECK(again.error().code == Errc::already_exists);
  const DpdkPortPtr port = open_port({.device = "net_null0"});
  const Error error = refusal({.device = "net_null0"});
  CAPTURE(error.message());
  CHECK(error.code == Errc::already_exists);
  CHECK(send(world->near(), world->far().mac(), 1, 100));
  CHECK(arrives(world->far(), world->near().mac(), 1, 100));
}

TEST_CASE("a port that DPDK's memory has no room for is refused, and leaves none behind",
          "[contract][dpdk]") {
  constexpr SizeBytes kMemory{std::uint64_t{512} << 20U};
  const std::uint32_t mtu_bytes = GENERATE(1500U, 4200U, 9000U, 9600U);
  DpdkPortOptions large = {.device = "net_null0",
                           .mtu_bytes = mtu_bytes,
                           .queues = 1,
                           .receive_descriptors = 4096,
                           .send_descriptors = 4096};
  CAPTURE(mtu_bytes);
  std::vector<DpdkPortPtr> ports;
  Error error;
  for (int i = 0; i < 32 && error.code == Errc::ok; ++i) {
    large.device = fmt::format("net_null{}", i);
    Result<std::vector<DpdkPortPtr>> more = driver::open_dpdk_port(test_eal(), large);
    if (!more) {
      error = more.error();
    } else {
      ports.push_back(std::move(more->front()));
    }
  }
  CAPTURE(error.message());
  CHECK(error.code == Errc::limit_exceeded);
  CHECK(error.detail.find("512 MiB for all ports") != std::string::npos);
  // What a port is said to take is enough for as many as fit.
  const driver::EalOptions eal = {.memory = kMemory};
  const std::uint64_t fit = kMemory.count() / driver::dpdk_port_memory(large, eal).count();
  CHECK(ports.size() >= fit);
  CHECK(ports.size() <= fit + 1);
  const std::size_t most = ports.size();
  ports.clear();
  for (std::size_t i = 0; i < most; ++i) {
    large.device = fmt::format("net_null{}", i);
    ports.push_back(open_port(large));
  }
}

TEST_CASE("a host's port drops and counts while no guest is there, and serves the next one",
          "[contract][dpdk]") {
  const std::string socket = fresh_path("vhost");
  const DpdkPortOptions guest = {.device = "net_virtio_user0,path=" + socket};
  const DpdkPortPtr host = open_port({.device = "net_vhost0,iface=" + socket});
  const MacAddress anybody = {0x02, 0, 0, 0, 0, 1};
  CHECK_FALSE(host->link_is_up());
  REQUIRE(host->wait_descriptor() >= 0);
  std::uint64_t dropped = 0;
  for (std::uint32_t life = 0; life < 3; ++life) {
    CAPTURE(life);
    std::array<ConstSpan, 1> frame;
    CHECK(host->receive(frame) == 0);
    for (std::uint32_t number = 0; number < 200; ++number) {
      REQUIRE(send(*host, anybody, number, 100));
    }
    dropped += 200;
    CHECK(host->counters().send_drops == dropped);
    const DpdkPortPtr port = open_port(guest);
    REQUIRE(eventually([&] { return host->link_is_up() && port->link_is_up(); }));
    // The host sleeps while the guest comes, and is woken by its frame.
    CHECK(host->receive(frame) == 0);
    REQUIRE(send(*port, host->mac(), life, 100));
    pollfd waiting{.fd = host->wait_descriptor(), .events = POLLIN, .revents = 0};
    REQUIRE(poll(&waiting, 1, 10'000) == 1);
    CHECK(arrives(*host, port->mac(), life, 100));
    REQUIRE(send(*host, port->mac(), life, 100));
    CHECK(arrives(*port, host->mac(), life, 100));
  }
  REQUIRE(eventually([&] { return !host->link_is_up(); }));
}

// The file of a socket that listens as long as the descriptor is open.
int listen_at(const std::string& path, int type = SOCK_STREAM) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const int descriptor = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  REQUIRE(bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  REQUIRE(listen(descriptor, 1) == 0);
  return descriptor;
}

TEST_CASE("a host's port replaces the socket of a process that was killed, and nothing else",
          "[contract][dpdk]") {
  const std::string path = fresh_path("vhost");
  const int descriptor = listen_at(path);
  const Error in_use = refusal({.device = "net_vhost0,iface=" + path});
  CAPTURE(in_use.message());
  CHECK(in_use.code == Errc::already_exists);
  CHECK(in_use.detail.find(path) != std::string::npos);
  close(descriptor);
  { const DpdkPortPtr port = open_port({.device = "net_vhost0,iface=" + path}); }
  std::ofstream(path) << "somebody's file";
  CHECK(refusal({.device = "net_vhost0,iface=" + path}).code == Errc::already_exists);
  CHECK(std::ifstream(path).get() == 's');
}

TEST_CASE("a server of memif replaces what a process that was killed has left, and nothing else",
          "[contract][dpdk]") {
  const std::string path = fresh_path("memif");
  const auto device = [&path](int number) {
    return fmt::format("net_memif{0},id={0},role=server,socket-abstract=no,socket={1}", number,
                       path);
  };
  close(listen_at(path, SOCK_SEQPACKET));
  {
    const DpdkPortPtr port = open_port({.device = device(0)});
    CHECK(refusal({.device = device(1)}).code == Errc::already_exists);
  }
  std::filesystem::remove(path);
  std::ofstream(path) << "somebody's file";
  CHECK(refusal({.device = device(0)}).code == Errc::already_exists);
  CHECK(std::ifstream(path).get() == 's');
}

TEST_CASE("a path that is too long for a socket is refused, not cut", "[contract][dpdk]") {
  const std::string longest = fresh_path("long") + std::string(107, 'x');
  for (const std::size_t bytes : {107U, 108U}) {
    const std::string path = longest.substr(0, bytes);
    for (const std::string device : {"net_vhost0,iface=", "net_virtio_user0,queues=1,path="}) {
      CAPTURE(device, bytes);
      if (bytes == 107 && device.starts_with("net_virtio")) {
        continue;  // which wants somebody there
      }
      const auto ports = driver::open_dpdk_port(test_eal(), {.device = device + path});
      REQUIRE(ports.has_value() == (bytes == 107));
      if (!ports) {
        CHECK(ports.error().code == Errc::config_invalid);
        CHECK(ports.error().detail.find("1 to 107 bytes") != std::string::npos);
      }
    }
  }
}

TEST_CASE("a guest whose host is gone drops and counts", "[contract][dpdk]") {
  const DpdkPairWorldPtr world = make_vhost_world(1500, NearEnd::host);
  world->close_near();
  REQUIRE(eventually([&] { return !world->far().link_is_up(); }));
  const MacAddress nobody = {0x02, 0, 0, 0, 0, 1};
  std::uint64_t refused = 0;
  for (std::uint32_t number = 0; number < 2000; ++number) {
    refused += send(world->far(), nobody, number, 100) ? 0 : 1;
  }
  const FrameCounters counters = world->far().counters();
  CHECK(refused == 0);
  CHECK(counters.sent_frames + counters.send_drops == 2000);
  CHECK(counters.send_drops > 0);
}

TEST_CASE("a port has a source for each queue", "[contract][dpdk]") {
  const std::string socket = fresh_path("vhost");
  auto hosts = driver::open_dpdk_port(
      test_eal(), {.device = "net_vhost0,queues=2,iface=" + socket, .queues = 2});
  REQUIRE(hosts.has_value());
  auto guests = driver::open_dpdk_port(
      test_eal(), {.device = "net_virtio_user0,queues=2,path=" + socket, .queues = 2});
  REQUIRE(guests.has_value());
  REQUIRE(hosts->size() == 2);
  REQUIRE(guests->size() == 2);
  CHECK((*hosts)[0]->name() == "dpdk net_vhost0 queue 0");
  CHECK((*hosts)[1]->name() == "dpdk net_vhost0 queue 1");
  for (std::size_t queue = 0; queue < 2; ++queue) {
    CAPTURE(queue);
    DpdkPort& host = *(*hosts)[queue];
    DpdkPort& guest = *(*guests)[queue];
    REQUIRE(eventually([&] { return host.link_is_up() && guest.link_is_up(); }));
    // A queue is enabled a moment after the link.
    REQUIRE(eventually([&] {
      std::array<ConstSpan, 1> frame;
      return send(guest, host.mac(), 1, 100) && host.receive(frame) == 1 &&
             is_test_frame(frame[0], 100, host.mac(), guest.mac(), 1);
    }));
    REQUIRE(send(host, guest.mac(), 2, 100));
    CHECK(arrives(guest, host.mac(), 2, 100));
    CHECK(host.counters().received_frames >= 1);
  }
}

TEST_CASE("a box has more than nine ports", "[contract][dpdk]") {
  constexpr int kPorts = 12;
  std::vector<DpdkPairWorldPtr> pairs;
  for (int i = 0; i < kPorts; ++i) {
    const std::string socket = fresh_path("vhost");
    DpdkPortPtr host =
        open_port({.device = fmt::format("net_vhost{},iface={}", i, socket), .mtu_bytes = 4200});
    DpdkPortPtr guest = open_port(
        {.device = fmt::format("net_virtio_user{},path={}", i, socket), .mtu_bytes = 4200});
    pairs.push_back(std::make_unique<DpdkPairWorld>(std::move(guest), std::move(host)));
  }
  for (std::uint32_t i = 0; i < kPorts; ++i) {
    REQUIRE(send(pairs[i]->near(), pairs[i]->far().mac(), i, 4200));
  }
  for (std::uint32_t i = 0; i < kPorts; ++i) {
    CAPTURE(i);
    CHECK(arrives(pairs[i]->far(), pairs[i]->near().mac(), i, 4200));
  }
}

TEST_CASE("a mac is the device's own, the one that was asked for, or random", "[contract][dpdk]") {
  const MacAddress ours = {0x02, 0x67, 0x62, 0, 0, 9};
  const DpdkPairWorldPtr rings = make_ring_world(1500);  // net_ring has none
  CHECK((rings->near().mac()[0] & 3U) == 2U);            // of one station, locally administered
  CHECK(open_port({.device = "net_null0", .mac = ours})->mac() == ours);
  const std::string socket = fresh_path("vhost");
  const DpdkPortPtr host = open_port({.device = "net_vhost0,iface=" + socket, .mac = ours});
  const DpdkPortPtr guest =
      open_port({.device = "net_virtio_user0,mac=02:67:62:00:00:0a,path=" + socket});
  CHECK(host->mac() == ours);
  CHECK(guest->mac() == MacAddress{0x02, 0x67, 0x62, 0, 0, 0x0a});
}

TEST_CASE("a frame that is as long as a tagged one and has no tag is dropped", "[contract][dpdk]") {
  const DpdkPairWorldPtr world = make_ring_world(1500);
  CHECK(send(world->near(), world->far().mac(), 1, 1514 + 4));
  CHECK(world->near().counters().send_drops == 1);
  CHECK(world->near().counters().sent_frames == 0);
}

std::vector<char> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.is_open());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST_CASE("a recording that tcpdump could have made is replayed", "[contract][dpdk]") {
  const std::string recording = fmt::format("{}/pcap/frames.pcap", GODBOX_VECTORS_DIR);
  const DpdkPortPtr port = open_port({.device = "net_pcap0,rx_pcap=" + recording});
  // The file's own layout, by hand: 24 bytes of header, then 16 before each frame.
  const std::vector<char> file = read_file(recording);
  std::size_t at = 24;
  std::size_t frames_in_file = 0;
  std::size_t too_large = 0;
  std::array<ConstSpan, 1> frame;
  while (at + 16 <= file.size()) {
    std::uint32_t size_bytes = 0;
    std::memcpy(&size_bytes, file.data() + at + 8, sizeof(size_bytes));
    at += 16;
    ++frames_in_file;
    const bool fits = size_bytes <= 1514;
    too_large += fits ? 0 : 1;
    REQUIRE(port->receive(frame) == (fits ? 1U : 0U));
    if (fits) {
      REQUIRE(frame[0].size() == size_bytes);
      CHECK(std::memcmp(frame[0].data(), file.data() + at, size_bytes) == 0);
    }
    at += size_bytes;
  }
  CHECK(at == file.size());
  CHECK(frames_in_file == 5);
  CHECK(too_large == 1);
  CHECK(port->receive(frame) == 0);
  CHECK(port->counters().received_frames == frames_in_file - too_large);
  CHECK(port->counters().receive_drops == too_large);
  CHECK(port->wait_descriptor() < 0);
}

TEST_CASE("what is sent to a file is a recording", "[contract][dpdk]") {
  const std::string written = fresh_path("sent");
  const MacAddress nobody = {0x02, 0, 0, 0, 0, 1};
  MacAddress own{};
  {
    const DpdkPortPtr port = open_port({.device = "net_pcap0,tx_pcap=" + written});
    own = port->mac();
    REQUIRE(send(*port, nobody, 1, 60));
    REQUIRE(send(*port, nobody, 2, 1514));
    CHECK(port->counters().sent_bytes == 60 + 1514);
  }
  const std::vector<char> file = read_file(written);
  REQUIRE(file.size() == 24 + 2 * 16 + 60 + 1514);
  const auto bytes = std::as_bytes(std::span(file));
  CHECK(is_test_frame(bytes.subspan(24 + 16, 60), 60, nobody, own, 1));
  CHECK(is_test_frame(bytes.subspan(24 + 16 + 60 + 16), 1514, nobody, own, 2));
}

}  // namespace
}  // namespace godbox::test
