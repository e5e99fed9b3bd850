// SPDX-License-Identifier: Apache-2.0
//
// What godbox promises where hosts share memory without coherence (DESIGN section 5): what one host
// has written is what another reads. Each property runs godbox's own code on one host, over targets
// with a private cache; the other host is the shared memory itself. A property answers rather than
// checks, so that flushes and invalidates can be taken out, and the answer must turn bad.
#include <godbox/clock.h>
#include <godbox/emulator/pool_service.h>
#include <godbox/striping/local_transport.h>
#include <godbox_test/private_cache_target.h>
#include <godbox_test/seeded_random.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace godbox::test {
namespace {

constexpr std::size_t kChannels = 4;
constexpr SizeBytes kChannelSize = 2_MiB;
constexpr SizeBytes kBackingLimit = 8_MiB;
constexpr std::byte kLeft{0xDD};  // what somebody left in the memory
constexpr std::byte kOld{0x11};
constexpr std::byte kNew{0x22};
constexpr std::uint32_t kBytes = 200'003;  // strips of all sizes, and a part of a line

using striping::DramRun;
using striping::SlabLayout;

// The memory that the hosts share.
class Shared {
 public:
  Shared() {
    for (std::size_t i = 0; i < kChannels; ++i) {
      channels_.push_back(std::make_unique<SharedLines>(kChannelSize, kLeft));
    }
  }
  std::vector<std::unique_ptr<MemoryTarget>> targets(CacheFaults& faults) {
    std::vector<std::unique_ptr<MemoryTarget>> made;
    for (const std::unique_ptr<SharedLines>& channel : channels_) {
      made.push_back(std::make_unique<PrivateCacheTarget>(*channel, &faults));
    }
    return made;
  }
  // What the other host does, whose cache is empty.
  void fill(const SlabLayout& layout, SlabOffset offset, std::uint64_t size, std::byte value) {
    layout.for_each_run(offset, size, [&](const DramRun& run) {
      const MutableSpan bytes = of(run);
      std::fill(bytes.begin(), bytes.end(), value);
    });
  }
  bool holds(const SlabLayout& layout, SlabOffset offset, std::uint64_t size, std::byte value) {
    bool all = true;
    layout.for_each_run(offset, size, [&](const DramRun& run) {
      const MutableSpan bytes = of(run);
      all = all && std::all_of(bytes.begin(), bytes.end(),
                               [value](std::byte byte) { return byte == value; });
    });
    return all;
  }

 private:
  MutableSpan of(const DramRun& run) {
    return channels_[run.dram_channel.value()]->bytes().subspan(run.offset.count(),
                                                                run.length_bytes);
  }
  std::vector<std::unique_ptr<SharedLines>> channels_;
};

// While it lives, the host's flushes and invalidates all work, and are not counted: the way to what
// a property is about.
class Faultless {
 public:
  explicit Faultless(CacheFaults& faults) : faults_(faults), kept_(std::exchange(faults, {})) {}
  ~Faultless() { faults_ = kept_; }
  Faultless(const Faultless&) = delete;
  Faultless& operator=(const Faultless&) = delete;

 private:
  CacheFaults& faults_;
  CacheFaults kept_;
};

// --- A client that copies by itself ---

class LocalHost {
 public:
  explicit LocalHost(CacheFaults& faults)
      : layout_(*SlabLayout::create(record())),
        transport_(shared_.targets(faults),
                   {.layout_of = [this](SlabId) { return Result<SlabLayout>(layout_); }}) {}

  bool move(WorkOp op, std::uint64_t offset, MutableSpan bytes) {
    const RemoteSegment remote{
        RKey(1), {SlabId(1), SlabOffset(offset)}, static_cast<std::uint32_t>(bytes.size())};
    const LocalSegment local{bytes.data(), bytes.size()};
    WorkRequest request;
    request.id = WorkId(1);
    request.op = op;
    request.total_bytes = bytes.size();
    request.remote = {&remote, 1};
    request.local = {&local, 1};
    Completion done;
    if (transport_.post(LaneId(0), request) != Errc::ok) {
      return false;
    }
    while (transport_.poll({&done, 1}) == 0) {
      (void)transport_.progress();
    }
    return done.status == Errc::ok;
  }
  bool write(std::uint64_t offset, std::uint64_t size, std::byte value) {
    std::vector<std::byte> bytes(size, value);
    return move(WorkOp::write, offset, bytes);
  }
  Shared& shared() { return shared_; }
  const SlabLayout& layout() const { return layout_; }

