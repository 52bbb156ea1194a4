// SPDX-License-Identifier: Apache-2.0
// Failures of one kind are one line per second: the first at once, then one with the number of those in between. A sensor
// that is gone, or a peer that knocks again and again, must not flood the log. One thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace horus::HORUS_ABI::detail {

class QuietLog {
 public:
  /// May a line be written now? Otherwise it is counted.
  bool may(std::int64_t now_ns) noexcept {
    if (wrote_ && now_ns >= last_ns_ && now_ns - last_ns_ < kQuiet_ns) return ++held_back_, false;
    wrote_ = true;
    last_ns_ = now_ns;
    return true;
  }
  /// What to append to the line: how many were held back before it.
  std::string more() {
    if (held_back_ == 0) return {};
    return fmt::format(" ({} more since)", std::exchange(held_back_, 0));
  }
  /// Lines that nobody has been told of yet.
  [[nodiscard]] std::uint64_t held_back() const noexcept { return held_back_; }

 private:
  static constexpr std::int64_t kQuiet_ns = 1'000'000'000;
  std::int64_t last_ns_ = 0;
  std::uint64_t held_back_ = 0;
  bool wrote_ = false;
};

}  // namespace horus::HORUS_ABI::detail
