// SPDX-License-Identifier: Apache-2.0
//
// Operations on regions of remote memory: allocate, write and read pieces anywhere, free.
#include "world.h"

#include <algorithm>

namespace godbox::sim {

namespace {

constexpr std::size_t kRegionsPerClientMax = 3;
constexpr std::uint64_t kRegionBytesMax = 200'000;
constexpr std::size_t kPiecesMax = 5;

struct RegionCall {
  std::shared_ptr<Operation> operation;
  std::shared_ptr<LiveRegion> live;
  std::uint64_t in_model = 0;
  std::vector<std::unique_ptr<ScatteredBuffer>> buffers;
  std::vector<striping::RegionPiece> pieces;
};

// Memory that another tenant used has been scrubbed before it is handed on. A tag comes up by
// chance once in 256 words.
void look_for_others(World& world, Actor& actor, const striping::Region& region) {
  constexpr std::size_t kWordsMin = 64;
  std::vector<std::byte> bytes(region.size.count());
  const striping::RegionPiece piece{RegionOffset(0), {bytes.data(), bytes.size()}};
  const Errc status = world.drive(actor, "first read", [&] {
    return actor.client->read(region, {&piece, 1});
  });
  if (status != Errc::ok) {
    return;  // faults are judged where the workload reads
  }
  for (std::size_t tenant = 0; tenant < world.shape.tenants; ++tenant) {
    const TaggedWords words = count_tagged(bytes, Actor::tag_of(tenant));
    if (tenant != actor.tenant && words.nonzero >= kWordsMin && words.tagged > words.nonzero / 8) {
      world.fail(fmt::format("a new region of {} bytes shows {} words of another tenant",
                             bytes.size(), words.tagged));
    }
    world.saw("words of the same tenant in new regions", tenant == actor.tenant ? words.tagged : 0);
  }
}

void allocate(World& world, Actor& actor) {
  const SizeBytes size(world.dice.one_in(4) ? world.dice.between(1, 300)
                                            : world.dice.between(1, kRegionBytesMax));
  auto made = world.drive(actor, "allocate", [&] { return actor.client->allocate(size); });
  const Errc status = made ? Errc::ok : made.error().code;
  world.answered("allocate", status);
  world.logf("client {} allocate {} bytes: {} {:#x}", actor.index, size.count(), to_string(status),
             made ? made->key.value() : 0);
  if (made) {
    if (made->size != size) {
      world.fail("allocate gave a region of another size");
    }
    actor.regions.push_back(std::make_shared<LiveRegion>(std::move(*made)));
    if (world.shape.tenants > 1 && world.dice.one_in(2)) {
      look_for_others(world, actor, actor.regions.back()->region);
    }
  } else if (status != Errc::pool_full && status != Errc::backing_full &&
             !may_answer_control(world, status)) {
    world.fail("allocate: " + made.error().message());
  }
}

void free_region(World& world, Actor& actor, std::size_t which) {
  const std::shared_ptr<LiveRegion> live = actor.regions[which];
  if (live->operations > 0) {
    return;
  }
  actor.regions.erase(actor.regions.begin() + static_cast<std::ptrdiff_t>(which));
  const auto freed = world.drive(actor, "free", [&] { return actor.client->free(live->region); });
  const Errc status = freed ? Errc::ok : freed.error().code;
  world.answered("free", status);
  world.logf("client {} free: {}", actor.index, to_string(status));
  if (!freed && !may_answer_control(world, status)) {
    world.fail("free: " + freed.error().message());
  }
}

// Pieces that do not overlap each other, in any order.
std::vector<RegionModel::Piece> draw_pieces(World& world, std::uint64_t size) {
  const std::size_t cuts_wanted =
      std::min<std::size_t>(2 * world.dice.between(1, kPiecesMax), size);
  std::set<std::uint64_t> cuts;
  while (cuts.size() < cuts_wanted) {
    cuts.insert(world.dice.below(size + 1));
  }
  const std::vector<std::uint64_t> at(cuts.begin(), cuts.end());
  std::vector<RegionModel::Piece> pieces;
  for (std::size_t i = 0; i + 1 < at.size(); i += world.dice.between(1, 2)) {
    RegionModel::Piece piece;
    piece.offset = at[i];
    piece.bytes.resize(at[i + 1] - at[i]);
    pieces.insert(pieces.begin() + static_cast<std::ptrdiff_t>(world.dice.below(pieces.size() + 1)),
                  std::move(piece));
  }
  if (pieces.empty()) {
    pieces.push_back({0, std::vector<std::byte>(size)});
  }
  return pieces;
}

void finish(World& world, RegionCall& call, WorkOp op, Errc status) {
  --call.live->operations;
  if (!world.end_operation(*call.operation)) {
    return;
  }
  world.answered(call.operation->kind, status);
  world.logf("  {} #{}: {}", call.operation->kind, call.operation->id, to_string(status));
  if (status != Errc::ok && status != Errc::key_revoked && !may_answer_control(world, status)) {
    world.fail(fmt::format("{} answered {}", call.operation->kind, to_string(status)));
  }
  if (status == Errc::key_revoked && !world.is_disturbed()) {
    world.fail("the key of a region died although its session lives");
  }
  if (op == WorkOp::write) {
    call.live->model.end_write(call.in_model, status);
  } else {
    std::vector<std::vector<std::byte>> bytes;
    for (const std::unique_ptr<ScatteredBuffer>& buffer : call.buffers) {
      bytes.push_back(buffer->gather());
    }
    const std::uint64_t before = call.live->model.bytes_compared();
    world.check(call.live->model.end_read(call.in_model, status, bytes));
    world.saw("region bytes compared", call.live->model.bytes_compared() - before);
  }
  for (std::unique_ptr<ScatteredBuffer>& buffer : call.buffers) {
    world.retire(std::move(buffer), *call.operation);
  }
}

void submit_access(World& world, Actor& actor, const std::shared_ptr<LiveRegion>& live, WorkOp op) {
  auto call = std::make_shared<RegionCall>();
  call->operation =
      world.begin_operation(actor, op == WorkOp::write ? "region write" : "region read");
  call->live = live;
  ++live->operations;
  std::vector<RegionModel::Piece> pieces = draw_pieces(world, live->region.size.count());
  for (RegionModel::Piece& piece : pieces) {
    // One piece of the region is one piece of local memory.
    auto buffer = std::make_unique<ScatteredBuffer>(piece.bytes.size(), 1, world.dice);
    if (op == WorkOp::write) {
      fill_content(piece.bytes, tagged_seed(world.dice.next(), actor.tag()));
      buffer->copy_from(piece.bytes);
    }
    call->pieces.push_back({RegionOffset(piece.offset), buffer->segments().front()});
    call->buffers.push_back(std::move(buffer));
  }
  std::string places;
  for (const RegionModel::Piece& piece : pieces) {
    places += fmt::format(" {}+{}", piece.offset, piece.bytes.size());
  }
  world.logf("client {} {} #{} of region {:#x}:{}", actor.index, call->operation->kind,
             call->operation->id, live->region.key.value(), places);
  call->in_model = op == WorkOp::write ? live->model.begin_write(std::move(pieces))
                                       : live->model.begin_read(std::move(pieces));
  actor.client->submit_region(op, live->region, call->pieces, [&world, call, op](Errc status) {
    finish(world, *call, op, status);
  });
}

}  // namespace

void submit_region(World& world, Actor& actor) {
  if (actor.regions.empty() ||
      (actor.regions.size() < kRegionsPerClientMax && world.dice.one_in(8))) {
    return allocate(world, actor);
  }
  const std::size_t which = world.dice.below(actor.regions.size());
  if (world.dice.one_in(12)) {
    return free_region(world, actor, which);
  }
  submit_access(world, actor, actor.regions[which],
                world.dice.one_in(2) ? WorkOp::write : WorkOp::read);
}

}  // namespace godbox::sim
