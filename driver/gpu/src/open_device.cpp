// SPDX-License-Identifier: Apache-2.0
#include "cuda_device.h"
#include <godbox/driver/host_device.h>
#include <godbox/driver/open_device.h>

#include <array>
#include <utility>

namespace godbox::driver {
namespace {

constexpr std::array kChoices{
    std::pair<std::string_view, DeviceChoice>{"auto", DeviceChoice::automatic},
    std::pair<std::string_view, DeviceChoice>{"host", DeviceChoice::host},
    std::pair<std::string_view, DeviceChoice>{"cuda", DeviceChoice::cuda}};

OpenedDevice opened(std::unique_ptr<DeviceMemory> memory, std::string_view verb,
                    std::string_view why) {
  std::string reason(verb);
  reason.append(memory->name()).append(": ").append(why);
  return {.memory = std::move(memory), .reason = std::move(reason)};
}

}  // namespace

Result<DeviceChoice> parse_device_choice(std::string_view text) {
  for (const auto& [name, choice] : kChoices) {
    if (text == name) {
      return choice;
    }
  }
  return Error(Errc::config_invalid,
               "device '" + std::string(text) + "': allowed are auto, host and cuda");
}

std::string_view to_string(DeviceChoice choice) noexcept {
  for (const auto& [name, value] : kChoices) {
    if (value == choice) {
      return name;
    }
  }
  return "unknown";
}

Result<OpenedDevice> open_device(DeviceChoice choice, const OpenDeviceOptions& options) {
  const auto tuning = cuda_tuning(options);
  if (!tuning) {
    return tuning.error();
  }
  if (choice == DeviceChoice::host) {
    return opened(make_host_device(), "took ", "it was asked for");
  }
  auto cuda = make_cuda_device({.ordinal = options.ordinal, .tuning = *tuning});
  if (choice == DeviceChoice::cuda) {
    if (!cuda) {
      return cuda.error();
    }
    return opened(std::move(*cuda), "took ", "it was asked for");
  }
  if (!cuda && cuda.error().code != Errc::device_missing) {
    return cuda.error();  // a GPU that is there, and does not work now
  }
  if (!cuda) {
    return opened(make_host_device(), "auto took ", cuda.error().detail);
  }
  return opened(std::move(*cuda), "auto took ", "a CUDA device that works");
}

}  // namespace godbox::driver
