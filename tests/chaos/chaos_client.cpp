// SPDX-License-Identifier: Apache-2.0
#include "chaos_client.h"

#include "child_process.h"
#include <godbox/connect.h>
#include <godbox/driver/asio_network.h>
#include <godbox/native/native_transport.h>

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <map>
#include <memory>
#include <stdexcept>
#include <thread>

#include <unistd.h>

namespace godbox::chaos {

namespace {

using sim::fill_content;
using sim::find_difference;
using std::chrono::milliseconds;
using std::chrono::seconds;
using striping::Client;

constexpr Duration kTimeout = seconds(2);
// What a loaded machine may add to a deadline without any fault of ours.
constexpr Duration kSlack = seconds(4);
constexpr Duration kLaneReplyTimeout = milliseconds(500);
constexpr std::size_t kRegionBytes = 300'000;
constexpr std::size_t kBatchMax = 6;

struct Broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What a client may be told while processes die and connections break around it.
bool may_answer(Errc status) {
  switch (status) {
    case Errc::ok:
    case Errc::not_found:
    case Errc::already_exists:
    case Errc::deadline_exceeded:
    case Errc::present_unleased:
    case Errc::lease_expired:
    case Errc::reservation_expired:
    case Errc::key_revoked:
    case Errc::write_in_flight:
    case Errc::lane_closed:
    case Errc::lane_fenced:
    case Errc::lane_timeout:
    case Errc::connect_failed:
    case Errc::session_lost:
    case Errc::wrong_epoch:
    case Errc::pool_full:
    case Errc::backing_full:
      return true;
    default:
      return false;
  }
}

// A connection in one of two ways: the product's own connect(), or lanes led through the relay.
class Link {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Link>> open(const ClientArguments& arguments) {
    auto link = std::make_unique<Link>();
    striping::ClientOptions options;
    options.tenant = "chaos";
    options.timeout = kTimeout;
    if (arguments.relay_tcp_ports.empty()) {
      ConnectOptions connect_options;
      connect_options.client = options;
      connect_options.lane_reply_timeout = kLaneReplyTimeout;
      connect_options.lanes_per_eth_port = 2;
      auto made = connect("unix:" + arguments.control_socket, connect_options);
      if (!made) {
        return made.error();
      }
      link->connection_ = std::move(*made);
      return link;
    }
    auto network = driver::AsioNetwork::create();
    if (!network) {
      return network.error();
    }
    link->network_ = std::move(*network);
    const StreamAddress control{StreamAddress::Kind::local_socket, arguments.control_socket, 0};
    auto made = Client::connect(*link->network_, control, options,
                                [&](const Client::TransportContext& context) {
                                  return relayed(context, arguments.relay_tcp_ports);
                                });
    if (!made) {
      return made.error();
    }
    link->client_ = std::move(*made);
    return link;
  }

  [[nodiscard]] Client& client() { return connection_ ? connection_->client() : *client_; }

 private:
  static Result<std::unique_ptr<Transport>> relayed(const Client::TransportContext& context,
                                                    const std::vector<std::uint16_t>& tcp_ports) {
    native::NativeTransportOptions lanes;
    lanes.session = context.session.session;
    lanes.secret = context.session.secret;
    lanes.epoch = context.session.epoch;
    lanes.reply_timeout = kLaneReplyTimeout;
    for (const wire::EthPortInfo& port : context.box.eth_ports) {
      const StreamAddress at{StreamAddress::Kind::tcp, "127.0.0.1", tcp_ports.at(port.id.value())};
      lanes.lanes.push_back({at, port.id, port.super_nic});
    }
    if (lanes.lanes.empty()) {
      return Error(Errc::connect_failed, "the box names no Ethernet port");
    }
    return std::unique_ptr<Transport>(
        std::make_unique<native::NativeTransport>(context.network, std::move(lanes)));
  }

