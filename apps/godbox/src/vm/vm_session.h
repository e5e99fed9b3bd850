// SPDX-License-Identifier: Apache-2.0
//
// A VM of a plan while it runs: the memory behind its channels, its tables, QEMU, and the control
// socket through which other commands reach it. Thread-safety: one thread, as VirtualMachine.
// Ownership: owns everything it made; memory is gone with it. Units: bytes, Durations.
// Errors: those of VirtualMachine, VmControl and MappedMemory; config_invalid for a plan that does
// not fit the box whose memory it shows.
#pragma once

#include "vm/vm_control.h"
#include <godbox/channel_lease.h>
#include <godbox/emulator/vm/data_file.h>
#include <godbox/emulator/vm/qemu_command.h>
#include <godbox/emulator/vm/qemu_program.h>
#include <godbox/emulator/vm/virtual_machine.h>
#include <godbox/emulator/vm/vm_plan.h>
#include <godbox/memory_target.h>
#include <godbox/slab_lease.h>

#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace godbox::app {

// What is done with the channels before a command runs.
enum class BringUp : std::uint8_t { none, dax, numa };

struct VmSessionOptions {
  std::string name = "default";
  std::string qemu_program;  // empty: that of qemu-patches/build, else Debian's
  std::string image_folder;  // empty: the default one
  std::string accelerator = "auto";
  BringUp bring_up = BringUp::none;
  Duration boot_limit = std::chrono::seconds(180);
  bool has_network = true;
  // Whose memory the channels show: a box that runs here. Nothing: memory of the VM's own.
  std::shared_ptr<ChannelLease> pool;
  int stop_descriptor = -1;    // the VM is ended when it becomes readable; -1: none
  bool shows_console = false;  // the guest's kernel messages on standard error
};

class VmSession {
 public:
  // Returns when the guest takes commands and its channels are up.
  [[nodiscard]] static Result<std::unique_ptr<VmSession>> start(const emulator::vm::VmPlan& plan,
                                                                const VmSessionOptions& options);
  ~VmSession();
  VmSession(const VmSession&) = delete;
  VmSession& operator=(const VmSession&) = delete;

  [[nodiscard]] emulator::vm::VirtualMachine& machine() { return *machine_; }
  void power_off();
  // Says of each box that has gone, once, which devices of it the guest goes on with.
  void note_lost_boxes();
  // The box whose memory the VM shows is gone: from now on its channels are dead, so that the guest
  // gets errors and no bytes that nobody keeps. Errors: unsupported (a stock QEMU).
  [[nodiscard]] Result<void> lose_pool();

 private:
  // What was plugged in while the guest runs: a DRAM channel of the VM's own, or a logical device
  // of a box, which is the box's again when its lease is gone.
  struct Attached {
    std::unique_ptr<MemoryTarget> memory;
    std::unique_ptr<SlabLease> lease;
    SlabRequest request;  // that the lease was had by
    emulator::vm::DataFile cdat;
    std::uint64_t serial = 0;
    std::string id;  // QEMU's, of the device

    [[nodiscard]] SizeBytes size() const { return lease ? lease->size() : memory->size(); }
    [[nodiscard]] int descriptor() const {
      return lease ? lease->descriptor() : memory->descriptor();
    }
    [[nodiscard]] bool is_read_only() const { return lease && lease->is_sealed(); }
  };
  using Slots = std::map<std::size_t, Attached>;

  VmSession(const emulator::vm::VmPlan& plan, const VmSessionOptions& options);
  [[nodiscard]] Result<void> make_memory();
  [[nodiscard]] Result<void> fit_to_pool();
  [[nodiscard]] Result<int> memory_of(const cxl::Type3Device& device, std::size_t index);
  [[nodiscard]] Result<int> new_memory(SizeBytes size);
  [[nodiscard]] Result<void> boot();
  [[nodiscard]] Result<void> bring_up();
  void take_peer();
  void hear(int descriptor);
  [[nodiscard]] boost::json::object answer(const VmControl::Request& asked);
  [[nodiscard]] Result<boost::json::object> change(std::string_view what,
                                                   const VmControl::Request& asked);
  [[nodiscard]] Result<boost::json::object> exec(const VmControl::Request& asked);
  [[nodiscard]] Result<boost::json::object> attach();
  // A free slot for a device of that size.
  [[nodiscard]] Result<std::size_t> find_slot(SizeBytes size) const;
  // Plugs it in, and waits until the guest has found it.
  [[nodiscard]] Result<void> show(std::size_t slot, Attached attached);
  // The slot is free for another one, and what was there is given back.
  void leave_slot(Slots::iterator at, bool is_unmapped);
  [[nodiscard]] Result<Slots::iterator> find_attached(const boost::json::object& request);
  [[nodiscard]] Result<boost::json::object> detach(const boost::json::object& request);

