// SPDX-License-Identifier: Apache-2.0
//
// What the contestants have in common: a store that keeps values under names. One loop drives them
// all through this interface, so that what differs is the store and its protocol.
// Thread-safety: a client belongs to one thread. Ownership: names and memory of the objects stay
// the caller's to keep until the operation's callback. Units: bytes. Errors: each operation ends in
// one callback, inside submit() or progress(); the error's text names object and answer. After a
// broken connection every operation, under way or new, ends with its error.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <functional>
#include <optional>
#include <span>
#include <string_view>

namespace godbox::compare {

enum class KvOp : std::uint8_t {
  set,   // the name has this value from now on, whatever it had before
  get,   // the whole value, into the caller's memory
  read,  // remote memory instead of names: only of stores that have it
};
[[nodiscard]] std::string_view to_string(KvOp op);
[[nodiscard]] std::optional<KvOp> kv_op_of(std::string_view text);

struct KvObject {
  std::string_view name;
  MutableSpan memory;    // all of the value: from there (set) or to there
  RegionOffset place{};  // read
};

class KvClient {
 public:
  using OnDone = std::function<void(Result<void>)>;

  virtual ~KvClient() = default;
  // Starts one operation over all `objects`.
  virtual void submit(KvOp op, std::span<const KvObject> objects, OnDone on_done) = 0;
  // Moves what can be moved, runs callbacks; waits a while when there is nothing to do.
  virtual void progress() = 0;
};

}  // namespace godbox::compare
