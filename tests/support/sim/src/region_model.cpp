// SPDX-License-Identifier: Apache-2.0
#include <godbox/sim/region_model.h>

#include <algorithm>

namespace godbox::sim {

RegionModel::RegionModel(SizeBytes size)
    : value_(size.count()),
      unsure_(size.count(), true),
      clash_(size.count(), false),
      writers_(size.count(), 0) {}

std::uint64_t RegionModel::begin_write(std::vector<Piece> pieces) {
  for (const Piece& piece : pieces) {
    for (std::size_t i = piece.offset; i < piece.offset + piece.bytes.size(); ++i) {
      clash_[i] = clash_[i] || writers_[i] > 0;
      ++writers_[i];
    }
    for (auto& [id, read] : reads_) {
      for (std::size_t p = 0; p < read.pieces.size(); ++p) {
        for (std::size_t i = 0; i < read.pieces[p].bytes.size(); ++i) {
          const std::uint64_t at = read.pieces[p].offset + i;
          if (at >= piece.offset && at < piece.offset + piece.bytes.size()) {
            read.certain[p][i] = false;
          }
        }
      }
    }
  }
  const std::uint64_t id = next_id_++;
  writes_.emplace(id, std::move(pieces));
  return id;
}

void RegionModel::end_write(std::uint64_t id, Errc status) {
  const std::vector<Piece> pieces = std::move(writes_.at(id));
  writes_.erase(id);
  for (const Piece& piece : pieces) {
    for (std::size_t i = 0; i < piece.bytes.size(); ++i) {
      const std::size_t at = piece.offset + i;
      --writers_[at];
      unsure_[at] = status != Errc::ok || clash_[at];
      value_[at] = piece.bytes[i];
      clash_[at] = clash_[at] && writers_[at] > 0;
    }
  }
}

std::uint64_t RegionModel::begin_read(std::vector<Piece> pieces) {
  Read read;
  for (const Piece& piece : pieces) {
    std::vector<bool> certain(piece.bytes.size());
    for (std::size_t i = 0; i < certain.size(); ++i) {
      certain[i] = !unsure_[piece.offset + i] && writers_[piece.offset + i] == 0;
    }
    read.certain.push_back(std::move(certain));
  }
  read.pieces = std::move(pieces);
  const std::uint64_t id = next_id_++;
  reads_.emplace(id, std::move(read));
  return id;
}

Violation RegionModel::end_read(std::uint64_t id, Errc status,
                                std::span<const std::vector<std::byte>> pieces) {
  const Read read = std::move(reads_.at(id));
  reads_.erase(id);
  if (status != Errc::ok) {
    return std::nullopt;
  }
  for (std::size_t p = 0; p < read.pieces.size(); ++p) {
    for (std::size_t i = 0; i < read.certain[p].size(); ++i) {
      const std::uint64_t at = read.pieces[p].offset + i;
      bytes_compared_ += read.certain[p][i] ? 1U : 0U;
      if (read.certain[p][i] && pieces[p][i] != value_[at]) {
        return "wrong byte at offset " + std::to_string(at) + " of a region of " +
               std::to_string(value_.size()) + " bytes";
      }
    }
  }
  return std::nullopt;
}

}  // namespace godbox::sim
