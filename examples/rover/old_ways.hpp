// SPDX-License-Identifier: Apache-2.0
// The same rover the two old ways, for comparison: nodes that block in their ticks, and nodes that poll what threads
// have read for them. Scheduler, controller, parsers and accounts are the same; only the I/O differs.
#pragma once

#include <string>
#include <vector>

#include <horus/sched/scheduler.hpp>

#include "options.hpp"
#include "world.hpp"

namespace rover {

/// One thread. Each tick of the camera node reads a picture, and waits for it; sockets are polled, which is kinder than
/// what many programs do; files are read and written where they are needed.
void add_blocking_nodes(horus::Scheduler& scheduler, World& world, const Options& options,
                        std::vector<std::string> camera);

/// A thread for each of camera, GPS, commands, health and log; ticks take over what they find in queues with locks.
void add_threaded_nodes(horus::Scheduler& scheduler, World& world, const Options& options,
                        std::vector<std::string> camera);

}  // namespace rover
