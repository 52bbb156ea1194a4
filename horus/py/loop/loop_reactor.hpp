// SPDX-License-Identifier: Apache-2.0
// The reactor under an event loop of Python: made by the first run on a thread, ended on that thread. Internal; with the
// interpreter held.
#pragma once

#include <horus/py/loop/loop.hpp>

namespace horus::python {

/// The number of this process.
int this_process() noexcept;
/// The reactor of this thread for this loop. False with an exception set.
bool make_reactor(LoopCore* self);
/// False with an exception set: a fork has taken the loop to a child.
bool is_ours(LoopCore* self);
/// The loop lets its reactor go, which ends here or, made by another thread, when that one has a loop again.
void retire(LoopState& state);
/// Ends what other threads have left here for this one.
void end_retired();

}  // namespace horus::python
