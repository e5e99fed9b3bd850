// SPDX-License-Identifier: Apache-2.0
//
// Time to encode and to decode the two bodies of a lookup, the only messages on the way to the
// first byte of a get. One thread; real.
//
//   wire_bench           1000 objects, 2000 rounds
//   wire_bench --small   the same with few rounds
#include <godbox/wire.h>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace godbox;

constexpr std::size_t kObjects = 1000;

struct Times {
  double median_us = 0;
  double min_us = 0;
  double max_us = 0;
};

// `work` returns something of its result, which goes into the hash so that it is not optimised
// away.
template <class Work>
Times measure(int rounds, std::uint64_t& hash, Work work) {
  std::vector<double> times;
  for (int round = 0; round < rounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    hash = hash * 31 + work();
    const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - begin;
    times.push_back(time.count());
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front(), times.back()};
}

void print(std::string_view name, const Times& times) {
  fmt::print("  {:<24} median {:7.2f}  min {:7.2f}  max {:7.2f} us\n", name, times.median_us,
             times.min_us, times.max_us);
}

wire::LookupReply make_reply() {
  wire::LookupReply reply;
  for (std::uint32_t i = 0; i < kObjects; ++i) {
    reply.objects.push_back({Errc::ok, RKey(i + 1), SizeBytes(196608), 2, 3, false});
    reply.extents.push_back({{SlabId(i), SlabOffset(131072)}, 131072});
    reply.extents.push_back({{SlabId(i), SlabOffset(0)}, 65536});
    reply.crc32c.insert(reply.crc32c.end(), {i, i + 1, i + 2});
  }
  return reply;
}

}  // namespace

int main(int argc, char** argv) {
  const bool small = argc == 2 && std::string_view(argv[1]) == "--small";
  if (argc > 1 && !small) {
    fmt::print(stderr, "usage: wire_bench [--small]\n");
    return 2;
  }
  const int rounds = small ? 20 : 2000;

  std::vector<std::string> names;
  for (std::size_t i = 0; i < kObjects; ++i) {
    names.push_back(fmt::format("model-7b/layer-00/{:016x}", i * 0x9E3779B97F4A7C15U));
  }
  wire::LookupRequest request;
  request.names.assign(names.begin(), names.end());
  const wire::LookupReply reply = make_reply();
  const wire::Body request_body = wire::encode(request);
  const wire::Body reply_body = wire::encode(reply);

  std::uint64_t hash = 0;
  fmt::print("lookup of {} objects: request {} bytes, reply {} bytes\n", kObjects,
             request_body.size(), reply_body.size());
  print("encode request", measure(rounds, hash, [&] { return wire::encode(request).size(); }));
  print("decode request", measure(rounds, hash, [&] {
          return wire::decode<wire::LookupRequest>(request_body)->names.size();
        }));
  print("encode reply", measure(rounds, hash, [&] { return wire::encode(reply).size(); }));
  print("decode reply", measure(rounds, hash, [&] {
          return wire::decode<wire::LookupReply>(reply_body)->extents.size();
        }));
  fmt::print("  result hash {:016x}\n", hash);
  return 0;
}
