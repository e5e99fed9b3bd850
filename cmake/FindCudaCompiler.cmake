# SPDX-License-Identifier: Apache-2.0
# Finds what godbox takes of the CUDA Toolkit: nvcc and the headers of the driver API. No library of
# it is linked. Sets CudaCompiler_FOUND, CudaCompiler_NVCC, CudaCompiler_HOST (nvcc's option for the
# compiler that it uses itself), CudaCompiler_INCLUDE_DIR and CudaCompiler_VERSION. CUDA_HOME or
# CUDA_PATH in the environment say where it is, CUDAHOSTCXX which compiler nvcc is to use.

find_program(
  CudaCompiler_NVCC nvcc
  HINTS ENV CUDA_HOME ENV CUDA_PATH
  PATHS /usr/local/cuda
  PATH_SUFFIXES bin
)
if(CudaCompiler_NVCC)
  get_filename_component(bin "${CudaCompiler_NVCC}" DIRECTORY)
  execute_process(
    COMMAND "${CudaCompiler_NVCC}" --version OUTPUT_VARIABLE text ERROR_QUIET
  )
  if(text MATCHES "release ([0-9]+\\.[0-9]+)")
    set(CudaCompiler_VERSION "${CMAKE_MATCH_1}")
  endif()
endif()
find_path(CudaCompiler_INCLUDE_DIR cudaTypedefs.h HINTS "${bin}/../include")

set(CudaCompiler_HOST)
if(DEFINED ENV{CUDAHOSTCXX}) # as CMake's own CUDA language does it
  set(CudaCompiler_HOST -ccbin "$ENV{CUDAHOSTCXX}")
endif()
# An nvcc that does not get on with this machine's compiler is none.
if(CudaCompiler_NVCC AND NOT CudaCompiler_WORKS)
  set(probe "${PROJECT_BINARY_DIR}/CMakeFiles/cuda_probe.cu")
  file(WRITE "${probe}" "#include <cstdint>\n__global__ void probe() {}\n")
  execute_process(
    COMMAND "${CudaCompiler_NVCC}" ${CudaCompiler_HOST} -std=c++17 -ptx -o "${probe}.ptx" "${probe}"
    RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE text
  )
  if(status EQUAL 0)
    set(CudaCompiler_WORKS TRUE CACHE INTERNAL "nvcc compiles")
  else()
    message(STATUS "godbox: ${CudaCompiler_NVCC} does not compile:\n${text}")
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  CudaCompiler
  REQUIRED_VARS CudaCompiler_NVCC CudaCompiler_INCLUDE_DIR CudaCompiler_WORKS
  VERSION_VAR CudaCompiler_VERSION
)
mark_as_advanced(CudaCompiler_NVCC CudaCompiler_INCLUDE_DIR)
