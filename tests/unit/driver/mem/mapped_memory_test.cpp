// SPDX-License-Identifier: Apache-2.0
//
// What is special to real mappings: files, permissions, locks, sizes. What every target promises is
// checked by tests/contract.
#include <godbox/driver/mapped_memory.h>
#include <godbox_test/sanitizers.h>
#include <godbox_test/tmpfs_folder.h>

#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

constexpr SizeBytes kSize = 64_KiB;

using test::TmpfsFolder;

template <class T>
Errc code(const Result<T>& result) {
  return result.has_value() ? Errc::ok : result.error().code;
}

TEST_CASE("a channel of 1 TiB is there at once and takes no memory", "[unit]") {
  const auto start = std::chrono::steady_clock::now();
  const auto memory = MappedMemory::memfd(1_TiB);
  REQUIRE(memory.has_value());
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
  CHECK((*memory)->kind() == "memfd");
  CHECK((*memory)->backing_granularity() == 4_KiB);
  const DramOffset last((1_TiB - 4_KiB).count());
  REQUIRE((*memory)->back(last, 4_KiB).has_value());
  (*memory)->data()[last.count() + 4095] = std::byte{9};
  struct stat status {};
  REQUIRE(fstat((*memory)->descriptor(), &status) == 0);
  CHECK(status.st_blocks * 512 == 4096);
}

TEST_CASE("a mapping begins at a huge page", "[unit]") {
  for (const SizeBytes size : {SizeBytes(4_KiB), SizeBytes(2_MiB + 4_KiB), SizeBytes(1_GiB)}) {
    const auto memory = MappedMemory::memfd(size);
    REQUIRE(memory.has_value());
    CHECK(reinterpret_cast<std::uintptr_t>((*memory)->data()) % (std::size_t{2} << 20U) == 0);
  }
}

TEST_CASE("sizes that are no whole pages are refused", "[unit]") {
  CHECK(code(MappedMemory::memfd(SizeBytes(0))) == Errc::invalid_argument);
  CHECK(code(MappedMemory::memfd(SizeBytes(4095))) == Errc::invalid_argument);
  CHECK(code(MappedMemory::memfd(SizeBytes(6000))) == Errc::invalid_argument);
}

TEST_CASE("more address space than a process has is a limit, not a crash", "[unit]") {
  CHECK(code(MappedMemory::memfd(SizeBytes(std::uint64_t{1} << 61U))) != Errc::ok);
}

TEST_CASE("memory that the machine does not have is refused before it is taken", "[unit]") {
  if (test::kHasThreadSanitizer) {
    SKIP("ThreadSanitizer refuses mappings of 64 TiB");
  }
  const auto memory = MappedMemory::memfd(64_TiB);
  REQUIRE(memory.has_value());
  const auto backed = (*memory)->back(DramOffset(0), 64_TiB);
  REQUIRE_FALSE(backed.has_value());
  CHECK(backed.error().code == Errc::backing_full);
  struct stat status {};
  REQUIRE(fstat((*memory)->descriptor(), &status) == 0);
  CHECK(status.st_blocks == 0);
}

TEST_CASE("nobody can shrink a memfd whose descriptor was handed out", "[unit]") {
  const auto memory = MappedMemory::memfd(kSize);
  REQUIRE(memory.has_value());
  CHECK(ftruncate((*memory)->descriptor(), 0) != 0);
  CHECK(ftruncate((*memory)->descriptor(), 1 << 30) != 0);
}

TEST_CASE("whole blocks of 2 MiB become huge pages and keep what they held", "[unit]") {
  const auto memory = MappedMemory::memfd(8_MiB);
  REQUIRE(memory.has_value());
  // A page that is there before the block is made huge.
  REQUIRE((*memory)->back(DramOffset((2_MiB + 64_KiB).count()), 4_KiB).has_value());
  (*memory)->data()[(2_MiB + 64_KiB).count()] = std::byte{0x42};
  REQUIRE((*memory)->back(DramOffset(0), 8_MiB).has_value());
  CHECK((*memory)->data()[(2_MiB + 64_KiB).count()] == std::byte{0x42});
  const ConstSpan all((*memory)->data(), (8_MiB).count());
  CHECK(std::count(all.begin(), all.end(), std::byte{0}) == (8 << 20) - 1);
}

