// SPDX-License-Identifier: Apache-2.0
#include "replay/generator.h"

#include "replay/shapes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <queue>
#include <random>
#include <span>
#include <utility>

namespace godbox::app {
namespace {

// A quantile: this share of the values is at most so large.
struct Quantile {
  double share;
  double value;
};

// Between two quantiles, values are spread evenly on a logarithmic scale.
double value_at(std::span<const Quantile> table, double share) {
  for (std::size_t i = 1; i < table.size(); ++i) {
    const Quantile& low = table[i - 1];
    const Quantile& high = table[i];
    if (share <= high.share) {
      const double part = (share - low.share) / (high.share - low.share);
      return low.value * std::pow(high.value / low.value, part);
    }
  }
  return table.back().value;
}

// Like std's distributions, but the same everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  double uniform() { return static_cast<double>(engine_() >> 11U) * 0x1p-53; }  // [0, 1)
  double exponential(double mean) { return -mean * std::log1p(-uniform()); }
  std::size_t below(std::size_t count) {
    return static_cast<std::size_t>(uniform() * static_cast<double>(count));
  }
  // One number of each of `count` equal parts of [0, 1), in any order: no seed gives a trace that
  // is far from the others.
  std::vector<double> spread(std::size_t count) {
    std::vector<double> numbers(count);
    for (std::size_t i = 0; i < count; ++i) {
      numbers[i] = (static_cast<double>(i) + uniform()) / static_cast<double>(count);
    }
    for (std::size_t i = count; i > 1; --i) {
      std::swap(numbers[i - 1], numbers[below(i)]);
    }
    return numbers;
  }

 private:
  std::mt19937_64 engine_;
};

// Gives blocks numbers that none had before.
class Blocks {
 public:
  void append_new(std::vector<std::uint64_t>& blocks, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      blocks.push_back(next_++);
    }
  }

 private:
  std::uint64_t next_ = 0;
};

// What a normal distribution is below with this probability: its inverse, by halving.
double normal_at(double share) {
  double low = -8;
  double high = 8;
  for (int i = 0; i < 50; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle / std::numbers::sqrt2) / 2 < share ? low : high) = middle;
  }
  return low;
}
double log_normal_at(double share, double median, double sigma) {
  return median * std::exp(sigma * normal_at(share));
}

std::size_t whole(double value, std::size_t least) {
  return std::max(static_cast<std::size_t>(std::llround(std::max(value, 0.0))), least);
}

// A prompt fills its last block to some part.
std::uint32_t tokens_of(std::size_t blocks, Random& random) {
  const double tokens = (static_cast<double>(blocks) - random.uniform()) * kTraceBlockTokens;
  return static_cast<std::uint32_t>(std::max(tokens, 1.0));
}

std::chrono::milliseconds at_tick(double seconds, double tick_s) {
  return std::chrono::milliseconds(
      static_cast<std::int64_t>(std::floor(seconds / tick_s) * tick_s * 1000));
}

// A made-up trace's requests come in an order that chats and documents give, at times that nothing
// but chance gives: theirs alone would come in bunches that the published traces do not have.
// `place(share)`: where in the trace [0, 1) that share of its requests has come.
template <class Place>
void set_times(Trace& trace, Random& random, double seconds, double tick_s, Place&& place) {
  std::vector<double> shares(trace.size());
  for (double& share : shares) {
    share = random.uniform();
  }
  std::sort(shares.begin(), shares.end());
  for (std::size_t i = 0; i < trace.size(); ++i) {
    trace[i].at = at_tick(seconds * place(shares[i]), tick_s);
  }
}

constexpr Quantile kOutputTokens[] = {{0, 1},       {0.05, 10},  {0.1, 24},  {0.25, 156},
                                      {0.5, 350},   {0.75, 472}, {0.9, 597}, {0.95, 698},
                                      {0.99, 1120}, {1, 2000}};

