// SPDX-License-Identifier: Apache-2.0
//
// The cost of Asio's awaitable: a child awaited, a chain of ten, a hundred at once, a hop through a channel.
//
//   tasks_asio (a Google Benchmark program)

#include "../common/allocations.hpp"
#include "net.hpp"
#ifdef BENCH_STANDALONE_ASIO
#include <asio/experimental/channel.hpp>
#else
#include <boost/asio/experimental/channel.hpp>
#endif

using Channel = net::experimental::channel<void(net_error, int)>;

static net::awaitable<int> leaf(int value) {
  benchmark::DoNotOptimize(value);
  co_return value + 1;
}

static net::awaitable<int> chain(int depth) {
  if (depth <= 1) co_return co_await leaf(depth);
  int value = co_await chain(depth - 1);
  co_return value;
}

// Runs one coroutine that contains the whole benchmark loop.
template <typename Body>
static void run_inside(benchmark::State& state, Body body) {
  net::io_context context(1);
  net::co_spawn(context, body(state), [](std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
  });
  context.run();
}

static net::awaitable<void> spawn_await(benchmark::State& state) {
  std::uint64_t before = bench::allocations;
  for (auto _ : state) {
    int value = co_await leaf(1);
    benchmark::DoNotOptimize(value);
  }
  bench::report_allocations(state, before);
}

static net::awaitable<void> chain10(benchmark::State& state) {
  std::uint64_t before = bench::allocations;
  for (auto _ : state) {
    int value = co_await chain(10);
    benchmark::DoNotOptimize(value);
  }
  bench::report_allocations(state, before);
}

// Spawns a hundred children; the last one to end wakes the parent through a channel.
static net::awaitable<void> when_all100(benchmark::State& state) {
  auto executor = co_await net::this_coro::executor;
  Channel all_done(executor, 1);
  std::uint64_t before = bench::allocations;
  for (auto _ : state) {
    int left = 100;
    int sum = 0;
    for (int i = 0; i < 100; ++i) {
      net::co_spawn(executor, leaf(i), [&](std::exception_ptr, int value) {
        sum += value;
        if (--left == 0) all_done.try_send(net_error(), sum);
      });
    }
    int total = co_await all_done.async_receive(net::use_awaitable);
    benchmark::DoNotOptimize(total);
  }
  bench::report_allocations(state, before);
}

static net::awaitable<void> echo_values(Channel& requests, Channel& answers) {
  for (;;) {
    int value = co_await requests.async_receive(net::use_awaitable);
    if (value < 0) co_return;
    co_await answers.async_send(net_error(), value, net::use_awaitable);
  }
}

// There and back between two coroutines; one hop is half of it, hence two hops per iteration are counted as such.
static net::awaitable<void> channel_hop(benchmark::State& state) {
  auto executor = co_await net::this_coro::executor;
  Channel requests(executor, 1);
  Channel answers(executor, 1);
  net::co_spawn(executor, echo_values(requests, answers), net::detached);
  std::uint64_t before = bench::allocations;
  while (state.KeepRunningBatch(2)) {
    co_await requests.async_send(net_error(), 1, net::use_awaitable);
    int value = co_await answers.async_receive(net::use_awaitable);
    benchmark::DoNotOptimize(value);
  }
  bench::report_allocations(state, before);
  co_await requests.async_send(net_error(), -1, net::use_awaitable);
}

static void run_spawn_await(benchmark::State& state) { run_inside(state, spawn_await); }
static void run_chain10(benchmark::State& state) { run_inside(state, chain10); }
static void run_when_all100(benchmark::State& state) { run_inside(state, when_all100); }
static void run_channel_hop(benchmark::State& state) { run_inside(state, channel_hop); }

BENCHMARK(run_spawn_await)->Name("asio/spawn_await");
BENCHMARK(run_chain10)->Name("asio/chain10");
BENCHMARK(run_when_all100)->Name("asio/when_all100");
BENCHMARK(run_channel_hop)->Name("asio/channel_hop");
BENCHMARK_MAIN();
