// SPDX-License-Identifier: Apache-2.0
#include "map_memory.h"

#include <godbox/driver/mapped_memory.h>

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
  if (descriptors.size() != reply->dram_channel_sizes.size()) {
    return Error(Errc::protocol_error,
                 "the box names " + std::to_string(reply->dram_channel_sizes.size()) +
                     " DRAM channels and gives " + std::to_string(descriptors.size()));
  }
  Targets targets;
  for (std::size_t i = 0; i < descriptors.size(); ++i) {
    auto mapped = driver::MappedMemory::from_descriptor(
        descriptors.release(i), reply->dram_channel_sizes[i], reply->writable);
    if (!mapped) {
      return mapped.error();
    }
    targets.push_back(std::move(*mapped));
  }
  return targets;
}

}  // namespace godbox
