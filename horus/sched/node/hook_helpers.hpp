// SPDX-License-Identifier: Apache-2.0
// Threads that call enter_safe_state() when a loop cannot: a hook that hangs holds up neither the next one nor the safety
// monitor. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace horus::HORUS_ABI::detail {

class NodeRecord;

/// Semantics: a hook is asked for in its node's HookClaim; helpers and loops take what was asked for in order of priority,
/// one at a time while it goes well. `hurry` gives one more helper to what still waits.
/// Thread safety: any thread, but for start and stop. Nothing here allocates or locks after start().
class HookHelpers {
 public:
  static constexpr std::size_t kHelpers = 4;
  static constexpr std::int64_t kHookLimit_ns =
      20'000'000;  ///< then a hook is named, and the next helper goes on

  HookHelpers() = default;
  HookHelpers(const HookHelpers&) = delete;
  HookHelpers& operator=(const HookHelpers&) = delete;
  ~HookHelpers() { stop(); }

  /// `nodes` of all executors. Makes the threads.
  void start(std::vector<NodeRecord*> nodes);
  /// Waits for the hooks that run.
  void stop() noexcept;
  [[nodiscard]] bool started() const noexcept { return threads_[0].joinable(); }

  /// Asks for the hook of every node that has not shut down; in an emergency not of those that only look.
  void want_all(bool emergency) noexcept;
  /// One idle helper begins with what is wanted. Also from a signal handler.
  void wake() noexcept;
  /// Gives what waits to a further helper when no call has begun or ended for 20 ms. The monitor's look.
  void hurry(std::int64_t now_ns) noexcept;
  [[nodiscard]] bool waiting() const noexcept;  ///< a hook is wanted and has not begun
  [[nodiscard]] bool busy() const noexcept;     ///< a hook runs
  /// A hook that has been running for 20 ms and was not reported yet; null when there is none.
  [[nodiscard]] NodeRecord* overdue(std::int64_t now_ns) noexcept;
  /// In order of priority.
  [[nodiscard]] const std::vector<NodeRecord*>& nodes() const noexcept { return nodes_; }
  /// Each call that begins or ends is progress.
  void progressed() noexcept { progress_.fetch_add(1, std::memory_order_relaxed); }

 private:
  void serve() noexcept;

  std::vector<NodeRecord*> nodes_;
  std::array<std::thread, kHelpers> threads_;
  std::atomic<std::uint32_t> word_{0};  // futex: changes wake helpers
  std::atomic<std::uint32_t> progress_{0};
  std::atomic<bool> ending_{false};
  std::uint32_t seen_progress_ = 0;  // by hurry()
  std::int64_t seen_since_ns_ = 0;
};

}  // namespace horus::HORUS_ABI::detail
