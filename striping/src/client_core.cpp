// SPDX-License-Identifier: Apache-2.0
#include "client_core.h"

#include <godbox/assert.h>

#include <fmt/format.h>

#include <algorithm>

namespace godbox::striping {

namespace {

// Longer calls are as good as endless, and would overflow when added to the time.
constexpr Duration kTimeoutMax = std::chrono::hours(24 * 365);
// Time for requests whose answer nobody waits for.
constexpr Duration kTellTimeout = std::chrono::seconds(5);

}  // namespace

ClientCore::ClientCore(StreamNetwork& network, ClientOptions options)
    : network_(network), options_(std::move(options)), self_(std::make_shared<ClientCore*>(this)) {
  options_.timeout = std::clamp(options_.timeout, Duration(0), kTimeoutMax);
}

ClientCore::~ClientCore() {
  GODBOX_ASSERT(!is_stepping_);  // a callback has destroyed its client
  close();
  *self_ = nullptr;
  executor_.reset();
  transport_.reset();
}

void ClientCore::close() {
  if (closing_) {
    return;
  }
  closing_ = true;
  lose(Errc::cancelled);
  if (control_ != nullptr) {
    control_->give_up_session(now());
    network_.close(connection_);  // ends the session, as a goodbye would
  }
  // Nothing new is taken in, and what was is but a few steps from its end, each of them due now.
  while (operations_ > 0) {
    const bool deferred = run_deferred();
    const bool timed = run_timers();
    GODBOX_ASSERT(deferred || timed || operations_ == 0);
  }
  // Callbacks that submit again would go on for ever: their calls are answered, and what those
  // answers submit in turn is not.
  answers_late_ = false;
  for (const std::function<void(Errc)>& answer : std::exchange(late_, {})) {
    answer(Errc::cancelled);
  }
}

void ClientCore::refuse_operation(std::function<void(Errc)> answer) {
  if (!closing_ || late_.size() >= Client::kOperationsMax) {
    answer(Errc::queue_full);
  } else if (answers_late_) {
    late_.push_back(std::move(answer));
  }
}

std::uint32_t ClientCore::lease_ms() const {
  const auto wanted = std::chrono::duration_cast<std::chrono::milliseconds>(options_.lease).count();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(wanted, 0, UINT32_MAX));
}

Result<void> ClientCore::check_options() const {
  if (options_.tenant.size() > wire::kNameBytesMax) {
    return Error(Errc::invalid_argument, "tenant: the name is too long");
  }
  if (options_.lease != Duration(0) && options_.lease <= options_.lease_margin) {
    return Error(
        Errc::invalid_argument,
        fmt::format("lease is {} ms; more than lease_margin, {} ms, or 0 for none is allowed",
                    std::chrono::duration<double, std::milli>(options_.lease).count(),
                    std::chrono::duration<double, std::milli>(options_.lease_margin).count()));
  }
  return {};
}

Result<void> ClientCore::open(const StreamAddress& address,
                              const Client::TransportFactory& make_transport) {
  const Result<void> usable = check_options();
  if (!usable || make_transport == nullptr) {
    return usable ? Error(Errc::invalid_argument, "no transport factory given") : usable.error();
  }
  const TimePoint deadline = call_deadline();
  Result<void> done = open_session(address, deadline);
  if (done) {
    done = learn_box(deadline);
  }
  if (!done) {
    return done;
  }
  const Client::TransportContext context{
      .network = network_,
      .session = control_->session(),
      .box = box_,
      .control = *control_,
      .control_connection = connection_,
      .ask =
          [this](wire::Op op, const wire::Body& body, native::ControlClient::OnReply on_reply) {
            send(op, body, call_deadline(), std::move(on_reply));
          },
      .layout_of = [this](SlabId slab) -> Result<SlabLayout> {
        const SlabLayout* known = find_layout(slab);
        if (known == nullptr) {
          return Error(Errc::not_found, fmt::format("slab {} is not known", slab.value()));
        }
        return *known;
      }};
  Result<std::unique_ptr<Transport>> made = make_transport(context);
  if (!made) {
    return made.error();
  }
  transport_ = std::move(*made);
  ExecutorOptions executor_options;
  executor_options.policy = options_.lane_policy;
  executor_options.super_nic_of = [this](PoolAddress at) { return super_nic_of(at); };
  executor_ =
      std::make_unique<Executor>(*transport_, network_.clock(), std::move(executor_options));
  return {};
}

