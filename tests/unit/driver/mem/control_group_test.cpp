// SPDX-License-Identifier: Apache-2.0
#include "control_group.h"

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace godbox::driver {
namespace {

// A tree as the kernel shows it, below a folder of its own.
class FakeRoot {
 public:
  FakeRoot() : path_(std::filesystem::temp_directory_path() / "godbox-cgroup-test-XXXXXX") {
    REQUIRE(mkdtemp(path_.data()) != nullptr);
  }
  ~FakeRoot() { std::filesystem::remove_all(path_); }
  FakeRoot(const FakeRoot&) = delete;
  FakeRoot& operator=(const FakeRoot&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

  void write(const std::string& name, const std::string& text) const {
    const std::filesystem::path file = path_ + name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
  }

 private:
  std::string path_;
};

TEST_CASE("without control groups nothing is limited", "[unit]") {
  const FakeRoot root;
  CHECK(control_group_memory(root.path()).limit_bytes == UINT64_MAX);
  CHECK(control_group_memory(root.path()).room_bytes == UINT64_MAX);
  root.write("/proc/self/cgroup", "0::/");
  CHECK(control_group_memory(root.path()).limit_bytes == UINT64_MAX);
}

TEST_CASE("the lowest limit and the least room on the way up count", "[unit]") {
  const FakeRoot root;
  root.write("/proc/self/cgroup", "0::/slice/service/box");
  const std::string mount = "/sys/fs/cgroup";
  root.write(mount + "/slice/service/box/memory.max", "max");
  root.write(mount + "/slice/service/box/memory.current", "100");
  root.write(mount + "/slice/service/memory.max", "5000");
  root.write(mount + "/slice/service/memory.current", "3000");
  root.write(mount + "/slice/service/memory.stat", "anon 7\ninactive_file 500");
  root.write(mount + "/slice/memory.max", "8000");
  root.write(mount + "/slice/memory.current", "7900");
  const ControlGroupMemory memory = control_group_memory(root.path());
  CHECK(memory.limit_bytes == 5000);
  CHECK(memory.room_bytes == 100);  // the slice's; its service has 5000 - (3000 - 500)
  root.write(mount + "/slice/memory.current", "9000");
  CHECK(control_group_memory(root.path()).room_bytes == 0);
  root.write(mount + "/slice/memory.max", "max");
  CHECK(control_group_memory(root.path()).room_bytes == 2500);
}

TEST_CASE("the older hierarchy is read too, up to its root", "[unit]") {
  const FakeRoot root;
  // Inside of a container the path is the host's, and only the mount's root is there.
  root.write("/proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/");
  const std::string mount = "/sys/fs/cgroup/memory";
  root.write(mount + "/memory.limit_in_bytes", "6000");
  root.write(mount + "/memory.usage_in_bytes", "2000");
  root.write(mount + "/memory.stat", "inactive_file 1\ntotal_inactive_file 1500");
  const ControlGroupMemory memory = control_group_memory(root.path());
  CHECK(memory.limit_bytes == 6000);
  CHECK(memory.room_bytes == 5500);
}

}  // namespace
}  // namespace godbox::driver
