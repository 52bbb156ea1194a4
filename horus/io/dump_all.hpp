// SPDX-License-Identifier: Apache-2.0
// What every loop of the process does at the moment: asked for by code, or by a signal from outside.
#pragma once

#include <horus/base/compiler.hpp>

#include <chrono>
#include <string>
#include <string_view>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>

namespace horus::io {

class Reactor;

/// dump_tasks() of every thread that has a reactor, with the thread's name and number. A loop that does not answer within
/// `limit` is blocked: then its thread's stack, and its tasks as a signal handler (SIGURG) on that thread finds them, without
/// the details that need memory.
///
/// The environment variable HORUS_DUMP_SIGNAL (USR1, USR2, RTMIN+3, or a number) makes a signal write it to the log, as a
/// warning. A thread of the library's own does that, so it also works while every loop is blocked. The signal must be
/// unused; it is blocked in the threads that make reactors. Children that are spawned do not inherit that.
/// Thread safety: any thread; calls take turns. Simulated reactors are left out.
/// Example: `HORUS_DUMP_SIGNAL=USR1 ./rover` and then `pkill -USR1 -x rover`
HORUS_API std::string dump_all_tasks(Duration limit = std::chrono::milliseconds(200));

namespace detail {

/// A reactor's thread tells of it, and tells before it dies.
void list_reactor(Reactor& reactor);
void unlist_reactor(Reactor& reactor) noexcept;

/// The number of a signal: "USR1", "SIGUSR1", "RTMIN+3", "10"; 0 for anything else, and for what cannot be caught.
int signal_number(std::string_view text) noexcept;

}  // namespace detail
}  // namespace horus::io
