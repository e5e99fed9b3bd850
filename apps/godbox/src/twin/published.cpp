// SPDX-License-Identifier: Apache-2.0
#include "twin/published.h"

namespace godbox::app {
namespace {

// The change of a lone request's time to its first token, with that part of it found.
Result<double> lone_change(const LoadSpec& spec, std::uint32_t tokens, double found_share) {
  const Result<double> with = lone_first_token_s(spec, tokens, found_share);
  const Result<double> without = lone_first_token_s(spec, tokens, 0);
  if (!with || !without) {
    return with ? without.error() : with.error();
  }
  return *with / *without - 1;
}

}  // namespace

Result<std::vector<PublishedRow>> published_rows(const LoadSpec& spec, const LoadFigures& figures) {
  const Result<double> nearly_all = lone_change(spec, 128'000, 0.99);
  const Result<double> most = lone_change(spec, 32'000, 0.8);
  if (!nearly_all || !most) {
    return nearly_all ? most.error() : nearly_all.error();
  }
  const double first_token = -figures.first_token_saved_share();
  const double requests = figures.throughput_factor() - 1;
  return std::vector<PublishedRow>{
      {"UCM", "first token", -0.90,
       "at most; machine, model and prompts are not said, so long prompts that are nearly all "
       "found",
       "Huawei, launch of Unified Cache Manager, August 2025", *nearly_all,
       "one request, 128,000 tokens, 99 % found"},
      {"UCM", "throughput", 21,
       "22 times at most; machine, model and prompts are not said, and its sparse attention counts",
       "Huawei, launch of Unified Cache Manager, August 2025", requests,
       "this trace: prompts by the same hosts in the same time"},
      {"UCM, measured", "first token", -0.58,
       "QwQ-32B on 4 H100, one request of 32,000 tokens, 80 % found on SSDs: 1512 to 635 ms",
       "ucm.readthedocs.io, user guide, prefix cache, PipelineStore", *most,
       "one request, 32,000 tokens, 80 % found"},
      {"Mooncake", "throughput", 5.25,
       "at most, simulated, within limits on latency; prefill and decoding apart count too",
       "arXiv 2407.00079, abstract", requests,
       "this trace: prompts by the same hosts in the same time"},
      {"Mooncake", "throughput", 0.75, "Kimi's own requests, against its system before",
       "arXiv 2407.00079, abstract", requests,
       "this trace: prompts by the same hosts in the same time"},
      {"offload to SSDs", "first token", -0.66,
       "claimed of KV caches on SSDs; machine, model and prompts are not said",
       "vendors' claim; no document with its conditions is known", first_token,
       "this trace: mean of all requests, with their waits"},
  };
}

}  // namespace godbox::app
