// SPDX-License-Identifier: Apache-2.0
// The event loop of one thread. It belongs to the thread that makes it; `post`, `stop` and `statistics` may be called
// from any thread. It owns its backend, timers and mailbox; operations belong to the frames that wait for them.
#pragma once

#include <horus/base/compiler.hpp>

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <horus/base/clock.hpp>
#include <horus/base/mailbox.hpp>
#include <horus/base/result.hpp>
#include <horus/base/thread_sanitizer.hpp>
#include <horus/io/base/remote.hpp>
#include <horus/io/base/work.hpp>
#include <horus/io/loop/in_flight.hpp>
#include <horus/io/loop/lookout.hpp>
#include <horus/io/loop/operation.hpp>
#include <horus/io/loop/timer_queue.hpp>
#include <horus/io/reactor_config.hpp>
#include <horus/io/seam/backend.hpp>
#include <horus/task/chain.hpp>
#include <horus/task/run_ready.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io {

/// Counters of a reactor since its construction.
struct Statistics {
  std::uint64_t operations = 0;   ///< entries handed to the backend
  std::uint64_t enters = 0;       ///< calls into the backend
  std::uint64_t completions = 0;  ///< completions taken from the ring
  std::uint64_t overflows = 0;    ///< times the completion ring was too small and the kernel kept the rest
  std::uint64_t queued = 0;       ///< operations that had to wait because too many were in flight
  std::uint64_t resumes = 0;      ///< coroutines resumed
  std::uint64_t posts = 0;        ///< work items taken from the mailbox
  std::uint64_t timers = 0;       ///< timers that expired
  std::int64_t asleep_ns = 0;     ///< time spent waiting in the backend
  std::uint32_t in_flight = 0;    ///< operations that the backend owns now
};

class Closer;

/// A timer of the reactor: `expired` is called by the loop, once, at or after the deadline.
struct Timer : TimerEntry {
  void (*expired)(Timer& self) noexcept = nullptr;
};

/// The event loop of one thread.
///
/// Semantics: `run(task)` drives everything until the task has ended; `run_once` is one turn, for embedding. The
/// backend owns at most `max_in_flight` operations; further ones wait in a queue and do not fail.
/// Errors: the constructor throws Error when the requested backend is not available.
/// Thread safety: the constructing thread, except `post`, `stop`, `wake` and `statistics`.
/// Example: `horus::io::Reactor reactor;  int code = reactor.run(main_task());`
class HORUS_API Reactor {
 public:
  explicit Reactor(const ReactorConfig& config = {});
  /// With a given backend (a simulator, a fault injector).
  Reactor(Backend backend, const ReactorConfig& config);
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;
  /// Cancels all remaining operations and waits for them, at most `drain_limit`. Then it logs the operations that did
  /// not end, and leaks its ring.
  ~Reactor();

  /// The reactor of this thread; null when there is none.
  [[nodiscard]] static Reactor* current() noexcept { return horus::detail::thread_state.reactor; }

  /// Runs until `task` has ended and gives its value (or rethrows its exception). `stop()` asks the task to stop and
  /// waits for it.
  template <class T>
  T run(Task<T> task, const char* name = "main") {
    RootChain<T> root(std::move(task), name);
    root.start();
    drive(root, [](const Chain& chain) noexcept { return static_cast<const RootChain<T>&>(chain).done(); });
    return root.take();
  }
  /// The same for a coroutine lambda: `reactor.run([&]() -> horus::Task<> { … });`
  template <class F>
    requires horus::detail::is_task<std::invoke_result_t<F&>>
  auto run(F lambda, const char* name = "main") {
    return run(lambda(), name);
  }
  /// Runs until `stop()`.
  void run();
  /// Starts `task` alongside everything else, for a reactor inside another loop or under `run()`. Keep the handle to
  /// see how the task ends, or drop it: then a failure is one line in the log. The reactor's destructor asks the task
  /// to stop and waits for it, so everything that the task uses must live that long.
  template <class T>
  Spawned<T> spawn(Task<T> task, std::string name = "task") {
    Scope& scope = background();
    return scope.spawn(std::move(task), std::move(name));
  }
  /// The same for a coroutine lambda. It is kept, with its captures, until its task has ended.
  template <class F>
    requires horus::detail::is_task<std::invoke_result_t<F&>>
  auto spawn(F lambda, std::string name = "task") {
    return spawn(horus::detail::with_captures(std::move(lambda)), std::move(name));
  }
  /// One turn: takes completions, expires timers, resumes ready coroutines, submits operations. When this turn had
  /// nothing to do, it waits for work up to `timeout` (0: not at all). Returns the number of coroutines resumed.
  std::size_t run_once(Duration timeout = Duration::zero());
  /// Ends `run()` and wakes the loop. Any thread, also a signal handler.
  void stop() noexcept;
  /// Wakes the loop for any reason; its lookouts are checked then. Any thread, also a signal handler.
  void interrupt() noexcept { signal_wake(); }
  [[nodiscard]] bool stopping() const noexcept { return stop_.load(std::memory_order_relaxed); }

