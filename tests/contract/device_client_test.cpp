// SPDX-License-Identifier: Apache-2.0
//
// A client whose data is in the memory of a device, over each way that the bytes can take, against
// a box that serves in this process. The device is strict: a byte that anybody but its queues
// should move, or a queue out of reach, fails the test. What the device wrote a plain client reads,
// with the CRCs that the device computed, and the other way round.
#include "src/served_box.h"
#include <godbox/connect.h>
#include <godbox_test/faulty_device.h>
#include <godbox_test/test_device.h>

#include <catch2/catch_get_random_seed.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace godbox::test {
namespace {

using namespace std::chrono_literals;
using striping::Client;
using Bytes = std::vector<std::byte>;

constexpr std::size_t kPageBytes = 16384;
constexpr std::size_t kPages = 512;

struct Way {
  const char* scheme;  // "tcp:" stands for an Ethernet port of the box
  DevicePath path;
  const char* data_path;
};
constexpr std::array kWays{
    Way{"unix:", DevicePath::automatic, "staged over tcp"},
    Way{"tcp:", DevicePath::staged, "staged over tcp"},
    Way{"local:", DevicePath::staged, "staged over local"},
    Way{"local:", DevicePath::direct, "mapped-device"},
    Way{"local:", DevicePath::automatic, "mapped-device"},
};

Bytes random_bytes(std::size_t size, std::uint32_t seed) {
  std::mt19937_64 random(seed);
  Bytes bytes(size);
  for (std::size_t at = 0; at < size; at += 8) {
    const std::uint64_t word = random();
    for (std::size_t i = at; i < std::min(size, at + 8); ++i) {
      bytes[i] = static_cast<std::byte>(word >> (8 * (i - at)));
    }
  }
  return bytes;
}

// A box, a device, pages in its memory, and two clients: the device's and a plain one.
class World {
 public:
  explicit World(const Way& way, ConnectOptions options = {}) {
    server_ = serve(small_box(folder_.socket()));
    options.device.memory = &device;
    options.device.path = way.path;
    options.device.staged.staging = 32_MiB;
    options.device.staged.device = 32_MiB;
    const std::string scheme = way.scheme;
    address =
        scheme == "tcp:" ? server_->eth_port_addresses()[1].to_string() : scheme + folder_.socket();
    auto made = connect(address, options);
    if (!made.has_value()) {
      FAIL(made.error().message());
    }
    connection = std::move(*made);
    CHECK(connection->data_path() == way.data_path);
    auto other = connect("unix:" + folder_.socket());
    REQUIRE(other.has_value());
    plain_ = std::move(*other);
    memory_ = *device.allocate(SizeBytes(kPages * kPageBytes));
    copy_ = *device.allocate_staging(SizeBytes(kPages * kPageBytes));
    queue_ = *device.make_queue();
  }
  ~World() {
    connection.reset();
    queue_.reset();
    device.release(memory_);
    device.release_staging(copy_);
    CHECK(device.strays == 0);
    CHECK(device.is_clean());
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  [[nodiscard]] Client& client() { return connection->client(); }
  [[nodiscard]] Client& plain() { return plain_->client(); }
  [[nodiscard]] const ServedFolder& folder() const { return folder_; }
  [[nodiscard]] std::byte* page(std::size_t index) { return memory_.data() + index * kPageBytes; }
  void write(const Bytes& image) {
    std::copy(image.begin(), image.end(), copy_.begin());
    move(memory_, copy_);
  }
  [[nodiscard]] Bytes read() {
    move(copy_, memory_);
    return {copy_.begin(), copy_.end()};
  }
  void stop_box() { server_.reset(); }

  std::unique_ptr<DeviceMemory> real = make_test_device();
  FaultyDevice device{*real};
  std::string address;
  std::unique_ptr<Connection> connection;

 private:
  void move(MutableSpan to, ConstSpan from) {
    REQUIRE(queue_->copy(to, from) == Errc::ok);
    REQUIRE(queue_->mark(1) == Errc::ok);
    std::array<DeviceMark, 1> mark;
    while (queue_->poll(mark) == 0) {
      std::this_thread::yield();
    }
    REQUIRE(mark[0].status == Errc::ok);
  }

  ServedFolder folder_;
  std::unique_ptr<app::BoxServer> server_;
  std::unique_ptr<Connection> plain_;
  MutableSpan memory_, copy_;
  std::unique_ptr<DeviceQueue> queue_;
};

// Objects of random pages, each in a random order of its own.
struct Objects {
  Objects(World& world, std::size_t count, std::uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<std::size_t> order(kPages);
    for (std::size_t i = 0; i < kPages; ++i) {
      order[i] = i;
    }
    std::shuffle(order.begin(), order.end(), random);
    names.resize(count);
    pieces.resize(count);
    places.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      names[i] = "object " + std::to_string(i);
      for (std::size_t j = 0; j < kPages / count; ++j) {
        const std::size_t page = order[i * (kPages / count) + j];
        // Mostly whole pages, some of them less, at odd places.
        const std::size_t begin = random() % 4 == 0 ? random() % 100 : 0;
        const std::size_t size =
            random() % 4 == 0 ? 1 + random() % (kPageBytes - begin) : kPageBytes - begin;
        pieces[i].push_back({world.page(page) + begin, size});
        places[i].push_back(page * kPageBytes + begin);
      }
    }
  }
  [[nodiscard]] Bytes of(std::size_t object, const Bytes& image) const {
    Bytes bytes;
    for (std::size_t i = 0; i < pieces[object].size(); ++i) {
      const auto begin = image.begin() + static_cast<std::ptrdiff_t>(places[object][i]);
      bytes.insert(bytes.end(), begin,
                   begin + static_cast<std::ptrdiff_t>(pieces[object][i].size_bytes));
    }
    return bytes;
  }
  // `image` with the object's pieces as `bytes`.
  void put_into(Bytes& image, std::size_t object, const Bytes& bytes) const {
    auto from = bytes.begin();
    for (std::size_t i = 0; i < pieces[object].size(); ++i) {
      const auto size = static_cast<std::ptrdiff_t>(pieces[object][i].size_bytes);
      std::copy(from, from + size, image.begin() + static_cast<std::ptrdiff_t>(places[object][i]));
      from += size;
    }
  }
  [[nodiscard]] std::vector<striping::PutItem> puts() const {
    std::vector<striping::PutItem> items;
    for (std::size_t i = 0; i < names.size(); ++i) {
      items.push_back({.name = names[i], .data = pieces[i]});
    }
    return items;
  }
  [[nodiscard]] std::vector<striping::GetItem> gets() const {
    std::vector<striping::GetItem> items;
    for (std::size_t i = 0; i < names.size(); ++i) {
      items.push_back({.name = names[i], .into = pieces[i]});
    }
    return items;
  }

