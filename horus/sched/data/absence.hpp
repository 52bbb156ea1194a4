// SPDX-License-Identifier: Apache-2.0
// The time in which this process did not run at all: stopped, frozen, under a debugger, out of its quota, its machine
// suspended. It is not the fault of any node. Internal; one thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace horus::HORUS_ABI::detail {

/// Semantics: whoever looks regularly tells how late it was and how much processor time the process used meanwhile. What
/// is late by more than 100 ms and was not used is an absence; a process that is only short of time uses what it gets.
class Absences {
 public:
  static constexpr std::int64_t kShortest_ns = 100'000'000;

  /// A look that was to come at `due_ns` comes at `now_ns`; the process used `used_ns` since the last one. Gives the
  /// length of the absence, 0 when there was none.
  std::int64_t late(std::int64_t due_ns, std::int64_t now_ns, std::int64_t used_ns) noexcept {
    const std::int64_t absent = now_ns - due_ns - used_ns;
    if (now_ns - due_ns <= kShortest_ns || absent <= kShortest_ns) return 0;
    add(now_ns - absent, now_ns);
    return absent;
  }
  /// From `from_ns` to `to_ns` somebody kept it from running. Continues the last one where they meet; true when it is a
  /// new one.
  bool add(std::int64_t from_ns, std::int64_t to_ns) noexcept {
    if (size_ > 0 && from_ns <= all_[size_ - 1].end_ns) {
      if (to_ns > all_[size_ - 1].end_ns) all_[size_ - 1].end_ns = to_ns;
      return false;
    }
    if (size_ == all_.size()) {  // the two oldest become one, which only the slowest clocks see
      all_[1].begin_ns = all_[0].begin_ns;
      for (std::size_t i = 1; i < size_; ++i) all_[i - 1] = all_[i];
      --size_;
    }
    all_[size_++] = {from_ns, to_ns};
    return true;
  }
  /// What of the time from `from_ns` to `to_ns` it was there.
  [[nodiscard]] std::int64_t present(std::int64_t from_ns, std::int64_t to_ns) const noexcept {
    std::int64_t present = to_ns - from_ns;
    for (std::size_t i = size_; i > 0 && all_[i - 1].end_ns > from_ns; --i) {
      const Span& span = all_[i - 1];
      const std::int64_t begin = span.begin_ns > from_ns ? span.begin_ns : from_ns;
      const std::int64_t end = span.end_ns < to_ns ? span.end_ns : to_ns;
      if (end > begin) present -= end - begin;
    }
    return present;
  }
  /// When the last one ended; 0: there was none.
  [[nodiscard]] std::int64_t last_end_ns() const noexcept { return size_ > 0 ? all_[size_ - 1].end_ns : 0; }

 private:
  struct Span {
    std::int64_t begin_ns, end_ns;
  };
  std::array<Span, 16> all_{};
  std::size_t size_ = 0;
};

}  // namespace horus::HORUS_ABI::detail
