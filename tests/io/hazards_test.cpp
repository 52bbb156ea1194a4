// SPDX-License-Identifier: Apache-2.0
// What the system does to an event loop that a quiet machine never shows: calls that fail, signals in the middle, too
// little locked memory, wrong threads, clocks that jump, buffers that die early.
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/io/file_buffers.hpp>
#include <horus/io/loop/awaiter.hpp>
#include <horus/io/pipe.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/seam/buffer_watch.hpp>
#include <horus/io/seam/forwarding.hpp>
#include <horus/io/tcp.hpp>
#include <horus/io/time.hpp>
#include <horus/sim/alone.hpp>

#include "../support/real_kernel.hpp"

using horus::Task;
using horus::io::Backend;
using horus::io::Reactor;
using horus::io::ReactorConfig;
using namespace horus::literals;

// --- A wall clock that jumps an hour back or forth with every look ----------------------------------------------------

namespace {
std::int64_t wall_clock_looks = 0;
}

// In place of the C library's, for this whole program.
extern "C" int clock_gettime(clockid_t clock, timespec* out) noexcept {
  const int result = static_cast<int>(::syscall(SYS_clock_gettime, clock, out));
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
    out->tv_sec += ++wall_clock_looks % 2 == 0 ? 3600 : -3600;
  }
  return result;
}

