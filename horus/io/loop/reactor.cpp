// SPDX-License-Identifier: Apache-2.0
// The loop, in the order it runs: posts, timers, ready coroutines, submit and wait, completions.
#include <horus/io/reactor.hpp>

#include <cerrno>
#include <csignal>
#include <mutex>

#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/counter.hpp>
#include <horus/base/log.hpp>
#include <horus/io/base/owner_thread.hpp>
#include <horus/io/base/turn.hpp>
#include <horus/io/dump_all.hpp>
#include <horus/io/loop/closer.hpp>
#include <horus/io/loop/embedding.hpp>
#include <horus/io/replay/environment.hpp>
#include <horus/io/replay/journal.hpp>
#include <horus/task/blocking_join.hpp>
#include <horus/task/log_clock.hpp>

namespace horus::HORUS_ABI::io {

constinit thread_local Turn current_turn;

// --- Set-up -----------------------------------------------------------------------------------------------------------

namespace {

// Scopes hold lines of the log back by the time of whatever world their thread is in.
[[maybe_unused]] const bool log_clock_is_set = (horus::detail::set_log_clock(&horus::now_ns), true);

constexpr unsigned kLookForStragglers_us = 100;
constexpr Duration kLastCompletions = std::chrono::milliseconds(100);  // of a drain whose time is up
constexpr int kEmbeddedTurns = 4;  // within one run_once(), before the other loop has its turn
constexpr std::int64_t kJoiningTurn_ns = 1'000'000;
constexpr int kJoiningTurns = 100'000;  // where time does not pass by itself

// What somebody may still use is leaked on purpose. It stays reachable, so that a leak checker finds only the others.
template <class T>
void keep_for_ever(std::unique_ptr<T> object) {
  static std::mutex mutex;
  static auto* const kept = new std::vector<void*>;
  const std::lock_guard lock(mutex);
  kept->push_back(object.release());
}

bool is_power_of_two(std::uint64_t n) { return n != 0 && (n & (n - 1)) == 0; }

const ReactorConfig& checked(const ReactorConfig& config) {
  if (!is_power_of_two(config.submission_entries) || config.submission_entries > 4096) {
    throw Error(EINVAL, "ReactorConfig", "submission_entries must be a power of two up to 4096");
  }
  if (!is_power_of_two(config.completion_entries) || config.completion_entries < config.submission_entries ||
      config.completion_entries < 2) {
    throw Error(EINVAL, "ReactorConfig",
                "completion_entries must be a power of two, at least 2 and at least submission_entries");
  }
  if (!is_power_of_two(config.mailbox_entries) || config.mailbox_entries < 2) {
    throw Error(EINVAL, "ReactorConfig", "mailbox_entries must be a power of two, at least 2");
  }
  if (config.max_in_flight == 0) throw Error(EINVAL, "ReactorConfig", "max_in_flight must be at least 1");
  if (config.resume_budget == 0) throw Error(EINVAL, "ReactorConfig", "resume_budget must be at least 1");
  return config;
}

// A maker may have forgotten a part.
Backend complete(Backend backend) {
  const char* const missing = backend.ring == nullptr     ? "Ring"
                              : backend.clock == nullptr  ? "Clock"
                              : backend.system == nullptr ? "System"
                                                          : nullptr;
  if (missing != nullptr)
    throw Error(EINVAL, "make a reactor", fmt::format("(its backend has no {})", missing));
  return backend;
}

}  // namespace

Reactor::Reactor(const ReactorConfig& config)
    : Reactor(make_exact_backend(checked(config)).or_throw(), config) {}

Reactor::Reactor(Backend backend, const ReactorConfig& config)
    : config_(checked(config)),
      backend_(complete(std::move(backend))),
      ring_(backend_.ring.get()),
      clock_(backend_.clock.get()),
      system_(backend_.system.get()),
      journal_(backend_.journal),
      nature_(clock_->nature()),
      rings_(ring_->rings()),
      sq_tail_(*rings_.sq_tail),
      sq_mask_(rings_.sq_entries - 1),
      cq_mask_(rings_.cq_entries - 1),
      // Not the size of the completion ring: thousands of idle receives are in flight without completing, and what
      // completes at once beyond the ring the kernel keeps.
      in_flight_limit_(config.max_in_flight),
      timers_(clock_->now_ns()),
      mailbox_(config.mailbox_entries),
      arrivals_(std::make_unique<Arrivals>()),
      asleep_(arrivals_->asleep_),
      generation_(detail::process_generation()),
      owner_(detail::thread_number()),
      previous_reactor_(std::exchange(horus::detail::thread_state.reactor, this)),
      previous_ready_(std::exchange(horus::detail::thread_state.ready, &ready_)),
      previous_roots_(std::exchange(horus::detail::thread_state.roots, &roots_)) {
  static const int once = [] {
    detail::count_forks();
    horus::detail::set_blocking_join(&Reactor::join_blocking);
    // Writing to a pipe or socket whose reader is gone, and beyond the largest size of a file (RLIMIT_FSIZE), is an error
    // value here, not the end of the process. A handler that the host program has set stays.
    for (const int number : {SIGPIPE, SIGXFSZ}) {
      struct sigaction action{};
      if (::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_DFL)
        ::signal(number, SIG_IGN);
    }
    return 0;
  }();
  static_cast<void>(once);
  closer_ = std::make_unique<Closer>(*this);
  wake_.reactor = this;
  wake_.complete = [](CompletionHandler& handler, std::int32_t, std::uint32_t) noexcept {
    auto& wake = static_cast<WakeHandler&>(handler);
    wake.armed = false;
    wake.reactor->asleep_.store(false, std::memory_order_relaxed);
    if (wake.reactor->embedding_) wake.reactor->clear_wake();
  };
  if (config_.timer_slack_ns != 0) {
    previous_slack_ns_ = ::prctl(PR_GET_TIMERSLACK);
    ::prctl(PR_SET_TIMERSLACK, config_.timer_slack_ns);
  }
  // Blocking: the ring would complete a read of a non-blocking descriptor at once.
  wake_fd_ = system_->event_fd(0, 0);
  if (wake_fd_ < 0) {
    const int code = -wake_fd_;
    leave_thread();
    throw Error(code, "eventfd");
  }
  arrivals_->system_ = backend_.system;
  arrivals_->bell_ = wake_fd_;
  arrivals_->ring_ = backend_.ring;
  arrivals_->journal_ = journal_;
  arrivals_->generation_ = generation_;
  if (system_->has_threads()) detail::list_reactor(*this);
}

// The thread goes on with the reactor before this one. One made since (`reactor = std::make_unique<Reactor>()`) stays
// current, and must not come back to this one at its own end.
void Reactor::leave_thread() noexcept {
  auto& state = horus::detail::thread_state;
  if (state.reactor == this) {
    state.reactor = previous_reactor_;
    state.ready = previous_ready_;
    state.roots = previous_roots_;
    return;
  }
  for (Reactor* later = state.reactor; later != nullptr; later = later->previous_reactor_) {
    if (later->previous_reactor_ != this) continue;
    later->previous_reactor_ = previous_reactor_;
    later->previous_ready_ = previous_ready_;
    later->previous_roots_ = previous_roots_;
    return;
  }
}

Reactor::~Reactor() {
  const bool ours = generation_ == detail::process_generation();
  if (ours) {
    check_owner();
    {
      const CurrentReactor here(this);  // a later one of the thread may be current
      if (waker_) waker_->detach();  // what was handed over before runs in the drain, nothing comes after it
      drain();
    }
    detail::unlist_reactor(*this);
    if (previous_slack_ns_ > 0) ::prctl(PR_SET_TIMERSLACK, static_cast<unsigned long>(previous_slack_ns_));
    leave_thread();
  } else {
    // A child of fork(): what runs and waits is the parent's; this copy of it can neither go on nor end.
    keep_for_ever(std::move(background_));
    while (timers_.pop_due(kNever) != nullptr) {
    }
  }
  while (stopping_calls_.load(std::memory_order_acquire) != 0) ::sched_yield();
  if (backend_leaked_ && system_->has_threads()) {
    // Whoever is still at work for it finds it as it was.
    keep_for_ever(std::move(arrivals_));
    keep_for_ever(std::make_unique<Backend>(std::move(backend_)));
    return;
  }
  if (wake_fd_ >= 0) static_cast<void>(ring_->close_descriptor(wake_fd_));
}

void Reactor::check_owner() const noexcept {
  if (owner_ == horus::detail::thread_state.number) [[likely]]
    return;
  HORUS_ASSERT(generation_ == detail::process_generation(),
               "this reactor belongs to the parent process; make a new one after fork()");
  HORUS_ASSERT(false, "a reactor may only be used by the thread that made it");
}

// For a scope that dies while its tasks run, because an exception passes it: turns within the turn that resumed it.
bool Reactor::join_blocking(bool (*ended)(const void*) noexcept, const void* what) noexcept {
  Reactor* reactor = current();
  if (reactor == nullptr || reactor->owner_ != horus::detail::thread_state.number) return ended(what);
  const std::int64_t limit = saturating_add(reactor->now_ns(), reactor->config_.drain_limit.count());
  for (int turns = 0; !ended(what) && reactor->now_ns() < limit && turns < kJoiningTurns; ++turns)
    reactor->turn(std::min(limit, saturating_add(reactor->now_ns(), kJoiningTurn_ns)));
  return ended(what);
}

// What awaits goes to the thread's current reactor: another one would wait for ever.
void Reactor::check_current() const noexcept {
  check_owner();
  HORUS_ASSERT(
      current() == this,
      "this thread has made another reactor since, and only the last one runs (is there one too many?)");
}

// --- Running ----------------------------------------------------------------------------------------------------------

void Reactor::run() {
  while (!stop_is_news()) {
    check_current();
    take_posts();
    expire_timers();
    resume_ready();
    submit_and_wait(kNever);
  }
  end_run();
}

// A turn waits in the call that submits what the resumed coroutines asked for: one enter per turn.
void Reactor::drive(Chain& root, bool (*ended)(const Chain&) noexcept) noexcept {
  while (!ended(root)) {
    check_current();  // each time: a coroutine may have forked
    if (stop_is_news()) {
      stop_passed_on_ = true;
      root.request_stop();
    }
    take_posts();
    expire_timers();
    resume_ready();
    submit_and_wait(ended(root) ? 0 : kNever);
  }
  end_run();
}

void Reactor::end_run() noexcept {
  stop_passed_on_ = false;
  woke_at_ns_ = 0;
  stop_.store(false, std::memory_order_relaxed);
  if (embedding_) rearm_embedding();
}

std::size_t Reactor::run_once(Duration timeout) {
  check_owner();
  std::int64_t deadline = 0;
  if (timeout > Duration::zero()) deadline = saturating_add(now_ns(), timeout.count());
  if (!embedding_) return turn(deadline);
  // What woke the other loop is taken and resumed in this call, and so is what completes at once.
  asleep_.store(false, std::memory_order_relaxed);
  clear_wake();
  enter(0, 0);
  reap();
  std::size_t resumed = turn(deadline);
  for (int i = 0; i < kEmbeddedTurns && !ready_.empty(); ++i) resumed += turn(0);
  rearm_embedding();
  return resumed;
}

Scope& Reactor::background() {
  check_current();
  if (!background_) background_ = std::make_unique<Scope>("task", Failures::log);
  wake_embedding();
  return *background_;
}

void Reactor::stop() noexcept {
  // Whoever sees the flag may destroy the reactor before this call has ended: the destructor waits for it.
  stopping_calls_.fetch_add(1, std::memory_order_acq_rel);
  stop_.store(true, std::memory_order_seq_cst);
  // Unconditionally: a signal handler may run between the loop's last look at the flag and its sleep.
  signal_wake();
  stopping_calls_.fetch_sub(1, std::memory_order_acq_rel);
}

// For callers who look at something of their own after each turn: a turn that has done anything does not wait.
std::size_t Reactor::turn(std::int64_t deadline_ns) noexcept {
  check_current();
  woke_at_ns_ = 0;  // whatever the caller did since took its time
  const bool posted = take_posts();
  const bool expired = expire_timers();
  const std::size_t resumed = resume_ready();
  submit_and_wait(posted || expired || resumed > 0 ? 0 : deadline_ns);
  return resumed;
}

bool Reactor::take_posts() noexcept {
  std::uint32_t taken = 0;
  if (!lookouts_.empty()) look_out();  // first: it tells those who watch the loop that it turns
  if (journal_ != nullptr) [[unlikely]]
    return take_posts_with_journal();
  if (!mailbox_.empty()) {
    Work work;
    while (taken < config_.resume_budget && mailbox_.try_pop(work)) {
      ++taken;
      work();
      work = Work();
    }
    horus::detail::count(counters_.posts, taken);
  }
  RemoteWork* back = arrivals_->list_.take();
  const bool some = taken > 0 || back != nullptr;
  if (some) woke_at_ns_ = 0;  // they may take their time
  while (back != nullptr) {
    RemoteWork* following = back->next_remote;
    back->complete(*back);
    back = following;
  }
  return some;
}

// The same in the order of a journal: what a recording notes, a replay waits for, or has run here.
bool Reactor::take_posts_with_journal() noexcept {
  Journal& journal = *journal_;
  const bool replays = journal.replays();
  std::uint32_t taken = 0;
  for (Work work; taken < config_.resume_budget && (!replays || journal.expects_post()); ++taken) {
    while (!mailbox_.try_pop(work)) {
      if (!replays) break;
      journal.wait_for_thread("a posted closure runs");
    }
    if (!work) break;
    if (!replays) journal.takes_post();
    work();
    work = Work();
  }
  horus::detail::count(counters_.posts, taken);
  bool some = taken > 0;
  RemoteWork* back = replays ? journal.next_arrival() : arrivals_->list_.take();
  while (back != nullptr) {
    some = true;
    RemoteWork* const following = back->next_remote;
    if (!replays) journal.takes(*back);
    back->complete(*back);
    back = replays ? journal.next_arrival() : following;
  }
  if (some) woke_at_ns_ = 0;
  return some;
}

bool Reactor::has_posts() noexcept {
  const bool come = !mailbox_.empty() || !arrivals_->list_.empty();
  return journal_ == nullptr ? come : journal_->decide(Journal::Decision::has_posts, come);
}

bool Reactor::stop_by_journal(bool news) noexcept {
  const bool decided = journal_->decide(Journal::Decision::stops, news);
  if (decided) stop_.store(true, std::memory_order_relaxed);
  return decided;
}

void Reactor::look_out() noexcept {
  lookouts_.for_each([](Lookout& lookout) { lookout.look(); });
}

bool Reactor::expire_timers() noexcept {
  const std::int64_t known = std::exchange(woke_at_ns_, 0);
  if (timers_.size() == 0) return false;
  const std::int64_t now = known != 0 ? known : now_ns();
  std::uint64_t expired = 0;
  while (TimerEntry* entry = timers_.pop_due(now)) {
    ++expired;
    auto& timer = static_cast<Timer&>(*entry);
    timer.expired(timer);
  }
  if (expired > 0) horus::detail::count(counters_.timers, expired);
  return expired > 0;
}

// In a simulated world chance decides who of those that are ready at the same time goes first: nothing may depend on it.
std::size_t Reactor::mix_ready() noexcept {
  Ready* const first = ready_.pop();
  if (first == nullptr) return 0;
  Ready* next = ready_.pop();
  if (next == nullptr) {  // mostly: nothing to choose from
    ready_.push(*first);
    return 1;
  }
  std::vector<Ready*> all{first};
  for (; next != nullptr; next = ready_.pop()) all.push_back(next);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::uint64_t chosen = clock_->choose(all.size() - i);
    std::swap(all[i], all[i + static_cast<std::size_t>(chosen)]);
    ready_.push(*all[i]);
  }
  return all.size();
}

