// SPDX-License-Identifier: Apache-2.0
// Rates and the literals 100_hz, 2_ms, 250_us. `using namespace horus::literals;` also brings std::chrono's own.
#pragma once

#include <horus/base/compiler.hpp>

#include <chrono>
#include <cstdint>

namespace horus::HORUS_ABI {

/// A frequency in hertz.
struct Rate {
  double hz = 0;
  constexpr Rate() = default;
  explicit constexpr Rate(double hertz) : hz(hertz) {}
  /// The period 1/f, rounded to the nanosecond. Grids multiply first and round once, so they do not drift.
  [[nodiscard]] constexpr std::chrono::nanoseconds period() const {
    return std::chrono::nanoseconds(static_cast<std::int64_t>(1e9 / hz + 0.5));
  }
  friend constexpr auto operator<=>(const Rate&, const Rate&) = default;
};

namespace literals {
using namespace std::chrono_literals;
constexpr Rate operator""_hz(unsigned long long hertz) { return Rate(static_cast<double>(hertz)); }
constexpr Rate operator""_hz(long double hertz) { return Rate(static_cast<double>(hertz)); }
constexpr std::chrono::nanoseconds operator""_s(unsigned long long n) { return std::chrono::seconds(n); }
constexpr std::chrono::nanoseconds operator""_ms(unsigned long long n) {
  return std::chrono::milliseconds(n);
}
constexpr std::chrono::nanoseconds operator""_us(unsigned long long n) {
  return std::chrono::microseconds(n);
}
}  // namespace literals

}  // namespace horus::HORUS_ABI
