// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/vm/interleaved_memory.h>
#include <godbox/emulator/vm/qemu_command.h>

#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace godbox::emulator::vm {
namespace {

VmConfig config_of(unsigned super_nics, unsigned per_super_nic, ChannelForm form) {
  VmConfig config;
  config.box = *preset("laptop");
  config.box.super_nics = super_nics;
  config.box.dram_channels_per_super_nic = per_super_nic;
  config.form = form;
  return config;
}

std::vector<unsigned> numbers(const InterleavedMemory& memory) {
  std::vector<unsigned> all;
  for (const cxl::Type3DeviceId device : memory.devices) {
    all.push_back(device.value());
  }
  return all;
}

std::string device_line(const std::vector<std::string>& arguments, std::string_view id) {
  const auto found = std::find_if(arguments.begin(), arguments.end(), [&](const std::string& one) {
    return one.starts_with(fmt::format("cxl-type3,id={},", id));
  });
  return found == arguments.end() ? std::string() : *found;
}

TEST_CASE("regions of one channel have no memory in common") {
  const VmPlan plan = make_plan(config_of(9, 2, ChannelForm::channels)).value();
  CHECK(interleaved_memories(plan).empty());
}

TEST_CASE("the channels of a region lie in one memory, in the order of its granules") {
  const VmPlan plan = make_plan(config_of(9, 2, ChannelForm::super_nics)).value();
  const auto memories = interleaved_memories(plan);
  REQUIRE(memories.size() == 9);
  CHECK(numbers(memories[0]) == std::vector<unsigned>{0, 1});
  CHECK(numbers(memories[8]) == std::vector<unsigned>{16, 17});
  CHECK(memories[8].granularity == SizeBytes(4096));
  CHECK(memories[8].size == SizeBytes(512U << 20U));
}

TEST_CASE("over three bridges the first granule is where the window's address leads") {
  const VmPlan plan = make_plan(config_of(1, 3, ChannelForm::super_nics)).value();
  const auto memories = interleaved_memories(plan);
  REQUIRE(memories.size() == 1);
  // QEMU takes (address / 4096) % 3 from 0 on; the region begins at a multiple of 256 MiB.
  const std::uint64_t base = plan.placement.regions[0].hpa.base.count();
  const auto first = static_cast<unsigned>(base / 4096 % 3);
  CHECK(numbers(memories[0]) == std::vector<unsigned>{first, (first + 1) % 3, (first + 2) % 3});
}

TEST_CASE("QEMU gets one memory for a region and each device's place in it") {
  const VmPlan plan = make_plan(config_of(2, 2, ChannelForm::super_nics)).value();
  QemuInputs inputs;
  inputs.backing_paths = {"/a", "/a", "/b", "/b"};
  inputs.interleaved = interleaved_memories(plan);
  const auto arguments = qemu_arguments(plan, inputs).value();
  const auto has = [&](std::string_view value) {
    return std::count(arguments.begin(), arguments.end(), value) == 1;
  };
  CHECK(has("memory-backend-file,id=dram0,size=512M,share=on,reserve=off,mem-path=/a"));
  CHECK(has("memory-backend-file,id=dram2,size=512M,share=on,reserve=off,mem-path=/b"));
  CHECK(device_line(arguments, "mem3")
            .find(",volatile-memdev=dram2,volatile-memdev-ways=2,"
                  "volatile-memdev-granularity=4096,volatile-memdev-position=1,") !=
        std::string::npos);
  inputs.interleaved.clear();
  CHECK(device_line(qemu_arguments(plan, inputs).value(), "mem3").find("ways") ==
        std::string::npos);
}

}  // namespace
}  // namespace godbox::emulator::vm
