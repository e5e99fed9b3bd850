// SPDX-License-Identifier: Apache-2.0
//
// Random messages there and back. The names and bytes of a request are kept beside it, because a
// decoded message only points into its body.
#include "wire_bodies.h"
#include <godbox/wire.h>
#include <godbox_test/seeded_random.h>

#include <catch2/catch_test_macros.hpp>

#include <deque>
#include <string>

using namespace godbox;
using namespace godbox::wire;

namespace {

constexpr std::uint64_t kSeed = 0x601DB0;
constexpr int kRounds = 200;

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}

  std::uint64_t u64() { return random_.next_u64(); }
  std::uint32_t u32() { return random_.next_u32(); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(random_.next_u32()); }
  std::uint8_t u8() { return static_cast<std::uint8_t>(random_.next_u32()); }
  bool coin() { return random_.below(2) == 0; }
  std::size_t below(std::size_t limit) { return random_.below(limit); }
  Errc status() {
    constexpr Errc kSome[] = {Errc::ok,     Errc::not_found,   Errc::present_unleased,
                              Errc::poison, Errc::wrong_epoch, Errc::protocol_error};
    return kSome[below(std::size(kSome))];
  }
  // Lives as long as the dice.
  std::string_view text(std::size_t size_max = kNameBytesMax) {
    std::string& bytes = texts_.emplace_back(below(size_max + 1), '\0');
    random_.fill(std::as_writable_bytes(std::span(bytes)));
    return bytes;
  }
  Extent extent() { return {{SlabId(u32()), SlabOffset(u64() >> 1U)}, u32() | 1U}; }
  std::vector<Extent> extents(std::size_t count) {
    std::vector<Extent> extents(count);
    for (Extent& item : extents) {
      item = extent();
    }
    return extents;
  }
  std::vector<std::uint32_t> numbers(std::size_t count) {
    std::vector<std::uint32_t> numbers(count);
    random_.fill(std::as_writable_bytes(std::span(numbers)));
    return numbers;
  }
  std::vector<std::string_view> names() {
    std::vector<std::string_view> names(below(20));
    for (std::string_view& name : names) {
      name = text();
    }
    return names;
  }

 private:
  test::SeededRandom random_;
  std::deque<std::string> texts_;
};

// make(dice) gives a message, same(a, b) compares two. Encoding what was decoded has to give the
// same bytes too.
template <class T, class Make, class Same>
void check_round_trips(Make make, Same same) {
  CAPTURE(kSeed);
  Dice dice(kSeed);
  for (int round = 0; round < kRounds; ++round) {
    CAPTURE(round);
    const T message = make(dice);
    const Body body = encode(message);
    const Result<T> decoded = decode<T>(body);
    REQUIRE(decoded.has_value());
    REQUIRE(same(message, *decoded));
    REQUIRE(encode(*decoded) == body);
  }
}

template <class Items, class Same>
bool same_lists(const Items& a, const Items& b, Same same) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same);
}

Retention retention(Dice& dice) {
  return {static_cast<Pin>(dice.below(3)), dice.u32(), dice.u32()};
}

// Some channels in a memory of their own, some interleaved with their neighbours.
MapReply placed(MapReply message, Dice& dice) {
  std::vector<SizeBytes>& sizes = message.dram_channel_sizes;
  for (std::uint16_t descriptor = 0; message.placements.size() < sizes.size(); ++descriptor) {
    const std::size_t first = message.placements.size();
    const std::size_t left = sizes.size() - first;
    const unsigned wanted = cxl::kInterleaveWaysAllowed.at(dice.below(8));
    const unsigned ways = wanted <= left ? wanted : 1;
    const cxl::Interleave interleave{
        cxl::InterleaveWays::create(ways).value(),
        cxl::InterleaveGranularity::from_encoding(static_cast<unsigned>(dice.below(7))).value()};
    const std::size_t turn = dice.below(ways);
    for (std::size_t i = 0; i < ways; ++i) {
      sizes[first + i] = sizes[first];
      message.placements.push_back(
          {descriptor, {interleave, static_cast<std::uint8_t>((i + turn) % ways)}});
    }
  }
  return message;
}

}  // namespace

