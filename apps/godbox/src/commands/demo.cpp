// SPDX-License-Identifier: Apache-2.0
#include "cli/log.h"
#include "commands/commands.h"
#include "demo/scenes.h"

#include <CLI/CLI.hpp>

#include <memory>

namespace godbox::app {
namespace {

struct DemoOptions {
  std::uint64_t seed = 1;
  bool json = false;
};

constexpr std::string_view kFooter =
    R"(It brings up boxes in this process, one after the other, and talks to them over loopback TCP:
  1. the same KV blocks in boxes of 1, 9 and 18 DRAM channels
  2. 18 channels behind 1 and 9 Ethernet ports
  3. a port lost while blocks are loaded
  4. a prompt whose beginning is in the pool
Every byte is compared with what was stored. It needs no network and no root, and less than a
minute; it ends with exit code 0 only if everything it shows holds. A scene whose finding is missed
is shown once more, because another program may have taken the machine away.)";

ExitCode run_demo(const DemoOptions& options) {
  Story story(options.json);
  Stage stage{story, {}, 0, {}, 0, options.seed};
  if (const Result<void> prepared = prepare(stage); !prepared) {
    return fail("demo", prepared.error());
  }
  if (const auto shown = play_measured(stage, [&] { return show_channels(stage); }); !shown) {
    return fail("demo", shown.error());
  }
  if (const Result<void> shown = show_ports(stage); !shown) {
    return fail("demo", shown.error());
  }
  return story.finish();
}

}  // namespace

void add_demo(CLI::App& program, Action& chosen) {
  auto options = std::make_shared<DemoOptions>();
  CLI::App* const command = program.add_subcommand(
      "demo", "Show what a godbox is, with emulated boxes, in under a minute");
  command->add_option("--seed", options->seed, "Of the blocks' bytes")->capture_default_str();
  command->add_flag("--json", options->json, "Print the findings as one JSON object");
  command->footer(std::string(kFooter));
  command->callback([options, &chosen] { chosen = [options] { return run_demo(*options); }; });
}

}  // namespace godbox::app
