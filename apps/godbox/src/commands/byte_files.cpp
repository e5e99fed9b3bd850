// SPDX-License-Identifier: Apache-2.0
#include "commands/byte_files.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>

#include <unistd.h>

namespace godbox::app {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{1} << 20U;

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

int leave_open(std::FILE* file) { return std::fflush(file); }

Error failed(std::string_view what, std::string_view path) {
  const std::error_code reason(errno, std::generic_category());
  return {Errc::io_error, fmt::format("cannot {} \"{}\": {}", what, path, reason.message())};
}

Result<void> write_all(std::FILE* file, ConstSpan bytes, const std::string& path) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size() || std::fflush(file) != 0) {
    return failed("write", path);
  }
  return {};
}

}  // namespace

Result<std::vector<std::byte>> read_file(const std::string& path) {
  const File file =
      path == "-" ? File(stdin, leave_open) : File(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) {
    return failed("read", path);
  }
  std::vector<std::byte> bytes;
  for (std::size_t got = 1; got > 0;) {
    const std::size_t size = bytes.size();
    bytes.resize(size + kChunkBytes);
    got = std::fread(bytes.data() + size, 1, kChunkBytes, file.get());
    bytes.resize(size + got);
  }
  if (std::ferror(file.get()) != 0) {
    return failed("read", path);
  }
  return bytes;
}

Result<void> write_file(const std::string& path, ConstSpan bytes) {
  if (path == "-") {
    return write_all(stdout, bytes, path);
  }
  std::error_code ignored;
  // A device or a pipe is written, not replaced.
  const bool replace =
      !std::filesystem::exists(path, ignored) || std::filesystem::is_regular_file(path, ignored);
  const std::string target = replace ? fmt::format("{}.godbox-{}", path, ::getpid()) : path;
  const File file(std::fopen(target.c_str(), "wb"), std::fclose);
  if (!file) {
    return failed("write", path);
  }
  Result<void> written = write_all(file.get(), bytes, path);
  if (written && replace && std::rename(target.c_str(), path.c_str()) != 0) {
    written = failed("write", path);
  }
  if (!written && replace) {
    std::filesystem::remove(target, ignored);
  }
  return written;
}

}  // namespace godbox::app
