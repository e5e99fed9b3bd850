// SPDX-License-Identifier: Apache-2.0
// That a simulator which is given what read_dram_vectors() reads gets what Ramulator 2 got.
#include <godbox_test/dram_vectors.h>

#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>

#include <set>

namespace godbox::test {
namespace {

std::vector<DramPattern> patterns() {
  return read_dram_vectors(GODBOX_VECTORS_DIR "/ramulator2/vectors.json");
}

std::uint64_t lines_of_all_banks(const DramPattern& pattern) {
  return pattern.sub_channels * pattern.ranks * pattern.device.bank_groups *
         pattern.device.banks_per_group * pattern.device.rows * pattern.device.lines_per_row;
}

TEST_CASE("the vectors of Ramulator 2 have streams of the lines that it was given", "[unit]") {
  REQUIRE(patterns().size() >= 12);
  for (const DramPattern& pattern : patterns()) {
    INFO(pattern.name);
    CHECK(fmt::format("{:016x}", dram_stream_fingerprint(pattern.stream)) == pattern.fingerprint);
  }
}

TEST_CASE("the vectors of Ramulator 2 map every line to a place of its own", "[unit]") {
  for (const DramPattern& pattern : patterns()) {
    INFO(pattern.name);
    std::uint64_t bits = 0;
    for (const DramMappingPiece& piece : pattern.mapping) {
      bits += piece.bits;
    }
    REQUIRE(std::uint64_t{1} << bits == lines_of_all_banks(pattern));
    std::set<DramPlace> places;
    for (std::uint64_t bit = 0; bit < bits; ++bit) {
      places.insert(dram_place(kDramLineBytes << bit, pattern.mapping));
    }
    CHECK(places.size() == bits);
  }
}

TEST_CASE("a mapping puts the earlier piece of a field into its lower bits", "[unit]") {
  const std::vector<DramMappingPiece> mapping = {{DramField::column_line, 2},
                                                 {DramField::bank_group, 3},
                                                 {DramField::column_line, 4},
                                                 {DramField::row, 16}};
  // Line number 0b1'0110'101'11: column 0b0110'11, bank group 0b101, row 1.
  const DramPlace place = dram_place(0b1'0110'101'11 * kDramLineBytes, mapping);
  CHECK(place[static_cast<std::size_t>(DramField::column_line)] == 0b011011);
  CHECK(place[static_cast<std::size_t>(DramField::bank_group)] == 0b101);
  CHECK(place[static_cast<std::size_t>(DramField::row)] == 1);
  CHECK(place[static_cast<std::size_t>(DramField::bank)] == 0);
}

TEST_CASE("the vectors of Ramulator 2 agree with themselves", "[unit]") {
  for (const DramPattern& pattern : patterns()) {
    INFO(pattern.name);
    const DramVectorLoaded& loaded = pattern.loaded;
    const std::uint64_t reads = loaded.read_clocks ? loaded.read_clocks->lines : 0;
    const std::uint64_t writes = loaded.write_clocks ? loaded.write_clocks->lines : 0;
    CHECK(reads + writes == pattern.stream.lines);
    CHECK(loaded.commands.at("RD") + loaded.commands.at("RDA") == reads);
    CHECK(loaded.commands.at("WR") + loaded.commands.at("WRA") == writes);
    CHECK(loaded.row_hits + loaded.row_misses + loaded.row_conflicts == reads + writes);
    CHECK(loaded.commands.at("REFab") > 10);
    const double seconds =
        static_cast<double>(loaded.end_clock) * static_cast<double>(pattern.device.tck_ps) * 1e-12;
    const double bytes = static_cast<double>(pattern.stream.lines * kDramLineBytes);
    CHECK(std::abs(bytes / seconds / static_cast<double>(loaded.bytes_per_s) - 1) < 1e-6);
  }
}

}  // namespace
}  // namespace godbox::test
