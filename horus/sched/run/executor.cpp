// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/run/executor.hpp>

#include <algorithm>
#include <optional>

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/counter.hpp>
#include <horus/base/log.hpp>
#include <horus/io/replay/journal.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/run/safety_monitor.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/task/shield.hpp>
#include <horus/task/when_any.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

constexpr int kUnsuspendedTicks = 1000;  // in a row, then one warning
constexpr std::size_t kMaxCommands = 1024;

bool by_rate(const NodeRecord* a, const NodeRecord* b) {
  if (a->settings.rate.hz != b->settings.rate.hz) return a->settings.rate.hz > b->settings.rate.hz;
  return by_priority(a, b);
}
bool by_deadline(const NodeRecord* a, const NodeRecord* b) {
  const std::int64_t first = a->absolute_deadline(), second = b->absolute_deadline();
  return first != second ? first < second : by_priority(a, b);
}

}  // namespace

bool by_priority(const NodeRecord* a, const NodeRecord* b) noexcept {
  if (a->settings.priority != b->settings.priority) return a->settings.priority < b->settings.priority;
  return a->index < b->index;
}

ThreadTimes ThreadTimes::now() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  const auto ns = [](const timeval& time) {
    return time.tv_sec * std::int64_t{1'000'000'000} + time.tv_usec * 1000;
  };
  return {now_ns(), ns(usage.ru_utime), ns(usage.ru_stime),
          static_cast<std::int64_t>(io::Reactor::current()->statistics().asleep_ns)};
}

Executor::~Executor() { ListHook<io::LookoutTag>::unlink(); }

// --- Its run, for its nodes -------------------------------------------------------------------------------------------

const SchedulerConfig& Executor::run_config() const noexcept { return scheduler_.config(); }
bool Executor::emergency_stopped() const noexcept { return scheduler_.emergency_stopped(); }
void Executor::emergency_stop() noexcept { scheduler_.emergency_stop(); }
void Executor::stop_run() noexcept { scheduler_.stop(); }
void Executor::mute(NodeBase& node, bool muted) { scheduler_.mute(node, muted); }
bool Executor::try_mute(NodeBase& node, bool muted) noexcept { return scheduler_.try_mute(node, muted); }
void Executor::discard_latest(NodeBase& node) { scheduler_.discard_latest(node); }
void Executor::watch_now() noexcept { scheduler_.monitor_->look_at_watchdogs(); }

// --- Attached to a loop -----------------------------------------------------------------------------------------------

void Executor::attach() {
  io::Reactor* const reactor = io::Reactor::current();
  reactor_.store(reactor, std::memory_order_relaxed);
  waker_ = reactor->waker();
  journal_ = reactor->journal();
  journaled = journal_ != nullptr;
  journaled_.clear();
  thread_id_ = ::gettid();
  safe_ = over_ = false;
  all_clear_.set();
  heard_resets_ = scheduler_.emergency_resets();
  vitals.asleep.store(false, std::memory_order_relaxed);
  vitals.due_ns.store(kNever, std::memory_order_relaxed);
  reactor->watch(*this);
  attention_.store(true, std::memory_order_relaxed);  // whatever was asked for before
  const std::lock_guard lock(mutex_);
  is_attached_ = true;
  poked_.store(reactor, std::memory_order_seq_cst);
}

void Executor::detach() {
  {
    const std::lock_guard lock(mutex_);
    is_attached_ = false;
    answer_came_.notify_all();
    for (const auto& command : std::exchange(commands_, {})) command();
  }
  poked_.store(nullptr, std::memory_order_seq_cst);
  while (pokers_.load(std::memory_order_seq_cst) != 0) ::sched_yield();
  watches_.store(false, std::memory_order_relaxed);
  vitals.phase.store(Phase::idle, std::memory_order_relaxed);
  ListHook<io::LookoutTag>::unlink();
  stop.reset();
  waker_.reset();
  reactor_.store(nullptr, std::memory_order_relaxed);
}

void Executor::poke() noexcept {
  attention_.store(true, std::memory_order_seq_cst);
  // detach() waits for whoever may still use the reactor.
  pokers_.fetch_add(1, std::memory_order_seq_cst);
  if (io::Reactor* reactor = poked_.load(std::memory_order_seq_cst)) reactor->interrupt();
  pokers_.fetch_sub(1, std::memory_order_seq_cst);
}

bool Executor::tell(std::function<void()> work, bool always) {
  const std::lock_guard lock(mutex_);
  if (!is_attached_) {
    work();  // with the lock, or a run could begin meanwhile
    return true;
  }
  if (!always && commands_.size() >= kMaxCommands) return false;
  commands_.push_back(std::move(work));
  attention_.store(true, std::memory_order_seq_cst);
  waker_->wake();
  return true;
}

// --- Snapshots --------------------------------------------------------------------------------------------------------

std::shared_ptr<const Snapshot> Executor::take_snapshot() const {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->taken_ns = now_ns();
  snapshot->of = name_for_people_;
  snapshot->nodes.reserve(nodes.size());
  for (const NodeRecord* record : nodes) snapshot->nodes.emplace_back(record->index, record->statistics());
  snapshot->shares = time_shares();
  return snapshot;
}

