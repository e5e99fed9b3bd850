// SPDX-License-Identifier: Apache-2.0
//
// What a CXL memory device says of itself through its mailbox: identity and health through libcxl
// (76.1 has both), the list of supported logs through the kernel's ioctl (libcxl has no call for
// it), and its poison list through sysfs and tracefs, as the kernel gives it nowhere else.
// Spec: CXL r3.1 8.2.9.9.1.1 (Identify), 8.2.9.9.3.1 (Get Health Info), 8.2.9.5.1 (Get Supported
// Logs), 8.2.9.9.4.1 (Get Poison List). The machine's own devices only, never another root's.
// Thread-safety: one call at a time for a device. Ownership: plain values. Units: bytes, Celsius.
// Errors: device_missing (no such device, or tracefs not mounted, with the path), permission_denied
// (not root), unsupported (the device has no such command), io_error (with the mailbox's return
// code or errno).
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::driver {

struct CxlIdentity {
  std::string firmware_revision;
  SizeBytes total_size;
  SizeBytes volatile_only_size;
  SizeBytes persistent_only_size;
};

struct CxlHealth {
  bool maintenance_needed = false;
  bool performance_degraded = false;
  bool replacement_needed = false;
  std::string media_status;  // "normal", "not ready", "data lost", ...
  std::optional<int> life_used_percent;
  std::optional<int> temperature_celsius;
  std::uint32_t dirty_shutdowns = 0;
  std::uint32_t volatile_errors_corrected = 0;

  [[nodiscard]] bool is_good() const {
    return !maintenance_needed && !performance_degraded && !replacement_needed &&
           media_status == "normal";
  }
};

struct CxlLog {
  std::string uuid;
  SizeBytes size;
};

struct CxlPoison {
  std::uint64_t dpa = 0;
  SizeBytes length;
  std::string source;  // "External", "Internal", "Injected", "Vendor", "Unknown"
  std::string region;  // empty: in none
  std::optional<std::uint64_t> hpa;
};

[[nodiscard]] Result<CxlIdentity> read_cxl_identity(const std::string& memdev);
[[nodiscard]] Result<CxlHealth> read_cxl_health(const std::string& memdev);
[[nodiscard]] Result<std::vector<CxlLog>> read_cxl_logs(const std::string& memdev);
// Makes a trace instance of its own for the time of the call, so nobody else's trace is touched.
[[nodiscard]] Result<std::vector<CxlPoison>> read_cxl_poison(const std::string& memdev);

// One line of a trace: nothing for another event or another device.
// Errors: io_error, naming the line, for a poison event of that device without its fields.
[[nodiscard]] Result<std::optional<CxlPoison>> parse_poison_line(std::string_view line,
                                                                 std::string_view memdev);

}  // namespace godbox::driver