TEST_CASE("HELLO survives the wire", "[unit]") {
  check_round_trips<HelloRequest>(
      [](Dice& dice) {
        HelloRequest message;
        message.version_min = static_cast<std::uint16_t>(dice.below(2));
        message.version_max = static_cast<std::uint16_t>(1 + dice.below(60000));
        message.kind = static_cast<ConnectionKind>(dice.below(3));
        message.auth_method = dice.u8();
        if (message.kind == ConnectionKind::lane) {
          message.lane = LaneId(dice.u16());
        } else {
          message.tenant = dice.text();
        }
        if (message.kind != ConnectionKind::control) {
          message.session = SessionId(dice.u64());
          message.secret = {{dice.u64(), dice.u64()}};
        }
        message.attempt = message.kind == ConnectionKind::resume ? 1 + dice.u16() : 0;
        if (message.auth_method != 0) {
          message.auth = std::as_bytes(std::span(dice.text(kAuthBytesMax)));
        }
        return message;
      },
      [](const HelloRequest& a, const HelloRequest& b) {
        return a.version_min == b.version_min && a.version_max == b.version_max &&
               a.kind == b.kind && a.auth_method == b.auth_method && a.lane == b.lane &&
               a.session == b.session && a.secret == b.secret && a.tenant == b.tenant &&
               a.attempt == b.attempt && std::ranges::equal(a.auth, b.auth);
      });
  check_round_trips<HelloReply>(
      [](Dice& dice) {
        return HelloReply{1,
                          SessionId(dice.u64()),
                          {{dice.u64(), dice.u64()}},
                          Epoch(dice.u64()),
                          EthPortId(dice.u16()),
                          SuperNicId(dice.u16()),
                          dice.u32(),
                          dice.u64(),
                          dice.u32(),
                          dice.u32(),
                          LaneToken(dice.u32()),
                          dice.u16()};
      },
      [](const HelloReply& a, const HelloReply& b) {
        return a.session == b.session && a.secret == b.secret && a.epoch == b.epoch &&
               a.eth_port == b.eth_port && a.super_nic == b.super_nic &&
               a.requests_in_flight_max == b.requests_in_flight_max &&
               a.bytes_in_flight_max == b.bytes_in_flight_max && a.lease_ms_max == b.lease_ms_max &&
               a.session_timeout_ms == b.session_timeout_ms && a.lane_token == b.lane_token &&
               a.resume_ms == b.resume_ms;
      });
}

TEST_CASE("descriptions of the box survive the wire", "[unit]") {
  check_round_trips<InfoReply>(
      [](Dice& dice) {
        InfoReply message;
        message.box_name = dice.text();
        message.mode = dice.text();
        message.eth_ports.resize(dice.below(70));
        for (EthPortInfo& port : message.eth_ports) {
          port = {EthPortId(dice.u16()), SuperNicId(dice.u16()), std::string(dice.text(64))};
        }
        for (std::size_t i = dice.below(70); i > 0; --i) {
          message.dram_channel_super_nic.push_back(SuperNicId(dice.u16()));
        }
        message.dram_channel_size = SizeBytes(dice.u64());
        message.capacity = SizeBytes(dice.u64());
        message.backing_limit = SizeBytes(dice.u64());
        return message;
      },
      [](const InfoReply& a, const InfoReply& b) {
        return a.box_name == b.box_name && a.mode == b.mode &&
               a.dram_channel_super_nic == b.dram_channel_super_nic &&
               a.dram_channel_size == b.dram_channel_size && a.capacity == b.capacity &&
               a.backing_limit == b.backing_limit &&
               same_lists(a.eth_ports, b.eth_ports, [](const EthPortInfo& x, const EthPortInfo& y) {
                 return x.id == y.id && x.super_nic == y.super_nic && x.address == y.address;
               });
      });
  check_round_trips<SlabsReply>(
      [](Dice& dice) {
        SlabsReply message;
        message.slabs.resize(dice.below(20));
        for (SlabRecord& slab : message.slabs) {
          slab = {SlabId(dice.u32()), dice.u32(), dice.u32(), SizeBytes(dice.u64()), {}};
          slab.members.resize(dice.below(kSlabMembersMax + 1));
          for (SlabMember& member : slab.members) {
            member = {DramChannelId(dice.u16()), DramOffset(dice.u64())};
          }
        }
        return message;
      },
      [](const SlabsReply& a, const SlabsReply& b) {
        const auto same_members = [](const SlabMember& x, const SlabMember& y) {
          return x.dram_channel == y.dram_channel && x.offset == y.offset;
        };
        return same_lists(a.slabs, b.slabs, [&](const SlabRecord& x, const SlabRecord& y) {
          return x.id == y.id && x.strip_bytes == y.strip_bytes && x.rotation == y.rotation &&
                 x.piece_size == y.piece_size && same_lists(x.members, y.members, same_members);
        });
      });
  check_round_trips<MapRequest>(
      [](Dice& dice) { return MapRequest{dice.coin()}; },
      [](const MapRequest& a, const MapRequest& b) { return a.pins == b.pins; });
  check_round_trips<MapReply>(
      [](Dice& dice) {
        MapReply message{std::vector<SizeBytes>(dice.below(70)), dice.coin(), {}};
        for (SizeBytes& size : message.dram_channel_sizes) {
          size = SizeBytes(dice.u64());
        }
        return dice.coin() ? placed(message, dice) : message;
      },
      [](const MapReply& a, const MapReply& b) {
        return a.writable == b.writable && a.dram_channel_sizes == b.dram_channel_sizes &&
               a.placements == b.placements;
      });
}

