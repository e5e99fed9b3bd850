// SPDX-License-Identifier: Apache-2.0
//
// What a box that is served elsewhere tells of itself, for the rows of `godbox bench --connect`.
// Thread-safety: the client's thread. Units: bytes. Errors: those of the box's status;
// protocol_error where that is of no box that we know.
#pragma once

#include "bench/bench_row.h"
#include <godbox/striping/client.h>

#include <vector>

namespace godbox::app {

// What it has moved since it started, for whomever.
struct ServedBytes {
  std::vector<std::uint64_t> dram_channels;
  // By Ethernet port, and by the way that a transport takes: over tcp all bytes of frames, over
  // verbs and roce payloads.
  std::vector<std::uint64_t> eth_ports;
};
[[nodiscard]] Result<ServedBytes> served_bytes(striping::Client& client, TransportKind transport);

// Mode, time scale and DRAM channels of the box, before anything is measured.
[[nodiscard]] Result<void> describe_box(striping::Client& client, BenchRow& row);
// The ports that have a lane which is up, and the lanes to each, afterwards.
void describe_lanes(striping::Client& client, BenchRow& row);

}  // namespace godbox::app
