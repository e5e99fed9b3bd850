// SPDX-License-Identifier: Apache-2.0
//
// usage: perf_handover produce|consume --connect ADDRESS [options]
// One side of the hand-over of a prefill: a producer that puts KV blocks layer by layer, as a model
// computes them, and a consumer that gets each layer as soon as it is told that it is there. Each
// side prints one line of JSON with times on the machine's steady clock, so that two processes can
// be compared; run.py starts both and judges. All bytes that arrived are compared, outside of the
// timed part, also those of a hand-over that broke off.
#include <godbox/connect.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace godbox;
using striping::Client;
using striping::LayeredItem;
using striping::LayeredPut;
using striping::Lookup;

struct Options {
  std::string address;
  std::string prefix = "prefill";
  std::uint32_t layers = 80;
  std::uint32_t blocks = 4;
  std::uint64_t layer_bytes = std::uint64_t{2} << 20U;  // 512 tokens of Llama-3.1-70B
  double layer_ms = 0;      // what the model computes before a layer is there
  std::uint32_t depth = 4;  // layers under way
  std::uint32_t wait_s = 60;
  std::uint32_t report = 0;  // consume: says when so many layers are there
};

std::uint64_t steady_ns() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

// The bytes of a layer: every word says where it belongs.
std::uint64_t word_of(std::uint32_t block, std::uint32_t layer, std::uint64_t at) {
  return (((std::uint64_t{block} << 16U) + layer) << 32U | at) * 0x9E3779B97F4A7C15U;
}

// All layers of all blocks, each in a place of its own.
class Memory {
 public:
  explicit Memory(const Options& options) : options_(options), words_(total_words(options)) {}

  void fill() {
    for (std::uint32_t layer = 0; layer < options_.layers; ++layer) {
      for_each_word_of(layer, [](std::uint64_t& word, std::uint64_t expected) { word = expected; });
    }
  }
  // Not what fill() leaves, and every page touched before the clock starts.
  void spoil() { std::memset(words_.data(), 0xA5, words_.size() * sizeof(words_[0])); }
  [[nodiscard]] std::uint64_t count_wrong(std::uint32_t layer) {
    std::uint64_t wrong = 0;
    for_each_word_of(layer, [&wrong](const std::uint64_t& word, std::uint64_t expected) {
      wrong += word == expected ? 0 : sizeof(word);
    });
    return wrong;
  }
  // The pieces of a layer, one per block.
  [[nodiscard]] std::vector<LocalSegment> layer(std::uint32_t layer) {
    std::vector<LocalSegment> pieces;
    for (std::uint32_t block = 0; block < options_.blocks; ++block) {
      pieces.push_back({reinterpret_cast<std::byte*>(place(block, layer)), options_.layer_bytes});
    }
    return pieces;
  }

 private:
  static std::uint64_t total_words(const Options& options) {
    return std::uint64_t{options.blocks} * options.layers * options.layer_bytes / 8;
  }
  [[nodiscard]] std::uint64_t* place(std::uint32_t block, std::uint32_t layer) {
    const std::uint64_t index = std::uint64_t{layer} * options_.blocks + block;
    return words_.data() + index * (options_.layer_bytes / 8);
  }
  template <class Visit>
  void for_each_word_of(std::uint32_t layer, Visit&& visit) {
    for (std::uint32_t block = 0; block < options_.blocks; ++block) {
      std::uint64_t* const words = place(block, layer);
      for (std::uint64_t at = 0; at < options_.layer_bytes / 8; ++at) {
        visit(words[at], word_of(block, layer, at));
      }
    }
  }

  const Options options_;
  std::vector<std::uint64_t> words_;
};

std::vector<std::span<const LocalSegment>> spans_of(const std::vector<LocalSegment>& pieces) {
  std::vector<std::span<const LocalSegment>> spans;
  spans.reserve(pieces.size());
  for (const LocalSegment& piece : pieces) {
    spans.emplace_back(&piece, 1);
  }
  return spans;
}

