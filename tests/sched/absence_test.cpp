// SPDX-License-Identifier: Apache-2.0
// Time in which a process is kept from running is nobody's fault: a frozen container, a quota, a debugger, one thread held by
// a tracer. On a machine that is merely loaded a hang is found all the same. Real processes; what the machine does not allow
// is skipped with its reason.
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <dirent.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/sched/scheduler.hpp>

#include "virtual_time.hpp"

using horus::Scheduler;
using horus::Task;
using namespace horus::literals;

namespace {

class Motor : public horus::PlainNode {
 public:
  explicit Motor(std::atomic<std::int64_t>& safe_ns) : PlainNode("motor"), safe_ns_(safe_ns) {}
  void tick() override {}
  void enter_safe_state() noexcept override { safe_ns_ = horus::monotonic_ns(); }

 private:
  std::atomic<std::int64_t>& safe_ns_;
};

// What the robot process says at its end.
struct Account {
  int code = -1;
  bool emergency = false;
  std::uint64_t absences = 0, expirations = 0, ticks = 0;
};

struct Robot {
  pid_t pid = -1;
  int said = -1;
  pid_t loop_thread = 0;

  Account account() const {
    Account result;
    CHECK(::read(said, &result, sizeof result) == sizeof result);
    int status = 0;
    CHECK(::waitpid(pid, &status, 0) == pid);
    ::close(said);
    return result;
  }
};

// A critical motor with a watchdog, in a process of its own; `uses_ms` of each 20 ms are computed. It has run for a while
// when this returns, and ends when it has gone on for half a second after its first absence, or after 8 s.
Robot start_robot(int uses_ms = 0, const std::function<void(pid_t)>& place = {}) {
  int said[2], go[2], runs[2];
  REQUIRE(::pipe(said) == 0);
  REQUIRE(::pipe(go) == 0);
  REQUIRE(::pipe(runs) == 0);
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::alarm(40);
    char byte = 0;
    if (::read(go[0], &byte, 1) != 1) ::_exit(2);
    horus::set_log_sink([](horus::LogLevel, std::string_view) {});
    std::atomic<std::int64_t> safe_ns{0};
    Scheduler scheduler;
    scheduler.add<Motor>(safe_ns).rate(50_hz).watchdog(400ms).critical();
    scheduler
        .add("computes",
             [&, ticks = 0]() mutable {
               if (++ticks == 5) {
                 const pid_t here = ::gettid();
                 static_cast<void>(::write(runs[1], &here, sizeof here));
               }
               const std::int64_t until = horus::monotonic_ns() + uses_ms * std::int64_t{1'000'000};
               while (horus::monotonic_ns() < until) {
               }
             })
        .rate(50_hz);
    std::thread([&] {
      while (scheduler.absences() == 0) std::this_thread::sleep_for(5ms);
      std::this_thread::sleep_for(500ms);
      while (scheduler.statistics("motor")->total_ticks < 30) std::this_thread::sleep_for(5ms);
      scheduler.stop();
    }).detach();
    Account account;
    account.code = scheduler.run_for(8s);
    const auto motor = *scheduler.statistics("motor");
    account.emergency = scheduler.emergency_stopped();
    account.absences = scheduler.absences();
    account.expirations = motor.watchdog_expirations;
    account.ticks = motor.total_ticks;
    static_cast<void>(::write(said[1], &account, sizeof account));
    ::_exit(0);
  }
  if (place) place(pid);
  CHECK(::write(go[1], "g", 1) == 1);
  Robot robot{pid, said[0], 0};
  CHECK(::read(runs[0], &robot.loop_thread, sizeof robot.loop_thread) == sizeof robot.loop_thread);
  ::close(said[1]);
  for (const int end : {go[0], go[1], runs[0], runs[1]}) ::close(end);
  return robot;
}

void check_nobody_is_blamed(const Account& account) {
  CHECK(account.code == 0);
  CHECK(account.absences >= 1);
  CHECK_FALSE(account.emergency);
  CHECK(account.expirations == 0);
  CHECK(account.ticks > 10);
}

bool put(const std::string& file, const std::string& text) {
  std::ofstream out(file);
  out << text;
  out.flush();
  return static_cast<bool>(out);
}

