// SPDX-License-Identifier: Apache-2.0
#include "fabric_session.h"
#include <godbox/cxl/channel_serial.h>
#include <godbox/slab_lease.h>

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

namespace godbox {
namespace {

// The slabs in the order asked for, as the box describes them.
Result<std::vector<striping::SlabLayout>> describe(FabricSession& session,
                                                   const std::vector<SlabId>& ids) {
  std::vector<striping::SlabLayout> slabs;
  for (std::size_t at = 0; at < ids.size(); at += wire::kBatchItemsMax) {
    const std::size_t count = std::min<std::size_t>(ids.size() - at, wire::kBatchItemsMax);
    const auto first = ids.begin() + static_cast<std::ptrdiff_t>(at);
    const auto reply = session.ask<wire::SlabsReply>(
        wire::Op::describe_slabs,
        wire::SlabIdsRequest{{first, first + static_cast<std::ptrdiff_t>(count)}});
    if (!reply) {
      return reply.error();
    }
    for (const wire::SlabRecord& record : reply->slabs) {
      auto layout = striping::SlabLayout::create(record);
      if (!layout) {
        return layout.error();
      }
      slabs.push_back(std::move(*layout));
    }
  }
  return slabs;
}

}  // namespace

struct SlabLease::Impl {
  ~Impl() {
    if (descriptor >= 0) {
      ::close(descriptor);
    }
  }
  std::unique_ptr<FabricSession> session;
  wire::BindReply bound;
  int descriptor = -1;
  std::optional<striping::LogicalDeviceLayout> layout;
};

SlabLease::SlabLease(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SlabLease::~SlabLease() = default;

Result<std::unique_ptr<SlabLease>> SlabLease::bind(const SlabRequest& request) {
  if (request.vm.size() > wire::kVmNameBytesMax) {
    return Error(Errc::invalid_argument, "the VM's name is too long");
  }
  auto session = FabricSession::open(request.control_socket, request.tenant, request.timeout);
  if (!session) {
    return session.error();
  }
  auto impl = std::make_unique<Impl>();
  impl->session = std::move(*session);
  const auto answer = impl->session->call(
      wire::Op::bind, wire::encode(wire::BindRequest{request.size, request.device, request.vm}));
  if (!answer) {
    return answer.error();
  }
  impl->descriptor = answer->descriptors.empty() ? -1 : answer->descriptors.front();
  for (std::size_t i = 1; i < answer->descriptors.size(); ++i) {
    ::close(answer->descriptors[i]);
  }
  auto bound = wire::decode<wire::BindReply>(answer->body);
  struct stat status {};
  if (!bound || answer->descriptors.size() != 1 || ::fstat(impl->descriptor, &status) != 0 ||
      static_cast<std::uint64_t>(status.st_size) != bound->size.count()) {
    return Error(Errc::protocol_error, "the box's answer does not fit the memory that came along");
  }
  impl->bound = std::move(*bound);
  auto slabs = describe(*impl->session, impl->bound.slabs);
  if (!slabs) {
    return slabs.error();
  }
  auto layout = striping::LogicalDeviceLayout::create(impl->bound.size, std::move(*slabs));
  if (!layout) {
    return Error(Errc::protocol_error, layout.error().detail);
  }
  impl->layout = std::move(*layout);
  return std::unique_ptr<SlabLease>(new SlabLease(std::move(impl)));
}

LdId SlabLease::device() const { return impl_->bound.device; }
SizeBytes SlabLease::size() const { return impl_->bound.size; }
bool SlabLease::is_sealed() const { return impl_->bound.sealed; }
int SlabLease::descriptor() const { return impl_->descriptor; }
std::uint32_t SlabLease::box_number() const { return cxl::box_number(impl_->session->epoch()); }
const striping::LogicalDeviceLayout& SlabLease::layout() const { return *impl_->layout; }
bool SlabLease::is_lost() const { return impl_->session->is_lost(); }

Result<void> SlabLease::give_back() {
  const auto done = impl_->session->call(
      wire::Op::unbind, wire::encode(wire::LogicalDeviceRequest{impl_->bound.device}));
  return done ? Result<void>() : done.error();
}

Result<void> SlabLease::seal() {
  const auto done = impl_->session->call(
      wire::Op::seal, wire::encode(wire::LogicalDeviceRequest{impl_->bound.device}));
  return done ? Result<void>() : done.error();
}

Result<BoundDevices> list_bound(const std::string& control_socket, Duration timeout) {
  auto session = FabricSession::open(control_socket, "", timeout);
  if (!session) {
    return session.error();
  }
  const auto answer = (*session)->call(wire::Op::list_bound, {});
  if (!answer) {
    return answer.error();
  }
  auto reply = wire::decode<wire::ListBoundReply>(answer->body);
  return reply ? Result<BoundDevices>(
                     BoundDevices{cxl::box_number((*session)->epoch()), std::move(reply->devices)})
               : reply.error();
}

Result<void> drop_device(const std::string& control_socket, const std::string& tenant, LdId device,
                         Duration timeout) {
  auto session = FabricSession::open(control_socket, tenant, timeout);
  if (!session) {
    return session.error();
  }
  const auto done =
      (*session)->call(wire::Op::drop, wire::encode(wire::LogicalDeviceRequest{device}));
  return done ? Result<void>() : done.error();
}

}  // namespace godbox
