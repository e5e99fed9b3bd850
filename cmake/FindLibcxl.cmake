# SPDX-License-Identifier: Apache-2.0
# Finds libcxl (of ndctl: CXL mailbox commands) and defines Libcxl::libcxl.
# Installed beside godbox-config.cmake.

find_path(Libcxl_INCLUDE_DIR NAMES cxl/libcxl.h)
find_library(Libcxl_LIBRARY NAMES cxl)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libcxl REQUIRED_VARS Libcxl_LIBRARY Libcxl_INCLUDE_DIR)
mark_as_advanced(Libcxl_INCLUDE_DIR Libcxl_LIBRARY)

if(Libcxl_FOUND AND NOT TARGET Libcxl::libcxl)
  add_library(Libcxl::libcxl UNKNOWN IMPORTED)
  set_target_properties(
    Libcxl::libcxl
    PROPERTIES IMPORTED_LOCATION "${Libcxl_LIBRARY}"
               INTERFACE_INCLUDE_DIRECTORIES "${Libcxl_INCLUDE_DIR}"
  )
endif()
