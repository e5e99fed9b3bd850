// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox_test/roce_world.h>

#include <algorithm>

namespace godbox::test {
namespace {

RoceEndOptions client_options() {
  RoceEndOptions options;
  options.mac = {2, 0, 0, 0, 0, 1};
  options.addresses = {roce::Gid::of_ipv4({10, 0, 0, 1})};
  options.box.super_nics = 1;
  options.box.dram_channels_per_super_nic = 1;
  options.box.seed = 77;
  options.seed = 78;
  return options;
}

}  // namespace

RoceWorld::RoceWorld(const RoceLinkOptions& link, const RoceEndOptions& box)
    : client_(client_options()),
      box_(box),
      link_(link),
      random_(link.seed),
      now_(std::max(client_.now(), box_.now())) {
  set_time(now_);
}

RoceWorld::Pair RoceWorld::connect(emulator::QueuePairOptions client,
                                   emulator::QueuePairOptions box,
                                   std::optional<std::uint32_t> first_psn) {
  const auto of_client = client_.port().allot_queue_pair();
  const auto of_box = box_.port().allot_queue_pair();
  GODBOX_ASSERT(of_client.has_value() && of_box.has_value());
  const roce::Psn client_psn = first_psn ? roce::Psn(*first_psn) : of_client->first_psn_sent;
  client.number = of_client->number;
  client.remote_number = of_box->number;
  client.first_psn_sent = client_psn;
  client.first_psn_received = of_box->first_psn_sent;
  client.path.destination = box_.port().options().mac;
  client.path.destination_ip = box_.port().options().addresses.front();
  client.path.source_ip = client_.port().options().addresses.front();
  box.number = of_box->number;
  box.remote_number = of_client->number;
  box.first_psn_sent = of_box->first_psn_sent;
  box.first_psn_received = client_psn;
  box.path.destination = client_.port().options().mac;
  box.path.destination_ip = client.path.source_ip;
  box.path.source_ip = client.path.destination_ip;
  GODBOX_ASSERT(client_.port().connect_queue_pair(client, now_) == Errc::ok);
  GODBOX_ASSERT(box_.port().connect_queue_pair(box, now_) == Errc::ok);
  return {of_client->number, of_box->number};
}

bool RoceWorld::happens(double share) {
  constexpr std::uint64_t kScale = 1U << 30U;
  return share > 0 && random_.below(kScale) < static_cast<std::uint64_t>(share * kScale);
}

bool RoceWorld::pump(bool from_client) {
  Bytes frame = (from_client ? client_ : box_).take_frame();
  if (frame.empty()) {
    return false;
  }
  carry(from_client, std::move(frame));
  return true;
}

void RoceWorld::carry(bool from_client, Bytes frame) {
  ++counters_.frames;
  if (watch && watch(from_client, frame)) {
    return;
  }
  if (happens(link_.lost)) {
    ++counters_.lost;
    return;
  }
  const bool is_doubled = happens(link_.doubled);
  counters_.doubled += is_doubled ? 1U : 0U;
  for (int copy = is_doubled ? 2 : 1; copy > 0; --copy) {
    Arrival arrival{
        .at = now_ + link_.delay, .order = order_++, .to_client = !from_client, .frame = frame};
    if (link_.jitter > Duration(0)) {
      arrival.at += Duration(static_cast<std::int64_t>(
          random_.below(static_cast<std::uint64_t>(link_.jitter.count()))));
    }
    if (happens(link_.damaged)) {
      ++counters_.damaged;
      const std::uint64_t bit = random_.below(frame.size() * 8);
      arrival.frame[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    }
    counters_.overtaken += arrival.at < last_arrival_ ? 1U : 0U;
    last_arrival_ = std::max(last_arrival_, arrival.at);
    arrivals_.push(std::move(arrival));
  }
}

void RoceWorld::set_time(TimePoint now) {
  now_ = now;
  client_.box().clock().set(now);
  box_.box().clock().set(now);
}

bool RoceWorld::run_until(const std::function<bool()>& done, Duration limit) {
  const TimePoint until = now_ + limit;
  for (;;) {
    while (pump(true) || pump(false)) {
    }
    if (done()) {
      return true;
    }
    const TimePoint next = std::min({arrivals_.empty() ? kNever : arrivals_.top().at,
                                     client_.next_deadline(), box_.next_deadline()});
    if (next > until) {
      set_time(until);
      return false;
    }
    set_time(std::max(now_, next));
    while (!arrivals_.empty() && arrivals_.top().at <= now_) {
      const Arrival arrival = arrivals_.top();
      arrivals_.pop();
      (arrival.to_client ? client_ : box_).on_frame(arrival.frame);
    }
    for (RoceEnd* const end : {&client_, &box_}) {
      end->on_timer();
    }
  }
}

emulator::WorkStatus RoceWorld::run(const Pair& pair, const emulator::SendRequest& request) {
  GODBOX_ASSERT(client_.port().post_send(pair.client, request) == Errc::ok);
  std::optional<emulator::SendCompletion> completion;
  const bool is_done = run_until([&] {
    completion = client_.port().take_completed(pair.client);
    return completion.has_value();
  });
  GODBOX_ASSERT(is_done && completion->id == request.id);
  return completion->status;
}

}  // namespace godbox::test
