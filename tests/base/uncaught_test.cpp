// SPDX-License-Identifier: Apache-2.0
// What a person sees of an error that nobody catches: children that die of one.
#include <horus/base/uncaught.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <string>
#include <thread>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/base/error.hpp>

namespace {

struct Death {
  int status = 0;
  std::string words;
};

// What `work` leaves behind when it throws where nobody catches.
template <class Work>
Death death_of(Work work) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::signal(SIGABRT, SIG_DFL);
    ::dup2(ends[1], STDERR_FILENO);
    [&]() noexcept { work(); }();
    ::_exit(99);
  }
  ::close(ends[1]);
  Death death;
  std::array<char, 512> part{};
  for (ssize_t got = 0; (got = ::read(ends[0], part.data(), part.size())) > 0;)
    death.words.append(part.data(), static_cast<std::size_t>(got));
  ::close(ends[0]);
  ::waitpid(child, &death.status, 0);
  return death;
}

void mistake() { throw horus::Error(EINVAL, "rate", "0 Hz of node \"gps\": above 0 up to 100000"); }

}  // namespace

TEST_SUITE("base/uncaught") {
  TEST_CASE("a mistake at a program's start is one line and exit code 1, no core dump") {
    const Death death = death_of([] { mistake(); });
    CHECK(death.words == "horus error: rate 0 Hz of node \"gps\": above 0 up to 100000: invalid argument\n");
    CHECK(WIFEXITED(death.status));
    CHECK(WEXITSTATUS(death.status) == 1);
  }

  TEST_CASE("while a scheduler runs, and on other threads, it is a crash that says the same") {
    const Death running = death_of([] {
      ++horus::detail::running_schedulers;
      mistake();
    });
    const Death beside = death_of([] { std::thread(mistake).join(); });
    for (const Death& death : {running, beside}) {
      CHECK(death.words.starts_with("horus error: rate 0 Hz of node"));
      CHECK(WIFSIGNALED(death.status));
      CHECK(WTERMSIG(death.status) == SIGABRT);
    }
  }

  TEST_CASE("exceptions of others end as they did") {
    const Death death = death_of([] { throw std::runtime_error("something else"); });
    CHECK(death.words.find("horus error") == std::string::npos);
    CHECK(death.words.find("something else") != std::string::npos);
    CHECK(WIFSIGNALED(death.status));
  }
}