 private:
  static wire::SlabRecord record() {
    wire::SlabRecord record;
    record.id = SlabId(1);
    record.strip_bytes = 4096;
    record.piece_size = 1_MiB;
    for (std::uint16_t i = 0; i < kChannels; ++i) {
      record.members.push_back({DramChannelId(i), DramOffset(65536)});
    }
    return record;
  }
  Shared shared_;
  SlabLayout layout_;
  striping::LocalTransport transport_;
};

bool local_write_is_seen(CacheFaults& faults) {
  LocalHost host(faults);
  return host.write(77, kBytes, kNew) &&
         host.shared().holds(host.layout(), SlabOffset(77), kBytes, kNew);
}

bool local_read_sees_others(CacheFaults& faults) {
  LocalHost host(faults);
  std::vector<std::byte> bytes(kBytes);
  {
    const Faultless setup(faults);
    host.write(77, kBytes, kOld);
  }
  host.shared().fill(host.layout(), SlabOffset(77), kBytes, kNew);
  return host.move(WorkOp::read, 77, bytes) &&
         std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == kNew; });
}

bool local_write_spares_neighbours(CacheFaults& faults) {
  LocalHost host(faults);
  host.shared().fill(host.layout(), SlabOffset(0), 4096, kOld);  // the host has cached it before
  return host.write(70, 200, kNew) && host.shared().holds(host.layout(), SlabOffset(0), 70, kOld) &&
         host.shared().holds(host.layout(), SlabOffset(70), 200, kNew) &&
         host.shared().holds(host.layout(), SlabOffset(270), 4096 - 270, kOld);
}

// --- A box ---

class BoxHost {
 public:
  explicit BoxHost(CacheFaults& faults) : targets_(shared_.targets(faults)), random_(1) {
    emulator::BoxConfig config;
    config.super_nics = 1;
    config.dram_channels_per_super_nic = kChannels;
    config.dram_channel_size = kChannelSize;
    std::vector<MemoryTarget*> pointers;
    for (const std::unique_ptr<MemoryTarget>& target : targets_) {
      pointers.push_back(target.get());
    }
    service_ =
        std::make_unique<emulator::PoolService>(config, pointers, kBackingLimit, clock_, random_);
    session_ = service_->open_session("tenant")->id;
  }

  void allocate() {
    region_ = *service_->allocate_region(session_, SizeBytes(kBytes));
    layouts_.clear();
    for (const Extent& extent : region_.extents) {
      wire::SlabsReply reply;
      service_->describe_slabs({{extent.address.slab}}, reply);
      layouts_.push_back(*SlabLayout::create(reply.slabs.at(0)));
    }
  }
  void free() { REQUIRE(service_->free_region(session_, region_.key) == Errc::ok); }

  // What a door does with a WRITE or READ of [inset, size - inset) of each extent.
  template <class Use>
  bool access(WorkOp op, std::uint32_t inset, Use&& use) {
    std::vector<RemoteSegment> segments;
    for (const Extent& extent : region_.extents) {
      segments.push_back({region_.key,
                          {extent.address.slab, extent.address.offset + SizeBytes(inset)},
                          static_cast<std::uint32_t>(extent.length_bytes) - 2 * inset});
    }
    emulator::AccessTicket ticket;
    if (service_->begin_access(session_, op, segments, ticket) != Errc::ok) {
      return false;
    }
    bool good = true;
    for (const MutableSpan span : ticket.spans) {
      good = use(span) && good;
    }
    service_->end_access(ticket);
    return good;
  }
  bool write(std::byte value, std::uint32_t inset = 0) {
    return access(WorkOp::write, inset, [value](MutableSpan span) {
      std::fill(span.begin(), span.end(), value);
      return true;
    });
  }
  bool reads(std::byte value) {
    return access(WorkOp::read, 0, [value](MutableSpan span) {
      return std::all_of(span.begin(), span.end(),
                         [value](std::byte byte) { return byte == value; });
    });
  }
  void other_fills(std::byte value) {
    for (std::size_t i = 0; i < layouts_.size(); ++i) {
      shared_.fill(layouts_[i], region_.extents[i].address.offset, region_.extents[i].length_bytes,
                   value);
    }
  }
  // The other host sees `outer` at both ends of each extent, up to `inset`, and `inner` between.
  bool other_sees(std::byte inner, std::uint32_t inset = 0, std::byte outer = kOld) {
    bool all = true;
    for (std::size_t i = 0; i < layouts_.size(); ++i) {
      const Extent& extent = region_.extents[i];
      const SlabOffset begin = extent.address.offset;
      const SlabOffset last = begin + SizeBytes(extent.length_bytes - inset);
      all = all && shared_.holds(layouts_[i], begin, inset, outer) &&
            shared_.holds(layouts_[i], begin + SizeBytes(inset), extent.length_bytes - 2 * inset,
                          inner) &&
            shared_.holds(layouts_[i], last, inset, outer);
    }
    return all && !layouts_.empty();
  }

