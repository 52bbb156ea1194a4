// SPDX-License-Identifier: Apache-2.0
// What the rover's campaign has found, one case each: see rover_campaign.cpp.
#include <cstdint>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/horus.hpp>
#include <horus/sim/world.hpp>

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
