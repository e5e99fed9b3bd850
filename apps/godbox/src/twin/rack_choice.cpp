// SPDX-License-Identifier: Apache-2.0
#include "twin/rack_choice.h"

#include "cli/lists.h"
#include "replay/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace godbox::app {
namespace {

namespace model = emulator::model;

std::optional<std::uint32_t> number_of(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_whole = error == std::errc() && end == text.data() + text.size();
  return is_whole ? std::optional(value) : std::nullopt;
}

Result<std::uint64_t> whole_number(std::string_view option, double value, std::uint64_t most) {
  if (!(value >= 0 && value <= static_cast<double>(most)) || std::floor(value) != value) {
    return Error(Errc::config_invalid, fmt::format("--{} {}: allowed is a whole number, at most {}",
                                                   option, value, most));
  }
  return static_cast<std::uint64_t>(value);
}

Result<model::RackLoad> load_of(const RackChoice& choice, const LoadSpec& box) {
  const auto requests = whole_number("requests", choice.requests, model::kRackRequestsMax);
  const auto blocks = whole_number("blocks", choice.blocks, model::kRackBlocksMax);
  const auto hot_blocks = whole_number("hot-blocks", choice.hot_blocks, model::kRackBlocksMax);
  const auto copies = whole_number("copies", choice.copies, model::kBlockCopiesMax);
  for (const auto* number : {&requests, &blocks, &hot_blocks, &copies}) {
    if (!*number) {
      return number->error();
    }
  }
  if (*copies > 1 && *hot_blocks == 0) {
    return Error(Errc::invalid_argument, "--copies: allowed only with --hot-blocks");
  }
  return model::RackLoad{
      .set = {.blocks = *blocks,
              .block = box.block,
              .hot_blocks = *hot_blocks,
              .hot_copies = static_cast<std::uint32_t>(*copies)},
      .requests = *requests,
      .load = choice.load,
      .read_share = choice.read_share,
      .zipf = choice.zipf,
      .recompute_s = box.prefill.operations(kTraceBlockTokens, 0) / box.host_operations_per_s,
      .seed = choice.box.trace.seed};
}

}  // namespace

Result<model::RackLoss> parse_loss(std::string_view text) {
  const Error refused(Errc::invalid_argument,
                      fmt::format("--lose \"{}\": allowed are box:BOX, port:BOX.PORT, "
                                  "box-leaf:LEAF, host-leaf:LEAF, spine:SPINE, each with a number",
                                  text));
  const std::size_t colon = text.find(':');
  const auto part = std::find(model::kRackPartNames.begin() + 1, model::kRackPartNames.end(),
                              text.substr(0, colon));
  if (colon == std::string_view::npos || part == model::kRackPartNames.end()) {
    return refused;
  }
  model::RackLoss loss{.part = static_cast<model::RackPart>(part - model::kRackPartNames.begin())};
  std::string_view index = text.substr(colon + 1);
  if (loss.part == model::RackPart::port) {
    const std::size_t dot = index.find('.');
    const auto port =
        dot == std::string_view::npos ? std::nullopt : number_of(index.substr(dot + 1));
    if (!port) {
      return refused;
    }
    loss.port = *port;
    index = index.substr(0, dot);
  }
  const auto number = number_of(index);
  if (!number) {
    return refused;
  }
  loss.index = *number;
  return loss;
}

Result<model::RackRunSpec> rack_spec(const RackChoice& choice) {
  const Result<LoadSpec> box = load_spec(choice.box, nullptr);
  if (!box) {
    return box.error();
  }
  const Result<model::RackSpec> rack = read_rack(choice.box.device);
  if (!rack) {
    return rack.error();
  }
  const Result<model::RackLoad> load = load_of(choice, *box);
  if (!load) {
    return load.error();
  }
  model::RackRunSpec spec{.model = box->box.model,
                          .box = box->box.shape,
                          .rates = box->box.rates,
                          .rack = *rack,
                          .nics_per_host = box->box.nics_per_host,
                          .box_capacity = box->pool_blocks * box->block,
                          .load = *load,
                          .loss = {}};
  if (choice.lose.empty()) {
    if (choice.at_s) {
      return Error(Errc::invalid_argument, "--at: allowed only with --lose");
    }
    return spec;
  }
  const Result<model::RackLoss> loss = parse_loss(choice.lose);
  const Result<model::RackBound> bound = model::rack_bound(spec);
  if (!loss || !bound) {
    return loss ? bound.error() : loss.error();
  }
  spec.loss = *loss;
  const double bytes =
      static_cast<double>(load->requests) * static_cast<double>(box->block.count());
  spec.loss.at_s = choice.at_s.value_or(bytes / (choice.load * bound->bytes_per_s) / 2);
  return spec;
}

}  // namespace godbox::app
