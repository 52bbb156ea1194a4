// SPDX-License-Identifier: Apache-2.0
// What the rover's campaign has found, one case each: see rover_campaign.cpp.
#include <cmath>
#include <cstdint>
#include <fstream>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/horus.hpp>
#include <horus/record/player.hpp>
#include <horus/record/recording.hpp>
#include <horus/sim/world.hpp>
#include <horus/task/shield.hpp>

#include "../support/temporary_directory.hpp"
#include "drive.hpp"
#include "inputs.hpp"

using horus::Task;
using horus::sim::Faults;
using horus::sim::Launch;
using horus::sim::Report;
using horus::sim::World;
using namespace horus::literals;

namespace {

constexpr const char* kCamera = "/usr/bin/rover_camera";

// Keeps the rover's warnings off the screen.
struct Silence {
  horus::LogSink before = horus::set_log_sink([](horus::LogLevel, std::string_view) {});
  ~Silence() { horus::set_log_sink(before); }
};

// The rover with its own receiver, until it is told to stop.
Task<int> drive(rover::World& world) {
  world = rover::World();
  world.log.path = "/var/rover.log";
  rover::Options options;
  options.camera_program = kCamera;
  auto driving = rover::drive(world, options, rover::add_nodes, rover::scheduler_config(false), 0, {});
  const rover::Journey journey = co_await driving;
  co_return journey.code;
}

Task<int> camera(Launch launch, int pictures) {
  const std::string picture = "P6\n16 12\n255\n" + std::string(16 * 12 * 3, '\x60');
  for (int i = 0; i < pictures; ++i) {
    auto written = co_await launch.out.write_all(picture);
    if (!written) co_return 0;
    co_await horus::sleep(50ms);
  }
  co_await horus::sleep(1000s);  // it hangs
  co_return 0;
}

}  // namespace

TEST_CASE("a camera that hangs is started afresh") {
  const Silence silence;
  World world(1);
  rover::World rover;
  int starts = 0;
  world.program(kCamera, [&](Launch launch) {
    ++starts;
    return camera(std::move(launch), starts == 1 ? 10 : 1000);
  });
  world.process("rover", [&] { return drive(rover); });
  const Report report = world.run_for(10s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(starts == 2);
  CHECK(rover.camera.pictures > 100);
}

TEST_CASE("a camera that cannot be started just now is tried again, one that is missing ends the drive") {
  const Silence silence;
  for (const bool missing : {false, true}) {
    CAPTURE(missing);
    World world(1);
    rover::World rover;
    if (!missing) world.program(kCamera, [](Launch launch) { return camera(std::move(launch), 1000); });
    Faults faults;
    faults.spawn_failure = missing ? 0 : 1000;
    world.faults(faults);
    world.at(1s).faults(Faults());
    world.process("rover", [&] { return drive(rover); });
    const Report report = world.run_for(5s);
    CHECK(report.passed == !missing);
    CHECK((rover.camera.pictures > 0) == !missing);
  }
}

TEST_CASE("a thermometer that failed once is asked again") {
  const Silence silence;
  World world(1);
  rover::World rover;
  world.program(kCamera, [](Launch launch) { return camera(std::move(launch), 1000); });
  world.process("rover", [&] { return drive(rover); });
  world.file("rover", rover::kTemperatureFile, "48500\n");
  Faults faults;
  faults.disk_error = 1000;
  world.faults(faults);
  world.at(1s).faults(Faults());
  const Report report = world.run_for(3s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(rover.health.temperature_c.has_value());
}

TEST_CASE("the rover closes its loop through its own receiver in a world, too") {
  const Silence silence;
  World world(1);
  rover::World rover;
  world.program(kCamera, [](Launch launch) { return camera(std::move(launch), 10'000); });
  world.process("rover", [&] { return drive(rover); });
  world.at(60s).signal("rover", SIGTERM);
  const Report report = world.run_for(70s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(rover.drive.waypoints_reached > 10);
  CHECK(rover.gps.epochs > 500);
  CHECK(rover.log.lost == 0);
}

namespace {

// A drive with its odometry recorded, until it is told to stop.
Task<int> drive_and_record(rover::World& world) {
  horus::Scope scope("recorder");
  auto recording =
      scope.spawn(horus::record_topics("/var/drive.mcap", horus::RecordOptions().with_topics({"odometry"})));
  auto driving = drive(world);
  const int code = co_await driving;
  scope.cancel();
  auto ending = [](horus::Scope& tasks) -> Task<> { co_await tasks.join(); }(scope);
  co_await horus::shield(std::move(ending));
  co_return recording.take().ok() ? code : 1;
}

// Adds up the way of a rover, whichever tells its odometry.
class Odometer : public horus::Node {
 public:
  struct Way {
    int messages = 0;
    double east_m = 0;
    double metres = 0;
    bool operator==(const Way&) const = default;
  };
  explicit Odometer(Way& way) : Node("odometer"), way_(way) {}
  Task<> tick() override {
    const auto odometry = (co_await in_.recv()).or_throw();
    const auto& at = odometry->pose.pose.position;
    if (way_.messages++ > 0) way_.metres += std::hypot(at.x - last_.x, at.y - last_.y);
    last_ = at;
    way_.east_m = at.x;
  }

 private:
  Way& way_;
  horus::messages::Point last_;
  horus::Subscriber<horus::messages::Odometry> in_ = subscribe<horus::messages::Odometry>("odometry");
};

}  // namespace

TEST_CASE("a node of its own runs against the recorded odometry of a rover, with the same result each time") {
  const Silence silence;
  const TemporaryDirectory folder;
  const std::string path = folder / "drive.mcap";
  rover::World rover;
  {
    World world(1);
    world.program(kCamera, [](Launch launch) { return camera(std::move(launch), 1000); });
    world.process("rover", [&] { return drive_and_record(rover); });
    const Report report = world.run_for(5s);
    CHECK_MESSAGE(report.passed, report.to_string());
    std::ofstream(path, std::ios::binary) << world.file("rover", "/var/drive.mcap").value();
  }
  const auto consume = [&](std::uint64_t seed) {
    Odometer::Way way;
    World world(seed);
    world.process("desk", [&]() -> Task<int> {
      horus::Scheduler scheduler;
      scheduler.add<Odometer>(way);
      auto running = scheduler.run_async();
      static_cast<void>(co_await horus::with_timeout(6s, std::move(running)));
      co_return 0;
    });
    world.play("desk", path, horus::PlayOptions().with_topics({"odometry"}));
    const Report report = world.run_for(20s);
    CHECK_MESSAGE(report.passed, report.to_string());
    return std::pair(way, report.trace_hash);
  };
  const auto first = consume(7);
  CHECK(first.first.messages > 450);
  CHECK(first.first.messages <= 501);
  CHECK(first.first.east_m == rover.drive.east_m);
  CHECK(first.first.metres > 0);
  CHECK(consume(7) == first);
  CHECK(consume(8).first == first.first);
}
