// SPDX-License-Identifier: Apache-2.0
//
// The simulator's judges have to be able to find somebody guilty.
#include <godbox/sim/guarded_memory.h>
#include <godbox/sim/object_model.h>
#include <godbox/sim/region_model.h>

#include <catch2/catch_test_macros.hpp>

namespace godbox::sim {
namespace {

using std::chrono::seconds;

ObjectModel::Moment at(int second, std::uint64_t evictions = 0) {
  return {TimePoint(seconds(second)), evictions};
}

ObjectModel::Content content(std::uint64_t seed, std::uint64_t size = 100) {
  return {seed, SizeBytes(size), false};
}

std::vector<std::byte> bytes_of(std::uint64_t seed, std::size_t size = 100) {
  std::vector<std::byte> bytes(size);
  fill_content(bytes, seed);
  return bytes;
}

// A put that took from `begin` to `end`.
Violation put(ObjectModel& model, std::uint64_t seed, int begin, int end, Errc status = Errc::ok) {
  const std::uint64_t id = model.begin_put("a", content(seed), at(begin));
  return model.end_put(id, status, at(end));
}

Violation remove(ObjectModel& model, int begin, int end, Errc status = Errc::ok) {
  const std::uint64_t id = model.begin_remove("a", at(begin));
  return model.end_remove(id, status, at(end));
}

TEST_CASE("an object that was put is found, with its bytes and no others", "[sim]") {
  ObjectModel model(seconds(15));
  CHECK(model.check_found("a", SizeBytes(100), false, at(1), at(2)).has_value());
  CHECK_FALSE(model.check_missing("a", at(1), at(2)).has_value());
  CHECK_FALSE(put(model, 7, 3, 4).has_value());
  CHECK_FALSE(model.check_found("a", SizeBytes(100), false, at(5), at(6)).has_value());
  CHECK(model.check_found("a", SizeBytes(99), false, at(5), at(6)).has_value());
  CHECK(model.check_found("a", SizeBytes(100), true, at(5), at(6)).has_value());
  CHECK(model.check_missing("a", at(5), at(6)).has_value());
  CHECK_FALSE(model.check_bytes("a", bytes_of(7), at(5), at(6)).has_value());
  CHECK(model.check_bytes("a", bytes_of(8), at(5), at(6)).has_value());
  std::vector<std::byte> one_off = bytes_of(7);
  one_off.back() ^= std::byte{1};
  CHECK(model.check_bytes("a", one_off, at(5), at(6)).has_value());
  CHECK(model.check_bytes("b", bytes_of(7), at(5), at(6)).has_value());
}

TEST_CASE("a reader that began before the put ended may see it or not", "[sim]") {
  ObjectModel model(seconds(15));
  CHECK_FALSE(put(model, 7, 3, 5).has_value());
  CHECK_FALSE(model.check_missing("a", at(4), at(6)).has_value());
  CHECK_FALSE(model.check_bytes("a", bytes_of(7), at(2), at(6)).has_value());
}

TEST_CASE("what was removed is missing, and its bytes are stale", "[sim]") {
  ObjectModel model(seconds(15));
  CHECK_FALSE(put(model, 7, 1, 2).has_value());
  CHECK_FALSE(remove(model, 3, 5).has_value());
  CHECK_FALSE(model.check_bytes("a", bytes_of(7), at(4), at(6)).has_value());
  CHECK(model.check_bytes("a", bytes_of(7), at(5), at(6)).has_value());
  CHECK_FALSE(model.check_missing("a", at(4), at(6)).has_value());
  CHECK(remove(model, 7, 8).has_value());
  CHECK_FALSE(remove(model, 7, 8, Errc::not_found).has_value());
}

TEST_CASE("a remove may not miss what is there", "[sim]") {
  ObjectModel model(seconds(15));
  CHECK_FALSE(put(model, 7, 1, 2).has_value());
  CHECK(remove(model, 3, 4, Errc::not_found).has_value());
}

TEST_CASE("a name is bound once", "[sim]") {
  ObjectModel model(seconds(15));
  CHECK(put(model, 6, 1, 2, Errc::already_exists).has_value());
  CHECK_FALSE(put(model, 7, 1, 2).has_value());
  CHECK_FALSE(put(model, 8, 3, 4, Errc::already_exists).has_value());
  CHECK(model.check_bytes("a", bytes_of(8), at(5), at(6)).has_value());
  CHECK(put(model, 9, 5, 6).has_value());
}

TEST_CASE("of two puts at one time one may be ok and the other find it", "[sim]") {
  ObjectModel model(seconds(15));
  const std::uint64_t one = model.begin_put("a", content(1), at(1));
  const std::uint64_t other = model.begin_put("a", content(2), at(1));
  CHECK_FALSE(model.end_put(one, Errc::already_exists, at(2)).has_value());
  CHECK_FALSE(model.end_put(other, Errc::ok, at(3)).has_value());
  CHECK_FALSE(model.check_bytes("a", bytes_of(2), at(4), at(5)).has_value());
  CHECK(model.check_bytes("a", bytes_of(1), at(4), at(5)).has_value());
}

TEST_CASE("a put without an answer may be there, later too, and need not", "[sim]") {
  ObjectModel model(seconds(15));
  CHECK_FALSE(put(model, 7, 1, 2, Errc::deadline_exceeded).has_value());
  CHECK_FALSE(model.check_missing("a", at(3), at(4)).has_value());
  CHECK_FALSE(model.check_bytes("a", bytes_of(7), at(3), at(4)).has_value());
  // The remove may have been before it.
  CHECK_FALSE(remove(model, 5, 6, Errc::not_found).has_value());
  CHECK_FALSE(model.check_bytes("a", bytes_of(7), at(7), at(8)).has_value());
  // Not any more: it is settled by then.
  CHECK_FALSE(remove(model, 20, 21).has_value());
  CHECK(model.check_bytes("a", bytes_of(7), at(22), at(23)).has_value());
}

TEST_CASE("an eviction excuses what is missing, but not wrong bytes", "[sim]") {
  ObjectModel model(seconds(15));
  CHECK_FALSE(put(model, 7, 1, 2).has_value());
  CHECK(model.check_missing("a", at(3), at(4, 0)).has_value());
  CHECK_FALSE(model.check_missing("a", at(3), at(4, 1)).has_value());
  CHECK(model.check_bytes("a", bytes_of(8), at(3), at(4, 1)).has_value());
  const std::uint64_t again = model.begin_put("a", content(9), at(5, 1));
  CHECK_FALSE(model.end_put(again, Errc::ok, at(6, 1)).has_value());
  CHECK(model.check_bytes("a", bytes_of(7), at(7, 1), at(8, 1)).has_value());
  CHECK_FALSE(model.check_bytes("a", bytes_of(9), at(7, 1), at(8, 1)).has_value());
}

TEST_CASE("after a restart nothing old may be seen", "[sim]") {
  ObjectModel model(seconds(15));
  CHECK_FALSE(put(model, 7, 1, 2).has_value());
  const std::uint64_t under_way = model.begin_put("a", content(8), at(3));
  model.restart(at(4));
  CHECK_FALSE(model.end_put(under_way, Errc::session_lost, at(5)).has_value());
  CHECK_FALSE(model.check_missing("a", at(5), at(6)).has_value());
  CHECK(model.check_bytes("a", bytes_of(7), at(5), at(6)).has_value());
  CHECK(model.check_bytes("a", bytes_of(8), at(5), at(6)).has_value());
  CHECK(model.check_found("a", SizeBytes(100), false, at(5), at(6)).has_value());
}

ObjectModel::Moment at_ms(int ms, std::uint64_t evictions = 0) {
  return {TimePoint(std::chrono::milliseconds(ms)), evictions};
}

// A put with these terms that took from `begin` to `end`, in milliseconds.
Violation put_for(ObjectModel& model, std::uint64_t seed, PutTerms terms, int begin, int end,
                  Errc status = Errc::ok) {
  const std::uint64_t id = model.begin_put("a", content(seed), at_ms(begin), terms);
  return model.end_put(id, status, at_ms(end));
}

Violation retain(ObjectModel& model, wire::Retention retention, int begin, int end,
                 Errc status = Errc::ok) {
  const std::uint64_t id = model.begin_retain("a", retention, at_ms(begin));
  return model.end_retain(id, status, at_ms(end));
}

wire::Event event_of(wire::EventKind kind) { return {1, kind, SizeBytes(100), "a"}; }

constexpr PutTerms kRebinds{.rebinds = true};

TEST_CASE("a put that rebinds takes the name, in one step", "[sim]") {
  ObjectModel model(seconds(15));
  CHECK_FALSE(put_for(model, 1, {}, 10, 20).has_value());
  const std::uint64_t second = model.begin_put("a", content(2), at_ms(30), kRebinds);
  // While it is under way either is there, and never none.
  CHECK_FALSE(model.check_bytes("a", bytes_of(1), at_ms(31), at_ms(32)).has_value());
  CHECK_FALSE(model.check_bytes("a", bytes_of(2), at_ms(31), at_ms(32)).has_value());
  CHECK(model.check_missing("a", at_ms(31), at_ms(32)).has_value());
  CHECK_FALSE(model.check_missing("a", at_ms(31), at_ms(32, 1)).has_value());
  CHECK_FALSE(model.end_put(second, Errc::ok, at_ms(40)).has_value());
  CHECK(model.check_bytes("a", bytes_of(1), at_ms(41), at_ms(42)).has_value());
  CHECK(model.check_missing("a", at_ms(41), at_ms(42)).has_value());
  CHECK(put_for(model, 3, {}, 50, 60).has_value());
}

TEST_CASE("an object with a hard TTL is there until then, and not after it", "[sim]") {
  ObjectModel model(seconds(15));
  CHECK_FALSE(put_for(model, 1, {.retention = {.hard_ttl_ms = 100}}, 10, 20).has_value());
  CHECK(model.check_missing("a", at_ms(30), at_ms(109)).has_value());
  CHECK_FALSE(model.check_missing("a", at_ms(30), at_ms(110)).has_value());
  CHECK_FALSE(model.check_bytes("a", bytes_of(1), at_ms(119), at_ms(130)).has_value());
  CHECK(model.check_bytes("a", bytes_of(1), at_ms(120), at_ms(130)).has_value());
  CHECK_FALSE(model.check_event(event_of(wire::EventKind::expire), at_ms(110)).has_value());
  CHECK(model.check_event(event_of(wire::EventKind::expire), at_ms(109)).has_value());
}

TEST_CASE("a retain that was answered says how long an object is kept, from then on", "[sim]") {
  ObjectModel model(seconds(15));
  CHECK_FALSE(put_for(model, 1, {.retention = {.hard_ttl_ms = 100}}, 10, 20).has_value());
  CHECK_FALSE(retain(model, {.hard_ttl_ms = 300}, 50, 60).has_value());
  CHECK(model.check_missing("a", at_ms(70), at_ms(340)).has_value());
  CHECK_FALSE(model.check_missing("a", at_ms(70), at_ms(350)).has_value());
  CHECK(model.check_found("a", SizeBytes(100), false, at_ms(360), at_ms(370)).has_value());
  // One without an answer may have done so, or not.
  ObjectModel other(seconds(15));
  CHECK_FALSE(put_for(other, 1, {}, 10, 20).has_value());
  CHECK_FALSE(retain(other, {.hard_ttl_ms = 100}, 50, 60, Errc::deadline_exceeded).has_value());
  CHECK_FALSE(other.check_missing("a", at_ms(70), at_ms(150)).has_value());
  CHECK_FALSE(other.check_bytes("a", bytes_of(1), at_ms(900), at_ms(901)).has_value());
  CHECK(retain(other, {}, 100, 110, Errc::not_found).has_value());
}

TEST_CASE("what is surely pinned may not be evicted", "[sim]") {
  ObjectModel model(seconds(15));
  const wire::Retention pinned{.pin = wire::Pin::hard};
  CHECK_FALSE(put_for(model, 1, {.retention = pinned}, 10, 20).has_value());
  CHECK(model.check_missing("a", at_ms(30), at_ms(40, 5)).has_value());
  CHECK(model.check_event(event_of(wire::EventKind::evict), at_ms(40)).has_value());
  CHECK(model.is_surely("a", wire::Pin::hard, at_ms(40)));
  const std::uint64_t unpin = model.begin_retain("a", {}, at_ms(50));
  CHECK_FALSE(model.is_surely("a", wire::Pin::hard, at_ms(51)));
  CHECK_FALSE(model.check_event(event_of(wire::EventKind::evict), at_ms(51)).has_value());
  CHECK_FALSE(model.end_retain(unpin, Errc::ok, at_ms(60)).has_value());
  CHECK(model.is_surely("a", wire::Pin::none, at_ms(61)));
  CHECK_FALSE(retain(model, pinned, 70, 80, Errc::quota_exceeded).has_value());
  CHECK(model.is_surely("a", wire::Pin::none, at_ms(81)));
}

TEST_CASE("an event needs somebody who asked for it", "[sim]") {
  ObjectModel model(seconds(15));
  CHECK(model.check_event(event_of(wire::EventKind::put), at_ms(1)).has_value());
  const std::uint64_t put = model.begin_put("a", content(1), at_ms(10));
  CHECK_FALSE(model.check_event(event_of(wire::EventKind::put), at_ms(15)).has_value());
  CHECK(model.check_event(event_of(wire::EventKind::rebind), at_ms(15)).has_value());
  CHECK(model.check_event({1, wire::EventKind::put, SizeBytes(99), "a"}, at_ms(15)).has_value());
  CHECK_FALSE(model.end_put(put, Errc::ok, at_ms(20)).has_value());
  CHECK(model.check_event(event_of(wire::EventKind::put), at_ms(21)).has_value());
  CHECK(model.check_event(event_of(wire::EventKind::remove), at_ms(21)).has_value());
  const std::uint64_t removal = model.begin_remove("a", at_ms(30));
  CHECK_FALSE(model.check_event(event_of(wire::EventKind::remove), at_ms(31)).has_value());
  CHECK_FALSE(model.end_remove(removal, Errc::ok, at_ms(40)).has_value());
  CHECK(model.check_event(event_of(wire::EventKind::lose), at_ms(41)).has_value());
}

TEST_CASE("what was under way when time jumped takes effect behind the jump", "[sim]") {
  ObjectModel model(seconds(15));
  CHECK_FALSE(put(model, 1, 1, 2, Errc::deadline_exceeded).has_value());
  model.jump(at(3), std::chrono::hours(1));
  CHECK_FALSE(remove(model, 3604, 3605, Errc::not_found).has_value());
  CHECK_FALSE(model.check_bytes("a", bytes_of(1), at(3606), at(3607)).has_value());
}

TEST_CASE("a region has the bytes that were written last", "[sim]") {
  RegionModel model(SizeBytes(100));
  const std::vector<std::byte> old_bytes(10, std::byte{1});
  const std::vector<std::byte> new_bytes(4, std::byte{2});
  model.end_write(model.begin_write({{20, old_bytes}}), Errc::ok);
  model.end_write(model.begin_write({{22, new_bytes}}), Errc::ok);
  std::vector<std::byte> expected = old_bytes;
  std::copy(new_bytes.begin(), new_bytes.end(), expected.begin() + 2);
  const auto read = [&](std::vector<std::byte> seen, Errc status) {
    const std::uint64_t id = model.begin_read({{20, std::vector<std::byte>(10)}});
    const std::vector<std::vector<std::byte>> pieces{std::move(seen)};
    return model.end_read(id, status, pieces);
  };
  CHECK_FALSE(read(expected, Errc::ok).has_value());
  CHECK(read(old_bytes, Errc::ok).has_value());
  CHECK_FALSE(read(old_bytes, Errc::session_lost).has_value());
}

TEST_CASE("what was never written, failed or overlapped in a region is not judged", "[sim]") {
  RegionModel model(SizeBytes(100));
  const std::vector<std::byte> one(10, std::byte{1});
  const std::vector<std::byte> two(10, std::byte{2});
  const std::vector<std::byte> other(10, std::byte{9});
  const auto judge = [&](std::uint64_t offset, std::size_t size = 10) {
    const std::uint64_t id = model.begin_read({{offset, std::vector<std::byte>(size)}});
    const std::vector<std::vector<std::byte>> pieces{
        {other.begin(), other.begin() + static_cast<std::ptrdiff_t>(size)}};
    return model.end_read(id, Errc::ok, pieces).has_value();
  };
  CHECK_FALSE(judge(0));  // never written
  model.end_write(model.begin_write({{0, one}}), Errc::ok);
  CHECK(judge(0));
  model.end_write(model.begin_write({{0, two}}), Errc::deadline_exceeded);
  CHECK_FALSE(judge(0));
  const std::uint64_t first = model.begin_write({{20, one}});
  const std::uint64_t second = model.begin_write({{25, two}});
  model.end_write(first, Errc::ok);
  model.end_write(second, Errc::ok);
  CHECK_FALSE(judge(25, 5));  // both wrote there
  CHECK(judge(20, 5));
  CHECK(judge(30, 5));
  model.end_write(model.begin_write({{20, one}}), Errc::ok);
  CHECK(judge(20));
  // A write under way while a read is.
  const std::uint64_t read = model.begin_read({{20, std::vector<std::byte>(10)}});
  model.end_write(model.begin_write({{20, two}}), Errc::ok);
  const std::vector<std::vector<std::byte>> pieces{other};
  CHECK_FALSE(model.end_read(read, Errc::ok, pieces).has_value());
}

TEST_CASE("a write that failed leaves its bytes unsure until one ends well", "[sim]") {
  const std::vector<std::byte> one(10, std::byte{1});
  const std::vector<std::byte> two(10, std::byte{2});
  RegionModel model(SizeBytes(10));
  const auto judge = [&](const std::vector<std::byte>& seen) {
    const std::uint64_t id = model.begin_read({{0, std::vector<std::byte>(10)}});
    const std::vector<std::vector<std::byte>> pieces{seen};
    return model.end_read(id, Errc::ok, pieces).has_value();
  };
  model.end_write(model.begin_write({{0, one}}), Errc::ok);
  CHECK_FALSE(judge(one));
  CHECK(judge(two));
  model.end_write(model.begin_write({{0, two}}), Errc::lane_closed);
  CHECK_FALSE(judge(one));
  CHECK_FALSE(judge(two));
  model.end_write(model.begin_write({{0, two}}), Errc::ok);
  CHECK(judge(one));  // nothing of what failed, or was given up, may land any more
}

TEST_CASE("contents of different seeds, places and lengths differ", "[sim]") {
  const std::vector<std::byte> bytes = bytes_of(1, 1001);
  CHECK_FALSE(find_difference(bytes, 1).has_value());
  CHECK(find_difference(bytes, 2) == 0U);
  std::vector<std::byte> changed = bytes;
  changed[1000] ^= std::byte{4};
  CHECK(find_difference(changed, 1) == 1000U);
  CHECK(find_difference(ConstSpan(bytes).subspan(8), 1) == 1U);  // behind the tag
  CHECK_FALSE(find_difference({}, 1).has_value());

  const std::vector<std::byte> tagged = bytes_of(tagged_seed(0x1234, 0x77), 800);
  CHECK(count_tagged(tagged, 0x77).tagged == 100);
  CHECK(count_tagged(tagged, 0x78).tagged == 0);
  CHECK(count_tagged(std::vector<std::byte>(800), 0x77).nonzero == 0);
}

TEST_CASE("a scattered buffer keeps the order of its bytes and shows what strays", "[sim]") {
  for (std::uint64_t seed = 1; seed < 30; ++seed) {
    INFO("seed " << seed);
    SimRandom random(seed);
    ScatteredBuffer buffer(1000, 1 + seed % 7, random);
    buffer.fill(seed);
    CHECK_FALSE(find_difference(buffer.gather(), seed).has_value());
    CHECK(buffer.canaries_stand());
    const LocalSegment last = buffer.segments().back();
    last.data[last.size_bytes] ^= std::byte{1};
    CHECK_FALSE(buffer.canaries_stand());
    buffer.retire();
    CHECK(buffer.is_untouched());
    buffer.segments().front().data[0] = std::byte{1};
    CHECK_FALSE(buffer.is_untouched());
  }
}

TEST_CASE("guarded memory is zero when it comes back and counts what is there", "[sim]") {
  GuardedMemory memory(SizeBytes(1 << 20), SizeBytes(4096));
  CHECK(memory.backed().is_zero());
  REQUIRE(memory.back(DramOffset(8192), SizeBytes(8192)).has_value());
  REQUIRE(memory.back(DramOffset(4096), SizeBytes(8192)).has_value());
  CHECK(memory.backed() == SizeBytes(12288));
  CHECK(memory.is_backed(DramOffset(4096)));
  CHECK_FALSE(memory.is_backed(DramOffset(0)));
  CHECK(memory.data()[16383] == std::byte{0});
  memory.data()[8192] = std::byte{1};
  REQUIRE(memory.back(DramOffset(8192), SizeBytes(4096)).has_value());
  CHECK(memory.data()[8192] == std::byte{1});
  REQUIRE(memory.discard(DramOffset(8192), SizeBytes(4096)).has_value());
  CHECK(memory.backed() == SizeBytes(8192));
  REQUIRE(memory.back(DramOffset(8192), SizeBytes(4096)).has_value());
  CHECK(memory.data()[8192] == std::byte{0});
  CHECK(memory.back(DramOffset(1), SizeBytes(4096)).error().code == Errc::out_of_range);
  CHECK(memory.back(DramOffset(1 << 20), SizeBytes(4096)).error().code == Errc::out_of_range);
  memory.refuse_backing(1);
  CHECK(memory.back(DramOffset(0), SizeBytes(4096)).error().code == Errc::backing_full);
  CHECK(memory.back(DramOffset(0), SizeBytes(4096)).has_value());
}

}  // namespace
}  // namespace godbox::sim
