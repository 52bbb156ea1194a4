// SPDX-License-Identifier: Apache-2.0
//
// The workload of `wake`: one thread hands messages to another one's loop.
//
// A program provides a class and calls bench::run_wake<Party>(arguments):
//
//   class Party {                                        // a loop that other threads can post to
//    public:
//     explicit Party(const WakeOptions& options);        // built, run and destroyed by one thread
//     void post(std::uint64_t message);                  // any thread; the harness bounds what is outstanding
//     template <typename Handler> void run(Handler&&);   // hands over messages until the handler returns false
//   };
//
// rtt     ping-pong between two loops: both sleep in turn (µs);
// oneway  post to a loop that has slept for 100 µs (µs);
// post    cost to the poster while the target is awake and busy (CPU ns per post);
// flood   posting as fast as possible until the last one is handled (wall ns per message).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "arguments.hpp"
#include "measure.hpp"

namespace bench {

struct WakeOptions {
  int cpus[2] = {0, 1};
  std::uint64_t count = 20'000;
  bool poll = false;  // the loop never sleeps
  bool json = false;

  bool one_cpu() const { return cpus[0] == cpus[1]; }

  static WakeOptions from(Arguments& arguments) {
    WakeOptions options;
    std::string cpus = arguments.text("--cpus", "0,1");
    if (std::sscanf(cpus.c_str(), "%d,%d", &options.cpus[0], &options.cpus[1]) != 2)
      fail("--cpus wants two numbers as in 0,1, not '" + cpus + "'");
    options.count = arguments.count("--count", options.count);
    options.poll = arguments.flag("--poll");
    options.json = arguments.flag("--json");
    arguments.finish();
    if (options.count == 0) fail("--count wants to be above 0");
    return options;
  }
};

constexpr std::uint64_t kMaxOutstandingPosts = 4096;
constexpr std::uint64_t kStopMessage = ~std::uint64_t{0};

// Runs a Party with `handler` on a thread of its own. The destructor joins.
template <typename Party>
class PartyThread {
 public:
  template <typename Handler>
  PartyThread(const WakeOptions& options, int cpu, Handler handler)
      : thread_([this, &options, cpu, handler = std::move(handler)]() mutable {
          pin_this_thread(cpu);
          Party party(options);
          party_.store(&party, std::memory_order_release);
          party_.notify_all();
          party.run(handler);
          while (!may_end_.load(std::memory_order_acquire)) std::this_thread::yield();
        }) {
    party_.wait(nullptr, std::memory_order_acquire);
  }

  // The party stays alive until here, so that a late post still has a target.
  ~PartyThread() {
    may_end_.store(true, std::memory_order_release);
    thread_.join();
  }

  void post(std::uint64_t message) { party_.load(std::memory_order_acquire)->post(message); }

