// SPDX-License-Identifier: Apache-2.0
// Publishers in another time namespace, whose monotonic clock is another.
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/link/clock_offset.hpp>

#include "../support/eventually.hpp"

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::Task;
using horus::msg::clock_shift;
using horus::msg::kUnknownOffset;
using horus::msg::parse_clock_offset;
using horus::msg::shifted;
using horus::testing::eventually;

constexpr auto kPlace = "HORUS_PUBLISHES_AT";  // an address, or a directory

struct Beat {
  std::int64_t number = 0;
};

Hub hub_at(const std::string& place, horus::TcpRole role) {
  if (place.front() == '/') return Hub::shm("robot", horus::ShmOptions().with_directory(place)).or_throw();
  return Hub::tcp(place, "robot", horus::TcpHubOptions().with_role(role)).or_throw();
}

// This program again, as a publisher whose clock is `seconds` ahead.
class Elsewhere {
 public:
  Elsewhere(const std::string& place, const std::string& seconds) {
    const std::string self = "/proc/" + std::to_string(::getpid()) + "/exe";
    child_ = ::fork();
    if (child_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::setenv(kPlace, place.c_str(), 1);
    ::execlp("unshare", "unshare", "-T", "--monotonic", seconds.c_str(), self.c_str(),
             "-tc=a publisher in another time namespace", static_cast<char*>(nullptr));
    ::_exit(127);
  }
  Elsewhere(const Elsewhere&) = delete;
  Elsewhere& operator=(const Elsewhere&) = delete;
  ~Elsewhere() {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }

 private:
  pid_t child_ = 0;
};

void ages_agree(bool shared, const std::string& seconds) {
  std::string place = "/tmp/horus-time-XXXXXX";
  REQUIRE(::mkdtemp(place.data()) != nullptr);
  const std::string folder = place;
  horus::io::run([&]() -> Task<> {
    const Hub here = hub_at(shared ? place : "127.0.0.1:0", horus::TcpRole::listen);
    if (!shared) place = here.address();
    auto in = here.subscribe<Beat>("beat", horus::SubscribeOptions().with_stale_after(20s));
    const std::int64_t start = horus::now_ns();
    const Elsewhere publisher(place, seconds);
    const bool came = co_await eventually([&] { return in.latest() != nullptr; });
    REQUIRE(came);
    const auto first = in.latest()->age();
    const bool stopped =
        co_await eventually([&] { return in.latest() != nullptr && (**in.latest()).number == 3; });
    REQUIRE(stopped);
    co_await horus::sleep(20ms);
    CHECK(in.latest()->age() >= 20ms);
    const auto most = horus::Duration(horus::now_ns() - start);
    CHECK(first <= most);
    CHECK(in.latest()->age() <= most);
    CHECK(in.metrics().latency.max() <= static_cast<std::uint64_t>(most.count()));
  });
  std::filesystem::remove_all(folder);
}

TEST_SUITE("msg/time_namespace") {
  TEST_CASE("a publisher in another time namespace") {
    const char* place = std::getenv(kPlace);
    if (place == nullptr) return;  // it plays its role for the test below
    ::alarm(60);
    horus::io::run([&]() -> Task<> {
      const Hub hub = hub_at(place, horus::TcpRole::connect);
      auto out = hub.advertise<Beat>("beat");
      while (out.subscribers() == 0) co_await horus::sleep(1ms);
      for (std::int64_t i = 1; i <= 3; ++i) {
        out.send({i});
        co_await horus::sleep(1ms);
      }
      co_await horus::sleep(60s);
    });
  }

  TEST_CASE("ages agree with those of a publisher whose clock is another") {
    if (std::system("unshare -T --monotonic 10 true >/dev/null 2>&1") != 0) {
      MESSAGE("left out: no time namespaces here");
      return;
    }
    for (const bool shared : {true, false}) {
      for (const char* seconds : {"86400", "-60"}) {
        CAPTURE(shared);
        CAPTURE(seconds);
        if (seconds[0] == '-' && horus::now_ns() < 120'000'000'000) continue;  // the machine has just started
        ages_agree(shared, seconds);
      }
    }
  }

  TEST_CASE("the offset of a clock is read, or not known") {
    CHECK(parse_clock_offset("monotonic           0         0\nboottime            0         0\n") == 0);
    CHECK(parse_clock_offset("boottime 5 0\nmonotonic 86400 7\n") == 86'400'000'000'007);
    CHECK(parse_clock_offset("monotonic -60 500\n") == -59'999'999'500);
    CHECK(parse_clock_offset("1 2 3\n7 0 0") == 2'000'000'003);
    for (const char* wrong :
         {"", "boottime 0 0\n", "monotonic", "monotonic x 0", "monotonic 1", "monotonic 1 -1",
          "monotonic 1 1000000000", "monotonic 9223372036854775807 0"}) {
      CAPTURE(wrong);
      CHECK(parse_clock_offset(wrong) == kUnknownOffset);
    }
    CHECK(horus::msg::clock_offset() != kUnknownOffset);
  }

  TEST_CASE("a stamp is shifted to this clock, and what cannot be is no age") {
    CHECK(clock_shift(10, 4) == -6);
    CHECK(clock_shift(kUnknownOffset, 4) == kUnknownOffset);
    CHECK(clock_shift(0, INT64_MAX) == kUnknownOffset);
    CHECK(shifted(100, 0, 7) == 100);
    CHECK(shifted(100, -6, 7) == 94);
    CHECK(shifted(-100, 6, 7) == -106);
    CHECK(shifted(100, kUnknownOffset, 7) == -7);  // it came now
    CHECK(shifted(100, -200, 7) == 1);
    CHECK(shifted(INT64_MAX, 5, 7) == INT64_MAX);
    CHECK(shifted(INT64_MIN, 5, 7) == -7);
    CHECK(shifted(INT64_MIN + 1, 5, 7) == -INT64_MAX);
  }
}

}  // namespace
