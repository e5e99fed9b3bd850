// SPDX-License-Identifier: Apache-2.0
#include "vm/own_program.h"
#include "vm/request_fields.h"
#include "vm/vm_limits.h"
#include "vm/vm_session.h"

#include <boost/json.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include <sys/mman.h>
#include <unistd.h>

namespace godbox::app {
namespace {

// Of the check in the guest.
constexpr int kInUse = 9;
constexpr int kIsRam = 10;
// What a shell says of a command that a signal ended: that much more than the signal.
constexpr int kSignalStatus = 128;
// In which the guest's console has come here when a command has ended.
constexpr Duration kConsoleWait = std::chrono::milliseconds(300);
constexpr std::size_t kWordsBytesMax = std::size_t{64} << 10U;

// In the guest: whether one of the device's decoders serves a region, and what has that.
std::string use_check(std::uint64_t serial) {
  return fmt::format(
      "cd /sys/bus/cxl/devices; for mem in mem*; do grep -qx 0x{:x} $mem/serial || continue; "
      "for port in endpoint*; do "
      "[ \"$(readlink -f $port/uport)\" = \"$(readlink -f $mem)\" ] || continue; "
      "for decoder in $port/decoder[0-9]*; do grep -qvxE 0x0+ $decoder/dpa_size || continue; "
      "region=$(cat $decoder/region); for dax in /sys/bus/dax/drivers/kmem/dax*; do "
      "case \"$(readlink -f $dax)\" in */$region/*) exit {};; esac; done; exit {}; "
      "done; done; done; exit 0",
      serial, kIsRam, kInUse);
}

// What a command says on standard error, kept, and passed on when it has ended.
class Words {
 public:
  Words() : descriptor_(::memfd_create("godbox-words", MFD_CLOEXEC)) {}
  ~Words() {
    if (descriptor_ >= 0) {
      ::close(descriptor_);
    }
  }
  Words(const Words&) = delete;
  Words& operator=(const Words&) = delete;

  [[nodiscard]] int descriptor() const { return descriptor_ >= 0 ? descriptor_ : STDERR_FILENO; }
  // The first kWordsBytesMax of them, which this machine's standard error gets too.
  [[nodiscard]] std::string pass_on() const {
    std::string text(kWordsBytesMax, '\0');
    const ssize_t got = descriptor_ >= 0 ? ::pread(descriptor_, text.data(), text.size(), 0) : 0;
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    fmt::print(stderr, "{}", text);
    return text;
  }

