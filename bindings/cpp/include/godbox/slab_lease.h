// SPDX-License-Identifier: Apache-2.0
//
// A logical device of a box, in the hands of the process that shows it to a VM: its memory as a
// descriptor, in the order of the device's DPAs, and the session that holds it. The box takes it
// back when this object is gone, or its process, however that ends; so it is kept for as long as
// anybody whom it was passed on to may have the memory mapped. The session is kept alive by a
// thread of its own.
// Thread-safety: all members from any thread. Ownership: owns descriptor, session and thread.
// Units: bytes. Errors: those of the box (docs/wire-protocol.md, 9.7), with its sentence;
// connect_failed, permission_denied, deadline_exceeded, session_lost.
#pragma once

#include <godbox/result.h>
#include <godbox/striping/logical_device_layout.h>
#include <godbox/units.h>
#include <godbox/wire.h>

#include <memory>
#include <string>
#include <vector>

namespace godbox {

struct SlabRequest {
  std::string control_socket;  // empty: the box's default one
  std::string tenant;
  std::string vm;  // who gets it
  SizeBytes size;  // of a new device; 0 with `device`
  LdId device;     // a sealed one that is there; 0: a new one
  Duration timeout = std::chrono::seconds(30);
};

class SlabLease {
 public:
  [[nodiscard]] static Result<std::unique_ptr<SlabLease>> bind(const SlabRequest& request);
  ~SlabLease();
  SlabLease(const SlabLease&) = delete;
  SlabLease& operator=(const SlabLease&) = delete;

  [[nodiscard]] LdId device() const;
  [[nodiscard]] SizeBytes size() const;
  // To be read only: the descriptor allows nothing else.
  [[nodiscard]] bool is_sealed() const;
  // Sparse: driver::back_slab() makes it present. The lease's own.
  [[nodiscard]] int descriptor() const;
  [[nodiscard]] std::uint32_t box_number() const;  // in the serial numbers of its devices
  // Where its bytes are in the box's DRAM channels.
  [[nodiscard]] const striping::LogicalDeviceLayout& layout() const;

  // The VM has it no more. What was bound to it alone is emptied and free; of a sealed one the box
  // counts this holder until the lease is gone.
  [[nodiscard]] Result<void> give_back();
  // The bytes can only be read from now on, and are nobody's until somebody binds the device.
  // Errors: write_in_flight (a process has them mapped for writing, so that nothing has changed).
  [[nodiscard]] Result<void> seal();
  // The box is gone or has given the session up. The memory is still there.
  [[nodiscard]] bool is_lost() const;

 private:
  struct Impl;
  explicit SlabLease(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// For an operator. `control_socket` as above.
struct BoundDevices {
  std::uint32_t box_number = 0;
  std::vector<wire::LogicalDeviceRecord> devices;
};
[[nodiscard]] Result<BoundDevices> list_bound(const std::string& control_socket, Duration timeout);
// A sealed device that no VM has goes.
[[nodiscard]] Result<void> drop_device(const std::string& control_socket, const std::string& tenant,
                                       LdId device, Duration timeout);

}  // namespace godbox
