// SPDX-License-Identifier: Apache-2.0
//
// A device's poison list: the kernel reads it when asked through sysfs and gives each entry as the
// trace event cxl:cxl_poison. Source: Linux 6.12 drivers/cxl/core/trace.h, Documentation/trace/
// ftrace.rst (instances).
#include "attributes.h"
#include <godbox/driver/cxl_mailbox.h>

#include <fmt/format.h>

#include <cerrno>
#include <fstream>
#include <system_error>

#include <sys/stat.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

constexpr std::string_view kEvent = "cxl_poison: ";
constexpr std::string_view kTracing = "/sys/kernel/tracing";

Error trace_error(const std::string& path, int error_number, std::string_view hint) {
  Errc code = Errc::io_error;
  if (error_number == ENOENT || error_number == ENODEV) {
    code = Errc::device_missing;
  } else if (error_number == EACCES || error_number == EPERM) {
    code = Errc::permission_denied;
    hint = "only root may read a poison list";
  } else if (error_number == EOPNOTSUPP || error_number == ENOTTY) {
    code = Errc::unsupported;
  }
  return {code, fmt::format("reading the poison list failed at {}: {}{}{}", path,
                            std::generic_category().message(error_number), hint.empty() ? "" : ": ",
                            hint)};
}

// The value of "key=..." in the line; nothing where there is none. `stop`: the key that follows, as
// flags are written with blanks in them.
std::optional<std::string_view> field(std::string_view line, std::string_view key) {
  const std::size_t begin = line.find(fmt::format(" {}=", key));
  if (begin == std::string_view::npos) {
    return std::nullopt;
  }
  const std::string_view rest = line.substr(begin + key.size() + 2);
  return rest.substr(0, rest.find(' '));
}

// A trace of its own while it lives.
class TraceInstance {
 public:
  explicit TraceInstance(const std::string& memdev)
      : path_(fmt::format("{}/instances/godbox-{}-{}", kTracing, memdev, getpid())) {
    if (mkdir(path_.c_str(), 0700) != 0) {
      error_number_ = errno;
    }
  }
  ~TraceInstance() {
    if (error_number_ == 0) {
      rmdir(path_.c_str());
    }
  }
  TraceInstance(const TraceInstance&) = delete;
  TraceInstance& operator=(const TraceInstance&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] int error_number() const { return error_number_; }

 private:
  std::string path_;
  int error_number_ = 0;
};

}  // namespace

Result<std::optional<CxlPoison>> parse_poison_line(std::string_view line, std::string_view memdev) {
  const std::size_t event = line.find(kEvent);
  if (line.starts_with('#') || event == std::string_view::npos) {
    return std::optional<CxlPoison>();
  }
  const std::string_view fields = line.substr(event + kEvent.size() - 1);
  if (field(fields, "memdev") != memdev) {
    return std::optional<CxlPoison>();
  }
  const auto value = [&](std::string_view key) { return field(fields, key).value_or(""); };
  const auto dpa = parse_unsigned(value("dpa"));
  const auto length = parse_unsigned(value("dpa_length"));
  if (!dpa || !length) {
    return Error(Errc::io_error, fmt::format("a poison event without dpa and length: {}", line));
  }
  const auto hpa = parse_unsigned(value("hpa"));
  return std::optional(CxlPoison{.dpa = *dpa,
                                 .length = SizeBytes(*length),
                                 .source = std::string(value("source")),
                                 .region = std::string(value("region")),
                                 .hpa = hpa && *hpa != UINT64_MAX ? hpa : std::nullopt});
}

Result<std::vector<CxlPoison>> read_cxl_poison(const std::string& memdev) {
  SysfsTree tree;
  const std::string trigger = fmt::format("{}{}/trigger_poison_list", kCxlDevices, memdev);
  if (!tree.exists(trigger)) {
    return Error(Errc::unsupported,
                 fmt::format("{} is not there: {} has no poison list, or the kernel cannot read it",
                             trigger, memdev));
  }
  const std::string instances = fmt::format("{}/instances", kTracing);
  if (!tree.exists(instances)) {
    return Error(Errc::device_missing,
                 fmt::format("{} is not there: tracefs is not mounted (mount -t tracefs none {}), "
                             "and the kernel gives poison lists through it only",
                             instances, kTracing));
  }
  const TraceInstance trace(memdev);
  if (trace.error_number() != 0) {
    return trace_error(trace.path(), trace.error_number(), "");
  }
  const std::string enable = trace.path() + "/events/cxl/cxl_poison/enable";
  if (const int error_number = tree.write(enable, "1"); error_number != 0) {
    return trace_error(enable, error_number, "the kernel does not trace CXL poison");
  }
  if (const int error_number = tree.write(trigger, "1"); error_number != 0) {
    return trace_error(trigger, error_number, "the device has no poison list");
  }
  // A trace instance cannot go while one of its files is open, hence the blocks.
  std::vector<CxlPoison> list;
  {
    std::ifstream file(trace.path() + "/trace");
    for (std::string line; std::getline(file, line);) {
      auto entry = parse_poison_line(line, memdev);
      if (!entry) {
        return entry.error();
      }
      if (*entry) {
        list.push_back(std::move(**entry));
      }
    }
  }
  (void)tree.write(enable, "0");
  return list;
}

}  // namespace godbox::driver
