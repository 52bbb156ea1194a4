// SPDX-License-Identifier: Apache-2.0
#include "fault_report.hpp"

#include <algorithm>
#include <limits>
#include <string_view>

#include <fmt/format.h>

#include <horus/sched/states.hpp>

#include "view.hpp"

namespace rover {

namespace {

using horus::CircuitState;
using horus::NodeState;
using horus::TickOutcome;
using horus::Timeline;
using horus::TimelineEvent;
using Kind = TimelineEvent::Kind;

constexpr int64_t kEndOfTime = std::numeric_limits<int64_t>::max();

/// An event in the order in which things became known: a tick at its end.
struct Moment {
  int64_t at_ns;
  const TimelineEvent* event;
};

TickOutcome outcome_of(const TimelineEvent& tick) { return static_cast<TickOutcome>(tick.detail); }

bool is_failure(const TimelineEvent& event) {
  if (event.kind != Kind::tick) return false;
  const TickOutcome outcome = outcome_of(event);
  return outcome == TickOutcome::failed || outcome == TickOutcome::cancelled_watchdog ||
         outcome == TickOutcome::cancelled_deadline;
}

/// What the scheduler has seen of one node since a fault.
struct Signs {
  bool watchdog = false, circuit = false, restart = false, deadline = false, budget = false;
  uint64_t failed = 0, cancelled = 0;

  void take(const TimelineEvent& event) {
    switch (event.kind) {
      case Kind::tick: ++(outcome_of(event) == TickOutcome::failed ? failed : cancelled); break;
      case Kind::watchdog: watchdog = true; break;
      case Kind::circuit: circuit = true; break;
      case Kind::state: restart = true; break;
      case Kind::deadline_miss: deadline = true; break;
      case Kind::budget_miss: budget = true; break;
      default: break;
    }
  }

  std::string text() const {
    std::string out;
    const auto add = [&out](bool seen, std::string_view name) {
      if (seen) out += fmt::format("{}{}", out.empty() ? "" : ", ", name);
    };
    const auto number = [](uint64_t count, std::string_view what) {
      return count == 1 ? fmt::format("{} tick", what) : fmt::format("{} {} ticks", count, what);
    };
    add(failed > 0, number(failed, "failed"));
    add(watchdog, "watchdog");
    add(cancelled > 0, number(cancelled, "cancelled"));
    add(deadline, "deadline");
    add(budget, "budget");
    add(circuit && !restart, "circuit");
    add(restart, "restart");
    return out;
  }
};

bool is_sign(const TimelineEvent& event) {
  switch (event.kind) {
    case Kind::watchdog: return event.detail != 0;
    case Kind::circuit: return static_cast<CircuitState>(event.detail) == CircuitState::open;
    case Kind::state: return static_cast<NodeState>(event.detail) == NodeState::restarting;
    case Kind::deadline_miss:
    case Kind::budget_miss: return true;
    default: return is_failure(event);
  }
}

/// Follows one node from a fault on.
class Recovery {
 public:
  explicit Recovery(int64_t since_ns) : since_ns_(since_ns) {}

  void take(const Moment& moment) {
    const TimelineEvent& event = *moment.event;
    if (healed_ns_ && moment.at_ns > *healed_ns_) return;  // of one instant all is seen
    if (is_sign(event)) {
      signs_.take(event);
      if (!noticed_ns_) noticed_ns_ = moment.at_ns;
    }
    if (event.kind == Kind::circuit)
      circuit_closed_ = static_cast<CircuitState>(event.detail) == CircuitState::closed;
    if (event.kind == Kind::watchdog) fed_ = event.detail == 0;
    if (event.kind == Kind::tick) ticks_well_ = outcome_of(event) == TickOutcome::ok;
    if (!healed_ns_ && noticed_ns_ && ticks_well_ && circuit_closed_ && fed_) healed_ns_ = moment.at_ns;
  }

  void tell(FaultOutcome& outcome) const {
    outcome.noticed_by = signs_.text();
    if (noticed_ns_) outcome.noticed_after_ns = *noticed_ns_ - since_ns_;
    if (healed_ns_) outcome.healed_after_ns = *healed_ns_ - since_ns_;
  }
  int64_t end_ns() const { return healed_ns_.value_or(kEndOfTime); }

 private:
  int64_t since_ns_;
  Signs signs_;
  bool circuit_closed_ = true, fed_ = true, ticks_well_ = false;
  std::optional<int64_t> noticed_ns_, healed_ns_;
};

/// Nodes by name, and who was under a fault when.
class Story {
 public:
  explicit Story(const Timeline& timeline) : timeline_(timeline) {
    moments_.reserve(timeline.events.size());
    for (const TimelineEvent& event : timeline.events)
      moments_.push_back({event.kind == Kind::tick ? event.end_ns : event.begin_ns, &event});
    std::sort(moments_.begin(), moments_.end(), [](const Moment& one, const Moment& other) {
      return one.at_ns != other.at_ns ? one.at_ns < other.at_ns : one.event < other.event;
    });
  }

