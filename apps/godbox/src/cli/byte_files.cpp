// SPDX-License-Identifier: Apache-2.0
#include "cli/byte_files.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace godbox::app {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{1} << 20U;
constexpr mode_t kModeBits = 07777;

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

// Closing reports what a file system kept back until then.
Result<void> write_and_close(std::FILE* file, ConstSpan bytes, const std::string& path) {
  Result<void> written = write_all(file, bytes, path);
  if (std::fclose(file) != 0 && written) {
    written = failed("write", path);
  }
  return written;
}

// A device, a pipe, or what a link leads to: written, never replaced.
Result<void> write_in_place(const std::string& path, ConstSpan bytes) {
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  return file == nullptr ? failed("write", path) : write_and_close(file, bytes, path);
}

// The file appears, or changes, when all of it is written. It keeps the mode that it had.
Result<void> replace(const std::string& path, ConstSpan bytes, std::optional<mode_t> mode) {
  const std::string target = fmt::format("{}.godbox-{}", path, ::getpid());
  const int descriptor = ::open(target.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) {
    return failed("write", path);
  }
  Result<void> written;
  std::FILE* const file = ::fdopen(descriptor, "wb");
  if (file == nullptr || (mode && ::fchmod(descriptor, *mode) != 0)) {
    written = failed("write", path);
    file == nullptr ? ::close(descriptor) : std::fclose(file);
  } else {
    written = write_and_close(file, bytes, path);
  }
  if (written && std::rename(target.c_str(), path.c_str()) != 0) {
    written = failed("write", path);
  }
  if (!written) {
    ::unlink(target.c_str());
  }
  return written;
}

}  // namespace

Result<std::vector<std::byte>> read_file(const std::string& path, SizeBytes limit) {
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
    if (bytes.size() > limit.count()) {
      return Error(
          Errc::too_large,
          fmt::format("\"{}\" has more than {} bytes, the most that is read", path, limit.count()));
    }
  }
  if (std::ferror(file.get()) != 0) {
    return failed("read", path);
  }
  return bytes;
}

Result<std::string> read_text_file(const std::string& path) {
  const Result<std::vector<std::byte>> bytes = read_file(path, kTextFileBytesMax);
  if (!bytes) {
    return bytes.error();
  }
  return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
}

Result<void> write_file(const std::string& path, ConstSpan bytes) {
  if (path == "-") {
    return write_all(stdout, bytes, path);
  }
  struct stat status {};
  const bool is_there = ::lstat(path.c_str(), &status) == 0;
  if (!is_there && errno != ENOENT) {
    return failed("write", path);
  }
  if (is_there && !S_ISREG(status.st_mode)) {
    return write_in_place(path, bytes);
  }
  return replace(path, bytes, is_there ? std::optional(status.st_mode & kModeBits) : std::nullopt);
}

}  // namespace godbox::app
