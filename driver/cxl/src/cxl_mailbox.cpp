// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/cxl_mailbox.h>

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

#include <cxl/libcxl.h>
#include <fcntl.h>
#include <linux/cxl_mem.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

constexpr std::size_t kFirmwareRevisionBytes = 0x10;
constexpr int kNotImplemented = 0xFF;  // of life used
constexpr int kTemperatureMissing = 0x7FFF;
constexpr std::size_t kLogsMax = 32;
constexpr int kMailboxUnsupported = 0x15;  // CXL r3.1 table 8-34: unsupported command

Error mailbox_error(std::string_view command, const std::string& memdev, int error_number) {
  Errc code = Errc::io_error;
  std::string_view hint;
  if (error_number == EACCES || error_number == EPERM) {
    code = Errc::permission_denied;
    hint = ": only root may open /dev/cxl";
  } else if (error_number == ENOENT || error_number == ENODEV) {
    code = Errc::device_missing;
    hint = ": the device or its file in /dev/cxl is not there";
  } else if (error_number == ENOTTY || error_number == EOPNOTSUPP) {
    code = Errc::unsupported;
    hint = ": the device does not have this command";
  }
  return {code, fmt::format("{} of {} failed: {}{}", command, memdev,
                            std::generic_category().message(error_number), hint)};
}

struct ContextEnd {
  void operator()(cxl_ctx* context) const { cxl_unref(context); }
};
struct CommandEnd {
  void operator()(cxl_cmd* command) const { cxl_cmd_unref(command); }
};

// A command that was carried out, with the context that it belongs to.
struct Answer {
  std::unique_ptr<cxl_ctx, ContextEnd> context{};
  std::unique_ptr<cxl_cmd, CommandEnd> command{};
};

Result<Answer> submit(std::string_view name, const std::string& memdev,
                      cxl_cmd* (*make)(cxl_memdev*)) {
  cxl_ctx* raw = nullptr;
  if (const int error = cxl_new(&raw); error != 0) {
    return mailbox_error(name, memdev, -error);
  }
  Answer answer;
  answer.context.reset(raw);
  cxl_memdev* found = nullptr;
  for (cxl_memdev* each = cxl_memdev_get_first(raw); each != nullptr;
       each = cxl_memdev_get_next(each)) {
    found = memdev == cxl_memdev_get_devname(each) ? each : found;
  }
  if (found == nullptr) {
    return mailbox_error(name, memdev, ENODEV);
  }
  errno = 0;
  answer.command.reset(make(found));
  if (answer.command == nullptr) {
    return mailbox_error(name, memdev, errno == 0 ? EOPNOTSUPP : errno);
  }
  if (const int error = cxl_cmd_submit(answer.command.get()); error < 0) {
    return mailbox_error(name, memdev, -error);
  }
  if (const int status = cxl_cmd_get_mbox_status(answer.command.get()); status != 0) {
    return Error(status == kMailboxUnsupported ? Errc::unsupported : Errc::io_error,
                 fmt::format("{} of {} failed: mailbox return code 0x{:x}", name, memdev, status));
  }
  return answer;
}

std::string media_status_of(cxl_cmd* command) {
  struct Status {
    int (*test)(cxl_cmd*);
    const char* name;
  };
  constexpr std::array<Status, 10> kStatuses{{
      {cxl_cmd_health_info_get_media_normal, "normal"},
      {cxl_cmd_health_info_get_media_not_ready, "not ready"},
      {cxl_cmd_health_info_get_media_persistence_lost, "persistence lost"},
      {cxl_cmd_health_info_get_media_data_lost, "data lost"},
      {cxl_cmd_health_info_get_media_powerloss_persistence_loss,
       "persistence would be lost at power loss"},
      {cxl_cmd_health_info_get_media_shutdown_persistence_loss,
       "persistence would be lost at shutdown"},
      {cxl_cmd_health_info_get_media_persistence_loss_imminent, "persistence loss imminent"},
      {cxl_cmd_health_info_get_media_powerloss_data_loss, "data would be lost at power loss"},
      {cxl_cmd_health_info_get_media_shutdown_data_loss, "data would be lost at shutdown"},
      {cxl_cmd_health_info_get_media_data_loss_imminent, "data loss imminent"},
  }};
  for (const Status& status : kStatuses) {
    if (status.test(command) == 1) {
      return status.name;
    }
  }
  return "unknown";
}

