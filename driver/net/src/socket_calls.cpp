// SPDX-License-Identifier: Apache-2.0
#include "socket_calls.h"

#include <godbox/assert.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

constexpr int kBacklog = 1024;
// A lock file that was removed between our opening and our locking it is opened anew.
constexpr int kLockAttemptsMax = 16;
constexpr std::string_view kLoopbackCongestionControl = "reno";

Error socket_error(std::string_view action, const StreamAddress& at, int error_number) {
  Errc code = Errc::io_error;
  switch (error_number) {
    case EADDRINUSE:
      code = Errc::address_in_use;
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      code = Errc::permission_denied;
      break;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
    case ENAMETOOLONG:
    case ENOENT:
    case ENOTDIR:
      code = Errc::invalid_argument;
      break;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      code = Errc::limit_exceeded;
      break;
    default:
      break;
  }
  return {code, fmt::format("cannot {} {}: {}", action, at.to_string(),
                            std::generic_category().message(error_number))};
}

// The folder of a socket file: made if missing, and refused when others could put a socket of their
// own in place of ours.
Result<void> prepare_folder(const StreamAddress& at) {
  const std::filesystem::path folder = std::filesystem::path(at.host).parent_path();
  if (folder.empty()) {
    return {};
  }
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return socket_error(fmt::format("make the folder {} for", folder.native()), at, errno);
  }
  struct stat status {};
  if (stat(folder.c_str(), &status) != 0) {
    return socket_error("examine the folder of", at, errno);
  }
  const bool is_trusted_owner = status.st_uid == geteuid() || status.st_uid == 0;
  const bool others_write = (status.st_mode & (S_IWGRP | S_IWOTH)) != 0;
  const bool is_sticky = (status.st_mode & S_ISVTX) != 0;
  if (!is_trusted_owner || (others_write && !is_sticky)) {
    return Error(Errc::permission_denied, fmt::format("{}: other users can replace files in {}",
                                                      at.to_string(), folder.native()));
  }
  return {};
}

Error in_use(const StreamAddress& at) {
  return {Errc::address_in_use, fmt::format("{} is in use by another process", at.to_string())};
}

// Whether somebody listens there. A full queue of connections counts. Only somebody who takes no
// lock can: a program that is none of ours.
bool is_alive(const SocketAddress& address) {
  const OwnedSocket probe = open_stream_socket(address.family());
  return !probe.is_valid() || connect(probe.get(), address.data(), address.size()) == 0 ||
         errno != ECONNREFUSED;
}

Result<void> bind_file(int socket, const StreamAddress& at, const SocketAddress& address) {
  // The file takes its mode from the socket's own, so that it is never open to others, not even for
  // a moment.
  if (fchmod(socket, 0600) != 0) {
    return socket_error("protect", at, errno);
  }
  if (bind(socket, address.data(), address.size()) == 0) {
    return {};
  }
  struct stat status {};
  if (errno != EADDRINUSE) {
    return socket_error("listen on", at, errno);
  }
  if (lstat(at.host.c_str(), &status) == 0 && !S_ISSOCK(status.st_mode)) {
    return Error(Errc::address_in_use,
                 fmt::format("{}: a file that is no socket is there", at.to_string()));
  }
  if (is_alive(address)) {
    return in_use(at);
  }
  if (unlink(at.host.c_str()) != 0 || bind(socket, address.data(), address.size()) != 0) {
    return socket_error("replace the unused socket", at, errno);
  }
  return {};
}

Result<void> bind_tcp(int socket, const StreamAddress& at, const SocketAddress& address) {
  const int one = 1;
  if (setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
      bind(socket, address.data(), address.size()) != 0) {
    return errno == EADDRINUSE ? in_use(at) : socket_error("listen on", at, errno);
  }
  return {};
}

Result<std::uint16_t> bound_tcp_port(int socket, const StreamAddress& at) {
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    return socket_error("examine", at, errno);
  }
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                           : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
}

}  // namespace

OwnedSocket::~OwnedSocket() {
  if (descriptor_ >= 0) {
    close(descriptor_);
  }
}

int OwnedSocket::release() { return std::exchange(descriptor_, -1); }

