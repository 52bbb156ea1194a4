// SPDX-License-Identifier: Apache-2.0
// SubscribeOptions::stale_after by a World's clock: what latest() gives when a publisher falls silent.
#include <cerrno>
#include <cstdint>
#include <string>

#include <doctest/doctest.h>

#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/sim/world.hpp>

namespace {

using namespace std::chrono_literals;
using horus::Duration;
using horus::Hub;
using horus::SubscribeOptions;
using horus::Task;
using horus::sim::World;

// As large as it is, it travels in a slot that its subscriber gives back.
struct Course {
  std::int64_t number = 0;
  double points[60] = {};
};

std::int64_t number_of(horus::Subscriber<Course>& in) {
  const auto* sample = in.latest();
  return sample == nullptr ? -1 : (*sample)->number;
}

// Runs `program` in virtual time.
template <class Program>
void in_virtual_time(Program program) {
  World world(1);
  world.process("robot", [&]() -> Task<int> {
    auto running = program();
    co_await running;
    co_return 0;
  });
  world.run_for(1min);
  CHECK_MESSAGE(world.report().passed, world.report().to_string());
}

TEST_SUITE("sim/stale") {
  TEST_CASE("latest gives nothing while its message is too old, and the next message brings it back") {
    bool done = false;
    in_virtual_time([&]() -> Task<> {
      const Hub hub;
      auto out = hub.advertise<Course>("course");
      auto in = hub.subscribe<Course>("course", SubscribeOptions().with_stale_after(100ms).with_max_held(1));
      auto ever = hub.subscribe<Course>("course");
      CHECK(number_of(in) == -1);
      for (std::int64_t i = 1; i <= 3; ++i) {
        out.send({.number = i});
        CHECK(number_of(in) == i);
        co_await horus::sleep(90ms);
        CHECK(number_of(in) == i);
        co_await horus::sleep(11ms);
        CHECK(number_of(in) == -1);
        co_await horus::sleep(3s);
        CHECK(number_of(in) == -1);
        CHECK(number_of(ever) == i);
      }
      // What was too old has been given back: the one place of max_held is free.
      out.send({.number = 4});
      CHECK(in.try_recv().value()->number == 4);
      done = true;
    });
    CHECK(done);
  }

  TEST_CASE(
      "a message that is too old when it is first looked at is nothing either, and counts as received") {
    bool done = false;
    in_virtual_time([&]() -> Task<> {
      const Hub hub;
      auto out = hub.advertise<Course>("course");
      auto in = hub.subscribe<Course>("course", SubscribeOptions().with_stale_after(100ms));
      out.send({.number = 1});
      co_await horus::sleep(1s);
      CHECK(in.has_msg());
      CHECK(number_of(in) == -1);
      CHECK_FALSE(in.has_msg());
      CHECK(in.metrics().received == 1);
      CHECK(in.missed() == 0);
      done = true;
    });
    CHECK(done);
  }

  TEST_CASE("whoever takes messages one by one gets all of them, however old") {
    bool done = false;
    in_virtual_time([&]() -> Task<> {
      const Hub hub;
      auto out = hub.advertise<Course>("course");
      auto in = hub.subscribe<Course>("course", SubscribeOptions().with_stale_after(100ms));
      for (std::int64_t i = 1; i <= 3; ++i) out.send({.number = i});
      co_await horus::sleep(1s);
      CHECK(in.has_msg());
      CHECK(in.try_recv().value()->number == 1);
      auto second = co_await in.recv();
      CHECK(second.value()->number == 2);
      CHECK(second.value().age() >= 1s);
      done = true;
    });
    CHECK(done);
  }

  TEST_CASE("an old message that waited in one publisher's queue does not hide another's new one") {
    bool done = false;
    in_virtual_time([&]() -> Task<> {
      const Hub hub;
      auto first = hub.advertise<Course>("course");
      auto second = hub.advertise<Course>("course");
      auto in = hub.subscribe<Course>("course", SubscribeOptions().with_stale_after(100ms));
      auto ever = hub.subscribe<Course>("course");
      first.send({.number = 1});
      first.send({.number = 2});
      // The second publisher's turn comes next.
      CHECK(in.try_recv().value()->number == 1);
      CHECK(ever.try_recv().value()->number == 1);
      co_await horus::sleep(1s);
      second.send({.number = 3});
      CHECK(number_of(in) == 3);
      CHECK(number_of(ever) == 3);
      done = true;
    });
    CHECK(done);
  }

  TEST_CASE("what is kept in an emergency goes stale by age all the same") {
    bool done = false;
    in_virtual_time([&]() -> Task<> {
      const Hub hub;
      auto out = hub.advertise<Course>("course");
      auto in = hub.subscribe<Course>("course",
                                      SubscribeOptions().with_keep_in_emergency().with_stale_after(100ms));
      out.send({.number = 1});
      CHECK(number_of(in) == 1);
      out.reset();
      CHECK(number_of(in) == 1);
      co_await horus::sleep(101ms);
      CHECK(number_of(in) == -1);
      done = true;
    });
    CHECK(done);
  }

  TEST_CASE("when the process that published last is killed, latest gives the newest message of the others") {
    const auto options = [] { return horus::ShmOptions().with_directory("/tmp/hubs"); };
    for (const bool shared : {true, false}) {
      CAPTURE(shared);
      World world(1);
      std::int64_t before = 0, after = 0;
      const auto hub = [&](const char* name, bool listens) {
        if (shared) return Hub::shm("crew", options()).or_throw();
        return Hub::tcp("10.0.0.1:8080", name,
                        listens ? horus::TcpHubOptions().with_insecure()
                                : horus::TcpHubOptions().with_role(horus::TcpRole::connect))
            .or_throw();
      };
      world.process(
          "base",
          [&]() -> Task<int> {
            const Hub here = hub("base", true);
            auto in = here.subscribe<Course>("course");
            while (number_of(in) < 2) co_await horus::sleep(1ms);
            before = number_of(in);
            while (in.publishers() > 1) co_await horus::sleep(1ms);
            after = number_of(in);
            co_return 0;
          },
          "10.0.0.1");
      for (const int number : {1, 2}) {
        world.process(
            number == 1 ? "first" : "second",
            [&hub, number]() -> Task<int> {
              const Hub there = hub(number == 1 ? "first" : "second", false);
              auto out = there.advertise<Course>("course");
              while (out.subscribers() == 0) co_await horus::sleep(1ms);
              co_await horus::sleep(number * 1s);
              out.send({.number = number});
              co_await horus::sleep(30s);
              co_return 0;
            },
            shared ? "10.0.0.1" : "10.0.0.2");
      }
      world.at(10s).kill("second");
      world.run_for(1min);
      CHECK_MESSAGE(world.report().passed, world.report().to_string());
      CHECK(before == 2);
      CHECK(after == 1);
    }
  }

  TEST_CASE("an age that is not above 0 is refused: it could mean always or never") {
    int refused = 0;
    in_virtual_time([&]() -> Task<> {
      const Hub hub;
      for (const Duration age : {Duration(0), Duration(-1), Duration(INT64_MIN)}) {
        try {
          static_cast<void>(hub.subscribe<Course>("course", SubscribeOptions().with_stale_after(age)));
        } catch (const horus::Error& error) {
          CHECK(error.code() == EINVAL);
          CHECK(error.message().find("stale_after") != std::string::npos);
          ++refused;
        }
      }
      static_cast<void>(
          hub.subscribe<Course>("course", SubscribeOptions().with_stale_after(Duration::max())));
      co_return;
    });
    CHECK(refused == 3);
  }

  TEST_CASE("over TCP a publisher that falls silent goes stale, and comes back with its next message") {
    World world(1);
    bool went_stale = false;
    bool came_back = false;
    world.process(
        "base",
        [&]() -> Task<int> {
          const Hub hub =
              Hub::tcp("10.0.0.1:8080", "base", horus::TcpHubOptions().with_insecure()).or_throw();
          auto in = hub.subscribe<Course>("course", SubscribeOptions().with_stale_after(500ms));
          while (number_of(in) < 1) co_await horus::sleep(1ms);
          while (number_of(in) != -1) co_await horus::sleep(1ms);
          went_stale = in.publishers() == 1;
          const std::int64_t from = horus::now_ns();
          while (number_of(in) == -1) co_await horus::sleep(1ms);
          came_back = number_of(in) == 100 && horus::now_ns() - from > 1'000'000'000;
          co_return 0;
        },
        "10.0.0.1");
    world.process(
        "robot",
        [&]() -> Task<int> {
          const Hub hub =
              Hub::tcp("10.0.0.1:8080", "robot", horus::TcpHubOptions().with_role(horus::TcpRole::connect))
                  .or_throw();
          auto out = hub.advertise<Course>("course");
          while (out.subscribers() == 0) co_await horus::sleep(1ms);
          for (std::int64_t i = 1; i <= 5; ++i) {
            out.send({.number = i});
            co_await horus::sleep(100ms);
          }
          co_await horus::sleep(2s);
          out.send({.number = 100});
          co_await horus::sleep(5s);
          co_return 0;
        },
        "10.0.0.2");
    world.run_for(1min);
    CHECK_MESSAGE(world.report().passed, world.report().to_string());
    CHECK(went_stale);
    CHECK(came_back);
  }
}

}  // namespace