  /// Runs `work` on the reactor's thread; work from one thread keeps its order. False when the mailbox is full and
  /// nothing was queued. Any thread; the reactor must outlive the call. An exception from `work` ends the program.
  template <class F>
  bool post(F&& work) {
    return post_work(Work(std::forward<F>(work)));
  }
  /// `co_await reactor.schedule()`: the coroutine continues on this reactor's thread. A spawned task must return to
  /// its scope's thread before it ends.
  [[nodiscard]] auto schedule() noexcept;

  /// A descriptor that is readable when `run_once()` has something to do, timers included: for embedding in another
  /// event loop. Watch it for reading (level-triggered) and call `run_once()` whenever it is readable; nothing else
  /// is needed. Code of the other loop may call `spawn` and `post`. When it wakes coroutines itself (`Event::set`,
  /// `Channel::try_send`, `cancel`), it must call `run_once()` afterwards.
  /// Errors: those of epoll_create1 and timerfd_create.
  /// Example: examples/embed_epoll, examples/embed_libuv.
  Result<int> poll_fd();
  /// When the next timer is due (CLOCK_MONOTONIC ns; kNever: no timer).
  [[nodiscard]] std::int64_t next_deadline() noexcept { return timers_.next_deadline(); }

  /// True when `run_once()` would do something without waiting for the backend or a timer.
  [[nodiscard]] bool has_work() const noexcept {
    return !ready_.empty() || !mailbox_.empty() || !arrivals_->list_.empty() || !migrations_.empty() ||
           !queued_.empty() || closing_ || sq_tail_ != *rings_.sq_tail;
  }

  /// True when an enter would neither submit nor complete anything, so that a turn with a timeout of 0 can be left
  /// out. The epoll backend cannot tell, and always gives false.
  [[nodiscard]] bool nothing_to_take() const noexcept {
    const std::uint32_t flags =
        std::atomic_ref(*const_cast<std::uint32_t*>(rings_.sq_flags)).load(std::memory_order_relaxed);
    return !has_work() && (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) == 0 &&
           std::atomic_ref(*rings_.cq_tail).load(std::memory_order_acquire) == *rings_.cq_head &&
           timers_.size() == 0 && lookouts_.empty();
  }

  /// A snapshot. Any thread.
  [[nodiscard]] Statistics statistics() const noexcept;
  [[nodiscard]] const char* backend_name() const noexcept { return ring_->name(); }
  [[nodiscard]] Ring& ring() noexcept { return *ring_; }
  [[nodiscard]] Clock& clock() noexcept { return *clock_; }
  [[nodiscard]] System& system() noexcept { return *system_; }
  /// Of a run that is recorded or replayed exactly; null: it is neither.
  [[nodiscard]] Journal* journal() noexcept { return journal_; }
  [[nodiscard]] const ReactorConfig& config() const noexcept { return config_; }
  /// Marks the start of a tick of `node`, for a world in which code takes no time by itself: see Clock::spend.
  void spend(std::string_view node) noexcept {
    if (nature_.through_seam) [[unlikely]]
      clock_->spend(node);
  }
  void set_timer_spin(Duration margin) noexcept { config_.timer_spin = margin; }
  void set_busy_poll(Duration window) noexcept { config_.busy_poll = window; }

  /// CLOCK_MONOTONIC, nanoseconds, as this reactor's clock tells it.
  [[nodiscard]] std::int64_t now_ns() noexcept {
    return nature_.through_seam ? clock_->now_ns() : monotonic_ns();
  }

  // --- For awaiters -------------------------------------------------------------------------------------------------

