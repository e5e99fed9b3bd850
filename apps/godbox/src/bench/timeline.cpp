// SPDX-License-Identifier: Apache-2.0
#include "bench/timeline.h"

#include "bench/balance.h"
#include "cli/json.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

struct Sample {
  double at_ms = 0;
  std::vector<std::uint64_t> channels;
  std::vector<std::uint64_t> ports;
};

std::vector<std::uint64_t> port_bytes(emulator::Box& box) {
  std::vector<std::uint64_t> bytes;
  for (std::uint32_t i = 0; i < box.config().eth_ports(); ++i) {
    const emulator::EthPortCounters& counters =
        box.eth_port_door(EthPortId(static_cast<EthPortId::rep>(i))).counters();
    bytes.push_back(counters.bytes_received.load() + counters.bytes_sent.load());
  }
  return bytes;
}

// By channel or port, from the first sample on.
boost::json::array moved_since_first(const std::vector<Sample>& samples,
                                     std::vector<std::uint64_t> Sample::*counts) {
  boost::json::array all;
  for (std::size_t i = 0; i < (samples.front().*counts).size(); ++i) {
    boost::json::array one;
    for (const Sample& sample : samples) {
      one.push_back((sample.*counts)[i] - (samples.front().*counts)[i]);
    }
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace

struct Timeline::Impl {
  Impl(emulator::Box& of, std::chrono::milliseconds every)
      : box(of), begin(std::chrono::steady_clock::now()), period(every) {
    take();
    sampler = std::jthread([this](const std::stop_token& stop) { sample_until(stop); });
  }

  void take() {
    const std::chrono::duration<double, std::milli> at = std::chrono::steady_clock::now() - begin;
    samples.push_back({at.count(), counted_bytes(box), port_bytes(box)});
  }

  void sample_until(const std::stop_token& stop) {
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait_for(lock, stop, period, [] { return false; });
      if (stop.stop_requested()) {
        return;
      }
      take();
      if (samples.size() == kSamplesMax) {
        thin_out();
      }
    }
  }

  // Every second one goes.
  void thin_out() {
    for (std::size_t i = 0; 2 * i < samples.size(); ++i) {
      samples[i] = std::move(samples[2 * i]);
    }
    samples.resize((samples.size() + 1) / 2);
    period *= 2;
  }

  emulator::Box& box;
  std::chrono::steady_clock::time_point begin;
  std::chrono::milliseconds period;
  std::vector<Sample> samples;
  std::mutex mutex;
  std::condition_variable_any wake;
  std::jthread sampler;  // last: it uses all of the above
};

Timeline::Timeline(emulator::Box& box, std::chrono::milliseconds period)
    : impl_(std::make_unique<Impl>(box, period)) {}
Timeline::~Timeline() = default;

boost::json::object Timeline::finish() {
  impl_->sampler.request_stop();
  if (impl_->sampler.joinable()) {
    impl_->sampler.join();
  }
  impl_->take();  // what was over before the sampler began shows, too
  boost::json::array times;
  for (const Sample& sample : impl_->samples) {
    times.push_back(figure(sample.at_ms, 6));
  }
  boost::json::object timeline;
  timeline["t_ms"] = std::move(times);
  timeline["channel_bytes"] = moved_since_first(impl_->samples, &Sample::channels);
  timeline["port_bytes"] = moved_since_first(impl_->samples, &Sample::ports);
  return timeline;
}

}  // namespace godbox::app