std::size_t Reactor::resume_ready() noexcept {
  std::size_t resumed = 0;
  std::size_t mixed = 0;  // how many of the first have been
  while (resumed < config_.resume_budget) {
    if (nature_.mixes_ready && mixed-- == 0) [[unlikely]] {
      mixed = mix_ready();
      if (mixed-- == 0) break;
    }
    Ready* next = ready_.pop();
    if (next == nullptr) break;
    ++resumed;
    const Chain* chain = next->promise != nullptr ? next->promise->chain : nullptr;
    if (journal_ != nullptr) [[unlikely]]
      journal_->runs(chain, next->promise);
    if (ExecutionAccount* account = chain != nullptr ? chain->execution_account() : nullptr) {
      const std::int64_t start = now_ns();
      horus::detail::thread_state.running_since_ns = start;
      account->resumed(*chain, start);
      next->handle.resume();
      const std::int64_t end = now_ns();
      Chain::end_stretch(end);
      account->ran(start, end);
    } else {
      next->handle.resume();
    }
  }
  if (journal_ != nullptr) [[unlikely]]
    journal_->runs(nullptr, nullptr);
  ++current_turn.number;
  horus::detail::count(counters_.resumes, resumed);
  if (!migrations_.empty()) [[unlikely]]
    hand_over_migrations();
  return resumed;
}

