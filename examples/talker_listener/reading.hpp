// SPDX-License-Identifier: Apache-2.0
// The message that both programs know. Described, so that a mismatch names its fields.
#pragma once

#include <cstdint>

#include <horus/horus.hpp>

struct WheelSpeeds {
  std::int64_t stamp_ns = 0;  // CLOCK_MONOTONIC
  double left = 0;            // rad/s
  double right = 0;           // rad/s
};
HORUS_MESSAGE(WheelSpeeds, stamp_ns, left, right);
