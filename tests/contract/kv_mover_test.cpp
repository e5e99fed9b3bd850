// SPDX-License-Identifier: Apache-2.0
//
// Paged KV caches of engines to a served box and back, through every kind of address.
#include "src/served_box.h"
#include <godbox/connect.h>
#include <godbox/striping/kv_mover.h>
#include <godbox_test/engine_cache.h>

#include <chrono>
#include <map>

namespace godbox::test {
namespace {

using namespace std::chrono_literals;
using kv::Dtype;
using kv::KvLoad;
using kv::KvMover;
using kv::KvMoverOptions;
using kv::KvStore;
using kv::PagedShape;
using kv::PoolOrder;

constexpr PagedShape kShape = {.layers = 5,
                               .planes = 2,
                               .blocks = 24,
                               .block_tokens = 16,
                               .heads = 2,
                               .head_dim = 64,
                               .dtype = Dtype::bf16};

const SteadyClock kClock;

std::unique_ptr<Connection> connected(const std::string& address) {
  auto connection = connect(address, {});
  if (!connection.has_value()) {
    FAIL(connection.error().message());
  }
  return std::move(*connection);
}

// A box, and clients of it over TCP; the first one may be reached through the mapped pool too.
class World {
 public:
  World() : server_(serve(small_box(folder_.socket()))) {}
  [[nodiscard]] std::string tcp(std::size_t port = 0) const {
    return server_->eth_port_addresses()[port].to_string();
  }
  [[nodiscard]] std::string local() const { return "local:" + folder_.socket(); }
  void stop() { server_.reset(); }

