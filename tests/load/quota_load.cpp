// SPDX-License-Identifier: Apache-2.0
//
// One client of many against a box whose tenants have quotas; tests/load/quota_test.py starts them.
// What it does is its role's:
//   calm    puts, gets, removes and puts again, within its quota: each put has to be done
//   flood   leases all it finds and never gives it back, pins hard, and puts on
//   greedy  puts more than its quota at a time, and objects that are larger than it
//   doomed  puts layer by layer; says "B" when one is begun, so that somebody may kill it then
//   watch   asks for the usage of every tenant (TENANT,TENANT,...), all the time
//   audit   reads all that a tenant has, compares its size with what USAGE says, removes it
// Counts every answer by its name, on one line of JSON. Ends with 1 where a byte was wrong, usage
// was beyond a quota, or something was refused for another reason than the tenant's own quota.
//   quota_load ADDRESS TENANT ROLE CLIENT SECONDS SEED
#include "object_bytes.h"
#include <godbox/connect.h>

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <thread>

namespace godbox::load {
namespace {

using striping::Client;

// Sizes that fill their strips, so that an object takes as many bytes of the pool as it has.
constexpr std::array<std::size_t, 3> kObjectBytes{std::size_t{36} << 10U, std::size_t{288} << 10U,
                                                  std::size_t{1152} << 10U};
constexpr std::uint32_t kCalmSlots = 6;
constexpr std::uint32_t kFloodSlots = 128;
constexpr std::uint32_t kFloodLookupNames = 64;
constexpr std::uint32_t kGreedySlots = 64;
constexpr std::uint32_t kGreedyBatch = 4;
constexpr std::uint32_t kLayers = 16;
constexpr std::size_t kLayerBytes = std::size_t{288} << 10U;
constexpr std::size_t kLeasesMax = 4096;  // that one flooding client has at a time
constexpr std::uint32_t kNamesPerList = 1000;
constexpr auto kLayerPause = std::chrono::milliseconds(4);
constexpr auto kWatchPause = std::chrono::microseconds(500);

struct Arguments {
  std::string address;
  std::string tenant;
  std::string role;
  std::uint32_t client = 0;
  Duration time{};
  std::uint64_t seed = 1;
};

std::string name_of(std::uint32_t client, std::uint32_t number) {
  return fmt::format("{}/{}", client, number);
}

std::uint64_t id_of(const std::string& name) {
  const auto client = static_cast<std::uint32_t>(std::strtoul(name.c_str(), nullptr, 10));
  const std::size_t slash = name.find('/');
  return object_id(client,
                   static_cast<std::uint32_t>(std::strtoul(name.c_str() + slash + 1, nullptr, 10)));
}

class Worker {
 public:
  Worker(const Arguments& arguments, Client& client)
      : arguments_(arguments),
        client_(client),
        dice_(arguments.seed * 1000003 + arguments.client) {}

  bool run() {
    using Step = void (Worker::*)();
    const std::map<std::string, Step> roles{{"calm", &Worker::be_calm},
                                            {"flood", &Worker::flood},
                                            {"greedy", &Worker::be_greedy},
                                            {"doomed", &Worker::put_layers}};
    const auto role = roles.find(arguments_.role);
    if (role == roles.end()) {
      return false;
    }
    const TimePoint end = SteadyClock().now() + arguments_.time;
    while (SteadyClock().now() < end && client_.is_open()) {
      const TimePoint begun = SteadyClock().now();
      (this->*role->second)();
      const auto took = std::chrono::ceil<std::chrono::milliseconds>(SteadyClock().now() - begun);
      figures_["step_ms_max"] =
          std::max(figures_["step_ms_max"], static_cast<std::uint64_t>(took.count()));
    }
    figures_["sessions_resumed"] = client_.sessions_resumed();
    expect(client_.is_open(), "the session is lost");
    return true;
  }

