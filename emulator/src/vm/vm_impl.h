// SPDX-License-Identifier: Apache-2.0
//
// The waiting half of a VirtualMachine: one poll() loop over QEMU's exit, the links to the guest,
// the streams of the command that runs and what others watch. Thread-safety: one thread.
#pragma once

#include "child_process.h"
#include "guest_link.h"
#include "line_buffer.h"
#include <godbox/emulator/vm/virtual_machine.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include <poll.h>

namespace godbox::emulator::vm {

// In which the guest ends a command that it was told to end.
inline constexpr Duration kKillLimit = std::chrono::seconds(10);

struct VirtualMachine::Impl {
  Impl(VmLaunch launch_, ChildProcess process_, GuestLinks links_, OwnedDescriptor output_)
      : launch(std::move(launch_)),
        process(std::move(process_)),
        links(std::move(links_)),
        output(std::move(output_)) {}

  VmLaunch launch;
  ChildProcess process;
  GuestLinks links;
  OwnedDescriptor output;  // what QEMU itself says

  bool is_ready = false;
  bool is_cancelled = false;
  std::string guest_failure;  // the guest's own word that it cannot go on
  std::deque<std::string> console_lines;
  std::string panic;  // the first line in which the guest's kernel says that it gives up
  std::string qemu_words;
  std::map<Link, LineBuffer> lines;
  std::map<int, std::function<void()>> watches;

  std::string command_id;  // empty: none runs
  bool command_on_terminal = false;
  CommandStreams streams;
  std::string to_guest;                 // read from streams.in and not yet taken by the link
  std::map<Link, std::string> to_host;  // read from a link and not yet taken by its stream
  std::string output_failure;           // why a stream takes nothing any more
  std::string unfinished_id;  // of a command that was given up and that the guest may still run
  std::optional<int> command_status;
  std::string beside_id;  // of run_beside(); empty: none runs
  std::optional<int> beside_status;
  std::uint64_t last_command = 0;

  bool is_qmp_greeted = false;
  bool is_qmp_ready = false;
  std::uint64_t last_qmp = 0;
  std::map<std::uint64_t, std::string> qmp_replies;  // whole messages

  // Serves events until `is_done`. Errors as the class says; `what` begins the sentence about a
  // limit that has passed.
  template <class IsDone>
  Result<void> run_until(IsDone is_done, Duration limit, std::string_view what) {
    const TimePoint end = SteadyClock().now() + limit;
    while (!is_done()) {
      if (is_cancelled) {
        return Error(Errc::cancelled, "stopped");
      }
      if (!guest_failure.empty()) {
        return with_console(Errc::io_error, "the guest: " + guest_failure);
      }
      if (is_gone()) {
        return how_it_ended();
      }
      if (limit > Duration::zero() && SteadyClock().now() >= end) {
        return too_late(what, limit);
      }
      const Duration left = end - SteadyClock().now();
      step(limit > Duration::zero() ? std::max<Duration>(left, std::chrono::milliseconds(1))
                                    : Duration::zero());
    }
    return {};
  }

  void step(Duration wait_max);  // zero: no limit
  [[nodiscard]] bool is_gone();
  [[nodiscard]] Error how_it_ended();
  [[nodiscard]] Error too_late(std::string_view what, Duration limit) const;
  [[nodiscard]] Error with_console(Errc code, std::string sentence) const;
  void progress(std::string_view what) const;

  void begin_command(const std::string& id, bool on_terminal, const CommandStreams& to);
  void end_command(bool drain);
  // Tells the guest to end a command.
  [[nodiscard]] Result<void> send_kill(const std::string& id);
  // The same, and waits; whether it did.
  [[nodiscard]] bool kill_command();
  [[nodiscard]] Result<void> negotiate_qmp(Duration limit);
  [[nodiscard]] Result<std::string> qmp_reply(std::uint64_t id, std::string_view command,
                                              Duration limit);

 private:
  [[nodiscard]] std::vector<pollfd> interests() const;
  [[nodiscard]] Link input_link() const { return command_on_terminal ? Link::terminal : Link::in; }
  void read_link(int descriptor);
  void read_lines(Link link);
  void on_line(Link link, std::string_view line);
  void on_control_line(std::string_view line);
  void on_qmp_line(std::string_view line);
  [[nodiscard]] int stream_of(Link link) const;
  void read_output(Link link);
  void write_output(Link link);
  void read_input();
  void write_input();
  void read_qemu_words();
};

}  // namespace godbox::emulator::vm
