// SPDX-License-Identifier: Apache-2.0
//
// A folder of its own on tmpfs, for tests of memory in files. In a bare root /dev/shm may be
// missing or a plain folder on disk: the test is skipped then, with the reason.
// Ownership: removes the folder and all in it.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <filesystem>
#include <string>

#include <linux/magic.h>
#include <sys/vfs.h>

namespace godbox::test {

[[nodiscard]] inline bool is_on_tmpfs(const std::string& folder) {
  struct statfs status {};
  return statfs(folder.c_str(), &status) == 0 && status.f_type == TMPFS_MAGIC;
}

class TmpfsFolder {
 public:
  TmpfsFolder() {
    if (!is_on_tmpfs("/dev/shm")) {
      SKIP("needs a tmpfs at /dev/shm");
    }
    std::string path = "/dev/shm/godbox-test-XXXXXX";
    if (mkdtemp(path.data()) == nullptr) {
      SKIP("needs a tmpfs at /dev/shm that this user can write to");
    }
    path_ = path;
  }
  ~TmpfsFolder() { std::filesystem::remove_all(path_); }
  TmpfsFolder(const TmpfsFolder&) = delete;
  TmpfsFolder& operator=(const TmpfsFolder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace godbox::test
