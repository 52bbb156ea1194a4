// SPDX-License-Identifier: Apache-2.0
#include <horus/io/thread_pool.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <memory>
#include <system_error>

#include <pthread.h>

#include <fmt/format.h>

#include <horus/base/assert.hpp>

namespace horus::io {
namespace {

constexpr unsigned kStandardThreadsMin = 4;
constexpr unsigned kStandardThreadsMax = 32;
constexpr std::size_t kStandardQueue = 1024;
constexpr unsigned kFileThreadsMin = 4;
constexpr unsigned kFileThreadsMax = 16;
constexpr std::size_t kFileQueue = 65536;   // reactors bound what each of them has in flight
constexpr std::size_t kThreadNameMax = 15;  // characters, pthread_setname_np(3)

// Never destroyed: threads may still be at work while the process runs its static destructors.
std::atomic<ThreadPool*> standard_pool{nullptr};
std::atomic<ThreadPool*> file_pool{nullptr};

// A child of fork() has the pools' memory and none of their threads, and their mutexes may be locked for ever.
void forget_after_fork() noexcept {
  standard_pool.store(nullptr, std::memory_order_relaxed);
  file_pool.store(nullptr, std::memory_order_relaxed);
}

unsigned between(unsigned low, unsigned high) {
  return std::clamp(2 * std::thread::hardware_concurrency(), low, high);
}

ThreadPool& shared(std::atomic<ThreadPool*>& pool, const char* name, unsigned threads,
                   std::size_t queue_limit) {
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
  }
  Work work;
};

}  // namespace

ThreadPool& ThreadPool::standard() {
  return shared(standard_pool, "horus-pool", between(kStandardThreadsMin, kStandardThreadsMax),
                kStandardQueue);
}

ThreadPool& ThreadPool::files() {
  return shared(file_pool, "horus-files", between(kFileThreadsMin, kFileThreadsMax), kFileQueue);
}

ThreadPool::ThreadPool(std::string_view name, unsigned threads, std::size_t queue_limit)
    : name_(name), thread_limit_(threads), queue_limit_(queue_limit) {
  HORUS_ASSERT(threads > 0 && queue_limit > 0,
               "a thread pool needs at least one thread and one place in its queue");
  threads_.reserve(threads);
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool ThreadPool::submit(Work work) {
  auto job = std::make_unique<OwnedWork>(std::move(work));
  if (!submit(static_cast<Job&>(*job))) return false;
  static_cast<void>(job.release());
  return true;
}

bool ThreadPool::submit(Job& job) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (queued_ >= queue_limit_) return false;
    // Waiting threads that were notified and have not run yet count as idle, but their job still counts as queued.
    if (idle_ <= queued_ && threads_.size() < thread_limit_ && !start_thread() && threads_.empty())
      return false;
    queue_.push_back(job);
    ++queued_;
  }
  work_.notify_one();
  return true;
}

bool ThreadPool::cancel(Job& job) noexcept {
  const std::lock_guard lock(mutex_);
  if (!job.linked()) return false;
  job.unlink();
  --queued_;
  return true;
}

std::size_t ThreadPool::threads() const noexcept {
  const std::lock_guard lock(mutex_);
  return threads_.size();
}

std::size_t ThreadPool::queued() const noexcept {
  const std::lock_guard lock(mutex_);
  return queued_;
}

// Under mutex_. The new thread inherits the mask: no signal may be handled on it, not even for a moment.
bool ThreadPool::start_thread() noexcept {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = true;
  try {
    threads_.emplace_back([this, number = threads_.size()] { serve(number); });
  } catch (const std::system_error&) {
    started = false;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

void ThreadPool::serve(std::size_t number) noexcept {
  const std::string suffix = fmt::format("/{}", number);
  const std::string shown = name_.substr(0, kThreadNameMax - suffix.size()) + suffix;
  ::pthread_setname_np(::pthread_self(), shown.c_str());
  std::unique_lock lock(mutex_);
  while (true) {
    Job* job = queue_.pop_front();
    if (job != nullptr) {
      --queued_;
      lock.unlock();
      job->run(*job);
      lock.lock();
      continue;
    }
    if (ending_) return;
    ++idle_;
    work_.wait(lock);
    --idle_;
  }
}

}  // namespace horus::io
