// SPDX-License-Identifier: Apache-2.0
//
// What a VM boots: an unmodified Debian kernel, an initramfs and the kernel's modules, prepared and
// cached by scripts/guest-image. Nothing of it is installed on the machine.
// Thread-safety: plain values; the functions only read files. Errors: device_missing, naming the
// file that is not there and the script that makes it.
#pragma once

#include <godbox/result.h>

#include <string>

namespace godbox::emulator::vm {

struct GuestImage {
  std::string kernel;
  std::string initramfs;
  std::string modules;  // a folder: the guest's /lib/modules
  std::string release;  // "6.12.117+deb12-amd64"
};

// $GODBOX_GUEST_IMAGE, or ${XDG_CACHE_HOME:-~/.cache}/godbox/guest.
[[nodiscard]] std::string default_guest_image_folder();
// An empty folder means the default one.
[[nodiscard]] Result<GuestImage> find_guest_image(std::string folder = {});

}  // namespace godbox::emulator::vm
