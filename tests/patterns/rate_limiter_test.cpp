// SPDX-License-Identifier: Apache-2.0
#include <horus/patterns/rate_limiter.hpp>

#include <memory>
#include <vector>

#include <doctest/doctest.h>

#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>

#include "virtual_time.hpp"

using horus::RateLimiter;
using horus::Scope;
using horus::Task;
using horus::testing::in_virtual_time;
using horus::testing::now_ms;
using namespace horus::literals;

TEST_CASE("a full bucket gives a burst, then one token per period") {
  in_virtual_time([]() -> Task<> {
    RateLimiter limit(10_hz, 3);
    CHECK(limit.allow(3));
    CHECK_FALSE(limit.allow());
    CHECK(limit.wait_time() <= 100ms);
    CHECK(limit.wait_time() > 99ms);
    co_await horus::sleep(limit.wait_time());
    CHECK(limit.allow());
    CHECK_FALSE(limit.allow());
    co_await horus::sleep(1h);
    CHECK(limit.wait_time(3) == 0ns);
    CHECK(limit.allow(3));
    CHECK_FALSE(limit.allow());
    CHECK(limit.stats().granted == 3);
    CHECK(limit.stats().tokens == 7);
    CHECK(limit.stats().refused == 3);
  });
}

TEST_CASE("a rate that no nanosecond divides is kept all the same") {
  in_virtual_time([]() -> Task<> {
    RateLimiter limit(horus::Rate(300), 3);
    for (int i = 0; i < 3; ++i) CHECK(limit.allow());
    const std::int64_t start = horus::now_ns();
    for (int i = 0; i < 3000; ++i) {
      auto granted = co_await limit.acquire();
      CHECK(granted.ok());
    }
    const std::int64_t took = horus::now_ns() - start;
    CHECK(took >= 9'999'990'000);
    CHECK(took <= 10'001'000'000);
  });
}

TEST_CASE("waiters are served first come, first served, and nobody overtakes them") {
  in_virtual_time([]() -> Task<> {
    RateLimiter limit(10_hz, 5);
    CHECK(limit.allow(5));
    std::vector<int> order;
    std::vector<std::int64_t> times;
    const std::int64_t start = now_ms();
    auto take = [&](int id, std::uint64_t tokens) -> Task<> {
      auto granted = co_await limit.acquire(tokens);
      CHECK(granted.ok());
      order.push_back(id);
      times.push_back(now_ms() - start);
    };
    Scope scope;
    static_cast<void>(scope.spawn(take(1, 5)));
    static_cast<void>(scope.spawn(take(2, 1)));
    static_cast<void>(scope.spawn(take(3, 2)));
    co_await horus::sleep(200ms);
    CHECK_FALSE(limit.allow());  // two tokens are there, for the one that waits for five
    CHECK(limit.stats().waiting == 3);
    const auto wait = limit.wait_time();
    CHECK(wait > 699ms);  // 8 tokens for the three, 1 for this call, 2 are there
    CHECK(wait <= 700ms);
    co_await scope.join();
    CHECK(order == std::vector<int>{1, 2, 3});
    CHECK(times == std::vector<std::int64_t>{500, 600, 800});
    CHECK(limit.stats().waiting_high_water == 3);
    CHECK(limit.stats().longest_wait_ns / 1'000'000 == 800);
  });
}

TEST_CASE("a waiter that is stopped takes nothing, and the next one moves up") {
  in_virtual_time([]() -> Task<> {
    RateLimiter limit(10_hz, 10);
    CHECK(limit.allow(10));
    auto take = [&](std::uint64_t tokens) -> Task<int> {
      auto granted = co_await limit.acquire(tokens);
      co_return granted.code();
    };
    Scope scope;
    auto large = scope.spawn(take(10));
    auto small = scope.spawn(take(1));
    co_await horus::sleep(150ms);
    large.cancel();
    const std::int64_t start = now_ms();
    const int small_code = co_await small;
    const int large_code = co_await large;
    CHECK(small_code == 0);
    CHECK(now_ms() - start == 0);  // its token had been there
    CHECK(large_code == ECANCELED);
    CHECK(limit.stats().cancelled == 1);
    CHECK(limit.stats().tokens == 11);
    co_await scope.join();
  });
}

TEST_CASE("too many waiters are refused") {
  in_virtual_time([]() -> Task<> {
    RateLimiter limit(1_hz, 1, 2);
    CHECK(limit.allow());
    auto take = [&]() -> Task<> {
      auto granted = co_await limit.acquire();
      CHECK(granted.ok());
    };
    Scope scope;
    static_cast<void>(scope.spawn(take()));
    static_cast<void>(scope.spawn(take()));
    co_await horus::yield();
    auto refused = co_await limit.acquire();
    CHECK(refused.code() == EAGAIN);
    CHECK(limit.stats().refused == 1);
    co_await scope.join();
  });
}

TEST_CASE("a limiter that dies ends its waits") {
  in_virtual_time([]() -> Task<> {
    auto limit = std::make_unique<RateLimiter>(1_hz);
    CHECK(limit->allow());
    auto take = [&]() -> Task<int> {
      auto granted = co_await limit->acquire();
      co_return granted.code();
    };
    Scope scope;
    auto waiting = scope.spawn(take());
    co_await horus::yield();
    limit.reset();
    const int code = co_await waiting;
    CHECK(code == horus::kChannelClosed);
    co_await scope.join();
  });
}

TEST_CASE("what a limiter cannot be is refused with what to do") {
  CHECK_THROWS_WITH(RateLimiter(horus::Rate(0)),
                    "make a rate limiter of 0 Hz (above 0 up to 1e9): invalid argument");
  CHECK_THROWS_AS(RateLimiter(horus::Rate(2e9)), horus::Error);
  CHECK_THROWS_AS(RateLimiter(1_hz, 0), horus::Error);
  CHECK_THROWS_AS(RateLimiter(1_hz, 2'000'000'000), horus::Error);
  RateLimiter limit(1_hz, 4);
  CHECK_THROWS_WITH(
      static_cast<void>(limit.allow(5)),
      "take from a rate limiter 5 tokens (its bucket holds 4: ask for less, or give it a larger "
      "burst): invalid argument");
  CHECK(limit.allow(4));
  CHECK_FALSE(limit.allow());
}