  std::vector<std::string> names;
  std::vector<std::vector<LocalSegment>> pieces;
  std::vector<std::vector<std::size_t>> places;
};

Bytes plain_get(World& world, std::string_view name, std::size_t size) {
  Bytes bytes(size);
  const LocalSegment into{bytes.data(), bytes.size()};
  const striping::GetItem item{name, {&into, 1}};
  REQUIRE(world.plain().get({&item, 1}).at(0) == Errc::ok);
  return bytes;
}

void plain_put(World& world, std::string_view name, Bytes& bytes) {
  const LocalSegment from{bytes.data(), bytes.size()};
  const striping::PutItem item{.name = name, .data = {&from, 1}};
  REQUIRE(world.plain().put({&item, 1}).at(0) == Errc::ok);
}

std::vector<Errc> all(std::size_t count, Errc status) { return std::vector<Errc>(count, status); }

TEST_CASE("objects go from a device's pages to the pool and back, byte for byte", "[contract]") {
  const std::uint32_t seed = Catch::getSeed();
  for (const Way& way : kWays) {
    CAPTURE(way.scheme, way.data_path, seed);
    World world(way);
    const Bytes image = random_bytes(kPages * kPageBytes, seed);
    world.write(image);
    for (const std::size_t count : {std::size_t{1}, std::size_t{3}, std::size_t{64}}) {
      const Objects objects(world, count, seed);
      REQUIRE(world.client().put(objects.puts()) == all(count, Errc::ok));
      CHECK(world.read() == image);
      for (std::size_t i = 0; i < count; ++i) {
        const Bytes bytes = objects.of(i, image);
        REQUIRE(plain_get(world, objects.names[i], bytes.size()) == bytes);
      }
      Bytes expected = random_bytes(kPages * kPageBytes, seed + 1);
      world.write(expected);
      REQUIRE(world.client().get(objects.gets()) == all(count, Errc::ok));
      for (std::size_t i = 0; i < count; ++i) {
        objects.put_into(expected, i, objects.of(i, image));
      }
      REQUIRE(world.read() == expected);  // the pieces, and nothing beside them
      world.write(image);
      std::vector<std::string_view> names(objects.names.begin(), objects.names.end());
      REQUIRE(world.client().remove(names) == all(count, Errc::ok));
    }
    // And what the plain client put, with its CRCs.
    const Objects one(world, 2, seed + 2);
    Bytes bytes = random_bytes(one.of(0, image).size(), seed + 3);
    plain_put(world, one.names[0], bytes);
    const striping::GetItem get{one.names[0], one.pieces[0]};
    REQUIRE(world.client().get({&get, 1}) == all(1, Errc::ok));
    CHECK(one.of(0, world.read()) == bytes);
  }
}

TEST_CASE("layers go from a device's pages to the pool and back, the first ones first",
          "[contract]") {
  constexpr std::uint32_t kLayers = 8;
  constexpr std::size_t kLayerPages = 16;
  for (const Way& way : kWays) {
    CAPTURE(way.scheme, way.data_path);
    World world(way);
    const Bytes image = random_bytes(kPages * kPageBytes, 5);
    world.write(image);
    const auto pieces_at = [&](std::size_t first) {
      std::vector<LocalSegment> pieces;
      for (std::size_t i = 0; i < kLayerPages; ++i) {
        pieces.push_back({world.page(first + (i * 5) % kLayerPages), kPageBytes});
      }
      return pieces;
    };
    const striping::LayeredItem item{
        .name = "layered", .layer_size = SizeBytes(kLayerPages * kPageBytes), .layers = kLayers};
    const auto put = world.client().begin_layers({&item, 1});
    REQUIRE(put.has_value());
    const std::string_view name = "layered";
    for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
      const std::vector<LocalSegment> from = pieces_at(layer * kLayerPages);
      const std::vector<LocalSegment> to = pieces_at(256 + layer * kLayerPages);
      const std::span<const LocalSegment> data = from, into = to;
      REQUIRE(world.client().put_layer(*put, layer, {&data, 1}) == all(1, Errc::ok));
      const auto found = world.client().wait({&name, 1}, layer, 5s);
      REQUIRE(found.has_value());
      REQUIRE(found->objects.at(0).status == Errc::ok);
      REQUIRE(world.client().get_layer(*found, layer, {&into, 1}) == all(1, Errc::ok));
    }
    const Bytes now = world.read();
    const auto bytes = static_cast<std::ptrdiff_t>(kLayers * kLayerPages * kPageBytes);
    const auto second = now.begin() + static_cast<std::ptrdiff_t>(256 * kPageBytes);
    CHECK(std::equal(image.begin(), image.begin() + bytes, now.begin()));
    CHECK(std::equal(image.begin(), image.begin() + bytes, second));
  }
}

