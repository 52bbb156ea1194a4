// SPDX-License-Identifier: Apache-2.0
// Hubs over shared memory beside a process of the same user that breaks every rule, floods, lies, dies in the middle and
// starts again (shm_attacks.hpp): between the others every message arrives, in order; accounts add up; nobody's loop stands
// still; and when it has gone, memory and descriptors are what they were. `./dev sim` runs it for many seeds.
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <malloc.h>

#include <horus/horus.hpp>
#include <horus/sim/campaign.hpp>

#include "shm_attacks.hpp"

using horus::Duration;
using horus::Hub;
using horus::Scope;
using horus::Task;
using horus::sim::Random;
using horus::sim::World;
using namespace horus::literals;

namespace {

constexpr std::size_t kMembers = 3;
constexpr auto kHost = "10.0.0.1";
constexpr auto kHub = "crew";
constexpr auto kDirectory = "/tmp/hubs";
constexpr Duration kMet = 2s;  // all of them
constexpr Duration kTrouble = 6s;
constexpr Duration kSettled = 9s;  // whatever waits for a time limit has ended
constexpr Duration kEnd = 10s;
constexpr Duration kPulse = 1ms;
constexpr Duration kPause = 5ms;           // at most, between two looks of a loop that has something to do
constexpr std::size_t kDescriptors = 400;  // more than before, at most
constexpr std::size_t kBytes = std::size_t{32} << 20;  // of all processes, more than before, at most
constexpr std::size_t kWarm = std::size_t{1}
                              << 20;  // what they keep for the next time: frames, lines that were said
constexpr std::uint64_t kBelievable =
    30'000'000'000;  // messages that somebody may say were lost: one in a nanosecond

// Which of its numbers are right shows what a liar wrote.
struct Word {
  std::uint64_t member = 0;
  std::uint64_t number = 0;
  std::uint64_t sum = 0;

  [[nodiscard]] std::uint64_t right_sum() const noexcept {
    return (member * 0x9E3779B97F4A7C15U ^ number) * 0xBF58476D1CE4E5B9U + 1;
  }
};
struct Picture {
  Word word;
  std::array<std::uint64_t, 60> pixels{};
};

struct Observed {
  std::uint64_t unbalanced = 0;  // accounts that did not add up
  std::uint64_t lost = 0;        // messages of one another
  std::uint64_t disordered = 0;
  std::uint64_t unbelievable = 0;  // ages and losses that cannot be
  Duration longest_pause{0};
  std::size_t most_descriptors = 0;  // more than before
  std::size_t kept_descriptors = 0;  // more than before, in the end
  std::size_t bytes_before = 0;
  std::size_t most_bytes = 0;
  std::size_t bytes_after = 0;
  std::size_t hostile_maps = 0;  // mappings of the stranger's memory, in the end
  std::size_t files_before = 0;  // of the kernel's: memory
  std::size_t files_after = 0;
  std::array<std::array<Duration, kMembers>, kMembers> heard{};
};

// Of the real process: all of the simulated ones allocate there. 0 under sanitizers, whose allocators are others.
std::size_t allocated_bytes() { return ::mallinfo2().uordblks; }

std::size_t mappings_of(const std::string& name) {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);)
    count += line.find("memfd:" + name) != std::string::npos ? 1 : 0;
  return count;
}

std::size_t kernel_files() {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                                                std::filesystem::directory_iterator()));
}

// Of the calling process of the world.
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

Word& word_of(Word& message) { return message; }
Word& word_of(Picture& message) { return message.word; }

template <class T>
Task<> speak(World& world, const Hub& hub, std::size_t member, const char* topic, Observed& observed) {
  auto out = hub.advertise<T>(topic);
  T message;
  Word& word = word_of(message);
  word.member = member;
  while (world.now() < kEnd) {
    ++word.number;
    word.sum = word.right_sum();
    out.send(message);  // one who asks that new messages give way makes it false
    const auto metrics = out.metrics();
    if (metrics.sent != metrics.delivered + metrics.dropped + metrics.queued + metrics.in_flight)
      ++observed.unbalanced;
    co_await horus::sleep(20ms);
  }
}

template <class T>
Task<> listen(World& world, const Hub& hub, std::size_t member, const char* topic, Observed& observed) {
  auto in = hub.subscribe<T>(topic);
  std::array<std::uint64_t, kMembers> last{};
  while (true) {
    auto message = co_await in.recv();
    if (!message) co_return;
    const Duration age = message->age();
    if (age < 0ns || age.count() > horus::now_ns() || in.missed() > kBelievable) ++observed.unbelievable;
    T copy = **message;
    const Word got = word_of(copy);
    if (got.member >= kMembers || got.sum != got.right_sum()) continue;  // the stranger's
    std::uint64_t& before = last[got.member];
    if (got.number <= before) ++observed.disordered;
    if (before != 0 && got.number > before + 1) ++observed.lost;
    before = got.number;
    observed.heard[member][got.member] = world.now();
  }
}

// A loop that has a turn each millisecond.
Task<> pulse(World& world, Observed& observed) {
  co_await horus::sleep(kMet - world.now());
  std::int64_t next_ns = horus::now_ns();
  while (world.now() < kSettled) {
    next_ns += kPulse.count();
    co_await horus::sleep(Duration(std::max<std::int64_t>(next_ns - horus::now_ns(), 0)));
    const std::int64_t late_ns = horus::now_ns() - next_ns;
    observed.longest_pause = std::max(observed.longest_pause, Duration(late_ns));
    if (late_ns > kPulse.count()) next_ns = horus::now_ns();
  }
}

