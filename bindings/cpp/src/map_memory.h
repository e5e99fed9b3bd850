// SPDX-License-Identifier: Apache-2.0
//
// Asking a box for its memory (MAP_MEMORY), from within the making of a client's transport.
// Thread-safety: the client's thread. Ownership: targets are the caller's.
// Errors: unsupported, access_denied, deadline_exceeded, protocol_error, those of MappedMemory.
#pragma once

#include <godbox/memory_target.h>
#include <godbox/striping/client.h>

#include <memory>
#include <vector>

namespace godbox {

// Tells the box that this session will touch its memory by itself. On the local control socket
// descriptors come with the answer. `pins`: the pages are going to be pinned.
[[nodiscard]] Result<wire::MapReply> ask_for_memory(
    const striping::Client::TransportContext& context, Duration timeout, bool pins = false);
// All DRAM channels, by the descriptors that come over the local control socket.
[[nodiscard]] Result<std::vector<std::unique_ptr<MemoryTarget>>> map_dram_channels(
    const striping::Client::TransportContext& context, Duration timeout, bool pins = false);

}  // namespace godbox
