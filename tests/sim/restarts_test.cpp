// SPDX-License-Identifier: Apache-2.0
// A program that is killed and started again, again and again, beside one that lives on: over shared memory and over TCP
// nothing is left of its lives, whether anybody takes its messages or not.
#include <array>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <malloc.h>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/seam/system.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/sim/world.hpp>

namespace {

using namespace std::chrono_literals;
using horus::Duration;
using horus::Hub;
using horus::Overflow;
using horus::SubscribeOptions;
using horus::Task;
using horus::TcpRole;
using horus::sim::World;

const bool kCountsBytes = ::mallinfo2().uordblks > 0;  // a sanitizer's allocator is another
const int kWarm =
    kCountsBytes ? 300 : 20;  // lives after which all has been used, and the first ones are forgotten
const int kLives = kWarm + 200;
constexpr Duration kFirst = 1s;         // death
constexpr Duration kLife = 400ms;       // from death to death
constexpr Duration kRest = 100ms;       // from death to birth
constexpr std::int64_t kSlack = 12288;  // bytes, beside what is kept of 200 lives: pools that have grown

// Travels in the queue.
struct Small {
  std::int64_t number = 0;
};
// Travels in a slot.
struct Large {
  std::int64_t number = 0;
  double points[60] = {};
};

/// How the two programs find each other.
struct Way {
  const char* name;
  bool shared;
  TcpRole survivor;  // without `shared`
};
constexpr std::array kWays = {Way{"shared memory", true, TcpRole::automatic},
                              Way{"TCP, the survivor listens", false, TcpRole::listen},
                              Way{"TCP, the survivor connects", false, TcpRole::connect}};

Duration time_of_death(int life) { return kFirst + (life - 1) * kLife; }

Hub make_hub(const Way& way, bool survives) {
  const char* name = survives ? "survivor" : "mortal";
  if (way.shared) return Hub::shm("crew", horus::ShmOptions().with_directory("/tmp/hubs")).or_throw();
  const bool listens = survives == (way.survivor == TcpRole::listen);
  const auto options = horus::TcpHubOptions()
                           .with_insecure()
                           .with_role(listens ? TcpRole::listen : TcpRole::connect)
                           .with_retry(20ms, 40ms);
  return Hub::tcp(way.survivor == TcpRole::listen ? "10.0.0.1:8080" : "10.0.0.2:8080", name, options)
      .or_throw();
}

/// What there is while the mortal program is dead.
struct Left {
  std::int64_t bytes = 0;       // that all have allocated
  std::size_t descriptors = 0;  // of the survivor
  std::size_t mappings = 0;     // of memory that hubs share
};
struct Seen {
  int lives = 0;
  int met = 0;     // lives that all ports were connected with
  int parted = 0;  // and were not any more
  Left early, late;
};

std::size_t open_descriptors() {
  std::vector<int> rest;
  while (true) {
    const int fd = horus::io::Reactor::current()->system().event_fd(0, 0);
    if (fd < 0) break;
    rest.push_back(fd);
  }
  for (const int fd : rest) horus::io::System::here().close(fd);
  return 1024 - rest.size();
}

std::size_t shared_mappings() {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) count += line.find("memfd:") != std::string::npos ? 1 : 0;
  return count;
}

Left measure() {
  return {static_cast<std::int64_t>(::mallinfo2().uordblks), open_descriptors(), shared_mappings()};
}

// Publishes two topics, and is silent on a third one; hears one that carries messages and one that does not.
Task<int> mortal(const Way& way, Seen& seen) {
  ++seen.lives;
  const Hub hub = make_hub(way, false);
  auto silent = hub.advertise<Small>("silent");
  auto small = hub.advertise<Small>("small");
  auto large = hub.advertise<Large>("large");
  auto nothing = hub.subscribe<Small>("nothing");
  auto pulse = hub.subscribe<Large>("pulse");
  for (std::int64_t i = 1;; ++i) {
    small.send({i});
    large.send({.number = i});
    co_await horus::sleep(10ms);
  }
}

