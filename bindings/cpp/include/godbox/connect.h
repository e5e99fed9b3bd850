// SPDX-License-Identifier: Apache-2.0
//
// The way into a box from a program: one call makes the network, the session and the lanes.
//
//   auto connection = godbox::connect("unix:");
//   if (!connection) return fail(connection.error().message());
//   godbox::striping::Client& pool = (*connection)->client();
//
//   godbox::LocalSegment out{block.data(), block.size()};      // gathered from any pieces
//   godbox::striping::PutItem put{"llama/4f3a", {&out, 1}, {}};
//   godbox::Errc stored = pool.put({&put, 1})[0];              // ok, already_exists, pool_full ...
//
//   godbox::LocalSegment in{copy.data(), copy.size()};         // scattered into any pieces
//   godbox::striping::GetItem get{"llama/4f3a", {&in, 1}};
//   godbox::Errc loaded = pool.get({&get, 1})[0];              // ok, not_found, crc_mismatch ...
//
// Addresses (PATH may be empty: the box's default control socket):
//   unix:PATH      control over the local socket, data over lanes to every Ethernet port
//   local:PATH     control over the local socket, data through the mapped pool (trusted processes)
//   tcp:HOST:PORT  any Ethernet port of the box: control there, data over lanes to every port
//   verbs:HOST:PORT
//                  control there, data over RDMA to every RoCE port of the box, by this machine's
//                  RDMA devices (docs/rdma.md)
//   roce:HOST:PORT control there, data over RoCE to every RoCE port of the box, by this program
//                  itself over the Ethernet ports of ConnectOptions::roce_interfaces
//   dax:HOST:PORT  control there, data through the box's DRAM channels as CXL devices of this
//                  machine, as in a VM of godbox vm run --pool (trusted machines)
// HOST is this machine, or in a VM the one that it runs on, by the name that the kernel's command
// line gives it (godbox/driver/own_machine.h).
// At the default control socket only a box of this user or of root is used, else permission_denied:
// its path can be guessed, and somebody else's box would be given what is stored.
//
// A session lives only while its client is driven: by a call, or by client().progress(), at least
// every third of client().session().session_timeout_ms. A program that is busy with other things
// for longer connects anew, which is what session_lost asks for. Where only the Ethernet port dies
// that its control connection came through, it goes on over another one.
//
// Thread-safety: a Connection and all it gives belong to one thread; any number per process.
// Ownership: the Connection owns network and client; it must outlive nothing it was given.
// Units: bytes, Durations. Errors: invalid_argument (address, option), connect_failed, bad_version,
// address_not_loopback, permission_denied, limit_exceeded, deadline_exceeded; with a device those
// of its transport's create() too, but for what `automatic` makes do without. Over verbs:
// unsupported (the box offers no RoCE port), device_missing (a build without libibverbs, no RDMA
// device, none with a route to a port's address), and where a port does not take the connection
// lane_timeout (nobody answers), lane_closed, or what the box rejects it with; the sentence names
// the address. Over roce the same, device_missing where no port is in the network of an interface,
// and config_invalid for an interface that cannot be.
#pragma once

#include <godbox/device_memory.h>
#include <godbox/roce_interface.h>
#include <godbox/striping/client.h>
#include <godbox/striping/staged_transport.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace godbox {

// Lanes to each of `eth_ports` Ethernet ports (at least 1) for at least four in all: a thread that
// moves bytes through fewer sockets waits for the other end's thread at their locks.
[[nodiscard]] std::uint32_t default_lanes_per_eth_port(std::size_t eth_ports);

// How bytes come to and from the memory of a device (a GPU).
//   direct     the device itself moves them between its memory and the mapped pool
//              (godbox/striping/mapped_device_transport.h): `local:` and `dax:` only
//   staged     over whatever the address stands for, through slots of pinned memory
//              (godbox/striping/staged_transport.h)
//   automatic  direct where the pool is mapped and the device can reach all of it, else staged
enum class DevicePath : std::uint8_t { automatic, direct, staged };

struct DeviceOptions {
  // The device whose memory calls move bytes to and from; it outlives the connection. nullptr:
  // none, and all local memory is the host's. With one, all local memory has to be in its reach:
  // DeviceMemory::reaches(), or announced by client().transport().register_memory().
  DeviceMemory* memory = nullptr;
  DevicePath path = DevicePath::automatic;
  striping::StagedTransportOptions staged{};
  std::uint32_t direct_lanes = 4;  // queues of the device
  // The pool is pinned for a direct path, all of it; at most so much. 0: half of this machine's
  // memory.
  SizeBytes register_bytes_max{};
};

struct ConnectOptions {
  striping::ClientOptions client;
  DeviceOptions device{};
  // At most so many, 1 to 16; 0: default_lanes_per_eth_port(). The first of each port is opened by
  // connect(), the others when those that are open are busy. verbs, roce: so many queue
  // pairs, all opened by connect(); 0: one, as that alone keeps 128 READs and WRITEs under way.
  std::uint32_t lanes_per_eth_port = 0;
  bool lanes_on_demand = true;  // false: connect() opens all
  // Use only the first n Ethernet (RoCE) ports; roce: of those that it has a way to. 0: all.
  std::uint32_t eth_ports_max = 0;
  std::size_t copy_threads = 1;  // local, dax: threads that copy, the caller's included
  // dax: the device of each DRAM channel, by its number. Empty: found by the serial numbers that
  // carry the box's number.
  std::vector<std::string> dax_devices{};
  // roce: this end's Ethernet ports. A port of the box is reached through those that have an
  // address in its network, over which its lanes and those of other ports are spread; a lane of
  // which one gets no answer goes on through the next. Their frames outlive the connection, and are
  // its own meanwhile.
  std::vector<RoceInterface> roce_interfaces{};
  // A lane that is silent for so long is given up and its work sent over the others; 0: a quarter
  // of client.timeout. verbs, roce: whoever repeats packets finds that out, by its retries.
  Duration lane_reply_timeout{};
  // How long a call that waits for the box looks for its answer before the thread sleeps: 0 (never)
  // to 1 s; with one CPU it always sleeps. Measured over loopback on two cores with one client,
  // blocks of 4 MiB: it gains 0.02 to 0.05 of the raw sockets' throughput and costs no more CPU
  // seconds per byte. Set 0 where more clients than CPUs wait at once.
  Duration busy_poll = std::chrono::microseconds(50);
};

class Connection {
 public:
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] striping::Client& client();
  [[nodiscard]] StreamNetwork& network();
  // For people and reports, which way bytes take: "tcp", "verbs", "roce", "local", "mapped-device",
  // "staged over tcp", "staged over local: DRAM channel 3 (descriptor, 268435456 bytes): ..."
  // where `automatic` could not have the direct path, and why.
  [[nodiscard]] const std::string& data_path() const;

 private:
  struct Impl;
  explicit Connection(std::unique_ptr<Impl> impl);
  friend Result<std::unique_ptr<Connection>> connect(std::string_view address,
                                                     const ConnectOptions& options);
  std::unique_ptr<Impl> impl_;
};

// Returns when the session stands and every lane that is opened at first has been given a second to
// come up; one that is not up by then, and one that ends later, is tried again in the background,
// at least every 0.4 s. connect_failed when none is. Over verbs the first lane has ten seconds, the
// others have one more.
[[nodiscard]] Result<std::unique_ptr<Connection>> connect(std::string_view address,
                                                          const ConnectOptions& options = {});

}  // namespace godbox
