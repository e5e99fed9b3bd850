// SPDX-License-Identifier: Apache-2.0
#include "decoder.h"

#include <algorithm>
#include <cmath>

namespace godbox::inference {
namespace {

constexpr std::uint32_t kBlockTokens = PagedCache::kBlockTokens;

float dot(const float* a, const float* b, std::size_t size) {
  float sum = 0;
  for (std::size_t i = 0; i < size; ++i) {
    sum += a[i] * b[i];
  }
  return sum;
}

void normalise(std::span<const float> in, float epsilon, std::span<float> out) {
  const float mean = dot(in.data(), in.data(), in.size()) / static_cast<float>(in.size());
  const float scale = 1.0F / std::sqrt(mean + epsilon);
  for (std::size_t i = 0; i < in.size(); ++i) {
    out[i] = in[i] * scale;
  }
}

void add(std::span<const float> what, std::span<float> to) {
  for (std::size_t i = 0; i < to.size(); ++i) {
    to[i] += what[i];
  }
}

void softmax(std::span<float> scores) {
  const float largest = *std::max_element(scores.begin(), scores.end());
  float sum = 0;
  for (float& score : scores) {
    score = std::exp(score - largest);
    sum += score;
  }
  for (float& score : scores) {
    score /= sum;
  }
}

// Tokens of the block that are among the first `tokens` of the sequence.
std::uint32_t tokens_in(std::size_t block, std::uint32_t tokens) {
  return std::min(kBlockTokens, tokens - static_cast<std::uint32_t>(block) * kBlockTokens);
}

}  // namespace

Decoder::Decoder(const Weights& weights) : weights_(weights) {
  const Geometry& g = weights.geometry;
  const std::size_t kv = std::size_t{g.kv_heads} * g.head_dim;
  for (std::vector<float>* const one : {&x_, &normed_, &added_}) {
    one->resize(g.hidden);
  }
  query_.resize(std::size_t{g.heads} * g.head_dim);
  seen_.resize(query_.size());
  key_.resize(kv);
  value_.resize(kv);
  gate_.resize(g.intermediate);
  up_.resize(g.intermediate);
  logits_.resize(g.vocabulary);
  cosines_.resize(g.head_dim / 2);
  sines_.resize(g.head_dim / 2);
}

void Decoder::compute(std::uint32_t token, std::uint32_t position, const CachedSequence& sequence,
                      const BeforeLayer& before_layer) {
  for (std::size_t i = 0; i < x_.size(); ++i) {
    x_[i] = weights_.embedding.at(token, i);
  }
  turn_to(position);
  for (std::uint32_t layer = 0; layer < weights_.geometry.layers; ++layer) {
    if (before_layer) {
      before_layer(layer);
    }
    attend(layer, position, sequence);
    feed_forward(weights_.layers[layer]);
  }
}

std::span<const float> Decoder::logits() {
  normalise(x_, weights_.geometry.rms_epsilon, normed_);
  weights_.head.multiply(normed_, logits_);
  return logits_;
}

void Decoder::turn_to(std::uint32_t position) {
  const Geometry& g = weights_.geometry;
  for (std::size_t i = 0; i < cosines_.size(); ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / g.head_dim;
    const double angle = position * std::pow(static_cast<double>(g.rope_theta), exponent);
    cosines_[i] = static_cast<float>(std::cos(angle));
    sines_[i] = static_cast<float>(std::sin(angle));
  }
}

void Decoder::rotate(std::span<float> heads) const {
  const std::size_t half = cosines_.size();
  for (std::size_t head = 0; head < heads.size(); head += 2 * half) {
    for (std::size_t i = 0; i < half; ++i) {
      const float first = heads[head + i];
      const float second = heads[head + half + i];
      heads[head + i] = first * cosines_[i] - second * sines_[i];
      heads[head + half + i] = second * cosines_[i] + first * sines_[i];
    }
  }
}

void Decoder::attend(std::uint32_t layer, std::uint32_t position, const CachedSequence& sequence) {
  const LayerWeights& weights = weights_.layers[layer];
  normalise(x_, weights_.geometry.rms_epsilon, normed_);
  weights.query.multiply(normed_, query_);
  weights.key.multiply(normed_, key_);
  weights.value.multiply(normed_, value_);
  rotate(query_);
  rotate(key_);
  const std::uint32_t block = sequence.blocks[position / kBlockTokens];
  sequence.cache.write(Plane::keys, layer, block, position % kBlockTokens, key_);
  sequence.cache.write(Plane::values, layer, block, position % kBlockTokens, value_);
  const std::uint32_t tokens = position + 1;
  score(layer, tokens, sequence);
  for (std::uint32_t head = 0; head < weights_.geometry.heads; ++head) {
    softmax(std::span(scores_).subspan(std::size_t{head} * tokens, tokens));
  }
  gather(layer, tokens, sequence);
  weights.attention_out.multiply(seen_, added_);
  add(added_, x_);
}

void Decoder::score(std::uint32_t layer, std::uint32_t tokens, const CachedSequence& sequence) {
  const Geometry& g = weights_.geometry;
  const float scale = 1.0F / std::sqrt(static_cast<float>(g.head_dim));
  scores_.resize(std::size_t{g.heads} * tokens);
  for (std::size_t block = 0; block * kBlockTokens < tokens; ++block) {
    const std::uint32_t count = tokens_in(block, tokens);
    sequence.cache.read(Plane::keys, layer, sequence.blocks[block], count, page_);
    for (std::uint32_t head = 0; head < g.heads; ++head) {
      const std::size_t kv_head = head / (g.heads / g.kv_heads);
      const float* const query = query_.data() + std::size_t{head} * g.head_dim;
      float* const scores = scores_.data() + std::size_t{head} * tokens + block * kBlockTokens;
      for (std::size_t token = 0; token < count; ++token) {
        const float* const key = page_.data() + (token * g.kv_heads + kv_head) * g.head_dim;
        scores[token] = scale * dot(query, key, g.head_dim);
      }
    }
  }
}

void Decoder::gather(std::uint32_t layer, std::uint32_t tokens, const CachedSequence& sequence) {
  const Geometry& g = weights_.geometry;
  std::fill(seen_.begin(), seen_.end(), 0.0F);
  for (std::size_t block = 0; block * kBlockTokens < tokens; ++block) {
    const std::uint32_t count = tokens_in(block, tokens);
    sequence.cache.read(Plane::values, layer, sequence.blocks[block], count, page_);
    for (std::uint32_t head = 0; head < g.heads; ++head) {
      const std::size_t kv_head = head / (g.heads / g.kv_heads);
      const float* const weights =
          scores_.data() + std::size_t{head} * tokens + block * kBlockTokens;
      float* const seen = seen_.data() + std::size_t{head} * g.head_dim;
      for (std::size_t token = 0; token < count; ++token) {
        const float* const value = page_.data() + (token * g.kv_heads + kv_head) * g.head_dim;
        for (std::size_t i = 0; i < g.head_dim; ++i) {
          seen[i] += weights[token] * value[i];
        }
      }
    }
  }
}

void Decoder::feed_forward(const LayerWeights& layer) {
  normalise(x_, weights_.geometry.rms_epsilon, normed_);
  layer.gate.multiply(normed_, gate_);
  layer.up.multiply(normed_, up_);
  for (std::size_t i = 0; i < gate_.size(); ++i) {
    gate_[i] = gate_[i] / (1.0F + std::exp(-gate_[i])) * up_[i];
  }
  layer.down.multiply(gate_, added_);
  add(added_, x_);
}

}  // namespace godbox::inference
