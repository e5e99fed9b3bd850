// SPDX-License-Identifier: Apache-2.0
//
// The copies of the data path. Figures behind the choices: perf/micro/copy_bench.cpp.
// - Non-temporal stores spare the read of the destination's lines that an ordinary store begins
//   with: a third of the traffic of a copy between memories. They lose where both sides already lie
//   in the L2 cache, so copies under kStreamBytesMin are memcpy's; one strip of a small slab, which
//   is of just that size, is streamed.
// - The copy goes first, in chunks that stay in the L1 cache until the CRC reads them again: its
//   loads wait for nothing, so that more lines are on their way at once than behind a CRC's.
//   Software prefetch of the next chunk brings nothing beyond that.
// - AVX-512 stores are no faster than AVX2's; both fill one line buffer after the other.
#include <godbox/assert.h>
#include <godbox/crc32c.h>

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace godbox {
namespace {

constexpr std::size_t kLineBytes = 64;
constexpr std::size_t kStreamBytesMin = 4096;
constexpr std::size_t kCrcChunkBytes = 4096;
static_assert(kCrcChunkBytes % kLineBytes == 0);

// Copies whole lines (size_bytes is a multiple of kLineBytes) to a line boundary.
using CopyLines = void (*)(std::byte* dst, const std::byte* src, std::size_t size_bytes);

#if defined(__x86_64__)

void copy_lines_sse2(std::byte* dst, const std::byte* src, std::size_t size_bytes) {
  for (const std::byte* const end = src + size_bytes; src != end;
       src += kLineBytes, dst += kLineBytes) {
    const auto* const from = reinterpret_cast<const __m128i*>(src);
    auto* const to = reinterpret_cast<__m128i*>(dst);
    const __m128i a = _mm_loadu_si128(from);
    const __m128i b = _mm_loadu_si128(from + 1);
    const __m128i c = _mm_loadu_si128(from + 2);
    const __m128i d = _mm_loadu_si128(from + 3);
    _mm_stream_si128(to, a);
    _mm_stream_si128(to + 1, b);
    _mm_stream_si128(to + 2, c);
    _mm_stream_si128(to + 3, d);
  }
}

__attribute__((target("avx2"))) void copy_lines_avx2(std::byte* dst, const std::byte* src,
                                                     std::size_t size_bytes) {
  for (const std::byte* const end = src + size_bytes; src != end;
       src += kLineBytes, dst += kLineBytes) {
    const auto* const from = reinterpret_cast<const __m256i*>(src);
    auto* const to = reinterpret_cast<__m256i*>(dst);
    const __m256i a = _mm256_loadu_si256(from);
    const __m256i b = _mm256_loadu_si256(from + 1);
    _mm256_stream_si256(to, a);
    _mm256_stream_si256(to + 1, b);
  }
}

CopyLines line_copier() noexcept {
  static const CopyLines function = [] {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") != 0 ? copy_lines_avx2 : copy_lines_sse2;
  }();
  return function;
}

#else

CopyLines line_copier() noexcept {
  return [](std::byte* dst, const std::byte* src, std::size_t size_bytes) {
    std::memcpy(dst, src, size_bytes);
  };
}

#endif

// A copy cut where the destination's lines begin and end.
struct LineCut {
  std::size_t head_bytes = 0;
  std::size_t lines_bytes = 0;
};

LineCut cut_at_lines(const std::byte* dst, std::size_t size_bytes) noexcept {
  const std::size_t past_line = reinterpret_cast<std::uintptr_t>(dst) % kLineBytes;
  LineCut cut;
  cut.head_bytes = (kLineBytes - past_line) % kLineBytes;
  cut.lines_bytes = (size_bytes - cut.head_bytes) / kLineBytes * kLineBytes;
  return cut;
}

std::uint32_t copy_piece_crc32c(MutableSpan dst, ConstSpan src, std::uint32_t crc) noexcept {
  if (!src.empty()) {
    std::memcpy(dst.data(), src.data(), src.size());
  }
  return crc32c(src, crc);
}

}  // namespace

void copy_bytes(MutableSpan dst, ConstSpan src) noexcept {
  GODBOX_ASSERT(dst.size() == src.size());
  if (src.size() < kStreamBytesMin) {
    if (!src.empty()) {
      std::memcpy(dst.data(), src.data(), src.size());
    }
    return;
  }
  const LineCut cut = cut_at_lines(dst.data(), dst.size());
  const std::size_t tail = cut.head_bytes + cut.lines_bytes;
  std::memcpy(dst.data(), src.data(), cut.head_bytes);
  line_copier()(dst.data() + cut.head_bytes, src.data() + cut.head_bytes, cut.lines_bytes);
  std::memcpy(dst.data() + tail, src.data() + tail, src.size() - tail);
}

std::uint32_t copy_bytes_crc32c(MutableSpan dst, ConstSpan src, std::uint32_t crc) noexcept {
  GODBOX_ASSERT(dst.size() == src.size());
  if (src.size() < kStreamBytesMin) {
    return copy_piece_crc32c(dst, src, crc);
  }
  const LineCut cut = cut_at_lines(dst.data(), dst.size());
  const std::size_t tail = cut.head_bytes + cut.lines_bytes;
  const CopyLines copy_lines = line_copier();
  crc = copy_piece_crc32c(dst.first(cut.head_bytes), src.first(cut.head_bytes), crc);
  for (std::size_t at = cut.head_bytes; at < tail; at += kCrcChunkBytes) {
    const std::size_t size = tail - at < kCrcChunkBytes ? tail - at : kCrcChunkBytes;
    copy_lines(dst.data() + at, src.data() + at, size);
    crc = crc32c(src.subspan(at, size), crc);
  }
  crc = copy_piece_crc32c(dst.subspan(tail), src.subspan(tail), crc);
  return crc;
}

// Non-temporal stores are ordered with nothing; after this they are ordered before what follows. It
// waits until they have left the processor, so once a request and not once a strip.
void publish_copies() noexcept {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

}  // namespace godbox
