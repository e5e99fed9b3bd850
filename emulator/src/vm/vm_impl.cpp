// SPDX-License-Identifier: Apache-2.0
#include "vm_impl.h"

#include <boost/json.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <system_error>

#include <sys/socket.h>

namespace godbox::emulator::vm {
namespace {

constexpr std::size_t kChunk = 65536;
constexpr std::string_view kPanic = "Kernel panic";
constexpr std::size_t kQemuWordsMax = 16384;
constexpr char kEndOfInput = '\x04';  // Ctrl-D
constexpr std::array<Link, 3> kOutputs = {Link::out, Link::err, Link::terminal};
using Chunk = std::array<char, kChunk>;

// What is there; nothing at the end and when there is none yet.
std::string_view read_some(int descriptor, Chunk& chunk, bool* at_end = nullptr) {
  const ssize_t got = ::read(descriptor, chunk.data(), chunk.size());
  if (at_end != nullptr) {
    *at_end = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
  }
  return {chunk.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
}

int timeout_ms(Duration wait_max) {
  if (wait_max <= Duration::zero()) {
    return -1;
  }
  const auto whole = std::chrono::ceil<std::chrono::milliseconds>(wait_max).count();
  return static_cast<int>(std::min<std::int64_t>(whole, 1000));
}

}  // namespace

std::vector<pollfd> VirtualMachine::Impl::interests() const {
  std::vector<pollfd> wanted = {{process.exit_descriptor(), POLLIN, 0}, {output.get(), POLLIN, 0}};
  for (const Link link : {Link::control, Link::console, Link::qmp}) {
    if (links.near(link) >= 0) {
      wanted.push_back({links.near(link), POLLIN, 0});
    }
  }
  for (const Link link : kOutputs) {
    const auto pending = to_host.find(link);
    const bool is_pending = pending != to_host.end() && !pending->second.empty();
    // One descriptor may be two streams; what is ready takes one write.
    const bool is_wanted =
        is_pending && std::any_of(wanted.begin(), wanted.end(), [&](const pollfd& one) {
          return one.fd == stream_of(link) && one.events == POLLOUT;
        });
    if (is_wanted) {
      continue;
    }
    if (is_pending) {
      wanted.push_back({stream_of(link), POLLOUT, 0});
    } else if (links.near(link) >= 0) {
      wanted.push_back({links.near(link), POLLIN, 0});
    }
  }
  if (!to_guest.empty()) {
    wanted.push_back({links.near(input_link()), POLLOUT, 0});
  } else if (streams.in >= 0 && !command_id.empty()) {
    wanted.push_back({streams.in, POLLIN, 0});
  }
  for (const auto& watched : watches) {
    wanted.push_back({watched.first, POLLIN, 0});
  }
  return wanted;
}

void VirtualMachine::Impl::step(Duration wait_max) {
  std::vector<pollfd> wanted = interests();
  if (::poll(wanted.data(), wanted.size(), timeout_ms(wait_max)) <= 0) {
    return;
  }
  for (const pollfd& one : wanted) {
    if (one.revents == 0) {
      continue;
    }
    if (const auto watched = watches.find(one.fd); watched != watches.end()) {
      const std::function<void()> call = watched->second;  // it may unwatch itself
      call();
      return;  // it may have waited, and served the others meanwhile
    } else if (one.fd == output.get()) {
      read_qemu_words();
    } else if ((one.events & POLLOUT) != 0) {
      if (one.fd == links.near(input_link())) {
        write_input();
      }
      for (const Link link : kOutputs) {
        if (one.fd == stream_of(link) && !to_host[link].empty()) {
          write_output(link);
          break;  // another write might wait
        }
      }
    } else if (one.fd == streams.in && !command_id.empty()) {
      read_input();
    } else {
      read_link(one.fd);
    }
  }
}

void VirtualMachine::Impl::read_link(int descriptor) {
  for (const Link link : {Link::control, Link::console, Link::qmp}) {
    if (descriptor == links.near(link)) {
      read_lines(link);
    }
  }
  for (const Link link : kOutputs) {
    if (descriptor == links.near(link)) {
      read_output(link);
    }
  }
}

void VirtualMachine::Impl::read_lines(Link link) {
  Chunk chunk;
  bool at_end = false;
  const std::string_view bytes = read_some(links.near(link), chunk, &at_end);
  if (at_end) {
    links.close(link);
  }
  lines[link].add(bytes, [&](std::string_view line) { on_line(link, line); });
}

void VirtualMachine::Impl::on_line(Link link, std::string_view line) {
  if (link == Link::control) {
    on_control_line(line);
  } else if (link == Link::qmp) {
    on_qmp_line(line);
  } else {
    console_lines.emplace_back(line);
    if (panic.empty() && line.find(kPanic) != std::string_view::npos) {
      panic = line.substr(line.find(kPanic));
    }
    if (console_lines.size() > kConsoleLinesKept) {
      console_lines.pop_front();
    }
    if (launch.on_console_line) {
      launch.on_console_line(line);
    }
  }
}

void VirtualMachine::Impl::on_control_line(std::string_view line) {
  const std::size_t space = line.find(' ');
  const std::string_view verb = line.substr(0, space);
  const std::string_view rest = space == std::string_view::npos ? "" : line.substr(space + 1);
  if (verb == "kernel") {
    progress(fmt::format("Linux {} runs", rest));
  } else if (verb == "ready") {
    is_ready = true;
    progress("ready");
  } else if (verb == "failed") {
    guest_failure = rest;
  } else if (verb == "exit") {
    const std::size_t end = rest.find(' ');
    int status = 0;
    const std::string_view id = rest.substr(0, end);
    const bool is_number =
        end != std::string_view::npos &&
        std::from_chars(rest.data() + end + 1, rest.data() + rest.size(), status).ec == std::errc();
    if (is_number && id == command_id) {
      command_status = status;
    } else if (is_number && id == beside_id) {
      beside_status = status;
    } else if (id == unfinished_id) {
      unfinished_id.clear();
    }
  }
}

void VirtualMachine::Impl::on_qmp_line(std::string_view line) {
  boost::system::error_code failed;
  const boost::json::value message = boost::json::parse(line, failed);
  if (failed || !message.is_object()) {
    return;
  }
  const boost::json::object& fields = message.as_object();
  is_qmp_greeted = is_qmp_greeted || fields.contains("QMP");
  const boost::json::value* const id = fields.if_contains("id");
  if (id != nullptr && id->is_number()) {
    qmp_replies[id->to_number<std::uint64_t>()] = line;
  }
}

int VirtualMachine::Impl::stream_of(Link link) const {
  if (link == Link::terminal) {
    return command_on_terminal ? streams.out : -1;
  }
  return link == Link::err ? streams.err : streams.out;
}

void VirtualMachine::Impl::read_output(Link link) {
  Chunk chunk;
  bool at_end = false;
  const std::string_view bytes = read_some(links.near(link), chunk, &at_end);
  if (at_end) {
    links.close(link);
  }
  if (stream_of(link) >= 0) {
    to_host[link] += bytes;
  }
}

// Never more than a pipe takes at once when it says that it is ready: a reader that is slow or has
// stopped must not stop the VM.
void VirtualMachine::Impl::write_output(Link link) {
  std::string& pending = to_host[link];
  const ssize_t written =
      ::write(stream_of(link), pending.data(), std::min<std::size_t>(pending.size(), PIPE_BUF));
  if (written > 0) {
    pending.erase(0, static_cast<std::size_t>(written));
  } else if (errno != EAGAIN && errno != EINTR) {
    output_failure = std::error_code(errno, std::generic_category()).message();
    pending.clear();
    (link == Link::err ? streams.err : streams.out) = -1;
  }
}

void VirtualMachine::Impl::read_input() {
  Chunk chunk;
  bool at_end = false;
  to_guest += read_some(streams.in, chunk, &at_end);
  if (at_end) {
    streams.in = -1;
    if (command_on_terminal) {
      to_guest += kEndOfInput;
    } else {
      ::shutdown(links.near(Link::in), SHUT_WR);
    }
  } else {
    write_input();
  }
}

void VirtualMachine::Impl::write_input() {
  const ssize_t sent = ::send(links.near(input_link()), to_guest.data(), to_guest.size(),
                              MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent > 0) {
    to_guest.erase(0, static_cast<std::size_t>(sent));
  } else if (errno != EAGAIN && errno != EINTR) {
    to_guest.clear();
    streams.in = -1;
  }
}

void VirtualMachine::Impl::read_qemu_words() {
  Chunk chunk;
  bool at_end = false;
  qemu_words += read_some(output.get(), chunk, &at_end);
  if (qemu_words.size() > kQemuWordsMax) {
    qemu_words.erase(0, qemu_words.size() - kQemuWordsMax);
  }
  if (at_end) {
    output.reset();
  }
}

void VirtualMachine::Impl::begin_command(const std::string& id, bool on_terminal,
                                         const CommandStreams& to) {
  command_id = id;
  command_on_terminal = on_terminal;
  streams = to;
  command_status.reset();
  output_failure.clear();
}

Result<void> VirtualMachine::Impl::send_kill(const std::string& id) {
  return write_all(links.near(Link::control), fmt::format("kill {}\n", id), Peer::link);
}

bool VirtualMachine::Impl::kill_command() {
  streams.out = streams.err = -1;
  output_failure.clear();
  to_host.clear();
  return !is_cancelled && send_kill(command_id) &&
         run_until([this] { return command_status.has_value(); }, kKillLimit, "");
}

// The guest's last words come by other links than its exit status, and were written before it.
void VirtualMachine::Impl::end_command(bool drain) {
  if (drain) {
    const auto is_dry = [this] {
      return std::all_of(kOutputs.begin(), kOutputs.end(), [this](Link link) {
        pollfd ready{links.near(link), POLLIN, 0};
        return to_host[link].empty() && (links.near(link) < 0 || ::poll(&ready, 1, 0) <= 0);
      });
    };
    (void)run_until(is_dry, Duration::zero(), "");
  }
  command_id.clear();
  streams = CommandStreams{-1, -1, -1};
  to_guest.clear();
  to_host.clear();
  command_on_terminal = false;
}

Result<void> VirtualMachine::Impl::negotiate_qmp(Duration limit) {
  if (is_qmp_ready) {
    return {};
  }
  if (Result<void> greeted = run_until([this] { return is_qmp_greeted; }, limit,
                                       "QEMU's machine protocol did not answer");
      !greeted) {
    return greeted;
  }
  const std::uint64_t id = ++last_qmp;
  if (Result<void> sent = write_all(
          links.near(Link::qmp),
          fmt::format(R"({{"execute":"qmp_capabilities","id":{}}})", id) + "\n", Peer::link);
      !sent) {
    return sent;
  }
  if (Result<std::string> reply = qmp_reply(id, "qmp_capabilities", limit); !reply) {
    return reply.error();
  }
  is_qmp_ready = true;
  return {};
}

Result<std::string> VirtualMachine::Impl::qmp_reply(std::uint64_t id, std::string_view command,
                                                    Duration limit) {
  const Result<void> answered = run_until([&] { return qmp_replies.contains(id); }, limit,
                                          fmt::format("QEMU did not answer {}", command));
  if (!answered) {
    return answered.error();
  }
  const auto node = qmp_replies.extract(id);
  const boost::json::value message = boost::json::parse(node.mapped());
  if (const boost::json::value* const failed = message.as_object().if_contains("error")) {
    const boost::json::value* const words = failed->as_object().if_contains("desc");
    return Error(Errc::invalid_argument, fmt::format("{}: {}", command,
                                                     words != nullptr && words->is_string()
                                                         ? std::string_view(words->get_string())
                                                         : std::string_view("QEMU refuses it")));
  }
  return boost::json::serialize(message.as_object().at("return"));
}

bool VirtualMachine::Impl::is_gone() { return process.exit_status().has_value(); }

Error VirtualMachine::Impl::how_it_ended() {
  Chunk chunk;
  for (int i = 0; i < 8 && output.is_open(); ++i) {
    read_qemu_words();
  }
  if (links.near(Link::console) >= 0) {
    lines[Link::console].add(read_some(links.near(Link::console), chunk),
                             [&](std::string_view line) { on_line(Link::console, line); });
  }
  while (!qemu_words.empty() && (qemu_words.back() == '\n' || qemu_words.back() == '\r')) {
    qemu_words.pop_back();
  }
  if (!qemu_words.empty()) {
    return with_console(Errc::io_error, "QEMU ended: " + qemu_words);
  }
  if (!panic.empty()) {
    return with_console(Errc::io_error, "the guest crashed: " + panic);
  }
  const int status = process.exit_status().value_or(0);
  return with_console(Errc::io_error, status == 0
                                          ? "the guest ended by itself"
                                          : fmt::format("QEMU ended with exit status {}", status));
}

Error VirtualMachine::Impl::too_late(std::string_view what, Duration limit) const {
  return with_console(Errc::deadline_exceeded,
                      fmt::format("{} within {} s", what,
                                  std::chrono::duration_cast<std::chrono::seconds>(limit).count()));
}

Error VirtualMachine::Impl::with_console(Errc code, std::string sentence) const {
  if (!console_lines.empty()) {
    sentence +=
        fmt::format("; the last lines of its console:\n  {}", fmt::join(console_lines, "\n  "));
  }
  return {code, sentence};
}

void VirtualMachine::Impl::progress(std::string_view what) const {
  if (launch.on_progress) {
    launch.on_progress(what);
  }
}

}  // namespace godbox::emulator::vm
