// SPDX-License-Identifier: Apache-2.0
//
// A packet to send, before it has a frame around it: its headers as values, its payload in pieces.
// Thread-safety: plain values. Ownership: as in out_frame.h. Units: bytes.
#pragma once

#include <godbox/emulator/roce/out_frame.h>
#include <godbox/roce/packet.h>

namespace godbox::emulator {

struct OutPacket {
  roce::Packet packet;  // its own payload means nothing
  PayloadSpans payload;
  bool is_stable = false;
  ReleaseToken token;

  void reset() {
    packet = {};
    payload.clear();
    is_stable = false;
    token = ReleaseToken();
  }
};

}  // namespace godbox::emulator
