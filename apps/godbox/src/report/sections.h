// SPDX-License-Identifier: Apache-2.0
//
// The parts of a report, each made from the rows that it is about; empty where there are none.
// Pure.
#pragma once

#include "results/document.h"

#include <span>
#include <string>

namespace godbox::app {

using ResultRows = std::span<const ResultRow>;

// Throughput against DRAM channels and Ethernet ports: emulated beside its model, real beside the
// raw sockets.
[[nodiscard]] std::string scaling_section(ResultRows rows);
// How long single operations took.
[[nodiscard]] std::string latency_section(ResultRows rows);
// Bytes on each DRAM channel and Ethernet port over time.
[[nodiscard]] std::string timeline_section(ResultRows rows);
// Measured over its ceiling.
[[nodiscard]] std::string efficiency_section(ResultRows rows);
// Pages in a device's memory: kernels and the pool beside their ceilings, and what ran when.
[[nodiscard]] std::string device_section(ResultRows rows);
// What the other workloads are about: pieces, layers, sessions, neighbours, lookups.
[[nodiscard]] std::string workload_section(ResultRows rows);
// Every row with every field that it has.
[[nodiscard]] std::string all_rows_section(ResultRows rows);

// --- Shared. ---
// "read over tcp, 4 MiB"
[[nodiscard]] std::string name_of(const ResultRow& row);
// "Real; hot; working set 64 MiB"; of several: "Real; cold and hot; working sets 64 MiB to 1 GiB".
[[nodiscard]] std::string conditions_of(ResultRows rows);

}  // namespace godbox::app
