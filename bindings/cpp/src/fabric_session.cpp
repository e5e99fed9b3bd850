// SPDX-License-Identifier: Apache-2.0
#include "fabric_session.h"

#include "socket_owner.h"
#include <godbox/driver/asio_network.h>
#include <godbox/emulator/box_config.h>
#include <godbox/native/control_client.h>

#include <atomic>
#include <deque>
#include <future>
#include <mutex>
#include <thread>
#include <utility>

namespace godbox {
namespace {

constexpr Duration kTurn = std::chrono::milliseconds(500);

// A refusal may carry a sentence.
Error refusal(Errc status, ConstSpan body) {
  const Result<wire::TextReply> text = wire::decode<wire::TextReply>(body);
  return {status, text ? text->text : std::string()};
}

}  // namespace

struct FabricSession::Impl {
  Impl(std::unique_ptr<driver::AsioNetwork> asio, const std::string& tenant, Duration call_timeout)
      : network(std::move(asio)),
        client(tenant,
               [this](std::span<const int> unwanted) { network->close_descriptors(unwanted); }),
        timeout(call_timeout) {}
  ~Impl() {
    is_ending = true;
    network->wake();
    if (keeper.joinable()) {
      keeper.join();
    }
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // What another thread wants to know.
  struct Call {
    wire::Op op;
    wire::Body body;
    std::promise<Result<Answer>> answer;
  };

  // The thread that has the session: opens it, says how that went, and drives it.
  void keep(const StreamAddress& control, std::promise<Result<void>> started) {
    const TimePoint end = network->clock().now() + timeout;
    const ConnectionId connection = network->connect(control, client);
    while (!client.is_connected() && !client.is_closed() && network->clock().now() < end) {
      network->run_until(end);
    }
    if (!client.is_connected()) {
      const Errc why = client.is_closed() ? client.close_reason() : Errc::deadline_exceeded;
      network->close(connection);
      is_lost = true;
      started.set_value(Error(why == Errc::lane_closed ? Errc::connect_failed : why,
                              control.to_string() + ": no box answers"));
      return;
    }
    epoch = client.session().epoch;
    started.set_value({});
    // A session that lost its connection is over here: it is not resumed.
    while (!is_ending && client.is_connected()) {
      if (send_calls()) {
        network->kick(connection);
      }
      network->run_until(network->clock().now() + kTurn);
    }
    is_lost = true;
    client.give_up_session(network->clock().now());
    network->close(connection);
    refuse_calls();
  }

  bool send_calls() {
    std::deque<Call> taken;
    {
      const std::lock_guard lock(mutex);
      taken.swap(calls);
    }
    for (Call& call : taken) {
      const TimePoint now = network->clock().now();
      auto promise = std::make_shared<std::promise<Result<Answer>>>(std::move(call.answer));
      client.request(call.op, call.body, now, now + timeout,
                     [this, promise](Errc status, ConstSpan body) {
                       if (status != Errc::ok) {
                         promise->set_value(refusal(status, body));
                         return;
                       }
                       promise->set_value(
                           Answer{wire::Body(body.begin(), body.end()), client.take_descriptors()});
                     });
    }
    return !taken.empty();
  }

  void refuse_calls() {
    const std::lock_guard lock(mutex);
    for (Call& call : calls) {
      call.answer.set_value(Error(Errc::session_lost, "the box is gone"));
    }
    calls.clear();
    is_over = true;
  }

  std::unique_ptr<driver::AsioNetwork> network;
  native::ControlClient client;  // the thread's
  Duration timeout;
  Epoch epoch;
  std::atomic<bool> is_ending{false};
  std::atomic<bool> is_lost{false};
  std::mutex mutex;  // of what follows
  std::deque<Call> calls;
  bool is_over = false;
  std::thread keeper;
};

FabricSession::FabricSession(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FabricSession::~FabricSession() = default;

Result<std::unique_ptr<FabricSession>> FabricSession::open(const std::string& control_socket,
                                                           const std::string& tenant,
                                                           Duration timeout) {
  if (tenant.size() > wire::kNameBytesMax) {
    return Error(Errc::invalid_argument, "the tenant's name is too long");
  }
  const std::string path =
      control_socket.empty() ? emulator::default_control_socket() : control_socket;
  const Result<StreamAddress> control = StreamAddress::parse("unix:" + path);
  if (!control) {
    return control.error();
  }
  if (path == emulator::default_control_socket()) {
    if (Result<void> trusted = check_socket_owner(path); !trusted) {
      return Error(trusted.error().code, control->to_string() + ": " + trusted.error().detail);
    }
  }
  auto network = driver::AsioNetwork::create({});
  if (!network) {
    return network.error();
  }
  auto impl = std::make_unique<Impl>(std::move(*network), tenant, timeout);
  std::promise<Result<void>> started;
  std::future<Result<void>> outcome = started.get_future();
  impl->keeper =
      std::thread([&state = *impl, address = *control, promise = std::move(started)]() mutable {
        state.keep(address, std::move(promise));
      });
  if (Result<void> ready = outcome.get(); !ready) {
    return ready.error();
  }
  return std::unique_ptr<FabricSession>(new FabricSession(std::move(impl)));
}

Result<FabricSession::Answer> FabricSession::call(wire::Op op, wire::Body body) {
  std::promise<Result<Answer>> promise;
  std::future<Result<Answer>> answer = promise.get_future();
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->is_over) {
      return Error(Errc::session_lost, "the box is gone");
    }
    impl_->calls.push_back({op, std::move(body), std::move(promise)});
  }
  impl_->network->wake();
  return answer.get();
}

Epoch FabricSession::epoch() const { return impl_->epoch; }
bool FabricSession::is_lost() const { return impl_->is_lost; }

}  // namespace godbox
