// SPDX-License-Identifier: Apache-2.0
// How reactors end, are replaced and forked; deadlines at the ends of time; what stands in the way of an end.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/io/offload.hpp>
#include <horus/io/poll.hpp>
#include <horus/io/seam/forwarding.hpp>
#include <horus/io/time.hpp>
#include <horus/io/unix.hpp>
#include <horus/task/scope.hpp>

#include "../support/real_kernel.hpp"

using horus::Duration;
using horus::Task;
using horus::TimePoint;
using horus::io::Reactor;
using horus::io::ReactorConfig;
using namespace horus::literals;

namespace {

Task<> forever() {
  while (true) co_await horus::sleep(std::chrono::hours(1));
}
Task<> wait_on(int fd) { static_cast<void>(co_await horus::io::wait_readable(fd)); }

Task<> nap() { co_await horus::sleep(1ms); }

}  // namespace

TEST_CASE("a deadline before the machine's boot is due at once") {
  horus::io::run([]() -> Task<> {
    co_await horus::sleep_until(TimePoint(Duration(-1)));
    co_await horus::sleep(1ms);
    co_await horus::sleep_until(TimePoint(Duration(-1)));
    co_await horus::sleep_until(TimePoint(Duration(std::numeric_limits<std::int64_t>::min())));
    co_await horus::sleep(Duration(std::numeric_limits<std::int64_t>::min()));
    co_await horus::sleep_until(TimePoint(Duration(0)));
    co_await horus::sleep(1ms);  // and the clock is none the worse for it
  });
}

TEST_CASE("a deadline beyond the clock never comes, and keeps nobody else waiting") {
  horus::io::run([]() -> Task<> {
    constexpr auto kYear = std::chrono::hours(24 * 365);
    horus::Interval ages(kYear * 200);
    for (int i = 0; i < 3; ++i) {
      auto wait = [&]() -> Task<> { co_await ages.next(); };
      auto late = co_await horus::with_timeout(2ms, wait());
      CHECK(late.code() == ETIMEDOUT);
    }
    auto sleeping = [&]() -> Task<> { co_await horus::sleep(Duration::max()); };
    auto late = co_await horus::with_timeout(2ms, sleeping());
    CHECK(late.code() == ETIMEDOUT);
  });
}

TEST_CASE("a reactor that is replaced through its pointer leaves the thread to its successor") {
  auto reactor = std::make_unique<Reactor>();
  reactor->run(nap());
  reactor = std::make_unique<Reactor>();  // the new one is made before the old one ends
  CHECK(Reactor::current() == reactor.get());
  reactor->run(nap());
  static_cast<void>(reactor->spawn(forever()));
  reactor = std::make_unique<Reactor>();
  reactor->run(nap());
  reactor.reset();
  CHECK(Reactor::current() == nullptr);
}

TEST_CASE("a forked child may return past its parent's reactor") {
  NEEDS_REAL_KERNEL("fork");
  pid_t child = -1;
  {
    Reactor reactor;
    static_cast<void>(reactor.spawn(forever()));
    reactor.run(nap());
    child = ::fork();
    REQUIRE(child >= 0);
  }
  if (child == 0) ::_exit(3);
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 3);
}

TEST_CASE("operations beyond max_in_flight wait for one to end, and can be cancelled meanwhile") {
  ReactorConfig config;
  config.max_in_flight = 2;
  Reactor reactor(config);
  reactor.run([&]() -> Task<> {
    auto [near, far] = horus::io::UnixStream::pair().or_throw();
    auto [other, its_peer] = horus::io::UnixStream::pair().or_throw();
    horus::Scope scope;
    for (int i = 0; i < 4; ++i) scope.spawn(wait_on(near.fd()));
    co_await horus::sleep(1ms);
    CHECK(reactor.statistics().queued > 0);
    auto late = co_await horus::with_timeout(2ms, wait_on(other.fd()));  // queued; timers go on
    CHECK(late.ok());                                                    // it was told, and ended
    bool posted = false;
    CHECK(reactor.post([&posted] { posted = true; }));  // so do posts
    co_await horus::sleep(1ms);
    CHECK(posted);
    scope.cancel();
    co_await scope.join();
    auto written = co_await far.write_all(std::string("x"));  // there is room again
    CHECK(written.ok());
  });
}

