// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/crc32c.h>
#include <godbox/roce/icrc.h>
#include <godbox/roce/link.h>
#include <godbox_test/roce_steps.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace godbox::test {
namespace {

using emulator::SendOp;

constexpr std::size_t kStepHeaderBytes = 3;
constexpr roce::ServiceId kService = roce::tcp_service(7174);

constexpr std::uint32_t kSavedKey = 0x1234;
constexpr std::uint64_t kSavedAddress = std::uint64_t{1} << 36U;
constexpr roce::Psn kFirstPsn{0x100};

// One extent, of more than one window of the responder's; there is others' memory as well.
constexpr std::uint32_t kDramChannels = 3;
constexpr std::size_t kMemoryBytes = std::size_t{kDramChannels} * emulator::kLargeStripBytes;
constexpr std::size_t kGuardBytes = 16U << 10U;
static_assert(kMemoryBytes > emulator::kRoceWindowBytes);

// So that one input does not take seconds: a READ of all the memory is a thousand frames.
constexpr std::size_t kFramesMax = 8192;
constexpr std::size_t kWorksMax = 256;
constexpr std::size_t kWorkBytesMax = 4096;
constexpr std::size_t kPacketBytesMax = 9000;

std::uint64_t load_be(ConstSpan bytes) {
  std::uint64_t value = 0;
  for (const std::byte byte : bytes) {
    value = value << 8U | std::to_integer<std::uint64_t>(byte);
  }
  return value;
}
void store_be(std::uint64_t value, MutableSpan bytes) {
  for (std::size_t i = bytes.size(); i-- > 0; value >>= 8U) {
    bytes[i] = static_cast<std::byte>(value & 0xFFU);
  }
}

bool has_bytes(std::uint8_t operation) {
  return operation != 4 && operation != 6 && operation != 8;
}

std::string_view text_of(ConstSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

RoceEndOptions end_options() {
  RoceEndOptions options;
  options.box.super_nics = 1;
  options.box.dram_channels_per_super_nic = kDramChannels;
  options.box.dram_channel_size = SizeBytes(1U << 20U);  // filled for every input
  options.addresses.push_back(roce::Gid{{0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}});
  options.queue_pairs_max = 64;
  return options;
}

}  // namespace

RoceSteps::RoceSteps() : end_(end_options()) {
  GODBOX_ASSERT(end_.port().listen(kService) == Errc::ok);
  const RemoteMemory before = end_.allocate(kGuardBytes);
  memory_ = end_.allocate(kMemoryBytes);
  const RemoteMemory behind = end_.allocate(kGuardBytes);
  GODBOX_ASSERT(memory_.extents.size() == 1);
  end_.set_bytes_of(before, pattern_bytes(kGuardBytes, 1));
  end_.set_bytes_of(behind, pattern_bytes(kGuardBytes, 2));
  pool_before_ = pool_checksum();
  connect();
}

void RoceSteps::connect() {
  const auto local = end_.port().allot_queue_pair();
  GODBOX_ASSERT(local.has_value());
  number_ = local->number;
  header_.destination = end_.port().options().mac;
  header_.source = {2, 0, 0, 0, 0, 1};
  header_.destination_ip = end_.port().options().addresses.front();
  header_.source_ip = roce::Gid::of_ipv4({10, 0, 0, 1});
  emulator::QueuePairOptions options = end_.pair_options();
  options.number = number_;
  options.remote_number = roce::QueuePairNumber(RocePeer::kNumber);
  options.path_mtu = roce::PathMtu::bytes_256;
  options.first_psn_received = kFirstPsn;
  options.first_psn_sent = kFirstPsn;
  options.path.destination = header_.source;
  options.path.destination_ip = header_.source_ip;
  GODBOX_ASSERT(end_.port().connect_queue_pair(options, end_.now()) == Errc::ok);
}

void RoceSteps::run(ConstSpan input) {
  while (input.size() >= kStepHeaderBytes && frames_ < kFramesMax) {
    const auto operation = std::to_integer<std::uint8_t>(input[0]);
    const auto size = static_cast<std::size_t>(load_be(input.subspan(1, 2)));
    input = input.subspan(kStepHeaderBytes);
    const std::size_t bytes = has_bytes(operation) ? std::min(size, input.size()) : 0;
    step(operation, input.first(bytes), size);
    input = input.subspan(bytes);
  }
  finish();
}

void RoceSteps::step(std::uint8_t operation, ConstSpan bytes, std::size_t size) {
  switch (operation) {
    case 0:
      end_.port().on_frame(bytes, end_.now());
      break;
    case 1:
      on_frame_with_icrc(bytes);
      break;
    case 2:
      on_message(bytes);
      break;
    case 3:
      on_packet(bytes);
      break;
    case 4:
      end_.box().clock().advance(std::chrono::milliseconds(size));
      break;
    case 5:
      on_proven_message(bytes);
      break;
    case 6:
      post_receive(size);
      break;
    case 7:
      post_send(bytes);
      break;
    case 8:
      is_wire_full_ = size % 2 == 1;
      break;
    default:
      break;
  }
  serve();
}

// What is on its way goes out, the queue pair goes, and what others left open runs out of time.
void RoceSteps::finish() {
  is_wire_full_ = false;
  serve();
  end_.port().destroy_queue_pair(number_);
  end_.box().clock().advance(std::max(emulator::kRoceWritePinMax, emulator::kRoceSweepPeriod));
  serve();
  GODBOX_ASSERT(end_.port().usage().windows == 0);
  check_memory();
  // Memory that is pinned would wait.
  GODBOX_ASSERT(end_.service().free_region(end_.session().id, memory_.key) == Errc::ok);
  GODBOX_ASSERT(end_.service().usage().quarantined == 0);
}

// --- Frames in ---

// Where its last four bytes are an ICRC's, they are the right one.
void RoceSteps::on_frame_with_icrc(ConstSpan bytes) {
  Bytes frame(bytes.begin(), bytes.end());
  frame.resize(frame.size() + roce::kIcrcBytes);
  roce::Frame decoded;
  if (roce::decode_frame(frame, decoded) == roce::FrameKind::roce) {
    const ConstSpan covered(decoded.headers.data(), decoded.headers.size() + decoded.packet.size());
    const auto at = covered.data() + covered.size() - frame.data();
    roce::store_icrc(roce::icrc_begin(covered),
                     std::span(frame).subspan(static_cast<std::size_t>(at)).first<4>());
  }
  end_.port().on_frame(frame, end_.now());
}

void RoceSteps::on_message(ConstSpan bytes) {
  Bytes mad(bytes.begin(), bytes.end());
  mad.resize(roce::kMadBytes);
  end_.port().on_frame(roce_frame(cm_.header(),
                                  {.opcode = roce::Opcode::ud_send_only,
                                   .destination_qp = roce::QueuePairNumber(1),
                                   .q_key = roce::kGsiQKey,
                                   .source_qp = roce::QueuePairNumber(1)},
                                  mad),
                       end_.now());
}

void RoceSteps::on_proven_message(ConstSpan bytes) {
  constexpr std::size_t kHelloAt = 24 + 140 + 36;
  Bytes mad(bytes.begin(), bytes.end());
  mad.resize(roce::kMadBytes);
  const roce::CmReq proven = cm_.pool_req(end_.session());
  const auto hello = std::as_bytes(std::span(proven.private_data).subspan<36>());
  std::copy(hello.begin(), hello.end(), mad.begin() + kHelloAt);
  on_message(mad);
}

// With its own BTH, but for the queue pair's number.
void RoceSteps::on_packet(ConstSpan bytes) {
  if (bytes.size() < sizeof(roce::BthSpec) || bytes.size() > kPacketBytesMax) {
    return;
  }
  std::array<std::byte, roce::kFrameHeaderBytesMax> before{};
  const std::size_t before_bytes =
      roce::encode_frame_header(header_, bytes.size() + roce::kIcrcBytes, before);
  Bytes frame(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(before_bytes));
  frame.insert(frame.end(), bytes.begin(), bytes.end());
  put_memory_into(MutableSpan(frame).subspan(before_bytes));
  on_frame_with_icrc(frame);
}

void RoceSteps::put_memory_into(MutableSpan packet) const {
  store_be(number_.value(), packet.subspan(offsetof(roce::BthSpec, destination_qp), 3));
  const auto format = roce::format_of(static_cast<roce::Opcode>(packet[0]));
  if (!format || !(format->reth || format->atomic_eth)) {
    return;
  }
  // Address and key lie first in RETH and AtomicETH alike.
  const std::size_t at = sizeof(roce::BthSpec) + (format->deth ? sizeof(roce::DethSpec) : 0) +
                         (format->feth ? sizeof(roce::FethSpec) : 0);
  if (packet.size() < at + 12 || load_be(packet.subspan(at + 8, 4)) != kSavedKey) {
    return;
  }
  const MutableSpan address = packet.subspan(at, 8);
  store_be(load_be(address) - kSavedAddress + memory_.address(), address);
  store_be(memory_.key.value(), packet.subspan(at + 8, 4));
}

// --- Work of this end ---

MutableSpan RoceSteps::new_memory(std::size_t size) {
  if (work_memory_.size() == kWorksMax) {
    return {};
  }
  return work_memory_.emplace_back(std::min(size, kWorkBytesMax), std::byte{0x55});
}

void RoceSteps::post_receive(std::size_t size) {
  const MutableSpan all = new_memory(size);
  const std::array<MutableSpan, 2> pieces{all.first(all.size() / 2), all.subspan(all.size() / 2)};
  static_cast<void>(end_.port().post_receive(number_, {.id = WorkId(all.size()), .local = pieces}));
}

void RoceSteps::post_send(ConstSpan bytes) {
  if (bytes.size() < 3 ||
      std::to_integer<unsigned>(bytes[0]) > static_cast<unsigned>(SendOp::atomic_write)) {
    return;
  }
  const MutableSpan all = new_memory(static_cast<std::size_t>(load_be(bytes.subspan(1, 2))));
  emulator::SendRequest request{.id = WorkId(all.size()),
                                .op = static_cast<SendOp>(bytes[0]),
                                .local = {&all, 1},
                                .remote_address = kSavedAddress,
                                .key = RKey(kSavedKey),
                                .swap_or_add = 7,
                                .compare = 40};
  if (bytes.size() >= 7) {
    request.immediate = static_cast<std::uint32_t>(load_be(bytes.subspan(3, 4)));
  }
  static_cast<void>(end_.port().post_send(number_, request));
}

// --- What the port has to say ---

void RoceSteps::serve() {
  emulator::RocePort& port = end_.port();
  take_events();
  if (port.next_deadline() <= end_.now()) {
    port.on_timer(end_.now());
  }
  if (!is_wire_full_) {
    take_frames();
  }
  take_completions();
  const emulator::RocePort::Usage usage = port.usage();
  GODBOX_ASSERT(usage.control_frames <= (is_wire_full_ ? emulator::kRoceControlFramesMax : 0));
  GODBOX_ASSERT(usage.connections <= port.options().queue_pairs_max);
  GODBOX_ASSERT(usage.queue_pairs <= port.options().queue_pairs_max);
}

void RoceSteps::take_events() {
  emulator::RocePort& port = end_.port();
  while (const auto event = port.take_connection_event()) {
    if (event->kind == emulator::ConnectionEvent::Kind::requested) {
      static_cast<void>(port.accept(event->id, {}, end_.now()));
    } else if (event->kind == emulator::ConnectionEvent::Kind::closed) {
      port.destroy_queue_pair(event->number);
    }
  }
}

// A request's number is the size of its memory.
void RoceSteps::take_completions() {
  while (const auto done = end_.port().take_completed(number_)) {
    completed_ += done->status == emulator::WorkStatus::ok ? 1U : 0U;
  }
  while (const auto done = end_.port().take_received(number_)) {
    GODBOX_ASSERT(done->is_write || done->length_bytes <= done->id.value());
    received_ += done->status == emulator::WorkStatus::ok ? 1U : 0U;
  }
}

void RoceSteps::take_frames() {
  memory_now_.clear();
  for (Bytes out = end_.take_frame(); !out.empty(); out = end_.take_frame()) {
    ++frames_;
    check_frame(out);
  }
}

void RoceSteps::check_frame(ConstSpan bytes) {
  roce::Frame frame;
  roce::Packet packet;
  roce::LinkMessage message;
  if (roce::decode_frame(bytes, frame) == roce::FrameKind::roce) {
    GODBOX_ASSERT(roce::has_right_icrc(frame));
    GODBOX_ASSERT(roce::decode_packet(frame.packet, packet) == roce::Malformed::no);
    GODBOX_ASSERT(packet.destination_qp.value() != roce::kGsiQueuePair ||
                  roce::decode_mad(packet.payload).has_value());
    if (packet.opcode >= roce::Opcode::read_response_first &&
        packet.opcode <= roce::Opcode::read_response_only) {
      check_shown(packet.payload);
    }
  } else {
    const roce::LinkKind kind = roce::decode_link(bytes, message);
    GODBOX_ASSERT(kind == roce::LinkKind::arp_reply || kind == roce::LinkKind::echo_reply ||
                  kind == roce::LinkKind::neighbour_advertisement);
  }
}

// Where in the memory it is the packet does not say; most likely behind what the last one showed.
void RoceSteps::check_shown(ConstSpan payload) {
  if (memory_now_.empty()) {
    memory_now_ = end_.bytes_of(memory_);
  }
  const std::string_view memory = text_of(memory_now_);
  std::size_t at = memory.find(text_of(payload), shown_to_);
  at = at == std::string_view::npos ? memory.find(text_of(payload)) : at;
  GODBOX_ASSERT(at != std::string_view::npos);
  shown_to_ = at + payload.size();
}

// With what the key opens as it was, all is as it was.
void RoceSteps::check_memory() {
  end_.set_bytes_of(memory_, Bytes(kMemoryBytes));
  GODBOX_ASSERT(pool_checksum() == pool_before_);
}

// Copies of the memory would cost more than all the rest.
std::uint32_t RoceSteps::pool_checksum() {
  std::uint32_t crc = 0;
  for (std::size_t i = 0; i < end_.box().dram_channel_count(); ++i) {
    const HeapMemoryTarget& channel = end_.box().dram_channel(i);
    crc = crc32c(ConstSpan(channel.data(), channel.size().count()), crc);
  }
  return crc;
}

}  // namespace godbox::test