TEST_CASE("a wall clock that jumps by an hour moves no timer") {
  const std::int64_t looks = wall_clock_looks;
  auto body = []() -> Task<int> {
    int late = 0;
    horus::Interval interval(2ms);
    for (int i = 0; i < 5; ++i) {
      const std::int64_t before = horus::now_ns();
      co_await interval.next();
      timespec wall;
      ::clock_gettime(CLOCK_REALTIME, &wall);
      if (horus::now_ns() - before > 60'000'000'000) ++late;
    }
    co_await horus::sleep(2ms);
    auto slow = []() -> Task<> { co_await horus::sleep(1h); };
    auto ended = co_await horus::with_timeout(2ms, slow());
    CHECK(ended.code() == ETIMEDOUT);
    co_return late;
  };
  CHECK(horus::io::run(body()) == 0);
  CHECK(wall_clock_looks - looks == 5);  // ours; the library looks at CLOCK_MONOTONIC alone
}

// --- An enter that fails ----------------------------------------------------------------------------------------------

namespace {

// Every `period`-th enter does not reach the ring.
class FailingEnter final : public horus::io::ForwardingRing {
 public:
  FailingEnter(std::shared_ptr<horus::io::Ring> real, int error, int period)
      : ForwardingRing(std::move(real)), error_(error), period_(period) {}
  int enter(std::uint32_t to_submit, std::uint32_t min_complete, std::int64_t deadline_ns) noexcept override {
    if (++calls_ % period_ == 0) {
      ++failed;
      return -error_;
    }
    return ForwardingRing::enter(to_submit, min_complete, deadline_ns);
  }

  int failed = 0;

 private:
  int error_;
  int period_;
  int calls_ = 0;
};

Backend usual_backend(const ReactorConfig& config) {
  if (horus::testing::simulated()) return horus::sim::make_backend_alone(config).or_throw();
#ifdef HORUS_WITH_URING
  const char* wish = std::getenv("HORUS_IO");
  if (wish == nullptr || std::string_view(wish) != "epoll") {
    auto uring = horus::io::make_uring_backend(config);
    if (uring) return *std::move(uring);
  }
#endif
  return horus::io::make_epoll_backend(config).or_throw();
}

Task<> echo(horus::io::TcpStream stream) {
  while (true) {
    auto line = co_await stream.read_line();
    if (!line) co_return;
    const std::string answer = *line + "\n";
    static_cast<void>(co_await stream.write_all(answer));
  }
}

Task<int> talk(int rounds) {
  auto listener = horus::io::TcpListener::listen("127.0.0.1:0").or_throw();
  auto connecting = horus::io::TcpStream::connect(listener.local_address());
  auto client = (co_await std::move(connecting)).or_throw();
  horus::Scope scope;
  auto served = (co_await listener.accept()).or_throw();
  static_cast<void>(scope.spawn(echo(std::move(served))));
  int right = 0;
  for (int i = 0; i < rounds; ++i) {
    const std::string text = std::to_string(i);
    const std::string sent = text + "\n";
    (co_await client.write_all(sent)).or_throw();
    auto answer = (co_await client.read_line()).or_throw();
    if (answer == text) ++right;
    co_await horus::sleep(10us);
  }
  (co_await client.close()).or_throw();
  co_await scope.join();
  co_return right;
}

}  // namespace

TEST_CASE("an enter that fails with EINTR, EAGAIN, EBUSY or ENOMEM loses nothing") {
  for (const int error : {EINTR, EAGAIN, EBUSY, ENOMEM}) {
    for (const int period : {2, 3, 5}) {
      CAPTURE(error);
      CAPTURE(period);
      ReactorConfig config;
      config.submission_entries = 2;
      config.completion_entries = 4;
      Backend backend = usual_backend(config);
      const auto failing = std::make_shared<FailingEnter>(backend.ring, error, period);
      backend.ring = failing;
      Reactor reactor(std::move(backend), config);
      CHECK(reactor.run(talk(20)) == 20);
      CHECK(failing->failed > 10);
    }
  }
}

// --- Signals, memory, threads -----------------------------------------------------------------------------------------

namespace {
void ignored_by_handling(int) {}
}  // namespace

TEST_CASE("a thread that is showered with signals keeps its timers and its data") {
  NEEDS_REAL_KERNEL("signals of another thread");
  struct sigaction action{};
  struct sigaction previous{};
  action.sa_handler = &ignored_by_handling;  // no SA_RESTART: every call that waits is broken off
  REQUIRE(::sigaction(SIGUSR2, &action, &previous) == 0);
  std::atomic<bool> over{false};
  const pthread_t loop = ::pthread_self();
  std::thread shower([&] {
    while (!over.load()) {
      ::pthread_kill(loop, SIGUSR2);
      std::this_thread::yield();
    }
  });
  const std::int64_t due = horus::monotonic_ns() + 20'000'000;
  auto body = [&]() -> Task<int> {
    auto talking = talk(50);
    const int right = co_await std::move(talking);
    auto until = horus::sleep_until(horus::TimePoint(horus::Duration(due)));
    co_await until;
    co_return right;
  };
  CHECK(horus::io::run(body()) == 50);
  CHECK(horus::monotonic_ns() >= due);
  over = true;
  shower.join();
  ::sigaction(SIGUSR2, &previous, nullptr);
}

namespace {

// The exit status of a child that runs `body` (which gives it), or 128 + the signal that ended it; and its stderr.
template <class Body>
std::pair<int, std::string> in_child(Body body) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    ::signal(SIGABRT, SIG_DFL);
    try {
      ::_exit(body());
    } catch (const std::exception& error) {
      fmt::print(stderr, "{}", error.what());
      ::_exit(99);
    }
  }
  REQUIRE(child > 0);
  ::close(ends[1]);
  std::string text;
  char piece[512];
  for (ssize_t size = 0; (size = ::read(ends[0], piece, sizeof piece)) > 0;) {
    text.append(piece, static_cast<std::size_t>(size));
  }
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), std::move(text)};
}

}  // namespace

namespace {

// For the rest of this process: 64 KiB, and no right to exceed it. Nonzero: it cannot be had.
int limit_locked_memory() {
  const rlimit small{65536, 65536};
  if (::setrlimit(RLIMIT_MEMLOCK, &small) != 0) return 2;
  return ::geteuid() == 0 && ::setuid(65534) != 0 ? 3 : 0;
}

}  // namespace

TEST_CASE("reactors come and go quickly under a small limit of locked memory") {
  const auto [status, text] = in_child([] {
    if (const int failed = limit_locked_memory(); failed != 0) return failed;
    for (int i = 0; i < 20; ++i) {
      Reactor reactor;  // the usual rings are larger than that: smaller ones do
      auto body = []() -> Task<> { co_await horus::sleep(10us); };
      reactor.run(body());
    }
    return 0;
  });
  CAPTURE(text);
  CHECK(status == 0);
}

