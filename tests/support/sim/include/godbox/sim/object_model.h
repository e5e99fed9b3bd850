// SPDX-License-Identifier: Apache-2.0
//
// What may be true of the names of one tenant, told only what its clients did and were answered.
// An operation takes effect at some moment between its begin and its end, or, when its end is not
// known (time-out, lost session, dead client), until `settle_time` later or never. From that the
// model knows which contents a name may have, whether it must have one, and whether it cannot.
// Evictions make things vanish without a trace: the box's eviction counter, given to each call,
// tells when none can have happened.
// Thread-safety: one thread. Units: virtual time, bytes.
// Errors: checks answer a sentence that says what cannot be, or nothing.
#pragma once

#include <godbox/result.h>
#include <godbox/sim/content.h>
#include <godbox/units.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace godbox::sim {

using Violation = std::optional<std::string>;

class ObjectModel {
 public:
  struct Moment {
    TimePoint at;
    std::uint64_t evictions = 0;
  };
  struct Content {
    std::uint64_t seed = 0;
    SizeBytes size;
    bool sparse = false;
  };

  explicit ObjectModel(Duration settle_time) : settle_time_(settle_time) {}

  // An operation that began ends exactly once: with end_* or lose_*.
  [[nodiscard]] std::uint64_t begin_put(const std::string& name, Content content, Moment now);
  [[nodiscard]] Violation end_put(std::uint64_t put, Errc status, Moment now);
  void lose_put(std::uint64_t put, Moment now);
  [[nodiscard]] std::uint64_t begin_remove(const std::string& name, Moment now);
  [[nodiscard]] Violation end_remove(std::uint64_t remove, Errc status, Moment now);
  void lose_remove(std::uint64_t remove, Moment now);

  // A reader was told, between `begin` and `now`, ...
  // ... that the name is there with this size
  [[nodiscard]] Violation check_found(const std::string& name, SizeBytes size, bool sparse,
                                      Moment begin, Moment now) const;
  // ... that it is not there
  [[nodiscard]] Violation check_missing(const std::string& name, Moment begin, Moment now) const;
  // ... that these are its bytes.
  [[nodiscard]] Violation check_bytes(const std::string& name, ConstSpan bytes, Moment begin,
                                      Moment now) const;
  // A reader that asked for `size` was told that the object's size is another one.
  [[nodiscard]] Violation check_other_size(const std::string& name, SizeBytes size, Moment begin,
                                           Moment now) const;

  // The box lost everything.
  void restart(Moment now);
  // All clients are gone and all limits have passed: what is not known now stays as it is.
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  enum class Fate : std::uint8_t { in_flight, visible, maybe, never };
  struct Put {
    std::uint64_t id = 0;
    Content content;
    Moment begin;
    TimePoint end = kNever;  // from then on it takes no effect any more
    Fate fate = Fate::in_flight;
    TimePoint gone_by = kNever;  // from then on it is not visible any more
  };
  struct Remove {
    std::uint64_t id = 0;
    TimePoint begin;
    TimePoint end = kNever;
  };
  struct Name {
    std::vector<Put> puts;
    std::vector<Remove> removes;
  };

  [[nodiscard]] static bool may_be_seen(const Put& put, Moment begin);
  [[nodiscard]] const Put* surely_present(const Name& name, TimePoint begin, Moment now) const;
  [[nodiscard]] bool maybe_present(const Name& name, Moment begin,
                                   std::uint64_t other_than_put) const;
  [[nodiscard]] const Name* find(const std::string& name) const;
  void bury_before(Name& name, TimePoint begin, TimePoint end);
  void prune(Name& name, Moment now);

  Duration settle_time_;
  std::uint64_t next_id_ = 1;
  std::map<std::string, Name> names_;
  std::map<std::uint64_t, std::string> open_;  // name of each operation in flight
};

}  // namespace godbox::sim
