// SPDX-License-Identifier: Apache-2.0
// What a GPS receiver would say: NMEA sentences for where the simulated rover is. Pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "world.hpp"

namespace rover {

inline constexpr double kReceiverRate_hz = 10;

/// One epoch, RMC, GGA and GSA, with checksums and line ends; `unix_ms` is the time that it tells.
std::string receiver_epoch(const Drive& drive, int64_t unix_ms);

/// The same for now, by the wall clock.
std::string receiver_epoch_now(const Drive& drive);

}  // namespace rover
