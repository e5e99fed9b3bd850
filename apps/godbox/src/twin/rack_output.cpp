// SPDX-License-Identifier: Apache-2.0
#include "twin/rack_output.h"

#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"
#include "measure/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace godbox::app {
namespace {

namespace model = emulator::model;

constexpr std::string_view kSchema = "godbox-model-rack-1";

double seconds_of(std::uint64_t ps) { return static_cast<double>(ps) * 1e-12; }

std::uint64_t bytes_of(const model::RackBoxLoad& box) { return box.bytes_read + box.bytes_written; }

boost::json::array boxes_json(const RackResult& result) {
  boost::json::array list;
  const double channels = result.spec.box.super_nics * result.spec.box.dram_channels_per_super_nic;
  for (const model::RackBoxLoad& box : result.figures.boxes) {
    list.push_back(boost::json::object{
        {"requests", box.requests},
        {"bytes_read", box.bytes_read},
        {"bytes_written", box.bytes_written},
        {"dram_bytes_per_channel", figure(static_cast<double>(bytes_of(box)) / channels)},
        {"dram_busy_share", figure(box.dram_busy_s / result.seconds())},
        {"blocks", box.blocks_before},
        {"blocks_after", box.blocks_after},
        {"is_lost", box.is_lost}});
  }
  return list;
}

boost::json::array switches_json(const RackResult& result) {
  boost::json::array list;
  for (const model::RackSwitchLoad& one : result.figures.switches) {
    list.push_back(
        boost::json::object{{"part", model::to_string(one.part)},
                            {"index", one.index},
                            {"ports", one.ports},
                            {"limited_bytes_per_s", figure(one.limited.bytes_per_second())},
                            {"bytes_read", figure(one.bytes_read, 12)},
                            {"bytes_written", figure(one.bytes_written, 12)},
                            {"busy_share", figure(result.busy_share(one))},
                            {"is_lost", one.is_lost}});
  }
  return list;
}

boost::json::object moves_json(const model::RackMoves& moves) {
  return {
      {"blocks_lost", moves.blocks_lost},           {"copies_lost", moves.copies_lost},
      {"copies_moved", moves.copies_moved},         {"restored", moves.restored},
      {"bytes_restored", moves.bytes_restored},     {"requests_retried", moves.requests_retried},
      {"bytes_sent_again", moves.bytes_sent_again}, {"boxes_cut_off", moves.boxes_cut_off},
      {"hosts_cut_off", moves.hosts_cut_off}};
}

boost::json::object rack_json(const model::RackShape& shape) {
  const model::RackSpec& rack = shape.spec;
  return {{"boxes", rack.boxes},
          {"hosts", rack.hosts},
          {"nics_per_host", shape.nics_per_host},
          {"box_leaves", rack.box_leaves},
          {"leaves_per_box", rack.leaves_per_box},
          {"host_leaves", rack.host_leaves},
          {"leaves_per_host", rack.leaves_per_host},
          {"spines", rack.spines},
          {"oversubscription", figure(rack.oversubscription)},
          {"switch_bits_per_s", figure(rack.switch_tbit_per_s * 1e12)},
          {"notice_s", figure(rack.notice_ms * 1e-3)}};
}

boost::json::array bins_json(const std::vector<std::uint64_t>& bins) {
  return boost::json::array(bins.begin(), bins.end());
}

struct Row {
  std::string_view name;
  const std::vector<double>* values;
};

void print_times(const RackResult& result) {
  Table table({{"", Table::Align::left},
               {"requests", Table::Align::right},
               {"p50", Table::Align::right},
               {"p99", Table::Align::right},
               {"p999", Table::Align::right},
               {"longest", Table::Align::right}});
  const RackTimes& times = result.times;
  std::vector<Row> rows{{"read of a block", &times.read}, {"put of a block", &times.put}};
  if (result.spec.loss.part != model::RackPart::none) {
    rows.insert(rows.end(), {{"read, ended before the loss", &times.read_before},
                             {"read, came after its notice", &times.read_after},
                             {"computed again", &times.recomputed},
                             {"disturbed by the loss", &times.disturbed}});
  }
  for (const Row& row : rows) {
    const auto place = [&row](double percent) {
      return row.values->empty() ? "-" : format_duration(percentile(*row.values, percent));
    };
    table.add({std::string(row.name), format_count(row.values->size()), place(50), place(99),
               place(99.9), place(100)});
  }
  fmt::print("{}\n", table.render("  "));
}

void print_boxes(const RackResult& result) {
  Table table({{"box", Table::Align::left},
               {"requests", Table::Align::right},
               {"read", Table::Align::right},
               {"written", Table::Align::right},
               {"DRAM busy", Table::Align::right},
               {"blocks", Table::Align::right},
               {"after the loss", Table::Align::right}});
  const bool has_loss = result.spec.loss.part != model::RackPart::none;
  for (std::size_t i = 0; i < result.figures.boxes.size(); ++i) {
    const model::RackBoxLoad& box = result.figures.boxes[i];
    table.add({fmt::format("{}{}", i, box.is_lost ? ", lost" : ""), format_count(box.requests),
               format_rate(static_cast<double>(box.bytes_read) / result.seconds() / 1e9),
               format_rate(static_cast<double>(box.bytes_written) / result.seconds() / 1e9),
               format_percent(box.dram_busy_s / result.seconds()), format_count(box.blocks_before),
               has_loss ? format_count(box.blocks_after) : "-"});
  }
  fmt::print("{}", table.render("  "));
  fmt::print("  the most loaded box has {:.3f} times the mean\n\n", imbalance(result.figures));
}

void print_switches(const RackResult& result) {
  Table table({{"switches", Table::Align::left},
               {"of them", Table::Align::right},
               {"links to the other tier", Table::Align::right},
               {"busy", Table::Align::right},
               {"busiest", Table::Align::right}});
  for (const auto& [part, name] : {std::pair{model::RackPart::box_leaf, "leaves of boxes"},
                                   std::pair{model::RackPart::host_leaf, "leaves of hosts"},
                                   std::pair{model::RackPart::spine, "spines"}}) {
    std::size_t count = 0;
    double sum = 0;
    double most = 0;
    double limit = 0;
    for (const model::RackSwitchLoad& one : result.figures.switches) {
      if (one.part == part) {
        const double share = result.busy_share(one);
        ++count;
        sum += share;
        most = std::max(most, share);
        limit = std::max(limit, one.limited.bytes_per_second());
      }
    }
    table.add({name, fmt::format("{}", count), format_rate(limit / 1e9),
               format_percent(sum / static_cast<double>(count)), format_percent(most)});
  }
  fmt::print("{}\n", table.render("  "));
}

void print_loss(const RackResult& result) {
  const model::RackMoves& moves = result.figures.moves;
  if (result.spec.loss.part == model::RackPart::none) {
    return;
  }
  std::uint64_t copies = 0;
  for (const model::RackBoxLoad& box : result.figures.boxes) {
    copies += box.blocks_before;
  }
  fmt::print("  lost: {}, noticed {} later", loss_text(result.spec.loss),
             format_duration(result.notice_s() - result.spec.loss.at_s));
  if (moves.boxes_cut_off + moves.hosts_cut_off > 0) {
    fmt::print("; cut off: boxes {}, hosts {}", moves.boxes_cut_off, moves.hosts_cut_off);
  }
  fmt::print(
      "\n  moved: {} of {} blocks with all copies ({}); {} of them had no other copy\n",
      format_count(moves.copies_moved), format_count(copies),
      format_percent(
          copies > 0 ? static_cast<double>(moves.copies_moved) / static_cast<double>(copies) : 0),
      format_count(moves.blocks_lost));
  fmt::print("  put where they belong now: {} blocks, {}\n", format_count(moves.restored),
             format_size(SizeBytes(moves.bytes_restored)));
  fmt::print("  asked again: {} requests; sent again: {}; given up: {} requests\n\n",
             format_count(moves.requests_retried), format_size(SizeBytes(moves.bytes_sent_again)),
             format_count(result.figures.given_up));
}

}  // namespace

