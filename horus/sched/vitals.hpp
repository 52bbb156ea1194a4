// SPDX-License-Identifier: Apache-2.0
// What the safety monitor's thread may look at while a loop runs or hangs: atomics alone. Internal.
#pragma once

#include <atomic>
#include <cstdint>

namespace horus::detail {

class NodeRecord;

/// The steps of the watchdog's ladder.
enum class WatchdogStep : std::uint8_t { well, warned, unhealthy, isolated };

struct NodeVitals {
  std::atomic<std::int64_t> timeout_ns{0};  ///< 0: no watchdog
  std::atomic<std::int64_t> fed_ns{0};      ///< last success; 0: its clock is frozen
  std::atomic<WatchdogStep> step{WatchdogStep::well};
  std::atomic<std::int64_t> stepped_ns{0};  ///< when it last climbed
  std::atomic<bool> in_safe_state{false};   ///< whoever sets it calls the hook
};

struct LoopVitals {
  std::atomic<NodeRecord*> running{nullptr};  ///< the node whose code runs now
  std::atomic<std::int64_t> since_ns{0};      ///< since when
};

}  // namespace horus::detail
