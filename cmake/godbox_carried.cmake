# SPDX-License-Identifier: Apache-2.0
# Third-party packages for a machine that has none: from the folder GODBOX_CARRIED, which
# `scripts/gpu --pack` filled on a machine that has them. Headers, ISA-L, libnuma and Catch2; what
# can be compiled from headers is. libcxl and DPDK are left out: a build like this says that it has
# none.
# There is nothing to install from such a build.

foreach(needed IN ITEMS include/boost/version.hpp include/fmt/core.h lib/libisal.so.2 lib/libnuma.a)
  if(NOT EXISTS "${GODBOX_CARRIED}/${needed}")
    message(FATAL_ERROR "GODBOX_CARRIED: ${GODBOX_CARRIED}/${needed} is missing; "
                        "fill the folder with scripts/gpu --pack"
    )
  endif()
endforeach()
find_package(Threads REQUIRED)

# godbox_carried(<target> [library]): headers of the folder, and perhaps a library of it.
function(godbox_carried target)
  set(library ${ARGN})
  if(library)
    add_library(${target} UNKNOWN IMPORTED GLOBAL)
    set_target_properties(${target} PROPERTIES IMPORTED_LOCATION "${GODBOX_CARRIED}/lib/${library}")
  else()
    add_library(${target} INTERFACE IMPORTED GLOBAL)
  endif()
  set_target_properties(
    ${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${GODBOX_CARRIED}/include"
                         INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${GODBOX_CARRIED}/include"
  )
endfunction()

godbox_carried(Boost::headers)
godbox_carried(CLI11::CLI11)
godbox_carried(tomlplusplus::tomlplusplus)
godbox_carried(fmt::fmt)
target_compile_definitions(fmt::fmt INTERFACE FMT_HEADER_ONLY=1)
godbox_carried(spdlog::spdlog)
target_compile_definitions(spdlog::spdlog INTERFACE SPDLOG_FMT_EXTERNAL=1)
target_link_libraries(spdlog::spdlog INTERFACE fmt::fmt Threads::Threads)
godbox_carried(Numa::numa libnuma.a)
# Debian has ISA-L only as a shared library; programs of the build tree find it by their RPATH.
godbox_carried(Isal::isal libisal.so.2)
set(GODBOX_HAS_BENCHMARK OFF)
set(GODBOX_HAS_DPDK OFF)
set(GODBOX_HAS_VERBS OFF)
find_package(CudaCompiler 11.8 QUIET) # the Toolkit is the machine's own
godbox_with(CUDA "${CudaCompiler_FOUND}" "CUDA Toolkit 11.8 or later, for GPUs in driver/gpu")

# Boost.JSON is a library, and its sources are a header.
set(json_source "${PROJECT_BINARY_DIR}/carried/boost_json.cpp")
file(CONFIGURE OUTPUT "${json_source}" CONTENT "#include <boost/json/src.hpp>\n")
add_library(godbox_carried_json STATIC "${json_source}")
target_link_libraries(godbox_carried_json PUBLIC Boost::headers)
target_compile_features(godbox_carried_json PUBLIC cxx_std_20)
add_library(Boost::json ALIAS godbox_carried_json)

if(GODBOX_BUILD_TESTS)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  godbox_carried(Catch2::Catch2 libCatch2.a)
  godbox_carried(Catch2::Catch2WithMain libCatch2Main.a)
  target_link_libraries(Catch2::Catch2WithMain INTERFACE Catch2::Catch2)
endif()