TEST_CASE("a file is private, locked while it is used and gone afterwards", "[unit]") {
  const TmpfsFolder folder;
  const std::string path = folder.path("channel");
  {
    const mode_t before = umask(0);
    const auto memory = MappedMemory::file(path, kSize);
    umask(before);
    REQUIRE(memory.has_value());
    CHECK((*memory)->kind() == "file");
    struct stat status {};
    REQUIRE(stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 07777U) == 0600U);
    CHECK(status.st_size == static_cast<off_t>(kSize.count()));
    const auto second = MappedMemory::file(path, kSize);
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().code == Errc::address_in_use);
    CHECK(second.error().detail.find(path) != std::string::npos);
  }
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("a file can be kept, and the next use of its name begins with zeroes", "[unit]") {
  const TmpfsFolder folder;
  const std::string path = folder.path("channel");
  {
    const auto memory = MappedMemory::file(path, kSize, {.unlink_on_close = false});
    REQUIRE(memory.has_value());
    REQUIRE((*memory)->back(DramOffset(0), kSize).has_value());
    (*memory)->data()[100] = std::byte{1};
  }
  CHECK(std::filesystem::exists(path));
  const auto memory = MappedMemory::file(path, kSize);
  REQUIRE(memory.has_value());
  REQUIRE((*memory)->back(DramOffset(0), kSize).has_value());
  CHECK((*memory)->data()[100] == std::byte{0});
}

TEST_CASE("a client that outlives a box keeps neither its lock nor loses its bytes", "[unit]") {
  const TmpfsFolder folder;
  const std::string path = folder.path("channel");
  auto memory = MappedMemory::file(path, kSize, {.unlink_on_close = false});
  REQUIRE(memory.has_value());
  REQUIRE((*memory)->back(DramOffset(0), kSize).has_value());
  (*memory)->data()[100] = std::byte{1};
  // As SCM_RIGHTS does: another descriptor of the same open file description.
  const auto client = MappedMemory::from_descriptor(dup((*memory)->descriptor()), kSize, true);
  REQUIRE(client.has_value());
  CHECK(code(MappedMemory::file(path, kSize)) == Errc::address_in_use);
  memory->reset();
  const auto next = MappedMemory::file(path, kSize);
  REQUIRE(next.has_value());
  REQUIRE((*next)->back(DramOffset(0), kSize).has_value());
  CHECK((*next)->data()[100] == std::byte{0});
  CHECK((*client)->data()[100] == std::byte{1});
}

TEST_CASE("files elsewhere than on tmpfs or hugetlbfs are refused, and none is made", "[unit]") {
  CHECK(code(MappedMemory::file("/no/such/folder/channel", kSize)) == Errc::device_missing);
  for (const std::string folder : {"/tmp", "/var/tmp", "."}) {
    const std::string path = fmt::format("{}/godbox-mem-test-{}", folder, getpid());
    const bool is_allowed = test::is_on_tmpfs(folder);
    CHECK(code(MappedMemory::file(path, kSize)) == (is_allowed ? Errc::ok : Errc::unsupported));
    CHECK_FALSE(std::filesystem::exists(path));
  }
  const auto proc = MappedMemory::file("/proc/self/comm", kSize);
  REQUIRE_FALSE(proc.has_value());
  CHECK(proc.error().code == Errc::unsupported);
}

