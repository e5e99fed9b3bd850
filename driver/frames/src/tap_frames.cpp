// SPDX-License-Identifier: Apache-2.0
#include "frame_count.h"
#include "send_queue.h"
#include <godbox/driver/kernel_rights.h>
#include <godbox/driver/socket_frames.h>
#include <godbox/driver/tap_frames.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

constexpr const char* kTunDevice = "/dev/net/tun";
constexpr std::size_t kHeaderBytes = 14;
constexpr std::size_t kTagBytes = 4;
constexpr std::size_t kReceivedMax = 64;  // frames of one receive()
constexpr std::uint32_t kMtuBytesDefault = 1500;

// A descriptor that is closed at the end.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) {
      close(number_);
    }
  }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
};

class TapFrames final : public FrameSource {
 public:
  TapFrames(Descriptor tap, std::string interface, const MacAddress& mac, std::uint32_t mtu_bytes)
      : tap_(std::move(tap)),
        interface_(std::move(interface)),
        mac_(mac),
        mtu_bytes_(mtu_bytes),
        frame_bytes_max_(mtu_bytes + kHeaderBytes + kTagBytes),
        received_(kReceivedMax * place_bytes()),
        to_send_(frame_bytes_max_) {}

  [[nodiscard]] std::string name() const override { return "tap " + interface_; }
  [[nodiscard]] MacAddress mac() const override { return mac_; }
  [[nodiscard]] std::uint32_t mtu_bytes() const override { return mtu_bytes_; }

  [[nodiscard]] std::size_t receive(std::span<ConstSpan> frames) override;
  [[nodiscard]] MutableSpan room_to_send(std::size_t size_bytes) override {
    return to_send_.room(size_bytes, [this] { flush(); });
  }
  void commit() override { to_send_.commit(); }
  void flush() override;

  [[nodiscard]] int wait_descriptor() const override { return tap_.number(); }
  [[nodiscard]] FrameCounters counters() const override { return counts_.counters(); }

 private:
  void note_failure(int why);

  // A byte more than a frame has: what fills it was too long.
  [[nodiscard]] std::size_t place_bytes() const { return frame_bytes_max_ + 1; }

  Descriptor tap_;
  std::string interface_;
  MacAddress mac_;
  std::uint32_t mtu_bytes_;
  std::size_t frame_bytes_max_;
  std::vector<std::byte> received_;
  SendQueue to_send_;
  bool is_gone_ = false;  // the interface, for good
  FrameCounts counts_;
};

std::size_t TapFrames::receive(std::span<ConstSpan> frames) {
  const std::size_t wanted = std::min(frames.size(), kReceivedMax);
  std::size_t count = 0;
  // Frames that are no frames are passed over, so many at most.
  for (std::size_t reads = 0; count < wanted && reads < 2 * kReceivedMax && !is_gone_; ++reads) {
    std::byte* const place = received_.data() + count * place_bytes();
    const ssize_t got = read(tap_.number(), place, place_bytes());
    if (got < 0) {
      note_failure(errno);
    }
    if (got <= 0) {
      break;
    }
    const auto size_bytes = static_cast<std::size_t>(got);
    if (size_bytes < kHeaderBytes || size_bytes > frame_bytes_max_) {
      counts_.receive_drops.add(1);
      continue;
    }
    frames[count++] = {place, size_bytes};
    counts_.received_bytes.add(size_bytes);
  }
  counts_.received_frames.add(count);
  return count;
}

