// SPDX-License-Identifier: Apache-2.0
// Views of bytes as parameters. Any contiguous sequence of one-byte elements converts to them. They own nothing: the
// memory must live until the operation that uses the view has ended.
#pragma once

#include <horus/base/compiler.hpp>

#include <concepts>
#include <cstddef>
#include <ranges>
#include <span>
#include <string_view>
#include <type_traits>

namespace horus::HORUS_ABI::io {

namespace detail {

template <class T>
concept ByteLike =
    std::same_as<std::remove_cv_t<T>, std::byte> || std::same_as<std::remove_cv_t<T>, char> ||
    std::same_as<std::remove_cv_t<T>, unsigned char> || std::same_as<std::remove_cv_t<T>, signed char>;

template <class Range>
concept ByteRange = std::ranges::contiguous_range<Range> && std::ranges::sized_range<Range> &&
                    ByteLike<std::remove_reference_t<std::ranges::range_reference_t<Range>>>;

}  // namespace detail

/// Bytes to be read from: strings, literals (without their zero), spans, vectors and arrays of char, std::byte,
/// uint8_t.
class Bytes {
 public:
  constexpr Bytes() noexcept {}
  Bytes(const void* data, std::size_t size) noexcept : bytes_(static_cast<const std::byte*>(data), size) {}
  Bytes(const char* text) noexcept : Bytes(std::string_view(text)) {}
  Bytes(std::string_view text) noexcept : Bytes(text.data(), text.size()) {}
  template <detail::ByteRange Range>
    requires(!std::is_array_v<std::remove_cvref_t<Range>> &&
             !std::same_as<std::remove_cvref_t<Range>, std::string_view>)
  Bytes(const Range& range) noexcept : Bytes(std::ranges::data(range), std::ranges::size(range)) {}
  template <detail::ByteLike T, std::size_t N>
    requires(!std::same_as<std::remove_cv_t<T>, char>)
  Bytes(T (&array)[N]) noexcept : Bytes(static_cast<const void*>(array), N) {}
  /// Refuses a char array that is no literal, because it is unclear whether its zero or its size ends it. Pass
  /// std::string_view or std::span.
  template <std::size_t N>
  Bytes(char (&array)[N]) = delete;

  [[nodiscard]] const std::byte* data() const noexcept { return bytes_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
  [[nodiscard]] std::span<const std::byte> span() const noexcept { return bytes_; }
  [[nodiscard]] std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }
  [[nodiscard]] Bytes skip(std::size_t count) const noexcept { return {data() + count, size() - count}; }

 private:
  std::span<const std::byte> bytes_;
};

/// Memory to be filled, up to its present size: strings, spans, vectors and arrays of char, std::byte, uint8_t.
class MutableBytes {
 public:
  constexpr MutableBytes() noexcept {}
  MutableBytes(void* data, std::size_t size) noexcept : bytes_(static_cast<std::byte*>(data), size) {}
  template <detail::ByteRange Range>
    requires(!std::is_const_v<std::remove_reference_t<std::ranges::range_reference_t<Range>>> &&
             (std::is_lvalue_reference_v<Range> || std::ranges::borrowed_range<Range>))
  MutableBytes(Range&& range) noexcept : MutableBytes(std::ranges::data(range), std::ranges::size(range)) {}

  [[nodiscard]] std::byte* data() const noexcept { return bytes_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
  [[nodiscard]] std::span<std::byte> span() const noexcept { return bytes_; }
  [[nodiscard]] MutableBytes skip(std::size_t count) const noexcept {
    return {data() + count, size() - count};
  }
  [[nodiscard]] MutableBytes first(std::size_t count) const noexcept { return {data(), count}; }

 private:
  std::span<std::byte> bytes_;
};

}  // namespace horus::HORUS_ABI::io