namespace conversation {

constexpr double kSeconds = 3537;
constexpr double kTick = 3;  // the published times are that coarse
constexpr std::size_t kRequests = 12031;
constexpr std::size_t kFirstTurns = 7373;
constexpr double kRise = 0.36;        // more first turns at the end than at the begin
constexpr double kRiseOfAll = 0.315;  // so that 5,606 requests come in the first half
constexpr double kFollowed = 0.423;   // of all turns
constexpr double kRewritten = 0.13;   // of the turns that follow: somewhere in the prompt
constexpr std::size_t kBlocksMax = 247;
constexpr Quantile kFirstTokens[] = {{0, 890},        {0.1, 905},   {0.25, 1400},  {0.5, 5400},
                                     {0.75, 12700},   {0.9, 23800}, {0.95, 35500}, {0.99, 82000},
                                     {0.997, 110000}, {1, 126195}};
constexpr Quantile kPauseSeconds[] = {{0, 13},      {0.05, 34},  {0.1, 47},  {0.25, 74},
                                      {0.5, 138},   {0.75, 315}, {0.9, 640}, {0.95, 850},
                                      {0.99, 1600}, {1, 3030}};
constexpr Quantile kAddedBlocks[] = {{0, 0.6},  {0.1, 1},   {0.25, 1.6}, {0.5, 2.4},  {0.75, 7},
                                     {0.9, 20}, {0.95, 29}, {0.99, 53},  {0.998, 90}, {1, 186}};

struct Turn {
  double at_s = 0;
  std::uint64_t order = 0;            // of equal times
  double length = 0;                  // share of the first turns that are shorter
  std::vector<std::uint64_t> before;  // the prompt of the turn that it follows
};
struct Later {
  bool operator()(const Turn& a, const Turn& b) const {
    return std::pair(a.at_s, a.order) > std::pair(b.at_s, b.order);
  }
};

// The inverse of the share of requests up to a time, with a density that rises evenly, from begin
// to end by `rise` of what it begins with.
double place_of(double share, double rise) {
  const double half = rise / 2;
  return (std::sqrt(1 + 4 * half * (1 + half) * share) - 1) / (2 * half);
}

class Generator {
 public:
  explicit Generator(std::uint64_t seed)
      : random_(seed),
        pauses_(random_.spread(kRequests)),
        added_(random_.spread(kRequests)),
        followed_(random_.spread(kRequests)),
        rewritten_(random_.spread(kRequests)) {
    blocks_.append_new(system_prompt_, 1);
  }

  Trace run() {
    for (const double length : random_.spread(kFirstTurns)) {
      turns_.push({kSeconds * place_of(random_.uniform(), kRise), order_++, length, {}});
    }
    while (!turns_.empty() && trace_.size() < kRequests) {
      const Turn turn = turns_.top();
      turns_.pop();
      play(turn);
    }
    set_times(trace_, random_, kSeconds, kTick,
              [](double share) { return place_of(share, kRiseOfAll); });
    return std::move(trace_);
  }

 private:
  void play(const Turn& turn) {
    TraceRequest request;
    if (turn.before.empty()) {
      request.input_tokens = static_cast<std::uint32_t>(value_at(kFirstTokens, turn.length));
      request.blocks = system_prompt_;
      const std::size_t count = (request.input_tokens + kTraceBlockTokens - 1) / kTraceBlockTokens;
      blocks_.append_new(request.blocks, std::max<std::size_t>(count, 2) - 1);
    } else {
      // The last block was not full, so it is another one now.
      std::size_t kept = turn.before.size() - 1;
      if (rewritten_[follow_] < kRewritten) {
        kept = 1 + random_.below(kept);
      }
      request.blocks.assign(turn.before.begin(),
                            turn.before.begin() + static_cast<std::ptrdiff_t>(kept));
      const std::size_t more = whole(value_at(kAddedBlocks, added_[follow_]), 1);
      blocks_.append_new(request.blocks, std::min(more, kBlocksMax - kept));
      request.input_tokens = tokens_of(request.blocks.size(), random_);
      follow_ = (follow_ + 1) % kRequests;
    }
    request.output_tokens = static_cast<std::uint32_t>(value_at(kOutputTokens, random_.uniform()));
    const std::size_t index = trace_.size();
    if (followed_[index] < kFollowed) {
      const double next = turn.at_s + value_at(kPauseSeconds, pauses_[index]);
      if (next < kSeconds) {
        turns_.push({next, order_++, 0, request.blocks});
      }
    }
    trace_.push_back(std::move(request));
  }

