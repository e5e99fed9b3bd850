// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/channel_groups.h>

#include <catch2/catch_test_macros.hpp>

using namespace godbox;
using namespace godbox::emulator;

namespace {

using Numbers = std::vector<unsigned>;

BoxConfig box_of(std::uint32_t super_nics, std::uint32_t per_super_nic, ChannelForm form) {
  BoxConfig config;
  config.super_nics = super_nics;
  config.dram_channels_per_super_nic = per_super_nic;
  config.form = form;
  return config;
}

Numbers numbers_of(const ChannelGroup& group) {
  Numbers numbers;
  for (const DramChannelId channel : group.channels) {
    numbers.push_back(channel.value());
  }
  return numbers;
}

}  // namespace

TEST_CASE("in form channels no channel shares a memory", "[unit]") {
  CHECK(channel_groups(box_of(9, 2, ChannelForm::channels)).value().empty());
  CHECK(channel_groups(box_of(9, 1, ChannelForm::super_nics)).value().empty());
}

TEST_CASE("in form super-nics the channels of each SuperNIC share one", "[unit]") {
  BoxConfig config = box_of(9, 2, ChannelForm::super_nics);
  const auto groups = channel_groups(config).value();
  REQUIRE(groups.size() == 9);
  for (unsigned i = 0; i < 9; ++i) {
    CHECK(numbers_of(groups[i]) == Numbers{2 * i, 2 * i + 1});
    CHECK(groups[i].interleave.ways.count() == 2);
    CHECK(groups[i].interleave.granularity.size() == 4_KiB);
  }
  config.interleave_granularity = 256_B;
  CHECK(channel_groups(config).value()[0].interleave.granularity.size() == 256_B);
}

// Position i lies behind window target i % targets (Linux, QEMU): 8 bridges of 2 ports each.
TEST_CASE("in form widest a memory has the order of the region's positions", "[unit]") {
  const auto groups = channel_groups(box_of(9, 2, ChannelForm::widest)).value();
  REQUIRE(groups.size() == 2);
  CHECK(numbers_of(groups[0]) == Numbers{0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15});
  CHECK(groups[0].interleave.granularity.size() == 2_KiB);
  CHECK(numbers_of(groups[1]) == Numbers{16, 17});
}

TEST_CASE("the groups of a box are those of a plan in its form, and of no other's", "[unit]") {
  vm::VmConfig config;
  config.box = box_of(4, 2, ChannelForm::super_nics);
  const auto groups = channel_groups(config.box).value();
  config.form = ChannelForm::super_nics;
  CHECK(channel_groups(vm::make_plan(config).value()) == groups);
  config.granularity = 1_KiB;
  CHECK_FALSE(channel_groups(vm::make_plan(config).value()) == groups);
  config.form = ChannelForm::widest;
  config.granularity.reset();
  CHECK_FALSE(channel_groups(vm::make_plan(config).value()) == groups);
}

// Where a second window begins, and so who has its first granule, depends on the first one's size.
TEST_CASE("a box of any channel size lies as its default guest is shown it", "[unit]") {
  for (const std::uint32_t channels : {3U, 6U, 7U, 11U, 12U, 14U, 18U, 19U, 28U}) {
    for (const SizeBytes size : {256_MiB, 512_MiB, 768_MiB, 1_GiB, 2_GiB, 1280_GiB}) {
      CAPTURE(channels, size.count());
      vm::VmConfig config;
      config.box = box_of(channels, 1, ChannelForm::widest);
      config.box.dram_channel_size = size;
      config.form = ChannelForm::widest;
      CHECK(channel_groups(vm::make_plan(config).value()) == channel_groups(config.box).value());
    }
  }
  // 4 and 3: the second window begins where another granule is the first.
  BoxConfig box = box_of(7, 1, ChannelForm::widest);
  box.dram_channel_size = 256_MiB;
  const auto small = channel_groups(box).value();
  box.dram_channel_size = 512_MiB;
  CHECK_FALSE(channel_groups(box).value() == small);
}

TEST_CASE("channels that are in no guest have the order of the next size that is", "[unit]") {
  BoxConfig box = box_of(7, 1, ChannelForm::widest);
  box.dram_channel_size = 512_MiB;
  const auto groups = channel_groups(box).value();
  box.dram_channel_size = 300_MiB;
  CHECK(channel_groups(box).value() == groups);
}

TEST_CASE("what no guest can be shown is refused by the form's name", "[unit]") {
  BoxConfig box = box_of(9, 2, ChannelForm::widest);
  box.dram_channel_size = SizeBytes(std::uint64_t{1} << 48U);
  const auto refused = channel_groups(box);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().detail.find("form = \"widest\"") != std::string::npos);
}

TEST_CASE("a form that is not legal for the box says which rule it breaks", "[unit]") {
  const auto refused = channel_groups(box_of(2, 5, ChannelForm::super_nics));
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::config_invalid);
  CHECK(refused.error().detail.find("interleave") != std::string::npos);
}
