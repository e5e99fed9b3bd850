// SPDX-License-Identifier: Apache-2.0
#include <godbox/transport.h>

#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <vector>

namespace godbox {
namespace {

struct Lists {
  std::vector<std::byte> memory = std::vector<std::byte>(1000);
  std::vector<RemoteSegment> remote{{RKey(1), {SlabId(1), SlabOffset(0)}, 600},
                                    {RKey(1), {SlabId(2), SlabOffset(0)}, 400}};
  std::vector<LocalSegment> local{{memory.data(), 1000}};
  std::vector<CrcBlock> crc{{700, 0}, {300, 0}};
  std::uint64_t total_bytes = 1000;

  [[nodiscard]] Errc check() {
    return check_work_request({.id = WorkId(1),
                               .op = WorkOp::write,
                               .total_bytes = total_bytes,
                               .remote = remote,
                               .local = local,
                               .crc = crc});
  }
};

Errc changed(const std::function<void(Lists&)>& change) {
  Lists lists;
  change(lists);
  return lists.check();
}

TEST_CASE("a work request's lists are of one total, and of pieces that exist", "[unit]") {
  CHECK(changed([](Lists&) {}) == Errc::ok);
  CHECK(changed([](Lists& l) { l.crc.clear(); }) == Errc::ok);
  CHECK(changed([](Lists& l) { l.local.push_back({nullptr, 0}); }) == Errc::ok);
  CHECK(changed([](Lists& l) {
          l.local.insert(l.local.begin(), {l.memory.data(), 0});
        }) == Errc::ok);
  const std::vector<std::function<void(Lists&)>> wrong = {
      [](Lists& l) { l.total_bytes = 999; },
      [](Lists& l) { l.total_bytes = 1001; },
      [](Lists& l) { l.remote[0].length_bytes = 599; },
      [](Lists& l) { l.local[0].size_bytes = 999; },
      [](Lists& l) { l.crc[0].length_bytes = 699; },
      [](Lists& l) { l.local[0].data = nullptr; },
      [](Lists& l) {
        l.remote.push_back({RKey(1), {}, 0});
      },
      [](Lists& l) {
        l.crc.push_back({0, 0});
      },
      [](Lists& l) {
        l.local.insert(l.local.begin(), 2, {l.memory.data(), SIZE_MAX / 2 + 1});
      },
      [](Lists& l) {
        l.total_bytes = 0;
        l.remote.clear();
        l.local.clear();
        l.crc.clear();
      },
  };
  for (std::size_t i = 0; i < wrong.size(); ++i) {
    CAPTURE(i);
    CHECK(changed(wrong[i]) == Errc::invalid_argument);
  }
}

TEST_CASE("a work request has its limits in bytes and in segments", "[unit]") {
  std::vector<std::byte> memory(kWorkBytesMax + 1);
  const auto of = [&memory](std::size_t total, std::size_t segments) {
    Lists lists;
    lists.total_bytes = total;
    lists.remote.assign(segments, {RKey(1), {}, 1});
    lists.remote.back().length_bytes = static_cast<std::uint32_t>(total - segments + 1);
    lists.local = {{memory.data(), total}};
    lists.crc.clear();
    return lists.check();
  };
  CHECK(of(kWorkBytesMax, 1) == Errc::ok);
  CHECK(of(kWorkBytesMax + 1, 1) == Errc::too_large);
  CHECK(of(10'000, kWorkSegmentsMax) == Errc::ok);
  CHECK(of(10'000, kWorkSegmentsMax + 1) == Errc::too_large);
}

}  // namespace
}  // namespace godbox
