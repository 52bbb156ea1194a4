// SPDX-License-Identifier: Apache-2.0
#include <horus/io/offload.hpp>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <pthread.h>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/io/time.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/when_all.hpp>

#include "../support/captured_log.hpp"
#include "../support/real_kernel.hpp"

using horus::Result;
using horus::Task;
using horus::io::ThreadPool;
using namespace horus::literals;

namespace {

// Holds pool threads where the test wants them.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait_for(int threads) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ >= threads; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  bool open_ = false;
};

}  // namespace

TEST_CASE("a pool runs everything it has taken before it is destroyed") {
  std::atomic<int> ran{0};
  {
    ThreadPool pool("drain", 2, 100);
    for (int i = 0; i < 50; ++i) REQUIRE(pool.submit([&] { ran.fetch_add(1); }));
  }
  CHECK(ran.load() == 50);
}

TEST_CASE("a pool starts no thread before there is work, and never more than its limit") {
  Gate gate;  // before the pool, whose threads it outlives
  ThreadPool pool("lazy", 2, 100);
  CHECK(pool.threads() == 0);
  for (int i = 0; i < 5; ++i) REQUIRE(pool.submit([&] { gate.pass(); }));
  gate.wait_for(2);
  CHECK(pool.threads() == 2);
  CHECK(pool.queued() == 3);
  gate.open();
}

TEST_CASE("a full pool refuses and keeps what it has") {
  Gate gate;
  ThreadPool pool("full", 1, 2);
  REQUIRE(pool.submit([&] { gate.pass(); }));
  gate.wait_for(1);
  CHECK(pool.submit([] {}));
  CHECK(pool.submit([] {}));
  CHECK_FALSE(pool.submit([] {}));
  gate.open();
}

TEST_CASE("a queued job can be taken back, a running one cannot") {
  Gate gate;
  struct Counted : ThreadPool::Job {
    Gate* gate = nullptr;
    int ran = 0;
  };
  Counted first;
  Counted second;
  first.gate = &gate;
  first.run = second.run = [](ThreadPool::Job& job) noexcept {
    auto& self = static_cast<Counted&>(job);
    ++self.ran;
    if (self.gate != nullptr) self.gate->pass();
  };
  {
    ThreadPool inner("inner", 1, 8);
    REQUIRE(inner.submit(static_cast<ThreadPool::Job&>(first)));
    gate.wait_for(1);
    REQUIRE(inner.submit(static_cast<ThreadPool::Job&>(second)));
    CHECK_FALSE(inner.cancel(first));
    CHECK(inner.cancel(second));
    CHECK_FALSE(inner.cancel(second));
    gate.open();
  }
  CHECK(first.ran == 1);
  CHECK(second.ran == 0);
}

TEST_CASE("the threads of a pool are named and take no signals") {
  char name[16] = {};
  sigset_t blocked;
  ::sigemptyset(&blocked);
  Gate done;
  ThreadPool pool("a-long-pool-name", 1, 8);
  std::thread waiter([&] { done.pass(); });
  REQUIRE(pool.submit([&] {
    ::pthread_getname_np(::pthread_self(), name, sizeof name);
    ::pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    done.open();
  }));
  waiter.join();
  CHECK(std::string(name) == "a-long-pool-n/0");
  CHECK(::sigismember(&blocked, SIGINT) == 1);
  CHECK(::sigismember(&blocked, SIGTERM) == 1);
  CHECK(::sigismember(&blocked, SIGCHLD) == 1);
}

