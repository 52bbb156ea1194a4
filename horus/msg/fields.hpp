// SPDX-License-Identifier: Apache-2.0
// What a message's field may be besides numbers and arrays: short text, a list of bounded length, a point in time. Plain
// values that lie in the message itself; one thread each.
#pragma once

#include <horus/base/compiler.hpp>

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace horus::HORUS_ABI {

/// Short text inside a message: its bytes, then zeroes; all N bytes may be used. ROS' `string`.
/// `Text<32> frame{"base_link"}`.
template <std::size_t N>
struct Text {
  char bytes[N]{};

  static constexpr std::size_t capacity() noexcept { return N; }
  [[nodiscard]] constexpr std::string_view view() const noexcept {
    return {bytes, static_cast<std::size_t>(std::find(bytes, bytes + N, '\0') - bytes)};
  }
  constexpr operator std::string_view() const noexcept {  // NOLINT(google-explicit-constructor): it is text
    return view();
  }
  /// False when `value` did not fit and was cut to N bytes.
  constexpr bool set(std::string_view value) noexcept {
    const std::size_t size = std::min(value.size(), N);
    std::copy_n(value.begin(), size, bytes);
    std::fill(bytes + size, bytes + N, '\0');
    return value.size() <= N;
  }
  [[nodiscard]] constexpr bool empty() const noexcept { return bytes[0] == '\0'; }
  friend constexpr bool operator==(const Text& a, std::string_view b) noexcept { return a.view() == b; }
  friend constexpr bool operator==(const Text& a, const Text& b) noexcept { return a.view() == b.view(); }
};

/// Up to N values inside a message, and how many of them count. A message may have several of them, unlike tails. ROS' `T[]`.
template <class T, std::size_t N>
struct Sequence {
  static_assert(N > 0, "a Sequence has room for one value at least");
  using Value = T;

  std::uint32_t count = 0;  ///< what a peer wrote may be more than N: size() is not
  std::array<T, N> items{};

  static constexpr std::size_t capacity() noexcept { return N; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return std::min<std::size_t>(count, N); }
  [[nodiscard]] constexpr bool empty() const noexcept { return count == 0; }
  [[nodiscard]] constexpr std::span<T> values() noexcept { return {items.data(), size()}; }
  [[nodiscard]] constexpr std::span<const T> values() const noexcept { return {items.data(), size()}; }
  [[nodiscard]] constexpr auto begin() noexcept { return values().begin(); }
  [[nodiscard]] constexpr auto end() noexcept { return values().end(); }
  [[nodiscard]] constexpr auto begin() const noexcept { return values().begin(); }
  [[nodiscard]] constexpr auto end() const noexcept { return values().end(); }
  [[nodiscard]] constexpr T& operator[](std::size_t i) noexcept { return items[i]; }
  [[nodiscard]] constexpr const T& operator[](std::size_t i) const noexcept { return items[i]; }
  /// False when there is no room.
  constexpr bool push_back(const T& value) noexcept {
    if (size() == N) return false;
    items[count++] = value;
    return true;
  }
  /// What is behind them is reset, so that equal sequences have equal bytes.
  constexpr void clear() noexcept { *this = {}; }
};

/// A point in time, nanoseconds of the clock that the programs agreed upon (`horus::now_ns()`). ROS'
/// `builtin_interfaces/Time`.
struct Stamp {
  std::int64_t ns = 0;
  friend constexpr auto operator<=>(const Stamp&, const Stamp&) = default;
};

namespace detail {

template <class T>
inline constexpr std::size_t kTextBytes = 0;  // no text
template <std::size_t N>
inline constexpr std::size_t kTextBytes<Text<N>> = N;
template <std::size_t N>
inline constexpr std::size_t kTextBytes<char[N]> = N;
template <std::size_t N>
inline constexpr std::size_t kTextBytes<std::array<char, N>> = N;

template <class T>
inline constexpr std::size_t kSequenceLength = 0;  // no sequence
template <class T, std::size_t N>
inline constexpr std::size_t kSequenceLength<Sequence<T, N>> = N;

}  // namespace detail
}  // namespace horus::HORUS_ABI
