// SPDX-License-Identifier: Apache-2.0
// The rover's parts that need no I/O: commands, the command line, controller and receiver in a closed loop, what /proc
// says, the log's batches.
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "controller.hpp"
#include "faults.hpp"
#include "inputs.hpp"
#include "log_batch.hpp"
#include "options.hpp"
#include "orders.hpp"
#include "receiver.hpp"

using namespace rover;

namespace {

std::variant<Options, Farewell> parse(std::vector<const char*> arguments) { return parse_options(arguments); }

std::string complaint(std::vector<const char*> arguments) {
  const auto parsed = parse(std::move(arguments));
  const auto* farewell = std::get_if<Farewell>(&parsed);
  return farewell == nullptr ? "(accepted)" : std::to_string(farewell->code) + " " + farewell->text;
}

}  // namespace

TEST_CASE("commands are obeyed and answered") {
  World world;
  CHECK(obey(world, "speed 1.2\n", 7) == "ok speed 1.2 m/s");
  CHECK(world.orders.speed_mps == 1.2);
  CHECK(world.orders.last == "speed 1.2");
  CHECK(world.orders.received_ns == 7);
  CHECK(obey(world, "  heading\t90 ", 8) == "ok heading 90");
  CHECK(world.orders.heading_deg == 90.0);
  CHECK(obey(world, "route", 9) == "ok following the waypoints");
  CHECK_FALSE(world.orders.heading_deg);
  CHECK(obey(world, "stop", 9) == "ok stopping");
  CHECK(world.orders.stopped);
  CHECK(obey(world, "go", 9) == "ok going");
  CHECK_FALSE(world.orders.stopped);
  CHECK(obey(world, "status", 9).starts_with("ok 0.00 m/s"));
  CHECK(world.orders.refused == 0);
}

TEST_CASE("what is no command changes nothing and says why") {
  const std::string long_one(kLongestCommand + 1, 'x');
  const std::string zeros(7, '\0');
  for (const std::string& text :
       std::vector<std::string>{"", " ", "speed", "speed fast", "speed 3.1", "speed -1", "speed nan",
                                "speed inf", "speed 1e0", "speed 1 2", "speed 0x1", "heading 361", "heading",
                                "stop now", "SPEED 1", "speed1", "\xff\xfe", zeros, long_one}) {
    CAPTURE(text);
    World world;
    CHECK(obey(world, text, 1).starts_with("error "));
    CHECK(world.orders.speed_mps == Orders().speed_mps);
    CHECK_FALSE(world.orders.heading_deg);
    CHECK(world.orders.last.empty());
    CHECK(world.orders.refused == 1);
  }
}

TEST_CASE("the command line is read, mistakes are named") {
  const auto parsed =
      parse({"--seconds", "2.5", "--no-view", "--command-port=4000", "--log", "x.log", "--threads"});
  const auto* options = std::get_if<Options>(&parsed);
  REQUIRE(options != nullptr);
  CHECK(options->seconds == 2.5);
  CHECK_FALSE(options->view);
  CHECK(options->command_port == 4000);
  CHECK(options->log_path == "x.log");
  CHECK(options->way == Way::kThreads);
  CHECK(options->compare_seconds() == 0);

  CHECK(complaint({"--help"}).starts_with("0 rover: drives"));
  CHECK(complaint({"--sekonds"}).starts_with("2 rover: unknown option --sekonds"));
  CHECK(complaint({"--seconds"}).starts_with("2 rover: --seconds needs a value"));
  CHECK(complaint({"--seconds", "-1"}).starts_with("2 rover: --seconds -1: not a number"));
  CHECK(complaint({"--seconds", "nan"}).starts_with("2 rover: --seconds nan: not a number"));
  CHECK(complaint({"--command-port", "70000"}).starts_with("2 rover: --command-port 70000"));
  CHECK(complaint({"--command-port", "1.5"}).starts_with("2 rover: --command-port 1.5"));
  CHECK(complaint({"--no-view=1"}).starts_with("2 rover: --no-view takes no value"));
  CHECK(complaint({"--faults", "--threads"}).starts_with("2 rover: --faults is for the drive with Horus"));
  CHECK(complaint({"--faults", "--nmea", "a:1"}).starts_with("2 rover: --faults silences"));
  CHECK(
      complaint({"--faults", "--seconds", "5"}).starts_with("2 rover: --faults goes with --seconds 6 to 60"));
  CHECK(complaint({"--nmea", "a:1", "--nmea-file", "b"}).starts_with("2 rover: --nmea and --nmea-file"));
}

