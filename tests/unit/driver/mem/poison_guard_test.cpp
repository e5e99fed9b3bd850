// SPDX-License-Identifier: Apache-2.0
//
// A page that its file has lost raises SIGBUS as a poisoned one does, on every machine; real poison
// needs root and a kernel that can take a page offline (MADV_HWPOISON).
#include <godbox/driver/mapped_memory.h>
#include <godbox_test/sanitizers.h>

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kPages = 8;

// A file whose last pages can be taken away under its mapping.
class ShrinkingFile {
 public:
  ShrinkingFile() : descriptor_(memfd_create("godbox-test", MFD_CLOEXEC)) {
    REQUIRE(descriptor_ >= 0);
    REQUIRE(ftruncate(descriptor_, kPages * kPage) == 0);
  }
  ~ShrinkingFile() { close(descriptor_); }
  ShrinkingFile(const ShrinkingFile&) = delete;
  ShrinkingFile& operator=(const ShrinkingFile&) = delete;

  std::unique_ptr<MappedMemory> map() {
    auto made = MappedMemory::from_descriptor(dup(descriptor_), SizeBytes(kPages * kPage), true);
    REQUIRE(made.has_value());
    return std::move(*made);
  }
  void shrink(std::size_t pages) const {
    REQUIRE(ftruncate(descriptor_, static_cast<off_t>(pages * kPage)) == 0);
  }

 private:
  int descriptor_;
};

ConstSpan page(const MappedMemory& memory, std::size_t index) {
  return {memory.data() + index * kPage, kPage};
}

TEST_CASE("a lost page reads as zeros, is reported, and its neighbours stand", "[unit]") {
  ShrinkingFile file;
  const auto memory = file.map();
  std::memset(memory->data(), 0x5A, kPages * kPage);
  CHECK_FALSE(memory->has_poison());
  file.shrink(6);
  CHECK(memory->data()[7 * kPage + 9] == std::byte{0});
  CHECK(memory->has_poison());
  CHECK(memory->is_poisoned(page(*memory, 7)));
  CHECK(memory->is_poisoned({memory->data() + 7 * kPage - 1, 2}));
  CHECK_FALSE(memory->is_poisoned(page(*memory, 6)));  // nobody has touched it yet
  CHECK_FALSE(memory->is_poisoned(page(*memory, 5)));
  CHECK(memory->data()[5 * kPage] == std::byte{0x5A});
  memory->data()[6 * kPage] = std::byte{1};  // a store
  CHECK(memory->is_poisoned(page(*memory, 6)));
  CHECK_FALSE(met_poison(*memory, page(*memory, 0)));
  CHECK(met_poison(*memory, {memory->data(), kPages * kPage}));
}

TEST_CASE("each mapping has its own lost pages, and a new one none", "[unit]") {
  ShrinkingFile file;
  auto first = file.map();
  const auto second = file.map();
  file.shrink(7);
  CHECK(second->data()[7 * kPage] == std::byte{0});
  CHECK_FALSE(first->has_poison());
  CHECK(second->has_poison());
  first.reset();
  file.shrink(8);
  CHECK_FALSE(file.map()->has_poison());
}

TEST_CASE("many threads meet one lost page at a time", "[unit]") {
  ShrinkingFile file;
  const auto memory = file.map();
  file.shrink(0);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (std::size_t i = 0; i < kPages; ++i) {
        wrong +=
            memory->data()[i * kPage] != std::byte{0} || !memory->is_poisoned(page(*memory, i));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(wrong == 0);
}

TEST_CASE("more lost pages than are told apart make all of the mapping lost", "[unit]") {
  const int descriptor = memfd_create("godbox-test", MFD_CLOEXEC);
  constexpr std::size_t kMany = PoisonGuard::kPagesMax + 2;
  REQUIRE(ftruncate(descriptor, kMany * kPage) == 0);
  const auto made = MappedMemory::from_descriptor(dup(descriptor), SizeBytes(kMany * kPage), true);
  REQUIRE(made.has_value());
  REQUIRE(ftruncate(descriptor, kPage) == 0);
  for (std::size_t i = 1; i < kMany; ++i) {
    CHECK((*made)->data()[i * kPage] == std::byte{0});
  }
  CHECK((*made)->is_poisoned(page(**made, 0)));
  close(descriptor);
}

TEST_CASE("the kernel's own copies of a lost page fail, and the page is found by touching it",
          "[unit]") {
  ShrinkingFile file;
  const auto memory = file.map();
  file.shrink(7);
  int sockets[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  CHECK(send(sockets[0], memory->data() + 7 * kPage, kPage, MSG_DONTWAIT) < 0);
  CHECK(errno == EFAULT);
  CHECK_FALSE(memory->has_poison());
  (void)*static_cast<volatile const std::byte*>(memory->data() + 7 * kPage);
  CHECK(memory->has_poison());
  close(sockets[0]);
  close(sockets[1]);
}

TEST_CASE("a SIGBUS elsewhere still ends the process", "[unit]") {
  if (test::kIsSanitized) {
    SKIP("sanitizers handle SIGBUS themselves");
  }
  const auto memory = ShrinkingFile().map();  // so that the handler is there
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const int descriptor = memfd_create("godbox-test", MFD_CLOEXEC);
    void* const at = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, descriptor, 0);
    (void)*static_cast<volatile const char*>(at);
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGBUS);
}

TEST_CASE("a page that the machine has poisoned is reported", "[unit]") {
  ShrinkingFile file;
  const auto memory = file.map();
  std::memset(memory->data(), 0x5A, kPages * kPage);
  if (madvise(memory->data() + 3 * kPage, kPage, MADV_HWPOISON) != 0) {
    SKIP("needs root and a kernel with CONFIG_MEMORY_FAILURE");
  }
  CHECK(memory->data()[3 * kPage] == std::byte{0});
  CHECK(memory->is_poisoned(page(*memory, 3)));
  CHECK_FALSE(memory->is_poisoned(page(*memory, 2)));
  CHECK(memory->data()[2 * kPage] == std::byte{0x5A});
}

}  // namespace
}  // namespace godbox::driver
