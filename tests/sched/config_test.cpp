// SPDX-License-Identifier: Apache-2.0
// Schedulers from configuration files: every key does something, and every mistake is named.
#include <cstdlib>
#include <fstream>
#include <functional>
#include <set>
#include <stdexcept>
#include <thread>

#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/config/document.hpp>
#include <horus/task/frame_pool.hpp>

#include "virtual_time.hpp"

using horus::Scheduler;
using horus::SchedulerConfig;
using horus::Task;
using virtual_time::Run;
using namespace horus::literals;

namespace {

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text, const char* ending = ".toml") {
    char name[] = "/tmp/horus-config-XXXXXX";
    const int file = ::mkstemp(name);
    REQUIRE(file >= 0);
    ::close(file);
    ::unlink(name);
    path_ = std::string(name) + ending;
    std::ofstream(path_) << text;
  }
  ~TemporaryFile() { ::unlink(path_.c_str()); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

SchedulerConfig parse(const std::string& text) {
  const TemporaryFile file(text);
  return SchedulerConfig::from_file(file.path()).or_throw();
}

std::string problem(const std::string& text) {
  const TemporaryFile file(text);
  const auto config = SchedulerConfig::from_file(file.path());
  if (config) return "";
  std::string message = config.error().message();
  const auto name = message.find(file.path());
  return name == std::string::npos ? message : message.substr(name + file.path().size() + 1);
}

// A small robot that shows what its configuration does: `node` is steady, `bad` fails in the ticks of a pattern, `slow`
// takes longer than its grid, `long` has one long tick.
struct Robot {
  horus::Duration length = 2s;
  std::vector<bool> failing;  // of the ticks of `bad`; afterwards all is well
  horus::Duration slow = 3ms;
  horus::Duration long_tick{0};
  int failing_inits = 0;
  horus::Duration slow_shutdown{0};
  horus::Duration cost{0};
};

class Bad : public horus::Node {
 public:
  explicit Bad(const Robot& robot) : Node("bad"), robot_(robot) {}
  Task<> init() override {
    if (inits_++ < robot_.failing_inits) throw horus::Error(EIO, "open", "/dev/bad");
    co_return;
  }
  Task<> tick() override {
    const std::size_t tick = ticks_++;
    co_await horus::yield();
    if (tick < robot_.failing.size() && robot_.failing[tick]) throw horus::Error(EIO, "read", "/dev/bad");
  }
  Task<> shutdown() override { co_await horus::sleep(robot_.slow_shutdown); }

 private:
  const Robot& robot_;
  std::size_t ticks_ = 0;
  int inits_ = 0;
};

// Everything that can be seen from outside, as text.
std::string behaviour(const Robot& robot, const std::string& configuration) {
  const Run run =
      virtual_time::run({.build =
                             [&](Scheduler& s) {
                               s.add("node", [] {});
                               s.add<Bad>(robot).rate(100_hz);
                               s.add("slow", [time = robot.slow]() -> Task<> { co_await horus::sleep(time); })
                                   .rate(100_hz)
                                   .deadline(5ms);
                               if (robot.long_tick > horus::Duration::zero()) {
                                 s.add("long", [time = robot.long_tick]() -> Task<> {
                                    co_await horus::sleep(time);
                                  }).rate(1_hz);
                               }
                             },
                         .length = robot.length,
                         .config = parse(configuration),
                         .cost = {{"node", robot.cost}}});
  std::string text =
      fmt::format("code {} after {:.2f} s\n", run.code, static_cast<double>(run.length.count()) / 1e9);
  for (const auto& [name, node] : run.nodes) {
    text += fmt::format("{} {} {}", name, node.executor, node.restarts);
    for (const auto count : node.outcomes) text += fmt::format(" {}", count);
    text += fmt::format(" {} {} {} {:.1f} {}\n", node.deadline_misses, node.circuit_opens,
                        node.watchdog_expirations, static_cast<double>(node.circuit_open_ns) / 1e6,
                        node.safe_states);
  }
  for (const auto& line : run.log) text += line + "\n";
  text += fmt::format("{} events, {} lost\n", run.timeline.events.size(), run.timeline.lost);
  std::string order;
  for (const auto& event : run.timeline.events) {
    if (event.kind == horus::TimelineEvent::Kind::ran && order.size() < 8)
      order += std::to_string(event.node);
  }
  return text + order + (run.emergency ? " emergency" : "") + "\n";
}

// What the thread that runs looks like, on the real machine.
std::string thread_of(const std::string& configuration) {
  std::vector<std::string> log;
  auto previous =
      horus::set_log_sink([&](horus::LogLevel, std::string_view line) { log.emplace_back(line); });
  std::string text;
  std::thread([&] {  // what is set stays with this thread
    SchedulerConfig config = parse(configuration);
    Scheduler scheduler(config);
    scheduler
        .add("node",
             [&] {
               cpu_set_t processors;
               ::sched_getaffinity(0, sizeof processors, &processors);
               text = fmt::format("{} processors, slack {}, policy {}, {}", CPU_COUNT(&processors),
                                  ::prctl(PR_GET_TIMERSLACK), ::sched_getscheduler(0),
                                  horus::io::Reactor::current()->backend_name());
               std::ifstream status("/proc/self/status");
               for (std::string line; std::getline(status, line);) {
                 if (line.rfind("VmLck:", 0) == 0) text += line;
               }
               scheduler.stop();
             })
        .rate(100_hz);
    scheduler.run_for(10s);
    text += fmt::format(" wish {} spin {} poll {}", static_cast<int>(scheduler.config().reactor.backend),
                        scheduler.config().reactor.timer_spin.count(),
                        scheduler.config().reactor.busy_poll.count());
  })
      .join();
  horus::set_log_sink(std::move(previous));
  for (const auto& line : log) text += "; " + line;
  return text;
}

struct Row {
  std::string key;
  std::string changed;  // the whole configuration
  Robot robot;          // that shows it
  std::string base{};   // what it is compared with
  bool thread = false;  // shown by thread_of
};

const std::vector<bool> kFiveFailures(5, true);
const std::vector<bool> kManyFailures(100'000, true);

std::vector<Row> rows() {
  const std::string s = "[scheduler]\n";
  const std::string n = "[node.bad]\n";
  const std::string timeline = s + "timeline_events = 100000\n";
  const Robot steady{}, failing{.failing = kFiveFailures}, slow{.slow = 25ms};
  const Robot hopeless{.length = 100s, .failing = kManyFailures};
  const Robot mixed{.failing = {true, false, true, false, true, false, true, false, true, true, false, true}};
  const std::string restart = s + "auto_restart = true\n";
  const std::string watchdog = s + "watchdog_enabled = true\n";
  const std::string deadline = "[node.slow]\n";
  return {
      {"scheduler.preset", s + "preset = \"low_latency\"\n", steady},
      {"scheduler.tick_rate", s + "tick_rate = 50\n", steady},
      {"scheduler.policy", timeline + "policy = \"rate_monotonic\"\n[node.slow]\nrate_hz = 200\n", steady,
       timeline + "[node.slow]\nrate_hz = 200\n"},
      {"scheduler.admission", s + "admission = \"refuse\"\n[node.node]\nbudget_ms = 20\n", steady,
       "[node.node]\nbudget_ms = 20\n"},
      {"scheduler.circuit_breaker", s + "circuit_breaker = false\n", failing},
      {"scheduler.max_failures", s + "max_failures = 3\n", failing},
      {"scheduler.circuit_window", s + "circuit_window = 20\n", mixed},
      {"scheduler.circuit_window_share", s + "circuit_window = 20\ncircuit_window_share = 0.9\n", mixed,
       s + "circuit_window = 20\n"},
      {"scheduler.circuit_window_least", s + "circuit_window = 20\ncircuit_window_least = 2\n", mixed,
       s + "circuit_window = 20\n"},
      {"scheduler.circuit_open_ms", s + "circuit_open_ms = 300\n", failing},
      {"scheduler.circuit_longest_open_ms", s + "circuit_longest_open_ms = 1500\n", hopeless},
      {"scheduler.circuit_close_after", s + "circuit_close_after = 10\n", failing},
      {"scheduler.auto_restart", restart, failing},
      {"scheduler.restart_delay_ms", restart + "restart_delay_ms = 500\n", failing, restart},
      {"scheduler.restart_longest_delay_ms", restart + "restart_longest_delay_ms = 120\n", hopeless, restart},
      {"scheduler.restart_jitter", restart + "restart_jitter = 0.5\n", failing, restart},
      {"scheduler.restart_healthy_after_ms", restart + "restart_healthy_after_ms = 0\n", hopeless, restart},
      {"scheduler.max_restarts", restart + "restart_within_ms = 500\nmax_restarts = 2\n", hopeless,
       restart + "restart_within_ms = 500\n"},
      {"scheduler.restart_within_ms", restart + "restart_within_ms = 500\n", hopeless, restart},
      {"scheduler.restart_for_ever", restart + "restart_for_ever = true\n", hopeless, restart},
      {"scheduler.deadline_monitoring", s + "deadline_monitoring = false\n", slow},
      {"scheduler.watchdog_enabled", watchdog + "circuit_breaker = false\n", hopeless,
       s + "circuit_breaker = false\n"},
      {"scheduler.watchdog_timeout_ms",
       watchdog + "watchdog_timeout_ms = 60\ncircuit_breaker = false\n",
       {.failing = kManyFailures},
       watchdog + "circuit_breaker = false\n"},
      {"scheduler.spin_us", s + "spin_us = 100\n", steady, "", true},
      {"scheduler.busy_poll_us", s + "busy_poll_us = 10\n", steady, "", true},
      {"scheduler.timer_slack_ns", s + "timer_slack_ns = 1\n", steady, "", true},
      {"scheduler.lock_memory", s + "lock_memory = true\n", steady, "", true},
      {"scheduler.rt_priority", s + "rt_priority = 1\n", steady, "", true},
      {"scheduler.cpu", s + "cpu = 4000\n", steady, "", true},
      {"scheduler.backend", s + "backend = \"epoll\"\n", steady, s + "backend = \"automatic\"\n", true},
      {"scheduler.finish_limit_ms", s + "finish_limit_ms = 3000\n", {.length = 1500ms, .long_tick = 3s}},
      {"scheduler.shutdown_limit_ms", s + "shutdown_limit_ms = 100\n", {.slow_shutdown = 500ms}},
      {"scheduler.timeline_events", timeline, steady},
      {"scheduler.seed", restart + "seed = 7\n", failing, restart},
      {"node.rate_hz", n + "rate_hz = 50\n", steady},
      {"node.priority", timeline + "[node.slow]\npriority = 0\n", steady, timeline},
      {"node.deadline_ms", deadline + "deadline_ms = 1\n", steady},
      {"node.budget_ms", "[node.node]\nbudget_ms = 1\n", {.cost = 2ms}},
      {"node.on_miss", deadline + "on_miss = \"cancel\"\n", slow},
      {"node.on_budget",
       "[node.node]\nbudget_ms = 1\non_budget = \"stop\"\n",
       {.cost = 2ms},
       "[node.node]\nbudget_ms = 1\n"},
      {"node.overrun", deadline + "overrun = \"queue\"\n", slow},
      {"node.watchdog_ms",
       n + "circuit_breaker = false\nwatchdog_ms = 100\n",
       {.failing = kManyFailures},
       n + "circuit_breaker = false\n"},
      {"node.watchdog_enabled",
       n + "circuit_breaker = false\nwatchdog_ms = 100\nwatchdog_enabled = false\n",
       {.failing = kManyFailures},
       n + "circuit_breaker = false\nwatchdog_ms = 100\n"},
      {"node.critical", restart + n + "critical = true\n", hopeless, restart},
      {"node.miss_is_failure", deadline + "on_miss = \"cancel\"\nmiss_is_failure = true\n", slow,
       deadline + "on_miss = \"cancel\"\n"},
      {"node.circuit_breaker", n + "circuit_breaker = false\n", failing},
      {"node.auto_restart", n + "auto_restart = true\n", failing},
      {"node.restart_delay_ms", restart + n + "restart_delay_ms = 500\n", failing, restart},
      {"node.restart_longest_delay_ms", restart + n + "restart_longest_delay_ms = 120\n", hopeless, restart},
      {"node.max_restarts", restart + n + "restart_within_ms = 500\nmax_restarts = 2\n", hopeless,
       restart + n + "restart_within_ms = 500\n"},
      {"node.restart_within_ms", restart + n + "restart_within_ms = 500\n", hopeless, restart},
      {"node.restart_for_ever", restart + n + "restart_for_ever = true\n", hopeless, restart},
      {"node.keep_in_emergency",
       restart + "[node.node]\nkeep_in_emergency = true\n" + n + "critical = true\n", hopeless,
       restart + n + "critical = true\n"},
      {"node.logging_enabled", n + "logging_enabled = false\n", failing},
      {"node.executor", "[executor.other]\n[node.bad]\nexecutor = \"other\"\n", steady},
  };
}

}  // namespace

TEST_CASE("every key of a configuration changes behaviour") {
  std::set<std::string> shown;
  for (const Row& row : rows()) {
    CAPTURE(row.key);
    shown.insert(row.key);
    if (!HORUS_FRAME_POOL && row.key == "scheduler.lock_memory")
      continue;  // sanitizers make mlockall do nothing
    if (row.thread) {
      const std::string before = thread_of(row.base);  // first: locked memory is the whole process's
      CHECK(thread_of(row.changed) != before);
      ::munlockall();
    } else {
      CHECK(behaviour(row.robot, row.changed) != behaviour(row.robot, row.base));
    }
  }
  // Shown elsewhere: what a blocked loop does, threads of executors, and the door (msg/door_test).
  // The last two: lives_test and supervision_test. A recording's have a case of their own.
  for (const char* key : {"path", "topics", "left_out", "compressed", "max_waiting_bytes", "max_file_bytes",
                          "max_file_ms", "snapshot_ms"})
    shown.insert(std::string("record.") + key);
  for (const char* key :
       {"scheduler.exit_when_blocked", "executor.cpu", "executor.scheduling", "scheduler.init_limit_ms",
        "scheduler.safe_states_on_crash", "executor.rt_priority", "executor.spin_us", "inspect.enabled"})
    shown.insert(key);
  // The documented file holds every key, and no other.
  const char* root = std::getenv("HORUS_SOURCE_ROOT");
  const std::string path = std::string(root == nullptr ? "." : root) + "/docs/scheduler.toml";
  const auto document = horus::config::Document::load(path).or_throw();
  std::set<std::string> documented;
  for (const horus::config::Entry& group : document.root()) {
    const auto& section = std::get<horus::config::Section>(group.value.is);
    for (const horus::config::Entry& entry : section) {
      if (group.key == "scheduler" || group.key == "record" || group.key == "inspect") {
        documented.insert(group.key + "." + entry.key);
      } else {
        for (const auto& inner : std::get<horus::config::Section>(entry.value.is))
          documented.insert(group.key + "." + inner.key);
      }
    }
  }
  CHECK(documented == shown);
}

TEST_CASE("the documented file says the defaults") {
  const char* root = std::getenv("HORUS_SOURCE_ROOT");
  const auto config =
      SchedulerConfig::from_file(std::string(root == nullptr ? "." : root) + "/docs/scheduler.toml")
          .or_throw();
  const SchedulerConfig standard;
  CHECK(config.tick_rate.hz == standard.tick_rate.hz);
  CHECK(config.circuit.max_failures == standard.circuit.max_failures);
  CHECK(config.circuit.longest_open == standard.circuit.longest_open);
  CHECK(config.restart.longest_delay == standard.restart.longest_delay);
  CHECK(config.restart.healthy_after == standard.restart.healthy_after);
  CHECK(config.watchdog_timeout == standard.watchdog_timeout);
  CHECK(config.finish_limit == standard.finish_limit);
  CHECK(config.shutdown_limit == standard.shutdown_limit);
  CHECK(config.executors.at("realtime").rt_priority == 50);
  CHECK(config.nodes.at("controller").executor == "control");
}

TEST_CASE("a file names a recording, and one without a path is refused") {
  const TemporaryFile file(
      "[record]\npath = \"run.mcap\"\ntopics = [\"imu\"]\nleft_out = [\"*/raw\"]\ncompressed = false\n"
      "max_waiting_bytes = 2000000\nmax_file_bytes = 5\nmax_file_ms = 6\nsnapshot_ms = 7\n");
  const auto config = SchedulerConfig::from_file(file.path()).or_throw();
  REQUIRE(config.records.size() == 1);
  CHECK(config.records[0].path == "run.mcap");
  CHECK(config.records[0].options.topics == std::vector<std::string>{"imu"});
  CHECK(config.records[0].options.left_out == std::vector<std::string>{"*/raw"});
  CHECK_FALSE(config.records[0].options.compressed);
  CHECK(config.records[0].options.max_waiting_bytes == 2'000'000);
  CHECK(config.records[0].options.max_file_bytes == 5);
  CHECK(config.records[0].options.max_file_time == 6ms);
  CHECK(config.records[0].options.snapshot == 7ms);
  const TemporaryFile pathless("[record]\ntopics = [\"imu\"]\n");
  const auto refused = SchedulerConfig::from_file(pathless.path());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message().find("path") != std::string::npos);
}

