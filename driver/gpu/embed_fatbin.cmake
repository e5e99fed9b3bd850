# SPDX-License-Identifier: Apache-2.0
# usage: cmake -D INPUT=<fatbin> -D OUTPUT=<.cpp> -P embed_fatbin.cmake
# Writes the C++ source that has the file's bytes as move_fatbin().
file(READ "${INPUT}" bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," list "${bytes}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n" list "${list}")
file(
  WRITE "${OUTPUT}"
  "// Generated from move.cu.\n#include \"move_fatbin.h\"\n\nnamespace godbox::driver {\n"
  "namespace {\nalignas(64) constexpr unsigned char kFatbin[] = {\n${list}};\n}  // namespace\n\n"
  "const void* move_fatbin() noexcept { return kFatbin; }\n\n}  // namespace godbox::driver\n"
)
