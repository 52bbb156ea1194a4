// SPDX-License-Identifier: Apache-2.0
// What only real threads can show: a blocked loop, signals, executors.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/scheduler.hpp>

#include "../support/captured_log.hpp"

using horus::PlainNode;
using horus::Scheduler;
using horus::Task;
using horus::testing::CapturedLog;
using namespace horus::literals;

namespace {

// Keeps its thread until somebody lets go, or 10 s have passed. It computes or sleeps, nothing in between.
struct Blocker {
  std::atomic<bool> blocking{false};
  std::atomic<bool> released{false};
  bool spin = false;
  void block() {
    const auto end = std::chrono::steady_clock::now() + 10s;
    blocking.store(true);
    if (spin) {
      while (!released.load() && std::chrono::steady_clock::now() < end) {
      }
    } else {
      std::unique_lock lock(mutex_);
      changed_.wait_until(lock, end, [this] { return released.load(); });
    }
  }
  void release() noexcept {
    const std::lock_guard lock(mutex_);
    released.store(true);
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

class Blocking : public PlainNode {
 public:
  Blocking(Blocker& blocker, std::atomic<int>& safe_states) : blocker_(blocker), safe_states_(safe_states) {}
  void tick() override {
    if (ticks_++ == 1) blocker_.block();
  }
  void enter_safe_state() noexcept override {
    safe_states_.fetch_add(1);
    blocker_.release();
  }

 private:
  Blocker& blocker_;
  std::atomic<int>& safe_states_;
  int ticks_ = 0;
};

// Runs `child` in a process of its own; gives its wait status.
template <class F>
int status_of(F child) {
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::alarm(30);
    child();
    ::_exit(99);
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return status;
}

}  // namespace

TEST_CASE(
    "a blocked thread is reported with its stack and whether it computes, and its safe state is entered") {
  CapturedLog log;
  for (const bool spin : {true, false}) {
    CAPTURE(spin);
    Blocker blocker;
    blocker.spin = spin;
    std::atomic<int> safe_states{0};
    Scheduler scheduler(horus::SchedulerConfig::standard().with_timeline(10'000));
    auto node = std::make_unique<Blocking>(blocker, safe_states);
    scheduler.add(std::move(node)).rate(100_hz).watchdog(50ms);
    int after = 0;
    scheduler
        .add("after",
             [&] {
               if (blocker.released.load() && ++after == 3) scheduler.stop();
             })
        .rate(100_hz);
    CHECK(scheduler.run_for(20s) == 0);
    CHECK(safe_states.load() >= 1);  // by the monitor, while the loop was blocked
    CHECK(scheduler.statistics("blocking")->watchdog_expirations >= 1);  // again where the machine is loaded
    // The timeline knows when the monitor saw it, and the grid points that the others lost.
    std::vector<int> steps;
    std::uint64_t late = 0;
    for (const horus::TimelineEvent& event : scheduler.timeline().events) {
      if (event.kind == horus::TimelineEvent::Kind::watchdog) steps.push_back(event.detail);
      if (event.kind == horus::TimelineEvent::Kind::skipped && event.node == 1) ++late;
    }
    REQUIRE(steps.size() >= 2);
    CHECK(steps.front() == 1);
    CHECK(steps.back() == 0);  // and whatever a loaded machine made of it in between
    CHECK(late > 2);
    CHECK(late == scheduler.statistics("after")->count(horus::TickOutcome::skipped_late));
  }
  // On a busy machine either may be caught while it waits for its turn.
  const auto waits = log.count("waits for a processor");
  CHECK(log.count("blocking's tick computes") + waits >= 1);
  CHECK(log.count("blocking's tick sleeps in a blocking call") + waits >= 1);
}

TEST_CASE("an emergency stop reaches the safe states within 50 ms while the loop is blocked") {
  CapturedLog log;
  Blocker blocker;
  std::atomic<int> safe_states{0};
  Scheduler scheduler;
  scheduler.add(std::make_unique<Blocking>(blocker, safe_states)).rate(100_hz);
  std::atomic<std::int64_t> took_ns{0};
  std::thread other([&] {
    while (!blocker.blocking.load()) std::this_thread::yield();
    const auto start = std::chrono::steady_clock::now();
    scheduler.emergency_stop();
    while (safe_states.load() == 0) std::this_thread::yield();
    took_ns = (std::chrono::steady_clock::now() - start).count();
    scheduler.stop();
  });
  CHECK(scheduler.run_for(20s) == 0);
  other.join();
  CHECK(safe_states.load() >= 1);  // and perhaps the second call, before the stop
  MESSAGE("safe state after " << static_cast<double>(took_ns.load()) / 1e6 << " ms");
  CHECK(took_ns.load() < 1'000'000'000);  // the benchmark says how much less
}

TEST_CASE("a critical node that blocks its thread can end the process for a supervisor, with code 70") {
  const int status = status_of([] {
    horus::set_log_sink([](horus::LogLevel, std::string_view) {});
    horus::SchedulerConfig config;
    config.exit_when_blocked = true;
    Scheduler scheduler(config);
    scheduler
        .add("hung",
             [ticks = 0]() mutable {
               if (ticks++ == 1) std::this_thread::sleep_for(20s);
             })
        .rate(100_hz)
        .watchdog(50ms);
    scheduler.run();
  });
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 70);
}

TEST_CASE("the second SIGTERM ends a process whose loop is blocked") {
  const int status = status_of([] {
    horus::set_log_sink([](horus::LogLevel, std::string_view) {});
    Scheduler scheduler;
    static std::atomic<int> safe_states{0};
    static std::atomic<bool> blocks{false};
    class Stubborn : public PlainNode {
     public:
      void tick() override {
        if (ticks_++ != 1) return;
        blocks.store(true);
        std::this_thread::sleep_for(20s);
      }
      void enter_safe_state() noexcept override { safe_states.fetch_add(1); }
      int ticks_ = 0;
    };
    scheduler.add<Stubborn>().rate(100_hz);
    std::thread([&] {
      sigset_t all;
      ::sigfillset(&all);
      ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
      // A signal that comes earlier is handled by the loop.
      while (!blocks.load()) std::this_thread::sleep_for(1ms);
      while (true) {
        ::kill(::getpid(), SIGTERM);
        std::this_thread::sleep_for(100ms);
      }
    }).detach();
    scheduler.run();
  });
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 128 + SIGTERM);
}

TEST_CASE("stop() works from a signal handler and from eight threads at once") {
  static Scheduler* target = nullptr;
  struct sigaction handler{}, before{};
  handler.sa_handler = [](int) { target->stop(); };
  REQUIRE(::sigaction(SIGUSR1, &handler, &before) == 0);
  {
    Scheduler scheduler;
    target = &scheduler;
    scheduler
        .add("node",
             [ticks = 0]() mutable {
               if (++ticks == 3) ::raise(SIGUSR1);
             })
        .rate(100_hz);
    CHECK(scheduler.run_for(20s) == 0);
    CHECK(scheduler.statistics("node")->total_ticks <= 4);
  }
  ::sigaction(SIGUSR1, &before, nullptr);
  for (int round = 0; round < 20; ++round) {
    Scheduler scheduler;
    scheduler.add("node", [] {}).rate(1000_hz);
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        static_cast<void>(scheduler.statistics());
        scheduler.stop();
      });
    }
    CHECK(scheduler.run_for(20s) == 0);
    for (auto& thread : threads) thread.join();
  }
}

