// SPDX-License-Identifier: Apache-2.0
//
// Every bound of the RoCE door, in one place: what strangers may send is counted against these, and
// nothing of a port grows beyond them; where it has several queues, nothing of one of these.
// Thread-safety: constants. Units: in each name.
#pragma once

#include <godbox/emulator/pool_service.h>
#include <godbox/roce/parameters.h>
#include <godbox/units.h>

namespace godbox::emulator {

// --- A queue pair ---
// READs and atomics that are remembered for their retries: the most that a peer may have under way.
inline constexpr std::uint8_t kRoceResourcesMax = 128;
inline constexpr std::size_t kRoceReceivesMax = 4096;
inline constexpr std::size_t kRoceSendsMax = 4096;
inline constexpr std::size_t kRoceLocalPiecesMax = 16;  // of memory, in one work request
// Memory pinned for one READ or WRITE at a time; longer ones go piece by piece. A multiple of every
// path MTU, so that no packet lies in two pieces.
inline constexpr std::uint32_t kRoceWindowBytes = 128U << 10U;
static_assert(kRoceWindowBytes % roce::kPathMtuBytesMax == 0);
// A WRITE of which no packet comes for so long keeps no memory pinned; it goes on if one comes.
inline constexpr Duration kRoceWritePinMax = std::chrono::milliseconds(200);
// A READ that has waited so long for those before it keeps no memory pinned; what it is to read is
// pinned again when its turn comes.
inline constexpr Duration kRoceReadPinMax = std::chrono::milliseconds(200);
// How long a frame may wait for room on its wire, with the memory that it shows pinned.
inline constexpr Duration kRoceHeldMax = std::chrono::milliseconds(200);
// NAKs that a queue pair may send at once, and how long it takes until it may send one more.
inline constexpr std::uint32_t kRoceNakBurstMax = 16;
inline constexpr Duration kRoceNakPeriod = std::chrono::microseconds(500);
// Congestion is told to a sender once in so long.
inline constexpr Duration kRoceCnpPeriod = std::chrono::microseconds(50);
// A requester: PSNs under way, and packets after which it asks for an acknowledgement.
// A message of more packets could not be told from one that is a whole circle of PSNs away.
inline constexpr std::uint32_t kRoceMessagePacketsMax = 1U << 22U;
inline constexpr std::uint32_t kRoceUnackedPacketsMax = 128;
inline constexpr std::uint32_t kRoceAckEveryPackets = 32;
static_assert(kRoceAckEveryPackets < kRoceUnackedPacketsMax);

// --- A frame ---
inline constexpr std::size_t kRoceEthernetBytesMax = 14 + 4;  // before the MTU: header and a tag
// Pieces of DRAM channel memory that the payload of one packet lies in.
inline constexpr std::size_t kRocePayloadSpansMax = roce::kPathMtuBytesMax / kFineStripBytes + 1;
static_assert(kRocePayloadSpansMax >= kRoceLocalPiecesMax);

// --- A port ---
inline constexpr std::size_t kRoceQueuePairsMax = 4096;
inline constexpr std::size_t kRoceAddressesMax = 8;
// Frames of connection management and of the link that wait to be sent, and the largest of them: an
// echo in a jumbo frame.
inline constexpr std::size_t kRoceControlFramesMax = 256;
inline constexpr std::size_t kRoceControlFrameBytesMax = 9216;
// Answers of the link (ARP, neighbour discovery, echo): so many at once, and one more each period.
inline constexpr std::uint32_t kRoceLinkBurstMax = 256;
inline constexpr Duration kRoceLinkPeriod = std::chrono::microseconds(100);
// How often a port looks for sessions that ended, and says of those that it heard of that they
// live.
inline constexpr Duration kRoceSweepPeriod = std::chrono::milliseconds(50);
// Pieces of pool memory that frames under way, and READs that wait or are being answered, keep
// pinned. When all are taken, each queue pair has one more of its own, for the READ whose turn it
// is: no peer can keep another's READs from being answered.
inline constexpr std::size_t kRoceWindowsMax = 4096;
// Frames of a queue pair before another has its turn.
inline constexpr std::uint32_t kRoceFramesPerTurn = 16;

// --- Connection management of a port ---
inline constexpr std::size_t kRoceServicesMax = 64;
// Connections that are asked for and not established: in all, and of one address, of which honest
// programs ask for a hundred at once (cmtime, of rdma-core).
inline constexpr std::size_t kRoceHalfOpenMax = 256;
inline constexpr std::size_t kRoceHalfOpenPerPeerMax = 128;
static_assert(kRoceHalfOpenPerPeerMax < kRoceHalfOpenMax);
// Events that nobody has taken; with more, nobody new is let in.
inline constexpr std::size_t kRoceConnectionEventsMax = 1024;
// New REQs: so many at once, and one more each period. Answers to strangers likewise.
inline constexpr std::uint32_t kRoceReqBurstMax = 512;
inline constexpr Duration kRoceReqPeriod = std::chrono::microseconds(200);
inline constexpr std::uint32_t kRoceStrangerBurstMax = 64;
inline constexpr Duration kRoceStrangerPeriod = std::chrono::milliseconds(1);
// How long a program may take to accept a connection.
inline constexpr Duration kRoceDecisionMax = std::chrono::seconds(5);
// What a peer says of its own pace is taken within these bounds.
inline constexpr Duration kRoceCmRepeatMin = std::chrono::milliseconds(100);
inline constexpr Duration kRoceCmRepeatMax = std::chrono::seconds(5);
inline constexpr Duration kRoceMraMax = std::chrono::seconds(30);
inline constexpr std::uint8_t kRoceDreqRetriesMax = 3;
// Packets of a connection that ended may still be on their way for so long.
inline constexpr Duration kRoceTimewaitMin = std::chrono::milliseconds(200);
inline constexpr Duration kRoceTimewaitMax = std::chrono::seconds(4);

}  // namespace godbox::emulator