  Random random_;
  Blocks blocks_;
  std::vector<std::uint64_t> system_prompt_;
  std::vector<double> pauses_;
  std::vector<double> added_;
  std::vector<double> followed_;
  std::vector<double> rewritten_;
  std::priority_queue<Turn, std::vector<Turn>, Later> turns_;
  std::uint64_t order_ = 0;
  std::size_t follow_ = 0;
  Trace trace_;
};

}  // namespace conversation

namespace synthetic {

constexpr double kSeconds = 1022;
constexpr std::size_t kRequests = 3993;
constexpr std::size_t kDocuments = 568;
constexpr double kPrefixHits = 78000;
constexpr double kDocumentMedian = 34.4;  // blocks
constexpr double kDocumentSigma = 0.655;
constexpr std::size_t kDocumentMax = 373;
constexpr double kQuestions = 4.27;  // about a document, on average
constexpr std::size_t kQuestionsMax = 60;
constexpr double kQuestionBlocks = 3.3;  // beside the document, on average, and at least 1
constexpr double kShortMedian = 4.1;     // blocks of a prompt without a document
constexpr double kShortSigma = 1.0;
// Seconds between two questions: asked right away, soon, or after other things.
struct Pause {
  double share;
  double median_s;
  double sigma;
};
constexpr Pause kPauses[] = {{0.1, 6, 0.5}, {0.21, 37, 0.45}, {0.69, 200, 1}};
constexpr int kTries = 20;

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {}

  Trace run() {
    for (const Document& document : draw_documents()) {
      ask_about(document);
    }
    for (const double length : random_.spread(kRequests - trace_.size())) {
      std::vector<std::uint64_t> prompt;
      blocks_.append_new(prompt, whole(log_normal_at(length, kShortMedian, kShortSigma), 1));
      add(kSeconds * random_.uniform(), std::move(prompt));
    }
    std::stable_sort(trace_.begin(), trace_.end(),
                     [](const auto& a, const auto& b) { return a.at < b.at; });
    set_times(trace_, random_, kSeconds, 0.001, [](double share) { return share; });
    return std::move(trace_);
  }

 private:
  struct Document {
    double blocks = 0;
    std::size_t questions = 0;
  };

  // A few long documents with many questions make much of the trace: all are made longer or shorter
  // by a little, so that those questions find as many blocks as in the published one.
  std::vector<Document> draw_documents() {
    std::vector<Document> documents;
    double hits = 0;
    const std::vector<double> shares = random_.spread(kDocuments);
    for (const double length : random_.spread(kDocuments)) {
      // A geometric distribution: after each question another one follows, or none does.
      const double count = 1 + std::log1p(-shares[documents.size()]) / std::log1p(-1 / kQuestions);
      documents.push_back({log_normal_at(length, kDocumentMedian, kDocumentSigma),
                           std::min(static_cast<std::size_t>(count), kQuestionsMax)});
      hits += documents.back().blocks * static_cast<double>(documents.back().questions - 1);
    }
    for (Document& document : documents) {
      document.blocks *= kPrefixHits / hits;
    }
    std::sort(documents.begin(), documents.end(),
              [](const Document& a, const Document& b) { return a.blocks > b.blocks; });
    return documents;
  }

