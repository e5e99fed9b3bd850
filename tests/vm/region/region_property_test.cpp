// SPDX-License-Identifier: Apache-2.0
//
// Regions over a box's memory are made, written, looked at and destroyed, in any legal form: what
// was written through a region, over TCP or through a mapping is what each device has at its DPAs
// and what every other door gives, before and after, whether QEMU has the region as RAM or not.
// usage: vm_region_tests [--rng-seed N]: the seed that it prints replays it.
#include "cxl_rig.h"
#include "vm/pool_memory.h"
#include <godbox/app/box_server.h>
#include <godbox/connect.h>
#include <godbox/emulator/vm/qemu_command.h>
#include <godbox/emulator/vm/qemu_program.h>
#include <godbox/emulator/vm/virtual_machine.h>
#include <godbox/striping/slab_layout.h>
#include <godbox_test/seeded_random.h>

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <filesystem>
#include <set>

#include <unistd.h>

namespace godbox::test {
namespace {

using emulator::ChannelForm;
using emulator::vm::VmPlan;

constexpr int kCases = 200;
constexpr int kCasesPerBox = 10;
constexpr int kWritesPerCase = 12;
constexpr std::size_t kWriteBytesMax = 1500;
constexpr std::size_t kStripBytes = 65536;

struct Shape {
  std::uint32_t super_nics;
  std::uint32_t channels;  // of each
  ChannelForm form;
  std::size_t targets;  // of the form's windows
};

// Interleaved by the bridge, by the window, by both; by 3, 6 and 12, where granules are counted
// from address 0; and not at all.
constexpr Shape kShapes[] = {
    {1, 2, ChannelForm::super_nics, 1}, {1, 4, ChannelForm::super_nics, 1},
    {1, 8, ChannelForm::super_nics, 1}, {2, 4, ChannelForm::super_nics, 1},
    {1, 3, ChannelForm::super_nics, 3}, {8, 1, ChannelForm::widest, 4},
    {4, 1, ChannelForm::channels, 1},   {8, 2, ChannelForm::widest, 8},
    {1, 6, ChannelForm::super_nics, 6}, {12, 1, ChannelForm::widest, 12},
};

SizeBytes random_granularity(SeededRandom& random, std::size_t targets, std::size_t ways = 1) {
  // Behind a window each bridge interleaves at the window's granularity times its ways.
  unsigned steps = targets > 8 ? 3 : targets > 4 ? 4 : targets > 2 ? 5 : targets > 1 ? 6 : 7;
  // And no address bit above 14 chooses a device; a factor 3 takes none.
  const std::size_t powers = ways % 3 == 0 ? ways / 3 : ways;
  while (powers > 1 && (std::size_t{128} << steps) * powers > 32768) {
    --steps;
  }
  return SizeBytes(std::uint64_t{256} << random.below(steps));
}

emulator::BoxConfig box_of(const Shape& shape, const std::string& socket, SeededRandom& random) {
  emulator::BoxConfig config;
  config.super_nics = shape.super_nics;
  config.dram_channels_per_super_nic = shape.channels;
  config.eth_ports_per_super_nic = 1;
  config.dram_channel_size = 256_MiB;
  config.tcp_port_base = 0;
  config.control_socket = socket;
  config.backing_limit = 2_GiB;
  config.server_threads = 1;
  config.map_memory = emulator::MapMemory::cxl;
  config.form = shape.form;
  if (shape.form != ChannelForm::channels) {
    const std::size_t ways =
        std::size_t{shape.channels} * (shape.form == ChannelForm::widest ? shape.super_nics : 1U);
    config.interleave_granularity = random_granularity(random, shape.targets, ways);
  }
  return config;
}

class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / "godbox-region-XXXXXX") {
    REQUIRE(mkdtemp(path_.data()) != nullptr);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string socket() const { return path_ + "/control.sock"; }