void Reactor::hand_over_migrations() noexcept {
  auto leaving = std::move(migrations_);
  migrations_.clear();
  for (const Migration& migration : leaving) {
    Chain* chain = migration.chain;
    const bool listed = chain != nullptr && chain->ListHook<RootTag>::linked();
    if (listed) chain->ListHook<RootTag>::unlink();
    Ready* coroutine = migration.coroutine;
    const bool posted = migration.target->post([coroutine, chain, listed] {
      if (listed) horus::detail::list_root(*chain);
      horus::detail::thread_state.ready->push(*coroutine);
    });
    if (!posted) {  // its mailbox is full: again on the next turn
      if (listed) horus::detail::list_root(*chain);
      migrations_.push_back(migration);
    }
  }
}

// --- The end -----------------------------------------------------------------------------------------------------------

// What spawn() started and nobody waited for.
void Reactor::end_background(std::int64_t limit) noexcept {
  stop_.store(false, std::memory_order_relaxed);
  background_->cancel();
  while (background_->running() > 0 && now_ns() < limit) turn(limit);
  if (background_->running() == 0) return;
  log_error(fmt::format(
      "reactor: {} spawned tasks did not end within {} ms of being asked to; they are leaked:\n{}",
      background_->running(), config_.drain_limit.count() / 1'000'000, dump_tasks()));
  keep_for_ever(std::move(background_));
}

