// SPDX-License-Identifier: Apache-2.0
//
// The parameters of a device, as a TOML file that says what its data sheet says. docs/model.md has
// the keys. Thread-safety: pure functions but read_device_text().
// Ownership: values. Units: in the keys. Errors: config_invalid with file, line, key, value and
// what is allowed; unknown keys are errors, and so is a file that cannot be read.
#pragma once

#include <godbox/emulator/model/box_model.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::emulator::model {

// A key of a parameter file with a value as it is written there, instead of the file's.
struct DeviceSetting {
  std::string key;    // "link.lanes"
  std::string value;  // "16"
};
// "link.lanes=16".
[[nodiscard]] Result<DeviceSetting> parse_setting(std::string_view text);

// `where` names the document in errors. Keys that it leaves out are as in the structs' defaults,
// and JEDEC's tables complete the DRAM.
[[nodiscard]] Result<BoxModel> parse_device(std::string_view text, std::string_view where,
                                            std::span<const DeviceSetting> settings = {});

// The devices that come with godbox (emulator/devices/*.toml), and their files' text.
[[nodiscard]] std::vector<std::string_view> device_names();
[[nodiscard]] Result<std::string_view> device_text(std::string_view name);

inline constexpr std::size_t kDeviceFileBytesMax = std::size_t{1} << 20U;
// Of one of these, or of a file of at most so many bytes.
[[nodiscard]] Result<std::string> read_device_text(const std::string& name_or_file);

}  // namespace godbox::emulator::model
