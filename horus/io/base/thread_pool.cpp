// SPDX-License-Identifier: Apache-2.0
#include <horus/io/base/thread_pool.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>

#include <fmt/format.h>

#include <horus/base/assert.hpp>
#include <horus/base/log.hpp>

namespace horus::HORUS_ABI::io {

// What a pool and its threads share.
struct ThreadPool::Core : std::enable_shared_from_this<ThreadPool::Core> {
  struct Worker {
    std::thread thread;
    bool ended = false;
  };

  Core(std::string_view called, unsigned threads, std::size_t queue)
      : name(called), thread_limit(threads), queue_limit(queue) {
    HORUS_ASSERT(threads > 0 && queue > 0,
                 "a thread pool needs at least one thread and one place in its queue");
    workers.reserve(thread_limit + kNestedThreads);
  }
  ~Core() {
    for (IntrusiveList<Job, QueueTag>* jobs : {&nested, &queue}) {
      while (Job* job = jobs->pop_front()) {
        if (job->drop != nullptr) job->drop(*job);
      }
    }
  }

  bool submit(Job& job) noexcept;
  bool submit_nested(Job& job) noexcept;
  bool start_thread() noexcept;
  void serve(std::size_t number) noexcept;
  Job* next(bool beyond_limit) noexcept;
  void end(Duration limit) noexcept;

