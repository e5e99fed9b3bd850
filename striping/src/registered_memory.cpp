// SPDX-License-Identifier: Apache-2.0
#include "registered_memory.h"

#include <algorithm>

namespace godbox::striping {

RegisteredMemory::~RegisteredMemory() {
  for (const MutableSpan memory : memories_) {
    device_.unregister_host(memory);
  }
}

Result<void> RegisteredMemory::add(MutableSpan memory) {
  auto registered = device_.register_host(memory);
  if (registered) {
    memories_.push_back(memory);
  }
  return registered;
}

void RegisteredMemory::remove(MutableSpan memory) {
  const auto found = std::find_if(memories_.begin(), memories_.end(), [memory](MutableSpan known) {
    return known.data() == memory.data() && known.size() == memory.size();
  });
  if (found != memories_.end()) {
    device_.unregister_host(memory);
    memories_.erase(found);
  }
}

}  // namespace godbox::striping
