// SPDX-License-Identifier: Apache-2.0
//
// A few bytes as a file that only this process and its children can open, gone with its owner: what
// QEMU reads at its start. Thread-safety: one thread per object. Ownership: owns the descriptor.
// Units: bytes. Errors: io_error.
#pragma once

#include <godbox/result.h>

#include <span>
#include <string>
#include <utility>

namespace godbox::emulator::vm {

class DataFile {
 public:
  [[nodiscard]] static Result<DataFile> create(std::span<const std::byte> bytes);
  DataFile(DataFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  DataFile& operator=(DataFile&&) = delete;
  ~DataFile();
  [[nodiscard]] std::string path() const;

 private:
  explicit DataFile(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace godbox::emulator::vm