 private:
  std::string path_;
};

// The devices as the box's form has them, and more windows: one over each bridge, over the first
// two, three and four, and over all, as far as they are legal.
VmPlan plan_with_windows(const VmPlan& of_form, SeededRandom& random) {
  emulator::vm::WrittenTopology written{.origin = "test",
                                        .topology = of_form.topology,
                                        .channel_of_device = of_form.channel_of_device};
  const std::size_t bridges = written.topology.host_bridges.size();
  const auto add = [&](std::size_t first, std::size_t count) {
    // Room for all devices, in as many units of 256 MiB as each target has its share of.
    const std::size_t shares = (of_form.topology.devices.size() + count - 1) / count * count;
    cxl::FixedMemoryWindow window{.name = {},
                                  .targets = {},
                                  .granularity = random_granularity(random, count),
                                  .size = 256_MiB * shares,
                                  .base = std::nullopt};
    window.name = "more" + std::to_string(written.topology.windows.size());
    for (std::size_t i = first; i < first + count; ++i) {
      window.targets.emplace_back(static_cast<std::uint16_t>(i));
    }
    written.topology.windows.push_back(std::move(window));
  };
  for (std::size_t bridge = 0; bridge < bridges; ++bridge) {
    add(bridge, 1);
  }
  for (const std::size_t count : {2U, 3U, 4U}) {
    if (count < bridges) {
      add(random.below(bridges - count + 1), count);
    }
  }
  written.topology.regions.clear();
  auto plan = emulator::vm::plan_of(of_form.config, written);
  if (!plan.has_value()) {
    FAIL(plan.error().detail);
  }
  return std::move(*plan);
}

// What each channel has, of the bytes that the test touches: the same DPAs of each.
struct Model {
  std::uint64_t dpa = 0;
  std::vector<std::vector<std::byte>> channels;
};

// A box, a client of it over TCP and one that maps it, a VM without a guest that shows it, and one
// region of remote memory that has a strip of each channel.
class World {
 public:
  World(const Shape& shape, SeededRandom& random) : random_(random) {
    emulator::BoxConfig config = box_of(shape, folder_.socket(), random);
    auto server = app::BoxServer::start(config);
    if (!server.has_value()) {
      FAIL(server.error().message());
    }
    server_ = std::move(*server);
    tcp_ = connected("unix:" + folder_.socket());
    local_ = connected("local:" + folder_.socket());
    lease_ = ChannelLease::take(folder_.socket()).value();
    allocate();
    start_machine(config);
  }

  // The region in the box's own form; where it is the channels', of one of them.
  [[nodiscard]] Form configured() const {
    const auto& region = of_form_.regions[random_.below(of_form_.regions.size())];
    Form form{.window = region.window, .granularity = region.granularity, .devices = {}};
    for (const emulator::vm::PlannedMember& member : region.members) {
      form.devices.push_back(member.device);
    }
    return form;
  }

  // Any legal one. Position i lies behind window target i % targets.
  [[nodiscard]] Form any() const {
    const cxl::Topology& topology = plan_.topology;
    Form form;
    form.window = cxl::FixedMemoryWindowId(
        static_cast<std::uint16_t>(random_.below(topology.windows.size())));
    const cxl::FixedMemoryWindow& window = topology.windows[form.window.value()];
    const std::size_t targets = window.targets.size();
    std::vector<std::vector<cxl::Type3DeviceId>> behind;
    std::size_t each = 8;
    for (const cxl::HostBridgeId bridge : window.targets) {
      behind.push_back(devices_behind(bridge));
      each = std::min(each, behind.back().size());
    }
    while (each > 1 && (!std::has_single_bit(each) || each * targets > 16 || targets == 3 ||
                        targets == 6 || targets == 12 || random_.below(3) == 0)) {
      --each;
    }
    form.granularity = targets > 1 ? window.granularity : random_granularity(random_, each);
    for (std::size_t position = 0; position < each * targets; ++position) {
      form.devices.push_back(behind[position % targets][position / targets]);
    }
    return form;
  }

  [[nodiscard]] Form alone(cxl::Type3DeviceId device) const {
    const auto bridge =
        std::get<cxl::HostBridgeId>(plan_.topology.devices[device.value()].attached_to.component);
    const std::size_t window = of_form_.topology.windows.size() + bridge.value();
    return {.window = cxl::FixedMemoryWindowId(static_cast<std::uint16_t>(window)),
            .granularity = 256_B,
            .devices = {device}};
  }

  void write(const Form& form) {
    for (int i = 0; i < kWritesPerCase; ++i) {
      const std::uint64_t way = random_.below(4);
      if (way == 0) {
        write_by(*tcp_);
      } else if (way == 1) {
        write_by(*local_);
      } else {
        write_through(form);
      }
    }
  }

  void check(const Form& form) {
    check_region(form);
    check_client(*tcp_, "over TCP");
    check_client(*local_, "through the mapping");
  }

  // Each alone, in a region of one way.
  void check_devices() {
    for (std::size_t d = 0; d < plan_.topology.devices.size(); ++d) {
      const Form form = alone(cxl::Type3DeviceId(static_cast<std::uint16_t>(d)));
      rig_->create(form);
      check_region(form);
      rig_->destroy(form);
    }
  }

  [[nodiscard]] CxlRig& rig() { return *rig_; }

 private:
  std::unique_ptr<Connection> connected(const std::string& address) {
    auto connection = connect(address);
    if (!connection.has_value()) {
      FAIL(connection.error().message());
    }
    return std::move(*connection);
  }