void Executor::publish_snapshot() {
  std::uint64_t ticket = 0;
  {
    const std::lock_guard lock(mutex_);
    ticket = asked_;
  }
  auto snapshot = take_snapshot();
  const std::lock_guard lock(mutex_);
  snapshot_ = std::move(snapshot);
  answered_ = ticket;
  answer_came_.notify_all();
}

std::uint64_t Executor::ask_for_snapshot() {
  const std::lock_guard lock(mutex_);
  ++asked_;
  if (is_attached_ && !is_here()) {
    snapshot_wanted_.store(true, std::memory_order_relaxed);
    attention_.store(true, std::memory_order_seq_cst);
    waker_->wake();
  }
  return asked_;
}

std::shared_ptr<const Snapshot> Executor::snapshot(std::uint64_t ticket, std::int64_t until_ns) {
  if (is_here()) return take_snapshot();
  std::unique_lock lock(mutex_);
  while (is_attached_ && answered_ < ticket) {
    const std::int64_t left = until_ns - monotonic_ns();
    if (left <= 0) break;
    answer_came_.wait_for(lock, std::chrono::nanoseconds(left));
  }
  if (!is_attached_) return take_snapshot();  // with the lock: no run can begin meanwhile
  if (answered_ >= ticket || snapshot_ == nullptr) return snapshot_;
  auto old = std::make_shared<Snapshot>(*snapshot_);
  old->fresh = false;
  return old;
}

bool Executor::before_sleep() noexcept {
  vitals.asleep.store(true, std::memory_order_release);
  const bool come = attention_.load(std::memory_order_relaxed);
  if (come || journaled) look();
  return come;
}

void Executor::look() noexcept {
  count(vitals.beat);
  if (vitals.asleep.load(std::memory_order_relaxed)) vitals.asleep.store(false, std::memory_order_release);
  const bool asked =
      attention_.load(std::memory_order_relaxed) && attention_.exchange(false, std::memory_order_acq_rel);
  if (journaled) [[unlikely]] {
    if (!journal_->decide(io::Journal::Decision::looks, asked)) return;
    attend_outside();
  } else if (!asked) {
    return;
  }
  if (scheduler_.stop_is_requested()) stop.set();
  scheduler_.pass_on(*this);
  attend_emergency();
  take_commands();
  if (snapshot_wanted_.exchange(false, std::memory_order_acq_rel)) publish_snapshot();
  for (NodeRecord* record : nodes) record->climb_ladder();
}

void Executor::take_commands() noexcept {
  std::vector<std::function<void()>> commands;
  {
    const std::lock_guard lock(mutex_);
    commands.swap(commands_);
  }
  for (const auto& command : commands) command();
}

std::string Executor::time_shares() const {
  if (!is_here() || !io::System::here().has_threads()) return {};
  const ThreadTimes now = ThreadTimes::now();
  const double wall = static_cast<double>(std::max<std::int64_t>(now.wall - began_.wall, 1));
  const auto percent = [wall](std::int64_t ns) { return 100 * static_cast<double>(ns) / wall; };
  constexpr std::size_t kColumns = 80;
  std::string text = fmt::format("\n{}: asleep {:.1f} %, in the kernel {:.1f} %, running {:.1f} %\n",
                                 name_.empty() ? "the scheduler's thread" : "executor " + name_,
                                 percent(now.asleep - began_.asleep), percent(now.kernel - began_.kernel),
                                 percent(now.user - began_.user));
  std::string line = "  of that in ticks:";
  for (const NodeRecord* record : nodes) {
    const Histogram& execution = record->statistics().execution;
    const double share = 100 * execution.mean() * static_cast<double>(execution.count()) / wall;
    if (share < 0.05) continue;
    const std::string more = fmt::format(" {} {:.1f} %", record->node_name(), share);
    if (line.size() + more.size() > kColumns) {
      text += line + "\n";
      line = "   ";
    }
    line += more;
  }
  return text + line + "\n";
}

// --- Releasing --------------------------------------------------------------------------------------------------------

void Executor::take_nodes() {
  std::vector<NodeStatistics*> accounts;
  accounts.reserve(nodes.size());
  for (NodeRecord* record : nodes) {
    record->slot = static_cast<std::uint32_t>(accounts.size());
    accounts.push_back(&record->account());
  }
  ticks.serve(std::move(accounts));
  order_ = nodes;
  std::sort(order_.begin(), order_.end(), by_priority);
  ticking_.reserve(nodes.size());
}

void Executor::push_release(NodeRecord& node, std::uint32_t rank) {
  releases_.push_back({node.next_release(), &node, rank});
  std::push_heap(releases_.begin(), releases_.end(), later);
}

