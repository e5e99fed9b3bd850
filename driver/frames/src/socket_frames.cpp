// SPDX-License-Identifier: Apache-2.0
#include "frame_count.h"
#include "send_queue.h"
#include <godbox/driver/kernel_rights.h>
#include <godbox/driver/socket_frames.h>
#include <godbox/driver/socket_path.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <vector>

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

constexpr std::size_t kHeaderBytes = 14;
constexpr std::size_t kTagBytes = 4;
constexpr std::size_t kTagAt = 12;        // behind both MAC addresses
constexpr std::size_t kReceivedMax = 64;  // frames of one receive()
// Asked of the kernel for each direction; it may give less.
constexpr int kSocketBufferBytes = 4 << 20;

// Room for what the kernel says about a frame of a packet socket.
struct AsideRoom {
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(tpacket_auxdata))> bytes{};
};

using Tag = std::array<std::byte, kTagBytes>;

// The tag of a VLAN that the kernel has taken out of a frame; nothing: it has left the frame whole.
std::optional<Tag> tag_beside(msghdr& message) {
  for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr;
       each = CMSG_NXTHDR(&message, each)) {
    tpacket_auxdata aside{};
    if (each->cmsg_level != SOL_PACKET || each->cmsg_type != PACKET_AUXDATA ||
        each->cmsg_len < CMSG_LEN(sizeof(aside))) {
      continue;
    }
    std::memcpy(&aside, CMSG_DATA(each), sizeof(aside));
    if ((aside.tp_status & TP_STATUS_VLAN_VALID) == 0) {
      return std::nullopt;
    }
    // Where the kernel does not say which kind of tag it was, it is the usual one.
    const bool has_kind = (aside.tp_status & TP_STATUS_VLAN_TPID_VALID) != 0;
    const unsigned kind = has_kind ? aside.tp_vlan_tpid : unsigned{ETH_P_8021Q};
    const unsigned control = aside.tp_vlan_tci;
    return Tag{std::byte(kind >> 8U), std::byte(kind & 0xFFU), std::byte(control >> 8U),
               std::byte(control & 0xFFU)};
  }
  return std::nullopt;
}

Error system_error(Errc code, std::string_view what) {
  return {code, fmt::format("{}: {}", what, std::generic_category().message(errno))};
}

// What a SocketFrames is made of.
struct Parts {
  int descriptor = -1;
  std::string name;
  std::string own_path;        // removed at the end; empty: none
  sockaddr_un remote{};        // of a datagram socket
  socklen_t remote_bytes = 0;  // 0: the socket needs no address
  MacAddress mac{};
  std::uint32_t mtu_bytes = 0;
  bool has_tags_beside = false;  // the kernel takes tags of VLANs out, and tells them
};

class SocketFrames final : public FrameSource {
 public:
  explicit SocketFrames(Parts parts)
      : parts_(std::move(parts)),
        frame_bytes_max_(parts_.mtu_bytes + kHeaderBytes + kTagBytes),
        received_(kReceivedMax * (kTagBytes + frame_bytes_max_)),
        to_send_(frame_bytes_max_) {
    for (std::size_t i = 0; i < kReceivedMax; ++i) {
      // The room in front is for a tag: to put it back, only the addresses before it are moved.
      in_pieces_[i] = {received_.data() + i * (kTagBytes + frame_bytes_max_) + kTagBytes,
                       frame_bytes_max_};
      in_[i].msg_hdr.msg_iov = &in_pieces_[i];
      in_[i].msg_hdr.msg_iovlen = 1;
      if (parts_.has_tags_beside) {
        in_[i].msg_hdr.msg_control = asides_[i].bytes.data();
        in_[i].msg_hdr.msg_controllen = asides_[i].bytes.size();
      }
    }
    for (std::size_t i = 0; i < kSocketFramesMax; ++i) {
      out_pieces_[i].iov_base = to_send_.place(i);
      out_[i].msg_hdr.msg_iov = &out_pieces_[i];
      out_[i].msg_hdr.msg_iovlen = 1;
      if (parts_.remote_bytes > 0) {
        out_[i].msg_hdr.msg_name = &parts_.remote;
        out_[i].msg_hdr.msg_namelen = parts_.remote_bytes;
      }
    }
  }
  ~SocketFrames() override {
    close(parts_.descriptor);
    if (!parts_.own_path.empty()) {
      unlink(parts_.own_path.c_str());
    }
  }
  SocketFrames(const SocketFrames&) = delete;
  SocketFrames& operator=(const SocketFrames&) = delete;

