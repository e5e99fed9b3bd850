// SPDX-License-Identifier: Apache-2.0
//
// Sending memory by reference: its pages go through a pipe into the socket (vmsplice(2),
// splice(2)), so that the kernel copies them once, into the receiver's memory, and not twice. Until
// then they must not change, also not after TCP has acknowledged them: over loopback they lie in
// the receiver's queue as they are. So the kernel is asked what the other end has not read yet
// (sock_diag(7), 1.5 us), and who it is: a process that may not map the memory anyway could keep
// hold of pages (splice(2) again) and see what becomes of them.
// Measured on 2 cores, 1 MiB messages from 1100 MiB in huge pages, strips of 16 KiB, the receiver
// into 8 MiB and computing a CRC: copied 4.5 to 6.7 GB/s with 0.15 to 0.22 CPU seconds per GB of
// the sender, by reference 4.5 to 5.6 with 0.06, and where the sender copies as long as the other
// end has enough to read, 6.4 to 7.1 with 0.14: copies come to the receiver in warm caches.
// Thread-safety: one thread per object. Units: bytes. Errors: as said; a kernel without one of the
// calls makes nothing here, and all is copied.
#pragma once

#include "socket_calls.h"
#include <godbox/clock.h>
#include <godbox/driver/asio_network.h>

#include <memory>
#include <optional>
#include <vector>

#include <linux/inet_diag.h>
#include <linux/netlink.h>

namespace godbox::driver {

// Fewer bytes cost less to copy than to refer to.
inline constexpr std::size_t kReferredBytesMin = std::size_t{64} << 10U;
// What is decided about at a time.
inline constexpr std::size_t kReferredPieceBytes = std::size_t{256} << 10U;
// Where the other end has so much to read, it is the slower one: copying takes no time then, and
// saves it some. It also bounds what a connection has out by reference. Measured as above, but with
// a box and its client, 1 MiB and 4 MiB objects: copied 4.3 and 4.2 GB/s with 0.22 and 0.23 CPU
// seconds per GB of the box; 0.5 MiB 4.7 and 4.8 with 0.19 and 0.20; 1 MiB 4.7 and 4.9 with 0.18
// and 0.18; 2 MiB 4.1 and 4.9 with 0.17 and 0.14. With no bound the kernel now and then dropped
// segments for want of room in the receive buffer, and 200 ms were lost.
inline constexpr std::uint64_t kReferredBacklogBytes = std::uint64_t{1} << 20U;

// The pipe that pages go through; empty between calls.
class PagePipe {
 public:
  // nullptr where there is none to be had.
  [[nodiscard]] static std::unique_ptr<PagePipe> open();
  // As MessageBuffer::send, of as many pieces from the front as the pipe holds.
  [[nodiscard]] ssize_t send(int socket, std::span<const ConstSpan> spans);
  // Bytes offered by the last call.
  [[nodiscard]] std::size_t offered_bytes() const { return offered_bytes_; }

 private:
  PagePipe(OwnedSocket read_end, OwnedSocket write_end, OwnedSocket nowhere)
      : read_end_(std::move(read_end)),
        write_end_(std::move(write_end)),
        nowhere_(std::move(nowhere)) {}
  void drain(std::size_t size_bytes);

  OwnedSocket read_end_;
  OwnedSocket write_end_;
  OwnedSocket nowhere_;  // /dev/null
  std::vector<iovec> pieces_;
  std::size_t offered_bytes_ = 0;
  bool is_stuck_ = false;
};

// Asks the kernel about the other ends of connections within this machine.
class PeerView {
 public:
  struct Question {
    nlmsghdr head;
    inet_diag_req_v2 body;
  };
  struct Answer {
    // It is closed: nobody reads there any more. So while our end neither ends the stream nor
    // resets it: after that the kernel may not find a socket that still has something to read.
    bool is_gone = false;
    std::uint64_t unread_bytes = 0;  // arrived
    uid_t user = 0;                  // who made the socket
    std::array<std::uint32_t, 2> cookie{};
  };
  // nullptr where the kernel answers no such question.
  [[nodiscard]] static std::unique_ptr<PeerView> open();
  // About the other end of `socket`; none for what is no TCP connection.
  [[nodiscard]] static std::optional<Question> question_about(int socket);
  [[nodiscard]] std::optional<Answer> ask(const Question& question);

 private:
  explicit PeerView(OwnedSocket socket) : socket_(std::move(socket)) {}
  OwnedSocket socket_;
  std::uint32_t last_number_ = 0;
};

// What one connection has sent by reference, and how much of it the other end has got.
class ReferredStream {
 public:
  // nullptr where the other end may not be served so, or cannot be asked about.
  [[nodiscard]] static std::unique_ptr<ReferredStream> open(PeerView& view, int socket);

  void referred_until(std::uint64_t stream_bytes) { referred_bytes_ = stream_bytes; }
  // Asks; true if the other end has got more than before. `sent_bytes`: all that the socket took.
  bool look(PeerView& view, int socket, std::uint64_t sent_bytes);
  [[nodiscard]] std::uint64_t taken_bytes() const { return taken_bytes_; }
  [[nodiscard]] bool is_all_taken() const { return taken_bytes_ >= referred_bytes_; }

 private:
  explicit ReferredStream(const PeerView::Question& question) : question_(question) {}
  PeerView::Question question_;
  std::uint64_t referred_bytes_ = 0;  // the end of the last byte that left by reference
  std::uint64_t taken_bytes_ = 0;
};

// What the connections of one network share for it.
class ByReference {
 public:
  // nullptr where the kernel cannot do it.
  [[nodiscard]] static std::unique_ptr<ByReference> open();
  // Blocks SIGPIPE in the thread that sends, once: splice(2) knows no MSG_NOSIGNAL.
  void prepare_thread();

  [[nodiscard]] PagePipe& pipe() { return *pipe_; }
  [[nodiscard]] PeerView& view() { return *view_; }

  // A connection is over whose other end has not read all of it: `kept`, and the socket, go once it
  // has, or has closed.
  void linger(OwnedSocket socket, std::unique_ptr<ReferredStream> stream, std::uint64_t sent_bytes,
              std::shared_ptr<void> kept, TimePoint now);
  [[nodiscard]] bool is_crowded() const { return lingering_.size() >= kLingeringMax; }
  // When look_again() has something to do; kNever while nobody lingers.
  [[nodiscard]] TimePoint next_look() const { return next_look_; }
  void look_again(TimePoint now);

 private:
  struct Lingering {
    OwnedSocket socket;
    std::unique_ptr<ReferredStream> stream;
    std::uint64_t sent_bytes;
    std::shared_ptr<void> kept;
  };
  ByReference(std::unique_ptr<PagePipe> pipe, std::unique_ptr<PeerView> view)
      : pipe_(std::move(pipe)), view_(std::move(view)) {}

  std::unique_ptr<PagePipe> pipe_;
  std::unique_ptr<PeerView> view_;
  std::vector<std::unique_ptr<Lingering>> lingering_;
  TimePoint next_look_ = kNever;
  bool is_thread_prepared_ = false;
};

}  // namespace godbox::driver
