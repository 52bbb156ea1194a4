// SPDX-License-Identifier: Apache-2.0
#include <horus/record/bag.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/bag/file_writer.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/cdr.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/json.hpp>
#include <horus/msg/messages.hpp>
#include <horus/msg/ros.hpp>
#include <horus/record/recording.hpp>
#include <horus/task/scope.hpp>

#include "../support/temporary_directory.hpp"

namespace before {

struct Wheel {
  float speed = 0;
  std::uint16_t errors = 0;
};
HORUS_MESSAGE(Wheel, speed, errors);

struct Drive {
  horus::Stamp stamp;
  horus::Text<32> frame;
  std::array<Wheel, 2> wheels;
  std::uint32_t gear = 0;
  std::int32_t dropped = 0;  // is gone later
  using Tail = Wheel;
};
HORUS_MESSAGE(Drive, stamp, frame, wheels, gear, dropped);

}  // namespace before

namespace now {

struct Wheel {
  double speed = 0;
  std::uint64_t errors = 0;
  double torque = 7.5;  // was not there
};
HORUS_MESSAGE(Wheel, speed, errors, torque);

struct Drive {
  std::uint8_t gear = 0;  // may be too small
  double limit = 2.5;     // was not there
  horus::Sequence<Wheel, 4> wheels;
  horus::Text<8> frame;
  horus::Stamp stamp;
  using Tail = Wheel;
};
HORUS_MESSAGE(Drive, gear, limit, wheels, frame, stamp);

}  // namespace now

namespace other {

struct Drive {
  horus::Text<32> gear;
};
HORUS_MESSAGE(Drive, gear);

}  // namespace other

namespace {

using namespace std::chrono_literals;
using horus::Bag;
using horus::Hub;
using horus::Task;

// What `publish` sends on a hub, as a file.
Task<> record(std::string path, std::function<void(Hub&)> publish) {
  Hub hub("rover");
  horus::Scope scope("recorder");
  auto recording = scope.spawn(horus::record_topics(std::move(path), horus::RecordOptions()));
  co_await horus::sleep(20ms);
  publish(hub);
  co_await horus::sleep(20ms);
  scope.cancel();
  co_await scope.join();
}

before::Drive old_drive() {
  before::Drive drive;
  drive.stamp.ns = 123;
  drive.frame.set("base");
  drive.wheels = {before::Wheel{1.5F, 3}, before::Wheel{-2.0F, 65535}};
  drive.gear = 5;
  drive.dropped = 9;
  return drive;
}

// A file with one channel and one message of somebody else.
Task<> write_foreign(std::string path, std::string topic, std::string encoding, horus::bag::Schema schema,
                     std::vector<std::byte> data) {
  auto opening = horus::bag::FileWriter::create(std::move(path), horus::bag::WriterOptions());
  auto file = (co_await opening).or_throw();
  const auto id = file.writer().add_schema(schema.name, schema.encoding, schema.data).or_throw();
  const auto channel = file.writer().add_channel(topic, encoding, id).or_throw();
  const horus::bag::Message message{channel, 0, 5, 5, data};
  auto adding = file.add(message);
  (co_await adding).or_throw();
  auto finishing = file.finish();
  (co_await finishing).or_throw();
}

template <horus::Message T>
std::vector<std::byte> cdr(const T& message) {
  const auto head = std::as_bytes(std::span(&message, 1));
  std::vector<std::byte> bytes(horus::cdr_of<T>().size(head).or_throw());
  horus::cdr_of<T>().write(head, {}, bytes).or_throw();
  return bytes;
}

Task<Bag> open(std::string path) {
  auto opening = Bag::open(std::move(path));
  co_return (co_await opening).or_throw();
}

}  // namespace

