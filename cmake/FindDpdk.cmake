# SPDX-License-Identifier: Apache-2.0
# Finds DPDK by its pkg-config file, and the library of net_ring, whose functions are called by name
# and not only through the driver. Defines Dpdk::dpdk, Dpdk_VERSION and Dpdk_FOUND. What it is
# compiled with (-march, a header before all others) is the target's, so link it PRIVATE.

include(FindPackageHandleStandardArgs)
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(Dpdk_PC QUIET IMPORTED_TARGET libdpdk)
  set(Dpdk_VERSION "${Dpdk_PC_VERSION}")
endif()
find_library(Dpdk_RING_LIBRARY rte_net_ring HINTS ${Dpdk_PC_LIBRARY_DIRS})
mark_as_advanced(Dpdk_RING_LIBRARY)
find_package_handle_standard_args(
  Dpdk REQUIRED_VARS Dpdk_PC_FOUND Dpdk_RING_LIBRARY VERSION_VAR Dpdk_VERSION
)

if(Dpdk_FOUND AND NOT TARGET Dpdk::dpdk)
  add_library(Dpdk::dpdk INTERFACE IMPORTED)
  target_link_libraries(Dpdk::dpdk INTERFACE PkgConfig::Dpdk_PC "${Dpdk_RING_LIBRARY}")
endif()
