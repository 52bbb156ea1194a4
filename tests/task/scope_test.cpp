// SPDX-License-Identifier: Apache-2.0
#include <horus/task/scope.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/task/event.hpp>
#include <horus/task/run_ready.hpp>

#include "../support/captured_log.hpp"

using horus::Scope;
using horus::Spawned;
using horus::sync_await;
using horus::Task;
using horus::TaskState;

namespace {

Task<int> wait_then(horus::Event& event, int value) {
  co_await event.wait();
  co_return value;
}
Task<horus::Result<int>> fail_with(int code) { co_return horus::Error(code, "test"); }

}  // namespace

TEST_CASE("a spawned task starts through the ready list, never inline") {
  auto body = []() -> Task<> {
    std::vector<int> order;
    auto note = [&](int n) -> Task<> {
      order.push_back(n);
      co_return;
    };
    Scope scope;
    static_cast<void>(scope.spawn(note(2)));
    order.push_back(1);
    co_await scope.join();
    CHECK(order == std::vector<int>{1, 2});
  };
  sync_await(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a handle tells pending, resolved, rejected and cancelled apart") {
  auto body = []() -> Task<> {
    horus::Event event;
    Scope scope;
    auto waiting = scope.spawn(wait_then(event, 5));
    auto failing = scope.spawn(fail_with(EIO));
    auto throwing = scope.spawn([]() -> Task<> {
      throw std::logic_error("bug");
      co_return;
    }());
    auto stopped = scope.spawn(wait_then(event, 6));
    CHECK(waiting.state() == TaskState::pending);
    co_await horus::yield();
    CHECK_FALSE(waiting.done());
    CHECK(waiting.state() == TaskState::running);
    CHECK(failing.state() == TaskState::rejected);
    CHECK(throwing.state() == TaskState::rejected);
    stopped.cancel();
    co_await horus::yield();
    CHECK(stopped.state() == TaskState::cancelled);
    event.set();
    int value = co_await waiting;
    CHECK(value == 5);
    CHECK_FALSE(waiting.valid());
    CHECK(failing.take().code() == EIO);
    CHECK_THROWS_AS(throwing.take(), std::logic_error);
    CHECK_THROWS_AS(stopped.take(), horus::Error);
    co_await scope.join();
  };
  sync_await(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a failure without a handle stops the siblings and comes out of the join") {
  auto body = []() -> Task<> {
    horus::Event never;
    Scope scope;
    static_cast<void>(scope.spawn(wait_then(never, 1)));
    static_cast<void>(scope.spawn([]() -> Task<> {
      co_await horus::yield();
      throw std::runtime_error("first");
    }()));
    co_await scope.join();
  };
  CHECK_THROWS_WITH(sync_await(body()), "first");
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("with_scope waits for everything its body spawned and gives the body's value") {
  int finished = 0;
  auto child = [&]() -> Task<> {
    co_await horus::yield();
    co_await horus::yield();
    ++finished;
  };
  auto body = [&](Scope& scope) -> Task<int> {
    static_cast<void>(scope.spawn(child()));
    static_cast<void>(scope.spawn(child()));
    co_return 9;
  };
  CHECK(sync_await(horus::with_scope(body)) == 9);
  CHECK(finished == 2);
}

TEST_CASE("a body that throws stops what it spawned") {
  horus::Event never;
  auto body = [&](Scope& scope) -> Task<> {
    static_cast<void>(scope.spawn(wait_then(never, 1)));
    co_await horus::yield();
    throw std::runtime_error("body");
  };
  CHECK_THROWS_WITH(sync_await(horus::with_scope(body)), "body");
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("stopping the joining task stops the tasks of its scope and waits for them") {
  horus::ReadyScope ready;
  horus::Event never;
  bool unwound = false;
  auto child = [&]() -> Task<> {
    try {
      co_await never.wait();
    } catch (const horus::Error&) {
      unwound = true;
    }
  };
  auto body = [&]() -> Task<> {
    Scope scope;
    static_cast<void>(scope.spawn(child()));
    co_await scope.join();
  };
  horus::RootChain<void> root(body());
  root.start();
  ready.run_until_idle();
  CHECK_FALSE(root.done());
  root.request_stop();
  ready.run_until_idle();
  CHECK(root.done());
  CHECK(unwound);
}

TEST_CASE("a task that ignores its cancellation can still be joined") {
  horus::ReadyScope ready;
  horus::Event event;
  auto stubborn = [&]() -> Task<int> {
    int refused = 0;
    for (int i = 0; i < 100; ++i) {
      try {
        co_await event.wait();
      } catch (const horus::Error&) {
        ++refused;
      }
    }
    co_return refused;
  };
  auto body = [&]() -> Task<int> {
    Scope scope;
    auto handle = scope.spawn(stubborn());
    scope.cancel();
    co_await scope.join();
    co_return handle.take();
  };
  CHECK(sync_await(body()) == 100);
}

TEST_CASE("a lambda that is spawned keeps its captures until it has ended") {
  auto body = []() -> Task<> {
    horus::Scope scope;
    horus::Event go;
    std::string seen;
    auto word = std::make_unique<std::string>("a capture that is longer than a small string");
    auto length = scope.spawn([&go, &seen, text = std::move(word)]() -> Task<std::size_t> {
      co_await go.wait();
      seen = *text;
      co_return text->size();
    });
    co_await horus::yield();
    go.set();
    const std::size_t size = co_await length;
    CHECK(size == seen.size());
    co_await scope.join();
  };
  horus::sync_await(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a scope that logs failures goes on after one") {
  std::vector<std::string> lines;
  auto previous =
      horus::set_log_sink([&](horus::LogLevel, std::string_view line) { lines.emplace_back(line); });
  auto body = []() -> Task<> {
    horus::Scope scope("connection", horus::Failures::log);
    horus::Event go;
    scope.spawn([]() -> Task<> {
      throw horus::Error(ECONNRESET, "read", "127.0.0.1:9000");
      co_return;
    });
    scope.spawn([]() -> Task<horus::Result<>> { co_return horus::Error(EPIPE, "write", "127.0.0.1:9001"); },
                "second");
    auto bug = scope.spawn([]() -> Task<> {
      throw std::logic_error("held by a handle");
      co_return;
    });
    auto waiting = scope.spawn([&]() -> Task<int> {
      co_await go.wait();
      co_return 3;
    });
    co_await horus::yield();
    CHECK(bug.state() == horus::TaskState::rejected);
    go.set();
    const int value = co_await waiting;
    CHECK(value == 3);
    co_await scope.join();
  };
  horus::sync_await(body());
  horus::set_log_sink(std::move(previous));
  CHECK(lines == std::vector<std::string>{"connection: read 127.0.0.1:9000: connection reset by peer",
                                          "second: write 127.0.0.1:9001: broken pipe"});
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("the second task that waits for one handle is refused with words, and the first gets the value") {
  auto body = []() -> Task<> {
    horus::Event gate;
    Scope work("work");
    Scope waiters("waiters");
    auto task = work.spawn(wait_then(gate, 7), "camera");
    auto take = [](Spawned<int>& handle) -> Task<int> { co_return co_await handle; };
    auto first = waiters.spawn(take(task));
    auto second = waiters.spawn(take(task));
    while (!second.done()) co_await horus::yield();
    CHECK(second.state() == TaskState::rejected);
    std::string why;
    try {
      static_cast<void>(second.take());
    } catch (const horus::Error& error) {
      CHECK(error.code() == EBUSY);
      why = error.message();
    }
    CHECK(why.find("the task \"camera\"") != std::string::npos);
    CHECK(why.find("another task waits for it") != std::string::npos);
    gate.set();
    co_await waiters.join();
    CHECK(first.take() == 7);
    co_await work.join();
  };
  sync_await(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a handle is free again for another task when the first one that waited was stopped") {
  auto body = []() -> Task<> {
    horus::Event gate;
    Scope work;
    Scope waiters;
    auto task = work.spawn(wait_then(gate, 7));
    auto take = [](Spawned<int>& handle) -> Task<int> { co_return co_await handle; };
    auto first = waiters.spawn(take(task));
    co_await horus::yield();
    co_await horus::yield();
    first.cancel();
    co_await waiters.join();
    CHECK(first.state() == TaskState::cancelled);
    gate.set();
    const int value = co_await task;
    CHECK(value == 7);
    co_await work.join();
  };
  sync_await(body());
}

TEST_CASE("several tasks may join one scope: all go on at its end, each with the failure") {
  auto body = []() -> Task<> {
    horus::Event gate;
    auto scope = std::make_unique<Scope>("work");
    Scope joiners("joiners");
    static_cast<void>(scope->spawn([](horus::Event& opened) -> Task<> {
      co_await opened.wait();
      throw std::runtime_error("broken");
    }(gate)));
    int told = 0;
    auto join = [](Scope& joined, int& count) -> Task<> {
      try {
        co_await joined.join();
      } catch (const std::runtime_error&) {
        ++count;
      }
    };
    static_cast<void>(joiners.spawn(join(*scope, told)));
    static_cast<void>(joiners.spawn(join(*scope, told)));
    co_await horus::yield();
    co_await horus::yield();
    gate.set();
    while (scope->running() > 0) co_await horus::yield();
    scope.reset();  // whoever goes on first may end its life
    co_await joiners.join();
    CHECK(told == 2);
  };
  sync_await(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("failures of one kind are one line with their number, other kinds have their own") {
  const horus::testing::CapturedLog log;
  auto body = []() -> Task<> {
    Scope scope("connections", horus::Failures::log);
    auto fail = [](int code) -> Task<horus::Result<>> {
      co_return horus::Error(code, "read", "10.0.0.7:4711");
    };
    for (int i = 0; i < 1000; ++i) static_cast<void>(scope.spawn(fail(ECONNRESET), "connection"));
    static_cast<void>(scope.spawn(fail(EPIPE), "connection"));
    co_await scope.join();
  };
  sync_await(body());
  const auto lines = log.lines();
  REQUIRE(lines.size() == 3);
  CHECK(lines[0] == "connection: read 10.0.0.7:4711: connection reset by peer");
  CHECK(lines[1] == "connection: read 10.0.0.7:4711: broken pipe");
  CHECK(lines[2] == "connections: 999 more of: read: connection reset by peer");
}