  /// Hands an operation to the backend with the next enter, or queues it.
  template <class Op>
  void submit(Op& operation) noexcept {
    io_uring_sqe* entry = in_flight_ < in_flight_limit_ && queued_.empty() ? next_entry() : nullptr;
    if (entry == nullptr) [[unlikely]]
      return enqueue(operation);
    std::memset(entry, 0, sizeof *entry);
    operation.prepare(*entry);
    entry->user_data = operation.user_data();
    operation.state = Operation::State::in_flight;
    ++in_flight_;
    note<Operation>(operation, operation.fd);
    tsan_release(&operation);
  }
  void cancel(Operation& operation) noexcept;
  /// Ends the operations in flight on the number `fd`, each operation and handler by its own user_data: with
  /// ECANCELED, or with the result that was faster. Operations that use the same open file through another number
  /// continue. Returns how many there were; 0 costs nothing. The number may be closed, or released, as soon as the
  /// entries have run: by an IORING_OP_CLOSE submitted behind them, or after `submit_now()`.
  /// Example: a loop that releases a descriptor of other code: `reactor.cancel_on(fd); reactor.submit_now();`
  std::size_t cancel_on(int fd) noexcept;
  /// True when an operation in flight, or an entry that has not been submitted yet, names `fd`.
  [[nodiscard]] bool names(int fd) const noexcept;
  /// Submits an entry for a handler: `fill(entry)` sets every field except user_data. When the ring is full, it
  /// flushes it first.
  template <class Fill>
  void submit_handler(CompletionHandler& handler, Fill&& fill) noexcept {
    io_uring_sqe& entry = urgent_entry();
    fill(entry);
    entry.user_data = reinterpret_cast<std::uintptr_t>(&handler) | static_cast<std::uint64_t>(Tag::handler);
    ++in_flight_;
    if (entry.opcode == IORING_OP_CLOSE || entry.opcode == IORING_OP_NOP) return;
    InFlightTable::unlink(handler);
    note<CompletionHandler>(handler, entry.fd);
  }
  void cancel_handler(CompletionHandler& handler) noexcept;
  /// Submits an entry that completes during submission and posts a completion only when it fails
  /// (IOSQE_CQE_SKIP_SUCCESS, a send with MSG_DONTWAIT | MSG_WAITALL). `handler` is called in both cases; when no
  /// completion came, its result is `on_success`. The loop does not have to wake for a success.
  template <class Fill>
  void submit_immediate(CompletionHandler& handler, std::int32_t on_success, Fill&& fill) noexcept {
    io_uring_sqe& entry = urgent_entry();
    fill(entry);
    entry.flags |= IOSQE_CQE_SKIP_SUCCESS;
    entry.user_data = reinterpret_cast<std::uintptr_t>(&handler) | static_cast<std::uint64_t>(Tag::immediate);
    immediates_.push_back({&handler, on_success, sq_tail_});
  }
  /// Hands waiting entries, cancellations among them, to the kernel now instead of at the end of this turn. The next
  /// turn takes their completions.
  void submit_now() noexcept { static_cast<void>(flush()); }
  /// Ends operations on `fd` and closes it, in the background (closer.hpp). The number belongs to the reactor from
  /// now on.
  void close_later(int fd) noexcept;
  [[nodiscard]] Closer& closer() noexcept { return *closer_; }
  [[nodiscard]] TimerQueue& timers() noexcept { return timers_; }
  ReadyList& ready() noexcept { return ready_; }
  /// Counts work of this reactor that is away on other threads. Call `remote().expect()` before the work leaves; the
  /// other thread calls `complete(work)` on it.
  [[nodiscard]] Arrivals& remote() noexcept { return *arrivals_; }
  /// Checks shared memory each turn, until `lookout` is unlinked.
  void watch(Lookout& lookout) noexcept {
    if (lookout.linked()) return;
    lookouts_.push_back(lookout);
    wake_embedding();
  }
  /// Ends this reactor's sleep, from any thread.
  [[nodiscard]] const std::shared_ptr<Waker>& waker();
  /// For `schedule()`: hands a suspended coroutine over once this thread's stack has unwound.
  struct Migration {
    Reactor* target = nullptr;
    Ready* coroutine = nullptr;
    Chain* chain = nullptr;
  };
  void migrate(const Migration& migration) { migrations_.push_back(migration); }

