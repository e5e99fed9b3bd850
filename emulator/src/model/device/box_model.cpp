// SPDX-License-Identifier: Apache-2.0
#include "model/number_check.h"
#include <godbox/emulator/model/box_model.h>

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace godbox::emulator::model {
namespace {

// IEEE 802.3-2022 3.1.1 and 4.4.2: preamble and start delimiter 8, addresses and type 14, check
// sequence 4, gap between packets 12.
constexpr double kFrameBytes = 8 + 14 + 4 + 12;
// IPv4 20 (RFC 791), TCP 20 (RFC 9293) with time stamps 12 (RFC 7323).
constexpr double kTcpBytes = 20 + 20 + 12;
// IPv4 20, UDP 8, base transport header 12, invariant CRC 4 (IBTA annex A17).
constexpr double kRoceBytes = 20 + 8 + 12 + 4;
// Of a WRITE's first packet; of a READ's first and last response (IBTA 9.3, 9.6).
constexpr double kRethBytes = 16;
constexpr double kAethBytes = 4;
// A PCIe packet: framing 4, check 4 (PCIe r5.0 4.2.2.2), header 16 of a write to 64-bit addresses,
// 12 of a completion (2.2). 64 GT/s: headers alone, in 236 of the 256 bytes of a flit (PCIe
// r6.0 4.2.3).
constexpr double kTlpFramingBytes = 8;
constexpr double kTlpWriteHeaderBytes = 16;
constexpr double kTlpCompletionHeaderBytes = 12;
constexpr double kTlpShareOfFlit = 236.0 / 256.0;

Error invalid(std::string text) { return {Errc::config_invalid, std::move(text)}; }

Result<void> check_ethernet(const EthernetSpec& spec) {
  const bool is_roce = spec.protocol == WireProtocol::roce;
  if (is_roce &&
      (spec.mtu_bytes < 256 || spec.mtu_bytes > 4096 || !std::has_single_bit(spec.mtu_bytes))) {
    return invalid(
        fmt::format("ethernet.mtu_bytes = {}: allowed with roce are 256, 512, 1024, 2048, 4096",
                    spec.mtu_bytes));
  }
  if (!is_roce && (spec.mtu_bytes < 576 || spec.mtu_bytes > 9216)) {
    return invalid(
        fmt::format("ethernet.mtu_bytes = {}: allowed with tcp is 576 to 9216", spec.mtu_bytes));
  }
  return {};
}

Rate pcie_raw(const HostPcieSpec& spec) {
  const CxlLinkSpec wire{.generation = spec.generation, .lanes = spec.lanes};
  return wire.after_encoding();
}

Rate times(Rate rate, double factor) { return Rate(rate.bytes_per_second() * factor); }

std::string percent(double part) { return fmt::format("{:.1f} %", part * 100); }

// The stages' rates, counts and reasons; what depends on the whole transfer comes later.
std::vector<StageFigures> stages_of(const BoxModel& model, const BoxShape& shape,
                                    const Transfer& transfer, const ChannelRates& rates) {
  const Type3Spec& device = model.device;
  const DramTimings& t = device.dram.timings;
  const std::uint32_t channels = transfer.dram_channels;
  const std::uint32_t super_nics = shape.super_nics_of(channels);
  const std::uint32_t hosts = transfer.hosts == 0 ? transfer.eth_ports : transfer.hosts;
  const double ethernet = ethernet_payload_share(model.ethernet, rates.is_write);
  const double pcie = pcie_payload_share(model.host_pcie, rates.is_write);
  const double frame_ns = (model.ethernet.mtu_bytes + kFrameBytes) * 1e9 /
                          std::max(shape.eth_port.bytes_per_second(), 1.0);
  const Rate dram_peak = times(device.dram.organization.peak(), device.dram_channels);
  std::vector<StageFigures> stages;
  const auto add = [&stages](std::string_view name, std::uint32_t count, Rate raw, Rate limited,
                             double latency_ns, std::string why) {
    stages.push_back(
        {name, count, times(raw, count), times(limited, count), 0, latency_ns, std::move(why)});
  };
  add("DRAM channel", channels, dram_peak, rates.dram,
      (t.rcd + t.cl + t.burst) * device.dram.organization.cycle_ns(),
      fmt::format("{}; refresh takes {}, rows and turnarounds the rest; a closed row",
                  device.dram.name, percent(refresh_loss(t))));
  add("CXL link", channels, device.link.after_encoding(), rates.link,
      device.controller_ns + 2 * device.link.crossing_ns + 3 * device.link.flit_ns(),
      fmt::format("PCIe {} x{}, {}-byte flits{}; controller, crossings and three flits",
                  to_string(device.link.generation), device.link.lanes, device.link.flit_bytes,
                  rates.link_waits_for_credits ? ", waits for credits" : ""));
  if (model.super_nic.path > Rate()) {
    add("SuperNIC path", super_nics, model.super_nic.path, model.super_nic.path,
        model.super_nic.latency_ns, "between links and ports, one direction");
  }
  add("Ethernet port", transfer.eth_ports, shape.eth_port, times(shape.eth_port, ethernet),
      2 * (model.ethernet.propagation_ns +
           model.ethernet.switch_hops * model.ethernet.switch_hop_ns) +
          frame_ns,
      fmt::format("{} with MTU {}: {} is payload; the way there and back and a frame",
                  to_string(model.ethernet.protocol), model.ethernet.mtu_bytes, percent(ethernet)));
  add("host NIC", hosts, shape.eth_port, times(shape.eth_port, ethernet), 0,
      "the same frames; ports that send to fewer hosts meet here");
  add("host PCIe", hosts, pcie_raw(model.host_pcie), times(pcie_raw(model.host_pcie), pcie),
      model.host_pcie.latency_ns,
      fmt::format("PCIe {} x{}, packets of {} bytes: {} is payload",
                  to_string(model.host_pcie.generation), model.host_pcie.lanes,
                  model.host_pcie.max_payload_bytes, percent(pcie)));
  return stages;
}

Result<void> check_transfer(const BoxShape& shape, const Transfer& transfer) {
  const std::uint32_t channels = shape.super_nics * shape.dram_channels_per_super_nic;
  if (transfer.dram_channels < 1 || transfer.dram_channels > channels) {
    return invalid(
        fmt::format("dram_channels = {}: allowed is 1 to {}", transfer.dram_channels, channels));
  }
  const std::uint32_t super_nics = shape.super_nics_of(transfer.dram_channels);
  const std::uint32_t ports = super_nics * shape.eth_ports_per_super_nic;
  if (transfer.eth_ports < 1 || transfer.eth_ports > ports) {
    return invalid(
        fmt::format("eth_ports = {}: allowed is 1 to {}, those of the SuperNICs of {} "
                    "DRAM channels",
                    transfer.eth_ports, ports, transfer.dram_channels));
  }
  if (transfer.size.is_zero()) {
    return invalid("size = 0: allowed is 1 byte or more");
  }
  if (!(shape.eth_port > Rate())) {
    return invalid("eth_port rate: must be above 0");
  }
  return {};
}

}  // namespace

double ethernet_payload_share(const EthernetSpec& spec, bool is_write) {
  if (spec.protocol == WireProtocol::tcp) {
    return (spec.mtu_bytes - kTcpBytes) / (spec.mtu_bytes + kFrameBytes);
  }
  const auto message = static_cast<double>(spec.message.count());
  const double packets = std::ceil(message / spec.mtu_bytes);
  const double once = is_write ? kRethBytes : kAethBytes * std::min(packets, 2.0);
  return message / (message + packets * (kFrameBytes + kRoceBytes) + once);
}

double pcie_payload_share(const HostPcieSpec& spec, bool is_write) {
  // What the box reads comes into the GPU as writes, what it is to write leaves as completions.
  const double header = is_write ? kTlpCompletionHeaderBytes : kTlpWriteHeaderBytes;
  const bool is_flit = spec.generation == PcieGeneration::gen6;
  const double packet = spec.max_payload_bytes + header + (is_flit ? 0 : kTlpFramingBytes);
  return spec.max_payload_bytes / packet * (is_flit ? kTlpShareOfFlit : 1.0);
}

Result<void> validate(const BoxModel& model) {
  if (Result<void> valid = validate(model.device); !valid) {
    return valid;
  }
  if (Result<void> valid = check_ethernet(model.ethernet); !valid) {
    return valid;
  }
  const HostPcieSpec& pcie = model.host_pcie;
  for (const NumberCheck& number :
       {NumberCheck{"ethernet.message_bytes", static_cast<double>(model.ethernet.message.count()),
                    1, 2147483648.0},
        NumberCheck{"ethernet.propagation_ns", model.ethernet.propagation_ns, 0, 1e6},
        NumberCheck{"ethernet.switch_hops", static_cast<double>(model.ethernet.switch_hops), 0, 16},
        NumberCheck{"ethernet.switch_hop_ns", model.ethernet.switch_hop_ns, 0, 1e5},
        NumberCheck{"super_nic.path_gbit_per_s", model.super_nic.path.bytes_per_second() * 8e-9, 0,
                    1e6},
        NumberCheck{"super_nic.latency_ns", model.super_nic.latency_ns, 0, 1e6},
        NumberCheck{"host.pcie_latency_ns", pcie.latency_ns, 0, 1e5}}) {
    if (Result<void> valid = check(number); !valid) {
      return valid;
    }
  }
  if (pcie.lanes != 4 && pcie.lanes != 8 && pcie.lanes != 16) {
    return invalid(fmt::format("host.pcie_lanes = {}: allowed are 4, 8, 16", pcie.lanes));
  }
  if (pcie.max_payload_bytes < 128 || pcie.max_payload_bytes > 4096 ||
      !std::has_single_bit(pcie.max_payload_bytes)) {
    return invalid(
        fmt::format("host.pcie_max_payload_bytes = {}: allowed are powers of two, 128 to 4096",
                    pcie.max_payload_bytes));
  }
  return {};
}

Result<ChannelRates> channel_rates(const BoxModel& model, bool is_write, SizeBytes strip) {
  if (const Result<void> valid = validate(model); !valid) {
    return valid.error();
  }
  const double read_share = is_write ? 0 : 1;
  // Strips of a few requests at a time, as many lines under way as the queues take.
  const auto dram = run_dram(
      model.device.dram, {.lines = 100'000, .read_share = read_share, .run = strip, .streams = 4});
  if (!dram) {
    return dram.error();
  }
  // The device's buffer is free once the memory controller has the message.
  const auto link = cxl_link_rate(model.device.link, read_share, model.device.controller_ns / 2);
  if (!link) {
    return link.error();
  }
  return ChannelRates{.is_write = is_write,
                      .dram = times(dram->delivered, model.device.dram_channels),
                      .link = link->data,
                      .link_waits_for_credits = link->waits_for_credits};
}

Result<TransferFigures> time_transfer(const BoxModel& model, const BoxShape& shape,
                                      const Transfer& transfer, const ChannelRates& rates) {
  if (const Result<void> valid = check_transfer(shape, transfer); !valid) {
    return valid.error();
  }
  // Less than a message goes through one port, whatever there is.
  Transfer used = transfer;
  const std::uint64_t message = model.ethernet.message.count();
  const std::uint64_t messages = (transfer.size.count() + message - 1) / message;
  used.eth_ports = static_cast<std::uint32_t>(std::min<std::uint64_t>(used.eth_ports, messages));
  TransferFigures result;
  result.stages = stages_of(model, shape, used, rates);
  const auto slowest = [&result](Rate StageFigures::*rate) {
    const auto found = std::min_element(
        result.stages.begin(), result.stages.end(),
        [rate](const StageFigures& a, const StageFigures& b) { return a.*rate < b.*rate; });
    return static_cast<std::size_t>(found - result.stages.begin());
  };
  result.bottleneck = slowest(&StageFigures::limited);
  result.raw_bottleneck = slowest(&StageFigures::raw);
  const auto size = static_cast<double>(transfer.size.count());
  const double rate = result.stages[result.bottleneck].limited.bytes_per_second();
  for (StageFigures& stage : result.stages) {
    result.first_byte_ns += stage.latency_ns;
  }
  result.seconds = result.first_byte_ns * 1e-9 + size / rate;
  result.raw_seconds = size / result.stages[result.raw_bottleneck].raw.bytes_per_second();
  for (StageFigures& stage : result.stages) {
    stage.utilisation = size / result.seconds / stage.limited.bytes_per_second();
  }
  return result;
}

}  // namespace godbox::emulator::model
