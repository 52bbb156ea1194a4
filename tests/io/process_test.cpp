// SPDX-License-Identifier: Apache-2.0
#include <horus/io/process.hpp>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/run_process.hpp>
#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>

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

ProcessOptions shell(const std::string& script) { return ProcessOptions({"/bin/sh", "-c", script}); }

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

// No child left, neither running nor as a zombie.
bool no_children() { return ::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

// Runs the reactor until a background reap is over.
Task<> until_no_children() {
  while (!no_children()) co_await horus::sleep(200us);
}

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

struct Folder {
  std::string path = (std::filesystem::temp_directory_path() / "horus-process-XXXXXX").string();
  Folder() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path); }
};

}  // namespace

TEST_CASE("a child's output, error output and exit code come back") {
  auto body = []() -> Task<> {
    auto running = output_of(shell("echo out; echo err >&2; exit 3"));
    auto output = co_await running;
    CHECK(output.out == "out\n");
    CHECK(output.err == "err\n");
    CHECK(output.status == ExitStatus::exited_with(3));
    CHECK_FALSE(output.status.success());
    CHECK(output.status.to_string() == "exit code 3");
    const auto failed = output.status.expect_success("sh");
    CHECK(failed.code() == horus::kProcessFailed);
    CHECK(failed.error().message() == "run sh (exit code 3): process failed");
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
  CHECK(no_children());
}

TEST_CASE("a program is found on PATH, and input and output larger than a pipe flow both ways") {
  auto body = []() -> Task<> {
    const std::string much(500'000, 'x');
    auto running = output_of(ProcessOptions({"cat"}), much);
    auto output = co_await running;
    CHECK(output.status.success());
    CHECK(output.out == much);
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a program that does not exist is an error with its name and advice") {
  auto body = []() -> Task<> {
    const std::size_t before = open_descriptors();
    auto missing_task = io::run_process({"horus-no-such-program", "x"});
    auto missing = co_await missing_task;
    REQUIRE_FALSE(missing.ok());
    CHECK(missing.code() == ENOENT);
    CHECK(missing.error().message() ==
          "spawn horus-no-such-program: no such file or directory (is the program installed and on PATH?)");
    auto forbidden_task = io::run_process({"/etc/passwd"});
    auto forbidden = co_await forbidden_task;
    CHECK(forbidden.code() == EACCES);
    auto nowhere_task = Process::spawn(ProcessOptions({"true"}).with_directory("/no/such/folder"));
    auto nowhere = co_await nowhere_task;
    CHECK(nowhere.code() == ENOENT);
    CHECK(nowhere.error().target() == "true, in the directory /no/such/folder");
    auto nothing_task = Process::spawn(ProcessOptions(std::vector<std::string>()));
    auto nothing = co_await nothing_task;
    CHECK(nothing.code() == EINVAL);
    auto closed_task = Process::spawn(ProcessOptions({"true"}).with_output(Redirect::descriptor(987'654)));
    auto closed = co_await closed_task;
    CHECK(closed.code() == EBADF);
    while (open_descriptors() > before) co_await horus::sleep(100us);  // closed in the background
  };
  io::run(body());
  CHECK(no_children());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("children start with default dispositions, an empty mask and no descriptor but three") {
  auto body = []() -> Task<> {
    struct sigaction pipe{};
    REQUIRE(::sigaction(SIGPIPE, nullptr, &pipe) == 0);
    const bool ignored_here = pipe.sa_handler == SIG_IGN;
    CHECK(ignored_here);
    sigset_t mask;
    ::sigemptyset(&mask);
    ::sigaddset(&mask, SIGUSR1);
    ::sigaddset(&mask, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &mask, nullptr);
    const int leaky = ::dup(2);  // some library forgot O_CLOEXEC
    auto running = output_of(ProcessOptions({"cat", "/proc/self/status"}));
    auto output = co_await running;
    for (const char* line : {"SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"}) {
      CAPTURE(line);
      CHECK(output.out.find(line) != std::string::npos);
    }
    auto listing = output_of(ProcessOptions({"ls", "/proc/self/fd"}));
    auto descriptors = co_await listing;
    CHECK(descriptors.out == "0\n1\n2\n3\n");  // 3 is ls looking
    ::close(leaky);
    ::pthread_sigmask(SIG_UNBLOCK, &mask, nullptr);
    auto dying = output_of(shell("kill -PIPE $$"));
    auto died = co_await dying;
    CHECK(died.status == ExitStatus::ended_by(SIGPIPE));
    CHECK(died.status.signalled());
    CHECK(died.status.to_string() == "ended by SIGPIPE");
  };
  io::run(body());
}

TEST_CASE("environment and directory are as asked for") {
  REQUIRE(::setenv("HORUS_TEST_INHERITED", "yes", 1) == 0);
  const Folder folder;
  auto body = [&]() -> Task<> {
    auto extending = output_of(shell("echo $HORUS_TEST_INHERITED $ADDED; pwd")
                                   .with_variable("ADDED", "too")
                                   .with_directory(folder.path));
    auto extended = co_await extending;
    CHECK(extended.out == "yes too\n" + std::filesystem::canonical(folder.path).string() + "\n");
    auto overriding =
        output_of(shell("echo $HORUS_TEST_INHERITED").with_variable("HORUS_TEST_INHERITED", "no"));
    auto overridden = co_await overriding;
    CHECK(overridden.out == "no\n");
    auto replacing =
        output_of(ProcessOptions({"env"}).without_environment().with_variable("ONLY", "this=that"));
    auto replaced = co_await replacing;
    CHECK(replaced.out == "ONLY=this=that\n");
    auto naming = Process::spawn(shell("true").with_variable("A=B", "x"));
    auto misnamed = co_await naming;
    CHECK(misnamed.code() == EINVAL);
  };
  io::run(body());
  ::unsetenv("HORUS_TEST_INHERITED");
}

TEST_CASE("standard descriptors go where the options send them") {
  const Folder folder;
  auto body = [&]() -> Task<> {
    auto merging =
        output_of(shell("echo one; echo two >&2; echo three").with_error(Redirect::to_standard_out()));
    auto merged = co_await merging;
    CHECK(merged.out == "one\ntwo\nthree\n");
    CHECK(merged.err.empty());
    auto silencing = output_of(shell("cat; echo gone >&2").with_error(Redirect::null()));
    auto silent = co_await silencing;
    CHECK(silent.out.empty());
    CHECK(silent.err.empty());
    const std::string path = folder.path + "/log";
    const int file = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    REQUIRE(file >= 0);
    auto logging = output_of(shell("echo kept").with_output(Redirect::descriptor(file)));
    auto logged = co_await logging;
    CHECK(logged.out.empty());
    char text[16] = {};
    CHECK(::pread(file, text, sizeof text, 0) == 5);
    CHECK(std::string(text) == "kept\n");
    ::close(file);
    auto spawning = Process::spawn(shell("true").with_output(Redirect::to_standard_out()));
    auto circular = co_await spawning;
    CHECK(circular.code() == EINVAL);
  };
  io::run(body());
}

TEST_CASE("standard output and error may be swapped") {
  auto body = []() -> Task<> {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    // What the parent knows as 2 becomes the child's 1, and its 2 is another: neither copy may overwrite the other.
    const int saved = ::fcntl(2, F_DUPFD_CLOEXEC, 3);
    ::dup2(ends[1], 2);
    auto running = output_of(shell("echo to-out; echo to-err >&2").with_output(Redirect::descriptor(2)));
    auto output = co_await running;
    ::dup2(saved, 2);
    ::close(saved);
    ::close(ends[1]);
    char text[16] = {};
    CHECK(::read(ends[0], text, sizeof text) == 7);
    CHECK(std::string(text) == "to-out\n");
    CHECK(output.err == "to-err\n");
    ::close(ends[0]);
  };
  io::run(body());
}

TEST_CASE("a conversation through pipes goes line by line") {
  auto body = []() -> Task<> {
    auto spawning = spawn(ProcessOptions({"cat"}).with_input(Redirect::pipe()).with_output(Redirect::pipe()));
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

TEST_CASE("a child that closes its output early is waited for") {
  auto body = []() -> Task<> {
    auto running = output_of(shell("exec >&- 2>&-; exit 5"));
    auto output = co_await running;
    CHECK(output.status.code() == 5);
    CHECK(output.out.empty());
  };
  io::run(body());
}

TEST_CASE("a child that writes without end is killed at the limit") {
  auto body = []() -> Task<> {
    auto running = io::run_process(ProcessOptions({"yes"}), {}, 100'000);
    auto endless = co_await running;
    REQUIRE_FALSE(endless.ok());
    CHECK(endless.code() == ENOBUFS);
    CHECK(endless.error().target() == "yes (killed: more than 100000 bytes of output)");
    auto just = io::run_process(shell("head -c 100000 /dev/zero"), {}, 100'000);
    auto fits = co_await just;
    REQUIRE(fits.ok());
    CHECK(fits->out.size() == 100'000);
  };
  io::run(body());
  CHECK(no_children());
}

TEST_CASE("output that a grandchild holds open does not hold up the caller for ever") {
  auto body = []() -> Task<> {
    const std::int64_t before = horus::now_ns();
    // The grandchild ends by itself when its standard input, which the test holds, ends.
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    auto running =
        output_of(shell("echo early; cat <&0 >/dev/null & exit 0").with_input(Redirect::descriptor(ends[0])));
    auto output = co_await running;
    CHECK(output.out == "early\n");
    CHECK(output.status.success());
    CHECK(horus::now_ns() - before < 20'000'000'000);
    ::close(ends[0]);
    ::close(ends[1]);
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("stopping the task kills the child and leaves no zombie") {
  auto body = []() -> Task<> {
    auto late = co_await horus::with_timeout(20ms, io::run_process(ProcessOptions("sleep", "1000")));
    CHECK(late.code() == ETIMEDOUT);
    auto gone = until_no_children();
    co_await gone;
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("kill ends a child, and a cancelled wait leaves it running") {
  auto body = []() -> Task<> {
    auto spawning = spawn(ProcessOptions({"sleep", "1000"}));
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

TEST_CASE("kill_group without an own group is refused: it would hit the caller") {
  auto body = []() -> Task<> {
    auto spawning = spawn(ProcessOptions({"sleep", "1000"}));
    auto sleeper = co_await spawning;
    CHECK(sleeper.kill_group().code() == EINVAL);
  };
  io::run(body());
  CHECK(no_children());
}

TEST_CASE("destroying the Process of a running child kills it, also when the reactor ends at once") {
  {
    auto body = []() -> Task<> {
      auto spawning = spawn(ProcessOptions({"sleep", "1000"}));
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
        auto spawning = spawn(ProcessOptions({"sleep", "1000"}));
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
    auto orphan = io::run(spawn(ProcessOptions({"sleep", "1000"})));
    CHECK(orphan.running());
  }
  CHECK(no_children());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a status that somebody else took is an error that says so") {
  auto body = []() -> Task<> {
    auto spawning = spawn(ProcessOptions({"true"}));
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
  auto body = []() -> Task<> {
    auto warm_up = output_of(shell("echo x"), "y");
    auto first = co_await warm_up;
    CHECK(first.status.success());
    co_await horus::sleep(1ms);
    const std::size_t before = open_descriptors();
    for (int i = 0; i < 20; ++i) {
      auto running = output_of(ProcessOptions({"cat"}), "x");
      auto output = co_await running;
      CHECK(output.out == "x");
      auto spawning = Process::spawn(ProcessOptions({"/no/such"}).with_input(Redirect::pipe()));
      auto missing = co_await spawning;
      CHECK_FALSE(missing.ok());
    }
    while (open_descriptors() > before) co_await horus::sleep(100us);  // closed in the background
    CHECK(no_children());
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("children run side by side") {
  auto body = []() -> Task<> {
    horus::Scope scope;
    std::vector<horus::Spawned<ProcessOutput>> running;
    for (int i = 0; i < 8; ++i) running.push_back(scope.spawn(output_of(shell("echo " + std::to_string(i)))));
    for (int i = 0; i < 8; ++i) {
      auto output = co_await running[static_cast<std::size_t>(i)];
      CHECK(output.out == std::to_string(i) + "\n");
    }
    co_await scope.join();
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}
