// SPDX-License-Identifier: Apache-2.0
#include <horus/io/run_process.hpp>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/process.hpp>
#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>

#include "../support/real_kernel.hpp"

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

struct Folder {
  std::string path = (std::filesystem::temp_directory_path() / "horus-process-XXXXXX").string();
  Folder() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path); }
};

}  // namespace

TEST_CASE("a child's output, error output and exit code come back") {
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
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
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
  auto body = []() -> Task<> {
    const std::string much(500'000, 'x');
    auto running = output_of(ProcessOptions("cat"), much);
    auto output = co_await running;
    CHECK(output.status.success());
    CHECK(output.out == much);
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("children start with default dispositions, an empty mask and no descriptor but three") {
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
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
    auto running = output_of(ProcessOptions("cat", "/proc/self/status"));
    auto output = co_await running;
    for (const char* line : {"SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"}) {
      CAPTURE(line);
      CHECK(output.out.find(line) != std::string::npos);
    }
    auto listing = output_of(ProcessOptions("ls", "/proc/self/fd"));
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
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
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
        output_of(ProcessOptions("env").without_environment().with_variable("ONLY", "this=that"));
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
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
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
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
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

TEST_CASE("a child that closes its output early is waited for") {
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
  auto body = []() -> Task<> {
    auto running = output_of(shell("exec >&- 2>&-; exit 5"));
    auto output = co_await running;
    CHECK(output.status.code() == 5);
    CHECK(output.out.empty());
  };
  io::run(body());
}

TEST_CASE("a child that writes without end is killed at the limit") {
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
  auto body = []() -> Task<> {
    auto running = io::run_process(ProcessOptions("yes"), {}, 100'000);
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
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
  auto body = []() -> Task<> {
    const std::int64_t before = horus::now_ns();
    // The grandchild ends by itself when its standard input, which the test holds, ends.
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    auto running = output_of(shell("echo early; exec 3<&0; cat <&3 >/dev/null & exit 0")
                                 .with_input(Redirect::descriptor(ends[0])));
    auto output = co_await running;
    CHECK(output.out == "early\n");
    CHECK(output.status.success());
    CHECK(horus::now_ns() - before >= io::kOutputLinger.count());
    ::close(ends[0]);
    ::close(ends[1]);
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("stopping the task kills the child and leaves no zombie") {
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
  auto body = []() -> Task<> {
    auto late = co_await horus::with_timeout(20ms, io::run_process(ProcessOptions("sleep", "1000")));
    CHECK(late.code() == ETIMEDOUT);
    auto gone = until_no_children();
    co_await gone;
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("children run side by side") {
  NEEDS_REAL_KERNEL("foreign programs (tests/sim/children_test.cpp)");
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
