// SPDX-License-Identifier: Apache-2.0
#include <horus/base/log.hpp>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/base/assert.hpp>
#include <horus/base/clock.hpp>
#include <horus/base/log_ring.hpp>

#include "../support/captured_log.hpp"

namespace {

using namespace std::chrono_literals;
using horus::testing::CapturedLog;

// A sink waits at its door until somebody opens it.
class Door {
 public:
  Door() = default;
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;
  ~Door() { open(); }

  void pass() {
    std::unique_lock lock(mutex_);
    somebody_waits_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  bool is_open() {
    const std::lock_guard lock(mutex_);
    return open_;
  }
  /// Opens it after `limit` unless somebody else does before.
  void open_after(std::chrono::seconds limit) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, limit, [this] { return open_; });
    open_ = true;
    changed_.notify_all();
  }
  /// Returns when a sink has come to the door; false: none did.
  bool somebody_waits() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLongest, [this] { return somebody_waits_; });
  }

 private:
  static constexpr auto kLongest = 20s;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  bool somebody_waits_ = false;
};

// What a child prints is not this program's.
void silence() { ::dup2(::open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO); }

struct Ended {
  int status;
  std::string output;
};

// A child whose standard error is `error` (-1: a pipe that is read); it runs `body` and returns from main. One that never
// ends is killed.
Ended child(const std::function<void()>& body, int error = -1) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::alarm(30);
    ::dup2(error < 0 ? ends[1] : error, STDERR_FILENO);
    ::close(ends[1]);
    silence();
    ::signal(SIGABRT, SIG_DFL);
    horus::set_log_sink({});
    body();
    std::exit(0);
  }
  ::close(ends[1]);
  Ended ended{};
  char buffer[4096];
  for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;)
    ended.output.append(buffer, static_cast<std::size_t>(got));
  ::close(ends[0]);
  ::waitpid(pid, &ended.status, 0);
  return ended;
}

// A terminal that nobody reads.
struct Terminal {
  int master = -1;
  int slave = -1;
  Terminal() { REQUIRE(::openpty(&master, &slave, nullptr, nullptr, nullptr) == 0); }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() {
    ::close(master);
    ::close(slave);
  }
};

}  // namespace

TEST_CASE("a ring of lines gives them back in order, short and long ones, over many rounds") {
  auto ring = std::make_unique<horus::detail::LogRing<64>>();
  std::string text;
  std::uint8_t mark = 0;
  CHECK_FALSE(ring->pop(mark, text));
  for (std::size_t i = 0; i < 1000; ++i) {
    const std::string line(i % 700, static_cast<char>('a' + i % 26));
    CHECK(ring->push(static_cast<std::uint8_t>(i % 4), line));
    REQUIRE(ring->pop(mark, text));
    CHECK(mark == i % 4);
    CHECK(text == line);
  }
  CHECK(ring->empty());
  CHECK(ring->lost() == 0);
}

TEST_CASE("the oldest lines give way to new ones, and are counted") {
  auto ring = std::make_unique<horus::detail::LogRing<64>>();
  for (int i = 0; i < 1000; ++i) CHECK(ring->push(0, fmt::format("{} {:200}", i, "")));
  std::uint64_t kept = 0;
  std::uint8_t mark = 0;
  for (std::string text; ring->pop(mark, text); ++kept)
    CHECK(std::stoull(text) == ring->lost() + kept);  // the last ones, none between them missing
  CHECK(kept + ring->lost() == 1000);
  CHECK(kept == 32);  // of two slots each
}

TEST_CASE("a line that is longer than the ring keeps is cut") {
  using Ring = horus::detail::LogRing<64>;
  auto ring = std::make_unique<Ring>();
  CHECK(ring->push(0, std::string(5000, 'x')));
  std::uint8_t mark = 0;
  std::string text;
  REQUIRE(ring->pop(mark, text));
  CHECK(text == std::string(Ring::kLongest, 'x'));
}

TEST_CASE(
    "threads that fill a ring beside one that empties it lose no line without counting it, and mix none") {
  constexpr std::uint64_t kThreads = 3;
  constexpr std::uint64_t kLines = 20'000;
  auto ring = std::make_unique<horus::detail::LogRing<64>>();
  std::atomic<std::uint64_t> finished{0};
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (std::uint64_t i = 0; i < kLines; ++i) {
        const std::string body(i % 300, static_cast<char>('a' + thread));
        ring->push(static_cast<std::uint8_t>(thread), fmt::format("{} {}", i, body));
      }
      finished.fetch_add(1);
    });
  }
  std::uint64_t kept = 0;
  std::vector<std::uint64_t> next(kThreads, 0);
  bool whole = true;
  bool ordered = true;
  std::uint8_t mark = 0;
  std::string text;
  while (true) {
    const bool all = finished.load() == kThreads;
    if (!ring->pop(mark, text)) {
      if (all) break;
      continue;
    }
    ++kept;
    const std::uint64_t number = std::stoull(text);
    ordered = ordered && number >= next[mark];
    next[mark] = number + 1;
    const std::string body(number % 300, static_cast<char>('a' + mark));
    whole = whole && text == fmt::format("{} {}", number, body);
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(whole);
  CHECK(ordered);
  CHECK(kept + ring->lost() == kThreads * kLines);
}

