// SPDX-License-Identifier: Apache-2.0
//
// The events of a box in virtual time (box_run.h): a strip is an event where it comes to a DRAM
// channel, and where strips of several ways meet: at a SuperNIC's path, a port, a host's NIC. What
// follows one upon the other without a meeting is computed at once. Thread-safety: none.
// Ownership: values. Units: in the names. Errors: as box_run.h.
#pragma once

#include "model/box/box_stage.h"
#include "model/box/event_order.h"
#include "model/box/request_bounds.h"
#include <godbox/emulator/model/box_run.h>
#include <godbox/ring_queue.h>

#include <functional>
#include <queue>

namespace godbox::emulator::model {

inline constexpr std::uint64_t kSecondPs = 1'000'000'000'000;

// A strip on its way; in a DRAM channel's queue also the strips of a read that are yet to come.
struct Strip {
  Times times;
  std::uint32_t request = 0;  // index of requests_
  std::uint32_t index = 0;
  std::uint32_t bytes = 0;
  std::uint16_t channel = 0;
  std::uint16_t nic = 0;
};

struct Request {
  BoxRequest asked;
  std::uint32_t strips = 0;
  std::uint32_t last_bytes = 0;
  std::uint32_t left = 0;
  std::uint64_t end_ps = 0;
  std::optional<StageIndex> bound_by;
};

struct Submission {
  std::uint64_t at_ps;
  std::uint64_t number;
  std::uint32_t request;
  bool operator>(const Submission& other) const {
    return at_ps != other.at_ps ? at_ps > other.at_ps : number > other.number;
  }
};

class BoxEngine {
 public:
  explicit BoxEngine(const BoxRunSpec& spec);

  Result<void> submit(const BoxRequest& request);
  std::optional<BoxCompletion> next(std::uint64_t until_ps, std::uint64_t events_max);
  [[nodiscard]] bool is_on_its_way() const { return is_on_its_way_; }
  [[nodiscard]] std::uint64_t now_ps() const { return now_ps_; }
  [[nodiscard]] BoxLoadFigures figures() const;
  // From the closed form's stages.
  Result<void> set_stages();

 private:
  using Queue = RingQueue<Strip>;

  void set_bounds();
  void set_flow(const TransferFigures& closed, bool is_write);
  void set_stage(StageIndex index, std::size_t servers, const StageFigures& figures, BoxFlow flow,
                 bool is_write, double passes_on_bytes);
  void pass(StageIndex stage, std::size_t server, Strip& strip, bool is_write) {
    Stage& at = stages_[stage];
    ++at.strips;
    strip.times =
        at.servers[server].pass(strip.times, services_[stage][is_write ? 1 : 0], strip.bytes);
  }
  void set_next(std::size_t stream, Queue& queue) {
    order_.set(stream, queue.empty() ? EventOrder::kNever : queue.front().times.head_ps);
  }
  void append(std::size_t stream, Queue& queue, const Strip& strip) {
    const bool was_empty = queue.empty();
    queue.push_back(strip);
    if (was_empty) {
      order_.set(stream, strip.times.head_ps);
    }
  }
  [[nodiscard]] std::uint32_t bytes_of(const Request& request, std::uint32_t index) const {
    return index + 1 == request.strips ? request.last_bytes : strip_bytes_;
  }
  std::size_t take_port(const Strip& strip, bool is_write) {
    const std::size_t super_nic = strip.channel / channels_per_super_nic_;
    std::uint32_t& turn = turns_[is_write ? 1 : 0][super_nic];
    const std::size_t port = super_nic * ports_per_super_nic_ + turn;
    turn = turn + 1 == ports_per_super_nic_ ? 0 : turn + 1;
    port_bytes_[is_write ? 1 : 0][port] += strip.bytes;
    return port;
  }
  void set_dram_next(std::size_t channel);
  void run_event(std::size_t stream);
  void begin_request();
  void pass_dram(std::size_t channel);
  void leave_link(std::size_t channel);
  void enter_nic(std::size_t port);
  void send_next(std::size_t nic);
  void enter_port(std::size_t nic);
  void enter_path(std::size_t port);
  void enter_dram(std::size_t channel);
  void finish(const Strip& strip, bool is_write);
  void count_channels(const BoxRequest& request);

  BoxRunSpec spec_;
  // In step all of these are 1 but the hosts.
  std::uint32_t channels_;
  std::uint32_t channels_per_super_nic_;
  std::uint32_t ports_;
  std::uint32_t ports_per_super_nic_;
  std::uint32_t nics_;
  std::uint32_t nics_per_host_;
  std::uint32_t strip_bytes_;
  std::uint32_t stripe_bytes_;

  std::optional<RequestBounds> bounds_;  // once there are stages
  std::array<Stage, kStages> stages_;
  std::array<std::array<Service, 2>, kStages> services_;  // by is_write
  // Half of all delays there and back, for each end of a way: where a delay lies between queues
  // does not matter to who waits how long.
  std::array<std::uint64_t, 2> half_way_ps_{};

  std::vector<Request> requests_;
  std::vector<std::uint32_t> unused_;
  std::uint64_t strips_waiting_ = 0;
  std::uint64_t strips_done_ = 0;
  std::uint64_t submissions_ = 0;
  std::priority_queue<Submission, std::vector<Submission>, std::greater<>> submitted_;
  std::queue<BoxCompletion> completions_;

  // Streams of events, each sorted by its strips' heads; their numbers in order_ in this order,
  // behind that of submitted_.
  std::vector<Queue> dram_;        // by channel: asked of it
  std::vector<Queue> to_path_;     // by channel: read, through the link
  std::vector<Queue> to_nic_;      // by port: read, sent
  std::vector<Queue> to_port_;     // by NIC: written; those that are sent, at most one
  std::vector<Queue> to_path_in_;  // by port: written, received
  std::vector<Queue> to_dram_;     // by channel: written, through the link
  std::vector<Queue> to_send_;     // by NIC: writes with strips that are not sent; no stream
  std::array<std::vector<std::uint32_t>, 2> turns_;
  EventOrder order_;

  std::uint64_t now_ps_ = 0;
  bool is_on_its_way_ = false;
  std::uint64_t end_ps_ = 0;
  std::array<std::uint64_t, 2> bytes_{};  // by is_write, as the others
  std::array<std::vector<std::uint64_t>, 2> channel_bytes_;
  std::array<std::vector<std::uint64_t>, 2> port_bytes_;
  std::array<std::vector<std::uint64_t>, 2> second_bytes_;
};

}  // namespace godbox::emulator::model
