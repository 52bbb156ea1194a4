// SPDX-License-Identifier: Apache-2.0
// A reactor inside somebody else's epoll loop: what wakes that loop, and what must not.
#include <array>
#include <cerrno>
#include <thread>
#include <vector>

#include <sys/epoll.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/io/event_fd.hpp>
#include <horus/io/poll.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/io/udp.hpp>
#include <horus/task/channel.hpp>

#include "../support/real_kernel.hpp"

using horus::Task;
using horus::io::Reactor;
using namespace horus::literals;

namespace {

constexpr int kPatience = 20'000;  // ms; a test that waits that long has failed

// The other loop. It knows nothing of Horus but a descriptor and run_once().
class HostLoop {
 public:
  explicit HostLoop(Reactor& reactor) : reactor_(reactor), set_(::epoll_create1(EPOLL_CLOEXEC)) {
    watch(reactor.poll_fd().or_throw());
  }
  ~HostLoop() { ::close(set_); }
  void watch(int fd) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    REQUIRE(::epoll_ctl(set_, EPOLL_CTL_ADD, fd, &event) == 0);
  }
  // Sleeps at most `timeout_ms`; false when nothing woke it.
  bool turn(int timeout_ms = kPatience) {
    epoll_event event{};
    int count = 0;
    do {
      count = ::epoll_wait(set_, &event, 1, timeout_ms);
    } while (count < 0 && errno == EINTR);
    if (count <= 0) return false;
    ++wake_ups;
    reactor_.run_once();
    return true;
  }
  template <class Done>
  void run_until(Done&& done) {
    while (!done()) REQUIRE(turn());
  }
  // Takes what is left from the start (a timer that is armed, a wake-up read) until the loop sleeps.
  void settle() {
    for (int i = 0; i < 10 && turn(0); ++i) {
    }
    wake_ups = 0;
  }
  int wake_ups = 0;

 private:
  Reactor& reactor_;
  int set_;
};

}  // namespace

TEST_CASE("an embedded reactor with nothing to do never wakes the other loop") {
  NEEDS_REAL_KERNEL("another loop");
  Reactor reactor;
  HostLoop loop(reactor);
  CHECK_FALSE(loop.turn(50));
}

TEST_CASE("a spawned task starts without a first call of run_once") {
  NEEDS_REAL_KERNEL("another loop");
  Reactor reactor;
  HostLoop loop(reactor);
  bool ran = false;
  auto body = [&]() -> Task<> {
    ran = true;
    co_return;
  };
  auto before = reactor.spawn(body());
  loop.run_until([&] { return before.done(); });
  CHECK(ran);
  loop.settle();
  CHECK_FALSE(loop.turn(20));
  // ... also while the other loop sleeps already.
  auto after = reactor.spawn(body());
  REQUIRE(loop.turn());
  CHECK(after.done());
  CHECK_FALSE(loop.turn(20));
}

TEST_CASE("a timer wakes the other loop once, not before its deadline") {
  NEEDS_REAL_KERNEL("another loop");
  Reactor reactor;
  HostLoop loop(reactor);
  std::int64_t early = 0;
  int expirations = 0;
  auto body = [&]() -> Task<> {
    std::int64_t deadline = horus::now_ns();
    for (; expirations < 20; ++expirations) {
      deadline += 3'000'000;
      co_await horus::sleep_until(horus::TimePoint(horus::Duration(deadline)));
      if (horus::now_ns() < deadline) ++early;
    }
  };
  auto ticking = reactor.spawn(body());
  REQUIRE(loop.turn());  // the start
  loop.wake_ups = 0;
  loop.run_until([&] { return ticking.done(); });
  CHECK(early == 0);
  CHECK(loop.wake_ups <= 20);  // fewer when this thread was held up
  CHECK_FALSE(loop.turn(20));
}

TEST_CASE("a cancelled timer does not wake the other loop later") {
  NEEDS_REAL_KERNEL("another loop");
  Reactor reactor;
  HostLoop loop(reactor);
  auto body = []() -> Task<> { co_await horus::sleep(30ms); };
  auto sleeping = reactor.spawn(body());
  loop.settle();
  sleeping.cancel();
  reactor.run_once();  // the other loop woke a coroutine itself
  CHECK(sleeping.done());
  CHECK(sleeping.state() == horus::TaskState::cancelled);
  CHECK_FALSE(loop.turn(60));
}

TEST_CASE("timers without duration take turns with the other loop and end") {
  NEEDS_REAL_KERNEL("another loop");
  Reactor reactor;
  HostLoop loop(reactor);
  auto body = []() -> Task<> {
    for (int i = 0; i < 100; ++i) co_await horus::sleep(0ms);
  };
  auto busy = reactor.spawn(body());
  loop.run_until([&] { return busy.done(); });
  CHECK(loop.wake_ups <= 110);
  loop.settle();
  CHECK_FALSE(loop.turn(20));
}

TEST_CASE("posts from another thread wake the other loop, and many of them at once few times") {
  NEEDS_REAL_KERNEL("another loop");
  constexpr int kPosts = 1000;
  Reactor reactor;
  HostLoop loop(reactor);
  loop.settle();
  int taken = 0;
  std::thread other([&] {
    for (int i = 0; i < kPosts; ++i) {
      while (!reactor.post([&] { ++taken; })) std::this_thread::yield();
    }
  });
  loop.run_until([&] { return taken == kPosts; });
  other.join();
  CHECK(loop.wake_ups <= kPosts + 1);
  loop.settle();
  CHECK_FALSE(loop.turn(20));
}

