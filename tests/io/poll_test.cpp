// SPDX-License-Identifier: Apache-2.0
#include <horus/io/poll.hpp>

#include <utility>

#include <doctest/doctest.h>

#include <horus/io/descriptor.hpp>
#include <horus/io/file.hpp>
#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>

#include "../support/through_backend.hpp"

using horus::Result;
using horus::Task;
using namespace horus::literals;
namespace io = horus::io;
namespace testing = horus::testing;

namespace {

Task<Result<short>> readable(int fd) {
  auto events = co_await io::wait_readable(fd);
  co_return events;
}

}  // namespace

TEST_CASE("waiting for a readable pipe ends when a byte arrives, and again while it lies there") {
  auto body = []() -> Task<> {
    const auto ends = testing::pipe_ends();
    horus::Scope scope;
    auto waiting = scope.spawn(readable(ends.first.get()));
    co_await horus::sleep(1ms);
    CHECK_FALSE(waiting.done());
    co_await testing::put(ends.second.get(), "x");
    auto first = co_await waiting;
    REQUIRE(first.ok());
    CHECK((*first & POLLIN) != 0);
    auto second = co_await io::wait_readable(ends.first.get());
    CHECK(second.ok());
    co_await scope.join();
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("an empty pipe is writable and not readable") {
  auto body = []() -> Task<> {
    const auto ends = testing::pipe_ends();
    auto writable = co_await io::wait_writable(ends.second.get());
    REQUIRE(writable.ok());
    CHECK((*writable & POLLOUT) != 0);
    auto late = co_await horus::with_timeout(1ms, readable(ends.first.get()));
    CHECK(late.code() == ETIMEDOUT);
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a closed peer shows as a hang-up to the reader and an error to the writer") {
  auto body = []() -> Task<> {
    auto ends = testing::pipe_ends();
    auto closing = io::close(std::move(ends.second));
    auto closed = co_await closing;
    CHECK(closed.ok());
    auto hung_up = co_await io::wait_readable(ends.first.get());
    REQUIRE(hung_up.ok());
    CHECK((*hung_up & POLLHUP) != 0);

    auto pair = testing::socket_pair();
    auto leaving = io::close(std::move(pair.second));
    auto left = co_await leaving;
    CHECK(left.ok());
    auto gone = co_await io::wait_writable(pair.first.get());
    REQUIRE(gone.ok());
    CHECK((*gone & POLLHUP) != 0);
  };
  io::run(body());
}

TEST_CASE("readable and writable waits for one descriptor do not disturb each other") {
  auto body = []() -> Task<> {
    const auto pair = testing::socket_pair();
    horus::Scope scope;
    auto reading = scope.spawn(readable(pair.first.get()));
    auto writable = co_await io::wait_writable(pair.first.get());
    CHECK(writable.ok());
    CHECK_FALSE(reading.done());
    co_await testing::put(pair.second.get(), "x");
    auto read = co_await reading;
    CHECK(read.ok());
    co_await scope.join();
  };
  io::run(body());
}

TEST_CASE("a regular file is always ready") {
  const testing::Folder folder;
  auto body = [&]() -> Task<> {
    auto creating = io::File::create(folder / "f");
    auto file = (co_await creating).or_throw();
    auto ready = co_await io::wait_readable(file.fd());
    CHECK(ready.ok());
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
    auto ends = testing::pipe_ends();
    horus::Scope scope;
    auto waiting = scope.spawn(readable(ends.first.get()));
    co_await horus::sleep(1ms);
    const int other = testing::system().duplicate(ends.second.get());
    auto task = io::close(io::Descriptor(other));  // another number: nothing happens
    auto closed = co_await task;
    CHECK(closed.ok());
    CHECK_FALSE(waiting.done());
    auto closing = io::close(std::move(ends.first));
    auto gone = co_await closing;
    CHECK(gone.ok());
    auto ended = co_await waiting;
    CHECK(ended.code() == ECANCELED);
    co_await scope.join();
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}
