// SPDX-License-Identifier: Apache-2.0
// Waits for something that another thread or process makes true.
#pragma once

#include <chrono>
#include <cstdint>

#include <horus/base/clock.hpp>
#include <horus/io/time.hpp>
#include <horus/task/task.hpp>

namespace horus::testing {

/// True as soon as `condition()` holds, false when it does not within `limit`. Asks once in a millisecond of the loop's
/// time: a World's is virtual.
template <class Condition>
Task<bool> eventually(Condition condition, Duration limit = std::chrono::seconds(20)) {
  const std::int64_t until = now_ns() + limit.count();
  while (!condition()) {
    if (now_ns() > until) co_return false;
    co_await sleep(std::chrono::milliseconds(1));
  }
  co_return true;
}

}  // namespace horus::testing
