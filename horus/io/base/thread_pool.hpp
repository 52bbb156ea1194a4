// SPDX-License-Identifier: Apache-2.0
// Threads for work that blocks: name look-ups, slow libraries, file operations where there is no io_uring.
// Any thread may submit. The pool owns its threads and the Work given to it; a Job belongs to whoever waits for it.
#pragma once

#include <horus/base/compiler.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/intrusive_list.hpp>
#include <horus/io/base/work.hpp>

namespace horus::HORUS_ABI::io {

/// A bounded, named set of threads that run blocking work, first come, first served.
///
/// Semantics: threads start when there is work for them, at most `threads`, and stay. At most `queue_limit` pieces wait
/// for a thread. All signals are blocked in the threads; the kernel shows them as "name/0", "name/1", …
/// Work that a thread of the pool hands to its own pool (an `offload` inside an `offload`) does not wait for the threads
/// that wait for it: it goes first, on a thread beyond the limit where need be, at most kNestedThreads of them.
/// The destructor runs what is queued and waits for it, at most `drain_limit`; then it names the calls that did not
/// return, and leaves their threads behind.
/// Errors: `submit` gives false when the queue is full (or not even a first thread could be started): nothing was queued.
/// Thread safety: all members from any thread; destruction from one.
/// Example: `horus::io::ThreadPool disk("disk", 2, 64);  auto size = co_await horus::io::offload_on(disk, measure, path);`
class HORUS_API ThreadPool {
 public:
  static constexpr unsigned kNestedThreads = 64;
  static constexpr Duration kDrainLimit = std::chrono::seconds(5);

  struct QueueTag;
  /// Work that lives with whoever waits for it, so that queueing it allocates nothing. It must stay until it has run
  /// or `cancel` has given true.
  struct Job : ListHook<QueueTag> {
    void (*run)(Job& self) noexcept = nullptr;   ///< on a thread of the pool
    void (*drop)(Job& self) noexcept = nullptr;  ///< instead, when the pool ends before; null: nothing to do
    bool nested = false;                         ///< the pool's own note: handed over by one of its threads
  };

  ThreadPool(std::string_view name, unsigned threads, std::size_t queue_limit,
             Duration drain_limit = kDrainLimit);
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  // The pools of this process. Each kind of work has its own, so that calls which hang hold up nothing but their own
  // kind. They live until the process ends, which does not wait for them; a child of fork() gets new ones.

  /// For `offload`: twice as many threads as CPUs, 4 to 32, and 1024 places in the queue.
  static ThreadPool& standard();
  /// Files and folders, where the kernel has no operation for it or there is no io_uring.
  static ThreadPool& files();
  /// Closes that may take long: a lingering socket, a serial line that drains, a file of a server.
  static ThreadPool& closings();
  /// Calls that wait for somebody else (a file server), so that they hold up nobody's files but their own.
  static ThreadPool& patient();
  /// Starting child processes.
  static ThreadPool& spawns();
  /// Looking up host names.
  static ThreadPool& names();

  /// Queues `work`. What it throws ends the program.
  [[nodiscard]] bool submit(Work work);
  [[nodiscard]] bool submit(Job& job) noexcept;
  /// Takes a job back that has not started: true, and it never will. False: it runs, or has run.
  [[nodiscard]] bool cancel(Job& job) noexcept;

  [[nodiscard]] const std::string& name() const noexcept;
  [[nodiscard]] unsigned thread_limit() const noexcept;
  [[nodiscard]] std::size_t queue_limit() const noexcept;
  /// Threads started so far, and pieces of work that wait for one.
  [[nodiscard]] std::size_t threads() const noexcept;
  [[nodiscard]] std::size_t queued() const noexcept;

 private:
  struct Core;
  const std::shared_ptr<Core> core_;  // shared with the threads: one whose call hangs may outlive the pool
  const Duration drain_limit_;
};

}  // namespace horus::HORUS_ABI::io
