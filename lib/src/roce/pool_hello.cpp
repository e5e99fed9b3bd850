// SPDX-License-Identifier: Apache-2.0
#include "big_endian.h"
#include <godbox/roce/packet_spec.h>
#include <godbox/roce/pool_hello.h>

namespace godbox::roce {
namespace {

constexpr std::uint16_t kPoolVersion = 1;
constexpr std::uint32_t kByBox = 1;  // of the flags

struct PoolHelloSpec {
  Be16 version;   //  0
  Be16 reserved;  //  2
  Be32 flags;     //  4  1: moved by the box
  Be64 session;   //  8
  Be64 secret_0;  // 16
  Be64 secret_1;  // 24
};
static_assert(sizeof(PoolHelloSpec) == kPoolHelloBytes && kPoolHelloBytes <= kCmUserDataBytes);

struct PoolWelcomeSpec {
  Be16 version;   // 0
  Be16 eth_port;  // 2
  Be32 lane;      // 4
};
static_assert(sizeof(PoolWelcomeSpec) == kPoolWelcomeBytes);

struct PoolRefusalSpec {
  Be16 version;  // 0
  Be16 why;      // 2  an Errc
};
static_assert(sizeof(PoolRefusalSpec) == kPoolRefusalBytes);

struct PoolNakSpec {
  Be16 version;  // 0
  std::uint8_t reserved_2;
  std::uint8_t syndrome;  // 3  of its AETH
  std::uint8_t reserved_4;
  Be24 psn;  // 5
};
static_assert(sizeof(PoolNakSpec) == kPoolNakBytes);

template <class Spec, std::size_t N>
Spec read_data(std::span<const std::uint8_t, N> data) {
  return read_spec<Spec>(std::as_bytes(data).data());
}
template <class Spec, std::size_t N>
void write_data(std::span<std::uint8_t, N> data, const Spec& spec) {
  write_spec(std::as_writable_bytes(data).data(), spec);
}

}  // namespace

void encode_pool_hello(const PoolHello& hello, std::span<std::uint8_t, kPoolHelloBytes> out) {
  write_data(out, PoolHelloSpec{.version = be<Be16>(kPoolVersion),
                                .reserved = {},
                                .flags = be<Be32>(hello.moved_by == MovedBy::box ? kByBox : 0),
                                .session = be<Be64>(hello.session.value()),
                                .secret_0 = be<Be64>(hello.secret.words[0]),
                                .secret_1 = be<Be64>(hello.secret.words[1])});
}

std::optional<PoolHello> decode_pool_hello(std::span<const std::uint8_t, kPoolHelloBytes> data) {
  const auto spec = read_data<PoolHelloSpec>(data);
  if (load(spec.version) != kPoolVersion || load(spec.reserved) != 0 || load(spec.flags) > kByBox) {
    return std::nullopt;
  }
  return PoolHello{.session = SessionId(load(spec.session)),
                   .secret = {.words = {load(spec.secret_0), load(spec.secret_1)}},
                   .moved_by = load(spec.flags) == kByBox ? MovedBy::box : MovedBy::client};
}

void encode_pool_welcome(const PoolWelcome& welcome,
                         std::span<std::uint8_t, kPoolWelcomeBytes> out) {
  write_data(out, PoolWelcomeSpec{.version = be<Be16>(kPoolVersion),
                                  .eth_port = be<Be16>(welcome.eth_port.value()),
                                  .lane = be<Be32>(welcome.lane.value())});
}

std::optional<PoolWelcome> decode_pool_welcome(
    std::span<const std::uint8_t, kPoolWelcomeBytes> data) {
  const auto spec = read_data<PoolWelcomeSpec>(data);
  if (load(spec.version) != kPoolVersion) {
    return std::nullopt;
  }
  return PoolWelcome{.eth_port = EthPortId(load(spec.eth_port)),
                     .lane = wire::LaneToken(load(spec.lane))};
}

void encode_pool_refusal(Errc why, std::span<std::uint8_t, kPoolRefusalBytes> out) {
  write_data(out, PoolRefusalSpec{.version = be<Be16>(kPoolVersion),
                                  .why = be<Be16>(static_cast<std::uint16_t>(why))});
}

std::optional<Errc> decode_pool_refusal(std::span<const std::uint8_t, kPoolRefusalBytes> data) {
  const auto spec = read_data<PoolRefusalSpec>(data);
  const Errc why = errc_from_number(load(spec.why));
  // A refusal has a reason, and none of its reasons is a device of this end.
  if (load(spec.version) != kPoolVersion || why == Errc::ok || scope_of(why) == ErrcScope::device) {
    return std::nullopt;
  }
  return why;
}

void encode_pool_nak(const PoolNak& nak, std::span<std::uint8_t, kPoolNakBytes> out) {
  write_data(out, PoolNakSpec{.version = be<Be16>(kPoolVersion),
                              .reserved_2 = 0,
                              .syndrome = nak.syndrome,
                              .reserved_4 = 0,
                              .psn = be<Be24>(nak.psn.value())});
}

std::optional<PoolNak> decode_pool_nak(std::span<const std::uint8_t, kPoolNakBytes> data) {
  const auto spec = read_data<PoolNakSpec>(data);
  const bool is_fatal = spec.syndrome == kSyndromeNakInvalid ||
                        spec.syndrome == kSyndromeNakAccess ||
                        spec.syndrome == kSyndromeNakOperational;
  if (load(spec.version) != kPoolVersion || !is_fatal) {
    return std::nullopt;
  }
  return PoolNak{.syndrome = spec.syndrome, .psn = Psn(load(spec.psn))};
}

}  // namespace godbox::roce
