# SPDX-License-Identifier: Apache-2.0
# Options and compiler settings of the whole tree. Consumers of an installed godbox see none of it.

option(GODBOX_DEVELOPER_MODE "Warnings as errors and extra library checks, for work on godbox" OFF)
option(GODBOX_BUILD_TESTS "Build tests and benchmarks" ${GODBOX_DEVELOPER_MODE})
option(GODBOX_COVERAGE "Instrument for gcov" OFF)
option(GODBOX_FUZZ "Build tests/fuzz with libFuzzer (needs clang)" OFF)
option(GODBOX_PRECOMPILE "Compile common headers of others once: builds take a third less" ON)
set(GODBOX_SANITIZE "" CACHE STRING "Sanitizers for the whole tree, as -fsanitize takes them")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

if(NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(GODBOX_CCACHE ccache)
  mark_as_advanced(GODBOX_CCACHE)
  if(GODBOX_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${GODBOX_CCACHE}")
  endif()
endif()

# Flags for our own targets only; godbox_targets.cmake links it privately and never exports it.
add_library(godbox_private_flags INTERFACE)

if(GODBOX_DEVELOPER_MODE)
  target_compile_options(
    godbox_private_flags INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow
  )
  # Clang counts it into -Wconversion; GCC, whose set of warnings is the rule here, does not.
  target_compile_options(
    godbox_private_flags INTERFACE $<$<CXX_COMPILER_ID:Clang>:-Wno-sign-conversion>
  )
  target_compile_definitions(godbox_private_flags INTERFACE _GLIBCXX_ASSERTIONS)
  # Instrumented code makes GCC 12 warn of what is not there, so only plain builds fail on warnings.
  if(GODBOX_SANITIZE STREQUAL "" AND NOT GODBOX_COVERAGE)
    target_compile_options(godbox_private_flags INTERFACE -Werror)
  endif()
endif()

if(GODBOX_SANITIZE)
  add_compile_options(-fsanitize=${GODBOX_SANITIZE} -fno-omit-frame-pointer)
  add_compile_options(-fno-sanitize-recover=all)
  add_link_options(-fsanitize=${GODBOX_SANITIZE})
  if(GODBOX_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wno-tsan) # Asio uses atomic_thread_fence, which GCC's tsan does not model
  endif()
endif()

# The thread sanitizer of GCC 12 and clang 14 cannot map its shadow where a kernel randomizes
# addresses by 32 bits, so its tests run without that (setarch is essential in Debian).
set(GODBOX_TEST_LAUNCHER "")
if(GODBOX_SANITIZE MATCHES "thread")
  set(launcher setarch ${CMAKE_HOST_SYSTEM_PROCESSOR} --addr-no-randomize)
  execute_process(COMMAND ${launcher} true RESULT_VARIABLE status OUTPUT_QUIET ERROR_QUIET)
  if(status EQUAL 0)
    set(GODBOX_TEST_LAUNCHER ${launcher})
  endif()
endif()

if(GODBOX_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "GODBOX_FUZZ needs clang: use the preset 'fuzz'")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

if(GODBOX_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()

# godbox_with(<FEATURE> <found> <description>): sets GODBOX_HAS_<FEATURE> from the cache variable
# GODBOX_WITH_<FEATURE>=AUTO|ON|OFF. AUTO takes what is there; ON fails when it is missing.
function(godbox_with feature found description)
  set(GODBOX_WITH_${feature} AUTO CACHE STRING "${description}: AUTO, ON or OFF")
  set_property(CACHE GODBOX_WITH_${feature} PROPERTY STRINGS AUTO ON OFF)
  set(wanted "${GODBOX_WITH_${feature}}")
  set(has OFF)
  if(wanted STREQUAL "AUTO")
    if(found)
      set(has ON)
    endif()
  elseif(wanted)
    if(NOT found)
      message(FATAL_ERROR "GODBOX_WITH_${feature}=ON, but it was not found: ${description}")
    endif()
    set(has ON)
  endif()
  set(GODBOX_HAS_${feature} ${has} PARENT_SCOPE)
  message(STATUS "godbox: ${feature} (${description}): ${has}")
endfunction()
