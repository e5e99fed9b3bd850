// SPDX-License-Identifier: Apache-2.0
//
// The Coherent Device Attribute Table of a box's devices: what a guest is told of their latency and
// bandwidth, by the timing model (modelled_rates.h). Modelled figures, never measured ones.
// Spec: CDAT 1.03 (UEFI Forum): header, DSMAS, DSLBIS, DSEMTS, SSLBIS; CXL r3.1 8.1.11 has how a
// device gives it out. Thread-safety: plain values and pure functions. Ownership: values.
// Units: nanoseconds, bytes per second. Errors: none; values beyond the table's range are clamped.
#pragma once

#include <godbox/emulator/box_config.h>
#include <godbox/units.h>

#include <cstddef>
#include <vector>

namespace godbox::emulator::vm {

// What a switch adds.
struct SwitchModel {
  // A port-to-port crossing, both ways of a read; published for CXL 2.0 switches: 70 to 100 ns.
  Duration crossing = std::chrono::nanoseconds(80);
  Rate bandwidth{63e9};  // PCIe 5.0 x16 after 128b/130b, of one port
};

// What one device says of itself.
struct ChannelTiming {
  Duration read_latency{};
  Duration write_latency{};
  Rate read_bandwidth;
  Rate write_bandwidth;
  // Latency: DRAM with a closed row, controller, link with its crossings and flits. Bandwidth: the
  // smaller of the DRAM channel's and the link's, in whole MB/s as the table has them. All before
  // the time scale.
  [[nodiscard]] static ChannelTiming of(const PacedRates& rates);
};

// The table of a Type 3 device whose whole capacity is one volatile range. Latencies are exact to a
// nanosecond; bandwidths, which the table has in MB/s, to 1 % from 50 MB/s on.
[[nodiscard]] std::vector<std::byte> cdat_table(SizeBytes capacity, const ChannelTiming& timing);
// The table of a switch's upstream port: the same figures between all ports.
[[nodiscard]] std::vector<std::byte> switch_cdat_table(const SwitchModel& model = {});

}  // namespace godbox::emulator::vm
