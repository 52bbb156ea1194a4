// SPDX-License-Identifier: Apache-2.0
// Starts many programs of one hub name at the same moment, again and again:
//
//   start_storm [PROGRAMS] [ROUNDS] [--namespaces]
//
// Each has to hear every other one. With --namespaces each has a PID namespace of its own, as in a container, and is
// process 1 there; where that is not permitted it ends with 77. Prints one line, ends with 1 when two did not meet.
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/clock.hpp>
#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::Task;

constexpr std::uint32_t kMostPrograms = 60;
constexpr horus::Duration kLimit = 30s;  // 10 s, on a machine that has time for all of them
constexpr int kNotPermitted = 77;        // a test that was left out

struct Options {
  std::uint32_t programs = 16;
  std::uint32_t rounds = 20;
  bool namespaces = false;
};

struct Introduction {
  std::uint32_t program = 0;
};

struct Met {
  std::uint32_t program = 0;
  std::int64_t after_ns = 0;
};

[[noreturn]] void fail(const std::string& what) {
  fmt::print(stderr, "start_storm: {}\n", what);
  std::exit(1);
}

// Both ends; what is sent through it is "now", by closing the last writing end.
struct Signal {
  Signal() {
    if (::pipe(ends.data()) != 0) fail(fmt::format("pipe: {}", std::strerror(errno)));
  }
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;
  ~Signal() {
    for (const int end : ends) {
      if (end >= 0) ::close(end);
    }
  }
  void give() noexcept { ::close(std::exchange(ends[1], -1)); }
  [[nodiscard]] bool given(int wait_ms) const noexcept {
    pollfd readable{ends[0], POLLIN, 0};
    return ::poll(&readable, 1, wait_ms) > 0;
  }
  std::array<int, 2> ends{};
};

struct Round {
  Signal start;
  Signal end;
  Signal answers;
};

Task<> take_part(std::uint32_t number, const Options& options, std::string directory, const Round& round) {
  const std::int64_t began = horus::now_ns();
  const Hub hub = Hub::shm("storm", horus::ShmOptions().with_directory(std::move(directory))).or_throw();
  auto out = hub.advertise<Introduction>("who");
  auto in = hub.subscribe<Introduction>("who");
  std::uint64_t heard = 0;
  bool told = false;
  while (!round.end.given(0)) {
    out.send({number});
    while (auto message = in.try_recv()) heard |= std::uint64_t{1} << (*message)->program;
    const auto peers = hub.connection_state().peers;
    const auto connected =
        std::count_if(peers.begin(), peers.end(), [](const auto& peer) { return peer.connected; });
    const bool met = heard == (std::uint64_t{1} << options.programs) - 1 &&
                     out.subscribers() == options.programs &&
                     connected == options.programs - 1;  // one session for each pair, although both looked
    if (met && !told) {
      const Met answer{number, horus::now_ns() - began};
      told = ::write(round.answers.ends[1], &answer, sizeof answer) == sizeof answer;
    }
    co_await horus::sleep(5ms);
  }
  if (told) co_return;
  std::string missing;
  for (std::uint32_t other = 0; other < options.programs; ++other) {
    if ((heard >> other & 1) == 0) missing += fmt::format(" {}", other);
  }
  for (const auto& peer : hub.connection_state().peers) {
    if (!peer.problem.empty()) missing += fmt::format("; {}: {}", peer.address, peer.problem);
  }
  fmt::print(stderr, "start_storm: program {} has not heard{}; {} subscribers\n", number, missing,
             out.subscribers());
}

[[noreturn]] void run_program(std::uint32_t number, const Options& options, const std::string& directory,
                              Round& round) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::close(round.start.ends[1]);
  ::close(round.end.ends[1]);
  if (options.namespaces) {
    if (::unshare(CLONE_NEWPID) != 0) ::_exit(1);
    const pid_t first = ::fork();
    if (first != 0) {
      int status = 0;
      ::waitpid(first, &status, 0);
      ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getpid() != 1) ::_exit(1);
  }
  while (!round.start.given(-1)) {
  }
  try {
    horus::io::run(take_part(number, options, directory, round));
  } catch (const std::exception& error) {
    fmt::print(stderr, "start_storm: program {}: {}\n", number, error.what());
    ::_exit(1);
  }
  ::_exit(0);
}

// How long the last one took.
std::int64_t storm(const Options& options, std::uint32_t number) {
  std::string directory = "/tmp/horus-storm-XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) fail(fmt::format("mkdtemp: {}", std::strerror(errno)));
  Round round;
  std::vector<pid_t> programs;
  for (std::uint32_t i = 0; i < options.programs; ++i) {
    const pid_t program = ::fork();
    if (program < 0) fail(fmt::format("fork: {}", std::strerror(errno)));
    if (program == 0) run_program(i, options, directory, round);
    programs.push_back(program);
  }
  round.start.give();
  std::int64_t slowest_ns = 0;
  std::uint32_t met = 0;
  const std::int64_t until = horus::now_ns() + kLimit.count();
  while (met < options.programs) {
    const std::int64_t left_ms = std::max<std::int64_t>((until - horus::now_ns()) / 1'000'000, 0);
    Met answer;
    if (!round.answers.given(static_cast<int>(left_ms)) ||
        ::read(round.answers.ends[0], &answer, sizeof answer) != sizeof answer)
      break;
    slowest_ns = std::max(slowest_ns, answer.after_ns);
    ++met;
  }
  round.end.give();
  int worst = 0;
  for (const pid_t program : programs) {
    int status = 0;
    ::waitpid(program, &status, 0);
    worst = std::max(worst, WIFEXITED(status) ? WEXITSTATUS(status) : 1);
  }
  std::filesystem::remove_all(directory);
  if (met < options.programs || worst != 0)
    fail(fmt::format("round {}: {} of {} programs met all others", number, met, options.programs));
  return slowest_ns;
}

bool may_make_namespaces() {
  const pid_t probe = ::fork();
  if (probe == 0) ::_exit(::unshare(CLONE_NEWPID) == 0 ? 0 : 1);
  int status = 0;
  return ::waitpid(probe, &status, 0) == probe && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::uint32_t number_of(std::string_view text, std::uint32_t most) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value == 0 || value > most)
    fail(fmt::format("usage: start_storm [PROGRAMS, up to {}] [ROUNDS] [--namespaces]", kMostPrograms));
  return value;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  int place = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--namespaces") {
      options.namespaces = true;
    } else if (place++ == 0) {
      options.programs = number_of(argument, kMostPrograms);
    } else {
      options.rounds = number_of(argument, 1'000'000);
    }
  }
  if (options.namespaces && !may_make_namespaces()) {
    fmt::print("a PID namespace may not be made here: nothing was tried\n");
    return kNotPermitted;
  }
  horus::set_log_level(horus::LogLevel::error);
  std::int64_t slowest_ns = 0;
  for (std::uint32_t round = 1; round <= options.rounds; ++round)
    slowest_ns = std::max(slowest_ns, storm(options, round));
  fmt::print("{} rounds of {} programs{}: all met; the slowest had met all others after {:.0f} ms\n",
             options.rounds, options.programs, options.namespaces ? ", each in a PID namespace" : "",
             static_cast<double>(slowest_ns) / 1e6);
}
