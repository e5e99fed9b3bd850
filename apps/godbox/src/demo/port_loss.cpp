// SPDX-License-Identifier: Apache-2.0
#include "demo/port_loss.h"

#include "cli/format.h"
#include "cli/json.h"
#include "measure/statistics.h"

#include <fmt/format.h>

#include <array>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

constexpr EthPortId kLostPort{4};
// Of what the ports that are left can carry. Above the upper one nothing would have been lost.
constexpr Bounds kShareOfLeft{0.95, 1.08};
constexpr Bounds kShareAfterReturn = Bounds::around(1);
// A phase's figure is the median of so many parts of it.
constexpr int kPartsPerPhase = 5;

// The phases of the scene; `settle` is what each leaves out of its figure at its beginning.
struct Phase {
  std::string_view name;
  bool port_is_down = false;
  Duration settle;
  Duration length;
};
using std::chrono::milliseconds;
constexpr std::array<Phase, 3> kPhases{{
    {"9 ports", false, milliseconds(300), milliseconds(2000)},
    {"port 4 lost", true, milliseconds(300), milliseconds(2000)},
    {"port 4 back", false, milliseconds(1300), milliseconds(1500)},
}};

// Loads the blocks over and over and compares each as it arrives, until told to stop.
class Load {
 public:
  explicit Load(BlockMover& mover) : mover_(mover), client_(mover.rig().client()) {}

  void start() {
    for (std::uint64_t i = 0;
         i < std::min<std::uint64_t>(mover_.blocks().count(), BlockMover::kDepth); ++i) {
      load(i);
    }
  }
  void run_until(TimePoint until) {
    const Clock& clock = mover_.rig().clock();
    for (TimePoint now = clock.now(); now < until; now = clock.now()) {
      client_.progress(until);
    }
  }
  void stop() {
    stopping_ = true;
    while (in_flight_ > 0) {
      client_.progress(mover_.rig().clock().now() + milliseconds(100));
    }
  }
  [[nodiscard]] const Verification& verification() const { return verification_; }
  [[nodiscard]] Errc first_failure() const { return first_failure_; }

 private:
  void load(std::uint64_t index) {
    mover_.blocks().spoil_memory(index);
    ++in_flight_;
    mover_.blocks().start_get(client_, index, 1, [this, index](Errc status) {
      --in_flight_;
      if (status != Errc::ok) {
        first_failure_ = first_failure_ == Errc::ok ? status : first_failure_;
        return;
      }
      mover_.blocks().verify(index, verification_);
      if (!stopping_) {
        load(index);
      }
    });
  }

  BlockMover& mover_;
  striping::Client& client_;
  Verification verification_;
  Errc first_failure_ = Errc::ok;
  std::uint32_t in_flight_ = 0;
  bool stopping_ = false;
};

std::uint64_t bytes_sent(emulator::Box& box) {
  std::uint64_t bytes = 0;
  for (std::uint32_t i = 0; i < box.config().eth_ports(); ++i) {
    bytes +=
        box.eth_port_door(EthPortId(static_cast<EthPortId::rep>(i))).counters().bytes_sent.load();
  }
  return bytes;
}

double run_phase(const Phase& phase, Load& load, Rig& rig) {
  rig.box().eth_port_door(kLostPort).set_down(phase.port_is_down);
  load.run_until(rig.clock().now() + phase.settle);
  std::vector<double> rates;
  for (int part = 0; part < kPartsPerPhase; ++part) {
    const std::uint64_t bytes_begin = bytes_sent(rig.box());
    const TimePoint begin = rig.clock().now();
    load.run_until(begin + phase.length / kPartsPerPhase);
    const std::chrono::duration<double> took = rig.clock().now() - begin;
    rates.push_back(static_cast<double>(bytes_sent(rig.box()) - bytes_begin) / took.count() / 1e9);
  }
  return summarise(rates).median;
}

void add_findings(Stage& stage, const std::array<double, kPhases.size()>& rates, double ports) {
  const double lost = rates[1] / rates[0];
  const double back = rates[2] / rates[0];
  const double left = (ports - 1) / ports;
  const Bounds bounds{left * kShareOfLeft.min, left * kShareOfLeft.max};
  stage.story.add({"throughput while 1 of 9 ports is lost",
                   format_percent(lost),
                   fmt::format("{} to {}", format_percent(bounds.min), format_percent(bounds.max)),
                   true,
                   bounds.hold(lost),
                   {{"share", rounded(lost, 4)},
                    {"gb_per_s_before", rounded(rates[0], 4)},
                    {"gb_per_s_lost", rounded(rates[1], 4)}}});
  stage.story.add({"throughput when it is back",
                   format_percent(back),
                   fmt::format("{} to {}", format_percent(kShareAfterReturn.min),
                               format_percent(kShareAfterReturn.max)),
                   true,
                   kShareAfterReturn.hold(back),
                   {{"share", rounded(back, 4)}}});
}

}  // namespace

Result<void> show_port_loss(Stage& stage, BlockMover& mover) {
  stage.story.heading("3. A port is lost under load",
                      "   Blocks are loaded all the time and compared as they arrive; lost work "
                      "goes through the other ports.");
  const std::uint64_t resent_before = mover.rig().client().counters().runs_resent;
  Load load(mover);
  load.start();
  std::array<double, kPhases.size()> rates{};
  for (std::size_t i = 0; i < kPhases.size(); ++i) {
    rates[i] = run_phase(kPhases[i], load, mover.rig());
    stage.story.bar(
        kPhases[i].name, rates[i], rates[0],
        fmt::format("{:>10} here, {}", format_rate(rates[i]), format_percent(rates[i] / rates[0])));
  }
  load.stop();
  stage.story.count(load.verification());
  if (load.first_failure() != Errc::ok) {
    return Error(load.first_failure(), "a block could not be loaded while a port was lost");
  }
  stage.story.say(fmt::format("  {} requests were sent again; {} compared, {} wrong bytes",
                              mover.rig().client().counters().runs_resent - resent_before,
                              format_size(SizeBytes(load.verification().bytes_checked)),
                              load.verification().wrong_bytes));
  add_findings(stage, rates, mover.rig().box().config().eth_ports());
  return {};
}

}  // namespace godbox::app
