# SPDX-License-Identifier: Apache-2.0
# Finds what godbox takes of the CUDA Toolkit: nvcc and the headers of the driver API. No library of
# it is linked. Sets CudaCompiler_FOUND, CudaCompiler_NVCC, CudaCompiler_INCLUDE_DIR and
# CudaCompiler_VERSION. CUDA_HOME or CUDA_PATH in the environment say where it is.

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

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  CudaCompiler
  REQUIRED_VARS CudaCompiler_NVCC CudaCompiler_INCLUDE_DIR
  VERSION_VAR CudaCompiler_VERSION
)
mark_as_advanced(CudaCompiler_NVCC CudaCompiler_INCLUDE_DIR)
