// SPDX-License-Identifier: Apache-2.0
//
// The engine beside a served box: whatever the pool does, the tokens and the logits are those of
// the sequence decoded alone.
#include "block_names.h"
#include "small_model.h"
#include "src/served_box.h"
#include <godbox/channel_lease.h>

#include <catch2/catch_get_random_seed.hpp>

#include <algorithm>
#include <chrono>
#include <thread>

#include <sys/mman.h>
#include <unistd.h>

namespace godbox::inference {
namespace {

using namespace std::chrono_literals;
using Tokens = std::vector<std::uint32_t>;

constexpr std::size_t kPrompt = 70;  // four blocks and six tokens
constexpr std::size_t kOutput = 40;

class Pool {
 public:
  Pool() : server_(test::serve(config())) {}
  [[nodiscard]] std::string tcp() const { return server_->eth_port_addresses()[0].to_string(); }
  [[nodiscard]] std::string local() const { return "local:" + folder_.socket(); }
  [[nodiscard]] std::string socket() const { return folder_.socket(); }
  void stop() { server_->stop(); }

 private:
  [[nodiscard]] emulator::BoxConfig config() const {
    emulator::BoxConfig config = test::small_box(folder_.socket());
    config.map_memory = emulator::MapMemory::cxl;
    return config;
  }
  test::ServedFolder folder_;
  std::unique_ptr<app::BoxServer> server_;
};

std::unique_ptr<KvPool> open(const std::string& address, const PagedCache& cache,
                             Duration timeout = 10s) {
  auto pool = KvPool::connect(address, cache, timeout);
  if (!pool.has_value()) {
    FAIL(pool.error().message());
  }
  return std::move(*pool);
}

// A host with a cache for so many tokens.
struct TestHost {
  TestHost(std::size_t tokens, const std::string& spill_to, const std::string& fetch_from)
      : memory(Engine::blocks_for(tokens)),
        out(open(spill_to, memory.cache())),
        in(open(fetch_from, memory.cache())),
        engine(smallest_model(), memory.cache(), {out.get(), in.get()}) {}

