// SPDX-License-Identifier: Apache-2.0
//
// The more channels and ports, the wider the stripe: the real client, executor, door and paced
// timing in virtual time, where no machine is too slow and each run is the same. A figure here is
// emulated: bytes over the virtual time in which they were moved.
#include <godbox/native/native_transport.h>
#include <godbox/sim/content.h>
#include <godbox/sim/sim_box.h>
#include <godbox/striping/client.h>
#include <godbox/striping/slab_layout.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <optional>

namespace godbox::sim {
namespace {

using striping::Client;

constexpr double kRate = 100e6;      // bytes per second of one channel, or of one port
constexpr double kTolerance = 0.05;  // of the proportional rate
constexpr std::size_t kBlockBytes = std::size_t{4} << 20U;
constexpr std::size_t kBlocks = 24;
constexpr std::size_t kDepth = 8;
constexpr std::size_t kStripBytes = std::size_t{64} << 10U;

struct Shape {
  std::uint32_t dram_channels = 18;
  std::uint32_t eth_ports = 4;
  emulator::StageRates rates;
};

SimBoxOptions box_of(const Shape& shape) {
  SimBoxOptions options;
  options.config.name = "scaling";
  options.config.super_nics = 1;
  options.config.dram_channels_per_super_nic = shape.dram_channels;
  options.config.eth_ports_per_super_nic = shape.eth_ports;
  options.config.dram_channel_size = SizeBytes(std::uint64_t{256} << 20U);
  options.config.mode = emulator::TimingMode::paced;
  options.config.rates = emulator::PacedRates::both(shape.rates);
  options.backing_limit = options.config.capacity();
  options.backing_granularity = SizeBytes(std::uint64_t{256} << 10U);
  return options;
}

// What limits is the box alone: short delays, large pieces, no end of bandwidth.
SimNetworkOptions fast_network() {
  SimNetworkOptions options;
  options.delay_max = std::chrono::microseconds(20);
  options.jitter_max = std::chrono::microseconds(1);
  options.pipe_bytes_min = options.pipe_bytes_max = std::size_t{1} << 20U;
  options.chunk_bytes_max = std::size_t{256} << 10U;
  options.tiny_chunk_one_in = options.short_chunk_one_in = std::uint64_t{1} << 40U;
  return options;
}

class Rig {
 public:
  explicit Rig(const Shape& shape) : network_(1, fast_network()), box_(network_, box_of(shape), 1) {
    box_.start();
    auto made = Client::connect(network_, box_.control_address(), {}, make_transport);
    REQUIRE(made.has_value());
    client_ = std::move(*made);
  }

  Client& client() { return *client_; }
  emulator::Box& box() { return box_.box(); }

  // Calls submit(i, done) for each of `count` operations, kDepth of them in flight; answers the
  // bytes per second of virtual time.
  template <class Submit>
  double rate_of(std::size_t count, std::size_t bytes_each, Submit&& submit) {
    const TimePoint begin = network_.now();
    std::size_t submitted = 0;
    std::size_t done = 0;
    while (done < count) {
      while (submitted < count && submitted - done < kDepth) {
        submit(submitted++, [&done](Errc status) {
          REQUIRE(status == Errc::ok);
          ++done;
        });
      }
      client_->progress(network_.now() + std::chrono::seconds(1));
    }
    const double seconds = std::chrono::duration<double>(network_.now() - begin).count();
    return static_cast<double>(count * bytes_each) / seconds;
  }

 private:
  static Result<std::unique_ptr<Transport>> make_transport(const Client::TransportContext& made) {
    native::NativeTransportOptions lanes;
    lanes.session = made.session.session;
    lanes.secret = made.session.secret;
    lanes.epoch = made.session.epoch;
    for (const wire::EthPortInfo& port : made.box.eth_ports) {
      lanes.lanes.push_back({*StreamAddress::parse(port.address), port.id, port.super_nic});
    }
    return std::make_unique<native::NativeTransport>(made.network, std::move(lanes));
  }

