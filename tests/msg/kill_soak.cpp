// SPDX-License-Identifier: Apache-2.0
// Kills publishers and subscribers of a shared-memory hub at random instants, again and again:
//
//   kill_soak [CYCLES] [SEED]
//
// A killed publisher leaves no torn message, a killed subscriber no lost slot, and neither a descriptor, a mapping or a
// socket file. Prints one line, ends with 1 when a promise was broken.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>

#include "nursery.hpp"

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::Task;

struct Reading {
  std::int64_t number = 0;
  std::array<std::int64_t, 31> copies{};
};

[[noreturn]] void fail(const std::string& what) {
  fmt::print(stderr, "kill_soak: {}\n", what);
  std::exit(1);
}

std::size_t count_in(const std::string& directory) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(directory), std::filesystem::directory_iterator()));
}
std::size_t count_descriptors() { return count_in("/proc/self/fd"); }
std::size_t count_mappings() {
  std::ifstream maps("/proc/self/maps");
  std::size_t mappings = 0;
  for (std::string line; std::getline(maps, line);)
    mappings += line.find("horus-") != std::string::npos ? 1 : 0;
  return mappings;
}

Task<> publish_for_ever(horus::ShmOptions options) {
  Hub hub = Hub::shm("soak", options).or_throw();
  auto out = hub.advertise<Reading>("numbers");
  for (std::int64_t i = 1;; ++i) {
    Reading reading{.number = i};
    reading.copies.fill(i);
    out.send(reading);
    if (i % 256 == 0) co_await horus::yield();
  }
}

Task<> hold_for_ever(horus::ShmOptions options) {
  Hub hub = Hub::shm("soak", options).or_throw();
  auto in = hub.subscribe<Reading>("answers");
  std::array<horus::Sample<Reading>, 4> held;
  for (std::size_t i = 0;; ++i) {
    auto message = co_await in.recv();
    if (!message) co_return;
    held[i % held.size()] = std::move(*message);
  }
}

template <class Condition>
Task<> eventually(Condition condition, std::string what) {
  for (int i = 0; i < 20'000; ++i) {
    if (condition()) co_return;
    co_await horus::sleep(200us);
  }
  fail(what);
}

enum Role : std::size_t { kPublisher, kHolder };

Task<> soak(Nursery& nursery, std::uint64_t cycles, std::uint64_t seed, horus::ShmOptions options) {
  std::mt19937_64 random(seed);
  Hub hub = Hub::shm("soak", options).or_throw();
  auto in = hub.subscribe<Reading>("numbers");
  auto out = hub.advertise<Reading>("answers", horus::AdvertiseOptions().with_max_queued(40));
  std::uint64_t received = 0;
  std::size_t descriptors = 0;
  std::size_t mappings = 0;
  std::int64_t slowest_ns = 0;
  for (std::uint64_t cycle = 0; cycle < cycles; ++cycle) {
    if (cycle == 10) {  // by now everything that stays is there
      descriptors = count_descriptors();
      mappings = count_mappings();
    }
    if (cycle % 2 == 0) {
      const pid_t child = nursery.bear(kPublisher);
      std::int64_t last = 0;
      const auto check = [&](const Reading& reading) {
        const bool whole = std::all_of(reading.copies.begin(), reading.copies.end(),
                                       [&](std::int64_t copy) { return copy == reading.number; });
        if (!whole || reading.number <= last)
          fail(fmt::format("cycle {}: a torn or repeated message", cycle));
        last = reading.number;
        ++received;
      };
      for (std::uint64_t left = 1 + random() % 200; left > 0; --left) {
        auto message = co_await in.recv();
        check(**message);
      }
      Nursery::kill(child);
      const std::int64_t killed_ns = horus::now_ns();
      while (in.metrics().publishers_died <= cycle / 2) {
        while (auto message = in.try_recv()) check(**message);
        if (horus::now_ns() - killed_ns > 4'000'000'000)
          fail(fmt::format("cycle {}: its death was not seen", cycle));
        co_await horus::sleep(100us);
      }
      slowest_ns = std::max(slowest_ns, horus::now_ns() - killed_ns);
      if (in.metrics().publishers_died != cycle / 2 + 1)
        fail(fmt::format("cycle {}: a death was not counted", cycle));
    } else {
      const pid_t child = nursery.bear(kHolder);
      co_await eventually([&] { return out.subscribers() == 1; }, "a subscriber did not come");
      for (std::uint64_t left = random() % 100; left > 0; --left) {
        Reading reading{.number = static_cast<std::int64_t>(left)};
        out.send(reading);
        if (left % 8 == 0) co_await horus::yield();
      }
      Nursery::kill(child);
      const std::int64_t killed_ns = horus::now_ns();
      co_await eventually([&] { return out.subscribers() == 0; },
                          "a killed subscriber's slots did not come back");
      slowest_ns = std::max(slowest_ns, horus::now_ns() - killed_ns);
      const auto account = out.metrics();
      if (account.sent != account.delivered + account.dropped + account.queued + account.in_flight ||
          account.queued != 0)
        fail(fmt::format("cycle {}: the account does not add up", cycle));
    }
  }
  co_await eventually([&] { return hub.connection_state().peers.empty(); }, "a dead peer is still listed");
  co_await eventually([&] { return count_in(options.directory) == 1; },
                      "a dead process's socket file was left behind");
  if (cycles > 10) {
    co_await eventually([&] { return count_descriptors() <= descriptors && count_mappings() <= mappings; },
                        "descriptors or mappings were leaked");
  }
  fmt::print(
      "{} kills, {} messages received whole, nothing leaked; the slowest death was settled after {:.1f} ms\n",
      cycles, received, static_cast<double>(slowest_ns) / 1e6);
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t cycles = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100;
  const std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  if (cycles == 0) fail("usage: kill_soak [CYCLES] [SEED]");
  std::string folder = "/tmp/horus-soak-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) fail("mkdtemp failed");
  const auto options = horus::ShmOptions().with_directory(folder);
  {
    Nursery nursery({[&] { horus::io::run(publish_for_ever(options)); },
                     [&] { horus::io::run(hold_for_ever(options)); }});
    horus::io::run(soak(nursery, cycles, seed, options));
  }
  const bool clear = std::filesystem::is_empty(folder);
  std::filesystem::remove_all(folder);
  if (!clear) fail("a socket file was left behind");
}