// A group of processes of its own, in version 2 or 1 of the kernel's interface; empty where there is none to make.
class Group {
 public:
  Group(const std::string& controller, const std::string& file) {
    for (const std::string& root : {std::string("/sys/fs/cgroup"), "/sys/fs/cgroup/" + controller}) {
      const std::string path = root + "/horus-test-" + std::to_string(::getpid());
      if (::mkdir(path.c_str(), 0755) != 0) continue;
      if (::access((path + "/" + file).c_str(), W_OK) == 0 &&
          ::access((path + "/cgroup.procs").c_str(), W_OK) == 0) {
        path_ = path;
        return;
      }
      ::rmdir(path.c_str());
    }
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  ~Group() {
    for (int i = 0; i < 100 && !path_.empty() && ::rmdir(path_.c_str()) != 0; ++i)
      std::this_thread::sleep_for(10ms);
  }
  [[nodiscard]] bool there() const { return !path_.empty(); }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::vector<pid_t> threads_of(pid_t process) {
  std::vector<pid_t> threads;
  DIR* const folder = ::opendir(("/proc/" + std::to_string(process) + "/task").c_str());
  if (folder == nullptr) return threads;
  while (const dirent* entry = ::readdir(folder)) {
    if (entry->d_name[0] != '.') threads.push_back(static_cast<pid_t>(std::stol(entry->d_name)));
  }
  ::closedir(folder);
  return threads;
}

// Holds the threads for so long, as a debugger does. False: the machine does not allow it.
bool hold(const std::vector<pid_t>& threads, std::chrono::milliseconds length) {
  for (const pid_t thread : threads) {
    if (::ptrace(PTRACE_SEIZE, thread, nullptr, nullptr) != 0) return false;
  }
  for (const pid_t thread : threads) {
    ::ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr);
    int status = 0;
    ::waitpid(thread, &status, __WALL);
  }
  std::this_thread::sleep_for(length);
  for (const pid_t thread : threads) ::ptrace(PTRACE_DETACH, thread, nullptr, nullptr);
  return true;
}

}  // namespace

TEST_CASE("a frozen container blames none of its nodes") {
  Group version_2("unified", "cgroup.freeze");
  Group version_1("freezer", "freezer.state");
  if (!version_2.there() && !version_1.there()) {
    MESSAGE("skipped: no cgroup with a freezer can be made here (needs root and a writable /sys/fs/cgroup)");
    return;
  }
  const Group& group = version_2.there() ? version_2 : version_1;
  const auto freeze = [&](bool frozen) {
    return version_2.there() ? put(group.file("cgroup.freeze"), frozen ? "1" : "0")
                             : put(group.file("freezer.state"), frozen ? "FROZEN" : "THAWED");
  };
  const Robot robot =
      start_robot(0, [&](pid_t pid) { put(group.file("cgroup.procs"), std::to_string(pid)); });
  CHECK(freeze(true));
  std::this_thread::sleep_for(1500ms);
  CHECK(freeze(false));
  check_nobody_is_blamed(robot.account());
}

TEST_CASE("a process that is out of its quota blames none of its nodes") {
  Group version_1("cpu", "cpu.cfs_quota_us");
  Group version_2("unified", "cpu.max");
  if (!version_1.there() && !version_2.there()) {
    MESSAGE("skipped: no cgroup with a quota can be made here (needs root and a writable /sys/fs/cgroup)");
    return;
  }
  const Group& group = version_1.there() ? version_1 : version_2;
  // 100 ms of each second: when they are used nothing runs until the second is over.
  const Robot robot =
      start_robot(8, [&](pid_t pid) { put(group.file("cgroup.procs"), std::to_string(pid)); });
  if (version_1.there()) {
    CHECK(put(group.file("cpu.cfs_period_us"), "1000000"));
    CHECK(put(group.file("cpu.cfs_quota_us"), "100000"));
  } else {
    CHECK(put(group.file("cpu.max"), "100000 1000000"));
  }
  const Account account = robot.account();
  CHECK(account.absences >= 1);
  CHECK_FALSE(account.emergency);
}

TEST_CASE("a debugger that holds the process blames none of its nodes") {
  const Robot robot = start_robot();
  if (!hold(threads_of(robot.pid), 1500ms)) {
    MESSAGE("skipped: ptrace is not permitted here (a container without SYS_PTRACE, or seccomp)");
    ::kill(robot.pid, SIGKILL);
    ::waitpid(robot.pid, nullptr, 0);
    return;
  }
  check_nobody_is_blamed(robot.account());
}

TEST_CASE("one thread that a tracer holds is not a node that hangs") {
  const Robot robot = start_robot();
  if (!hold({robot.loop_thread}, 1500ms)) {
    MESSAGE("skipped: ptrace is not permitted here (a container without SYS_PTRACE, or seccomp)");
    ::kill(robot.pid, SIGKILL);
    ::waitpid(robot.pid, nullptr, 0);
    return;
  }
  check_nobody_is_blamed(robot.account());
}