  // Reads, compares and removes all that the tenant has.
  void audit() {
    std::uint64_t bytes = 0;
    std::uint64_t objects = 0;
    std::vector<std::string> names;
    for (bool more = true; more;) {
      const auto part = client_.list("", names.empty() ? "" : names.back(), kNamesPerList);
      if (!part) {
        return expect(false, "list: " + part.error().message());
      }
      for (const wire::ListEntry& entry : part->entries) {
        names.push_back(entry.name);
        bytes += entry.size.count();
        ++objects;
        read_whole(entry.name, entry.size.count());
      }
      more = part->more;
    }
    const auto usage = client_.usage();
    expect(usage && usage->reserved.count() == bytes && usage->objects == objects,
           fmt::format("{} objects of {} bytes are listed, and {} of {} bytes used", objects, bytes,
                       usage ? usage->objects : 0, usage ? usage->reserved.count() : 0));
    figures_["audited_objects"] = objects;
    figures_["audited_bytes"] = bytes;
    figures_["audited_held_bytes"] = usage ? usage->held.count() : 0;
    for (const std::string& name : names) {
      const std::string_view view = name;
      const Errc status = client_.remove({&view, 1})[0];
      count("remove", status);
      expect(status == Errc::ok, fmt::format("remove {}: {}", name, to_string(status)));
    }
    // What was read last goes once the kernel says that it has arrived.
    auto after = client_.usage();
    for (int i = 0; i < 100 && after && after->reserved.count() > 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      after = client_.usage();
    }
    expect(
        after && after->reserved.count() == 0 && after->held.count() == 0 && after->objects == 0,
        fmt::format("with nothing left, {} bytes are in use", after ? after->reserved.count() : 0));
  }

  // Of a tenant that is only looked at.
  void look() {
    const auto usage = client_.usage();
    if (!usage) {
      return expect(false, "usage: " + usage.error().message());
    }
    const std::uint64_t quota = usage->quota.count();
    expect(quota > 0 && usage->reserved.count() <= quota,
           fmt::format("tenant {} uses {} of {} bytes", arguments_.tenant, usage->reserved.count(),
                       quota));
    expect(usage->held.count() <= quota / 2,
           fmt::format("tenant {} holds {} of {} bytes", arguments_.tenant, usage->held.count(),
                       quota));
    figures_["looks"] += 1;
    figures_["reserved_bytes_max"] =
        std::max(figures_["reserved_bytes_max"], usage->reserved.count());
    figures_["held_bytes_max"] = std::max(figures_["held_bytes_max"], usage->held.count());
    figures_["quota_bytes"] = quota;
  }

  [[nodiscard]] boost::json::object report() const {
    boost::json::object answers;
    for (const auto& [what, times] : answers_) {
      answers[what] = times;
    }
    boost::json::object document{{"role", arguments_.role},
                                 {"tenant", arguments_.tenant},
                                 {"answers", std::move(answers)},
                                 {"violations", violations_},
                                 {"first_violation", first_violation_}};
    for (const auto& [what, value] : figures_) {
      document[what] = value;
    }
    return document;
  }
  [[nodiscard]] bool is_good() const { return violations_ == 0; }

 private:
  void count(const char* what, Errc status) {
    ++answers_[fmt::format("{}:{}", what, to_string(status))];
  }
  void expect(bool is_true, const std::string& what) {
    if (!is_true) {
      violations_ += 1;
      first_violation_ = first_violation_.empty() ? what : first_violation_;
    }
  }
  [[nodiscard]] std::uint32_t below(std::uint32_t end) {
    return static_cast<std::uint32_t>(dice_() % end);
  }

  // `may_refuse`: for the tenant's own quota, and for nothing else.
  Errc put(std::uint32_t number, std::size_t size_bytes, bool may_refuse,
           const wire::Retention& retention = {}) {
    const std::string name = name_of(arguments_.client, number);
    bytes_.resize(size_bytes);
    fill_object(bytes_, object_id(arguments_.client, number), ++generation_);
    const LocalSegment piece{bytes_.data(), bytes_.size()};
    const striping::PutItem item{name, {&piece, 1}, {}, true, retention};
    const Errc status = client_.put({&item, 1})[0];
    count("put", status);
    expect(status == Errc::ok || (may_refuse && status == Errc::quota_exceeded),
           fmt::format("{} of tenant {}: put of {} bytes: {}", arguments_.role, arguments_.tenant,
                       size_bytes, to_string(status)));
    return status;
  }

  void get(const std::string& name, std::size_t size_bytes) {
    bytes_.assign(size_bytes, std::byte{0xA5});
    const LocalSegment piece{bytes_.data(), bytes_.size()};
    const striping::GetItem item{name, {&piece, 1}};
    const Errc status = client_.get({&item, 1})[0];
    count("get", status);
    expect(status != Errc::ok || is_object(bytes_, id_of(name)), name + ": wrong bytes");
    // A miss, and what the reader of an object hears that goes away meanwhile.
    expect(status == Errc::ok || status == Errc::not_found || status == Errc::key_revoked,
           fmt::format("get {}: {}", name, to_string(status)));
  }

