// SPDX-License-Identifier: Apache-2.0
// An emergency stop means that nothing acts: what happens to ticks, background work, messages and lives of nodes between
// the stop and its reset. In virtual time.
#include <memory>
#include <string>
#include <vector>

#include <horus/task/event.hpp>
#include <horus/task/shield.hpp>

#include "virtual_time.hpp"

using horus::Miss;
using horus::Node;
using horus::NodeState;
using horus::SafeStateCall;
using horus::Scheduler;
using horus::SubscribeOptions;
using horus::Task;
using horus::TickOutcome;
using virtual_time::Run;
using namespace horus::literals;
using namespace std::chrono_literals;

namespace {

struct Speed {
  double metres_per_s = 0;
};

// What a motor was told, and when it was made safe.
struct Story {
  std::vector<std::string> lines;
  double motor = 0;
  void add(std::string line) { lines.push_back(std::move(line)); }
  void drive(double speed) {
    motor = speed;
    add("drive " + std::to_string(static_cast<int>(speed)));
  }
  [[nodiscard]] int count(const std::string& line) const {
    return static_cast<int>(std::count(lines.begin(), lines.end(), line));
  }
};

// Waits for a command and carries it out.
class Motor : public Node {
 public:
  explicit Motor(Story& story, const SubscribeOptions& options = {})
      : Node("motor"), story_(story), commands_(subscribe<Speed>("speed", options)) {}
  Task<> tick() override {
    auto command = co_await commands_.recv();
    if (!command) throw command.error();
    story_.drive((*command)->metres_per_s);
  }
  void enter_safe_state_at(SafeStateCall call) noexcept override {
    story_.motor = 0;
    story_.add(call == SafeStateCall::at_once ? "at once" : "settled");
  }

