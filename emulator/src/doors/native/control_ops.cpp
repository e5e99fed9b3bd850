// SPDX-License-Identifier: Apache-2.0
#include "control_ops.h"

#include <algorithm>

namespace godbox::emulator {
namespace {

// Sizes of encoded replies (docs/wire-protocol.md, sections 8 and 9): the codec takes no list that
// a frame cannot hold.
constexpr std::uint64_t kReserveAnswerBytes = 16;
constexpr std::uint64_t kSlabBytes = 24;
constexpr std::uint64_t kSlabMemberBytes = 16;
constexpr std::uint64_t kCountBytes = 4;

std::uint64_t encoded_bytes(const wire::ReserveReply& reply) {
  std::uint64_t bytes = kCountBytes;
  for (const wire::ReserveAnswer& answer : reply.answers) {
    bytes += kReserveAnswerBytes + answer.extents.size() * sizeof(wire::ExtentRecord);
  }
  return bytes;
}

std::uint64_t encoded_bytes(const wire::SlabsReply& reply) {
  std::uint64_t bytes = kCountBytes;
  for (const wire::SlabRecord& slab : reply.slabs) {
    bytes += kSlabBytes + slab.members.size() * kSlabMemberBytes;
  }
  return bytes;
}

template <class Message>
bool fits_a_frame(const Message& message) {
  return encoded_bytes(message) <= wire::kBodyBytesMax;
}

// A reply of a status alone.
Reply status_only(Errc status) {
  Reply reply;
  reply.status = status;
  return reply;
}

template <class Message>
Reply answered(const Message& message) {
  Reply reply;
  reply.body = wire::encode(message);
  return reply;
}

// Decodes the body and lets `handle` answer it.
template <class Request, class Handle>
Result<Reply> with(ConstSpan body, Handle&& handle) {
  const Result<Request> request = wire::decode<Request>(body);
  if (!request) {
    return request.error();
  }
  return handle(*request);
}

template <class Handle>
Result<Reply> without_body(ConstSpan body, Handle&& handle) {
  if (!body.empty()) {
    return Error(Errc::protocol_error, "the operation takes no body");
  }
  return handle();
}

Reply reserve(PoolService& service, SessionId session, const wire::ReserveRequest& request) {
  wire::ReserveReply reply;
  service.reserve(session, request, reply);
  if (fits_a_frame(reply)) {
    return answered(reply);
  }
  wire::ReservationsRequest undone;
  for (const wire::ReserveAnswer& answer : reply.answers) {
    if (answer.status == Errc::ok) {
      undone.reservations.push_back(answer.reservation);
    }
  }
  wire::StatusesReply ignored;
  service.abort(session, undone, ignored);
  return status_only(Errc::too_large);
}

Reply lookup(PoolService& service, SessionId session, const wire::LookupRequest& request) {
  wire::LookupReply reply;
  const Errc status = service.lookup(session, request, reply);
  return status == Errc::ok ? answered(reply) : status_only(status);
}

Reply list(PoolService& service, SessionId session, wire::ListRequest request) {
  request.names_max = std::min(request.names_max, wire::kBatchItemsMax);
  wire::ListReply reply;
  service.list(session, request, reply);
  return answered(reply);
}

Reply usage(const PoolService& service, SessionId session) {
  const Result<wire::UsageReply> usage = service.tenant_usage(session);
  return usage ? answered(*usage) : status_only(usage.error().code);
}

Reply describe_slabs(const PoolService& service, const wire::SlabIdsRequest& request) {
  wire::SlabsReply reply;
  service.describe_slabs(request, reply);
  return fits_a_frame(reply) ? answered(reply) : status_only(Errc::too_large);
}

// Operations that answer one status per item.
template <class Request>
using StatusesCall = void (PoolService::*)(SessionId, const Request&, wire::StatusesReply&);

template <class Request>
Result<Reply> with_statuses(ConstSpan body, PoolService& service, SessionId session,
                            StatusesCall<Request> call) {
  return with<Request>(body, [&](const Request& request) {
    wire::StatusesReply reply;
    (service.*call)(session, request, reply);
    return answered(reply);
  });
}

Result<Reply> handle_devices(PoolService& service, SessionId session, wire::Op op, ConstSpan body) {
  if (op == wire::Op::list_bound) {
    return without_body(body, [&] {
      wire::ListBoundReply reply;
      service.list_bound(reply);
      return answered(reply);
    });
  }
  return with<wire::LogicalDeviceRequest>(body, [&](const wire::LogicalDeviceRequest& request) {
    const Result<void> done = op == wire::Op::unbind ? service.unbind(session, request.device)
                              : op == wire::Op::seal ? service.seal(session, request.device)
                                                     : service.drop(session, request.device);
    return done ? Reply() : refusal(done.error());
  });
}

Result<Reply> handle_objects(PoolService& service, SessionId session, wire::Op op, ConstSpan body) {
  switch (op) {
    case wire::Op::reserve:
      return with<wire::ReserveRequest>(
          body, [&](const auto& request) { return reserve(service, session, request); });
    case wire::Op::commit:
      return with_statuses<wire::CommitRequest>(body, service, session, &PoolService::commit);
    case wire::Op::commit_layer:
      return with_statuses<wire::CommitLayerRequest>(body, service, session,
                                                     &PoolService::commit_layer);
    case wire::Op::abort:
      return with_statuses<wire::ReservationsRequest>(body, service, session, &PoolService::abort);
    case wire::Op::remove:
      return with_statuses<wire::NamesRequest>(body, service, session, &PoolService::remove);
    case wire::Op::lookup:
      return with<wire::LookupRequest>(
          body, [&](const auto& request) { return lookup(service, session, request); });
    case wire::Op::release:
      return with<wire::LeasesRequest>(body, [&](const auto& request) {
        service.release(session, request);
        return Reply();
      });
    case wire::Op::retain:
      return with_statuses<wire::RetainRequest>(body, service, session, &PoolService::retain);
    case wire::Op::usage:
      return without_body(body, [&] { return usage(service, session); });
    case wire::Op::list:
      return with<wire::ListRequest>(
          body, [&](const auto& request) { return list(service, session, request); });
    default:
      return status_only(Errc::unsupported);
  }
}

Reply allocate_region(PoolService& service, SessionId session, SizeBytes size) {
  const Result<wire::RegionReply> region = service.allocate_region(session, size);
  if (region) {
    return answered(*region);
  }
  // Large, rare and asked for by people: the sentence that says why is worth its bytes.
  Reply reply = answered(wire::TextReply{region.error().message()});
  reply.status = region.error().code;
  return reply;
}

}  // namespace

Reply refusal(const Error& error) {
  Reply reply = status_only(error.code);
  if (!error.detail.empty()) {
    reply.body = wire::encode(wire::TextReply{error.detail});
  }
  return reply;
}

Result<Reply> handle_control_op(DoorContext& context, SessionId session, wire::Op op,
                                ConstSpan body) {
  PoolService& service = context.service;
  switch (op) {
    case wire::Op::info:
      return without_body(body, [&] { return answered(context.info()); });
    case wire::Op::status:
      return without_body(body, [&] { return answered(wire::TextReply{context.status_json()}); });
    case wire::Op::describe_slabs:
      return with<wire::SlabIdsRequest>(
          body, [&](const auto& request) { return describe_slabs(service, request); });
    case wire::Op::allocate_region:
      return with<wire::AllocateRegionRequest>(body, [&](const auto& request) {
        return allocate_region(service, session, request.size);
      });
    case wire::Op::free_region:
      return with<wire::FreeRegionRequest>(body, [&](const auto& request) {
        return status_only(service.free_region(session, request.key));
      });
    case wire::Op::unbind:
    case wire::Op::seal:
    case wire::Op::drop:
    case wire::Op::list_bound:
      return handle_devices(service, session, op, body);
    default:
      return handle_objects(service, session, op, body);
  }
}

}  // namespace godbox::emulator
