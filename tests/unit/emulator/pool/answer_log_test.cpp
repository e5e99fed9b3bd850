// SPDX-License-Identifier: Apache-2.0
#include "pool/answer_log.h"

#include <catch2/catch_test_macros.hpp>

namespace godbox::emulator {
namespace {

std::optional<KeptAnswer> found(const AnswerLog& log, std::uint64_t request_id) {
  std::optional<KeptAnswer> answer;
  REQUIRE(log.find(request_id, answer));
  return answer;
}

bool is_known(const AnswerLog& log, std::uint64_t request_id) {
  std::optional<KeptAnswer> answer;
  return log.find(request_id, answer);
}

TEST_CASE("the last answers are kept, and no more", "[unit][pool]") {
  AnswerLog log;
  for (std::uint64_t id = 1; id <= 10; ++id) {
    log.add(id, Errc::ok, wire::Body(id), 4);
  }
  CHECK(log.size() == 4);
  CHECK(log.size_bytes() == 7 + 8 + 9 + 10);
  CHECK_FALSE(is_known(log, 6));
  for (std::uint64_t id = 7; id <= 10; ++id) {
    CHECK(found(log, id)->body.size() == id);
  }
  log.add(11, Errc::pool_full, {}, 4);
  CHECK(found(log, 11)->status == Errc::pool_full);
  CHECK(found(log, 11)->body.empty());
}

TEST_CASE("answers are bounded in bytes, and what is gone is known to have been done",
          "[unit][pool]") {
  AnswerLog log;
  const std::size_t third = AnswerLog::kBytesMax / 3;
  for (std::uint64_t id = 1; id <= 4; ++id) {
    log.add(id, Errc::ok, wire::Body(third), 64);
    CHECK(log.size_bytes() <= AnswerLog::kBytesMax);
  }
  CHECK_FALSE(found(log, 1).has_value());
  CHECK(found(log, 2).has_value());
  log.add(5, Errc::ok, wire::Body(AnswerLog::kBytesMax), 64);
  CHECK(log.size_bytes() == AnswerLog::kBytesMax);
  CHECK_FALSE(found(log, 4).has_value());
  CHECK(found(log, 5).has_value());
  log.add(6, Errc::ok, wire::Body(AnswerLog::kBytesMax + 1), 64);
  CHECK_FALSE(found(log, 6).has_value());
  CHECK(found(log, 5).has_value());
}

}  // namespace
}  // namespace godbox::emulator