  [[nodiscard]] std::string name() const override { return parts_.name; }
  [[nodiscard]] MacAddress mac() const override { return parts_.mac; }
  [[nodiscard]] std::uint32_t mtu_bytes() const override { return parts_.mtu_bytes; }

  [[nodiscard]] std::size_t receive(std::span<ConstSpan> frames) override;
  [[nodiscard]] MutableSpan room_to_send(std::size_t size_bytes) override {
    return to_send_.room(size_bytes, [this] { flush(); });
  }
  void commit() override;
  void flush() override;

  [[nodiscard]] int wait_descriptor() const override { return parts_.descriptor; }
  [[nodiscard]] FrameCounters counters() const override { return counts_.counters(); }

 private:
  [[nodiscard]] ConstSpan take(std::size_t i);

  Parts parts_;
  const std::size_t frame_bytes_max_;
  std::vector<std::byte> received_;
  SendQueue to_send_;
  std::array<iovec, kReceivedMax> in_pieces_{};
  std::array<mmsghdr, kReceivedMax> in_{};
  std::array<AsideRoom, kReceivedMax> asides_{};
  std::array<iovec, kSocketFramesMax> out_pieces_{};
  std::array<mmsghdr, kSocketFramesMax> out_{};
  FrameCounts counts_;
};

// The message in the i-th place as the frame that was on the wire; empty: it is none, or too long.
// The place is ready for the next one.
ConstSpan SocketFrames::take(std::size_t i) {
  msghdr& message = in_[i].msg_hdr;
  std::optional<Tag> tag;
  if (parts_.has_tags_beside) {
    tag = tag_beside(message);
    message.msg_controllen = asides_[i].bytes.size();  // the kernel has left what it used
  }
  if ((message.msg_flags & MSG_TRUNC) != 0 || in_[i].msg_len < kHeaderBytes) {
    return {};
  }
  auto* begin = static_cast<std::byte*>(in_pieces_[i].iov_base);
  std::size_t size_bytes = in_[i].msg_len;
  if (tag) {
    begin -= kTagBytes;
    size_bytes += kTagBytes;
    std::memmove(begin, begin + kTagBytes, kTagAt);
    std::memcpy(begin + kTagAt, tag->data(), kTagBytes);
  }
  return size_bytes <= frame_bytes_max_ ? ConstSpan(begin, size_bytes) : ConstSpan();
}

std::size_t SocketFrames::receive(std::span<ConstSpan> frames) {
  const std::size_t wanted = std::min(frames.size(), kReceivedMax);
  std::size_t count = 0;
  // Frames that are no frames are passed over, so that an answer of none means that none waits.
  while (wanted > 0 && count == 0) {
    const int got = recvmmsg(parts_.descriptor, in_.data(), static_cast<unsigned>(wanted),
                             MSG_DONTWAIT, nullptr);
    if (got <= 0) {
      // Errors of a socket are about what was sent, or the interface is down: nothing has come.
      break;
    }
    for (std::size_t i = 0; i < static_cast<std::size_t>(got); ++i) {
      const ConstSpan frame = take(i);
      if (frame.empty()) {
        counts_.receive_drops.add(1);
        continue;
      }
      frames[count++] = frame;
      counts_.received_bytes.add(frame.size());
    }
  }
  counts_.received_frames.add(count);
  return count;
}

void SocketFrames::commit() {
  const std::size_t place = to_send_.commit();
  out_pieces_[place].iov_len = to_send_.size_bytes(place);
}

void SocketFrames::flush() {
  bool is_blocked = false;
  while (!is_blocked && to_send_.begin() < to_send_.end()) {
    const int sent =
        sendmmsg(parts_.descriptor, &out_[to_send_.begin()],
                 static_cast<unsigned>(to_send_.end() - to_send_.begin()), MSG_DONTWAIT);
    if (sent > 0) {
      for (int i = 0; i < sent; ++i) {
        counts_.sent_bytes.add(to_send_.size_bytes(to_send_.begin()));
        to_send_.pop();
      }
      counts_.sent_frames.add(static_cast<std::uint64_t>(sent));
    } else if (errno == EAGAIN || errno == ENOBUFS) {
      is_blocked = true;
    } else if (errno != EINTR) {
      counts_.send_drops.add(1);  // nobody is there, or it is not taken as it is
      to_send_.pop();
    }
  }
  to_send_.end_flush(is_blocked);
}

