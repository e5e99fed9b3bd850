# SPDX-License-Identifier: Apache-2.0
# usage: cmake -D GODBOX_SOURCE=... -D GODBOX_VERSION=... -D GODBOX_BUILD_TYPE=... -D INPUT=...
#              -D OUTPUT=... -P write_version.cmake
# Runs in every build; OUTPUT changes only when the commit does.
execute_process(
  COMMAND git -c "safe.directory=*" describe --always --dirty --abbrev=12
  WORKING_DIRECTORY "${GODBOX_SOURCE}"
  OUTPUT_VARIABLE GODBOX_COMMIT
  OUTPUT_STRIP_TRAILING_WHITESPACE
  ERROR_QUIET
  RESULT_VARIABLE status
)
if(NOT status STREQUAL "0" OR GODBOX_COMMIT STREQUAL "")
  set(GODBOX_COMMIT "unknown")
endif()
configure_file("${INPUT}" "${OUTPUT}" @ONLY)
