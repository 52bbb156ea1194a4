// SPDX-License-Identifier: Apache-2.0
//
// What the safety monitor costs, and how soon it acts.
//
//   supervision [--nodes 1000] [--seconds 5]
//
// First: so many nodes at 10 Hz with a watchdog of 300 ms; the monitor's share of one processor. Then: a critical node with
// a watchdog of 300 ms beside one that blocks the loop; from the block to enter_safe_state().

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include <dirent.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/sched/scheduler.hpp>

using namespace horus::literals;

namespace {

// Nanoseconds on a processor of this process's thread with that name.
std::int64_t used_by(const std::string& name) {
  std::int64_t used = 0;
  DIR* const tasks = ::opendir("/proc/self/task");
  while (const dirent* entry = ::readdir(tasks)) {
    const std::string folder = std::string("/proc/self/task/") + entry->d_name;
    std::string comm;
    if (!std::getline(std::ifstream(folder + "/comm"), comm) || comm != name) continue;
    std::ifstream(folder + "/schedstat") >> used;
  }
  ::closedir(tasks);
  return used;
}

void cost(int nodes, double seconds) {
  horus::Scheduler scheduler;
  for (int i = 0; i < nodes; ++i)
    scheduler.add("node_" + std::to_string(i), [] {}).rate(10_hz).watchdog(300ms);
  std::int64_t used = 0, took = 0;
  std::thread measures([&] {
    std::this_thread::sleep_for(500ms);
    const std::int64_t began = horus::monotonic_ns(), before = used_by("horus-safety");
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    used = used_by("horus-safety") - before;
    took = horus::monotonic_ns() - began;
    scheduler.stop();
  });
  scheduler.run();
  measures.join();
  fmt::print("{} nodes: the monitor uses {:.3f} % of a processor\n", nodes,
             100.0 * static_cast<double>(used) / static_cast<double>(took));
}

void delay() {
  struct Motor : horus::PlainNode {
    std::atomic<std::int64_t>& at;
    explicit Motor(std::atomic<std::int64_t>& when) : at(when) {}
    void tick() override {}
    void enter_safe_state() noexcept override { at = horus::monotonic_ns(); }
  };
  for (int round = 0; round < 5; ++round) {
    std::atomic<std::int64_t> safe{0};
    std::int64_t blocked = 0;
    horus::Scheduler scheduler;
    scheduler.add<Motor>(safe).rate(100_hz).watchdog(300ms).critical();
    scheduler
        .add("blocks",
             [&, ticks = 0]() mutable {
               if (++ticks != 20) return;
               blocked = horus::monotonic_ns();
               while (safe == 0) std::this_thread::sleep_for(1ms);
               scheduler.stop();
             })
        .rate(100_hz);
    scheduler.run_for(30s);
    fmt::print("watchdog 300 ms: safe {:.1f} ms after the block began\n",
               static_cast<double>(safe - blocked) / 1e6);
  }
}

}  // namespace

int main(int argc, char** argv) {
  int nodes = 1000;
  double seconds = 5;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    if (option == "--nodes") nodes = std::atoi(argv[i + 1]);
    if (option == "--seconds") seconds = std::atof(argv[i + 1]);
  }
  horus::set_log_level(horus::LogLevel::error);
  cost(nodes, seconds);
  horus::set_log_sink([](horus::LogLevel, std::string_view) {});
  delay();
}