TEST_CASE("an offloaded function runs on another thread and its value comes home") {
  const auto home = std::this_thread::get_id();
  auto body = [&]() -> Task<> {
    auto length = co_await horus::io::offload([](const std::string& text) { return text.size(); },
                                              std::string("horus"));
    CHECK(*length == 5);
    CHECK(std::this_thread::get_id() == home);
    auto where = co_await horus::io::offload([] { return std::this_thread::get_id(); });
    CHECK((*where != home || horus::testing::simulated()));  // there it runs here, later
    auto moved =
        co_await horus::io::offload([](std::unique_ptr<int> n) { return *n + 1; }, std::make_unique<int>(41));
    CHECK(*moved == 42);
    auto nothing = co_await horus::io::offload([] {});
    CHECK(nothing.ok());
  };
  horus::io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a Result and an exception cross back from the pool") {
  auto body = []() -> Task<> {
    auto failed = co_await horus::io::offload([]() -> Result<int> { return horus::Error(ENOENT, "look"); });
    CHECK(failed.code() == ENOENT);
    bool thrown = false;
    try {
      auto never = co_await horus::io::offload([]() -> int { throw std::runtime_error("slow library"); });
      CHECK_FALSE(never.ok());
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    CHECK(thrown);
  };
  horus::io::run(body());
}

TEST_CASE("a full queue is an error that names the pool") {
  NEEDS_REAL_KERNEL("threads that a test holds back");
  Gate gate;
  ThreadPool pool("tiny", 1, 1);
  REQUIRE(pool.submit([&] { gate.pass(); }));
  gate.wait_for(1);
  REQUIRE(pool.submit([] {}));
  auto body = [&]() -> Task<> {
    auto refused = co_await horus::io::offload_on(pool, [] { return 1; });
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.code() == EAGAIN);
    CHECK(refused.error().message().find("tiny") != std::string::npos);
  };
  horus::io::run(body());
  gate.open();
}

TEST_CASE("a call that waits for a thread is taken back when its task is stopped") {
  NEEDS_REAL_KERNEL("threads that a test holds back");
  Gate gate;
  ThreadPool pool("busy", 1, 4);
  REQUIRE(pool.submit([&] { gate.pass(); }));
  gate.wait_for(1);
  auto call = [&]() -> Task<Result<int>> {
    auto value = co_await horus::io::offload_on(pool, [] { return 1; });
    co_return value;
  };
  auto body = [&]() -> Task<> {
    auto late = co_await horus::with_timeout(1ms, call());
    CHECK(late.code() == ETIMEDOUT);
  };
  horus::io::run(body());
  gate.open();
}

