// SPDX-License-Identifier: Apache-2.0
// What the rover knows: one struct that the nodes fill and read. All of them run on one thread, so there is nothing
// to lock; a node writes its own part and reads the others'.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "faults.hpp"
#include "nmea.hpp"

namespace rover {

struct Camera {
  uint32_t width = 0, height = 0;
  uint64_t pictures = 0;
  size_t last_bytes = 0;
  double pictures_per_s = 0;
  double brightness = 0;  // 0 to 255
  int64_t last_ns = 0;
};

struct Gps {
  bool connected = false;
  std::string source;  // where the node looks for it: host:port or file
  bool own_receiver = false;
  Fix fix;
  uint64_t epochs = 0;
  uint64_t sentences = 0;
  uint64_t refused = 0;
  int64_t last_position_ns = 0;
};

struct Health {
  std::optional<double> cpu_percent;  // of all cores together
  uint64_t memory_used_bytes = 0, memory_total_bytes = 0;
  uint64_t rover_bytes = 0;  // resident memory of this process
  uint64_t threads = 0;      // of this process, kernel workers included
  std::optional<double> temperature_c;
};

/// What people told the rover to do.
struct Orders {
  double speed_mps = 1.5;
  std::optional<double> heading_deg;  // unset: follow the waypoints
  bool stopped = false;
  std::string last;  // as received, at most a line; anybody may have sent it
  int64_t received_ns = 0;
  uint64_t refused = 0;
};

/// Where the simulated rover is, metres from the point where it started; heading 0 is north, 90 east.
struct Drive {
  double east_m = 0, north_m = 0;
  double speed_mps = 0;
  double heading_deg = 0;
  uint64_t waypoints_reached = 0;
  double distance_m = 0;
};

struct Log {
  std::string path;
  uint64_t bytes = 0;  // on their way to the disk or there
  uint64_t records = 0;
  uint64_t lost = 0;  // records that did not fit while the disk refused them
};

struct World {
  Camera camera;
  Gps gps;
  Health health;
  Orders orders;
  Drive drive;
  Log log;
  std::string command_address;  // where the command node listens
  Faults faults;                // of a drive with --faults
};

/// The start of the drive when the rover plays its own receiver: the Royal Observatory's meridian.
inline constexpr double kHomeLatitude_deg = 51.47780;
inline constexpr double kHomeLongitude_deg = -0.00150;
inline constexpr double kMetresPerDegree = 111'320;

}  // namespace rover