TEST_CASE("the comparison is part of the time that was asked for") {
  Options options;
  CHECK(options.compare_seconds() == 4);
  CHECK(options.drive_seconds() == 12);
  options.faults = true;
  CHECK(options.drive_seconds() == 20);
  options.faults = false;
  options.seconds = 3;
  CHECK(options.drive_seconds() + 2 * options.compare_seconds() == doctest::Approx(3));
  options.compare = false;
  CHECK(options.drive_seconds() == 3);
  options.seconds = 0;
  options.compare = true;
  CHECK(options.compare_seconds() == 0);
}

TEST_CASE("every fault strikes within the drive, and the receiver speaks again before the next one") {
  for (const double seconds : {kLeastFaultSeconds, 20.0, kMostFaultSeconds}) {
    const auto plan = fault_plan(seconds);
    REQUIRE(plan.size() == 4);
    for (size_t i = 0; i < plan.size(); ++i) {
      CHECK(plan[i].struck_ns == 0);
      CHECK((i == 0 ? horus::Duration(0) : plan[i - 1].at) < plan[i].at);
      CHECK(static_cast<double>(plan[i].at.count()) * 1e-9 < seconds);
    }
    CHECK(plan[2].node == "gps");
    CHECK(plan[2].at + silence_in(seconds) < plan[3].at);
    CHECK(silence_in(seconds) > 2 * gps_watchdog_in(seconds));
    CHECK(silence_in(seconds) < 3 * gps_watchdog_in(seconds));
  }
}

TEST_CASE("what the receiver says is what the parser reads, everywhere around home") {
  for (const double east : {-1000.0, -0.02, 0.0, 3.7, 104.2, 5000.0}) {
    Drive drive;
    drive.east_m = east;
    drive.north_m = -2 * east;
    drive.speed_mps = 1.25;
    drive.heading_deg = 359.9;
    NmeaInput input;
    Gps gps;
    input.take(gps, receiver_epoch(drive, 1'767'225'599'900), 5);
    CHECK(gps.refused == 0);
    CHECK(gps.epochs == 1);
    CHECK(gps.last_position_ns == 5);
    REQUIRE(gps.fix.has_position());
    CHECK(gps.fix.unix_time_ms() == 1'767'225'599'900);
    CHECK((*gps.fix.latitude_deg - kHomeLatitude_deg) * kMetresPerDegree ==
          doctest::Approx(-2 * east).epsilon(0.02));
    CHECK(*gps.fix.speed_mps == doctest::Approx(1.25).epsilon(0.01));
    CHECK(gps.fix.satellites == 9);
  }
}

TEST_CASE("the rover follows its route by what the receiver says, and stops when that falls silent") {
  World world;
  Controller controller;
  NmeaInput input;
  int64_t now = 1'000'000'000;
  const auto go = [&](int ticks, bool receiver) {
    for (int tick = 0; tick < ticks; ++tick, now += 10'000'000) {
      if (receiver && tick % 10 == 0) {
        input.take(world.gps, receiver_epoch(world.drive, 1'767'225'600'000 + now / 1'000'000), now);
      }
      controller.step(world, 0.01, now);
    }
  };
  go(100, false);
  CHECK(world.drive.distance_m == 0);  // no fix, no move
  go(6000, true);
  CHECK(world.drive.waypoints_reached >= 8);
  CHECK(std::abs(world.drive.east_m) < 15);
  CHECK(std::abs(world.drive.north_m) < 15);
  world.orders.heading_deg = 90;
  go(500, true);
  CHECK(std::abs(turn_between(world.drive.heading_deg, 90)) < 3);
  world.orders.stopped = true;
  go(300, true);
  CHECK(world.drive.speed_mps == 0);
  world.orders.stopped = false;
  go(300, true);
  CHECK(world.drive.speed_mps > 1);
  go(600, false);
  CHECK(world.drive.speed_mps == 0);
}

