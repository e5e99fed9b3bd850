// SPDX-License-Identifier: Apache-2.0
//
// How `godbox vm stop`, `exec`, `attach` ... reach the process that runs a VM: an abstract Unix
// socket with the user's number and the VM's name, which is gone with that process, however it
// ends. A connection carries one request and one reply, each a JSON object in one packet; the
// descriptors of a request ride along. Only processes of the same user and of root are answered.
// Thread-safety: one thread per object. Ownership: owns its descriptors.
// Errors: address_in_use (a VM of that name runs), connect_failed (none does), invalid_argument,
// protocol_error, deadline_exceeded, io_error.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <boost/json.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace godbox::app {

inline constexpr std::size_t kVmRequestBytesMax = 128UL << 10U;
inline constexpr std::size_t kVmDescriptorsMax = 4;

class VmControl {
 public:
  // Descriptors stay the control's, and are closed after the call.
  struct Request {
    const boost::json::object& fields;
    const std::vector<int>& descriptors;
    int peer = -1;  // readable when who asked is gone
  };
  using Handler = std::function<boost::json::object(const Request&)>;

  // Who has connected, and is heard when it says something: one that says nothing keeps nobody
  // waiting.
  class Peer {
   public:
    explicit Peer(int descriptor) : descriptor_(descriptor) {}
    Peer(Peer&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
    Peer& operator=(Peer&& other) noexcept {
      std::swap(descriptor_, other.descriptor_);
      return *this;
    }
    ~Peer();

    // Readable when it has asked something, or is gone.
    [[nodiscard]] int descriptor() const { return descriptor_; }
    // Takes its request and answers it with what the handler gives.
    void serve(const Handler& handler) const;

   private:
    int descriptor_;
  };

  // A name is made of letters, digits, '-', '_' and '.', at most 32.
  [[nodiscard]] static Result<VmControl> listen(std::string_view name);
  VmControl(VmControl&& other) noexcept;
  VmControl& operator=(VmControl&&) = delete;
  ~VmControl();

  // Readable when somebody connects.
  [[nodiscard]] int descriptor() const { return descriptor_; }
  // Nothing where it is somebody who is not answered.
  [[nodiscard]] std::optional<Peer> accept() const;

 private:
  explicit VmControl(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

// Whether who asked has gone away, or has sent what nobody expects.
[[nodiscard]] bool is_gone(int peer);

// {"error": {"code": "not_found", "detail": "..."}}
[[nodiscard]] boost::json::object error_reply(const Error& error);

// The VM's answer; its error where it answers with one. A limit of zero is none.
[[nodiscard]] Result<boost::json::object> ask_vm(std::string_view name,
                                                 const boost::json::object& request,
                                                 const std::vector<int>& descriptors,
                                                 Duration limit);
// Whether a VM of that name answers.
[[nodiscard]] bool vm_runs(std::string_view name);

}  // namespace godbox::app
