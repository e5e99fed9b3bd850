// SPDX-License-Identifier: Apache-2.0
#include "roce_load.h"

#include <godbox/assert.h>
#include <godbox/clock.h>
#include <godbox/crc32.h>
#include <godbox/roce/icrc.h>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

namespace godbox::perf {
namespace {

using roce::Opcode;

// In a frame with IPv4 and without a tag.
constexpr std::size_t kIpAt = 14;
constexpr std::size_t kBthAt = kIpAt + 20 + 8;
constexpr std::size_t kPsnAt = kBthAt + 9;
constexpr std::size_t kQueuePairAt = kBthAt + 5;
constexpr std::size_t kRethAt = kBthAt + 12;
constexpr std::size_t kSyndromeAt = kBthAt + 12;
constexpr std::uint8_t kSyndromeAckMax = 0x1F;
constexpr std::uint32_t kPacketsPerTurn = 16;
constexpr std::uint32_t kPacketsPerBlock = kRoceBlockBytes / kRocePacketBytes;
constexpr Duration kAnswerMax = std::chrono::seconds(1);

std::uint32_t load_24(ConstSpan frame, std::size_t at) {
  return std::to_integer<std::uint32_t>(frame[at]) << 16U |
         std::to_integer<std::uint32_t>(frame[at + 1]) << 8U |
         std::to_integer<std::uint32_t>(frame[at + 2]);
}

template <std::size_t Bytes>
void store_be(std::uint64_t value, std::byte* to) {
  for (std::size_t i = 0; i < Bytes; ++i) {
    to[i] = static_cast<std::byte>(value >> (8 * (Bytes - 1 - i)));
  }
}

Error wrong(std::string_view what, ConstSpan frame) {
  return {Errc::io_error,
          fmt::format("an answer of {} bytes with opcode {:#x}: {}", frame.size(),
                      frame.size() > kBthAt ? std::to_integer<unsigned>(frame[kBthAt]) : 0U, what)};
}

}  // namespace

RoceLoad::RoceLoad(FrameSource& wire, const roce::FrameHeader& header, RoceTarget target,
                   std::span<const RocePairEnds> pairs, std::uint64_t seed)
    : wire_(wire),
      header_(header),
      target_(std::move(target)),
      order_(target_.blocks.size()),
      payloads_(kPayloads * kRocePacketBytes),
      random_(seed) {
  GODBOX_ASSERT(!target_.blocks.empty() && !pairs.empty());
  for (std::byte& byte : payloads_) {
    byte = static_cast<std::byte>(random());
  }
  for (std::size_t i = 0; i < kPayloads; ++i) {
    payload_crcs_[i] = crc32(ConstSpan(payloads_).subspan(i * kRocePacketBytes, kRocePacketBytes));
  }
  const std::vector<std::byte> zeros(kRocePacketBytes);
  const std::uint32_t of_nothing = crc32(zeros);
  for (std::size_t byte = 0; byte < advance_.size(); ++byte) {
    for (std::uint32_t value = 0; value < advance_[byte].size(); ++value) {
      advance_[byte][value] =
          crc32(zeros, value << (8U * static_cast<std::uint32_t>(byte))) ^ of_nothing;
    }
  }
  std::iota(order_.begin(), order_.end(), 0U);
  for (std::size_t i = order_.size(); i > 1; --i) {
    std::swap(order_[i - 1], order_[random() % i]);
  }
  for (const RocePairEnds& ends : pairs) {
    GODBOX_ASSERT(ends.client.value() == pairs.front().client.value() + pairs_.size());
    Pair& pair = pairs_.emplace_back();
    pair.ends = ends;
    pair.next_psn = ends.first_psn;
  }
}

std::uint64_t RoceLoad::random() {
  random_ ^= random_ << 13U;
  random_ ^= random_ >> 7U;
  random_ ^= random_ << 17U;
  return random_;
}

std::uint32_t RoceLoad::with_payload(std::uint32_t crc, std::size_t payload) const {
  return advance_[0][crc & 0xFFU] ^ advance_[1][crc >> 8U & 0xFFU] ^
         advance_[2][crc >> 16U & 0xFFU] ^ advance_[3][crc >> 24U] ^ payload_crcs_[payload];
}

RoceLoad::Template RoceLoad::make_template(Opcode opcode, const Pair& pair,
                                           std::uint32_t length_bytes,
                                           std::size_t payload_bytes) const {
  roce::Packet packet;
  packet.opcode = opcode;
  packet.destination_qp = pair.ends.box;
  packet.wants_ack = opcode != Opcode::write_first && opcode != Opcode::write_middle;
  packet.r_key = target_.key;
  packet.length_bytes = length_bytes;
  std::array<std::byte, roce::kHeaderBytesMax> transport{};
  const std::size_t transport_bytes = roce::encode_headers(packet, payload_bytes, transport);
  roce::FrameHeader header = header_;
  header.source_port = roce::udp_source_port(pair.ends.client.value(), pair.ends.box.value());
  std::array<std::byte, roce::kFrameHeaderBytesMax> before{};
  Template made;
  made.size_bytes =
      roce::encode_frame_header(header, transport_bytes + payload_bytes + roce::kIcrcBytes, before);
  GODBOX_ASSERT(made.size_bytes == kBthAt);
  std::copy_n(before.begin(), made.size_bytes, made.bytes.begin());
  std::copy_n(transport.begin(), transport_bytes,
              made.bytes.begin() + static_cast<std::ptrdiff_t>(made.size_bytes));
  made.size_bytes += transport_bytes;
  return made;
}

void RoceLoad::prepare(Pair& pair, const RoceRun& run) const {
  pair.read = make_template(Opcode::read_request, pair, run.size_bytes, 0);
  pair.write_first = make_template(Opcode::write_first, pair, run.size_bytes, kRocePacketBytes);
  pair.write_middle = make_template(Opcode::write_middle, pair, 0, kRocePacketBytes);
  pair.write_last = make_template(Opcode::write_last, pair, 0, kRocePacketBytes);
}

RoceLoad::Request RoceLoad::next_request(const RoceRun& run) {
  const std::uint64_t number = begun_++;
  Request request;
  if (run.size_bytes == kRoceBlockBytes) {
    const std::uint64_t at = number % order_.size();
    request.block = run.in_order ? at : order_[at];
  } else {
    request.block = random() % order_.size();
    request.at =
        static_cast<std::uint32_t>(random() % (kRoceBlockBytes / run.size_bytes)) * run.size_bytes;
  }
  return request;
}

// All but the payload; `icrc` is that of the headers.
void RoceLoad::write_headers(const Template& from, roce::Psn psn, std::uint64_t address,
                             MutableSpan to, std::uint32_t& icrc) const {
  std::memcpy(to.data(), from.bytes.data(), from.size_bytes);
  store_be<3>(psn.value(), to.data() + kPsnAt);
  if (from.size_bytes > kRethAt) {
    store_be<8>(address, to.data() + kRethAt);
  }
  icrc = roce::icrc_begin(ConstSpan(to).subspan(kIpAt, from.size_bytes - kIpAt));
}

bool RoceLoad::send_read(Pair& pair, const Request& request) {
  const std::size_t size = pair.read.size_bytes + roce::kIcrcBytes;
  const MutableSpan room = wire_.room_to_send(size);
  if (room.empty()) {
    return false;
  }
  std::uint32_t icrc = 0;
  write_headers(pair.read, request.first_psn, target_.blocks[request.block] + request.at, room,
                icrc);
  roce::store_icrc(icrc, room.subspan(pair.read.size_bytes).first<roce::kIcrcBytes>());
  wire_.commit();
  ++result_.packets_sent;
  return true;
}

bool RoceLoad::send_write_packet(Pair& pair) {
  const Request& request = pair.under_way[pair.under_way.size() - 1];
  const std::uint32_t packet = kPacketsPerBlock - pair.packets_left;
  const Template* headers = &pair.write_middle;
  if (packet == 0) {
    headers = &pair.write_first;
  } else if (pair.packets_left == 1) {
    headers = &pair.write_last;
  }
  const std::size_t before_icrc = headers->size_bytes + kRocePacketBytes;
  const MutableSpan room = wire_.room_to_send(before_icrc + roce::kIcrcBytes);
  if (room.empty()) {
    return false;
  }
  const std::size_t payload = payload_of(request.block, packet * kRocePacketBytes);
  std::uint32_t icrc = 0;
  write_headers(*headers, request.first_psn + packet, target_.blocks[request.block], room, icrc);
  std::memcpy(room.data() + headers->size_bytes, payloads_.data() + payload * kRocePacketBytes,
              kRocePacketBytes);
  roce::store_icrc(with_payload(icrc, payload),
                   room.subspan(before_icrc).first<roce::kIcrcBytes>());
  wire_.commit();
  ++result_.packets_sent;
  --pair.packets_left;
  return true;
}

void RoceLoad::send_some(Pair& pair, const RoceRun& run) {
  std::uint32_t sent = 0;
  while (sent < kPacketsPerTurn) {
    if (pair.packets_left > 0) {
      if (!send_write_packet(pair)) {
        break;
      }
      ++sent;
      continue;
    }
    if (begun_ == run.requests || pair.under_way.size() == run.depth) {
      break;
    }
    const std::uint64_t random_before = random_;
    Request request = next_request(run);
    request.first_psn = pair.next_psn;
    const std::uint32_t packets = std::max<std::uint32_t>(1, run.size_bytes / kRocePacketBytes);
    request.last_psn = request.first_psn + (packets - 1);
    if (run.op == RoceOp::read && !send_read(pair, request)) {
      --begun_;
      random_ = random_before;
      break;
    }
    sent += run.op == RoceOp::read ? 1U : 0U;
    pair.packets_left = run.op == RoceOp::write ? packets : 0;
    pair.next_psn = request.last_psn + 1;
    pair.under_way.push_back(request);
  }
}

Result<void> RoceLoad::compare(ConstSpan frame, const Request& request, std::uint32_t at) {
  roce::Frame decoded;
  roce::Packet packet;
  if (roce::decode_frame(frame, decoded) != roce::FrameKind::roce ||
      !roce::has_right_icrc(decoded) ||
      roce::decode_packet(decoded.packet, packet) != roce::Malformed::no) {
    return wrong("malformed, or a wrong ICRC", frame);
  }
  const std::uint32_t from = request.at + at;
  const std::size_t expected =
      payload_of(request.block, from) * kRocePacketBytes + from % kRocePacketBytes;
  if (!std::ranges::equal(packet.payload,
                          ConstSpan(payloads_).subspan(expected, packet.payload.size()))) {
    return wrong(fmt::format("wrong bytes of block {} at {}", request.block, from), frame);
  }
  result_.bytes_compared += packet.payload.size();
  return {};
}

Result<void> RoceLoad::take_read_answer(Pair& pair, ConstSpan frame, roce::Psn psn,
                                        const RoceRun& run) {
  if (pair.under_way.empty() || psn != pair.next_answer) {
    return wrong(
        fmt::format("PSN {:#x} where {:#x} is next", psn.value(), pair.next_answer.value()), frame);
  }
  const Request& request = pair.under_way.front();
  if (run.verify_all || result_.packets_received % kVerifyEvery == 0) {
    const auto packet = static_cast<std::uint32_t>(distance(request.first_psn, psn));
    if (Result<void> same = compare(frame, request, packet * kRocePacketBytes); !same) {
      return same;
    }
  }
  pair.next_answer = psn + 1;
  if (psn == request.last_psn) {
    pair.under_way.pop_front();
    ++result_.requests;
  }
  return {};
}

Result<void> RoceLoad::take(ConstSpan frame, const RoceRun& run) {
  if (frame.size() <= kSyndromeAt) {
    return wrong("too short", frame);
  }
  const std::uint32_t number = load_24(frame, kQueuePairAt) - pairs_.front().ends.client.value();
  if (number >= pairs_.size()) {
    return wrong("to nobody", frame);
  }
  Pair& pair = pairs_[number];
  const roce::Psn psn(load_24(frame, kPsnAt));
  const auto opcode = static_cast<Opcode>(frame[kBthAt]);
  ++result_.packets_received;
  if (opcode >= Opcode::read_response_first && opcode <= Opcode::read_response_only) {
    return take_read_answer(pair, frame, psn, run);
  }
  const auto syndrome = std::to_integer<std::uint8_t>(frame[kSyndromeAt]);
  if (opcode != Opcode::acknowledge || syndrome > kSyndromeAckMax) {
    return wrong(fmt::format("syndrome {:#x}", syndrome), frame);
  }
  while (run.op == RoceOp::write && !pair.under_way.empty() &&
         distance(pair.under_way.front().last_psn, psn) >= 0) {
    pair.under_way.pop_front();
    ++result_.requests;
  }
  return {};
}

Result<RoceRunResult> RoceLoad::run(const RoceRun& run) {
  GODBOX_ASSERT(run.queue_pairs <= pairs_.size());
  GODBOX_ASSERT(run.size_bytes == kRoceBlockBytes ||
                (run.op == RoceOp::read && kRocePacketBytes % run.size_bytes == 0));
  GODBOX_ASSERT(run.op == RoceOp::read || run.requests >= target_.blocks.size());
  result_ = {};
  begun_ = 0;
  runs_of_writes_ += run.op == RoceOp::write ? 1 : 0;
  for (Pair& pair : pairs_) {
    prepare(pair, run);
    pair.next_answer = pair.next_psn;
  }
  const SteadyClock clock;
  const TimePoint begin = clock.now();
  TimePoint last_answer = begin;
  while (result_.requests < run.requests) {
    for (Pair& pair : std::span(pairs_).first(run.queue_pairs)) {
      send_some(pair, run);
    }
    wire_.flush();  // also what the device did not take before
    const std::size_t count = wire_.receive(received_);
    for (std::size_t i = 0; i < count; ++i) {
      if (Result<void> taken = take(received_[i], run); !taken) {
        return taken.error();
      }
    }
    if (count > 0) {
      last_answer = clock.now();
    } else if (clock.now() - last_answer > kAnswerMax) {
      return Error(Errc::io_error, fmt::format("no answer for a second, after {} of {} requests",
                                               result_.requests, run.requests));
    }
  }
  result_.seconds = std::chrono::duration<double>(clock.now() - begin).count();
  return result_;
}

}  // namespace godbox::perf