  const std::string name;
  const unsigned thread_limit;
  const std::size_t queue_limit;
  mutable std::mutex mutex;
  std::condition_variable work;         // for the threads within the limit
  std::condition_variable nested_work;  // for those beyond it
  std::condition_variable worker_ended;
  IntrusiveList<Job, QueueTag> queue;  // this and what follows: under the mutex
  IntrusiveList<Job, QueueTag> nested;
  std::size_t queued = 0;
  std::size_t nested_queued = 0;
  std::size_t idle = 0;
  std::size_t idle_beyond = 0;
  bool ending = false;
  bool abandoned = false;  // nobody waits for the queue any more
  std::vector<Worker> workers;
};

namespace {

constexpr unsigned kStandardThreadsMin = 4;
constexpr unsigned kStandardThreadsMax = 32;
constexpr std::size_t kStandardQueue = 1024;
constexpr unsigned kFileThreadsMin = 4;
constexpr unsigned kFileThreadsMax = 16;
constexpr std::size_t kFileQueue = 65536;  // reactors bound what each of them has in flight
constexpr unsigned kPatientThreads = 32;
constexpr unsigned kClosingThreads = 8;
constexpr std::size_t kClosingQueue = 65536;  // descriptors: RLIMIT_NOFILE bounds them
constexpr unsigned kSpawnThreads = 4;         // a spawn is over when the kernel has read the program
constexpr std::size_t kSpawnQueue = 4096;
constexpr unsigned kNameThreads = 16;  // names that no server answers for, at the same time
constexpr std::size_t kNameQueue = 256;
constexpr std::size_t kThreadNameMax = 15;  // characters, pthread_setname_np(3)

thread_local const void* serves = nullptr;  // the core whose work this thread runs

// Never destroyed: threads may still be at work while the process runs its static destructors.
enum Shared : std::size_t { kStandard, kFiles, kClosings, kPatient, kSpawns, kNames, kSharedPools };
std::array<std::atomic<ThreadPool*>, kSharedPools> shared_pools{};

// A child of fork() has the pools' memory and none of their threads, and their mutexes may be locked for ever.
void forget_after_fork() noexcept {
  for (auto& pool : shared_pools) pool.store(nullptr, std::memory_order_relaxed);
  serves = nullptr;
}

unsigned between(unsigned low, unsigned high) {
  return std::clamp(2 * std::thread::hardware_concurrency(), low, high);
}

ThreadPool& shared(Shared which, const char* name, unsigned threads, std::size_t queue_limit) {
  std::atomic<ThreadPool*>& pool = shared_pools[which];
  ThreadPool* existing = pool.load(std::memory_order_acquire);
  if (existing != nullptr) return *existing;
  static const int once = ::pthread_atfork(nullptr, nullptr, &forget_after_fork);
  static_cast<void>(once);
  auto fresh = std::make_unique<ThreadPool>(name, threads, queue_limit);
  if (pool.compare_exchange_strong(existing, fresh.get(), std::memory_order_acq_rel)) return *fresh.release();
  return *existing;
}

struct OwnedWork : ThreadPool::Job {
  explicit OwnedWork(Work given) noexcept : work(std::move(given)) {
    run = [](Job& job) noexcept {
      const std::unique_ptr<OwnedWork> self(static_cast<OwnedWork*>(&job));
      self->work();
    };
    drop = [](Job& job) noexcept { delete static_cast<OwnedWork*>(&job); };
  }
  Work work;
};

}  // namespace

ThreadPool& ThreadPool::standard() {
  return shared(kStandard, "horus-pool", between(kStandardThreadsMin, kStandardThreadsMax), kStandardQueue);
}
ThreadPool& ThreadPool::files() {
  return shared(kFiles, "horus-files", between(kFileThreadsMin, kFileThreadsMax), kFileQueue);
}
ThreadPool& ThreadPool::closings() {
  return shared(kClosings, "horus-close", kClosingThreads, kClosingQueue);
}
ThreadPool& ThreadPool::patient() { return shared(kPatient, "horus-patient", kPatientThreads, kFileQueue); }
ThreadPool& ThreadPool::spawns() { return shared(kSpawns, "horus-spawn", kSpawnThreads, kSpawnQueue); }
ThreadPool& ThreadPool::names() { return shared(kNames, "horus-names", kNameThreads, kNameQueue); }

ThreadPool::ThreadPool(std::string_view name, unsigned threads, std::size_t queue_limit, Duration drain_limit)
    : core_(std::make_shared<Core>(name, threads, queue_limit)), drain_limit_(drain_limit) {}

ThreadPool::~ThreadPool() { core_->end(drain_limit_); }

bool ThreadPool::submit(Work work) {
  auto job = std::make_unique<OwnedWork>(std::move(work));
  if (!submit(static_cast<Job&>(*job))) return false;
  static_cast<void>(job.release());
  return true;
}

bool ThreadPool::submit(Job& job) noexcept {
  return serves == core_.get() ? core_->submit_nested(job) : core_->submit(job);
}

bool ThreadPool::cancel(Job& job) noexcept {
  const std::lock_guard lock(core_->mutex);
  if (!job.linked()) return false;
  job.unlink();
  --(job.nested ? core_->nested_queued : core_->queued);
  return true;
}

const std::string& ThreadPool::name() const noexcept { return core_->name; }
unsigned ThreadPool::thread_limit() const noexcept { return core_->thread_limit; }
std::size_t ThreadPool::queue_limit() const noexcept { return core_->queue_limit; }

std::size_t ThreadPool::threads() const noexcept {
  const std::lock_guard lock(core_->mutex);
  return core_->workers.size();
}

std::size_t ThreadPool::queued() const noexcept {
  const std::lock_guard lock(core_->mutex);
  return core_->queued + core_->nested_queued;
}

// --- The core ---------------------------------------------------------------------------------------------------------

bool ThreadPool::Core::submit(Job& job) noexcept {
  {
    const std::lock_guard lock(mutex);
    if (queued >= queue_limit) return false;
    // Waiting threads that were notified and have not run yet count as idle, but their job still counts as queued.
    if (idle <= queued + nested_queued && workers.size() < thread_limit && !start_thread() && workers.empty())
      return false;
    job.nested = false;
    queue.push_back(job);
    ++queued;
  }
  work.notify_one();
  return true;
}

// Whoever hands this over occupies a thread until it is done, so it must not wait for that thread.
bool ThreadPool::Core::submit_nested(Job& job) noexcept {
  {
    const std::lock_guard lock(mutex);
    if (nested_queued >= queue_limit) return false;
    if (idle + idle_beyond <= queued + nested_queued) {
      const bool room = workers.size() < thread_limit + kNestedThreads;
      if (!room || !start_thread()) return false;
    }
    job.nested = true;
    nested.push_back(job);
    ++nested_queued;
  }
  work.notify_one();
  nested_work.notify_one();
  return true;
}

// Under the mutex. The new thread inherits the mask: no signal may be handled on it, not even for a moment.
bool ThreadPool::Core::start_thread() noexcept {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = true;
  try {
    workers.emplace_back();
    workers.back().thread =
        std::thread([self = shared_from_this(), number = workers.size() - 1] { self->serve(number); });
  } catch (const std::system_error&) {
    workers.pop_back();
    started = false;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

ThreadPool::Job* ThreadPool::Core::next(bool beyond_limit) noexcept {
  if (abandoned) return nullptr;
  if (Job* job = nested.pop_front()) {
    --nested_queued;
    return job;
  }
  if (beyond_limit) return nullptr;
  Job* job = queue.pop_front();
  if (job != nullptr) --queued;
  return job;
}

void ThreadPool::Core::serve(std::size_t number) noexcept {
  const std::string suffix = fmt::format("/{}", number);
  const std::string shown = name.substr(0, kThreadNameMax - suffix.size()) + suffix;
  ::pthread_setname_np(::pthread_self(), shown.c_str());
  serves = this;
  const bool beyond_limit = number >= thread_limit;
  std::unique_lock lock(mutex);
  while (true) {
    if (Job* job = next(beyond_limit)) {
      lock.unlock();
      job->run(*job);
      lock.lock();
      continue;
    }
    if (ending) break;
    std::size_t& waiting = beyond_limit ? idle_beyond : idle;
    ++waiting;
    (beyond_limit ? nested_work : work).wait(lock);
    --waiting;
  }
  workers[number].ended = true;
  worker_ended.notify_all();
}

void ThreadPool::Core::end(Duration limit) noexcept {
  std::unique_lock lock(mutex);
  ending = true;
  work.notify_all();
  nested_work.notify_all();
  const auto all_ended = [this] {
    return std::all_of(workers.begin(), workers.end(), [](const Worker& worker) { return worker.ended; });
  };
  if (!worker_ended.wait_for(lock, limit, all_ended)) {
    abandoned = true;
    const auto busy = std::count_if(workers.begin(), workers.end(), [](const Worker& w) { return !w.ended; });
    log_error(
        fmt::format("thread pool {}: {} call(s) did not return within {} ms of its end; their threads are "
                    "left behind, and {} "
                    "queued call(s) never run",
                    name, busy, limit.count() / 1'000'000, queued + nested_queued));
  }
  std::vector<std::thread> ended;
  for (Worker& worker : workers) {
    if (!worker.thread.joinable()) continue;
    if (worker.ended) {
      ended.push_back(std::move(worker.thread));
    } else {
      worker.thread.detach();
    }
  }
  lock.unlock();
  for (std::thread& thread : ended) thread.join();
}

}  // namespace horus::HORUS_ABI::io
