// SPDX-License-Identifier: Apache-2.0
//
// The cost of coroutines: a child awaited, a chain of ten, a hundred at once, a hop through a channel.
//
//   tasks (a Google Benchmark program)
//
// The shapes are those of peers/tasks_asio.cpp; nothing here waits for the kernel, so no reactor is made.

#include <utility>
#include <vector>

#include <horus/task/channel.hpp>
#include <horus/task/run_ready.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/when_all.hpp>

#include "common/allocations.hpp"

using horus::Task;
using Channel = horus::Channel<int>;

static Task<int> leaf(int value) {
  benchmark::DoNotOptimize(value);
  co_return value + 1;
}

static Task<int> chain(int depth) {
  if (depth <= 1) {
    int last = co_await leaf(depth);
    co_return last;
  }
  int value = co_await chain(depth - 1);
  co_return value;
}

static Task<> spawn_await(benchmark::State& state) {
  std::uint64_t before = bench::allocations;
  for (auto _ : state) {
    int value = co_await leaf(1);
    benchmark::DoNotOptimize(value);
  }
  bench::report_allocations(state, before);
}

static Task<> chain10(benchmark::State& state) {
  std::uint64_t before = bench::allocations;
  for (auto _ : state) {
    int value = co_await chain(10);
    benchmark::DoNotOptimize(value);
  }
  bench::report_allocations(state, before);
}

static Task<> when_all100(benchmark::State& state) {
  std::uint64_t before = bench::allocations;
  for (auto _ : state) {
    std::vector<Task<int>> tasks;
    tasks.reserve(100);
    for (int i = 0; i < 100; ++i) tasks.push_back(leaf(i));
    auto all = horus::when_all(std::move(tasks));
    std::vector<int> values = co_await all;
    benchmark::DoNotOptimize(values.data());
  }
  bench::report_allocations(state, before);
}

static Task<> echo_values(Channel& requests, Channel& answers) {
  for (;;) {
    auto value = co_await requests.recv();
    if (!value) co_return;
    auto sent = co_await answers.send(*value);
    if (!sent) co_return;
  }
}

// There and back between two coroutines: two hops.
static Task<> channel_hop(benchmark::State& state) {
  Channel requests(1);
  Channel answers(1);
  horus::Scope scope;
  auto echo = scope.spawn(echo_values(requests, answers));
  std::uint64_t before = bench::allocations;
  while (state.KeepRunningBatch(2)) {
    auto sent = co_await requests.send(1);
    auto value = co_await answers.recv();
    benchmark::DoNotOptimize(*value);
  }
  bench::report_allocations(state, before);
  requests.close();
  co_await scope.join();
}

static void run_spawn_await(benchmark::State& state) { horus::sync_await(spawn_await(state)); }
static void run_chain10(benchmark::State& state) { horus::sync_await(chain10(state)); }
static void run_when_all100(benchmark::State& state) { horus::sync_await(when_all100(state)); }
static void run_channel_hop(benchmark::State& state) { horus::sync_await(channel_hop(state)); }

BENCHMARK(run_spawn_await)->Name("ours/spawn_await");
BENCHMARK(run_chain10)->Name("ours/chain10");
BENCHMARK(run_when_all100)->Name("ours/when_all100");
BENCHMARK(run_channel_hop)->Name("ours/channel_hop");
BENCHMARK_MAIN();
