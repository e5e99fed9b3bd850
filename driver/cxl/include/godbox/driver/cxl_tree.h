// SPDX-License-Identifier: Apache-2.0
//
// The kernel's files that driver/cxl reads and writes: sysfs, a few of /proc and /dev. `CxlTree` is
// the seam at which tests put a kernel of their own; `SysfsTree` is the machine, or a copy of its
// files below any folder. Paths are absolute and as the kernel names them ("/sys/bus/cxl/devices").
// Thread-safety: as the files behind it: reads from any thread; one process changes regions at a
// time (lock()). Ownership: a SysfsTree owns its root's name and the lock's descriptor.
// Units: as the kernel's file. Errors: device_missing for what is not there, permission_denied,
// io_error; each names the path.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <optional>
#include <string>
#include <vector>

namespace godbox::driver {

class CxlTree {
 public:
  virtual ~CxlTree() = default;

  // The file's text without blanks and newlines at its end.
  [[nodiscard]] virtual Result<std::string> read(const std::string& path) const = 0;
  // The names in a folder, sorted as people count: mem2 before mem10.
  [[nodiscard]] virtual Result<std::vector<std::string>> list(const std::string& path) const = 0;
  // The path with every link followed.
  [[nodiscard]] virtual Result<std::string> resolve(const std::string& path) const = 0;
  [[nodiscard]] virtual bool exists(const std::string& path) const = 0;
  // One write(2) of `text` to a file that is there. 0 or the errno: its meaning depends on the
  // file.
  [[nodiscard]] virtual int write(const std::string& path, const std::string& text) = 0;
  // Who has a device file open or mapped ("pid 71 (godbox)"); nothing if nobody whom we may see.
  [[nodiscard]] virtual std::optional<std::string> user_of(const std::string& path) const = 0;
  // Asks for a module of the kernel; whether it came is seen in the tree.
  virtual void load_module(const std::string& name) = 0;
  // Lets time pass: the kernel probes devices by itself.
  virtual void wait(Duration time) = 0;
  // Only one process at a time changes regions. Errors: address_in_use (another one does).
  [[nodiscard]] virtual Result<void> lock() = 0;
};

class SysfsTree : public CxlTree {
 public:
  // `root`: "/" for this machine; else a folder below which /sys, /proc and /dev are.
  explicit SysfsTree(std::string root = "/");
  ~SysfsTree() override;
  SysfsTree(const SysfsTree&) = delete;
  SysfsTree& operator=(const SysfsTree&) = delete;

  [[nodiscard]] Result<std::string> read(const std::string& path) const override;
  [[nodiscard]] Result<std::vector<std::string>> list(const std::string& path) const override;
  [[nodiscard]] Result<std::string> resolve(const std::string& path) const override;
  [[nodiscard]] bool exists(const std::string& path) const override;
  [[nodiscard]] int write(const std::string& path, const std::string& text) override;
  [[nodiscard]] std::optional<std::string> user_of(const std::string& path) const override;
  void load_module(const std::string& name) override;  // modprobe, on this machine alone
  void wait(Duration time) override;
  [[nodiscard]] Result<void> lock() override;

  [[nodiscard]] const std::string& root() const { return root_; }

 private:
  std::string root_;  // without a slash at its end: "" for this machine
  int lock_descriptor_ = -1;
};

}  // namespace godbox::driver
