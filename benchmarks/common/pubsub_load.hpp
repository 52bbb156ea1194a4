// SPDX-License-Identifier: Apache-2.0
//
// What every publish-subscribe benchmark has in common: its options and its line of results.
//
//   --size N        bytes of a message
//   --count N       round trips, and 20 times as many messages in the stream
//   --cpus A,B      where the two sides run
//   --mode poll|sleep
//   --peers threads|processes
//   --subscribers K of the stream
//
// latency   ping-pong between the two sides; one way is half of a round trip (µs);
// stream    messages one after the other, none lost, until the last one has arrived (millions per second).
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include <sys/resource.h>

#include "arguments.hpp"
#include "measure.hpp"

namespace bench {

struct PubsubOptions {
  std::string transport = "shm";
  std::string peers = "processes";
  std::uint64_t size = 64;
  std::uint64_t count = 20'000;
  int cpus[2] = {0, 1};
  bool poll = false;
  std::uint64_t subscribers = 1;
  bool json = false;

  std::uint64_t stream_count() const { return 20 * count; }

  static PubsubOptions from(Arguments& arguments) {
    PubsubOptions options;
    options.transport = arguments.text("--transport", options.transport);
    options.peers = arguments.text("--peers", options.peers);
    options.size = arguments.count("--size", options.size);
    options.count = arguments.count("--count", options.count);
    const std::string cpus = arguments.text("--cpus", "0,1");
    if (std::sscanf(cpus.c_str(), "%d,%d", &options.cpus[0], &options.cpus[1]) != 2)
      fail("--cpus wants two numbers as in 0,1, not '" + cpus + "'");
    const std::string mode = arguments.text("--mode", "sleep");
    if (mode != "poll" && mode != "sleep") fail("--mode wants poll or sleep, not '" + mode + "'");
    options.poll = mode == "poll";
    options.subscribers = arguments.count("--subscribers", 1);
    options.json = arguments.flag("--json");
    arguments.finish();
    if (options.size < 8 || options.size > (64U << 20)) fail("--size wants 8 to 67108864 bytes");
    if (options.count == 0) fail("--count wants to be above 0");
    if (options.subscribers == 0 || options.subscribers > 64) fail("--subscribers wants 1 to 64");
    if (options.peers != "threads" && options.peers != "processes" && options.peers != "one")
      fail("--peers wants threads, processes or one, not '" + options.peers + "'");
    return options;
  }
};

struct PubsubResult {
  Histogram one_way_ns;
  std::uint64_t stream_ns = 0;  // for stream_count() messages to each subscriber
  double cpu_seconds = 0;       // of both sides, over everything
};

inline double cpu_seconds_of(int who) {
  rusage usage{};
  ::getrusage(who, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

inline void print(const PubsubOptions& options, const PubsubResult& result) {
  Report report;
  report.add("p50_us", result.one_way_ns.quantile_us(0.5));
  report.add("p99_us", result.one_way_ns.quantile_us(0.99));
  report.add("p999_us", result.one_way_ns.quantile_us(0.999));
  report.add("max_us", static_cast<double>(result.one_way_ns.max()) / 1e3);
  report.add("stream_mps",
             static_cast<double>(options.stream_count()) * 1e3 / static_cast<double>(result.stream_ns));
  report.add("cpu_s", result.cpu_seconds);
  report.print(options.json);
}

}  // namespace bench
