// SPDX-License-Identifier: Apache-2.0
// How suspended coroutines are linked: promise → parent promise → … → Chain, and the one Waiter at which the chain is
// suspended. Cancellation walks down (Chain → leaf Waiter), stack dumps walk up (leaf → parents). Everything here
// belongs to one thread at a time.
#pragma once

#include <horus/base/compiler.hpp>

#include <cerrno>
#include <concepts>
#include <coroutine>
#include <cstdint>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <horus/base/assert.hpp>
#include <horus/base/export.hpp>
#include <horus/base/intrusive_list.hpp>
#include <horus/task/frame_pool.hpp>
#include <horus/task/thread_state.hpp>

namespace horus::HORUS_ABI {

class Chain;
class PromiseBase;
struct Waiter;

/// The common properties of all awaiters of one type.
struct WaitKind {
  const char* name;                  ///< "recv", "event": what a stack dump prints
  void (*cancel)(Waiter&) noexcept;  ///< asks the wait to end soon; never resumes inline
  void (*describe)(const Waiter&,
                   std::string& line) = nullptr;  ///< appends details, for example the descriptor
  /// Visits the chains that this waiter waits for (joins only).
  void (*children)(const Waiter&, void (*visit)(const Chain&, void*), void* context) = nullptr;
};

/// A suspended leaf: the thing that a chain of coroutines waits for. Base of every leaf awaiter, lives in the
/// innermost frame.
struct Waiter : Ready {
  const WaitKind* kind = nullptr;

  Waiter() = default;
  explicit Waiter(const WaitKind* what) noexcept : kind(what) {}
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  /// Suspends `awaiting` here. False when its chain was asked to stop: the caller then completes with ECANCELED
  /// through `make_ready()` and starts nothing.
  template <class Promise>
  [[nodiscard]] bool suspend(std::coroutine_handle<Promise> awaiting) noexcept;

  /// The wait is over: the coroutine goes to the end of the thread's ready list.
  void make_ready() noexcept;
  /// The wait ended before it began: take the suspension back and go on inline.
  void unsuspend() noexcept;
};

/// Records how long chains run and which operations they wait for: for a node's tick and all its branches. The loop's
/// thread.
class ExecutionAccount {
 public:
  /// `chain` continues; it has waited since chain.wait().since_ns.
  virtual void resumed(const Chain& chain, std::int64_t now_ns) noexcept = 0;
  /// A stretch of running has ended.
  virtual void ran(std::int64_t begin_ns, std::int64_t end_ns) noexcept = 0;

 protected:
  ~ExecutionAccount() = default;
};

/// The present or last wait of a chain with an account.
struct WaitRecord {
  const WaitKind* kind = nullptr;          ///< null: it has not waited
  const PromiseBase* innermost = nullptr;  ///< whose `where` is the place; alive while the chain waits
  std::int64_t since_ns = 0;
};

/// One logical thread of control: a root coroutine and everything it awaits, of which exactly one leaf is
/// suspended. Spawned tasks, ticks and the branches of when_all and when_any are chains.
class HORUS_API Chain : public ListHook<RootTag> {
 public:
  Chain() = default;
  virtual ~Chain() {
    if (detail::thread_state.suspended == this) detail::thread_state.suspended = nullptr;
  }

  /// Asks the chain to stop: its current wait ends with ECANCELED if it can still be cancelled, and so does every
  /// later wait. Data that has already arrived is delivered. Idempotent. Owner thread only.
  void request_stop() noexcept {
    if (stop_requested_) return;
    stop_requested_ = true;
    if (leaf_ != nullptr) leaf_->kind->cancel(*leaf_);
  }
  [[nodiscard]] bool stop_requested() const noexcept { return stop_requested_; }
  /// The operation that it waits for; null while it runs, is ready to run, or has ended.
  [[nodiscard]] const Waiter* leaf() const noexcept { return leaf_; }
  [[nodiscard]] virtual std::string name() const { return std::string(label()); }
  /// The chain's name without a copy, perhaps shortened, for signal handlers. Valid as long as the chain lives.
  [[nodiscard]] virtual std::string_view label() const noexcept { return "task"; }
  /// The chain's account; null: none is kept.
  [[nodiscard]] ExecutionAccount* execution_account() const noexcept { return account_; }
  /// Branches of a join are charged to the account of the chain that waits for them.
  void charge_to(ExecutionAccount* account) noexcept { account_ = account; }
  [[nodiscard]] const WaitRecord& wait() const noexcept { return wait_; }
  /// The stretch in which a chain with an account was suspended ended at `now_ns`. Called by the code that resumed it.
  static void end_stretch(std::int64_t now_ns) noexcept {
    if (Chain* chain = std::exchange(detail::thread_state.suspended, nullptr)) chain->wait_.since_ns = now_ns;
  }