  // A strip of each channel, at the same DPA: a stripe.
  void allocate() {
    const std::size_t channels = server_->box().config().dram_channels();
    region_ = tcp_->client().allocate(SizeBytes(kStripBytes * channels)).value();
    model_.channels.assign(channels, std::vector<std::byte>(kStripBytes));
    std::set<std::uint64_t> starts;
    for (const striping::DramRun& run : runs_of(0, kStripBytes * channels)) {
      starts.insert(run.offset.count() / kStripBytes * kStripBytes);
    }
    REQUIRE(starts.size() == 1);
    model_.dpa = *starts.begin();
  }

  void start_machine(const emulator::BoxConfig& config) {
    emulator::vm::VmConfig shown;
    shown.box = config;
    shown.owner = cxl::ChannelOwner::pool;
    shown.guest_memory = emulator::vm::kGuestMemoryMin;
    const auto groups = app::channel_groups(*lease_);
    auto of_form = app::plan_as_it_lies(shown, groups);
    if (!of_form.has_value()) {
      FAIL(of_form.error().detail);
    }
    of_form_ = std::move(*of_form);
    plan_ = plan_with_windows(of_form_, random_);
    emulator::vm::QemuInputs inputs;
    for (const DramChannelId channel : plan_.channel_of_device) {
      inputs.backing_paths.push_back(
          emulator::vm::descriptor_path(lease_->descriptors()[channel.value()]));
    }
    inputs.interleaved = app::interleaved_memories(plan_, groups).value();
    const auto qemu = emulator::vm::find_qemu("").value();
    machine_ =
        std::make_unique<Qtest>(qemu.path, emulator::vm::qemu_arguments(plan_, inputs).value());
    rig_ = std::make_unique<CxlRig>(*machine_, plan_);
  }

  [[nodiscard]] std::vector<cxl::Type3DeviceId> devices_behind(cxl::HostBridgeId bridge) const {
    std::vector<cxl::Type3DeviceId> devices;
    for (std::size_t d = 0; d < plan_.topology.devices.size(); ++d) {
      const cxl::CxlPort& port = plan_.topology.devices[d].attached_to;
      if (std::get<cxl::HostBridgeId>(port.component) == bridge) {
        devices.emplace_back(static_cast<std::uint16_t>(d));
      }
    }
    for (std::size_t i = devices.size(); i > 1; --i) {
      std::swap(devices[i - 1], devices[random_.below(i)]);
    }
    return devices;
  }

  // Where the bytes of the remote memory are, by the box's slabs.
  [[nodiscard]] std::vector<striping::DramRun> runs_of(std::uint64_t offset, std::uint64_t size) {
    std::vector<striping::DramRun> runs;
    for (const Extent& extent : region_.extents) {
      wire::SlabsReply reply;
      server_->box().service().describe_slabs(wire::SlabIdsRequest{{extent.address.slab}}, reply);
      const auto layout = striping::SlabLayout::create(reply.slabs.at(0)).value();
      const std::uint64_t begin = std::min<std::uint64_t>(offset, extent.length_bytes);
      const std::uint64_t taken = std::min<std::uint64_t>(size, extent.length_bytes - begin);
      layout.for_each_run(extent.address.offset + SizeBytes(begin), taken,
                          [&](const striping::DramRun& run) { runs.push_back(run); });
      offset -= begin;
      size -= taken;
    }
    return runs;
  }

  std::byte& in_model(DramChannelId channel, std::uint64_t dpa) {
    return model_.channels.at(channel.value()).at(dpa - model_.dpa);
  }

  // The bytes of a region that are in the model: the row of granules from its first one on.
  struct Touched {
    std::uint64_t begin;
    std::uint64_t size;
  };
  [[nodiscard]] Touched touched(const Form& form) const {
    return {model_.dpa * form.ways(), kStripBytes * form.ways()};
  }

  std::byte& in_model(const Form& form, std::uint64_t offset) {
    const Place place = rig_->place(form, offset);
    return in_model(plan_.channel_of_device[place.device.value()], place.dpa);
  }

  std::vector<std::byte> random_bytes(std::uint64_t room) {
    const bool is_word = random_.below(2) == 0;
    const std::uint64_t size =
        is_word ? 8 : 1 + random_.below(std::min<std::uint64_t>(room, kWriteBytesMax));
    std::vector<std::byte> bytes(size);
    random_.fill(bytes);
    return bytes;
  }

  void write_through(const Form& form) {
    const Touched all = touched(form);
    const std::vector<std::byte> bytes = random_bytes(all.size);
    const std::uint64_t offset = all.begin + random_.below(all.size - bytes.size() + 1);
    machine_->write(rig_->base(form) + offset, bytes);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      in_model(form, offset + i) = bytes[i];
    }
  }

