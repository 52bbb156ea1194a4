// SPDX-License-Identifier: Apache-2.0
// Whether one loop turns, and who keeps it from turning. Internal; the safety monitor's thread.
#pragma once

#include <cstdint>

#include <horus/base/thread_look.hpp>
#include <horus/sched/data/absence.hpp>
#include <horus/sched/run/monitor_log.hpp>

namespace horus::HORUS_ABI::detail {

class Executor;

/// Semantics: a loop beats once per turn. One that is awake and does not beat, or asleep although something is due, stands
/// still. Who ran then is named, with the stack, if the thread used its processor or slept in a call; where it waited for a
/// processor nobody is. One line for the first stretch, then one per 10 s with the number of stretches and the worst.
class LoopWatch {
 public:
  static constexpr std::int64_t kShortest_ns = 20'000'000;
  static constexpr std::int64_t kLongest_ns = 100'000'000;
  static constexpr std::int64_t kQuiet_ns = 10'000'000'000;

  /// `takes_stacks`: take_stack() may be used.
  LoopWatch(Executor& executor, bool takes_stacks);

  /// Gives what kept the thread from running where it was not this process: a debugger, a stopped thread.
  void look(std::int64_t now_ns, std::int64_t last_look_ns, Absences& absences, MonitorLog& log) noexcept;
  [[nodiscard]] Executor& executor() const noexcept { return *executor_; }
  /// How long it has stood still, without the process's absences; 0: it turns.
  [[nodiscard]] std::int64_t standing_ns(std::int64_t now_ns, const Absences& absences) const noexcept;
  /// It has not turned since the last look but one, although it should have.
  [[nodiscard]] bool stands() const noexcept { return since_ns_ != 0; }
  /// True when it has turned since then.
  [[nodiscard]] bool turned_since(std::int64_t ns) const noexcept { return beat_seen_ns_ > ns; }
  [[nodiscard]] std::int64_t beat_seen_ns() const noexcept { return beat_seen_ns_; }
  /// "slow's tick blocks its thread".
  void who(FixedText<256>& text) const noexcept;
  /// A line with the stack, whatever was said before.
  void name_culprit(const char* consequence, std::int64_t now_ns, const Absences& absences,
                    MonitorLog& log) const noexcept;
  /// What was counted and not said yet.
  void sum_up(std::int64_t now_ns, MonitorLog& log) noexcept;
  /// A stretch without a turn that is worth a line.
  [[nodiscard]] std::int64_t limit_ns() const noexcept;

 private:
  void report(std::int64_t now_ns, std::int64_t standing_ns, MonitorLog& log) noexcept;
  void judge(std::int64_t length_ns, char state) noexcept;
  void stretch_ended(std::int64_t length_ns) noexcept;

  Executor* executor_;
  const bool takes_stacks_;
  std::int64_t period_ns_ = 0;  // of the fastest node; 0: none has one
  std::uint64_t beat_ = 0;
  std::int64_t beat_seen_ns_ = 0;      // the first look that saw this beat
  std::int64_t ignored_since_ns_ = 0;  // the first look at which a poke of an asleep loop had not been heeded
  std::int64_t since_ns_ = 0;          // it has stood still since; 0: it turns
  // Of the present stretch.
  ThreadShare share_;
  std::int64_t share_ns_ = 0;
  std::int64_t length_ns_ = 0;
  bool judged_ = false;
  bool waits_for_processor_ = false;
  bool computes_ = false;
  // Of all.
  std::int64_t said_ns_ = 0;         // when the last line was written
  std::int64_t said_length_ns_ = 0;  // what it said of the stretch that lasts
  std::uint64_t unsaid_ = 0;
  std::int64_t worst_ns_ = 0;
};

}  // namespace horus::HORUS_ABI::detail
