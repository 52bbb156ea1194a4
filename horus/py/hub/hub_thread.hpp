// SPDX-License-Identifier: Apache-2.0
// The thread "horus-msg": one reactor for all hubs of Python, with their transports and publishers. It never takes the
// GIL. Python's threads hand work over to it; what waits for it gives the GIL away.
#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <future>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include <horus/io/loop/lookout.hpp>
#include <horus/msg/session/transport.hpp>
#include <horus/py/base/bindings.hpp>
#include <horus/task/task.hpp>

namespace horus::python {

/// Gives the GIL away while it lives. The interpreter's end waits for those who are away: a daemon thread that asks for
/// the GIL later is ended there, in the middle of C++.
class Away {
 public:
  Away() = default;
  Away(const Away&) = delete;
  Away& operator=(const Away&) = delete;
  /// How many there are.
  static std::size_t count() noexcept { return count_.load(std::memory_order_acquire); }

 private:
  struct Counted {
    Counted() noexcept { count_.fetch_add(1, std::memory_order_acq_rel); }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { count_.fetch_sub(1, std::memory_order_acq_rel); }
  };
  static inline std::atomic<std::size_t> count_{0};
  Counted counted_;  // until the GIL is back
  py::gil_scoped_release released_;
};

/// What lives on the thread and has to end before it does.
class HubPart {
 public:
  HubPart() = default;
  HubPart(const HubPart&) = delete;
  HubPart& operator=(const HubPart&) = delete;
  virtual ~HubPart() = default;
  /// On the thread; again and again is fine.
  virtual void close_here() noexcept = 0;
};

class HubThread {
 public:
  /// Starts it when it is called first. Throws std::runtime_error in a forked child, and when the interpreter ends.
  static HubThread& get();
  /// On the thread itself.
  static HubThread& get_running() noexcept;
  /// Throws std::runtime_error in a forked child, which has none of the parent's threads.
  static void check_fork();
  /// True from the interpreter's end on.
  [[nodiscard]] static bool ended() noexcept;
  /// False in a forked child: what was made on it is then left alone.
  [[nodiscard]] static bool ours() noexcept;
  /// Closes everything, gives transports a moment for what is queued, and joins. At the interpreter's end.
  static void end();

  /// Runs `work` there and waits for it without the GIL; gives its value or throws what it threw.
  template <class F>
  auto call(F work) {
    using T = std::invoke_result_t<F&>;
    auto promise = std::make_shared<std::promise<T>>();
    auto future = promise->get_future();
    const bool handed = waker_->hand_over([promise, work = std::move(work)]() mutable {
      try {
        if constexpr (std::is_void_v<T>) {
          work();
          promise->set_value();
        } else {
          promise->set_value(work());
        }
      } catch (...) {
        promise->set_exception(std::current_exception());
      }
    });
    if (!handed) throw std::runtime_error("the program ends: its hubs are closed");
    const Away away;
    return future.get();
  }
  /// Runs `work` there some time. False when it has ended. Any thread.
  template <class F>
  bool hand_over(F work) noexcept {
    return waker_->hand_over(std::move(work));
  }
  /// Closes `part` when the thread ends. On the thread.
  void keep(const std::shared_ptr<HubPart>& part);
  /// Its end waits for this one, for a while. On the thread.
  void linger_for(std::vector<std::shared_ptr<msg::Transport>> transports);

 private:
  HubThread() = default;
  void start();
  Task<> finish();

  std::shared_ptr<io::Waker> waker_;
  // The thread's own.
  std::vector<std::weak_ptr<HubPart>> parts_;
  std::vector<std::shared_ptr<msg::Transport>> lingering_;
};

}  // namespace horus::python
