// SPDX-License-Identifier: Apache-2.0
// Between an emergency stop and its reset no held node acts, whatever it was doing: ticks that wait for commands, for time,
// for the pool, for a peer, background work, a node that begins anew. An output is a message that was queued, or an
// operation that was submitted after the stop and carried out.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include <horus/horus.hpp>
#include <horus/sim/world.hpp>
#include <horus/task/shield.hpp>

using horus::Task;
using horus::io::UdpSocket;
using horus::sim::World;
using namespace horus::literals;

namespace emergency_scenario {

// What a scheduler does that forgets one of its rules; a node brings it about. The checks must find each.
enum class Planted {
  nothing,
  tick_goes_on,       // a tick in flight is not cancelled
  publisher_sends,    // a publisher is not muted
  queue_is_kept,      // a subscription is not empty at the reset
  latest_is_kept,     // nor is what latest() remembers
  node_ticks_on,      // a node that acts is released
  work_goes_on,       // background work is not asked to stop
  settles_too_early,  // the second call of the hook does not wait for background work
  begins_in_between,  // an init() begins
};

struct Command {
  std::uint64_t number = 0;
};

struct Scene {
  Planted planted = Planted::nothing;
  const horus::Scheduler* scheduler = nullptr;
  std::uint64_t outputs = 0;
  std::uint64_t forbidden = 0;    // outputs that were begun during an emergency stop
  std::uint64_t out_of_date = 0;  // commands that were given before a reset, and carried out after it
  std::uint64_t last_at_reset = 0;
  std::uint64_t commands = 0;
  std::uint64_t at_once = 0, settled = 0;
  std::uint64_t acting_when_settled = 0;
  std::uint64_t views = 0;
  std::uint64_t lives = 0;
  [[nodiscard]] bool stopped() const { return scheduler != nullptr && scheduler->emergency_stopped(); }
};

// What every node does with its turn: a message and a datagram.
class Actor : public horus::Node {
 public:
  Actor(std::string name, Scene& scene) : Node(std::move(name)), scene_(scene) {}
  Task<> init() override {
    socket_ = UdpSocket::bind("0.0.0.0:0").or_throw();
    motor_ = horus::io::Address::parse("10.0.0.2:7000").or_throw();
    co_return;
  }
  void enter_safe_state_at(horus::SafeStateCall call) noexcept override {
    ++(call == horus::SafeStateCall::at_once ? scene_.at_once : scene_.settled);
    if (call == horus::SafeStateCall::settled && acting_ != 0) ++scene_.acting_when_settled;
  }

 protected:
  Task<> act() {
    const bool stopped = scene_.stopped();
    if (send() && stopped) ++scene_.forbidden;
    auto sent = co_await socket_.send_to("drive", motor_);
    if (!sent) co_return;
    ++scene_.outputs;
    if (stopped) ++scene_.forbidden;
  }
  Scene& scene_;
  int acting_ = 0;

 private:
  bool send() {
    if (scene_.planted != Planted::publisher_sends) return out_.send({1});
    const horus::msg::MutePass pass;
    return out_.send({1});
  }
  UdpSocket socket_;
  horus::io::Address motor_;
  horus::Publisher<Command> out_ = advertise<Command>("motor");
};

class Follower final : public Actor {
 public:
  explicit Follower(Scene& scene) : Actor("follower", scene) {}
  Task<> tick() override {
    auto command = co_await in_.recv();
    if (!command) throw command.error();
    if ((*command)->number <= scene_.last_at_reset) ++scene_.out_of_date;
    auto acting = act();
    co_await acting;
  }

 private:
  horus::SubscribeOptions options() const {
    horus::SubscribeOptions options;
    options.keep_in_emergency = scene_.planted == Planted::queue_is_kept;
    return options;
  }
  horus::Subscriber<Command> in_ = subscribe<Command>("command", options());
};

// Holds the course that it was given last.
class Holder final : public Actor {
 public:
  explicit Holder(Scene& scene) : Actor("holder", scene) {}
  Task<> tick() override {
    const auto course = in_.latest();
    if (!course) co_return;
    if ((*course)->number <= scene_.last_at_reset) ++scene_.out_of_date;
    auto acting = act();
    co_await acting;
  }

 private:
  horus::SubscribeOptions options() const {
    horus::SubscribeOptions options;
    options.overflow = horus::Overflow::latest;
    options.keep_in_emergency = scene_.planted == Planted::latest_is_kept;
    return options;
  }
  horus::Subscriber<Command> in_ = subscribe<Command>("command", options());
};

// Fails now and then, and begins anew.
class Fragile final : public Actor {
 public:
  explicit Fragile(Scene& scene) : Actor("fragile", scene) {}
  Task<> init() override {
    ++scene_.lives;
    if (scene_.stopped()) ++scene_.forbidden;
    auto beginning = Actor::init();
    co_await beginning;
  }
  Task<> tick() override {
    if (++ticks_ % 8 != 0) throw horus::Error(EIO, "read", "/dev/fragile");
    auto acting = act();
    co_await acting;
  }

 private:
  int ticks_ = 0;
};

class Sleeper final : public Actor {
 public:
  explicit Sleeper(Scene& scene) : Actor("sleeper", scene) {}
  Task<> tick() override {
    if (scene_.planted == Planted::tick_goes_on) {
      auto whole = work();
      co_await horus::shield(std::move(whole));
    } else {
      auto whole = work();
      co_await whole;
    }
  }