Result<SocketAddress> SocketAddress::from(const StreamAddress& address) {
  SocketAddress result;
  if (address.kind == StreamAddress::Kind::local_socket) {
    auto& local = reinterpret_cast<sockaddr_un&>(result.storage_);
    if (address.host.empty() || address.host.size() >= sizeof(local.sun_path)) {
      return Error(Errc::invalid_argument,
                   fmt::format("{}: the path is empty or too long", address.to_string()));
    }
    local.sun_family = AF_UNIX;
    std::memcpy(local.sun_path, address.host.c_str(), address.host.size() + 1);
    result.size_ = sizeof(local);
    return result;
  }
  auto& v4 = reinterpret_cast<sockaddr_in&>(result.storage_);
  if (inet_pton(AF_INET, address.host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.tcp_port);
    result.size_ = sizeof(v4);
    return result;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(result.storage_);
  if (inet_pton(AF_INET6, address.host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(address.tcp_port);
    result.size_ = sizeof(v6);
    return result;
  }
  return Error(Errc::invalid_argument,
               fmt::format("{}: the host is no numeric address", address.to_string()));
}

void set_stream_options(int socket, int family, const SocketOptions& options) {
  const int one = 1;
  if (family != AF_UNIX) {
    (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    // Loopback only, so far: there is no path to probe, and what a system default like bbr adds to
    // that (pacing timers) cost a third to a half of the throughput (measured: 1.3 GB/s with
    // bbr, 1.9 to 3.0 with reno). Reno is in every kernel and open to every user.
    (void)setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, kLoopbackCongestionControl.data(),
                     kLoopbackCongestionControl.size());
  }
  if (options.buffer_bytes > 0) {
    (void)setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &options.buffer_bytes, sizeof(int));
    (void)setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &options.buffer_bytes, sizeof(int));
  }
}

void set_receive_low_water(int socket, std::size_t bytes) {
  // A wish: without it each arrival wakes us, and all still works.
  const int low_water = static_cast<int>(std::min<std::size_t>(bytes, INT_MAX));
  (void)setsockopt(socket, SOL_SOCKET, SO_RCVLOWAT, &low_water, sizeof(low_water));
}

