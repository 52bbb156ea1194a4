// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/run/safety_monitor.hpp>

#include <algorithm>
#include <climits>
#include <csignal>
#include <ctime>

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <horus/base/clock.hpp>
#include <horus/io/base/signal_claim.hpp>
#include <horus/sched/run/executor.hpp>
#include <horus/sched/scheduler.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

constexpr std::int64_t kLongestPeriod_ns = 50'000'000;
constexpr std::int64_t kShortestPeriod_ns = 5'000'000;
constexpr std::int64_t kLongestVirtual_ns = 50'000'000;
constexpr std::int64_t kShortestVirtual_ns = 2'000'000;
constexpr std::int64_t kHooksBeforeExit_ns = 60'000'000;
constexpr std::int64_t kLinesBeforeExit_ns = 30'000'000;
constexpr std::int64_t kLastMoment_ns = 250'000'000;  // for a loop that turns and ends the process itself
constexpr int kMonitorPriority = 90;

std::int64_t processor_time_ns() noexcept {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return used.tv_sec * std::int64_t{1'000'000'000} + used.tv_nsec;
}

}  // namespace

// --- Ladders ----------------------------------------------------------------------------------------------------------

void SafetyMonitor::look_at_away(NodeVitals& vitals, std::int64_t away, std::int64_t now,
                                 const Absences& absences, Scan& result) noexcept {
  AwayStep step = vitals.away_step.load(std::memory_order_relaxed);
  if (step == AwayStep::too_long) result.open = true;
  if (step != AwayStep::none) return;
  const std::int64_t left = vitals.away_limit_ns() - absences.present(away, now);
  if (left > 0) {
    result.next_ns = std::min(result.next_ns, now + left);
    return;
  }
  vitals.stepped_ns.store(now, std::memory_order_relaxed);
  if (vitals.away_step.compare_exchange_strong(step, AwayStep::too_long, std::memory_order_acq_rel))
    result.moved = result.open = true;
}

SafetyMonitor::Scan SafetyMonitor::scan(Executor& executor, std::int64_t now, const Absences& absences,
                                        bool turned) noexcept {
  Scan result;
  const std::int64_t back_ns = absences.last_end_ns();
  for (NodeRecord* record : executor.nodes) {
    NodeVitals& vitals = record->vitals;
    if (const std::int64_t away = vitals.away_ns.load(std::memory_order_acquire); away != 0) [[unlikely]]
      look_at_away(vitals, away, now, absences, result);
    const std::int64_t timeout = vitals.timeout_ns.load(std::memory_order_relaxed);
    if (timeout == 0) continue;
    const std::int64_t fed = vitals.fed_ns.load(std::memory_order_relaxed);
    if (fed == 0) {  // should its clock begin now
      result.next_ns = std::min(result.next_ns, now + timeout);
      continue;
    }
    WatchdogStep step = vitals.step.load(std::memory_order_relaxed);
    if (step > vitals.acted.load(std::memory_order_relaxed)) result.open = true;
    if (step == WatchdogStep::isolated) {  // until it ticks again, which nobody tells the monitor
      result.next_ns = std::min(result.next_ns, now + timeout);
      continue;
    }
    const auto further = static_cast<WatchdogStep>(static_cast<int>(step) + 1);
    std::int64_t left = static_cast<int>(further) * timeout - absences.present(fed, now);
    // After an absence the loop turns first, or the whole time passes anew.
    if (fed < back_ns && !turned) {
      const std::int64_t anew = std::max(back_ns, vitals.stepped_ns.load(std::memory_order_relaxed));
      left = std::max(left, timeout - absences.present(anew, now));
    }
    if (left > 0) {
      result.next_ns = std::min(result.next_ns, now + left);
      continue;
    }
    // A success between the two looks clears the ladder; one that this overwrites is followed by the next look.
    if (vitals.fed_ns.load(std::memory_order_relaxed) != fed) continue;
    vitals.stepped_ns.store(now, std::memory_order_relaxed);
    if (vitals.step.compare_exchange_strong(step, further, std::memory_order_seq_cst)) {
      result.moved = result.open = true;
      result.next_ns = std::min(result.next_ns, now + timeout / 2);
    }
  }
  return result;
}

