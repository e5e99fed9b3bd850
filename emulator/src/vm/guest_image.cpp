// SPDX-License-Identifier: Apache-2.0
#include "cache_folder.h"
#include <godbox/emulator/vm/guest_image.h>

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

namespace godbox::emulator::vm {
namespace {

constexpr std::string_view kReleaseKey = "kernel ";

std::string read_release(const std::string& version_file) {
  std::ifstream file(version_file);
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with(kReleaseKey)) {
      return line.substr(kReleaseKey.size());
    }
  }
  return {};
}

}  // namespace

std::string default_guest_image_folder() { return cache_folder("GODBOX_GUEST_IMAGE", "guest"); }

Result<GuestImage> find_guest_image(std::string folder) {
  if (folder.empty()) {
    folder = default_guest_image_folder();
  }
  GuestImage image{.kernel = folder + "/vmlinuz",
                   .initramfs = folder + "/initramfs",
                   .modules = folder + "/modules",
                   .release = read_release(folder + "/version")};
  for (const std::string& path : {image.kernel, image.initramfs, image.modules}) {
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) {
      return Error(Errc::device_missing,
                   fmt::format("no guest kernel: {} is missing; scripts/guest-image makes it "
                               "(GODBOX_GUEST_IMAGE names another folder)",
                               path));
    }
  }
  if (image.release.empty()) {
    return Error(Errc::device_missing,
                 fmt::format("{}/version names no kernel; scripts/guest-image makes it", folder));
  }
  return image;
}

}  // namespace godbox::emulator::vm