 private:
  int descriptor_;
};

std::string last_line(std::string_view text) {
  text = text.substr(0, text.find_last_not_of(" \r\n") + 1);
  return std::string(text.substr(text.find_last_of('\n') + 1));
}

// Of the console, which has the kernel's lines as well.
std::string last_own_line(const std::vector<std::string>& console) {
  const auto at = std::find_if(console.rbegin(), console.rend(), [](const std::string& line) {
    return line.starts_with("godbox: error: ");
  });
  return at != console.rend() ? *at : std::string();
}

std::string ended_with(int status) {
  const char* const name =
      status > kSignalStatus ? ::sigabbrev_np(status - kSignalStatus) : nullptr;
  std::string text = fmt::format("ended with exit status {}", status);
  if (name != nullptr) {
    text += fmt::format(" (SIG{}{})", name,
                        status - kSignalStatus == SIGKILL
                            ? ", as the guest's kernel does when it runs out of memory"
                            : "");
  }
  return text;
}

}  // namespace

// What it prints is for a person who wonders what happens: on standard error, or on the guest's
// console where a command runs whose words those are not.
Result<VmSession::GuestOutcome> VmSession::guest_outcome(const std::vector<std::string>& arguments,
                                                         Duration limit) {
  if (machine_->is_busy()) {
    const Result<int> status = machine_->run_beside(arguments, limit);
    if (!status) {
      return status.error();
    }
    if (*status == 0 || *status > kSignalStatus) {
      return GuestOutcome{*status, {}};
    }
    (void)machine_->serve(kConsoleWait);
    return GuestOutcome{*status, last_own_line(machine_->console_tail())};
  }
  const Words words;
  const Result<int> status =
      machine_->run({.arguments = arguments}, {-1, STDERR_FILENO, words.descriptor()}, limit);
  const std::string said = words.pass_on();
  return status ? Result<GuestOutcome>(GuestOutcome{*status, last_line(said)}) : status.error();
}

Result<void> VmSession::guest_does(const std::vector<std::string>& arguments, std::string_view what,
                                   Duration limit) {
  const Result<GuestOutcome> outcome = guest_outcome(arguments, limit);
  if (!outcome) {
    return outcome.error();
  }
  if (outcome->status != 0) {
    return Error(Errc::io_error,
                 fmt::format("in the guest: {} {}{}{}", what, ended_with(outcome->status),
                             outcome->last_words.empty() ? "" : ": ", outcome->last_words));
  }
  return {};
}

Result<bool> VmSession::has_device(std::string_view id) {
  const Result<std::string> listed =
      machine_->qmp("qom-list", R"({"path": "/machine/peripheral"})", kQmpLimit);
  if (!listed) {
    return listed.error();
  }
  return listed->find(fmt::format("\"{}\"", id)) != std::string::npos;
}

Result<bool> VmSession::unplug(const Attached& attached) {
  // It may have gone meanwhile, when an earlier try was given up.
  Result<bool> is_there = has_device(attached.id);
  if (is_there && *is_there) {
    const Result<std::string> asked = machine_->qmp(
        "device_del", boost::json::serialize(boost::json::object{{"id", attached.id}}), kQmpLimit);
    if (!asked) {
      return asked.error();
    }
  }
  const TimePoint end = SteadyClock().now() + kUnplugLimit;
  while (is_there && *is_there && SteadyClock().now() < end) {
    (void)machine_->serve(std::chrono::milliseconds(200));
    is_there = has_device(attached.id);
  }
  if (!is_there || *is_there) {
    return is_there ? Error(Errc::deadline_exceeded,
                            fmt::format("channel {:#x}: the guest was asked to let go of it and "
                                        "did not within {} s; while it does not, only ending the "
                                        "VM takes it back (godbox vm stop)",
                                        attached.serial, kUnplugLimit / std::chrono::seconds(1)))
                    : is_there.error();
  }
  // QEMU 10 keeps the memory of a device that is gone mapped, and refuses; it is emptied then.
  const boost::json::object memory{{"id", attached.id + "-memory"}};
  const bool is_unmapped =
      machine_->qmp("object-del", boost::json::serialize(memory), kQmpLimit).has_value();
  if (!is_unmapped && attached.memory) {
    (void)attached.memory->discard(DramOffset(0), attached.memory->size());
  }
  return is_unmapped;
}

Result<int> VmSession::use_in_guest(const Attached& attached) {
  const Result<GuestOutcome> outcome =
      guest_outcome({"sh", "-c", use_check(attached.serial)}, kBringUpLimit);
  if (!outcome) {
    return outcome.error();
  }
  if (outcome->status != 0 && outcome->status != kInUse && outcome->status != kIsRam) {
    return Error(Errc::io_error,
                 fmt::format("in the guest: the check whether channel {:#x} is in use {}",
                             attached.serial, ended_with(outcome->status)));
  }
  return outcome->status;
}

// What somebody uses is not pulled out from under him.
Result<void> VmSession::check_unused(const Attached& attached) {
  const Result<int> use = use_in_guest(attached);
  if (!use) {
    return use.error();
  }
  if (*use == 0) {
    return {};
  }
  return Error(
      Errc::already_exists,
      fmt::format("channel {0:#x} is in use: the guest has it {1}; first, in the guest: "
                  "godbox cxl down --serial {0:#x}; or --force, with which the guest is to let go "
                  "of it all the same",
                  attached.serial, *use == kIsRam ? "as its memory (NUMA)" : "in a region"));
}

Result<void> VmSession::bring_down(const Attached& attached, Duration limit) {
  return guest_does(
      {own_program(), "cxl", "down", "--serial", fmt::format("{:#x}", attached.serial)},
      "godbox cxl down", limit);
}

// One that was refused, or ended in the midst of it, leaves the guest all the memory that it had.
Result<void> VmSession::bring_down_or_leave(const Attached& attached) {
  const Result<int> use = use_in_guest(attached);
  if (!use) {
    return use.error();
  }
  Result<void> done = bring_down(attached, kBringUpLimit);
  if (done) {
    return done;
  }
  std::string why = done.error().detail;
  if (*use == kIsRam) {
    const Result<void> back = guest_does({own_program(), "cxl", "up", "--as", "numa", "--serial",
                                          fmt::format("{:#x}", attached.serial)},
                                         "godbox cxl up", kBringUpLimit);
    why += back ? "" : "; and what is off line by now stays so: " + back.error().detail;
  }
  return Error(Errc::already_exists, why);
}

Result<bool> VmSession::take_out(const Attached& attached, const boost::json::object& request) {
  if (is_set(request, "force")) {
    // A kernel cannot let go of memory that is on line, so that it is taken off line where it can.
    if (const Result<void> down = bring_down(attached, kForcedDownLimit); !down) {
      spdlog::warn("vm: channel {:#x} is taken by force: {}", attached.serial,
                   down.error().message());
    }
    return unplug(attached);
  }
  if (is_set(request, "down")) {
    if (Result<void> done = bring_down_or_leave(attached); !done) {
      return done.error();
    }
  }
  if (Result<void> unused = check_unused(attached); !unused) {
    return unused.error();
  }
  return unplug(attached);
}

}  // namespace godbox::app
