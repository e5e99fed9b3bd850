// SPDX-License-Identifier: Apache-2.0
//
// Objects put layer by layer, readers that wait for them, and events, through every kind of
// address of a box that serves in threads of its own.
#include "src/served_box.h"
#include <godbox/connect.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace godbox::test {
namespace {

using namespace std::chrono_literals;
using striping::Client;
using striping::LayeredItem;
using striping::LayeredPut;
using striping::Lookup;

constexpr std::uint32_t kLayers = 12;
constexpr std::size_t kLayerBytes = 200'001;  // no multiple of anything
constexpr std::size_t kObjects = 3;

std::unique_ptr<Connection> connected(const std::string& address) {
  auto connection = connect(address, {});
  if (!connection.has_value()) {
    FAIL(connection.error().message());
  }
  return std::move(*connection);
}

// The kinds of address; the first is where the other side is.
std::vector<std::string> addresses_of(const app::BoxServer& server, const ServedFolder& folder) {
  return {server.eth_port_addresses()[1].to_string(), "local:" + folder.socket()};
}

std::byte byte_of(std::size_t object, std::uint32_t layer, std::size_t at) {
  return static_cast<std::byte>((object * 31 + std::size_t{layer} * 7 + at * 2'654'435'761U) >> 5U);
}

// A layer of all objects, and the pieces that a call takes.
class LayerBuffers {
 public:
  explicit LayerBuffers(std::size_t objects = kObjects) : bytes_(objects), pieces_(objects) {
    for (std::size_t i = 0; i < objects; ++i) {
      bytes_[i].resize(kLayerBytes);
      pieces_[i] = {LocalSegment{bytes_[i].data(), 1000},
                    LocalSegment{bytes_[i].data() + 1000, kLayerBytes - 1000}};
      spans_.emplace_back(pieces_[i]);
    }
  }
  void fill(std::uint32_t layer) {
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      for (std::size_t at = 0; at < kLayerBytes; ++at) {
        bytes_[i][at] = byte_of(i, layer, at);
      }
    }
  }
  [[nodiscard]] bool holds(std::uint32_t layer) const {
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      for (std::size_t at = 0; at < kLayerBytes; ++at) {
        if (bytes_[i][at] != byte_of(i, layer, at)) {
          return false;
        }
      }
    }
    return true;
  }
  [[nodiscard]] std::span<const std::span<const LocalSegment>> spans() const { return spans_; }

 private:
  std::vector<std::vector<std::byte>> bytes_;
  std::vector<std::array<LocalSegment, 2>> pieces_;
  std::vector<std::span<const LocalSegment>> spans_;
};

std::vector<LayeredItem> items_of(const std::vector<std::string>& names) {
  std::vector<LayeredItem> items;
  for (const std::string& name : names) {
    items.push_back({.name = name, .layer_size = SizeBytes(kLayerBytes), .layers = kLayers});
  }
  return items;
}

std::vector<std::string> names_for(const std::string& what) {
  return {what + "/0", what + "/1", what + "/2"};
}

std::vector<std::string_view> views_of(const std::vector<std::string>& names) {
  return {names.begin(), names.end()};
}

const std::vector<Errc> kAllOk(kObjects, Errc::ok);

bool are_all(const Lookup& found, Errc status) {
  for (const striping::FoundObject& object : found.objects) {
    if (object.status != status) {
      return false;
    }
  }
  return !found.objects.empty();
}

void put_layers(Client& client, const LayeredPut& put, std::uint32_t first, std::uint32_t end) {
  LayerBuffers buffers;
  for (std::uint32_t layer = first; layer < end; ++layer) {
    buffers.fill(layer);
    REQUIRE(client.put_layer(put, layer, buffers.spans()) == kAllOk);
  }
}

TEST_CASE("a reader gets each layer as it is written, and the whole object in the end",
          "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  for (const std::string& producer_at : addresses_of(*server, folder)) {
    for (const std::string& consumer_at : addresses_of(*server, folder)) {
      CAPTURE(producer_at, consumer_at);
      const auto producer = connected(producer_at);
      const auto consumer = connected(consumer_at);
      const std::vector<std::string> names = names_for(producer_at + consumer_at);
      const std::vector<std::string_view> views = views_of(names);
      const Result<LayeredPut> put = producer->client().begin_layers(items_of(names));
      REQUIRE(put.has_value());
      REQUIRE(put->statuses() == kAllOk);
      // Not visible, and not to be waited for in vain for longer than asked.
      CHECK(consumer->client().lookup_prefix(views)->objects.empty());
      CHECK(are_all(*consumer->client().wait(views, 0, 10ms), Errc::not_found));
      LayerBuffers into;
      for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
        put_layers(producer->client(), *put, layer, layer + 1);
        const Result<Lookup> found = consumer->client().wait(views, layer, 5s);
        REQUIRE(found.has_value());
        REQUIRE(are_all(*found, Errc::ok));
        CHECK(found->objects[0].layers == kLayers);
        CHECK(found->objects[2].layers_ready == layer + 1);
        for (std::uint32_t each = 0; each <= layer; ++each) {
          REQUIRE(consumer->client().get_layer(*found, each, into.spans()) == kAllOk);
          REQUIRE(into.holds(each));
        }
        if (layer + 1 < kLayers) {
          // Nor can what is there only in part be got as a whole.
          std::vector<std::byte> all(kLayers * kLayerBytes);
          const LocalSegment piece{all.data(), all.size()};
          const std::vector<std::span<const LocalSegment>> whole(kObjects, {&piece, 1});
          CHECK(consumer->client().get_found(*found, whole) ==
                std::vector<Errc>(kObjects, Errc::not_found));
          CHECK(consumer->client().get_layer(*found, layer + 1, into.spans()) ==
                std::vector<Errc>(kObjects, Errc::not_found));
          CHECK(consumer->client().lookup_prefix(views)->objects.empty());
        }
      }
      REQUIRE(consumer->client().lookup_prefix(views)->objects.size() == kObjects);
      // As a whole too, its CRCs checked.
      std::vector<std::byte> whole(kLayers * kLayerBytes);
      const LocalSegment piece{whole.data(), whole.size()};
      const striping::GetItem get{names[1], {&piece, 1}};
      REQUIRE(consumer->client().get({&get, 1}) == std::vector<Errc>{Errc::ok});
      for (std::size_t at = 0; at < whole.size(); at += 997) {
        const auto layer = static_cast<std::uint32_t>(at / kLayerBytes);
        REQUIRE(whole[at] == byte_of(1, layer, at % kLayerBytes));
      }
      CHECK(producer->client().remove(views) == kAllOk);
    }
  }
}

