// SPDX-License-Identifier: Apache-2.0
//
// A box in this process, on free TCP ports and a control socket of its own, with one client
// connected to it: what `bench` and `demo` measure. A tcp client has its control connection on the
// first Ethernet port and its data on lanes to all; a local one uses the control socket and the
// mapped pool. Or a box that is served elsewhere, and a client. Thread-safety: the client belongs
// to the thread that made the rig; the box serves in its own threads. Errors: those of the box's
// start and of the client's connect.
#pragma once

#include <godbox/connect.h>
#include <godbox/emulator/box.h>
#include <godbox/striping/client.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::app {

// verbs, roce: only to a box that is served elsewhere.
enum class TransportKind : std::uint8_t { local, tcp, verbs, roce };
[[nodiscard]] std::string_view to_string(TransportKind kind);

struct RigClientOptions {
  TransportKind transport = TransportKind::tcp;
  std::uint32_t lanes_per_eth_port = 1;  // 0: as the library chooses
  std::size_t copy_threads = 1;          // local
  bool crc = true;
  DeviceOptions device{};                        // whose memory calls use, if any
  std::uint32_t eth_ports_max = 0;               // but for local: the first n ports; 0: all
  std::vector<RoceInterface> roce_interfaces{};  // roce: they outlive the rig
};

class Rig {
 public:
  // TCP ports and control socket of `config` are replaced.
  [[nodiscard]] static Result<std::unique_ptr<Rig>> start(emulator::BoxConfig config,
                                                          const RigClientOptions& options);
  // A client of the box at `address`: "tcp:HOST:PORT", "verbs:HOST:PORT" or "roce:HOST:PORT", of
  // which the transport of `options` decides about the first word, or "unix:PATH".
  [[nodiscard]] static Result<std::unique_ptr<Rig>> attach(std::string address,
                                                           const RigClientOptions& options);
  ~Rig();
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  // The box is in this process: else there is no box(), and no eth_port_addresses().
  [[nodiscard]] bool has_box() const;
  [[nodiscard]] emulator::Box& box();
  [[nodiscard]] striping::Client& client();
  [[nodiscard]] const Clock& clock() const;
  [[nodiscard]] const std::vector<StreamAddress>& eth_port_addresses() const;
  // Which way the client's bytes take: Connection::data_path().
  [[nodiscard]] const std::string& data_path() const;
  // Of the box: as configured, at most one per Ethernet port; 0: it is not in this process.
  [[nodiscard]] std::uint32_t server_threads() const;
  // One more client, with a network of its own: for the thread that asks. From any thread.
  [[nodiscard]] Result<std::unique_ptr<Connection>> connect_another() const;
  // Ends the client's session and opens another: a mapped session keeps the space of what it
  // removed.
  [[nodiscard]] Result<void> reconnect();

 private:
  struct Impl;
  explicit Rig(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::app
