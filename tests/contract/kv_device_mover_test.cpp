// SPDX-License-Identifier: Apache-2.0
//
// Paged KV caches in the memory of a device, to a served box and back over each way that bytes can
// take, on the device that the tests are run on. It is strict: what its queues may not reach, and
// what others than they move, fails.
#include "src/served_box.h"
#include <godbox/connect.h>
#include <godbox/striping/kv_mover.h>
#include <godbox_test/engine_cache.h>
#include <godbox_test/faulty_device.h>
#include <godbox_test/test_device.h>

#include <chrono>
#include <optional>
#include <thread>

namespace godbox::test {
namespace {

using namespace std::chrono_literals;
using kv::KvLoad;
using kv::KvMover;
using kv::KvStore;
using kv::PagedShape;

constexpr PagedShape kShape = {.layers = 6,
                               .planes = 2,
                               .blocks = 24,
                               .block_tokens = 16,
                               .heads = 2,
                               .head_dim = 64,
                               .dtype = kv::Dtype::bf16};
const SteadyClock kClock;

struct Way {
  const char* scheme;
  DevicePath path;
  const char* data_path;
};
constexpr std::array kWays{
    Way{"unix:", DevicePath::automatic, "staged over tcp"},
    Way{"local:", DevicePath::staged, "staged over local"},
    Way{"local:", DevicePath::direct, "mapped-device"},
};

// A cache in a device's memory, and its image in the host's.
struct DeviceCache {
  DeviceCache(DeviceMemory& device, const char* axes) : image(kShape, axes) {
    for (const MutableSpan tensor : image.tensors()) {
      REQUIRE(device.register_host(tensor).has_value());
      tensors.push_back(*device.allocate(SizeBytes(tensor.size())));
    }
  }
  [[nodiscard]] kv::PagedKv described() const {
    return kv::PagedKv::create(kShape, image.axes(), tensors).value();
  }
  EngineCache image;
  std::vector<MutableSpan> tensors;
};

// A box, a device, a client of both, and two caches in the device's memory.
class World {
 public:
  explicit World(const Way& way) {
    server_ = serve(small_box(folder_.socket()));
    ConnectOptions options;
    options.client.timeout = 3s;
    options.device.memory = &device;
    options.device.path = way.path;
    options.device.staged.staging = 32_MiB;
    options.device.staged.device = 32_MiB;
    auto made = connect(way.scheme + folder_.socket(), options);
    if (!made.has_value()) {
      FAIL(made.error().message());
    }
    connection = std::move(*made);
    CHECK(connection->data_path() == way.data_path);
    for (std::size_t i = 0; i < 12; ++i) {
      owned_names_.push_back("device/" + std::to_string(i));
    }
    names.assign(owned_names_.begin(), owned_names_.end());
    std::mt19937 random(11);
    stored = random_blocks(names.size(), kShape.blocks, random);
    loaded = random_blocks(names.size(), kShape.blocks, random);
    queue_ = *device.make_queue();
    from.image.fill(4);
    to.image.clear();
    move(from, true);
    move(to, true);
  }
  ~World() {
    connection.reset();
    queue_.reset();
    for (DeviceCache* const cache : {&from, &to}) {
      for (const MutableSpan tensor : cache->image.tensors()) {
        device.unregister_host(tensor);
      }
      for (const MutableSpan tensor : cache->tensors) {
        device.release(tensor);
      }
    }
    CHECK(device.strays == 0);
    CHECK(device.is_clean());
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  [[nodiscard]] std::unique_ptr<KvMover> mover(const DeviceCache& cache) {
    auto made = KvMover::create(connection->client(), kClock, cache.described(),
                                {.call_size = SizeBytes(50'000), .device = &device});
    if (!made.has_value()) {
      FAIL(made.error().message());
    }
    return std::move(*made);
  }
  [[nodiscard]] std::vector<Errc> all(Errc status) const {
    return std::vector<Errc>(names.size(), status);
  }
  // Looks at these layers alone: the others may be on their way.
  [[nodiscard]] bool is_loaded(std::uint32_t layers) {
    fetch_layers(layers);
    bool is_right = to.image.is_guard_whole();
    to.image.for_each([&](ElementPlace place, MutableSpan bytes) {
      for (std::size_t i = 0; i < loaded.size(); ++i) {
        if (loaded[i] == place.block && place.layer < layers) {
          std::array<std::byte, 8> expected{};
          place.block = stored[i];
          EngineCache::write(place, 4, MutableSpan(expected).first(bytes.size()));
          is_right = is_right && std::memcmp(expected.data(), bytes.data(), bytes.size()) == 0;
          break;
        }
      }
    });
    return is_right;
  }

  std::unique_ptr<DeviceMemory> host = make_test_device();
  FaultyDevice device{*host};
  DeviceCache from{device, "PBTHD"}, to{device, "BLPTHD"};
  std::unique_ptr<Connection> connection;
  std::vector<std::string_view> names;
  std::vector<std::uint32_t> stored, loaded;

 private:
  // The whole cache, to the device or back.
  void move(DeviceCache& cache, bool to_device) {
    const std::vector<MutableSpan> image = cache.image.tensors();
    for (std::size_t i = 0; i < image.size(); ++i) {
      REQUIRE(queue_->copy(to_device ? cache.tensors[i] : image[i],
                           to_device ? image[i] : cache.tensors[i]) == Errc::ok);
    }
    finish_copies();
  }
  // The first layers of `to`, which lie side by side in each of its blocks.
  void fetch_layers(std::uint32_t layers) {
    const MutableSpan image = to.image.tensors().at(0);
    const std::size_t block_bytes = image.size() / kShape.blocks;
    const std::size_t bytes = block_bytes / kShape.layers * layers;
    for (std::size_t at = 0; at < image.size(); at += block_bytes) {
      REQUIRE(queue_->copy(image.subspan(at, bytes), to.tensors.at(0).subspan(at, bytes)) ==
              Errc::ok);
    }
    finish_copies();
  }
  void finish_copies() {
    REQUIRE(queue_->mark(1) == Errc::ok);
    std::array<DeviceMark, 1> mark;
    while (queue_->poll(mark) == 0) {
      std::this_thread::yield();
    }
    REQUIRE(mark[0].status == Errc::ok);
  }

  std::unique_ptr<DeviceQueue> queue_;
  ServedFolder folder_;
  std::unique_ptr<app::BoxServer> server_;
  std::vector<std::string> owned_names_;
};

TEST_CASE("a device's cache is stored behind its stream and loaded with an event per layer",
          "[contract][device]") {
  for (const Way& way : kWays) {
    for (const std::uint64_t full_every : {0U, 5U}) {
      CAPTURE(way.data_path, full_every);
      World world(way);
      const auto storing = world.mover(world.from);
      const auto loading = world.mover(world.to);
      const kv::StreamPlace stream;
      const Result<KvStore> store = storing->begin_store({world.names, world.stored}, {}, {});
      REQUIRE(store.has_value());
      for (std::uint32_t layer = 0; layer < kShape.layers; ++layer) {
        REQUIRE(storing->store_layer(*store, layer, &stream).has_value());
      }
      CHECK(storing->wait(*store, kClock.now() + 10s));
      CHECK(std::ranges::equal(store->statuses(), world.all(Errc::ok)));
      std::uint32_t told = 0;
      std::optional<KvLoad> handle;
      const Result<KvLoad> load =
          loading->begin_load({world.names, world.loaded}, {.follow = &stream},
                              [&](std::uint32_t layer) {
                                CHECK(layer == told++);
                                world.device.full_every = 0;  // for the copy that is looked at
                                CHECK(world.is_loaded(layer + 1));
                                world.device.full_every = full_every;
                                REQUIRE(handle.has_value());
                                CHECK(handle->event(layer) != nullptr);
                              },
                              {});
      REQUIRE(load.has_value());
      handle = *load;
      CHECK(load->event(0) == nullptr);
      world.device.full_every = full_every;
      CHECK(loading->wait(*load, kClock.now() + 10s));
      world.device.full_every = 0;
      CHECK(std::ranges::equal(load->statuses(), world.all(Errc::ok)));
      CHECK(told == kShape.layers);
      const TimePoint until = kClock.now() + 5s;
      while (!load->event(kShape.layers - 1)->is_done().value() && kClock.now() < until) {
      }
      for (std::uint32_t layer = 0; layer < kShape.layers; ++layer) {
        CHECK(load->event(layer)->is_done().value());
      }
    }
  }
}

TEST_CASE("a device that is lost ends each name with it, and nothing hangs", "[contract][device]") {
  for (const Way& way : kWays) {
    CAPTURE(way.data_path);
    World world(way);
    const auto storing = world.mover(world.from);
    REQUIRE(storing->store({world.names, world.stored}) == world.all(Errc::ok));
    const auto loading = world.mover(world.to);
    std::vector<std::uint32_t> told;
    const Result<KvLoad> load = loading->begin_load({world.names, world.loaded}, {},
                                                    [&](std::uint32_t layer) {
                                                      told.push_back(layer);
                                                      if (layer == 1) {
                                                        world.device.lose();
                                                      }
                                                    },
                                                    {});
    REQUIRE(load.has_value());
    const TimePoint begun = kClock.now();
    CHECK(loading->wait(*load, begun + 20s));
    CHECK(told == std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5});
    CHECK(std::ranges::equal(load->statuses(), world.all(Errc::device_lost)));
    CHECK(load->failed_blocks() == world.loaded);
    const kv::StreamPlace stream;
    CHECK(loading->begin_load({world.names, world.loaded}, {.follow = &stream}, {}, {})
              .error()
              .code == Errc::device_lost);
    const Result<KvStore> store = storing->begin_store({world.names, world.stored}, {}, {});
    REQUIRE(store.has_value());
    CHECK(storing->store_layer(*store, 0, &stream).error().code == Errc::device_lost);
    storing->cancel(*store);
    CHECK(storing->wait(*store, kClock.now() + 5s));
  }
}

TEST_CASE("a store waits for the engine's stream, and ends with the device", "[contract][device]") {
  World world(kWays[0]);
  const auto mover = world.mover(world.from);
  const kv::StreamPlace stream;
  const Result<KvStore> store = mover->begin_store({world.names, world.stored}, {}, {});
  world.device.holds_marks = true;  // the stream goes on and on
  REQUIRE(mover->store_layer(*store, 0, &stream).has_value());
  CHECK(mover->store_layer(*store, 1).error().code == Errc::invalid_argument);
  // The objects are begun, however long that takes; then there is nothing to do but to wait.
  const striping::Client& client = world.connection->client();
  for (const TimePoint until = kClock.now() + 10s;
       client.operations_in_flight() > 0 && kClock.now() < until;) {
    CHECK_FALSE(mover->wait(*store, kClock.now() + 10ms));
  }
  CHECK_FALSE(mover->wait(*store, kClock.now() + 50ms));
  CHECK(client.operations_in_flight() == 0);
  world.device.lose();
  world.device.holds_marks = false;
  CHECK(mover->wait(*store, kClock.now() + 5s));
  CHECK(std::ranges::equal(store->statuses(), world.all(Errc::device_lost)));
}

TEST_CASE("a cache that is not the device's memory is refused", "[contract][device]") {
  World world(kWays[0]);
  EngineCache other(kShape, "PBTHD");
  const auto made = KvMover::create(world.connection->client(), kClock, other.described(),
                                    {.device = &world.device});
  REQUIRE(!made.has_value());
  CHECK(made.error().code == Errc::invalid_argument);
  CHECK(made.error().detail.find("is not memory of faulty ") != std::string::npos);
  world.device.queues_max = 0;
  CHECK(KvMover::create(world.connection->client(), kClock, world.from.described(),
                        {.device = &world.device})
            .error()
            .code == Errc::limit_exceeded);
}

}  // namespace
}  // namespace godbox::test
