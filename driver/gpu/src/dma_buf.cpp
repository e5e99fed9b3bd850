// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/dma_buf.h>

#include <unistd.h>

namespace godbox::driver {

DmaBuf::~DmaBuf() {
  if (descriptor_ >= 0) {
    (void)close(descriptor_);
  }
}

}  // namespace godbox::driver