  void write_by(Connection& door) {
    const std::uint64_t size = region_.size.count();
    std::vector<std::byte> bytes = random_bytes(size);
    const std::uint64_t offset = random_.below(size - bytes.size() + 1);
    const striping::RegionPiece piece{RegionOffset(offset), {bytes.data(), bytes.size()}};
    REQUIRE(door.client().write(region_, {&piece, 1}) == Errc::ok);
    std::size_t done = 0;
    for (const striping::DramRun& run : runs_of(offset, bytes.size())) {
      for (std::uint32_t i = 0; i < run.length_bytes; ++i, ++done) {
        in_model(run.dram_channel, run.offset.count() + i) = bytes[done];
      }
    }
  }

  void check_region(const Form& form) {
    const Touched all = touched(form);
    const std::vector<std::byte> bytes = machine_->read(rig_->base(form) + all.begin, all.size);
    for (std::uint64_t i = 0; i < all.size; ++i) {
      if (bytes[i] != in_model(form, all.begin + i)) {
        const Place place = rig_->place(form, all.begin + i);
        FAIL("region offset " << all.begin + i << ", device " << place.device.value() << ", DPA "
                              << place.dpa << ": " << std::to_integer<int>(bytes[i])
                              << ", written was "
                              << std::to_integer<int>(in_model(form, all.begin + i)));
      }
    }
  }

  void check_client(Connection& door, const char* which) {
    std::vector<std::byte> bytes(region_.size.count());
    const striping::RegionPiece piece{RegionOffset(0), {bytes.data(), bytes.size()}};
    REQUIRE(door.client().read(region_, {&piece, 1}) == Errc::ok);
    std::size_t done = 0;
    for (const striping::DramRun& run : runs_of(0, bytes.size())) {
      for (std::uint32_t i = 0; i < run.length_bytes; ++i, ++done) {
        if (bytes[done] != in_model(run.dram_channel, run.offset.count() + i)) {
          FAIL(which << ", byte " << done << " of the remote memory, DRAM channel "
                     << run.dram_channel.value() << ", DPA " << run.offset.count() + i);
        }
      }
    }
  }

  SeededRandom& random_;
  Folder folder_;
  std::unique_ptr<app::BoxServer> server_;
  std::unique_ptr<ChannelLease> lease_;
  std::unique_ptr<Connection> tcp_;
  std::unique_ptr<Connection> local_;
  striping::Region region_;
  VmPlan of_form_;
  VmPlan plan_;
  std::unique_ptr<Qtest> machine_;
  std::unique_ptr<CxlRig> rig_;
  Model model_;
};

std::string text_of(const Form& form) {
  std::string text = "x" + std::to_string(form.ways()) + " at " +
                     std::to_string(form.granularity.count()) + " of devices";
  for (const cxl::Type3DeviceId device : form.devices) {
    text += " " + std::to_string(device.value());
  }
  return text + " in window " + std::to_string(form.window.value());
}

// One case: write through a region, look, destroy it, look at each device, make another region of
// the same memory, look again.
void run_case(World& world, SeededRandom& random, int* direct) {
  const Form first = random.below(2) == 0 ? world.configured() : world.any();
  const Form second = random.below(2) == 0 ? world.configured() : world.any();
  INFO("first " << text_of(first) << "; then " << text_of(second));
  world.rig().create(first);
  *direct += world.rig().is_ram(first) ? 1 : 0;
  world.write(first);
  world.check(first);
  world.rig().destroy(first);
  REQUIRE_FALSE(world.rig().is_ram(first));
  world.check_devices();
  world.rig().create(second);
  world.check(second);
  world.write(second);
  world.check(second);
  world.rig().destroy(second);
}

TEST_CASE("what is written through a region is what every device and every door has", "[qemu]") {
  const auto qemu = emulator::vm::find_qemu("");
  if (!qemu.has_value()) {
    SKIP(qemu.error().detail);
  }
  if (!qemu->is_patched) {
    SKIP("needs the QEMU that qemu-patches/build makes; this is " << qemu->description());
  }
  const std::uint32_t seed = Catch::getSeed();
  SeededRandom random(seed);
  INFO("--rng-seed " << seed);
  int direct = 0;
  for (int done = 0; done < kCases; done += kCasesPerBox) {
    const Shape& shape =
        kShapes[static_cast<std::size_t>(done / kCasesPerBox) % std::size(kShapes)];
    INFO(shape.super_nics << " x " << shape.channels << " channels, form "
                          << to_string(shape.form));
    World world(shape, random);
    for (int i = 0; i < kCasesPerBox; ++i) {
      INFO("case " << done + i);
      run_case(world, random, &direct);
    }
  }
  std::printf("%d cases, %d of them first in a region that is RAM, no difference; --rng-seed %u\n",
              kCases, direct, seed);
  CHECK(direct > kCases / 4);
}

}  // namespace
}  // namespace godbox::test
