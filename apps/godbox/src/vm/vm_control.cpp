// SPDX-License-Identifier: Apache-2.0
#include "vm/vm_control.h"

#include <godbox/wire.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <system_error>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace godbox::app {
namespace {

constexpr std::size_t kNameMax = 32;

Error system_error(std::string_view what) {
  return {Errc::io_error,
          fmt::format("{}: {}", what, std::error_code(errno, std::generic_category()).message())};
}

class Socket {
 public:
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  ~Socket() {
    if (descriptor_ >= 0) {
      ::close(descriptor_);
    }
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  [[nodiscard]] int get() const { return descriptor_; }
  [[nodiscard]] int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

struct Address {
  sockaddr_un name{};
  socklen_t size = 0;
};

Result<Address> address_of(std::string_view name) {
  if (name.size() > kNameMax || !wire::is_vm_name(name)) {
    return Error(Errc::invalid_argument,
                 fmt::format("\"{}\" is no name for a VM; allowed: 1 to {} letters, digits, '-', "
                             "'_' and '.'",
                             name, kNameMax));
  }
  const std::string path = fmt::format("godbox-vm-{}-{}", ::getuid(), name);
  Address address;
  address.name.sun_family = AF_UNIX;
  path.copy(address.name.sun_path + 1, sizeof address.name.sun_path - 1);  // after a zero: abstract
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + path.size());
  return address;
}

bool is_trusted(int peer) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  return ::getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 &&
         (credentials.uid == ::getuid() || credentials.uid == 0);
}

struct Packet {
  boost::json::object fields;
  std::vector<int> descriptors;
  Packet() = default;
  ~Packet() {
    for (const int descriptor : descriptors) {
      ::close(descriptor);
    }
  }
  Packet(Packet&& other) noexcept
      : fields(std::move(other.fields)), descriptors(std::exchange(other.descriptors, {})) {}
  Packet& operator=(Packet&&) = delete;
};

Result<void> send_packet(int to, const boost::json::object& fields,
                         const std::vector<int>& descriptors) {
  std::string text = boost::json::serialize(fields);
  if (text.size() > kVmRequestBytesMax || descriptors.size() > kVmDescriptorsMax) {
    return Error(Errc::invalid_argument, "the request is too large");
  }
  iovec part{text.data(), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kVmDescriptorsMax)> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    const std::size_t bytes = descriptors.size() * sizeof(int);
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(header), descriptors.data(), bytes);
  }
  if (::sendmsg(to, &message, MSG_NOSIGNAL) < 0) {
    return system_error("the VM's control socket");
  }
  return {};
}

void take_descriptors(msghdr& message, Packet& packet) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
      packet.descriptors.resize((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
      std::memcpy(packet.descriptors.data(), CMSG_DATA(header),
                  packet.descriptors.size() * sizeof(int));
    }
  }
}

// A limit of zero is none.
int wait_of(Duration limit) {
  const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(limit).count();
  return limit > Duration::zero() ? static_cast<int>(std::min<std::int64_t>(wait, INT_MAX)) : -1;
}

Result<Packet> receive_packet(int from, int wait_ms) {
  pollfd ready{from, POLLIN, 0};
  int got = 0;
  do {
    got = ::poll(&ready, 1, wait_ms);
  } while (got < 0 && errno == EINTR);
  if (got == 0) {
    return Error(Errc::deadline_exceeded,
                 fmt::format("the VM did not answer within {:g} s", wait_ms / 1000.0));
  }
  std::string text(kVmRequestBytesMax, '\0');
  iovec part{text.data(), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kVmDescriptorsMax)> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t size = ::recvmsg(from, &message, MSG_CMSG_CLOEXEC);
  if (size <= 0) {
    return Error(Errc::connect_failed, "the VM ended before it answered");
  }
  Packet packet;
  take_descriptors(message, packet);
  text.resize(static_cast<std::size_t>(size));
  boost::system::error_code failed;
  boost::json::value value = boost::json::parse(text, failed);
  if (failed || !value.is_object()) {
    return Error(Errc::protocol_error, "not a JSON object");
  }
  packet.fields = std::move(value.get_object());
  return packet;
}

Result<int> connect_to(std::string_view name) {
  const Result<Address> address = address_of(name);
  if (!address) {
    return address.error();
  }
  Socket socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address->name), address->size) !=
      0) {
    return Error(Errc::connect_failed, fmt::format("no VM named \"{}\" runs", name));
  }
  if (!is_trusted(socket.get())) {
    return Error(Errc::permission_denied,
                 fmt::format("the VM named \"{}\" is somebody else's", name));
  }
  return socket.release();
}

}  // namespace

Result<VmControl> VmControl::listen(std::string_view name) {
  const Result<Address> address = address_of(name);
  if (!address) {
    return address.error();
  }
  Socket socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address->name), address->size) != 0) {
    if (errno == EADDRINUSE) {
      return Error(
          Errc::address_in_use,
          fmt::format("a VM named \"{}\" runs already; --name gives this one another", name));
    }
    return system_error("the VM's control socket");
  }
  if (::listen(socket.get(), SOMAXCONN) != 0) {
    return system_error("the VM's control socket");
  }
  return VmControl(socket.release());
}

VmControl::VmControl(VmControl&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}
VmControl::~VmControl() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

std::optional<VmControl::Peer> VmControl::accept() const {
  Peer peer(::accept4(descriptor_, nullptr, nullptr, SOCK_CLOEXEC));
  if (peer.descriptor() < 0 || !is_trusted(peer.descriptor())) {
    return std::nullopt;
  }
  return peer;
}

VmControl::Peer::~Peer() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

void VmControl::Peer::serve(const Handler& handler) const {
  const Result<Packet> packet = receive_packet(descriptor_, 0);
  const boost::json::object reply =
      packet ? handler({packet->fields, packet->descriptors, descriptor_})
             : error_reply(packet.error());
  (void)send_packet(descriptor_, reply, {});
}

bool is_gone(int peer) {
  pollfd ready{peer, POLLIN, 0};
  return peer >= 0 && ::poll(&ready, 1, 0) > 0;
}

boost::json::object error_reply(const Error& error) {
  return {{"error", {{"code", static_cast<int>(error.code)}, {"detail", error.detail}}}};
}

Result<boost::json::object> ask_vm(std::string_view name, const boost::json::object& request,
                                   const std::vector<int>& descriptors, Duration limit) {
  const Result<int> connected = connect_to(name);
  if (!connected) {
    return connected.error();
  }
  const Socket socket(*connected);
  if (Result<void> sent = send_packet(socket.get(), request, descriptors); !sent) {
    return sent.error();
  }
  Result<Packet> reply = receive_packet(socket.get(), wait_of(limit));
  if (!reply) {
    return reply.error();
  }
  if (const boost::json::value* const failed = reply->fields.if_contains("error")) {
    const boost::json::object nothing;
    const boost::json::object& fields = failed->is_object() ? failed->get_object() : nothing;
    const boost::json::value* const code = fields.if_contains("code");
    const boost::json::value* const detail = fields.if_contains("detail");
    boost::system::error_code ignored;
    return Error(errc_from_number(code != nullptr ? code->to_number<std::uint16_t>(ignored)
                                                  : std::uint16_t{0}),
                 detail != nullptr && detail->is_string() ? std::string(detail->get_string())
                                                          : std::string());
  }
  return std::move(reply->fields);
}

bool vm_runs(std::string_view name) {
  const Result<int> connected = connect_to(name);
  if (connected) {
    ::close(*connected);
  }
  return connected.has_value();
}

}  // namespace godbox::app
