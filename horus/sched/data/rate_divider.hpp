// SPDX-License-Identifier: Apache-2.0
// Miss::degrade: a node that keeps missing runs less often. Plain value, one thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>

namespace horus::HORUS_ABI::detail {

/// The rate is divided by `divisor()`: 1, 2, 4 or 8.
class RateDivider {
 public:
  static constexpr std::uint32_t kMissesToSlow = 3;  // in a row
  static constexpr std::uint32_t kTicksToMend = 50;  // clean ones in a row
  static constexpr std::uint32_t kLargest = 8;

  /// True when the divisor has changed.
  bool missed() noexcept {
    clean_ = 0;
    if (++missed_ < kMissesToSlow) return false;
    missed_ = 0;
    if (divisor_ == kLargest) return false;
    divisor_ *= 2;
    return true;
  }
  bool kept() noexcept {
    missed_ = 0;
    if (divisor_ == 1 || ++clean_ < kTicksToMend) return false;
    clean_ = 0;
    divisor_ /= 2;
    return true;
  }
  [[nodiscard]] std::uint32_t divisor() const noexcept { return divisor_; }

 private:
  std::uint32_t missed_ = 0;
  std::uint32_t clean_ = 0;
  std::uint32_t divisor_ = 1;
};

}  // namespace horus::HORUS_ABI::detail
