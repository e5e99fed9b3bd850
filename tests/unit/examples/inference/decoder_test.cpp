// SPDX-License-Identifier: Apache-2.0
#include "small_model.h"

#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

namespace godbox::inference {
namespace {

using Tokens = std::vector<std::uint32_t>;

boost::json::object golden() {
  std::ifstream file(GODBOX_VECTORS_DIR "/inference/logits.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return boost::json::parse(text).as_object();
}

// Logits behind the last of these tokens, their KV in these blocks.
std::vector<float> logits_of(const Tokens& tokens, PagedCache& cache, const Tokens& blocks) {
  Decoder decoder(smallest_model());
  for (std::uint32_t position = 0; position < tokens.size(); ++position) {
    decoder.compute(tokens[position], position, {cache, blocks});
  }
  const std::span<const float> logits = decoder.logits();
  return {logits.begin(), logits.end()};
}

TEST_CASE("logits are those of the definition in double precision, token by token", "[unit]") {
  const boost::json::object expected = golden();
  REQUIRE(boost::json::value_to<Tokens>(expected.at("geometry")) ==
          Tokens{2, 32, 4, 2, 32, 64, 128});
  REQUIRE(expected.at("seed").as_int64() == 3);
  const auto rows = boost::json::value_to<std::vector<std::vector<double>>>(expected.at("logits"));
  Tokens tokens = boost::json::value_to<Tokens>(expected.at("prompt"));
  HeapCache memory(4);
  for (const std::vector<double>& row : rows) {
    const std::vector<float> logits = logits_of(tokens, memory.cache(), {2, 0});
    REQUIRE(logits.size() == row.size());
    for (std::size_t word = 0; word < row.size(); ++word) {
      // A third of the least distance between the best and the next in the vectors.
      CHECK_THAT(logits[word], Catch::Matchers::WithinAbs(row[word], 0.02));
    }
    tokens.push_back(static_cast<std::uint32_t>(std::max_element(logits.begin(), logits.end()) -
                                                logits.begin()));
  }
  const Tokens generated(tokens.end() - static_cast<std::ptrdiff_t>(rows.size()), tokens.end());
  CHECK(generated == boost::json::value_to<Tokens>(expected.at("generated")));
}

TEST_CASE("which blocks a sequence has changes no bit of its logits", "[unit]") {
  const Tokens prompt = random_prompt(50, 1);
  HeapCache one(9);
  HeapCache other(9);
  CHECK(logits_of(prompt, one.cache(), {0, 1, 2, 3}) ==
        logits_of(prompt, other.cache(), {8, 3, 5, 0}));
}

TEST_CASE("every page of the cache changes the logits behind it", "[unit]") {
  const Tokens prompt = random_prompt(40, 2);
  const Tokens blocks = {2, 0, 1};
  HeapCache memory(3);
  const std::vector<float> right = logits_of(prompt, memory.cache(), blocks);
  Decoder decoder(smallest_model());
  const auto last = static_cast<std::uint32_t>(prompt.size() - 1);
  const auto again = [&] {
    decoder.compute(prompt[last], last, {memory.cache(), blocks});
    const std::span<const float> logits = decoder.logits();
    return std::vector<float>(logits.begin(), logits.end());
  };
  CHECK(again() == right);
  std::vector<float> kept;
  for (const Plane plane : {Plane::keys, Plane::values}) {
    for (std::uint32_t layer = 0; layer < kSmallest.layers; ++layer) {
      for (const std::uint32_t block : blocks) {
        CAPTURE(plane == Plane::keys, layer, block);
        memory.cache().read(plane, layer, block, 1, kept);
        std::vector<float> wrong(kept);
        std::rotate(wrong.begin(), wrong.begin() + 1, wrong.end());
        memory.cache().write(plane, layer, block, 0, wrong);
        CHECK(again() != right);
        memory.cache().write(plane, layer, block, 0, kept);
        CHECK(again() == right);
      }
    }
  }
}

TEST_CASE("what is read without having been written is no number", "[unit]") {
  HeapCache memory(2);
  const Tokens prompt = random_prompt(20, 3);
  const std::vector<float> right = logits_of(prompt, memory.cache(), {0, 1});
  const Tokens spoilt = {0};
  memory.cache().spoil(spoilt);
  Decoder decoder(smallest_model());
  const Tokens blocks = {0, 1};
  decoder.compute(prompt[19], 19, {memory.cache(), blocks});
  CHECK(std::isnan(decoder.logits()[0]));
  CHECK_FALSE(std::isnan(right[0]));
}

TEST_CASE("a cache of bf16 keeps what bf16 can hold and rounds the rest to the nearest", "[unit]") {
  HeapCache memory(1);
  std::vector<float> heads(64, 0.0F);
  heads[0] = 1.0F;
  heads[1] = -0.15625F;
  heads[2] = 1.00390625F;  // a tie between 1 and 1.0078125: to even
  heads[3] = 1.01171875F;  // a tie between 1.0078125 and 1.015625
  heads[4] = 1.0041F;
  memory.cache().write(Plane::values, 1, 0, 15, heads);
  std::vector<float> page;
  memory.cache().read(Plane::values, 1, 0, 16, page);
  const auto last = page.begin() + std::ptrdiff_t{15} * 64;
  const std::vector<float> read(last, last + 5);
  CHECK(read == std::vector<float>{1.0F, -0.15625F, 1.0F, 1.015625F, 1.0078125F});
}

TEST_CASE("memory that is too small or too large is refused by name", "[unit]") {
  std::vector<std::byte> memory(PagedCache::size_of(kSmallest, 2).count() + 1);
  const auto made = PagedCache::create(kSmallest, 2, memory);
  REQUIRE(!made.has_value());
  CHECK(made.error().code == Errc::invalid_argument);
  CHECK(made.error().detail == "16385 bytes of memory for 2 blocks of 8192 bytes");
}

}  // namespace
}  // namespace godbox::inference
