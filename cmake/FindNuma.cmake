# SPDX-License-Identifier: Apache-2.0
# Finds libnuma, which installs no CMake package. Defines Numa::numa and Numa_FOUND.

include(FindPackageHandleStandardArgs)
find_path(Numa_INCLUDE_DIR numa.h)
find_library(Numa_LIBRARY numa)
mark_as_advanced(Numa_INCLUDE_DIR Numa_LIBRARY)
find_package_handle_standard_args(Numa REQUIRED_VARS Numa_LIBRARY Numa_INCLUDE_DIR)

if(Numa_FOUND AND NOT TARGET Numa::numa)
  add_library(Numa::numa UNKNOWN IMPORTED)
  set_target_properties(
    Numa::numa PROPERTIES IMPORTED_LOCATION "${Numa_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES
                                                              "${Numa_INCLUDE_DIR}"
  )
endif()