  void ask_about(const Document& about) {
    const std::size_t questions = about.questions;
    std::vector<std::uint64_t> document;
    blocks_.append_new(document, std::min(whole(about.blocks, 2), kDocumentMax));
    const std::vector<double> pauses = draw_pauses(questions - 1);
    double length = 0;
    for (const double pause : pauses) {
      length += pause;
    }
    double at = random_.uniform() * std::max(kSeconds - length, 0.0);
    for (std::size_t i = 0; i < questions; ++i) {
      std::vector<std::uint64_t> prompt = document;
      blocks_.append_new(prompt,
                         1 + static_cast<std::size_t>(random_.exponential(kQuestionBlocks)));
      add(at, std::move(prompt));
      at += i < pauses.size() ? pauses[i] : 0;
    }
  }

  // By multiples of the golden ratio, which leave no gap: questions about documents of like length,
  // which come one after the other, get short and long pauses alike.
  double draw_pause() {
    pause_share_ = std::fmod(pause_share_ + 1 / std::numbers::phi, 1);
    double share = pause_share_;
    for (const Pause& kind : kPauses) {
      if (share < kind.share) {
        return log_normal_at(share / kind.share, kind.median_s, kind.sigma);
      }
      share -= kind.share;
    }
    return std::end(kPauses)[-1].median_s;  // what rounding left over
  }

  // All questions are asked within the trace.
  std::vector<double> draw_pauses(std::size_t count) {
    std::vector<double> pauses(count);
    double length = 0;
    for (int i = 0; i < kTries && (i == 0 || length > kSeconds * 0.97); ++i) {
      length = 0;
      for (double& pause : pauses) {
        pause = draw_pause();
        length += pause;
      }
    }
    if (length > kSeconds * 0.97) {
      for (double& pause : pauses) {
        pause *= kSeconds * 0.97 / length;
      }
    }
    return pauses;
  }

  void add(double at_s, std::vector<std::uint64_t> prompt) {
    if (trace_.size() == kRequests) {
      return;
    }
    TraceRequest request;
    request.at = at_tick(at_s, 0.001);
    request.input_tokens = tokens_of(prompt.size(), random_);
    request.output_tokens = static_cast<std::uint32_t>(
        std::max(1.0, value_at(kOutputTokens, random_.uniform()) * kOutputScale));
    request.blocks = std::move(prompt);
    trace_.push_back(std::move(request));
  }

  static constexpr double kOutputScale = 149.0 / 343;  // of the averages of the two traces
  Random random_;
  double pause_share_ = random_.uniform();
  Blocks blocks_;
  Trace trace_;
};

}  // namespace synthetic
}  // namespace

Result<TraceKind> parse_trace_kind(std::string_view name) {
  const auto* const found = std::find(kTraceKindNames.begin(), kTraceKindNames.end(), name);
  if (found == kTraceKindNames.end()) {
    return Error(Errc::invalid_argument, fmt::format("\"{}\" is no kind of trace; there are: {}",
                                                     name, fmt::join(kTraceKindNames, ", ")));
  }
  return static_cast<TraceKind>(found - kTraceKindNames.begin());
}

Trace generate_trace(TraceKind kind, std::uint64_t seed) {
  switch (kind) {
    case TraceKind::conversation:
      return conversation::Generator(seed).run();
    case TraceKind::synthetic:
      return synthetic::Generator(seed).run();
    case TraceKind::shared_turns:
      return shared_context_trace(ContextUse::turns, seed);
    case TraceKind::shared_requests:
      return shared_context_trace(ContextUse::requests, seed);
    case TraceKind::multi_turn:
      break;
  }
  return multi_turn_trace(seed);
}

Result<Trace> find_trace(const TraceChoice& choice) {
  if (choice.path.empty() == choice.generate.empty()) {
    return Error(Errc::invalid_argument, "give either a trace or --generate");
  }
  if (choice.generate.empty()) {
    return read_trace(choice.path, choice.requests);
  }
  const Result<TraceKind> kind = parse_trace_kind(choice.generate);
  if (!kind) {
    return Error(Errc::invalid_argument, "--generate: " + kind.error().detail);
  }
  Trace trace = generate_trace(*kind, choice.seed);
  if (choice.requests > 0 && choice.requests < trace.size()) {
    trace.resize(choice.requests);
  }
  return trace;
}

}  // namespace godbox::app
