// SPDX-License-Identifier: Apache-2.0
#include <horus/io/event_fd.hpp>

#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <horus/io/time.hpp>
#include <horus/task/event.hpp>

#include "../support/real_kernel.hpp"

using horus::Result;
using horus::Task;
using namespace horus::literals;
namespace io = horus::io;

namespace {
Task<Result<std::uint64_t>> wait(io::EventFd& event) {
  auto count = co_await event.wait();
  co_return count;
}
}  // namespace

TEST_CASE("sets before the wait add up") {
  auto body = []() -> Task<> {
    io::EventFd event(2);
    event.set();
    event.set(39);
    auto count = co_await event.wait();
    REQUIRE(count.ok());
    CHECK(*count == 42);
    auto nothing = co_await horus::with_timeout(1ms, wait(event));
    CHECK(nothing.code() == ETIMEDOUT);
    event.set(7);  // the wait that was stopped took nothing
    auto rest = co_await event.wait();
    REQUIRE(rest.ok());
    CHECK(*rest == 7);
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("no set of any thread is lost") {
  NEEDS_REAL_KERNEL("other threads");
  constexpr std::uint64_t kThreads = 4;
  constexpr std::uint64_t kSets = 1000;
  auto body = [&]() -> Task<> {
    io::EventFd event;
    std::vector<std::thread> threads;
    for (std::uint64_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        for (std::uint64_t k = 0; k < kSets; ++k) event.set();
      });
    }
    std::uint64_t sum = 0;
    while (sum < kThreads * kSets) {
      auto count = co_await event.wait();
      REQUIRE(count.ok());
      CHECK(*count > 0);
      sum += *count;
    }
    CHECK(sum == kThreads * kSets);
    for (auto& thread : threads) thread.join();
  };
  io::run(body());
}

TEST_CASE("each count goes to one of several waiters") {
  auto body = []() -> Task<> {
    io::EventFd event;
    horus::Scope scope;
    auto a = scope.spawn(wait(event));
    auto b = scope.spawn(wait(event));
    co_await horus::sleep(1ms);
    event.set(5);
    while (!a.done() && !b.done()) co_await horus::yield();
    event.set(6);
    auto first = co_await a;
    auto second = co_await b;
    CHECK(*first + *second == 11);
    co_await scope.join();
  };
  io::run(body());
}

TEST_CASE("destroying an EventFd whose wait is pending ends the wait") {
  auto body = []() -> Task<> {
    horus::Scope scope;
    horus::Spawned<Result<std::uint64_t>> waiting;
    {
      io::EventFd event;
      waiting = scope.spawn(wait(event));
      co_await horus::sleep(1ms);
    }
    auto ended = co_await waiting;
    CHECK(ended.code() == ECANCELED);
    co_await scope.join();
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}
