// SPDX-License-Identifier: Apache-2.0
//
// model replay, sweep, rack: what a box does with a trace of requests, which box it needs, and what
// boxes of a rack do, by the timing model (docs/model.md).
#include "commands/commands.h"
#include "commands/model_output.h"
#include "twin/load_output.h"
#include "twin/rack_output.h"
#include "twin/sweep_output.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <chrono>
#include <memory>

namespace godbox::app {
namespace {

namespace model = emulator::model;

constexpr std::string_view kReplayFooter = R"(Examples:
  godbox model replay trace.jsonl --model llama-3.1-70b
  godbox model replay --generate conversation --requests 1000 --per-strip
  godbox model replay trace.jsonl --preset acf1 --hosts 8 --set link.lanes=16 --json
Hosts read the leading blocks that the pool has, compute the others and put them. A GPU's 400
teraflop/s are what Llama 3's training got of an H100 (Llama 3 Herd of Models, table 4).)";

constexpr std::string_view kSweepFooter = R"(Examples:
  godbox model sweep trace.jsonl --vary super-nics=1..9 --figure load_p99_s
  godbox model sweep trace.jsonl --vary super-nics=1..9 --vary port-gbit=100,200,400 \
      --target 'load_p99_s<=0.1' --target 'hit_share>=0.3'
  godbox model sweep --generate conversation --vary link.lanes=4,8,16 --json
Smallest: fewest DRAM channels, then least bandwidth of ports, smallest pool, fewest hosts. A knee
is the point from which on more is worth less.)";

constexpr std::string_view kRackFooter = R"(Examples:
  godbox model rack
  godbox model rack --lose box:5 --at 2 --read-share 0.7
  godbox model rack --zipf 1 --hot-blocks 100 --copies 4 --load 0.6 --json
  godbox model rack --preset acf1 --set network.oversubscription=4 --report rack.html
Blocks lie on boxes by rendezvous hashing. --lose: box:BOX, port:BOX.PORT, box-leaf:LEAF,
host-leaf:LEAF, spine:SPINE. Boxes, hosts and switches are [rack] and [network] of --device.)";

struct LoadOptions : ModelOutput {
  LoadChoice choice;
  std::vector<std::string> varied;   // sweep
  std::vector<std::string> figures;  // sweep
  std::vector<std::string> targets;  // sweep
};

struct RackOptions : ModelOutput {
  RackChoice choice;
};

Result<LoadResult> model_one(const LoadChoice& choice) {
  const std::optional<Deadline> deadline = deadline_of(choice);
  const Result<Trace> trace = find_trace(choice.trace);
  if (!trace) {
    return trace.error();
  }
  LoadResult result{.choice = choice, .spec = {}, .figures = {}, .published = {}};
  Result<LoadSpec> spec = load_spec(choice, nullptr);
  if (!spec) {
    return spec.error();
  }
  result.spec = std::move(*spec);
  result.spec.deadline = deadline;
  // Twice: with the pool and without.
  Progress progress("modelling", 2 * static_cast<double>(trace->size()));
  Result<LoadFigures> figures = model_load(result.spec, *trace, progress);
  progress.clear();
  if (!figures) {
    return figures.error();
  }
  result.figures = std::move(*figures);
  Result<std::vector<PublishedRow>> published = published_rows(result.spec, result.figures);
  if (!published) {
    return published.error();
  }
  result.published = std::move(*published);
  return result;
}

ExitCode run_replay(LoadOptions options) {
  if (const Result<void> prepared = prepare_box(options, options.choice.device); !prepared) {
    return fail("model replay", prepared.error());
  }
  const Result<LoadResult> result = model_one(options.choice);
  if (!result) {
    return fail("model replay", result.error());
  }
  return show("model replay", options, *result, print_load);
}