void Executor::release_due(std::int64_t now) {
  due_.clear();
  while (!releases_.empty() && releases_.front().at_ns <= now) {
    std::pop_heap(releases_.begin(), releases_.end(), later);
    due_.push_back(releases_.back());
    releases_.pop_back();
  }
  if (scheduler_.config().policy == Policy::edf) {
    std::sort(due_.begin(), due_.end(),
              [](const Release& a, const Release& b) { return by_deadline(a.node, b.node); });
  } else {
    std::sort(due_.begin(), due_.end(), [](const Release& a, const Release& b) { return a.rank < b.rank; });
  }
  for (std::size_t i = 0; i < due_.size(); ++i) {
    if (i + 2 < due_.size()) due_[i + 2].node->fetch();
    if (i + 1 < due_.size()) due_[i + 1].node->fetch_node();
    NodeRecord* const record = due_[i].node;
    const std::int64_t grid_point = record->advance_grid(now);
    if (journaled) [[unlikely]]
      attend_outside();
    if (!scheduler_.stop_is_requested()) now = record->offer(grid_point, now);
    push_release(*record, due_[i].rank);
  }
  if (!releases_.empty()) vitals.due_ns.store(releases_.front().at_ns, std::memory_order_relaxed);
}

Task<> Executor::release_loop() {
  const std::int64_t start = now_ns();
  std::vector<NodeRecord*> order = nodes;
  const bool by_rates = scheduler_.config().policy == Policy::rate_monotonic;
  std::sort(order.begin(), order.end(), by_rates ? by_rate : by_priority);
  releases_.clear();
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    if (!order[rank]->periodic()) continue;
    order[rank]->start_grid(start);
    push_release(*order[rank], static_cast<std::uint32_t>(rank));
  }
  while (!releases_.empty()) {
    // Also when it has come already: an overloaded loop must still see its timers, its completions and a stop.
    co_await sleep_until(TimePoint(Duration(releases_.front().at_ns)));
    release_due(now_ns());
    co_await yield();
  }
}

// An event-driven node: again as soon as it has ended, through the ready list. One that fails is tried again after a
// pause that doubles up to a second, or a dead peer would keep the processor busy.
Task<> Executor::event_loop(NodeRecord& record) {
  int unsuspended = 0;
  while (true) {
    if (record.held()) record.runnable.reset();
    co_await record.runnable.wait();
    if (record.held()) continue;
    const std::int64_t rest = record.rest(now_ns());
    if (rest == kNever) {  // until its circuit is reset or it has been restarted
      record.runnable.reset();
      continue;
    }
    if (rest > 0) {
      co_await sleep(Duration(rest));
      if (record.state() != NodeState::running || record.held()) continue;
    }
    if (journaled) [[unlikely]]
      attend_outside();
    if (scheduler_.stop_is_requested()) co_return;
    const std::int64_t now = now_ns();
    record.offer(now, now);
    if (record.in_flight()) {
      unsuspended = 0;
      co_await record.ended.wait();
    } else {
      if (++unsuspended == kUnsuspendedTicks && record.logs()) {
        log_warning(
            fmt::format("{}: {} ticks in a row awaited nothing; give the node a rate, or await its input",
                        record.node_name(), kUnsuspendedTicks));
      }
      co_await sleep(Duration::zero());  // rather than a yield: the loop turns, and a stop is heard
    }
  }
}

// Those that have started wait for one whose init() blocks; their drives may be on.
void Executor::watch_despite_start(std::int64_t now) noexcept {
  for (NodeRecord* record : nodes) {
    if (record->state() != NodeState::running) continue;
    std::int64_t not_yet = 0;
    record->vitals.fed_ns.compare_exchange_strong(not_yet, now, std::memory_order_relaxed);
  }
}

void Executor::begin_watching(std::int64_t now) noexcept {
  watches_.store(true, std::memory_order_relaxed);
  for (NodeRecord* record : nodes) {
    record->vitals.fed_ns.store(0, std::memory_order_relaxed);
    record->update_clock(now);
  }
}

Task<> Executor::end_releases() {
  vitals.due_ns.store(kNever, std::memory_order_relaxed);
  scope_.cancel();
  co_await scope_.join();
  scope_.reset();
}

Task<> Executor::release() {
  vitals.phase.store(Phase::running, std::memory_order_relaxed);
  begin_watching(now_ns());
  publish_snapshot();
  for (NodeRecord* record : nodes) {
    if (!record->periodic())
      static_cast<void>(scope_.spawn(event_loop(*record), record->node_name() + " loop"));
  }
  // Last: the grid begins when every event-driven node has started its first tick.
  static_cast<void>(scope_.spawn(release_loop(), "releases"));
  try {
    co_await stop.wait();
  } catch (const Error&) {
    // The task that runs us was asked to stop: the same as stop().
  }
  auto joining = end_releases();
  co_await shield(std::move(joining));
  releases_.clear();
}

Task<> Executor::release_once() {
  const std::int64_t grid = now_ns();
  std::int64_t now = grid;
  ticking_.clear();
  for (std::size_t i = 0; i < order_.size(); ++i) {
    if (i + 2 < order_.size()) order_[i + 2]->fetch();
    if (i + 1 < order_.size()) order_[i + 1]->fetch_node();
    now = order_[i]->offer(grid, now);
    if (order_[i]->in_flight()) ticking_.push_back(order_[i]);
  }
  for (NodeRecord* record : ticking_) co_await record->ended.wait();
}

}  // namespace horus::HORUS_ABI::detail
