// SPDX-License-Identifier: Apache-2.0
//
// Many clients of one box at once, each with a session and lanes of its own, a few threads for all
// of them. Each client does one thing after another: puts, gets, prefix lookups, removes. Every
// byte is checked, every answer counted by its name, on one line of JSON. Ends with 1 when a byte
// was wrong or something was refused for no reason that a full or busy box has.
//   client_load CONTROL_SOCKET CLIENTS SECONDS THREADS SEED
#include "object_bytes.h"
#include <godbox/driver/asio_network.h>
#include <godbox/driver/descriptor_limit.h>
#include <godbox/driver/machine_memory.h>
#include <godbox/native/native_transport.h>
#include <godbox/striping/client.h>

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace godbox::load {
namespace {

using striping::Client;

constexpr std::array<std::size_t, 2> kObjectBytes{4096, 65536};
constexpr std::uint32_t kSlotsPerClient = 8;  // names of its own
constexpr std::uint32_t kNamesPerLookup = 16;
constexpr Duration kTimeout = std::chrono::seconds(20);

struct Arguments {
  std::string control_socket;
  std::uint32_t clients = 0;
  Duration time{};
  std::uint32_t threads = 1;
  std::uint64_t seed = 1;
};

// What all threads found.
struct Tally {
  std::map<std::string, std::uint64_t> answers;  // "get:ok"
  std::uint64_t operations = 0;
  std::uint64_t wrong_objects = 0;
  std::uint64_t connected = 0;
  std::uint64_t lanes_up = 0;
  std::vector<double> latencies_ms;

  void add(const Tally& other) {
    for (const auto& [what, times] : other.answers) {
      answers[what] += times;
    }
    operations += other.operations;
    wrong_objects += other.wrong_objects;
    connected += other.connected;
    lanes_up += other.lanes_up;
    latencies_ms.insert(latencies_ms.end(), other.latencies_ms.begin(), other.latencies_ms.end());
  }
};

// What a box that is full or busy answers, or one from which others remove what a reader wants.
constexpr std::array kReasons{Errc::ok,           Errc::not_found,        Errc::already_exists,
                              Errc::key_revoked,  Errc::present_unleased, Errc::pool_full,
                              Errc::backing_full, Errc::queue_full,       Errc::limit_exceeded};

bool has_reason(std::string_view answer) {
  return std::any_of(kReasons.begin(), kReasons.end(), [answer](Errc reason) {
    return answer.ends_with(fmt::format(":{}", to_string(reason)));
  });
}

struct Slot {
  std::uint32_t client = 0;
  std::uint32_t number = 0;

  [[nodiscard]] std::string name() const { return fmt::format("load/{}/{}", client, number); }
  [[nodiscard]] std::uint64_t id() const { return object_id(client, number); }
  [[nodiscard]] std::size_t size_bytes() const { return kObjectBytes[number % 2]; }
};

Result<std::unique_ptr<Transport>> make_lanes(const Client::TransportContext& context) {
  native::NativeTransportOptions lanes;
  lanes.session = context.session.session;
  lanes.secret = context.session.secret;
  lanes.epoch = context.session.epoch;
  lanes.reply_timeout = kTimeout / 4;
  for (const wire::EthPortInfo& port : context.box.eth_ports) {
    const Result<StreamAddress> address = StreamAddress::parse(port.address);
    if (!address) {
      return address.error();
    }
    lanes.lanes.push_back({*address, port.id, port.super_nic});
  }
  return std::unique_ptr<Transport>(
      std::make_unique<native::NativeTransport>(context.network, std::move(lanes)));
}

// One client and the one thing that it does now.
class Worker {
 public:
  Worker(StreamNetwork& network, const Arguments& arguments, std::uint32_t number, Tally& tally)
      : network_(network),
        arguments_(arguments),
        number_(number),
        tally_(tally),
        dice_(arguments.seed * 1000003 + number) {}

  void connect() {
    const StreamAddress control{StreamAddress::Kind::local_socket, arguments_.control_socket, 0};
    striping::ClientOptions options;
    options.tenant = "load";
    options.timeout = kTimeout;
    auto made = Client::connect(network_, control, options, make_lanes);
    count("connect", made ? Errc::ok : made.error().code);
    if (made) {
      client_ = std::move(*made);
      tally_.connected += 1;
    }
  }

  // True while it may begin something.
  void step(bool may_begin) {
    if (client_ == nullptr) {
      return;
    }
    if (!is_busy_ && may_begin) {
      begin();
    }
    client_->progress(TimePoint{});
  }
  void wait(TimePoint until) {
    if (client_ != nullptr) {
      client_->progress(until);
    }
  }
  [[nodiscard]] bool is_busy() const { return is_busy_; }
  void count_lanes() {
    for (std::size_t i = 0; client_ != nullptr && i < client_->transport().lane_count(); ++i) {
      const LaneId lane(static_cast<LaneId::rep>(i));
      tally_.lanes_up += client_->transport().lane_status(lane).state == LaneState::up ? 1 : 0;
    }
  }

 private:
  [[nodiscard]] TimePoint now() const { return network_.clock().now(); }

  void count(const char* what, Errc status) {
    ++tally_.answers[fmt::format("{}:{}", what, to_string(status))];
  }

  void begin() {
    is_busy_ = true;
    begun_ = now();
    const std::uint64_t what = dice_() % 100;
    const auto number = static_cast<std::uint32_t>(dice_() % kSlotsPerClient);
    if (what < 30) {
      put({number_, number});
    } else if (what < 80) {
      get({static_cast<std::uint32_t>(dice_() % arguments_.clients), number});
    } else if (what < 90) {
      look_up();
    } else {
      remove({number_, number});
    }
  }

  void end(const char* what, Errc status) {
    count(what, status);
    tally_.operations += 1;
    tally_.latencies_ms.push_back(
        std::chrono::duration<double, std::milli>(now() - begun_).count());
    is_busy_ = false;
  }

  void put(Slot slot) {
    bytes_.resize(slot.size_bytes());
    fill_object(bytes_, slot.id(), ++generation_);
    name_ = slot.name();
    piece_ = {bytes_.data(), bytes_.size()};
    const striping::PutItem item{name_, {&piece_, 1}, SizeBytes()};
    client_->submit_put({&item, 1},
                        [this](std::span<const Errc> statuses) { end("put", statuses[0]); });
  }

  void get(Slot slot) {
    bytes_.assign(slot.size_bytes(), std::byte{0xA5});
    name_ = slot.name();
    piece_ = {bytes_.data(), bytes_.size()};
    const striping::GetItem item{name_, {&piece_, 1}};
    client_->submit_get({&item, 1}, [this, slot](std::span<const Errc> statuses) {
      tally_.wrong_objects += statuses[0] == Errc::ok && !is_object(bytes_, slot.id()) ? 1 : 0;
      end("get", statuses[0]);
    });
  }

  void look_up() {
    std::vector<std::string> names;
    std::vector<std::string_view> views;
    const auto first = static_cast<std::uint32_t>(dice_() % arguments_.clients);
    for (std::uint32_t i = 0; i < kNamesPerLookup; ++i) {
      names.push_back(
          Slot{(first + i / kSlotsPerClient) % arguments_.clients, i % kSlotsPerClient}.name());
    }
    views.assign(names.begin(), names.end());
    client_->submit_lookup(views, true, [this](Result<striping::Lookup> found) {
      end("lookup", found ? Errc::ok : found.error().code);
      if (found) {
        client_->release(*found);
      }
    });
  }

  void remove(Slot slot) {
    name_ = slot.name();
    const std::string_view view = name_;
    client_->submit_remove({&view, 1},
                           [this](std::span<const Errc> statuses) { end("remove", statuses[0]); });
  }

  StreamNetwork& network_;
  const Arguments& arguments_;
  const std::uint32_t number_;
  Tally& tally_;
  std::mt19937_64 dice_;
  std::unique_ptr<Client> client_;
  bool is_busy_ = false;
  TimePoint begun_{};
  std::string name_;
  std::vector<std::byte> bytes_;
  LocalSegment piece_;
  std::uint64_t generation_ = 0;
};

// Every threads-th client, from `first` on.
Tally run_thread(const Arguments& arguments, std::uint32_t first) {
  Tally tally;
  auto network = driver::AsioNetwork::create();
  if (!network) {
    ++tally.answers[fmt::format("network:{}", to_string(network.error().code))];
    return tally;
  }
  std::vector<std::unique_ptr<Worker>> workers;
  for (std::uint32_t i = first; i < arguments.clients; i += arguments.threads) {
    workers.push_back(std::make_unique<Worker>(**network, arguments, i, tally));
    workers.back()->connect();
    // The sessions of those before it want to be driven too.
    for (const auto& worker : workers) {
      worker->step(false);
    }
  }
  const Clock& clock = (*network)->clock();
  const TimePoint end = clock.now() + arguments.time;
  bool any_busy = true;
  while (clock.now() < end || any_busy) {
    any_busy = false;
    for (const auto& worker : workers) {
      worker->step(clock.now() < end);
      any_busy |= worker->is_busy();
    }
    if (!workers.empty()) {
      workers.front()->wait(clock.now() + std::chrono::microseconds(200));
    }
  }
  for (const auto& worker : workers) {
    worker->count_lanes();
  }
  return tally;
}

double percentile_of(std::vector<double>& sorted, double share) {
  return sorted.empty()
             ? 0
             : sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
}

int report(Tally& tally, const Arguments& arguments, double seconds) {
  std::sort(tally.latencies_ms.begin(), tally.latencies_ms.end());
  boost::json::object answers;
  std::uint64_t unreasoned = 0;
  for (const auto& [what, times] : tally.answers) {
    answers[what] = times;
    unreasoned += has_reason(what) ? 0 : times;
  }
  const boost::json::object document{
      {"clients", arguments.clients},
      {"connected", tally.connected},
      {"lanes_up", tally.lanes_up},
      {"seconds", seconds},
      {"operations", tally.operations},
      {"p50_ms", percentile_of(tally.latencies_ms, 0.5)},
      {"p99_ms", percentile_of(tally.latencies_ms, 0.99)},
      {"max_ms", percentile_of(tally.latencies_ms, 1)},
      {"answers", answers},
      {"without_reason", unreasoned},
      {"wrong_objects", tally.wrong_objects},
      {"client_resident_bytes", driver::resident_memory_bytes().count()},
  };
  fmt::print("{}\n", boost::json::serialize(document));
  return unreasoned == 0 && tally.wrong_objects == 0 ? 0 : 1;
}

int run(const Arguments& arguments) {
  if (const auto limit = driver::raise_descriptor_limit(); !limit) {
    fmt::print(stderr, "{}\n", limit.error().detail);
  }
  const TimePoint begin = SteadyClock().now();
  Tally all;
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < arguments.threads; ++i) {
    threads.emplace_back([&, i] {
      const Tally tally = run_thread(arguments, i);
      const std::lock_guard lock(mutex);
      all.add(tally);
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  return report(all, arguments, std::chrono::duration<double>(SteadyClock().now() - begin).count());
}

}  // namespace
}  // namespace godbox::load

int main(int count, char** words) {
  if (count != 6) {
    fmt::print(stderr, "usage: client_load CONTROL_SOCKET CLIENTS SECONDS THREADS SEED\n");
    return 2;
  }
  godbox::load::Arguments arguments;
  arguments.control_socket = words[1];
  arguments.clients = static_cast<std::uint32_t>(std::strtoul(words[2], nullptr, 10));
  arguments.time = std::chrono::seconds(std::strtoul(words[3], nullptr, 10));
  arguments.threads = static_cast<std::uint32_t>(std::strtoul(words[4], nullptr, 10));
  arguments.seed = std::strtoull(words[5], nullptr, 10);
  return godbox::load::run(arguments);
}
