// SPDX-License-Identifier: Apache-2.0
// Two hubs on TCP with a subscriber of each policy, messages small and large, under every kind of trouble: the account of
// every publisher adds up at all times, messages come in order, nothing that send_wait sent is lost while the connection
// lives, and all is settled in the end. In a quiet stretch the connection stays. `./dev sim` runs it for many seeds, and
// `./dev planted` shows which mistakes in the library it finds.
#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <horus/horus.hpp>
#include <horus/sim/campaign.hpp>

using horus::Hub;
using horus::Overflow;
using horus::Scope;
using horus::SubscribeOptions;
using horus::Task;
using horus::TcpHubOptions;
using horus::sim::World;
using namespace horus::literals;

namespace {

constexpr auto kAddress = "10.0.0.1:7400";
constexpr std::array<const char*, 6> kTopics{"oldest", "latest", "newest", "wait", "bulk", "bulk_newest"};
constexpr std::size_t kWait = 3;
constexpr std::size_t kBulk = 4;  // from here on: messages of up to 12 kB
constexpr std::uint32_t kDepth = 4;
constexpr horus::Duration kTrouble = 6s;
constexpr horus::Duration kPublishing = 12s;
constexpr horus::Duration kQuiet = 13s;  // nobody publishes until kLoud, longer than the idle limit
constexpr horus::Duration kLoud = 18s;
constexpr horus::Duration kEnd = 20s;

struct Message {
  std::uint64_t life = 0;  // of the publisher's process
  std::uint64_t number = 0;
  std::array<std::uint64_t, 20> copies{};  // of the number

  static constexpr bool kIsBulk = false;
};
// Of changing size: some are copied on their way, some are sent from their slot and read into one.
struct Bulk {
  std::uint64_t life = 0;
  std::uint64_t number = 0;
  using Tail = std::uint64_t;  // copies of the number

  static constexpr bool kIsBulk = true;
  [[nodiscard]] static std::size_t copies_of(std::uint64_t number) { return number * 7919 % 1500; }
};

struct Observed {
  std::uint64_t lives = 0;
  std::array<std::uint64_t, kTopics.size()> received{};
  std::map<std::uint64_t, std::array<std::uint64_t, kTopics.size()>>
      of_life;  // the same, of one life of the publisher
  std::uint64_t torn = 0;
  std::uint64_t disordered = 0;
  std::uint64_t unbalanced = 0;     // accounts that did not add up
  std::uint64_t lost = 0;           // messages that neither came nor count as missed
  std::uint64_t commands = 0;       // the other way
  std::uint64_t unsettled = 0;      // publishers with something under way in the end
  std::uint64_t beyond_credit = 0;  // looks at more messages under way than there is room for
  std::uint64_t refused = 0;        // new messages where the oldest ones give way
  std::uint64_t invented = 0;       // accounts with more deliveries than messages came
  std::uint64_t alone = 0;          // looks at a publisher without its subscriber in the quiet stretch
};

TcpHubOptions options() { return TcpHubOptions().with_insecure().with_idle_limit(3s).with_retry(100ms, 1s); }

SubscribeOptions options_of(std::size_t topic) {
  const std::array<Overflow, kTopics.size()> policies{Overflow::drop_oldest, Overflow::latest,
                                                      Overflow::drop_newest, Overflow::drop_oldest,
                                                      Overflow::drop_oldest, Overflow::drop_newest};
  return SubscribeOptions().with_depth(kDepth).with_overflow(policies[topic]);
}

template <class M>
class Source {
 public:
  Source(const Hub& hub, std::size_t topic, Observed& observed)
      : out_(hub.advertise<M>(kTopics[topic])),
        topic_(topic),
        observed_(observed),
        life_(observed.lives),
        waits_(topic == kWait),
        refuses_(options_of(topic).overflow == Overflow::drop_newest) {}

  Task<> publish(World& world) {
    while (world.now() < kPublishing) {
      M message;
      message.life = life_;
      message.number = ++number_;
      bool all = true;
      if constexpr (M::kIsBulk) {
        all = out_.send(message, std::vector(M::copies_of(number_), number_));
      } else {
        message.copies.fill(number_);
        if (waits_) {
          auto sent = co_await out_.send_wait(message, 5s);
          if (sent.code() == ECANCELED) co_return;
          if (!sent) --number_;  // it was not sent
        } else {
          all = out_.send(message);
        }
      }
      if (!all && !refuses_) ++observed_.refused;
      check();
      if (number_ % (M::kIsBulk ? 2 : 8) == 0) co_await horus::sleep(10ms);
    }
    while (true) {
      co_await horus::sleep(100ms);
      check();
      const auto metrics = out_.metrics();
      if (world.now() > kEnd - 1s && metrics.queued + metrics.in_flight > 0) ++observed_.unsettled;
      if (world.now() > kQuiet + 1s && world.now() < kLoud && metrics.subscribers == 0) ++observed_.alone;
    }
  }

