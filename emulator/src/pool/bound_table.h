// SPDX-License-Identifier: Apache-2.0
//
// The logical devices of a box: the slabs that each takes, its memory, and who has it. A device is
// one VM's own (bound), or, once sealed, of any number of them, to read; what nobody has any more
// is leaving until its memory is the machine's again.
// Thread-safety: none of its own (PoolService's lock). Ownership: shares each device's memory with
// replies on their way. Units: bytes. Errors: nullptr for unknown devices, and where there are too
// many.
#pragma once

#include <godbox/slab_memory.h>
#include <godbox/wire.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace godbox::emulator {

struct LogicalDevice {
  struct Holder {
    SessionId session;
    std::string vm;
    bool has_let_go = false;  // of a sealed one: it may still be mapped, and nothing more
  };

  LdId id;
  wire::LogicalDeviceState state = wire::LogicalDeviceState::bound;
  SizeBytes size;
  std::uint32_t tenant = 0;          // index in TenantTable, of which it is a user
  std::vector<std::uint32_t> slots;  // of its slabs, in the order of its DPAs
  std::shared_ptr<SlabMemory> memory;
  std::vector<Holder> holders;
  std::string maker;  // the VM that it was bound to first, on whose quota it counts
  LdId copy_of;  // a device whose place it takes once it is sealed; until then it counts on none
  bool is_being_sealed = false;       // without the lock
  bool is_sealed = false;             // its memory is, also while it leaves
  std::uint64_t discarded_bytes = 0;  // while it leaves
  bool is_settling = false;           // somebody gives its memory back, without the lock

  [[nodiscard]] Holder* holder_of(SessionId session);
  // Of those that have not let go.
  [[nodiscard]] std::size_t active_holders() const;
};

class BoundTable {
 public:
  // A device without slabs, memory and holders; ids are used again as late as possible.
  [[nodiscard]] LogicalDevice* create();
  [[nodiscard]] LogicalDevice* find(LdId id);
  void erase(LdId id) { devices_.erase(id); }
  [[nodiscard]] std::size_t size() const { return devices_.size(); }
  // Of all devices, also those that have let go.
  [[nodiscard]] std::size_t holders() const;
  [[nodiscard]] SizeBytes bytes() const;
  // On this VM's quota: what was made for it and is not leaving, also sealed and with others, but
  // for copies whose originals are bound still.
  [[nodiscard]] SizeBytes bytes_of(std::string_view vm) const;
  [[nodiscard]] bool has_copy(LdId id) const;
  // By id.
  [[nodiscard]] std::map<LdId, LogicalDevice>& devices() { return devices_; }
  [[nodiscard]] const std::map<LdId, LogicalDevice>& devices() const { return devices_; }

 private:
  [[nodiscard]] bool is_bound(LdId id) const;

  std::map<LdId, LogicalDevice> devices_;
  std::uint16_t last_id_ = 0;
};

}  // namespace godbox::emulator