TEST_CASE("a failure leaves no file behind", "[unit]") {
  const TmpfsFolder folder;
  CHECK(code(MappedMemory::file(folder.path(), kSize)) == Errc::invalid_argument);
  CHECK(code(MappedMemory::file(folder.path("odd"), SizeBytes(6000))) == Errc::invalid_argument);
  CHECK(code(MappedMemory::file(folder.path("large"), SizeBytes(std::uint64_t{1} << 62U))) !=
        Errc::ok);
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("a symbolic link in place of a file is not followed", "[unit]") {
  const TmpfsFolder folder;
  std::ofstream(folder.path("precious")) << "do not empty me";
  std::filesystem::create_symlink(folder.path("precious"), folder.path("channel"));
  CHECK(code(MappedMemory::file(folder.path("channel"), kSize)) == Errc::invalid_argument);
  CHECK(std::filesystem::file_size(folder.path("precious")) == 15);
}

TEST_CASE("what a crashed box left is removed, what a living one uses is not", "[unit]") {
  const TmpfsFolder folder;
  std::ofstream(folder.path("godbox-a-0")) << "old";
  std::ofstream(folder.path("other")) << "not ours";
  const auto living = MappedMemory::file(folder.path("godbox-b-0"), kSize);
  REQUIRE(living.has_value());
  const auto removed = MappedMemory::remove_stale_files(folder.path(), "godbox-");
  REQUIRE(removed.has_value());
  CHECK(*removed == 1);
  CHECK_FALSE(std::filesystem::exists(folder.path("godbox-a-0")));
  CHECK(std::filesystem::exists(folder.path("godbox-b-0")));
  CHECK(std::filesystem::exists(folder.path("other")));
  CHECK(code(MappedMemory::remove_stale_files(folder.path("none"), "godbox-")) ==
        Errc::device_missing);
}

TEST_CASE("a device is mapped as it is", "[unit]") {
  const TmpfsFolder folder;
  const std::string path = folder.path("device");
  std::ofstream(path) << std::string(kSize.count(), 'x');
  const auto memory = MappedMemory::device(path, kSize);
  REQUIRE(memory.has_value());
  CHECK((*memory)->kind() == "device");
  CHECK((*memory)->data()[7] == std::byte{'x'});
  REQUIRE((*memory)->back(DramOffset(0), kSize).has_value());
  CHECK((*memory)->data()[7] == std::byte{'x'});
  CHECK(code((*memory)->back(DramOffset(kSize.count()), 4_KiB)) == Errc::out_of_range);
  CHECK(code((*memory)->discard(DramOffset(0), kSize)) == Errc::unsupported);

  CHECK(code(MappedMemory::device(folder.path("none"), kSize)) == Errc::device_missing);
  const auto too_large = MappedMemory::device(path, kSize * 2);
  REQUIRE_FALSE(too_large.has_value());
  CHECK(too_large.error().code == Errc::out_of_range);
  CHECK(too_large.error().detail.find("65536") != std::string::npos);
}

TEST_CASE("a device is used by one box at a time, and its clients do not count", "[unit]") {
  const TmpfsFolder folder;
  const std::string path = folder.path("device");
  std::ofstream(path) << std::string(kSize.count(), 'x');
  auto memory = MappedMemory::device(path, kSize);
  REQUIRE(memory.has_value());
  const auto second = MappedMemory::device(path, kSize);
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().code == Errc::address_in_use);
  CHECK(second.error().detail.find(path) != std::string::npos);
  const int handed_out = dup((*memory)->descriptor());
  memory->reset();
  CHECK(MappedMemory::device(path, kSize).has_value());
  {
    const auto share = [&] {
      return MappedMemory::device(path, kSize, Coherence::coherent, DeviceUse::shared);
    };
    const auto client = share();
    REQUIRE(client.has_value());
    CHECK(share().has_value());
    CHECK(code(MappedMemory::device(path, kSize)) == Errc::address_in_use);
  }
  CHECK(MappedMemory::device(path, kSize).has_value());
  close(handed_out);
}

TEST_CASE("a character device that is locked by nobody is mapped as often as one asks", "[unit]") {
  // Every machine has one, though of no bytes: opened, locked, found too small.
  CHECK(code(MappedMemory::device("/dev/null", kSize)) == Errc::out_of_range);
  CHECK(code(MappedMemory::device("/dev/null", kSize)) == Errc::out_of_range);
}

