// SPDX-License-Identifier: Apache-2.0
//
// A load from a host on one CXL Type-3 device, in the detailed fidelity: host, link with its flits
// and credits, memory controller, DRAM channels command by command, and back. One event for each
// flit and each DRAM command.
// Thread-safety: a pure function; runs may go on in several threads. Ownership: values.
// Units: in the names; all figures are modelled. Errors: config_invalid, with the value and what is
// allowed.
#pragma once

#include <godbox/emulator/model/cxl_link.h>
#include <godbox/emulator/model/dram_run.h>

#include <string>

namespace godbox::emulator::model {

struct Type3Spec {
  std::string name;
  // What a load spends in the host beside the link: from the core to its CXL port and back.
  double host_ns = 0;
  CxlLinkSpec link;
  // Through the device and back, beside link and DRAM; half of it each way.
  double controller_ns = 0;
  DramSpec dram;
  std::uint32_t dram_channels = 1;
  SizeBytes interleave{256};  // over the device's DRAM channels
};

[[nodiscard]] Result<void> validate(const Type3Spec& spec);

struct Type3Figures {
  std::uint64_t lines = 0;
  double elapsed_ns = 0;
  Rate delivered;  // data of reads and writes
  // From the core's request to the last data in the core, reads only.
  double read_mean_ns = 0;
  double read_p50_ns = 0;
  double read_p99_ns = 0;
  // Where that mean is spent. Waiting for the link's credits belongs to the link, for the DRAM
  // controller's queues to the DRAM.
  double host_ns = 0;
  double m2s_ns = 0;
  double controller_ns = 0;
  double dram_ns = 0;
  double s2m_ns = 0;
  // Parts of the time that each is busy: flits that carry something, data on the DRAM buses.
  double m2s_utilisation = 0;
  double s2m_utilisation = 0;
  double dram_utilisation = 0;
  // Little's law over all lines on their way: mean number, and rate times mean time.
  double in_flight_mean = 0;
  double in_flight_by_little = 0;
};

// `load` as for run_dram(), over the device's whole capacity; its `window` counts the lines of the
// host, and where `offered` is 0 it must be given.
[[nodiscard]] Result<Type3Figures> run_type3(const Type3Spec& spec, const DramLoad& load);

}  // namespace godbox::emulator::model