TEST_CASE("registered buffers beyond the limit of locked memory are an error with the remedy") {
  const auto [status, text] = in_child([] {
    if (const int failed = limit_locked_memory(); failed != 0) return failed;
    Reactor reactor;
    auto buffers = horus::io::FixedBuffers::create(64, 65536);
    if (buffers.ok()) return std::string_view(reactor.backend_name()) != "uring" ? 0 : 4;
    if (buffers.code() != ENOMEM) return 5;
    return buffers.error().message().find("ulimit -l") == std::string::npos ? 6 : 0;
  });
  CAPTURE(text);
  CHECK(status == 0);
}

#ifndef HORUS_TSAN  // which cannot start a thread in a forked child
TEST_CASE("a reactor that a second thread turns ends the program with the reason") {
  const auto [status, text] = in_child([] {
    Reactor reactor;
    std::thread other([&] { reactor.run_once(); });
    other.join();
    return 0;
  });
  CHECK(status == 128 + SIGABRT);
  CHECK(text.find("only be used by the thread that made it") != std::string::npos);
}
#endif

// --- Buffers ----------------------------------------------------------------------------------------------------------

TEST_CASE("a coroutine that is destroyed while the kernel works for it ends the program with the reason") {
  const auto [status, text] = in_child([] {
    Reactor reactor;
    auto waiting = []() -> Task<> {
      auto ends = horus::io::make_pipe().or_throw();
      char byte[1];
      static_cast<void>(co_await ends.reader.read(std::as_writable_bytes(std::span(byte))));
    };
    {
      horus::RootChain<void> root(waiting());
      root.start();
      reactor.run_once();
    }
    return 0;
  });
  CHECK(status == 128 + SIGABRT);
  CAPTURE(text);
  CHECK_FALSE(text.empty());
}

#ifdef HORUS_ASAN
TEST_CASE("a buffer that is freed while the kernel writes to it is told by AddressSanitizer builds") {
  const auto [status, text] = in_child([] {
    Reactor reactor;
    auto body = []() -> Task<> {
      auto ends = horus::io::make_pipe().or_throw();
      auto buffer = std::make_unique<std::vector<std::byte>>(64);
      horus::Scope scope;
      auto reader = [](horus::io::PipeReader& from, std::span<std::byte> into) -> Task<> {
        static_cast<void>(co_await from.read(into));
      };
      static_cast<void>(scope.spawn(reader(ends.reader, std::span(*buffer))));
      co_await horus::sleep(1ms);
      buffer.reset();
      static_cast<void>(co_await ends.writer.write_all("x"));
      co_await scope.join();
    };
    reactor.run(body());
    return 0;
  });
  CHECK(status != 0);
  CAPTURE(text);
  CHECK(text.find("freed") != std::string::npos);
}

namespace {

// Its memory is a name rather than a buffer.
struct OpenLater : horus::io::OperationAwaiter<OpenLater> {
  static constexpr const char* kName = "open";
  explicit OpenLater(const std::string& path) noexcept : path_(path) {}
  void prepare(io_uring_sqe& entry) const noexcept {
    horus::io::fill::open(entry, AT_FDCWD, path_.c_str(), O_RDONLY, 0);
  }
  [[nodiscard]] int await_resume() const noexcept { return result; }

 private:
  const std::string& path_;
};

}  // namespace

TEST_CASE("a path that is freed before its file is opened is told by AddressSanitizer builds") {
  const auto [status, text] = in_child([] {
    Reactor reactor;
    auto path =
        std::make_unique<std::string>("/there/is/no/such/file/and/its/name/is/long/enough/for/the/heap");
    reactor.run([&]() -> Task<> {
      horus::Scope scope;
      auto opening = [](const std::string& name) -> Task<> { static_cast<void>(co_await OpenLater(name)); };
      static_cast<void>(scope.spawn(opening(*path)));
      path.reset();
      co_await scope.join();
    });
    return 0;
  });
  CHECK(status != 0);
  CAPTURE(text);
  CHECK(text.find("freed") != std::string::npos);
}
#endif