TEST_CASE("a reader that waits is told at once, by a producer on another thread", "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const std::vector<std::string> names = names_for("told");
  std::atomic<int> wrong{0};
  std::thread reader([&] {
    const auto consumer = connect("tcp:" + server->eth_port_addresses()[2].to_string().substr(4));
    const std::vector<std::string_view> views = views_of(names);
    LayerBuffers into;
    for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
      const Result<Lookup> found = (*consumer)->client().wait(views, layer, 20s);
      const bool is_right =
          found.has_value() && are_all(*found, Errc::ok) &&
          (*consumer)->client().get_layer(*found, layer, into.spans()) == kAllOk &&
          into.holds(layer);
      wrong += is_right ? 0 : 1;
    }
  });
  const auto producer = connected(server->eth_port_addresses()[0].to_string());
  std::this_thread::sleep_for(20ms);  // it waits for what is not even reserved
  const Result<LayeredPut> put = producer->client().begin_layers(items_of(names));
  REQUIRE(put.has_value());
  put_layers(producer->client(), *put, 0, kLayers);
  reader.join();
  CHECK(wrong.load() == 0);
}

TEST_CASE("many layers are under way at a time, and become visible in order", "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const auto connection = connected(server->eth_port_addresses()[0].to_string());
  Client& client = connection->client();
  const std::vector<std::string> names = names_for("pipelined");
  const Result<LayeredPut> put = client.begin_layers(items_of(names));
  REQUIRE(put.has_value());
  std::vector<LayerBuffers> buffers(kLayers);
  std::vector<std::uint32_t> done;
  for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
    buffers[layer].fill(layer);
    client.submit_put_layer(*put, layer, buffers[layer].spans(), [&, layer](auto statuses) {
      CHECK(std::vector<Errc>(statuses.begin(), statuses.end()) == kAllOk);
      done.push_back(layer);
    });
  }
  // One that is not the next is refused, and ends nothing.
  CHECK(client.put_layer(*put, 0, buffers[0].spans()) ==
        std::vector<Errc>(kObjects, Errc::invalid_argument));
  while (client.operations_in_flight() > 0) {
    client.progress(kNever);
  }
  REQUIRE(done.size() == kLayers);
  CHECK(std::is_sorted(done.begin(), done.end()));
  const Result<Lookup> found = client.lookup(views_of(names));
  REQUIRE(are_all(*found, Errc::ok));
  LayerBuffers into;
  for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
    REQUIRE(client.get_layer(*found, layer, into.spans()) == kAllOk);
    CHECK(into.holds(layer));
  }
}

