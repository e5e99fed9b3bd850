// SPDX-License-Identifier: Apache-2.0
#include "pool/answer_log.h"

#include <algorithm>

namespace godbox::emulator {

void AnswerLog::add(std::uint64_t request_id, Errc status, ConstSpan body,
                    std::size_t answers_max) {
  const auto same =
      std::find_if(entries_.begin(), entries_.end(),
                   [request_id](const Entry& entry) { return entry.request_id == request_id; });
  if (same != entries_.end()) {
    drop(*same);
    entries_.erase(same);
  }
  while (!entries_.empty() && entries_.size() >= answers_max) {
    drop(entries_.front());
    entries_.pop_front();
  }
  Entry entry{request_id, {}};
  if (body.size() <= kBytesMax) {
    // The oldest are those whose answers have most likely been heard.
    for (auto oldest = entries_.begin(); bytes_ + body.size() > kBytesMax; ++oldest) {
      drop(*oldest);
    }
    bytes_ += body.size();
    entry.answer = KeptAnswer{status, {body.begin(), body.end()}};
  }
  entries_.push_back(std::move(entry));
}

bool AnswerLog::find(std::uint64_t request_id, std::optional<KeptAnswer>& answer) const {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(),
                   [request_id](const Entry& entry) { return entry.request_id == request_id; });
  if (found == entries_.end()) {
    return false;
  }
  answer = found->answer;
  return true;
}

void AnswerLog::drop(Entry& entry) {
  bytes_ -= entry.answer ? entry.answer->body.size() : 0;
  entry.answer.reset();
}

}  // namespace godbox::emulator