TEST_CASE("the same in YAML") {
  const TemporaryFile file(
      "scheduler:\n  tick_rate: 50\nnode:\n  gps:\n    deadline_ms: 2.5\n    on_miss: skip\n", ".yaml");
  if (!horus::config::reads_yaml()) return;
  const auto config = SchedulerConfig::from_file(file.path()).or_throw();
  CHECK(config.tick_rate.hz == 50);
  CHECK(*config.nodes.at("gps").deadline == 2500us);
  CHECK(*config.nodes.at("gps").on_miss == horus::Miss::skip);
}

TEST_CASE("a mistake is named with its line, its key and what would be right") {
  CHECK(problem("[scheduler]\ntick_rat = 3\n").substr(0, 90) ==
        "2: scheduler.tick_rat: unknown key (did you mean \"tick_rate\"? known: preset, tick_rate, po");
  CHECK(problem("[scheduler]\ntick_rate = 0\n").rfind("2: scheduler.tick_rate: ", 0) == 0);
  CHECK(problem("[scheduler]\npreset = \"fast\"\n").find("\"standard\", \"high_performance\"") !=
        std::string::npos);
  CHECK(problem("[node.gps]\ndeadline_ms = 10001\n").rfind("2: node.gps.deadline_ms: ", 0) == 0);
  CHECK(problem("[node.gps]\nwatchdog_ms = 9\n").rfind("2: node.gps.watchdog_ms: ", 0) == 0);
  CHECK(problem("[node.gps]\non_budget = \"cancel\"\n").rfind("2: node.gps.on_budget: ", 0) == 0);
  CHECK(problem("[node.gps]\nexecutor = \"control\"\n").find("has no section [executor.control]") !=
        std::string::npos);
  CHECK(problem("[executor.control]\nrt_priority = 80\n").find("needs scheduling = \"fifo\"") !=
        std::string::npos);
  CHECK(problem("[executor.control]\ncpu = -1\n").rfind("2: executor.control.cpu: ", 0) == 0);
  CHECK(problem("[nodes.gps]\n").rfind("1: nodes", 0) == 0);
  CHECK(SchedulerConfig::from_file("/no/such.toml").error().code() == ENOENT);
}