// The descriptor of an interface that has been deleted, or has gone with its namespace, is ready at
// once whenever somebody waits for it. In its place comes one that never is.
void TapFrames::note_failure(int why) {
  if (why == EAGAIN || why == EINTR || why == ENOBUFS || why == ENOMEM || why == EIO) {
    return;  // nothing has come, or the interface is down
  }
  const Descriptor never(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  is_gone_ = never.number() >= 0 && dup3(never.number(), tap_.number(), O_CLOEXEC) >= 0;
}

void TapFrames::flush() {
  bool is_blocked = false;
  while (!is_blocked && to_send_.begin() < to_send_.end()) {
    const std::size_t at = to_send_.begin();
    // What took its descriptor's place is not for frames.
    const ssize_t sent =
        is_gone_ ? -1 : write(tap_.number(), to_send_.place(at), to_send_.size_bytes(at));
    const int why_not = sent >= 0 ? 0 : is_gone_ ? ENODEV : errno;
    is_blocked = why_not == EAGAIN || why_not == ENOBUFS || why_not == ENOMEM;
    if (is_blocked || why_not == EINTR) {
      continue;
    }
    if (why_not != 0) {
      counts_.send_drops.add(1);  // the interface is down, or gone
    } else {
      counts_.sent_frames.add(1);
      counts_.sent_bytes.add(to_send_.size_bytes(at));
    }
    to_send_.pop();
  }
  to_send_.end_flush(is_blocked);
}

Error system_error(Errc code, std::string_view what, int number) {
  return {code, fmt::format("{}: {}", what, std::generic_category().message(number))};
}

ifreq request_for(const std::string& interface) {
  ifreq request{};
  std::copy(interface.begin(), interface.end(), request.ifr_name);
  return request;
}

Result<void> check(const TapFramesOptions& options) {
  const std::string& name = options.interface;
  // The kernel would make a number of "%d", and another name of what is cut off.
  const bool is_name = !name.empty() && name.size() < IFNAMSIZ && name != "." && name != ".." &&
                       std::ranges::all_of(name, [](char c) {
                         return c > ' ' && c <= '~' && c != '/' && c != ':' && c != '%';
                       });
  if (!is_name) {
    return Error(Errc::invalid_argument, fmt::format("\"{}\" is no name of an interface", name));
  }
  const std::uint32_t mtu_bytes = options.mtu_bytes.value_or(kMtuBytesDefault);
  if (mtu_bytes < kFrameMtuBytesMin || mtu_bytes > kFrameMtuBytesMax) {
    return Error(Errc::invalid_argument,
                 fmt::format("tap {}: an MTU of {} bytes: {} to {} are allowed", name, mtu_bytes,
                             kFrameMtuBytesMin, kFrameMtuBytesMax));
  }
  if (options.mac == MacAddress{} || (options.mac[0] & 1U) != 0) {
    return Error(Errc::invalid_argument,
                 fmt::format("tap {}: the MAC address is no station's", name));
  }
  return {};
}

// Takes the far end of the interface, which is made where it is missing: whether it was.
Result<bool> attach(int tap, const std::string& interface) {
  constexpr KernelRight kNeeded[] = {KernelRight::net_admin};
  const std::string what = "tap " + interface;
  const auto take = [&](unsigned flags) {
    ifreq request = request_for(interface);
    request.ifr_flags = static_cast<short>(flags);
    return ioctl(tap, TUNSETIFF, &request) == 0 ? 0 : errno;
  };
  int why_not = take(IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL);
  if (why_not == 0) {
    return true;
  }
  if (why_not == EPERM) {
    return lacks_rights(what, kNeeded);
  }
  if (why_not == EINVAL) {
    return Error(Errc::invalid_argument,
                 fmt::format("{}: the kernel makes no interface of that name", what));
  }
  why_not = why_not == EBUSY ? take(IFF_TAP | IFF_NO_PI) : why_not;  // it is there
  switch (why_not) {
    case 0:
      return false;
    case EPERM:
      return lacks_rights(what + ", which is another user's or group's,", kNeeded);
    case EBUSY:
      return Error(Errc::already_exists, fmt::format("{}: somebody is at its far end", what));
    case EINVAL:
      return Error(Errc::not_found, fmt::format("{}: the interface is no TAP of one queue", what));
    default:
      return system_error(Errc::io_error, what, why_not);
  }
}

// The MTU of the interface, which one that was made here gets first, and is set up.
Result<std::uint32_t> settle(const TapFramesOptions& options, bool is_made) {
  const std::string what = "tap " + options.interface;
  const Descriptor asking(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (asking.number() < 0) {
    return system_error(Errc::io_error, what, errno);
  }
  ifreq request = request_for(options.interface);
  if (is_made) {
    request.ifr_mtu = static_cast<int>(options.mtu_bytes.value_or(kMtuBytesDefault));
    if (ioctl(asking.number(), SIOCSIFMTU, &request) != 0) {
      return system_error(Errc::io_error, what, errno);
    }
    request = request_for(options.interface);
    if (ioctl(asking.number(), SIOCGIFFLAGS, &request) != 0) {
      return system_error(Errc::io_error, what, errno);
    }
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    if (ioctl(asking.number(), SIOCSIFFLAGS, &request) != 0) {
      return system_error(Errc::io_error, what, errno);
    }
    request = request_for(options.interface);
  }
  if (ioctl(asking.number(), SIOCGIFMTU, &request) != 0) {
    return system_error(Errc::io_error, what, errno);
  }
  const auto mtu_bytes = static_cast<std::uint32_t>(request.ifr_mtu);
  if (options.mtu_bytes.value_or(0) > mtu_bytes) {
    return Error(Errc::invalid_argument, fmt::format("{}: an MTU of {} bytes is more than its {}",
                                                     what, *options.mtu_bytes, mtu_bytes));
  }
  return std::clamp(mtu_bytes, kFrameMtuBytesMin, kFrameMtuBytesMax);
}

}  // namespace

Result<std::unique_ptr<FrameSource>> open_tap_frames(const TapFramesOptions& options) {
  if (Result<void> checked = check(options); !checked) {
    return checked.error();
  }
  Descriptor tap(open(kTunDevice, O_RDWR | O_CLOEXEC | O_NONBLOCK));
  const int why_not = errno;
  if (tap.number() < 0) {
    const bool is_missing = why_not == ENOENT || why_not == ENODEV || why_not == ENXIO;
    const bool is_refused = why_not == EACCES || why_not == EPERM;
    return system_error(
        is_missing   ? Errc::unsupported
        : is_refused ? Errc::permission_denied
                     : Errc::io_error,
        fmt::format("tap {}: this process has to read and write {}", options.interface, kTunDevice),
        why_not);
  }
  const Result<bool> is_made = attach(tap.number(), options.interface);
  if (!is_made) {
    return is_made.error();
  }
  // What whoever was here before had left to hardware that there is none of, such as checksums.
  static_cast<void>(ioctl(tap.number(), TUNSETOFFLOAD, 0));
  const Result<std::uint32_t> mtu_bytes = settle(options, *is_made);
  if (!mtu_bytes) {
    return mtu_bytes.error();
  }
  return std::unique_ptr<FrameSource>(
      std::make_unique<TapFrames>(std::move(tap), options.interface, options.mac, *mtu_bytes));
}

}  // namespace godbox::driver