 private:
  friend class Operation;
  friend class CurrentReactor;
  friend class Waker;
  friend class Closer;
  struct WakeHandler : CompletionHandler {
    Reactor* reactor = nullptr;
    std::uint64_t count = 0;
    bool armed = false;
  };
  struct Embedding;

  // The submission tail is published by enter(); until then the entry is the reactor's own.
  io_uring_sqe* next_entry() noexcept {
    if (sq_tail_ - std::atomic_ref(*rings_.sq_head).load(std::memory_order_acquire) >= rings_.sq_entries)
        [[unlikely]] {
      if (!flush()) return nullptr;
    }
    return &rings_.sqes[sq_tail_++ & sq_mask_];
  }
  // Remembers that `one` names `fd`, until it has completed.
  template <class T>
  void note(T& one, int fd) noexcept {
    if (static_cast<std::size_t>(fd) < named_.size()) [[likely]] {
      named_.link(one, fd);
    } else if (fd >= 0) {
      if (makes_place(fd)) named_.link(one, fd);
    }
  }
  bool makes_place(int fd) noexcept;
  io_uring_sqe& urgent_entry() noexcept;
  bool flush() noexcept;
  void enqueue(Operation& operation) noexcept;
  void refill() noexcept;

  void drive(Chain& root, bool (*ended)(const Chain&) noexcept) noexcept;
  void end_run() noexcept;
  std::size_t turn(std::int64_t deadline_ns) noexcept;
  bool take_posts() noexcept;
  bool take_posts_with_journal() noexcept;
  bool has_posts() noexcept;
  void look_out() noexcept;
  bool must_stay_awake() noexcept;
  bool expire_timers() noexcept;
  std::size_t mix_ready() noexcept;
  std::size_t resume_ready() noexcept;
  // stop() was called and the task that runs has not been told yet.
  [[nodiscard]] bool stop_is_news() noexcept {
    const bool news = stopping() && !stop_passed_on_;
    return journal_ == nullptr ? news : stop_by_journal(news);
  }
  bool stop_by_journal(bool news) noexcept;
  void submit_and_wait(std::int64_t deadline_ns) noexcept;
  void sleep_until(std::int64_t deadline_ns) noexcept;
  bool poll_until(std::int64_t until_ns, Duration window) noexcept;
  int enter(std::uint32_t min_complete, std::int64_t deadline_ns) noexcept;
  void enter_failed(int result, std::int64_t rest_until) noexcept;
  void leave_thread() noexcept;
  static bool join_blocking(bool (*ended)(const void*) noexcept, const void* what) noexcept;
  void reap() noexcept;
  void take_completions() noexcept;
  void settle_immediates() noexcept;
  void hand_over_migrations() noexcept;
  bool post_work(Work work) noexcept;
  void signal_wake() noexcept;
  void arm_wake() noexcept;
  void drain() noexcept;
  void check_owner() const noexcept;
  void check_current() const noexcept;
  void rearm_embedding() noexcept;
  void wake_embedding() noexcept;
  void clear_wake() noexcept;
  void end_background(std::int64_t limit) noexcept;
  void end_what_waits(std::int64_t limit) noexcept;
  Scope& background();

  ReactorConfig config_;
  Backend backend_;
  Ring* const ring_;  // its parts
  Clock* const clock_;
  System* const system_;
  Journal* const journal_;  // null: nobody records or replays
  const Clock::Nature nature_;
  Rings rings_;
  std::uint32_t sq_tail_ = 0;
  std::uint32_t sq_mask_ = 0;
  std::uint32_t cq_mask_ = 0;
  std::uint32_t in_flight_ = 0;
  std::uint32_t in_flight_limit_ = 0;
  bool reaping_ = false;
  bool closing_ = false;         // the closer wants the next turn
  bool backend_leaked_ = false;  // operations in it did not end
  ReadyList ready_;
  InFlightTable named_;
  IntrusiveList<Operation, QueuedTag> queued_;
  TimerQueue timers_;
  IntrusiveList<Chain, RootTag> roots_;
  std::vector<Migration> migrations_;
  struct Immediate {
    CompletionHandler* handler;
    std::int32_t on_success;
    std::uint32_t submitted_at;  // the submission tail behind its entry
  };
  std::vector<Immediate> immediates_;  // not yet known to have succeeded; one per handler at most

