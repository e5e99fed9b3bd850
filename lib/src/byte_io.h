// SPDX-License-Identifier: Apache-2.0
//
// Little-endian fields one after the other, to and from a buffer. ByteWriter fills a buffer whose
// exact size its maker counted before; ByteReader never passes the end: the first read that would
// makes it bad, and from then on it gives zeros, so that decoders test once per list and at the
// end. Thread-safety: one thread each. Ownership: neither owns the buffer; views of a reader point
// into it. Errors: a writer asserts its bounds (a wrong count is a bug); a reader answers is_bad().
#pragma once

#include <godbox/assert.h>
#include <godbox/result.h>
#include <godbox/units.h>
#include <godbox/wire_spec.h>

#include <bit>
#include <concepts>
#include <cstring>
#include <string_view>

namespace godbox::wire {

static_assert(std::endian::native == std::endian::little, "a big-endian host has to swap here");

template <std::unsigned_integral T>
void store_le(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof(value));
}

template <std::unsigned_integral T>
[[nodiscard]] T load_le(const std::byte* from) {
  T value = 0;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

class ByteWriter {
 public:
  explicit ByteWriter(MutableSpan out) : next_(out.data()), end_(out.data() + out.size()) {}

  template <std::unsigned_integral T>
  void put(T value) {
    GODBOX_ASSERT(left() >= sizeof(T));
    store_le(next_, value);
    next_ += sizeof(T);
  }
  // A fixed layout of wire_spec.h begins here; its fields say where the layout has them.
  void begin_record() { record_ = next_; }
  void at(std::size_t offset) const {
    GODBOX_ASSERT(static_cast<std::size_t>(next_ - record_) == offset);
  }
  template <std::unsigned_integral T>
  void put_at(std::size_t offset, T value) {
    at(offset);
    put(value);
  }
  void put_bytes(ConstSpan bytes) {
    GODBOX_ASSERT(left() >= bytes.size());
    if (!bytes.empty()) {
      std::memcpy(next_, bytes.data(), bytes.size());
      next_ += bytes.size();
    }
  }
  // u16 length and the bytes.
  void put_text(std::string_view text, std::uint16_t bytes_max) {
    GODBOX_ASSERT(text.size() <= bytes_max);
    put(static_cast<std::uint16_t>(text.size()));
    put_bytes(std::as_bytes(std::span(text)));
  }
  // u32 number of items that follow.
  void put_count(std::size_t count, std::uint32_t count_max) {
    GODBOX_ASSERT(count <= count_max);
    put(static_cast<std::uint32_t>(count));
  }
  void put_status(Errc status) { put(static_cast<std::uint16_t>(status)); }
  [[nodiscard]] std::size_t left() const { return static_cast<std::size_t>(end_ - next_); }

 private:
  std::byte* next_;
  std::byte* end_;
  const std::byte* record_ = next_;
};

class ByteReader {
 public:
  explicit ByteReader(ConstSpan in) : next_(in.data()), end_(in.data() + in.size()) {}

  template <std::unsigned_integral T>
  [[nodiscard]] T get() {
    if (left() < sizeof(T)) {
      fail();
      return 0;
    }
    const T value = load_le<T>(next_);
    next_ += sizeof(T);
    return value;
  }
  [[nodiscard]] ConstSpan get_bytes(std::size_t size) {
    if (left() < size) {
      fail();
      return {};
    }
    const ConstSpan bytes(next_, size);
    next_ += size;
    return bytes;
  }
  [[nodiscard]] std::string_view get_text(std::size_t bytes_max) {
    const std::size_t size = get<std::uint16_t>();
    if (size > bytes_max) {
      fail();
      return {};
    }
    const ConstSpan bytes = get_bytes(size);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  // A number of items of at least `item_bytes_min` each. One that the rest of the buffer cannot
  // hold is refused here, before anybody reserves memory for it.
  template <std::unsigned_integral T = std::uint32_t>
  [[nodiscard]] std::size_t get_count(std::size_t count_max, std::size_t item_bytes_min) {
    const std::size_t count = get<T>();
    if (count > count_max || count > left() / item_bytes_min) {
      fail();
      return 0;
    }
    return count;
  }
  void get_into(MutableSpan out) {
    const ConstSpan bytes = get_bytes(out.size());
    if (!bytes.empty()) {
      std::memcpy(out.data(), bytes.data(), bytes.size());
    }
  }
  // A field whose lowest bit is the only one in use.
  template <std::unsigned_integral T>
  [[nodiscard]] bool get_flag() {
    const T value = get<T>();
    require(value <= 1);
    return value == 1;
  }
  [[nodiscard]] Errc get_status() {
    const auto number = get<std::uint16_t>();
    const Errc status = errc_from_number(number);
    require(static_cast<std::uint16_t>(status) == number);
    return status;
  }
  template <std::unsigned_integral T>
  void get_reserved() {
    require(get<T>() == 0);
  }
  void require(bool condition) {
    if (!condition) {
      fail();
    }
  }

  [[nodiscard]] std::size_t left() const { return static_cast<std::size_t>(end_ - next_); }
  [[nodiscard]] bool is_bad() const { return is_bad_; }
  // Everything was read and nothing was wrong.
  [[nodiscard]] bool is_complete() const { return !is_bad_ && left() == 0; }

 private:
  void fail() {
    is_bad_ = true;
    next_ = end_;
  }

  const std::byte* next_;
  const std::byte* end_;
  bool is_bad_ = false;
};

inline Error malformed(std::string_view what) {
  return {Errc::protocol_error, std::string("malformed ").append(what)};
}

// The message, if the reader took in the whole of its body and found nothing wrong.
template <class T>
[[nodiscard]] Result<T> finish(const ByteReader& reader, T message, std::string_view what) {
  if (!reader.is_complete()) {
    return malformed(what);
  }
  return message;
}

}  // namespace godbox::wire