Result<SweepChoice> sweep_choice(LoadOptions options) {
  if (const Result<void> prepared = prepare_box(options, options.choice.device); !prepared) {
    return prepared.error();
  }
  SweepChoice choice{
      .load = options.choice, .varied = {}, .figures = options.figures, .targets = {}};
  for (const std::string& text : options.varied) {
    Result<Varied> varied = parse_varied(text);
    if (!varied) {
      return varied.error();
    }
    choice.varied.push_back(std::move(*varied));
  }
  for (const std::string& name : options.figures) {
    if (const Result<void> known = check_figure(name); !known) {
      return Error(known.error().code, "--figure: " + known.error().detail);
    }
  }
  for (const std::string& text : options.targets) {
    Result<Target> target = parse_target(text);
    if (!target) {
      return target.error();
    }
    choice.targets.push_back(std::move(*target));
  }
  return choice;
}

ExitCode run_sweep_command(const LoadOptions& options) {
  const Result<SweepChoice> choice = sweep_choice(options);
  if (!choice) {
    return fail("model sweep", choice.error());
  }
  const Result<SweepResult> result = run_sweep(*choice);
  if (!result) {
    return fail("model sweep", result.error());
  }
  return show("model sweep", options, *result, print_sweep);
}

Result<RackResult> model_rack(const RackChoice& choice) {
  const std::optional<Deadline> deadline = deadline_of(choice.box);
  Result<model::RackRunSpec> spec = rack_spec(choice);
  if (!spec) {
    return spec.error();
  }
  Progress progress("modelling", static_cast<double>(spec->load.requests));
  std::uint64_t come = 0;
  Result<model::RackFigures> figures =
      model::run_rack(*spec, [&progress, &deadline, &come](std::uint64_t requests) {
        come = requests;
        progress.set(static_cast<double>(requests));
        return !deadline || std::chrono::steady_clock::now() <= *deadline;
      });
  progress.clear();
  if (!figures && figures.error().code == Errc::cancelled) {
    return Error(Errc::cancelled,
                 fmt::format("stopped at its limit of time: {} of {} requests; raise --limit or "
                             "take fewer --requests",
                             come, spec->load.requests));
  }
  if (!figures) {
    return figures.error();
  }
  RackTimes times = times_of(*spec, *figures);
  return RackResult{choice, std::move(*spec), std::move(*figures), std::move(times)};
}

ExitCode run_rack_command(RackOptions options) {
  if (const Result<void> prepared = prepare(options, options.choice.box.device); !prepared) {
    return fail("model rack", prepared.error());
  }
  const Result<RackResult> result = model_rack(options.choice);
  if (!result) {
    return fail("model rack", result.error());
  }
  return show("model rack", options, *result, print_rack);
}

// The box, its hosts' hardware, the language model, and where the figures go.
void add_box_options(CLI::App& command, LoadChoice& choice, ModelOutput& output) {
  command.add_option("--model", choice.model, "The language model")->capture_default_str();
  command.add_option("--dtype", choice.dtype, "Of its KV cache")->capture_default_str();
  command.add_option("--preset", choice.preset, "The box")->capture_default_str();
  command.add_option("--device", choice.device.device, "A known device, or a parameter file")
      ->capture_default_str();
  command.add_option("--super-nics", choice.super_nics, "Instead of the preset's");
  command.add_option("--channels-per-super-nic", choice.channels_per_super_nic,
                     "DRAM channels, instead of the preset's");
  command.add_option("--ports-per-super-nic", choice.ports_per_super_nic,
                     "Ethernet ports, instead of the preset's");
  command.add_option("--port-gbit", choice.port_gbit_per_s,
                     "Gb/s of a port and of a host's NIC, instead of the preset's");
  command.add_option("--pool-size", choice.pool_size, "Of the pool; all of the box without it");
  command.add_option("--strip", choice.strip, "Bytes of a strip")->capture_default_str();
  command.add_option("--nics", choice.nics, "Of each host")->capture_default_str();
  command.add_option("--gpus", choice.gpus, "Of each host")->capture_default_str();
  command.add_option("--gpu-teraflops", choice.gpu_teraflops, "That a GPU computes at")
      ->capture_default_str();
  command.add_option("--limit", choice.limit_s, "Seconds that it may take; 0: no limit");
  add_model_output(command, output);
}

