// SPDX-License-Identifier: Apache-2.0
#include "plain_protocol.h"

#include <godbox/assert.h>

#include <fmt/format.h>

namespace godbox::compare {
namespace {

constexpr std::string_view kLineEnd = "\r\n";
constexpr std::string_view kRespMiss = "$-1";
constexpr std::string_view kMemcachedMiss = "EN";

}  // namespace

Framing request_framing(PlainProtocol protocol, KvOp op, std::string_view name, SizeBytes value) {
  GODBOX_ASSERT(op != KvOp::read);
  if (protocol == PlainProtocol::resp2) {
    return op == KvOp::set
               ? Framing{fmt::format("*3\r\n$3\r\nSET\r\n${}\r\n{}\r\n${}\r\n", name.size(), name,
                                     value.count()),
                         kLineEnd}
               : Framing{fmt::format("*2\r\n$3\r\nGET\r\n${}\r\n{}\r\n", name.size(), name), {}};
  }
  return op == KvOp::set ? Framing{fmt::format("ms {} {}\r\n", name, value.count()), kLineEnd}
                         : Framing{fmt::format("mg {} v\r\n", name), {}};
}

Framing answer_framing(PlainProtocol protocol, KvOp op, SizeBytes value) {
  GODBOX_ASSERT(op != KvOp::read);
  const bool is_resp = protocol == PlainProtocol::resp2;
  if (op == KvOp::set) {
    return {is_resp ? "+OK\r\n" : "HD\r\n", {}};
  }
  return {fmt::format("{}{}\r\n", is_resp ? "$" : "VA ", value.count()), kLineEnd};
}

Error wrong_answer(PlainProtocol protocol, KvOp op, std::string_view name, std::string_view line,
                   std::string_view due) {
  const std::string_view miss = protocol == PlainProtocol::resp2 ? kRespMiss : kMemcachedMiss;
  const std::string_view text = line.substr(0, line.find(kLineEnd));
  const bool is_miss = op == KvOp::get && text == miss;
  return {is_miss ? Errc::not_found : Errc::protocol_error,
          fmt::format("{} \"{}\": the answer is \"{}\", not \"{}\"", to_string(op), name,
                      printable(text), printable(due.substr(0, due.find(kLineEnd))))};
}

std::string printable(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    const auto code = static_cast<unsigned char>(byte);
    if (code >= 0x20 && code < 0x7f) {
      text += byte;
    } else {
      text += fmt::format("\\x{:02x}", code);
    }
  }
  return text;
}

}  // namespace godbox::compare
