# SPDX-License-Identifier: Apache-2.0
# The functions by which every room declares its targets. An empty source list is accepted, so that
# a room can exist before its first file.

# godbox_add_library(<name> [SOURCES file...] [PUBLIC lib...] [PRIVATE lib...])
# Static library godbox_<name>, alias godbox::<name>, public headers in ./include, private ones in
# ./src. Installed and exported.
function(godbox_add_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;PUBLIC;PRIVATE")
  godbox_check_arguments(godbox_add_library "${arg_UNPARSED_ARGUMENTS}")
  set(target godbox_${name})
  if(arg_SOURCES)
    add_library(${target} STATIC ${arg_SOURCES})
    set(public PUBLIC)
    target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/src")
    target_link_libraries(
      ${target} PRIVATE ${arg_PRIVATE} $<BUILD_INTERFACE:godbox_private_flags>
    )
    set_property(GLOBAL APPEND PROPERTY GODBOX_ARCHIVES ${target})
    godbox_precompile(${target} KIND library)
  else()
    add_library(${target} INTERFACE)
    set(public INTERFACE)
  endif()
  add_library(godbox::${name} ALIAS ${target})
  target_compile_features(${target} ${public} cxx_std_20)
  target_include_directories(
    ${target} ${public} "$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>"
              "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>"
  )
  target_link_libraries(${target} ${public} ${arg_PUBLIC})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  install(TARGETS ${target} EXPORT godbox-targets ARCHIVE COMPONENT godbox)
  install(DIRECTORY include/ DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT godbox OPTIONAL)
  set_property(GLOBAL APPEND PROPERTY GODBOX_INCLUDE_DIRS "${CMAKE_CURRENT_SOURCE_DIR}/include")
endfunction()

# godbox_add_internal_library(<name> [SOURCES file...] [INCLUDE dir...] [LIBS lib...]
#                             [PRECOMPILE header...])
# Static library godbox_<name>, alias godbox::<name>, for use inside this tree only.
function(godbox_add_internal_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;INCLUDE;LIBS;PRECOMPILE")
  godbox_check_arguments(godbox_add_internal_library "${arg_UNPARSED_ARGUMENTS}")
  set(target godbox_${name})
  if(arg_SOURCES)
    add_library(${target} STATIC ${arg_SOURCES})
    set(public PUBLIC)
    target_link_libraries(${target} PRIVATE godbox_private_flags)
    if(arg_PRECOMPILE)
      godbox_precompile(${target} ${arg_PRECOMPILE})
    else()
      godbox_precompile(${target} KIND library)
    endif()
  else()
    add_library(${target} INTERFACE)
    set(public INTERFACE)
  endif()
  add_library(godbox::${name} ALIAS ${target})
  target_include_directories(${target} ${public} ${arg_INCLUDE})
  target_link_libraries(${target} ${public} ${arg_LIBS})
endfunction()

# godbox_add_executable(<name> [SOURCES file...] [LIBS lib...] [INSTALL])
function(godbox_add_executable name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "INSTALL" "" "SOURCES;LIBS")
  godbox_check_arguments(godbox_add_executable "${arg_UNPARSED_ARGUMENTS}")
  if(NOT arg_SOURCES)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LIBS} godbox_private_flags)
  if(arg_INSTALL)
    install(TARGETS ${name} RUNTIME COMPONENT godbox)
  endif()
endfunction()

# godbox_add_test(<name> LABEL label... [SOURCES file...] [LIBS lib...] [ARGS arg...]
#                 [TIMEOUT seconds] [SERIAL])
# One Catch2 executable and one ctest entry of that name. It fails when it runs no test case; it is
# shown as skipped when every case was skipped. SERIAL: nothing else runs beside it.
# Every label L has a target tests_L which builds all its tests. GODBOX_VECTORS_DIR is defined.
function(godbox_add_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL" "TIMEOUT" "LABEL;SOURCES;LIBS;ARGS")
  godbox_check_arguments(godbox_add_test "${arg_UNPARSED_ARGUMENTS}")
  if(NOT arg_LABEL)
    message(FATAL_ERROR "godbox_add_test(${name}): LABEL is missing")
  endif()
  if(NOT arg_SOURCES)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LIBS} Catch2::Catch2WithMain godbox_private_flags)
  target_compile_definitions(
    ${name} PRIVATE "GODBOX_VECTORS_DIR=\"${PROJECT_SOURCE_DIR}/tests/vectors\""
  )
  godbox_precompile(
    ${name} catch2/catch_test_macros.hpp catch2/generators/catch_generators.hpp KIND test
  )
  godbox_register_test(
    ${name} "${arg_LABEL}" "${arg_TIMEOUT}" $<TARGET_FILE:${name}> ${arg_ARGS}
  )
  set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 4) # Catch2: every case was skipped
  if(arg_SERIAL)
    set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
  endif()
  godbox_collect_by_label(${name} "${arg_LABEL}")
endfunction()

# godbox_add_bench(<name> [SOURCES file...] [LIBS lib...] [SMALL_ARGS arg...] [TIMEOUT seconds])
# A benchmark program with a main() of its own. ctest (label perf) runs it with SMALL_ARGS, so that
# none rots; the real figures come from running it without them.
function(godbox_add_bench name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "SOURCES;LIBS;SMALL_ARGS")
  godbox_check_arguments(godbox_add_bench "${arg_UNPARSED_ARGUMENTS}")
  if(NOT arg_SOURCES)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LIBS} godbox_private_flags)
  godbox_register_test(
    ${name} perf "${arg_TIMEOUT}" $<TARGET_FILE:${name}> ${arg_SMALL_ARGS}
  )
  godbox_collect_by_label(${name} perf)