void add_load_options(CLI::App& command, LoadOptions& options) {
  LoadChoice& choice = options.choice;
  command.add_option("trace", choice.trace.path,
                     "The trace, a JSON object a line (docs/replay.md)");
  command.add_option("--generate", choice.trace.generate,
                     "Instead: a trace that is made up, as of `godbox replay`");
  command.add_option("--requests", choice.trace.requests,
                     "Only so many of its first requests; 0: all");
  command.add_option("--speed", choice.speed, "Times the trace's own")->capture_default_str();
  add_box_options(command, choice, options);
  command.add_option(
      "--hosts", choice.hosts,
      "Inference hosts; 0: as many as compute all of the trace at 70 % of their time");
  command.add_flag("--per-strip", choice.per_strip,
                   "Every strip by itself, instead of the strips of a stripe as one");
  command.add_option("--seed", choice.trace.seed, "Of --generate, and of where blocks begin")
      ->capture_default_str();
}

void add_rack(CLI::App& group, Action& chosen) {
  auto options = std::make_shared<RackOptions>();
  RackChoice& choice = options->choice;
  CLI::App* const rack = group.add_subcommand(
      "rack", "What boxes behind a leaf-spine network do for many hosts, and what a loss costs");
  rack->add_option("--requests", choice.requests, "Blocks that are read or put")
      ->capture_default_str();
  rack->add_option("--load", choice.load, "Of what the rack can move at most")
      ->capture_default_str();
  rack->add_option("--read-share", choice.read_share, "Of the requests; the others put new blocks")
      ->capture_default_str();
  rack->add_option("--blocks", choice.blocks, "That the boxes have")->capture_default_str();
  rack->add_option("--zipf", choice.zipf,
                   "Block i is read in proportion to 1 / i^ZIPF; 0: all alike")
      ->capture_default_str();
  rack->add_option("--hot-blocks", choice.hot_blocks, "The first so many have --copies")
      ->capture_default_str();
  rack->add_option("--copies", choice.copies, "Of each hot block, on as many boxes")
      ->capture_default_str();
  rack->add_option("--lose", choice.lose, "A part that is lost, such as box:5 or port:5.17");
  rack->add_option("--at", choice.at_s, "Seconds at which; in the middle without it");
  add_box_options(*rack, choice.box, *options);
  rack->add_option("--seed", choice.box.trace.seed, "Of arrivals, hosts and blocks")
      ->capture_default_str();
  rack->footer(std::string(kRackFooter));
  rack->callback([options, &chosen] { chosen = [options] { return run_rack_command(*options); }; });
}

}  // namespace

void add_model_load(CLI::App& group, Action& chosen) {
  auto options = std::make_shared<LoadOptions>();
  CLI::App* const replay = group.add_subcommand(
      "replay", "What hosts that play a trace get of a box, and what bounds it");
  add_load_options(*replay, *options);
  replay->footer(std::string(kReplayFooter));
  replay->callback([options, &chosen] { chosen = [options] { return run_replay(*options); }; });

  CLI::App* const sweep = group.add_subcommand(
      "sweep",
      "The same over parameters that vary: knees, and the smallest box that meets a target");
  add_load_options(*sweep, *options);
  sweep
      ->add_option("--vary", options->varied,
                   "PARAMETER=VALUES: an option of the box or the hosts without its dashes, or a "
                   "key of the parameter file; may be given several times")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  options->figures = {"first_token_p99_s", "load_p99_s"};
  sweep->add_option("--figure", options->figures, "Shown, with its knee; any of --json's figures")
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->capture_default_str();
  sweep
      ->add_option("--target", options->targets,
                   "FIGURE<=NUMBER or FIGURE>=NUMBER; all have to hold")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  sweep->footer(std::string(kSweepFooter));
  sweep->callback(
      [options, &chosen] { chosen = [options] { return run_sweep_command(*options); }; });
  add_rack(group, chosen);
}

}  // namespace godbox::app
