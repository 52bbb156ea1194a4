// SPDX-License-Identifier: Apache-2.0
//
// What every benchmark program measures with: clocks, CPU time, a latency histogram and the one line of JSON.
// Independent of Horus, so that peers and our own programs are measured by the same code. Nothing here is
// shared between threads unless it says so.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include <pthread.h>
#include <sched.h>

namespace bench {

constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

inline std::uint64_t clock_ns(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * kNsPerSecond + static_cast<std::uint64_t>(time.tv_nsec);
}

inline std::uint64_t monotonic_ns() { return clock_ns(CLOCK_MONOTONIC); }

// CPU time of all threads of this process, io_uring workers included.
inline std::uint64_t process_cpu_ns() { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

inline std::uint64_t thread_cpu_ns() { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }

inline timespec to_timespec(std::uint64_t ns) {
  return {static_cast<time_t>(ns / kNsPerSecond), static_cast<long>(ns % kNsPerSecond)};
}

inline void relax_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Stops the program with a sentence that says what failed.
[[noreturn]] inline void fail(const std::string& what, int error = 0) {
  std::fprintf(stderr, "%s%s%s\n", what.c_str(), error != 0 ? ": " : "",
               error != 0 ? std::strerror(error) : "");
  std::exit(1);
}

inline void pin_this_thread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  if (int error = pthread_setaffinity_np(pthread_self(), sizeof(set), &set); error != 0)
    fail("pin to cpu " + std::to_string(cpu), error);
}

// Counts values in buckets whose width is at most 1/256 of the value; the maximum is exact.
class Histogram {
 public:
  Histogram() : buckets_((64 - kBits) << kBits) {}

  void record(std::uint64_t value) {
    ++buckets_[index_of(value)];
    ++count_;
    max_ = std::max(max_, value);
  }

  void clear() {
    std::fill(buckets_.begin(), buckets_.end(), 0);
    count_ = max_ = 0;
  }

  std::uint64_t count() const { return count_; }
  std::uint64_t max() const { return max_; }

  // The value below or at which `fraction` (0 to 1) of all values lie; 0 when empty.
  std::uint64_t quantile(double fraction) const {
    auto wanted = static_cast<std::uint64_t>(fraction * static_cast<double>(count_) + 0.5);
    wanted = std::clamp<std::uint64_t>(wanted, 1, std::max<std::uint64_t>(count_, 1));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i];
      if (seen >= wanted) return std::min(middle_of(i), max_);
    }
    return max_;
  }

  double quantile_us(double fraction) const { return static_cast<double>(quantile(fraction)) / 1e3; }

 private:
  static constexpr int kBits = 9;  // values below 2^9 have a bucket each

  static std::size_t index_of(std::uint64_t value) {
    int shift = std::max(0, static_cast<int>(std::bit_width(value)) - kBits);
    return (static_cast<std::size_t>(shift) << (kBits - 1)) + static_cast<std::size_t>(value >> shift);
  }

  static std::uint64_t middle_of(std::size_t index) {
    if (index < (1U << kBits)) return index;
    std::size_t shift = (index >> (kBits - 1)) - 1;
    std::uint64_t low = (index - (shift << (kBits - 1))) << shift;
    return low + (std::uint64_t{1} << shift) / 2;
  }

  std::vector<std::uint64_t> buckets_;
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
};

// Small, fast, good enough to scatter offsets and deadlines, and the same in every program (xorshift64*).
class Random {
 public:
  explicit Random(std::uint64_t seed = 0x9E3779B97F4A7C15) : state_(seed) {}

  std::uint64_t operator()() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1D;
  }

  std::uint64_t below(std::uint64_t limit) { return limit == 0 ? 0 : (*this)() % limit; }

 private:
  std::uint64_t state_;
};

// The result of a program: one line of JSON with --json, one `key value` per line without.
class Report {
 public:
  void add(const std::string& key, double value) {
    char text[64];
    std::snprintf(text, sizeof(text), "%.6g", value);
    entries_.push_back({key, text});
  }

  void add(const std::string& key, std::uint64_t value) { entries_.push_back({key, std::to_string(value)}); }

  void print(bool json) const {
    if (json) std::printf("{");
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      const auto& [key, value] = entries_[i];
      if (json) std::printf("%s\"%s\": %s", i == 0 ? "" : ", ", key.c_str(), value.c_str());
      else std::printf("%-16s %s\n", key.c_str(), value.c_str());
    }
    if (json) std::printf("}\n");
    std::fflush(stdout);
  }

 private:
  struct Entry {
    std::string key;
    std::string value;
  };
  std::vector<Entry> entries_;
};

}  // namespace bench
