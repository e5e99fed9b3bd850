// SPDX-License-Identifier: Apache-2.0
//
// Feeds a RoCE port, with a queue pair that is connected, a session of the pool and a program that
// listens and accepts: a sequence of steps, each an operation, a size of two bytes (big-endian) and
// so many bytes:
//   0  a frame as it is               1  a frame, to which its ICRC is added
//   2  a message to queue pair 1      3  a packet to the connected queue pair, from its BTH on
//   4  time: the size in milliseconds, no bytes
//   5  the session's proof is put into the private data of a REQ, which is then sent as 2
// Nothing may crash or hold more than the limits say; every frame that comes out is one that
// godbox's own decoders take.
#include <godbox/assert.h>
#include <godbox/roce/icrc.h>
#include <godbox/roce/link.h>
#include <godbox_test/cm_peer.h>

#include <algorithm>

namespace {

using namespace godbox;
using test::Bytes;

constexpr std::size_t kStepHeaderBytes = 3;
constexpr roce::ServiceId kService = roce::tcp_service(7174);

class Fuzzed {
 public:
  Fuzzed() : peer_(end_), cm_(end_) {
    GODBOX_ASSERT(end_.port().listen(kService) == Errc::ok);
    static_cast<void>(end_.allocate(4096));
  }

  void step(std::uint8_t operation, ConstSpan bytes, std::size_t size) {
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
      default:
        break;
    }
    serve();
  }

 private:
  // Where its last four bytes are an ICRC's, they are the right one.
  void on_frame_with_icrc(ConstSpan bytes) {
    Bytes frame(bytes.begin(), bytes.end());
    frame.resize(frame.size() + roce::kIcrcBytes);
    roce::Frame decoded;
    if (roce::decode_frame(frame, decoded) == roce::FrameKind::roce) {
      const ConstSpan covered(decoded.headers.data(),
                              decoded.headers.size() + decoded.packet.size());
      const auto at = covered.data() + covered.size() - frame.data();
      roce::store_icrc(roce::icrc_begin(covered),
                       std::span(frame).subspan(static_cast<std::size_t>(at)).first<4>());
    }
    end_.port().on_frame(frame, end_.now());
  }
  void on_message(ConstSpan bytes) {
    Bytes mad(bytes.begin(), bytes.end());
    mad.resize(roce::kMadBytes);
    end_.port().on_frame(test::roce_frame(cm_.header(),
                                          {.opcode = roce::Opcode::ud_send_only,
                                           .destination_qp = roce::QueuePairNumber(1),
                                           .q_key = roce::kGsiQKey,
                                           .source_qp = roce::QueuePairNumber(1)},
                                          mad),
                         end_.now());
  }
  void on_proven_message(ConstSpan bytes) {
    constexpr std::size_t kHelloAt = 24 + 140 + 36;
    Bytes mad(bytes.begin(), bytes.end());
    mad.resize(roce::kMadBytes);
    const roce::CmReq proven = cm_.pool_req(end_.session());
    const auto hello = std::as_bytes(std::span(proven.private_data).subspan<36>());
    std::copy(hello.begin(), hello.end(), mad.begin() + kHelloAt);
    on_message(mad);
  }
  // With its own BTH, but for the queue pair's number.
  void on_packet(ConstSpan bytes) {
    if (bytes.size() < sizeof(roce::BthSpec)) {
      return;
    }
    std::array<std::byte, roce::kFrameHeaderBytesMax> before{};
    const std::size_t before_bytes =
        roce::encode_frame_header(peer_.header(), bytes.size() + roce::kIcrcBytes, before);
    Bytes frame(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(before_bytes));
    frame.insert(frame.end(), bytes.begin(), bytes.end());
    for (std::size_t i = 0; i < 3; ++i) {
      frame[before_bytes + 5 + i] =
          static_cast<std::byte>(peer_.number().value() >> (8 * (2 - i)) & 0xFFU);
    }
    on_frame_with_icrc(frame);
  }

  void serve() {
    emulator::RocePort& port = end_.port();
    while (const auto event = port.take_connection_event()) {
      if (event->kind == emulator::ConnectionEvent::Kind::requested) {
        static_cast<void>(port.accept(event->id, {}, end_.now()));
      } else if (event->kind == emulator::ConnectionEvent::Kind::closed) {
        port.destroy_queue_pair(event->number);
      }
    }
    if (port.next_deadline() <= end_.now()) {
      port.on_timer(end_.now());
    }
    for (Bytes out = end_.take_frame(); !out.empty(); out = end_.take_frame()) {
      check(out);
    }
    const emulator::RocePort::Usage usage = port.usage();
    GODBOX_ASSERT(usage.control_frames == 0);
    GODBOX_ASSERT(usage.connections <= port.options().queue_pairs_max);
    GODBOX_ASSERT(usage.queue_pairs <= port.options().queue_pairs_max);
  }
  static void check(const Bytes& bytes) {
    roce::Frame frame;
    roce::Packet packet;
    roce::LinkMessage message;
    if (roce::decode_frame(bytes, frame) == roce::FrameKind::roce) {
      GODBOX_ASSERT(roce::has_right_icrc(frame));
      GODBOX_ASSERT(roce::decode_packet(frame.packet, packet) == roce::Malformed::no);
      GODBOX_ASSERT(packet.destination_qp.value() != roce::kGsiQueuePair ||
                    roce::decode_mad(packet.payload).has_value());
    } else {
      const roce::LinkKind kind = roce::decode_link(bytes, message);
      GODBOX_ASSERT(kind == roce::LinkKind::arp_reply || kind == roce::LinkKind::echo_reply ||
                    kind == roce::LinkKind::neighbour_advertisement);
    }
  }

  static test::RoceEndOptions end_options() {
    test::RoceEndOptions options;
    options.box.super_nics = 1;
    options.box.dram_channel_size = SizeBytes(1U << 20U);  // zeroed for every input
    options.addresses.push_back(roce::Gid{{0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}});
    options.queue_pairs_max = 64;
    return options;
  }
  test::RoceEnd end_{end_options()};
  test::RocePeer peer_;
  test::CmPeer cm_;
};

}  // namespace

// The name and signature are libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  Fuzzed fuzzed;
  ConstSpan input = std::as_bytes(std::span(data, size_bytes));
  while (input.size() >= kStepHeaderBytes) {
    const auto operation = std::to_integer<std::uint8_t>(input[0]);
    const std::size_t size =
        std::to_integer<std::size_t>(input[1]) << 8U | std::to_integer<std::size_t>(input[2]);
    input = input.subspan(kStepHeaderBytes);
    const std::size_t bytes = operation == 4 ? 0 : std::min(size, input.size());
    fuzzed.step(operation, input.first(bytes), size);
    input = input.subspan(bytes);
  }
  return 0;
}