// Takes one topic, looks at the newest message of another one, and leaves the rest alone.
Task<int> survivor(const Way& way, World& world, Seen& seen) {
  const Hub hub = make_hub(way, true);
  std::vector<horus::Subscriber<Small>> small;
  small.push_back(hub.subscribe<Small>("silent"));
  small.push_back(hub.subscribe<Small>("small"));
  small.push_back(hub.subscribe<Small>("small", SubscribeOptions().with_overflow(Overflow::drop_newest)));
  std::vector<horus::Subscriber<Large>> large;
  large.push_back(hub.subscribe<Large>("large", SubscribeOptions().with_overflow(Overflow::latest)));
  large.push_back(hub.subscribe<Large>("large"));
  auto nothing = hub.advertise<Small>("nothing");
  auto pulse = hub.advertise<Large>("pulse");
  const auto connected = [&](std::uint32_t count) {
    for (const auto& one : small) {
      if (one.publishers() != count) return false;
    }
    for (const auto& one : large) {
      if (one.publishers() != count) return false;
    }
    return nothing.subscribers() == count && pulse.subscribers() == count;
  };
  while (true) {
    pulse.send({.number = 1});
    while (small[1].try_recv()) {
    }
    static_cast<void>(large[0].latest());
    if (seen.met == seen.parted ? connected(1) : connected(0))
      ++(seen.met == seen.parted ? seen.met : seen.parted);
    if (world.now() >= time_of_death(kWarm) + kRest / 2 && seen.early.descriptors == 0)
      seen.early = measure();
    if (world.now() >= time_of_death(kLives) + kRest / 2) break;
    co_await horus::sleep(2ms);
  }
  seen.late = measure();
  co_return 0;
}

void run(const Way& way, std::function<Task<int>()> mortal, std::function<Task<int>()> survivor,
         World& world) {
  world.process("survivor", std::move(survivor), "10.0.0.1");
  world.process("mortal", std::move(mortal), way.shared ? "10.0.0.1" : "10.0.0.2");
  for (int life = 1; life <= kLives; ++life) {
    world.at(time_of_death(life)).kill("mortal");
    if (life < kLives) world.at(time_of_death(life) + kRest).restart("mortal");
  }
  world.run_for(time_of_death(kLives) + 1s);
  CHECK_MESSAGE(world.report().passed, world.report().to_string());
}

// Lines of the log are nowhere kept.
class Quiet {
 public:
  Quiet() = default;
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
  ~Quiet() { horus::set_log_sink(std::move(previous_)); }

 private:
  horus::LogSink previous_ = horus::set_log_sink([](horus::LogLevel, std::string_view) {});
};

// What the world itself keeps of processes that have ended.
std::int64_t bytes_of_the_world(const Way& way) {
  World world(1);
  Left early, late;
  run(
      way,
      []() -> Task<int> {
        co_await horus::sleep(1h);
        co_return 0;
      },
      [&]() -> Task<int> {
        co_await horus::sleep(time_of_death(kWarm) + kRest / 2);
        early = measure();
        co_await horus::sleep((kLives - kWarm) * kLife);
        late = measure();
        co_return 0;
      },
      world);
  return late.bytes - early.bytes;
}

TEST_SUITE("sim/restarts") {
  TEST_CASE("nothing is left of two hundred lives of a peer that is killed") {
    const Quiet quiet;
    for (const Way& way : kWays) {
      INFO(std::string(way.name));
      const std::int64_t of_world = kCountsBytes ? bytes_of_the_world(way) : 0;
      World world(1);
      Seen seen;
      run(way, [&] { return mortal(way, seen); }, [&] { return survivor(way, world, seen); }, world);
      CHECK(seen.lives == kLives);
      CHECK(seen.met == kLives);
      CHECK(seen.parted == kLives);
      CHECK(seen.late.descriptors <= seen.early.descriptors);
      CHECK(seen.late.mappings <= seen.early.mappings);
      CHECK(seen.late.bytes - seen.early.bytes - of_world <= kSlack);
    }
  }
}

}  // namespace