 private:
  Shared shared_;
  std::vector<std::unique_ptr<MemoryTarget>> targets_;
  ManualClock clock_;
  SeededRandom random_;
  std::unique_ptr<emulator::PoolService> service_;
  SessionId session_;
  wire::RegionReply region_;
  std::vector<SlabLayout> layouts_;
};

bool fresh_region_is_zero(CacheFaults& faults) {
  BoxHost host(faults);
  host.allocate();
  return host.other_sees(std::byte{0});
}

bool scrubbed_region_is_zero(CacheFaults& faults) {
  BoxHost host(faults);
  {
    const Faultless setup(faults);
    host.allocate();
    host.write(kOld);
    host.free();
  }
  host.allocate();
  return host.other_sees(std::byte{0});
}

bool box_write_is_seen(CacheFaults& faults) {
  BoxHost host(faults);
  {
    const Faultless setup(faults);
    host.allocate();
  }
  return host.write(kNew) && host.other_sees(kNew);
}

bool box_read_sees_others(CacheFaults& faults) {
  BoxHost host(faults);
  {
    const Faultless setup(faults);
    host.allocate();
    host.write(kOld);
  }
  host.other_fills(kNew);
  return host.reads(kNew);
}

bool box_write_spares_neighbours(CacheFaults& faults) {
  BoxHost host(faults);
  {
    const Faultless setup(faults);
    host.allocate();
  }
  host.other_fills(kOld);
  return host.write(kNew, 1) && host.other_sees(kNew, 1, kOld);
}

struct Property {
  const char* sentence;
  // True if the property holds. The faults are those of the host that it is about.
  bool (*holds)(CacheFaults& faults);
  // What it must fail without.
  bool needs_flush;
  bool needs_invalidate;
};

constexpr std::array<Property, 8> kProperties = {{
    {"what a local client writes is seen", local_write_is_seen, true, false},
    {"a local client reads what others wrote", local_read_sees_others, false, true},
    {"a local client spares what shares a line", local_write_spares_neighbours, true, true},
    {"a region of fresh memory is zero to all", fresh_region_is_zero, true, false},
    {"a region of used memory is zero to all", scrubbed_region_is_zero, true, false},
    {"what a box receives is seen before any commit", box_write_is_seen, true, false},
    {"a box sends what others wrote", box_read_sees_others, false, true},
    {"a box spares what shares a line", box_write_spares_neighbours, true, true},
}};

TEST_CASE("hosts that share memory without coherence read what the other wrote", "[contract]") {
  for (const Property& property : kProperties) {
    CAPTURE(property.sentence);
    CacheFaults faults;
    CHECK(property.holds(faults));
    CHECK((!property.needs_flush || faults.flushes > 0));
    CHECK((!property.needs_invalidate || faults.invalidates > 0));
  }
}

TEST_CASE("with flushes or invalidates taken out, no property that needs them holds",
          "[contract]") {
  for (const Property& property : kProperties) {
    CAPTURE(property.sentence);
    if (property.needs_flush) {
      CacheFaults faults{.drops_flush = true};
      CHECK_FALSE(property.holds(faults));
    }
    if (property.needs_invalidate) {
      CacheFaults faults{.drops_invalidate = true};
      CHECK_FALSE(property.holds(faults));
    }
  }
}

}  // namespace
}  // namespace godbox::test
