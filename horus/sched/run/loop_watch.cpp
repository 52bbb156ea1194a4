// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/run/loop_watch.hpp>

#include <algorithm>
#include <ctime>

#include <horus/sched/run/executor.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

constexpr std::int64_t kStartLimit_ns = 5'000'000'000;   // an init() may take its time
constexpr std::int64_t kStartQuiet_ns = 30'000'000'000;  // between two lines about one
constexpr std::int64_t kStopLimit_ns = 1'000'000'000;    // and so may a shutdown()
constexpr std::int64_t kEvidence_ns = 5'000'000;  // the shortest time that says where a thread's time goes

const char* word_for(Activity activity) noexcept {
  switch (activity) {
    case Activity::tick: return "tick";
    case Activity::background: return "background work";
    case Activity::init: return "init()";
    case Activity::shutdown: return "shutdown()";
    case Activity::on_error: return "on_error()";
    case Activity::hook: return "enter_safe_state()";
  }
  return "";
}

}  // namespace

LoopWatch::LoopWatch(Executor& executor, bool takes_stacks)
    : executor_(&executor), takes_stacks_(takes_stacks) {
  for (const NodeRecord* record : executor.nodes) {
    if (!record->periodic()) continue;
    const std::int64_t period = record->settings.rate.period().count();
    if (period_ns_ == 0 || period < period_ns_) period_ns_ = period;
  }
}

std::int64_t LoopWatch::limit_ns() const noexcept {
  switch (executor_->vitals.phase.load(std::memory_order_relaxed)) {
    case Phase::starting: return kStartLimit_ns;
    case Phase::stopping: return kStopLimit_ns;
    default: break;
  }
  return period_ns_ == 0 ? kLongest_ns : std::clamp(3 * period_ns_, kShortest_ns, kLongest_ns);
}

std::int64_t LoopWatch::standing_ns(std::int64_t now, const Absences& absences) const noexcept {
  return since_ns_ == 0 ? 0 : std::max<std::int64_t>(absences.present(since_ns_, now), 0);
}

void LoopWatch::look(std::int64_t now, std::int64_t last_look, Absences& absences, MonitorLog& log) noexcept {
  const LoopVitals& vitals = executor_->vitals;
  const std::uint64_t beat = vitals.beat.load(std::memory_order_acquire);
  if (!executor_->runs_on_a_thread() || beat != beat_ || beat_seen_ns_ == 0) {
    if (judged_) stretch_ended(std::max(length_ns_, absences.present(since_ns_, now)));
    beat_ = beat;
    beat_seen_ns_ = now;
    since_ns_ = ignored_since_ns_ = share_ns_ = length_ns_ = said_length_ns_ = 0;
    judged_ = waits_for_processor_ = computes_ = false;
    if (unsaid_ > 0 && now - said_ns_ >= kQuiet_ns) sum_up(now, log);
    return;
  }
  if (!vitals.asleep.load(std::memory_order_acquire)) {
    since_ns_ = beat_seen_ns_;
  } else {
    // It sleeps. That is right unless something has come, or was due.
    if (!executor_->attention()) {
      ignored_since_ns_ = 0;
    } else if (ignored_since_ns_ == 0) {
      ignored_since_ns_ = now;
    }
    std::int64_t since = vitals.due_ns.load(std::memory_order_relaxed);
    if (ignored_since_ns_ != 0) since = std::min(since, ignored_since_ns_);
    since_ns_ = since < now ? std::max(since, beat_seen_ns_) : 0;
  }
  if (since_ns_ == 0) return;
  const std::int64_t standing = standing_ns(now, absences);
  if (share_ns_ == 0) {
    share_ = share_of(executor_->thread_id());
    share_ns_ = now;
    return;
  }
  length_ns_ = standing;
  if (standing < limit_ns() || now - share_ns_ < kEvidence_ns) return;
  const ThreadStatus status = status_of(executor_->thread_id());
  if (status.stopped() || status.tracer != 0) {
    if (absences.add(std::max(last_look, since_ns_), now)) {
      executor_->count_absence();
      if (MonitorLog::Line* line = log.begin(LogLevel::warning)) {
        line->text.add("the thread of {} is held by {}; watchdogs and limits wait for it",
                       executor_->name_for_people(), status.tracer != 0 ? "a debugger" : "a stop signal");
        log.say();
      }
    }
    return;
  }
  if (judged_) {
    // One that lasts: again after 10 s, with what it has come to.
    const std::int64_t quiet =
        vitals.phase.load(std::memory_order_relaxed) == Phase::starting ? kStartQuiet_ns : kQuiet_ns;
    if (now - said_ns_ >= quiet) report(now, standing, log);
    return;
  }
  judged_ = true;
  judge(now - share_ns_, status.state);
  if (said_ns_ == 0 || now - said_ns_ >= kQuiet_ns) report(now, standing, log);
}

