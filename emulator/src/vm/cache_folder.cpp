// SPDX-License-Identifier: Apache-2.0
#include "cache_folder.h"

#include <cstdlib>

namespace godbox::emulator::vm {
namespace {

std::string environment(const char* name) {
  const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets it
  return value == nullptr ? std::string() : std::string(value);
}

}  // namespace

std::string cache_folder(const char* variable, const char* name) {
  if (std::string folder = environment(variable); !folder.empty()) {
    return folder;
  }
  std::string cache = environment("XDG_CACHE_HOME");
  if (cache.empty()) {
    const std::string home = environment("HOME");
    cache = (home.empty() ? "/tmp" : home) + "/.cache";
  }
  return cache + "/godbox/" + name;
}

}  // namespace godbox::emulator::vm
