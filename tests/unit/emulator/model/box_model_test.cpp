// SPDX-License-Identifier: Apache-2.0
//
// A box's stages by hand, the time table's own promise, and the parameter files.
#include <godbox/emulator/model/device_file.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <string>

namespace godbox::emulator::model {
namespace {

using namespace godbox::literals;
using Catch::Approx;

BoxModel known(std::string_view name) {
  const auto text = device_text(name);
  REQUIRE(text.has_value());
  const auto model = parse_device(*text, name);
  INFO((model ? "" : model.error().detail));
  REQUIRE(model.has_value());
  return *model;
}
// 9 SuperNICs of two DRAM channels and four ports of 800 Gb/s.
constexpr BoxShape kNine{9, 2, 4, Rate(100e9)};
constexpr SizeBytes kHundredGb{100'000'000'000};

TransferFigures timed(const BoxModel& model, const BoxShape& shape, const Transfer& transfer,
                      bool is_write = false) {
  const auto rates = channel_rates(model, is_write, 64_KiB);
  REQUIRE(rates.has_value());
  const auto figures = time_transfer(model, shape, transfer, *rates);
  REQUIRE(figures.has_value());
  return *figures;
}
const StageFigures& stage(const TransferFigures& figures, std::string_view name) {
  for (const StageFigures& one : figures.stages) {
    if (one.name == name) {
      return one;
    }
  }
  FAIL("no stage " << name);
  return figures.stages.front();
}

// Bytes of frames, counted by hand.
TEST_CASE("payload of Ethernet frames", "[unit][model][box]") {
  EthernetSpec tcp{.protocol = WireProtocol::tcp, .mtu_bytes = 1500};
  CHECK(ethernet_payload_share(tcp, false) == Approx(1448.0 / 1538));
  tcp.mtu_bytes = 9000;
  CHECK(ethernet_payload_share(tcp, true) == Approx(8948.0 / 9038));
  // 64 KiB in 16 packets of 4096 bytes, each with 82 of overhead; AETH in the first and the last
  // response of a READ, RETH in the first packet of a WRITE.
  EthernetSpec roce{.protocol = WireProtocol::roce, .mtu_bytes = 4096, .message = 64_KiB};
  CHECK(ethernet_payload_share(roce, false) == Approx(65536.0 / (65536 + 16 * 82 + 8)));
  CHECK(ethernet_payload_share(roce, true) == Approx(65536.0 / (65536 + 16 * 82 + 16)));
  roce.message = 64_B;
  CHECK(ethernet_payload_share(roce, false) == Approx(64.0 / (64 + 82 + 4)));
}

TEST_CASE("payload of PCIe packets", "[unit][model][box]") {
  HostPcieSpec pcie{.generation = PcieGeneration::gen5, .max_payload_bytes = 256};
  CHECK(pcie_payload_share(pcie, false) == Approx(256.0 / 280));
  CHECK(pcie_payload_share(pcie, true) == Approx(256.0 / 276));
  pcie.generation = PcieGeneration::gen6;
  CHECK(pcie_payload_share(pcie, false) == Approx(256.0 / 272 * 236 / 256));
}

// The raw bounds of 100 GB that follow from 31.5 GB/s of a PCIe 5.0 x8 link after encoding.
TEST_CASE("raw bounds of 100 GB are the published arithmetic", "[unit][model][box]") {
  const BoxModel model = known("emfasys");
  struct Row {
    std::uint32_t super_nics, channels;
    double seconds;
  };
  for (const Row& row : {Row{9, 1, 3.17}, Row{9, 2, 1.59}, Row{9, 9, 0.353}, Row{9, 18, 0.176},
                         Row{14, 28, 0.113}}) {
    BoxShape shape = kNine;
    shape.super_nics = row.super_nics;
    const Transfer transfer{kHundredGb, row.channels, (row.channels + 1) / 2 * 4};
    const TransferFigures got = timed(model, shape, transfer);
    INFO(row.channels << " DRAM channels");
    CHECK(got.raw_seconds == Approx(row.seconds).epsilon(0.005));
    CHECK(got.stages[got.raw_bottleneck].name == "CXL link");
    CHECK(got.stages[got.bottleneck].name == "CXL link");
    // 23.7 to 26.4 GB/s of reads in flits of 68 bytes.
    CHECK(got.seconds >= 100 / (26.4 * 1.005 * row.channels));
    CHECK(got.seconds <= 100 / (23.7 * row.channels));
  }
  // One ACF-S: 18 channels, 32 ports of 100 Gb/s; 0.25 s by its ports.
  const TransferFigures acf = timed(model, {1, 18, 32, Rate(12.5e9)}, {kHundredGb, 18, 32});
  CHECK(acf.raw_seconds == Approx(0.25).epsilon(0.001));
  CHECK(acf.stages[acf.bottleneck].name == "Ethernet port");
  CHECK(acf.seconds == Approx(0.25 / (65536.0 / (65536 + 16 * 82 + 8))).epsilon(0.001));
}

TEST_CASE("a transfer takes what its slowest stage takes", "[unit][model][box]") {
  const BoxModel model = known("emfasys");
  for (const bool is_write : {false, true}) {
    double before = 1e9;
    for (const std::uint32_t channels : {1U, 2U, 9U, 18U}) {
      const TransferFigures got =
          timed(model, kNine, {kHundredGb, channels, (channels + 1) / 2}, is_write);
      double least = 1e18;
      for (const StageFigures& one : got.stages) {
        INFO(one.name);
        CHECK(one.limited <= one.raw);
        CHECK(one.utilisation > 0);
        CHECK(one.utilisation <= 1);
        least = std::min(least, one.limited.bytes_per_second());
      }
      CHECK(got.seconds == Approx(1e11 / least).epsilon(0.05));
      CHECK(got.stages[got.bottleneck].limited.bytes_per_second() == least);
      CHECK(got.stages[got.bottleneck].utilisation == Approx(1).epsilon(0.001));
      CHECK(got.seconds > got.raw_seconds);
      CHECK(got.seconds < before);
      before = got.seconds;
    }
  }
}

TEST_CASE("many ports into few hosts meet at the hosts", "[unit][model][box]") {
  const BoxModel model = known("emfasys");
  const TransferFigures got = timed(model, kNine, {kHundredGb, 18, 36, 2});
  CHECK(got.stages[got.bottleneck].name == "host NIC");
  CHECK(stage(got, "host NIC").count == 2);
  CHECK(got.seconds == Approx(0.5 * 1.0202).epsilon(0.002));
  // NICs of 800 Gb/s in slots of PCIe 5.0 x16: 63 GB/s of 100.
  BoxModel old = model;
  old.host_pcie.generation = PcieGeneration::gen5;
  const TransferFigures slots = timed(old, kNine, {kHundredGb, 18, 36, 2});
  CHECK(slots.stages[slots.bottleneck].name == "host PCIe");
  CHECK(stage(slots, "host PCIe").raw.bytes_per_second() == Approx(2 * 63.015e9).epsilon(0.001));
}

TEST_CASE("a page goes through one port, a block through all", "[unit][model][box]") {
  const BoxModel model = known("emfasys");
  const TransferFigures page = timed(model, kNine, {64_KiB, 18, 36});
  CHECK(stage(page, "Ethernet port").count == 1);
  CHECK(page.stages[page.bottleneck].name == "Ethernet port");
  CHECK(page.seconds * 1e9 == Approx(page.first_byte_ns + 65536.0 * 1.02014 / 100).epsilon(0.001));
  CHECK(stage(timed(model, kNine, {20_MiB, 18, 36}), "Ethernet port").count == 36);
}

// The whole device in the detailed model against the smaller of its two stages.
TEST_CASE("stages of a channel agree with the detailed model", "[unit][model][box]") {
  for (const bool is_write : {false, true}) {
    for (const std::uint32_t lanes : {8U, 16U}) {
      BoxModel model = known("emfasys");
      model.device.link.lanes = lanes;
      const auto rates = channel_rates(model, is_write, 64_KiB);
      REQUIRE(rates.has_value());
      const auto detailed = run_type3(model.device, {.lines = 100'000,
                                                     .read_share = is_write ? 0.0 : 1.0,
                                                     .run = 64_KiB,
                                                     .streams = 4,
                                                     .window = 512});
      REQUIRE(detailed.has_value());
      INFO(lanes << " lanes, write " << is_write);
      CHECK(detailed->delivered.bytes_per_second() ==
            Approx(std::min(rates->dram, rates->link).bytes_per_second()).epsilon(0.05));
    }
  }
}

TEST_CASE("a link whose credits are few bounds its channel", "[unit][model][box]") {
  BoxModel model = known("emfasys");
  const auto shipped = channel_rates(model, false, 64_KiB);
  REQUIRE(shipped.has_value());
  CHECK_FALSE(shipped->link_waits_for_credits);
  model.device.link.data_credits = 8;
  model.device.link.write_credits = 8;
  for (const bool is_write : {false, true}) {
    const auto few = channel_rates(model, is_write, 64_KiB);
    REQUIRE(few.has_value());
    INFO("write " << is_write);
    CHECK(few->link_waits_for_credits);
    // Eight lines, and back again over two crossings: 8 x 64 bytes in 2 x (12.5 + 2.16) ns, to the
    // device in 25 more until its controller has them.
    const double most = 512 / (29.3 + (is_write ? 25 : 0)) * 1e9;
    CHECK(few->link.bytes_per_second() < most);
    CHECK(few->link.bytes_per_second() > most * 0.8);
    const TransferFigures got = timed(model, kNine, {kHundredGb, 18, 36}, is_write);
    CHECK(got.stages[got.bottleneck].name == "CXL link");
    CHECK(stage(got, "CXL link").why.find("waits for credits") != std::string::npos);
    // The detailed device with the same credits.
    const auto detailed = run_type3(model.device, {.lines = 100'000,
                                                   .read_share = is_write ? 0.0 : 1.0,
                                                   .run = 64_KiB,
                                                   .streams = 4,
                                                   .window = 512});
    REQUIRE(detailed.has_value());
    CHECK(detailed->delivered.bytes_per_second() ==
          Approx(few->link.bytes_per_second()).epsilon(0.05));
  }
}

TEST_CASE("a long crossing with enough credits costs no rate", "[unit][model][box]") {
  BoxModel model = known("emfasys");
  const auto near = channel_rates(model, false, 64_KiB);
  model.device.link.crossing_ns = 1000;
  for (auto* credits : {&model.device.link.request_credits, &model.device.link.write_credits,
                        &model.device.link.data_credits, &model.device.link.completion_credits}) {
    *credits = 4096;
  }
  const auto far = channel_rates(model, false, 64_KiB);
  REQUIRE((near.has_value() && far.has_value()));
  CHECK_FALSE(far->link_waits_for_credits);
  CHECK(far->link == near->link);
}

TEST_CASE("known devices are what their files say", "[unit][model][box]") {
  const BoxModel emfasys = known("emfasys");
  CHECK(emfasys.device.dram.organization.peak().bytes_per_second() == Approx(44.8e9));
  CHECK(emfasys.device.link.lanes == 8);
  CHECK(emfasys.super_nic.path.bytes_per_second() == Approx(500e9));
  CHECK(emfasys.ethernet.protocol == WireProtocol::roce);
  const BoxModel vistara = known("vistara");
  CHECK(vistara.device.dram.organization.standard == DramStandard::ddr4);
  CHECK(vistara.device.dram.organization.ranks == 4);
  CHECK(vistara.device.dram_channels == 2);
  CHECK(vistara.device.host_ns == 124);
  CHECK(vistara.device.controller_ns == 50);
  CHECK(vistara.device.link.crossing_ns == 12.5);
  CHECK(vistara.device.link.lanes == 8);
  CHECK(vistara.device.link.flit_bytes == 68);
  CHECK(vistara.device.interleave == 256_B);
  CHECK(emfasys.device.controller_ns == 50);
  CHECK(emfasys.device.link.crossing_ns == 12.5);
  CHECK_FALSE(device_text("emfasis").has_value());
}

TEST_CASE("a parameter file that is wrong is refused with what is allowed", "[unit][model][box]") {
  struct Row {
    const char* text;
    const char* says;
  };
  for (const Row& row :
       {Row{"[link]\nlanes = 12", "f: link.lanes = 12: allowed are 4, 8, 16"},
        Row{"[link]\ngeneration = \"gen6\"", "64 GT/s has no flits of 68 bytes"},
        Row{"[link]\ngeneration = \"gen7\"", "f:2: link.generation = 'gen7': allowed is \"gen5\""},
        Row{"[link]\nlane = 8", "f:2: link.lane = 8: unknown key; allowed are name, dram.standard"},
        Row{"[link]\nlanes = -1", "f:2: link.lanes = -1: allowed is 4, 8, 16"},
        Row{"[link]\nlanes = 8.5", "link.lanes = 8.5: allowed is 4, 8, 16"},
        Row{"[link]\nshares_data_headers = 1", "shares_data_headers = 1: allowed is true or false"},
        Row{"[dram]\nrate_mt_per_s = 5000", "f: dram.rate_mt_per_s = 5000: not in JEDEC's table"},
        Row{"[dram]\nread_queue = 0",
            "dram.read_queue = 0: allowed is a whole number from 1 to 256"},
        Row{"[controller]\nround_trip_ns = -3",
            "f: controller.round_trip_ns = -3: allowed is 0 to 10000"},
        Row{"[ethernet]\npropagation_ns = 2e6",
            "propagation_ns = 2000000: allowed is 0 to 1000000"},
        Row{"[host]\nround_trip_ns = -1", "f: host.round_trip_ns = -1: allowed is 0 to 10000"},
        Row{"[dram]\ndimms_per_channel = 3",
            "dimms_per_channel = 3: allowed is a whole number from"},
        Row{"[dram]\ninterleave_bytes = 100", "f: dram.interleave_bytes = 100: allowed are"},
        Row{"[dram]\ncl = 7", "f: dram.cl = 7: 2.5 ns; allowed is 8 to 50 ns"},
        Row{"[ethernet]\nmtu_bytes = 1500", "allowed with roce are 256, 512, 1024, 2048, 4096"},
        Row{"[ethernet]\nprotocol = \"tcp\"\nmtu_bytes = 100", "allowed with tcp is 576 to 9216"},
        Row{"[host]\npcie_max_payload_bytes = 300", "allowed are powers of two, 128 to 4096"},
        Row{"name = 3", "f:1: name = 3: allowed is a text in quotes"},
        Row{"[link\n", "f:1: not TOML"}}) {
    const auto model = parse_device(row.text, "f");
    INFO(row.text);
    REQUIRE_FALSE(model.has_value());
    CHECK(model.error().code == Errc::config_invalid);
    INFO(model.error().detail);
    CHECK(model.error().detail.find(row.says) != std::string::npos);
  }
}

TEST_CASE("a transfer that a box cannot make is refused", "[unit][model][box]") {
  const BoxModel model = known("emfasys");
  const auto rates = channel_rates(model, false, 64_KiB);
  REQUIRE(rates.has_value());
  const auto refuses = [&](const Transfer& transfer, const char* says) {
    const auto figures = time_transfer(model, kNine, transfer, *rates);
    REQUIRE_FALSE(figures.has_value());
    CHECK(figures.error().detail.find(says) != std::string::npos);
  };
  refuses({kHundredGb, 19, 1}, "dram_channels = 19: allowed is 1 to 18");
  refuses({kHundredGb, 0, 1}, "dram_channels = 0");
  refuses({kHundredGb, 2, 5}, "eth_ports = 5: allowed is 1 to 4");
  refuses({SizeBytes(0), 2, 1}, "size = 0");
}

}  // namespace
}  // namespace godbox::emulator::model