std::int64_t SafetyMonitor::period_of(const std::vector<Executor*>& executors) noexcept {
  std::int64_t period = kLongestVirtual_ns;
  for (const Executor* executor : executors) {
    for (const NodeRecord* record : executor->nodes) {
      const std::int64_t timeout = record->vitals.timeout_ns.load(std::memory_order_relaxed);
      if (timeout != 0) period = std::min(period, timeout / 5);
    }
  }
  return std::max(period, kShortestVirtual_ns);
}

void SafetyMonitor::look_at_ladders(std::int64_t now) noexcept {
  if (scan_now_.exchange(false, std::memory_order_acquire)) next_scan_ns_ = now;
  if (now >= next_scan_ns_ || steps_open_) {
    next_scan_ns_ = kNever;
    steps_open_ = false;
    for (LoopWatch& watch : watches_) {
      Executor& executor = watch.executor();
      // Nodes that wait for a start which another one blocks have begun all the same.
      if (executor.vitals.phase.load(std::memory_order_relaxed) == Phase::starting &&
          absences_.present(started_ns_, now) > kStartPatience_ns &&
          watch.standing_ns(now, absences_) > kGrace_ns)
        executor.watch_despite_start(now);
      const Scan found = scan(executor, now, absences_, watch.turned_since(absences_.last_end_ns()));
      next_scan_ns_ = std::min(next_scan_ns_, found.next_ns);
      if (found.moved) executor.poke();
      steps_open_ = steps_open_ || found.open;
    }
  }
  if (mutes_open_) {
    mutes_open_ = false;
    for (NodeRecord* record : hooks_.nodes()) {
      if (record->vitals.mute_owed.load(std::memory_order_relaxed)) record->mute_from_outside();
      mutes_open_ = mutes_open_ || record->vitals.mute_owed.load(std::memory_order_relaxed);
    }
  }
  if (!steps_open_) return;
  for (LoopWatch& watch : watches_) take_over(watch, now);
}

// What the loop was to do, and did not come to.
void SafetyMonitor::take_over(LoopWatch& watch, std::int64_t now) noexcept {
  const bool stands = watch.standing_ns(now, absences_) >= kGrace_ns;
  for (NodeRecord* record : watch.executor().nodes) {
    NodeVitals& vitals = record->vitals;
    if (vitals.away_step.load(std::memory_order_relaxed) == AwayStep::too_long) [[unlikely]] {
      if ((stands || now - vitals.stepped_ns.load(std::memory_order_relaxed) >= kGrace_ns) &&
          vitals.take_away_step())
        stop_for_away(*record, now);
    }
    const WatchdogStep step = vitals.step.load(std::memory_order_acquire);
    if (step <= vitals.acted.load(std::memory_order_relaxed)) continue;
    if (!stands && now - vitals.stepped_ns.load(std::memory_order_relaxed) < kGrace_ns) continue;
    for (int next = static_cast<int>(vitals.acted.load(std::memory_order_acquire)) + 1;
         next <= static_cast<int>(step); ++next) {
      const auto wanted = static_cast<WatchdogStep>(next);
      if (vitals.take_over(wanted)) act(*record, wanted, watch, now);
    }
  }
}

void SafetyMonitor::stop_for_away(NodeRecord& record, std::int64_t now) noexcept {
  record.host->emergency_stop();
  emergency_seen_ns_ = now;
  call_hooks(true);
  MonitorLog::Line* line = log_.begin(LogLevel::error);
  if (line == nullptr) return;
  line->text.add("{}: not back after {} ms of restarts, and as it is critical: emergency stop",
                 record.node_name(), whole_ms(record.vitals.away_limit_ns()));
  log_.say();
}