Result<void> ClientCore::open_session(const StreamAddress& address, TimePoint deadline) {
  control_ = std::make_unique<native::ControlClient>(
      options_.tenant,
      [&network = network_](std::span<const int> left) { network.close_descriptors(left); });
  control_address_ = address;
  connection_ = network_.connect(address, *control_);
  while (!control_->is_open() && !control_->is_closed()) {
    if (now() >= deadline) {
      return Error(Errc::deadline_exceeded, "no session in time");
    }
    network_.run_until(deadline);
  }
  if (control_->is_closed()) {
    const Errc reason = control_->close_reason();
    return Error(reason == Errc::ok ? Errc::connect_failed : reason, "no connection");
  }
  return {};
}

Result<void> ClientCore::learn_box(TimePoint deadline) {
  std::optional<Result<wire::InfoReply>> answer;
  request<wire::InfoReply>(wire::Op::info, {}, deadline,
                           [&answer](Result<wire::InfoReply> reply) { answer = std::move(reply); });
  drive_until([&answer] { return answer.has_value(); });
  if (!*answer) {
    return answer->error();
  }
  box_ = std::move(**answer);
  return {};
}

Error ClientCore::error_reply(Errc status, ConstSpan body) const {
  if (status == Errc::session_lost) {
    return lost_error();
  }
  Result<wire::TextReply> text = body.empty() ? Error(status) : wire::decode<wire::TextReply>(body);
  return Error(status, text ? std::move(text->text) : std::string());
}

Error ClientCore::lost_error() const {
  const Errc status = lost_status(Errc::session_lost);
  return Error(status, status == Errc::session_lost
                           ? "the session with the box has ended: connect again, and drive the "
                             "client at least every third of session_timeout_ms"
                           : "");
}

void ClientCore::send(wire::Op op, const wire::Body& body, TimePoint deadline,
                      native::ControlClient::OnReply on_reply) {
  if (lost_ != Errc::ok) {
    on_reply(Errc::session_lost, {});
    return;
  }
  control_->request(op, body, now(), deadline, std::move(on_reply));
  network_.kick(connection_);
}

void ClientCore::tell(wire::Op op, const wire::Body& body) {
  send(op, body, now() + kTellTimeout, [](Errc, ConstSpan) {});
}

void ClientCore::run_batch(std::span<const Transfer> transfers, TimePoint deadline,
                           const CallOptions& options, OnBatch then) {
  const std::uint64_t number = next_batch_++;
  Result<BatchId> submitted = Error(lost_);
  if (lost_ == Errc::ok) {
    submitted = executor_->submit(
        transfers, deadline,
        [this, number, then](std::span<const Errc> statuses) {
          batches_.erase(number);
          if (lost_ == Errc::ok) {
            then(statuses);
            return;
          }
          std::vector<Errc> mapped(statuses.begin(), statuses.end());
          std::replace(mapped.begin(), mapped.end(), Errc::cancelled, lost_);
          then(mapped);
        },
        options.traffic_class);
  }
  if (submitted) {
    batches_.emplace(number, *submitted);
    return;
  }
  defer([then = std::move(then), count = transfers.size(), code = submitted.error().code] {
    then(std::vector<Errc>(count, code));
  });
}

const SlabLayout* ClientCore::find_layout(SlabId slab) const {
  const auto found = slabs_.find(slab);
  return found == slabs_.end() ? nullptr : &found->second.layout;
}

Result<SuperNicId> ClientCore::super_nic_of(PoolAddress address) const {
  const SlabLayout* layout = find_layout(address.slab);
  if (layout == nullptr) {
    return Error(Errc::not_found, fmt::format("slab {} is not known", address.slab.value()));
  }
  if (address.offset.count() >= layout->capacity().count()) {
    return Error(Errc::out_of_range, fmt::format("offset {} is beyond slab {}",
                                                 address.offset.count(), address.slab.value()));
  }
  const std::size_t index = layout->locate(address.offset).dram_channel.value();
  if (index >= box_.dram_channel_super_nic.size()) {
    return Error(Errc::protocol_error, fmt::format("the box told of no DRAM channel {}", index));
  }
  return box_.dram_channel_super_nic[index];
}

// What is still to be answered before a learn_slabs() can go on.
struct ClientCore::SlabQuestion {
  std::shared_ptr<SlabHold> hold;
  std::size_t replies_left = 0;
  Errc status = Errc::ok;
  OnSlabs then;
};