 private:
  std::atomic<Party*> party_{nullptr};
  std::atomic<bool> may_end_{false};
  std::thread thread_;
};

template <typename Party>
void measure_round_trips(const WakeOptions& options, Histogram& round_trips) {
  std::atomic<PartyThread<Party>*> near{nullptr};
  std::atomic<bool> done{false};
  PartyThread<Party> far(options, options.cpus[1], [&near](std::uint64_t message) {
    if (message == kStopMessage) return false;
    near.load(std::memory_order_acquire)->post(message);
    return true;
  });
  std::uint64_t left = options.count + options.count / 10 + 1;  // a tenth more to warm up
  PartyThread<Party> pinger(options, options.cpus[0], [&](std::uint64_t message) {
    std::uint64_t now = monotonic_ns();
    if (message != 0 && left <= options.count) round_trips.record(now - message);
    if (--left == 0) {
      done.store(true, std::memory_order_release);
      done.notify_all();
      return false;
    }
    far.post(monotonic_ns());
    return true;
  });
  near.store(&pinger, std::memory_order_release);
  pinger.post(0);
  done.wait(false, std::memory_order_acquire);
  far.post(kStopMessage);
}

template <typename Party>
void measure_one_way(const WakeOptions& options, Histogram& one_way) {
  std::atomic<std::uint64_t> handled{0};
  PartyThread<Party> target(options, options.cpus[1], [&](std::uint64_t message) {
    if (message == kStopMessage) return false;
    one_way.record(monotonic_ns() - message);
    handled.fetch_add(1, std::memory_order_release);
    return true;
  });
  timespec pause = to_timespec(100'000);
  std::uint64_t posts = std::min<std::uint64_t>(options.count, 2000);
  for (std::uint64_t i = 0; i < posts; ++i) {
    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
    target.post(monotonic_ns());
    while (handled.load(std::memory_order_acquire) <= i) {
      if (options.one_cpu()) std::this_thread::yield();
      relax_cpu();
    }
  }
  target.post(kStopMessage);
}

// CPU ns per post while the target sits in its handler: a good loop is not signalled again.
template <typename Party>
double measure_post(const WakeOptions& options) {
  constexpr std::uint64_t kBatch = 256;
  constexpr int kRounds = 100;
  std::atomic<std::uint64_t> handled{0};
  std::atomic<int> held{0};  // 1: the target is held in its handler; 0: released
  constexpr std::uint64_t kHold = 1;
  PartyThread<Party> target(options, options.cpus[1], [&](std::uint64_t message) {
    if (message == kStopMessage) return false;
    if (message == kHold) {
      held.store(1, std::memory_order_release);
      while (held.load(std::memory_order_acquire) == 1) {
        if (options.one_cpu()) std::this_thread::yield();
        relax_cpu();
      }
    }
    handled.fetch_add(1, std::memory_order_release);
    return true;
  });
  std::vector<double> costs;
  for (int round = 0; round < kRounds; ++round) {
    std::uint64_t before = handled.load(std::memory_order_acquire);
    target.post(kHold);
    while (held.load(std::memory_order_acquire) == 0) std::this_thread::yield();
    std::uint64_t start = thread_cpu_ns();
    for (std::uint64_t i = 0; i < kBatch; ++i) target.post(2);
    costs.push_back(static_cast<double>(thread_cpu_ns() - start) / kBatch);
    held.store(0, std::memory_order_release);
    while (handled.load(std::memory_order_acquire) < before + kBatch + 1) std::this_thread::yield();
  }
  target.post(kStopMessage);
  std::sort(costs.begin(), costs.end());
  return costs[costs.size() / 2];
}

template <typename Party>
double measure_flood(const WakeOptions& options) {
  std::uint64_t messages = options.count * 10;
  std::atomic<std::uint64_t> handled{0};
  PartyThread<Party> target(options, options.cpus[1], [&](std::uint64_t message) {
    if (message == kStopMessage) return false;
    handled.store(handled.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    return true;
  });
  std::uint64_t start = monotonic_ns();
  for (std::uint64_t i = 0; i < messages; ++i) {
    while (i - handled.load(std::memory_order_acquire) >= kMaxOutstandingPosts) std::this_thread::yield();
    target.post(1);
  }
  while (handled.load(std::memory_order_acquire) < messages) std::this_thread::yield();
  double elapsed_ns = static_cast<double>(monotonic_ns() - start);
  target.post(kStopMessage);
  return elapsed_ns / static_cast<double>(messages);
}

template <typename Party>
int run_wake(const WakeOptions& options) {
  pin_this_thread(options.cpus[0]);
  std::uint64_t cpu_start = process_cpu_ns();
  Histogram round_trips;
  Histogram one_way;
  measure_round_trips<Party>(options, round_trips);
  measure_one_way<Party>(options, one_way);
  double post_ns = measure_post<Party>(options);
  double flood_ns = measure_flood<Party>(options);
  Report report;
  report.add("rtt_p50", round_trips.quantile_us(0.5));
  report.add("rtt_p99", round_trips.quantile_us(0.99));
  report.add("rtt_p999", round_trips.quantile_us(0.999));
  report.add("oneway_p50", one_way.quantile_us(0.5));
  report.add("oneway_p99", one_way.quantile_us(0.99));
  report.add("post_ns", post_ns);
  report.add("flood_ns", flood_ns);
  report.add("cpu_s", static_cast<double>(process_cpu_ns() - cpu_start) / 1e9);
  report.print(options.json);
  return 0;
}

}  // namespace bench
