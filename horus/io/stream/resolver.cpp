// SPDX-License-Identifier: Apache-2.0
#include <horus/io/stream/resolver.hpp>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>

#include <pthread.h>

#include <fmt/format.h>

#include <horus/io/base/thread_pool.hpp>
#include <horus/io/reactor.hpp>

namespace horus::HORUS_ABI::io::detail {

// One question to the system's resolver. It belongs to the pool from its start to its end, whoever still waits.
struct LookUp : ThreadPool::Job {
  LookUp(System::NameLookUp asked, std::string name) : function(asked), host(std::move(name)) {}
  System::NameLookUp function;
  std::string host;
  std::vector<std::shared_ptr<Answer>> waiting;  // under the resolver's mutex
};

namespace {

// Never destroyed: a look-up may still be under way while the process ends.
struct Resolver {
  std::mutex mutex;
  std::map<std::string, LookUp*, std::less<>> under_way;  // at most what the pool takes
};

std::atomic<Resolver*> the_resolver{nullptr};

// A child of fork() has none of the threads, and the mutex may be locked for ever.
void forget_after_fork() noexcept { the_resolver.store(nullptr, std::memory_order_relaxed); }

Resolver& resolver() {
  Resolver* existing = the_resolver.load(std::memory_order_acquire);
  if (existing != nullptr) return *existing;
  static const int once = ::pthread_atfork(nullptr, nullptr, &forget_after_fork);
  static_cast<void>(once);
  auto fresh = std::make_unique<Resolver>();
  if (the_resolver.compare_exchange_strong(existing, fresh.get(), std::memory_order_acq_rel))
    return *fresh.release();
  return *existing;
}

// On the resolver's thread.
void ask(ThreadPool::Job& job) noexcept {
  const std::unique_ptr<LookUp> look_up(static_cast<LookUp*>(&job));
  const Result<std::vector<Address>> found = look_up->function(look_up->host, 0);
  std::vector<std::shared_ptr<Answer>> waiting;
  {
    Resolver& all = resolver();
    const std::lock_guard lock(all.mutex);
    all.under_way.erase(look_up->host);
    waiting = std::move(look_up->waiting);
    for (const auto& answer : waiting) answer->look_up = nullptr;
  }
  for (auto& answer : waiting) {
    if (found) {
      answer->addresses = *found;
    } else {
      answer->error = found.error();
    }
    const std::shared_ptr<Waker> home = answer->home;
    home->hand_over([answer = std::move(answer)] {
      if (Waiter* waiter = std::exchange(answer->waiter, nullptr)) waiter->make_ready();
    });
  }
}

}  // namespace

const WaitKind LookUpAwaiter::kKind{.name = "the address of",
                                    .cancel = &LookUpAwaiter::cancel,
                                    .describe = &LookUpAwaiter::describe,
                                    .children = nullptr};

bool LookUpAwaiter::begin() {
  answer_ = std::make_shared<Answer>();
  answer_->home = Reactor::current()->waker();
  answer_->waiter = this;
  Resolver& all = resolver();
  const std::lock_guard lock(all.mutex);
  if (const auto shared = all.under_way.find(host_); shared != all.under_way.end()) {
    answer_->look_up = shared->second;
    shared->second->waiting.push_back(answer_);
  } else {
    auto look_up = std::make_unique<LookUp>(function_, host_);
    look_up->run = &ask;
    look_up->waiting.push_back(answer_);
    answer_->look_up = look_up.get();
    all.under_way.emplace(host_, look_up.get());
    if (!ThreadPool::names().submit(static_cast<ThreadPool::Job&>(*look_up))) {
      all.under_way.erase(host_);
      refused_ = EAGAIN;
      return false;
    }
    static_cast<void>(look_up.release());
  }
  refused_ = 0;
  return true;
}

// The answer is left to the look-up; one that nobody waits for any more and that has not begun is taken back.
void LookUpAwaiter::cancel(Waiter& waiter) noexcept {
  auto& self = static_cast<LookUpAwaiter&>(waiter);
  self.refused_ = ECANCELED;
  self.answer_->waiter = nullptr;
  {
    Resolver& all = resolver();
    const std::lock_guard lock(all.mutex);
    if (LookUp* look_up = self.answer_->look_up) {
      std::erase(look_up->waiting, self.answer_);
      if (look_up->waiting.empty() && ThreadPool::names().cancel(*look_up)) {
        all.under_way.erase(look_up->host);
        delete look_up;
      }
    }
  }
  self.make_ready();
}

void LookUpAwaiter::describe(const Waiter& waiter, std::string& line) {
  fmt::format_to(std::back_inserter(line), " \"{}\"", static_cast<const LookUpAwaiter&>(waiter).host_);
}

Result<std::vector<Address>> LookUpAwaiter::await_resume() {
  if (refused_ == EAGAIN) {
    const ThreadPool& pool = ThreadPool::names();
    return Error(
        EAGAIN, "resolve",
        fmt::format("{} ({} look-ups of other names get no answer, and {} wait: is the name server there?)",
                    host_, pool.thread_limit(), pool.queued()));
  }
  if (refused_ != 0) return Error(refused_, "resolve", host_);
  if (answer_->error.code() != 0) return answer_->error;
  return std::move(answer_->addresses);
}

}  // namespace horus::HORUS_ABI::io::detail
