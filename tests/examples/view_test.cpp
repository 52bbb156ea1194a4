// SPDX-License-Identifier: Apache-2.0
// The rover's view: what it says, and that it keeps to the screen whatever it is given.
#include "view.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace rover;

namespace {

// Columns of a line: code points, without control sequences.
int width_of(std::string_view line) {
  int width = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      while (i < line.size() && (line[i] < '@' || line[i] > '~' || line[i] == '[')) ++i;
    } else if ((static_cast<unsigned char>(line[i]) & 0xc0) != 0x80 && line[i] != '\r') {
      ++width;
    }
  }
  return width;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  size_t at = 0;
  for (size_t end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    lines.push_back(text.substr(at, end - at));
  }
  if (at < text.size()) lines.push_back(text.substr(at));
  return lines;
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

RoverView a_drive() {
  RoverView view;
  view.how = "io_uring";
  view.elapsed_s = 72.43;
  view.length_s = 90;
  view.nodes = {{"control", 100, 7243, 0, 81'000, {40'000, 90'000, 7'000'000}},
                {"camera", 0, 1448, 0, {}, {}},
                {"logger", 5, 361, 1, 1'400'000, {2'000'000}}};
  view.gps = {true, "127.0.0.1:10110", 51.4779, -0.00014, 1.885, 117.3, 46.2, 86'392'000, 9, 3, 1204, 3};
  view.camera = {320, 240, 19.9, 1448, 230'400};
  view.health = {12.4, 1'234'567'890, 4'123'456'789, 48.2};
  view.drive = {1.5, 117, "speed 1.5", 3.2};
  view.log = {"rover.log", 1'234'567, 4000};
  return view;
}

}  // namespace

TEST_CASE("the live view says what there is to say") {
  const std::string frame = live_frame(a_drive(), Screen{80, 24, false});
  for (const char* part : {"io_uring",     "1:12.4 of 1:30.0",
                           "100 Hz",       "7243",
                           "81 µs",        "▁▂█",
                           "51.47790° N",  "0.00014° W",
                           "46.2 m",       "3D",
                           "23:59:52 UTC", "1.89 m/s",
                           "↘ 117°",       "320 × 240",
                           "225 KiB",      "12 %",
                           "48 °C",        "speed 1.5",
                           "1.2 MiB",      "3 bad"}) {
    CAPTURE(part);
    CHECK(contains(frame, part));
  }
}

TEST_CASE("a frame redraws from the top left without clearing what stays the same") {
  const std::string frame = live_frame(a_drive(), Screen{});
  CHECK(frame.starts_with("\x1b[H"));
  CHECK(frame.ends_with("\x1b[J"));
  CHECK_FALSE(contains(frame, "\x1b[2J"));
  CHECK_FALSE(contains(live_frame(a_drive(), Screen{80, 24, false}), "m\x1b"));
}

TEST_CASE("nothing known yet is no error") {
  const std::string frame = live_frame(RoverView{}, Screen{80, 24, false});
  CHECK(contains(frame, "waiting for"));
  CHECK(contains(frame, "no picture yet"));
  CHECK(contains(frame, "none yet"));
  CHECK(contains(plain_line(RoverView{}), "gps waiting"));
}

TEST_CASE("every frame fits every screen") {
  RoverView crowded = a_drive();
  crowded.gps.source = crowded.drive.command = crowded.log.path = std::string(1000, 'x');
  crowded.gps.sentences = crowded.nodes[0].ticks = crowded.camera.pictures =
      std::numeric_limits<uint64_t>::max();
  crowded.nodes[0].lateness_ns.assign(1000, 5'000'000);
  for (int i = 0; i < 40; ++i) crowded.nodes.push_back({"a node with a long name", 1000, 1, 1, 1, {1}});
  for (const RoverView& view : {RoverView{}, a_drive(), crowded}) {
    for (int columns : {1, 10, 40, 79, 80, 81, 200}) {
      for (int rows : {1, 2, 5, 12, 24, 60}) {
        CAPTURE(columns);
        CAPTURE(rows);
        for (bool colours : {false, true}) {
          const auto lines = lines_of(live_frame(view, Screen{columns, rows, colours}));
          CHECK(static_cast<int>(lines.size()) <= std::max(rows, 2));  // the last one holds only the erasing
          for (const std::string& line : lines) CHECK(width_of(line) <= columns);
        }
      }
    }
  }
}

TEST_CASE("what others send cannot reach the terminal as control sequences") {
  RoverView view = a_drive();
  view.drive.command = "\x1b]0;owned\x07\x1b[2J\r\n\x9b\xff";
  view.nodes[0].name = "\x1b[31mred";
  view.log.path = "\n\n\n";
  const std::string frame = live_frame(view, Screen{80, 24, false});
  CHECK(contains(frame, ".]0;owned..[2J...."));
  CHECK_FALSE(contains(frame, "\x1b[2J"));
  CHECK_FALSE(contains(frame, "\x1b[31m"));
  CHECK(lines_of(frame).size() == lines_of(live_frame(a_drive(), Screen{80, 24, false})).size());
  CHECK_FALSE(contains(plain_line(view), "\x1b"));
}

TEST_CASE("the plain line is one line without control sequences") {
  const std::string line = plain_line(a_drive());
  CHECK(line ==
        "  1:12.4  control 7243 ticks, 0 missed, late p99 81 µs;  gps 51.47790 -0.00014 1.89 m/s;  "
        "camera 19.9/s;  cpu 12 %;  log 1.2 MiB\n");
}

TEST_CASE("a notice has a line of its own, and no place for control sequences") {
  RoverView view = a_drive();
  view.notices = {"gps: connect 127.0.0.1:1: refused\x1b[2J\n"};
  const std::string frame = live_frame(view, Screen{80, 24, false});
  CHECK(contains(frame, "notice     gps: connect 127.0.0.1:1: refused.[2J."));
}

TEST_CASE("the comparison says how many ticks came in time, rounded down") {
  const std::vector<ComparisonRow> rows{{"blocking", 80, 400, 1, 3.4, 39'000'000},
                                        {"threads", 399, 400, 6, 12.5, 1'100'000},
                                        {"Horus", 199'999, 200'000, 1, 2.1, 210'000},
                                        {"a very long name", 0, 0, 0, 0, {}}};
  const std::string text = comparison(rows, false);
  for (const std::string& line : lines_of(text)) CHECK(width_of(line) <= 79);
  for (const char* part : {"20.00 %", "99.75 %", "99.99 %", "80 of 400", "39 ms", "6"}) {
    CAPTURE(part);
    CHECK(contains(text, part));
  }
  CHECK_FALSE(contains(text, "100.00 %"));
}

TEST_CASE("the table shows the four numbers within 79 columns") {
  std::vector<TableRow> rows(3);
  rows[0] = {"control",
             1000,
             200'000'000,
             0,
             Percentiles{52'000, 81'000, 210'000},
             Percentiles{2'100, 8'400, 31'000},
             Percentiles{},
             Percentiles{58'000, 92'000, 230'000}};
  rows[1] = {"camera", 0, 398, 0, {}, Percentiles{1, 2, 3}, {}, {}};
  rows[2] = {"a very long name", 0.5, 99'999, 1, {}, {}, {}, {}};
  const std::string text = table("Two thousand seconds", rows, false);
  for (const std::string& line : lines_of(text)) CHECK(width_of(line) <= 79);
  for (const char* part : {"Two thousand seconds", "1000 Hz", "100.00 %", "event", "52 µs", "8.4 µs",
                           "230 µs", "0.5 Hz", "99.99 %", "1 missed", "3 ns"}) {
    CAPTURE(part);
    CHECK(contains(text, part));
  }
  CHECK_FALSE(contains(text, "\x1b"));
  CHECK(contains(table("", rows, true), "\x1b"));
  CHECK(lines_of(table("", {}, false)).size() == 1);
}

TEST_CASE("kept is 100 % only when nothing was missed") {
  const auto kept = [](uint64_t ticks, uint64_t missed) {
    return table("", {{"n", 100, ticks, missed, {}, {}, {}, {}}}, false);
  };
  CHECK(contains(kept(1'000'000'000, 0), "100.00 %"));
  CHECK(contains(kept(1'000'000'000, 1), " 99.99 %"));
  CHECK(contains(kept(1, 3), " 25.00 %"));
  CHECK_FALSE(contains(kept(0, 0), "%"));
}

TEST_CASE("durations and sizes have sensible units and never more than seven characters") {
  CHECK(duration_text(0) == "0 ns");
  CHECK(duration_text(999) == "999 ns");
  CHECK(duration_text(1'000) == "1.0 µs");
  CHECK(duration_text(9'949) == "9.9 µs");
  CHECK(duration_text(9'951) == "10 µs");
  CHECK(duration_text(999'499) == "999 µs");
  CHECK(duration_text(999'501) == "1.0 ms");
  CHECK(duration_text(52'000'000) == "52 ms");
  CHECK(duration_text(1'400'000'000) == "1.4 s");
  CHECK(duration_text(3'600'000'000'000) == "3600 s");
  CHECK(bytes_text(0) == "0 B");
  CHECK(bytes_text(1023) == "1023 B");
  CHECK(bytes_text(1024) == "1.0 KiB");
  CHECK(bytes_text(230'400) == "225 KiB");
  CHECK(bytes_text(1'048'575) == "1.0 MiB");
  CHECK(bytes_text(std::numeric_limits<uint64_t>::max()) == "16 EiB");
}

TEST_CASE("percentiles come from a histogram, none from an empty one") {
  horus::Histogram histogram;
  CHECK_FALSE(percentiles_of(histogram).has_value());
  for (uint64_t i = 1; i <= 100; ++i) histogram.record(i);
  const Percentiles percentiles = percentiles_of(histogram).value_or(Percentiles{});
  CHECK(percentiles.p50_ns == 50);
  CHECK(percentiles.p99_ns == 99);
  CHECK(percentiles.max_ns == 100);
}

TEST_CASE("in a narrow terminal what is too wide goes on below") {
  const std::string frame = live_frame(a_drive(), Screen{60, 40, false});
  for (const char* value :
       {"1:12.4 of 1:30.0", "51.47790° N", "0.00014° W", "46.2 m", "9 satellites, 3D", "23:59:52 UTC",
        "1204 lines, 3 bad", "225 KiB each, 1448 pictures", "of 3.8 GiB", "48 °C", "rover.log"})
    CHECK_MESSAGE(contains(frame, value), value);
  const auto wide = lines_of(live_frame(a_drive(), Screen{120, 40, false}));
  CHECK(lines_of(frame).size() > wide.size());
  // Colours go on below, too.
  for (const std::string& line : lines_of(live_frame(a_drive(), Screen{50, 40, true})))
    CHECK(width_of(line) <= 50);
}
