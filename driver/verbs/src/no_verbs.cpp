// SPDX-License-Identifier: Apache-2.0
// In the place of all else here where there was no libibverbs or librdmacm.
#include <godbox/driver/verbs_transport.h>

namespace godbox::driver {

Result<std::unique_ptr<Transport>> open_verbs_transport(const VerbsOptions&, const Clock&) {
  return Error(Errc::device_missing,
               "this godbox was built without RDMA: install libibverbs-dev and librdmacm-dev and "
               "build it with GODBOX_WITH_VERBS=ON");
}

}  // namespace godbox::driver