  FaultOutcome follow(const Fault& fault) {
    Recovery recovery(fault.struck_ns);
    for (const Moment& moment : moments_) {
      if (moment.at_ns >= fault.struck_ns && name_of(moment) == fault.node) recovery.take(moment);
    }
    FaultOutcome outcome;
    outcome.what = fault.what;
    recovery.tell(outcome);
    struck_.push_back({fault.node, fault.struck_ns, recovery.end_ns()});
    return outcome;
  }

  /// What the controller and the rest did meanwhile; when all faults were followed.
  void look_around(size_t fault, FaultOutcome& outcome) const {
    const Episode& episode = struck_[fault];
    int64_t before_ns = 0, last_ns = 0;
    for (const Moment& moment : moments_) {
      if (moment.at_ns < episode.begin_ns || moment.at_ns > episode.end_ns) continue;
      const TimelineEvent& event = *moment.event;
      if (name_of(moment) != "control") {
        if (is_failure(event) && !under_fault(moment)) ++outcome.others_failed;
        continue;
      }
      if (event.kind == Kind::skipped) {
        ++outcome.control_grid_points;
        if (outcome_of(event) == TickOutcome::skipped_late) ++outcome.control_late;
      }
      if (event.kind != Kind::tick) continue;
      ++outcome.control_grid_points;
      const auto period_ns = static_cast<int64_t>(1e9 / timeline_.nodes[event.node].rate_hz);
      if (outcome_of(event) == TickOutcome::ok && event.end_ns - event.begin_ns <= period_ns)
        ++outcome.control_ticks;
      // A late tick and the next are close together; a third one there would be work caught up on.
      if (before_ns != 0 && moment.at_ns - before_ns < period_ns / 2) outcome.burst = true;
      before_ns = last_ns;
      last_ns = moment.at_ns;
    }
  }

 private:
  struct Episode {
    std::string node;
    int64_t begin_ns, end_ns;
  };

  const std::string& name_of(const Moment& moment) const { return timeline_.nodes[moment.event->node].name; }
  bool under_fault(const Moment& moment) const {
    return std::any_of(struck_.begin(), struck_.end(), [&](const Episode& episode) {
      return episode.node == name_of(moment) && moment.at_ns >= episode.begin_ns &&
             moment.at_ns <= episode.end_ns;
    });
  }

  const Timeline& timeline_;
  std::vector<Moment> moments_;
  std::vector<Episode> struck_;
};

std::string contained_text(const FaultOutcome& outcome) {
  if (outcome.others_failed > 0) return fmt::format("{} others failed", outcome.others_failed);
  if (outcome.burst) return "burst";
  if (outcome.control_late > 0) return fmt::format("{} late, no burst", outcome.control_late);
  return fmt::format("{} of {}", outcome.control_ticks, outcome.control_grid_points);
}

std::string time_text(const std::optional<int64_t>& ns) {
  return ns ? duration_text(static_cast<uint64_t>(std::max<int64_t>(*ns, 0))) : "never";
}

}  // namespace

std::vector<FaultOutcome> fault_outcomes(const std::vector<Fault>& plan, const Timeline& timeline) {
  Story story(timeline);
  std::vector<FaultOutcome> outcomes;
  for (const Fault& fault : plan) {
    if (fault.struck_ns != 0) outcomes.push_back(story.follow(fault));
  }
  for (size_t i = 0; i < outcomes.size(); ++i) story.look_around(i, outcomes[i]);
  return outcomes;
}

std::string fault_table(const std::vector<FaultOutcome>& outcomes, bool colours) {
  const std::string_view strong = colours ? "\x1b[1m" : "", quiet = colours ? "\x1b[38;5;244m" : "";
  const std::string_view good = colours ? "\x1b[38;5;71m" : "", wrong = colours ? "\x1b[38;5;167m" : "";
  const std::string_view plain = colours ? "\x1b[0m" : "";
  std::string out = fmt::format("{}{:<22}{:<25}{:>6}  {:<17}{:>7}{}\n", quiet, "fault", "noticed by", "after",
                                "contained", "healed", plain);
  for (const FaultOutcome& outcome : outcomes) {
    out += fmt::format("{}{:<22}{}{:<25}{:>6}  {:<17}{}{:>7}{}\n", strong, outcome.what, plain,
                       outcome.noticed_by.empty() ? "nobody" : outcome.noticed_by,
                       time_text(outcome.noticed_after_ns), contained_text(outcome),
                       outcome.overcome() ? good : wrong, time_text(outcome.healed_after_ns), plain);
  }
  return out;
}

}  // namespace rover
