// SPDX-License-Identifier: Apache-2.0
#include <horus/io/reactor.hpp>

#include <stdexcept>
#include <thread>

#include <poll.h>

#include <doctest/doctest.h>

#include <horus/io/time.hpp>

#include "../support/real_kernel.hpp"

using horus::Task;
using namespace horus::literals;

TEST_CASE("a sleeping task wakes at its deadline or later, never before") {
  auto body = []() -> Task<std::int64_t> {
    const std::int64_t before = horus::now_ns();
    co_await horus::sleep(5ms);
    co_return horus::now_ns() - before;
  };
  CHECK(horus::io::run(body()) >= 5'000'000);
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("with_timeout stops a slow task and keeps the value of a fast one") {
  auto slow = []() -> Task<int> {
    co_await horus::sleep(1h);
    co_return 1;
  };
  auto fast = []() -> Task<int> {
    co_await horus::sleep(1us);
    co_return 2;
  };
  auto body = [&]() -> Task<> {
    auto late = co_await horus::with_timeout(1ms, slow());
    CHECK(late.code() == ETIMEDOUT);
    auto value = co_await horus::with_timeout(1h, fast());
    CHECK(*value == 2);
  };
  horus::io::run(body());
}

TEST_CASE("work posted from another thread runs on the reactor's thread") {
  NEEDS_REAL_KERNEL("other threads");
  horus::io::Reactor reactor;
  const auto home = std::this_thread::get_id();
  bool right = false;
  std::thread other([&] {
    const bool posted = reactor.post([&] {
      right = std::this_thread::get_id() == home;
      reactor.stop();
    });
    CHECK(posted);
  });
  reactor.run();
  other.join();
  CHECK(right);
}

TEST_CASE("a coroutine moves to another reactor and back") {
  NEEDS_REAL_KERNEL("other threads");
  horus::io::Reactor here;
  std::atomic<horus::io::Reactor*> there{nullptr};
  std::thread other([&] {
    horus::io::Reactor reactor;
    there.store(&reactor);
    there.notify_one();
    reactor.run();
  });
  there.wait(nullptr);
  std::thread::id seen;
  auto body = [&]() -> Task<> {
    co_await there.load()->schedule();
    seen = std::this_thread::get_id();
    co_await here.schedule();
  };
  const auto expected = other.get_id();
  here.run(body());
  CHECK(seen == expected);
  there.load()->stop();
  other.join();
}

TEST_CASE("stop from another thread asks the running task to stop") {
  NEEDS_REAL_KERNEL("other threads");
  horus::io::Reactor reactor;
  std::thread other([&] { reactor.stop(); });
  auto body = []() -> Task<> { co_await horus::sleep(1h); };
  CHECK_THROWS_AS(reactor.run(body()), horus::Error);
  other.join();
}

TEST_CASE("a reactor inside another loop is readable when a timer or a post is due, and not before") {
  NEEDS_REAL_KERNEL("another loop");
  horus::io::Reactor reactor;
  const int fd = reactor.poll_fd().or_throw();
  const auto readable = [&](int timeout_ms) {
    pollfd poll{fd, POLLIN, 0};
    return ::poll(&poll, 1, timeout_ms) == 1;
  };
  reactor.run_once();
  CHECK_FALSE(readable(0));
  auto body = []() -> Task<> { co_await horus::sleep(2ms); };
  horus::RootChain<void> root(body());
  root.start();
  reactor.run_once();
  while (!root.done()) {
    REQUIRE(readable(10'000));
    reactor.run_once();
  }
  CHECK_FALSE(readable(0));
  std::thread other([&] { CHECK(reactor.post([] {})); });
  other.join();
  REQUIRE(readable(10'000));
  reactor.run_once();
  CHECK(reactor.statistics().posts == 1);
  reactor.run_once();
  CHECK_FALSE(readable(0));
}
