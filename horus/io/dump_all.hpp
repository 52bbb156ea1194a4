// SPDX-License-Identifier: Apache-2.0
// A dump of all tasks of every loop in the process, on a call or on a signal from outside.
#pragma once

#include <horus/base/compiler.hpp>

#include <chrono>
#include <string>
#include <string_view>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::io {

class Reactor;

/// dump_tasks() of every thread that has a reactor, with the thread's name and number. A loop that does not answer
/// within `limit` is blocked. The dump then has its thread's stack, and its tasks as a signal handler (SIGURG) on
/// that thread finds them, without the details that need memory.
///
/// The environment variable HORUS_DUMP_SIGNAL (USR1, USR2, RTMIN+3, or a number) makes a signal write the dump to the
/// log, as a warning. A thread of the library writes it, so it also works while every loop is blocked. The signal
/// must be unused; it is blocked in the threads that make reactors. Spawned children do not inherit this mask.
/// Thread safety: any thread; calls take turns. Simulated reactors are left out.
/// Example: `HORUS_DUMP_SIGNAL=USR1 ./rover` and then `pkill -USR1 -x rover`
HORUS_API std::string dump_all_tasks(Duration limit = std::chrono::milliseconds(200));

namespace detail {

/// A reactor's thread registers here, and unregisters before it ends.
void list_reactor(Reactor& reactor);
void unlist_reactor(Reactor& reactor) noexcept;

/// The number of a signal: "USR1", "SIGUSR1", "RTMIN+3", "10"; 0 for anything else, and for a signal that cannot be
/// caught.
int signal_number(std::string_view text) noexcept;

}  // namespace detail
}  // namespace horus::HORUS_ABI::io