 private:
  void check() {
    const auto metrics = out_.metrics();
    if (metrics.sent != metrics.delivered + metrics.dropped + metrics.queued + metrics.in_flight)
      ++observed_.unbalanced;
    // What finds a full queue at its subscriber is refused here, before it travels.
    if (refuses_ && metrics.in_flight > std::uint64_t{kDepth} * metrics.subscribers)
      ++observed_.beyond_credit;
    if (metrics.delivered > observed_.of_life[life_][topic_]) ++observed_.invented;
  }
  horus::Publisher<M> out_;
  std::size_t topic_;
  Observed& observed_;
  std::uint64_t life_;
  std::uint64_t number_ = 0;
  bool waits_;
  bool refuses_;
};

Task<int> rover(World& world, Observed& observed) {
  ++observed.lives;
  const Hub hub = Hub::tcp(kAddress, "rover", options()).or_throw();
  auto commands = hub.subscribe<std::string>("command");
  Scope scope("rover");
  std::array<Source<Message>, kBulk> sources{
      {{hub, 0, observed}, {hub, 1, observed}, {hub, 2, observed}, {hub, 3, observed}}};
  std::array<Source<Bulk>, kTopics.size() - kBulk> bulk{{{hub, 4, observed}, {hub, 5, observed}}};
  for (auto& source : sources) static_cast<void>(scope.spawn(source.publish(world), "source"));
  for (auto& source : bulk) static_cast<void>(scope.spawn(source.publish(world), "source"));
  while (true) {
    auto command = co_await commands.recv();
    if (!command) break;
    if (**command == "go") ++observed.commands;
  }
  scope.cancel();
  co_await scope.join();
  co_return 0;
}

std::uint64_t torn_of(const horus::Sample<Message>& sample) {
  const auto& copies = sample->copies;
  return copies.size() - static_cast<std::uint64_t>(std::count(copies.begin(), copies.end(), sample->number));
}
std::uint64_t torn_of(const horus::Sample<Bulk>& sample) {
  const auto copies = sample.tail();
  const auto whole = static_cast<std::uint64_t>(std::count(copies.begin(), copies.end(), sample->number));
  return copies.size() - whole + (copies.size() == Bulk::copies_of(sample->number) ? 0 : 1);
}

template <class M>
Task<> read(const Hub& hub, std::size_t topic, Observed& observed) {
  auto in = hub.subscribe<M>(kTopics[topic], options_of(topic));
  std::uint64_t life = 0;
  std::uint64_t last = 0;
  std::uint64_t first = 0;  // of this life
  std::uint64_t came = 0;
  std::uint64_t of_others = 0;  // numbers of former lives
  while (true) {
    auto message = co_await in.recv();
    if (!message) co_return;
    const M& got = **message;
    ++observed.received[topic];
    ++observed.of_life[got.life][topic];
    observed.torn += torn_of(*message);
    if (got.life == life ? got.number <= last : got.life < life) ++observed.disordered;
    if (got.life != life) {
      if (life != 0) of_others += last - first + 1;
      first = got.number;
    }
    life = got.life;
    last = got.number;
    // Between two connections, too.
    if (of_others + last - first + 1 > ++came + in.missed()) ++observed.lost;
    if (got.number % 16 == 0) co_await horus::sleep(3ms);
  }
}

Task<int> base(World& world, Observed& observed) {
  const Hub hub = Hub::tcp(kAddress, "base", options()).or_throw();
  auto commands = hub.advertise<std::string>("command");
  Scope scope("base", horus::Failures::log);
  for (std::size_t topic = 0; topic < kTopics.size(); ++topic) {
    auto reading = topic < kBulk ? read<Message>(hub, topic, observed) : read<Bulk>(hub, topic, observed);
    static_cast<void>(scope.spawn(std::move(reading), "reader"));
  }
  try {
    while (true) {
      if (world.now() < kQuiet || world.now() > kLoud) commands.send("go");
      co_await horus::sleep(50ms);
    }
  } catch (const horus::Error&) {
  }
  scope.cancel();
  co_await scope.join();
  co_return 0;
}

void hubs(World& world) {
  Observed observed;
  world.process("rover", [&] { return rover(world, observed); }, "10.0.0.1");
  world.process("base", [&] { return base(world, observed); }, "10.0.0.2");
  world.always("accounts add up", [&] { return observed.unbalanced == 0; });
  world.always("messages are whole", [&] { return observed.torn == 0; });
  world.always("messages come in order", [&] { return observed.disordered == 0; });
  world.always("nothing is lost without being counted", [&] { return observed.lost == 0; });
  world.always("no more is under way than there is room for", [&] { return observed.beyond_credit == 0; });
  world.always("the oldest message gives way to a new one", [&] { return observed.refused == 0; });
  world.always("nothing is delivered that did not come", [&] { return observed.invented == 0; });
  world.always("a quiet connection stays", [&] { return observed.alone == 0; });
  world.always("all is settled in the end", [&] { return observed.unsettled == 0; });
  for (std::size_t topic = 0; topic < kTopics.size(); ++topic) {
    world.eventually(
        std::string("messages come: ") + kTopics[topic],
        [&world, &counter = observed.received[topic], last = std::uint64_t{0}]() mutable {
          return world.now() > kPublishing || std::exchange(last, counter) != counter;
        },
        7s);
  }
  world.eventually(
      "commands come",
      [&world, &counter = observed.commands, last = std::uint64_t{0}]() mutable {
        return std::exchange(last, counter) != counter || (world.now() > kQuiet && world.now() < kLoud);
      },
      7s);
  world.swarm(kTrouble, {"rover", "base"});
  world.run_for(kEnd);
}

}  // namespace

int main(int argc, char** argv) { return horus::sim::run_campaign(argc, argv, "hubs", hubs); }