double RackResult::seconds() const {
  return seconds_of(std::max<std::uint64_t>(figures.end_ps, 1));
}

double RackResult::busy_share(const model::RackSwitchLoad& one) const {
  const double all = one.limited.bytes_per_second() * seconds();
  return all > 0 ? std::max(one.bytes_read, one.bytes_written) / all : 0;
}

double RackResult::notice_s() const { return spec.loss.at_s + figures.shape.spec.notice_ms * 1e-3; }

RackTimes times_of(const model::RackRunSpec& spec, const model::RackFigures& figures) {
  RackTimes times;
  const bool has_loss = spec.loss.part != model::RackPart::none;
  const double noticed_s = spec.loss.at_s + figures.shape.spec.notice_ms * 1e-3;
  for (const model::RackCompletion& one : figures.done) {
    const double taken_s = seconds_of(one.end_ps - one.at_ps);
    if (one.is_disturbed) {
      times.disturbed.push_back(taken_s);
    }
    if (one.outcome == model::RackOutcome::put) {
      times.put.push_back(taken_s);
    } else if (one.outcome == model::RackOutcome::recomputed) {
      times.recomputed.push_back(taken_s);
    } else {
      times.read.push_back(taken_s);
      if (!has_loss || seconds_of(one.end_ps) < spec.loss.at_s) {
        times.read_before.push_back(taken_s);
      } else if (seconds_of(one.at_ps) >= noticed_s) {
        times.read_after.push_back(taken_s);
      }
    }
  }
  return times;
}

