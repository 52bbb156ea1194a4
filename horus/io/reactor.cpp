// SPDX-License-Identifier: Apache-2.0
// The loop, in the order it runs: posts, timers, ready coroutines, submit and wait, completions.
#include <horus/io/reactor.hpp>

#include <cerrno>
#include <csignal>
#include <cstdlib>
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
#include <horus/io/buffer_watch.hpp>

namespace horus::io {

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

std::uint64_t thread_number() noexcept {
  static std::atomic<std::uint64_t> next{1};
  std::uint64_t& number = horus::detail::thread_state.number;
  if (number == 0) number = next.fetch_add(1, std::memory_order_relaxed);
  return number;
}

constexpr int kEmbeddedTurns = 4;  // within one run_once(), before the other loop has its turn

void pause_cpu() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
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

std::unique_ptr<Backend> make_backend(const ReactorConfig& config) {
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

// Closes one descriptor in the background: cancel everything on it, wait for that, close it. Recycled.
struct Reactor::Closer : CompletionHandler {
  Reactor* reactor = nullptr;
  Closer* next_free = nullptr;
  int fd = -1;
  bool cancelled = false;
};

// What makes a reactor pollable from another loop: an epoll set of the backend's descriptor and a timer.
struct Reactor::Embedding {
  int set = -1;
  int timer = -1;
  std::int64_t armed_for = kNever;  // 1: at once

  void arm(std::int64_t deadline) noexcept {
    if (deadline == armed_for) return;
    armed_for = deadline;
    itimerspec spec{};
    if (deadline != kNever) {
      spec.it_value.tv_sec = deadline / 1'000'000'000;
      spec.it_value.tv_nsec = deadline % 1'000'000'000;
    }
    ::timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, nullptr);
  }
  ~Embedding() {
    if (set >= 0) ::close(set);
    if (timer >= 0) ::close(timer);
  }
};

Reactor::Reactor(const ReactorConfig& config) : Reactor(make_backend(checked(config)), config) {}

Reactor::Reactor(std::unique_ptr<Backend> backend, const ReactorConfig& config)
    : config_(checked(config)),
      backend_(std::move(backend)),
      rings_(backend_->rings()),
      sq_tail_(*rings_.sq_tail),
      sq_mask_(rings_.sq_entries - 1),
      cq_mask_(rings_.cq_entries - 1),
      // Not the size of the completion ring: thousands of idle receives are in flight without completing, and what
      // completes at once beyond the ring the kernel keeps.
      in_flight_limit_(config.max_in_flight),
      virtual_clock_(backend_->has_virtual_clock()),
      timers_(backend_->now_ns()),
      mailbox_(config.mailbox_entries),
      generation_(process_generation.load(std::memory_order_relaxed)),
      owner_(thread_number()),
      previous_reactor_(std::exchange(horus::detail::thread_state.reactor, this)),
      previous_ready_(std::exchange(horus::detail::thread_state.ready, &ready_)),
      previous_roots_(std::exchange(horus::detail::thread_state.roots, &roots_)) {
  static const int once = [] {
    ::pthread_atfork(nullptr, nullptr, &poison_after_fork);
    // Writing to a pipe or socket whose reader is gone is an error value here, not the end of the process. A handler
    // that the host program has set stays.
    struct sigaction action{};
    if (::sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL)
      ::signal(SIGPIPE, SIG_IGN);
    return 0;
  }();
  static_cast<void>(once);
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
  wake_fd_ = backend_->event_fd(0, 0);
  if (wake_fd_ < 0) {
    const int code = -wake_fd_;
    horus::detail::thread_state.reactor = previous_reactor_;
    horus::detail::thread_state.ready = previous_ready_;
    horus::detail::thread_state.roots = previous_roots_;
    throw Error(code, "eventfd");
  }
}

Reactor::~Reactor() {
  const bool ours = generation_ == process_generation.load(std::memory_order_relaxed);
  if (ours) {
    check_owner();
    if (waker_) waker_->detach();  // what was handed over before runs in the drain, nothing comes after it
    drain();
    remote_.wait_until_quiet();
    if (previous_slack_ns_ > 0) ::prctl(PR_SET_TIMERSLACK, static_cast<unsigned long>(previous_slack_ns_));
    horus::detail::thread_state.reactor = previous_reactor_;
    horus::detail::thread_state.ready = previous_ready_;
    horus::detail::thread_state.roots = previous_roots_;
  }
  while (stopping_calls_.load(std::memory_order_acquire) != 0) ::sched_yield();
  if (wake_fd_ >= 0) static_cast<void>(backend_->close_descriptor(wake_fd_));
  if (backend_leaked_) static_cast<void>(backend_.release());
}

void Reactor::check_owner() const noexcept {
  if (owner_ == horus::detail::thread_state.number) [[likely]]
    return;
  HORUS_ASSERT(generation_ == process_generation.load(std::memory_order_relaxed),
               "this reactor belongs to the parent process; make a new one after fork()");
  HORUS_ASSERT(false, "a reactor may only be used by the thread that made it");
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
  const bool posted = take_posts();
  const bool expired = expire_timers();
  const std::size_t resumed = resume_ready();
  submit_and_wait(posted || expired || resumed > 0 ? 0 : deadline_ns);
  return resumed;
}

bool Reactor::take_posts() noexcept {
  std::uint32_t taken = 0;
  if (!mailbox_.empty()) {
    Work work;
    while (taken < config_.resume_budget && mailbox_.try_pop(work)) {
      ++taken;
      work();
      work = Work();
    }
    horus::detail::count(counters_.posts, taken);
  }
  if (!lookouts_.empty()) look_out();
  RemoteWork* back = remote_.take();
  const bool some = taken > 0 || back != nullptr;
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
  if (reactor_ != nullptr) reactor_->wake_if_asleep();
}

bool Waker::post(Work work) {
  const std::lock_guard lock(mutex_);
  return reactor_ != nullptr && reactor_->post_work(std::move(work));
}

bool Waker::send(RemoteWork& work) noexcept {
  const std::lock_guard lock(mutex_);
  if (reactor_ == nullptr) return false;
  reactor_->remote_.expect();
  reactor_->complete_remote(work);
  return true;
}

bool Reactor::expire_timers() noexcept {
  if (timers_.size() == 0) return false;
  const std::int64_t now = now_ns();
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
  std::vector<Ready*> all;
  while (Ready* next = ready_.pop()) all.push_back(next);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::uint64_t chosen = backend_->choose(all.size() - i);
    std::swap(all[i], all[i + static_cast<std::size_t>(chosen)]);
    ready_.push(*all[i]);
  }
  return all.size();
}

