// SPDX-License-Identifier: Apache-2.0
#include <horus/io/poll.hpp>

#include <utility>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/descriptor.hpp>
#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>

using horus::Result;
using horus::Task;
using namespace horus::literals;
namespace io = horus::io;

namespace {

struct Ends {
  int read = -1;
  int write = -1;
  Ends() { REQUIRE(::pipe2(&read, O_CLOEXEC) == 0); }
  Ends(const Ends&) = delete;
  Ends& operator=(const Ends&) = delete;
  ~Ends() {
    ::close(read);
    if (write >= 0) ::close(write);
  }
};

Task<Result<short>> readable(int fd) {
  auto events = co_await io::wait_readable(fd);
  co_return events;
}

}  // namespace

TEST_CASE("waiting for a readable pipe ends when a byte arrives, and again while it lies there") {
  auto body = []() -> Task<> {
    const Ends ends;
    horus::Scope scope;
    auto waiting = scope.spawn(readable(ends.read));
    co_await horus::sleep(1ms);
    CHECK_FALSE(waiting.done());
    REQUIRE(::write(ends.write, "x", 1) == 1);
    auto first = co_await waiting;
    REQUIRE(first.ok());
    CHECK((*first & POLLIN) != 0);
    auto second = co_await io::wait_readable(ends.read);
    CHECK(second.ok());
    co_await scope.join();
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("an empty pipe is writable and not readable") {
  auto body = []() -> Task<> {
    const Ends ends;
    auto writable = co_await io::wait_writable(ends.write);
    REQUIRE(writable.ok());
    CHECK((*writable & POLLOUT) != 0);
    auto late = co_await horus::with_timeout(1ms, readable(ends.read));
    CHECK(late.code() == ETIMEDOUT);
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a closed peer shows as a hang-up to the reader and an error to the writer") {
  auto body = []() -> Task<> {
    Ends ends;
    ::close(ends.write);
    ends.write = -1;
    auto hung_up = co_await io::wait_readable(ends.read);
    REQUIRE(hung_up.ok());
    CHECK((*hung_up & POLLHUP) != 0);

    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    ::close(pair[1]);
    auto gone = co_await io::wait_writable(pair[0]);
    REQUIRE(gone.ok());
    CHECK((*gone & POLLHUP) != 0);
    ::close(pair[0]);
  };
  io::run(body());
}

TEST_CASE("readable and writable waits for one descriptor do not disturb each other") {
  auto body = []() -> Task<> {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    horus::Scope scope;
    auto reading = scope.spawn(readable(pair[0]));
    auto writable = co_await io::wait_writable(pair[0]);
    CHECK(writable.ok());
    CHECK_FALSE(reading.done());
    REQUIRE(::write(pair[1], "x", 1) == 1);
    auto read = co_await reading;
    CHECK(read.ok());
    co_await scope.join();
    ::close(pair[0]);
    ::close(pair[1]);
  };
  io::run(body());
}

TEST_CASE("a regular file is always ready") {
  auto body = []() -> Task<> {
    const int fd = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    auto ready = co_await io::wait_readable(fd);
    CHECK(ready.ok());
    ::close(fd);
  };
  io::run(body());
}

TEST_CASE("a descriptor that is not open is an error that names it") {
  auto body = []() -> Task<> {
    auto refused = co_await io::wait_readable(987'654);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.code() == EBADF);
    CHECK(refused.error().target() == "fd 987654");
  };
  io::run(body());
}

TEST_CASE("closing a descriptor ends the wait for it with ECANCELED") {
  auto body = []() -> Task<> {
    Ends ends;
    horus::Scope scope;
    auto waiting = scope.spawn(readable(ends.read));
    co_await horus::sleep(1ms);
    auto task = io::close(io::Descriptor(::dup(ends.write)));  // another number: nothing happens
    auto closed = co_await task;
    CHECK(closed.ok());
    CHECK_FALSE(waiting.done());
    io::Descriptor doomed(std::exchange(ends.read, -1));
    auto closing = io::close(std::move(doomed));
    auto gone = co_await closing;
    CHECK(gone.ok());
    auto ended = co_await waiting;
    CHECK(ended.code() == ECANCELED);
    co_await scope.join();
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}
