// SPDX-License-Identifier: Apache-2.0
#include "by_reference.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

// What users without rights may have (pipe(7)); with 4 KiB pages it holds 256 of them.
constexpr int kPipeBytes = 1 << 20;
constexpr Duration kLookPeriod = std::chrono::milliseconds(10);
constexpr std::size_t kAnswerBytesMax = 4096;

// Bytes that the socket has taken and the other end has not acknowledged.
std::uint64_t unacknowledged_bytes(int socket) {
  int bytes = 0;
  return ioctl(socket, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? static_cast<std::uint64_t>(bytes) : 0;
}

}  // namespace

// --- PagePipe ------------------------------------------------------------------------------------

std::unique_ptr<PagePipe> PagePipe::open() {
  std::array<int, 2> ends{-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    return nullptr;
  }
  OwnedSocket read_end(ends[0]);
  OwnedSocket write_end(ends[1]);
  OwnedSocket nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  if (!nowhere.is_valid()) {
    return nullptr;
  }
  // A wish: a smaller one takes more calls.
  (void)fcntl(write_end.get(), F_SETPIPE_SZ, kPipeBytes);
  return std::unique_ptr<PagePipe>(
      new PagePipe(std::move(read_end), std::move(write_end), std::move(nowhere)));
}

ssize_t PagePipe::send(int socket, std::span<const ConstSpan> spans) {
  pieces_.clear();
  offered_bytes_ = 0;
  if (is_stuck_) {
    return -EIO;
  }
  for (const ConstSpan span : spans) {
    pieces_.push_back({const_cast<std::byte*>(span.data()), span.size()});
  }
  const ssize_t in_pipe =
      vmsplice(write_end_.get(), pieces_.data(), pieces_.size(), SPLICE_F_NONBLOCK);
  if (in_pipe <= 0) {
    return in_pipe < 0 ? -static_cast<ssize_t>(errno) : -EAGAIN;
  }
  offered_bytes_ = static_cast<std::size_t>(in_pipe);
  std::size_t sent = 0;
  int error_number = EAGAIN;
  while (sent < offered_bytes_) {
    const ssize_t moved =
        splice(read_end_.get(), nullptr, socket, nullptr, offered_bytes_ - sent, SPLICE_F_NONBLOCK);
    if (moved <= 0) {
      error_number = moved < 0 ? errno : EAGAIN;
      break;
    }
    sent += static_cast<std::size_t>(moved);
  }
  drain(offered_bytes_ - sent);
  return sent > 0 ? static_cast<ssize_t>(sent) : -static_cast<ssize_t>(error_number);
}

// What the socket had no room for is offered again later.
void PagePipe::drain(std::size_t size_bytes) {
  while (size_bytes > 0) {
    const ssize_t gone =
        splice(read_end_.get(), nullptr, nowhere_.get(), nullptr, size_bytes, SPLICE_F_NONBLOCK);
    if (gone == 0 || (gone < 0 && errno != EINTR)) {
      is_stuck_ = true;  // what is left is none of the next connection's bytes
      return;
    }
    size_bytes -= gone > 0 ? static_cast<std::size_t>(gone) : 0;
  }
}

// --- PeerView ------------------------------------------------------------------------------------

std::unique_ptr<PeerView> PeerView::open() {
  OwnedSocket socket(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  return socket.is_valid() ? std::unique_ptr<PeerView>(new PeerView(std::move(socket))) : nullptr;
}

std::optional<PeerView::Question> PeerView::question_about(int socket) {
  sockaddr_storage here{};
  sockaddr_storage there{};
  socklen_t here_size = sizeof(here);
  socklen_t there_size = sizeof(there);
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&here), &here_size) != 0 ||
      getpeername(socket, reinterpret_cast<sockaddr*>(&there), &there_size) != 0 ||
      here.ss_family != there.ss_family) {
    return std::nullopt;
  }
  Question question{};
  question.head.nlmsg_len = sizeof(question);
  question.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.head.nlmsg_flags = NLM_F_REQUEST;
  question.body.sdiag_family = static_cast<std::uint8_t>(here.ss_family);
  question.body.sdiag_protocol = IPPROTO_TCP;
  question.body.idiag_states = ~0U;
  inet_diag_sockid& id = question.body.id;
  id.idiag_cookie[0] = id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  // The other end's own view: its source is our destination.
  if (here.ss_family == AF_INET) {
    const auto& ours = reinterpret_cast<const sockaddr_in&>(here);
    const auto& theirs = reinterpret_cast<const sockaddr_in&>(there);
    id.idiag_sport = theirs.sin_port;
    id.idiag_dport = ours.sin_port;
    id.idiag_src[0] = theirs.sin_addr.s_addr;
    id.idiag_dst[0] = ours.sin_addr.s_addr;
    return question;
  }
  if (here.ss_family == AF_INET6) {
    const auto& ours = reinterpret_cast<const sockaddr_in6&>(here);
    const auto& theirs = reinterpret_cast<const sockaddr_in6&>(there);
    id.idiag_sport = theirs.sin6_port;
    id.idiag_dport = ours.sin6_port;
    std::memcpy(id.idiag_src, &theirs.sin6_addr, sizeof(theirs.sin6_addr));
    std::memcpy(id.idiag_dst, &ours.sin6_addr, sizeof(ours.sin6_addr));
    return question;
  }
  return std::nullopt;
}