TEST_CASE("the holes of a file are filled before they are used", "[unit]") {
  const std::string path = fmt::format("{}/godbox-mem-test-{}",
                                       std::filesystem::temp_directory_path().native(), getpid());
  std::ofstream(path) << "";
  std::filesystem::resize_file(path, (4_MiB).count());
  const auto memory = MappedMemory::device(path, 4_MiB);
  const bool is_able = memory.has_value() || memory.error().code != Errc::unsupported;
  if (is_able) {
    REQUIRE(memory.has_value());
    struct stat status {};
    REQUIRE(fstat((*memory)->descriptor(), &status) == 0);
    CHECK(status.st_blocks * 512 < static_cast<off_t>((2_MiB).count()));
    REQUIRE((*memory)->back(DramOffset((2_MiB).count()), 2_MiB).has_value());
    REQUIRE(fstat((*memory)->descriptor(), &status) == 0);
    CHECK(status.st_blocks * 512 >= static_cast<off_t>((2_MiB).count()));
    CHECK((*memory)->data()[(2_MiB).count()] == std::byte{0});
  }
  std::filesystem::remove(path);
  if (!is_able) {
    SKIP("needs a file system with fallocate at the temporary folder");
  }
}

// In a child with a tmpfs of 1 MiB of its own: 0 when all is well, 1 to 9 for what is not, 100 when
// this system gives no such thing to this user.
int use_full_disk(const char* folder) {
  const uid_t user = geteuid();
  const gid_t group = getegid();
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
    return 100;
  }
  std::ofstream("/proc/self/setgroups") << "deny";
  std::ofstream("/proc/self/uid_map") << fmt::format("{} {} 1", user, user);
  std::ofstream("/proc/self/gid_map") << fmt::format("{} {} 1", group, group);
  if (mount("none", folder, "tmpfs", 0, "size=1m") != 0) {
    return 100;
  }
  const std::string path = std::string(folder) + "/device";
  const int file = open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, 8 << 20) != 0) {
    return 1;
  }
  const auto memory = MappedMemory::device(path, 8_MiB);
  if (!memory) {
    return 2;
  }
  if (code((*memory)->back(DramOffset(0), 8_MiB)) != Errc::backing_full) {
    return 3;
  }
  if (!(*memory)->back(DramOffset(0), 512_KiB)) {
    return 4;
  }
  std::fill_n((*memory)->data(), (512_KiB).count(), std::byte{1});  // a hole would be a SIGBUS
  return code((*memory)->back(DramOffset((1_MiB).count()), 1_MiB)) == Errc::backing_full ? 0 : 5;
}

TEST_CASE("a hole of a file on a full disk is refused, and kills nobody", "[unit]") {
  const TmpfsFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    _exit(use_full_disk(folder.path().c_str()));
  }
  REQUIRE(child > 0);
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 100) {
    SKIP("needs mount namespaces for this user");
  }
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("a descriptor of something else or something smaller is refused and closed", "[unit]") {
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  CHECK(code(MappedMemory::from_descriptor(ends[0], kSize, true)) == Errc::out_of_range);
  CHECK(fcntl(ends[0], F_GETFD) == -1);
  close(ends[1]);
  const int small = memfd_create("small", MFD_CLOEXEC);
  REQUIRE(ftruncate(small, 4096) == 0);
  CHECK(code(MappedMemory::from_descriptor(small, kSize, true)) == Errc::out_of_range);
  CHECK(code(MappedMemory::from_descriptor(-1, kSize, true)) != Errc::ok);
}

TEST_CASE("a mapping for reading cannot be written", "[unit]") {
  const auto owner = MappedMemory::memfd(kSize);
  REQUIRE(owner.has_value());
  REQUIRE((*owner)->back(DramOffset(0), kSize).has_value());
  const auto view = MappedMemory::from_descriptor(dup((*owner)->descriptor()), kSize, false);
  REQUIRE(view.has_value());
  // The kernel, asked to store there, refuses; a store of our own would be a signal.
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  REQUIRE(write(ends[1], "x", 1) == 1);
  CHECK(read(ends[0], (*view)->data(), 1) == -1);
  CHECK(errno == EFAULT);
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace godbox::driver