TEST_CASE("a sink that does not return keeps nobody who logs, and what was lost is told where it was lost") {
  constexpr std::uint64_t kLines = 20'000;
  Door door;
  std::atomic<std::uint64_t> taken{0};
  std::string loss;
  const std::uint64_t lost_before = horus::lost_log_lines();
  auto before = horus::set_log_sink([&](horus::LogLevel, std::string_view line) {
    if (taken.load() == 0) door.pass();
    if (line.find("lost") != std::string_view::npos) {
      loss = fmt::format("{} after {}", line, taken.load());
    } else {
      taken.fetch_add(1);
    }
  });
  horus::log_info("first");
  REQUIRE(door.somebody_waits());
  std::thread rescuer([&] { door.open_after(20s); });
  for (std::uint64_t i = 0; i < kLines; ++i) horus::log_info(fmt::format("line {}", i));
  CHECK_FALSE(door.is_open());  // nobody waited for it
  CHECK_FALSE(horus::flush_log(5ms));
  door.open();
  rescuer.join();
  CHECK(horus::flush_log(10s));
  horus::set_log_sink(std::move(before));
  const std::uint64_t lost = horus::lost_log_lines() - lost_before;
  CHECK(lost > 0);
  CHECK(taken.load() + lost == kLines + 1);
  CHECK(loss ==
        fmt::format("the log lost {} lines here: they came faster than they could be written after 1", lost));
}

TEST_CASE("a sink is no longer in use when it has been replaced") {
  for (int i = 0; i < 200; ++i) {
    auto lines = std::make_unique<std::vector<std::string>>();
    auto before = horus::set_log_sink(
        [at = lines.get()](horus::LogLevel, std::string_view line) { at->emplace_back(line); });
    std::thread other([] { horus::log_info("from another thread"); });
    horus::log_info("from this one");
    other.join();
    horus::set_log_sink(std::move(before));
    CHECK(lines->size() == 2);
    lines.reset();
  }
}

TEST_CASE("a sink may log, flush, set another sink, and throw") {
  const CapturedLog outer;
  int calls = 0;
  horus::LogSink former = horus::set_log_sink([&](horus::LogLevel, std::string_view line) {
    ++calls;
    if (line != "one") return;
    horus::log_info("from the sink");
    static_cast<void>(horus::flush_log(10s));  // of itself: it does not wait
    former = horus::set_log_sink(std::move(former));
  });
  horus::log_info("one");
  CHECK(horus::flush_log(10s));
  CHECK(calls == 1);
  CHECK(outer.lines() == std::vector<std::string>{"from the sink"});

  const Ended ended = child([] {
    horus::set_log_sink([](horus::LogLevel, std::string_view) { throw std::runtime_error("disk full"); });
    horus::log_warning("the line");
    static_cast<void>(horus::flush_log(10s));
    horus::set_log_sink({});
    horus::log_info("goes on");
  });
  CHECK(
      ended.output ==
      "horus error: the log's sink threw disk full at this line:\nhorus warning: the line\nhorus: goes on\n");
}

