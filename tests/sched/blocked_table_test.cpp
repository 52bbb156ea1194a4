// SPDX-License-Identifier: Apache-2.0
// The table of docs/scheduler.md, cell by cell: whatever blocks the loop × what must happen all the same. Each cell is a
// process of its own, and all of a column run side by side, since most of them wait for the 5 s of a stop.
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/scheduler.hpp>

#include "blocker.hpp"

using blocking::Blocker;
using blocking::Gate;
using blocking::Place;
using horus::Scheduler;
using horus::Task;
using namespace horus::literals;

namespace {

constexpr const char* kPlaces[] = {"a tick",
                                   "background work",
                                   "a posted function",
                                   "init() at the start",
                                   "init() of a restart",
                                   "shutdown() of a restart",
                                   "shutdown() at the end",
                                   "on_error()",
                                   "enter_safe_state()"};
constexpr Place kAll[] = {Place::tick,          Place::background,     Place::posted,
                          Place::first_init,    Place::restarted_init, Place::restarted_shutdown,
                          Place::last_shutdown, Place::on_error,       Place::hook};

// What the log says of the one who blocks.
constexpr const char* kNames[] = {"blocker's tick sleeps in a blocking call",
                                  "blocker's background work sleeps in a blocking call",
                                  "code that is no node's tick (a posted function, a callback) sleeps",
                                  "blocker's init() sleeps in a blocking call",
                                  "blocker's init() sleeps in a blocking call",
                                  "blocker's shutdown() sleeps in a blocking call",
                                  "blocker's shutdown() sleeps in a blocking call",
                                  "blocker's on_error() sleeps in a blocking call",
                                  "blocker's enter_safe_state() sleeps in a blocking call"};

struct Robot {
  Robot(Place where, int to, bool watched) : place(where), pipe(to) {
    auto motor = scheduler.add<Motor>(*this).rate(100_hz).critical().priority(10);
    if (watched) motor.watchdog(60ms);
    auto blocker = scheduler.add<Blocker>(gate, place).priority(0);
    if (place == Place::restarted_init || place == Place::restarted_shutdown) blocker.auto_restart();
  }
  class Motor : public horus::PlainNode {
   public:
    explicit Motor(Robot& robot) : robot_(robot) {}
    void tick() override { robot_.ticks.fetch_add(1); }
    void enter_safe_state() noexcept override {
      if (robot_.safe_ns.exchange(horus::monotonic_ns()) == 0)
        static_cast<void>(::write(robot_.pipe, "S", 1));
    }

   private:
    Robot& robot_;
  };
  // Beside the run: has it begin to block, and says when it does.
  void wait_for_block() {
    if (place == Place::hook || place == Place::last_shutdown) {
      while (ticks == 0) std::this_thread::sleep_for(1ms);  // the run has begun
      if (place == Place::hook) scheduler.emergency_stop();
      if (place == Place::last_shutdown) scheduler.stop();
    }
    while (gate.blocked_ns == 0) std::this_thread::sleep_for(1ms);
  }
  Place place;
  int pipe;
  Gate gate{1h};  // until the process ends
  std::atomic<std::int64_t> safe_ns{0};
  std::atomic<int> ticks{0};
  Scheduler scheduler;
};

using Column = std::function<void(Robot&)>;

struct Outcome {
  int status = 0;
  std::string said;  // 'S': a safe state was entered; more from a column that tells why it failed
  std::chrono::steady_clock::duration took{};
};

// All places at once, each in a process of its own that runs `in_child`.
struct Child {
  pid_t pid;
  int pipe;
  std::chrono::steady_clock::time_point began;
};
std::vector<Child> begin_column(const std::vector<Place>& places, bool watched, const Column& in_child) {
  std::vector<Child> children;
  const auto began = std::chrono::steady_clock::now();
  for (const Place place : places) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      ::alarm(45);
      horus::set_log_sink([](horus::LogLevel, std::string_view) {});
      auto* robot = new Robot(place, ends[1], watched);
      in_child(*robot);
      ::_exit(99);
    }
    ::close(ends[1]);
    children.push_back({pid, ends[0], began});
  }
  return children;
}

std::vector<Outcome> end_column(const std::vector<Child>& children) {
  std::vector<Outcome> outcomes;
  for (const Child& child : children) {
    Outcome outcome;
    char text[256];
    for (ssize_t got = 0; (got = ::read(child.pipe, text, sizeof text)) > 0;)
      outcome.said.append(text, static_cast<std::size_t>(got));
    ::close(child.pipe);
    REQUIRE(::waitpid(child.pid, &outcome.status, 0) == child.pid);
    outcome.took = std::chrono::steady_clock::now() - child.began;
    outcomes.push_back(outcome);
  }
  return outcomes;
}

std::vector<Outcome> run_column(const std::vector<Place>& places, bool watched, const Column& in_child) {
  return end_column(begin_column(places, watched, in_child));
}

[[noreturn]] void fail(const Robot& robot, const std::string& why) {
  static_cast<void>(::write(robot.pipe, why.data(), why.size()));
  ::_exit(1);
}

template <class F>
void beside(F work) {
  std::thread(work).detach();
}

void check_exits(const std::vector<Place>& places, const std::vector<Outcome>& outcomes, int code) {
  for (std::size_t i = 0; i < places.size(); ++i) {
    CAPTURE(kPlaces[static_cast<std::size_t>(places[i])]);
    CHECK(WIFEXITED(outcomes[i].status));
    CHECK_MESSAGE(WEXITSTATUS(outcomes[i].status) == code, outcomes[i].said);
  }
}

}  // namespace