TEST_CASE("layers behind one that has failed end in order, once each", "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const auto connection = connected(server->eth_port_addresses()[0].to_string());
  Client& client = connection->client();
  const Result<LayeredPut> put = client.begin_layers(items_of(names_for("failed")));
  REQUIRE(put.has_value());
  LayerBuffers buffers;
  const std::span<const LocalSegment> too_short;
  const std::vector<std::span<const LocalSegment>> wrong(kObjects, too_short);
  // The first is still being written when those behind it are known to have failed.
  std::vector<std::uint32_t> done;
  for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
    client.submit_put_layer(*put, layer, layer == 0 ? buffers.spans() : std::span(wrong),
                            [&, layer, own = names_for("held by the call")](auto statuses) {
                              CHECK(own == names_for("held by the call"));
                              CHECK(std::vector<Errc>(statuses.begin(), statuses.end()) ==
                                    std::vector<Errc>(kObjects, Errc::invalid_argument));
                              done.push_back(layer);
                              CHECK(own == names_for("held by the call"));
                            });
  }
  while (client.operations_in_flight() > 0) {
    client.progress(kNever);
  }
  REQUIRE(done.size() == kLayers);
  CHECK(std::is_sorted(done.begin(), done.end()));
  CHECK(client.lookup(views_of(names_for("failed")))->objects[0].status == Errc::not_found);
}

TEST_CASE("a producer that goes midway leaves misses, and those who wait hear it", "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const std::vector<std::string> names = names_for("midway");
  const std::vector<std::string_view> views = views_of(names);
  for (const std::string& at : addresses_of(*server, folder)) {
    for (const bool drops_only : {false, true}) {
      CAPTURE(at, drops_only);
      auto producer = connected(at);
      const auto consumer = connected(server->eth_port_addresses()[2].to_string());
      std::optional<Result<LayeredPut>> put = producer->client().begin_layers(items_of(names));
      REQUIRE(put->has_value());
      put_layers(producer->client(), **put, 0, 3);
      const Result<Lookup> found = consumer->client().wait(views, 2, 5s);
      REQUIRE(are_all(*found, Errc::ok));
      std::optional<Result<Lookup>> later;
      consumer->client().submit_wait(views, 3, 60s,
                                     [&](Result<Lookup> answer) { later = std::move(answer); });
      // Whatever is answered after it on the same connection: the box has it.
      REQUIRE(consumer->client().usage().has_value());
      put.reset();
      if (!drops_only) {
        producer.reset();
      } else {
        CHECK(producer->client().usage()->objects == 0);  // and the ABORT has left
      }
      const auto begun = std::chrono::steady_clock::now();
      while (!later) {
        consumer->client().progress(kNever);
      }
      CHECK(std::chrono::steady_clock::now() - begun < 10s);
      REQUIRE(later->has_value());
      CHECK(are_all(**later, Errc::not_found));
      LayerBuffers into;
      CHECK(consumer->client().get_layer(*found, 0, into.spans()) ==
            std::vector<Errc>(kObjects, Errc::key_revoked));
      CHECK(consumer->client().lookup_prefix(views)->objects.empty());
    }
  }
}

TEST_CASE("of two producers of a name the first to write a layer goes on", "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const std::vector<std::string> names = names_for("two");
  const auto first = connected(server->eth_port_addresses()[0].to_string());
  const auto second = connected(server->eth_port_addresses()[1].to_string());
  const Result<LayeredPut> one = first->client().begin_layers(items_of(names));
  const Result<LayeredPut> other = second->client().begin_layers(items_of(names));
  REQUIRE((one.has_value() && other.has_value()));
  put_layers(second->client(), *other, 0, 1);
  LayerBuffers buffers;
  CHECK(first->client().put_layer(*one, 0, buffers.spans()) ==
        std::vector<Errc>(kObjects, Errc::already_exists));
  CHECK(one->statuses() == std::vector<Errc>(kObjects, Errc::already_exists));
  put_layers(second->client(), *other, 1, kLayers);
  CHECK(first->client().begin_layers(items_of(names))->statuses() ==
        std::vector<Errc>(kObjects, Errc::already_exists));
}

