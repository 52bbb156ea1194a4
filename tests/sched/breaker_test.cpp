// SPDX-License-Identifier: Apache-2.0
// The circuit breaker against a second description of the same rules, on random traces; restarts and slow-downs.
#include <deque>
#include <optional>
#include <random>

#include <doctest/doctest.h>

#include <horus/sched/circuit_breaker.hpp>
#include <horus/sched/data/rate_divider.hpp>
#include <horus/sched/restart_policy.hpp>

using horus::CircuitBreaker;
using horus::CircuitConfig;
using horus::CircuitState;
using namespace std::chrono_literals;

namespace {

// The rules as plainly as they can be said: it keeps the whole history and counts anew each time.
struct Model {
  CircuitConfig config;
  CircuitState state = CircuitState::closed;
  std::deque<bool> history;  // since it was last closed by probes or by hand: failed?
  int probes = 0;
  int failed_probes = 0;  // since it left closed
  std::int64_t reopens = 0;
  std::uint64_t opens = 0, rejected = 0;

  void open(std::int64_t now) {
    std::int64_t wait = config.open_for.count();
    for (int i = 0; i < failed_probes; ++i) wait = std::min(wait * 2, config.longest_open.count());
    state = CircuitState::open;
    reopens = now + std::min(wait, config.longest_open.count());
    ++opens;
  }
  bool admit(std::int64_t now) {
    if (state == CircuitState::open && now >= reopens) {
      state = CircuitState::half_open;
      probes = 0;
    }
    const bool may = state == CircuitState::closed || state == CircuitState::half_open;
    rejected += may ? 0 : 1;
    return may;
  }
  void ended(bool failed, std::int64_t now) {
    if (state == CircuitState::half_open) {
      if (failed) {
        ++failed_probes;
        open(now);
      } else if (++probes == static_cast<int>(config.close_after)) {
        state = CircuitState::closed;
        failed_probes = 0;
        history.clear();
      }
      return;
    }
    history.push_back(failed);
    std::uint32_t in_a_row = 0;
    for (auto at = history.rbegin(); at != history.rend() && *at; ++at) ++in_a_row;
    std::uint32_t seen = 0, bad = 0;
    for (auto at = history.rbegin(); at != history.rend() && seen < config.window; ++at, ++seen)
      bad += *at ? 1 : 0;
    const bool window = config.window > 0 && seen >= config.window_least && bad >= config.window_share * seen;
    if (failed && (in_a_row >= config.max_failures || window)) open(now);
  }
};

}  // namespace