void ClientCore::learn_slabs(std::span<const Extent> extents, TimePoint deadline, OnSlabs then) {
  std::vector<SlabId> slabs;
  for (const Extent& extent : extents) {
    if (slabs.empty() || slabs.back() != extent.address.slab) {
      slabs.push_back(extent.address.slab);
    }
  }
  std::sort(slabs.begin(), slabs.end());
  slabs.erase(std::unique(slabs.begin(), slabs.end()), slabs.end());
  auto hold = std::make_shared<SlabHold>(self_);
  std::vector<SlabId> unknown;
  for (const SlabId slab : slabs) {
    if (!hold_slab(slab, *hold)) {
      unknown.push_back(slab);
    }
  }
  if (unknown.empty()) {
    then(Errc::ok, std::move(hold));
    return;
  }
  auto question = std::make_shared<SlabQuestion>();
  question->hold = std::move(hold);
  question->replies_left = (unknown.size() + kSlabsPerRequestMax - 1) / kSlabsPerRequestMax;
  question->then = std::move(then);
  ask_for_slabs(question, unknown, deadline);
}

void ClientCore::ask_for_slabs(const std::shared_ptr<SlabQuestion>& question,
                               std::span<const SlabId> unknown, TimePoint deadline) {
  for (std::size_t first = 0; first < unknown.size(); first += kSlabsPerRequestMax) {
    const auto part = unknown.subspan(first, std::min(kSlabsPerRequestMax, unknown.size() - first));
    wire::SlabIdsRequest asked{{part.begin(), part.end()}};
    const wire::Body body = wire::encode(asked);
    request<wire::SlabsReply>(
        wire::Op::describe_slabs, body, deadline,
        [this, question, ids = std::move(asked.ids)](const Result<wire::SlabsReply>& reply) {
          const Errc status = reply ? take_slabs(ids, *reply, *question->hold) : reply.error().code;
          question->status = question->status == Errc::ok ? status : question->status;
          question->replies_left -= 1;
          if (question->replies_left == 0) {
            question->then(question->status, std::move(question->hold));
          }
        });
  }
}

// `asked` is sorted. What comes is held at once, or the next might take its place.
Errc ClientCore::take_slabs(std::span<const SlabId> asked, const wire::SlabsReply& reply,
                            SlabHold& hold) {
  for (const wire::SlabRecord& record : reply.slabs) {
    const auto known = slabs_.find(record.id);
    if (!std::binary_search(asked.begin(), asked.end(), record.id) ||
        (known != slabs_.end() && known->second.layout.record() != record)) {
      return Errc::protocol_error;  // what a slab's id stands for never changes
    }
    if (known == slabs_.end()) {
      Result<SlabLayout> layout = SlabLayout::create(record);
      if (!layout) {
        return Errc::protocol_error;
      }
      if (slabs_.size() >= kSlabLayoutsMax) {
        forget_slabs();
      }
      if (slabs_.size() >= kSlabLayoutsMax) {
        return Errc::queue_full;
      }
      slabs_.emplace(record.id, KnownSlab{.layout = std::move(*layout)});
    }
    hold_slab(record.id, hold);
  }
  // Also what the answer left out and another operation has learned meanwhile: an operation goes
  // on only over slabs that it holds.
  for (const SlabId slab : asked) {
    if (std::ranges::find(reply.slabs, slab, &wire::SlabRecord::id) == reply.slabs.end()) {
      static_cast<void>(hold_slab(slab, hold));
    }
  }
  return Errc::ok;
}

bool ClientCore::knows_slabs_of(std::span<const Extent> extents) const {
  return std::all_of(extents.begin(), extents.end(), [this](const Extent& extent) {
    return find_layout(extent.address.slab) != nullptr;
  });
}

bool ClientCore::hold_slab(SlabId slab, SlabHold& hold) {
  const auto known = slabs_.find(slab);
  if (known == slabs_.end()) {
    return false;
  }
  known->second.holds += 1;
  known->second.was_used = true;
  hold.add(slab);
  return true;
}

void ClientCore::release_slabs(std::span<const SlabId> slabs) {
  for (const SlabId slab : slabs) {
    slabs_.at(slab).holds -= 1;
  }
}

// First what was not used since this was last called; all that nobody holds, if there is no such.
void ClientCore::forget_slabs() {
  const std::size_t before = slabs_.size();
  std::erase_if(
      slabs_, [](const auto& entry) { return entry.second.holds == 0 && !entry.second.was_used; });
  for (auto& [id, known] : slabs_) {
    known.was_used = false;
  }
  if (slabs_.size() == before) {
    std::erase_if(slabs_, [](const auto& entry) { return entry.second.holds == 0; });
  }
}