 private:
  Task<> work() {
    co_await horus::sleep(3ms);
    auto acting = act();
    co_await acting;
    auto squared = co_await horus::io::offload([](int x) { return x * x; }, 3);
    if (!squared) throw squared.error();
    auto again = act();
    co_await again;
  }
};

// Its work goes on beside its ticks.
class Streamer final : public Actor {
 public:
  explicit Streamer(Scene& scene) : Actor("streamer", scene) {}
  Task<> tick() override {
    if (scene_.planted == Planted::work_goes_on || scene_.planted == Planted::settles_too_early) {
      // In a scope that the scheduler does not know.
      if (!std::exchange(began_, true)) static_cast<void>(unknown_.spawn(stream()));
    } else if (!work_.valid() || work_.done()) {
      work_ = spawn(stream());
    }
    co_return;
  }
  Task<> shutdown() override {
    unknown_.cancel();
    co_await unknown_.join();
  }

 private:
  struct Busy {
    explicit Busy(int& count) : count_(count) { ++count_; }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;
    ~Busy() { --count_; }
    int& count_;
  };
  Task<> stream() {
    const Busy busy(acting_);
    while (true) {
      co_await horus::sleep(2ms);
      if (scene_.planted == Planted::settles_too_early && scene_.stopped()) continue;
      auto acting = act();
      co_await acting;
    }
  }
  horus::Spawned<void> work_;
  horus::Scope unknown_{"unknown", horus::Failures::log};
  bool began_ = false;
};

// Commands from outside: those of a person.
class Joystick final : public horus::PlainNode {
 public:
  explicit Joystick(Scene& scene) : PlainNode("joystick"), scene_(scene) {}
  void tick() override {
    ++scene_.views;
    out_.send({++scene_.commands});
  }

 private:
  Scene& scene_;
  horus::Publisher<Command> out_ = advertise<Command>("command");
};

inline Task<> press_buttons(World& world, Scene& scene, horus::Scheduler& scheduler) {
  while (true) {
    co_await horus::sleep(world.random().between(1ms, 200ms));
    scheduler.emergency_stop();
    co_await horus::sleep(world.random().between(0ms, 150ms));
    scene.last_at_reset = scene.commands;
    scheduler.reset_emergency_stop();
  }
}

inline Task<int> robot(World& world, Scene& scene) {
  horus::Scheduler scheduler(horus::SchedulerConfig::standard());
  struct Shown {
    Scene& scene;
    ~Shown() { scene.scheduler = nullptr; }
  };
  scene.scheduler = &scheduler;
  const Shown shown{scene};
  scheduler.add<Follower>(scene);
  scheduler.add<Holder>(scene).rate(100_hz);
  horus::RestartConfig for_ever;
  for_ever.for_ever = true;
  for_ever.longest_delay = 200ms;
  scheduler.add<Fragile>(scene).rate(100_hz).logging(false).restart(for_ever).keep_in_emergency(
      scene.planted == Planted::begins_in_between);
  scheduler.add<Sleeper>(scene).rate(50_hz).keep_in_emergency(scene.planted == Planted::node_ticks_on);
  scheduler.add<Streamer>(scene).rate(100_hz);
  scheduler.add<Joystick>(scene).rate(200_hz).keep_in_emergency();
  horus::Scope scope("buttons", horus::Failures::log);
  static_cast<void>(scope.spawn(press_buttons(world, scene, scheduler), "buttons"));
  auto running = scheduler.run_async();
  const int code = co_await running;
  scope.cancel();
  co_await scope.join();
  co_return code;
}

inline Task<int> motor(World&) {
  auto socket = UdpSocket::bind("0.0.0.0:7000").or_throw();
  std::array<std::byte, 64> buffer{};
  while (true) {
    auto got = co_await socket.recv_from(buffer);
    if (!got) co_return 0;
  }
}

inline void emergency(World& world, Planted planted) {
  Scene scene;
  scene.planted = planted;
  world.process("robot", [&] { return robot(world, scene); }, "10.0.0.1");
  world.process("motor", [&] { return motor(world); }, "10.0.0.2");
  for (const char* node : {"follower", "holder", "fragile", "sleeper", "streamer"})
    world.cost(node, horus::sim::uniform(0us, 2ms));
  world.always("no held node acts during an emergency stop", [&] { return scene.forbidden == 0; });
  world.always("what was commanded before a reset is not carried out after it",
               [&] { return scene.out_of_date == 0; });
  world.always("a node has settled when its hook says so", [&] { return scene.acting_when_settled == 0; });
  world.always("no second call without a first one", [&] { return scene.settled <= scene.at_once; });
  const auto advances = [](std::uint64_t& counter) {
    return [&counter, last = std::uint64_t{0}]() mutable { return std::exchange(last, counter) != counter; };
  };
  world.eventually("nodes act between the stops", advances(scene.outputs), 3s);
  world.eventually("who only looks ticks on", advances(scene.views), 50ms);
  world.eventually("a node begins anew between the stops", advances(scene.lives), 5s);
  world.run_for(10s);
}

}  // namespace emergency_scenario
