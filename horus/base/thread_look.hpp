// SPDX-License-Identifier: Apache-2.0
// What the kernel tells about a thread of this process, read by another one: nothing is allocated, nothing waits.
// Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>

#include <sys/types.h>

namespace horus::HORUS_ABI::detail {

/// /proc/self/task/TID/schedstat: where the thread's time went. Source: Documentation/scheduler/sched-stats.rst.
struct ThreadShare {
  std::int64_t ran_ns = 0;     ///< on a processor
  std::int64_t waited_ns = 0;  ///< ready to run, waiting for one
  bool known = false;
};
ThreadShare share_of(pid_t thread) noexcept;

/// /proc/self/task/TID/status. Source: proc(5).
struct ThreadStatus {
  char state = '?';           ///< R runs or is ready to, S and D sleep, T and t are stopped
  pid_t tracer = 0;           ///< a debugger; 0: none
  std::uint64_t pending = 0;  ///< signals that wait for this thread; bit 0 is signal 1
  [[nodiscard]] bool stopped() const noexcept { return state == 'T' || state == 't'; }
};
ThreadStatus status_of(pid_t thread) noexcept;

/// The addresses of a thread's calls, innermost first.
struct Stack {
  static constexpr int kFrames = 40;
  void* frames[kFrames];
  int count = 0;
};
/// False when the program uses the signal for it (SIGURG) itself. Before the first take_stack().
bool prepare_stacks();
/// What a thread does in the handler besides. Async-signal-safe.
struct AlsoInHandler {
  void (*look)(void* context) noexcept = nullptr;
  void* context = nullptr;
};
/// Has a thread of this process write down its stack in a signal handler; waits at most 20 ms. False: it has ended, holds
/// signals back, sleeps in the kernel for good, or does not get a processor.
bool take_stack(pid_t thread, Stack& into, AlsoInHandler also = {}) noexcept;

}  // namespace horus::HORUS_ABI::detail
