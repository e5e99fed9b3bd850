// SPDX-License-Identifier: Apache-2.0
#include "twin/load_choice.h"

#include "cli/lists.h"
#include <godbox/emulator/box_config.h>
#include <godbox/striping/kv_geometry.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace godbox::app {
namespace {

namespace model = emulator::model;

Error invalid(std::string text) { return {Errc::config_invalid, std::move(text)}; }

struct Number {
  std::string_view option;
  double value;
  double low;
  double high;
  bool is_whole = false;
};
Result<void> check(const Number& number) {
  const bool is_kind = !number.is_whole || std::floor(number.value) == number.value;
  if (!(number.value >= number.low && number.value <= number.high) || !is_kind) {
    return invalid(fmt::format("--{} {}: allowed is {}{} to {}", number.option, number.value,
                               number.is_whole ? "a whole number, " : "", number.low, number.high));
  }
  return {};
}

// Those whose values are words.
struct Word {
  std::string_view name;
  std::string LoadChoice::*field;
};
constexpr std::array<Word, 5> kWords = {{{"preset", &LoadChoice::preset},
                                         {"pool-size", &LoadChoice::pool_size},
                                         {"strip", &LoadChoice::strip},
                                         {"model", &LoadChoice::model},
                                         {"dtype", &LoadChoice::dtype}}};

// Those whose values are numbers.
struct Numeric {
  std::string_view name;
  void (*set)(LoadChoice&, double);
};
constexpr std::array<Numeric, 9> kNumbers = {
    {{"super-nics", [](LoadChoice& c, double number) { c.super_nics = number; }},
     {"channels-per-super-nic",
      [](LoadChoice& c, double number) { c.channels_per_super_nic = number; }},
     {"ports-per-super-nic", [](LoadChoice& c, double number) { c.ports_per_super_nic = number; }},
     {"port-gbit", [](LoadChoice& c, double number) { c.port_gbit_per_s = number; }},
     {"hosts", [](LoadChoice& c, double number) { c.hosts = number; }},
     {"nics", [](LoadChoice& c, double number) { c.nics = number; }},
     {"gpus", [](LoadChoice& c, double number) { c.gpus = number; }},
     {"gpu-teraflops", [](LoadChoice& c, double number) { c.gpu_teraflops = number; }},
     {"speed", [](LoadChoice& c, double number) { c.speed = number; }}}};

// Of 512 tokens, of all ranks.
Result<SizeBytes> block_bytes(const LoadChoice& choice) {
  const Result<kv::ModelGeometry> geometry = kv::find_model(choice.model);
  if (!geometry) {
    return geometry.error();
  }
  const Result<kv::Dtype> dtype = kv::parse_dtype(choice.dtype);
  if (!dtype) {
    return dtype.error();
  }
  return kv::KvCacheSpec{
      .model = *geometry, .dtype = *dtype, .tensor_parallel = 1, .block_tokens = kTraceBlockTokens}
      .block_bytes();
}

Result<void> check(const LoadChoice& choice) {
  // A GPU of 2024 has 2.5 petaflops in 16 bits, and the least that is of use some.
  for (const Number& number :
       {Number{"super-nics", choice.super_nics.value_or(1), 1, 64, true},
        Number{"channels-per-super-nic", choice.channels_per_super_nic.value_or(1), 1, 64, true},
        Number{"ports-per-super-nic", choice.ports_per_super_nic.value_or(1), 1, 64, true},
        Number{"port-gbit", choice.port_gbit_per_s.value_or(1), kPortGbitMin, kPortGbitMax},
        Number{"hosts", choice.hosts, 0, model::kHostsMax, true},
        Number{"nics", choice.nics, 1, model::kNicsPerHostMax, true},
        Number{"gpus", choice.gpus, 1, 1024, true},
        Number{"gpu-teraflops", choice.gpu_teraflops, 1, 10000},
        Number{"speed", choice.speed, 1e-3, 1e6}, Number{"limit", choice.limit_s, 0, 1e6}}) {
    if (Result<void> valid = check(number); !valid) {
      return valid;
    }
  }
  return {};
}

struct Box {
  model::BoxShape shape;
  SizeBytes capacity;
};
Result<Box> box_of(const LoadChoice& choice) {
  const Result<emulator::BoxConfig> config = emulator::preset(choice.preset);
  const Result<model::BoxShape> shape = shape_of(choice.preset);
  if (!config || !shape) {
    return config ? shape.error() : config.error();
  }
  Box box{*shape, {}};
  const auto take = [](std::uint32_t& field, const std::optional<double>& value) {
    field = value ? static_cast<std::uint32_t>(*value) : field;
  };
  take(box.shape.super_nics, choice.super_nics);
  take(box.shape.dram_channels_per_super_nic, choice.channels_per_super_nic);
  take(box.shape.eth_ports_per_super_nic, choice.ports_per_super_nic);
  const std::uint32_t channels = box.shape.super_nics * box.shape.dram_channels_per_super_nic;
  if (channels > model::kStripeChannelsMax) {
    return invalid(
        fmt::format("--super-nics {} x --channels-per-super-nic {} = {}: allowed is at "
                    "most {} DRAM channels",
                    box.shape.super_nics, box.shape.dram_channels_per_super_nic, channels,
                    model::kStripeChannelsMax));
  }
  if (choice.port_gbit_per_s) {
    box.shape.eth_port = Rate(*choice.port_gbit_per_s * 1e9 / 8);
  }
  box.capacity = config->dram_channel_size * channels;
  if (!choice.pool_size.empty()) {
    const Result<SizeBytes> size = parse_one_size("--pool-size", choice.pool_size);
    if (!size) {
      return size.error();
    }
    if (*size > box.capacity) {
      return invalid(fmt::format("--pool-size {}: allowed is at most the box's {} bytes",
                                 choice.pool_size, box.capacity.count()));
    }
    box.capacity = *size;
  }
  return box;
}

}  // namespace