TEST_CASE("a call that runs is awaited when its task is stopped, and its value delivered") {
  NEEDS_REAL_KERNEL("threads that a test holds back");
  Gate gate;
  ThreadPool pool("running", 1, 4);
  auto call = [&]() -> Task<Result<int>> {
    auto value = co_await horus::io::offload_on(
        pool,
        [](Gate* held) {
          held->pass();
          return 7;
        },
        &gate);
    co_return value;
  };
  auto body = [&]() -> Task<> {
    horus::Scope scope;
    auto handle = scope.spawn(call());
    co_await horus::yield();
    gate.wait_for(1);
    scope.cancel();
    co_await horus::yield();
    CHECK_FALSE(handle.done());
    gate.open();
    co_await scope.join();
    auto value = handle.take();
    CHECK(*value == 7);
  };
  horus::io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("more calls come home at once than the mailbox could hold") {
  horus::io::ReactorConfig config;
  config.mailbox_entries = 2;
  ThreadPool pool("many", 4, 1024);
  auto one = [&](int n) -> Task<int> {
    auto value = co_await horus::io::offload_on(pool, [](int k) { return k; }, n);
    co_return *value;
  };
  auto body = [&]() -> Task<long> {
    std::vector<Task<int>> calls;
    for (int i = 0; i < 500; ++i) calls.push_back(one(i));
    auto values = co_await horus::when_all(std::move(calls));
    long sum = 0;
    for (const int value : values) sum += value;
    co_return sum;
  };
  CHECK(horus::io::run(body(), config) == 500L * 499 / 2);
}

TEST_CASE("a reactor may die the moment its last call has come home") {
  for (int round = 0; round < 300; ++round) {
    auto body = [](int n) -> Task<int> {
      auto value = co_await horus::io::offload([](int k) { return k + 1; }, n);
      co_return *value;
    };
    CHECK(horus::io::run(body(round)) == round + 1);
  }
}

TEST_CASE("an offload inside an offload does not wait for itself, however many there are") {
  NEEDS_REAL_KERNEL("threads that wait");
  ThreadPool pool("nested", 2, 64);
  auto inner = [](ThreadPool* own, int depth, auto self) -> int {
    if (depth == 0) return 1;
    auto call = [](ThreadPool& same, int below, auto again) -> Task<int> {
      auto offloaded = co_await horus::io::offload_on(same, again, &same, below, again);
      co_return std::move(offloaded).or_throw();
    };
    return 1 + horus::io::run(call(*own, depth - 1, self));
  };
  auto body = [&]() -> Task<> {
    horus::Scope scope;
    std::vector<horus::Spawned<int>> calls;
    for (int i = 0; i < 6; ++i) {
      calls.push_back(scope.spawn([](ThreadPool& own, auto function) -> Task<int> {
        auto offloaded = co_await horus::io::offload_on(own, function, &own, 3, function);
        co_return std::move(offloaded).or_throw();
      }(pool, inner)));
    }
    co_await scope.join();
    for (auto& call : calls) CHECK(call.take() == 4);
  };
  horus::io::run(body());
}

TEST_CASE("the end of a reactor is bounded and asleep when a call on a pool does not return") {
  NEEDS_REAL_KERNEL("threads that wait");
  const horus::testing::CapturedLog log;
  auto gate = std::make_shared<Gate>();
  const auto frames = horus::live_frames();
  ThreadPool pool("stuck", 1, 4);
  std::int64_t took_ns = 0;
  std::int64_t cpu_ns = 0;
  const auto thread_cpu = [] {
    timespec now;
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
  };
  {
    horus::io::ReactorConfig config;
    config.drain_limit = 100_ms;
    horus::io::Reactor reactor(config);
    auto stuck = [](ThreadPool& on, std::shared_ptr<Gate> at) -> Task<> {
      // Its limit's timer is still there when everything ends.
      auto late = co_await horus::with_timeout(1h, [](ThreadPool& own, std::shared_ptr<Gate> held) -> Task<> {
        static_cast<void>(
            co_await horus::io::offload_on(own, [](const std::shared_ptr<Gate>& g) { g->pass(); }, held));
      }(on, at));
      static_cast<void>(late);
    };
    static_cast<void>(reactor.spawn(stuck(pool, gate), "camera"));
    reactor.run([&]() -> Task<> {
      co_await horus::yield();
      co_await horus::yield();
      gate->wait_for(1);
    });
    took_ns = horus::monotonic_ns();
    cpu_ns = thread_cpu();
  }
  took_ns = horus::monotonic_ns() - took_ns;
  cpu_ns = thread_cpu() - cpu_ns;
  CHECK(took_ns >= 100'000'000);
  CHECK(took_ns < 2'000'000'000);
  CHECK(cpu_ns < 50'000'000);
  gate->open();  // the call returns to a reactor that is gone, and touches nothing of it
  CHECK(log.has("camera"));
  CHECK(log.has("pool stuck"));
  CHECK(horus::live_frames() > frames);  // leaked on purpose
}

TEST_CASE("the end of a pool is bounded: a call that does not return is named and left behind") {
  NEEDS_REAL_KERNEL("threads that wait");
  const horus::testing::CapturedLog log;
  auto gate = std::make_shared<Gate>();
  std::weak_ptr<int> queued;
  {
    ThreadPool pool("camera", 1, 4, 50_ms);
    REQUIRE(pool.submit([gate] { gate->pass(); }));
    gate->wait_for(1);
    auto owned = std::make_shared<int>(7);
    queued = owned;
    REQUIRE(pool.submit([kept = std::move(owned)] { FAIL("the pool is gone"); }));
  }
  CHECK(log.count("thread pool camera: 1 call(s) did not return within 50 ms") == 1);
  gate->open();
  while (!queued.expired()) std::this_thread::yield();  // what never ran is freed by the last thread
}