TEST_CASE("puts survive the wire", "[unit]") {
  check_round_trips<ReserveRequest>(
      [](Dice& dice) {
        ReserveRequest message{dice.u32(), std::vector<ReserveItem>(dice.below(20))};
        for (ReserveItem& item : message.items) {
          item = {dice.text(),
                  SizeBytes(dice.u64()),
                  dice.coin(),
                  dice.coin(),
                  static_cast<std::uint16_t>(dice.below(kLayersMax + 1)),
                  retention(dice)};
        }
        return message;
      },
      [](const ReserveRequest& a, const ReserveRequest& b) {
        return a.deadline_ms == b.deadline_ms &&
               same_lists(a.items, b.items, [](const ReserveItem& x, const ReserveItem& y) {
                 return x.name == y.name && x.size == y.size && x.sparse == y.sparse &&
                        x.rebinds == y.rebinds && x.layers == y.layers &&
                        x.retention == y.retention;
               });
      });
  check_round_trips<ReserveReply>(
      [](Dice& dice) {
        ReserveReply message{std::vector<ReserveAnswer>(dice.below(20))};
        for (ReserveAnswer& answer : message.answers) {
          answer = {dice.status(), ReservationId(dice.u64()), RKey(dice.u32()),
                    dice.extents(dice.below(kExtentsPerObjectMax + 1))};
        }
        return message;
      },
      [](const ReserveReply& a, const ReserveReply& b) {
        return same_lists(a.answers, b.answers, [](const ReserveAnswer& x, const ReserveAnswer& y) {
          return x.status == y.status && x.reservation == y.reservation &&
                 x.write_key == y.write_key && x.extents == y.extents;
        });
      });
  check_round_trips<CommitRequest>(
      [](Dice& dice) {
        CommitRequest message{std::vector<CommitItem>(dice.below(20))};
        for (CommitItem& item : message.items) {
          item = {ReservationId(dice.u64()), dice.numbers(dice.below(300))};
        }
        return message;
      },
      [](const CommitRequest& a, const CommitRequest& b) {
        return same_lists(a.items, b.items, [](const CommitItem& x, const CommitItem& y) {
          return x.reservation == y.reservation && x.crc32c == y.crc32c;
        });
      });
}

