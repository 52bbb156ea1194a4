// SPDX-License-Identifier: Apache-2.0
// Random numbers that a seed determines, the same on every compiler and machine: integers only, no <random>.
// Plain values; one thread. Draw at most one number per statement: in a statement with two draws, the compiler
// chooses their order.
#pragma once

#include <cstdint>
#include <string_view>

#include <horus/base/clock.hpp>

namespace horus::HORUS_ABI::sim {

/// xoshiro256** seeded through SplitMix64.
///
/// Semantics: two generators of the same seed give the same numbers for ever.
/// Thread safety: one thread.
/// Example: `if (random.chance(1, 100)) drop();`
/// Source: Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators", 2021.
class Random {
 public:
  explicit constexpr Random(std::uint64_t seed) noexcept {
    for (std::uint64_t& word : state_) {
      seed += 0x9E3779B97F4A7C15U;
      std::uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
      z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
      word = z ^ (z >> 31);
    }
  }

  constexpr std::uint64_t next() noexcept {
    const auto rotate = [](std::uint64_t x, int k) { return (x << k) | (x >> (64 - k)); };
    const std::uint64_t result = rotate(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotate(state_[3], 45);
    return result;
  }
  /// Below `n`, uniformly; 0 when n is 0.
  constexpr std::uint64_t below(std::uint64_t n) noexcept {
    __extension__ using Wide = unsigned __int128;  // the bias, below 2^-64 · n, is no matter here
    return static_cast<std::uint64_t>((static_cast<Wide>(next()) * n) >> 64);
  }
  /// True in `times` of `out_of` cases.
  constexpr bool chance(std::uint64_t times, std::uint64_t out_of) noexcept { return below(out_of) < times; }
  /// A number between the two, both included.
  constexpr Duration between(Duration low, Duration high) noexcept {
    if (high <= low) return low;
    return low +
           Duration(static_cast<std::int64_t>(below(static_cast<std::uint64_t>((high - low).count()) + 1)));
  }
  /// An independent generator for one purpose: drawing from one does not disturb the others.
  [[nodiscard]] constexpr Random derived(std::string_view purpose) const noexcept {
    std::uint64_t hash = 0xCBF29CE484222325U ^ state_[0];
    for (const char c : purpose) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
    return Random(hash ^ state_[3]);
  }

 private:
  std::uint64_t state_[4]{};
};

/// How long something takes; a new value is drawn each time. Plain data.
class Distribution {
 public:
  constexpr Distribution(Duration always) noexcept
      : low_(always), high_(always) {}  // NOLINT: a Duration is one
  [[nodiscard]] static constexpr Distribution uniform(Duration low, Duration high) noexcept {
    return {low, high, Duration::zero()};
  }
  /// A normal distribution around `mean`, never below zero and at most six deviations away.
  [[nodiscard]] static constexpr Distribution normal(Duration mean, Duration deviation) noexcept {
    return {mean, mean, deviation};
  }

  [[nodiscard]] constexpr Duration draw(Random& random) const noexcept {
    if (deviation_ == Duration::zero()) return random.between(low_, high_);
    // The sum of twelve uniform numbers has variance 1 and is exact in integers.
    constexpr std::int64_t kOne = 65536;
    std::int64_t sum = 0;  // in 1/kOne
    for (int i = 0; i < 12; ++i) {
      const std::uint64_t part = random.below(kOne);
      sum += static_cast<std::int64_t>(part);
    }
    const std::int64_t off = (sum - 6 * kOne) * (deviation_.count() / 256) / 256;
    const Duration drawn = low_ + Duration(off);
    return drawn > Duration::zero() ? drawn : Duration::zero();
  }

 private:
  constexpr Distribution(Duration low, Duration high, Duration deviation) noexcept
      : low_(low), high_(high), deviation_(deviation) {}
  Duration low_;
  Duration high_;
  Duration deviation_{0};
};

/// `normal(4ms, 1ms)`, `uniform(1ms, 3ms)`: for `World::cost` and latencies.
[[nodiscard]] constexpr Distribution normal(Duration mean, Duration deviation) noexcept {
  return Distribution::normal(mean, deviation);
}
[[nodiscard]] constexpr Distribution uniform(Duration low, Duration high) noexcept {
  return Distribution::uniform(low, high);
}

}  // namespace horus::HORUS_ABI::sim
