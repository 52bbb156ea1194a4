// SPDX-License-Identifier: Apache-2.0
// A memory barrier in other threads and processes (membarrier(2)). Of two that must each see the other's store, the one that
// comes by often needs no barrier of its own when the other, which hardly ever does, makes it for both. Internal.
#pragma once

#include <horus/base/compiler.hpp>

namespace horus::HORUS_ABI {

/// From now on the far barriers of others reach all threads of this process. False where the kernel has none. Any thread.
bool admit_far_barriers() noexcept;

/// A full barrier in this thread, and in every running thread of every process that admits it: a few microseconds. False,
/// and no such barrier, where the kernel has none. Any thread.
bool far_barrier() noexcept;

}  // namespace horus::HORUS_ABI
