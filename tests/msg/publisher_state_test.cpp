// SPDX-License-Identifier: Apache-2.0
// What a subscriber makes of a publisher that is muted or gone, and of its own past after an emergency stop.
#include <filesystem>
#include <memory>
#include <string>

#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/session/hub_core.hpp>
#include <horus/msg/session/port.hpp>

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::Overflow;
using horus::SubscribeOptions;
using horus::Task;
using horus::msg::MuteReason;

struct Speed {
  double metres_per_s = 0;
};

// A publisher with the outbox that a scheduler would mute.
struct Commander {
  explicit Commander(const Hub& hub) : port(horus::msg::out_port<Speed>("speed", {})), out(port) {
    port->open(hub.core());
  }
  [[nodiscard]] horus::msg::Outbox& box() const { return port->outbox(); }
  std::shared_ptr<horus::msg::Port> port;
  horus::Publisher<Speed> out;
};

double latest_of(horus::Subscriber<Speed>& in) {
  const auto* sample = in.latest();
  return sample == nullptr ? -1 : (*sample)->metres_per_s;
}

TEST_SUITE("msg/publisher_state") {
  TEST_CASE("latest is empty while its publisher is muted, and stays so until something new comes") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      Commander commander(hub);
      auto in = hub.subscribe<Speed>("speed");
      commander.out.send({1.5});
      CHECK(latest_of(in) == 1.5);
      for (const MuteReason reason : {MuteReason::isolated, MuteReason::emergency}) {
        commander.box().mute(reason, true);
        CHECK_FALSE(commander.out.send({9}));
        CHECK(latest_of(in) == -1);
        commander.box().mute(reason, false);
        CHECK(latest_of(in) == -1);
        CHECK(commander.out.send({2}));
        CHECK(latest_of(in) == 2);
      }
      co_return;
    });
  }

  TEST_CASE("latest forgets a muted publisher also when nobody looked meanwhile") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      Commander commander(hub);
      auto in = hub.subscribe<Speed>("speed");
      commander.out.send({1.5});
      CHECK(latest_of(in) == 1.5);
      commander.box().mute(MuteReason::emergency, true);
      commander.box().mute(MuteReason::emergency, false);
      CHECK(latest_of(in) == -1);
      co_return;
    });
  }

  TEST_CASE("two reasons to be mute are lifted one by one") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      Commander commander(hub);
      auto in = hub.subscribe<Speed>("speed");
      commander.box().mute(MuteReason::isolated, true);
      commander.box().mute(MuteReason::emergency, true);
      commander.box().mute(MuteReason::emergency, false);
      CHECK_FALSE(commander.out.send({1}));
      commander.box().mute(MuteReason::isolated, false);
      CHECK(commander.out.send({1}));
      CHECK(latest_of(in) == 1);
      co_return;
    });
  }

  TEST_CASE(
      "a publisher is mute from the moment in which the flag that it obeys is set, but for a safe-state "
      "hook") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      Commander commander(hub);
      auto in = hub.subscribe<Speed>("speed");
      const auto emergency = std::make_shared<std::atomic<bool>>(false);
      commander.box().obey(emergency);
      CHECK(commander.out.send({1}));
      emergency->store(true);
      CHECK_FALSE(commander.out.send({2}));
      {
        const horus::msg::MutePass hook;
        CHECK(commander.out.send({0}));
      }
      CHECK_FALSE(commander.out.send({3}));
      CHECK(in.try_recv().value()->metres_per_s == 1);
      CHECK(in.try_recv().value()->metres_per_s == 0);
      CHECK_FALSE(in.has_msg());
      co_return;
    });
  }

  TEST_CASE("latest is empty once its publisher has gone, unless it is to be kept") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto commander = std::make_unique<Commander>(hub);
      auto in = hub.subscribe<Speed>("speed");
      auto map = hub.subscribe<Speed>("speed", SubscribeOptions().with_keep_in_emergency());
      commander->out.send({1.5});
      CHECK(latest_of(in) == 1.5);
      CHECK(latest_of(map) == 1.5);
      commander->box().mute(MuteReason::emergency, true);
      CHECK(latest_of(in) == -1);
      CHECK(latest_of(map) == 1.5);
      commander.reset();
      CHECK(latest_of(in) == -1);
      CHECK(latest_of(map) == 1.5);
      co_return;
    });
  }

  TEST_CASE("what is discarded is lost, is counted, and is never seen again") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      Commander commander(hub);
      auto port = horus::msg::in_port<Speed>("speed", SubscribeOptions().with_max_held(1));
      port->open(hub.core());
      horus::Subscriber<Speed> in(port);
      commander.out.send({1});
      CHECK(latest_of(in) == 1);  // holds the one sample that it may
      commander.out.send({2});
      commander.out.send({3});
      port->inbox().discard();
      CHECK_FALSE(in.has_msg());
      CHECK(latest_of(in) == -1);
      CHECK(in.missed() == 2);
      commander.out.send({4});
      CHECK(latest_of(in) == 4);
      const auto sent = commander.out.metrics();
      CHECK(sent.sent == sent.delivered + sent.dropped + sent.queued);
      co_return;
    });
  }

  TEST_CASE("in another hub of the machine latest is empty as well") {
    std::string folder = "/tmp/horus-state-XXXXXX";
    REQUIRE(::mkdtemp(folder.data()) != nullptr);
    horus::io::run([&]() -> Task<> {
      const auto options = horus::ShmOptions().with_directory(folder);
      const Hub here = Hub::shm("robot", options).or_throw();
      const Hub there = Hub::shm("robot", options).or_throw();
      Commander commander(here);
      auto in = there.subscribe<Speed>("speed");
      while (commander.out.subscribers() == 0) co_await horus::sleep(1ms);
      commander.out.send({1.5});
      auto first = co_await in.recv();
      CHECK(first.value()->metres_per_s == 1.5);
      commander.out.send({2});
      while (!in.has_msg()) co_await horus::sleep(1ms);
      CHECK(latest_of(in) == 2);
      commander.box().mute(MuteReason::emergency, true);
      CHECK(latest_of(in) == -1);
    });
    std::filesystem::remove_all(folder);
  }
}

}  // namespace