 private:
  Story& story_;
  horus::Subscriber<Speed> commands_;
};

TEST_CASE("a command that comes after an emergency stop moves nothing, neither then nor after the reset") {
  Story story;
  horus::Hub hub("joystick");
  const Run run = virtual_time::run({.build =
                                         [&](Scheduler& s) {
                                           s.use_hub(hub);
                                           s.add<Motor>(story);
                                         },
                                     .length = 1s,
                                     .beside = [&](Scheduler& s) -> Task<> {
                                       auto joystick = hub.advertise<Speed>("speed");
                                       co_await horus::sleep(100ms);
                                       joystick.send({1});
                                       co_await horus::sleep(10ms);
                                       CHECK(story.motor == 1);
                                       s.emergency_stop();
                                       joystick.send({2});
                                       co_await horus::sleep(50ms);
                                       for (int i = 0; i < 5; ++i) joystick.send({3});
                                       co_await horus::sleep(50ms);
                                       CHECK(story.motor == 0);
                                       s.reset_emergency_stop();
                                       co_await horus::sleep(50ms);
                                       CHECK(story.motor == 0);
                                       joystick.send({4});
                                       co_await horus::sleep(10ms);
                                       CHECK(story.motor == 4);
                                     }});
  CHECK(story.lines == std::vector<std::string>{"drive 1", "at once", "settled", "drive 4"});
  CHECK(run.nodes.at("motor").count(TickOutcome::cancelled_emergency) == 1);
  CHECK(run.nodes.at("motor").total_failures == 0);
}

TEST_CASE("what must not be cut is shielded: the second call of the hook comes after it") {
  Story story;
  class Arm : public Node {
   public:
    explicit Arm(Story& story) : Node("arm"), story_(story) {}
    Task<> tick() override {
      co_await horus::sleep(5ms);
      auto writing = write_frame();
      co_await horus::shield(std::move(writing));
      co_await horus::sleep(1ms);
      story_.add("next frame");
    }
    void enter_safe_state_at(SafeStateCall call) noexcept override {
      story_.add(call == SafeStateCall::at_once ? "at once" : "settled");
    }

   private:
    Task<> write_frame() {
      story_.add("begins a frame");
      co_await horus::sleep(40ms);
      story_.add("ends the frame");
    }
    Story& story_;
  };
  virtual_time::run({.build = [&](Scheduler& s) { s.add<Arm>(story).rate(10_hz); },
                     .length = 200ms,
                     .beside = [&](Scheduler& s) -> Task<> {
                       co_await horus::sleep(20ms);
                       s.emergency_stop();
                     }});
  CHECK(story.lines == std::vector<std::string>{"begins a frame", "at once", "ends the frame", "settled"});
}

TEST_CASE("a shield is cut 100 ms after an emergency stop") {
  std::int64_t settled_at = 0, stopped_at = 0;
  class Stubborn : public Node {
   public:
    explicit Stubborn(std::int64_t& settled_at) : Node("stubborn"), settled_at_(settled_at) {}
    Task<> tick() override {
      auto forever = [](Stubborn&) -> Task<> { co_await horus::sleep(1h); }(*this);
      co_await horus::shield(std::move(forever));
    }
    void enter_safe_state_at(SafeStateCall call) noexcept override {
      if (call == SafeStateCall::settled) settled_at_ = horus::now_ns();
    }

   private:
    std::int64_t& settled_at_;
  };
  const Run run = virtual_time::run({.build = [&](Scheduler& s) { s.add<Stubborn>(settled_at); },
                                     .length = 500ms,
                                     .beside = [&](Scheduler& s) -> Task<> {
                                       co_await horus::sleep(20ms);
                                       stopped_at = horus::now_ns();
                                       s.emergency_stop();
                                     }});
  CHECK(settled_at - stopped_at >= 100'000'000);
  CHECK(settled_at - stopped_at < 120'000'000);
  CHECK(run.lines_with("stuck") == 0);
}

TEST_CASE("publishers of held nodes are mute, but for what a hook says; those that only look go on") {
  std::vector<double> heard;
  std::uint64_t views = 0;
  class Wheel : public horus::PlainNode {
   public:
    Wheel() : PlainNode("wheel") {}
    void tick() override { out_.send({1}); }
    void enter_safe_state() noexcept override { out_.send({0}); }

   private:
    horus::Publisher<Speed> out_ = advertise<Speed>("wheel");
  };
  class View : public horus::PlainNode {
   public:
    View(std::vector<double>& heard, std::uint64_t& views)
        : PlainNode("view"), heard_(heard), views_(views) {}
    void tick() override {
      ++views_;
      while (auto speed = in_.try_recv()) heard_.push_back((*speed)->metres_per_s);
    }

   private:
    std::vector<double>& heard_;
    std::uint64_t& views_;
    horus::Subscriber<Speed> in_ = subscribe<Speed>("wheel");
  };
  const Run run = virtual_time::run({.build =
                                         [&](Scheduler& s) {
                                           s.add<Wheel>().rate(100_hz);
                                           s.add<View>(heard, views).rate(100_hz).keep_in_emergency();
                                         },
                                     .length = 500ms,
                                     .beside = [&](Scheduler& s) -> Task<> {
                                       co_await horus::sleep(95ms);
                                       s.emergency_stop();
                                       co_await horus::sleep(200ms);
                                       CHECK(std::count(heard.begin(), heard.end(), 0) == 2);
                                       CHECK(heard.back() == 0);
                                       heard.clear();
                                       co_await horus::sleep(100ms);
                                       CHECK(heard.empty());
                                       s.reset_emergency_stop();
                                     }});
  CHECK(views >= 49);
  CHECK(heard.size() >= 8);
  CHECK(run.nodes.at("view").count(TickOutcome::skipped_emergency) == 0);
  CHECK(run.nodes.at("wheel").count(TickOutcome::skipped_emergency) == 30);
}

TEST_CASE("background work of a node is asked to stop, and may be begun again after the reset") {
  Story story;
  class Reader : public Node {
   public:
    explicit Reader(Story& story) : Node("reader"), story_(story) {}
    Task<> tick() override {
      if (!work_.valid() || work_.done()) work_ = spawn(work());
      co_return;
    }
    void enter_safe_state_at(SafeStateCall call) noexcept override {
      story_.add(call == SafeStateCall::at_once ? "at once" : "settled");
    }

   private:
    Task<> work() {
      story_.add("work begins");
      try {
        co_await horus::sleep(1h);
      } catch (const horus::Error&) {
        story_.add("work ends");
        throw;
      }
    }
    Story& story_;
    horus::Spawned<void> work_;
  };
  virtual_time::run({.build = [&](Scheduler& s) { s.add<Reader>(story).rate(100_hz); },
                     .length = 300ms,
                     .beside = [&](Scheduler& s) -> Task<> {
                       co_await horus::sleep(50ms);
                       s.emergency_stop();
                       co_await horus::sleep(50ms);
                       s.reset_emergency_stop();
                     }});
  CHECK(story.lines == std::vector<std::string>{"work begins", "at once", "work ends", "settled",
                                                "work begins", "work ends"});
}

TEST_CASE("no init begins during an emergency stop, neither at the start nor of a restart") {
  std::vector<std::int64_t> inits;
  std::int64_t reset_at = 0;
  class Late : public Node {
   public:
    explicit Late(std::vector<std::int64_t>& inits) : Node("late"), inits_(inits) {}
    Task<> init() override {
      inits_.push_back(horus::now_ns());
      co_return;
    }
    Task<> tick() override {
      co_await horus::sleep(1ms);
      if (inits_.size() == 1) throw horus::Error(EIO, "read", "/dev/imu");
    }

   private:
    std::vector<std::int64_t>& inits_;
  };
  virtual_time::run({.build =
                         [&](Scheduler& s) {
                           s.add<Late>(inits).rate(100_hz).auto_restart();
                           s.emergency_stop();  // before the first init
                         },
                     .length = 2s,
                     .beside = [&](Scheduler& s) -> Task<> {
                       co_await horus::sleep(100ms);
                       CHECK(inits.empty());
                       s.reset_emergency_stop();
                       co_await horus::sleep(80ms);  // five ticks fail; the restart waits for its back-off
                       s.emergency_stop();
                       co_await horus::sleep(500ms);
                       CHECK(inits.size() == 1);
                       reset_at = horus::now_ns();
                       s.reset_emergency_stop();
                     }});
  REQUIRE(inits.size() == 2);
  CHECK(inits[1] >= reset_at);
}

TEST_CASE("a reset that is followed by another stop at once is two episodes") {
  Story story;
  virtual_time::run({.build = [&](Scheduler& s) { s.add<Motor>(story); },
                     .length = 500ms,
                     .beside = [&](Scheduler& s) -> Task<> {
                       co_await horus::sleep(50ms);
                       s.emergency_stop();
                       co_await horus::sleep(50ms);
                       s.reset_emergency_stop();
                       s.emergency_stop();
                       co_await horus::sleep(50ms);
                     }});
  CHECK(story.lines == std::vector<std::string>{"at once", "settled", "at once", "settled"});
}

TEST_CASE(
    "a paused node acts on no message until it is resumed; its queue is kept, the newest alone is not") {
  const auto drive = [](const SubscribeOptions& options) {
    Story story;
    horus::Hub hub("joystick");
    const Run run = virtual_time::run({.build =
                                           [&](Scheduler& s) {
                                             s.use_hub(hub);
                                             s.add<Motor>(story, options);
                                           },
                                       .length = 500ms,
                                       .beside = [&](Scheduler& s) -> Task<> {
                                         auto joystick = hub.advertise<Speed>("speed");
                                         co_await horus::sleep(50ms);
                                         s.pause("motor").or_throw();
                                         co_await horus::sleep(50ms);
                                         joystick.send({1});
                                         joystick.send({2});
                                         co_await horus::sleep(50ms);
                                         CHECK(story.lines.empty());
                                         s.resume("motor").or_throw();
                                         co_await horus::sleep(50ms);
                                         joystick.send({3});
                                         co_await horus::sleep(50ms);
                                       }});
    CHECK(run.nodes.at("motor").count(TickOutcome::cancelled_paused) == 1);
    return story.lines;
  };
  CHECK(drive(SubscribeOptions()) == std::vector<std::string>{"drive 1", "drive 2", "drive 3"});
  CHECK(drive(SubscribeOptions().with_overflow(horus::Overflow::latest)) ==
        std::vector<std::string>{"drive 3"});
}

TEST_CASE("a node whose circuit is opened by hand acts on no message") {
  Story story;
  horus::Hub hub("joystick");
  virtual_time::run({.build =
                         [&](Scheduler& s) {
                           s.use_hub(hub);
                           s.add<Motor>(story);
                         },
                     .length = 500ms,
                     .beside = [&](Scheduler& s) -> Task<> {
                       auto joystick = hub.advertise<Speed>("speed");
                       co_await horus::sleep(50ms);
                       s.open_circuit("motor").or_throw();
                       joystick.send({1});
                       co_await horus::sleep(50ms);
                       CHECK(story.lines.empty());
                       s.reset_circuit("motor").or_throw();
                       co_await horus::sleep(50ms);
                       CHECK(story.lines == std::vector<std::string>{"drive 1"});
                     }});
}

TEST_CASE("the watchdog's clock stands still during an emergency stop, and trips anew after the reset") {
  std::vector<std::int64_t> stops;
  class Silent : public Node {
   public:
    explicit Silent(std::vector<std::int64_t>& stops) : Node("silent"), stops_(stops) {}
    Task<> tick() override { co_await horus::sleep(1h); }
    void enter_safe_state_at(SafeStateCall call) noexcept override {
      if (call == SafeStateCall::at_once) stops_.push_back(horus::now_ns());
    }

   private:
    std::vector<std::int64_t>& stops_;
  };
  const std::vector<std::int64_t>& seen = stops;
  const Run run =
      virtual_time::run({.build = [&](Scheduler& s) { s.add<Silent>(stops).critical().watchdog(100ms); },
                         .length = 3s,
                         .beside = [&](Scheduler& s) -> Task<> {
                           co_await horus::sleep(1s);
                           CHECK(s.emergency_stopped());
                           CHECK(seen.size() == 1);
                           s.reset_emergency_stop();
                           co_await horus::sleep(250ms);
                           CHECK_FALSE(s.emergency_stopped());
                           co_await horus::sleep(200ms);
                           CHECK(s.emergency_stopped());
                           CHECK(seen.size() == 2);
                         }});
  CHECK(run.emergency);
}

}  // namespace