std::size_t Reactor::resume_ready() noexcept {
  std::size_t resumed = 0;
  std::size_t mixed = 0;  // how many of the first have been
  while (resumed < config_.resume_budget) {
    if (virtual_clock_ && mixed-- == 0) [[unlikely]] {
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
  if (!queued_.empty()) refill();
  const bool may_wait = deadline_ns > 0 && ready_.empty() && migrations_.empty() && !stop_is_news();
  if (!may_wait) {
    enter(0, 0);
    reap();
    return;
  }
  deadline_ns = std::min(deadline_ns, timers_.next_deadline());
  // Virtual time passes only while everybody sleeps: who spins for it would spin for ever.
  if (config_.busy_poll > Duration::zero() && !virtual_clock_) {
    const std::int64_t window_end = saturating_add(now_ns(), config_.busy_poll.count());
    if (poll_until(std::min(deadline_ns, window_end))) return;
    if (window_end >= deadline_ns) return;
  }
  const bool spin = config_.timer_spin > Duration::zero() && deadline_ns != kNever && !virtual_clock_;
  const std::int64_t wake_at = spin ? deadline_ns - config_.timer_spin.count() : deadline_ns;
  if (!spin || wake_at > now_ns()) sleep_until(wake_at);
  if (spin && ready_.empty()) static_cast<void>(poll_until(deadline_ns));
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
    horus::detail::count(counters_.asleep_ns, static_cast<std::uint64_t>(now_ns() - before));
  } else {
    enter(0, 0);
  }
  asleep_.store(false, std::memory_order_relaxed);
  reap();
}

// The last look before a sleep, after `asleep_` was set: whoever comes later sees it and signals.
bool Reactor::must_stay_awake() noexcept {
  bool come = !mailbox_.empty() || !remote_.empty();
  lookouts_.for_each([&](Lookout& lookout) { come = lookout.before_sleep() || come; });
  return come;
}

// Looks for completions, posts and shared memory without sleeping. True when it found something before `until_ns`.
bool Reactor::poll_until(std::int64_t until_ns) noexcept {
  if (sq_tail_ != *rings_.sq_tail) {
    enter(0, 0);
    reap();
  }
  while (ready_.empty() && mailbox_.empty() && remote_.empty() && !stop_is_news()) {
    const std::uint32_t flags =
        std::atomic_ref(*const_cast<std::uint32_t*>(rings_.sq_flags)).load(std::memory_order_relaxed);
    const bool completed =
        std::atomic_ref(*rings_.cq_tail).load(std::memory_order_acquire) != *rings_.cq_head;
    if (completed || (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0) {
      enter(0, 0);
      reap();
      if (!ready_.empty()) break;
    } else {
      pause_cpu();
    }
    look_out();
    if (now_ns() >= until_ns) return !ready_.empty();
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
  const int result = backend_->enter(to_submit, min_complete, deadline_ns);
  const std::uint32_t flags =
      std::atomic_ref(*const_cast<std::uint32_t*>(rings_.sq_flags)).load(std::memory_order_relaxed);
  if ((flags & IORING_SQ_CQ_OVERFLOW) != 0) [[unlikely]]
    horus::detail::count(counters_.overflows);
  // EINTR, EAGAIN, EBUSY, ENOMEM: nothing is lost; the next turn reaps and calls again.
  if (result < 0 && result != -EINTR && result != -EAGAIN && result != -EBUSY && result != -ENOMEM) {
    HORUS_ASSERT(
        false,
        fmt::format("io backend {}: enter failed: {}", backend_->name(), describe_code(-result)).c_str());
  }
  return result;
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
#ifdef HORUS_TSAN
        __tsan_acquire(&operation);
#endif
        operation.result = completion.res;
        operation.flags = completion.flags;
        operation.state = Operation::State::done;
        --in_flight_;
        operation.unsuspend();
        ready_.push(operation);
        break;
      }
      case Tag::handler: {
        if ((completion.flags & IORING_CQE_F_MORE) == 0) --in_flight_;
        auto& handler = *reinterpret_cast<CompletionHandler*>(address);
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
  operation.state = Operation::State::queued;
  queued_.push_back(operation);
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
#ifdef HORUS_TSAN
    __tsan_release(operation);
#endif
  }
}

// For entries that must not wait behind others: cancellations, closes, the wake-up.
io_uring_sqe& Reactor::urgent_entry() noexcept {
  io_uring_sqe* entry = next_entry();
  HORUS_ASSERT(entry != nullptr, "the backend takes no entries any more");
  std::memset(entry, 0, sizeof *entry);
  return *entry;
}

void Reactor::cancel(Operation& operation) noexcept {
  if (operation.state == Operation::State::queued) {
    static_cast<ListHook<QueuedTag>&>(operation).unlink();
    operation.refuse(-ECANCELED);
    return;
  }
  if (operation.state != Operation::State::in_flight) return;
  io_uring_sqe& entry = urgent_entry();
  entry.opcode = IORING_OP_ASYNC_CANCEL;
  entry.fd = -1;
  entry.addr = operation.user_data();
  entry.user_data = static_cast<std::uint64_t>(Tag::ignore);
}

void Reactor::cancel_handler(CompletionHandler& handler) noexcept {
  io_uring_sqe& entry = urgent_entry();
  entry.opcode = IORING_OP_ASYNC_CANCEL;
  entry.fd = -1;
  entry.addr = reinterpret_cast<std::uintptr_t>(&handler) | static_cast<std::uint64_t>(Tag::handler);
  entry.user_data = static_cast<std::uint64_t>(Tag::ignore);
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

// --- Closing ----------------------------------------------------------------------------------------------------------

// Entries that name the descriptor and were not yet submitted go first (the ring is first-in first-out), then the
// cancellation, then, when that has completed, the close: the number is not reused while anything names it.
void Reactor::close_later(int fd) noexcept {
  if (fd < 0) return;
  wake_embedding();
  queued_.for_each([&](Operation& operation) {
    if (operation.fd == fd) cancel(operation);
  });
  Closer* closer = free_closers_;
  if (closer != nullptr) {
    free_closers_ = closer->next_free;
  } else {
    closers_.push_back(std::make_unique<Closer>());
    closer = closers_.back().get();
    closer->reactor = this;
    closer->complete = [](CompletionHandler& handler, std::int32_t, std::uint32_t) noexcept {
      auto& self = static_cast<Closer&>(handler);
      Reactor& reactor = *self.reactor;
      if (!self.cancelled) {
        self.cancelled = true;
        reactor.submit_handler(self, [&](io_uring_sqe& entry) {
          entry.opcode = IORING_OP_CLOSE;
          entry.fd = self.fd;
        });
        return;
      }
      self.next_free = std::exchange(reactor.free_closers_, &self);
    };
  }
  closer->fd = fd;
  closer->cancelled = false;
  submit_handler(*closer, [&](io_uring_sqe& entry) {
    entry.opcode = IORING_OP_ASYNC_CANCEL;
    entry.fd = fd;
    entry.cancel_flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL;
  });
}

// What spawn() started and nobody waited for.
void Reactor::end_background() noexcept {
  stop_.store(false, std::memory_order_relaxed);
  background_->cancel();
  const std::int64_t limit = saturating_add(now_ns(), config_.drain_limit.count());
  while (background_->running() > 0 && now_ns() < limit) turn(limit);
  if (background_->running() == 0) return;
  log_error(fmt::format(
      "reactor: {} spawned tasks did not end within {} ms of being asked to; they are leaked:\n{}",
      background_->running(), config_.drain_limit.count() / 1'000'000, dump_tasks()));
  static_cast<void>(background_.release());
}

// Everything else that runs has ended by structure; what remains are closes, multishots and the wake-up.
void Reactor::drain() noexcept {
  // Whoever posted may wait for an answer, and what was handed over owns what it carries.
  const auto take_all = [this] {
    while (!mailbox_.empty() || !remote_.empty()) take_posts();
  };
  take_all();
  resume_ready();
  if (background_) end_background();
  take_all();
  const std::int64_t limit = saturating_add(now_ns(), config_.drain_limit.count());
  bool asked = false;
  while (in_flight_ > 0 || sq_tail_ != *rings_.sq_tail || !queued_.empty()) {
    if (!asked) {
      // Closes are not cancelled: let the ones that are under way finish first.
      enter(0, 0);
      reap();
      refill();
      io_uring_sqe& entry = urgent_entry();
      entry.opcode = IORING_OP_ASYNC_CANCEL;
      entry.fd = -1;
      entry.cancel_flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
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
}

// --- Across threads ---------------------------------------------------------------------------------------------------

bool Reactor::post_work(Work work) noexcept {
  if (!mailbox_.try_push(std::move(work))) return false;
  wake_if_asleep();
  return true;
}

void Reactor::complete_remote(RemoteWork& work) noexcept {
  remote_.push(work);
  wake_if_asleep();
  remote_.let_go();
}

// The fence pairs with the one between the loop's `asleep_ = true` and its last look at the mailbox.
void Reactor::wake_if_asleep() noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (asleep_.load(std::memory_order_relaxed) && asleep_.exchange(false, std::memory_order_relaxed))
    signal_wake();
}

void Reactor::signal_wake() noexcept { backend_->ring(wake_fd_, 1); }

void Reactor::arm_wake() noexcept {
  if (wake_.armed) return;
  wake_.armed = true;
  submit_handler(wake_, [this](io_uring_sqe& entry) {
    entry.fd = wake_fd_;
    if (embedding_) {  // then it is non-blocking, and a read would complete at once
      entry.opcode = IORING_OP_POLL_ADD;
      entry.poll32_events = POLLIN;
    } else {
      entry.opcode = IORING_OP_READ;
      entry.addr = reinterpret_cast<std::uintptr_t>(&wake_.count);
      entry.len = sizeof wake_.count;
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

// --- Inside another loop ----------------------------------------------------------------------------------------------

Result<int> Reactor::poll_fd() {
  check_owner();
  if (embedding_) return embedding_->set;
  auto embedding = std::make_unique<Embedding>();
  embedding->set = ::epoll_create1(EPOLL_CLOEXEC);
  if (embedding->set < 0) return Error(errno, "epoll_create1");
  embedding->timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (embedding->timer < 0) return Error(errno, "timerfd_create");
  const int backend = backend_->pollable_fd();
  if (backend < 0) return Error(-backend, "pollable descriptor");
  // Posts wake the other loop directly. Through the ring they would take an eventfd that signals an eventfd, which
  // costs the kernel an RCU grace period (15 ms).
  for (const int fd : {backend, embedding->timer, wake_fd_}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (::epoll_ctl(embedding->set, EPOLL_CTL_ADD, fd, &event) < 0) return Error(errno, "epoll_ctl");
  }
  if (::fcntl(wake_fd_, F_SETFL, O_NONBLOCK) < 0) return Error(errno, "fcntl");
  if (wake_.armed) cancel_handler(wake_);
  embedding_ = std::move(embedding);
  rearm_embedding();
  return embedding_->set;
}

// Before the other loop sleeps: posts must signal, the timer must stand at the next deadline, and whatever is ready
// now must be visible (a timer that expires at once).
void Reactor::rearm_embedding() noexcept {
  backend_->clear_pollable();
  enter(0, 0);
  reap();
  asleep_.store(true, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  std::int64_t deadline = timers_.next_deadline();
  const bool unsubmitted = sq_tail_ != *rings_.sq_tail || (!queued_.empty() && in_flight_ < in_flight_limit_);
  if (unsubmitted || !ready_.empty() || !migrations_.empty() || must_stay_awake()) deadline = 1;
  embedding_->arm(std::max<std::int64_t>(deadline, 1));
}

// Code of the other loop gave us work between two calls of run_once().
void Reactor::wake_embedding() noexcept {
  if (embedding_ && asleep_.load(std::memory_order_relaxed)) embedding_->arm(1);
}

}  // namespace horus::io