std::string uuid_text(const std::array<std::uint8_t, 16>& bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    text += (i == 4 || i == 6 || i == 8 || i == 10) ? "-" : "";
    text += fmt::format("{:02x}", bytes[i]);
  }
  return text;
}

}  // namespace

Result<CxlIdentity> read_cxl_identity(const std::string& memdev) {
  const auto answer = submit("Identify", memdev, cxl_cmd_new_identify);
  if (!answer) {
    return answer.error();
  }
  cxl_cmd* const command = answer->command.get();
  std::array<char, kFirmwareRevisionBytes + 1> firmware{};
  (void)cxl_cmd_identify_get_fw_rev(command, firmware.data(), kFirmwareRevisionBytes);
  return CxlIdentity{
      .firmware_revision = firmware.data(),
      .total_size = SizeBytes(cxl_cmd_identify_get_total_size(command)),
      .volatile_only_size = SizeBytes(cxl_cmd_identify_get_volatile_only_size(command)),
      .persistent_only_size = SizeBytes(cxl_cmd_identify_get_persistent_only_size(command))};
}

Result<CxlHealth> read_cxl_health(const std::string& memdev) {
  const auto answer = submit("Get Health Info", memdev, cxl_cmd_new_get_health_info);
  if (!answer) {
    return answer.error();
  }
  cxl_cmd* const command = answer->command.get();
  CxlHealth health;
  health.maintenance_needed = cxl_cmd_health_info_get_maintenance_needed(command) == 1;
  health.performance_degraded = cxl_cmd_health_info_get_performance_degraded(command) == 1;
  health.replacement_needed = cxl_cmd_health_info_get_hw_replacement_needed(command) == 1;
  health.media_status = media_status_of(command);
  const int life = cxl_cmd_health_info_get_life_used(command);
  if (life >= 0 && life != kNotImplemented) {
    health.life_used_percent = life;
  }
  const int temperature = cxl_cmd_health_info_get_temperature(command);
  if (temperature != kTemperatureMissing && temperature != 0xFFFF) {
    health.temperature_celsius = temperature;
  }
  health.dirty_shutdowns =
      static_cast<std::uint32_t>(cxl_cmd_health_info_get_dirty_shutdowns(command));
  health.volatile_errors_corrected =
      static_cast<std::uint32_t>(cxl_cmd_health_info_get_volatile_errors(command));
  return health;
}

Result<std::vector<CxlLog>> read_cxl_logs(const std::string& memdev) {
  constexpr std::string_view kName = "Get Supported Logs";
  struct Entry {
    std::array<std::uint8_t, 16> uuid;
    std::array<std::uint8_t, 4> size;  // little-endian
  };
  struct Payload {
    std::array<std::uint8_t, 2> count;
    std::array<std::uint8_t, 6> reserved;
    std::array<Entry, kLogsMax> entries;
  };
  static_assert(sizeof(Entry) == 20 && sizeof(Payload) == 8 + kLogsMax * sizeof(Entry));
  const int descriptor = open(("/dev/cxl/" + memdev).c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) {
    return mailbox_error(kName, memdev, errno);
  }
  Payload payload{};
  cxl_send_command command{};
  command.id = CXL_MEM_COMMAND_ID_GET_SUPPORTED_LOGS;
  command.out.size = sizeof(payload);
  command.out.payload = reinterpret_cast<std::uintptr_t>(&payload);
  const int status = ioctl(descriptor, CXL_MEM_SEND_COMMAND, &command);
  const int error_number = errno;
  close(descriptor);
  if (status < 0) {
    return mailbox_error(kName, memdev, error_number);
  }
  if (command.retval != 0) {
    return Error(
        command.retval == kMailboxUnsupported ? Errc::unsupported : Errc::io_error,
        fmt::format("{} of {} failed: mailbox return code 0x{:x}", kName, memdev, command.retval));
  }
  const std::size_t count = payload.count[0] | std::size_t{payload.count[1]} << 8U;
  std::vector<CxlLog> logs;
  for (std::size_t i = 0; i < count && i < kLogsMax; ++i) {
    const auto& size = payload.entries[i].size;
    logs.push_back({uuid_text(payload.entries[i].uuid),
                    SizeBytes(std::uint64_t{size[0]} | std::uint64_t{size[1]} << 8U |
                              std::uint64_t{size[2]} << 16U | std::uint64_t{size[3]} << 24U)});
  }
  return logs;
}

}  // namespace godbox::driver
