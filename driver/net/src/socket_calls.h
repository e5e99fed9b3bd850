// SPDX-License-Identifier: Apache-2.0
//
// The system calls on sockets that Asio does not wrap the way we need them: gathering up to
// kStreamSpansMax pieces, descriptors that ride along, socket files and their leftovers.
// Thread-safety: one thread per object. Errors: named at each call.
#pragma once

#include <godbox/stream.h>

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

namespace godbox::driver {

// unix(7), SCM_MAX_FD: the most descriptors that one message carries.
inline constexpr std::size_t kDescriptorsPerMessageMax = 253;

// A socket or another descriptor, closed unless released.
class OwnedSocket {
 public:
  explicit OwnedSocket(int descriptor) : descriptor_(descriptor) {}
  OwnedSocket(OwnedSocket&& other) noexcept : descriptor_(other.release()) {}
  OwnedSocket& operator=(OwnedSocket&&) = delete;
  ~OwnedSocket();
  [[nodiscard]] int get() const { return descriptor_; }
  [[nodiscard]] bool is_valid() const { return descriptor_ >= 0; }
  [[nodiscard]] int release();

 private:
  int descriptor_;
};

// A StreamAddress as the kernel wants it.
class SocketAddress {
 public:
  // `address` as StreamAddress::parse makes it. Errors: invalid_argument.
  [[nodiscard]] static Result<SocketAddress> from(const StreamAddress& address);
  [[nodiscard]] const sockaddr* data() const {
    return reinterpret_cast<const sockaddr*>(&storage_);
  }
  [[nodiscard]] socklen_t size() const { return size_; }
  [[nodiscard]] int family() const { return storage_.ss_family; }

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

struct SocketOptions {
  int buffer_bytes = 0;  // 0: as the kernel likes
};
// TCP_NODELAY and buffer sizes; what a family does not have is left out.
void set_stream_options(int socket, int family, const SocketOptions& options);
// A TCP socket becomes readable only with so many bytes (SO_RCVLOWAT), or when they will not come.
void set_receive_low_water(int socket, std::size_t bytes);
// A non-blocking stream socket; invalid with errno set when there is none to be had.
[[nodiscard]] OwnedSocket open_stream_socket(int family);
// SO_ERROR, cleared.
[[nodiscard]] int take_socket_error(int socket);
// True for a TCP connection whose two ends are one socket: a connect to a free port of the range
// from which the kernel also takes the local port may meet itself.
[[nodiscard]] bool is_connected_to_itself(int socket);
// True when the other side has reset or entirely closed the connection, whatever is unread.
[[nodiscard]] bool is_hung_up(int socket);
// True when the stream has ended and nothing is unread. Reads nothing.
[[nodiscard]] bool is_at_end(int socket);

// A Unix socket's file, so that only the one that was made is removed.
struct SocketFile {
  std::string path;
  dev_t device = 0;
  ino_t inode = 0;
};
void remove_socket_file(const SocketFile& file);

// The lock "<path>.lock" of a Unix socket's path. To look whether a socket file is a dead one's, to
// remove it and to bind a new one are three steps: without the lock, two processes that start
// together would each remove what the other has just bound. It is held as long as the socket
// listens, and goes after the socket file, so that whoever has it finds no living socket of ours.
class SocketLock {
 public:
  // Errors: address_in_use (somebody holds it), permission_denied, invalid_argument,
  // limit_exceeded, io_error.
  [[nodiscard]] static Result<SocketLock> take(const StreamAddress& at);
  SocketLock(SocketLock&&) noexcept = default;
  SocketLock& operator=(SocketLock&&) = delete;
  ~SocketLock();  // removes the file, then gives the lock up

 private:
  SocketLock(std::string path, OwnedSocket file) : path_(std::move(path)), file_(std::move(file)) {}
  std::string path_;
  OwnedSocket file_;
};

struct ListeningSocket {
  OwnedSocket socket;
  StreamAddress address;  // with the TCP port that was taken
  std::optional<SocketFile> file;
  std::optional<SocketLock> lock;
};
// Errors: as StreamNetwork::listen.
[[nodiscard]] Result<ListeningSocket> open_listening_socket(const StreamAddress& at,
                                                            const SocketOptions& options);

// Scratch for gathering reads and writes.
class MessageBuffer {
 public:
  struct Received {
    ssize_t size_bytes = -1;  // as recvmsg(2); errno in error_number when negative
    int error_number = 0;
    bool descriptors_lost = false;
  };

  // Reads into `spans`. Descriptors that came are in descriptors() and belong to the caller;
  // without `with_descriptors` the kernel drops them.
  [[nodiscard]] Received receive(int socket, std::span<const MutableSpan> spans,
                                 bool with_descriptors);
  // sendmsg(2) of `spans` with `descriptors`; negative: -errno. `more`: what belongs to them
  // follows at once.
  [[nodiscard]] ssize_t send(int socket, std::span<const ConstSpan> spans,
                             std::span<const int> descriptors, bool more);
  // Bytes offered by the last call.
  [[nodiscard]] std::size_t offered_bytes() const { return offered_bytes_; }
  [[nodiscard]] const std::vector<int>& descriptors() const { return descriptors_; }

 private:
  template <class Span>
  void set_pieces(msghdr& message, std::span<const Span> spans);

  std::array<iovec, kStreamSpansMax> pieces_;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kDescriptorsPerMessageMax)> control_;
  std::size_t offered_bytes_ = 0;
  std::vector<int> descriptors_;
};

}  // namespace godbox::driver
