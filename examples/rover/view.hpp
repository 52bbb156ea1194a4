// SPDX-License-Identifier: Apache-2.0
// What the rover shows: a calm live view, a plain line for logs and pipes, and the table at the end.
// Pure functions from values to text. Whoever calls them decides when, and owns the terminal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <horus/base/histogram.hpp>

namespace rover {

struct NodeView {
  std::string name;
  double rate_hz = 0;  // 0: event-driven
  uint64_t ticks = 0;
  uint64_t missed = 0;                      // releases without a tick; always 0 without a rate
  std::optional<uint64_t> lateness_p99_ns;  // release grid to start
  std::vector<uint64_t> lateness_ns;        // worst per moment, the newest last; drawn as a line of bars
};

struct GpsView {
  bool connected = false;
  std::string source;  // host:port or file
  std::optional<double> latitude_deg, longitude_deg, speed_mps, course_deg, altitude_m;
  std::optional<int32_t> time_of_day_ms;  // UTC
  std::optional<int> satellites;
  int mode = 0;  // 0 not said, 1 no fix, 2 flat, 3 with altitude
  uint64_t sentences = 0;
  uint64_t refused = 0;
};

struct CameraView {
  uint32_t width = 0, height = 0;
  double pictures_per_s = 0;
  uint64_t pictures = 0;
  size_t last_bytes = 0;
};

struct HealthView {
  std::optional<double> cpu_percent;  // of all cores together, 0 to 100
  uint64_t memory_used_bytes = 0, memory_total_bytes = 0;
  std::optional<double> temperature_c;
};

struct DriveView {
  double speed_mps = 0;
  double heading_deg = 0;
  std::string command;  // the last one, as received; anybody may have sent it
  double command_age_s = 0;
  std::string command_address;  // where commands are heard
};

struct LogView {
  std::string path;
  uint64_t bytes = 0;
  uint64_t records = 0;
};

struct RoverView {
  std::string how;  // "io_uring", "epoll", "blocking", "threads"
  double elapsed_s = 0;
  double length_s = 0;  // 0: until Ctrl-C
  std::vector<NodeView> nodes;
  GpsView gps;
  CameraView camera;
  HealthView health;
  DriveView drive;
  LogView log;
  std::vector<std::string> notices;  // lines that the program had to say, the newest last; may be empty
};

/// How large the terminal is and whether it wants colours (NO_COLOR).
struct Screen {
  int columns = 80;
  int rows = 24;
  bool colours = true;
};

/// Text to write once before the first and once after the last frame: another page of the screen without a cursor, and
/// back to the one before.
std::string_view open_screen() noexcept;
std::string_view close_screen() noexcept;

/// One frame, drawn over the one before without clearing the screen first, so that nothing flickers. No line is
/// wider than the screen, no frame higher; text from outside cannot reach the terminal as control sequences.
std::string live_frame(const RoverView& view, const Screen& screen);

/// The same in one line without control sequences, for outputs that are no terminal. Ends with a newline.
std::string plain_line(const RoverView& view);

struct Percentiles {
  uint64_t p50_ns = 0, p99_ns = 0, max_ns = 0;
};
std::optional<Percentiles> percentiles_of(const horus::Histogram& histogram);

struct TableRow {
  std::string name;
  double rate_hz = 0;  // 0: event-driven
  uint64_t ticks = 0;
  uint64_t missed = 0;
  std::optional<Percentiles> release_lateness, execution, suspended, response;
};

/// The table at the end: 79 columns, three lines for each node. `title` is the first line; it may be empty.
std::string table(std::string_view title, const std::vector<TableRow>& rows, bool colours);

/// One way of driving, as it is compared with the others.
struct ComparisonRow {
  std::string name;
  uint64_t in_time = 0, releases = 0;  // of the controller
  uint64_t threads = 0;                // as the kernel counts them, its own workers for this process included
  double cpu_percent = 0;              // of one core
  std::optional<uint64_t> lateness_p99_ns;
};

/// Line by line how many of the controller's ticks came in time; 79 columns at most. Percentages are rounded down.
std::string comparison(const std::vector<ComparisonRow>& rows, bool colours);

/// "850 ns", "2.1 µs", "81 µs", "1.4 s": at most six characters up to 999 s.
std::string duration_text(uint64_t ns);
/// "17 B", "225 KiB", "1.2 MiB".
std::string bytes_text(uint64_t bytes);

}  // namespace rover