TEST_CASE("a receiver's log is played at the pace of its own clock") {
  NmeaPlayback playback;
  Drive drive;
  const auto pause = [&](int64_t unix_ms) {
    const std::string epoch = receiver_epoch(drive, unix_ms);
    return playback.pause_before(epoch.substr(0, epoch.find('\n') + 1));
  };
  CHECK(pause(1'000'000'000'000) == NmeaPlayback::kShortest_ns);
  CHECK(pause(1'000'000'000'000) == 0);
  CHECK(pause(1'000'000'000'200) == 200'000'000);
  CHECK(pause(1'000'000'060'000) == NmeaPlayback::kLongest_ns);
  CHECK(pause(1'000'000'000'000) == NmeaPlayback::kShortest_ns);  // begun afresh
  CHECK(playback.pause_before("noise\n") == 0);
}

TEST_CASE("health is read from the kernel's texts, and nonsense changes nothing") {
  Health health;
  HealthInput input;
  input.take_stat(health, "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 1 1 1\n");
  CHECK_FALSE(health.cpu_percent);
  input.take_stat(health, "cpu  125 0 125 850 0 0 0 0 0 0\n");
  REQUIRE(health.cpu_percent);
  CHECK(*health.cpu_percent == doctest::Approx(50));
  HealthInput::take_meminfo(health, "MemTotal:   1000 kB\nMemFree: 1 kB\nMemAvailable:    250 kB\n");
  CHECK(health.memory_total_bytes == 1000 * 1024);
  CHECK(health.memory_used_bytes == 750 * 1024);
  HealthInput::take_status(health, "Name:\trover\nVmRSS:\t    10 kB\nThreads:\t3\n");
  HealthInput::take_status(health, "VmRSS:\t    12 kB\nThreads:\t1\n");
  CHECK(health.rover_bytes == 12 * 1024);
  CHECK(health.threads == 1);
  HealthInput::take_temperature(health, "48200\n");
  CHECK(*health.temperature_c == doctest::Approx(48.2));

  const Health before = health;
  for (const char* text :
       {"", "cpu ", "cpu  1 2", "cpu  x", "MemTotal:", "MemTotal: 5 kB\n", "Threads:", "-5", "99999999"}) {
    input.take_stat(health, text);
    HealthInput::take_meminfo(health, text);
    HealthInput::take_status(health, text);
    HealthInput::take_temperature(health, text);
  }
  CHECK(health.cpu_percent == before.cpu_percent);
  CHECK(health.memory_used_bytes == before.memory_used_bytes);
  CHECK(health.temperature_c == before.temperature_c);
}

TEST_CASE("the log is written in batches, and bounded while the disk refuses") {
  LogBatch batch;
  CHECK_FALSE(batch.due(1'000'000'000'000));
  for (size_t i = 1; i < LogBatch::kFull; ++i) batch.add("x\n", 5);
  CHECK_FALSE(batch.due(5));
  CHECK(batch.due(5 + LogBatch::kOld_ns));
  batch.add("y\n", 6);
  CHECK(batch.due(6));
  CHECK(batch.text().ends_with("x\ny\n"));
  batch.written(LogBatch::kFull - 1, 7);
  CHECK(batch.text() == "y\n");
  size_t lost = 0;
  for (size_t i = 0; i < LogBatch::kMost + 10; ++i) lost += batch.add("z\n", 8);
  CHECK(lost == 11);
  CHECK(batch.size() == LogBatch::kMost);
}

TEST_CASE("a record of the log is one line of JSON, also without a fix") {
  World world;
  CHECK(
      log_record(world, 1'500) ==
      "{\"t\":1.500,\"lat\":null,\"lon\":null,\"speed\":0.00,\"heading\":0.0,\"driven\":0.00,\"waypoints\":0,"
      "\"pictures\":0,\"brightness\":0,\"cpu\":null}\n");
}
