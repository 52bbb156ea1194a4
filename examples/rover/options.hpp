// SPDX-License-Identifier: Apache-2.0
// The rover's command line. Plain values.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace rover {

/// How the rover does its I/O: awaited on one thread, or the two old ways.
enum class Way : uint8_t { kHorus, kBlocking, kThreads };
std::string_view name_of(Way way) noexcept;

struct Options {
  double seconds = 20;  // of the whole program; 0: until Ctrl-C
  Way way = Way::kHorus;
  bool compare = true;  // drive the old ways too
  bool faults = false;  // play what goes wrong
  bool view = true;
  bool realtime = true;        // ask for real-time priority; it is often refused
  std::string camera_command;  // for sh -c; empty: rover_camera beside this program
  std::string camera_program;  // rover_camera beside this program; main fills it in
  std::string nmea_address;    // HOST:PORT; empty: see nmea_file
  std::string nmea_file;       // empty too: a receiver of our own
  uint16_t command_port = 0;   // 0: the kernel chooses
  std::string share;           // name of a shared-memory hub for the pictures; empty: kept to ourselves
  std::string log_path;        // empty: rover.log in the folder for temporary files
  std::string
      timeline_path;        // the picture of the drive; empty: none, or rover.html beside the log with faults
  std::string record_path;  // of the drive's messages; empty: none
  std::string record_exactly_path;  // of all that the kernel says; empty: none
  std::string replay_exactly_path;  // such a recording to drive again; empty: drive

  /// Seconds for each of the old ways at the end, and what remains for the drive itself.
  double compare_seconds() const noexcept;
  double drive_seconds() const noexcept;
};

/// Print it and end: `--help`, or what is wrong with the command line.
struct Farewell {
  std::string text;
  int code = 0;
};

std::variant<Options, Farewell> parse_options(std::span<const char* const> arguments);

}  // namespace rover
