// SPDX-License-Identifier: Apache-2.0
#include "device_contract.h"

#include <godbox/crc32c.h>

#include <catch2/catch_get_random_seed.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

namespace godbox::test {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kPageBytes = 4096;

Bytes random_bytes(std::size_t size, std::uint32_t seed) {
  Bytes bytes(size);
  std::mt19937 random(seed);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random());
  }
  return bytes;
}

// Polls until the queue has passed a mark behind all that it was given; the marks, in order.
std::vector<DeviceMark> drain(DeviceQueue& queue, std::uint64_t last_id = ~std::uint64_t{0}) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::vector<DeviceMark> all;
  REQUIRE(queue.mark(last_id) == Errc::ok);
  while (all.empty() || all.back().id != last_id) {
    std::array<DeviceMark, 16> some;
    const std::size_t count = queue.poll(some);
    all.insert(all.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(count));
    if (count == 0) {
      REQUIRE(std::chrono::steady_clock::now() < limit);
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }
  for (const DeviceMark& mark : all) {
    CHECK(mark.status == Errc::ok);
  }
  return all;
}

// Memory of the device, and staging, for as long as this lives.
class Memory {
 public:
  enum class Kind { device, staging };
  Memory(DeviceWorld& world, Kind kind, std::size_t size) : device_(world.device()), kind_(kind) {
    auto made = kind == Kind::device ? device_.allocate(SizeBytes(size))
                                     : device_.allocate_staging(SizeBytes(size));
    if (!made.has_value()) {
      FAIL(made.error().message());
    }
    span_ = *made;
    REQUIRE(span_.size() == size);
  }
  ~Memory() { kind_ == Kind::device ? device_.release(span_) : device_.release_staging(span_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  [[nodiscard]] MutableSpan span() const { return span_; }
  [[nodiscard]] std::byte* at(std::size_t offset) const { return span_.data() + offset; }
  void fill(const Bytes& bytes) const {
    REQUIRE(kind_ == Kind::staging);
    std::copy(bytes.begin(), bytes.end(), span_.begin());
  }

 private:
  DeviceMemory& device_;
  Kind kind_;
  MutableSpan span_;
};

std::unique_ptr<DeviceQueue> make_queue(DeviceWorld& world) {
  auto made = world.device().make_queue();
  if (!made.has_value()) {
    FAIL(made.error().message());
  }
  return std::move(*made);
}

std::unique_ptr<DeviceEvent> make_event(DeviceWorld& world) {
  auto made = world.device().make_event();
  if (!made.has_value()) {
    FAIL(made.error().message());
  }
  return std::move(*made);
}

// Device memory that holds `bytes`, and what it holds later.
class Loaded {
 public:
  Loaded(DeviceWorld& world, const Bytes& bytes)
      : staging_(world, Memory::Kind::staging, bytes.size()),
        memory_(world, Memory::Kind::device, bytes.size()),
        queue_(make_queue(world)) {
    staging_.fill(bytes);
    REQUIRE(queue_->copy(memory_.span(), staging_.span()) == Errc::ok);
    drain(*queue_);
  }
  [[nodiscard]] std::byte* at(std::size_t offset) const { return memory_.at(offset); }
  [[nodiscard]] MutableSpan span() const { return memory_.span(); }
  [[nodiscard]] Bytes read() const {
    std::fill(staging_.span().begin(), staging_.span().end(), std::byte{0x5A});
    REQUIRE(queue_->copy(staging_.span(), memory_.span()) == Errc::ok);
    drain(*queue_);
    return {staging_.span().begin(), staging_.span().end()};
  }

 private:
  Memory staging_;
  Memory memory_;
  std::unique_ptr<DeviceQueue> queue_;
};

// Errc, not CHECK's bool: a failure shows both names.
void check_is(Errc got, Errc wanted) { CHECK(to_string(got) == to_string(wanted)); }

// Cuts `total` into parts of 1 to `part_max`, in random lengths.
std::vector<std::uint32_t> random_cut(std::mt19937& random, std::size_t total,
                                      std::size_t part_max) {
  std::vector<std::uint32_t> parts;
  while (total > 0) {
    const std::size_t part = std::min<std::size_t>(total, 1 + random() % part_max);
    parts.push_back(static_cast<std::uint32_t>(part));
    total -= part;
  }
  return parts;
}

std::vector<CrcBlock> blocks_of(std::span<const std::uint32_t> lengths) {
  std::vector<CrcBlock> blocks;
  for (const std::uint32_t length : lengths) {
    blocks.push_back({.length_bytes = length, .crc32c = 0xDEADBEEFU});
  }
  return blocks;
}

// --- Memory --------------------------------------------------------------------------------------

void memory_is_aligned_and_apart(DeviceWorld& world) {
  const Memory a(world, Memory::Kind::device, 100);
  const Memory b(world, Memory::Kind::device, 3 * kPageBytes + 1);
  const Memory c(world, Memory::Kind::staging, 77);
  CHECK(reinterpret_cast<std::uintptr_t>(a.at(0)) % 256 == 0);
  CHECK(reinterpret_cast<std::uintptr_t>(b.at(0)) % 256 == 0);
  CHECK(reinterpret_cast<std::uintptr_t>(c.at(0)) % kPageBytes == 0);
  CHECK((a.at(100) <= b.at(0) || b.at(3 * kPageBytes + 1) <= a.at(0)));
  CHECK(world.device().reaches(a.span()));
  CHECK(world.device().reaches(b.span().subspan(kPageBytes, 17)));
  CHECK(world.device().reaches(c.span()));
  CHECK_FALSE(world.device().reaches({}));
}

void memory_that_cannot_be_is_refused(DeviceWorld& world) {
  DeviceMemory& device = world.device();
  const auto code = [](const Result<MutableSpan>& made) {
    return made.has_value() ? Errc::ok : made.error().code;
  };
  check_is(code(device.allocate(0_B)), Errc::invalid_argument);
  check_is(code(device.allocate_staging(0_B)), Errc::invalid_argument);
  const auto too_much = device.allocate(SizeBytes(std::uint64_t{1} << 52U));
  check_is(code(too_much), Errc::device_memory_full);
  CHECK(too_much.error().detail.find("4503599627370496") != std::string::npos);
  check_is(code(device.allocate_staging(SizeBytes(std::uint64_t{1} << 52U))), Errc::limit_exceeded);
  // And the device is as good as before.
  Loaded loaded(world, random_bytes(1000, 1));
  CHECK(loaded.read() == random_bytes(1000, 1));
}

// Whole pages, aligned: what every system can register.
struct alignas(kPageBytes) Pages {
  std::array<std::byte, 4 * kPageBytes> bytes{};
};

void registered_memory_is_reached(DeviceWorld& world) {
  DeviceMemory& device = world.device();
  const auto pages = std::make_unique<Pages>();
  const MutableSpan all(pages->bytes);
  const auto code = [](const Result<void>& done) {
    return done.has_value() ? Errc::ok : done.error().code;
  };
  check_is(code(device.register_host({})), Errc::invalid_argument);
  const Bytes bytes = random_bytes(all.size(), 7);
  const std::unique_ptr<DeviceQueue> queue = make_queue(world);
  for (int round = 0; round < 2; ++round) {
    const Loaded loaded(world, bytes);
    std::fill(all.begin(), all.end(), std::byte{0});
    REQUIRE(device.register_host(all).has_value());
    CHECK(device.reaches(all));
    CHECK(device.reaches(all.subspan(5, 100)));
    // Once more, and a part of it that begins and ends in the middle of pages, and what is gone
    // first.
    REQUIRE(device.register_host(all).has_value());
    REQUIRE(device.register_host(all.subspan(kPageBytes + 100, kPageBytes)).has_value());
    REQUIRE(device.register_host(all.first(10)).has_value());
    device.unregister_host(all.first(10));
    device.unregister_host(all);
    // By a kernel and by a copy engine, into the middle.
    const MovePiece piece{all.data() + 13, loaded.at(13), 5000};
    check_is(queue->move({&piece, 1}, {}), Errc::ok);
    check_is(queue->copy(all.subspan(8000, 777), loaded.span().subspan(8000, 777)), Errc::ok);
    drain(*queue);
    CHECK(std::equal(bytes.begin() + 13, bytes.begin() + 5013, all.begin() + 13));
    CHECK(std::equal(bytes.begin() + 8000, bytes.begin() + 8777, all.begin() + 8000));
    CHECK(all[12] == std::byte{0});
    CHECK(all[5013] == std::byte{0});
    // And from it.
    std::fill(all.begin(), all.end(), std::byte{0xA7});
    const MovePiece back{loaded.at(20), all.data() + 3, 90};
    check_is(queue->move({&back, 1}, {}), Errc::ok);
    drain(*queue);
    const Bytes now = loaded.read();
    CHECK(std::all_of(now.begin() + 20, now.begin() + 110,
                      [](std::byte byte) { return byte == std::byte{0xA7}; }));
    device.unregister_host(all);
    const MutableSpan part = all.subspan(kPageBytes + 100, kPageBytes);
    CHECK(device.reaches(part));
    const MovePiece last{part.data(), loaded.at(100), kPageBytes};
    check_is(queue->move({&last, 1}, {}), Errc::ok);
    drain(*queue);
    CHECK(std::equal(bytes.begin() + 200, bytes.begin() + kPageBytes, part.begin() + 100));
    device.unregister_host(part);
  }
}

// What a device has given out is in reach without: registering it is counted, and changes nothing.
void memory_of_the_device_may_be_registered(DeviceWorld& world) {
  const Loaded loaded(world, random_bytes(1000, 9));
  DeviceMemory& device = world.device();
  REQUIRE(device.register_host(loaded.span()).has_value());
  device.unregister_host(loaded.span());
  CHECK(loaded.read() == random_bytes(1000, 9));
}

// --- Moves ---------------------------------------------------------------------------------------

void known_crcs(DeviceWorld& world) {
  const std::string_view text = "123456789";
  Bytes bytes(text.size() + 32);  // RFC 3720 B.4: and 32 zeros
  std::memcpy(bytes.data(), text.data(), text.size());
  Loaded from(world, bytes);
  Loaded to(world, Bytes(bytes.size(), std::byte{1}));
  const std::unique_ptr<DeviceQueue> queue = make_queue(world);
  const std::array pieces{
      MovePiece{to.at(0), from.at(0), static_cast<std::uint32_t>(bytes.size())}};
  std::array crc{CrcBlock{9, 0}, CrcBlock{32, 0}};
  check_is(queue->move(pieces, crc), Errc::ok);
  drain(*queue);
  CHECK(crc[0].crc32c == 0xE3069283U);
  CHECK(crc[1].crc32c == 0x8A9136AAU);
  CHECK(to.read() == bytes);
}

struct RandomMove {
  std::size_t bytes_max, piece_max, block_max, gap_max;
  bool has_crc;
};

// Pieces at random places in random order on both sides, gaps between them, blocks cut anywhere.
void check_random_move(DeviceWorld& world, std::mt19937& random, const RandomMove& shape) {
  const std::size_t total = 1 + random() % shape.bytes_max;
  const std::vector<std::uint32_t> lengths = random_cut(random, total, shape.piece_max);
  std::vector<std::size_t> from_at(lengths.size()), to_at(lengths.size());
  const auto place = [&](std::vector<std::size_t>& places) {
    std::vector<std::size_t> order(lengths.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::shuffle(order.begin(), order.end(), random);
    std::size_t at = 0;
    for (const std::size_t index : order) {
      at += random() % (shape.gap_max + 1);
      places[index] = at;
      at += lengths[index];
    }
    return at + shape.gap_max + 1;
  };
  const Bytes source = random_bytes(place(from_at), static_cast<std::uint32_t>(random()));
  Bytes expected = random_bytes(place(to_at), static_cast<std::uint32_t>(random()));
  Loaded from(world, source);
  Loaded to(world, expected);
  std::vector<MovePiece> pieces;
  Bytes stream;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    pieces.push_back({to.at(to_at[i]), from.at(from_at[i]), lengths[i]});
    const auto begin = source.begin() + static_cast<std::ptrdiff_t>(from_at[i]);
    stream.insert(stream.end(), begin, begin + lengths[i]);
    std::copy(begin, begin + lengths[i], expected.begin() + static_cast<std::ptrdiff_t>(to_at[i]));
  }
  std::vector<CrcBlock> crc;
  if (shape.has_crc) {
    crc = blocks_of(random_cut(random, total, shape.block_max));
  }
  const std::unique_ptr<DeviceQueue> queue = make_queue(world);
  REQUIRE(queue->move(pieces, crc) == Errc::ok);
  pieces.assign(pieces.size(), MovePiece{});  // they were read before the call returned
  drain(*queue);
  CHECK(to.read() == expected);
  CHECK(from.read() == source);
  std::size_t at = 0;
  for (const CrcBlock& block : crc) {
    REQUIRE(block.crc32c == crc32c(ConstSpan(stream).subspan(at, block.length_bytes)));
    at += block.length_bytes;
  }
}

void random_moves(DeviceWorld& world) {
  constexpr std::array kShapes{
      RandomMove{200, 9, 30, 3, true},              // tiny, unaligned
      RandomMove{100'000, 5000, 4096, 37, true},    // pages and strips, unaligned
      RandomMove{100'000, 5000, 100'000, 0, true},  // blocks over pieces
      RandomMove{100'000, 100'000, 70, 16, true},   // pieces over blocks
      RandomMove{300'000, 4096, 0, 129, false},     // no CRC
      RandomMove{2'000'000, 300'000, 65536, 64, true}};
  std::mt19937 random(Catch::getSeed());
  const std::uint32_t seed = Catch::getSeed();
  for (int round = 0; round < 4; ++round) {
    for (std::size_t shape = 0; shape < kShapes.size(); ++shape) {
      CAPTURE(seed, round, shape);
      check_random_move(world, random, kShapes[shape]);
    }
  }
}

// Each alignment of both sides, against each other.
void every_alignment(DeviceWorld& world) {
  constexpr std::size_t kLength = 83;
  const Bytes source = random_bytes(256, 11);
  Loaded from(world, source);
  std::vector<MovePiece> pieces;
  std::vector<CrcBlock> crc;
  Bytes expected(std::size_t{32} * 32 * 128, std::byte{0xEE});
  Loaded to(world, expected);
  for (std::size_t a = 0; a < 32; ++a) {
    for (std::size_t b = 0; b < 32; ++b) {
      const std::size_t at = (a * 32 + b) * 128 + b;
      pieces.push_back({to.at(at), from.at(a), kLength});
      crc.push_back({kLength, 0});
      std::copy_n(source.begin() + static_cast<std::ptrdiff_t>(a), kLength,
                  expected.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  const std::unique_ptr<DeviceQueue> queue = make_queue(world);
  check_is(queue->move(pieces, crc), Errc::ok);
  drain(*queue);
  CHECK(to.read() == expected);
  for (std::size_t i = 0; i < crc.size(); ++i) {
    REQUIRE(crc[i].crc32c == crc32c(ConstSpan(source).subspan(i / 32, kLength)));
  }
}

// A list of `count` pages, gathered from everywhere into one run, and back.
void check_many_pieces(DeviceWorld& world, std::size_t count, std::uint32_t length) {
  const Bytes source = random_bytes(count * length, 5);
  Loaded from(world, source);
  Loaded packed(world, Bytes(source.size()));
  Loaded back(world, Bytes(source.size()));
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937 random(Catch::getSeed());
  const std::uint32_t seed = Catch::getSeed();
  CAPTURE(seed);
  std::shuffle(order.begin(), order.end(), random);
  std::vector<MovePiece> gather, scatter;
  Bytes expected;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = order[i] * length;
    gather.push_back({packed.at(i * length), from.at(at), length});
    scatter.push_back({back.at(at), packed.at(i * length), length});
    const auto begin = source.begin() + static_cast<std::ptrdiff_t>(at);
    expected.insert(expected.end(), begin, begin + length);
  }
  std::vector<CrcBlock> crc(count, CrcBlock{length, 0});
  std::vector<CrcBlock> crc_back(crc);
  const std::unique_ptr<DeviceQueue> queue = make_queue(world);
  check_is(queue->move(gather, crc), Errc::ok);
  drain(*queue);
  check_is(queue->move(scatter, crc_back), Errc::ok);
  drain(*queue);
  CHECK(packed.read() == expected);
  CHECK(back.read() == source);
  for (std::size_t i = 0; i < count; ++i) {
    REQUIRE(crc[i].crc32c == crc32c(ConstSpan(expected).subspan(i * length, length)));
    REQUIRE(crc_back[i].crc32c == crc[i].crc32c);
  }
}

void pages_of_a_long_prompt(DeviceWorld& world) { check_many_pieces(world, 30'208, 512); }

void limit_of_pieces(DeviceWorld& world) {
  check_many_pieces(world, DeviceQueue::kMovePiecesMax, 4);
  Loaded memory(world, Bytes(64));
  const std::vector<MovePiece> too_many(DeviceQueue::kMovePiecesMax + 1,
                                        MovePiece{memory.at(0), memory.at(32), 1});
  const std::unique_ptr<DeviceQueue> queue = make_queue(world);
  check_is(queue->move(too_many, {}), Errc::too_large);
}

void bad_moves_are_refused(DeviceWorld& world) {
  const Bytes source = random_bytes(4096, 3);
  Loaded from(world, source);
  Loaded to(world, source);
  const std::unique_ptr<DeviceQueue> queue = make_queue(world);
  const auto answer = [&](std::vector<MovePiece> pieces, std::vector<CrcBlock> crc) {
    return queue->move(pieces, crc);
  };
  const MovePiece good{to.at(0), from.at(100), 64};
  const MovePiece huge{to.at(0), from.at(0), 0xFFFF'FFFFU};
  check_is(answer({}, {}), Errc::invalid_argument);
  check_is(answer({}, {{1, 0}}), Errc::invalid_argument);
  check_is(answer({good, {to.at(200), from.at(200), 0}}, {}), Errc::invalid_argument);
  check_is(answer({good, {nullptr, from.at(200), 8}}, {}), Errc::invalid_argument);
  check_is(answer({good, {to.at(200), nullptr, 8}}, {}), Errc::invalid_argument);
  check_is(answer({good}, {{63, 0}}), Errc::invalid_argument);
  check_is(answer({good}, {{65, 0}}), Errc::invalid_argument);
  check_is(answer({good}, {{64, 0}, {0, 0}}), Errc::invalid_argument);
  check_is(answer({good}, {{64, 0}, {64, 0}}), Errc::invalid_argument);
  check_is(answer({huge}, {}), Errc::too_large);
  check_is(answer({huge, huge}, {{0xFFFF'FFFFU, 0}, {0xFFFF'FFFFU, 0}}), Errc::too_large);
  const std::vector<CrcBlock> blocks(DeviceQueue::kMoveCrcBlocksMax + 1, CrcBlock{1, 0});
  check_is(answer({good}, blocks), Errc::too_large);
  const MutableSpan none;
  check_is(queue->copy(to.span().first(8), from.span().first(9)), Errc::invalid_argument);
  check_is(queue->copy(to.span().first(9), from.span().first(8)), Errc::invalid_argument);
  check_is(queue->copy(none, none), Errc::invalid_argument);
  drain(*queue);
  CHECK(to.read() == source);  // nothing of it was begun
  check_is(answer({good}, {}), Errc::ok);
  drain(*queue);
  CHECK(to.read() != source);
}

// --- Order ---------------------------------------------------------------------------------------

// A ring of places: each move takes the bytes that the one before has brought.
void work_is_done_in_order(DeviceWorld& world) {
  constexpr std::size_t kPlaces = 7, kSteps = 300, kSize = 3000;
  Bytes all(kPlaces * kSize);
  const Bytes message = random_bytes(kSize, 17);
  std::copy(message.begin(), message.end(), all.begin());
  Loaded memory(world, all);
  const std::unique_ptr<DeviceQueue> queue = make_queue(world);
  for (std::size_t step = 0; step < kSteps; ++step) {
    const std::size_t from = step % kPlaces * kSize;
    const std::size_t to = (step + 1) % kPlaces * kSize;
    if (step % 2 == 0) {
      const MovePiece piece{memory.at(to), memory.at(from), kSize};
      check_is(queue->move({&piece, 1}, {}), Errc::ok);
    } else {
      check_is(queue->copy(memory.span().subspan(to, kSize), memory.span().subspan(from, kSize)),
               Errc::ok);
    }
  }
  drain(*queue);
  const Bytes now = memory.read();
  const auto last = now.begin() + static_cast<std::ptrdiff_t>(kSteps % kPlaces * kSize);
  CHECK(std::equal(message.begin(), message.end(), last));
}

// When a mark is polled the bytes before it are there, and its CRCs; marks come in their order.
void marks_follow_their_work(DeviceWorld& world) {
  constexpr std::size_t kSteps = 200, kSize = 5000;
  const Bytes source = random_bytes(kSteps * kSize, 23);
  Loaded from(world, source);
  const Memory to(world, Memory::Kind::staging, source.size());
  std::vector<CrcBlock> crc(kSteps, CrcBlock{kSize, 0});
  const std::unique_ptr<DeviceQueue> queue = make_queue(world);
  std::array<DeviceMark, 3> some;
  CHECK(queue->poll(some) == 0);
  std::size_t next = 0;
  const auto check_passed = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i, ++next) {
      REQUIRE(some[i].id == 1000 + next);
      check_is(some[i].status, Errc::ok);
      const ConstSpan expected = ConstSpan(source).subspan(next * kSize, kSize);
      REQUIRE(std::equal(expected.begin(), expected.end(), to.at(next * kSize)));
      REQUIRE(crc[next].crc32c == crc32c(expected));
    }
  };
  for (std::size_t i = 0; i < kSteps; ++i) {
    const MovePiece piece{to.at(i * kSize), from.at(i * kSize), kSize};
    check_is(queue->move({&piece, 1}, {&crc[i], 1}), Errc::ok);
    check_is(queue->mark(1000 + i), Errc::ok);
    check_passed(queue->poll(std::span(some).first(i % 4 == 0 ? 1 : 0)));
  }
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (next < kSteps) {
    REQUIRE(std::chrono::steady_clock::now() < limit);
    check_passed(queue->poll(some));
  }
  CHECK(queue->poll(some) == 0);
}

void limit_of_marks(DeviceWorld& world) {
  const std::unique_ptr<DeviceQueue> queue = make_queue(world);
  for (std::uint64_t i = 0; i < DeviceQueue::kMarksMax; ++i) {
    REQUIRE(queue->mark(i) == Errc::ok);
  }
  check_is(queue->mark(9999), Errc::queue_full);
  std::vector<DeviceMark> marks(DeviceQueue::kMarksMax);
  std::size_t got = 0;
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (got < marks.size()) {
    REQUIRE(std::chrono::steady_clock::now() < limit);
    got += queue->poll(std::span(marks).subspan(got));
  }
  for (std::uint64_t i = 0; i < marks.size(); ++i) {
    REQUIRE(marks[i].id == i);
  }
  check_is(queue->mark(9999), Errc::ok);
  CHECK(drain(*queue, 10'000).front().id == 9999);
}

// More than a queue holds: it says queue_full and has queued nothing of what it refused.
void a_full_queue_takes_more_later(DeviceWorld& world) {
  constexpr std::size_t kSteps = 5000, kSize = 64, kPieces = 40;
  constexpr std::uint32_t kLast = kSize - kPieces + 1;
  const Bytes source = random_bytes(kSteps * kSize, 29);
  Loaded from(world, source);
  Loaded to(world, Bytes(source.size()));
  const std::unique_ptr<DeviceQueue> queue = make_queue(world);
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  std::array<DeviceMark, 64> marks;
  for (std::size_t i = 0; i < kSteps; ++i) {
    std::array<MovePiece, kPieces> pieces;
    for (std::size_t j = 0; j < kPieces; ++j) {
      const std::size_t at = i * kSize + j;
      pieces[j] = {to.at(at), from.at(at), j + 1 < kPieces ? 1U : kLast};
    }
    Errc answer = Errc::queue_full;
    while (answer == Errc::queue_full) {
      REQUIRE(std::chrono::steady_clock::now() < limit);
      (void)queue->poll(marks);
      answer = queue->move(pieces, {});
    }
    REQUIRE(answer == Errc::ok);
  }
  drain(*queue);
  CHECK(to.read() == source);
}

void a_queue_that_goes_does_its_work(DeviceWorld& world) {
  const Bytes source = random_bytes(8'000'000, 31);
  Loaded from(world, source);
  Loaded middle(world, Bytes(source.size()));
  Loaded to(world, Bytes(source.size()));
  for (int round = 0; round < 3; ++round) {
    std::vector<CrcBlock> crc(8, CrcBlock{1'000'000, 0});
    std::unique_ptr<DeviceQueue> queue = make_queue(world);
    const MovePiece first{middle.at(0), from.at(0), 8'000'000};
    const MovePiece second{to.at(0), middle.at(0), 8'000'000};
    check_is(queue->move({&first, 1}, {}), Errc::ok);
    check_is(queue->move({&second, 1}, crc), Errc::ok);
    check_is(queue->mark(1), Errc::ok);
    queue.reset();
    for (std::size_t i = 0; i < crc.size(); ++i) {
      REQUIRE(crc[i].crc32c == crc32c(ConstSpan(source).subspan(i * 1'000'000, 1'000'000)));
    }
  }
  CHECK(to.read() == source);
}

// --- Events --------------------------------------------------------------------------------------

void events_tell_what_has_passed(DeviceWorld& world) {
  const std::unique_ptr<DeviceEvent> event = make_event(world);
  const auto is_done = [&] {
    const Result<bool> done = event->is_done();
    REQUIRE(done.has_value());
    return *done;
  };
  CHECK(is_done());  // never recorded
  const std::unique_ptr<DeviceQueue> queue = make_queue(world);
  const Bytes source = random_bytes(100'000, 37);
  Loaded from(world, source);
  const Memory to(world, Memory::Kind::staging, source.size());
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  for (int round = 0; round < 50; ++round) {
    std::fill(to.span().begin(), to.span().end(), std::byte{0});
    check_is(queue->copy(to.span(), from.span()), Errc::ok);
    check_is(queue->record(*event), Errc::ok);
    while (!is_done()) {
      REQUIRE(std::chrono::steady_clock::now() < limit);
    }
    REQUIRE(std::equal(source.begin(), source.end(), to.span().begin()));
  }
  check_is(queue->follow(nullptr), Errc::ok);
}

// A message goes from queue to queue, each waiting for the one before.
void queues_wait_for_events(DeviceWorld& world) {
  constexpr std::size_t kQueues = 4, kRounds = 60, kSize = 40'000;
  Bytes all((kQueues * kRounds + 1) * kSize);
  const Bytes message = random_bytes(kSize, 41);
  std::copy(message.begin(), message.end(), all.begin());
  Loaded memory(world, all);
  std::vector<std::unique_ptr<DeviceQueue>> queues;
  std::vector<std::unique_ptr<DeviceEvent>> events;
  for (std::size_t i = 0; i < kQueues; ++i) {
    queues.push_back(make_queue(world));
    events.push_back(make_event(world));
  }
  for (std::size_t step = 0; step < kQueues * kRounds; ++step) {
    DeviceQueue& queue = *queues[step % kQueues];
    check_is(queue.wait(*events[(step + kQueues - 1) % kQueues]), Errc::ok);
    const MovePiece piece{memory.at((step + 1) * kSize), memory.at(step * kSize), kSize};
    check_is(queue.move({&piece, 1}, {}), Errc::ok);
    check_is(queue.record(*events[step % kQueues]), Errc::ok);
  }
  drain(*queues[(kQueues * kRounds - 1) % kQueues]);
  const Bytes now = memory.read();
  CHECK(std::equal(message.begin(), message.end(), now.end() - kSize));
}

// wait() is for the record() before it; a later one, behind what waits, must not hold it up.
void a_wait_is_for_the_record_before_it(DeviceWorld& world) {
  const Bytes source = random_bytes(1000, 43);
  Loaded from(world, source);
  Loaded middle(world, Bytes(1000));
  Loaded to(world, Bytes(1000));
  const std::unique_ptr<DeviceQueue> first = make_queue(world);
  const std::unique_ptr<DeviceQueue> second = make_queue(world);
  const std::unique_ptr<DeviceEvent> event = make_event(world);
  const std::unique_ptr<DeviceEvent> back = make_event(world);
  check_is(first->copy(middle.span(), from.span()), Errc::ok);
  check_is(first->record(*event), Errc::ok);
  check_is(second->wait(*event), Errc::ok);
  check_is(second->copy(to.span(), middle.span()), Errc::ok);
  check_is(second->record(*back), Errc::ok);
  check_is(first->wait(*back), Errc::ok);
  check_is(first->record(*event), Errc::ok);
  drain(*first);
  CHECK(to.read() == source);
  const std::unique_ptr<DeviceEvent> never = make_event(world);
  check_is(second->wait(*never), Errc::ok);
  drain(*second);
}

void queues_of_two_threads(DeviceWorld& world) {
  constexpr std::size_t kSteps = 50, kSize = 20'000;
  const Bytes source = random_bytes(2 * kSize, 47);
  Loaded from(world, source);
  Loaded to(world, Bytes(2 * kSize));
  const std::array<std::unique_ptr<DeviceQueue>, 2> queues{make_queue(world), make_queue(world)};
  std::array<std::size_t, 2> failures{};
  std::array<std::thread, 2> threads;
  for (std::size_t t = 0; t < 2; ++t) {
    threads[t] = std::thread([&, t] {  // Catch2's macros are for the main thread
      std::array<DeviceMark, 4> marks;
      for (std::size_t step = 0; step < kSteps; ++step) {
        CrcBlock crc{kSize, 0};
        const MovePiece piece{to.at(t * kSize), from.at(t * kSize), kSize};
        failures[t] += queues[t]->move({&piece, 1}, {&crc, 1}) == Errc::ok ? 0 : 1;
        failures[t] += queues[t]->mark(step) == Errc::ok ? 0 : 1;
        while (queues[t]->poll(marks) == 0) {
          std::this_thread::yield();
        }
        const ConstSpan mine = ConstSpan(source).subspan(t * kSize, kSize);
        failures[t] += marks[0].id == step && crc.crc32c == crc32c(mine) ? 0 : 1;
        const auto scratch = world.device().allocate(SizeBytes(kSize));
        failures[t] += scratch.has_value() ? 0 : 1;
        if (scratch) {
          world.device().release(*scratch);
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(failures == std::array<std::size_t, 2>{});
  CHECK(to.read() == source);
}

constexpr std::array kCases{
    ContractCase<DeviceWorld>{"memory is aligned, apart, and in reach",
                              memory_is_aligned_and_apart},
    ContractCase<DeviceWorld>{"memory that cannot be is refused by name",
                              memory_that_cannot_be_is_refused},
    ContractCase<DeviceWorld>{"registered host memory is reached at any byte",
                              registered_memory_is_reached},
    ContractCase<DeviceWorld>{"memory of the device may be registered",
                              memory_of_the_device_may_be_registered},
    ContractCase<DeviceWorld>{"CRC32C is that of RFC 3720", known_crcs},
    ContractCase<DeviceWorld>{"random moves bring each byte and the CRC of each block",
                              random_moves},
    ContractCase<DeviceWorld>{"pieces of every alignment are moved", every_alignment},
    ContractCase<DeviceWorld>{"30,208 pages are gathered and scattered", pages_of_a_long_prompt},
    ContractCase<DeviceWorld>{"a move has as many pieces as the limit, and no more",
                              limit_of_pieces},
    ContractCase<DeviceWorld>{"what a move cannot be is refused and nothing begun",
                              bad_moves_are_refused},
    ContractCase<DeviceWorld>{"a queue's work is done in order", work_is_done_in_order},
    ContractCase<DeviceWorld>{"a mark is polled when the work before it is done",
                              marks_follow_their_work},
    ContractCase<DeviceWorld>{"a queue has as many marks as the limit", limit_of_marks},
    ContractCase<DeviceWorld>{"a full queue takes more later", a_full_queue_takes_more_later},
    ContractCase<DeviceWorld>{"a queue that goes does its work first",
                              a_queue_that_goes_does_its_work},
    ContractCase<DeviceWorld>{"an event is done when its queue has passed it",
                              events_tell_what_has_passed},
    ContractCase<DeviceWorld>{"queues wait for each other's events", queues_wait_for_events},
    ContractCase<DeviceWorld>{"a wait is for the record before it",
                              a_wait_is_for_the_record_before_it},
    ContractCase<DeviceWorld>{"queues of two threads do not meet", queues_of_two_threads},
};

}  // namespace

std::span<const ContractCase<DeviceWorld>> device_contract() { return kCases; }

}  // namespace godbox::test
