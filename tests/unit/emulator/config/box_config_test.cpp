// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/box_config.h>

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <limits>

#include <unistd.h>

namespace godbox::emulator {

using namespace godbox::literals;
using namespace std::chrono_literals;

namespace {

BoxConfig laptop() {
  const Result<BoxConfig> config = preset("laptop");
  REQUIRE(config.has_value());
  return *config;
}

// The message of applying `text` to the laptop preset, or "" when it was accepted.
std::string toml_error(std::string_view text) {
  const Result<BoxConfig> config = apply_toml(laptop(), text, "box.toml");
  if (config.has_value()) {
    return "";
  }
  CHECK(config.error().code == Errc::config_invalid);
  return config.error().detail;
}

std::string validation_error(const BoxConfig& config, Errc code = Errc::config_invalid) {
  const Result<void> valid = validate(config);
  if (valid.has_value()) {
    return "";
  }
  CHECK(valid.error().code == code);
  return valid.error().detail;
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("the presets are the boxes they are named after", "[unit][config]") {
  CHECK(preset_names() ==
        std::vector<std::string_view>{"emfasys18", "emfasys28", "acf1", "laptop"});
  for (const std::string_view name : preset_names()) {
    const Result<BoxConfig> config = preset(name);
    REQUIRE(config.has_value());
    CHECK(validation_error(*config).empty());
    CHECK(config->device == "emfasys");
    CHECK_FALSE(config->rates.has_value());
  }
  const BoxConfig emfasys18 = *preset("emfasys18");
  CHECK(emfasys18.super_nics == 9);
  CHECK(emfasys18.dram_channels() == 18);
  CHECK(emfasys18.eth_ports() == 36);
  CHECK(emfasys18.capacity() == 18_TiB);
  CHECK(emfasys18.eth_port_rate == Rate(100e9));
  const BoxConfig emfasys28 = *preset("emfasys28");
  CHECK(emfasys28.dram_channels() == 28);
  CHECK(emfasys28.eth_ports() == 56);
  CHECK(emfasys28.capacity() == 28_TiB);
  const BoxConfig acf1 = *preset("acf1");
  CHECK(acf1.super_nics == 1);
  CHECK(acf1.dram_channels() == 18);
  CHECK(acf1.eth_ports() == 32);
  CHECK(acf1.eth_port_rate == Rate(12.5e9));
  const BoxConfig small = laptop();
  CHECK(small.dram_channels() == 18);
  CHECK(small.eth_ports() == 9);
  CHECK(small.dram_channel_size == 256_MiB);
  CHECK(small.super_nic_of(DramChannelId(17)) == SuperNicId(8));
}

TEST_CASE("an unknown preset is answered with the known ones", "[unit][config]") {
  const Result<BoxConfig> config = preset("emfasis18");
  REQUIRE(!config.has_value());
  CHECK(config.error().code == Errc::config_invalid);
  CHECK(config.error().detail ==
        "preset = \"emfasis18\": there is none of that name, did you mean \"emfasys18\"?; "
        "allowed: emfasys18, emfasys28, acf1, laptop");
}

TEST_CASE("sizes are read strictly", "[unit][config]") {
  const std::pair<std::string_view, SizeBytes> right[] = {
      {"0", 0_B},
      {"4096", 4096_B},
      {"64KiB", 64_KiB},
      {"256 MiB", 256_MiB},
      {"1TiB", 1_TiB},
      {"12GB", SizeBytes(12'000'000'000)},
      {"7B", 7_B},
      {"16777215TiB", SizeBytes(std::uint64_t{16777215} << 40U)},
      {"18446744073709551615", SizeBytes(UINT64_MAX)}};
  for (const auto& [text, size] : right) {
    INFO(text);
    const Result<SizeBytes> parsed = parse_size(text);
    REQUIRE(parsed.has_value());
    CHECK(*parsed == size);
  }
  const std::string_view wrong[] = {"",
                                    " ",
                                    "MiB",
                                    "1 MiB ",
                                    " 1MiB",
                                    "1  MiB",
                                    "1mib",
                                    "1 Mib",
                                    "1M",
                                    "-1",
                                    "+1",
                                    "1.5GiB",
                                    "0x10",
                                    "1e3",
                                    "1MiB/s",
                                    "1 MiB x",
                                    "1,000",
                                    "16777216TiB",
                                    "18446744073709551616",
                                    "1\tMiB",
                                    "\xEF\xBC\x91"};
  for (const std::string_view text : wrong) {
    INFO(text);
    const Result<SizeBytes> parsed = parse_size(text);
    REQUIRE(!parsed.has_value());
    CHECK(parsed.error().code == Errc::config_invalid);
    CHECK(contains(parsed.error().detail, "256MiB"));
  }
}

TEST_CASE("rates are read strictly", "[unit][config]") {
  const std::pair<std::string_view, double> right[] = {
      {"44.8GB/s", 44.8e9},     {"100Gbit/s", 12.5e9}, {"3.2 Tbit/s", 0.4e12},
      {"1GiB/s", 1073741824.0}, {"250 MB/s", 250e6},   {"8Mbit/s", 1e6}};
  for (const auto& [text, rate] : right) {
    INFO(text);
    const Result<Rate> parsed = parse_rate(text);
    REQUIRE(parsed.has_value());
    CHECK(parsed->bytes_per_second() == rate);
  }
  for (const std::string_view text :
       {"", "100", "100Gb/s", "100GB", "GB/s", "-1GB/s", "1..2GB/s", "1.2.3GB/s", ".5GB/s", "0GB/s",
        "0.0Gbit/s", "0", "nanGB/s", "infGB/s", "1e9B/s", "1 GB / s", "unlimited"}) {
    INFO(text);
    const Result<Rate> parsed = parse_rate(text);
    REQUIRE(!parsed.has_value());
    CHECK(contains(parsed.error().detail, "44.8GB/s"));
  }
}

TEST_CASE("a TOML document sets every key", "[unit][config]") {
  const Result<BoxConfig> config = apply_toml(BoxConfig(), R"(
preset = "acf1"
name = "bench"
super_nics = 2
dram_channels_per_super_nic = 3
eth_ports_per_super_nic = 5
dram_channel_size = "512MiB"
listen_host = "127.0.0.2"
tcp_port_base = 9000
control_socket = "/tmp/x.sock"
memory = "tmpfs"
memory_path = "/dev/shm/box"
form = "super-nics"
interleave_granularity = "1KiB"
backing_limit = "1GiB"
eviction = "none"
high_watermark = 0.8
low_watermark = 0.7
lease_max = "10s"
reservation_max = "2min"
session_timeout = "1500ms"
session_grace = "700ms"
mode = "paced"
time_scale = 100
server_threads = 4
device = "vistara"
device_settings = ["link.lanes=16", "dram.channels=1"]
eth_port_rate = "400Gbit/s"
channel_faults = ["3=slow:10%"]
roce_ports = ["10.0.2.2/24@packet:eth1", "10.0.3.2/24,port=7@verbs:mlx5_0"]
dpdk_huge_pages = true
)",
                                              "box.toml");
  REQUIRE(config.has_value());
  CHECK(config->name == "bench");
  CHECK(config->dram_channels() == 6);
  CHECK(config->eth_ports() == 10);
  CHECK(config->dram_channel_size == 512_MiB);
  CHECK(config->listen_host == "127.0.0.2");
  CHECK(config->tcp_port_base == 9000);
  CHECK(config->control_socket == "/tmp/x.sock");
  CHECK(config->memory == MemoryKind::tmpfs);
  CHECK(config->memory_path == "/dev/shm/box");
  CHECK(config->form == ChannelForm::super_nics);
  CHECK(config->interleave_granularity == 1_KiB);
  CHECK(config->backing_limit == 1_GiB);
  CHECK(config->eviction == EvictionPolicy::none);
  CHECK(config->high_watermark == 0.8);
  CHECK(config->low_watermark == 0.7);
  CHECK(config->lease_max == 10s);
  CHECK(config->reservation_max == 2min);
  CHECK(config->session_timeout == 1500ms);
  CHECK(config->session_grace == 700ms);
  CHECK(config->mode == TimingMode::paced);
  CHECK(config->time_scale == 100.0);
  CHECK(config->server_threads == 4);
  CHECK(config->device == "vistara");
  CHECK(config->device_settings == std::vector<std::string>{"link.lanes=16", "dram.channels=1"});
  CHECK(config->eth_port_rate == Rate(50e9));
  CHECK(config->channel_faults == std::vector<std::string>{"3=slow:10%"});
  CHECK(config->roce_ports ==
        std::vector<std::string>{"10.0.2.2/24@packet:eth1", "10.0.3.2/24,port=7@verbs:mlx5_0"});
  CHECK(config->dpdk_huge_pages);
  CHECK(validation_error(*config).empty());
}

TEST_CASE("a document keeps what it does not name, and its preset replaces all that came before",
          "[unit][config]") {
  BoxConfig base = laptop();
  base.super_nics = 3;
  base.name = "mine";
  const Result<BoxConfig> kept = apply_toml(base, "tcp_port_base = 0", "box.toml");
  REQUIRE(kept.has_value());
  CHECK(kept->super_nics == 3);
  CHECK(kept->name == "mine");
  CHECK(kept->tcp_port_base == 0);
  // Wherever it stands: TOML tables have no order.
  const Result<BoxConfig> replaced =
      apply_toml(base, "eth_ports_per_super_nic = 7\npreset = \"emfasys28\"", "box.toml");
  REQUIRE(replaced.has_value());
  CHECK(replaced->super_nics == 14);
  CHECK(replaced->eth_ports_per_super_nic == 7);
}

TEST_CASE("every mistake in a TOML document is answered with place, key, value and what is allowed",
          "[unit][config]") {
  struct Mistake {
    std::string_view toml;
    std::string_view answer;
  };
  const Mistake mistakes[] = {
      {"supernics = 9", "box.toml:1: supernics = 9: unknown key, did you mean \"super_nics\"?"},
      {"\n\nhigh_watermarks = 0.5",
       "box.toml:3: high_watermarks = 0.5: unknown key, did you mean \"high_watermark\"?"},
      {"eth_prot_rate = \"1GB/s\"",
       "box.toml:1: eth_prot_rate = '1GB/s': unknown key, did you mean \"eth_port_rate\"?"},
      {"zzz = 1", "box.toml:1: zzz = 1: unknown key; allowed are preset, name, super_nics, "},
      {"super_nics = \"9\"",
       "box.toml:1: super_nics = '9': allowed is a whole number from 1 to 64"},
      {"super_nics = 0", "box.toml:1: super_nics = 0: allowed is a whole number from 1 to 64"},
      {"super_nics = 65", "super_nics = 65: allowed is a whole number from 1 to 64"},
      {"super_nics = -1", "super_nics = -1: allowed is a whole number from 1 to 64"},
      {"super_nics = 9.0", "super_nics = 9.0: allowed is a whole number from 1 to 64"},
      {"super_nics = 9223372036854775807", "allowed is a whole number from 1 to 64"},
      {"tcp_port_base = 65536", "allowed is a whole number from 0 to 65535"},
      {"server_threads = 257", "allowed is a whole number from 0 to 256"},
      {"name = 7", "name = 7: allowed is a text in quotes"},
      {"listen_host = true", "listen_host = true: allowed is a text in quotes"},
      {"dram_channel_size = 1024", "dram_channel_size = 1024: allowed is a size such as"},
      {"dram_channel_size = \"1 meg\"", "dram_channel_size = '1 meg': allowed is a size such as"},
      {"backing_limit = [1]", "allowed is a size such as"},
      {"memory = \"dram\"",
       "memory = 'dram': allowed is \"memfd\", \"tmpfs\", \"hugetlbfs\", \"device\""},
      {"memory = 1", "memory = 1: allowed is \"memfd\", "},
      {"eviction = \"LRU\"", "eviction = 'LRU': allowed is \"none\", \"lru\""},
      {"mode = \"virtual\"", "mode = 'virtual': allowed is \"free\", \"paced\""},
      {"high_watermark = \"0.9\"",
       "high_watermark = '0.9': allowed is a number above 0, at most 1"},
      {"lease_max = 30", "lease_max = 30: allowed is a time such as"},
      {"lease_max = \"30 seconds\"", "allowed is a time such as"},
      {"reservation_max = \"9999999999999h\"", "allowed is a time such as"},
      {"eth_port_rate = 25", "box.toml:1: eth_port_rate = 25: allowed is a rate such as"},
      {"eth_port_rate = \"25\"", "eth_port_rate = '25': allowed is a rate such as"},
      {"device_settings = \"link.lanes=16\"", "allowed is a list of texts in quotes"},
      {"roce_ports = \"10.0.2.2@packet:eth1\"", "allowed is a list of texts in quotes"},
      {"dpdk_huge_pages = 1", "dpdk_huge_pages = 1: allowed is true or false"},
      {"[rates]\neth_port = \"1GB/s\"", "unknown key"},
      {"tenant_quota = 5", "tenant_quota = 5: allowed is a size such as"},
      {"tenant_quotas = \"1GiB\"", "allowed is a table, [tenant_quotas]"},
      {"[tenant_quotas]\nalice = \"much\"",
       "box.toml:2: tenant_quotas.alice = 'much': allowed is a size such as"},
      {"vm_quota = 5", "vm_quota = 5: allowed is a size such as"},
      {"vm_quotas = \"1GiB\"", "allowed is a table, [vm_quotas]"},
      {"[vm_quotas]\na = true", "box.toml:2: vm_quotas.a = true: allowed is a size such as"},
      {"tenant_quotaz = 1", "did you mean \"tenant_quota\"?"},
      {"map_memory = true", "map_memory = true: allowed is \"trusted\", \"off\""},
      {"busy_poll = 50", "busy_poll = 50: allowed is \"auto\", \"off\""},
      {"send_by_reference = \"on\"", "send_by_reference = 'on': allowed is \"auto\", \"off\""},
      {"[super_nics]\nx = 1", "super_nics = "},
      {"preset = \"leptop\"", "did you mean \"laptop\"?"},
      {"preset = 18", "box.toml:1: preset = \"18\": there is none of that name"},
      {"super_nics = ", "box.toml:1: not TOML: "},
      {"a = 1\na = 2", "box.toml:2: not TOML: "},
      {"\x80", "not TOML: "},
  };
  for (const Mistake& mistake : mistakes) {
    INFO(mistake.toml);
    const std::string answer = toml_error(mistake.toml);
    INFO(answer);
    CHECK(contains(answer, "box.toml:"));
    CHECK(contains(answer, mistake.answer));
  }
}

TEST_CASE("quotas are read for all tenants and for some", "[unit][config]") {
  const Result<BoxConfig> config = apply_toml(
      BoxConfig(), "tenant_quota = \"1GiB\"\n[tenant_quotas]\n\"a b\" = \"2GiB\"\nc = \"3MiB\"",
      "box.toml");
  REQUIRE(config.has_value());
  CHECK(config->tenant_quota == SizeBytes(1U << 30U));
  REQUIRE(config->tenant_quotas.size() == 2);
  CHECK(config->tenant_quotas[0].tenant == "a b");
  CHECK(config->tenant_quotas[0].quota == SizeBytes(std::uint64_t{2} << 30U));
  CHECK(config->tenant_quotas[1].tenant == "c");
}

TEST_CASE("quotas without meaning are answered by name", "[unit][config]") {
  const auto answer_to = [](std::optional<SizeBytes> all, std::vector<TenantQuota> each) {
    BoxConfig config = laptop();
    config.tenant_quota = all;
    config.tenant_quotas = std::move(each);
    return validation_error(config);
  };
  CHECK(contains(answer_to(0_B, {}), "tenant_quota = 0: allowed is more than"));
  CHECK(contains(answer_to({}, {{"a", 0_B}}), "tenant_quotas.a = 0: allowed is more than 0 bytes"));
  CHECK(contains(answer_to({}, {{"a", 1_MiB}, {"a", 2_MiB}}),
                 "tenant_quotas.a = 2097152: allowed is one quota for each"));
  CHECK(contains(answer_to({}, {{std::string(513, 'x'), 1_MiB}}),
                 "allowed is names of at most 512 bytes"));
  CHECK(answer_to(1_MiB, {{"a", 2_MiB}, {"b", 1_MiB}}).empty());
}

TEST_CASE("relations between keys are checked and answered by name", "[unit][config]") {
  struct Mistake {
    void (*make)(BoxConfig&);
    std::string_view answer;
  };
  const Mistake mistakes[] = {
      {[](BoxConfig& c) { c.super_nics = 0; },
       "super_nics x dram_channels_per_super_nic = 0: allowed is 1 to 64 DRAM channels"},
      {[](BoxConfig& c) { c.super_nics = 33; }, "= 66: allowed is 1 to 64 DRAM channels"},
      {[](BoxConfig& c) { c.super_nics = c.dram_channels_per_super_nic = 65536; },
       "= 4294967296: allowed is 1 to 64 DRAM channels"},
      {[](BoxConfig& c) { c.eth_ports_per_super_nic = 0; },
       "super_nics x eth_ports_per_super_nic = 0: allowed is 1 to 1024 Ethernet ports"},
      {[](BoxConfig& c) { c.eth_ports_per_super_nic = 200; }, "= 1800: allowed is 1 to 1024"},
      {[](BoxConfig& c) { c.dram_channel_size = 0_B; }, "dram_channel_size = 0: allowed is"},
      {[](BoxConfig& c) { c.dram_channel_size = 255_MiB; },
       "dram_channel_size = 267386880: allowed is a multiple of 268435456 bytes"},
      {[](BoxConfig& c) { c.dram_channel_size = 17_TiB; }, "at most 17592186044416"},
      {[](BoxConfig& c) { c.name = ""; }, "name = \"\": allowed is 1 to 64 characters"},
      {[](BoxConfig& c) { c.name = "a/b"; },
       "name = \"a/b\": allowed is 1 to 64 characters, none of them '/'"},
      {[](BoxConfig& c) { c.name = std::string("a\0b", 3); }, "none of them '/' or NUL"},
      {[](BoxConfig& c) { c.tcp_port_base = 65530; },
       "tcp_port_base = 65530: allowed is 0, or at most 65527, so that 9 Ethernet ports fit"},
      {[](BoxConfig& c) { c.backing_limit = 0_B; }, "backing_limit = 0: allowed is more"},
      {[](BoxConfig& c) { c.memory = MemoryKind::hugetlbfs; }, "memory_path = \"\": allowed is"},
      {[](BoxConfig& c) { c.memory_path = "/tmp"; },
       "memory_path = \"/tmp\": allowed is none when memory is memfd"},
      {[](BoxConfig& c) {
         c.memory = MemoryKind::device;
         c.memory_path = "/dev/dax0.0";
       },
       "memory_path = \"/dev/dax0.0\": allowed is a path with {}"},
      {[](BoxConfig& c) { c.high_watermark = 0; }, "high_watermark = 0: allowed is"},
      {[](BoxConfig& c) { c.high_watermark = 1.01; }, "high_watermark = 1.01: allowed is"},
      {[](BoxConfig& c) { c.high_watermark = std::numeric_limits<double>::quiet_NaN(); },
       "high_watermark = nan: allowed is"},
      {[](BoxConfig& c) { c.low_watermark = 0.96; },
       "low_watermark = 0.96: allowed is a number above 0, at most high_watermark (0.95)"},
      {[](BoxConfig& c) { c.low_watermark = 0; }, "low_watermark = 0: allowed is"},
      {[](BoxConfig& c) { c.lease_max = 0ns; }, "lease_max = 0ms: allowed is 10ms to 24h"},
      {[](BoxConfig& c) { c.session_timeout = 25h; }, "session_timeout = 90000000ms: allowed is"},
      {[](BoxConfig& c) { c.session_grace = 61s; }, "session_grace = 61000ms: allowed is"},
      {[](BoxConfig& c) { c.reservation_max = -1s; }, "reservation_max = -1000ms: allowed is"},
      {[](BoxConfig& c) { c.time_scale = 0; }, "time_scale = 0: allowed is"},
      {[](BoxConfig& c) { c.time_scale = std::numeric_limits<double>::infinity(); },
       "time_scale = inf: allowed is"},
      {[](BoxConfig& c) { c.time_scale = 1e-300; },
       "time_scale = 1e-300: allowed is a number above 0, at most 1000000000, by which"},
      {[](BoxConfig& c) { c.eth_port_rate = Rate(-1); }, "eth_port_rate = -1: allowed is"},
      {[](BoxConfig& c) { c.eth_port_rate = Rate(201e9); },
       "eth_port_rate = 201000000000: allowed is more than 0 bytes per second, at most"},
      {[](BoxConfig& c) { c.server_threads = 257; }, "server_threads = 257: allowed is 0 to 256"},
  };
  for (const Mistake& mistake : mistakes) {
    BoxConfig config = laptop();
    mistake.make(config);
    const std::string answer = validation_error(config);
    INFO(mistake.answer);
    INFO(answer);
    CHECK(contains(answer, mistake.answer));
  }
  BoxConfig edge = laptop();
  edge.tcp_port_base = 65527;
  edge.low_watermark = edge.high_watermark = 1.0;
  CHECK(validation_error(edge).empty());
  edge.dram_channel_size = 1_MiB;
  CHECK_FALSE(validation_error(edge).empty());
  CHECK(validate(edge, 1_MiB).has_value());
}

TEST_CASE("keys of memory that belong to another kind are answered by name", "[unit][config]") {
  struct Mistake {
    void (*make)(BoxConfig&);
    std::string_view answer;
  };
  const Mistake mistakes[] = {
      {[](BoxConfig& c) { c.memory_devices = {"/dev/dax0.0"}; },
       "memory_devices = 1 paths: allowed is none unless memory is device"},
      {[](BoxConfig& c) {
         c.memory = MemoryKind::device;
         c.memory_devices = {"/dev/dax0.0"};
       },
       "memory_devices = 1 paths: allowed is one for each of the 18 DRAM channels"},
      {[](BoxConfig& c) {
         c.memory = MemoryKind::device;
         c.memory_devices = std::vector<std::string>(18, "/dev/dax0.0");
       },
       "memory_devices = \"/dev/dax0.0\": allowed is paths, none of them empty or twice"},
      {[](BoxConfig& c) { c.memory_coherence = Coherence::software; },
       "memory_coherence = \"software\": allowed is \"coherent\" unless memory is device"},
      {[](BoxConfig& c) { c.numa_nodes = "1-18"; },
       "numa_nodes = \"1-18\": allowed is none unless memory is numa"},
      {[](BoxConfig& c) { c.memory = MemoryKind::numa; }, "numa_nodes = \"\": allowed is a list"},
      {[](BoxConfig& c) {
         c.memory = MemoryKind::numa;
         c.numa_nodes = "1-17";
       },
       "numa_nodes = \"1-17\": allowed is one node for each of the 18 DRAM channels"},
      {[](BoxConfig& c) {
         c.memory = MemoryKind::numa;
         c.numa_nodes = "1-18";
         c.form = ChannelForm::super_nics;
       },
       "form = \"super-nics\": allowed is \"channels\" unless memory is memfd or tmpfs"},
      {[](BoxConfig& c) {
         c.memory = MemoryKind::device;
         c.memory_path = "/dev/dax{}.0";
         c.form = ChannelForm::super_nics;
       },
       "form = \"super-nics\": allowed is \"channels\" unless memory is memfd or tmpfs"},
      {[](BoxConfig& c) { c.interleave_granularity = 4_KiB; },
       "interleave_granularity = 4096: allowed is none with form = \"channels\""},
      {[](BoxConfig& c) {
         c.form = ChannelForm::super_nics;
         c.interleave_granularity = 3_KiB;
       },
       "3072"},
      {[](BoxConfig& c) {
         c.form = ChannelForm::super_nics;
         c.super_nics = 2;
         c.dram_channels_per_super_nic = 9;
       },
       "form super-nics of a box of 2 x 9 DRAM channels is not legal"},
  };
  for (const Mistake& mistake : mistakes) {
    BoxConfig config = laptop();
    mistake.make(config);
    const std::string answer = validation_error(config);
    INFO(mistake.answer);
    INFO(answer);
    CHECK(contains(answer, mistake.answer));
  }
}

TEST_CASE("a quota is of a name that a VM can have", "[unit][config]") {
  BoxConfig config = laptop();
  for (const std::string name : {"", "a:b", "a b"}) {
    config.vm_quotas = {{name, 1_GiB}};
    CHECK(contains(validation_error(config),
                   "vm_quotas = \"" + name + "\": allowed is names of 1 to 64 letters, digits"));
  }
  config.vm_quotas = {{"vm-1.a_b", 0_B}};
  CHECK(validation_error(config).empty());
}

TEST_CASE("only loopback addresses are listened on", "[unit][config]") {
  BoxConfig config = laptop();
  for (const std::string host : {"127.0.0.1", "127.255.255.254", "::1"}) {
    config.listen_host = host;
    INFO(host);
    CHECK(validation_error(config).empty());
  }
  for (const std::string host : {"0.0.0.0", "192.168.1.1", "::", "10.0.0.1", "localhost", "",
                                 "126.255.255.255", "128.0.0.1", "::ffff:10.0.0.1"}) {
    config.listen_host = host;
    INFO(host);
    const std::string answer = validation_error(config, Errc::address_not_loopback);
    CHECK(contains(answer, "listen_host = \"" + host + "\": allowed are loopback addresses only"));
  }
}

TEST_CASE("the control socket lives in the user's runtime directory, or in /tmp by number",
          "[unit][config]") {
  const char* before = std::getenv("XDG_RUNTIME_DIR");
  const std::string saved = before == nullptr ? "" : before;
  ::setenv("XDG_RUNTIME_DIR", "/run/user/1234", 1);
  CHECK(default_control_socket() == "/run/user/1234/godbox/control.sock");
  const std::string by_number = "/tmp/godbox-" + std::to_string(::getuid()) + "/control.sock";
  ::setenv("XDG_RUNTIME_DIR", "relative", 1);  // the specification says: ignore it
  CHECK(default_control_socket() == by_number);
  ::unsetenv("XDG_RUNTIME_DIR");
  CHECK(default_control_socket() == by_number);
  if (before != nullptr) {
    ::setenv("XDG_RUNTIME_DIR", saved.c_str(), 1);
  }
}

TEST_CASE("lists of NUMA nodes are numbers and ranges, none twice", "[unit]") {
  using Nodes = std::vector<std::uint16_t>;
  CHECK(*parse_numa_nodes("0") == Nodes{0});
  CHECK(*parse_numa_nodes("1-4") == Nodes{1, 2, 3, 4});
  CHECK(*parse_numa_nodes("7,2-3,1023") == Nodes{7, 2, 3, 1023});
  for (const char* const text : {"", ",", "1,", "-", "1-", "-2", "3-1", "1,1", "1-3,2", "1024", "x",
                                 "1 2", "99999999", "1-2-3"}) {
    CAPTURE(text);
    CHECK(parse_numa_nodes(text).error().code == Errc::config_invalid);
  }
}

TEST_CASE("slow DRAM channels are checked against the box", "[unit][config]") {
  BoxConfig config = laptop();
  const auto answer_to = [&config](const char* fault) {
    config.channel_faults.assign(1, fault);
    return validation_error(config);
  };
  CHECK(contains(answer_to("3=slow:10%"),
                 "channel_faults = \"3=slow:10%\": allowed is only in mode \"paced\""));
  CHECK(answer_to("3=healthy").empty());
  CHECK(contains(answer_to("18=healthy"),
                 "channel_faults = \"18=healthy\": allowed is DRAM channels 0 to 17"));
  CHECK(contains(answer_to("3=dead"),
                 "channel_faults: \"3=dead\" is no fault of a DRAM channel: allowed is"));
  config.mode = TimingMode::paced;
  CHECK(answer_to("3=slow:10%").empty());
  config.eth_port_rate = Rate();
  CHECK(contains(validation_error(config), "eth_port_rate = 0: allowed is"));
}

TEST_CASE("TOML chooses devices, their coherence, or NUMA nodes", "[unit]") {
  const auto devices = apply_toml(*preset("emfasys18"), R"(
super_nics = 1
memory = "device"
memory_devices = ["/dev/dax1.0", "/dev/dax0.0"]
memory_coherence = "software"
)",
                                  "box.toml");
  REQUIRE(devices.has_value());
  CHECK(devices->memory_devices == std::vector<std::string>{"/dev/dax1.0", "/dev/dax0.0"});
  CHECK(devices->memory_coherence == Coherence::software);
  CHECK(validate(*devices).has_value());
  const auto nodes =
      apply_toml(*preset("emfasys18"), "memory = \"numa\"\nnuma_nodes = \"1-18\"", "box.toml");
  REQUIRE(nodes.has_value());
  CHECK(nodes->memory == MemoryKind::numa);
  CHECK(validate(*nodes).has_value());
  CHECK_FALSE(apply_toml(BoxConfig(), "memory_devices = [\"/dev/dax0.0\", 3]", "x").has_value());
}

}  // namespace godbox::emulator
