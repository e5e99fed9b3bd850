// SPDX-License-Identifier: Apache-2.0
#include "cache_folder.h"

#include <cstdlib>

#include <pwd.h>
#include <unistd.h>

namespace godbox::emulator::vm {
namespace {

std::string environment(const char* name) {
  const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets it
  return value == nullptr ? std::string() : std::string(value);
}

// Programs are run from there, so never a place where others may write, such as /tmp; Debian's name
// for no home is /nonexistent.
std::string home_folder() {
  if (std::string home = environment("HOME"); !home.empty()) {
    return home;
  }
  const passwd* const user = getpwuid(geteuid());  // NOLINT(concurrency-mt-unsafe): at the start
  return user == nullptr || user->pw_dir == nullptr ? "/nonexistent" : user->pw_dir;
}

}  // namespace

std::string cache_folder(const char* variable, const char* name) {
  if (std::string folder = environment(variable); !folder.empty()) {
    return folder;
  }
  std::string cache = environment("XDG_CACHE_HOME");
  if (cache.empty()) {
    cache = home_folder() + "/.cache";
  }
  return cache + "/godbox/" + name;
}

}  // namespace godbox::emulator::vm
