// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/vm/cdat.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <numeric>

namespace godbox::emulator::vm {
namespace {

constexpr std::uint8_t kRevision = 2;
constexpr std::size_t kHeaderBytes = 16;
constexpr std::size_t kChecksumAt = 5;
constexpr std::uint8_t kDsmasHandle = 0;
constexpr double kBytesPerMegabyte = 1e6;
constexpr std::uint64_t kEntryMax = 0xFFFE;  // 0xFFFF means "not reachable"

// CDAT 1.03 table 2.
enum class Structure : std::uint8_t { dsmas = 0, dslbis = 1, dsemts = 4, sslbis = 5 };
// ACPI 6.5 table 5.142, as CDAT uses it.
enum class DataType : std::uint8_t {
  read_latency = 1,
  write_latency = 2,
  read_bandwidth = 4,
  write_bandwidth = 5,
};
// EfiConventionalMemory with EFI_MEMORY_SP: not for a kernel's everyday use.
constexpr std::uint8_t kSpecificPurposeMemory = 1;
constexpr std::uint16_t kUpstreamPort = 0x0100;
constexpr std::uint16_t kAnyPort = 0xFFFF;

class Writer {
 public:
  Writer() : bytes_(kHeaderBytes) { bytes_[4] = std::byte{kRevision}; }

  template <std::unsigned_integral T>
  Writer& put(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      bytes_.push_back(static_cast<std::byte>(value >> (8 * i)));
    }
    return *this;
  }
  Writer& begin(Structure type, std::uint16_t length) {
    return put(static_cast<std::uint8_t>(type)).put(std::uint8_t{0}).put(length);
  }
  // Length and checksum: all bytes add up to 0.
  std::vector<std::byte> finish() && {
    const auto length = static_cast<std::uint32_t>(bytes_.size());
    for (std::size_t i = 0; i < sizeof(length); ++i) {
      bytes_[i] = static_cast<std::byte>(length >> (8 * i));
    }
    const unsigned sum = std::accumulate(
        bytes_.begin(), bytes_.end(), 0U,
        [](unsigned total, std::byte one) { return total + std::to_integer<unsigned>(one); });
    bytes_[kChecksumAt] = static_cast<std::byte>(0U - sum);
    return std::move(bytes_);
  }

 private:
  std::vector<std::byte> bytes_;
};

// entry x base_unit, picoseconds or MB/s.
struct Figure {
  std::uint64_t base_unit = 1;
  std::uint16_t entry = 0;
};

Figure latency_figure(Duration latency) {
  const auto ns = std::clamp<std::int64_t>(latency.count(), 1, std::int64_t{kEntryMax});
  return {.base_unit = 1000, .entry = static_cast<std::uint16_t>(ns)};
}

Figure bandwidth_figure(Rate rate) {
  // Linux takes 32 bits of MB/s.
  constexpr std::uint64_t kMegabytesMax = 0x7FFF'FFFF;
  const double megabytes = std::round(rate.bytes_per_second() / kBytesPerMegabyte);
  const auto whole =
      static_cast<std::uint64_t>(std::clamp(megabytes, 1.0, static_cast<double>(kMegabytesMax)));
  std::uint64_t base_unit = 1;
  while ((whole + base_unit / 2) / base_unit > kEntryMax) {
    base_unit *= 10;
  }
  return {.base_unit = base_unit,
          .entry = static_cast<std::uint16_t>((whole + base_unit / 2) / base_unit)};
}

void put_dslbis(Writer& out, DataType type, const Figure& figure) {
  constexpr std::uint8_t kMemory = 0;  // of the memory itself, not of a cache
  out.begin(Structure::dslbis, 24)
      .put(kDsmasHandle)
      .put(kMemory)
      .put(static_cast<std::uint8_t>(type))
      .put(std::uint8_t{0})
      .put(figure.base_unit)
      .put(figure.entry)
      .put(std::uint16_t{0})
      .put(std::uint16_t{0})
      .put(std::uint16_t{0});
}

void put_sslbis(Writer& out, DataType type, const Figure& figure) {
  out.begin(Structure::sslbis, 24)
      .put(static_cast<std::uint8_t>(type))
      .put(std::uint8_t{0})
      .put(std::uint16_t{0})
      .put(figure.base_unit)
      .put(kUpstreamPort)
      .put(kAnyPort)
      .put(figure.entry)
      .put(std::uint16_t{0});
}

}  // namespace

ChannelTiming ChannelTiming::of(const PacedRates& rates) {
  const auto bandwidth = [](const StageRates& of) {
    const Rate rate = std::min(of.dram_channel, of.cxl_link);
    return Rate(std::round(rate.bytes_per_second() / kBytesPerMegabyte) * kBytesPerMegabyte);
  };
  return {.read_latency = rates.read.channel_delay,
          .write_latency = rates.write.channel_delay,
          .read_bandwidth = bandwidth(rates.read),
          .write_bandwidth = bandwidth(rates.write)};
}

std::vector<std::byte> cdat_table(SizeBytes capacity, const ChannelTiming& timing) {
  Writer out;
  constexpr std::uint8_t kVolatile = 0;
  out.begin(Structure::dsmas, 24)
      .put(kDsmasHandle)
      .put(kVolatile)
      .put(std::uint16_t{0})
      .put(std::uint64_t{0})
      .put(capacity.count());
  put_dslbis(out, DataType::read_latency, latency_figure(timing.read_latency));
  put_dslbis(out, DataType::write_latency, latency_figure(timing.write_latency));
  put_dslbis(out, DataType::read_bandwidth, bandwidth_figure(timing.read_bandwidth));
  put_dslbis(out, DataType::write_bandwidth, bandwidth_figure(timing.write_bandwidth));
  out.begin(Structure::dsemts, 24)
      .put(kDsmasHandle)
      .put(kSpecificPurposeMemory)
      .put(std::uint16_t{0})
      .put(std::uint64_t{0})
      .put(capacity.count());
  return std::move(out).finish();
}

std::vector<std::byte> switch_cdat_table(const SwitchModel& model) {
  Writer out;
  put_sslbis(out, DataType::read_latency, latency_figure(model.crossing));
  put_sslbis(out, DataType::write_latency, latency_figure(model.crossing));
  put_sslbis(out, DataType::read_bandwidth, bandwidth_figure(model.bandwidth));
  put_sslbis(out, DataType::write_bandwidth, bandwidth_figure(model.bandwidth));
  return std::move(out).finish();
}

}  // namespace godbox::emulator::vm