  // --- Commands of the launcher's own in the guest, and taking devices out (vm_taking.cpp) ---
  struct GuestOutcome {
    int status = 0;
    std::string last_words;  // the last line on standard error
  };
  [[nodiscard]] Result<GuestOutcome> guest_outcome(const std::vector<std::string>& arguments,
                                                   Duration limit);
  [[nodiscard]] Result<void> guest_does(const std::vector<std::string>& arguments,
                                        std::string_view what, Duration limit);
  // As the request says: after the guest has brought it down, or if it does not use it; or anyway,
  // after the guest has tried. Whether QEMU has let go of the memory, too.
  [[nodiscard]] Result<bool> take_out(const Attached& attached, const boost::json::object& request);
  [[nodiscard]] Result<void> bring_down(const Attached& attached, Duration limit);
  [[nodiscard]] Result<void> bring_down_or_leave(const Attached& attached);
  // 0: none.
  [[nodiscard]] Result<int> use_in_guest(const Attached& attached);
  [[nodiscard]] Result<void> check_unused(const Attached& attached);
  // Whether QEMU has let go of the memory, too.
  [[nodiscard]] Result<bool> unplug(const Attached& attached);
  [[nodiscard]] Result<bool> has_device(std::string_view id);

  // --- Logical devices of a box (vm_binding.cpp) ---
  // Taken back when who asked goes away before it is done.
  [[nodiscard]] Result<boost::json::object> bind(const VmControl::Request& asked);
  [[nodiscard]] Result<boost::json::object> bind_for(const boost::json::object& request, int peer);
  // Errors of a device that the VM has got; where `peer` has gone away, after it was taken back.
  [[nodiscard]] Error after_bound(std::size_t slot, std::string_view up, int peer,
                                  const Error& error);
  [[nodiscard]] Result<std::unique_ptr<SlabLease>> ask_for(const SlabRequest& request);
  // Whether one more sealed device may be bound, that QEMU might keep mapped for good.
  [[nodiscard]] Result<void> check_kept_mapped(LdId device);
  [[nodiscard]] Result<void> seal_lease(SlabLease& lease);
  // `peer`: ends when it has gone away; -1: nobody's.
  [[nodiscard]] Result<void> fill(const SlabLease& to, const SlabLease* from, int peer);
  [[nodiscard]] Result<Attached> attached_of(std::unique_ptr<SlabLease> lease,
                                             const SlabRequest& request);
  [[nodiscard]] Result<boost::json::object> seal(const boost::json::object& request);
  // Bytes of a box's DRAM channel, wherever they are in the guest's logical devices.
  [[nodiscard]] Result<boost::json::object> poison_channel(const boost::json::object& request);
  // Sealed, the device itself or a copy of it, which nobody ever had mapped.
  [[nodiscard]] Result<LdId> seal_bytes(const Attached& attached);
  // The device is the box's again, or as soon as QEMU has let go of the memory. The VM is served
  // meanwhile, so that it is in no slot any more.
  void give_back(Attached attached, bool is_unmapped);
  // Runs `work` on another thread, and serves the VM until it is done.
  template <class Work>
  auto while_serving(Work work) -> decltype(work());
  [[nodiscard]] Result<boost::json::object> poison(const boost::json::object& request);
  [[nodiscard]] Result<boost::json::object> channels(const boost::json::object& request);
  // The QEMU device with that serial number, from the start or attached, and its size.
  struct Found {
    std::string id;
    SizeBytes size;
  };
  [[nodiscard]] Result<Found> find_device(std::uint64_t serial) const;
  [[nodiscard]] std::vector<std::uint64_t> serials() const;
  [[nodiscard]] Result<void> clear_poison(std::uint64_t serial, std::uint64_t dpa,
                                          std::uint64_t length);
  [[nodiscard]] Result<void> plug_in(const emulator::vm::HotPlugSlot& slot,
                                     const Attached& attached);
  [[nodiscard]] boost::json::object status() const;

  emulator::vm::VmPlan plan_;
  VmSessionOptions options_;
  std::vector<std::unique_ptr<MemoryTarget>> memory_;
  std::map<std::size_t, int> shared_memory_;  // descriptors, by index of inputs_.interleaved
  std::vector<emulator::vm::DataFile> tables_;
  emulator::vm::QemuProgram qemu_;
  emulator::vm::Accelerator accelerator_ = emulator::vm::Accelerator::tcg;
  emulator::vm::QemuInputs inputs_;
  std::optional<VmControl> control_;
  // Those that have asked nothing yet, the oldest first: more than kSilentPeersMax are not kept.
  std::vector<VmControl::Peer> silent_peers_;
  Slots attached_;  // by hot-plug slot
  // Sealed devices that QEMU keeps mapped, though the guest has let go: one lease each, by the
  // serial number, that counts this VM at the box. At most kKeptMappedMax.
  std::map<std::uint64_t, std::unique_ptr<SlabLease>> kept_mapped_;
  std::vector<std::uint64_t> told_lost_;  // serial numbers
  unsigned attached_ever_ = 0;
  std::string changing_;  // the request that changes devices; empty: none
  std::unique_ptr<emulator::vm::VirtualMachine> machine_;
};

}  // namespace godbox::app
