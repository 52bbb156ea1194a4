// SPDX-License-Identifier: Apache-2.0
// Hubs over shared memory on one simulated host: processes of one hub start at any time, are frozen, killed and started
// again, have no free descriptor for a while, and their directory is swept. When the trouble is over all of them meet within ten seconds; accounts add up at
// all times, messages are whole and in order. `./dev sim` runs it for many seeds.
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <horus/horus.hpp>
#include <horus/sim/campaign.hpp>

using horus::Hub;
using horus::Scope;
using horus::Task;
using horus::sim::World;
using namespace horus::literals;

namespace {

constexpr std::size_t kMembers = 4;
constexpr auto kHost = "10.0.0.1";
constexpr auto kDirectory = "/tmp/hubs";
constexpr horus::Duration kTrouble = 8s;
constexpr horus::Duration kMeet = 10s;  // after the trouble
constexpr horus::Duration kEnd = 22s;

struct Greeting {
  std::uint64_t member = 0;
  std::uint64_t life = 0;  // of the member's process
  std::uint64_t number = 0;
  std::array<std::uint64_t, 40> copies{};  // of the number
};

struct Observed {
  std::uint64_t lives = 0;
  std::uint64_t torn = 0;
  std::uint64_t disordered = 0;
  std::uint64_t unbalanced = 0;  // accounts that did not add up
  // When a member last heard another.
  std::array<std::array<horus::Duration, kMembers>, kMembers> heard{};
};

Task<> speak(World& world, const Hub& hub, std::size_t member, Observed& observed) {
  auto out = hub.advertise<Greeting>("greeting");
  Greeting greeting;
  greeting.member = member;
  greeting.life = ++observed.lives;
  while (world.now() < kEnd) {
    greeting.copies.fill(++greeting.number);
    out.send(greeting);
    const auto metrics = out.metrics();
    if (metrics.sent != metrics.delivered + metrics.dropped + metrics.queued + metrics.in_flight)
      ++observed.unbalanced;
    co_await horus::sleep(20ms);
  }
}

Task<> listen(World& world, const Hub& hub, std::size_t member, Observed& observed) {
  auto in = hub.subscribe<Greeting>("greeting");
  std::map<std::uint64_t, std::uint64_t> last;  // by life
  while (true) {
    auto message = co_await in.recv();
    if (!message) co_return;
    const Greeting& got = **message;
    for (const std::uint64_t copy : got.copies) {
      if (copy != got.number) ++observed.torn;
    }
    if (got.member >= kMembers) {
      ++observed.torn;
      continue;
    }
    std::uint64_t& before = last[got.life];
    if (got.number <= before) ++observed.disordered;
    before = got.number;
    observed.heard[member][got.member] = world.now();
  }
}

// Takes every descriptor that the process may still have, for a while.
Task<> hoard(World& world, horus::Duration from, horus::Duration until) {
  co_await horus::sleep(std::max<horus::Duration>(from - world.now(), 10ms));  // its hub is there by then
  std::vector<horus::io::Descriptor> taken;
  while (true) {
    const int fd = horus::io::Reactor::current()->system().event_fd(0, 0);
    if (fd < 0) break;
    taken.emplace_back(fd);
  }
  if (world.now() < until) co_await horus::sleep(until - world.now());
}

struct Member {
  std::size_t number = 0;
  horus::Duration start{};
  horus::Duration poor_from{};  // without descriptors
  horus::Duration poor_until{};
};

Task<int> run_member(World& world, Member self, Observed& observed) {
  const std::size_t member = self.number;
  if (world.now() < self.start) co_await horus::sleep(self.start - world.now());
  const Hub hub = Hub::shm("crew", horus::ShmOptions().with_directory(kDirectory)).or_throw();
  Scope scope("member");
  static_cast<void>(scope.spawn(listen(world, hub, member, observed), "listen"));
  static_cast<void>(scope.spawn(speak(world, hub, member, observed), "speak"));
  if (world.now() < self.poor_until)
    static_cast<void>(scope.spawn(hoard(world, self.poor_from, self.poor_until), "hoard"));
  co_await scope.join();
  co_return 0;
}

// Removes what it finds of the hubs' sockets, as a program that clears up does.
Task<int> sweep(World& world, std::vector<horus::Duration> moments) {
  for (const horus::Duration moment : moments) {
    if (world.now() < moment) co_await horus::sleep(moment - world.now());
    horus::io::Reactor::current()->system().remove_tree(kDirectory);
  }
  co_return 0;
}

void crew(World& world) {
  Observed observed;
  std::vector<std::string> names;
  for (std::size_t member = 0; member < kMembers; ++member) {
    Member self;
    self.number = member;
    self.start = world.random().between(0s, kTrouble / 2);
    if (world.random().chance(1, 3)) {
      self.poor_from = world.random().between(0s, kTrouble);
      self.poor_until = world.random().between(self.poor_from, kTrouble);
    }
    names.push_back("member" + std::to_string(member));
    world.process(
        names.back(), [&world, self, &observed] { return run_member(world, self, observed); }, kHost);
  }
  std::vector<horus::Duration> sweeps;
  const std::uint64_t count = world.random().below(3);
  for (std::uint64_t i = 0; i < count; ++i) sweeps.push_back(world.random().between(0s, kTrouble));
  world.process("sweeper", [&world, sweeps] { return sweep(world, sweeps); }, kHost);
  for (const std::string& name : names) {
    if (!world.random().chance(1, 3)) continue;
    const horus::Duration when = world.random().between(0s, kTrouble);
    const horus::Duration again = world.random().between(when, kTrouble);
    world.at(when).signal(name, SIGSTOP);
    world.at(again).signal(name, SIGCONT);
  }
  world.always("accounts add up", [&] { return observed.unbalanced == 0; });
  world.always("messages are whole", [&] { return observed.torn == 0; });
  world.always("messages come in order", [&] { return observed.disordered == 0; });
  world.always("all meet", [&] {
    if (world.now() < kTrouble + kMeet || world.now() >= kEnd) return true;
    for (std::size_t member = 0; member < kMembers; ++member) {
      for (std::size_t other = 0; other < kMembers; ++other) {
        if (other != member && world.now() - observed.heard[member][other] > 1s) return false;
      }
    }
    return true;
  });
  world.swarm(kTrouble, names);
  world.run_for(kEnd + 1s);
}

}  // namespace

int main(int argc, char** argv) { return horus::sim::run_campaign(argc, argv, "crew", crew); }
