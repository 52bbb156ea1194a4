// SPDX-License-Identifier: Apache-2.0
// A program with a door, for tools to look into. It obeys the lines of its standard input and answers each one that is done.
//   publish TOPIC N   sends N messages on `imu` or `quiet`
//   block             blocks the loop until the next line
//   fail              the node `steady` fails its next tick
//   state             says whether an emergency stop is in force
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include <unistd.h>

#include <fmt/format.h>

#include <horus/io/poll.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/messages.hpp>
#include <horus/sched/scheduler.hpp>

using namespace horus::literals;

namespace {

bool fails = false;

// A line of standard input, which blocks; empty at its end.
std::string read_line() {
  std::string line;
  for (char c = 0; ::read(STDIN_FILENO, &c, 1) == 1 && c != '\n';) line += c;
  return line;
}

void say(const std::string& text) {
  fmt::print("{}\n", text);
  std::fflush(stdout);
}

// Beside the scheduler: an emergency stop is for nodes.
class Console {
 public:
  explicit Console(horus::Scheduler& scheduler) : scheduler_(scheduler) {}
  horus::Task<> obey_all() {
    while (true) {
      static_cast<void>((co_await horus::io::wait_readable(STDIN_FILENO)).or_throw());
      const std::string line = read_line();
      if (line.empty()) break;
      obey(line);
    }
    scheduler_.stop();
  }

 private:
  void obey(const std::string& line) {
    char topic[16] = "";
    int count = 0;
    if (std::sscanf(line.c_str(), "publish %15s %d", topic, &count) == 2) {
      auto& out = std::strcmp(topic, "imu") == 0 ? imu_ : quiet_;
      for (int i = 0; i < count; ++i) {
        message_.linear.x += 1;
        out.send(message_);
      }
      say("published");
    } else if (line == "block") {
      say("blocked");
      static_cast<void>(read_line());
      say("unblocked");
    } else if (line == "fail") {
      fails = true;
      say("fails");
    } else if (line == "state") {
      say(scheduler_.emergency_stopped() ? "emergency stop" : "runs");
    } else {
      say("what? " + line);
    }
  }

  horus::Scheduler& scheduler_;
  horus::Hub hub_{"desk"};
  horus::messages::Twist message_;
  horus::Publisher<horus::messages::Twist> imu_ = hub_.advertise<horus::messages::Twist>("imu");
  horus::Publisher<horus::messages::Twist> quiet_ = hub_.advertise<horus::messages::Twist>("quiet");
};

class Waits : public horus::Node {
 public:
  Waits() : Node("waits") {}
  horus::Task<> tick() override { co_await horus::sleep(1h); }
};

}  // namespace

int main(int argc, char** argv) {
  horus::SchedulerConfig config;
  config.inspect_control = argc > 1 && std::strcmp(argv[1], "--control") == 0;
  horus::Scheduler scheduler(config);
  scheduler.add<Waits>();
  scheduler
      .add("steady",
           [] {
             if (std::exchange(fails, false)) throw std::runtime_error("as it was told");
           })
      .rate(100_hz);
  scheduler
      .add("begins",
           [said = false]() mutable {
             if (!std::exchange(said, true)) say(fmt::format("ready {}", ::getpid()));
           })
      .rate(100_hz);
  return horus::io::run([](horus::Scheduler& scheduler) -> horus::Task<int> {
    Console console(scheduler);
    horus::Scope scope("console");
    scope.spawn(console.obey_all());
    co_return co_await scheduler.run_async();
  }(scheduler));
}