void SafetyMonitor::act(NodeRecord& record, WatchdogStep step, const LoopWatch& watch,
                        std::int64_t now) noexcept {
  const std::int64_t fed = record.vitals.fed_ns.load(std::memory_order_relaxed);
  const std::int64_t hungry = fed == 0 ? 0 : absences_.present(fed, now);
  const auto say = [&](LogLevel level, const char* what, const char* consequence) {
    if (level != LogLevel::error && !record.logs()) return;
    MonitorLog::Line* line = log_.begin(level);
    if (line == nullptr) return;
    FixedText<256> culprit;
    if (watch.standing_ns(now, absences_) > 0) {
      watch.who(culprit);
    } else {
      culprit.add("its loop does not come to it");
    }
    line->text.add("{}: {}: no successful tick for {} ms ({}){}", record.node_name(), what, whole_ms(hungry),
                   culprit.view(), consequence);
    log_.say();
  };
  switch (step) {
    case WatchdogStep::well: break;
    case WatchdogStep::warned:
      record.vitals.expirations.fetch_add(1, std::memory_order_relaxed);
      say(LogLevel::warning, "watchdog expired", "");
      break;
    case WatchdogStep::unhealthy: say(LogLevel::warning, "unhealthy", ""); break;
    case WatchdogStep::isolated: {
      // The safe state first: a line can wait.
      if (record.vitals.hook.want()) call_hooks(false);
      Scheduler& scheduler = watch.executor().scheduler();
      if (record.settings.critical) {
        scheduler.emergency_stop();
        emergency_seen_ns_ = now;
        call_hooks(true);
      }
      record.mute_from_outside();
      mutes_open_ = mutes_open_ || record.vitals.mute_owed.load(std::memory_order_relaxed);
      say(LogLevel::error, "isolated",
          record.settings.critical ? "; as it is critical: emergency stop" : "; its outputs are muted");
      if (!plan_.exit_when_blocked || plan_.signals == 0 || watch.standing_ns(now, absences_) < kGrace_ns)
        break;
      call_hooks(true);
      watch.name_culprit("the process ends with code 70", now, absences_, log_);
      end(kExitBlocked);
    }
  }
}

// --- Emergency stop and hooks -----------------------------------------------------------------------------------------

void SafetyMonitor::call_hooks(bool all) noexcept {
  if (all) hooks_.want_all(plan_.emergency->load(std::memory_order_acquire));
  if (hooks_.waiting()) hooks_.wake();
  calling_hooks_ = true;
}

// Each loop enters its nodes' safe states itself; the helpers do it for those that do not begin at once.
void SafetyMonitor::look_at_emergency(std::int64_t now) noexcept {
  if (!plan_.emergency->load(std::memory_order_acquire)) {
    emergency_seen_ns_ = 0;
    return;
  }
  if (emergency_seen_ns_ == kNever) return;
  if (emergency_seen_ns_ == 0) {
    emergency_seen_ns_ = now;
    for (LoopWatch& watch : watches_) watch.executor().poke();
    const bool stands = std::any_of(watches_.begin(), watches_.end(), [&](const LoopWatch& watch) {
      return watch.standing_ns(now, absences_) > kEmergencyGrace_ns;
    });
    if (!stands) return;
  } else if (now - emergency_seen_ns_ < kEmergencyGrace_ns) {
    return;
  }
  emergency_seen_ns_ = kNever;  // done, until it is reset
  call_hooks(true);
}

// Names hooks that hang, and has the others go on.
void SafetyMonitor::look_after_hooks(std::int64_t now) noexcept {
  hooks_.hurry(now);
  while (NodeRecord* record = hooks_.overdue(now)) {
    MonitorLog::Line* line = log_.begin(LogLevel::error);
    if (line == nullptr) continue;
    line->text.add(
        "{}: its enter_safe_state() has not returned after {} ms; the others are called without it",
        record->node_name(), whole_ms(HookHelpers::kHookLimit_ns));
    log_.say();
  }
  calling_hooks_ = hooks_.waiting() || hooks_.busy();
}

// --- The end ----------------------------------------------------------------------------------------------------------

void SafetyMonitor::request_stop() noexcept {
  plan_.stop_requested->store(true, std::memory_order_release);
  for (LoopWatch& watch : watches_) watch.executor().poke();
}