TEST_CASE("on a machine that is merely loaded a hang is found") {
  std::vector<pid_t> burners;
  for (int i = 0; i < 8; ++i) {
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      ::alarm(20);
      while (true) {
      }
    }
    burners.push_back(pid);
  }
  const auto log = horus::set_log_sink([](horus::LogLevel, std::string_view) {});
  std::atomic<std::int64_t> safe_ns{0}, blocked_ns{0};
  Scheduler scheduler;
  scheduler.add<Motor>(safe_ns).rate(50_hz).watchdog(100ms).critical();
  scheduler
      .add("hangs",
           [&, ticks = 0]() mutable {
             if (++ticks != 5) return;
             blocked_ns = horus::monotonic_ns();
             const std::int64_t until = blocked_ns + 10'000'000'000;
             while (safe_ns == 0 && horus::monotonic_ns() < until) std::this_thread::sleep_for(5ms);
             scheduler.stop();
           })
      .rate(50_hz);
  CHECK(scheduler.run_for(20s) == 0);
  for (const pid_t pid : burners) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  horus::set_log_sink(log);
  CHECK(scheduler.emergency_stopped());
  MESSAGE("safe " << (safe_ns - blocked_ns) / 1'000'000 << " ms after the hang began");
  CHECK((safe_ns - blocked_ns) / 1'000'000 < 5000);
}

TEST_CASE(
    "exit_when_blocked ends the process with code 70 when a node hangs, and not when the process was "
    "stopped") {
  for (const bool hangs : {true, false}) {
    CAPTURE(hangs);
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      ::alarm(40);
      horus::set_log_sink([](horus::LogLevel, std::string_view) {});
      std::atomic<std::int64_t> safe_ns{0};
      horus::SchedulerConfig config;
      config.exit_when_blocked = true;
      Scheduler scheduler(config);
      scheduler.add<Motor>(safe_ns).rate(50_hz).watchdog(150ms);
      scheduler
          .add("hangs",
               [&, ticks = 0]() mutable {
                 if (++ticks == 5) static_cast<void>(::write(ends[1], "r", 1));
                 if (ticks == 6 && hangs) std::this_thread::sleep_for(20s);
               })
          .rate(50_hz);
      std::thread([&] {
        while (scheduler.absences() == 0) std::this_thread::sleep_for(5ms);
        std::this_thread::sleep_for(500ms);
        scheduler.stop();
      }).detach();
      ::_exit(scheduler.run_for(15s));
    }
    char byte = 0;
    CHECK(::read(ends[0], &byte, 1) == 1);
    if (!hangs) {
      ::kill(child, SIGSTOP);
      std::this_thread::sleep_for(1s);
      ::kill(child, SIGCONT);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == (hangs ? 70 : 0));
    ::close(ends[0]);
    ::close(ends[1]);
  }
}

TEST_CASE("run_for that begins during a latched emergency stop ends in time, and nothing has begun") {
  int inits = 0, ticks = 0;
  const auto run = virtual_time::run({
      .build =
          [&](Scheduler& scheduler) {
            class Arm : public horus::Node {
             public:
              Arm(int& inits, int& ticks) : Node("arm"), inits_(inits), ticks_(ticks) {}
              Task<> init() override {
                ++inits_;
                co_return;
              }
              Task<> tick() override {
                ++ticks_;
                co_return;
              }

             private:
              int &inits_, &ticks_;
            };
            scheduler.add<Arm>(inits, ticks).rate(100_hz);
            scheduler.emergency_stop();
          },
      .length = 3s,
  });
  CHECK(run.length < 3100ms);
  CHECK(run.emergency);
  CHECK(inits == 0);
  CHECK(ticks == 0);
  CHECK(run.code == 0);
  // The same in real time, with a thread of its own for another node.
  const auto log = horus::set_log_sink([](horus::LogLevel, std::string_view) {});
  Scheduler scheduler;
  scheduler.executor("other", {});
  scheduler.add("here", [&] { ++ticks; }).rate(100_hz);
  scheduler.add("there", [&] { ++ticks; }).rate(100_hz).executor("other");
  scheduler.emergency_stop();
  const auto began = std::chrono::steady_clock::now();
  CHECK(scheduler.run_for(200ms) == 0);
  CHECK(std::chrono::steady_clock::now() - began < 4s);
  CHECK(ticks == 0);
  horus::set_log_sink(log);
}
