// SPDX-License-Identifier: Apache-2.0
//
// What every StreamNetwork promises (godbox/stream.h), checked from outside with scripted
// endpoints.
#pragma once

#include "contract_case.h"
#include <godbox/stream.h>

#include <functional>
#include <memory>
#include <vector>

namespace godbox::test {

class StreamWorld {
 public:
  virtual ~StreamWorld() = default;

  [[nodiscard]] virtual StreamNetwork& network() = 0;
  // Where a listener can be made; another one at each call.
  [[nodiscard]] virtual StreamAddress free_address() = 0;
  // True where descriptors ride along (Unix sockets).
  [[nodiscard]] virtual bool carries_descriptors() const { return false; }
  // True where memory that may be sent by reference is.
  [[nodiscard]] virtual bool refers() const { return false; }
  // How late a timer may come: on a machine that others use, seconds.
  [[nodiscard]] virtual Duration timer_slack() const { return std::chrono::seconds(5); }

  // Runs the network until `is_done`; false when that takes longer than 20 s of its clock.
  [[nodiscard]] bool run(const std::function<bool()>& is_done);
  // Runs it for that long.
  void run_for(Duration time);
  // Makes something that outlives the network: derived worlds own that, so it dies before us.
  template <class T>
  [[nodiscard]] T* keep() {
    auto made = std::make_shared<T>();
    kept_.push_back(made);
    return made.get();
  }

 private:
  std::vector<std::shared_ptr<void>> kept_;
};

[[nodiscard]] std::span<const ContractCase<StreamWorld>> stream_contract();

}  // namespace godbox::test