// A loop that stands still does not read its signals. The first stops gracefully; the second ends it all.
void SafetyMonitor::look_at_signals(std::int64_t now) noexcept {
  if (plan_.signals == 0) return;
  const LoopWatch& main = watches_.front();
  if (main.standing_ns(now, absences_) < kGrace_ns) {
    handed_known_ = false;
    return;
  }
  sigset_t set;
  ::sigemptyset(&set);
  for (int number = 1; number <= 64; ++number) {
    if ((plan_.signals >> (number - 1) & 1U) != 0) ::sigaddset(&set, number);
  }
  const timespec at_once{0, 0};
  int number = ::sigtimedwait(&set, nullptr, &at_once);
  if (number > 0) {
    ++signals_taken_;
  } else {
    number = io::detail::last_signal_handed_over();
  }
  // What other threads have handed over waits for the loop's thread, each number once; what comes on top is counted.
  const std::uint32_t handed = io::detail::signals_handed_over(plan_.signals);
  if (!handed_known_) {
    const std::uint64_t waiting = status_of(main.executor().thread_id()).pending & plan_.signals;
    handed_before_ = handed - static_cast<std::uint32_t>(__builtin_popcountll(waiting));
    handed_known_ = waiting != 0;
  }
  const int heard = signals_taken_ + plan_.signals_read->load(std::memory_order_acquire) +
                    static_cast<int>(handed - handed_before_);
  if (heard == 0) return;
  if (heard >= 2) end(128 + (number > 0 ? number : SIGTERM));
  if (plan_.stop_requested->load(std::memory_order_acquire)) return;
  request_stop();
  if (MonitorLog::Line* line = log_.begin(LogLevel::info)) {
    line->text.add(
        "a signal to end has come while the loop stands still: stopping (once more to stop at once)");
    log_.say();
  }
}

bool SafetyMonitor::somebody_stands(std::int64_t now) const noexcept {
  return std::any_of(watches_.begin(), watches_.end(),
                     [&](const LoopWatch& watch) { return watch.standing_ns(now, absences_) >= kGrace_ns; });
}

void SafetyMonitor::name_culprits(const char* consequence, std::int64_t now) noexcept {
  for (const LoopWatch& watch : watches_) {
    if (watch.standing_ns(now, absences_) >= kGrace_ns) watch.name_culprit(consequence, now, absences_, log_);
  }
}

void SafetyMonitor::look_at_stop(std::int64_t now) noexcept {
  if (now - plan_.end_ns >= kGrace_ns && !limit_heard_) {
    limit_heard_ = true;
    if (!plan_.stop_requested->load(std::memory_order_acquire)) request_stop();
  }
  if (!plan_.stop_requested->load(std::memory_order_acquire)) return;
  if (stop_seen_ns_ == 0) {
    stop_seen_ns_ = now;
    for (LoopWatch& watch : watches_) watch.executor().poke();
  }
  if (stop_was_late_.load(std::memory_order_relaxed)) return;
  const std::int64_t took = absences_.present(stop_seen_ns_, now);
  if (took < kStopLimit_ns) return;
  // A loop that turns says what it waits for, and ends the process itself.
  if (!somebody_stands(now) && took < kStopLimit_ns + kLastMoment_ns) return;
  call_hooks(true);
  if (plan_.signals != 0) {
    name_culprits("the stop did not end within 5 s; the process ends with code 75", now);
    end(kExitStuck);
  }
  name_culprits("the stop did not end within 5 s; safe states are entered", now);
  stop_was_late_.store(true, std::memory_order_release);
}

void SafetyMonitor::end_process(int code) noexcept {
  int none = -1;
  exit_code_.compare_exchange_strong(none, code, std::memory_order_acq_rel);
  notify();
}

void SafetyMonitor::end(int code) noexcept {
  hooks_.want_all(false);
  hooks_.wake();
  const std::int64_t until = monotonic_ns() + kHooksBeforeExit_ns;
  while ((hooks_.waiting() || hooks_.busy()) && monotonic_ns() < until) {
    look_after_hooks(monotonic_ns());
    const timespec moment{0, 500'000};
    ::nanosleep(&moment, nullptr);
  }
  log_.flush(kLinesBeforeExit_ns);
  static_cast<void>(flush_log(Duration(kLinesBeforeExit_ns)));
  ::_exit(code);
}

// --- The thread -------------------------------------------------------------------------------------------------------

void SafetyMonitor::start(MonitorPlan plan) {
  plan_ = std::move(plan);
  const bool takes_stacks = prepare_stacks();
  watches_.clear();
  std::vector<NodeRecord*> nodes;
  for (Executor* executor : plan_.executors) {
    watches_.emplace_back(*executor, takes_stacks);
    nodes.insert(nodes.end(), executor->nodes.begin(), executor->nodes.end());
  }
  absences_ = Absences();
  emergency_seen_ns_ = stop_seen_ns_ = next_scan_ns_ = 0;
  steps_open_ = mutes_open_ = calling_hooks_ = limit_heard_ = false;
  signals_taken_ = 0;
  handed_known_ = false;
  exit_code_.store(-1, std::memory_order_relaxed);
  stop_was_late_.store(false, std::memory_order_relaxed);
  ending_.store(false, std::memory_order_relaxed);
  log_.start();
  hooks_.start(std::move(nodes));
  // From here on, not from the thread's first step: the process may be stopped in between.
  started_ns_ = last_look_ns_ = due_ns_ = monotonic_ns();
  used_ns_ = processor_time_ns();
  // Signals are for the other threads; the monitor takes what it wants by sigtimedwait.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void SafetyMonitor::stop() noexcept {
  if (!thread_.joinable()) return;
  ending_.store(true, std::memory_order_release);
  notify();
  thread_.join();
  for (LoopWatch& watch : watches_) watch.sum_up(monotonic_ns(), log_);
  hooks_.stop();
  log_.stop();
}

void SafetyMonitor::notify() noexcept {
  word_.fetch_add(1, std::memory_order_release);
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word_), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr,
            nullptr, 0);
}