TEST_SUITE("record/bag") {
  TEST_CASE("messages of several topics come back with their types, in the order in which they were sent") {
    const TemporaryDirectory folder;
    horus::io::run([&]() -> Task<> {
      auto recording = record(folder / "run.mcap", [](Hub& hub) {
        auto twist = hub.advertise<horus::messages::Twist>("cmd_vel");
        auto chat = hub.advertise<std::string>("chat");
        auto rest = hub.advertise<std::int64_t>("count");
        auto scans = hub.advertise<horus::messages::LaserScan>("scan");
        horus::messages::Twist forward;
        forward.linear.x = 0.5;
        twist.send(forward);
        rest.send(7);
        chat.send("hello");
        const std::vector<float> ranges{1, 2, 3};
        scans.send({}, ranges);
      });
      co_await recording;
      auto opening = open(folder / "run.mcap");
      Bag bag = co_await opening;
      CHECK(bag.topics() == std::vector<std::string>{"chat", "cmd_vel", "count", "scan"});
      const auto twists = bag.topic<horus::messages::Twist>("cmd_vel").or_throw();
      const auto chats = bag.topic<std::string>("chat").or_throw();
      const auto scans = bag.topic<horus::messages::LaserScan>("scan").or_throw();
      std::vector<std::string> seen;
      std::uint64_t last = 0;
      while (true) {
        auto reading = bag.next();
        const auto message = (co_await reading).or_throw();
        if (!message) break;
        CHECK(message->log_ns >= last);
        last = message->log_ns;
        if (const auto twist = twists.from(*message)) {
          CHECK((*twist)->linear.x == 0.5);
          CHECK(twist->publish_ns() > 1'000'000'000'000'000'000U);
          seen.emplace_back("twist");
        }
        if (const auto chat = chats.from(*message)) seen.emplace_back(**chat);
        if (const auto scan = scans.from(*message)) {
          CHECK(scan->tail().size() == 3);
          CHECK(scan->tail()[2] == 3);
          seen.emplace_back("scan");
        }
      }
      CHECK(seen == std::vector<std::string>{"twist", "hello", "scan"});
    });
  }

  TEST_CASE(
      "a type that has changed is read by the names of its fields, and what was not recorded has its "
      "default") {
    const TemporaryDirectory folder;
    horus::io::run([&]() -> Task<> {
      auto recording = record(folder / "run.mcap", [](Hub& hub) {
        auto out = hub.advertise<before::Drive>("drive");
        before::Drive drive = old_drive();
        const std::vector<before::Wheel> spare{{4, 1}, {5, 2}};
        out.send(drive, spare);
        drive.gear = 300;
        out.send(drive, {});
        drive.gear = 1;
        drive.frame.set("a long name");
        out.send(drive, {});
      });
      co_await recording;
      auto opening = open(folder / "run.mcap");
      Bag bag = co_await opening;
      const auto drives = bag.topic<now::Drive>("drive").or_throw();
      auto first = bag.next();
      auto message = (co_await first).or_throw();
      REQUIRE(message);
      const auto drive = drives.from(*message);
      REQUIRE(drive);
      const now::Drive& read = **drive;
      CHECK(read.stamp.ns == 123);
      CHECK(read.frame == "base");
      CHECK(read.gear == 5);
      CHECK(read.limit == 2.5);
      REQUIRE(read.wheels.size() == 2);
      CHECK(read.wheels[0].speed == 1.5);
      CHECK(read.wheels[1].speed == -2.0);
      CHECK(read.wheels[1].errors == 65535);
      CHECK(read.wheels[1].torque == 7.5);
      REQUIRE(drive->tail().size() == 2);
      CHECK(drive->tail()[1].speed == 5);
      CHECK(drive->tail()[1].torque == 7.5);

      auto second = bag.next();
      message = (co_await second).or_throw();
      const std::string text = [&]() -> std::string {
        try {
          static_cast<void>(drives.from(*message));
        } catch (const horus::Error& error) {
          return error.what();
        }
        return "";
      }();
      CHECK_MESSAGE(text.find("field gear: 300 does not fit") != std::string::npos, text);
      CHECK_MESSAGE(text.find("drive") != std::string::npos, text);
      auto third = bag.next();
      message = (co_await third).or_throw();
      CHECK_THROWS_AS(static_cast<void>(drives.from(*message)), horus::Error);
      auto end = bag.next();
      message = (co_await end).or_throw();
      CHECK_FALSE(message);

      auto again = open(folder / "run.mcap");
      Bag strict = co_await again;
      CHECK(strict.topic<now::Drive>("drive", horus::Changed::refused).code() == horus::kTypeMismatch);
      CHECK(strict.topic<before::Drive>("drive", horus::Changed::refused));
    });
  }

  TEST_CASE(
      "a type that cannot be meant is refused, with the topic, both types and the first field that differs") {
    const TemporaryDirectory folder;
    horus::io::run([&]() -> Task<> {
      auto recording = record(folder / "run.mcap", [](Hub& hub) {
        auto out = hub.advertise<before::Drive>("drive");
        out.send(old_drive(), {});
      });
      co_await recording;
      auto opening = open(folder / "run.mcap");
      Bag bag = co_await opening;
      const auto wrong = bag.topic<other::Drive>("drive");
      REQUIRE_FALSE(wrong);
      CHECK(wrong.code() == horus::kTypeMismatch);
      const std::string text = wrong.error().message();
      for (const char* part :
           {"drive", "before::Drive", "other::Drive", "field gear", "u32", "text of 32 bytes"})
        CHECK_MESSAGE(text.find(part) != std::string::npos, text);
      // Without one field in common it would be read as nothing but defaults.
      CHECK(bag.topic<horus::messages::Twist>("drive").code() == horus::kTypeMismatch);
      const auto missing = bag.topic<before::Drive>("driv");
      REQUIRE_FALSE(missing);
      CHECK(missing.code() == EINVAL);
      CHECK(missing.error().message().find("did you mean \"drive\"?") != std::string::npos);
    });
  }

  TEST_CASE("a recording of others is read where its definition is the type's, whatever its comments") {
    const TemporaryDirectory folder;
    horus::io::run([&]() -> Task<> {
      horus::messages::Twist turn;
      turn.angular.z = 0.25;
      const std::string definition =
          "# A velocity\n\ngeometry_msgs/Vector3  linear\ngeometry_msgs/Vector3 angular # rad/s\n"
          "================================================================================\n"
          "MSG: geometry_msgs/Vector3\nfloat64 x\r\nfloat64 y 0\nuint8 UNUSED=3\nfloat64 z\n";
      const horus::bag::Schema schema{0, "geometry_msgs/msg/Twist", "ros2msg", definition};
      auto writing = write_foreign(folder / "a.mcap", "/cmd_vel", "cdr", schema, cdr(turn));
      co_await writing;
      auto opening = open(folder / "a.mcap");
      Bag bag = co_await opening;
      const auto twists = bag.topic<horus::messages::Twist>("/cmd_vel").or_throw();
      auto reading = bag.next();
      const auto message = (co_await reading).or_throw();
      REQUIRE(message);
      CHECK((*twists.from(*message))->angular.z == 0.25);
      const auto wrong = Bag(std::move(bag)).topic<horus::messages::Imu>("/cmd_vel");
      CHECK_FALSE(wrong);

      auto other = open(folder / "a.mcap");
      Bag again = co_await other;
      const auto refused = again.topic<horus::messages::Vector3>("/cmd_vel");
      REQUIRE_FALSE(refused);
      CHECK(refused.code() == horus::kTypeMismatch);
      CHECK_MESSAGE(refused.error().message().find("field x") != std::string::npos,
                    refused.error().message());
    });
  }

  TEST_CASE("JSON is read into a described type by its names") {
    const TemporaryDirectory folder;
    horus::io::run([&]() -> Task<> {
      const std::string json = R"({"linear": {"x": 2}})";
      const auto bytes = std::as_bytes(std::span(json));
      auto writing = write_foreign(folder / "a.mcap", "cmd", "json", {0, "any", "jsonschema", "{}"},
                                   {bytes.begin(), bytes.end()});
      co_await writing;
      auto opening = open(folder / "a.mcap");
      Bag bag = co_await opening;
      const auto twists = bag.topic<horus::messages::Twist>("cmd").or_throw();
      auto reading = bag.next();
      const auto message = (co_await reading).or_throw();
      REQUIRE(message);
      CHECK((*twists.from(*message))->linear.x == 2);
      CHECK(bag.topic<horus::messages::Twist>("cmd").code() == EBUSY);  // it has begun
    });
  }

  TEST_CASE("a part of the time alone is read") {
    const TemporaryDirectory folder;
    horus::io::run([&]() -> Task<> {
      horus::Scope scope("recorder");
      auto recording = scope.spawn(horus::record_topics(folder / "run.mcap", horus::RecordOptions()));
      co_await horus::sleep(20ms);
      Hub hub("rover");
      auto out = hub.advertise<std::int64_t>("count");
      for (std::int64_t i = 0; i < 5; ++i) {
        out.send(i);
        co_await horus::sleep(20ms);
      }
      scope.cancel();
      co_await scope.join();
      auto opening = open(folder / "run.mcap");
      Bag bag = co_await opening;
      const auto counts = bag.topic<std::int64_t>("count").or_throw();
      bag.between(10ms, 1h);
      std::vector<std::int64_t> seen;
      while (true) {
        auto reading = bag.next();
        const auto message = (co_await reading).or_throw();
        if (!message) break;
        seen.push_back(**counts.from(*message));
      }
      CHECK(seen == std::vector<std::int64_t>{1, 2, 3, 4});
    });
  }

  TEST_CASE("data of Python goes through JSON and back") {
    using horus::json_to_message_pack;
    using horus::message_pack_to_json;
    for (const char* json : {R"({"value":1.5})", R"({ "value":1.5})",
                             R"({"a":[1,2.0,"x",null,true],"value":{}})", R"({"value":[{"value":1}]})"}) {
      const auto packed = json_to_message_pack(json);
      REQUIRE(packed);
      CHECK(message_pack_to_json(*packed).or_throw() == json);
    }
    CHECK(json_to_message_pack(R"({"value":1})").or_throw() == std::vector<std::byte>{std::byte{1}});
    CHECK(json_to_message_pack("{").code() == horus::kBadInput);
    CHECK(json_to_message_pack(std::string(100, '[')).code() == horus::kBadInput);
  }
}