std::vector<std::string_view> load_parameters() {
  std::vector<std::string_view> names;
  names.reserve(kNumbers.size() + kWords.size());
  for (const Numeric& number : kNumbers) {
    names.push_back(number.name);
  }
  for (const Word& word : kWords) {
    names.push_back(word.name);
  }
  return names;
}

Result<void> set_parameter(LoadChoice& choice, std::string_view name, std::string_view value) {
  if (name.find('.') != std::string_view::npos) {
    if (Result<void> valid = check_box_key(name); !valid) {
      return valid;
    }
    std::erase_if(choice.device.settings,
                  [name](const model::DeviceSetting& set) { return set.key == name; });
    choice.device.settings.push_back({std::string(name), std::string(value)});
    return {};
  }
  for (const Word& word : kWords) {
    if (word.name == name) {
      choice.*word.field = value;
      return {};
    }
  }
  for (const Numeric& one : kNumbers) {
    if (one.name != name) {
      continue;
    }
    const std::optional<double> number = decimal_number(value);
    if (!number) {
      return invalid(fmt::format("{} = \"{}\": allowed is a number", name, value));
    }
    one.set(choice, *number);
    return {};
  }
  return invalid(
      fmt::format("parameter \"{}\": allowed are {}, and keys of a parameter file such "
                  "as link.lanes",
                  name, fmt::join(load_parameters(), ", ")));
}

std::optional<Deadline> deadline_of(const LoadChoice& choice) {
  using std::chrono::steady_clock;
  if (choice.limit_s <= 0) {
    return std::nullopt;
  }
  const std::chrono::duration<double> limit(choice.limit_s);
  return steady_clock::now() + std::chrono::duration_cast<steady_clock::duration>(limit);
}

Result<LoadSpec> load_spec(const LoadChoice& choice, const model::BoxRates* rates) {
  if (const Result<void> valid = check(choice); !valid) {
    return valid.error();
  }
  const Result<Box> box = box_of(choice);
  const Result<SizeBytes> block = block_bytes(choice);
  const Result<PrefillCost> prefill = prefill_cost(choice.model);
  const Result<SizeBytes> strip = parse_one_size("--strip", choice.strip);
  for (const Error& error :
       {box ? Error() : box.error(), block ? Error() : block.error(),
        prefill ? Error() : prefill.error(), strip ? Error() : strip.error()}) {
    if (error.code != Errc::ok) {
      return error;
    }
  }
  if (*strip < model::kStripMin || *strip > model::kStripMax) {
    return invalid(fmt::format("--strip {}: allowed is {} to {} bytes", choice.strip,
                               model::kStripMin.count(), model::kStripMax.count()));
  }
  const Result<model::BoxModel> device = read_device(choice.device);
  if (!device) {
    return device.error();
  }
  const Result<model::BoxRates> made =
      rates != nullptr ? *rates : model::box_rates(*device, *strip);
  if (!made) {
    return made.error();
  }
  const std::uint32_t channels = box->shape.super_nics * box->shape.dram_channels_per_super_nic;
  const SizeBytes stripe = std::max(*strip * channels, SizeBytes(std::uint64_t{1} << 20U));
  LoadSpec spec;
  spec.box = {.model = *device,
              .shape = box->shape,
              .hosts = static_cast<std::uint32_t>(choice.hosts),
              .nics_per_host = static_cast<std::uint32_t>(choice.nics),
              .rates = *made,
              .in_step = !choice.per_strip && *block >= kInStepStripesMin * stripe};
  spec.block = *block;
  spec.pool_blocks = box->capacity / *block;
  if (spec.pool_blocks == 0) {
    return invalid(
        fmt::format("--pool-size: {} bytes; allowed is at least a block of {} tokens, "
                    "which has {} bytes",
                    box->capacity.count(), kTraceBlockTokens, block->count()));
  }
  spec.prefill = *prefill;
  spec.host_operations_per_s = choice.gpus * choice.gpu_teraflops * 1e12;
  spec.speed = choice.speed;
  spec.seed = choice.trace.seed;
  return spec;
}

}  // namespace godbox::app