// From here on the descriptor is owned.
Result<std::unique_ptr<FrameSource>> make_source(Parts parts) {
  for (const int option : {SO_RCVBUF, SO_SNDBUF}) {
    static_cast<void>(setsockopt(parts.descriptor, SOL_SOCKET, option, &kSocketBufferBytes,
                                 sizeof(kSocketBufferBytes)));
  }
  return std::unique_ptr<FrameSource>(std::make_unique<SocketFrames>(std::move(parts)));
}

Result<void> bind_datagram(int descriptor, const sockaddr_un& address) {
  if (Result<void> cleared = clear_socket_path(address.sun_path, SOCK_DGRAM); !cleared) {
    return cleared;
  }
  const mode_t before = umask(0177);
  const int status = bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int reason = errno;
  umask(before);
  errno = reason;
  return status == 0 ? Result<void>() : system_error(Errc::io_error, address.sun_path);
}

// Fills in MAC address and MTU of the interface, and listens to all of its frames, whose tags the
// kernel then tells.
Result<void> bind_packet(Parts& parts, const std::string& interface) {
  ifreq request{};
  if (interface.empty() || interface.size() >= sizeof(request.ifr_name)) {
    return Error(Errc::not_found, fmt::format("no network interface \"{}\"", interface));
  }
  std::copy(interface.begin(), interface.end(), request.ifr_name);
  if (ioctl(parts.descriptor, SIOCGIFHWADDR, &request) != 0 ||
      request.ifr_hwaddr.sa_family != ARPHRD_ETHER) {
    return Error(Errc::not_found, fmt::format("no Ethernet interface \"{}\"", interface));
  }
  std::memcpy(parts.mac.data(), request.ifr_hwaddr.sa_data, parts.mac.size());
  if (ioctl(parts.descriptor, SIOCGIFMTU, &request) != 0) {
    return system_error(Errc::io_error, interface);
  }
  parts.mtu_bytes =
      std::clamp(static_cast<std::uint32_t>(request.ifr_mtu), kFrameMtuBytesMin, kFrameMtuBytesMax);
  const int yes = 1;
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
  const bool is_bound =
      setsockopt(parts.descriptor, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof(yes)) == 0 &&
      setsockopt(parts.descriptor, SOL_PACKET, PACKET_AUXDATA, &yes, sizeof(yes)) == 0 &&
      bind(parts.descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  parts.has_tags_beside = true;
  return is_bound ? Result<void>() : system_error(Errc::io_error, interface);
}

}  // namespace

Result<std::unique_ptr<FrameSource>> open_datagram_frames(const DatagramFramesOptions& options) {
  if (options.mtu_bytes < kFrameMtuBytesMin || options.mtu_bytes > kFrameMtuBytesMax) {
    return Error(Errc::invalid_argument,
                 fmt::format("an MTU of {} bytes: {} to {} are allowed", options.mtu_bytes,
                             kFrameMtuBytesMin, kFrameMtuBytesMax));
  }
  if (options.mac == MacAddress{} || (options.mac[0] & 1U) != 0) {
    return Error(Errc::invalid_argument, "the MAC address is no station's");
  }
  const Result<sockaddr_un> local = socket_address(options.local_path);
  const Result<sockaddr_un> remote = socket_address(options.remote_path);
  if (!local || !remote) {
    return local ? remote.error() : local.error();
  }
  Parts parts;
  parts.descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (parts.descriptor < 0) {
    return system_error(Errc::io_error, options.local_path);
  }
  if (const Result<void> bound = bind_datagram(parts.descriptor, *local); !bound) {
    close(parts.descriptor);
    return bound.error();
  }
  parts.name = fmt::format("datagram {}", options.local_path);
  parts.own_path = options.local_path;
  parts.remote = *remote;
  parts.remote_bytes = sizeof(parts.remote);
  parts.mac = options.mac;
  parts.mtu_bytes = options.mtu_bytes;
  return make_source(std::move(parts));
}

Result<std::unique_ptr<FrameSource>> open_packet_frames(const std::string& interface) {
  Parts parts;
  // Without a protocol it hears nothing before it is bound to the interface.
  parts.descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (parts.descriptor < 0) {
    constexpr KernelRight kNeeded[] = {KernelRight::net_raw};
    return errno == EPERM || errno == EACCES
               ? lacks_rights(fmt::format("a packet socket on {}", interface), kNeeded)
               : system_error(Errc::io_error, interface);
  }
  if (const Result<void> bound = bind_packet(parts, interface); !bound) {
    close(parts.descriptor);
    return bound.error();
  }
  parts.name = fmt::format("packet {}", interface);
  return make_source(std::move(parts));
}

}  // namespace godbox::driver
