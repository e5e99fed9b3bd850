// SPDX-License-Identifier: Apache-2.0
#include "model/box/box_engine.h"

namespace godbox::emulator::model {

std::optional<BoxCompletion> BoxEngine::next(std::uint64_t until_ps, std::uint64_t events_max) {
  is_on_its_way_ = false;
  for (std::uint64_t events = 0; completions_.empty(); ++events) {
    const std::uint64_t at_ps = order_.first_key();
    if (at_ps > until_ps || at_ps == EventOrder::kNever) {
      now_ps_ = std::max(now_ps_, at_ps == EventOrder::kNever ? now_ps_ : until_ps);
      return std::nullopt;
    }
    if (events == events_max) {
      is_on_its_way_ = true;
      return std::nullopt;
    }
    now_ps_ = at_ps;
    run_event(order_.first());
  }
  const BoxCompletion completion = completions_.front();
  completions_.pop();
  return completion;
}

void BoxEngine::run_event(std::size_t stream) {
  if (stream == 0) {
    begin_request();
    return;
  }
  std::size_t number = stream - 1;
  if (number < channels_) {
    pass_dram(number);
  } else if ((number -= channels_) < channels_) {
    leave_link(number);
  } else if ((number -= channels_) < ports_) {
    enter_nic(number);
  } else if ((number -= ports_) < nics_) {
    enter_port(number);
  } else if ((number -= nics_) < ports_) {
    enter_path(number);
  } else {
    enter_dram(number - ports_);
  }
}

// --- What a request is cut into. ---

void BoxEngine::begin_request() {
  const std::uint32_t index = submitted_.top().request;
  const std::uint64_t at_ps = submitted_.top().at_ps;
  Strip strip{.times = {at_ps, at_ps}, .request = index};
  submitted_.pop();
  order_.set(0, submitted_.empty() ? EventOrder::kNever : submitted_.top().at_ps);
  Request& request = requests_[index];
  request.bound_by =
      bounds_->book(request.asked, at_ps, 2 * half_way_ps_[request.asked.is_write ? 1 : 0]);
  const std::uint32_t ways = request.asked.is_write ? nics_per_host_ : channels_;
  for (std::uint32_t i = 0; i < std::min(ways, request.strips); ++i) {
    strip.index = i;
    if (request.asked.is_write) {
      const std::size_t nic = std::size_t{request.asked.host} * nics_per_host_ + i;
      to_send_[nic].push_back(strip);
      if (to_port_[nic].empty()) {
        send_next(nic);
      }
    } else {
      const std::size_t channel = (request.asked.first_channel + i) % channels_;
      dram_[channel].push_back(strip);
      set_dram_next(channel);
    }
  }
}

// --- Read: DRAM, link, path, port, NIC, PCIe. ---

// What is to be written and has nothing before it needs no event: nobody waits for its turn to end.
void BoxEngine::set_dram_next(std::size_t channel) {
  Queue& queue = dram_[channel];
  while (!queue.empty() && requests_[queue.front().request].asked.is_write) {
    Strip strip = queue.front();
    queue.pop_front();
    pass(kDram, channel, strip, true);
    finish(strip, true);
  }
  order_.set(1 + channel, queue.empty() ? EventOrder::kNever
                                        : std::max(queue.front().times.head_ps,
                                                   stages_[kDram].servers[channel].free_ps));
}

void BoxEngine::pass_dram(std::size_t channel) {
  // The queue has a read's strips of this channel as one.
  Queue& queue = dram_[channel];
  Strip strip = queue.front();
  const Request& request = requests_[strip.request];
  queue.front().index += channels_;
  if (queue.front().index >= request.strips) {
    queue.pop_front();
  }
  strip.bytes = bytes_of(request, strip.index);
  strip.channel = static_cast<std::uint16_t>(channel);
  strip.nic = static_cast<std::uint16_t>(request.asked.host * nics_per_host_ +
                                         strip.index % nics_per_host_);
  pass(kDram, channel, strip, false);
  pass(kLinkRead, channel, strip, false);
  append(1 + channels_ + channel, to_path_[channel], strip);
  set_dram_next(channel);
}

void BoxEngine::leave_link(std::size_t channel) {
  Strip strip = to_path_[channel].front();
  to_path_[channel].pop_front();
  set_next(1 + channels_ + channel, to_path_[channel]);
  const std::size_t port = take_port(strip, false);
  pass(kPathRead, channel / channels_per_super_nic_, strip, false);
  pass(kPortRead, port, strip, false);
  append(1 + 2 * channels_ + port, to_nic_[port], strip);
}

void BoxEngine::enter_nic(std::size_t port) {
  Strip strip = to_nic_[port].front();
  to_nic_[port].pop_front();
  set_next(1 + 2 * channels_ + port, to_nic_[port]);
  pass(kNicRead, strip.nic, strip, false);
  pass(kPcieRead, strip.nic, strip, false);
  finish(strip, false);
}

// --- Write: the other way. ---

void BoxEngine::send_next(std::size_t nic) {
  if (to_send_[nic].empty()) {
    return;
  }
  Strip strip = to_send_[nic].front();
  const Request& request = requests_[strip.request];
  to_send_[nic].front().index += nics_per_host_;
  if (to_send_[nic].front().index >= request.strips) {
    to_send_[nic].pop_front();
  }
  strip.bytes = bytes_of(request, strip.index);
  strip.channel =
      static_cast<std::uint16_t>((request.asked.first_channel + strip.index) % channels_);
  pass(kPcieWrite, nic, strip, true);
  pass(kNicWrite, nic, strip, true);
  append(1 + 2 * channels_ + ports_ + nic, to_port_[nic], strip);
}

void BoxEngine::enter_port(std::size_t nic) {
  Strip strip = to_port_[nic].front();
  to_port_[nic].pop_front();
  set_next(1 + 2 * channels_ + ports_ + nic, to_port_[nic]);
  send_next(nic);
  const std::size_t port = take_port(strip, true);
  pass(kPortWrite, port, strip, true);
  append(1 + 2 * channels_ + ports_ + nics_ + port, to_path_in_[port], strip);
}

void BoxEngine::enter_path(std::size_t port) {
  Strip strip = to_path_in_[port].front();
  to_path_in_[port].pop_front();
  const std::size_t base = 1 + 2 * channels_ + ports_ + nics_;
  set_next(base + port, to_path_in_[port]);
  pass(kPathWrite, port / ports_per_super_nic_, strip, true);
  pass(kLinkWrite, strip.channel, strip, true);
  append(base + ports_ + strip.channel, to_dram_[strip.channel], strip);
}

void BoxEngine::enter_dram(std::size_t channel) {
  Strip strip = to_dram_[channel].front();
  to_dram_[channel].pop_front();
  set_next(1 + 2 * channels_ + 2 * ports_ + nics_ + channel, to_dram_[channel]);
  if (dram_[channel].empty()) {
    pass(kDram, channel, strip, true);
    finish(strip, true);
  } else {
    dram_[channel].push_back(strip);
  }
}

// --- Both. ---

void BoxEngine::finish(const Strip& strip, bool is_write) {
  const std::size_t flow = is_write ? 1 : 0;
  Request& request = requests_[strip.request];
  const std::uint64_t end_ps = strip.times.tail_ps + half_way_ps_[flow];
  const std::size_t second = end_ps / kSecondPs;
  std::vector<std::uint64_t>& seconds = second_bytes_[flow];
  if (second >= seconds.size()) {
    seconds.resize(second + 1);
  }
  seconds[second] += strip.bytes;
  bytes_[flow] += strip.bytes;
  ++strips_done_;
  --strips_waiting_;
  end_ps_ = std::max(end_ps_, end_ps);
  request.end_ps = std::max(request.end_ps, end_ps);
  if (--request.left == 0) {
    completions_.push(
        {request.asked.id, request.asked.at_ps, request.end_ps, is_write, request.bound_by});
    unused_.push_back(strip.request);
  }
}

}  // namespace godbox::emulator::model