TEST_CASE("layers are refused where they have no meaning", "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const auto connection = connected(server->eth_port_addresses()[0].to_string());
  Client& client = connection->client();
  const LayeredItem good{.name = "a", .layer_size = SizeBytes(5000), .layers = 2};
  for (const LayeredItem& bad :
       {LayeredItem{.name = "", .layer_size = SizeBytes(5000), .layers = 2},
        LayeredItem{.name = "a", .layer_size = SizeBytes(0), .layers = 2},
        LayeredItem{.name = "a", .layer_size = SizeBytes(5000), .layers = 0},
        LayeredItem{.name = "a", .layer_size = SizeBytes(4095), .layers = 2},
        LayeredItem{.name = "a", .layer_size = SizeBytes(5000), .layers = 4096},
        LayeredItem{.name = "a", .layer_size = SizeBytes(UINT64_MAX), .layers = 2}}) {
    const LayeredItem both[] = {good, bad};
    CHECK(client.begin_layers(both)->statuses() ==
          std::vector<Errc>{Errc::ok, Errc::invalid_argument});
  }
  const Result<LayeredPut> put = client.begin_layers({&good, 1});
  std::array<std::byte, 5000> bytes{};
  const LocalSegment right{bytes.data(), 5000};
  const LocalSegment wrong{bytes.data(), 4999};
  const std::span<const LocalSegment> wrong_size(&wrong, 1);
  const std::span<const LocalSegment> right_size(&right, 1);
  CHECK(client.put_layer(*put, 1, {&right_size, 1}) == std::vector<Errc>{Errc::invalid_argument});
  CHECK(client.put_layer(*put, 0, {&right_size, 1}) == std::vector<Errc>{Errc::ok});
  CHECK(client.put_layer(*put, 1, {&wrong_size, 1}) == std::vector<Errc>{Errc::invalid_argument});
  CHECK(client.put_layer(LayeredPut(), 0, {&right_size, 1}) ==
        std::vector<Errc>{Errc::invalid_argument});
  const std::string_view names[] = {"a", ""};
  const Result<Lookup> judged = client.wait(names, 0, 5s);
  REQUIRE(judged->objects.size() == 2);
  CHECK(judged->objects[0].status == Errc::ok);
  CHECK(judged->objects[1].status == Errc::invalid_argument);
  // An object without layers is there as a whole, or not, and has no single ones.
  const striping::PutItem plain{.name = "plain", .data = right_size};
  REQUIRE(client.put({&plain, 1}) == std::vector<Errc>{Errc::ok});
  const std::string_view plain_name = "plain";
  const Result<Lookup> found = client.wait({&plain_name, 1}, 77, 5s);
  REQUIRE(are_all(*found, Errc::ok));
  CHECK(client.get_layer(*found, 0, {&right_size, 1}) == std::vector<Errc>{Errc::invalid_argument});
}

TEST_CASE("layers of more objects than a request holds are begun, put and waited for at once",
          "[contract]") {
  constexpr std::size_t kMany = wire::kBatchItemsMax + 100;
  constexpr std::size_t kBad = 5000;  // has a name that none can have
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const auto producer = connected(server->eth_port_addresses()[0].to_string());
  const auto consumer = connected(server->eth_port_addresses()[1].to_string());
  std::vector<std::string> names(kMany);
  std::vector<LayeredItem> items;
  for (std::size_t i = 0; i < kMany; ++i) {
    names[i] = i == kBad ? "" : "many/" + std::to_string(i);
    items.push_back({.name = names[i], .layer_size = SizeBytes(1), .layers = 1});
  }
  const std::vector<std::string_view> views(names.begin(), names.end());
  std::vector<Errc> expected(kMany, Errc::ok);
  expected[kBad] = Errc::invalid_argument;
  std::vector<Errc> missing(kMany, Errc::not_found);
  missing[kBad] = Errc::invalid_argument;
  const auto statuses_of = [](const Result<Lookup>& found) {
    std::vector<Errc> statuses;
    for (const striping::FoundObject& object : found->objects) {
      // As many as may be leased are; the others are there too.
      statuses.push_back(object.status == Errc::present_unleased ? Errc::ok : object.status);
    }
    return statuses;
  };
  CHECK(statuses_of(consumer->client().wait(views, 0, 10ms)) == missing);
  const Result<LayeredPut> put = producer->client().begin_layers(items);
  REQUIRE(put->statuses() == expected);
  std::vector<std::byte> bytes(kMany);
  std::vector<LocalSegment> pieces;
  for (std::size_t i = 0; i < kMany; ++i) {
    bytes[i] = byte_of(i, 0, 0);
    pieces.push_back({&bytes[i], 1});
  }
  std::vector<std::span<const LocalSegment>> spans;
  for (const LocalSegment& piece : pieces) {
    spans.emplace_back(&piece, 1);
  }
  std::optional<std::vector<Errc>> told;
  consumer->client().submit_wait(views, 0, 60s, [&](const Result<Lookup>& found) {
    REQUIRE(found.has_value());
    told = statuses_of(found);
  });
  (void)consumer->client().progress(TimePoint());
  CHECK(producer->client().put_layer(*put, 0, spans) == expected);
  while (!told) {
    consumer->client().progress(kNever);
  }
  CHECK(*told == expected);
  const std::string_view last = views.back();
  std::byte got{};
  const LocalSegment into{&got, 1};
  const striping::GetItem item{.name = last, .into = {&into, 1}};
  CHECK(consumer->client().get({&item, 1}) == std::vector<Errc>{Errc::ok});
  CHECK(got == byte_of(kMany - 1, 0, 0));
}

