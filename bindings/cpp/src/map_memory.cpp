// SPDX-License-Identifier: Apache-2.0
#include "map_memory.h"

#include <godbox/driver/mapped_memory.h>
#include <godbox/interleaved_targets.h>

#include <string>
#include <utility>

#include <unistd.h>

namespace godbox {

using striping::Client;
using Targets = std::vector<std::unique_ptr<MemoryTarget>>;

namespace {

// Descriptors that came from a box: closed unless released.
class ReceivedDescriptors {
 public:
  explicit ReceivedDescriptors(std::vector<int> descriptors)
      : descriptors_(std::move(descriptors)) {}
  ~ReceivedDescriptors() {
    for (const int descriptor : descriptors_) {
      if (descriptor >= 0) {
        close(descriptor);
      }
    }
  }
  ReceivedDescriptors(const ReceivedDescriptors&) = delete;
  ReceivedDescriptors& operator=(const ReceivedDescriptors&) = delete;
  [[nodiscard]] std::size_t size() const { return descriptors_.size(); }
  [[nodiscard]] int release(std::size_t index) { return std::exchange(descriptors_[index], -1); }

 private:
  std::vector<int> descriptors_;
};

Result<std::unique_ptr<MemoryTarget>> map_one(ReceivedDescriptors& descriptors, std::size_t index,
                                              SizeBytes size, bool writable) {
  auto mapped = driver::MappedMemory::from_descriptor(descriptors.release(index), size, writable);
  if (!mapped) {
    return mapped.error();
  }
  return std::unique_ptr<MemoryTarget>(std::move(*mapped));
}

// A target for each DRAM channel. That placements are sound, the decoder has seen to.
Result<Targets> map_all(const wire::MapReply& reply, ReceivedDescriptors& descriptors) {
  Targets targets(reply.dram_channel_sizes.size());
  std::vector<Targets> parts(descriptors.size());  // of interleaved memories, by position
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const wire::ChannelPlacement placement =
        reply.placements.empty()
            ? wire::ChannelPlacement{.descriptor = static_cast<std::uint16_t>(i), .order = {}}
            : reply.placements[i];
    Targets& of_memory = parts[placement.descriptor];
    if (of_memory.empty()) {
      const unsigned ways = placement.order.interleave.ways.count();
      auto mapped = map_one(descriptors, placement.descriptor, reply.dram_channel_sizes[i] * ways,
                            reply.writable);
      if (!mapped) {
        return mapped.error();
      }
      if (!placement.order.is_interleaved()) {
        targets[i] = std::move(*mapped);
        continue;
      }
      auto made = interleaved_targets(std::move(*mapped), placement.order.interleave);
      if (!made) {
        return Error(Errc::protocol_error, made.error().detail);
      }
      of_memory = std::move(*made);
    }
    targets[i] = std::move(of_memory[placement.order.position]);
  }
  return targets;
}

}  // namespace

Result<wire::MapReply> ask_for_memory(const Client::TransportContext& context, Duration timeout,
                                      bool pins) {
  const TimePoint deadline = context.network.clock().now() + timeout;
  const wire::Body body = wire::encode(wire::MapRequest{.pins = pins});
  Result<wire::MapReply> reply = Error(Errc::write_in_flight);
  // The box may have memory on its way; that takes milliseconds.
  while (!reply && reply.error().code == Errc::write_in_flight &&
         context.network.clock().now() < deadline) {
    bool answered = false;
    context.control.request(wire::Op::map_memory, body, context.network.clock().now(), deadline,
                            [&](Errc status, ConstSpan answer) {
                              answered = true;
                              reply = status == Errc::ok ? wire::decode<wire::MapReply>(answer)
                                                         : Result<wire::MapReply>(Error(status));
                            });
    context.network.kick(context.control_connection);
    while (!answered) {
      context.network.run_until(deadline);
    }
  }
  if (!reply) {
    return Error(reply.error().code, "the box does not give its memory to this process");
  }
  return reply;
}

Result<Targets> map_dram_channels(const Client::TransportContext& context, Duration timeout,
                                  bool pins) {
  const Result<wire::MapReply> reply = ask_for_memory(context, timeout, pins);
  // Whatever the answer: what came is ours to close, and no more comes.
  ReceivedDescriptors descriptors(context.control.take_descriptors());
  if (!reply) {
    return reply.error();
  }
  if (descriptors.size() != reply->descriptor_count()) {
    return Error(Errc::protocol_error,
                 "the box names " + std::to_string(reply->descriptor_count()) +
                     " memories and gives " + std::to_string(descriptors.size()));
  }
  return map_all(*reply, descriptors);
}

}  // namespace godbox
