// SPDX-License-Identifier: Apache-2.0
// Rate limiter: at most 20 requests per second to a service, three of them at once.
#include <horus/horus.hpp>

using namespace horus::literals;

horus::Task<> run() {
  horus::RateLimiter limit(20_hz, 3);

  // What must not wait asks.
  int allowed = 0;
  for (int i = 0; i < 10; ++i) allowed += limit.allow() ? 1 : 0;
  fmt::print("ten at once: {} allowed, {} refused\n", allowed, limit.stats().refused);

  // What may wait awaits its turn.
  const std::int64_t start = horus::now_ns();
  for (int i = 0; i < 5; ++i) {
    auto granted = co_await limit.acquire();
    std::move(granted).or_throw();
  }
  const std::int64_t took_ms = (horus::now_ns() - start) / 1'000'000;
  fmt::print("five more took a quarter of a second: {}\n", took_ms >= 245);
}

int main() { horus::io::run(run()); }