TEST_CASE("what was waited for longer than a lease lasts is leased when it is there",
          "[contract]") {
  constexpr std::size_t kMany =
      wire::kWaitNamesMax + 1;  // two requests; the first is there at once
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const auto producer = connected(server->eth_port_addresses()[0].to_string());
  std::vector<std::string> names(kMany);
  for (std::size_t i = 0; i < kMany; ++i) {
    names[i] = "long/" + std::to_string(i);
  }
  const std::vector<std::string_view> views(names.begin(), names.end());
  const std::byte byte{7};
  const LocalSegment piece{const_cast<std::byte*>(&byte), 1};
  for (const std::string& name : std::span(names).first(kMany - 1)) {
    const striping::PutItem item{.name = name, .data = {&piece, 1}};
    REQUIRE(producer->client().put({&item, 1}) == std::vector<Errc>{Errc::ok});
  }
  for (const std::string& at : addresses_of(*server, folder)) {
    CAPTURE(at);
    ConnectOptions options;
    options.client.lease = 1s;
    options.client.lease_margin = 10ms;
    const auto consumer = connect(at, options);
    REQUIRE(consumer.has_value());
    Client& client = (*consumer)->client();
    std::optional<Result<Lookup>> found;
    client.submit_wait(views, 0, 60s, [&](Result<Lookup> answer) { found = std::move(answer); });
    const auto put_at = std::chrono::steady_clock::now() + 1500ms;
    while (std::chrono::steady_clock::now() < put_at) {
      client.progress((*consumer)->network().clock().now() + 50ms);
    }
    REQUIRE(!found);
    const striping::PutItem last{.name = names.back(), .data = {&piece, 1}};
    REQUIRE(producer->client().put({&last, 1}) == std::vector<Errc>{Errc::ok});
    while (!found) {
      client.progress(kNever);
    }
    REQUIRE(found->has_value());
    CHECK((*found)->lease_until > (*consumer)->network().clock().now());
    std::vector<std::byte> into(kMany);
    std::vector<LocalSegment> pieces;
    for (std::byte& one : into) {
      pieces.push_back({&one, 1});
    }
    std::vector<std::span<const LocalSegment>> spans;
    for (const LocalSegment& one : pieces) {
      spans.emplace_back(&one, 1);
    }
    CHECK(client.get_found(**found, spans) == std::vector<Errc>(kMany, Errc::ok));
    CHECK(into == std::vector<std::byte>(kMany, byte));
    found.reset();
    REQUIRE(producer->client().remove({&views.back(), 1}) == std::vector<Errc>{Errc::ok});
  }
}

TEST_CASE("more names are waited for than the box has room for waits", "[contract]") {
  constexpr std::size_t kMany = std::size_t{70} * wire::kWaitNamesMax;
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const auto consumer = connected(server->eth_port_addresses()[0].to_string());
  std::vector<std::string> names(kMany);
  for (std::size_t i = 0; i < kMany; ++i) {
    names[i] = "none/" + std::to_string(i);
  }
  const std::vector<std::string_view> views(names.begin(), names.end());
  const Result<Lookup> found = consumer->client().wait(views, 0, 10ms);
  REQUIRE(found.has_value());
  REQUIRE(found->objects.size() == kMany);
  CHECK(are_all(*found, Errc::not_found));
}

