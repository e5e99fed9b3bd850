// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/roce/counters.h>

namespace godbox::emulator {

std::vector<std::pair<std::string_view, std::uint64_t>> named_values(
    const RocePortCounters& counters) {
  const std::pair<std::string_view, const RoceCounter&> named[] = {
      {"frames_received", counters.frames_received},
      {"bytes_received", counters.bytes_received},
      {"frames_sent", counters.frames_sent},
      {"bytes_sent", counters.bytes_sent},
      {"frames_unsent", counters.frames_unsent},
      {"frames_given", counters.frames_given},
      {"dropped_port_fault", counters.dropped_port_fault},
      {"dropped_not_ours", counters.dropped_not_ours},
      {"dropped_other", counters.dropped_other},
      {"dropped_malformed", counters.dropped_malformed},
      {"dropped_icrc", counters.dropped_icrc},
      {"dropped_stranger", counters.dropped_stranger},
      {"dropped_wrong_source", counters.dropped_wrong_source},
      {"dropped_key", counters.dropped_key},
      {"dropped_state", counters.dropped_state},
      {"dropped_sequence", counters.dropped_sequence},
      {"dropped_response", counters.dropped_response},
      {"dropped_limit", counters.dropped_limit},
      {"dropped_queue", counters.dropped_queue},
      {"link_answers", counters.link_answers},
      {"link_frames", counters.link_frames},
      {"control_dropped", counters.control_dropped},
      {"management", counters.management},
      {"connections_requested", counters.connections_requested},
      {"connections_established", counters.connections_established},
      {"connections_rejected", counters.connections_rejected},
      {"connections_closed", counters.connections_closed},
      {"connection_duplicates", counters.connection_duplicates},
      {"sends", counters.sends},
      {"writes", counters.writes},
      {"reads", counters.reads},
      {"atomics", counters.atomics},
      {"bytes_written", counters.bytes_written},
      {"bytes_read", counters.bytes_read},
      {"duplicates", counters.duplicates},
      {"acks", counters.acks},
      {"naks_sequence", counters.naks_sequence},
      {"naks_invalid", counters.naks_invalid},
      {"naks_access", counters.naks_access},
      {"naks_operational", counters.naks_operational},
      {"naks_not_ready", counters.naks_not_ready},
      {"naks_withheld", counters.naks_withheld},
      {"pins_expired", counters.pins_expired},
      {"windows_exhausted", counters.windows_exhausted},
      {"timeouts", counters.timeouts},
      {"retransmits", counters.retransmits},
      {"rnr_waits", counters.rnr_waits},
      {"cnps_sent", counters.cnps_sent},
      {"cnps_received", counters.cnps_received},
      {"queue_pairs_open", counters.queue_pairs_open},
  };
  // One that is forgotten above would be told nobody.
  static_assert(std::size(named) * sizeof(RoceCounter) == sizeof(RocePortCounters));
  std::vector<std::pair<std::string_view, std::uint64_t>> values;
  values.reserve(std::size(named));
  for (const auto& [name, counter] : named) {
    values.emplace_back(name, counter.get());
  }
  return values;
}

}  // namespace godbox::emulator
