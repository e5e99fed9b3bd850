# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` gives a consumer: find_package(godbox CONFIG) and godbox.pc.

include(CMakePackageConfigHelpers)

set(godbox_cmake_dir "${CMAKE_INSTALL_LIBDIR}/cmake/godbox")

install(
  EXPORT godbox-targets
  NAMESPACE godbox::
  DESTINATION "${godbox_cmake_dir}"
  COMPONENT godbox
)
configure_package_config_file(
  cmake/godbox-config.cmake.in "${PROJECT_BINARY_DIR}/godbox-config.cmake"
  INSTALL_DESTINATION "${godbox_cmake_dir}"
)
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/godbox-config-version.cmake" COMPATIBILITY SameMinorVersion
)

# Static archives are named users first, so that a linker can read them in one pass.
get_property(archives GLOBAL PROPERTY GODBOX_ARCHIVES)
list(REVERSE archives)
list(TRANSFORM archives PREPEND "-l")
list(JOIN archives " " GODBOX_PC_LIBS)
set(GODBOX_PC_VERBS "")
if(GODBOX_HAS_VERBS)
  set(GODBOX_PC_VERBS "-lrdmacm -libverbs ")
endif()
configure_file(godbox.pc.in "${PROJECT_BINARY_DIR}/godbox.pc" @ONLY)

install(
  FILES "${PROJECT_BINARY_DIR}/godbox-config.cmake"
        "${PROJECT_BINARY_DIR}/godbox-config-version.cmake" cmake/FindIsal.cmake
        cmake/FindLibcxl.cmake cmake/FindVerbs.cmake
  DESTINATION "${godbox_cmake_dir}"
  COMPONENT godbox
)
install(
  FILES "${PROJECT_BINARY_DIR}/godbox.pc"
  DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
  COMPONENT godbox
)