TEST_CASE("lookups survive the wire", "[unit]") {
  check_round_trips<LookupRequest>(
      [](Dice& dice) {
        return LookupRequest{dice.coin(), dice.u32(), dice.names()};
      },
      [](const LookupRequest& a, const LookupRequest& b) {
        return a.prefix == b.prefix && a.lease_ms == b.lease_ms && a.names == b.names;
      });
  check_round_trips<LookupReply>(
      [](Dice& dice) {
        LookupReply message;
        message.lease = LeaseId(dice.u64());
        message.lease_ms = dice.u32();
        message.objects.resize(dice.below(30));
        for (LookupObject& object : message.objects) {
          object.status = dice.status();
          object.read_key = RKey(dice.u32());
          object.size = SizeBytes(dice.u64());
          object.extent_count = static_cast<std::uint32_t>(dice.below(kExtentsPerObjectMax + 1));
          object.crc_count = static_cast<std::uint32_t>(dice.below(300));
          object.sparse = dice.coin();
          object.layers = static_cast<std::uint16_t>(dice.below(kLayersMax + 1));
          object.layers_ready = static_cast<std::uint16_t>(dice.below(object.layers + 1U));
          const auto extents = dice.extents(object.extent_count);
          const auto crcs = dice.numbers(object.crc_count);
          message.extents.insert(message.extents.end(), extents.begin(), extents.end());
          message.crc32c.insert(message.crc32c.end(), crcs.begin(), crcs.end());
        }
        return message;
      },
      [](const LookupReply& a, const LookupReply& b) {
        return a.lease == b.lease && a.lease_ms == b.lease_ms && a.extents == b.extents &&
               a.crc32c == b.crc32c &&
               same_lists(a.objects, b.objects, [](const LookupObject& x, const LookupObject& y) {
                 return x.status == y.status && x.read_key == y.read_key && x.size == y.size &&
                        x.extent_count == y.extent_count && x.crc_count == y.crc_count &&
                        x.sparse == y.sparse && x.layers == y.layers &&
                        x.layers_ready == y.layers_ready;
               });
      });
  check_round_trips<WaitRequest>(
      [](Dice& dice) {
        return WaitRequest{dice.u32(), dice.u32(), dice.u32(), dice.names()};
      },
      [](const WaitRequest& a, const WaitRequest& b) {
        return a.layer == b.layer && a.lease_ms == b.lease_ms && a.wait_ms == b.wait_ms &&
               a.names == b.names;
      });
}

TEST_CASE("what a tenant keeps and hears survives the wire", "[unit]") {
  check_round_trips<CommitLayerRequest>(
      [](Dice& dice) {
        CommitLayerRequest message{std::vector<CommitLayerItem>(dice.below(20))};
        for (CommitLayerItem& item : message.items) {
          item = {ReservationId(dice.u64()), dice.u32(), dice.numbers(dice.below(300))};
        }
        return message;
      },
      [](const CommitLayerRequest& a, const CommitLayerRequest& b) {
        return same_lists(a.items, b.items, [](const CommitLayerItem& x, const CommitLayerItem& y) {
          return x.reservation == y.reservation && x.layer == y.layer && x.crc32c == y.crc32c;
        });
      });
  check_round_trips<RetainRequest>(
      [](Dice& dice) {
        RetainRequest message{std::vector<RetainItem>(dice.below(20))};
        for (RetainItem& item : message.items) {
          item = {dice.text(), retention(dice)};
        }
        return message;
      },
      [](const RetainRequest& a, const RetainRequest& b) {
        return same_lists(a.items, b.items, [](const RetainItem& x, const RetainItem& y) {
          return x.name == y.name && x.retention == y.retention;
        });
      });
  check_round_trips<UsageReply>(
      [](Dice& dice) {
        return UsageReply{SizeBytes(dice.u64()),
                          SizeBytes(dice.u64()),
                          SizeBytes(dice.u64()),
                          dice.u64(),
                          dice.u64(),
                          dice.u64(),
                          dice.u64()};
      },
      [](const UsageReply& a, const UsageReply& b) { return a == b; });
  check_round_trips<EventsRequest>(
      [](Dice& dice) {
        return EventsRequest{dice.u64(), static_cast<std::uint32_t>(dice.below(1U << kEventKinds)),
                             dice.u32(), dice.u32()};
      },
      [](const EventsRequest& a, const EventsRequest& b) {
        return a.after == b.after && a.kinds == b.kinds && a.events_max == b.events_max &&
               a.wait_ms == b.wait_ms;
      });
  check_round_trips<EventsReply>(
      [](Dice& dice) {
        EventsReply message{dice.u64(), dice.u64(), std::vector<Event>(dice.below(30))};
        for (Event& event : message.events) {
          event = {dice.u64(), static_cast<EventKind>(dice.below(kEventKinds)),
                   SizeBytes(dice.u64()), std::string(dice.text())};
        }
        return message;
      },
      [](const EventsReply& a, const EventsReply& b) {
        return a.next == b.next && a.lost == b.lost && a.events == b.events;
      });
}

