// SPDX-License-Identifier: Apache-2.0
#include "model/rack/rack_engine.h"

#include <algorithm>
#include <bit>

namespace godbox::emulator::model {

namespace {
constexpr std::uint64_t kEventsBetweenLooks = 65536;
}

Result<void> RackEngine::run(const GoesOn& goes_on) {
  if (spec_.load.requests > 0) {
    schedule({.at_ps = rounded(random_.exponential(arrival_mean_ps_))});
  }
  if (spec_.loss.part != RackPart::none) {
    const std::uint64_t at_ps = rounded(spec_.loss.at_s * kPsPerSecond);
    schedule({.at_ps = at_ps, .what = What::loss});
    schedule({.at_ps = at_ps + rounded(shape_.spec.notice_ms * 1e9), .what = What::notice});
  }
  for (std::uint64_t events = 0; order_.first_key() != EventOrder::kNever; ++events) {
    now_ps_ = order_.first_key();
    run_event(order_.first());
    if (events % kEventsBetweenLooks == 0 && goes_on && !goes_on(arrived_)) {
      return Error(Errc::cancelled, "stopped");
    }
  }
  return {};
}

void RackEngine::run_event(std::size_t stream) {
  if (stream < base_.dram) {
    run_timed();
  } else if (stream < base_.to_up) {
    read_dram(stream - base_.dram);
  } else if (stream < base_.to_down) {
    leave_box(stream - base_.to_up);
  } else if (stream < base_.to_host) {
    leave_spine_to_hosts(stream - base_.to_down);
  } else if (stream < base_.sent) {
    enter_host(stream - base_.to_host);
  } else if (stream < base_.to_down_in) {
    leave_host(stream - base_.sent);
  } else if (stream < base_.to_box) {
    leave_spine_to_boxes(stream - base_.to_down_in);
  } else if (stream < base_.to_dram) {
    enter_box(stream - base_.to_box);
  } else {
    enter_dram(stream - base_.to_dram);
  }
}

// --- What is asked. ---

void RackEngine::schedule(Timed timed) {
  timed.number = timed_number_++;
  timed_.push(timed);
  order_.set(0, timed_.top().at_ps);
}

void RackEngine::run_timed() {
  const Timed timed = timed_.top();
  timed_.pop();
  order_.set(0, timed_.empty() ? EventOrder::kNever : timed_.top().at_ps);
  switch (timed.what) {
    case What::arrival:
      arrive();
      break;
    case What::loss:
      lose();
      break;
    case What::notice:
      notice();
      break;
    case What::recomputed: {
      if (!host_lives_[timed.host]) {
        ++figures_.given_up;
        break;
      }
      const BlockPlaces places = rendezvous_places(timed.block, known_boxes_, 1);
      Flight flight{.asked_ps = timed.asked_ps,
                    .end_ps = now_ps_,
                    .block = timed.block,
                    .host = timed.host,
                    .box = places.boxes[0],
                    .is_disturbed = timed.is_disturbed};
      complete(flight, RackOutcome::recomputed);
      restore(timed.block, timed.host);
      break;
    }
  }
}

void RackEngine::arrive() {
  if (++arrived_ < spec_.load.requests) {
    schedule({.at_ps = now_ps_ + rounded(random_.exponential(arrival_mean_ps_))});
  }
  const auto host = static_cast<std::uint32_t>(random_.below(shape_.spec.hosts));
  const bool is_read = random_.uniform() < spec_.load.read_share;
  const std::uint64_t block = is_read ? pick_block() : spec_.load.set.blocks + puts_++;
  if (!host_lives_[host]) {
    ++figures_.given_up;
  } else if (is_read) {
    read({.host = host, .block = block, .asked_ps = now_ps_});
  } else {
    put(Kind::put, host, block, now_ps_, rendezvous_places(block, known_boxes_, 1).boxes[0], false);
  }
}

std::uint64_t RackEngine::pick_block() {
  if (popularity_.empty()) {
    return random_.below(spec_.load.set.blocks);
  }
  const double at = random_.uniform() * popularity_.back();
  const auto found = std::upper_bound(popularity_.begin(), popularity_.end(), at);
  return static_cast<std::uint64_t>(std::min(found, popularity_.end() - 1) - popularity_.begin());
}

std::uint32_t RackEngine::copies_of(std::uint64_t block) const {
  return block < spec_.load.set.hot_blocks ? spec_.load.set.hot_copies : 1;
}

// Of several copies one by chance: it spreads what all hosts ask for, and none has to know of
// another one's load.
void RackEngine::read(const Timed& asked) {
  const BoxMask holders = holders_[asked.block] & known_boxes_;
  if (holders == 0) {
    Timed recomputed = asked;
    recomputed.at_ps = now_ps_ + recompute_ps_;
    recomputed.what = What::recomputed;
    schedule(recomputed);
    return;
  }
  const auto copies = static_cast<std::uint32_t>(std::popcount(holders));
  BoxMask left = holders;
  for (std::uint64_t skip = copies > 1 ? random_.below(copies) : 0; skip > 0; --skip) {
    left &= left - 1;
  }
  const std::uint32_t index = new_flight({.asked_ps = asked.asked_ps,
                                          .block = asked.block,
                                          .host = asked.host,
                                          .box = static_cast<std::uint8_t>(std::countr_zero(left)),
                                          .kind = Kind::read,
                                          .is_disturbed = asked.is_disturbed});
  enqueue(index, block_bytes_);
}

void RackEngine::put(Kind kind, std::uint32_t host, std::uint64_t block, std::uint64_t asked_ps,
                     std::uint8_t box, bool is_disturbed) {
  const std::uint32_t index = new_flight({.asked_ps = asked_ps,
                                          .block = block,
                                          .host = host,
                                          .box = box,
                                          .kind = kind,
                                          .is_disturbed = is_disturbed});
  enqueue(index, block_bytes_);
}

// Whoever has a block that is not where it belongs puts it there, once.
void RackEngine::restore(std::uint64_t block, std::uint32_t host) {
  const BoxMask wanted = rendezvous_places(block, known_boxes_, copies_of(block)).mask();
  const BoxMask missing = wanted & ~holders_[block];
  if (missing == 0) {
    return;
  }
  BoxMask& restoring = restoring_[block];
  for (BoxMask left = missing & ~restoring; left != 0; left &= left - 1) {
    const auto box = static_cast<std::uint8_t>(std::countr_zero(left));
    restoring |= BoxMask{1} << box;
    put(Kind::restore, host, block, now_ps_, box, false);
  }
}

std::uint32_t RackEngine::new_flight(const Flight& flight) {
  std::uint32_t index = 0;
  if (unused_.empty()) {
    index = static_cast<std::uint32_t>(flights_.size());
    flights_.emplace_back();
  } else {
    index = unused_.back();
    unused_.pop_back();
  }
  flights_[index] = flight;
  flights_[index].left_bytes = block_bytes_;
  flights_[index].is_over = false;
  return index;
}

// Some bytes of a flight, from now on; what goes to a lost box is never answered.
void RackEngine::enqueue(std::uint32_t index, std::uint32_t bytes) {
  Flight& flight = flights_[index];
  const bool is_write = flight.kind != Kind::read;
  const std::uint64_t head_ps = now_ps_ + half_way_ps_[is_write ? 1 : 0];
  const Waiting waiting{{head_ps, head_ps}, index, bytes, is_write};
  if (is_write) {
    ++flight.parts;
    to_send_[flight.host].push_back(waiting);
    if (sent_[flight.host].empty()) {
      send_next(flight.host);
    }
  } else if ((lost_boxes_ >> flight.box & 1U) == 0) {
    ++flight.parts;
    dram_[flight.box].push_back(waiting);
    set_dram_next(flight.box);
  }
}

void RackEngine::retry(const Flight& flight) {
  const Timed asked{.host = flight.host,
                    .block = flight.block,
                    .asked_ps = flight.asked_ps,
                    .is_disturbed = true};
  if (flight.kind == Kind::read) {
    ++figures_.moves.requests_retried;
    read(asked);
  } else if (flight.kind == Kind::put) {
    ++figures_.moves.requests_retried;
    put(Kind::put, flight.host, flight.block, flight.asked_ps,
        rendezvous_places(flight.block, known_boxes_, 1).boxes[0], true);
  }
}

void RackEngine::complete(Flight& flight, RackOutcome outcome) {
  flight.is_over = true;
  figures_.end_ps = std::max(figures_.end_ps, flight.end_ps);
  if (flight.kind == Kind::restore) {
    holders_[flight.block] |= BoxMask{1} << flight.box;
    ++figures_.moves.restored;
    figures_.moves.bytes_restored += block_bytes_;
    return;
  }
  ++figures_.boxes[flight.box].requests;
  figures_.done.push_back({.at_ps = flight.asked_ps,
                           .end_ps = flight.end_ps,
                           .host = flight.host,
                           .box = flight.box,
                           .outcome = outcome,
                           .is_disturbed = flight.is_disturbed});
}

// --- Pieces of blocks that are read: DRAM, link, path, ports; up, down; NICs, PCIe. ---

// As BoxEngine: what is to be written and has nothing before it needs no event.
void RackEngine::set_dram_next(std::size_t box) {
  RingQueue<Waiting>& queue = dram_[box];
  while (!queue.empty() && queue.front().is_write) {
    Piece piece{queue.front().times, queue.front().flight, queue.front().bytes};
    queue.pop_front();
    pass(kAtDram, box, piece, true);
    finish(piece, true);
  }
  order_.set(base_.dram + box, queue.empty() ? EventOrder::kNever
                                             : std::max(queue.front().times.head_ps,
                                                        stages_[kAtDram].servers[box].free_ps));
}

void RackEngine::read_dram(std::size_t box) {
  Waiting& front = dram_[box].front();
  Piece piece{front.times, front.flight, std::min(front.bytes, cut_.piece_bytes)};
  Flight& flight = flights_[piece.flight];
  front.bytes -= piece.bytes;
  ++flight.parts;
  if (front.bytes == 0) {
    dram_[box].pop_front();
    --flight.parts;
  }
  pass(kAtDram, box, piece, false);
  pass(kAtLinkRead, box, piece, false);
  pass(kAtPathRead, box, piece, false);
  piece.bytes = after_loss(flight, piece.bytes);
  pass(kAtPortRead, box, piece, false);
  append(base_.to_up + box, to_up_[box], piece);
  set_dram_next(box);
}

void RackEngine::leave_box(std::size_t box) {
  Piece piece = take(base_.to_up + box, to_up_[box]);
  if (is_cut_off(flights_[piece.flight])) {
    drop_part(piece.flight);
    return;
  }
  const std::size_t group = shape_.box_group(static_cast<std::uint32_t>(box));
  pass(kAtUpRead, group, piece, false);
  append(base_.to_down + group, to_down_[group], piece);
}

void RackEngine::leave_spine_to_hosts(std::size_t group) {
  Piece piece = take(base_.to_down + group, to_down_[group]);
  if (is_cut_off(flights_[piece.flight])) {
    drop_part(piece.flight);
    return;
  }
  const std::size_t hosts = shape_.host_group(flights_[piece.flight].host);
  pass(kAtDownRead, hosts, piece, false);
  append(base_.to_host + hosts, to_host_[hosts], piece);
}

void RackEngine::enter_host(std::size_t group) {
  Piece piece = take(base_.to_host + group, to_host_[group]);
  if (is_cut_off(flights_[piece.flight])) {
    drop_part(piece.flight);
    return;
  }
  const std::uint32_t host = flights_[piece.flight].host;
  pass(kAtNicRead, host, piece, false);
  pass(kAtPcieRead, host, piece, false);
  finish(piece, false);
}

// --- Written: the other way. ---

void RackEngine::send_next(std::size_t host) {
  RingQueue<Waiting>& queue = to_send_[host];
  while (!queue.empty() && (flights_[queue.front().flight].is_over || !host_lives_[host])) {
    const std::uint32_t flight = queue.front().flight;
    queue.pop_front();
    drop_part(flight);
  }
  if (queue.empty()) {
    return;
  }
  Waiting& front = queue.front();
  Piece piece{front.times, front.flight, std::min(front.bytes, cut_.piece_bytes)};
  Flight& flight = flights_[piece.flight];
  front.bytes -= piece.bytes;
  ++flight.parts;
  if (front.bytes == 0) {
    queue.pop_front();
    --flight.parts;
  }
  pass(kAtPcieWrite, host, piece, true);
  piece.bytes = after_loss(flight, piece.bytes);
  pass(kAtNicWrite, host, piece, true);
  append(base_.sent + host, sent_[host], piece);
}

void RackEngine::leave_host(std::size_t host) {
  Piece piece = take(base_.sent + host, sent_[host]);
  send_next(host);
  if (is_cut_off(flights_[piece.flight])) {
    drop_part(piece.flight);
    return;
  }
  const std::size_t group = shape_.host_group(static_cast<std::uint32_t>(host));
  pass(kAtUpWrite, group, piece, true);
  append(base_.to_down_in + group, to_down_in_[group], piece);
}

void RackEngine::leave_spine_to_boxes(std::size_t group) {
  Piece piece = take(base_.to_down_in + group, to_down_in_[group]);
  if (is_cut_off(flights_[piece.flight])) {
    drop_part(piece.flight);
    return;
  }
  const std::size_t boxes = shape_.box_group(flights_[piece.flight].box);
  pass(kAtDownWrite, boxes, piece, true);
  append(base_.to_box + boxes, to_box_[boxes], piece);
}

void RackEngine::enter_box(std::size_t group) {
  Piece piece = take(base_.to_box + group, to_box_[group]);
  if (is_cut_off(flights_[piece.flight])) {
    drop_part(piece.flight);
    return;
  }
  const std::uint8_t box = flights_[piece.flight].box;
  pass(kAtPortWrite, box, piece, true);
  pass(kAtPathWrite, box, piece, true);
  pass(kAtLinkWrite, box, piece, true);
  append(base_.to_dram + box, to_dram_[box], piece);
}

void RackEngine::enter_dram(std::size_t box) {
  Piece piece = take(base_.to_dram + box, to_dram_[box]);
  if (is_cut_off(flights_[piece.flight])) {
    drop_part(piece.flight);
  } else if (dram_[box].empty()) {
    pass(kAtDram, box, piece, true);
    finish(piece, true);
  } else {
    dram_[box].push_back({piece.times, piece.flight, piece.bytes, true});
  }
}

// --- Both. ---

// What of these bytes is not lost on the way; the rest is sent again when the loss is noticed.
std::uint32_t RackEngine::after_loss(Flight& flight, std::uint32_t bytes) {
  const double share = box_void_[flight.box] + host_void_[flight.host] + spine_void_;
  if (share == 0) {
    return bytes;
  }
  const auto lost = static_cast<std::uint32_t>(rounded(bytes * share));
  flight.lost_bytes += lost;
  flight.is_disturbed = true;
  figures_.moves.bytes_sent_again += lost;
  return bytes - lost;
}

void RackEngine::finish(const Piece& piece, bool is_write) {
  const std::size_t flow = is_write ? 1 : 0;
  Flight& flight = flights_[piece.flight];
  if (flight.is_over || is_cut_off(flight)) {
    drop_part(piece.flight);
    return;
  }
  const std::uint64_t end_ps = piece.times.tail_ps + half_way_ps_[flow];
  std::vector<std::uint64_t>& bins =
      is_write ? figures_.bin_bytes_written : figures_.bin_bytes_read;
  const std::size_t bin = end_ps / RackFigures::kBinPs;
  if (bin >= bins.size()) {
    bins.resize(bin + 1);
  }
  bins[bin] += piece.bytes;
  (is_write ? figures_.bytes_written : figures_.bytes_read) += piece.bytes;
  box_bytes_[flow][flight.box] += piece.bytes;
  host_bytes_[flow][flight.host] += piece.bytes;
  ++figures_.pieces;
  flight.end_ps = std::max(flight.end_ps, end_ps);
  flight.left_bytes -= piece.bytes;
  if (flight.left_bytes == 0) {
    const std::uint64_t block = flight.block;
    const std::uint32_t host = flight.host;
    const bool is_read = flight.kind == Kind::read;
    complete(flight, is_read ? RackOutcome::found : RackOutcome::put);
    drop_part(piece.flight);
    // The host has a block of which a copy may be missing.
    if (is_read && known_boxes_ != first_boxes(shape_.spec.boxes)) {
      restore(block, host);
    }
    return;
  }
  drop_part(piece.flight);
}

void RackEngine::drop_part(std::uint32_t index) {
  Flight& flight = flights_[index];
  if (--flight.parts == 0 && flight.is_over) {
    unused_.push_back(index);
  }
}

}  // namespace godbox::emulator::model
