// SPDX-License-Identifier: Apache-2.0
// The seam's second part: time and chance. The kernel's unless a simulator or a recorder stands in front of it.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>
#include <memory>
#include <string_view>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::io {

/// What time is for a reactor and those on its thread.
///
/// Thread safety: the reactor's thread, unless a function says otherwise.
class HORUS_API Clock {
 public:
  /// What somebody who reads or spends time has to know. Fixed for the life of a clock.
  struct Nature {
    /// now_ns() has to be asked: it is not, or not only, the kernel's CLOCK_MONOTONIC.
    bool through_seam = false;
    /// Time passes only while everybody sleeps: whoever spins or polls for it would spin for ever.
    bool only_asleep = false;
    /// choose() decides which of the ready tasks goes first.
    bool mixes_ready = false;
    /// Whoever would spin or poll for a time or a message sleeps instead: each look at the clock has a price here.
    bool no_spinning = false;
  };

  /// The kernel's. One for all reactors.
  static std::shared_ptr<Clock> kernel() noexcept;
  explicit Clock(Nature nature) noexcept : nature_(nature) {}
  virtual ~Clock();

  [[nodiscard]] const Nature& nature() const noexcept { return nature_; }
  /// CLOCK_MONOTONIC, nanoseconds.
  [[nodiscard]] virtual std::int64_t now_ns() noexcept;
  /// UTC since 1970, nanoseconds.
  [[nodiscard]] virtual std::int64_t wall_clock_ns() noexcept;
  /// Below `count`: which of as many tasks that are ready at the same time goes first, where that is chance. 0: the first.
  [[nodiscard]] virtual std::uint64_t choose(std::uint64_t count) noexcept;
  /// A tick of `node` begins: a world whose code takes no time of its own lets the node's cost pass here.
  virtual void spend(std::string_view node) noexcept;

 private:
  const Nature nature_;
};

}  // namespace horus::HORUS_ABI::io

namespace horus::HORUS_ABI {

/// UTC in nanoseconds since 1970, as this thread's reactor tells it, for stamps that people read; it may jump.
HORUS_API std::int64_t wall_clock_ns() noexcept;

}  // namespace horus::HORUS_ABI
