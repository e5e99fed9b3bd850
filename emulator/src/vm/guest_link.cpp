// SPDX-License-Identifier: Apache-2.0
#include "guest_link.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

namespace godbox::emulator::vm {
namespace {

constexpr std::array<std::string_view, kLinks> kNames = {"control",  "stdin",   "stdout", "stderr",
                                                         "terminal", "console", "qmp"};

Error system_error(std::string_view what) {
  return {Errc::io_error,
          fmt::format("{}: {}", what, std::error_code(errno, std::generic_category()).message())};
}

}  // namespace

Result<GuestLinks> GuestLinks::open() {
  GuestLinks links;
  for (std::size_t i = 0; i < kLinks; ++i) {
    std::array<int, 2> pair{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
      return system_error("socketpair");
    }
    links.near_[i].reset(pair[0]);
    links.far_[i].reset(pair[1]);
    ::fcntl(pair[0], F_SETFL, O_NONBLOCK);
  }
  return links;
}

std::vector<int> GuestLinks::far() const {
  std::vector<int> descriptors;
  for (const OwnedDescriptor& end : far_) {
    descriptors.push_back(end.get());
  }
  return descriptors;
}

std::vector<std::string> GuestLinks::qemu_arguments() const {
  std::vector<std::string> arguments = {"-device", "virtio-serial-pci,id=vserial,bus=pcie.0"};
  for (std::size_t i = 0; i < kLinks; ++i) {
    arguments.insert(arguments.end(),
                     {"-chardev", fmt::format("socket,id={},fd={}", kNames[i], far_[i].get())});
  }
  for (const Link link : {Link::control, Link::in, Link::out, Link::err}) {
    const std::string_view name = kNames[index(link)];
    arguments.insert(
        arguments.end(),
        {"-device",
         fmt::format("virtserialport,bus=vserial.0,chardev={0},name=org.godbox.{0}", name)});
  }
  arguments.insert(arguments.end(),
                   {"-device", "virtconsole,bus=vserial.0,chardev=terminal", "-serial",
                    "chardev:console", "-mon", "chardev=qmp,mode=control"});
  return arguments;
}

void GuestLinks::release_far() {
  for (OwnedDescriptor& end : far_) {
    end.reset();
  }
}

Result<void> write_all(int descriptor, std::string_view bytes, Peer peer) {
  while (!bytes.empty()) {
    const ssize_t written = peer == Peer::link
                                ? ::send(descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL)
                                : ::write(descriptor, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      pollfd ready{.fd = descriptor, .events = POLLOUT, .revents = 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return system_error("write");
    }
  }
  return {};
}

}  // namespace godbox::emulator::vm
