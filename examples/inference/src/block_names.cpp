// SPDX-License-Identifier: Apache-2.0
#include "block_names.h"

#include "paged_cache.h"

#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/nil_generator.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <fmt/format.h>

namespace godbox::inference {

std::vector<std::string> block_names(const Weights& model, std::span<const std::uint32_t> tokens,
                                     std::size_t blocks) {
  using boost::uuids::name_generator_sha1;
  const std::string origin = fmt::format("{} seed {}", model.geometry.name, model.seed);
  boost::uuids::uuid before = name_generator_sha1(boost::uuids::nil_uuid())(origin);
  std::vector<std::string> names;
  for (std::size_t block = 0; block < blocks; ++block) {
    const auto of_block =
        tokens.subspan(block * PagedCache::kBlockTokens, PagedCache::kBlockTokens);
    before = name_generator_sha1(before)(of_block.data(), of_block.size_bytes());
    names.push_back("inference/" + boost::uuids::to_string(before));
  }
  return names;
}

}  // namespace godbox::inference
