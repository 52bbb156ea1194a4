// SPDX-License-Identifier: Apache-2.0
// How a reactor waits for memory that other threads or processes write: lookouts are asked each turn and before it
// sleeps; a waker ends its sleep. Lookouts belong to the reactor's thread, a waker to anybody.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include <horus/base/export.hpp>
#include <horus/base/intrusive_list.hpp>
#include <horus/io/base/remote.hpp>
#include <horus/io/base/work.hpp>

namespace horus::HORUS_ABI::io {

class Reactor;
struct LookoutTag;

/// Looks at shared memory for a reactor, while somebody waits for it: `reactor.watch(lookout)`, and `unlink()` when
/// nobody waits any more. It costs a look per turn.
class Lookout : public ListHook<LookoutTag> {
 public:
  /// Makes ready whoever waits for what has come. Also called again and again within the busy-poll window.
  virtual void look() noexcept = 0;
  /// The loop is about to sleep: tells the writers to wake it, then looks once more. True when something has come; the
  /// loop then does not sleep. A sequentially consistent fence stands between the two, and between a writer's write and
  /// its look at what was told.
  [[nodiscard]] virtual bool before_sleep() noexcept = 0;

 protected:
  ~Lookout() = default;
};

/// Ends a reactor's sleep. `reactor.waker()` gives it; any thread may keep and use it, also after the reactor is gone
/// (then it does nothing). Not for signal handlers.
class HORUS_API Waker {
 public:
  explicit Waker(Reactor& reactor) noexcept : reactor_(&reactor) {}
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;

  void wake() noexcept;
  /// Reactor::post, or false when the reactor is gone.
  bool post(Work work);
  /// Runs `work` on the reactor's thread; unlike a post never refused while the reactor lives, and allocates. False when
  /// it is gone. For what is rare and must not be lost.
  template <class F>
  bool hand_over(F work) {
    struct Errand : RemoteWork {
      explicit Errand(F todo) : work(std::move(todo)) {}
      F work;
    };
    auto errand = std::make_unique<Errand>(std::move(work));
    errand->complete = [](RemoteWork& self) noexcept {
      const std::unique_ptr<Errand> own(static_cast<Errand*>(&self));
      own->work();
    };
    if (!send(*errand)) return false;
    static_cast<void>(errand.release());
    return true;
  }
  /// The reactor's end.
  void detach() noexcept {
    const std::lock_guard lock(mutex_);
    reactor_ = nullptr;
  }

  /// The same for work that lives elsewhere, without an allocation. False: the reactor is gone, and `work` is the caller's.
  bool send(RemoteWork& work) noexcept;

 private:
  std::mutex mutex_;  // of the pointer, against a reactor that ends while it is woken
  Reactor* reactor_;
};

}  // namespace horus::HORUS_ABI::io
