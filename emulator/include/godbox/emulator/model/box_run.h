// SPDX-License-Identifier: Apache-2.0
//
// A box in virtual time: requests of hosts, cut into strips, through the queues of DRAM channels,
// CXL links, SuperNICs, Ethernet ports, and the hosts' NICs and PCIe. A discrete-event simulation
// in which every stage is a first-come-first-served queue and every strip an event where ways meet.
// Of a stage it knows a rate and a delay, which are those of time_transfer(): DRAM and link by the
// detailed model, the rest by protocols (box_model.h). Reads and writes share the DRAM; everything
// else has a direction for each.
//   A strip is passed on while it still comes in: it leaves a stage when the stage has worked
//   through it and all of it is there. A stage works on other strips while it waits for one.
// The same requests give the same figures to the last bit: no clock, no thread, no chance.
// Thread-safety: none; runs in several threads are independent. Ownership: values; a BoxRun owns
// its state. Units: in the names; ps are picoseconds of virtual time since the run began; all
// figures are modelled. Errors: config_invalid and invalid_argument, with the value and what is
// allowed; limit_exceeded where more strips would wait than kStripsMax.
#pragma once

#include <godbox/emulator/model/box_model.h>

#include <limits>
#include <memory>
#include <optional>
#include <span>

namespace godbox::emulator::model {

// Of one DRAM channel and link in each direction, at strips of this size.
struct BoxRates {
  ChannelRates read;
  ChannelRates write;
  SizeBytes strip;
};
[[nodiscard]] Result<BoxRates> box_rates(const BoxModel& model, SizeBytes strip);

// A DRAM channel that moves, with its link, a share of its rates; of a channel's several the last
// holds.
struct SlowChannel {
  std::uint32_t dram_channel = 0;
  double rate_share = 1;  // above 0
};

struct BoxRunSpec {
  BoxModel model;
  BoxShape shape;
  std::uint32_t hosts = 1;
  std::uint32_t nics_per_host = 1;  // each of the ports' speed
  BoxRates rates;
  // Every stage as one that is as wide as all of it, and a stripe, or as many as have 1 MiB, as one
  // strip: what a balanced box does with requests of many stripes, by far fewer events.
  bool in_step = false;
  std::vector<SlowChannel> slow_channels{};  // strip by strip only
};
inline constexpr SizeBytes kStripMin{64};  // a line of the DRAM
inline constexpr SizeBytes kStripMax{std::uint64_t{1} << 24U};
inline constexpr std::uint32_t kStripeChannelsMax = 64;  // DRAM channels of a box
inline constexpr std::uint32_t kHostsMax = 1024;
inline constexpr std::uint32_t kNicsPerHostMax = 16;

struct BoxRequest {
  std::uint64_t id = 0;  // the caller's
  std::uint64_t at_ps = 0;
  SizeBytes size;
  bool is_write = false;
  std::uint32_t host = 0;
  std::uint32_t first_channel = 0;  // of its first strip; the others follow in turn
};

struct BoxCompletion {
  std::uint64_t id = 0;
  std::uint64_t at_ps = 0;
  std::uint64_t end_ps = 0;  // the last byte is in the host, or the box's answer to its write
  bool is_write = false;
  // What held it longest, of BoxLoadFigures::stages: where it would have ended last if each stage
  // were the only one. None: the delays of its first byte.
  std::optional<std::size_t> bound_by{};
};

enum class BoxFlow : std::uint8_t { read, write, both };
inline constexpr std::array<std::string_view, 3> kBoxFlowNames = {"read", "write", "both"};
[[nodiscard]] constexpr std::string_view to_string(BoxFlow flow) {
  return kBoxFlowNames[static_cast<std::size_t>(flow)];
}

struct StageLoad {
  std::string_view name;  // as StageFigures
  BoxFlow flow = BoxFlow::both;
  std::uint32_t count = 0;
  Rate limited;            // of all of them; of the DRAM: of reads
  double busy_s = 0;       // all of them together
  double busy_s_max = 0;   // the one that was busiest
  double wait_mean_s = 0;  // of a strip, until the stage begins with it
};

struct BoxLoadFigures {
  std::uint64_t strips = 0;  // that were done
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
  std::uint64_t end_ps = 0;  // when the last strip was done
  std::vector<StageLoad> stages;
  // By DRAM channel and by Ethernet port. In step: equal shares.
  std::vector<std::uint64_t> channel_bytes;
  std::vector<std::uint64_t> port_bytes_read;
  std::vector<std::uint64_t> port_bytes_written;
  // By second of virtual time in which a strip was done.
  std::vector<std::uint64_t> second_bytes_read;
  std::vector<std::uint64_t> second_bytes_written;
};

class BoxEngine;

class BoxRun {
 public:
  // Strips of all requests that are not done.
  static constexpr std::uint64_t kStripsMax = std::uint64_t{1} << 30U;
  static constexpr std::uint64_t kSecondsMax = std::uint64_t{7} * 24 * 3600;  // of virtual time

  [[nodiscard]] static Result<BoxRun> make(const BoxRunSpec& spec);
  BoxRun(BoxRun&&) noexcept;
  BoxRun& operator=(BoxRun&&) noexcept;
  ~BoxRun();

  // Not before now_ps(). Errors: invalid_argument, limit_exceeded; the run goes on without it.
  [[nodiscard]] Result<void> submit(const BoxRequest& request);
  // Goes on until a request is done, or to that time. Requests are told in the order in which their
  // last strips reach the last stage; end_ps is never before now_ps().
  // After so many events it stops on its way, with now_ps() where it came to: is_on_its_way().
  [[nodiscard]] std::optional<BoxCompletion> next(
      std::uint64_t until_ps, std::uint64_t events_max = std::numeric_limits<std::uint64_t>::max());
  // Whether the last next() had no completion only because of its events_max.
  [[nodiscard]] bool is_on_its_way() const;
  [[nodiscard]] std::uint64_t now_ps() const;
  // So far.
  [[nodiscard]] BoxLoadFigures figures() const;

 private:
  explicit BoxRun(std::unique_ptr<BoxEngine> engine);
  std::unique_ptr<BoxEngine> engine_;
};

}  // namespace godbox::emulator::model
