// SPDX-License-Identifier: Apache-2.0
// From bytes to the world, whatever way the bytes came: what the nodes of all three ways of driving have in common.
// Plain functions and values without I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "nmea.hpp"
#include "ppm.hpp"
#include "world.hpp"

namespace rover {

/// A picture has come: its size, how bright it is, how many there are per second.
void take_picture(Camera& camera, const PpmHeader& header, std::span<const uint8_t> pixels,
                  int64_t now_ns) noexcept;

/// Bytes of a receiver become the present fix.
class NmeaInput {
 public:
  void take(Gps& gps, std::string_view bytes, int64_t now_ns);
  const NmeaParser& parser() const noexcept { return parser_; }

 private:
  NmeaLines lines_;
  NmeaParser parser_;
};

/// Plays a receiver's log at its own pace.
class NmeaPlayback {
 public:
  static constexpr int64_t kShortest_ns = 20'000'000, kLongest_ns = 1'000'000'000;  // between two epochs

  /// How long after the epoch before this line is due; 0 for one that begins no epoch.
  int64_t pause_before(std::string_view line) noexcept;

 private:
  NmeaParser parser_;
};

/// What /proc and /sys say. Each takes the text of one file; what is missing in it changes nothing.
class HealthInput {
 public:
  void take_stat(Health& health, std::string_view proc_stat) noexcept;
  static void take_meminfo(Health& health, std::string_view proc_meminfo) noexcept;
  static void take_status(Health& health, std::string_view proc_self_status) noexcept;
  static void take_temperature(Health& health, std::string_view milli_degrees) noexcept;

 private:
  uint64_t busy_ = 0, total_ = 0;  // clock ticks of all cores
};

inline constexpr const char* kStatFile = "/proc/stat";
inline constexpr const char* kMeminfoFile = "/proc/meminfo";
inline constexpr const char* kStatusFile = "/proc/self/status";
inline constexpr const char* kTemperatureFile = "/sys/class/thermal/thermal_zone0/temp";

/// One line of the log: JSON, with its newline.
std::string log_record(const World& world, int64_t unix_ms);
std::string log_record_now(const World& world);

}  // namespace rover