// Keys whose settings are optional are known too, whether or not the file has them.
TEST_CASE("a misspelt key of any section is answered with what there is") {
  for (const char* keys : {"dedline_ms", "deadline_ms", "priorty", "priority", "on_mis", "on_miss",
                           "watchdg_ms", "watchdog_ms", "criticl", "critical", "exekutor", "executor"}) {
    CAPTURE(keys);
    const std::string found = problem(fmt::format("[node.gps]\n{} = []\n", keys));
    CHECK(found.starts_with(fmt::format("2: node.gps.{}: ", keys)));
    if (found.find("unknown key") == std::string::npos) continue;
    CHECK(found.find("did you mean \"") != std::string::npos);
    CHECK(found.find("known: rate_hz, priority, deadline_ms, budget_ms, on_miss") != std::string::npos);
  }
  CHECK(problem("[executor.a]\nspin = 5\n") ==
        "2: executor.a.spin: unknown key (did you mean \"spin_us\"? known: cpu, scheduling, rt_priority, "
        "spin_us)");
  CHECK(problem("[executor.a]\nshceduling = \"fifo\"\n") ==
        "2: executor.a.shceduling: unknown key (did you mean \"scheduling\"? known: cpu, scheduling, "
        "rt_priority, "
        "spin_us)");
  // A unit that was left out is the likeliest mistake of all.
  for (const auto& [wrong, meant] :
       {std::pair("rate", "rate_hz"), std::pair("deadline", "deadline_ms"),
        std::pair("watchdog", "watchdog_ms"), std::pair("budget", "budget_ms")}) {
    CHECK(
        problem(fmt::format("[node.a]\n{} = 5\n", wrong)).find(fmt::format("(did you mean \"{}\"?", meant)) !=
        std::string::npos);
  }
  CHECK(problem("[scheduler]\ntimer_slak_ns = 1\n").find("did you mean \"timer_slack_ns\"?") !=
        std::string::npos);
  CHECK(problem("[log]\nlevel = 1\n") ==
        "1: log: unknown section (known: scheduler, executor, node, hub, record, inspect)");
}

