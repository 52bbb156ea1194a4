// SPDX-License-Identifier: Apache-2.0
// How threads hand things over in the old way: a queue with a lock, and a thread that is told to stop.
#pragma once

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace rover {

/// A bounded queue between threads; when it is full the oldest gives way.
template <class T>
class Handover {
 public:
  explicit Handover(size_t most) : most_(most) {}

  void put(T value) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(value));
      if (queue_.size() > most_) queue_.pop_front();
    }
    some_.notify_one();
  }
  /// Everything that is there.
  std::deque<T> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(queue_, {});
  }
  /// Waits until there is something, or for `patience`.
  template <class Patience>
  std::deque<T> wait(Patience patience) {
    std::unique_lock lock(mutex_);
    some_.wait_for(lock, patience, [this] { return !queue_.empty(); });
    return std::exchange(queue_, {});
  }

 private:
  std::mutex mutex_;
  std::condition_variable some_;
  std::deque<T> queue_;
  size_t most_;
};

/// A thread that repeats `work` until it is told to stop. Signals go to the other threads.
class Worker {
 public:
  void start(std::function<void()> work) {
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this, repeated = std::move(work)] {
      while (!stopping_) repeated();
      ended_ = true;
    });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  /// `interrupt` ends a call that blocks; it is repeated until the thread has ended.
  template <class Interrupt>
  void stop(Interrupt interrupt) {
    if (!thread_.joinable()) return;
    stopping_ = true;
    while (!ended_) {
      interrupt();
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    thread_.join();
  }
  void stop() {
    stop([] {});
  }

 private:
  std::thread thread_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> ended_{false};
};

}  // namespace rover
