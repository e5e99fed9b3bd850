// SPDX-License-Identifier: Apache-2.0
//
// Values of command-line options: comma-separated lists, on|off|both, numbers. Errors are
// invalid_argument with a sentence that names option, value and what is allowed.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::app {

// "a,b,c"; blanks around items are dropped. Errors: an empty list or item.
[[nodiscard]] Result<std::vector<std::string>> split_list(std::string_view option,
                                                          std::string_view text);
struct CountRange {
  std::uint32_t min = 1;
  std::uint32_t max = 1;
};
// Of one list, ranges written out.
inline constexpr std::size_t kCountsMax = 4096;
// "1,9,18" and "1..9" (every number of a range); kCountsMax of them.
[[nodiscard]] Result<std::vector<std::uint32_t>> parse_counts(std::string_view option,
                                                              std::string_view text,
                                                              CountRange allowed);
// Of 64 bits: decimal, or 0x... in sixteens.
[[nodiscard]] Result<std::uint64_t> parse_number(std::string_view option, std::string_view text);
// The whole text as one decimal number, as std::from_chars reads it (inf and nan too); nullopt: it
// is none.
[[nodiscard]] std::optional<double> decimal_number(std::string_view text);
// "1MiB,4MiB"; every size positive.
[[nodiscard]] Result<std::vector<SizeBytes>> parse_sizes(std::string_view option,
                                                         std::string_view text);
// One of them.
[[nodiscard]] Result<SizeBytes> parse_one_size(std::string_view option, std::string_view text);
// Each item one of `allowed`; `all_word` (if not empty) stands for all of them.
[[nodiscard]] Result<std::vector<std::string>> parse_words(std::string_view option,
                                                           std::string_view text,
                                                           const std::vector<std::string>& allowed,
                                                           std::string_view all_word);

}  // namespace godbox::app