TEST_CASE("whatever blocks: a watched node that starves is in its safe state after three watchdogs") {
  std::vector<Place> places(std::begin(kAll), std::end(kAll));
  // At the end no node starves: none is to tick any more. A hook that blocks is an emergency stop already.
  std::erase(places, Place::last_shutdown);
  std::erase(places, Place::hook);
  const auto outcomes = run_column(places, true, [](Robot& robot) {
    beside([&robot] {
      robot.wait_for_block();
      while (robot.safe_ns == 0) std::this_thread::sleep_for(1ms);
      const std::int64_t took_ms = (robot.safe_ns - robot.gate.blocked_ns) / 1'000'000;
      // A start that blocks: from 10 s on, those that have started are watched.
      const std::int64_t most_ms = robot.place == Place::first_init ? 13'000 : 3'000;
      if (took_ms > most_ms) fail(robot, "safe after " + std::to_string(took_ms) + " ms");
      if (!robot.scheduler.emergency_stopped()) fail(robot, "no emergency stop");
      if (!robot.scheduler.statistics("motor")->watchdog_expired) fail(robot, "not expired");
      ::_exit(0);
    });
    robot.scheduler.run();
  });
  check_exits(places, outcomes, 0);
}

TEST_CASE("whatever blocks is named, with its stack, and nobody else") {
  const std::vector<Place> places(std::begin(kAll), std::end(kAll));
  const auto outcomes = run_column(places, false, [](Robot& robot) {
    static std::mutex mutex;
    static std::string said;
    horus::set_log_sink([](horus::LogLevel, std::string_view line) {
      const std::lock_guard lock(mutex);
      said += std::string(line) + "\n";
    });
    beside([&robot] {
      robot.wait_for_block();
      while (true) {
        std::this_thread::sleep_for(5ms);
        const std::lock_guard lock(mutex);
        if (said.find("has stood still for") == std::string::npos) continue;
        if (said.find("it waits for a processor") != std::string::npos)
          ::_exit(0);  // the machine is named, then
        if (said.find(kNames[static_cast<std::size_t>(robot.place)]) == std::string::npos) fail(robot, said);
        if (said.find("motor's") != std::string::npos) fail(robot, said);
        // A thread that gets no processor in time does not give its stack, and the line says so.
        if (said.find("Gate::block()") == std::string::npos &&
            said.find("could not be taken") == std::string::npos)
          fail(robot, said);
        ::_exit(0);
      }
    });
    robot.scheduler.run();
  });
  check_exits(places, outcomes, 0);
}

TEST_CASE("whatever blocks: questions are answered from the last snapshot") {
  const std::vector<Place> places(std::begin(kAll), std::end(kAll));
  const auto outcomes = run_column(places, false, [](Robot& robot) {
    beside([&robot] {
      robot.wait_for_block();
      const auto began = std::chrono::steady_clock::now();
      const auto motor = robot.scheduler.statistics("motor");
      const std::string report = robot.scheduler.report(horus::Detail::awaits);
      static_cast<void>(robot.scheduler.timeline());
      static_cast<void>(robot.scheduler.status());
      if (std::chrono::steady_clock::now() - began > 1500ms) fail(robot, "no answer");  // four of 50 ms each
      if (report.find("motor") == std::string::npos) fail(robot, report);
      // A hook that a loop does not begin with in 5 ms blocks a helper instead, and the loop answers.
      const bool has_run = robot.place != Place::first_init && robot.place != Place::hook;
      if (has_run && !(motor->age_ms > 0)) fail(robot, "its age is not told");
      if (has_run && report.find("does not answer: its figures are") == std::string::npos)
        fail(robot, report);
      ::_exit(0);
    });
    robot.scheduler.run();
  });
  check_exits(places, outcomes, 0);
}

TEST_CASE("whatever blocks: SIGTERM, stop() and the end of run_for end the process in 5 s, with code 75") {
  const std::vector<Place> places(std::begin(kAll), std::end(kAll));
  struct Way {
    const char* name;
    Column column;
  };
  const Way ways[] = {
      {"SIGTERM",
       [](Robot& robot) {
         beside([&robot] {
           robot.wait_for_block();
           ::kill(::getpid(), SIGTERM);
         });
         robot.scheduler.run();
       }},
      {"stop()",
       [](Robot& robot) {
         beside([&robot] {
           robot.wait_for_block();
           robot.scheduler.stop();
         });
         robot.scheduler.run();
       }},
      {"run_for",
       [](Robot& robot) {
         beside([&robot] { robot.wait_for_block(); });
         robot.scheduler.run_for(1s);
       }},
  };
  // All three side by side as well.
  std::vector<std::vector<Child>> children;
  children.reserve(std::size(ways));
  for (const Way& way : ways) children.push_back(begin_column(places, false, way.column));
  std::vector<std::vector<Outcome>> outcomes;
  outcomes.reserve(std::size(ways));
  for (const auto& column : children) outcomes.push_back(end_column(column));
  for (std::size_t i = 0; i < std::size(ways); ++i) {
    CAPTURE(ways[i].name);
    check_exits(places, outcomes[i], 75);
    for (std::size_t at = 0; at < places.size(); ++at) {
      CAPTURE(kPlaces[static_cast<std::size_t>(places[at])]);
      CHECK(outcomes[i][at].said == "S");  // its motor was put into its safe state first
      CHECK(outcomes[i][at].took >= 4900ms);
      CHECK(outcomes[i][at].took < 20s);
    }
  }
}