// A thread that waits for a processor has its wait counted when it gets one, so its state tells too; one that sleeps for
// short times is met ready to run now and then, but not twice.
void LoopWatch::judge(std::int64_t length, char state) noexcept {
  const ThreadShare share = share_of(executor_->thread_id());
  const std::int64_t ran = share.known && share_.known ? share.ran_ns - share_.ran_ns : 0;
  const std::int64_t waited = share.known && share_.known ? share.waited_ns - share_.waited_ns : 0;
  bool ready = state == 'R';
  if (ready && 4 * (ran + waited) < length) {
    const timespec moment{0, 700'000};
    ::nanosleep(&moment, nullptr);
    ready = status_of(executor_->thread_id()).state == 'R';
  }
  waits_for_processor_ = waited > 2 * ran && 2 * waited > length;
  if (ready && 4 * ran < length) waits_for_processor_ = true;
  computes_ = !waits_for_processor_ && (ready || 2 * (ran + waited) > length);
}

void LoopWatch::stretch_ended(std::int64_t length) noexcept {
  if (length <= 2 * said_length_ns_) return;  // its line has said so
  ++unsaid_;
  worst_ns_ = std::max(worst_ns_, length);
}

void LoopWatch::sum_up(std::int64_t now, MonitorLog& log) noexcept {
  if (unsaid_ == 0) return;
  if (MonitorLog::Line* line = log.begin(LogLevel::warning)) {
    if (unsaid_ == 1) {
      line->text.add("{} stood still for {} ms", executor_->name_for_people(), whole_ms(worst_ns_));
    } else {
      line->text.add("{} stood still {} times since the last line about it, at worst for {} ms",
                     executor_->name_for_people(), unsaid_, whole_ms(worst_ns_));
    }
    log.say();
  }
  unsaid_ = 0;
  worst_ns_ = 0;
  said_ns_ = now;
}

void LoopWatch::report(std::int64_t now, std::int64_t standing, MonitorLog& log) noexcept {
  sum_up(now, log);
  said_ns_ = now;
  said_length_ns_ = standing;
  MonitorLog::Line* line = log.begin(LogLevel::warning);
  if (line == nullptr) return;
  FixedText<256> culprit;
  who(culprit);
  line->text.add("{} has stood still for {} ms: {}", executor_->name_for_people(), whole_ms(standing),
                 culprit.view());
  if (!waits_for_processor_) {
    line->text.add("; nothing else on that thread can run");
    if (!takes_stacks_ || !take_stack(executor_->thread_id(), line->stack))
      line->text.add(" (its stack could not be taken)");
  }
  log.say();
}

void LoopWatch::who(FixedText<256>& text) const noexcept {
  if (waits_for_processor_) {
    text.add("it waits for a processor: the machine is loaded, no node is at fault");
    return;
  }
  const LoopVitals& vitals = executor_->vitals;
  // Before there is evidence the state of the moment must do.
  const bool computes = judged_ ? computes_ : status_of(executor_->thread_id()).state == 'R';
  const char* how = computes ? "computes" : "sleeps in a blocking call";
  if (const NodeRecord* record = vitals.running.load(std::memory_order_acquire)) {
    text.add("{}'s {} {}", record->node_name(), word_for(vitals.activity.load(std::memory_order_relaxed)),
             how);
    return;
  }
  if (const NodeRecord* record = vitals.between.load(std::memory_order_acquire)) {
    const bool starts = vitals.phase.load(std::memory_order_relaxed) != Phase::stopping;
    text.add("{}'s {} {}", record->node_name(), word_for(starts ? Activity::init : Activity::shutdown), how);
    return;
  }
  text.add("code that is no node's tick (a posted function, a callback) {}", how);
}

void LoopWatch::name_culprit(const char* consequence, std::int64_t now, const Absences& absences,
                             MonitorLog& log) const noexcept {
  MonitorLog::Line* line = log.begin(LogLevel::error);
  if (line == nullptr) return;
  FixedText<256> culprit;
  who(culprit);
  line->text.add("{}: {} has stood still for {} ms: {}", consequence, executor_->name_for_people(),
                 whole_ms(standing_ns(now, absences)), culprit.view());
  if (takes_stacks_) static_cast<void>(take_stack(executor_->thread_id(), line->stack));
  log.say();
}

}  // namespace horus::HORUS_ABI::detail
