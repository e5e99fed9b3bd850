// SPDX-License-Identifier: Apache-2.0
//
// How a connection becomes a lane of a session of the pool, and why it ends: what its REQ, REP, REJ
// and DREQ carry as private data of the user (docs/rdma.md, "Connecting"). The session is one that
// the client has opened over the native protocol, which also gave it keys and addresses.
// Thread-safety: pure functions over plain values. Units: in each name. Errors: decoders answer
// nothing for what is no such data. Nothing allocates.
#pragma once

#include <godbox/result.h>
#include <godbox/roce/mad.h>
#include <godbox/wire.h>

#include <optional>
#include <span>

namespace godbox::roce {

// The service of the pool: rdma_cm's port 7400.
inline constexpr ServiceId kPoolService(kServicePrefixTcp | 7400U);

// Whose device does the READs and WRITEs of a lane: the client's, of the pool; or the box's, of the
// client's memory, as the client orders (godbox/roce/move_order.h).
enum class MovedBy : std::uint8_t { client, box };

struct PoolHello {
  SessionId session;
  wire::SessionSecret secret;
  MovedBy moved_by = MovedBy::client;
  bool operator==(const PoolHello&) const = default;
};
struct PoolWelcome {
  EthPortId eth_port;
  wire::LaneToken lane;  // names the connection where the session fences it
  bool operator==(const PoolWelcome&) const = default;
};

// The NAK that ended the queue pair: one that is lost is not sent again, and a DREQ is.
struct PoolNak {
  std::uint8_t syndrome = 0;
  Psn psn;
  bool operator==(const PoolNak&) const = default;
};

inline constexpr std::size_t kPoolHelloBytes = 32;
inline constexpr std::size_t kPoolWelcomeBytes = 8;
inline constexpr std::size_t kPoolRefusalBytes = 4;
inline constexpr std::size_t kPoolNakBytes = 8;
void encode_pool_hello(const PoolHello& hello, std::span<std::uint8_t, kPoolHelloBytes> out);
[[nodiscard]] std::optional<PoolHello> decode_pool_hello(
    std::span<const std::uint8_t, kPoolHelloBytes> data);
void encode_pool_welcome(const PoolWelcome& welcome,
                         std::span<std::uint8_t, kPoolWelcomeBytes> out);
[[nodiscard]] std::optional<PoolWelcome> decode_pool_welcome(
    std::span<const std::uint8_t, kPoolWelcomeBytes> data);
// Why, in a REJ of reason `consumer`.
void encode_pool_refusal(Errc why, std::span<std::uint8_t, kPoolRefusalBytes> out);
[[nodiscard]] std::optional<Errc> decode_pool_refusal(
    std::span<const std::uint8_t, kPoolRefusalBytes> data);
void encode_pool_nak(const PoolNak& nak, std::span<std::uint8_t, kPoolNakBytes> out);
// Of a DREQ for another reason: nothing.
[[nodiscard]] std::optional<PoolNak> decode_pool_nak(
    std::span<const std::uint8_t, kPoolNakBytes> data);

}  // namespace godbox::roce
