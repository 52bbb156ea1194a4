// SPDX-License-Identifier: Apache-2.0
#include <horus/task/task.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/task/async_stream.hpp>
#include <horus/task/event.hpp>
#include <horus/task/run_ready.hpp>
#include <horus/task/scope.hpp>

using horus::sync_await;
using horus::Task;

namespace {

Task<int> answer() { co_return 42; }
Task<int> add(int a, int b) { co_return a + b; }
Task<int> depth(int n) {
  if (n == 0) co_return 0;
  int below = co_await depth(n - 1);
  co_return below + 1;
}
Task<> thrower() {
  throw std::runtime_error("boom");
  co_return;
}

}  // namespace

TEST_CASE("a task gives its value to the coroutine that awaits it") {
  auto outer = []() -> Task<int> {
    int a = co_await answer();
    int b = co_await add(a, 1);
    co_return b;
  };
  CHECK(sync_await(outer()) == 43);
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("an exception crosses tasks to the awaiting coroutine") {
  auto outer = []() -> Task<std::string> {
    std::string caught;
    try {
      co_await thrower();
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    co_return caught;
  };
  CHECK(sync_await(outer()) == "boom");
  CHECK_THROWS_AS(sync_await(thrower()), std::runtime_error);
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a task may give a reference") {
  int target = 1;
  auto refer = [&]() -> Task<int&> { co_return target; };
  auto outer = [&]() -> Task<> {
    int& there = co_await refer();
    there = 7;
  };
  sync_await(outer());
  CHECK(target == 7);
}

TEST_CASE("a million children that end at once do not grow the stack") {
  auto outer = []() -> Task<long> {
    long sum = 0;
    for (int i = 0; i < 1'000'000; ++i) {
      int one = co_await add(i, -i + 1);
      sum += one;
    }
    co_return sum;
  };
  CHECK(sync_await(outer()) == 1'000'000);
}

TEST_CASE("a million children that suspend once each do not grow the stack") {
  auto hop = []() -> Task<int> {
    co_await horus::yield();
    co_return 1;
  };
  auto outer = [&]() -> Task<long> {
    long sum = 0;
    for (int i = 0; i < 1'000'000; ++i) {
      int one = co_await hop();
      sum += one;
    }
    co_return sum;
  };
  CHECK(sync_await(outer()) == 1'000'000);
}

TEST_CASE("tasks nest a thousand deep") { CHECK(sync_await(depth(1000)) == 1000); }

TEST_CASE("a dropped task that never started frees its frame without running") {
  bool ran = false;
  auto body = [&]() -> Task<> {
    ran = true;
    co_return;
  };
  {
    std::vector<Task<>> dropped;  // in a container, or clang would not even allocate the frame
    dropped.push_back(body());
    CHECK(horus::live_frames() == 1);
  }
  CHECK(horus::live_frames() == 0);
  CHECK_FALSE(ran);
}

TEST_CASE("a stream hands over its values one by one, then ends") {
  auto count = [](int n) -> horus::AsyncStream<int> {
    for (int i = 0; i < n; ++i) {
      if (i % 2 == 1) co_await horus::yield();
      co_yield i;
    }
  };
  auto outer = [&]() -> Task<std::vector<int>> {
    std::vector<int> seen;
    auto stream = count(5);
    while (true) {
      auto value = co_await stream.next();
      if (!value) break;
      seen.push_back(*value);
    }
    auto again = co_await stream.next();
    CHECK_FALSE(again.has_value());
    co_return seen;
  };
  CHECK(sync_await(outer()) == std::vector<int>{0, 1, 2, 3, 4});
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("what a stream's body throws comes out of next") {
  auto broken = []() -> horus::AsyncStream<int> {
    co_yield 1;
    throw std::runtime_error("dry");
  };
  auto outer = [&]() -> Task<int> {
    auto stream = broken();
    auto first = co_await stream.next();
    auto second = co_await stream.next();
    co_return *first + second.value_or(0);
  };
  CHECK_THROWS_WITH(sync_await(outer()), "dry");
}

TEST_CASE("a dump names each suspended task, its awaits, and what it waits for") {
  horus::ReadyScope ready;
  horus::Event event;
  auto inner = [&]() -> Task<> { co_await event.wait(); };
  auto outer = [&]() -> Task<> { co_await inner(); };
  horus::RootChain<void> root(outer(), "listener");
  root.start();
  const std::string dump = horus::dump_tasks();
  CHECK(dump.find("listener: waits for an event") != std::string::npos);
  CHECK(dump.find("task/task_test.cpp:") != std::string::npos);
  CHECK(std::count(dump.begin(), dump.end(), '\n') == 3);
  event.set();
  ready.run_until_idle();
  CHECK(root.done());
  CHECK(horus::dump_tasks().empty());
}
