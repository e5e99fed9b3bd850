// SPDX-License-Identifier: Apache-2.0
#include "bench/served_box.h"

#include "box/status_document.h"

#include <algorithm>
#include <set>

namespace godbox::app {

Result<ServedBytes> served_bytes(striping::Client& client, TransportKind transport) {
  const Result<boost::json::object> status = read_status(client);
  if (!status) {
    return status.error();
  }
  ServedBytes bytes;
  for (const boost::json::value& item : status_list(*status, "dram_channels")) {
    const boost::json::object* const channel = item.if_object();
    bytes.dram_channels.push_back(channel == nullptr
                                      ? 0
                                      : status_number(*channel, "bytes_read") +
                                            status_number(*channel, "bytes_written"));
  }
  bytes.eth_ports.resize(status_list(*status, "eth_ports").size());
  const bool is_rdma = transport == TransportKind::verbs || transport == TransportKind::roce;
  for (const boost::json::value& item :
       status_list(*status, is_rdma ? "roce_ports" : "eth_ports")) {
    const boost::json::object* const port = item.if_object();
    const std::uint64_t id =
        port == nullptr ? 0 : status_number(*port, is_rdma ? "eth_port" : "id");
    if (port == nullptr || id >= bytes.eth_ports.size()) {
      return Error(Errc::protocol_error, "the box's status names a port that it has not");
    }
    bytes.eth_ports[id] +=
        is_rdma ? status_number(*port, "bytes_written") + status_number(*port, "bytes_read")
                : status_number(*port, "bytes_received") + status_number(*port, "bytes_sent");
  }
  return bytes;
}

Result<void> describe_box(striping::Client& client, BenchRow& row) {
  const Result<boost::json::object> status = read_status(client);
  if (!status) {
    return status.error();
  }
  const bool is_paced = status_text(*status, "mode") == "paced";
  const boost::json::value* const scale = status->if_contains("time_scale");
  row.mode = is_paced ? emulator::TimingMode::paced : emulator::TimingMode::free;
  row.time_scale =
      is_paced && scale != nullptr && scale->is_number() ? scale->to_number<double>() : 1;
  row.subject.dram_channels =
      static_cast<std::uint32_t>(client.box().dram_channel_super_nic.size());
  return {};
}

void describe_lanes(striping::Client& client, BenchRow& row) {
  Transport& transport = client.transport();
  std::set<EthPortId> ports;
  for (std::size_t i = 0; i < transport.lane_count(); ++i) {
    const LaneStatus lane = transport.lane_status(LaneId(static_cast<LaneId::rep>(i)));
    if (lane.state == LaneState::up) {
      ports.insert(lane.eth_port);
    }
  }
  const std::size_t lanes = transport.lane_count() / std::max<std::size_t>(ports.size(), 1);
  row.subject.eth_ports = static_cast<std::uint32_t>(ports.size());
  row.subject.lanes_per_eth_port = static_cast<std::uint32_t>(lanes);
}

}  // namespace godbox::app
