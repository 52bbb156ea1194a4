// SPDX-License-Identifier: Apache-2.0
// How work that other threads do for a reactor comes back to it: an intrusive list that can neither fill up nor fail.
// Any thread pushes; the owner takes. The elements belong to whoever waits for them.
#pragma once

#include <horus/base/compiler.hpp>

#include <atomic>
#include <cstdint>
#include <memory>

#include <unistd.h>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::io {

/// One piece of work that is away on another thread. Lives in whatever waits for it.
struct RemoteWork {
  RemoteWork* next_remote = nullptr;
  void (*complete)(RemoteWork& self) noexcept = nullptr;  ///< called on the owner's thread; may end its life
};

/// Finished remote work, bounded by what was sent away: each element exists already, so nothing is ever refused.
///
/// Semantics: the owner calls `expect()` for each piece that leaves and `take()` for those that have come back. The
/// other thread calls `push()`, wakes the owner, then `let_go()`, its last touch of the list; the owner's destructor
/// waits for that with `wait_until_quiet()`.
class RemoteList {
 public:
  void expect() noexcept { away_.fetch_add(1, std::memory_order_relaxed); }
  /// True when the list was empty: nobody has woken the owner for what lies in it.
  bool push(RemoteWork& work) noexcept {
    RemoteWork* first = first_.load(std::memory_order_relaxed);
    do {
      work.next_remote = first;
    } while (
        !first_.compare_exchange_weak(first, &work, std::memory_order_release, std::memory_order_relaxed));
    return first == nullptr;
  }
  void let_go() noexcept { away_.fetch_sub(1, std::memory_order_release); }

  [[nodiscard]] bool empty() const noexcept { return first_.load(std::memory_order_relaxed) == nullptr; }
  /// Everything that has come back, oldest first, linked through `next_remote`.
  [[nodiscard]] RemoteWork* take() noexcept {
    if (empty()) return nullptr;
    RemoteWork* newest = first_.exchange(nullptr, std::memory_order_acquire);
    RemoteWork* oldest = nullptr;
    while (newest != nullptr) {
      RemoteWork* following = newest->next_remote;
      newest->next_remote = oldest;
      oldest = newest;
      newest = following;
    }
    return oldest;
  }
  /// Pieces that another thread may still touch.
  [[nodiscard]] std::uint32_t away() const noexcept { return away_.load(std::memory_order_acquire); }
  void wait_until_quiet() const noexcept {
    while (away() != 0) ::usleep(kLook_us);
  }

 private:
  static constexpr unsigned kLook_us = 100;
  std::atomic<RemoteWork*> first_{nullptr};
  std::atomic<std::uint32_t> away_{0};
};

class Journal;
class Ring;
class System;

/// Where a reactor's work that is away on other threads comes back to. It is apart from the reactor because it stays
/// when that ends while something is still away: a call that hangs must not hold up the end, nor write into freed memory.
class HORUS_API Arrivals {
 public:
  /// `expect()` for each piece that leaves; `let_go()` when it was taken back before it ran.
  void expect() noexcept { list_.expect(); }
  void let_go() noexcept { list_.let_go(); }
  /// It has come back. Any thread; never refused. This may be gone when it returns.
  void complete(RemoteWork& work) noexcept;
  void wake_if_asleep() noexcept;

 private:
  friend class Reactor;
  RemoteList list_;
  std::atomic<bool> asleep_{false};   // whoever has something for the reactor has to wake it
  std::atomic<bool> by_bell_{false};  // and that by ringing: nobody waits in the ring alone
  std::shared_ptr<Ring> ring_;
  std::shared_ptr<System> system_;
  Journal* journal_ = nullptr;
  int bell_ = -1;
  std::uint64_t generation_ = 0;  // of the process: a child of fork() has no business in its parent's ring
};

}  // namespace horus::HORUS_ABI::io