TEST_CASE("a call that hangs on another thread does not hold up the reactor's end") {
  NEEDS_REAL_KERNEL("threads");
  static std::atomic<bool> go_on{false};
  horus::io::ThreadPool pool("hangs", 1, 4);
  const auto start = std::chrono::steady_clock::now();
  {
    ReactorConfig config;
    config.drain_limit = 50ms;
    Reactor reactor(config);
    static_cast<void>(reactor.spawn([&]() -> Task<> {
      auto hanging = horus::io::offload_on(pool, [] {
        while (!go_on) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      });
      static_cast<void>(co_await hanging);
    }));
    reactor.run(nap());
  }
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(2));
  go_on = true;  // it comes back to what is left of its reactor
}

namespace {

// The kernel has no memory, for as long as it is told so.
class Refuses final : public horus::io::ForwardingRing {
 public:
  Refuses(std::shared_ptr<horus::io::Ring> real, const bool& refuse, int code) noexcept
      : ForwardingRing(std::move(real)), refuse_(refuse), code_(code) {}
  int enter(std::uint32_t to_submit, std::uint32_t min_complete, std::int64_t deadline_ns) noexcept override {
    if (refuse_) {
      ++refusals;
      return -code_;
    }
    return ForwardingRing::enter(to_submit, min_complete, deadline_ns);
  }
  int refusals = 0;

 private:
  const bool& refuse_;
  int code_;
};

}  // namespace

TEST_CASE("an enter that goes on failing neither stops the timers nor burns the processor") {
  NEEDS_REAL_KERNEL("the loop rests by the kernel's clock");
  int code = EAGAIN;
  SUBCASE("EAGAIN") { code = EAGAIN; }
  SUBCASE("EBUSY") { code = EBUSY; }
  SUBCASE("ENOMEM") { code = ENOMEM; }
  bool refuse = false;
  horus::io::Backend backend = horus::io::make_epoll_backend(ReactorConfig()).or_throw();
  const auto refusing_ring = std::make_shared<Refuses>(backend.ring, refuse, code);
  backend.ring = refusing_ring;
  Refuses& refusing = *refusing_ring;
  Reactor reactor(std::move(backend), ReactorConfig());
  reactor.run([&]() -> Task<> {
    co_await horus::sleep(1ms);
    refuse = true;
    for (int i = 0; i < 10; ++i) co_await horus::sleep(5ms);
    refuse = false;
    CHECK(refusing.refusals < 500);
    co_await horus::sleep(1ms);
  });
}

TEST_CASE("in a time namespace timers keep the time that the process reads") {
  NEEDS_REAL_KERNEL("time namespaces");
  if (std::getenv("HORUS_IN_TIME_NAMESPACE") == nullptr) {
    const std::string again = "HORUS_IN_TIME_NAMESPACE=1 unshare -T --monotonic 86400 /proc/" +
                              std::to_string(::getpid()) + "/exe -tc='in a time namespace*' >/dev/null 2>&1";
    if (std::system("unshare -T --monotonic 86400 true >/dev/null 2>&1") != 0) {
      MESSAGE("left out: no time namespaces here");
      return;
    }
    CHECK(std::system(again.c_str()) == 0);
    return;
  }
  ::alarm(20);
  horus::io::run([]() -> Task<> {
    const std::int64_t start = horus::now_ns();
    for (int i = 0; i < 3; ++i) co_await horus::sleep(2ms);
    CHECK(horus::now_ns() - start >= 6'000'000);
  });
}

TEST_CASE("an exception that passes a scope with running tasks is what its caller sees") {
  Reactor reactor;
  bool ended = false;
  try {
    reactor.run([&]() -> Task<> {
      std::string used_by_the_task = "as it was";
      horus::Scope scope;
      scope.spawn([&]() -> Task<> {
        try {
          co_await horus::sleep(std::chrono::hours(1));
        } catch (const horus::Error&) {
          ended = used_by_the_task == "as it was";
          throw;
        }
      });
      co_await horus::sleep(1ms);
      throw horus::Error(EMFILE, "open", "a camera");
    });
    FAIL("no exception");
  } catch (const horus::Error& error) {
    CHECK(error.code() == EMFILE);
  }
  CHECK(ended);
}
