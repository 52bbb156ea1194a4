// SPDX-License-Identifier: Apache-2.0
// Which signals a SignalSet waits for, on their way through the seam. Internal; plain values.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>

#include <sys/types.h>

namespace horus::HORUS_ABI::io {

struct SignalClaim {
  static constexpr std::uint64_t bit(int number) noexcept { return std::uint64_t{1} << (number - 1); }
  [[nodiscard]] constexpr bool has(int number) const noexcept { return (numbers & bit(number)) != 0; }

  std::uint64_t numbers = 0;  // bit n - 1: signal n, 1 to 64
  std::uint64_t unblock = 0;  // those that the claim has blocked: not those that were blocked before
  int refused = 0;            // the one that has an owner already
};

namespace detail {

/// The default answers of the seam: this thread's mask, a signalfd, handlers.
int claim_system_signals(SignalClaim& claim) noexcept;
void release_system_signals(const SignalClaim& claim) noexcept;
/// How many of `numbers` other threads have handed to the thread that claims them, since the program began. Any thread.
std::uint32_t signals_handed_over(std::uint64_t numbers) noexcept;
/// The last one of them; 0: none.
int last_signal_handed_over() noexcept;
int send_system_signal(pid_t pid, int number, const std::int32_t* value) noexcept;

}  // namespace detail
}  // namespace horus::HORUS_ABI::io
