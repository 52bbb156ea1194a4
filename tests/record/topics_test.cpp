// SPDX-License-Identifier: Apache-2.0
#include <horus/record/topics.hpp>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/messages.hpp>
#include <horus/task/task.hpp>

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::Task;
using horus::record::ChannelText;
using horus::record::fits;
using horus::record::Topics;

struct Taken {
  std::uint16_t channel;
  std::uint32_t sequence;
  std::uint64_t log_ns;
  std::uint64_t publish_ns;
  std::vector<std::byte> data;
};

class Memory final : public horus::record::Sink {
 public:
  horus::Result<std::uint16_t> channel(const ChannelText& text) override {
    if (text.topic == refused) return horus::Error(ENOBUFS, "record", "no room");
    channels.push_back(text);
    return static_cast<std::uint16_t>(channels.size());
  }
  void message(const horus::bag::Message& message) override {
    messages.push_back({message.channel,
                        message.sequence,
                        message.log_ns,
                        message.publish_ns,
                        {message.data.begin(), message.data.end()}});
  }
  void lost(std::uint16_t channel, std::uint64_t messages) override {
    losses[channels.at(channel - 1U).topic] += messages;
  }
  std::string refused;
  std::map<std::string, std::uint64_t> losses;
  std::vector<ChannelText> channels;
  std::vector<Taken> messages;
};

// Of all topics, with a clock that is 1000 s ahead.
constexpr std::int64_t kOffset = 1'000'000'000'000;
Topics all_topics() { return Topics({}, {}, kOffset); }

}  // namespace

TEST_SUITE("record/topics") {
  TEST_CASE("a pattern fits a whole name, and a star any part of it") {
    CHECK(fits("imu", {"imu"}));
    CHECK_FALSE(fits("imu", {"im"}));
    CHECK_FALSE(fits("imu", {"mu"}));
    CHECK(fits("imu", {"gps", "*"}));
    CHECK(fits("camera/left/image", {"camera/*"}));
    CHECK(fits("camera/left/image", {"*/image"}));
    CHECK(fits("camera/left/image", {"c*/*t/im*e"}));
    CHECK_FALSE(fits("camera/left/image", {"c*/right/*"}));
    CHECK(fits("aab", {"a*ab"}));
    CHECK_FALSE(fits("", {"?"}));
    CHECK(fits("", {"**"}));
    CHECK_FALSE(fits("imu", std::vector<std::string>{}));
  }

  TEST_CASE(
      "messages come in the order in which they were published, whoever did it, as CDR with their schema") {
    horus::io::run([]() -> Task<> {
      Hub hub("front");
      Topics topics = all_topics();
      auto twist = hub.advertise<horus::messages::Twist>("cmd_vel");
      auto chat = hub.advertise<std::string>("chat");
      horus::messages::Twist forward;
      forward.linear.x = 0.5;
      twist.send(forward);
      co_await horus::sleep(1ms);
      chat.send("hello");
      co_await horus::sleep(1ms);
      forward.linear.x = 1.0;
      twist.send(forward);
      Memory memory;
      CHECK(topics.pump(memory, 100) == 3);
      CHECK(topics.pump(memory, 100) == 0);
      REQUIRE(memory.channels.size() == 2);
      CHECK(memory.channels[0].topic == "cmd_vel");
      CHECK(memory.channels[0].encoding == "cdr");
      CHECK(memory.channels[0].schema_name == "geometry_msgs/msg/Twist");
      CHECK(memory.channels[0].schema_encoding == "ros2msg");
      CHECK(memory.channels[0].schema.find("Vector3 linear") != std::string::npos);
      CHECK(memory.channels[0].metadata.at("horus.hub") == "front");
      CHECK(memory.channels[0].metadata.at("topic_type_hash").starts_with("RIHS01_9c45bf16"));
      REQUIRE(memory.messages.size() == 3);
      CHECK(memory.messages[0].channel == 1);
      CHECK(memory.messages[1].channel == 2);
      CHECK(memory.messages[2].channel == 1);
      CHECK(memory.messages[2].sequence == 1);
      std::vector<std::byte> head;
      std::vector<std::byte> tail;
      CHECK(horus::cdr_of<horus::messages::Twist>().read(memory.messages[2].data, head, tail));
      REQUIRE(head.size() == sizeof forward);
      CHECK(reinterpret_cast<const horus::messages::Twist*>(head.data())->linear.x == 1.0);
      CHECK(horus::cdr_of<std::string>().read(memory.messages[1].data, head, tail));
      CHECK(std::string(reinterpret_cast<const char*>(tail.data()), tail.size()) == "hello");
      for (std::size_t i = 0; i < 3; ++i) {
        CHECK(memory.messages[i].publish_ns > kOffset);
        CHECK(memory.messages[i].log_ns >= memory.messages[i].publish_ns);
        if (i > 0) CHECK(memory.messages[i].log_ns >= memory.messages[i - 1].log_ns);
      }
    });
  }

  TEST_CASE("no more than was asked for is handed over at once, and the rest later") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<std::int64_t>("count");
      Topics topics = all_topics();
      for (std::int64_t i = 0; i < 25; ++i) out.send(i);
      Memory memory;
      CHECK(topics.pump(memory, 10) == 10);
      CHECK(topics.pump(memory, 10) == 10);
      out.reset();
      CHECK(topics.pump(memory, 10) == 5);
      for (std::uint32_t i = 0; i < 25; ++i) CHECK(memory.messages[i].sequence == i);
      co_return;
    });
  }

  TEST_CASE("a publisher that comes back has the channel of the former one; another type has its own") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      Topics topics = all_topics();
      Memory memory;
      for (int life = 0; life < 3; ++life) {
        auto out = hub.advertise<std::int64_t>("count");
        out.send(life);
        out.reset();
        topics.pump(memory, 10);
      }
      auto other = hub.advertise<double>("count");
      other.send(1.0);
      topics.pump(memory, 10);
      CHECK(memory.channels.size() == 2);
      CHECK(memory.messages.size() == 4);
      CHECK(memory.messages[2].channel == 1);
      CHECK(memory.messages[3].channel == 2);
      co_return;
    });
  }

  TEST_CASE("topics that are not wanted are not tapped, and one without a channel is left out") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      Topics topics({"camera/*", "imu"}, {"*/raw"}, 0);
      Memory memory;
      memory.refused = "imu";
      auto raw = hub.advertise<std::int64_t>("camera/raw");
      auto small = hub.advertise<std::int64_t>("camera/small");
      auto imu = hub.advertise<std::int64_t>("imu");
      auto odometry = hub.advertise<std::int64_t>("odometry");
      for (auto* out : {&raw, &small, &imu, &odometry}) out->send(1);
      CHECK(topics.pump(memory, 10) == 1);
      REQUIRE(memory.channels.size() == 1);
      CHECK(memory.channels[0].topic == "camera/small");
      co_return;
    });
  }

  TEST_CASE("what came faster than it was taken is told, by topic") {
    horus::io::run([]() -> Task<> {
      Hub hub;
      auto out = hub.advertise<std::string>("chat", horus::AdvertiseOptions().with_max_bytes(64));
      Topics topics = all_topics();
      for (int i = 0; i < 100; ++i) out.send("hello");
      Memory memory;
      topics.pump(memory, 1000);
      REQUIRE(memory.losses.contains("chat"));
      CHECK(memory.losses.at("chat") == 100 - memory.messages.size());
      for (int i = 0; i < 100; ++i) out.send("hello");
      out.reset();
      topics.pump(memory, 1000);
      CHECK(memory.losses.at("chat") == 200 - memory.messages.size());
      co_return;
    });
  }
}