std::vector<std::string> names_of(const Options& options) {
  std::vector<std::string> names;
  for (std::uint32_t block = 0; block < options.blocks; ++block) {
    names.push_back(fmt::format("{}/{}", options.prefix, block));
  }
  return names;
}

Errc first_failure(std::span<const Errc> statuses) {
  const auto found = std::find_if(statuses.begin(), statuses.end(),
                                  [](Errc status) { return status != Errc::ok; });
  return found == statuses.end() ? Errc::ok : *found;
}

int fail(std::string_view what, Errc status) {
  fmt::print(stderr, "perf_handover: {}: {}\n", what, to_string(status));
  return 1;
}

int produce(Client& client, const Options& options) {
  Memory memory(options);
  memory.fill();
  const std::vector<std::string> names = names_of(options);
  std::vector<LayeredItem> items;
  items.reserve(names.size());
  for (const std::string& name : names) {
    items.push_back(
        {.name = name, .layer_size = SizeBytes(options.layer_bytes), .layers = options.layers});
  }
  // The pool's memory may have to be backed first, which would hide how far the consumer is behind:
  // the clock starts with the first layer.
  const std::uint64_t reserving = steady_ns();
  const Result<LayeredPut> put = client.begin_layers(items);
  const std::uint64_t begun = steady_ns();
  if (!put || first_failure(put->statuses()) != Errc::ok) {
    return fail("reserve", put ? first_failure(put->statuses()) : put.error().code);
  }
  Errc status = Errc::ok;
  std::uint32_t under_way = 0;
  for (std::uint32_t layer = 0; layer < options.layers && status == Errc::ok; ++layer) {
    const auto ready = std::chrono::steady_clock::now() +
                       std::chrono::duration<double, std::milli>(options.layer_ms);
    while (std::chrono::steady_clock::now() < ready) {
      client.progress(TimePoint());
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    const std::vector<LocalSegment> pieces = memory.layer(layer);
    ++under_way;
    client.submit_put_layer(*put, layer, spans_of(pieces),
                            [&under_way, &status](std::span<const Errc> statuses) {
                              --under_way;
                              status = status == Errc::ok ? first_failure(statuses) : status;
                            });
    while (under_way >= options.depth) {
      client.progress(kNever);
    }
  }
  while (under_way > 0) {
    client.progress(kNever);
  }
  if (status != Errc::ok) {
    return fail("put", status);
  }
  fmt::print("{{\"reserving_ns\": {}, \"begun_ns\": {}, \"ended_ns\": {}}}\n", reserving, begun,
             steady_ns());
  return 0;
}

// Waits for one layer after the other, and gets each while it waits for the next. Reads overlap, so
// a layer counts as delivered once it and all before it are there, as a model takes them; those
// that were there only after a later one are counted.
class Consumer {
 public:
  Consumer(Client& client, const Options& options)
      : client_(client), options_(options), memory_(options), names_(names_of(options)) {
    views_.assign(names_.begin(), names_.end());
    is_there_.resize(options_.layers);
    memory_.spoil();
  }

  int run() {
    fmt::print("{{\"ready\": true}}\n");
    std::fflush(stdout);
    ask(0);
    while (status_ == Errc::ok && delivered_ < options_.layers) {
      client_.progress(kNever);
    }
    const std::uint64_t ended = steady_ns();
    std::uint64_t bytes = 0;
    std::uint64_t wrong_bytes = 0;
    for (std::uint32_t layer = 0; layer < options_.layers; ++layer) {
      if (is_there_[layer]) {
        bytes += options_.blocks * options_.layer_bytes;
        wrong_bytes += memory_.count_wrong(layer);
      }
    }
    fmt::print(
        "{{\"status\": \"{}\", \"first_layer_ns\": {}, \"ended_ns\": {}, \"layers\": {}, "
        "\"layers_out_of_order\": {}, \"bytes\": {}, \"wrong_bytes\": {}}}\n",
        to_string(status_), first_layer_ns_, ended, delivered_, layers_out_of_order_, bytes,
        bytes > 0 ? fmt::to_string(wrong_bytes) : "null");
    return status_ == Errc::ok ? 0 : 2;
  }

 private:
  void ask(std::uint32_t layer) {
    client_.submit_wait(views_, layer, std::chrono::seconds(options_.wait_s),
                        [this, layer](Result<Lookup> found) { on_told(layer, std::move(found)); });
  }

  void on_told(std::uint32_t layer, Result<Lookup> found) {
    if (!found) {
      status_ = found.error().code;
      return;
    }
    std::uint32_t ready = options_.layers;
    for (const striping::FoundObject& object : found->objects) {
      if (object.status != Errc::ok && object.status != Errc::present_unleased) {
        status_ = object.status;
        return;
      }
      ready = std::min<std::uint32_t>(ready, object.layers_ready);
    }
    // What is there already needs no wait of its own.
    for (; layer < ready; ++layer) {
      get(*found, layer);
    }
    if (ready < options_.layers) {
      ask(ready);
    }
  }

  void get(const Lookup& found, std::uint32_t layer) {
    const std::vector<LocalSegment> pieces = memory_.layer(layer);
    client_.submit_get_layer(found, layer, spans_of(pieces),
                             [this, layer](std::span<const Errc> statuses) {
                               const Errc status = first_failure(statuses);
                               status_ = status_ == Errc::ok ? status : status_;
                               if (status == Errc::ok) {
                                 arrive(layer);
                               }
                             });
  }

  void arrive(std::uint32_t layer) {
    is_there_[layer] = true;
    layers_out_of_order_ += layer < arrived_end_ ? 1 : 0;
    arrived_end_ = std::max(arrived_end_, layer + 1);
    for (; delivered_ < options_.layers && is_there_[delivered_]; ++delivered_) {
      if (delivered_ == 0) {
        first_layer_ns_ = steady_ns();
      }
      if (delivered_ + 1 == options_.report) {
        fmt::print("{{\"delivered\": {}}}\n", options_.report);
        std::fflush(stdout);
      }
    }
  }

  Client& client_;
  const Options& options_;
  Memory memory_;
  std::vector<std::string> names_;
  std::vector<std::string_view> views_;
  std::vector<bool> is_there_;
  std::uint32_t delivered_ = 0;
  std::uint32_t arrived_end_ = 0;  // behind the last layer of those that are there
  std::uint32_t layers_out_of_order_ = 0;
  std::uint64_t first_layer_ns_ = 0;
  Errc status_ = Errc::ok;
};

void add_side(CLI::App& program, Options& options, std::string_view name) {
  CLI::App* const side = program.add_subcommand(std::string(name));
  side->add_option("--connect", options.address, "As godbox::connect takes it")->required();
  side->add_option("--prefix", options.prefix, "Of the blocks' names");
  side->add_option("--layers", options.layers)->check(CLI::Range(1, 4095));
  side->add_option("--blocks", options.blocks)->check(CLI::Range(1, 4096));
  side->add_option("--layer-bytes", options.layer_bytes, "A multiple of 8")
      ->check(CLI::Range(8, 1 << 30));
  side->add_option("--layer-ms", options.layer_ms, "produce: computed before each layer");
  side->add_option("--depth", options.depth, "produce: layers under way")
      ->check(CLI::Range(1, 1024));
  side->add_option("--report", options.report, "consume: say when so many layers are there");
  side->add_option("--wait-s", options.wait_s, "consume: for a layer at most");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App program("One side of the hand-over of a prefill, layer by layer");
  program.require_subcommand(1);
  Options options;
  add_side(program, options, "produce");
  add_side(program, options, "consume");
  CLI11_PARSE(program, argc, argv);
  if (options.layer_bytes % 8 != 0) {
    fmt::print(stderr, "perf_handover: --layer-bytes: {} is no multiple of 8\n",
               options.layer_bytes);
    return 1;
  }
  const auto connection = connect(options.address);
  if (!connection) {
    fmt::print(stderr, "perf_handover: {}\n", connection.error().message());
    return 1;
  }
  Client& client = (*connection)->client();
  if (program.got_subcommand("produce")) {
    return produce(client, options);
  }
  return Consumer(client, options).run();
}