Task<> watch_descriptors(World& world, Observed& observed) {
  co_await horus::sleep(kMet - world.now());
  const std::size_t before = open_descriptors();
  const auto more = [&] {
    const std::size_t now = open_descriptors();
    return now > before ? now - before : 0;
  };
  while (world.now() < kSettled) {
    observed.most_descriptors = std::max(observed.most_descriptors, more());
    co_await horus::sleep(250ms);
  }
  observed.kept_descriptors = std::max(observed.kept_descriptors, more());
}

Task<int> run_member(World& world, std::size_t member, Duration start, Observed& observed) {
  co_await horus::sleep(start);
  const Hub hub = Hub::shm(kHub, horus::ShmOptions().with_directory(kDirectory)).or_throw();
  Scope scope("member");
  static_cast<void>(scope.spawn(listen<Word>(world, hub, member, "word", observed), "listen"));
  static_cast<void>(scope.spawn(listen<Picture>(world, hub, member, "picture", observed), "look"));
  static_cast<void>(scope.spawn(speak<Word>(world, hub, member, "word", observed), "speak"));
  static_cast<void>(scope.spawn(speak<Picture>(world, hub, member, "picture", observed), "show"));
  static_cast<void>(scope.spawn(pulse(world, observed), "pulse"));
  static_cast<void>(scope.spawn(watch_descriptors(world, observed), "watch descriptors"));
  co_await scope.join();
  co_return 0;
}

Task<int> run_stranger(World& world, const attacks::Scene& scene, Random& random, std::uint64_t hands) {
  if (world.now() < kMet) co_await horus::sleep(kMet - world.now());
  Scope scope("stranger", horus::Failures::log);
  const std::int64_t until = horus::now_ns() + (kTrouble - world.now()).count();
  for (std::uint64_t hand = 0; hand < hands; ++hand)
    static_cast<void>(scope.spawn(attacks::attack_until(scene, random, until), "attack"));
  co_await scope.join();
  co_return 0;
}

void hostile(World& world) {
  Observed observed;
  const attacks::Scene scene{
      kHub, kDirectory, "word", "picture", &horus::layout_of<Word>(), &horus::layout_of<Picture>()};
  Random random = world.random().derived("stranger");
  const std::uint64_t hands = 1 + random.below(3);
  for (std::size_t member = 0; member < kMembers; ++member) {
    const Duration start = random.between(0s, kMet / 4);
    world.process(
        "member" + std::to_string(member),
        [&world, member, start, &observed] { return run_member(world, member, start, observed); }, kHost);
  }
  world.process("stranger", [&, hands] { return run_stranger(world, scene, random, hands); }, kHost);
  const std::uint64_t deaths = random.below(3);
  for (std::uint64_t death = 0; death < deaths; ++death) {
    const Duration when = random.between(kMet, kTrouble);
    world.at(when).kill("stranger");
    world.at(when + 10ms).restart("stranger");
  }
  if (random.chance(1, 3)) {
    const Duration when = random.between(kMet, kTrouble);
    const Duration again = random.between(when, kTrouble);
    world.at(when).signal("stranger", SIGSTOP);
    world.at(again).signal("stranger", SIGCONT);
  }
  world.at(kTrouble).kill("stranger");
  world.at(kMet).call([&] { observed.files_before = kernel_files(); });
  world.at(kMet).call([&] { observed.bytes_before = observed.most_bytes = allocated_bytes(); });
  for (Duration when = kMet; when < kTrouble; when += 50ms)
    world.at(when).call([&] { observed.most_bytes = std::max(observed.most_bytes, allocated_bytes()); });
  world.at(kSettled).call([&] {
    observed.bytes_after = allocated_bytes();
    observed.hostile_maps = mappings_of(attacks::kMemoryName);
    observed.files_after = kernel_files();
  });
  world.always("accounts add up", [&] { return observed.unbalanced == 0; });
  world.always("messages come in order", [&] { return observed.disordered == 0; });
  world.always("no message between the others is lost", [&] { return observed.lost == 0; });
  world.always("ages and losses are believable", [&] { return observed.unbelievable == 0; });
  world.always("loops turn", [&] { return observed.longest_pause <= kPause; });
  world.always("descriptors are bounded", [&] { return observed.most_descriptors <= kDescriptors; });
  world.always("descriptors come back", [&] { return observed.kept_descriptors <= 2; });
  world.always("memory is bounded", [&] { return observed.most_bytes <= observed.bytes_before + kBytes; });
  world.always("memory comes back", [&] {
    return observed.bytes_after <= observed.bytes_before + observed.bytes_before / 10 + kWarm &&
           observed.hostile_maps == 0 && observed.files_after <= observed.files_before;
  });
  world.always("all hear one another", [&] {
    if (world.now() < kMet || world.now() >= kEnd) return true;
    for (std::size_t member = 0; member < kMembers; ++member) {
      for (std::size_t other = 0; other < kMembers; ++other) {
        if (other != member && world.now() - observed.heard[member][other] > 500ms) return false;
      }
    }
    return true;
  });
  horus::sim::Faults costs;
  costs.resume_cost = 20us;
  costs.kib_cost = 40us;
  world.faults(costs);
  world.run_for(kEnd + 1s);
}

}  // namespace

int main(int argc, char** argv) { return horus::sim::run_campaign(argc, argv, "hostile", hostile); }