std::optional<PeerView::Answer> PeerView::ask(const Question& question) {
  Question numbered = question;
  numbered.head.nlmsg_seq = ++last_number_;
  if (send(socket_.get(), &numbered, sizeof(numbered), MSG_DONTWAIT) != sizeof(numbered)) {
    return std::nullopt;
  }
  // The kernel has answered before send() returned. An answer that nobody took is another's.
  alignas(nlmsghdr) std::array<std::byte, kAnswerBytesMax> buffer{};
  const auto* const head = reinterpret_cast<const nlmsghdr*>(buffer.data());
  do {
    const ssize_t size = recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size < static_cast<ssize_t>(sizeof(nlmsghdr)) || !NLMSG_OK(head, size)) {
      return std::nullopt;
    }
  } while (head->nlmsg_seq != last_number_);
  if (head->nlmsg_type == NLMSG_ERROR) {
    const auto* const error = static_cast<const nlmsgerr*>(NLMSG_DATA(head));
    return head->nlmsg_len >= NLMSG_LENGTH(sizeof(nlmsgerr)) && error->error == -ENOENT
               ? std::optional<Answer>({.is_gone = true})
               : std::nullopt;
  }
  if (head->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) {
    return std::nullopt;
  }
  const auto* const about = static_cast<const inet_diag_msg*>(NLMSG_DATA(head));
  return Answer{.is_gone = false,
                .unread_bytes = about->idiag_rqueue,
                .user = about->idiag_uid,
                .cookie = {about->id.idiag_cookie[0], about->id.idiag_cookie[1]}};
}

// --- ReferredStream ------------------------------------------------------------------------------

std::unique_ptr<ReferredStream> ReferredStream::open(PeerView& view, int socket) {
  const std::optional<PeerView::Question> question = PeerView::question_about(socket);
  if (!question) {
    return nullptr;
  }
  // An end that is not seen now, in another network namespace say, would seem to be gone.
  const std::optional<PeerView::Answer> answer = view.ask(*question);
  if (!answer || answer->is_gone || (answer->user != geteuid() && answer->user != 0)) {
    return nullptr;
  }
  // From now on about this socket, and no later one of the same addresses.
  PeerView::Question about_this = *question;
  std::copy(answer->cookie.begin(), answer->cookie.end(), about_this.body.id.idiag_cookie);
  return std::unique_ptr<ReferredStream>(new ReferredStream(about_this));
}

bool ReferredStream::look(PeerView& view, int socket, std::uint64_t sent_bytes) {
  // In this order: what arrives in between counts twice, and not not at all.
  const std::uint64_t under_way = unacknowledged_bytes(socket);
  const std::optional<PeerView::Answer> answer = view.ask(question_);
  if (!answer) {
    return false;
  }
  const std::uint64_t not_taken = under_way + answer->unread_bytes;
  const std::uint64_t taken =
      answer->is_gone ? sent_bytes : sent_bytes - std::min(sent_bytes, not_taken);
  const bool is_more = taken > taken_bytes_;
  taken_bytes_ = std::max(taken_bytes_, taken);
  return is_more;
}

// --- ByReference ---------------------------------------------------------------------------------

std::unique_ptr<ByReference> ByReference::open() {
  std::unique_ptr<PagePipe> pipe = PagePipe::open();
  std::unique_ptr<PeerView> view = PeerView::open();
  if (pipe == nullptr || view == nullptr) {
    return nullptr;
  }
  return std::unique_ptr<ByReference>(new ByReference(std::move(pipe), std::move(view)));
}

void ByReference::prepare_thread() {
  if (!std::exchange(is_thread_prepared_, true)) {
    sigset_t broken_pipe;
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
  }
}

void ByReference::linger(OwnedSocket socket, std::unique_ptr<ReferredStream> stream,
                         std::uint64_t sent_bytes, std::shared_ptr<void> kept, TimePoint now) {
  lingering_.push_back(std::unique_ptr<Lingering>(
      new Lingering{std::move(socket), std::move(stream), sent_bytes, std::move(kept)}));
  next_look_ = std::min(next_look_, now + kLookPeriod);
}

void ByReference::look_again(TimePoint now) {
  if (now < next_look_) {
    return;
  }
  std::erase_if(lingering_, [this](const std::unique_ptr<Lingering>& each) {
    (void)each->stream->look(*view_, each->socket.get(), each->sent_bytes);
    return each->stream->is_all_taken();
  });
  next_look_ = lingering_.empty() ? kNever : now + kLookPeriod;
}

}  // namespace godbox::driver