TEST_CASE("a file that speaks of a node that is not there is an error when the run starts") {
  const Run run = virtual_time::run(
      {.build = [](Scheduler& s) { s.add("gps", [] {}); }, .config = parse("[node.gbs]\nrate_hz = 10\n")});
  CHECK(run.code == 1);
  CHECK(run.lines_with(
            "configure node \"gbs\" (did you mean \"gps\"? there are: gps), configured in /tmp/") == 1);
  CHECK(run.lines_with(".toml:1") == 1);
}

TEST_CASE("settings that contradict each other are named with the file that says them") {
  const auto with = [](const char* keys) {
    return virtual_time::run({.build = [](Scheduler& s) { s.add("gps", [] {}).rate(100_hz); },
                              .length = 20ms,
                              .config = parse(std::string("\n[node.gps]\n") + keys)});
  };
  const Run watchdog = with("watchdog_ms = 29");
  CHECK(watchdog.code == 1);
  CHECK(watchdog.lines_with("shorter than 3 periods of 10 ms: set at least 30 ms), configured in /tmp/") ==
        1);
  CHECK(watchdog.lines_with(".toml:2") == 1);
  const Run cancel = with("on_miss = \"cancel\"");
  CHECK(cancel.code == 1);
  CHECK(cancel.lines_with("on_miss cannot be cancel: a plain node's tick has no suspension point") == 1);
  CHECK(cancel.lines_with(".toml:2") == 1);
  const Run deadline = with("deadline_ms = 11");
  CHECK(deadline.code == 0);
  CHECK(deadline.lines_with("its deadline of 11 ms is beyond its period of 10 ms") == 1);
  CHECK(deadline.lines_with(".toml:2") == 1);
  const Run budget = with("deadline_ms = 5\nbudget_ms = 6");
  CHECK(budget.code == 0);
  CHECK(budget.lines_with("its budget of 6 ms is beyond its deadline of 5 ms") == 1);
  const Run sound = with("deadline_ms = 10\nbudget_ms = 10\nwatchdog_ms = 30");
  CHECK(sound.code == 0);
  CHECK(sound.lines_with("beyond") == 0);
}