  HeapCache memory;
  std::unique_ptr<KvPool> out, in;
  Engine engine;
};

void check_equal(const Sequence& sequence, const Sequence& alone) {
  CHECK(sequence.tokens == alone.tokens);
  CHECK(sequence.logits_digest == alone.logits_digest);
}

TEST_CASE("two sequences in turns in a cache for one come out as each of them alone", "[unit]") {
  const Pool box;
  const Sequence alone[] = {decoded_alone(random_prompt(kPrompt, 1), kOutput),
                            decoded_alone(random_prompt(kPrompt, 2), kOutput)};
  for (const auto& [to, from] : {std::pair(box.tcp(), box.tcp()), std::pair(box.local(), box.tcp()),
                                 std::pair(box.tcp(), box.local())}) {
    CAPTURE(to, from);
    TestHost host(kPrompt + kOutput, to, from);
    Sequence turns[] = {Sequence(random_prompt(kPrompt, 1)), Sequence(random_prompt(kPrompt, 2))};
    for (std::size_t done = 0; done < kOutput; done += 8) {
      for (Sequence& one : turns) {
        decode(host.engine, one, 8);
        host.engine.spill(one);
      }
    }
    check_equal(turns[0], alone[0]);
    check_equal(turns[1], alone[1]);
    CHECK(host.engine.counters().spills == 10);
    // Spilled with 77, 85, 93 and 101 tokens: full blocks come back, what is behind is computed.
    CHECK(host.in->counters().blocks_fetched == std::uint64_t{2} * (4 + 5 + 5 + 6));
    CHECK(host.in->counters().blocks_missed == std::uint64_t{2} * 4);
    CHECK(host.engine.counters().tokens_recomputed == std::uint64_t{2} * (13 + 5 + 13 + 5));
    CHECK(host.in->counters().blocks_failed.empty());
    CHECK(host.out->counters().blocks_failed.empty());
    const auto names = host.engine.names_of(turns[0], turns[0].tokens.size());
    const auto others = host.engine.names_of(turns[1], turns[1].tokens.size());
    REQUIRE(host.in->remove(names).has_value());
    REQUIRE(host.in->remove(others).has_value());
  }
}

TEST_CASE("a second host computes only what lies behind the prefix of the first", "[unit]") {
  const Pool box;
  Tokens first = random_prompt(kPrompt, 3);
  Tokens second = first;
  second[50] = (second[50] + 1) % kSmallest.vocabulary;  // in the fourth block
  TestHost one(kPrompt + kOutput, box.tcp(), box.tcp());
  Sequence of_first(first);
  decode(one.engine, of_first, 1);
  one.engine.spill(of_first);
  TestHost other(kPrompt + kOutput, box.tcp(), box.local());
  Sequence of_second(second);
  decode(other.engine, of_second, 1);
  CHECK(other.in->counters().blocks_fetched == 3);
  CHECK(other.in->counters().blocks_missed == 1);
  CHECK(other.engine.counters().tokens_computed == kPrompt - std::size_t{3} * 16);
  CHECK(other.engine.counters().tokens_recomputed == 0);
  decode(other.engine, of_second, kOutput - 1);
  check_equal(of_second, decoded_alone(second, kOutput));
}

TEST_CASE("of a prompt that the pool has as a whole the last token is computed", "[unit]") {
  const Pool box;
  const Tokens prompt = random_prompt(64, 4);
  TestHost host(64 + kOutput, box.tcp(), box.tcp());
  Sequence sequence(prompt);
  decode(host.engine, sequence, 1);
  host.engine.spill(sequence);
  Sequence again(prompt);
  decode(host.engine, again, kOutput);
  CHECK(host.in->counters().blocks_fetched == 4);
  CHECK(host.engine.counters().tokens_computed == 64 + 1 + kOutput - 1);
  check_equal(again, decoded_alone(prompt, kOutput));
}

TEST_CASE("blocks that are gone in the middle are computed, and those behind them are not",
          "[unit]") {
  const Pool box;
  const Tokens prompt = random_prompt(kPrompt, 5);
  TestHost host(kPrompt + kOutput, box.tcp(), box.tcp());
  Sequence sequence(prompt);
  decode(host.engine, sequence, 1);
  host.engine.spill(sequence);
  const std::vector<std::string> names = host.engine.names_of(sequence, kPrompt);
  REQUIRE(names.size() == 4);
  REQUIRE(host.in->remove(std::span(names).subspan(1, 2)).has_value());
  const std::uint64_t computed = host.engine.counters().tokens_computed;
  decode(host.engine, sequence, 1);
  CHECK(host.in->counters().blocks_fetched == 2);
  CHECK(host.in->counters().blocks_missed == 4 + 2);
  // Two blocks, the six prompt tokens behind the last full block, and the token generated.
  CHECK(host.engine.counters().tokens_computed - computed == 2 * 16 + 6 + 1);
  CHECK(host.engine.counters().tokens_recomputed == 2 * 16 + 6);
  decode(host.engine, sequence, kOutput - 2);
  check_equal(sequence, decoded_alone(prompt, kOutput));
}

// Changes every byte of the pool that holds anything.
void change_the_pool(const Pool& box) {
  auto lease = ChannelLease::take(box.socket());
  REQUIRE(lease.has_value());
  for (const int descriptor : (*lease)->descriptors()) {
    const std::size_t size = (*lease)->dram_channel_size().count();
    off_t begin = 0;
    while ((begin = ::lseek(descriptor, begin, SEEK_DATA)) >= 0) {
      const off_t end = ::lseek(descriptor, begin, SEEK_HOLE);
      const auto bytes = static_cast<std::size_t>(end - begin);
      REQUIRE(bytes <= size);
      void* const at =
          ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, begin);
      REQUIRE(at != MAP_FAILED);
      for (std::size_t i = 0; i < bytes; ++i) {
        static_cast<unsigned char*>(at)[i] ^= 0x10U;
      }
      ::munmap(at, bytes);
      begin = end;
    }
  }
}

TEST_CASE("bytes that have changed in the pool are computed again and never used", "[unit]") {
  const Pool box;
  const Tokens prompt = random_prompt(kPrompt, 6);
  for (const std::string& from : {box.tcp(), box.local()}) {
    CAPTURE(from);
    TestHost host(kPrompt + kOutput, box.tcp(), from);
    Sequence sequence(prompt);
    decode(host.engine, sequence, 1);
    host.engine.spill(sequence);
    change_the_pool(box);
    decode(host.engine, sequence, kOutput - 1);
    CHECK(host.in->counters().blocks_fetched == 0);
    CHECK(host.in->counters().blocks_failed ==
          std::map<Errc, std::uint64_t>{{Errc::crc_mismatch, 4}});
    check_equal(sequence, decoded_alone(prompt, kOutput));
    REQUIRE(host.in->remove(host.engine.names_of(sequence, kPrompt)).has_value());
  }
}

TEST_CASE("of a producer that dies in the middle of a spill nothing is found", "[unit]") {
  const Pool box;
  const Tokens prompt = random_prompt(kPrompt, 7);
  {
    TestHost producer(kPrompt + kOutput, box.tcp(), box.tcp());
    Sequence sequence(prompt);
    decode(producer.engine, sequence, 1);
    const std::vector<std::string> names = producer.engine.names_of(sequence, kPrompt);
    const std::vector<std::string_view> views(names.begin(), names.end());
    kv::KvMover& mover = producer.out->mover();
    const auto store =
        mover.begin_store({views, std::span(sequence.blocks).first(names.size())}, {}, {});
    REQUIRE(store.has_value());
    REQUIRE(mover.store_layer(*store, 0).has_value());
    for (int i = 0; i < 50; ++i) {
      mover.progress(SteadyClock().now() + 1ms);
    }
    CHECK_FALSE(store->is_done());
  }
  TestHost host(kPrompt + kOutput, box.tcp(), box.tcp());
  Sequence sequence(prompt);
  decode(host.engine, sequence, kOutput);
  CHECK(host.in->counters().blocks_fetched == 0);
  CHECK(host.in->counters().blocks_missed == 4);
  check_equal(sequence, decoded_alone(prompt, kOutput));
}

TEST_CASE("a pool that is gone costs time and no token", "[unit]") {
  Pool box;
  const Tokens prompt = random_prompt(kPrompt, 8);
  TestHost host(kPrompt + kOutput, box.tcp(), box.local());
  Sequence sequence(prompt);
  decode(host.engine, sequence, 10);
  host.engine.spill(sequence);
  CHECK(host.out->counters().blocks_stored == 4);
  box.stop();
  decode(host.engine, sequence, 10);
  host.engine.spill(sequence);
  decode(host.engine, sequence, kOutput - 20);
  CHECK_FALSE(host.in->is_open());
  CHECK_FALSE(host.in->counters().blocks_failed.empty());
  CHECK_FALSE(host.out->counters().blocks_failed.empty());
  CHECK(host.engine.counters().tokens_recomputed == 79 + 89);
  check_equal(sequence, decoded_alone(prompt, kOutput));
}

TEST_CASE("a pool that goes away at any moment changes no token", "[unit]") {
  const std::uint32_t seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const Tokens prompt = random_prompt(kPrompt, 9);
  const Sequence alone = decoded_alone(prompt, kOutput);
  for (int round = 0; round < 6; ++round) {
    Pool box;
    const auto delay = std::chrono::microseconds(random() % 30000);
    CAPTURE(round, delay.count());
    TestHost host(kPrompt + kOutput, box.tcp(), round % 2 == 0 ? box.tcp() : box.local());
    std::thread end([&] {
      std::this_thread::sleep_for(delay);
      box.stop();
    });
    Sequence sequence(prompt);
    for (std::size_t i = 0; i < kOutput; i += 4) {
      decode(host.engine, sequence, 4);
      host.engine.spill(sequence);
    }
    end.join();
    check_equal(sequence, alone);
  }
}

TEST_CASE("a cache that is full says so, and goes on when there is room", "[unit]") {
  HeapCache memory(3);
  Engine engine(smallest_model(), memory.cache());
  Sequence one(random_prompt(32, 10));
  Sequence other(random_prompt(32, 11));
  decode(engine, one, 1);
  const auto refused = engine.next_token(other);
  REQUIRE(!refused.has_value());
  CHECK(refused.error().code == Errc::limit_exceeded);
  CHECK(refused.error().detail ==
        "a sequence of 32 tokens wants 2 blocks; the cache has 3, 1 of them free");
  engine.release(one);
  decode(engine, other, 16);
  check_equal(other, decoded_alone(random_prompt(32, 11), 16));
}

TEST_CASE("names of blocks tell models, prefixes and orders apart", "[unit]") {
  const Weights another(kSmallest, 4);
  const Tokens tokens = random_prompt(48, 12);
  const std::vector<std::string> names = block_names(smallest_model(), tokens, 3);
  CHECK(names == block_names(smallest_model(), random_prompt(48, 12), 3));
  CHECK(names[0] != block_names(another, tokens, 3)[0]);
  Tokens changed = tokens;
  std::swap(changed[20], changed[21]);
  const std::vector<std::string> others = block_names(smallest_model(), changed, 3);
  CHECK(names[0] == others[0]);
  CHECK(names[1] != others[1]);
  CHECK(names[2] != others[2]);  // the same tokens behind another prefix
  CHECK(block_names(smallest_model(), tokens, 2) ==
        std::vector<std::string>(names.begin(), names.begin() + 2));
}

}  // namespace
}  // namespace godbox::inference