TEST_CASE("nodes on executors of their own run on threads of their own, and talk with the others") {
  struct Reading {
    std::uint64_t number = 0;
  };
  CapturedLog log;
  std::atomic<std::uint64_t> heard{0};
  std::atomic<pid_t> control_thread{0}, main_thread{0};
  class Sensor : public PlainNode {
   public:
    explicit Sensor(std::atomic<pid_t>& thread) : thread_(thread) {}
    void tick() override {
      thread_.store(::gettid());
      out_.send({++sent_});
    }

   private:
    std::atomic<pid_t>& thread_;
    horus::Publisher<Reading> out_ = advertise<Reading>("reading");
    std::uint64_t sent_ = 0;
  };
  class Listener : public horus::Node {
   public:
    Listener(std::atomic<std::uint64_t>& heard, std::atomic<pid_t>& thread, std::atomic<bool>& asked,
             Scheduler& scheduler)
        : heard_(heard), thread_(thread), asked_(asked), scheduler_(scheduler) {}
    Task<> tick() override {
      thread_.store(::gettid());
      const auto reading = (co_await in_.recv()).or_throw();
      heard_.store(reading->number);
      if (reading->number >= 20 && asked_.load()) scheduler_.stop();
    }

   private:
    std::atomic<std::uint64_t>& heard_;
    std::atomic<pid_t>& thread_;
    std::atomic<bool>& asked_;
    Scheduler& scheduler_;
    horus::Subscriber<Reading> in_ = subscribe<Reading>("sample");
  };
  Scheduler scheduler;
  scheduler.executor("control");
  scheduler.add<Sensor>(control_thread).rate(200_hz).executor("control");
  std::atomic<bool> asked{false};
  scheduler.add<Listener>(heard, main_thread, asked, scheduler);
  scheduler.connect("sensor", "reading", "listener", "sample");
  std::thread asks([&] {
    while (heard.load() < 10) {
      CHECK(scheduler.statistics().size() == 2);
      std::this_thread::yield();
    }
    scheduler.pause("sensor").or_throw();
    while (scheduler.statistics("sensor")->state != horus::NodeState::paused) std::this_thread::yield();
    asked.store(true);
    scheduler.resume("sensor").or_throw();
  });
  CHECK(scheduler.run_for(30s) == 0);
  asks.join();
  CHECK(heard.load() >= 20);
  CHECK(control_thread.load() != main_thread.load());
  CHECK(main_thread.load() == ::gettid());
  CHECK(scheduler.statistics("sensor")->messages_sent >= 20);
  CHECK(scheduler.statistics("listener")->messages_received >= 20);
  CHECK(scheduler.statistics("sensor")->executor == "control");
}

