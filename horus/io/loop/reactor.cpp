// SPDX-License-Identifier: Apache-2.0
// The loop, in the order it runs: posts, timers, ready coroutines, submit and wait, completions.
#include <horus/io/reactor.hpp>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <string_view>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/counter.hpp>
#include <horus/base/log.hpp>
#include <horus/base/pause_cpu.hpp>
#include <horus/io/dump_all.hpp>
#include <horus/io/loop/closer.hpp>
#include <horus/io/loop/embedding.hpp>
#include <horus/io/loop/turn.hpp>
#include <horus/io/seam/buffer_watch.hpp>
#include <horus/task/blocking_join.hpp>
#include <horus/task/log_clock.hpp>

namespace horus::io {

constinit thread_local Turn current_turn;

// --- Set-up -----------------------------------------------------------------------------------------------------------

namespace {

std::atomic<std::uint64_t> process_generation{0};

// The rings are memory shared with the parent: a child that touched them would submit in the parent's name.
void poison_after_fork() noexcept {
  process_generation.fetch_add(1, std::memory_order_relaxed);
  horus::detail::thread_state.reactor = nullptr;
  horus::detail::thread_state.ready = nullptr;
  horus::detail::thread_state.roots = nullptr;
  horus::detail::thread_state.number = 0;
}

// Scopes hold lines of the log back by the time of whatever world their thread is in.
[[maybe_unused]] const bool log_clock_is_set = (horus::detail::set_log_clock(&horus::now_ns), true);

std::uint64_t thread_number() noexcept {
  static std::atomic<std::uint64_t> next{1};
  std::uint64_t& number = horus::detail::thread_state.number;
  if (number == 0) number = next.fetch_add(1, std::memory_order_relaxed);
  return number;
}

constexpr unsigned kLookForStragglers_us = 100;
// Calls of the backend that fail one after the other: so many are not worth a word, and then each is followed by a rest.
constexpr std::uint32_t kFailuresBeforeRest = 8;
constexpr std::int64_t kFailureRest_ns = 1'000'000;
constexpr std::int64_t kFailureTellEvery_ns = 1'000'000'000;
constexpr Duration kLastCompletions = std::chrono::milliseconds(100);  // of a drain whose time is up
constexpr int kUrgentAttempts = 100;    // with a rest of kFailureRest_ns between them
constexpr int kLooksPerClock = 4;       // within the busy-poll window
constexpr int kEmbeddedTurns = 4;       // within one run_once(), before the other loop has its turn
constexpr int kJoiningTurns = 100'000;  // where time does not pass by itself

// What somebody may still use is leaked on purpose. It stays reachable, so that a leak checker finds only the others.
template <class T>
void keep_for_ever(std::unique_ptr<T> object) {
  static std::mutex mutex;
  static auto* const kept = new std::vector<void*>;
  const std::lock_guard lock(mutex);
  kept->push_back(object.release());
}

void rest_for(std::int64_t duration_ns) noexcept {
  const timespec span{0, duration_ns};
  ::nanosleep(&span, nullptr);
}

BackendChoice choice_of(const ReactorConfig& config) {
  if (config.backend != BackendChoice::automatic) return config.backend;
  const char* wish = std::getenv("HORUS_IO");
  const std::string_view word = wish == nullptr ? "" : wish;
  if (word.empty() || word == "auto") return BackendChoice::automatic;
  if (word == "uring") return BackendChoice::uring;
  if (word == "epoll") return BackendChoice::epoll;
  throw Error(EINVAL, "HORUS_IO", fmt::format("\"{}\" (use uring, epoll or auto)", word));
}

std::atomic<BackendMaker> backend_maker{nullptr};

Backend make_backend(const ReactorConfig& config) {
  if (const BackendMaker maker = backend_maker.load(std::memory_order_acquire);
      maker != nullptr && config.backend == BackendChoice::automatic) {
    return maker(config).or_throw();
  }
  const BackendChoice choice = choice_of(config);
  if (choice != BackendChoice::epoll) {
#ifdef HORUS_WITH_URING
    auto uring = make_uring_backend(config);
    if (uring) return *std::move(uring);
    const std::string why = explain_uring_failure(uring.code());
    if (choice == BackendChoice::uring) throw Error(uring.code(), "io_uring_setup", "(required): " + why);
    static std::once_flag told;
    std::call_once(told, [&] { log_warning("io_uring is not available, using epoll: " + why); });
#else
    if (choice == BackendChoice::uring)
      throw Error(ENOSYS, "io_uring_setup", "(this build has no io_uring backend)");
#endif
  }
  return make_epoll_backend(config).or_throw();
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

}  // namespace

BackendMaker set_backend_maker(BackendMaker maker) noexcept {
  return backend_maker.exchange(maker, std::memory_order_acq_rel);
}

Reactor::Reactor(const ReactorConfig& config) : Reactor(make_backend(checked(config)), config) {}

Reactor::Reactor(Backend backend, const ReactorConfig& config)
    : config_(checked(config)),
      backend_(std::move(backend)),
      ring_(backend_.ring.get()),
      clock_(backend_.clock.get()),
      system_(backend_.system.get()),
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
      generation_(process_generation.load(std::memory_order_relaxed)),
      owner_(thread_number()),
      previous_reactor_(std::exchange(horus::detail::thread_state.reactor, this)),
      previous_ready_(std::exchange(horus::detail::thread_state.ready, &ready_)),
      previous_roots_(std::exchange(horus::detail::thread_state.roots, &roots_)) {
  static const int once = [] {
    ::pthread_atfork(nullptr, nullptr, &poison_after_fork);
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
  const bool ours = generation_ == process_generation.load(std::memory_order_relaxed);
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
  HORUS_ASSERT(generation_ == process_generation.load(std::memory_order_relaxed),
               "this reactor belongs to the parent process; make a new one after fork()");
  HORUS_ASSERT(false, "a reactor may only be used by the thread that made it");
}

// For a scope that dies while its tasks run, because an exception passes it: turns within the turn that resumed it.
bool Reactor::join_blocking(bool (*ended)(const void*) noexcept, const void* what) noexcept {
  Reactor* reactor = current();
  if (reactor == nullptr || reactor->owner_ != horus::detail::thread_state.number) return ended(what);
  const std::int64_t limit = saturating_add(reactor->now_ns(), reactor->config_.drain_limit.count());
  for (int turns = 0; !ended(what) && reactor->now_ns() < limit && turns < kJoiningTurns; ++turns)
    reactor->turn(std::min(limit, saturating_add(reactor->now_ns(), kFailureRest_ns)));
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
  while (!stopping()) {
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

void Reactor::look_out() noexcept {
  lookouts_.for_each([](Lookout& lookout) { lookout.look(); });
}

const std::shared_ptr<Waker>& Reactor::waker() {
  if (!waker_) waker_ = std::make_shared<Waker>(*this);
  return waker_;
}

void Waker::wake() noexcept {
  const std::lock_guard lock(mutex_);
  if (reactor_ != nullptr) reactor_->arrivals_->wake_if_asleep();
}

bool Waker::post(Work work) {
  const std::lock_guard lock(mutex_);
  return reactor_ != nullptr && reactor_->post_work(std::move(work));
}

bool Waker::send(RemoteWork& work) noexcept {
  const std::lock_guard lock(mutex_);
  if (reactor_ == nullptr) return false;
  reactor_->arrivals_->expect();
  reactor_->arrivals_->complete(work);
  return true;
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

// --- Submit, wait, reap -----------------------------------------------------------------------------------------------

// Waits for a completion, a post, stop() or `deadline_ns`, unless there is something to do already.
void Reactor::submit_and_wait(std::int64_t deadline_ns) noexcept {
  if (closing_) [[unlikely]]
    closing_ = closer_->turn();
  if (!queued_.empty()) refill();
  const bool may_wait =
      deadline_ns > 0 && ready_.empty() && !closing_ && migrations_.empty() && !stop_is_news();
  if (!may_wait) {
    enter(0, 0);
    reap();
    return;
  }
  deadline_ns = std::min(deadline_ns, timers_.next_deadline());
  if (deadline_ns <= 0) {  // before the machine's boot: due, and no time that the backend could wait for
    enter(0, 0);
    reap();
    return;
  }
  // Virtual time passes only while everybody sleeps: who spins for it would spin for ever.
  if (config_.busy_poll > Duration::zero() && !nature_.only_asleep) {
    if (poll_until(deadline_ns, config_.busy_poll) || current_turn.clock_ns >= deadline_ns) return;
  }
  const bool spin = config_.timer_spin > Duration::zero() && deadline_ns != kNever && !nature_.only_asleep;
  const std::int64_t wake_at = spin ? deadline_ns - config_.timer_spin.count() : deadline_ns;
  if (!spin || wake_at > now_ns()) sleep_until(wake_at);
  if (spin && ready_.empty()) static_cast<void>(poll_until(deadline_ns, Duration::max()));
}

// The fence pairs with wake_if_asleep(): either the poster sees `asleep_`, or its post is seen here. A signal handler
// that called stop() since the last look has written to the wake descriptor, which is armed.
void Reactor::sleep_until(std::int64_t deadline_ns) noexcept {
  arm_wake();
  asleep_.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!must_stay_awake() && !stop_is_news()) {
    const std::int64_t before = now_ns();
    enter(1, deadline_ns);
    const std::int64_t after = now_ns();
    if (!nature_.through_seam) {  // else this reactor's clock is its own
      current_turn.note_clock(after);
      woke_at_ns_ = after;
    }
    horus::detail::count(counters_.asleep_ns, static_cast<std::uint64_t>(after - before));
  } else {
    enter(0, 0);
  }
  asleep_.store(false, std::memory_order_relaxed);
  reap();
}

// The last look before a sleep, after `asleep_` was set: whoever comes later sees it and signals.
bool Reactor::must_stay_awake() noexcept {
  bool come = !mailbox_.empty() || !arrivals_->list_.empty();
  lookouts_.for_each([&](Lookout& lookout) { come = lookout.before_sleep() || come; });
  return come;
}

// Looks for completions, posts and shared memory without sleeping. True when it found something before `until_ns`, and
// before `window` is over, which begins with its first look at the clock.
bool Reactor::poll_until(std::int64_t until_ns, Duration window) noexcept {
  if (sq_tail_ != *rings_.sq_tail) {
    enter(0, 0);
    reap();
  }
  // A look at the clock takes longer than one at a message; who spins for a timer alone wants the clock.
  int looks = 0;
  bool window_began = false;
  while (ready_.empty() && mailbox_.empty() && arrivals_->list_.empty() && !stop_is_news()) {
    const std::uint32_t flags =
        std::atomic_ref(*const_cast<std::uint32_t*>(rings_.sq_flags)).load(std::memory_order_relaxed);
    const bool completed =
        std::atomic_ref(*rings_.cq_tail).load(std::memory_order_acquire) != *rings_.cq_head;
    if (completed || (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0) {
      enter(0, 0);
      reap();
      if (!ready_.empty()) break;
    } else {
      horus::detail::pause_cpu();
    }
    if (!lookouts_.empty()) {
      look_out();
      if (++looks % kLooksPerClock != 0) continue;
    }
    const std::int64_t now = now_ns();
    current_turn.note_clock(now);
    woke_at_ns_ = now;  // a few looks ago, when something comes
    if (!std::exchange(window_began, true))
      until_ns = std::min(until_ns, saturating_add(now, window.count()));
    if (now >= until_ns) return !ready_.empty();
  }
  return true;
}

int Reactor::enter(std::uint32_t min_complete, std::int64_t deadline_ns) noexcept {
  const std::uint32_t already = *rings_.sq_tail;
  const std::uint32_t fresh = sq_tail_ - already;
#ifdef HORUS_ASAN
  for (std::uint32_t i = already; i != sq_tail_; ++i) detail::watch_buffers_of(rings_.sqes[i & sq_mask_]);
#endif
  std::atomic_ref(*rings_.sq_tail).store(sq_tail_, std::memory_order_release);
  const std::uint32_t to_submit = sq_tail_ - std::atomic_ref(*rings_.sq_head).load(std::memory_order_acquire);
  horus::detail::count(counters_.enters);
  horus::detail::count(counters_.operations, fresh);
  counters_.in_flight.store(in_flight_, std::memory_order_relaxed);
  const int result = ring_->enter(to_submit, min_complete, deadline_ns);
  const std::uint32_t flags =
      std::atomic_ref(*const_cast<std::uint32_t*>(rings_.sq_flags)).load(std::memory_order_relaxed);
  if ((flags & IORING_SQ_CQ_OVERFLOW) != 0) [[unlikely]]
    horus::detail::count(counters_.overflows);
  if (result < 0) [[unlikely]] {
    if (result != -EINTR) enter_failed(result, min_complete > 0 ? deadline_ns : 0);
  } else {
    enter_failures_ = 0;
  }
  return result;
}

// EAGAIN, EBUSY, ENOMEM: nothing is lost; the next turn reaps and calls again. Where that goes on, the loop rests a
// little instead of sleeping in the backend, until `rest_until` at most, and says so.
void Reactor::enter_failed(int result, std::int64_t rest_until) noexcept {
  if (result != -EAGAIN && result != -EBUSY && result != -ENOMEM) {
    HORUS_ASSERT(
        false, fmt::format("io backend {}: enter failed: {}", ring_->name(), describe_code(-result)).c_str());
  }
  if (++enter_failures_ <= kFailuresBeforeRest) return;
  const std::int64_t now = now_ns();
  if (enter_failure_told_ns_ == 0 || now - enter_failure_told_ns_ >= kFailureTellEvery_ns) {
    enter_failure_told_ns_ = now;
    log_warning(
        fmt::format("reactor: the kernel takes no operations (io backend {}, enter: {}, {} times in a row); "
                    "the loop tries again "
                    "every millisecond{}",
                    ring_->name(), describe_code(-result), enter_failures_,
                    result == -ENOMEM ? " (out of memory? see the container's memory limit)" : ""));
  }
  const bool completed = std::atomic_ref(*rings_.cq_tail).load(std::memory_order_acquire) != *rings_.cq_head;
  if (completed || nature_.only_asleep) return;
  const std::int64_t rest = std::min(kFailureRest_ns, rest_until - now);
  if (rest > 0) rest_for(rest);
}

void Reactor::reap() noexcept {
  // A handler that submits into a full ring flushes it, and so comes here again: the completions are this call's.
  if (reaping_) return;
  reaping_ = true;
  take_completions();
  settle_immediates();
  reaping_ = false;
}

void Reactor::take_completions() noexcept {
  std::uint32_t head = *rings_.cq_head;
  const std::uint32_t tail = std::atomic_ref(*rings_.cq_tail).load(std::memory_order_acquire);
  if (head == tail) return;
  horus::detail::count(counters_.completions, tail - head);
  for (; head != tail; ++head) {
    const io_uring_cqe& completion = rings_.cqes[head & cq_mask_];
    const std::uint64_t address = completion.user_data & ~std::uint64_t{7};
#ifdef HORUS_ASAN
    detail::check_buffers_of(completion);
#endif
    switch (static_cast<Tag>(completion.user_data & 7)) {
      case Tag::operation: {
        auto& operation = *reinterpret_cast<Operation*>(address);
        tsan_acquire(&operation);
        // Nothing but a cancellation interrupts an operation, also on the kernel's worker threads.
        operation.result = completion.res == -EINTR ? -ECANCELED : completion.res;
        operation.flags = completion.flags;
        operation.state = Operation::State::done;
        --in_flight_;
        InFlightTable::unlink<Operation>(operation);
        operation.unsuspend();
        ready_.push(operation);
        break;
      }
      case Tag::handler: {
        auto& handler = *reinterpret_cast<CompletionHandler*>(address);
        if ((completion.flags & IORING_CQE_F_MORE) == 0) {
          --in_flight_;
          InFlightTable::unlink(handler);
        }
        handler.complete(handler, completion.res, completion.flags);
        break;
      }
      case Tag::ignore: break;
      case Tag::immediate: {
        auto& handler = *reinterpret_cast<CompletionHandler*>(address);
        for (Immediate& immediate : immediates_) {
          if (immediate.handler == &handler) immediate.handler = nullptr;
        }
        handler.complete(handler, completion.res, completion.flags);
        break;
      }
    }
  }
  std::atomic_ref(*rings_.cq_head).store(head, std::memory_order_release);
}

// Entries of this kind have run when the backend has consumed them; those without a completion have succeeded. While
// completions wait outside the ring, nobody can know.
void Reactor::settle_immediates() noexcept {
  if (immediates_.empty()) return;
  const std::uint32_t flags =
      std::atomic_ref(*const_cast<std::uint32_t*>(rings_.sq_flags)).load(std::memory_order_relaxed);
  if ((flags & IORING_SQ_CQ_OVERFLOW) != 0) return;
  const std::uint32_t consumed = std::atomic_ref(*rings_.sq_head).load(std::memory_order_acquire);
  // A handler that is told may submit the next one: those stand behind `known`, with an entry not yet consumed.
  const std::size_t known = immediates_.size();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < known; ++i) {
    const Immediate immediate = immediates_[i];
    if (immediate.handler == nullptr) continue;
    if (static_cast<std::int32_t>(consumed - immediate.submitted_at) < 0) {
      immediates_[kept++] = immediate;
    } else {
      immediate.handler->complete(*immediate.handler, immediate.on_success, 0);
    }
  }
  immediates_.erase(immediates_.begin() + static_cast<std::ptrdiff_t>(kept),
                    immediates_.begin() + static_cast<std::ptrdiff_t>(known));
}

bool Reactor::flush() noexcept {
  for (int attempt = 0; attempt < 16; ++attempt) {
    const int result = enter(0, 0);
    if (sq_tail_ - std::atomic_ref(*rings_.sq_head).load(std::memory_order_acquire) < rings_.sq_entries)
      return true;
    if (result == -EINTR) continue;
    reap();
  }
  return false;
}

// --- Operations -------------------------------------------------------------------------------------------------------

void Reactor::enqueue(Operation& operation) noexcept {
  if (in_flight_ >= in_flight_limit_ && counters_.queued.load(std::memory_order_relaxed) == 0) {
    log_warning(
        fmt::format("reactor: {} operations are in flight (ReactorConfig::max_in_flight); further ones wait "
                    "until one of them ends",
                    in_flight_));
  }
  operation.state = Operation::State::queued;
  queued_.push_back(operation);
  note<Operation>(operation, operation.fd);
  horus::detail::count(counters_.queued);
}

// Moves operations that had to wait into the ring, oldest first.
void Reactor::refill() noexcept {
  while (in_flight_ < in_flight_limit_) {
    Operation* operation = queued_.front();
    if (operation == nullptr) return;
    io_uring_sqe* entry = next_entry();
    if (entry == nullptr) return;
    queued_.pop_front();
    std::memset(entry, 0, sizeof *entry);
    static_cast<const OperationKind*>(operation->kind)->prepare(*operation, *entry);
    entry->user_data = operation->user_data();
    operation->state = Operation::State::in_flight;
    ++in_flight_;
    tsan_release(operation);
  }
}

// For entries that must not wait behind others: cancellations, closes, the wake-up.
io_uring_sqe& Reactor::urgent_entry() noexcept {
  io_uring_sqe* entry = next_entry();
  for (int attempt = 0; entry == nullptr && attempt < kUrgentAttempts; ++attempt) {
    rest_for(kFailureRest_ns);
    entry = next_entry();
  }
  HORUS_ASSERT(entry != nullptr, "the backend takes no entries any more");
  std::memset(entry, 0, sizeof *entry);
  return *entry;
}

void Reactor::cancel(Operation& operation) noexcept {
  if (operation.state == Operation::State::queued) {
    static_cast<ListHook<QueuedTag>&>(operation).unlink();
    InFlightTable::unlink(operation);
    operation.refuse(-ECANCELED);
    return;
  }
  if (operation.state != Operation::State::in_flight) return;
  io_uring_sqe& entry = urgent_entry();
  fill::cancel(entry, operation.user_data());
  entry.user_data = static_cast<std::uint64_t>(Tag::ignore);
}

void Reactor::cancel_handler(CompletionHandler& handler) noexcept {
  io_uring_sqe& entry = urgent_entry();
  fill::cancel(entry, reinterpret_cast<std::uintptr_t>(&handler) | static_cast<std::uint64_t>(Tag::handler));
  entry.user_data = static_cast<std::uint64_t>(Tag::ignore);
}

// False for a number that no descriptor has: such an entry fails by itself.
bool Reactor::makes_place(int fd) noexcept {
  if (system_->status_flags(fd) < 0) return false;
  named_.grow(fd);
  return true;
}

// What was found is in no list any more: the number does not concern it from now on.
std::size_t Reactor::cancel_on(int fd) noexcept {
  std::size_t count = 0;
  for (; Operation* operation = named_.first<Operation>(fd); ++count) {
    InFlightTable::unlink(*operation);
    cancel(*operation);
  }
  for (; CompletionHandler* handler = named_.first<CompletionHandler>(fd); ++count) {
    InFlightTable::unlink(*handler);
    cancel_handler(*handler);
  }
  return count;
}

bool Reactor::names(int fd) const noexcept {
  if (named_.first<Operation>(fd) != nullptr || named_.first<CompletionHandler>(fd) != nullptr) return true;
  for (std::uint32_t i = std::atomic_ref(*rings_.sq_head).load(std::memory_order_acquire); i != sq_tail_;
       ++i) {
    const io_uring_sqe& entry = rings_.sqes[i & sq_mask_];
    if (entry.fd == fd && (entry.flags & IOSQE_FIXED_FILE) == 0) return true;
  }
  return false;
}

void Reactor::close_later(int fd) noexcept {
  if (fd < 0) return;
  closer_->close(fd);
  wake_embedding();
}

void Operation::cancel(Waiter& waiter) noexcept {
  Reactor* reactor = Reactor::current();
  HORUS_ASSERT(reactor != nullptr, "an operation was cancelled from a thread that runs no reactor");
  reactor->cancel(static_cast<Operation&>(waiter));
}

void Operation::describe(const Waiter& waiter, std::string& line) {
  const auto& operation = static_cast<const Operation&>(waiter);
  if (operation.fd >= 0) fmt::format_to(std::back_inserter(line), " (fd {})", operation.fd);
  if (operation.state == State::queued) line += " (queued: too many operations in flight)";
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

// Everything else that runs has ended by structure; what remains are closes, multishots and the wake-up.
void Reactor::drain() noexcept {
  // Whoever posted may wait for an answer, and what was handed over owns what it carries.
  const auto take_all = [this] {
    while (!mailbox_.empty() || !arrivals_->list_.empty()) take_posts();
  };
  std::int64_t limit = saturating_add(now_ns(), config_.drain_limit.count());
  take_all();
  resume_ready();
  bool leaked = background_ != nullptr;
  if (leaked) end_background(limit);
  leaked = leaked && background_ == nullptr;
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
  // Work on other threads touches its way home a last time after it has come back; a call that hangs keeps it.
  const std::int64_t patience = monotonic_ns() + std::max<std::int64_t>(limit - now_ns(), 0);
  while (arrivals_->list_.away() != 0 && monotonic_ns() < patience) ::usleep(kLookForStragglers_us);
  if (arrivals_->list_.away() == 0) return;
  log_error(
      fmt::format("reactor: {} calls on other threads did not end within {} ms; what they use is leaked",
                  arrivals_->list_.away(), config_.drain_limit.count() / 1'000'000));
  backend_leaked_ = true;
}

// --- Across threads ---------------------------------------------------------------------------------------------------

bool Reactor::post_work(Work work) noexcept {
  if (!mailbox_.try_push(std::move(work))) return false;
  arrivals_->wake_if_asleep();
  return true;
}

// The fence pairs with the one between the loop's `asleep_ = true` and its last look at the mailbox. A completion that says
// nothing ends the sleep: it names no memory, so it may come at any time.
void Arrivals::wake_if_asleep() noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!asleep_.load(std::memory_order_relaxed) || !asleep_.exchange(false, std::memory_order_acquire)) return;
  if (generation_ != process_generation.load(std::memory_order_relaxed)) return;
  if (by_bell_.load(std::memory_order_relaxed) ||
      !ring_->send_completion(static_cast<std::uint64_t>(Tag::ignore)))
    system_->add_to_event(bell_, 1);
}

void Reactor::signal_wake() noexcept { system_->add_to_event(wake_fd_, 1); }

void Reactor::arm_wake() noexcept {
  if (wake_.armed) return;
  wake_.armed = true;
  submit_handler(wake_, [this](io_uring_sqe& entry) {
    if (embedding_) {  // then it is non-blocking, and a read would complete at once
      fill::poll(entry, wake_fd_, POLLIN);
    } else {
      fill::read(entry, wake_fd_, &wake_.count, sizeof wake_.count, 0);
    }
  });
}

// Of an embedded reactor, whose wake-up descriptor does not block.
void Reactor::clear_wake() noexcept {
  [[maybe_unused]] const ssize_t ignored = ::read(wake_fd_, &wake_.count, sizeof wake_.count);
}

Statistics Reactor::statistics() const noexcept {
  const auto read = [](const std::atomic<std::uint64_t>& counter) {
    return counter.load(std::memory_order_relaxed);
  };
  Statistics now;
  now.operations = read(counters_.operations);
  now.enters = read(counters_.enters);
  now.completions = read(counters_.completions);
  now.overflows = read(counters_.overflows);
  now.queued = read(counters_.queued);
  now.resumes = read(counters_.resumes);
  now.posts = read(counters_.posts);
  now.timers = read(counters_.timers);
  now.asleep_ns = static_cast<std::int64_t>(read(counters_.asleep_ns));
  now.in_flight = static_cast<std::uint32_t>(read(counters_.in_flight));
  return now;
}

}  // namespace horus::io
