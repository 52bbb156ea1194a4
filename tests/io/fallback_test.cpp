// SPDX-License-Identifier: Apache-2.0
// What happens where containers forbid io_uring. The whole suite runs that way too: .ci/run.
#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>

#include "../support/forbid_io_uring.hpp"
#include "../support/real_kernel.hpp"

using horus::io::BackendChoice;
using horus::io::Reactor;
using horus::io::ReactorConfig;
using namespace horus::literals;

namespace {

// Runs `body` in a forked child in which io_uring fails with `error`. Gives what it wrote.
template <class Body>
std::string where_io_uring_fails_with(int error, Body body) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::unsetenv("HORUS_IO");
    std::string text = forbid_io_uring(error) ? body() : "no seccomp";
    const bool written = ::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::_exit(written ? 0 : 1);
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
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  return text;
}

// The backend's name and every line of the log, after three reactors one after the other have slept.
std::string three_reactors() {
  std::string log;
  horus::set_log_sink([&](horus::LogLevel, std::string_view line) { log += fmt::format("{}\n", line); });
  std::string names;
  for (int i = 0; i < 3; ++i) {
    Reactor reactor;
    auto body = []() -> horus::Task<> { co_await horus::sleep(1ms); };
    reactor.run(body());
    names += fmt::format("{} ", reactor.backend_name());
  }
  horus::set_log_sink({});
  return names + log;
}

}  // namespace

#ifdef HORUS_WITH_URING
TEST_CASE("io_uring refused by a seccomp filter: epoll, and one line that names the cause") {
  NEEDS_REAL_KERNEL("a child process whose system calls are filtered");
  const std::string text = where_io_uring_fails_with(EPERM, [] { return three_reactors(); });
  CHECK(text.starts_with("epoll epoll epoll io_uring is not available, using epoll: "));
  CHECK(text.find("seccomp") != std::string::npos);
  CHECK(text.find('\n') == text.size() - 1);
}

TEST_CASE("io_uring unknown to the kernel: epoll, and one line that names the cause") {
  NEEDS_REAL_KERNEL("a child process whose system calls are filtered");
  const std::string text = where_io_uring_fails_with(ENOSYS, [] { return three_reactors(); });
  CHECK(text.starts_with("epoll epoll epoll io_uring is not available, using epoll: "));
  CHECK(text.find("kernel") != std::string::npos);
  CHECK(text.find('\n') == text.size() - 1);
}

TEST_CASE("io_uring that was asked for and is refused is an error, not another backend") {
  NEEDS_REAL_KERNEL("a child process whose system calls are filtered");
  const std::string text = where_io_uring_fails_with(EPERM, []() -> std::string {
    ReactorConfig config;
    config.backend = BackendChoice::uring;
    try {
      const Reactor reactor(config);
      return "a reactor";
    } catch (const horus::Error& error) {
      return fmt::format("{} {}", error.code(), error.what());
    }
  });
  CHECK(text.starts_with(fmt::format("{} ", EPERM)));
  CHECK(text.find("(required)") != std::string::npos);
}
#endif

TEST_CASE("a backend that nobody knows is refused with the names of those there are") {
  NEEDS_REAL_KERNEL("a child process whose system calls are filtered");
  const std::string text = where_io_uring_fails_with(EPERM, []() -> std::string {
    ::setenv("HORUS_IO", "kqueue", 1);
    try {
      const Reactor reactor;
      return "a reactor";
    } catch (const horus::Error& error) {
      return error.what();
    }
  });
  CHECK(text.find("\"kqueue\"") != std::string::npos);
  CHECK(text.find("uring, epoll or auto") != std::string::npos);
}
