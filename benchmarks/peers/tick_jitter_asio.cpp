// SPDX-License-Identifier: Apache-2.0
//
// Ticks by an Asio steady_timer with absolute deadlines, awaited in a coroutine.
//
//   tick_jitter_asio --rate 1000 --seconds 10

#include <chrono>

#include "../common/tick_load.hpp"
#include "net.hpp"

static net::awaitable<void> run(bench::TickLoad& load) {
  net::steady_timer timer(co_await net::this_coro::executor);
  load.start();
  while (!load.done()) {
    timer.expires_at(std::chrono::steady_clock::time_point(std::chrono::nanoseconds(load.deadline())));
    co_await timer.async_wait(net::use_awaitable);
    load.tick();
  }
}

int main(int argc, char** argv) {
  bench::TickLoad load(argc, argv);
  net::io_context context(1);
  net::co_spawn(context, run(load), net::detached);
  context.run();
  load.print();
}