TEST_CASE("a subscriber hears what happens to its tenant's objects, in order", "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const auto subscriber = connected(server->eth_port_addresses()[1].to_string());
  const auto other = connected("local:" + folder.socket());
  std::array<std::byte, 10> bytes{};
  const LocalSegment piece{bytes.data(), 10};
  const auto put = [&](std::string_view name, bool rebinds) {
    const striping::PutItem item{.name = name, .data = {&piece, 1}, .rebinds = rebinds};
    return other->client().put({&item, 1}).front();
  };
  const Result<wire::EventsReply> start = subscriber->client().events({.kinds = 0x3F});
  REQUIRE(start.has_value());
  CHECK(start->events.empty());
  // Waits, and is told.
  std::optional<Result<wire::EventsReply>> told;
  subscriber->client().submit_events(
      {.after = start->next, .kinds = 0x3F, .wait_ms = 60'000},
      [&](Result<wire::EventsReply> reply) { told = std::move(reply); });
  (void)subscriber->client().progress(TimePoint());
  REQUIRE(put("a", false) == Errc::ok);
  while (!told) {
    subscriber->client().progress(kNever);
  }
  REQUIRE((*told)->events.size() == 1);
  CHECK((*told)->events[0].name == "a");
  CHECK((*told)->events[0].kind == wire::EventKind::put);
  CHECK((*told)->events[0].size == SizeBytes(10));
  REQUIRE(put("a", true) == Errc::ok);
  REQUIRE(put("b", false) == Errc::ok);
  const std::string_view b = "b";
  REQUIRE(other->client().remove({&b, 1}) == std::vector<Errc>{Errc::ok});
  const Result<wire::EventsReply> rest =
      subscriber->client().events({.after = (*told)->next, .kinds = 0x3F});
  REQUIRE(rest->events.size() == 3);
  CHECK(rest->events[0].kind == wire::EventKind::rebind);
  CHECK(rest->events[1].kind == wire::EventKind::put);
  CHECK(rest->events[2].kind == wire::EventKind::remove);
  CHECK(rest->lost == 0);
  const Result<wire::EventsReply> removals = subscriber->client().events(
      {.after = start->next, .kinds = 1U << static_cast<unsigned>(wire::EventKind::remove)});
  REQUIRE(removals->events.size() == 1);
  CHECK(removals->events[0].name == "b");
  const Result<wire::EventsReply> two =
      subscriber->client().events({.after = start->next, .kinds = 0x3F, .events_max = 2});
  REQUIRE(two->events.size() == 2);
  CHECK(subscriber->client().events({.after = two->next, .kinds = 0x3F})->events.size() == 2);
  // A position that was not given: all that the box knows, and that it may be more.
  const Result<wire::EventsReply> strange =
      subscriber->client().events({.after = rest->next + 1, .kinds = 0x3F});
  REQUIRE(strange.has_value());
  CHECK(strange->lost == 1);
  CHECK(strange->events.size() == 4);
  CHECK(strange->next == rest->next);
  CHECK(subscriber->client().events({.kinds = 0}).error().code == Errc::invalid_argument);
  CHECK(subscriber->client().events({.kinds = 64}).error().code == Errc::invalid_argument);
  // With nothing to tell it answers when its time is over.
  CHECK(subscriber->client()
            .events({.after = rest->next, .kinds = 0x3F, .wait_ms = 20})
            ->events.empty());
}

TEST_CASE("a subscriber that does not read is told how much it has missed", "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const auto connection = connected("local:" + folder.socket());
  Client& client = connection->client();
  const Result<wire::EventsReply> start = client.events({.kinds = 1});
  constexpr std::size_t kBatch = 1000;
  constexpr std::size_t kBatches = 20;
  std::vector<std::string> names(kBatch);
  for (std::size_t batch = 0; batch < kBatches; ++batch) {
    std::vector<striping::PutItem> items;
    for (std::size_t i = 0; i < kBatch; ++i) {
      names[i] = std::to_string(batch) + "/" + std::to_string(i);
      items.push_back({.name = names[i], .data = {}, .sparse_size = SizeBytes(1)});
    }
    REQUIRE(client.put(items) == std::vector<Errc>(kBatch, Errc::ok));
  }
  const Result<wire::EventsReply> reply =
      client.events({.after = start->next, .kinds = 1, .events_max = 10});
  REQUIRE(reply.has_value());
  CHECK(reply->lost == kBatch * kBatches - 16384);
  REQUIRE(reply->events.size() == 10);
  CHECK(reply->events[0].name == "3/616");
}

}  // namespace
}  // namespace godbox::test
