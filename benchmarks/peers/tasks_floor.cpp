// SPDX-License-Identifier: Apache-2.0
//
// The floor of `tasks`: the same shapes as plain function calls that the compiler may not see through.
//
//   tasks_floor (a Google Benchmark program)

#include <array>

#include "../common/allocations.hpp"

[[gnu::noinline]] static int leaf(int value) {
  benchmark::DoNotOptimize(value);
  return value + 1;
}

[[gnu::noinline]] static int chain(int depth) {
  int value = depth > 1 ? chain(depth - 1) : leaf(depth);
  benchmark::DoNotOptimize(value);
  return value;
}

static void spawn_await(benchmark::State& state) {
  std::uint64_t before = bench::allocations;
  for (auto _ : state) benchmark::DoNotOptimize(leaf(1));
  bench::report_allocations(state, before);
}

static void chain10(benchmark::State& state) {
  std::uint64_t before = bench::allocations;
  for (auto _ : state) benchmark::DoNotOptimize(chain(10));
  bench::report_allocations(state, before);
}

static void when_all100(benchmark::State& state) {
  std::uint64_t before = bench::allocations;
  for (auto _ : state) {
    int sum = 0;
    for (int i = 0; i < 100; ++i) sum += leaf(i);
    benchmark::DoNotOptimize(sum);
  }
  bench::report_allocations(state, before);
}

// One value put into a bounded ring by one function and taken out by another.
static void channel_hop(benchmark::State& state) {
  static std::array<int, 16> slots;
  static std::size_t head = 0;
  static std::size_t tail = 0;
  auto put = [](int value) __attribute__((noinline)) { slots[tail++ % slots.size()] = value; };
  auto take = []() __attribute__((noinline)) { return slots[head++ % slots.size()]; };
  std::uint64_t before = bench::allocations;
  for (auto _ : state) {
    put(1);
    benchmark::DoNotOptimize(take());
  }
  bench::report_allocations(state, before);
}

BENCHMARK(spawn_await)->Name("floor/spawn_await");
BENCHMARK(chain10)->Name("floor/chain10");
BENCHMARK(when_all100)->Name("floor/when_all100");
BENCHMARK(channel_hop)->Name("floor/channel_hop");
BENCHMARK_MAIN();
