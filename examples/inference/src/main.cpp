// SPDX-License-Identifier: Apache-2.0
//
// usage: inference_host decode|reuse [options]
// An inference host in small: decodes a transformer of fixed random weights with its KV cache on
// NUMA nodes, and uses a box's pool for what does not fit and for what another host has computed.
// Exit status 0: all tokens are what they have to be; 1: something was wrong, and said so; 2: the
// command line; 3: the machine or the box.
#include "runs.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdio>
#include <exception>

namespace {

using namespace godbox;
using namespace godbox::inference;

constexpr int kWrong = 1;
constexpr int kUsage = 2;
constexpr int kFailed = 3;

using Run = Result<void> (*)(const Plan& plan, Report& report);

int failed(const Error& error, int status) {
  fmt::print(stderr, "inference_host: {}\n", error.message());
  return status;
}

int go(Run run, const Options& options) {
  const Result<std::vector<driver::NumaNode>> machine = driver::numa_nodes();
  if (!machine) {
    return failed(machine.error(), kFailed);
  }
  const Result<Plan> plan = make_plan(options, *machine);
  if (!plan) {
    return failed(plan.error(), kUsage);
  }
  Report report(stdout);
  if (Result<void> done = run(*plan, report); !done) {
    return failed(done.error(), kFailed);
  }
  if (!options.json_file.empty()) {
    if (Result<void> written = report.write(options.json_file); !written) {
      return failed(written.error(), kFailed);
    }
  }
  return report.problems().empty() ? 0 : kWrong;
}

void add_options(CLI::App& command, Options& options) {
  command.add_option("--model", options.model, "tiny or small (docs/inference.md)")
      ->capture_default_str();
  command.add_option("--seed", options.seed, "Of weights and prompts")->capture_default_str();
  command.add_option("--prompt-tokens", options.prompt_tokens, "Of a prompt")
      ->capture_default_str();
  command
      .add_option("--prefix-tokens", options.prefix_tokens,
                  "At the front of all prompts; what a second host finds in the pool")
      ->capture_default_str();
  command.add_option("--output-tokens", options.output_tokens, "Decoded behind a prompt")
      ->capture_default_str();
  command
      .add_option("--turn-tokens", options.turn_tokens,
                  "decode: how many until the other sequence gets the cache")
      ->capture_default_str();
  command.add_option("--repeats", options.repeats, "Of what is timed")->capture_default_str();
  command
      .add_option("--nodes", options.nodes,
                  "NUMA nodes of the KV cache: auto (those without processors) or a list")
      ->capture_default_str();
  command.add_option("--connect", options.addresses,
                     "A door of the box (dax:HOST:PORT, tcp:HOST:PORT, unix:PATH ...); several: "
                     "each in turn");
  command.add_option("--timeout", options.timeout_s, "Seconds, of each transfer")
      ->capture_default_str();
  command.add_option("--json", options.json_file, "A file for the figures");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App program("An inference host in small, with its KV cache on NUMA nodes and in a pool");
  program.require_subcommand(1);
  Options options;
  CLI::App* const decode = program.add_subcommand(
      "decode", "Decode on node 0 and on the nodes, then spill to the pool and fetch back");
  CLI::App* const reuse = program.add_subcommand(
      "reuse", "A question behind a prefix that another host has left in the pool");
  add_options(*decode, options);
  add_options(*reuse, options);
  try {
    program.parse(argc, argv);
    return go(decode->parsed() ? run_decode : run_reuse, options);
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? 0 : kUsage;
  } catch (const std::exception& error) {
    return failed(Error(Errc::io_error, error.what()), kFailed);
  }
}