  void read_whole(const std::string& name, std::uint64_t size_bytes) {
    std::vector<std::byte> bytes(size_bytes);
    const LocalSegment piece{bytes.data(), bytes.size()};
    const striping::GetItem item{name, {&piece, 1}};
    const Errc status = client_.get({&item, 1})[0];
    count("audit_get", status);
    expect(status == Errc::ok,
           fmt::format("{} is listed, and get says {}", name, to_string(status)));
    expect(status != Errc::ok || is_object(bytes, id_of(name)), name + ": wrong bytes");
  }

  void be_calm() {
    const std::uint32_t number = below(kCalmSlots);
    const std::size_t size_bytes = kObjectBytes[number % kObjectBytes.size()];
    const std::string name = name_of(arguments_.client, number);
    const std::uint32_t what = below(100);
    if (what < 45) {
      put(number, size_bytes, false);
    } else if (what < 85) {
      get(name, size_bytes);
    } else {
      const std::string_view view = name;
      const Errc status = client_.remove({&view, 1})[0];
      count("remove", status);
      expect(status == Errc::ok || status == Errc::not_found,
             fmt::format("remove: {}", to_string(status)));
    }
  }

  void flood() {
    const std::uint32_t number = below(kFloodSlots);
    const wire::Retention retention{below(2) == 0 ? wire::Pin::hard : wire::Pin::none, 0, 0};
    put(number, kObjectBytes[number % kObjectBytes.size()], true);
    std::vector<std::string> names;
    std::vector<std::string_view> views;
    for (std::uint32_t i = 0; i < kFloodLookupNames; ++i) {
      names.push_back(name_of(arguments_.client, (number + i) % kFloodSlots));
    }
    views.assign(names.begin(), names.end());
    auto found = client_.lookup(views);
    count("lookup", found ? Errc::ok : found.error().code);
    expect(found.has_value(), "lookup: " + (found ? "" : found.error().message()));
    if (found) {
      for (const striping::FoundObject& object : found->objects) {
        count("leased", object.status);
      }
      leased_.push_back(std::move(*found));
      leased_.erase(leased_.begin(), leased_.begin() + static_cast<std::ptrdiff_t>(
                                                           leased_.size() > kLeasesMax ? 1 : 0));
    }
    const wire::RetainItem pin{names[0], retention};
    const Errc status = client_.retain({&pin, 1})[0];
    count("retain", status);
    // limit_exceeded: of all tenants' hard pins together.
    expect(status == Errc::ok || status == Errc::not_found || status == Errc::quota_exceeded ||
               status == Errc::limit_exceeded,
           fmt::format("retain: {}", to_string(status)));
  }

  void be_greedy() {
    std::vector<std::string> names;
    bytes_.resize(kObjectBytes.back() * kGreedyBatch);
    std::vector<LocalSegment> pieces;
    const std::uint32_t first = below(kGreedySlots);
    for (std::uint32_t i = 0; i < kGreedyBatch; ++i) {
      const std::span<std::byte> part =
          std::span(bytes_).subspan(i * kObjectBytes.back(), kObjectBytes.back());
      const std::uint32_t number = (first + i) % kGreedySlots;
      names.push_back(name_of(arguments_.client, number));
      fill_object(part, object_id(arguments_.client, number), ++generation_);
      pieces.push_back({part.data(), part.size()});
    }
    std::vector<striping::PutItem> items;
    for (std::uint32_t i = 0; i < kGreedyBatch; ++i) {
      items.push_back({names[i], {&pieces[i], 1}, {}, true, {}});
    }
    for (const Errc status : client_.put(items)) {
      count("put", status);
      expect(status == Errc::ok || status == Errc::quota_exceeded,
             fmt::format("greedy: put: {}", to_string(status)));
    }
    const auto usage = client_.usage();
    if (usage && below(8) == 0) {
      const auto stripes = usage->quota.count() / kObjectBytes.back() + 1;
      const Errc status = put(kGreedySlots, stripes * kObjectBytes.back(), true);
      expect(status == Errc::quota_exceeded,
             fmt::format("put of more than the quota: {}", to_string(status)));
      count("beyond", status);
    }
    get(names[0], kObjectBytes.back());
  }

