// SPDX-License-Identifier: Apache-2.0
// Numbers and text as bytes, little end first: what control frames between processes are made of. Plain values; one
// thread each.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <horus/base/error.hpp>

namespace horus::HORUS_ABI::msg {

/// What another hub sent is not what a hub sends.
inline Error malformed(std::string_view what) { return {kBadInput, "read from a hub", what}; }

template <std::unsigned_integral N>
void store(std::byte* to, N value) noexcept {
  for (std::size_t i = 0; i < sizeof(N); ++i) to[i] = static_cast<std::byte>(value >> (8 * i));
}
template <std::unsigned_integral N>
[[nodiscard]] N load(const std::byte* from) noexcept {
  N value = 0;
  for (std::size_t i = 0; i < sizeof(N); ++i)
    value = static_cast<N>(value | N{std::to_integer<N>(from[i])} << (8 * i));
  return value;
}

/// Appends values to a frame.
class Packer {
 public:
  explicit Packer(std::vector<std::byte>& into) noexcept : into_(into) {}

  template <std::unsigned_integral N>
  Packer& number(N value) {
    into_.resize(into_.size() + sizeof(N));
    store(into_.data() + into_.size() - sizeof(N), value);
    return *this;
  }
  /// Text that is longer than `limit` bytes is cut.
  Packer& text(std::string_view value, std::size_t limit = UINT16_MAX) {
    value = value.substr(0, std::min<std::size_t>(limit, UINT16_MAX));
    number(static_cast<std::uint16_t>(value.size()));
    const auto* bytes = reinterpret_cast<const std::byte*>(value.data());
    into_.insert(into_.end(), bytes, bytes + value.size());
    return *this;
  }

 private:
  std::vector<std::byte>& into_;
};

/// Takes values from a frame. After the first one that is not there, everything is zero and ok() is false.
class Unpacker {
 public:
  explicit Unpacker(std::span<const std::byte> from) noexcept : from_(from) {}

  template <std::unsigned_integral N>
  N number() noexcept {
    if (from_.size() < sizeof(N)) return fail(), N{0};
    const N value = load<N>(from_.data());
    from_ = from_.subspan(sizeof(N));
    return value;
  }
  /// Text of at most `limit` bytes; longer text is a failure.
  std::string text(std::size_t limit) {
    const std::size_t size = number<std::uint16_t>();
    if (size > limit || size > from_.size()) return fail(), std::string();
    std::string value(reinterpret_cast<const char*>(from_.data()), size);
    from_ = from_.subspan(size);
    return value;
  }
  [[nodiscard]] bool ok() const noexcept { return ok_; }
  /// Everything was there, and nothing is left.
  [[nodiscard]] bool complete() const noexcept { return ok_ && from_.empty(); }
  /// What came is wrong in a way that only the caller knows.
  void fail() noexcept {
    ok_ = false;
    from_ = {};
  }

 private:
  std::span<const std::byte> from_;
  bool ok_ = true;
};

}  // namespace horus::HORUS_ABI::msg