  Mailbox<Work> mailbox_;
  std::unique_ptr<Arrivals> arrivals_;
  std::atomic<bool>& asleep_;  // of the arrivals
  IntrusiveList<Lookout, LookoutTag> lookouts_;
  std::shared_ptr<Waker> waker_;  // made with the first that asks for it
  std::atomic<bool> stop_{false};
  std::atomic<int> stopping_calls_{0};  // stop() in progress on other threads
  bool stop_passed_on_ = false;
  int wake_fd_ = -1;
  WakeHandler wake_;
  std::unique_ptr<Closer> closer_;
  std::unique_ptr<Embedding> embedding_;
  std::unique_ptr<Scope> background_;  // what spawn() started; made with the first

  struct Counters {
    std::atomic<std::uint64_t> operations{0}, enters{0}, completions{0}, overflows{0}, queued{0}, resumes{0},
        posts{0}, timers{0}, asleep_ns{0}, in_flight{0};
  } counters_;

  std::int64_t woke_at_ns_ =
      0;  // the clock when it stopped waiting, until something has run since; 0: not known
  std::uint32_t enter_failures_ = 0;  // in a row
  std::int64_t enter_failure_told_ns_ = 0;
  int previous_slack_ns_ = 0;  // what the thread had; 0: not changed
  std::uint64_t generation_;   // of the process: differs after a fork
  std::uint64_t owner_;        // thread
  Reactor* previous_reactor_ = nullptr;
  ReadyList* previous_ready_ = nullptr;
  IntrusiveList<Chain, RootTag>* previous_roots_ = nullptr;
};

/// While it lives, another of this thread's reactors (or none, for null) is the current one. Awaited operations go to
/// the current reactor; it alone may run.
class CurrentReactor {
 public:
  explicit CurrentReactor(Reactor* reactor) noexcept
      : reactor_(std::exchange(state().reactor, reactor)),
        ready_(std::exchange(state().ready, reactor == nullptr ? nullptr : &reactor->ready_)),
        roots_(std::exchange(state().roots, reactor == nullptr ? nullptr : &reactor->roots_)) {}
  CurrentReactor(const CurrentReactor&) = delete;
  CurrentReactor& operator=(const CurrentReactor&) = delete;
  ~CurrentReactor() {
    state().reactor = reactor_;
    state().ready = ready_;
    state().roots = roots_;
  }

 private:
  static horus::detail::ThreadState& state() noexcept { return horus::detail::thread_state; }
  Reactor* reactor_;
  ReadyList* ready_;
  IntrusiveList<Chain, RootTag>* roots_;
};

namespace detail {

struct ScheduleAwaiter : Waiter {
  explicit ScheduleAwaiter(Reactor& reactor) noexcept : Waiter(&kKind), target(reactor) {}
  [[nodiscard]] bool await_ready() const noexcept { return Reactor::current() == &target; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    static_cast<void>(suspend(awaiting));  // a move is never refused
    unsuspend();                           // nor cancelled: the chain is between two threads
    Reactor::current()->migrate({&target, this, promise == nullptr ? nullptr : promise->chain});
  }
  static constexpr void await_resume() noexcept {}

 private:
  static void cancel(Waiter&) noexcept {}
  static constexpr WaitKind kKind{.name = "another reactor", .cancel = &cancel};
  Reactor& target;
};

}  // namespace detail

inline auto Reactor::schedule() noexcept { return detail::ScheduleAwaiter(*this); }

/// Makes a reactor for this thread, runs `task` to its end, and gives its value.
template <class T>
T run(Task<T> task, const ReactorConfig& config = {}) {
  Reactor reactor(config);
  return reactor.run(std::move(task));
}
/// The same for a coroutine lambda, which may use the reactor from its first line on:
/// `horus::io::run([&]() -> horus::Task<> { … });`
template <class F>
  requires horus::detail::is_task<std::invoke_result_t<F&>>
auto run(F lambda, const ReactorConfig& config = {}) {
  Reactor reactor(config);
  return reactor.run(lambda());
}

}  // namespace horus::HORUS_ABI::io

namespace horus::HORUS_ABI {

/// CLOCK_MONOTONIC in nanoseconds as this thread's reactor tells it; the kernel's where there is none.
inline std::int64_t now_ns() noexcept {
  io::Reactor* reactor = io::Reactor::current();
  return reactor != nullptr ? reactor->now_ns() : monotonic_ns();
}

}  // namespace horus::HORUS_ABI
