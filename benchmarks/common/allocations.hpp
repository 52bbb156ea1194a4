// SPDX-License-Identifier: Apache-2.0
//
// Counts the calls of operator new in a Google Benchmark program. Include it in exactly one source file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include <benchmark/benchmark.h>

namespace bench {

inline std::uint64_t allocations = 0;  // programs that use this are single-threaded

// Adds the counter `allocs`: allocations per iteration since `before`.
inline void report_allocations(benchmark::State& state, std::uint64_t before) {
  state.counters["allocs"] =
      static_cast<double>(allocations - before) / static_cast<double>(state.iterations());
}

}  // namespace bench

// Not inlined, as the library's own are not; g++ takes an inlined free() for a mismatch.

[[gnu::noinline]] void* operator new(std::size_t bytes) {
  ++bench::allocations;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}

[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  ++bench::allocations;
  auto aligned = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(aligned, (bytes + aligned - 1) / aligned * aligned)) return memory;
  throw std::bad_alloc();
}

[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
