// SPDX-License-Identifier: Apache-2.0
#include "attributes.h"
#include <godbox/driver/cxl_tree.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

constexpr std::size_t kFileBytesMax = 65536;  // sysfs gives a page; traces are read elsewhere
constexpr int kInterruptRetriesMax = 100;
constexpr std::string_view kLockFolder = "/sys/bus/cxl";

Error file_error(std::string_view action, const std::string& path, int error_number) {
  Errc code = Errc::io_error;
  if (error_number == ENOENT || error_number == ENOTDIR || error_number == ENODEV ||
      error_number == ENXIO) {
    code = Errc::device_missing;
  } else if (error_number == EACCES || error_number == EPERM || error_number == EROFS) {
    code = Errc::permission_denied;
  }
  return {code, fmt::format("cannot {} {}: {}", action, path,
                            std::generic_category().message(error_number))};
}

// mem2 before mem10: runs of digits compare as numbers.
bool counts_before(const std::string& a, const std::string& b) {
  const auto key = [](const std::string& text) {
    const std::size_t digits = text.find_first_of("0123456789");
    return std::pair(text.substr(0, digits),
                     digits == std::string::npos ? "" : text.substr(digits));
  };
  const auto [a_word, a_rest] = key(a);
  const auto [b_word, b_rest] = key(b);
  if (a_word != b_word || a_rest.empty() || b_rest.empty()) {
    return a < b;
  }
  const std::size_t a_stop = std::min(a_rest.find_first_not_of("0123456789"), a_rest.size());
  const std::size_t b_stop = std::min(b_rest.find_first_not_of("0123456789"), b_rest.size());
  const std::string a_number = a_rest.substr(0, a_stop);
  const std::string b_number = b_rest.substr(0, b_stop);
  if (a_number.size() != b_number.size()) {
    return a_number.size() < b_number.size();
  }
  return a_number != b_number ? a_number < b_number
                              : counts_before(a_rest.substr(a_stop), b_rest.substr(b_stop));
}

bool maps_or_opens(const std::string& process, const std::string& device) {
  const std::string folder = process + "/fd";
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(folder.c_str()), closedir);
  std::array<char, PATH_MAX> target{};
  while (entries != nullptr) {
    const dirent* const entry = readdir(entries.get());  // NOLINT(concurrency-mt-unsafe)
    if (entry == nullptr) {
      break;
    }
    const ssize_t length =
        readlink((folder + "/" + entry->d_name).c_str(), target.data(), target.size());
    if (length > 0 && std::string_view(target.data(), static_cast<std::size_t>(length)) == device) {
      return true;
    }
  }
  std::ifstream maps(process + "/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.ends_with(" " + device)) {
      return true;
    }
  }
  return false;
}

}  // namespace

SysfsTree::SysfsTree(std::string root) : root_(std::move(root)) {
  while (root_.ends_with('/')) {
    root_.pop_back();
  }
  // Links are followed to absolute paths, so the root has to be one.
  const std::unique_ptr<char, void (*)(void*)> absolute(
      root_.empty() ? nullptr : realpath(root_.c_str(), nullptr), std::free);
  if (absolute != nullptr) {
    root_ = absolute.get();
  }
}

SysfsTree::~SysfsTree() {
  if (lock_descriptor_ >= 0) {
    close(lock_descriptor_);
  }
}

Result<std::string> SysfsTree::read(const std::string& path) const {
  const int descriptor = open((root_ + path).c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    return file_error("read", path, errno);
  }
  std::string text(kFileBytesMax, '\0');
  ssize_t length = -1;
  for (int attempt = 0; attempt < kInterruptRetriesMax; ++attempt) {
    length = ::read(descriptor, text.data(), text.size());
    if (length >= 0 || errno != EINTR) {
      break;
    }
  }
  const int error_number = errno;
  close(descriptor);
  if (length < 0) {
    return file_error("read", path, error_number);
  }
  text.resize(static_cast<std::size_t>(length));
  text.erase(text.find_last_not_of(" \n\t") + 1);
  return text;
}

Result<std::vector<std::string>> SysfsTree::list(const std::string& path) const {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir((root_ + path).c_str()), closedir);
  if (folder == nullptr) {
    return file_error("list", path, errno);
  }
  std::vector<std::string> names;
  while (const dirent* const entry = readdir(folder.get())) {  // NOLINT(concurrency-mt-unsafe)
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") {
      names.emplace_back(name);
    }
  }
  std::sort(names.begin(), names.end(), counts_before);
  return names;
}

Result<std::string> SysfsTree::resolve(const std::string& path) const {
  const std::unique_ptr<char, void (*)(void*)> absolute(realpath((root_ + path).c_str(), nullptr),
                                                        std::free);
  if (absolute == nullptr) {
    return file_error("follow", path, errno);
  }
  std::string target = absolute.get();
  return target.starts_with(root_) ? target.substr(root_.size()) : target;
}

bool SysfsTree::exists(const std::string& path) const {
  return access((root_ + path).c_str(), F_OK) == 0;
}

int SysfsTree::write(const std::string& path, const std::string& text) {
  const int descriptor = open((root_ + path).c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (descriptor < 0) {
    return errno;
  }
  // Not repeated when a signal ends it: that is how an off-lining that takes too long is stopped.
  const ssize_t length = ::write(descriptor, text.data(), text.size());
  const int error_number = length < 0 ? errno : 0;
  close(descriptor);
  return error_number;
}

std::optional<std::string> SysfsTree::user_of(const std::string& path) const {
  const auto names = list("/proc");
  for (const std::string& name : names ? *names : std::vector<std::string>()) {
    if (!parse_unsigned(name) || !maps_or_opens(root_ + "/proc/" + name, path)) {
      continue;
    }
    const auto command = read("/proc/" + name + "/comm");
    return fmt::format("pid {} ({})", name, command ? *command : "?");
  }
  return std::nullopt;
}

void SysfsTree::load_module(const std::string& name) {
  if (!root_.empty()) {
    return;
  }
  std::string program = "modprobe";
  std::string quiet = "-q";
  std::string module = name;
  const std::array<char*, 4> arguments = {program.data(), quiet.data(), module.data(), nullptr};
  for (const char* const path : {"/sbin/modprobe", "/usr/sbin/modprobe"}) {
    pid_t child = 0;
    int status = 0;
    if (posix_spawn(&child, path, nullptr, nullptr, arguments.data(), environ) == 0) {
      while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
      }
      return;
    }
  }
}

void SysfsTree::wait(Duration time) { std::this_thread::sleep_for(time); }

Result<void> SysfsTree::lock() {
  if (lock_descriptor_ >= 0) {
    return {};
  }
  const std::string path(kLockFolder);
  const int descriptor = open((root_ + path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) {
    return file_error("open", path, errno);
  }
  if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    close(descriptor);
    return Error(Errc::address_in_use, "another process is changing CXL regions at the moment");
  }
  lock_descriptor_ = descriptor;
  return {};
}

}  // namespace godbox::driver
