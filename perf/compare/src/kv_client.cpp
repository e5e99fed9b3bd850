// SPDX-License-Identifier: Apache-2.0
#include "kv_client.h"

namespace godbox::compare {

std::string_view to_string(KvOp op) {
  switch (op) {
    case KvOp::set:
      return "set";
    case KvOp::get:
      return "get";
    case KvOp::read:
      break;
  }
  return "read";
}

std::optional<KvOp> kv_op_of(std::string_view text) {
  for (const KvOp op : {KvOp::set, KvOp::get, KvOp::read}) {
    if (text == to_string(op)) {
      return op;
    }
  }
  return std::nullopt;
}

}  // namespace godbox::compare