  std::unique_ptr<Connection> connection_;
  std::unique_ptr<driver::AsioNetwork> network_;
  std::unique_ptr<Client> client_;
};

class Worker {
 private:
  template <class Call>
  auto timed(const char* what, Call&& call) {
    const TimePoint begin = clock_.now();
    auto result = call();
    if (clock_.now() - begin > kTimeout + kSlack) {
      throw Broken(fmt::format("{} took {} ms", what, (clock_.now() - begin).count() / 1'000'000));
    }
    return result;
  }

 public:
  explicit Worker(const ClientArguments& arguments)
      : arguments_(arguments), dice_(arguments.seed) {}

  void run() {
    const TimePoint end = clock_.now() + arguments_.time;
    while (clock_.now() < end) {
      auto link = timed("connect", [&] { return Link::open(arguments_); });
      count("connect", link ? Errc::ok : link.error().code);
      if (!link) {
        std::this_thread::sleep_for(milliseconds(20));
        continue;
      }
      while (clock_.now() < end && (*link)->client().is_open()) {
        step((*link)->client());
      }
    }
  }
  [[nodiscard]] std::string summary() const {
    std::string text;
    for (const auto& [what, times] : seen_) {
      text += fmt::format("{}={} ", what, times);
    }
    return text;
  }

 private:
  void step(Client& client) {
    const std::uint64_t what = dice_.below(100);
    if (what < 40) {
      put(client);
    } else if (what < 75) {
      get(client);
    } else if (what < 85) {
      look_up(client);
    } else if (what < 92) {
      remove(client);
    } else {
      use_region(client);
    }
  }

  void count(const char* what, Errc status) {
    ++seen_[fmt::format("{}:{}", what, to_string(status))];
    // connect() has errors of its own, and all of them are names.
    if (!may_answer(status) && std::string_view(what) != "connect") {
      throw Broken(fmt::format("{} answered {}", what, to_string(status)));
    }
  }
  std::vector<std::size_t> draw_names() {
    std::vector<std::size_t> names(dice_.between(1, kBatchMax));
    for (std::size_t& name : names) {
      name = dice_.below(kNames);
    }
    return names;
  }

  void put(Client& client) {
    std::vector<std::string> names;
    std::vector<std::vector<std::byte>> blocks;
    std::vector<LocalSegment> pieces;
    std::vector<striping::PutItem> items;
    for (const std::size_t index : draw_names()) {
      names.push_back(name_of(index));
      blocks.emplace_back(size_of(index));
      fill_content(blocks.back(), seed_of(index));
      pieces.push_back({blocks.back().data(), blocks.back().size()});
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      items.push_back({names[i], {&pieces[i], 1}, SizeBytes()});
    }
    for (const Errc status : timed("put", [&] { return client.put(items); })) {
      count("put", status);
    }
  }

  void check(std::size_t index, ConstSpan bytes) const {
    if (const auto difference = find_difference(bytes, seed_of(index))) {
      throw Broken(fmt::format("wrong byte {} of {}", *difference, name_of(index)));
    }
  }

  void get(Client& client) {
    const std::vector<std::size_t> indices = draw_names();
    std::vector<std::string> names;
    std::vector<std::vector<std::byte>> blocks;
    std::vector<LocalSegment> pieces;
    std::vector<striping::GetItem> items;
    for (const std::size_t index : indices) {
      names.push_back(name_of(index));
      blocks.emplace_back(size_of(index));
      pieces.push_back({blocks.back().data(), blocks.back().size()});
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      items.push_back({names[i], {&pieces[i], 1}});
    }
    const std::vector<Errc> statuses = timed("get", [&] { return client.get(items); });
    for (std::size_t i = 0; i < statuses.size(); ++i) {
      count("get", statuses[i]);
      if (statuses[i] == Errc::ok) {
        check(indices[i], blocks[i]);
      }
    }
  }

