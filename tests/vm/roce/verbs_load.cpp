// SPDX-License-Identifier: Apache-2.0
//
// A client that writes and reads a region of the pool, again and again, and compares every byte:
//   verbs_load ADDRESS SECONDS BYTES
// One line for each turn (a write of all, and a read of all), as it ends: when that was, since the
// start, and how long it took, both in milliseconds; then "wrong" and how many bytes, or the error.
// Exit status 0: no byte was ever wrong, and no call failed.
#include <godbox/connect.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace godbox {
namespace {

using Steady = std::chrono::steady_clock;

long milliseconds(Steady::duration time) {
  return static_cast<long>(std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
}

int fail(const std::string& what) {
  std::printf("%s\n", what.c_str());
  return 1;
}

int run(const std::string& address, std::chrono::seconds duration, std::size_t size) {
  const auto connection = connect(address);
  if (!connection) {
    return fail(connection.error().message());
  }
  striping::Client& client = (*connection)->client();
  const auto region = client.allocate(SizeBytes(size));
  if (!region) {
    return fail(region.error().message());
  }
  std::vector<std::byte> out(size), in(size);
  const striping::RegionPiece from{RegionOffset(0), {out.data(), size}};
  const striping::RegionPiece to{RegionOffset(0), {in.data(), size}};
  const auto begin = Steady::now();
  for (std::uint32_t turn = 1; Steady::now() - begin < duration; ++turn) {
    for (std::size_t i = 0; i < size; ++i) {
      out[i] = static_cast<std::byte>((i * 2'654'435'761U + std::uint64_t{turn} * 40'503U) >> 13U);
    }
    const auto since = Steady::now();
    Errc status = client.write(*region, {&from, 1});
    status = status == Errc::ok ? client.read(*region, {&to, 1}) : status;
    if (status != Errc::ok) {
      return fail(std::string(to_string(status)));
    }
    const auto now = Steady::now();
    const bool is_same = std::ranges::equal(in, out);
    std::printf("%ld %ld%s\n", milliseconds(now - begin), milliseconds(now - since),
                is_same ? "" : " wrong");
    std::fflush(stdout);
    if (!is_same) {
      return 1;
    }
  }
  std::printf("ok\n");
  return 0;
}

}  // namespace
}  // namespace godbox

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: verbs_load ADDRESS SECONDS BYTES\n");
    return 2;
  }
  return godbox::run(argv[1], std::chrono::seconds(std::atoi(argv[2])),
                     static_cast<std::size_t>(std::atoll(argv[3])));
}
