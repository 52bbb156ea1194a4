// SPDX-License-Identifier: Apache-2.0
// A memory fence that one side makes for both (membarrier(2), MEMBARRIER_CMD_GLOBAL_EXPEDITED): who falls asleep seldom
// pays for it, so that who sends often does not. Any thread. Internal.
#pragma once

namespace horus::msg {

/// True when far fences of other processes, and of other threads, reach this process: it may leave its own ones out.
/// The first call registers the process.
[[nodiscard]] bool reached_by_far_fences() noexcept;
/// True when this process may make far fences.
[[nodiscard]] bool can_far_fence() noexcept;
/// Every thread that is reached has passed a sequentially consistent fence. False when it could not be made.
[[nodiscard]] bool far_fence() noexcept;

}  // namespace horus::msg
