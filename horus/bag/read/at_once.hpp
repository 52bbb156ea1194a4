// SPDX-License-Identifier: Apache-2.0
// Runs a task that never waits, since what it reads is in memory or on the real disk (open_blocking, in_memory), without a
// reactor. Internal; any thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <coroutine>

#include <horus/base/assert.hpp>
#include <horus/task/chain.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::bag {

template <class T>
T at_once(Task<T> task) {
  struct Root final : Chain {
    std::coroutine_handle<> finished() noexcept override { return std::noop_coroutine(); }
  } root;
  task.start(root);
  HORUS_ASSERT(task.done(), "a recording was to be read at once, and its reader waits");
  return task.outcome().take();
}

}  // namespace horus::HORUS_ABI::bag
