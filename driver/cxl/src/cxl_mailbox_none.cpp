// SPDX-License-Identifier: Apache-2.0
//
// The mailbox of a build without libcxl (a carried one, cmake/godbox_carried.cmake). Poison is read
// through sysfs and stays.
#include <godbox/driver/cxl_mailbox.h>

namespace godbox::driver {
namespace {

Error without_libcxl(const std::string& memdev) {
  return {Errc::unsupported, "this build has no libcxl: the mailbox of " + memdev + " is not read"};
}

}  // namespace

Result<CxlIdentity> read_cxl_identity(const std::string& memdev) { return without_libcxl(memdev); }

Result<CxlHealth> read_cxl_health(const std::string& memdev) { return without_libcxl(memdev); }

Result<std::vector<CxlLog>> read_cxl_logs(const std::string& memdev) {
  return without_libcxl(memdev);
}

}  // namespace godbox::driver
