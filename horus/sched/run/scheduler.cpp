// SPDX-License-Identifier: Apache-2.0
// What a scheduler is told before a run: nodes, their names, settings for all; and whether that can be scheduled.
#include <horus/sched/scheduler.hpp>

#include <algorithm>
#include <cstdlib>
#include <thread>
#include <typeinfo>

#include <cxxabi.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/config/tree.hpp>
#include <horus/msg/door/door.hpp>
#include <horus/msg/door/insight.hpp>
#include <horus/sched/data/check_settings.hpp>
#include <horus/sched/node/node_record.hpp>
#include <horus/sched/run/companion.hpp>
#include <horus/sched/run/executor.hpp>
#include <horus/sched/run/refusals.hpp>
#include <horus/sched/run/safety_monitor.hpp>

namespace horus::HORUS_ABI {

using detail::Executor;
using detail::NodeRecord;

namespace {

// "rover::(anonymous namespace)::ImuReader" → "imu_reader".
std::string snake_case_of(const NodeBase& node) {
  int status = 0;
  char* demangled = abi::__cxa_demangle(typeid(node).name(), nullptr, nullptr, &status);
  std::string full = status == 0 ? demangled : typeid(node).name();
  std::free(demangled);
  if (const auto bracket = full.find('<'); bracket != std::string::npos) full.resize(bracket);
  if (const auto colon = full.rfind(':'); colon != std::string::npos) full = full.substr(colon + 1);
  std::string name;
  for (std::size_t i = 0; i < full.size(); ++i) {
    const char c = full[i];
    const bool upper = c >= 'A' && c <= 'Z';
    const bool after_lower = i > 0 && !(full[i - 1] >= 'A' && full[i - 1] <= 'Z');
    const bool before_lower = i + 1 < full.size() && full[i + 1] >= 'a' && full[i + 1] <= 'z';
    if (upper && i > 0 && (after_lower || before_lower) && full[i - 1] != '_') name += '_';
    name += upper ? static_cast<char>(c | 0x20) : c;
  }
  return name;
}

}  // namespace

Scheduler::Scheduler(SchedulerConfig config) : config_(std::move(config)) {
  config_.reactor.timer_spin = std::max(config_.reactor.timer_spin, config_.spin);
  executors_.push_back(
      std::make_unique<Executor>(*this, "", ExecutorConfig{config_.cpu, config_.fifo_priority, {}}));
  main_ = executors_.front().get();
  monitor_ = std::make_unique<detail::SafetyMonitor>();
  if (!config_.inspect) msg::door::permit(false);
  if (config_.inspect_control) msg::door::permit_control(true);
  msg::door::open_once();
}

Scheduler& Scheduler::record(std::string path, RecordOptions options) {
  check_not_running("record");
  config_.records.push_back({std::move(path), std::move(options)});
  return *this;
}

Scheduler::~Scheduler() {
  HORUS_ASSERT(!running_.load(), "a Scheduler died while it ran; stop() it and let run_async() end first");
  HORUS_ASSERT(own_reactor_ == nullptr || started_on_ == std::this_thread::get_id(),
               "a Scheduler died on another thread than that of its tick_once(); close() it there first");
  if (own_reactor_) close();
  executors_.clear();
  nodes_.clear();  // before the reactor: what nodes hold is closed through it
}

void Scheduler::check_not_running(const char* what) const {
  if (running_.load(std::memory_order_relaxed))
    throw Error(EBUSY, what, "(the scheduler is running; do it before the run)");
}

void Scheduler::cannot_start(const std::string& why) {
  log_error(why);
  const std::lock_guard lock(mutex_);
  if (start_problem_.empty()) start_problem_ = why;
}

std::string Scheduler::start_problem() const {
  const std::lock_guard lock(mutex_);
  return start_problem_;
}

void Scheduler::check_name(const NodeRecord& record, const std::string& name) const {
  if (name.empty()) throw Error(EINVAL, "add node", "(its name is empty)");
  for (const auto& other : nodes_) {
    if (other.get() != &record && other->node->explicitly_named_ && other->node_name() == name) {
      throw Error(EEXIST, "add node", fmt::format("\"{}\" (give one of the two another name)", name));
    }
  }
}

NodeBuilder Scheduler::adopt(std::shared_ptr<NodeBase> node) {
  check_not_running("add node");
  if (started_)
    throw Error(EBUSY, "add node", "(tick_once() has started the nodes; add it before, or close() first)");
  if (node == nullptr) throw Error(EINVAL, "add node", "(a null pointer)");
  auto record = std::make_unique<NodeRecord>(std::move(node), nodes_.size());
  if (record->node->explicitly_named_) {
    check_name(*record, record->node->name_);
    record->set_name(record->node->name_);
  } else {
    record->set_name(snake_case_of(*record->node));
  }
  const std::lock_guard lock(mutex_);
  nodes_.push_back(std::move(record));
  return {*this, *nodes_.back()};
}

// Names that come from classes: the second Gps is gps_2.
void Scheduler::settle_names() {
  const auto taken = [&](const std::string& name, const NodeRecord* self) {
    return std::any_of(nodes_.begin(), nodes_.end(), [&](const auto& other) {
      return other.get() != self && other->node_name() == name &&
             (other->node->explicitly_named_ || other->index < self->index);
    });
  };
  for (auto& record : nodes_) {
    if (record->node->explicitly_named_) continue;
    const std::string base = snake_case_of(*record->node);
    std::string name = base;
    for (int n = 2; taken(name, record.get()); ++n) name = fmt::format("{}_{}", base, n);
    if (record->node->name_ != name) record->node->name_ = name;
    if (record->node_name() != name) record->set_name(name);
  }
}

Scheduler& Scheduler::tick_rate(Rate rate) {
  if (!(rate.hz > 0 && rate.hz <= NodeSettings::kMaxRate_hz)) {
    throw Error(EINVAL, "tick_rate", fmt::format("{} Hz: above 0 up to 100000", rate.hz));
  }
  check_not_running("tick_rate");
  config_.tick_rate = rate;
  return *this;
}

Scheduler& Scheduler::executor(std::string name, ExecutorConfig config) {
  check_not_running("executor");
  if (name.empty()) throw Error(EINVAL, "executor", "(its name is empty)");
  if (config.rt_priority < 0 || config.rt_priority > 99)
    throw Error(EINVAL, "executor", fmt::format("{} (rt_priority {}: 0 to 99)", name, config.rt_priority));
  config_.executors[std::move(name)] = config;
  return *this;
}

// Who runs where; checks what only now can be checked.
void Scheduler::settle(bool threads) {
  const std::lock_guard lock(mutex_);
  start_problem_.clear();
  detail::check_settings(config_).or_throw();
  settle_names();
  for (const auto& [name, overrides] : config_.nodes) {
    if (find_node(name) != nullptr) continue;
    std::vector<std::string> known;
    std::string names;
    for (const auto& record : nodes_) {
      known.push_back(record->node_name());
      names += (names.empty() ? "" : ", ") + record->node_name();
    }
    const std::string near = config::nearest(name, known);
    throw Error(EINVAL, "configure",
                fmt::format("node \"{}\" ({}there are: {}){}", name,
                            near.empty() ? "" : fmt::format("did you mean \"{}\"? ", near), names,
                            overrides.source.empty() ? "" : ", configured in " + overrides.source));
  }
  Executor& main = *main_;
  std::vector<std::unique_lock<std::mutex>> held;
  held.reserve(executors_.size());
  for (auto& executor : executors_) held.push_back(executor->hold());
  for (auto& executor : executors_) executor->nodes.clear();  // they stay, for whoever still asks one
  for (auto& record : nodes_) {
    config_.override(record->node_name(), record->settings);
    const std::string& wanted = record->settings.executor;
    if (!wanted.empty() && !config_.executors.contains(wanted)) {
      std::string names;
      for (const auto& [name, config] : config_.executors) names += (names.empty() ? "" : ", ") + name;
      throw Error(
          EINVAL, "start",
          fmt::format("executor \"{}\" of node \"{}\" ({})", wanted, record->node_name(),
                      names.empty() ? "none is described: Scheduler::executor" : "there are: " + names));
    }
    Executor* on = &main;
    if (threads && !wanted.empty()) {
      const auto found = std::find_if(executors_.begin() + 1, executors_.end(),
                                      [&](const auto& executor) { return executor->name() == wanted; });
      if (found != executors_.end()) {
        on = found->get();
      } else {
        on = executors_.emplace_back(std::make_unique<Executor>(*this, wanted, config_.executors.at(wanted)))
                 .get();
      }
    }
    record->node->keeps_in_emergency_ = record->settings.keep_in_emergency;
    record->prepare(*on, config_);
    on->nodes.push_back(record.get());
  }
  for (auto& executor : executors_) {
    executor->take_nodes();
    executor->timeline.reserve(config_.timeline_events);
  }
  settled_ = true;
}

Schedulability Scheduler::check() const {
  Schedulability result;
  std::map<std::string, Schedulability::Share> shares;
  std::map<std::string, std::size_t> counts;
  for (const auto& record : nodes_) {
    NodeSettings settings = record->settings;
    config_.override(record->node_name(), settings);
    const double hz = settings.rate.hz > 0            ? settings.rate.hz
                      : record->plain_node != nullptr ? config_.tick_rate.hz
                                                      : 0;
    if (hz == 0) continue;
    Schedulability::Share& share = shares[settings.executor];
    if (settings.budget <= Duration::zero()) {
      ++share.unknown;
      continue;
    }
    share.utilisation += static_cast<double>(settings.budget.count()) / 1e9 * hz;
    ++counts[settings.executor];
  }
  for (auto& [name, share] : shares) {
    share.executor = name;
    const auto n = static_cast<double>(std::max<std::size_t>(counts[name], 1));
    // Liu and Layland's bound for rate-monotonic priorities; ticks are not preempted, so it is a hint in any case.
    share.bound = config_.policy == Policy::rate_monotonic ? n * (std::pow(2.0, 1 / n) - 1) : 1.0;
    if (share.utilisation > share.bound) {
      result.schedulable = false;
      result.problem +=
          fmt::format("{}the budgets of {} add up to {:.0f} % of its time, and {} can keep up with {:.0f} %",
                      result.problem.empty() ? "" : "; ",
                      name.empty() ? "the scheduler's thread" : "executor \"" + name + "\"",
                      100 * share.utilisation, to_string(config_.policy), 100 * share.bound);
    }
    result.executors.push_back(share);
  }
  return result;
}

}  // namespace horus::HORUS_ABI
