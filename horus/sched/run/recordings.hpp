// SPDX-License-Identifier: Apache-2.0
// The recordings of one run: on threads of their own, or as tasks where time is virtual. The loop's thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>
#include <functional>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/record/recording.hpp>
#include <horus/sched/scheduler_config.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::detail {

class Recordings {
 public:
  /// What a recording asks the scheduler: of RecordOptions, where they set none.
  struct Questions {
    std::function<std::uint64_t()> trouble;
    std::function<std::vector<Diagnostic>()> diagnostics;
    std::string configuration;  ///< its file; empty: none
  };
  /// Those that are asked for, and what HORUS_RECORD names. Errors: as Recording::start.
  Result<> begin(const std::vector<RecordSettings>& wanted, const Questions& questions);
  /// Each has what was sent until now. Errors are lines in the log.
  Task<> end();

 private:
  static void end_one(Recording& recording, const Result<>& stopped);
  Result<> begin_one(RecordSettings wanted, const Questions& questions);

  std::vector<Recording> threads_;
  Scope tasks_{"recordings", Failures::log};
};

}  // namespace horus::HORUS_ABI::detail