endfunction()

# godbox_add_fuzz(<name> [SOURCES file...] [LIBS lib...] [CORPUS dir])
# The sources define LLVMFuzzerTestOneInput. With GODBOX_FUZZ it becomes a libFuzzer program and a
# short run of it a test (label fuzz; GODBOX_FUZZ_SECONDS sets how long). Otherwise the same code is
# linked with a driver that replays every file of CORPUS (label fuzz too), as a regression test.
function(godbox_add_fuzz name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "CORPUS" "SOURCES;LIBS")
  godbox_check_arguments(godbox_add_fuzz "${arg_UNPARSED_ARGUMENTS}")
  if(NOT arg_SOURCES)
    return()
  endif()
  set(corpus "${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name}")
  if(arg_CORPUS)
    cmake_path(ABSOLUTE_PATH arg_CORPUS OUTPUT_VARIABLE corpus)
  endif()
  if(GODBOX_FUZZ)
    add_executable(${name} ${arg_SOURCES})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    godbox_register_test(
      ${name} fuzz 900 "${PROJECT_SOURCE_DIR}/tests/fuzz/run_fuzzer" $<TARGET_FILE:${name}>
      "${corpus}" "${CMAKE_CURRENT_BINARY_DIR}/found/${name}"
    )
  else()
    add_executable(${name} ${arg_SOURCES} "${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cpp")
    godbox_register_test(${name} fuzz 60 $<TARGET_FILE:${name}> "${corpus}")
  endif()
  target_link_libraries(${name} PRIVATE ${arg_LIBS} godbox_private_flags)
  godbox_collect_by_label(${name} fuzz)
endfunction()

# godbox_precompile(<target> [header...] [KIND name])
# With GODBOX_PRECOMPILE: these and the common headers of the C++ library are compiled once, and all
# targets of a KIND share what the first of them is compiled with (a KIND: libraries or programs,
# which differ in -fPIC, and the same headers). Without KIND the target has its own. Only headers
# that are not ours, and every source still includes what it uses: the builds without this (the
# preset perf, clang-tidy) hold it to that.
# ccache takes part where its sloppiness is "pch_defines,time_macros".
function(godbox_precompile target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "KIND" "")
  if(NOT GODBOX_PRECOMPILE)
    return()
  endif()
  # GCC forgets what is a system header, and GCC 12 warns wrongly about strings there.
  target_compile_options(
    ${target}
    PRIVATE
      "$<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess;-Wno-stringop-overread;-Wno-maybe-uninitialized>"
  )
  target_compile_definitions(
    ${target} PRIVATE $<TARGET_PROPERTY:fmt::fmt,INTERFACE_COMPILE_DEFINITIONS>
  )
  if(arg_KIND)
    get_property(carrier GLOBAL PROPERTY GODBOX_PRECOMPILED_${arg_KIND})
    if(carrier)
      target_precompile_headers(${target} REUSE_FROM ${carrier})
      return()
    endif()
    set_property(GLOBAL PROPERTY GODBOX_PRECOMPILED_${arg_KIND} ${target})
  endif()
  set(headers ${arg_UNPARSED_ARGUMENTS})
  list(TRANSFORM headers PREPEND "<")
  list(TRANSFORM headers APPEND ">")
  target_precompile_headers(
    ${target}
    PRIVATE
    <algorithm>
    <array>
    <chrono>
    <functional>
    <map>
    <memory>
    <optional>
    <random>
    <set>
    <span>
    <string>
    <string_view>
    <thread>
    <unordered_map>
    <utility>
    <vector>
    <fmt/format.h>
    ${headers}
  )
endfunction()

# godbox_register_test(<name> <labels> <timeout or ""> <program or target> <argument>...)
# A target becomes its file here: CMake does that for the first word of a command alone, and with
# GODBOX_TEST_LAUNCHER the program is not the first.
function(godbox_register_test name labels timeout program)
  if(NOT timeout)
    set(timeout 120)
  endif()
  # Instrumented programs are several times slower, the thread sanitizer's most of all.
  if(GODBOX_SANITIZE OR GODBOX_COVERAGE)
    math(EXPR timeout "${timeout} * 6")
  endif()
  if(TARGET ${program})
    set(program "$<TARGET_FILE:${program}>")
  endif()
  add_test(NAME ${name} COMMAND ${GODBOX_TEST_LAUNCHER} ${program} ${ARGN})
  set_tests_properties(
    ${name}
    PROPERTIES LABELS "${labels}"
               TIMEOUT ${timeout}
               ENVIRONMENT "UBSAN_OPTIONS=print_stacktrace=1"
  )
endfunction()

function(godbox_collect_by_label target labels)
  foreach(label IN LISTS labels)
    if(NOT TARGET tests_${label})
      add_custom_target(tests_${label})
    endif()
    add_dependencies(tests_${label} ${target})
  endforeach()
endfunction()

function(godbox_check_arguments caller unparsed)
  if(unparsed)
    message(FATAL_ERROR "${caller}: unknown arguments: ${unparsed}")
  endif()
endfunction()