TEST_CASE("logical devices survive the wire", "[unit]") {
  const auto device = [](Dice& dice) {
    return LdId(static_cast<std::uint16_t>(dice.below(kLdIdMax + 1)));
  };
  check_round_trips<BindRequest>(
      [&](Dice& dice) {
        return BindRequest{SizeBytes(dice.u64()), device(dice), dice.text(kVmNameBytesMax)};
      },
      [](const BindRequest& a, const BindRequest& b) {
        return a.size == b.size && a.device == b.device && a.vm == b.vm;
      });
  check_round_trips<BindReply>(
      [&](Dice& dice) {
        BindReply message{device(dice), dice.coin(), SizeBytes(dice.u64()), {}};
        message.slabs.resize(dice.below(300));
        for (SlabId& slab : message.slabs) {
          slab = SlabId(dice.u32());
        }
        return message;
      },
      [](const BindReply& a, const BindReply& b) {
        return a.device == b.device && a.sealed == b.sealed && a.size == b.size &&
               a.slabs == b.slabs;
      });
  check_round_trips<LogicalDeviceRequest>(
      [&](Dice& dice) { return LogicalDeviceRequest{device(dice)}; },
      [](const LogicalDeviceRequest& a, const LogicalDeviceRequest& b) {
        return a.device == b.device;
      });
  check_round_trips<ListBoundReply>(
      [&](Dice& dice) {
        ListBoundReply message{std::vector<LogicalDeviceRecord>(dice.below(20))};
        for (LogicalDeviceRecord& record : message.devices) {
          record = {device(dice), static_cast<LogicalDeviceState>(dice.below(kLogicalDeviceStates)),
                    SizeBytes(dice.u64()), std::string(dice.text()),
                    std::vector<BoundHolder>(dice.below(5))};
          for (BoundHolder& holder : record.holders) {
            holder = {std::string(dice.text(kVmNameBytesMax)), dice.coin()};
          }
        }
        return message;
      },
      [](const ListBoundReply& a, const ListBoundReply& b) { return a.devices == b.devices; });
}

TEST_CASE("listings survive the wire", "[unit]") {
  check_round_trips<ListRequest>(
      [](Dice& dice) {
        return ListRequest{dice.text(), dice.text(), dice.u32()};
      },
      [](const ListRequest& a, const ListRequest& b) {
        return a.prefix == b.prefix && a.after == b.after && a.names_max == b.names_max;
      });
  check_round_trips<ListReply>(
      [](Dice& dice) {
        ListReply message{std::vector<ListEntry>(dice.below(30)), dice.coin()};
        for (ListEntry& entry : message.entries) {
          entry = {std::string(dice.text()), SizeBytes(dice.u64())};
        }
        return message;
      },
      [](const ListReply& a, const ListReply& b) {
        return a.more == b.more &&
               same_lists(a.entries, b.entries, [](const ListEntry& x, const ListEntry& y) {
                 return x.name == y.name && x.size == y.size;
               });
      });
  check_round_trips<RegionReply>(
      [](Dice& dice) {
        return RegionReply{RKey(dice.u32()), dice.extents(dice.below(kExtentsPerObjectMax + 1))};
      },
      [](const RegionReply& a, const RegionReply& b) {
        return a.key == b.key && a.extents == b.extents;
      });
  check_round_trips<TextReply>(
      [](Dice& dice) { return TextReply{std::string(dice.text(5000))}; },
      [](const TextReply& a, const TextReply& b) { return a.text == b.text; });
}

TEST_CASE("random bytes are refused or mean themselves", "[unit]") {
  CAPTURE(kSeed);
  test::SeededRandom random(kSeed);
  for (int round = 0; round < 20'000; ++round) {
    Body body(random.below(200));
    random.fill(body);
    if (body.size() >= 4 && random.below(2) == 0) {
      body[1] = body[2] = body[3] = std::byte{0};  // a small count gets further
    }
    for (const test::BodyCodec& codec : test::kBodyCodecs) {
      const auto again = codec.reencode(body);
      CAPTURE(round, static_cast<int>(codec.op), codec.is_response);
      REQUIRE((again.has_error() || *again == body));
    }
  }
}