TEST_CASE("an executor's thread is pinned and scheduled and spins as it was told, or the log says why not") {
  CapturedLog log;
  struct Seen {
    std::atomic<int> processors{0}, processor{-1}, policy{-1}, priority{-1};
    std::atomic<std::int64_t> spin_ns{-1};
  } seen;
  class Looks : public PlainNode {
   public:
    Looks(Seen& seen, Scheduler& scheduler) : seen_(seen), scheduler_(scheduler) {}
    void tick() override {
      cpu_set_t set;
      CPU_ZERO(&set);
      ::sched_getaffinity(0, sizeof set, &set);
      seen_.processors.store(CPU_COUNT(&set));
      seen_.processor.store(::sched_getcpu());
      seen_.policy.store(::sched_getscheduler(0) & ~SCHED_RESET_ON_FORK);
      sched_param parameter{};
      ::sched_getparam(0, &parameter);
      seen_.priority.store(parameter.sched_priority);
      seen_.spin_ns.store(horus::io::Reactor::current()->config().timer_spin.count());
      scheduler_.stop();
    }

   private:
    Seen& seen_;
    Scheduler& scheduler_;
  };
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  REQUIRE(::sched_getaffinity(0, sizeof allowed, &allowed) == 0);
  int last = CPU_SETSIZE - 1;
  while (!CPU_ISSET(static_cast<unsigned>(last), &allowed)) --last;
  horus::ExecutorConfig config;
  config.cpu = last;
  config.rt_priority = 10;
  config.spin = 50us;
  Scheduler scheduler;
  scheduler.executor("control", config);
  scheduler.add<Looks>(seen, scheduler).executor("control");
  CHECK(scheduler.run_for(30s) == 0);
  const bool pinned = seen.processors.load() == 1 && seen.processor.load() == last;
  CHECK(pinned != (log.count("pinning to processor") == 1));
  const bool in_real_time = seen.policy.load() == SCHED_FIFO && seen.priority.load() == 10;
  CHECK(in_real_time != (log.count("SCHED_FIFO was refused") == 1));
  CHECK(seen.spin_ns.load() == 50'000);
  CHECK(::sched_getscheduler(0) == SCHED_OTHER);  // this one's thread is as it was
}

TEST_CASE("a node on another executor that cannot start ends the run") {
  CapturedLog log;
  Scheduler scheduler;
  class Broken : public horus::Node {
   public:
    Task<> init() override {
      co_await horus::yield();
      throw horus::Error(ECONNREFUSED, "connect", "10.0.0.9:1");
    }
    Task<> tick() override { co_return; }
  };
  scheduler.executor("other");
  scheduler.add<Broken>().executor("other");
  scheduler.add("fine", [] {});
  CHECK(scheduler.run_for(20s) == 1);
  CHECK(log.count("broken: init failed: connect 10.0.0.9:1") == 1);
}
