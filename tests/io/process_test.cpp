// SPDX-License-Identifier: Apache-2.0
#include <horus/io/process.hpp>

#include <csignal>
#include <filesystem>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/fs.hpp>
#include <horus/io/offload.hpp>
#include <horus/io/run_process.hpp>
#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>

#include "../support/real_kernel.hpp"

using horus::Result;
using horus::Task;
using horus::io::ExitStatus;
using horus::io::Process;
using horus::io::ProcessOptions;
using horus::io::ProcessOutput;
using horus::io::Redirect;
using namespace horus::literals;
namespace io = horus::io;

namespace {

ProcessOptions shell(const std::string& script) { return ProcessOptions("/bin/sh", "-c", script); }

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

// No child left, neither running nor as a zombie.
bool no_children() { return ::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

Task<ProcessOutput> output_of(ProcessOptions options, std::string input = {}) {
  auto running = io::run_process(std::move(options), std::move(input));
  auto output = co_await running;
  co_return std::move(output).or_throw();
}

Task<Process> spawn(ProcessOptions options) {
  auto spawning = Process::spawn(std::move(options));
  auto process = co_await spawning;
  co_return std::move(process).or_throw();
}

}  // namespace

TEST_CASE("a program that does not exist is an error with its name and advice") {
  auto body = []() -> Task<> {
    const std::size_t before = open_descriptors();
    auto missing_task = io::run_process(ProcessOptions("horus-no-such-program", "x"));
    auto missing = co_await missing_task;
    REQUIRE_FALSE(missing.ok());
    CHECK(missing.code() == ENOENT);
    CHECK(missing.error().message() ==
          "spawn horus-no-such-program: no such file or directory (is the program installed and on PATH?)");
    if (!horus::testing::simulated()) {
      auto forbidden_task = io::run_process(ProcessOptions("/etc/passwd"));
      auto forbidden = co_await forbidden_task;
      CHECK(forbidden.code() == EACCES);
    }
    auto nowhere_task = Process::spawn(ProcessOptions("true").with_directory("/no/such/folder"));
    auto nowhere = co_await nowhere_task;
    CHECK(nowhere.code() == ENOENT);
    CHECK(nowhere.error().target() == "true, in the directory /no/such/folder");
    auto nothing_task = Process::spawn(ProcessOptions(std::vector<std::string>()));
    auto nothing = co_await nothing_task;
    CHECK(nothing.code() == EINVAL);
    auto closed_task = Process::spawn(ProcessOptions("true").with_output(Redirect::descriptor(987'654)));
    auto closed = co_await closed_task;
    CHECK(closed.code() == EBADF);
    while (open_descriptors() > before) co_await horus::sleep(100us);  // closed in the background
  };
  io::run(body());
  CHECK(no_children());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a conversation through pipes goes line by line") {
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
  auto body = []() -> Task<> {
    auto spawning = spawn(ProcessOptions("cat").with_input(Redirect::pipe()).with_output(Redirect::pipe()));
    auto cat = co_await spawning;
    CHECK(cat.running());
    CHECK(cat.pid() > 0);
    for (const char* line : {"one", "two"}) {
      auto writing = cat.standard_in().write_all(std::string(line) + "\n");
      auto written = co_await writing;
      CHECK(written.ok());
      auto answer = co_await cat.standard_out().read_line();
      REQUIRE(answer.ok());
      CHECK(*answer == line);
    }
    auto unasked = co_await cat.standard_err().read_line();
    CHECK(unasked.code() == EBADF);
    auto closing = cat.standard_in().close();
    auto closed = co_await closing;
    CHECK(closed.ok());
    auto end = co_await cat.standard_out().read_line();
    CHECK(end.code() == horus::kEndOfStream);
    CHECK(end.error().target() == "standard output of cat");
    auto waiting = cat.wait();
    auto status = co_await waiting;
    CHECK(*status == ExitStatus::exited_with(0));
    CHECK_FALSE(cat.running());
    auto again_task = cat.wait();
    auto again = co_await again_task;
    CHECK(*again == ExitStatus::exited_with(0));
    CHECK(cat.kill().code() == ESRCH);
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a child that never reads, or closes its input early, does not hang or kill the caller") {
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
  auto body = []() -> Task<> {
    const std::string much(500'000, 'x');
    auto ignoring = output_of(shell("exec 0<&-; echo closed"), much);
    auto ignored = co_await ignoring;
    CHECK(ignored.out == "closed\n");
    auto leaving = output_of(shell("exit 4"), much);
    auto left = co_await leaving;
    CHECK(left.status.code() == 4);
    auto spawning = spawn(shell("exec 0<&-; echo ready; exec sleep 1000")
                              .with_input(Redirect::pipe())
                              .with_output(Redirect::pipe()));
    auto deaf = co_await spawning;
    auto ready = co_await deaf.standard_out().read_line();
    CHECK(*ready == "ready");
    auto writing = deaf.standard_in().write_all(io::Bytes(much));
    auto refused = co_await writing;
    CHECK(refused.code() == EPIPE);
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
  CHECK(no_children());
}

TEST_CASE("kill ends a child, and a cancelled wait leaves it running") {
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
  auto body = []() -> Task<> {
    auto spawning = spawn(ProcessOptions("sleep", "1000"));
    auto sleeper = co_await spawning;
    auto late = co_await horus::with_timeout(1ms, sleeper.wait());
    CHECK(late.code() == ETIMEDOUT);
    CHECK(sleeper.running());
    horus::Scope scope;
    auto first = scope.spawn(sleeper.wait());
    auto second = scope.spawn(sleeper.wait());
    co_await horus::sleep(1ms);
    CHECK(sleeper.kill(SIGUSR1).ok());
    auto a = co_await first;
    auto b = co_await second;
    CHECK(*a == ExitStatus::ended_by(SIGUSR1));
    CHECK(*b == *a);
    CHECK(sleeper.kill_group().code() == ESRCH);
    co_await scope.join();
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("terminate asks, waits, and kills only who does not listen") {
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
  auto body = []() -> Task<> {
    auto polite_task = spawn(
        shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done").with_output(Redirect::pipe()));
    auto polite = co_await polite_task;
    auto ready = co_await polite.standard_out().read_line();
    CHECK(ready.ok());
    auto ending = polite.terminate(30s);
    auto ended = co_await ending;
    REQUIRE(ended.ok());
    CHECK(*ended == ExitStatus::exited_with(7));
    auto stubborn_task =
        spawn(shell("trap '' TERM; echo ready; while :; do sleep 0.01; done").with_output(Redirect::pipe()));
    auto stubborn = co_await stubborn_task;
    auto listening = co_await stubborn.standard_out().read_line();
    CHECK(listening.ok());
    auto killing = stubborn.terminate(5ms);
    auto killed = co_await killing;
    REQUIRE(killed.ok());
    CHECK(*killed == ExitStatus::ended_by(SIGKILL));
    auto again_task = stubborn.terminate();
    auto again = co_await again_task;
    CHECK(*again == *killed);
  };
  io::run(body());
  CHECK(no_children());
}

TEST_CASE("a group dies with its grandchildren") {
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
  // The pipe's writers are the child and its grandchildren: its end tells that all of them are dead.
  for (const int way : {0, 1, 2, 3}) {
    CAPTURE(way);
    auto body = [way]() -> Task<> {
      auto spawning =
          spawn(shell("(sleep 1000; echo survived) & (sleep 1000; echo survived) & echo ready; wait")
                    .with_output(Redirect::pipe())
                    .with_own_group());
      auto parent = co_await spawning;
      auto output = std::move(parent.standard_out());
      auto ready = co_await output.read_line();
      CHECK(*ready == "ready");
      if (way == 0) {
        CHECK(parent.kill_group(SIGTERM).ok());
        auto waiting = parent.wait();
        auto status = co_await waiting;
        CHECK(*status == ExitStatus::ended_by(SIGTERM));
      } else if (way == 1) {
        auto ending = parent.terminate();
        auto status = co_await ending;
        CHECK(status.ok());
      } else if (way == 2) {
        parent = Process();
      } else {
        // The child alone dies; terminate clears up what is left of its group.
        CHECK(parent.kill(SIGKILL).ok());
        auto ending = parent.terminate();
        auto status = co_await ending;
        CHECK(*status == ExitStatus::ended_by(SIGKILL));
      }
      auto end = co_await output.read_line();
      CHECK(end.code() == horus::kEndOfStream);
    };
    io::run(body());
    CHECK(no_children());
  }
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a group is reached after its leader has gone, and ends with its Process") {
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
  for (const int way : {0, 1, 2}) {
    CAPTURE(way);
    auto body = [way]() -> Task<> {
      auto spawning =
          spawn(shell("sleep 1000 & echo ready; exit 3").with_output(Redirect::pipe()).with_own_group());
      auto leader = co_await spawning;
      auto output = std::move(leader.standard_out());
      auto ready = co_await output.read_line();
      CHECK(*ready == "ready");
      auto waiting = leader.wait();
      auto status = co_await waiting;
      CHECK(*status == ExitStatus::exited_with(3));
      CHECK_FALSE(leader.running());
      CHECK(leader.kill().code() == ESRCH);
      if (way == 0) {
        CHECK(leader.kill_group(SIGTERM).ok());
      } else if (way == 1) {
        auto ending = leader.terminate();
        auto again = co_await ending;
        CHECK(*again == ExitStatus::exited_with(3));
      } else {
        leader = Process();
      }
      auto end = co_await output.read_line();
      CHECK(end.code() == horus::kEndOfStream);
    };
    io::run(body());
    CHECK(no_children());
  }
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("without a descriptor left no child is started") {
  NEEDS_REAL_KERNEL("the process's own limits");
  auto body = []() -> Task<> {
    const std::string mark = (std::filesystem::temp_directory_path() / "horus-not-started").string();
    std::filesystem::remove(mark);
    // One descriptor too few for the child's pidfd, whatever else it needs.
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const int first_free = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    REQUIRE(first_free >= 0);
    const rlimit tight{static_cast<rlim_t>(first_free) + 1, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
    std::vector<int> taken{first_free};
    for (int fd = ::dup(first_free); fd >= 0; fd = ::dup(first_free)) taken.push_back(fd);
    auto spawning = Process::spawn(ProcessOptions("touch", mark));
    auto child = co_await spawning;
    CHECK(child.code() == EMFILE);
    for (const int fd : taken) ::close(fd);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK_FALSE(std::filesystem::exists(mark));
    CHECK(no_children());
  };
  io::run(body());
}

TEST_CASE("calls that hang in the standard pool do not stop children") {
  NEEDS_REAL_KERNEL("threads that wait");
  std::promise<void> gate;
  const std::shared_future<void> opened(gate.get_future());
  auto body = [&]() -> Task<> {
    horus::Scope hanging("hanging");
    for (unsigned i = 0; i < 2 * io::ThreadPool::standard().thread_limit(); ++i) {
      static_cast<void>(hanging.spawn([](std::shared_future<void> until) -> Task<> {
        auto call = io::offload([](const std::shared_future<void>& wanted) { wanted.wait(); }, until);
        static_cast<void>(co_await call);
      }(opened)));
    }
    co_await horus::yield();
    co_await horus::yield();
    auto spawning = spawn(ProcessOptions("true"));
    auto child = co_await spawning;
    auto waiting = child.wait();
    auto status = co_await waiting;
    CHECK(status->success());
    auto asking = io::fs::access("/", 0);
    auto there = co_await asking;
    CHECK(there.ok());
    gate.set_value();
    co_await hanging.join();
  };
  io::run(body());
}

TEST_CASE("kill_group without an own group is refused: it would hit the caller") {
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
  auto body = []() -> Task<> {
    auto spawning = spawn(ProcessOptions("sleep", "1000"));
    auto sleeper = co_await spawning;
    CHECK(sleeper.kill_group().code() == EINVAL);
  };
  io::run(body());
  CHECK(no_children());
}

TEST_CASE("destroying the Process of a running child kills it, also when the reactor ends at once") {
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
  {
    auto body = []() -> Task<> {
      auto spawning = spawn(ProcessOptions("sleep", "1000"));
      auto sleeper = co_await spawning;
      CHECK(sleeper.running());
    };
    io::run(body());
    CHECK(no_children());
  }
  {
    auto body = []() -> Task<> {
      horus::Scope scope;
      horus::Spawned<Result<ExitStatus>> waiting;
      {
        auto spawning = spawn(ProcessOptions("sleep", "1000"));
        auto sleeper = co_await spawning;
        waiting = scope.spawn(sleeper.wait());
        co_await horus::sleep(1ms);
      }
      auto status = co_await waiting;  // who waits learns how it ended
      REQUIRE(status.ok());
      CHECK(*status == ExitStatus::ended_by(SIGKILL));
      co_await scope.join();
    };
    io::run(body());
    CHECK(no_children());
  }
  {
    // Without any reactor.
    auto orphan = io::run(spawn(ProcessOptions("sleep", "1000")));
    CHECK(orphan.running());
  }
  CHECK(no_children());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a status that somebody else took is an error that says so") {
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
  auto body = []() -> Task<> {
    auto spawning = spawn(ProcessOptions("true"));
    auto child = co_await spawning;
    REQUIRE(::waitpid(child.pid(), nullptr, 0) == child.pid());
    auto waiting = child.wait();
    auto lost = co_await waiting;
    CHECK(lost.code() == ECHILD);
    CHECK(lost.error().message().find("somebody else") != std::string::npos);
    CHECK_FALSE(child.running());
  };
  io::run(body());
}

TEST_CASE("many children leave no descriptor behind") {
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
  auto body = []() -> Task<> {
    auto warm_up = output_of(shell("echo x"), "y");
    auto first = co_await warm_up;
    CHECK(first.status.success());
    co_await horus::sleep(1ms);
    const std::size_t before = open_descriptors();
    for (int i = 0; i < 20; ++i) {
      auto running = output_of(ProcessOptions("cat"), "x");
      auto output = co_await running;
      CHECK(output.out == "x");
      auto spawning = Process::spawn(ProcessOptions("/no/such").with_input(Redirect::pipe()));
      auto missing = co_await spawning;
      CHECK_FALSE(missing.ok());
    }
    while (open_descriptors() > before) co_await horus::sleep(100us);  // closed in the background
    CHECK(no_children());
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}
