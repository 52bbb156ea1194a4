// SPDX-License-Identifier: Apache-2.0
// What a close ends, what it leaves alone, and how long it holds the loop up.
#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/chunk_stream.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/io/loop/closer.hpp>
#include <horus/io/pipe.hpp>
#include <horus/io/poll.hpp>
#include <horus/io/tcp.hpp>
#include <horus/io/time.hpp>
#include <horus/io/unix.hpp>
#include <horus/task/scope.hpp>

#include "../support/real_kernel.hpp"

using horus::Task;
using horus::io::Closer;
using horus::io::Descriptor;
using horus::io::Reactor;
using horus::io::UnixStream;
using namespace horus::literals;

namespace {

Task<> read_into(UnixStream& stream, std::string& how) {
  auto line = co_await stream.read_line();
  how = line ? *line : line.error().cancelled() ? "cancelled" : line.error().message();
}

Task<> wait_on(int fd, std::string& how) {
  auto ready = co_await horus::io::wait_readable(fd);
  how = ready ? "ready" : ready.error().cancelled() ? "cancelled" : ready.error().message();
}

Task<> some_turns() {
  for (int i = 0; i < 4; ++i) co_await horus::sleep(1ms);
}

bool is_open(int fd) { return Reactor::current()->system().status_flags(fd) >= 0; }

Descriptor copy_of(int fd) { return Descriptor(Reactor::current()->system().duplicate(fd)); }

}  // namespace

TEST_CASE("closing a copy of a descriptor leaves what waits on the original alone") {
  Reactor reactor;
  reactor.run([]() -> Task<> {
    auto [near, far] = UnixStream::pair().or_throw();
    horus::Scope scope;
    std::string how = "waits";
    scope.spawn(read_into(near, how));
    co_await some_turns();
    SUBCASE("dropped") { const Descriptor copy = copy_of(near.fd()); }
    SUBCASE("closed by a task") {
      auto closed = co_await horus::io::close(copy_of(near.fd()));
      CHECK(closed.ok());
    }
    SUBCASE("while something waits on the copy") {
      Descriptor copy = copy_of(near.fd());
      std::string other = "waits";
      auto waiting = scope.spawn(wait_on(copy.get(), other));
      co_await some_turns();
      copy.reset();
      co_await waiting;
      CHECK(other == "cancelled");
    }
    co_await some_turns();
    CHECK(how == "waits");
    auto written = co_await far.write_all(std::string("hello\n"));
    CHECK(written.ok());
    co_await scope.join();
    CHECK(how == "hello");
  });
}

TEST_CASE("a close ends everything that names the number, a queue of operations too") {
  horus::io::ReactorConfig config;
  SUBCASE("in flight") {}
  SUBCASE("some still queued") { config.max_in_flight = 3; }
  Reactor reactor(config);
  reactor.run([]() -> Task<> {
    auto [near, far] = UnixStream::pair().or_throw();
    Descriptor copy = copy_of(near.fd());
    horus::Scope scope;
    std::array<std::string, 6> how;
    for (std::string& one : how) scope.spawn(wait_on(copy.get(), one));
    co_await some_turns();
    const int number = copy.get();
    copy.reset();
    co_await scope.join();
    for (const std::string& one : how) CHECK(one == "cancelled");
    CHECK_FALSE(is_open(number));
    CHECK(is_open(near.fd()));
  });
}

TEST_CASE("a close with nothing in flight happens on the spot, without an operation or a turn") {
  Reactor reactor;
  reactor.run([&]() -> Task<> {
    auto [near, far] = UnixStream::pair().or_throw();
    co_await some_turns();
    const horus::io::Statistics before = reactor.statistics();
    const int number = near.fd();
    auto closed = co_await near.close();
    CHECK(closed.ok());
    CHECK_FALSE(is_open(number));
    const int other = far.fd();
    {
      const UnixStream dropped = std::move(far);
    }
    CHECK_FALSE(is_open(other));
    CHECK(reactor.statistics().operations == before.operations);
    CHECK(reactor.statistics().enters == before.enters);
  });
}

TEST_CASE("a number that comes back has nothing to do with what named it before") {
  Reactor reactor;
  reactor.run([]() -> Task<> {
    horus::Scope scope;
    std::array<std::string, 50> how;
    std::string last = "waits";
    int number = -1;
    auto [near, far] = UnixStream::pair().or_throw();
    for (std::string& one : how) {
      Descriptor copy = copy_of(near.fd());
      if (number >= 0) CHECK(copy.get() == number);
      number = copy.get();
      scope.spawn(wait_on(number, one));
      co_await horus::sleep(1ms);
      copy.reset();
      co_await horus::sleep(1ms);
    }
    const Descriptor copy = copy_of(near.fd());
    scope.spawn(wait_on(copy.get(), last));
    co_await some_turns();
    for (const std::string& one : how) CHECK(one == "cancelled");
    CHECK(last == "waits");
    auto written = co_await far.write_all(std::string("x"));
    CHECK(written.ok());
    co_await scope.join();
    CHECK(last == "ready");
  });
}