void ClientCore::release_leases(std::vector<LeaseId> leases) {
  for (std::size_t first = 0; first < leases.size(); first += wire::kBatchItemsMax) {
    wire::LeasesRequest body;
    const std::size_t last = std::min<std::size_t>(first + wire::kBatchItemsMax, leases.size());
    body.leases.assign(leases.begin() + static_cast<std::ptrdiff_t>(first),
                       leases.begin() + static_cast<std::ptrdiff_t>(last));
    tell(wire::Op::release, wire::encode(body));
  }
}

std::shared_ptr<LeaseHold> ClientCore::hold_leases(std::vector<LeaseId> leases) {
  return std::make_shared<LeaseHold>(self_, std::move(leases));
}

void ClientCore::lose(Errc reason) {
  if (lost_ != Errc::ok) {
    return;
  }
  lost_ = reason;
  while (!batches_.empty()) {
    const BatchId batch = batches_.begin()->second;
    const std::uint64_t number = batches_.begin()->first;
    executor_->cancel(batch);
    batches_.erase(number);  // its callback did so already, unless it runs right now
  }
}

bool ClientCore::run_deferred() {
  // What they defer in turn waits for the next round, so that this one ends.
  const std::size_t count = deferred_.size();
  for (std::size_t i = 0; i < count && !deferred_.empty(); ++i) {
    const std::function<void()> action = std::move(deferred_.front());
    deferred_.pop_front();
    action();
  }
  return count > 0;
}

bool ClientCore::run_timers() {
  if (timers_.empty()) {
    return false;
  }
  const TimePoint time = now();
  bool any = false;
  for (std::size_t i = 0; i < timers_.size();) {
    if (timers_[i].when > time && lost_ == Errc::ok) {
      ++i;
      continue;
    }
    const std::function<void()> action = std::move(timers_[i].action);
    timers_.erase(timers_.begin() + static_cast<std::ptrdiff_t>(i));
    action();
    any = true;
  }
  return any;
}

bool ClientCore::step() {
  const bool is_outermost = !std::exchange(is_stepping_, true);
  bool any = false;
  if (lost_ == Errc::ok) {
    any |= mind_control();
  }
  any |= run_deferred();
  any |= run_timers();
  if (executor_ != nullptr && lost_ == Errc::ok) {
    any |= executor_->progress();
    any |= transport_->progress();
  }
  is_stepping_ = !is_outermost;
  return any;
}

TimePoint ClientCore::next_wake() const {
  if (!deferred_.empty()) {
    return now();
  }
  TimePoint wake = kNever;
  if (executor_ != nullptr && lost_ == Errc::ok) {
    wake = executor_->next_deadline();
    if (const Duration pause = transport_->poll_pause(); pause != Duration::max()) {
      wake = std::min(wake, now() + pause);
    }
  }
  for (const Timer& timer : timers_) {
    wake = std::min(wake, timer.when);
  }
  return std::min(wake, control_wake());
}

bool ClientCore::progress(TimePoint until) {
  const bool is_outermost = !is_stepping_;
  if (is_outermost && executor_ != nullptr && left_at_) {
    executor_->on_away(now() - *left_at_);
  }
  const bool any = drive(until);
  if (is_outermost) {
    left_at_ = now();
  }
  return any;
}

bool ClientCore::drive(TimePoint until) {
  bool any = step();
  while (!closing_) {
    const TimePoint wait_until = any ? now() : std::min(until, next_wake());
    any |= network_.run_until(wait_until) > 0;
    any |= step();
    if (any || now() >= until) {
      return any;
    }
  }
  return any;
}

bool are_valid(std::span<const LocalSegment> pieces) {
  return std::all_of(pieces.begin(), pieces.end(), [](const LocalSegment& piece) {
    return piece.size_bytes == 0 || piece.data != nullptr;
  });
}

std::uint64_t total_bytes(std::span<const LocalSegment> pieces) {
  std::uint64_t total = 0;
  for (const LocalSegment& piece : pieces) {
    if (__builtin_add_overflow(total, piece.size_bytes, &total)) {
      return std::numeric_limits<std::uint64_t>::max();
    }
  }
  return total;
}

std::uint64_t total_bytes(std::span<const Extent> extents) {
  std::uint64_t total = 0;
  for (const Extent& extent : extents) {
    total += extent.length_bytes;
  }
  return total;
}

}  // namespace godbox::striping
