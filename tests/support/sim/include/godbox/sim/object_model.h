// SPDX-License-Identifier: Apache-2.0
//
// What may be true of the names of one tenant, told only what its clients did and were answered.
// An operation takes effect at some moment between its begin and its end, or, when its end is not
// known (time-out, lost session, dead client), until `settle_time` later or never. From that the
// model knows which contents a name may have, whether it must have one, and whether it cannot.
// Evictions make things vanish without a trace: the box's eviction counter, given to each call,
// tells when none can have happened. How long an object is kept is known in the same way: from the
// puts and retains that may have been the last to say it.
// Thread-safety: one thread. Units: virtual time, bytes.
// Errors: checks answer a sentence that says what cannot be, or nothing.
#pragma once

#include <godbox/result.h>
#include <godbox/sim/content.h>
#include <godbox/units.h>
#include <godbox/wire.h>

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace godbox::sim {

using Violation = std::optional<std::string>;

struct PutTerms {
  bool rebinds = false;
  wire::Retention retention{};
};

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
  using Terms = PutTerms;

  explicit ObjectModel(Duration settle_time) : settle_time_(settle_time) {}

  // An operation that began ends exactly once: with end_* or lose_*.
  [[nodiscard]] std::uint64_t begin_put(const std::string& name, Content content, Moment now,
                                        Terms terms = {});
  [[nodiscard]] Violation end_put(std::uint64_t put, Errc status, Moment now);
  void lose_put(std::uint64_t put, Moment now);
  [[nodiscard]] std::uint64_t begin_remove(const std::string& name, Moment now);
  [[nodiscard]] Violation end_remove(std::uint64_t remove, Errc status, Moment now);
  void lose_remove(std::uint64_t remove, Moment now);
  [[nodiscard]] std::uint64_t begin_retain(const std::string& name, wire::Retention retention,
                                           Moment now);
  [[nodiscard]] Violation end_retain(std::uint64_t retain, Errc status, Moment now);
  void lose_retain(std::uint64_t retain, Moment now);

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

  // ... that these are the bytes of it from `offset` on, of an object that is put layer by layer.
  [[nodiscard]] Violation check_layer(const std::string& name, SizeBytes size, std::uint64_t offset,
                                      ConstSpan bytes, Moment begin) const;
  // Somebody who sees all of the box was told, at this moment, what has happened to the name.
  [[nodiscard]] Violation check_event(const wire::Event& event, Moment now) const;
  // Whoever may have the name now has this pin, whatever was the last to say so, and, if it is not
  // hard, no soft TTL.
  [[nodiscard]] bool is_surely(const std::string& name, wire::Pin pin, Moment now) const;

  // The box lost everything.
  void restart(Moment now);
  // Time went on by `by` in one step, so that nothing could happen meanwhile.
  void jump(Moment before, Duration by);
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
    Terms terms;
  };
  struct Remove {
    std::uint64_t id = 0;
    TimePoint begin;
    TimePoint end = kNever;
  };
  struct Retain {
    std::uint64_t id = 0;
    TimePoint begin;
    TimePoint end = kNever;
    bool is_sure = false;  // was answered ok
    wire::Retention retention;
  };
  struct Name {
    std::vector<Put> puts;
    std::vector<Remove> removes;
    std::vector<Retain> retains;
  };
  // What may be true of how long an object is kept.
  struct Keeping {
    TimePoint first_end = kNever;           // before it no hard TTL is over
    TimePoint last_end = TimePoint::min();  // from then on one is; kNever: maybe none
    std::array<bool, 3> may_have_pin{};     // by wire::Pin
    bool has_soft_ttl = false;              // maybe
  };

  // In the time from `from` on.
  [[nodiscard]] static Keeping keeping(const Name& name, const Put& put, TimePoint from);
  [[nodiscard]] static bool may_be_seen(const Name& name, const Put& put, Moment begin);
  [[nodiscard]] static bool cannot_vanish(const Name& name, const Put& put, TimePoint begin,
                                          Moment now);
  [[nodiscard]] const Put* surely_present(const Name& name, TimePoint begin, Moment now) const;
  [[nodiscard]] bool maybe_present(const Name& name, Moment begin,
                                   std::uint64_t other_than_put) const;
  [[nodiscard]] const Name* find(const std::string& name) const;
  void bury_before(Name& name, TimePoint begin, TimePoint end);
  void prune(Name& name, Moment now);
  template <class List>
  void lose(List& list, std::uint64_t id, Moment now);

  Duration settle_time_;
  TimePoint remembers_until_{};  // nothing is forgotten before
  std::uint64_t next_id_ = 1;
  std::map<std::string, Name> names_;
  std::map<std::uint64_t, std::string> open_;  // name of each operation in flight
};

}  // namespace godbox::sim