  void put_layers() {
    const std::uint32_t number = below(kCalmSlots);
    const std::string name = name_of(arguments_.client, number);
    bytes_.resize(kLayerBytes * kLayers);
    fill_object(bytes_, object_id(arguments_.client, number), ++generation_);
    const striping::LayeredItem item{name, SizeBytes(kLayerBytes), kLayers, true, {}};
    auto begun = client_.begin_layers({&item, 1});
    count("begin", begun ? begun->statuses()[0] : begun.error().code);
    expect(begun && begun->statuses()[0] == Errc::ok, "layered put: not begun");
    for (std::uint32_t layer = 0; begun && layer < kLayers; ++layer) {
      const LocalSegment piece{bytes_.data() + layer * kLayerBytes, kLayerBytes};
      const std::span<const LocalSegment> data{&piece, 1};
      const Errc status = client_.put_layer(*begun, layer, {&data, 1})[0];
      count("layer", status);
      expect(status == Errc::ok, fmt::format("layer {}: {}", layer, to_string(status)));
      if (layer == 0) {
        fmt::print("B\n");
        std::fflush(stdout);
      }
      std::this_thread::sleep_for(kLayerPause);
    }
  }

  const Arguments& arguments_;
  Client& client_;
  std::mt19937_64 dice_;
  std::vector<std::byte> bytes_;
  std::vector<striping::Lookup> leased_;
  std::uint64_t generation_ = 0;
  std::map<std::string, std::uint64_t> answers_;
  std::map<std::string, std::uint64_t> figures_;
  std::uint64_t violations_ = 0;
  std::string first_violation_;
};

Result<std::unique_ptr<Connection>> connect_as(const Arguments& arguments) {
  ConnectOptions options;
  options.client.tenant = arguments.tenant;
  options.client.timeout = std::chrono::seconds(20);
  options.busy_poll = Duration::zero();  // many more clients than CPUs
  options.eth_ports_max = arguments.role == "watch" ? 1 : 0;
  return connect(arguments.address, options);
}

int end_with(const boost::json::object& document, bool is_good) {
  fmt::print("{}\n", boost::json::serialize(document));
  return is_good ? 0 : 1;
}

// The tenants' usage in turn, on a connection each.
int watch(const Arguments& arguments) {
  std::vector<Arguments> each;
  std::vector<std::unique_ptr<Connection>> connections;
  std::vector<std::unique_ptr<Worker>> workers;
  for (std::size_t at = 0; at < arguments.tenant.size();) {
    const std::size_t end = std::min(arguments.tenant.find(',', at), arguments.tenant.size());
    each.push_back(arguments);
    each.back().tenant = arguments.tenant.substr(at, end - at);
    at = end + 1;
  }
  for (const Arguments& one : each) {
    auto connection = connect_as(one);
    if (!connection) {
      fmt::print(stderr, "{}\n", connection.error().message());
      return 1;
    }
    connections.push_back(std::move(*connection));
    workers.push_back(std::make_unique<Worker>(one, connections.back()->client()));
  }
  const TimePoint end = SteadyClock().now() + arguments.time;
  while (SteadyClock().now() < end) {
    for (const auto& worker : workers) {
      worker->look();
    }
    std::this_thread::sleep_for(kWatchPause);
  }
  boost::json::array tenants;
  bool is_good = true;
  for (const auto& worker : workers) {
    tenants.push_back(worker->report());
    is_good = is_good && worker->is_good();
  }
  return end_with({{"role", "watch"}, {"tenants", std::move(tenants)}}, is_good);
}

int run(const Arguments& arguments) {
  if (arguments.role == "watch") {
    return watch(arguments);
  }
  auto connection = connect_as(arguments);
  if (!connection) {
    fmt::print(stderr, "{}\n", connection.error().message());
    return 1;
  }
  Worker worker(arguments, (*connection)->client());
  fmt::print("ready\n");
  std::fflush(stdout);
  if (arguments.role == "audit") {
    worker.audit();
  } else if (!worker.run()) {
    fmt::print(stderr, "\"{}\" is no role\n", arguments.role);
    return 2;
  }
  return end_with(worker.report(), worker.is_good());
}

}  // namespace
}  // namespace godbox::load

int main(int count, char** words) {
  if (count != 7) {
    fmt::print(stderr, "usage: quota_load ADDRESS TENANT ROLE CLIENT SECONDS SEED\n");
    return 2;
  }
  godbox::load::Arguments arguments;
  arguments.address = words[1];
  arguments.tenant = words[2];
  arguments.role = words[3];
  arguments.client = static_cast<std::uint32_t>(std::strtoul(words[4], nullptr, 10));
  arguments.time = std::chrono::milliseconds(std::strtoul(words[5], nullptr, 10) * 1000);
  arguments.seed = std::strtoull(words[6], nullptr, 10);
  return godbox::load::run(arguments);
}