 private:
  ServedFolder folder_;
  std::unique_ptr<app::BoxServer> server_;
};

std::unique_ptr<KvMover> mover_of(Connection& connection, EngineCache& cache,
                                  const KvMoverOptions& options = {}) {
  auto mover = KvMover::create(connection.client(), kClock, cache.described(), options);
  if (!mover.has_value()) {
    FAIL(mover.error().message());
  }
  return std::move(*mover);
}

// Names with what keeps the views of them alive.
struct Names {
  Names(const std::string& prefix, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      owned.push_back(prefix + "/" + std::to_string(i));
    }
    views.assign(owned.begin(), owned.end());
  }
  std::vector<std::string> owned;
  std::vector<std::string_view> views;
};

std::vector<Errc> all(std::size_t count, Errc status = Errc::ok) {
  return std::vector<Errc>(count, status);
}

std::vector<Errc> statuses_of(const auto& transfer) {
  return {transfer.statuses().begin(), transfer.statuses().end()};
}

// Whether each block loaded has what the block stored under the same name had, in layers
// [0, layers), and no other block was written. `statuses` says which objects count.
bool holds(EngineCache& cache, const std::vector<std::uint32_t>& loaded,
           const std::vector<std::uint32_t>& stored, std::uint32_t seed,
           const std::vector<Errc>& statuses, std::uint32_t layers) {
  std::map<std::uint32_t, std::size_t> at;
  for (std::size_t i = 0; i < loaded.size(); ++i) {
    at[loaded[i]] = i;
  }
  const std::size_t per_object = loaded.size() / statuses.size();
  bool is_right = cache.is_guard_whole();
  cache.for_each([&](ElementPlace place, MutableSpan bytes) {
    std::array<std::byte, 8> expected;
    expected.fill(std::byte{0xEE});
    if (const auto entry = at.find(place.block); entry != at.end()) {
      if (statuses[entry->second / per_object] != Errc::ok || place.layer >= layers) {
        return;  // unspecified
      }
      place.block = stored[entry->second];
      EngineCache::write(place, seed, MutableSpan(expected).first(bytes.size()));
    }
    is_right = is_right && std::memcmp(expected.data(), bytes.data(), bytes.size()) == 0;
  });
  return is_right;
}

TEST_CASE("what one layout stored another one loads, byte for byte, for every dtype",
          "[contract]") {
  const World world;
  const std::uint32_t seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto storing = connected(world.tcp());
  const std::unique_ptr<Connection> loading[] = {connected(world.tcp(1)), connected(world.local())};
  const std::span<const kv::EngineLayout> layouts = kv::known_layouts();
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    const bool is_latent = layouts[i].name.find("mla") != std::string_view::npos;
    for (const Dtype dtype :
         {Dtype::bf16, Dtype::fp16, Dtype::fp8_e4m3, Dtype::fp8_e5m2, Dtype::fp32}) {
      PagedShape shape = kShape;
      shape.dtype = dtype;
      if (is_latent) {
        shape.planes = 1;
        shape.heads = 1;
        shape.head_dim = 288;
      }
      const kv::EngineLayout* other = nullptr;
      do {
        other = &layouts[random() % layouts.size()];
      } while ((other->name.find("mla") != std::string_view::npos) != is_latent);
      const PoolOrder order = random() % 2 == 0 ? PoolOrder::token_major : PoolOrder::head_major;
      CAPTURE(layouts[i].name, other->name, static_cast<int>(dtype), kv::to_string(order));
      EngineCache from(shape, std::string(layouts[i].axes));
      EngineCache to(shape, std::string(other->axes));
      from.fill(seed);
      to.clear();
      const Names names("layout" + std::to_string(i) + "/" + std::to_string(int(dtype)), 9);
      const auto stored = random_blocks(9, shape.blocks, random);
      const auto loaded = random_blocks(9, shape.blocks, random);
      const KvMoverOptions options = {.order = order, .call_size = SizeBytes(40'000)};
      REQUIRE(mover_of(*storing, from, options)->store({names.views, stored}) == all(9));
      REQUIRE(mover_of(*loading[random() % 2], to, options)->load({names.views, loaded}) == all(9));
      REQUIRE(holds(to, loaded, stored, seed, all(9), shape.layers));
    }
  }
}

TEST_CASE("engines with blocks of other sizes share objects", "[contract]") {
  const World world;
  const auto connection = connected(world.tcp());
  PagedShape large = kShape;  // the same tokens, four blocks in one
  large.block_tokens = 64;
  large.blocks = 6;
  EngineCache from(kShape, "PBTHD");
  EngineCache to(large, "BLTHPD");
  from.fill(3);
  to.clear();
  const Names names("sizes", 2);
  const std::vector<std::uint32_t> stored = {7, 2, 23, 0, 11, 12, 13, 14};
  const std::vector<std::uint32_t> loaded = {5, 1};
  const auto storing = mover_of(*connection, from, {.blocks_per_object = 4});
  const auto loading = mover_of(*connection, to);
  CHECK(storing->name_in_pool("x") == "x#nhd-bf16-5x2x64x2x64");
  CHECK(loading->name_in_pool("x") == "x#nhd-bf16-5x2x64x2x64");
  REQUIRE(storing->store({names.views, stored}) == all(2));
  REQUIRE(loading->load({names.views, loaded}) == all(2));
  bool is_right = true;
  to.for_each([&](ElementPlace place, MutableSpan bytes) {
    if (place.block != 5 && place.block != 1) {
      return;
    }
    const std::size_t object = place.block == 5 ? 0 : 1;
    place.block = stored[object * 4 + place.token / 16];
    place.token %= 16;
    std::array<std::byte, 8> expected{};
    EngineCache::write(place, 3, MutableSpan(expected).first(bytes.size()));
    is_right = is_right && std::memcmp(expected.data(), bytes.data(), bytes.size()) == 0;
  });
  CHECK(is_right);
}

TEST_CASE("who expects other bytes under a name finds no object", "[contract]") {
  const World world;
  const auto connection = connected(world.tcp());
  EngineCache cache(kShape, "PBTHD");
  cache.fill(1);
  const Names names("format", 1);
  const std::vector<std::uint32_t> block = {3};
  REQUIRE(mover_of(*connection, cache)->store({names.views, block}) == all(1));
  const auto loaded = [&](const PagedShape& shape, const KvMoverOptions& options = {}) {
    EngineCache other(shape, "PBTHD");
    std::vector<std::uint32_t> blocks;
    for (std::uint32_t i = 0; i < options.blocks_per_object; ++i) {
      blocks.push_back(i);
    }
    return mover_of(*connection, other, options)->load({names.views, blocks}).front();
  };
  CHECK(loaded(kShape) == Errc::ok);
  CHECK(loaded(kShape, {.order = PoolOrder::head_major}) == Errc::not_found);
  CHECK(loaded(kShape, {.blocks_per_object = 2}) == Errc::not_found);
  PagedShape other = kShape;
  other.dtype = Dtype::fp16;
  CHECK(loaded(other) == Errc::not_found);
  other = kShape;
  other.heads = 4;
  other.head_dim = 32;
  CHECK(loaded(other) == Errc::not_found);
  // What is no object of layers, and bears such a name all the same.
  std::vector<std::byte> bytes(100);
  const LocalSegment piece{bytes.data(), bytes.size()};
  const auto mover = mover_of(*connection, cache);
  const std::string forged = mover->name_in_pool("forged");
  const striping::PutItem item{.name = forged, .data = {&piece, 1}};
  REQUIRE(connection->client().put({&item, 1}) == all(1));
  const Names forged_names("forged", 0);
  const std::string_view name = "forged";
  CHECK(mover->load({{&name, 1}, block}) == all(1, Errc::invalid_argument));
}

TEST_CASE("layers are loaded in order, each there when it is told", "[contract]") {
  const World world;
  const auto connection = connected(world.tcp());
  EngineCache from(kShape, "BPTHD");
  EngineCache to(kShape, "PBTHD");
  from.fill(8);
  to.clear();
  std::mt19937 random(4);
  const Names names("order", 20);
  const auto stored = random_blocks(20, kShape.blocks, random);
  const auto loaded = random_blocks(20, kShape.blocks, random);
  REQUIRE(mover_of(*connection, from)->store({names.views, stored}) == all(20));
  // Calls of two objects, and windows of one, three and all of them.
  for (const std::uint64_t window : {1U, 49'000U, 100'000'000U}) {
    const auto mover =
        mover_of(*connection, to, {.window = SizeBytes(window), .call_size = SizeBytes(17'000)});
    to.clear();
    std::vector<std::uint32_t> told;
    int done = 0;
    const Result<KvLoad> load = mover->begin_load(
        {names.views, loaded}, {},
        [&](std::uint32_t layer) {
          told.push_back(layer);
          CHECK(holds(to, loaded, stored, 8, all(20), layer + 1));
        },
        [&](std::span<const Errc> statuses) {
          ++done;
          CHECK(std::vector<Errc>(statuses.begin(), statuses.end()) == all(20));
        });
    REQUIRE(load.has_value());
    CHECK(mover->wait_layer(*load, 0, kClock.now() + 10s));
    CHECK(!told.empty());
    CHECK(mover->wait(*load, kClock.now() + 10s));
    CHECK(told == std::vector<std::uint32_t>{0, 1, 2, 3, 4});
    CHECK(done == 1);
    CHECK(load->layers_ready() == 5);
    CHECK(load->failed_blocks().empty());
    CHECK(load->event(0) == nullptr);  // there is no device
  }
}

TEST_CASE("layer 0 is told of before a fortieth of all bytes has passed", "[contract]") {
  const World world;
  PagedShape shape = kShape;
  shape.layers = 80;
  for (const std::string& address : {world.tcp(), world.local()}) {
    for (const std::size_t objects : {1U, 4U, 24U}) {
      CAPTURE(address, objects);
      const auto connection = connected(address);
      EngineCache cache(shape, "PBTHD");
      const auto mover = mover_of(*connection, cache);
      const Names names("first" + address + std::to_string(objects), objects);
      std::mt19937 random(3);
      const auto blocks = random_blocks(objects, shape.blocks, random);
      REQUIRE(mover->store({names.views, blocks}) == all(objects));
      const std::uint64_t before = connection->client().counters().bytes_done;
      std::uint64_t passed = 0;
      const Result<KvLoad> load =
          mover->begin_load({names.views, blocks}, {},
                            [&](std::uint32_t layer) {
                              if (layer == 0) {
                                passed = connection->client().counters().bytes_done - before;
                              }
                            },
                            {});
      REQUIRE(load.has_value());
      CHECK(mover->wait(*load, kClock.now() + 10s));
      CHECK(statuses_of(*load) == all(objects));
      CHECK(connection->client().counters().bytes_done - before ==
            objects * 80 * mover->layer_size().count());
      CHECK(passed < objects * 80 * mover->layer_size().count() / 40);
    }
  }
}

TEST_CASE("a store takes layers as they are computed, and is there after the last", "[contract]") {
  const World world;
  const auto connection = connected(world.tcp());
  EngineCache cache(kShape, "PBTHD");
  const auto mover = mover_of(*connection, cache, {.call_size = SizeBytes(17'000)});
  const Names names("layers", 6);
  const std::vector<std::uint32_t> blocks = {9, 1, 4, 23, 0, 17};
  std::vector<Errc> done;
  const Result<KvStore> store = mover->begin_store(
      {names.views, blocks}, {},
      [&](std::span<const Errc> statuses) { done.assign(statuses.begin(), statuses.end()); });
  REQUIRE(store.has_value());
  CHECK(mover->store_layer(*store, 1).error().code == Errc::invalid_argument);
  for (std::uint32_t layer = 0; layer < kShape.layers; ++layer) {
    CHECK(mover->load({names.views, std::vector<std::uint32_t>{2, 3, 5, 6, 7, 8}}) ==
          all(6, Errc::not_found));
    // A layer's pages are read only now.
    cache.for_each([&](const ElementPlace& place, MutableSpan bytes) {
      EngineCache::write(place, place.layer <= layer ? 12 : 99, bytes);
    });
    REQUIRE(mover->store_layer(*store, layer).has_value());
    CHECK(mover->store_layer(*store, layer).error().code == Errc::invalid_argument);
    while (connection->client().operations_in_flight() > 0) {
      mover->progress(kClock.now() + 1s);
    }
  }
  CHECK(mover->wait(*store, kClock.now() + 10s));
  CHECK(done == all(6));
  CHECK(mover->store_layer(*store, 5).error().code == Errc::invalid_argument);
  EngineCache to(kShape, "BTHPD");
  to.clear();
  REQUIRE(mover_of(*connection, to)->load({names.views, blocks}) == all(6));
  CHECK(holds(to, blocks, blocks, 12, all(6), kShape.layers));
  // What is there is not stored again.
  CHECK(mover->store({names.views, blocks}) == all(6, Errc::already_exists));
}

TEST_CASE("a partial prefix is loaded, and the blocks of the rest are named", "[contract]") {
  const World world;
  const auto connection = connected(world.tcp());
  EngineCache from(kShape, "PBTHD");
  EngineCache to(kShape, "PBTHD");
  from.fill(2);
  const auto storing = mover_of(*connection, from, {.blocks_per_object = 2});
  const auto loading = mover_of(*connection, to, {.blocks_per_object = 2});
  const Names names("prefix", 5);
  const std::vector<std::uint32_t> stored = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  const std::vector<std::uint32_t> loaded = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
  REQUIRE(storing->store({names.views, stored}) == all(5));
  const std::string third = storing->name_in_pool(names.views[3]);
  const std::string_view third_name = third;
  REQUIRE(connection->client().remove({&third_name, 1}) == all(1));
  for (const bool prefix : {true, false}) {
    to.clear();
    const Result<KvLoad> load =
        loading->begin_load({names.views, loaded}, {.prefix = prefix}, {}, {});
    REQUIRE(load.has_value());
    CHECK(loading->wait(*load, kClock.now() + 10s));
    const std::vector<Errc> expected = {Errc::ok, Errc::ok, Errc::ok, Errc::not_found,
                                        prefix ? Errc::not_found : Errc::ok};
    CHECK(statuses_of(*load) == expected);
    CHECK(holds(to, loaded, stored, 2, expected, kShape.layers));
    CHECK(load->failed_blocks() ==
          (prefix ? std::vector<std::uint32_t>{3, 2, 1, 0} : std::vector<std::uint32_t>{3, 2}));
  }
}

TEST_CASE("objects that go while they are loaded are faults of theirs alone", "[contract]") {
  const World world;
  const auto connection = connected(world.tcp());
  const auto other = connected(world.tcp(1));
  EngineCache from(kShape, "PBTHD");
  EngineCache to(kShape, "PBTHD");
  from.fill(6);
  to.clear();
  std::mt19937 random(9);
  const Names names("go", 20);
  const auto stored = random_blocks(20, kShape.blocks, random);
  const auto loaded = random_blocks(20, kShape.blocks, random);
  const auto storing = mover_of(*connection, from);
  REQUIRE(storing->store({names.views, stored}) == all(20));
  const auto loading =
      mover_of(*connection, to, {.window = SizeBytes(1), .call_size = SizeBytes(33'000)});
  const Result<KvLoad> load = loading->begin_load(
      {names.views, loaded}, {},
      [&](std::uint32_t layer) {
        if (layer == 1) {  // every third goes, and its memory is another's at once
          for (std::size_t i = 0; i < 20; i += 3) {
            const std::string name = storing->name_in_pool(names.views[i]);
            const std::string_view view = name;
            CHECK(other->client().remove({&view, 1}) == all(1));
          }
        }
      },
      {});
  REQUIRE(load.has_value());
  CHECK(loading->wait(*load, kClock.now() + 20s));
  const std::vector<Errc> statuses = statuses_of(*load);
  CHECK(holds(to, loaded, stored, 6, statuses, kShape.layers));
  for (std::size_t i = 0; i < 20; ++i) {
    CAPTURE(i, to_string(statuses[i]));
    // A lease keeps what was removed until it is read, or the key says that it has gone.
    CHECK((statuses[i] == Errc::ok || (i % 3 == 0 && statuses[i] == Errc::key_revoked)));
  }
}

TEST_CASE("a producer that goes midway leaves misses, and nothing in the box", "[contract]") {
  const World world;
  const auto observer = connected(world.tcp(1));
  EngineCache cache(kShape, "PBTHD");
  cache.fill(1);
  const Names names("producer", 4);
  const std::vector<std::uint32_t> blocks = {1, 2, 3, 4};
  for (const int how : {0, 1, 2, 3}) {
    CAPTURE(how);
    auto producer = connected(world.tcp());
    auto mover = mover_of(*producer, cache);
    std::vector<Errc> done;
    const Result<KvStore> store = mover->begin_store(
        {names.views, blocks}, {},
        [&](std::span<const Errc> statuses) { done.assign(statuses.begin(), statuses.end()); });
    for (std::uint32_t layer = 0; layer < 3; ++layer) {
      REQUIRE(mover->store_layer(*store, layer).has_value());
    }
    while (how != 3 && producer->client().operations_in_flight() > 0) {
      mover->progress(kClock.now() + 1s);
    }
    if (how == 0) {
      mover->cancel(*store);
      CHECK(done == all(4, Errc::cancelled));
      CHECK(producer->client().usage()->objects == 0);
    } else if (how == 1) {
      mover.reset();
      CHECK(done == all(4, Errc::cancelled));
    } else {  // with calls under way too: the destructor drives them to their end
      mover.reset();
      CHECK(done == all(4, Errc::cancelled));
      producer.reset();
    }
    CHECK(store->is_done());
    CHECK(statuses_of(*store) == all(4, Errc::cancelled));
    producer.reset();
    const auto until = kClock.now() + 5s;
    while (observer->client().usage()->reserved.count() > 0 && kClock.now() < until) {
    }
    EngineCache to(kShape, "PBTHD");
    CHECK(mover_of(*observer, to)->load({names.views, blocks}) == all(4, Errc::not_found));
  }
  REQUIRE(mover_of(*observer, cache)->store({names.views, blocks}) == all(4));
}

TEST_CASE("a box that dies in the middle ends each name within the timeout", "[contract]") {
  World world;
  const auto storing = connected(world.tcp());
  EngineCache cache(kShape, "PBTHD");
  EngineCache to(kShape, "PBTHD");
  cache.fill(1);
  to.clear();
  const Names names("dies", 20);
  std::mt19937 random(2);
  const auto blocks = random_blocks(20, kShape.blocks, random);
  ConnectOptions options;
  options.client.timeout = 2s;
  auto connection = connect(world.tcp(), options);
  REQUIRE(connection.has_value());
  REQUIRE(mover_of(*storing, cache)->store({names.views, blocks}) == all(20));
  const auto loading =
      mover_of(**connection, to, {.window = SizeBytes(1), .call_size = SizeBytes(17'000)});
  const Names more("dies-too", 3);
  const auto stores = mover_of(**connection, cache);
  const Result<KvStore> store =
      stores->begin_store({more.views, std::vector<std::uint32_t>{0, 1, 2}}, {}, {});
  REQUIRE(stores->store_layer(*store, 0).has_value());
  std::vector<std::uint32_t> told;
  const Result<KvLoad> load = loading->begin_load({names.views, blocks}, {},
                                                  [&](std::uint32_t layer) {
                                                    told.push_back(layer);
                                                    if (layer == 1) {
                                                      world.stop();
                                                    }
                                                  },
                                                  {});
  const TimePoint begun = kClock.now();
  CHECK(loading->wait(*load, begun + 20s));
  CHECK(kClock.now() - begun < 8s);
  CHECK(told == std::vector<std::uint32_t>{0, 1, 2, 3, 4});
  std::size_t failed = 0;
  for (const Errc status : statuses_of(*load)) {
    failed += status != Errc::ok ? 1 : 0;
    CHECK((status == Errc::ok || status == Errc::session_lost ||
           status == Errc::deadline_exceeded || status == Errc::lane_closed ||
           status == Errc::cancelled));
  }
  CHECK(failed > 0);
  CHECK(holds(to, blocks, blocks, 1, statuses_of(*load), kShape.layers));
  for (std::uint32_t layer = 1; layer < kShape.layers; ++layer) {
    REQUIRE(stores->store_layer(*store, layer).has_value());
  }
  CHECK(stores->wait(*store, kClock.now() + 10s));
  for (const Errc status : statuses_of(*store)) {
    CHECK(status != Errc::ok);
  }
}

TEST_CASE("a list that does not fit is refused by name, and uses no block", "[contract]") {
  const World world;
  const auto connection = connected(world.tcp());
  EngineCache cache(kShape, "PBTHD");
  const auto mover = mover_of(*connection, cache, {.blocks_per_object = 2});
  const Names two("bad", 2);
  const auto load_of = [&](std::span<const std::string_view> names,
                           const std::vector<std::uint32_t>& blocks) {
    const Result<KvLoad> load = mover->begin_load({names, blocks}, {}, {}, {});
    REQUIRE(!load.has_value());
    CHECK(mover->load({names, blocks}) == all(names.size(), load.error().code));
    return load.error().message();
  };
  const std::vector<std::uint32_t> four = {0, 1, 2, 3};
  CHECK(load_of({}, {}) == "invalid_argument: the list of names is empty");
  CHECK(load_of(two.views, {0, 1, 2}) == "invalid_argument: 3 blocks for 2 names of 2 each");
  CHECK(load_of(two.views, {0, 1, 2, 24}) == "out_of_range: entry 3 is block 24; the cache has 24");
  CHECK(load_of(two.views, {0, 1, 2, 0}) == "invalid_argument: entry 3: block 0 is named twice");
  const std::string long_name(500, 'x');
  const std::string_view names[] = {"a", long_name};
  CHECK(load_of(names, four) == "invalid_argument: name 1 has 500 bytes; 1 to 491 are allowed");
  const std::string_view empty[] = {"a", ""};
  CHECK(load_of(empty, four).starts_with("invalid_argument: name 1 has 0 bytes"));
  const Names many("many", KvMover::kObjectsMax + 1);
  CHECK(load_of(many.views, std::vector<std::uint32_t>(2 * many.views.size())) ==
        "too_large: 16385 names; 16384 are allowed in one transfer");

  // Stores may share blocks; nothing may be loaded over what is stored or loaded.
  const Result<KvStore> store = mover->begin_store({two.views, four}, {}, {});
  const Result<KvStore> again = mover->begin_store({two.views, four}, {}, {});
  REQUIRE((store.has_value() && again.has_value()));
  CHECK(load_of(two.views, {4, 5, 6, 3}) == "invalid_argument: entry 3: block 3 is being stored");
  mover->cancel(*store);
  CHECK(mover->wait(*store, kClock.now() + 5s));
  CHECK(load_of(two.views, {4, 5, 6, 3}) == "invalid_argument: entry 3: block 3 is being stored");
  mover->cancel(*again);
  CHECK(mover->wait(*again, kClock.now() + 5s));
  const Result<KvLoad> load = mover->begin_load({two.views, four}, {}, {}, {});
  REQUIRE(load.has_value());
  CHECK(load_of(two.views, {4, 5, 6, 3}) == "invalid_argument: entry 3: block 3 is being loaded");
  CHECK(mover->begin_store({two.views, four}, {}, {}).error().detail ==
        "entry 0: block 0 is being loaded");
  CHECK(mover->wait(*load, kClock.now() + 5s));
  CHECK(mover->load({two.views, {four}}) == all(2, Errc::not_found));

  const kv::StreamPlace place;
  CHECK(mover->begin_load({two.views, four}, {.follow = &place}, {}, {}).error().code ==
        Errc::unsupported);  // without a device
  const Result<KvStore> follower = mover->begin_store({two.views, four}, {}, {});
  CHECK(mover->store_layer(*follower, 0, &place).error().code == Errc::unsupported);
}

TEST_CASE("a mover that cannot work is refused by name", "[contract]") {
  const World world;
  const auto connection = connected(world.tcp());
  PagedShape small = kShape;
  small.block_tokens = 1;
  EngineCache cache(kShape, "PBTHD");
  EngineCache single(small, "BTHPD");
  const auto why = [&](EngineCache& of, const KvMoverOptions& options) {
    const auto made = KvMover::create(connection->client(), kClock, of.described(), options);
    REQUIRE(!made.has_value());
    CHECK(made.error().code == Errc::invalid_argument);
    return made.error().detail;
  };
  CHECK(why(cache, {.blocks_per_object = 0}).starts_with("blocks_per_object: 0 given"));
  CHECK(why(cache, {.window = SizeBytes(0)}) == "window and call_size: 0 bytes");
  CHECK(why(single, {}) ==
        "a layer of an object has 512 bytes; at least 4096 are needed: more blocks_per_object");
  // SGLang's pages of one token, sixteen to an object.
  single.fill(5);
  const auto mover = mover_of(*connection, single, {.blocks_per_object = 16});
  const Names names("single", 1);
  const std::vector<std::uint32_t> blocks = {9, 3, 0, 1, 2, 4, 5, 6, 7, 8, 15, 14, 13, 12, 11, 10};
  REQUIRE(mover->store({names.views, blocks}) == all(1));
  PagedShape large = kShape;
  EngineCache to(large, "PBTHD");
  CHECK(mover_of(*connection, to)->load({names.views, std::vector<std::uint32_t>{20}}) == all(1));
}

TEST_CASE("a transfer ends at its timeout, and the mover goes on", "[contract]") {
  const World world;
  const auto connection = connected(world.tcp());
  EngineCache cache(kShape, "PBTHD");
  const auto mover = mover_of(*connection, cache);
  const Names names("timeout", 2);
  const std::vector<std::uint32_t> blocks = {0, 1};
  const Result<KvStore> store = mover->begin_store({names.views, blocks}, {.timeout = 20ms}, {});
  REQUIRE(mover->store_layer(*store, 0).has_value());
  CHECK(mover->wait(*store, kClock.now() + 5s));
  CHECK(statuses_of(*store) == all(2, Errc::deadline_exceeded));
  REQUIRE(mover->store({names.views, blocks}) == all(2));
  CHECK(mover->load({names.views, blocks}, {.timeout = 1ns}) == all(2, Errc::deadline_exceeded));
  CHECK(mover->load({names.views, blocks}) == all(2));
}

TEST_CASE("a load is cancelled by what it tells of a layer", "[contract]") {
  const World world;
  const auto connection = connected(world.tcp());
  EngineCache cache(kShape, "PBTHD");
  const auto mover = mover_of(*connection, cache);
  const Names names("cancelled", 2);
  const std::vector<std::uint32_t> blocks = {0, 1};
  REQUIRE(mover->store({names.views, blocks}) == all(2));
  for (std::uint32_t at = 0; at < kShape.layers; ++at) {
    CAPTURE(at);
    std::vector<std::uint32_t> told;
    std::optional<Result<KvLoad>> load;
    const std::string held(100, 'h');
    load = mover->begin_load({names.views, blocks}, {},
                             [&, own = held](std::uint32_t layer) {
                               told.push_back(layer);
                               if (layer == at) {
                                 mover->cancel(**load);
                               }
                               CHECK(own == held);  // the callback is there for as long as it runs
                             },
                             {});
    REQUIRE(load->has_value());
    CHECK(mover->wait(**load, kClock.now() + 10s));
    CHECK(told == std::vector<std::uint32_t>{0, 1, 2, 3, 4});
    CHECK(statuses_of(**load) == all(2, Errc::cancelled));
  }
  CHECK(mover->load({names.views, blocks}) == all(2));
}

TEST_CASE("16,384 objects are stored and loaded in one call", "[contract]") {
  const World world;
  const auto connection = connected(world.tcp());
  PagedShape shape = kShape;
  shape.layers = 2;
  shape.heads = 1;
  shape.blocks = KvMover::kObjectsMax;
  EngineCache from(shape, "BPTHD");
  EngineCache to(shape, "BPTHD");
  std::mt19937 random(7);
  for (const MutableSpan tensor : from.tensors()) {
    for (std::size_t at = 0; at + 4 <= tensor.size(); at += 4) {
      const auto word = static_cast<std::uint32_t>(random());
      std::memcpy(tensor.data() + at, &word, 4);
    }
  }
  const Names names("many", KvMover::kObjectsMax);
  const auto blocks = random_blocks(names.views.size(), shape.blocks, random);
  REQUIRE(mover_of(*connection, from)->store({names.views, blocks}) == all(names.views.size()));
  REQUIRE(mover_of(*connection, to)->load({names.views, blocks}) == all(names.views.size()));
  for (std::size_t i = 0; i < from.tensors().size(); ++i) {
    CHECK(std::ranges::equal(from.tensors()[i], to.tensors()[i]));
  }
}

}  // namespace
}  // namespace godbox::test
