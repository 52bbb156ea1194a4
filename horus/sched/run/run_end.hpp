// SPDX-License-Identifier: Apache-2.0
// How a run ends: which signals it takes, and what happens when the end does not come. Internal; the run's thread.
#pragma once

#include <cstdint>
#include <vector>

#include <horus/io/reactor.hpp>

namespace horus::HORUS_ABI {
class Scheduler;
}

namespace horus::HORUS_ABI::detail {

/// Semantics: a run that owns the process's signals takes SIGINT, SIGTERM and SIGHUP, but for those that were ignored when it
/// began (nohup, `sh -c 'rover &'`), and SIGHUP where the program has a handler of its own. From `begin` to `over` the stop
/// may take 5 s; then what is left is printed, safe states are entered, and the process ends with code 75.
class RunEnd {
 public:
  RunEnd(Scheduler& scheduler, bool own_signals);
  RunEnd(const RunEnd&) = delete;
  RunEnd& operator=(const RunEnd&) = delete;
  ~RunEnd() { over(); }

  /// Bit 0 is signal 1; 0: none is taken.
  [[nodiscard]] std::uint64_t signals() const noexcept { return signals_; }
  [[nodiscard]] std::vector<int> numbers() const;
  void begin() noexcept;
  void over() noexcept;

 private:
  struct StuckTimer : io::Timer {
    Scheduler* scheduler = nullptr;
    bool warned = false;
  };
  static void expired(io::Timer& timer) noexcept;

  StuckTimer timer_;
  std::uint64_t signals_ = 0;
};

}  // namespace horus::HORUS_ABI::detail
