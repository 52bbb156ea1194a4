// SPDX-License-Identifier: Apache-2.0
// The thread of an executor other than the first, for the length of a run. Internal; the thread of the first executor.
#pragma once

#include <horus/base/compiler.hpp>

#include <thread>

#include <horus/sched/run/executor.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/task/event.hpp>

namespace horus::HORUS_ABI {

/// A thread of its own, with its executor.
struct Scheduler::Companion {
  explicit Companion(detail::Executor& its) : executor(its) {}
  detail::Executor& executor;
  std::thread thread;
  Event go;              // on its loop
  bool wanted = false;   // go means: release
  Event started, ended;  // on the loop of the first executor
  bool ok = false;
};

}  // namespace horus::HORUS_ABI