  SimNetwork network_;
  SimBox box_;
  std::unique_ptr<Client> client_;
};

struct Rates {
  double write = 0;
  double read = 0;
};

// Puts blocks and gets them back, each with a place of its own, and compares every byte.
Rates rates_of_blocks(const Shape& shape) {
  Rig rig(shape);
  std::vector<std::byte> out(kBlocks * kBlockBytes);
  std::vector<std::byte> in(out.size());
  fill_content(out, 7);
  std::vector<std::string> names;
  std::vector<LocalSegment> from;
  std::vector<LocalSegment> into;
  for (std::size_t i = 0; i < kBlocks; ++i) {
    names.push_back("block/" + std::to_string(i));
    from.push_back({out.data() + i * kBlockBytes, kBlockBytes});
    into.push_back({in.data() + i * kBlockBytes, kBlockBytes});
  }
  Rates rates;
  rates.write = rig.rate_of(kBlocks, kBlockBytes, [&](std::size_t i, auto done) {
    const striping::PutItem item{names[i], {&from[i], 1}, {}};
    rig.client().submit_put({&item, 1}, [done](std::span<const Errc> got) { done(got[0]); });
  });
  rates.read = rig.rate_of(kBlocks, kBlockBytes, [&](std::size_t i, auto done) {
    const striping::GetItem item{names[i], {&into[i], 1}};
    rig.client().submit_get({&item, 1}, [done](std::span<const Errc> got) { done(got[0]); });
  });
  CHECK(std::ranges::equal(in, out));  // printing either would take minutes
  return rates;
}

void check_proportional(const Rates& rates, std::uint32_t times) {
  CHECK(rates.write == Catch::Approx(times * kRate).epsilon(kTolerance));
  CHECK(rates.read == Catch::Approx(times * kRate).epsilon(kTolerance));
}

TEST_CASE("throughput grows in proportion to the DRAM channels", "[sim]") {
  for (const std::uint32_t channels : {1U, 2U, 4U, 9U, 18U, 28U}) {
    DYNAMIC_SECTION(channels << " channels") {
      Shape shape;
      shape.dram_channels = channels;
      shape.rates.dram_channel = Rate(kRate);
      check_proportional(rates_of_blocks(shape), channels);
    }
  }
}

TEST_CASE("throughput grows in proportion to the Ethernet ports", "[sim]") {
  for (std::uint32_t ports = 1; ports <= 9; ++ports) {
    DYNAMIC_SECTION(ports << " ports") {
      Shape shape;
      shape.eth_ports = ports;
      shape.rates.eth_port = Rate(kRate);
      check_proportional(rates_of_blocks(shape), ports);
    }
  }
}

// Where in `region` the strips of the DRAM channel of its first byte lie.
std::vector<RegionOffset> strips_on_one_channel(Rig& rig, const striping::Region& region) {
  std::vector<RegionOffset> offsets;
  std::optional<DramChannelId> wanted;
  RegionOffset offset;
  for (const Extent& extent : region.extents) {
    wire::SlabIdsRequest request;
    request.ids.push_back(extent.address.slab);
    wire::SlabsReply reply;
    rig.box().service().describe_slabs(request, reply);
    REQUIRE(reply.slabs.size() == 1);
    const auto layout = striping::SlabLayout::create(reply.slabs.front());
    REQUIRE(layout.has_value());
    layout->for_each_run(extent.address.offset, extent.length_bytes,
                         [&](const striping::DramRun& run) {
                           wanted = wanted.value_or(run.dram_channel);
                           if (run.dram_channel == *wanted && run.length_bytes == kStripBytes) {
                             offsets.push_back(offset);
                           }
                           offset += SizeBytes(run.length_bytes);
                         });
  }
  return offsets;
}

TEST_CASE("traffic aimed at one channel gets the rate of one channel", "[sim]") {
  constexpr std::size_t kStrips = 256;
  Shape shape;
  shape.rates.dram_channel = Rate(kRate);
  Rig rig(shape);
  const auto region = rig.client().allocate(SizeBytes(kStrips * kStripBytes * shape.dram_channels));
  REQUIRE(region.has_value());
  const std::vector<RegionOffset> offsets = strips_on_one_channel(rig, *region);
  REQUIRE(offsets.size() >= kStrips - shape.dram_channels);
  std::vector<std::byte> out(offsets.size() * kStripBytes);
  std::vector<std::byte> in(out.size());
  fill_content(out, 8);
  const auto rate_of = [&](WorkOp op, std::vector<std::byte>& memory) {
    return rig.rate_of(offsets.size(), kStripBytes, [&](std::size_t i, auto done) {
      const striping::RegionPiece piece{offsets[i], {memory.data() + i * kStripBytes, kStripBytes}};
      rig.client().submit_region(op, *region, {&piece, 1}, done);
    });
  };
  CHECK(rate_of(WorkOp::write, out) == Catch::Approx(kRate).epsilon(kTolerance));
  CHECK(rate_of(WorkOp::read, in) == Catch::Approx(kRate).epsilon(kTolerance));
  CHECK(std::ranges::equal(in, out));  // printing either would take minutes
}

}  // namespace
}  // namespace godbox::sim
