// SPDX-License-Identifier: Apache-2.0
#include "demo/story.h"

#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"
#include "measure/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include <unistd.h>

namespace godbox::app {
namespace {

constexpr std::size_t kBarColumns = 36;
constexpr std::size_t kLabelColumns = 22;

std::string_view kind_of(const Finding& finding) {
  return finding.is_emulated ? "emulated" : "real";
}

}  // namespace

Story::Story(bool json, std::FILE* out)
    : terminal_(Terminal::of(::fileno(out))),
      json_(json),
      out_(out),
      begin_(std::chrono::steady_clock::now()) {}

Result<void> Story::play(const Scene& scene) {
  const auto begin = static_cast<std::ptrdiff_t>(findings_.size());
  if (auto shown = scene(false); !shown) {
    return shown;
  }
  const bool all_hold = std::all_of(findings_.begin() + begin, findings_.end(),
                                    [](const Finding& finding) { return finding.holds; });
  if (all_hold) {
    return {};
  }
  for (auto finding = findings_.begin() + begin; finding != findings_.end(); ++finding) {
    if (!finding->holds) {
      say(terminal_.paint(fmt::format("  Missed: {}: {}, expected {}. Something else may have had "
                                      "the machine; once more.",
                                      finding->what, finding->measured, finding->expected),
                          Ink::yellow));
    }
  }
  findings_.erase(findings_.begin() + begin, findings_.end());
  ++scenes_repeated_;
  return scene(true);
}

void Story::note(std::string_view key, boost::json::value value) { notes_[key] = std::move(value); }

void Story::heading(std::string_view title, std::string_view explanation) {
  say("");
  say(terminal_.paint(title, Ink::bold));
  say(terminal_.paint(explanation, Ink::dim));
}

void Story::say(std::string_view line) {
  if (!json_) {
    fmt::print(out_, "{}\n", line);
    std::fflush(out_);
  }
}

void Story::bar(std::string_view label, double value, double full, std::string_view text) {
  const double share = full > 0 ? std::clamp(value / full, 0.0, 1.0) : 0;
  const auto filled = static_cast<std::size_t>(share * kBarColumns + 0.5);
  std::string bar;
  for (std::size_t i = 0; i < filled; ++i) {
    bar += terminal_.is_tty ? "\u2588" : "#";
  }
  const std::size_t label_width = std::min(display_width(label), kLabelColumns);
  say(fmt::format("  {}{} {}{} {}", label, std::string(kLabelColumns - label_width, ' '),
                  terminal_.paint(bar, Ink::cyan), std::string(kBarColumns - filled, ' '), text));
}

void Story::add(Finding finding) { findings_.push_back(std::move(finding)); }

void Story::count(const Verification& verification) {
  bytes_checked_ += verification.bytes_checked;
  wrong_bytes_ += verification.wrong_bytes;
}

void Story::print_table() const {
  Table table({{"what", Table::Align::left},
               {"measured", Table::Align::right},
               {"expected", Table::Align::right},
               {"kind", Table::Align::left},
               {"", Table::Align::left}});
  for (const Finding& finding : findings_) {
    table.add(
        {finding.what, finding.measured, finding.expected, std::string(kind_of(finding)),
         finding.holds ? terminal_.paint("ok", Ink::green) : terminal_.paint("MISSED", Ink::red)});
  }
  table.add({"bytes compared with what was stored", format_count(bytes_checked_), "all", "real",
             bytes_checked_ > 0 ? terminal_.paint("ok", Ink::green)
                                : terminal_.paint("MISSED", Ink::red)});
  table.add({"wrong bytes", format_count(wrong_bytes_), "0", "real",
             wrong_bytes_ == 0 ? terminal_.paint("ok", Ink::green)
                               : terminal_.paint("MISSED", Ink::red)});
  fmt::print(out_, "\n{}\n", table.render());
}

void Story::print_document(bool all_hold, double seconds) const {
  boost::json::array findings;
  for (const Finding& finding : findings_) {
    boost::json::object one{{"what", finding.what},
                            {"measured", finding.measured},
                            {"expected", finding.expected},
                            {"kind", kind_of(finding)},
                            {"holds", finding.holds}};
    for (const auto& figure : finding.figures) {
      one[figure.key()] = figure.value();
    }
    findings.push_back(std::move(one));
  }
  boost::json::object document{{"schema", "godbox-demo-1"},
                               {"commit", build_commit()},
                               {"machine", to_json(describe_machine())},
                               {"seconds", rounded(seconds, 3)},
                               {"bytes_checked", bytes_checked_},
                               {"wrong_bytes", wrong_bytes_},
                               {"scenes_repeated", scenes_repeated_},
                               {"all_hold", all_hold},
                               {"findings", std::move(findings)}};
  for (const auto& note : notes_) {
    document[note.key()] = note.value();
  }
  print_json(out_, document, false);
}

ExitCode Story::finish() {
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin_;
  const auto held = std::count_if(findings_.begin(), findings_.end(),
                                  [](const Finding& finding) { return finding.holds; });
  const bool all_hold = held == std::ssize(findings_) && wrong_bytes_ == 0 && bytes_checked_ > 0;
  if (json_) {
    print_document(all_hold, took.count());
  } else {
    print_table();
    const std::string repeats =
        scenes_repeated_ > 0 ? fmt::format(" ({} scenes shown twice)", scenes_repeated_) : "";
    const std::string summary = fmt::format(
        "{} of {} findings hold{}; {} checked, {} wrong bytes; {:.0f} s", held, findings_.size(),
        repeats, format_size(SizeBytes(bytes_checked_)), wrong_bytes_, took.count());
    fmt::print(out_, "{}\n", terminal_.paint(summary, all_hold ? Ink::green : Ink::red));
  }
  return all_hold ? ExitCode::ok : ExitCode::failure;
}

}  // namespace godbox::app
