// SPDX-License-Identifier: Apache-2.0
// Threads for work that blocks: name look-ups, slow libraries, file operations where there is no io_uring.
// Any thread may submit. The pool owns its threads and the Work given to it; a Job belongs to whoever waits for it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/intrusive_list.hpp>
#include <horus/io/work.hpp>

namespace horus::io {

/// A bounded, named set of threads that run blocking work, first come, first served.
///
/// Semantics: threads start when there is work for them, at most `threads`, and stay. At most `queue_limit` pieces wait
/// for a thread. All signals are blocked in the threads; the kernel shows them as "name/0", "name/1", …
/// The destructor runs what is queued, then joins.
/// Errors: `submit` gives false when the queue is full (or not even a first thread could be started): nothing was queued.
/// Thread safety: all members from any thread; destruction from one.
/// Example: `horus::io::ThreadPool disk("disk", 2, 64);  auto size = co_await horus::io::offload_on(disk, measure, path);`
class HORUS_API ThreadPool {
 public:
  struct QueueTag;
  /// Work that lives with whoever waits for it, so that queueing it allocates nothing. It must stay until it has run
  /// or `cancel` has given true.
  struct Job : ListHook<QueueTag> {
    void (*run)(Job& self) noexcept = nullptr;  ///< on a thread of the pool
  };

  ThreadPool(std::string_view name, unsigned threads, std::size_t queue_limit);
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  /// The pool of this process for `offload` and `resolve`: twice as many threads as CPUs, 4 to 32, and 1024 places in
  /// the queue. It lives until the process ends; a child of fork() gets a new one.
  static ThreadPool& standard();
  /// The pool that the epoll backend reads and writes files with, apart from `standard()` so that slow user work does
  /// not hold up files.
  static ThreadPool& files();

  /// Queues `work`. What it throws ends the program.
  [[nodiscard]] bool submit(Work work);
  [[nodiscard]] bool submit(Job& job) noexcept;
  /// Takes a job back that has not started: true, and it never will. False: it runs, or has run.
  [[nodiscard]] bool cancel(Job& job) noexcept;

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] unsigned thread_limit() const noexcept { return thread_limit_; }
  [[nodiscard]] std::size_t queue_limit() const noexcept { return queue_limit_; }
  /// Threads started so far, and pieces of work that wait for one.
  [[nodiscard]] std::size_t threads() const noexcept;
  [[nodiscard]] std::size_t queued() const noexcept;

 private:
  bool start_thread() noexcept;
  void serve(std::size_t number) noexcept;

  const std::string name_;
  const unsigned thread_limit_;
  const std::size_t queue_limit_;
  mutable std::mutex mutex_;
  std::condition_variable work_;
  IntrusiveList<Job, QueueTag> queue_;  // this and what follows: under mutex_
  std::size_t queued_ = 0;
  std::size_t idle_ = 0;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace horus::io