  /// The root coroutine has ended and is suspended for the last time. Returns the coroutine to run next.
  virtual std::coroutine_handle<> finished() noexcept = 0;

 protected:
  void reset_stop() noexcept { stop_requested_ = false; }

 private:
  friend struct Waiter;
  // Until its stretch ends, only the stretch's beginning is known.
  void note_wait(const WaitKind* kind, const PromiseBase* innermost) noexcept {
    wait_ = {kind, innermost, detail::thread_state.running_since_ns};
    detail::thread_state.suspended = this;
  }
  Waiter* leaf_ = nullptr;
  ExecutionAccount* account_ = nullptr;
  WaitRecord wait_;
  bool stop_requested_ = false;
};

namespace detail {

// Stands for an awaiter that lives in the full expression of its co_await. (await_transform cannot simply return a
// reference: g++ 12 would copy the awaiter, and awaiters do not move.)
template <class Awaiter>
struct AwaiterReference {
  Awaiter& awaiter;
  bool await_ready() { return awaiter.await_ready(); }
  template <class Promise>
  auto await_suspend(std::coroutine_handle<Promise> awaiting) {
    return awaiter.await_suspend(awaiting);
  }
  decltype(auto) await_resume() { return awaiter.await_resume(); }
};

}  // namespace detail

/// Part of every Horus coroutine's frame.
class PromiseBase {
 public:
  std::coroutine_handle<> continuation;  ///< resumed at the end; null for the root of a chain
  PromiseBase* parent = nullptr;         ///< the coroutine that awaits this one
  Chain* chain = nullptr;
  union {
    std::source_location
        where;  ///< of the co_await that this coroutine is suspended at; not set before the first one
  };

  PromiseBase() noexcept {}

  static void* operator new(std::size_t size) { return detail::allocate_frame(size); }
  static void operator delete(void* frame, std::size_t size) noexcept { detail::free_frame(frame, size); }

  /// Notes where the coroutine awaits, for stack dumps.
  template <class Awaitable>
  auto await_transform(Awaitable&& awaitable,
                       std::source_location location = std::source_location::current()) noexcept {
    where = location;
    if constexpr (requires { static_cast<Awaitable&&>(awaitable).operator co_await(); }) {
      return static_cast<Awaitable&&>(awaitable).operator co_await();
    } else {
      return detail::AwaiterReference<std::remove_reference_t<Awaitable>>{awaitable};
    }
  }
};

template <class Promise>
inline bool Waiter::suspend(std::coroutine_handle<Promise> awaiting) noexcept {
  handle = awaiting;
  if constexpr (std::derived_from<Promise, PromiseBase>) {
    promise = &awaiting.promise();
    Chain* chain = promise->chain;
    if (chain != nullptr) [[likely]] {
      chain->leaf_ = this;
      if (chain->account_ != nullptr) chain->note_wait(kind, promise);
      return !chain->stop_requested_;
    }
  }
  return true;
}

inline void Waiter::unsuspend() noexcept {
  if (promise != nullptr && promise->chain != nullptr) [[likely]]
    promise->chain->leaf_ = nullptr;
}

inline void Waiter::make_ready() noexcept {
  unsuspend();
  HORUS_ASSERT(detail::thread_state.ready != nullptr,
               "a coroutine became ready on a thread that runs no reactor");
  detail::thread_state.ready->push(*this);
}

namespace detail {

/// Includes `chain` in dump_tasks() of this thread until it is unlinked.
inline void list_root(Chain& chain) noexcept {
  if (thread_state.roots != nullptr) thread_state.roots->push_back(chain);
}

}  // namespace detail

/// Every suspended chain of this thread, with the operation it waits for and the source line of each await up to its
/// root, one task per paragraph. For logs and people.
HORUS_API std::string dump_tasks();
/// The same for one chain.
HORUS_API std::string dump_chain(const Chain& chain);

}  // namespace horus::HORUS_ABI
