// SPDX-License-Identifier: Apache-2.0
//
// A session with a box over its control socket alone, without lanes, driven by a thread of its own:
// what holds logical devices, and asks about them. Thread-safety: all members from any thread.
// Ownership: owns network, session and thread; descriptors that it gives are the caller's.
// Units: Durations. Errors: connect_failed, permission_denied, session_lost, deadline_exceeded, and
// whatever the box answers, with its sentence.
#pragma once

#include <godbox/result.h>
#include <godbox/wire.h>

#include <memory>
#include <string>
#include <vector>

namespace godbox {

class FabricSession {
 public:
  // `control_socket` empty: the box's default one.
  [[nodiscard]] static Result<std::unique_ptr<FabricSession>> open(
      const std::string& control_socket, const std::string& tenant, Duration timeout);
  // Closes the connection, which ends the session and what it holds.
  ~FabricSession();
  FabricSession(const FabricSession&) = delete;
  FabricSession& operator=(const FabricSession&) = delete;

  struct Answer {
    wire::Body body;
    std::vector<int> descriptors;
  };
  [[nodiscard]] Result<Answer> call(wire::Op op, wire::Body body);
  template <class Reply, class Request>
  [[nodiscard]] Result<Reply> ask(wire::Op op, const Request& request) {
    const Result<Answer> answer = call(op, wire::encode(request));
    return answer ? wire::decode<Reply>(answer->body) : Result<Reply>(answer.error());
  }
  [[nodiscard]] Epoch epoch() const;
  // The connection has ended.
  [[nodiscard]] bool is_lost() const;

 private:
  struct Impl;
  explicit FabricSession(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox
