// SPDX-License-Identifier: Apache-2.0
// Test cases that wait for hours in no time: a coroutine in a simulated world of its own.
#pragma once

#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <horus/io/time.hpp>
#include <horus/sim/world.hpp>
#include <horus/task/task.hpp>

#include "../support/captured_log.hpp"

namespace horus::testing {

/// Runs the coroutine lambda `body` in virtual time to its end. What it throws, and frames that it leaves, fail the test.
template <class Body>
void in_virtual_time(Body body) {
  sim::World world(1);
  bool ended = false;
  world.process("test", [&]() -> Task<int> {
    auto task = body();
    co_await task;
    ended = true;
    co_return 0;
  });
  const sim::Report report = world.run_for(std::chrono::hours(10));
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(ended);
}

/// Milliseconds on the reactor's clock, rounded: a turn of a simulated loop takes a microsecond.
inline std::int64_t now_ms() { return (now_ns() + 500'000) / 1'000'000; }

}  // namespace horus::testing
