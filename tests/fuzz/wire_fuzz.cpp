// SPDX-License-Identifier: Apache-2.0
//
// Feeds the codec of the native protocol: the first byte is an operation, the second its flags, the
// rest a body; operation 0 takes the rest as a header. Whatever a decoder accepts has to encode to
// the same bytes again.
#include "../unit/lib/wire_bodies.h"
#include <godbox/assert.h>
#include <godbox/crc32c.h>
#include <godbox/wire.h>

#include <algorithm>
#include <cstring>

namespace {

using namespace godbox;

void check_header(std::array<std::byte, wire::kHeaderBytes> bytes) {
  const Result<wire::Header> header = wire::decode_header(bytes);
  if (!header) {
    return;
  }
  std::array<std::byte, wire::kHeaderBytes> again{};
  wire::encode_header(*header, again);
  GODBOX_ASSERT(again == bytes);
}

void feed_header(ConstSpan input) {
  std::array<std::byte, wire::kHeaderBytes> bytes{};
  std::copy_n(input.begin(), std::min(input.size(), bytes.size()), bytes.begin());
  check_header(bytes);
  // The same with a CRC that fits, which no mutation would find.
  const std::uint32_t crc =
      crc32c(ConstSpan(bytes).first(offsetof(wire::FrameHeader, header_crc32c)));
  std::memcpy(bytes.data() + offsetof(wire::FrameHeader, header_crc32c), &crc, sizeof(crc));
  check_header(bytes);
}

void feed_body(const wire::Header& header, ConstSpan body) {
  const test::Reencode reencode = test::codec_of(header);
  if (reencode == nullptr) {
    return;
  }
  const Result<wire::Body> again = reencode(body);
  GODBOX_ASSERT(again.has_error() || std::ranges::equal(*again, body));
}

}  // namespace

// The name and signature are libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  if (size_bytes < 2) {
    return 0;
  }
  const ConstSpan rest = std::as_bytes(std::span(data, size_bytes)).subspan(2);
  if (data[0] == 0) {
    feed_header(rest);
    return 0;
  }
  wire::Header header;
  header.op = static_cast<wire::Op>(data[0]);
  header.is_response = (data[1] & wire::kFlagResponse) != 0;
  feed_body(header, rest);
  return 0;
}
