// SPDX-License-Identifier: Apache-2.0
//
// What every publish-subscribe benchmark has in common: its options and its line of results.
//
//   --size N        bytes of a message
//   --count N       round trips, after as many as 1000 that do not count
//   --stream N      messages of the stream; 20 times as many as round trips
//   --cpus A,B      where the two sides run
//   --mode poll|sleep
//   --peers threads|processes
//   --subscribers K of the stream
//   --rhythm equal|reader|writer   who is slowed in the stream, by --slow-ns (50): nobody, so that both sides meet at the
//                   same place again and again; the reader, so that the queue is full; the writer, so that it is empty
//
// latency   ping-pong between the two sides; one way is half of a round trip (µs);
// stream    messages one after the other, none lost, until the last one has arrived (millions per second).
//
// Only the first eight bytes of a message are written and read: what it costs to make and to use a message is the same
// everywhere, what it costs to carry one is not. A transport that copies does so with all of them.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <string>
#include <thread>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arguments.hpp"
#include "measure.hpp"

namespace bench {

struct PubsubOptions {
  std::string transport;
  std::string peers = "processes";
  std::uint64_t size = 64;
  std::uint64_t count = 20'000;
  std::uint64_t stream = 0;
  int cpus[2] = {0, 1};
  bool poll = false;
  std::uint64_t subscribers = 1;
  std::string rhythm = "equal";
  std::uint64_t slow_ns = 50;
  bool json = false;

  static constexpr std::uint64_t kLarge = 16 * 1024;

  std::uint64_t warm_up() const { return std::min<std::uint64_t>(count, 1000); }
  // Messages that wait in a queue at most.
  std::uint32_t depth() const { return size > kLarge ? 16 : 256; }

  static PubsubOptions from(Arguments& arguments, const std::string& transport) {
    PubsubOptions options;
    options.transport = transport;
    options.transport = arguments.text("--transport", options.transport);
    options.peers = arguments.text("--peers", options.peers);
    options.size = arguments.count("--size", options.size);
    options.count = arguments.count("--count", options.count);
    options.stream = arguments.count("--stream", 20 * options.count);
    const std::string cpus = arguments.text("--cpus", "0,1");
    if (std::sscanf(cpus.c_str(), "%d,%d", &options.cpus[0], &options.cpus[1]) != 2)
      fail("--cpus wants two numbers as in 0,1, not '" + cpus + "'");
    const std::string mode = arguments.text("--mode", "sleep");
    if (mode != "poll" && mode != "sleep") fail("--mode wants poll or sleep, not '" + mode + "'");
    options.poll = mode == "poll";
    options.subscribers = arguments.count("--subscribers", 1);
    options.rhythm = arguments.text("--rhythm", options.rhythm);
    options.slow_ns = arguments.count("--slow-ns", options.slow_ns);
    options.json = arguments.flag("--json");
    arguments.finish();
    if (options.rhythm != "equal" && options.rhythm != "reader" && options.rhythm != "writer")
      fail("--rhythm wants equal, reader or writer, not '" + options.rhythm + "'");
    if (options.size < 8 || options.size > (64U << 20)) fail("--size wants 8 to 67108864 bytes");
    if (options.count == 0 || options.stream == 0) fail("--count and --stream want to be above 0");
    if (options.subscribers == 0 || options.subscribers > 64) fail("--subscribers wants 1 to 64");
    if (options.peers != "threads" && options.peers != "processes" && options.peers != "one")
      fail("--peers wants threads, processes or one, not '" + options.peers + "'");
    return options;
  }
};

// What a slowed side does with each message of the stream. The CPU's pauses, counted beforehand: a look at the clock would
// cost as much as the slowness.
class Slowness {
 public:
  Slowness(const PubsubOptions& options, const char* side) {
    if (options.rhythm != side) return;
    constexpr int kPauses = 20'000;
    std::uint64_t best_ns = UINT64_MAX;
    for (int attempt = 0; attempt < 5; ++attempt) {
      const std::uint64_t start = monotonic_ns();
      for (int i = 0; i < kPauses; ++i) relax_cpu();
      best_ns = std::min(best_ns, monotonic_ns() - start);
    }
    pauses_ = std::max<std::uint64_t>(1, options.slow_ns * kPauses / std::max<std::uint64_t>(best_ns, 1));
  }
  void spend() const {
    for (std::uint64_t i = 0; i < pauses_; ++i) relax_cpu();
  }

 private:
  std::uint64_t pauses_ = 0;
};

struct PubsubResult {
  Histogram one_way_ns;
  std::uint64_t stream_ns = 0;  // for `stream` messages to each subscriber
};

inline double cpu_seconds_of(int who) {
  rusage usage{};
  ::getrusage(who, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Runs one side here and the other one on a thread of its own or in a process of its own.
template <class Echo, class Measuring>
void run_two_sides(const PubsubOptions& options, Echo&& echo, Measuring&& measuring) {
  const auto here = [&] {
    pin_this_thread(options.cpus[0]);
    measuring();
  };
  const auto there = [&] {
    pin_this_thread(options.cpus[1]);
    echo();
  };
  if (options.peers == "threads") {
    std::thread other(there);
    here();
    other.join();
    return;
  }
  const pid_t child = ::fork();
  if (child < 0) fail("fork", errno);
  if (child == 0) {
    there();
    ::_exit(0);
  }
  here();
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) fail("the other side failed");
}

// Call it when both sides have ended: `cpu_s` is that of both, over everything.
inline void print(const PubsubOptions& options, const PubsubResult& result) {
  const double cpu_seconds = cpu_seconds_of(RUSAGE_SELF) + cpu_seconds_of(RUSAGE_CHILDREN);
  Report report;
  report.add("p50_us", result.one_way_ns.quantile_us(0.5));
  report.add("p99_us", result.one_way_ns.quantile_us(0.99));
  report.add("p999_us", result.one_way_ns.quantile_us(0.999));
  report.add("max_us", static_cast<double>(result.one_way_ns.max()) / 1e3);
  report.add("stream_mps", static_cast<double>(options.stream) * 1e3 / static_cast<double>(result.stream_ns));
  report.add("cpu_s", cpu_seconds);
  report.print(options.json);
}

}  // namespace bench
