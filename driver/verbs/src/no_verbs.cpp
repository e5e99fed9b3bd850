// SPDX-License-Identifier: Apache-2.0
// In the place of all else here where there was no libibverbs or librdmacm.
#include <godbox/driver/verbs_server.h>
#include <godbox/driver/verbs_transport.h>

namespace godbox::driver {
namespace {

Error without_rdma() {
  return {Errc::device_missing,
          "this godbox was built without RDMA: install libibverbs-dev and librdmacm-dev and build "
          "it with GODBOX_WITH_VERBS=ON"};
}

}  // namespace

Result<std::unique_ptr<Transport>> open_verbs_transport(const VerbsOptions&, const Clock&) {
  return without_rdma();
}

struct RegisteredMemory::State {};
RegisteredMemory::RegisteredMemory() = default;
RegisteredMemory::~RegisteredMemory() = default;
std::unique_ptr<MemoryTarget> RegisteredMemory::watch(std::unique_ptr<MemoryTarget> target) {
  return target;
}

struct VerbsServer::Impl {
  std::string device;
};
VerbsServer::VerbsServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
VerbsServer::~VerbsServer() = default;
Result<std::unique_ptr<VerbsServer>> VerbsServer::open(const VerbsServerOptions&, PoolAccess&,
                                                       RegisteredMemory&, const Clock&) {
  return without_rdma();
}
void VerbsServer::run() {}
void VerbsServer::stop() {}
const std::string& VerbsServer::device() const { return impl_->device; }
MacAddress VerbsServer::mac() const { return {}; }
std::uint32_t VerbsServer::path_mtu_bytes() const { return 0; }
std::vector<std::pair<std::string_view, std::uint64_t>> VerbsServer::counters() const { return {}; }

}  // namespace godbox::driver
