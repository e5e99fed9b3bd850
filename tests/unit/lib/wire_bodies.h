// SPDX-License-Identifier: Apache-2.0
//
// Every body of the native protocol as one table, for tests that treat all of them alike.
// Thread-safety: constants and pure functions.
#pragma once

#include <godbox/wire.h>

#include <algorithm>
#include <array>

namespace godbox::test {

// Decodes and encodes again. For what a decoder accepts, the answer has to be the same bytes.
using Reencode = Result<wire::Body> (*)(ConstSpan body);

template <class T>
Result<wire::Body> reencode(ConstSpan body) {
  const Result<T> message = wire::decode<T>(body);
  if (!message) {
    return message.error();
  }
  return wire::encode(*message);
}

inline Result<wire::Body> reencode_segments(ConstSpan body) {
  std::vector<RemoteSegment> segments;
  const Result<std::uint64_t> total = wire::decode_segments(body, segments);
  if (!total) {
    return total.error();
  }
  wire::Body again(segments.size() * sizeof(wire::Segment));
  wire::encode_segments(segments, again);
  return again;
}

struct BodyCodec {
  wire::Op op;
  bool is_response;
  Reencode reencode;
};

// Operations whose body is empty are not here.
inline constexpr BodyCodec kBodyCodecs[] = {
    {wire::Op::hello, false, reencode<wire::HelloRequest>},
    {wire::Op::hello, true, reencode<wire::HelloReply>},
    {wire::Op::read, false, reencode_segments},
    {wire::Op::write, false, reencode_segments},
    {wire::Op::fence, false, reencode<wire::FenceRequest>},
    {wire::Op::info, true, reencode<wire::InfoReply>},
    {wire::Op::describe_slabs, false, reencode<wire::SlabIdsRequest>},
    {wire::Op::describe_slabs, true, reencode<wire::SlabsReply>},
    {wire::Op::map_memory, false, reencode<wire::MapRequest>},
    {wire::Op::map_memory, true, reencode<wire::MapReply>},
    {wire::Op::reserve, false, reencode<wire::ReserveRequest>},
    {wire::Op::reserve, true, reencode<wire::ReserveReply>},
    {wire::Op::commit, false, reencode<wire::CommitRequest>},
    {wire::Op::commit, true, reencode<wire::StatusesReply>},
    {wire::Op::abort, false, reencode<wire::ReservationsRequest>},
    {wire::Op::abort, true, reencode<wire::StatusesReply>},
    {wire::Op::lookup, false, reencode<wire::LookupRequest>},
    {wire::Op::lookup, true, reencode<wire::LookupReply>},
    {wire::Op::release, false, reencode<wire::LeasesRequest>},
    {wire::Op::remove, false, reencode<wire::NamesRequest>},
    {wire::Op::remove, true, reencode<wire::StatusesReply>},
    {wire::Op::list, false, reencode<wire::ListRequest>},
    {wire::Op::list, true, reencode<wire::ListReply>},
    {wire::Op::status, true, reencode<wire::TextReply>},
    {wire::Op::allocate_region, false, reencode<wire::AllocateRegionRequest>},
    {wire::Op::allocate_region, true, reencode<wire::RegionReply>},
    {wire::Op::free_region, false, reencode<wire::FreeRegionRequest>},
    {wire::Op::retain, false, reencode<wire::RetainRequest>},
    {wire::Op::retain, true, reencode<wire::StatusesReply>},
    {wire::Op::usage, true, reencode<wire::UsageReply>},
    {wire::Op::wait, false, reencode<wire::WaitRequest>},
    {wire::Op::wait, true, reencode<wire::LookupReply>},
    {wire::Op::commit_layer, false, reencode<wire::CommitLayerRequest>},
    {wire::Op::commit_layer, true, reencode<wire::StatusesReply>},
    {wire::Op::events, false, reencode<wire::EventsRequest>},
    {wire::Op::events, true, reencode<wire::EventsReply>},
    {wire::Op::bind, false, reencode<wire::BindRequest>},
    {wire::Op::bind, true, reencode<wire::BindReply>},
    {wire::Op::unbind, false, reencode<wire::LogicalDeviceRequest>},
    {wire::Op::seal, false, reencode<wire::LogicalDeviceRequest>},
    {wire::Op::drop, false, reencode<wire::LogicalDeviceRequest>},
    {wire::Op::list_bound, true, reencode<wire::ListBoundReply>},
};

// The codec of a frame's body; nullptr where there is none. Error responses carry a text.
inline Reencode codec_of(const wire::Header& header) {
  if (header.is_response && header.status != Errc::ok) {
    return reencode<wire::TextReply>;
  }
  const auto* const found =
      std::find_if(std::begin(kBodyCodecs), std::end(kBodyCodecs), [&](const BodyCodec& codec) {
        return codec.op == header.op && codec.is_response == header.is_response;
      });
  return found == std::end(kBodyCodecs) ? nullptr : found->reencode;
}

}  // namespace godbox::test