TEST_CASE("regions are written from a device's pages and read into them", "[contract]") {
  for (const Way& way : kWays) {
    CAPTURE(way.scheme, way.data_path);
    World world(way);
    const Bytes image = random_bytes(kPages * kPageBytes, 6);
    world.write(image);
    auto region = world.client().allocate(SizeBytes(3'000'000));
    REQUIRE(region.has_value());
    std::vector<striping::RegionPiece> pieces;
    Bytes expected = image;
    for (std::size_t i = 0; i < 100; ++i) {
      pieces.push_back({RegionOffset(i * 20'001), {world.page(i) + i, 10'000}});
      std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(i * kPageBytes + i), 10'000,
                  std::byte{0});
    }
    REQUIRE(world.client().write(*region, pieces) == Errc::ok);
    world.write(expected);
    REQUIRE(world.client().read(*region, pieces) == Errc::ok);
    CHECK(world.read() == image);
    CHECK(world.client().free(*region).has_value());
  }
}

TEST_CASE("a pool byte that has changed is a crc_mismatch, found by the device", "[contract]") {
  for (const Way& way : kWays) {
    CAPTURE(way.scheme, way.data_path);
    World world(way);
    world.write(random_bytes(kPages * kPageBytes, 7));
    const Objects objects(world, 4, 8);
    REQUIRE(world.client().put(objects.puts()) == all(4, Errc::ok));
    // Another trusted process scribbles on the second one.
    const auto scribbler = connect("local:" + world.folder().socket());
    REQUIRE(scribbler.has_value());
    const std::string_view victim = objects.names[1];
    const auto found = (*scribbler)->client().lookup({&victim, 1});
    REQUIRE(found.has_value());
    const Extent& extent = found->extents.at(found->objects.at(0).extent_begin);
    Bytes seen(1);
    const LocalSegment local{seen.data(), 1};
    // A read of it by the client, so that it knows the slab's layout.
    Bytes whole(found->objects[0].size.count());
    const LocalSegment into{whole.data(), whole.size()};
    const striping::GetItem get{victim, {&into, 1}};
    REQUIRE((*scribbler)->client().get({&get, 1}).at(0) == Errc::ok);
    const RemoteSegment remote{
        RKey(1), {extent.address.slab, extent.address.offset + SizeBytes(12'345)}, 1};
    Transport& raw = (*scribbler)->client().transport();
    for (const WorkOp op : {WorkOp::read, WorkOp::write}) {
      WorkRequest request;
      request.op = op;
      request.total_bytes = 1;
      request.remote = {&remote, 1};
      request.local = {&local, 1};
      REQUIRE(raw.post(LaneId(0), request) == Errc::ok);
      Completion done;
      while (raw.poll({&done, 1}) == 0) {
        (void)raw.progress();
      }
      REQUIRE(done.status == Errc::ok);
      seen[0] ^= std::byte{0x40};
    }
    const std::vector<Errc> expected{Errc::ok, Errc::crc_mismatch, Errc::ok, Errc::ok};
    CHECK(world.client().get(objects.gets()) == expected);
    CHECK(world.client().is_open());
  }
}

TEST_CASE("a device that is lost ends calls with device_lost at once", "[contract]") {
  for (const Way& way : kWays) {
    for (const std::uint64_t at : {0U, 1U, 3U}) {
      CAPTURE(way.scheme, way.data_path, at);
      World world(way);
      world.write(random_bytes(kPages * kPageBytes, 9));
      const Objects objects(world, 64, 10);
      REQUIRE(world.client().put(objects.puts()) == all(64, Errc::ok));
      world.device.lose_at_move(at);
      const auto begin = std::chrono::steady_clock::now();
      std::vector<Errc> statuses;
      for (int i = 0; i < 50 && !world.device.is_lost(); ++i) {
        statuses = world.client().get(objects.gets());
      }
      CHECK(world.device.is_lost());
      CHECK(std::count(statuses.begin(), statuses.end(), Errc::device_lost) > 0);
      for (const Errc status : statuses) {
        CHECK((status == Errc::ok || status == Errc::device_lost));
      }
      CHECK(world.client().get(objects.gets()) == all(64, Errc::device_lost));
      const striping::PutItem more{.name = "more", .data = objects.pieces[0]};
      CHECK(world.client().put({&more, 1}) == all(1, Errc::device_lost));
      CHECK(std::chrono::steady_clock::now() - begin < 5s);
      CHECK(world.client().is_open());  // the session stands: what is not data goes on
      CHECK(world.client().status_json().has_value());
    }
  }
}

TEST_CASE("a box that dies while pages are on their way ends calls, and all is given back",
          "[contract]") {
  for (const Way& way : kWays) {
    CAPTURE(way.scheme, way.data_path);
    ConnectOptions options;
    options.client.timeout = 2s;
    World world(way, options);
    world.write(random_bytes(kPages * kPageBytes, 11));
    const Objects objects(world, 16, 12);
    REQUIRE(world.client().put(objects.puts()) == all(16, Errc::ok));
    const std::vector<striping::GetItem> gets = objects.gets();
    std::size_t ended = 0;
    for (std::size_t i = 0; i < 4; ++i) {  // each into pages of its own
      world.client().submit_get(std::span(gets).subspan(4 * i, 4),
                                [&](std::span<const Errc>) { ++ended; });
    }
    for (int i = 0; i < 3; ++i) {
      world.client().progress({});
    }
    world.stop_box();
    const auto limit = std::chrono::steady_clock::now() + 15s;
    while (ended < 4 && std::chrono::steady_clock::now() < limit) {
      world.client().progress(world.connection->network().clock().now() + 10ms);
    }
    CHECK(ended == 4);
    for (const Errc status : world.client().get(gets)) {
      CHECK(status != Errc::ok);
    }
    // No byte of the pages is touched once the calls have ended.
    const Bytes image = random_bytes(kPages * kPageBytes, 13);
    world.write(image);
    (void)world.client().progress(world.connection->network().clock().now() + 50ms);
    CHECK(world.read() == image);
  }
}

TEST_CASE("a device without room is told of by connect(), and nothing is left", "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const std::unique_ptr<DeviceMemory> real = make_test_device();
  FaultyDevice device(*real);
  ConnectOptions options;
  options.device.memory = &device;
  options.device.staged.staging = 32_MiB;
  options.device.staged.device = 32_MiB;
  const auto refused = [&](const std::string& scheme) {
    const auto made = connect(scheme + folder.socket(), options);
    REQUIRE_FALSE(made.has_value());
    CHECK(device.is_clean());
    return made.error();
  };
  device.allocations_fail = true;
  CHECK(refused("unix:").code == Errc::device_memory_full);
  CHECK(refused("unix:").detail.find("staging for faulty ") != std::string::npos);
  device.allocations_fail = false;
  device.staging_fails = true;
  CHECK(refused("unix:").code == Errc::limit_exceeded);
  device.staging_fails = false;
  // A pool that cannot be pinned: by name if it was asked for, else another way, and why.
  device.registrations_max = 3;
  options.device.path = DevicePath::direct;
  const Error error = refused("local:");
  CHECK(error.code == Errc::limit_exceeded);
  CAPTURE(error.detail);
  CHECK(error.detail.find("DRAM channel 3 (") != std::string::npos);
  options.device.path = DevicePath::automatic;
  {
    const auto made = connect("local:" + folder.socket(), options);
    REQUIRE(made.has_value());
    CHECK((*made)->data_path().find("staged over local: the pool mapped for faulty") == 0);
    CHECK((*made)->data_path().find("DRAM channel 3") != std::string::npos);
  }
  device.registrations_max.reset();
  options.device.register_bytes_max = 100_MiB;
  {
    const auto made = connect("local:" + folder.socket(), options);
    REQUIRE(made.has_value());
    CHECK((*made)->data_path() ==
          "staged over local: DRAM channels 0 to 1 have 134217728 bytes; 104857600 may be pinned");
  }
  options.device.path = DevicePath::direct;
  CHECK(refused("unix:").code == Errc::invalid_argument);
  options.device.memory = nullptr;
  CHECK(refused("local:").code == Errc::invalid_argument);
  options.device.memory = &device;
  options.device.register_bytes_max = {};
  device.lose();
  CHECK(refused("local:").code == Errc::device_lost);
  options.device.path = DevicePath::automatic;
  CHECK(refused("local:").code == Errc::device_lost);
  CHECK(refused("unix:").code == Errc::device_lost);
}

TEST_CASE("host memory is refused where a device's is expected, until it is announced",
          "[contract]") {
  for (const Way& way : kWays) {
    CAPTURE(way.scheme, way.data_path);
    World world(way);
    Bytes bytes = random_bytes(100'000, 14);
    const LocalSegment piece{bytes.data(), bytes.size()};
    const striping::PutItem put{.name = "host", .data = {&piece, 1}};
    CHECK(world.client().put({&put, 1}) == all(1, Errc::invalid_argument));
    REQUIRE(world.client().transport().register_memory(bytes).has_value());
    CHECK(world.client().put({&put, 1}) == all(1, Errc::ok));
    CHECK(plain_get(world, "host", bytes.size()) == bytes);
    world.client().transport().deregister_memory(bytes);
  }
}

}  // namespace
}  // namespace godbox::test