OwnedSocket open_stream_socket(int family) {
  return OwnedSocket(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

int take_socket_error(int socket) {
  int error_number = 0;
  socklen_t size = sizeof(error_number);
  return getsockopt(socket, SOL_SOCKET, SO_ERROR, &error_number, &size) == 0 ? error_number : errno;
}

bool is_connected_to_itself(int socket) {
  sockaddr_storage here{};
  sockaddr_storage there{};
  socklen_t here_size = sizeof(here);
  socklen_t there_size = sizeof(there);
  return getsockname(socket, reinterpret_cast<sockaddr*>(&here), &here_size) == 0 &&
         getpeername(socket, reinterpret_cast<sockaddr*>(&there), &there_size) == 0 &&
         here.ss_family != AF_UNIX && here_size == there_size &&
         std::memcmp(&here, &there, here_size) == 0;
}

bool is_hung_up(int socket) {
  pollfd query{socket, 0, 0};
  return poll(&query, 1, 0) > 0 && (query.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
}

bool is_at_end(int socket) {
  std::byte probe{};
  return recv(socket, &probe, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void remove_socket_file(const SocketFile& file) {
  struct stat status {};
  if (lstat(file.path.c_str(), &status) == 0 && status.st_dev == file.device &&
      status.st_ino == file.inode) {
    unlink(file.path.c_str());
  }
}

Result<SocketLock> SocketLock::take(const StreamAddress& at) {
  const std::string path = at.host + ".lock";
  for (int attempt = 0; attempt < kLockAttemptsMax; ++attempt) {
    OwnedSocket file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    struct stat status {};
    if (!file.is_valid() || fstat(file.get(), &status) != 0) {
      return socket_error("make the lock file of", at, errno);
    }
    if (!S_ISREG(status.st_mode) || status.st_uid != geteuid()) {
      return Error(Errc::permission_denied,
                   fmt::format("{}: {} is no file of this user", at.to_string(), path));
    }
    if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
      return errno == EWOULDBLOCK ? in_use(at) : socket_error("lock", at, errno);
    }
    // Who removes the file holds its lock: with its name, ours keeps it.
    if (fstat(file.get(), &status) == 0 && status.st_nlink > 0) {
      return SocketLock(path, std::move(file));
    }
  }
  return in_use(at);
}

SocketLock::~SocketLock() {
  if (file_.is_valid()) {
    unlink(path_.c_str());
  }
}

Result<ListeningSocket> open_listening_socket(const StreamAddress& at,
                                              const SocketOptions& options) {
  if (!at.is_loopback()) {
    return Error(Errc::address_not_loopback,
                 fmt::format("{} can be reached from other machines; only 127.0.0.0/8, ::1 and "
                             "Unix sockets are allowed",
                             at.to_string()));
  }
  const Result<SocketAddress> address = SocketAddress::from(at);
  if (!address) {
    return address.error();
  }
  const bool is_local = at.kind == StreamAddress::Kind::local_socket;
  std::optional<SocketLock> lock;
  if (is_local) {
    if (auto prepared = prepare_folder(at); !prepared) {
      return prepared.error();
    }
    Result<SocketLock> taken = SocketLock::take(at);
    if (!taken) {
      return taken.error();
    }
    lock.emplace(std::move(*taken));
  }
  ListeningSocket listening{open_stream_socket(address->family()), at, std::nullopt,
                            std::move(lock)};
  const int socket = listening.socket.get();
  if (socket < 0) {
    return socket_error("open a socket for", at, errno);
  }
  set_stream_options(socket, address->family(), options);
  if (auto bound = is_local ? bind_file(socket, at, *address) : bind_tcp(socket, at, *address);
      !bound) {
    return bound.error();
  }
  if (is_local) {
    struct stat status {};
    if (lstat(at.host.c_str(), &status) != 0) {
      return socket_error("examine", at, errno);
    }
    listening.file = SocketFile{at.host, status.st_dev, status.st_ino};
  } else {
    const Result<std::uint16_t> port = bound_tcp_port(socket, at);
    if (!port) {
      return port.error();
    }
    listening.address.tcp_port = *port;
  }
  if (listen(socket, kBacklog) != 0) {
    const Error error = socket_error("listen on", at, errno);
    if (listening.file) {
      remove_socket_file(*listening.file);
    }
    return error;
  }
  return listening;
}

template <class Span>
void MessageBuffer::set_pieces(msghdr& message, std::span<const Span> spans) {
  GODBOX_ASSERT(spans.size() <= pieces_.size());
  offered_bytes_ = 0;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    // iovec knows no const; sendmsg does not write.
    pieces_[i].iov_base = const_cast<std::byte*>(spans[i].data());
    pieces_[i].iov_len = spans[i].size();
    offered_bytes_ += spans[i].size();
  }
  message.msg_iov = pieces_.data();
  message.msg_iovlen = spans.size();
}

MessageBuffer::Received MessageBuffer::receive(int socket, std::span<const MutableSpan> spans,
                                               bool with_descriptors) {
  msghdr message{};
  set_pieces(message, spans);
  descriptors_.clear();
  if (with_descriptors) {
    message.msg_control = control_.data();
    message.msg_controllen = control_.size();
  }
  Received received;
  received.size_bytes = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (received.size_bytes < 0) {
    received.error_number = errno;
    return received;
  }
  received.descriptors_lost = with_descriptors && (message.msg_flags & MSG_CTRUNC) != 0;
  for (cmsghdr* part = with_descriptors ? CMSG_FIRSTHDR(&message) : nullptr; part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    const std::size_t begin = descriptors_.size();
    descriptors_.resize(begin + count);
    std::memcpy(descriptors_.data() + begin, CMSG_DATA(part), count * sizeof(int));
  }
  return received;
}

ssize_t MessageBuffer::send(int socket, std::span<const ConstSpan> spans,
                            std::span<const int> descriptors, bool more) {
  GODBOX_ASSERT(descriptors.size() <= kDescriptorsPerMessageMax);
  msghdr message{};
  set_pieces(message, spans);
  if (!descriptors.empty()) {
    const std::size_t size_bytes = descriptors.size() * sizeof(int);
    message.msg_control = control_.data();
    message.msg_controllen = CMSG_SPACE(size_bytes);
    std::memset(control_.data(), 0, message.msg_controllen);
    cmsghdr* const part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(size_bytes);
    std::memcpy(CMSG_DATA(part), descriptors.data(), size_bytes);
  }
  const ssize_t sent =
      sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0));
  return sent < 0 ? -static_cast<ssize_t>(errno) : sent;
}

}  // namespace godbox::driver
