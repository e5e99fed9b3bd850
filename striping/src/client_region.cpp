// SPDX-License-Identifier: Apache-2.0
//
// Reads and writes of remote memory regions: pieces that begin and end anywhere become the exact
// pool segments that hold them. Regions carry no CRC, because others write there too.
#include "client_core.h"

#include <algorithm>

namespace godbox::striping {

namespace {

class RegionOperation : public std::enable_shared_from_this<RegionOperation> {
 public:
  RegionOperation(ClientCore& core, WorkOp op, RKey key, const CallOptions& options,
                  std::function<void(Errc)> on_done)
      : core_(core), op_(op), key_(key), options_(options), on_done_(std::move(on_done)) {}

  void start(const Region& region, std::span<const RegionPiece> pieces) {
    const TimePoint deadline = core_.call_deadline();
    const Errc translated = translate(region, pieces);
    if (translated != Errc::ok || extents_.empty()) {
      core_.defer([self = shared_from_this(), translated] { self->finish(translated); });
      return;
    }
    core_.learn_slabs(
        extents_, deadline,
        [self = shared_from_this(), deadline](Errc status, std::shared_ptr<SlabHold> hold) {
          self->slabs_ = std::move(hold);
          self->move(status, deadline);
        });
  }

 private:
  Errc translate(const Region& region, std::span<const RegionPiece> pieces) {
    std::vector<std::uint64_t> begins;  // of each extent in the region, then the region's end
    std::uint64_t end = 0;
    for (const Extent& extent : region.extents) {
      begins.push_back(end);
      end += extent.length_bytes;
    }
    end = std::min(end, region.size.count());
    for (const RegionPiece& piece : pieces) {
      const std::uint64_t offset = piece.offset.count();
      if (offset > end || piece.local.size_bytes > end - offset) {
        return Errc::out_of_range;
      }
      if (piece.local.size_bytes > 0) {
        add(region, begins, offset, piece.local);
      }
    }
    return Errc::ok;
  }

  void add(const Region& region, std::span<const std::uint64_t> begins, std::uint64_t offset,
           const LocalSegment& local) {
    const auto behind = std::upper_bound(begins.begin(), begins.end(), offset);
    auto index = static_cast<std::size_t>(behind - begins.begin()) - 1;
    std::uint64_t left = local.size_bytes;
    while (left > 0) {
      const Extent& extent = region.extents[index];
      const std::uint64_t inside = offset - begins[index];
      const std::uint64_t take = std::min(left, extent.length_bytes - inside);
      if (take > 0) {
        extents_.push_back({.address = {.slab = extent.address.slab,
                                        .offset = extent.address.offset + SizeBytes(inside)},
                            .length_bytes = static_cast<std::uint32_t>(take)});
      }
      offset += take;
      left -= take;
      index += 1;
    }
    locals_.push_back(local);
  }

  void move(Errc slabs_known, TimePoint deadline) {
    if (slabs_known == Errc::ok && !core_.knows_slabs_of(extents_)) {
      slabs_known = Errc::key_revoked;  // the region is gone
    }
    if (slabs_known != Errc::ok) {
      core_.defer([self = shared_from_this(), slabs_known] { self->finish(slabs_known); });
      return;
    }
    transfer_ = {.op = op_, .key = key_, .extents = extents_, .local = locals_, .crc32c = {}};
    core_.run_batch({&transfer_, 1}, deadline, options_,
                    [self = shared_from_this()](std::span<const Errc> statuses) {
                      self->finish(statuses.front());
                    });
  }

  void finish(Errc status) {
    core_.end_operation();
    on_done_(status);
  }

  ClientCore& core_;
  const WorkOp op_;
  const RKey key_;
  const CallOptions options_;
  std::function<void(Errc)> on_done_;
  std::vector<Extent> extents_;
  std::vector<LocalSegment> locals_;
  Transfer transfer_;
  std::shared_ptr<SlabHold> slabs_;
};

}  // namespace

void start_region(ClientCore& core, WorkOp op, const Region& region,
                  std::span<const RegionPiece> pieces, const CallOptions& options,
                  std::function<void(Errc)> on_done) {
  if (!core.begin_operation()) {
    core.refuse_operation(std::move(on_done));
    return;
  }
  std::make_shared<RegionOperation>(core, op, region.key, options, std::move(on_done))
      ->start(region, pieces);
}

}  // namespace godbox::striping