double imbalance(const model::RackFigures& figures) {
  std::vector<std::uint64_t> bytes;
  for (const model::RackBoxLoad& box : figures.boxes) {
    if (!box.is_lost) {
      bytes.push_back(bytes_of(box));
    }
  }
  return imbalance(std::span<const std::uint64_t>(bytes));
}

std::string loss_text(const model::RackLoss& loss) {
  switch (loss.part) {
    case model::RackPart::none:
      return "nothing";
    case model::RackPart::port:
      return fmt::format("port {} of box {} at {}", loss.port, loss.index,
                         format_duration(loss.at_s));
    default:
      return fmt::format("{} {} at {}", model::to_string(loss.part), loss.index,
                         format_duration(loss.at_s));
  }
}

std::vector<NamedFigure> named_figures(const RackResult& result) {
  const double seconds = result.seconds();
  const model::RackFigures& figures = result.figures;
  const auto rate = [seconds](double count) { return count / seconds; };
  std::vector<NamedFigure> named{
      {"read_bytes_per_s", "bytes/s", rate(static_cast<double>(figures.bytes_read)), true},
      {"write_bytes_per_s", "bytes/s", rate(static_cast<double>(figures.bytes_written)), true},
      {"requests_per_s", "1/s", rate(static_cast<double>(figures.done.size())), true},
      {"imbalance", "", imbalance(figures)}};
  struct Times {
    const std::vector<double>& values;
    std::array<std::string_view, 3> names;
  };
  const RackTimes& times = result.times;
  for (const Times& one :
       {Times{times.read, {"read_p50_s", "read_p99_s", "read_p999_s"}},
        Times{times.put, {"put_p50_s", "put_p99_s", "put_p999_s"}},
        Times{times.read_before, {"read_before_p50_s", "read_before_p99_s", "read_before_p999_s"}},
        Times{times.read_after, {"read_after_p50_s", "read_after_p99_s", "read_after_p999_s"}},
        Times{times.recomputed, {"recomputed_p50_s", "recomputed_p99_s", "recomputed_p999_s"}},
        Times{times.disturbed, {"disturbed_p50_s", "disturbed_p99_s", "disturbed_p999_s"}}}) {
    constexpr std::array<double, 3> kPercents = {50, 99, 99.9};
    for (std::size_t i = 0; i < kPercents.size(); ++i) {
      named.push_back(
          {one.names[i], "s",
           one.values.empty() ? std::optional<double>() : percentile(one.values, kPercents[i])});
    }
  }
  named.push_back({"seconds", "s", seconds});
  return named;
}

