# SPDX-License-Identifier: Apache-2.0
# Finds libibverbs and librdmacm, which install no CMake packages. Defines Verbs::verbs, which is
# both, and Verbs_FOUND.

include(FindPackageHandleStandardArgs)
find_path(Verbs_INCLUDE_DIR rdma/rdma_verbs.h)
find_library(Verbs_LIBRARY ibverbs)
find_library(Verbs_RDMACM_LIBRARY rdmacm)
mark_as_advanced(Verbs_INCLUDE_DIR Verbs_LIBRARY Verbs_RDMACM_LIBRARY)
find_package_handle_standard_args(
  Verbs REQUIRED_VARS Verbs_LIBRARY Verbs_RDMACM_LIBRARY Verbs_INCLUDE_DIR
)

if(Verbs_FOUND AND NOT TARGET Verbs::verbs)
  add_library(Verbs::verbs INTERFACE IMPORTED)
  target_include_directories(Verbs::verbs INTERFACE "${Verbs_INCLUDE_DIR}")
  target_link_libraries(Verbs::verbs INTERFACE "${Verbs_RDMACM_LIBRARY}" "${Verbs_LIBRARY}")
endif()
