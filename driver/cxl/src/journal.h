// SPDX-License-Identifier: Apache-2.0
//
// The writes of one change to the kernel's CXL state, so that all of it can be taken back.
// Thread-safety: one thread. Ownership: refers to its tree. Errors: named at each call.
#pragma once

#include <godbox/driver/cxl_tree.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::driver {

// What a write means; the reason that the kernel is likely to have for refusing it hangs on it.
enum class CxlStep : std::uint8_t {
  create_region,
  set_ways,
  set_granularity,
  set_decoder_mode,
  set_dpa_size,
  set_region_size,
  set_target,
  commit,
  bind_region,
  bind_dax,
  set_online_policy,
  set_autoprobe,
  online_memory,
  offline_memory,
  unbind_dax,
  unbind_region,
  decommit,
  delete_region,
};
[[nodiscard]] std::string_view to_string(CxlStep step);
// "EBUSY"
[[nodiscard]] std::string errno_name(int error_number);
// "<step> failed: writing "1" to <path>: <text> (ENXIO): <likely reason>"
[[nodiscard]] Error step_error(CxlStep step, const std::string& path, const std::string& value,
                               int error_number);
// One write with such an error.
[[nodiscard]] Result<void> write_step(CxlTree& tree, CxlStep step, const std::string& path,
                                      const std::string& value);

class Journal {
 public:
  using Undo = std::function<Result<void>(CxlTree&)>;

  explicit Journal(CxlTree& tree) : tree_(tree) {}

  [[nodiscard]] Result<void> write(CxlStep step, const std::string& path, const std::string& value);
  // What takes back what was just done.
  void on_undo(Undo undo) { undo_.push_back(std::move(undo)); }
  void on_undo(CxlStep step, std::string path, std::string value);
  // A setting that is `value` until finish() or rollback() is over, then what it was.
  [[nodiscard]] Result<void> set_for_now(CxlStep step, const std::string& path,
                                         const std::string& value);

  // All went well: only settings go back. Errors: a setting that could not be.
  [[nodiscard]] Result<void> finish();
  // Takes all back, the latest first, then settings. It stops where something cannot be taken back,
  // as what came before it is still needed then. The error with what remained, if anything did.
  [[nodiscard]] Error rollback(Error error);

 private:
  [[nodiscard]] Result<void> restore_settings();

  CxlTree& tree_;
  std::vector<Undo> undo_;
  std::vector<Undo> settings_;
};

}  // namespace godbox::driver
