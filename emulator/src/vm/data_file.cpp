// SPDX-License-Identifier: Apache-2.0
#include "guest_link.h"
#include <godbox/emulator/vm/data_file.h>
#include <godbox/emulator/vm/virtual_machine.h>

#include <sys/mman.h>
#include <unistd.h>

namespace godbox::emulator::vm {

Result<DataFile> DataFile::create(std::span<const std::byte> bytes) {
  DataFile file(::memfd_create("godbox-data", MFD_CLOEXEC));
  if (file.descriptor_ < 0) {
    return Error(Errc::io_error, "memfd_create: no descriptor");
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (Result<void> written = write_all(file.descriptor_, text, Peer::file); !written) {
    return written.error();
  }
  return file;
}

DataFile::~DataFile() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

std::string DataFile::path() const { return descriptor_path(descriptor_); }

}  // namespace godbox::emulator::vm