TEST_CASE("the breaker does what a second description of its rules does, on 100000 random traces") {
  std::mt19937_64 random(20260101);
  const auto below = [&](std::uint64_t n) { return random() % n; };
  std::size_t opened = 0, closed_again = 0;
  for (int trace = 0; trace < 100'000; ++trace) {
    CircuitConfig config;
    config.max_failures = static_cast<std::uint32_t>(1 + below(6));
    config.window = below(2) == 0 ? 0 : static_cast<std::uint32_t>(4 + below(12));
    config.window_least = static_cast<std::uint32_t>(1 + below(8));
    config.window_share = 0.25 + 0.25 * static_cast<double>(below(3));
    config.open_for = std::chrono::milliseconds(1 + below(20));
    config.longest_open = config.open_for * static_cast<int>(1 + below(10));
    config.close_after = static_cast<std::uint32_t>(1 + below(4));
    CircuitBreaker breaker(config);
    Model model{config};
    std::int64_t now = 1;
    const std::uint64_t badness = below(10);
    for (int step = 0; step < 40; ++step) {
      now += static_cast<std::int64_t>(below(12'000'000));
      const bool may = breaker.admit(now);
      REQUIRE(may == model.admit(now));
      if (may) {
        const bool failed = below(10) < badness;
        const CircuitState before = breaker.state();
        if (failed) {
          breaker.failed(now);
        } else {
          breaker.succeeded(now);
        }
        model.ended(failed, now);
        if (before == CircuitState::half_open && breaker.state() == CircuitState::closed) ++closed_again;
      }
      REQUIRE(breaker.state() == model.state);
      REQUIRE(breaker.opens() == model.opens);
      REQUIRE(breaker.rejected() == model.rejected);
      if (breaker.state() == CircuitState::open) REQUIRE(breaker.reopens_at() == model.reopens);
    }
    opened += breaker.opens();
  }
  CHECK(opened > 100'000);
  CHECK(closed_again > 10'000);
}

TEST_CASE("a breaker that is off or forced behaves as it is told") {
  CircuitConfig config;
  config.enabled = false;
  CircuitBreaker off(config);
  for (int i = 0; i < 100; ++i) CHECK_FALSE(off.failed(i));
  CHECK(off.admit(100));
  CircuitBreaker forced;
  forced.force_open(10);
  CHECK(forced.state() == CircuitState::forced_open);
  CHECK_FALSE(forced.admit(INT64_MAX));
  forced.half_open(20);
  CHECK(forced.state() == CircuitState::forced_open);
  forced.reset(30);
  CHECK(forced.admit(30));
  CHECK(forced.time_open(1000) == 20);
  CircuitBreaker held;
  for (int i = 0; i < 5; ++i) held.failed(i);
  held.hold();
  CHECK_FALSE(held.admit(INT64_MAX - 1));
  held.half_open(50);
  CHECK(held.admit(50));
}

TEST_CASE("restarts wait twice as long each time, and end after five of them and a minute of failures") {
  horus::RestartConfig config;
  config.jitter = 0;
  horus::RestartPolicy policy(config, 1);
  std::int64_t now = 0;
  policy.started(now);
  for (const auto wanted : {100ms, 200ms, 400ms, 800ms, 1600ms}) {
    const auto delay = policy.next(now);
    REQUIRE(delay);
    CHECK(*delay == wanted);
    now += std::chrono::nanoseconds(1s).count();
    policy.started(now);
  }
  // Five restarts took five seconds: the minute since the first failure is not over.
  CHECK(*policy.next(now) == 3200ms);
  policy.started(now);
  now = std::chrono::nanoseconds(59s).count();
  CHECK(*policy.next(now) == 6400ms);
  policy.started(now);
  now = std::chrono::nanoseconds(60s).count();
  CHECK_FALSE(policy.next(now));
  CHECK(policy.restarts() == 7);
  // A minute of health: the first delay again.
  policy.started(now);
  now += std::chrono::nanoseconds(61s).count();
  CHECK(*policy.next(now) == 100ms);
  // A node whose init() never succeeds has no health, however long it tries.
  horus::RestartPolicy unplugged(config, 1);
  for (int i = 0; i < 6; ++i) CHECK(unplugged.next(i * std::chrono::nanoseconds(11s).count()));
  CHECK_FALSE(unplugged.next(std::chrono::nanoseconds(66s).count()));
  config.for_ever = true;
  config.longest_delay = 1h;
  horus::RestartPolicy for_ever(config, 1);
  for (int i = 0; i < 100; ++i) {
    const auto delay = for_ever.next(i * std::chrono::nanoseconds(11s).count());
    REQUIRE(delay);
    CHECK(*delay <= 10s);
  }
  // Jitter stays within its share, and differs between seeds.
  config.jitter = 0.1;
  horus::RestartPolicy first(config, 1), second(config, 2);
  const auto a = *first.next(0), b = *second.next(0);
  CHECK(a >= 90ms);
  CHECK(a <= 110ms);
  CHECK(a != b);
}

TEST_CASE("three misses in a row halve the rate down to an eighth; fifty clean ticks give one step back") {
  horus::detail::RateDivider divider;
  for (const unsigned wanted : {2U, 4U, 8U}) {
    CHECK_FALSE(divider.missed());
    CHECK_FALSE(divider.missed());
    CHECK(divider.missed());
    CHECK(divider.divisor() == wanted);
  }
  for (int i = 0; i < 9; ++i) CHECK_FALSE(divider.missed());  // an eighth is the floor
  CHECK(divider.divisor() == 8);
  for (int i = 0; i < 49; ++i) CHECK_FALSE(divider.kept());
  divider.missed();  // begins the count anew
  for (int i = 0; i < 49; ++i) CHECK_FALSE(divider.kept());
  CHECK(divider.kept());
  CHECK(divider.divisor() == 4);
}