  void look_up(Client& client) {
    std::vector<std::string> names;
    const std::size_t first = dice_.below(kNames - kBatchMax);
    for (std::size_t i = 0; i < kBatchMax; ++i) {
      names.push_back(name_of(first + i));
    }
    const std::vector<std::string_view> views(names.begin(), names.end());
    auto found = timed("lookup", [&] { return client.lookup_prefix(views); });
    count("lookup", found ? Errc::ok : found.error().code);
    if (!found || found->objects.empty()) {
      return;
    }
    std::vector<std::vector<std::byte>> blocks;
    std::vector<LocalSegment> pieces;
    std::vector<std::span<const LocalSegment>> into;
    for (const striping::FoundObject& object : found->objects) {
      blocks.emplace_back(object.size.count());
      pieces.push_back({blocks.back().data(), blocks.back().size()});
    }
    for (const LocalSegment& piece : pieces) {
      into.emplace_back(&piece, 1);
    }
    const std::vector<Errc> statuses =
        timed("get_found", [&] { return client.get_found(*found, into); });
    for (std::size_t i = 0; i < statuses.size(); ++i) {
      count("get_found", statuses[i]);
      if (statuses[i] == Errc::ok) {
        check(first + i, blocks[i]);
      }
    }
    client.release(*found);
  }

  void remove(Client& client) {
    const std::string name = name_of(dice_.below(kNames));
    const std::array<std::string_view, 1> names{name};
    count("remove", timed("remove", [&] { return client.remove(names); }).front());
  }

  void use_region(Client& client) {
    auto region = timed("allocate", [&] { return client.allocate(SizeBytes(kRegionBytes)); });
    count("allocate", region ? Errc::ok : region.error().code);
    if (!region) {
      return;
    }
    const std::uint64_t seed = dice_.next();
    std::vector<std::byte> block(dice_.between(1, kRegionBytes));
    std::vector<std::byte> copy(block.size());
    fill_content(block, seed);
    const RegionOffset offset(dice_.below(kRegionBytes - block.size() + 1));
    const striping::RegionPiece out{offset, {block.data(), block.size()}};
    const striping::RegionPiece in{offset, {copy.data(), copy.size()}};
    const Errc written = timed("write", [&] { return client.write(*region, {&out, 1}); });
    count("write", written);
    const Errc read = timed("read", [&] { return client.read(*region, {&in, 1}); });
    count("read", read);
    if (written == Errc::ok && read == Errc::ok && find_difference(copy, seed)) {
      throw Broken(fmt::format("wrong byte {} of a region", *find_difference(copy, seed)));
    }
    const auto freed = timed("free", [&] { return client.free(*region); });
    count("free", freed ? Errc::ok : freed.error().code);
  }

  const ClientArguments& arguments_;
  sim::SimRandom dice_;
  SteadyClock clock_;
  std::map<std::string, std::uint64_t> seen_;
};

}  // namespace

std::string name_of(std::size_t index) { return fmt::format("chaos/{:04}", index); }

std::size_t size_of(std::size_t index) {
  constexpr std::array<std::size_t, 10> kSizes{1,      127,     4096,    4097,      65'535,
                                               65'536, 100'000, 393'216, 1'000'003, 2'097'152};
  return kSizes[index % kSizes.size()];
}

std::uint64_t seed_of(std::size_t index) { return sim::mix64(0x6368616f73U + index); }

int run_client(const ClientArguments& arguments) {
  const std::size_t descriptors = count_descriptors(::getpid());
  try {
    Worker worker(arguments);
    worker.run();
    fmt::print("{}\n", worker.summary());
  } catch (const Broken& broken) {
    fmt::print(stderr, "client with seed {}: {}\n", arguments.seed, broken.what());
    return 1;
  }
  const std::size_t left = count_descriptors(::getpid());
  if (left != descriptors) {
    fmt::print(stderr, "client with seed {}: {} descriptors at the start, {} at the end\n",
               arguments.seed, descriptors, left);
    return 1;
  }
  return 0;
}

}  // namespace godbox::chaos
