// SPDX-License-Identifier: Apache-2.0
// Descriptors that somebody closes without the reactor (another runtime in the process): their numbers come back.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/poll.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>

#include "../support/real_kernel.hpp"

using horus::Task;
using namespace horus::literals;

namespace {

struct Pair {
  Pair() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0); }
  int ends[2] = {-1, -1};
};

Task<> wait_for_bytes(int fd) {
  const short ready = (co_await horus::io::wait_readable(fd)).or_throw();
  CHECK((ready & POLLIN) != 0);
  char byte = 0;
  CHECK(::read(fd, &byte, 1) == 1);
}

Task<> wait_for_room(int fd) {
  const short ready = (co_await horus::io::wait_writable(fd)).or_throw();
  CHECK((ready & POLLOUT) != 0);
}

}  // namespace

TEST_CASE("a number that was closed elsewhere and came back is watched anew") {
  NEEDS_REAL_KERNEL("system calls past the reactor");
  horus::io::Reactor reactor;
  reactor.run([&]() -> Task<> {
    horus::Scope scope;
    int number = -1;
    for (int round = 0; round < 3; ++round) {
      const Pair pair;
      if (number >= 0) CHECK(pair.ends[0] == number);
      number = pair.ends[0];
      reactor.ring().may_be_another(number);
      auto waiting = scope.spawn(wait_for_bytes(number), "reader");
      co_await horus::sleep(1ms);  // it waits
      CHECK(::write(pair.ends[1], "x", 1) == 1);
      co_await waiting;
      ::close(pair.ends[0]);
      ::close(pair.ends[1]);
    }
    co_await scope.join();
  });
}

TEST_CASE("the hint takes nothing from those who wait on the number already") {
  NEEDS_REAL_KERNEL("system calls past the reactor");
  horus::io::Reactor reactor;
  reactor.run([&]() -> Task<> {
    const Pair pair;
    while (::write(pair.ends[0], "0123456789", 10) > 0) {
    }
    horus::Scope scope;
    auto reading = scope.spawn(wait_for_bytes(pair.ends[0]), "reader");
    co_await horus::sleep(1ms);
    reactor.ring().may_be_another(pair.ends[0]);
    auto writing = scope.spawn(wait_for_room(pair.ends[0]), "writer");
    co_await horus::sleep(1ms);
    CHECK(::write(pair.ends[1], "x", 1) == 1);
    co_await reading;
    char bytes[4096];
    while (::read(pair.ends[1], bytes, sizeof bytes) > 0) {
    }
    co_await writing;
    co_await scope.join();
    ::close(pair.ends[0]);
    ::close(pair.ends[1]);
  });
}