// Who still waits here has an owner that outlives the reactor, and nobody else asks it to stop: the body of a stream that
// was made before. A consumer that stops leaves its stream's body to be asked next.
void Reactor::end_what_waits(std::int64_t limit) noexcept {
  const auto asks_somebody = [this] {
    bool asked = false;
    roots_.for_each([&asked](Chain& chain) {
      asked = asked || !chain.stop_requested();
      chain.request_stop();
    });
    return asked;
  };
  for (int turns = 0; (asks_somebody() || !ready_.empty()) && turns < kJoiningTurns && now_ns() < limit;
       ++turns)
    resume_ready();
}

// Everything else that runs has ended by structure; what remains are closes, multishots and the wake-up.
void Reactor::drain() noexcept {
  // Whoever posted may wait for an answer, and what was handed over owns what it carries.
  const auto take_all = [this] {
    while (has_posts()) take_posts();
  };
  std::int64_t limit = saturating_add(now_ns(), config_.drain_limit.count());
  take_all();
  resume_ready();
  bool leaked = background_ != nullptr;
  if (leaked) end_background(limit);
  leaked = leaked && background_ == nullptr;
  end_what_waits(limit);
  take_all();
  // What can end at once gets the time for it, however long the tasks took.
  limit = std::max(limit, saturating_add(now_ns(), std::min(config_.drain_limit, kLastCompletions).count()));
  bool asked = false;
  while (in_flight_ > 0 || sq_tail_ != *rings_.sq_tail || !queued_.empty() || closing_) {
    if (closing_) closing_ = closer_->turn();
    if (!asked) {
      // Closes are not cancelled: let the ones that are under way finish first.
      enter(0, 0);
      reap();
      refill();
      io_uring_sqe& entry = urgent_entry();
      fill::cancel_all(entry);
      entry.user_data = static_cast<std::uint64_t>(Tag::ignore);
      asked = true;
    }
    enter(in_flight_ > 0 ? 1 : 0, std::min(limit, saturating_add(now_ns(), 50'000'000)));
    reap();
    resume_ready();
    if (!queued_.empty()) refill();
    if (in_flight_ > 0 && now_ns() >= limit) {
      log_error(fmt::format(
          "reactor: {} operations did not end within {} ms; their memory is leaked on purpose:\n{}",
          in_flight_, config_.drain_limit.count() / 1'000'000, dump_tasks()));
      backend_leaked_ = true;
      break;
    }
  }
  // Timers of tasks that are never resumed.
  while ((leaked || backend_leaked_) && timers_.pop_due(kNever) != nullptr) {
  }
  if (timers_.size() > 0) {
    log_error(
        fmt::format("reactor: it ends while {} timers are set, and nobody could be asked to stop waiting for "
                    "them; let whoever waits end before the reactor (co_await scope.join(), co_await "
                    "stream.close()):\n{}",
                    timers_.size(), dump_tasks()));
  }
  // Work on other threads touches its way home a last time after it has come back; a call that hangs keeps it.
  const std::int64_t patience = monotonic_ns() + std::max<std::int64_t>(limit - now_ns(), 0);
  while (arrivals_->list_.away() != 0 && monotonic_ns() < patience) ::usleep(kLookForStragglers_us);
  if (arrivals_->list_.away() == 0) return;
  log_error(
      fmt::format("reactor: {} calls on other threads did not end within {} ms; what they use is leaked",
                  arrivals_->list_.away(), config_.drain_limit.count() / 1'000'000));
  backend_leaked_ = true;
}

}  // namespace horus::HORUS_ABI::io