TEST_CASE("a post from the thread of the other loop wakes it too") {
  NEEDS_REAL_KERNEL("another loop");
  Reactor reactor;
  HostLoop loop(reactor);
  for (int i = 0; i < 3; ++i) {
    loop.settle();
    bool ran = false;
    REQUIRE(reactor.post([&] { ran = true; }));
    REQUIRE(loop.turn());
    if (!ran) REQUIRE(loop.turn());
    CHECK(ran);
  }
}

TEST_CASE("an eventfd that is set again and again wakes the other loop each time") {
  NEEDS_REAL_KERNEL("another loop");
  Reactor reactor;
  HostLoop loop(reactor);
  horus::io::EventFd event;
  std::uint64_t seen = 0;
  auto wait = [&]() -> Task<> {
    while (true) {
      auto count = co_await event.wait();
      if (!count) co_return;
      seen += *count;
    }
  };
  auto waiting = reactor.spawn(wait());
  loop.settle();
  for (std::uint64_t i = 1; i <= 3; ++i) {
    event.set();
    loop.run_until([&] { return seen == i; });
  }
  waiting.cancel();
  reactor.run_once();
  loop.run_until([&] { return waiting.done(); });
}

TEST_CASE("a datagram wakes the other loop once and its receiver runs in the same turn") {
  NEEDS_REAL_KERNEL("another loop");
  Reactor reactor;
  HostLoop loop(reactor);
  auto socket = horus::io::UdpSocket::bind("127.0.0.1:0").or_throw();
  const auto address = socket.local_address().or_throw();
  auto sender = horus::io::UdpSocket::bind("127.0.0.1:0").or_throw();
  int received = 0;
  auto receive = [&]() -> Task<> {
    std::array<std::byte, 64> buffer;
    while (true) {
      auto datagram = co_await socket.recv_from(buffer);
      if (!datagram) co_return;
      ++received;
    }
  };
  auto receiving = reactor.spawn(receive());
  loop.settle();
  for (int i = 1; i <= 5; ++i) {
    // From outside the reactor: a plain send of the host.
    REQUIRE(::sendto(sender.fd(), "x", 1, 0, address.data(), address.size()) == 1);
    REQUIRE(loop.turn());
    CHECK(received == i);
    CHECK(loop.wake_ups == i);
    CHECK_FALSE(loop.turn(0));
  }
  receiving.cancel();
  reactor.run_once();
  loop.run_until([&] { return receiving.done(); });
}

TEST_CASE("a socket that the other loop's code destroys is closed without further help") {
  NEEDS_REAL_KERNEL("another loop");
  Reactor reactor;
  HostLoop loop(reactor);
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  horus::io::Descriptor reader(ends[0]);
  auto wait = [&]() -> Task<int> {
    auto ready = co_await horus::io::wait_readable(ends[0]);
    co_return ready.code();
  };
  auto waiting = reactor.spawn(wait());
  loop.settle();
  reader.reset();
  loop.run_until([&] { return waiting.done(); });
  CHECK(waiting.take() == ECANCELED);
  loop.settle();
  CHECK(::write(ends[1], "x", 1) == -1);  // EPIPE: the reading end is closed
  ::close(ends[1]);
}

TEST_CASE("the reactor asks what was spawned to stop when it dies, and waits for it") {
  bool stopped = false;
  auto body = [&]() -> Task<> {
    try {
      co_await horus::sleep(1h);
    } catch (const horus::Error&) {
      stopped = true;
      throw;
    }
  };
  {
    Reactor reactor;
    static_cast<void>(reactor.spawn(body()));
    reactor.run_once();
    CHECK_FALSE(stopped);
  }
  CHECK(stopped);
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a spawned task that fails without a handle is one line in the log and disturbs no other") {
  std::vector<std::string> lines;
  auto previous =
      horus::set_log_sink([&](horus::LogLevel, std::string_view line) { lines.emplace_back(line); });
  {
    Reactor reactor;
    auto throws = []() -> Task<> {
      throw horus::Error(ENODEV, "open", "/dev/lidar");
      co_return;
    };
    auto fails = []() -> Task<horus::Result<>> {
      co_return horus::Error(ECONNRESET, "read", "127.0.0.1:9000");
    };
    auto works = []() -> Task<int> {
      co_await horus::sleep(1ms);
      co_return 7;
    };
    static_cast<void>(reactor.spawn(throws(), "lidar"));
    static_cast<void>(reactor.spawn(fails(), "client"));
    auto other = reactor.spawn(works());
    while (!other.done()) reactor.run_once(1s);
    CHECK(other.take() == 7);
  }
  horus::set_log_sink(std::move(previous));
  CHECK(lines == std::vector<std::string>{"lidar: open /dev/lidar: no such device",
                                          "client: read 127.0.0.1:9000: connection reset by peer"});
}

TEST_CASE("a reactor serves a blocking run and another loop in turn") {
  NEEDS_REAL_KERNEL("another loop");
  Reactor reactor;
  HostLoop loop(reactor);
  auto nap = []() -> Task<> { co_await horus::sleep(2ms); };
  for (int i = 0; i < 3; ++i) {
    reactor.run(nap());
    auto embedded = reactor.spawn(nap());
    loop.run_until([&] { return embedded.done(); });
  }
  loop.settle();
  CHECK_FALSE(loop.turn(20));
}