void SafetyMonitor::look_at_watchdogs() noexcept {
  scan_now_.store(true, std::memory_order_release);
  notify();
}

std::int64_t SafetyMonitor::period_ns() const noexcept {
  std::int64_t period = kLongestPeriod_ns;
  // A look costs a wake-up, so they are rare while every loop turns. One that does not is looked at more closely.
  for (const LoopWatch& watch : watches_)
    period = std::min(period, watch.limit_ns() / (watch.stands() ? 4 : 2));
  return std::max(period, kShortestPeriod_ns);
}

void SafetyMonitor::run() noexcept {
  ::pthread_setname_np(::pthread_self(), "horus-safety");
  sched_param parameter{};
  parameter.sched_priority = kMonitorPriority;
  static_cast<void>(::pthread_setschedparam(::pthread_self(), SCHED_FIFO, &parameter));  // when permitted
  while (!ending_.load(std::memory_order_acquire)) {
    const std::uint32_t seen = word_.load(std::memory_order_acquire);
    const std::int64_t now = monotonic_ns();
    note_absence(now);
    look(now);
    // The process may have been stopped in the middle of the look, too.
    due_ns_ = last_look_ns_ = now;
    const std::int64_t looked = monotonic_ns();
    note_absence(looked);
    if (ending_.load(std::memory_order_acquire)) break;
    std::int64_t wait = period_ns();
    if (emergency_seen_ns_ != 0 && emergency_seen_ns_ != kNever) wait = kShortestPeriod_ns;
    if (calling_hooks_ || steps_open_) wait = kShortestPeriod_ns;
    if (next_scan_ns_ != kNever) wait = std::clamp<std::int64_t>(next_scan_ns_ - looked, 100'000, wait);
    due_ns_ = looked + wait;
    const timespec time{0, wait};
    ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word_), FUTEX_WAIT_PRIVATE, seen, &time, nullptr,
              0);
  }
}

void SafetyMonitor::note_absence(std::int64_t now) noexcept {
  const std::int64_t used = processor_time_ns();
  if (now - due_ns_ > Absences::kShortest_ns) {
    const std::int64_t absent = absences_.late(due_ns_, now, used - used_ns_);
    if (absent > 0) {
      watches_.front().executor().count_absence();
      if (MonitorLog::Line* line = log_.begin(LogLevel::warning)) {
        line->text.add(
            "this process did not run for {} ms (stopped, frozen or suspended); watchdogs and limits "
            "wait for it",
            whole_ms(absent));
        log_.say();
      }
    }
  }
  used_ns_ = used;
}

void SafetyMonitor::look(std::int64_t now) noexcept {
  if (const int code = exit_code_.load(std::memory_order_acquire); code >= 0) end(code);
  for (LoopWatch& watch : watches_) watch.executor().begin_visit();
  for (LoopWatch& watch : watches_) watch.look(now, last_look_ns_, absences_, log_);
  look_at_emergency(now);
  look_at_ladders(now);
  if (calling_hooks_) look_after_hooks(now);
  look_at_signals(now);
  look_at_stop(now);
  for (LoopWatch& watch : watches_) watch.executor().end_visit();
}

}  // namespace horus::HORUS_ABI::detail
