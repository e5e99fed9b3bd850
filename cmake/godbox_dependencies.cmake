# SPDX-License-Identifier: Apache-2.0
# Third-party packages, all from the system. Which folder may include which is in layers.toml.

find_package(Threads REQUIRED)
find_package(Boost 1.81 CONFIG REQUIRED COMPONENTS json)
find_package(fmt REQUIRED)
find_package(Isal REQUIRED)
find_package(Libcxl REQUIRED)
find_package(Numa REQUIRED)
find_package(tomlplusplus 3 REQUIRED)
find_package(CLI11 2 REQUIRED)
find_package(spdlog REQUIRED)
find_package(CudaCompiler 11.8 QUIET)
godbox_with(CUDA "${CudaCompiler_FOUND}" "CUDA Toolkit 11.8 or later, for GPUs in driver/gpu")
find_package(Dpdk 22.11 QUIET)
godbox_with(DPDK "${Dpdk_FOUND}" "DPDK 22.11 or later, for Ethernet ports in driver/dpdk")

if(GODBOX_BUILD_TESTS)
  find_package(Catch2 3 REQUIRED)
  find_package(Python3 3.11 REQUIRED COMPONENTS Interpreter)
  find_package(benchmark QUIET)
  godbox_with(BENCHMARK "${benchmark_FOUND}" "Google Benchmark, for perf/micro")
endif()
