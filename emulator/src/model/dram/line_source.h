// SPDX-License-Identifier: Apache-2.0
//
// The lines of a DramLoad, one after the other. Thread-safety: none. Errors: none.
#pragma once

#include "model/seeded_random.h"
#include <godbox/emulator/model/dram_run.h>

#include <algorithm>
#include <vector>

namespace godbox::emulator::model {

class LineSource {
 public:
  static constexpr std::uint32_t kStreamsMax = 4096;
  struct Line {
    std::uint64_t number = 0;
    bool is_write = false;
  };

  LineSource(const DramLoad& load, std::uint64_t line_count)
      : random_(load.seed),
        lines_(load.footprint.is_zero() ? line_count
                                        : std::min(line_count, load.footprint / kLine)),
        stride_(load.stride / kLine),
        run_lines_(load.run.is_zero() ? 0 : std::max<std::uint64_t>(load.run / kLine, 1)),
        read_share_(load.read_share),
        separate_writes_(load.separate_writes),
        streams_(load.streams) {
    for (std::size_t i = 0; i < streams_.size(); ++i) {
      streams_[i].position = run_lines_ == 0 ? i * (lines_ / streams_.size()) : 0;
      // The first streams read and the last ones write, as many as come nearest to the share.
      streams_[i].is_write =
          static_cast<double>(i) + 0.5 > read_share_ * static_cast<double>(streams_.size());
    }
  }

  [[nodiscard]] SeededRandom& random() { return random_; }

  Line next() {
    Stream& stream = streams_[turn_];
    turn_ = turn_ + 1 == streams_.size() ? 0 : turn_ + 1;
    if (run_lines_ != 0) {
      if (stream.left == 0) {
        stream.left = run_lines_;
        stream.position = random_.below(lines_);
      }
      --stream.left;
    }
    const Line line{
        .number = stream.position,
        .is_write = separate_writes_ ? stream.is_write : random_.uniform() >= read_share_};
    stream.position += stride_;
    if (stream.position >= lines_) {
      // A stride that does not divide the footprint goes on beside what it has been to.
      stream.position = (stream.position - lines_ + (stride_ > 1 ? 1 : 0)) % lines_;
    }
    return line;
  }

 private:
  struct Stream {
    std::uint64_t position = 0;
    std::uint64_t left = 0;
    bool is_write = false;
  };

  SeededRandom random_;
  std::uint64_t lines_;
  std::uint64_t stride_;
  std::uint64_t run_lines_;
  double read_share_;
  bool separate_writes_;
  std::size_t turn_ = 0;
  std::vector<Stream> streams_;
};

}  // namespace godbox::emulator::model
