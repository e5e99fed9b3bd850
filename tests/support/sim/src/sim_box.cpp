// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/sim/sim_box.h>

#include <cstdio>

namespace godbox::sim {

namespace {

constexpr std::uint16_t kTcpPortBase = 7400;

EthPortId eth_port(std::size_t index) { return EthPortId(static_cast<std::uint16_t>(index)); }

}  // namespace

SimBox::SimBox(SimNetwork& network, SimBoxOptions options, std::uint64_t seed)
    : network_(network),
      options_(std::move(options)),
      random_(seed),
      control_address_{StreamAddress::Kind::local_socket, "/sim/control.sock", 0} {
  for (std::uint32_t i = 0; i < options_.config.eth_ports(); ++i) {
    const auto port = static_cast<std::uint16_t>(kTcpPortBase + i);
    eth_port_addresses_.push_back({StreamAddress::Kind::tcp, "127.0.0.1", port});
  }
  network_.add_tick(options_.tick_period, [this](TimePoint) {
    if (box_ != nullptr) {
      box_->on_timer();
    }
  });
}

SimBox::~SimBox() {
  if (box_ != nullptr) {
    stop(Duration(0));
  }
}

const StreamAddress& SimBox::control_address() const {
  return options_.control_over_tcp ? eth_port_addresses_.front() : control_address_;
}

void SimBox::start() {
  GODBOX_ASSERT(box_ == nullptr);
  std::vector<std::unique_ptr<MemoryTarget>> targets;
  memories_.clear();
  for (std::uint32_t i = 0; i < options_.config.dram_channels(); ++i) {
    auto memory = std::make_unique<GuardedMemory>(options_.config.dram_channel_size,
                                                  options_.backing_granularity);
    memories_.push_back(memory.get());
    targets.push_back(std::move(memory));
  }
  auto made = emulator::Box::create(options_.config, std::move(targets), options_.backing_limit,
                                    network_.clock(), random_, options_.door);
  if (!made) {
    std::fprintf(stderr, "%s\n", made.error().message().c_str());
  }
  GODBOX_ASSERT(made.has_value());
  box_ = std::move(*made);
  for (std::size_t i = 0; i < eth_port_addresses_.size(); ++i) {
    GODBOX_ASSERT(
        network_.listen(eth_port_addresses_[i], box_->eth_port_door(eth_port(i))).has_value());
    box_->set_eth_port_address(eth_port(i), eth_port_addresses_[i]);
  }
  GODBOX_ASSERT(network_.listen(control_address_, box_->control_door()).has_value());
}

void SimBox::stop(Duration notice_max) {
  GODBOX_ASSERT(box_ != nullptr);
  network_.unlisten(control_address_, notice_max);
  for (const StreamAddress& address : eth_port_addresses_) {
    network_.unlisten(address, notice_max);
  }
  memories_.clear();
  box_.reset();
}

SizeBytes SimBox::backed() const {
  SizeBytes total;
  for (const GuardedMemory* memory : memories_) {
    total += memory->backed();
  }
  return total;
}

std::uint64_t SimBox::connections_open() {
  std::uint64_t open = box_->control_door().counters().connections_open;
  for (std::size_t i = 0; i < eth_port_addresses_.size(); ++i) {
    open += box_->eth_port_door(eth_port(i)).counters().connections_open;
  }
  return open;
}

}  // namespace godbox::sim