TEST_CASE("a terminal that nobody reads keeps no program from working, nor from ending") {
  const Terminal terminal;
  const Ended ended = child(
      [] {
        for (int i = 0; i < 10'000; ++i) horus::log_warning(std::string(100, 'x'));
        if (horus::lost_log_lines() == 0) std::_Exit(3);
      },
      terminal.slave);
  CHECK(WIFEXITED(ended.status));
  CHECK(WEXITSTATUS(ended.status) == 0);
}

TEST_CASE("the last lines of a program are written: at its end, at terminate, at a failed assertion") {
  const Ended ordinary = child([] { horus::log_info("the end"); });
  CHECK(ordinary.output == "horus: the end\n");

  const Ended terminated = child([] {
    horus::log_info("before it");
    std::terminate();
  });
  CHECK(WIFSIGNALED(terminated.status));
  CHECK(terminated.output.starts_with("horus: before it\n"));

  const Ended failed = child([] {
    horus::set_log_level(horus::LogLevel::warning);
    horus::log_warning("before it");
    HORUS_ASSERT(1 == 2, "numbers are odd");
  });
  CHECK(WTERMSIG(failed.status) == SIGABRT);
  CHECK(failed.output.starts_with("horus warning: before it\nhorus: numbers are odd [1 == 2, "));
}

TEST_CASE("a failed assertion is told although a sink never returns") {
  const Ended failed = child([] {
    horus::set_log_sink([](horus::LogLevel, std::string_view) { std::this_thread::sleep_for(1h); });
    horus::log_warning("kept by the sink");
    HORUS_ASSERT(1 == 2, "numbers are odd");
  });
  CHECK(WTERMSIG(failed.status) == SIGABRT);
  CHECK(failed.output.find("numbers are odd") != std::string::npos);
}

TEST_CASE("lines of static objects that die at the end go to stderr, not to a sink that may be dead") {
  const Ended ended = child([] {
    std::atexit(
        [] { horus::log_info("late"); });  // as early as a static object that was made before the sink
    horus::set_log_sink([](horus::LogLevel, std::string_view line) {
      const std::string text = fmt::format("sink: {}\n", line);
      static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
    });
    horus::log_info("early");
  });
  CHECK(ended.output == "sink: early\nhorus: late\n");
}

TEST_CASE("a sink that is in a call when the program ends gets none of the lines that come after it") {
  const Ended ended = child([] {
    static Door door;
    std::atexit([] {
      door.open();
      horus::log_info("late");
      static_cast<void>(horus::flush_log(10s));
    });
    horus::set_log_sink([](horus::LogLevel, std::string_view line) {
      door.pass();
      const std::string text = fmt::format("sink: {}\n", line);
      static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
    });
    horus::log_info("early");
    if (!door.somebody_waits()) ::_exit(1);
  });
  CHECK(ended.output == "sink: early\nhorus: late\n");
}

TEST_CASE("a child of fork() has a log of its own, and none of its parent's lines") {
  const Ended ended = child([] {
    horus::log_info("parent");
    static_cast<void>(horus::flush_log(10s));
    Door door;
    horus::set_log_sink([&](horus::LogLevel, std::string_view) { door.pass(); });
    horus::log_info("kept by the parent's sink");
    horus::log_info("and one behind it");
    if (!door.somebody_waits()) ::_exit(1);
    const pid_t grandchild = ::fork();
    if (grandchild == 0) {
      horus::set_log_sink({});
      horus::log_info("child");
      std::exit(0);
    }
    int status = 0;
    ::waitpid(grandchild, &status, 0);
    door.open();
    horus::set_log_sink({});
  });
  CHECK(WIFEXITED(ended.status));
  CHECK(ended.output == "horus: parent\nhorus: child\n");
}

TEST_CASE("a thread that hands its lines over at once sees them before the call returns") {
  std::vector<std::string> lines;
  auto before = horus::set_log_sink([&](horus::LogLevel, std::string_view line) {
    lines.emplace_back(line);
    if (line == "2") horus::log_info("from the sink");
  });
  {
    const horus::detail::LogAtOnce at_once;
    for (int i = 0; i < 10'000; ++i) {
      horus::log_info(std::to_string(i));
      const std::size_t own = static_cast<std::size_t>(i) + 1;
      const std::size_t from_the_sink = i < 2 ? 0 : 1;
      if (i != 2) REQUIRE(lines.size() == own + from_the_sink);
      if (i == 2) REQUIRE(lines.size() >= own);  // the log's thread may have taken this one
    }
  }
  horus::set_log_sink(std::move(before));
}

TEST_CASE("a line leaves errno as it was") {
  const CapturedLog log;
  errno = EADDRINUSE;
  horus::log_info("a line");
  CHECK(errno == EADDRINUSE);
}

// Run by the case below, in a process that was started without a standard error.
TEST_CASE("without standard error: a data file has its number" * doctest::skip()) {
  const char* path = std::getenv("HORUS_TEST_DATA_FILE");
  REQUIRE(path != nullptr);
  const int data = ::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (data != STDERR_FILENO) std::_Exit(3);
  horus::log_error("this is no data");
  if (!horus::flush_log(10s)) std::_Exit(4);
  HORUS_ASSERT(data < 0, "nor is this");
}

TEST_CASE("a program that was started without a standard error logs into no file that has its number") {
  char path[] = "/tmp/horus-log-test-XXXXXX";
  const int file = ::mkstemp(path);
  REQUIRE(file >= 0);
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::setenv("HORUS_TEST_DATA_FILE", path, 1);
    silence();
    ::close(STDERR_FILENO);
    ::execl("/proc/self/exe", "log_test", "--no-skip", "-tc=without standard error*", nullptr);
    std::_Exit(5);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGABRT);
  CHECK(::lseek(file, 0, SEEK_END) == 0);
  ::close(file);
  ::unlink(path);
}
