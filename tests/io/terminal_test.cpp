// SPDX-License-Identifier: Apache-2.0
// Terminals that nobody reads: a stopped ssh session, Ctrl-S, a frozen tmux.
#include <array>
#include <cerrno>
#include <string>
#include <utility>

#include <fcntl.h>
#include <pty.h>
#include <termios.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/io/byte_stream.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>

#include "../support/real_kernel.hpp"

namespace {

using namespace std::chrono_literals;
using horus::Task;
using horus::io::ByteStream;
using horus::io::Descriptor;
using horus::io::Ownership;

struct Terminal {
  int master = -1;
  int slave = -1;
  Terminal() {
    REQUIRE(::openpty(&master, &slave, nullptr, nullptr, nullptr) == 0);
    ::fcntl(master, F_SETFL, O_NONBLOCK);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() {
    ::close(master);
    ::close(slave);
  }
  [[nodiscard]] std::string read_some() const {
    std::array<char, 4096> buffer;
    const ssize_t got = ::read(master, buffer.data(), buffer.size());
    return std::string(buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  }
  [[nodiscard]] ByteStream stream() const {
    return ByteStream(Descriptor(::fcntl(slave, F_DUPFD_CLOEXEC, 3)), "terminal", Ownership::shared);
  }
};

Task<> count_ticks(int& ticks) {
  while (true) {
    co_await horus::sleep(2ms);
    ++ticks;
  }
}

// Frames as a live view draws them: line ends at every place, so that some meet a terminal with room for one byte.
std::string frames() {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += fmt::format("{}\r\n{:{}}\n", i, "\x1b[K", 5 + i * 7 % 61);
  return text;
}

}  // namespace

TEST_CASE(
    "a terminal that nobody reads keeps who writes to it, and nobody else; read at last, it gets "
    "everything") {
  NEEDS_REAL_KERNEL("terminals");
  const Terminal terminal;
  horus::io::run([&]() -> Task<> {
    const ByteStream out = terminal.stream();
    horus::Scope scope("beside", horus::Failures::log);
    int ticks = 0;
    static_cast<void>(scope.spawn(count_ticks(ticks), "ticks"));
    const std::string text = frames();
    auto writing = scope.spawn(out.write_all(text), "writing");
    co_await horus::sleep(100ms);
    CHECK_FALSE(writing.done());
    CHECK(ticks > 20);
    const auto before = horus::io::Reactor::current()->statistics().operations;
    co_await horus::sleep(200ms);
    CHECK(horus::io::Reactor::current()->statistics().operations - before < 200);  // it rests
    std::size_t seen = 0;
    for (int empty = 0; empty < 1000 && (!writing.done() || empty < 3);) {
      const std::string some = terminal.read_some();
      seen += some.size();
      empty = some.empty() ? empty + 1 : 0;
      if (some.empty()) co_await horus::sleep(2ms);
    }
    REQUIRE(writing.done());
    const auto written = writing.take();
    CHECK(written.ok());
    CHECK(seen >= text.size());  // a line's end is two bytes there
    scope.cancel();
    co_await scope.join();
  });
}

TEST_CASE(
    "a write to a terminal that nobody reads can be limited in time, and says how much it has written") {
  NEEDS_REAL_KERNEL("terminals");
  const Terminal terminal;
  horus::io::run([&]() -> Task<> {
    const ByteStream out = terminal.stream();
    auto writing = out.write_all(std::string(100'000, 'x'));
    auto limited = horus::with_timeout(50ms, std::move(writing));
    const auto written = co_await limited;
    CHECK(written.code() == ETIMEDOUT);
  });
}

TEST_CASE(
    "the flags of a terminal are its other users', and stay as they are; released, it is the one that was "
    "given") {
  NEEDS_REAL_KERNEL("terminals");
  const Terminal terminal;
  horus::io::run([&]() -> Task<> {
    const int given = ::fcntl(terminal.slave, F_DUPFD_CLOEXEC, 3);
    ByteStream out(Descriptor(given), "terminal", Ownership::shared);
    auto writing = out.write_all("hello\n");
    const auto written = co_await writing;
    CHECK(written.ok());
    CHECK((::fcntl(terminal.slave, F_GETFL) & O_NONBLOCK) == 0);
    const Descriptor back = out.release();
    CHECK(back.get() == given);
  });
}

TEST_CASE("a terminal is read line by line") {
  NEEDS_REAL_KERNEL("terminals");
  const Terminal terminal;
  horus::io::run([&]() -> Task<> {
    const ByteStream in = terminal.stream();
    horus::Scope scope("beside", horus::Failures::log);
    auto reading = scope.spawn(in.read_line(), "reading");
    co_await horus::sleep(5ms);
    CHECK_FALSE(reading.done());
    CHECK(::write(terminal.master, "go\n", 3) == 3);
    auto line = co_await reading;
    CHECK(std::move(line).value_or("nothing") == "go");
    co_await scope.join();
  });
}
