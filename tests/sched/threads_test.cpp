// SPDX-License-Identifier: Apache-2.0
// One scheduler and several threads that do not know of each other: two runs, commands that come too late, nodes that were
// started elsewhere, questions to a loop that waits for whoever asks.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/task/scope.hpp>

using horus::PlainNode;
using horus::Scheduler;
using horus::Task;
using namespace horus::literals;

namespace {

struct QuietLog {
  horus::LogSink previous = horus::set_log_sink([](horus::LogLevel, std::string_view) {});
  ~QuietLog() { horus::set_log_sink(std::move(previous)); }
};

// Counts what a device sees.
struct Device final : PlainNode {
  int opened = 0, closed = 0;
  std::atomic<int> ticks{0};
  Device() : PlainNode("device") {}
  void init() override { ++opened; }
  void tick() override { ++ticks; }
  void shutdown() override { ++closed; }
};

int code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const horus::Error& error) {
    return error.code();
  }
  return 0;
}

}  // namespace

TEST_SUITE("threads") {
  TEST_CASE("a second run, a tick_once and all that builds are refused while it runs, and the run goes on") {
    const QuietLog quiet;
    Scheduler scheduler;
    auto device = std::make_shared<Device>();
    auto builder = scheduler.add(device).rate(1000_hz);
    std::thread other([&] {
      while (device->ticks.load() < 5) std::this_thread::yield();
      CHECK(code_of([&] { scheduler.run(); }) == EBUSY);
      CHECK(code_of([&] { scheduler.tick_once(); }) == EBUSY);
      CHECK(code_of([&] { scheduler.close(); }) == EBUSY);
      CHECK(code_of([&] { scheduler.add("late", [] {}); }) == EBUSY);
      CHECK(code_of([&] { scheduler.tick_rate(10_hz); }) == EBUSY);
      CHECK(code_of([&] { builder.name("another"); }) == EBUSY);
      CHECK(code_of([&] { builder.rate(5_hz); }) == EBUSY);
      const int before = device->ticks.load();
      while (device->ticks.load() < before + 5) std::this_thread::yield();
      scheduler.stop();
    });
    CHECK(scheduler.run() == 0);
    other.join();
    CHECK(device->opened == 1);
    CHECK(device->closed == 1);
    CHECK(scheduler.node_list().size() == 1);
  }

  TEST_CASE("of many threads that run at once exactly one does") {
    const QuietLog quiet;
    Scheduler scheduler;
    auto device = std::make_shared<Device>();
    scheduler.add(device).rate(1000_hz);
    std::atomic<int> ran{0}, refused{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        if (code_of([&] { scheduler.run(); }) == EBUSY) {
          ++refused;
        } else {
          ++ran;
        }
      });
    }
    while (refused.load() < 7) std::this_thread::yield();
    scheduler.stop();
    for (auto& thread : threads) thread.join();
    CHECK(ran == 1);
    CHECK(device->opened == 1);
    CHECK(device->closed == 1);
  }

  TEST_CASE("a run that is refused inside a reactor's task throws there, and what runs beside it goes on") {
    Scheduler scheduler;
    scheduler.add("idle", [] {});
    horus::io::Reactor reactor;
    reactor.run([&]() -> Task<> {
      auto first = reactor.spawn(scheduler.run_async());
      co_await horus::sleep(5ms);
      auto refused = scheduler.run_async();
      int code = 0;
      try {
        static_cast<void>(co_await refused);
      } catch (const horus::Error& error) {
        code = error.code();
      }
      CHECK(code == EBUSY);
      CHECK_FALSE(first.done());
      scheduler.stop();
      const int ended = co_await first;
      CHECK(ended == 0);
    });
  }

  TEST_CASE(
      "restart near the end of a run, at any moment of it, leaves the device closed as often as it was "
      "opened") {
    const QuietLog quiet;
    Scheduler scheduler;
    auto device = std::make_shared<Device>();
    scheduler.add(device).rate(1000_hz);
    std::atomic<bool> over{false};
    std::thread operator_([&] {
      while (!over.load()) {
        static_cast<void>(scheduler.restart("device"));
        std::this_thread::sleep_for(100us);
      }
    });
    for (int i = 0; i < 30; ++i) {
      CHECK(scheduler.run_for(3ms) == 0);
      CHECK(device->opened == device->closed);
    }
    over.store(true);
    operator_.join();
    CHECK(device->opened >= 30);
  }

  TEST_CASE("a restart that the end of the run cuts short has shut the node down, once") {
    const QuietLog quiet;
    Scheduler scheduler;
    auto device = std::make_shared<Device>();
    scheduler.add(device).rate(1000_hz);
    scheduler
        .add("presses",
             [&] {
               static_cast<void>(scheduler.restart("device"));
               scheduler.stop();
             })
        .rate(1000_hz)
        .priority(200);
    CHECK(scheduler.run() == 0);
    CHECK(device->opened == device->closed);
  }

  TEST_CASE("close() shuts down what tick_once() has started, and any thread may drop the scheduler then") {
    auto scheduler = std::make_unique<Scheduler>();
    auto device = std::make_shared<Device>();
    scheduler->add(device);
    std::thread worker([&] {
      CHECK(scheduler->tick_once() == 0);
      CHECK(scheduler->tick_once() == 0);
      CHECK(code_of([&] { scheduler->add("late", [] {}); }) == EBUSY);
      CHECK(device->closed == 0);
      scheduler->close();
      scheduler->close();  // again: nothing
    });
    worker.join();
    CHECK(device->opened == 1);
    CHECK(device->closed == 1);
    CHECK(scheduler->run_for(2ms) == 0);  // on another thread than before
    CHECK(device->opened == 2);
    scheduler.reset();
    CHECK(device->closed == 2);
  }

  TEST_CASE("schedulers that one thread ticks by hand are closed in any order") {
    auto first = std::make_unique<Scheduler>();
    auto second = std::make_unique<Scheduler>();
    auto device = std::make_shared<Device>();
    second->add(device);
    first->add("idle", [] {});
    CHECK(first->tick_once() == 0);
    CHECK(second->tick_once() == 0);
    first.reset();
    CHECK(second->tick_once() == 0);
    second->close();
    CHECK(device->ticks == 2);
    CHECK(device->closed == 1);
    CHECK(horus::io::Reactor::current() == nullptr);
  }

  TEST_CASE("nodes that tick_once() has started on another thread are refused here, with the way out") {
    Scheduler scheduler;
    auto device = std::make_shared<Device>();
    scheduler.add(device);
    std::promise<void> started, done;
    std::thread worker([&] {
      CHECK(scheduler.tick_once() == 0);
      started.set_value();
      done.get_future().wait();
      scheduler.close();
    });
    started.get_future().wait();
    CHECK_THROWS_WITH(static_cast<void>(scheduler.run()),
                      doctest::Contains("on another thread; go on there"));
    CHECK(code_of([&] { scheduler.tick_once(); }) == EBUSY);
    CHECK(code_of([&] { scheduler.close(); }) == EBUSY);
    done.set_value();
    worker.join();
    CHECK(device->closed == 1);
  }

  TEST_CASE("a tick that waits for a thread that asks gets its answer: the last snapshot") {
    const QuietLog quiet;
    Scheduler scheduler;
    std::optional<horus::NodeStatistics> answer;
    bool asked = false;
    scheduler
        .add("waiter",
             [&] {
               if (std::exchange(asked, true)) return;
               std::thread asks([&] {
                 answer = scheduler.statistics("waiter");
                 static_cast<void>(scheduler.report(horus::Detail::awaits));
                 static_cast<void>(scheduler.timeline());
               });
               asks.join();
               scheduler.stop();
             })
        .rate(100_hz)
        .priority(7);
    CHECK(scheduler.run() == 0);
    REQUIRE(answer.has_value());
    CHECK(answer->name == "waiter");
    CHECK(answer->priority == 7);
    CHECK(answer->rate_hz == 100);
    CHECK(scheduler.statistics("waiter")->total_ticks >= 1);
  }

  TEST_CASE("a blocked loop that is told more than it can hold refuses, rather than holds whoever tells it") {
    const QuietLog quiet;
    Scheduler scheduler;
    int refused = 0;
    scheduler
        .add("waiter",
             [&] {
               std::thread tells([&] {
                 for (int i = 0; i < 2000; ++i) refused += scheduler.pause("waiter").code() == EBUSY ? 1 : 0;
               });
               tells.join();
               scheduler.stop();
             })
        .rate(100_hz);
    CHECK(scheduler.run() == 0);
    CHECK(refused == 2000 - 1024);
  }

  TEST_CASE("a node that was added between two runs is among the answers") {
    Scheduler scheduler;
    scheduler.add("first", [] {});
    CHECK(scheduler.run_for(1ms) == 0);
    scheduler.add("second", [] {});
    REQUIRE(scheduler.statistics().size() == 2);
    CHECK(scheduler.statistics()[1].name == "second");
    CHECK(scheduler.statistics("second").has_value());
  }
}