TEST_CASE("cancel_on ends what names the number, counts it, and leaves the number open") {
  Reactor reactor;
  reactor.run([&]() -> Task<> {
    auto [near, far] = UnixStream::pair().or_throw();
    const Descriptor copy = copy_of(near.fd());
    horus::Scope scope;
    std::string first = "waits", second = "waits", third = "waits";
    scope.spawn(wait_on(copy.get(), first));
    scope.spawn(wait_on(copy.get(), second));
    auto other = scope.spawn(wait_on(near.fd(), third));
    co_await some_turns();
    CHECK(reactor.names(copy.get()));
    CHECK(reactor.cancel_on(copy.get()) == 2);
    CHECK(reactor.cancel_on(copy.get()) == 0);
    CHECK_FALSE(reactor.names(copy.get()));
    co_await some_turns();
    CHECK(first == "cancelled");
    CHECK(second == "cancelled");
    CHECK(third == "waits");
    CHECK(is_open(copy.get()));
    other.cancel();
    co_await scope.join();
  });
}

TEST_CASE("a number that no descriptor has is refused and costs no memory") {
  Reactor reactor;
  reactor.run([&]() -> Task<> {
    auto ready = co_await horus::io::wait_readable(2'000'000'000);
    CHECK(ready.code() == EBADF);
    CHECK(reactor.cancel_on(2'000'000'000) == 0);
    CHECK_FALSE(reactor.names(2'000'000'000));
  });
}

TEST_CASE("thousands of descriptors dropped at once are closed over many turns") {
  constexpr int kMany = 1000;
  bool waits = false;
  SUBCASE("idle") {}
  SUBCASE("something waits on each") { waits = true; }
  Reactor reactor;
  reactor.run([&]() -> Task<> {
    auto [near, far] = UnixStream::pair().or_throw();
    horus::Scope scope;
    std::vector<Descriptor> copies;
    std::vector<std::string> how(kMany, "waits");
    for (int i = 0; i < kMany; ++i) {
      copies.push_back(copy_of(near.fd()));
      if (waits) scope.spawn(wait_on(copies.back().get(), how[static_cast<std::size_t>(i)]));
    }
    std::vector<int> numbers;
    for (const Descriptor& copy : copies) numbers.push_back(copy.get());
    co_await some_turns();
    const auto open_now = [&] { return std::count_if(numbers.begin(), numbers.end(), is_open); };
    copies.clear();
    auto open = open_now();
    CHECK(open >= kMany - static_cast<int>(Closer::kPerTurn));
    while (open > 0) {
      co_await horus::sleep(0ms);
      const auto still = open_now();
      CHECK(open - still <= 3 * static_cast<int>(Closer::kPerTurn));
      open = still;
    }
    co_await scope.join();
    if (waits) CHECK(std::count(how.begin(), how.end(), "cancelled") == kMany);
  });
}

TEST_CASE("the reactor's end closes what was dropped before") {
  std::vector<int> numbers;
  {
    Reactor reactor;
    reactor.run([&]() -> Task<> {
      auto [near, far] = UnixStream::pair().or_throw();
      std::vector<Descriptor> copies;
      for (int i = 0; i < 500; ++i) copies.push_back(copy_of(near.fd()));
      for (const Descriptor& copy : copies) numbers.push_back(copy.get());
      co_return;
    });
  }
  Reactor reactor;
  CHECK(std::count_if(numbers.begin(), numbers.end(), is_open) <= 8);  // the new reactor's own, at most
}

TEST_CASE("a socket that lingers is closed away from the loop, and its closer may stop waiting") {
  NEEDS_REAL_KERNEL("SO_LINGER");
  Reactor reactor;
  reactor.run([]() -> Task<> {
    auto listener = horus::io::TcpListener::listen("127.0.0.1:0").or_throw();
    auto connecting = horus::io::TcpStream::connect(listener.local_address());
    auto near = (co_await connecting).or_throw();
    auto accepting = listener.accept();
    auto far = (co_await accepting).or_throw();
    const linger lingering{1, 30};
    REQUIRE(::setsockopt(near.fd(), SOL_SOCKET, SO_LINGER, &lingering, sizeof lingering) == 0);
    const std::string much(std::size_t{8} << 20, 'x');
    while (::send(near.fd(), much.data(), much.size(), MSG_DONTWAIT) > 0) {
    }
    const std::int64_t start = horus::now_ns();
    SUBCASE("waited for") {
      auto closed = co_await horus::with_timeout(20ms, near.close());
      CHECK(closed.code() == ETIMEDOUT);
    }
    SUBCASE("dropped") { const horus::io::TcpStream dropped = std::move(near); }
    CHECK(horus::now_ns() - start < horus::Duration(5s).count());
    auto ended = co_await far.close();  // with bytes unread: a reset, and the close in its room ends
    CHECK(ended.ok());
  });
}