boost::json::object to_json(const RackResult& result) {
  const model::RackFigures& figures = result.figures;
  const model::RackLoad& load = result.spec.load;
  boost::json::object named;
  for (const NamedFigure& one : named_figures(result)) {
    named[one.name] = value_json(one);
  }
  const bool has_loss = result.spec.loss.part != model::RackPart::none;
  return {
      {"schema", kSchema},
      {"kind", "modelled"},
      {"fidelity", "in step"},
      {"seed", load.seed},
      {"model", json_text(result.choice.box.model)},
      {"dtype", json_text(result.choice.box.dtype)},
      {"block_bytes", load.set.block.count()},
      {"preset", json_text(result.choice.box.preset)},
      {"device", json_text(result.spec.model.device.name)},
      {"rack", rack_json(figures.shape)},
      {"requests", figures.asked},
      {"load", figure(load.load)},
      {"read_share", figure(load.read_share)},
      {"blocks", load.set.blocks},
      {"zipf", figure(load.zipf)},
      {"hot_blocks", load.set.hot_blocks},
      {"copies", load.set.hot_copies},
      {"recompute_s", figure(load.recompute_s)},
      {"offered_requests_per_s", figure(figures.requests_per_s)},
      {"bound_bytes_per_s", figure(figures.bound_bytes_per_s)},
      {"bound_by", figures.bound_by},
      {"found", result.times.read.size()},
      {"put", result.times.put.size()},
      {"recomputed", result.times.recomputed.size()},
      {"disturbed", result.times.disturbed.size()},
      {"given_up", figures.given_up},
      {"bytes_read", figures.bytes_read},
      {"bytes_written", figures.bytes_written},
      {"pieces", figures.pieces},
      {"lost", has_loss ? boost::json::value(json_text(result.choice.lose)) : boost::json::value()},
      {"lost_at_s", has_loss ? figure(result.spec.loss.at_s) : boost::json::value()},
      {"moves", moves_json(figures.moves)},
      {"figures", std::move(named)},
      {"stages", stages_json(figures.stages, result.seconds())},
      {"boxes", boxes_json(result)},
      {"switches", switches_json(result)},
      {"bin_s", figure(seconds_of(model::RackFigures::kBinPs))},
      {"bin_bytes_read", bins_json(figures.bin_bytes_read)},
      {"bin_bytes_written", bins_json(figures.bin_bytes_written)}};
}

void print_rack(const RackResult& result) {
  const model::RackFigures& figures = result.figures;
  const model::RackSpec& rack = figures.shape.spec;
  const model::RackLoad& load = result.spec.load;
  fmt::print(
      "modelled, stripes in step: {} requests of {} ({} in {}, 512 tokens), {} of them "
      "reads\n",
      format_count(figures.asked), format_size(load.set.block), result.choice.box.model,
      result.choice.box.dtype, format_percent(load.read_share));
  fmt::print("{} boxes of {}; {} hosts of {} NICs\n", rack.boxes, box_text(result.spec.box),
             rack.hosts, figures.shape.nics_per_host);
  fmt::print("{} and {} leaves of boxes and hosts, {} spines, oversubscription {:.4g}; {}\n",
             rack.box_leaves, rack.host_leaves, rack.spines, rack.oversubscription,
             result.spec.model.device.name);
  fmt::print("{} blocks by Zipf's law with exponent {:.4g}{}\n\n", format_count(load.set.blocks),
             load.zipf,
             load.set.hot_blocks == 0
                 ? ""
                 : fmt::format(", the first {} in {} copies", format_count(load.set.hot_blocks),
                               load.set.hot_copies));
  fmt::print("  offered {:.4g} requests/s, {} of the {} that the rack can move, bound by {}\n",
             figures.requests_per_s, format_percent(load.load),
             format_rate(figures.bound_bytes_per_s / 1e9), figures.bound_by);
  fmt::print("  read {}, written {}; done after {}\n\n",
             format_rate(static_cast<double>(figures.bytes_read) / result.seconds() / 1e9),
             format_rate(static_cast<double>(figures.bytes_written) / result.seconds() / 1e9),
             format_duration(result.seconds()));
  print_times(result);
  print_loss(result);
  print_boxes(result);
  print_switches(result);
  fmt::print("{}", stage_table(figures.stages, result.seconds()));
}

}  // namespace godbox::app
