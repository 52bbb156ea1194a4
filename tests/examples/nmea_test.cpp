// SPDX-License-Identifier: Apache-2.0
// The rover's NMEA parser: field by field, on a log of our own making, and on receivers' logs against gpsd.
#include "nmea.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <numbers>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using rover::Fix;
using rover::NmeaLines;
using rover::NmeaOutcome;
using rover::NmeaParser;

namespace doctest {
template <>
struct StringMaker<NmeaOutcome> {
  static String convert(NmeaOutcome outcome) { return std::string(rover::describe(outcome)).c_str(); }
};
}  // namespace doctest

namespace {

std::string sentence(const std::string& body) {
  int sum = 0;
  for (char c : body) sum ^= c;
  char end[8];
  std::snprintf(end, sizeof end, "*%02X", static_cast<unsigned>(sum));
  return "$" + body + end;
}

NmeaOutcome outcome_of(const std::string& body) {
  NmeaParser parser;
  return parser.parse(sentence(body));
}

// The value, or one that no test expects.
template <class T>
T said(const std::optional<T>& value) {
  return value.value_or(static_cast<T>(-999));
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::optional<std::filesystem::path> directory_from(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr) return std::nullopt;
  return std::filesystem::path(value);
}

// The number or string behind "key": in one flat JSON object of gpsd's; empty when it is not there.
std::string json_value(std::string_view object, const std::string& key) {
  const std::string quoted = "\"" + key + "\":";
  const size_t at = object.find(quoted);
  if (at == std::string_view::npos) return {};
  std::string_view rest = object.substr(at + quoted.size());
  if (rest.front() == '"') return std::string(rest.substr(1, rest.find('"', 1) - 1));
  return std::string(rest.substr(0, rest.find_first_of(",}")));
}

// "2026-08-05T05:52:34.200Z" as NMEA would say it, in milliseconds since 1970.
int64_t unix_ms(const std::string& iso) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, ms = 0;
  REQUIRE(std::sscanf(iso.c_str(), "%d-%d-%dT%d:%d:%d.%dZ", &year, &month, &day, &hour, &minute, &second,
                      &ms) == 7);
  std::tm time{};
  time.tm_year = year - 1900;
  time.tm_mon = month - 1;
  time.tm_mday = day;
  time.tm_hour = hour;
  time.tm_min = minute;
  time.tm_sec = second;
  return static_cast<int64_t>(timegm(&time)) * 1000 + ms;
}

}  // namespace

TEST_CASE("an RMC gives time, date, position, speed and course") {
  NmeaParser parser;
  CHECK(parser.parse("$GPRMC,123519.25,A,4807.038,N,01131.000,W,022.4,084.4,230394,003.1,W*4A\r\n") ==
        NmeaOutcome::kWrongChecksum);
  CHECK(parser.epochs() == 0);
  CHECK(parser.parse(sentence("GPRMC,123519.25,A,4807.038,S,01131.000,W,022.4,084.4,230394,003.1,W")) ==
        NmeaOutcome::kMerged);
  const Fix& fix = parser.fix();
  CHECK(said(fix.time_of_day_ms) == ((12 * 60 + 35) * 60 + 19) * 1000 + 250);
  CHECK(said(fix.unix_time_ms()) == unix_ms("1994-03-23T12:35:19.250Z"));
  CHECK(said(fix.latitude_deg) == doctest::Approx(-(48 + 7.038 / 60)).epsilon(1e-12));
  CHECK(said(fix.longitude_deg) == doctest::Approx(-(11 + 31.0 / 60)).epsilon(1e-12));
  CHECK(said(fix.speed_mps) == doctest::Approx(22.4 * 0.514444444).epsilon(1e-8));
  CHECK(said(fix.course_deg) == doctest::Approx(84.4));
  CHECK_FALSE(fix.altitude_msl_m.has_value());
}

TEST_CASE("sentences with one time make one fix, another time begins the next") {
  NmeaParser parser;
  parser.parse(sentence("GPRMC,101010,A,4807.038,N,01131.000,E,10.0,84.4,230324,,"));
  parser.parse(sentence("GPGGA,101010,4807.038,N,01131.000,E,4,08,0.9,545.4,M,46.9,M,,"));
  parser.parse(sentence("GPGSA,A,3,04,05,,09,12,,,24,,,,,2.5,1.3,2.1"));
  CHECK(parser.epochs() == 1);
  CHECK(parser.fix().quality == 4);
  CHECK(parser.fix().mode == 3);
  CHECK(said(parser.fix().satellites) == 8);
  CHECK(said(parser.fix().altitude_msl_m) == doctest::Approx(545.4));
  CHECK(said(parser.fix().hdop) == doctest::Approx(1.3));

  parser.parse(sentence("GPGLL,4807.100,N,01131.000,E,101011,A,A"));
  CHECK(parser.epochs() == 2);
  CHECK_FALSE(parser.fix().altitude_msl_m.has_value());
  CHECK_FALSE(parser.fix().speed_mps.has_value());
  CHECK(said(parser.fix().unix_time_ms()) == unix_ms("2024-03-23T10:10:11.000Z"));
  parser.parse(sentence("GPVTG,054.7,T,034.4,M,,N,036.0,K"));
  CHECK(said(parser.fix().speed_mps) == doctest::Approx(10.0));
  CHECK(parser.epochs() == 2);
}

TEST_CASE("a receiver without a fix is no error and leaves no old position behind") {
  NmeaParser parser;
  parser.parse(sentence("GPRMC,101010,A,4807.038,N,01131.000,E,10.0,84.4,230324,,"));
  REQUIRE(parser.fix().has_position());
  for (const char* line : {"$GPGGA,,,,,,0,,,,M,,M,,*66", "$GPGLL,,,,,,V,N*64", "$GPGSA,A,1,,,,,,,,,,,,,,,*1E",
                           "$GPRMC,,V,,,,,,,,,,N*53", "$GPVTG,,T,,M,,N,,K,N*2C"}) {
    CHECK(parser.parse(line) == NmeaOutcome::kMerged);
    CHECK_FALSE(parser.fix().has_position());
  }
  CHECK(parser.refused() == 0);
}

TEST_CASE("the date moves on at midnight, before the next RMC says so") {
  NmeaParser parser;
  parser.parse(sentence("GPRMC,235959.5,A,4807.038,N,01131.000,E,10.0,84.4,311225,,"));
  parser.parse(sentence("GPGGA,000000.0,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"));
  CHECK(said(parser.fix().unix_time_ms()) == unix_ms("2026-01-01T00:00:00.000Z"));
}

TEST_CASE("every malformed line is refused for its reason and changes nothing") {
  CHECK(outcome_of("GPGSV,1,1,00") == NmeaOutcome::kIgnored);
  CHECK(outcome_of("PUBX,00,1") == NmeaOutcome::kIgnored);
  CHECK(NmeaParser().parse("!AIVDM,1,1,,A,13aEOK?P00PD2wVMdLDRhgvL289?,0*26") == NmeaOutcome::kIgnored);
  CHECK(NmeaParser().parse("") == NmeaOutcome::kEmpty);
  CHECK(NmeaParser().parse(" \r\n") == NmeaOutcome::kEmpty);
  CHECK(NmeaParser().parse("# a comment in a log") == NmeaOutcome::kNoStart);
  CHECK(NmeaParser().parse("$") == NmeaOutcome::kNoChecksum);
  CHECK(NmeaParser().parse("$*00") == NmeaOutcome::kBadAddress);
  CHECK(NmeaParser().parse("$GPGGA,1*") == NmeaOutcome::kNoChecksum);
  CHECK(NmeaParser().parse("$GPGGA,1*G0") == NmeaOutcome::kNoChecksum);
  CHECK(NmeaParser().parse("$GPGGA,1*00") == NmeaOutcome::kWrongChecksum);
  CHECK(NmeaParser().parse("$GPGGA,\x01*00") == NmeaOutcome::kBadCharacter);
  CHECK(NmeaParser().parse("$GPGGA,\xc3\xa4*00") == NmeaOutcome::kBadCharacter);
  CHECK(outcome_of("GPTXT," + std::string(NmeaParser::kMaxSentence - 10, 'x')) == NmeaOutcome::kIgnored);
  CHECK(outcome_of("GPTXT," + std::string(NmeaParser::kMaxSentence - 9, 'x')) == NmeaOutcome::kTooLong);
  CHECK(outcome_of("gprmc,1") == NmeaOutcome::kBadAddress);
  CHECK(outcome_of("GP") == NmeaOutcome::kBadAddress);
  CHECK(outcome_of("GPRMC") == NmeaOutcome::kMissingFields);
  CHECK(outcome_of("GPGGA,,,,,,0,,") == NmeaOutcome::kMissingFields);

  const auto rmc = [](const std::string& time, const std::string& status, const std::string& position,
                      const std::string& speed, const std::string& course, const std::string& date) {
    return outcome_of("GPRMC," + time + "," + status + "," + position + "," + speed + "," + course + "," +
                      date);
  };
  const std::string here = "4807.038,N,01131.000,E";
  CHECK(rmc("101010", "A", here, "1.5", "84.4", "230324") == NmeaOutcome::kMerged);
  CHECK(rmc("235960", "A", here, "", "", "311216") == NmeaOutcome::kMerged);  // a leap second
  for (const char* time :
       {"1", "240000", "106010", "101061", "101010,5", "1010.10", "10101x", "101010.x", "-10101"}) {
    CAPTURE(time);
    CHECK(rmc(time, "A", here, "1.5", "84.4", "230324") != NmeaOutcome::kMerged);
  }
  CHECK(rmc("240000", "A", here, "", "", "") == NmeaOutcome::kBadTime);
  CHECK(rmc("101010", "X", here, "", "", "") == NmeaOutcome::kBadStatus);
  CHECK(rmc("101010", "", here, "", "", "") == NmeaOutcome::kBadStatus);
  for (const char* date : {"310224", "000124", "011324", "2303", "23032024", "x30324"}) {
    CAPTURE(date);
    CHECK(rmc("101010", "A", here, "", "", date) == NmeaOutcome::kBadDate);
  }
  for (const char* position :
       {"4860.000,N,01131.000,E", "9000.001,N,01131.000,E", "4807.038,N,18000.001,E",
        "4807.038,E,01131.000,N", "4807.038,,01131.000,E", "4807.038,N,,", "07.038,N,01131.000,E",
        "nan,N,01131.000,E", "1e3,N,01131.000,E", "-4807.038,N,01131.000,E", "4807.0.38,N,01131.000,E",
        "480700.38,N,01131.000,E", ",N,01131.000,E"}) {
    CAPTURE(position);
    CHECK(rmc("101010", "A", position, "", "", "") == NmeaOutcome::kBadPosition);
  }
  for (const char* speed : {"x", "-1", "1e3", "inf", "1.2.3", ".", "-", "999999"}) {
    CAPTURE(speed);
    CHECK(rmc("101010", "A", here, speed, "", "") == NmeaOutcome::kBadNumber);
  }
  CHECK(rmc("101010", "A", here, "", "361", "") == NmeaOutcome::kBadNumber);
  CHECK(outcome_of("GPGSA,A,4,,,,,,,,,,,,,,,") == NmeaOutcome::kBadStatus);
  CHECK(outcome_of("GPGGA,101010,4807.038,N,01131.000,E,,08,0.9,545.4,M") == NmeaOutcome::kBadStatus);
  CHECK(outcome_of("GPGLL,4807.038,N,01131.000,E,101010,") == NmeaOutcome::kBadStatus);

  NmeaParser parser;
  parser.parse(sentence("GPRMC,101010,A,4807.038,N,01131.000,E,10.0,84.4,230324,,"));
  parser.parse(sentence("GPRMC,101011,A,9907.038,N,01131.000,E,20.0,84.4,230324,,"));
  CHECK(parser.epochs() == 1);
  CHECK(said(parser.fix().latitude_deg) == doctest::Approx(48.1173));
  CHECK(parser.refused() == 1);
}

TEST_CASE("a sentence without a time is not given to an epoch that may be over") {
  NmeaParser parser;
  const std::string course = sentence("GPVTG,054.7,T,,M,,N,036.0,K");
  parser.parse(sentence("GPRMC,101010,A,4807.038,N,01131.000,E,10.0,84.4,230324,,"));
  parser.parse("# a comment is not a lost sentence");
  CHECK(parser.parse(course) == NmeaOutcome::kMerged);
  CHECK(parser.parse("$GPRMC,101011,A,4807.0") == NmeaOutcome::kNoChecksum);
  CHECK(parser.parse(course) == NmeaOutcome::kIgnored);
  CHECK(parser.parse(sentence("GPGLL,4807.100,N,01131.000,E,101011,A,A")) == NmeaOutcome::kMerged);
  CHECK(parser.parse(course) == NmeaOutcome::kMerged);
}

TEST_CASE("noise in front of a sentence does not cost the sentence") {
  NmeaParser parser;
  CHECK(parser.parse("\x7f\x80$GPRM" + sentence("GPGLL,4807.100,N,01131.000,E,101011,A,A")) ==
        NmeaOutcome::kMerged);
}

TEST_CASE("lines come out whole however the bytes arrive, and too long ones are bounded") {
  const std::string stream = "$A\r\n\r\nsecond\n" + std::string(1000, 'x') + "\r\n$last\nnot finished";
  for (size_t piece : {size_t{1}, size_t{2}, size_t{3}, size_t{7}, size_t{100}, stream.size()}) {
    NmeaLines lines;
    std::vector<std::string> got;
    for (size_t at = 0; at < stream.size(); at += piece) {
      lines.feed(std::string_view(stream).substr(at, piece),
                 [&](std::string_view line) { got.emplace_back(line); });
    }
    CHECK(got ==
          std::vector<std::string>{"$A", "second", std::string(NmeaParser::kMaxSentence + 1, 'x'), "$last"});
  }
}

TEST_CASE("a megabyte of noise and of broken sentences is refused, never believed") {
  std::mt19937 random(11);
  NmeaParser parser;
  NmeaLines lines;
  const std::string good = sentence("GPGGA,101010,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,") + "\r\n";
  for (int i = 0; i < 20'000; ++i) {
    std::string text = good;
    for (uint32_t changes = 1 + random() % 4; changes > 0; --changes) {
      text[random() % text.size()] = static_cast<char>(random());
    }
    if (i % 7 == 0) text.resize(random() % text.size());
    lines.feed(text, [&](std::string_view line) { parser.parse(line); });
  }
  CHECK(parser.refused() > 15'000);
  const Fix& fix = parser.fix();
  if (fix.has_position()) CHECK(std::abs(said(fix.latitude_deg)) <= 90);
}

TEST_CASE("the rover's own log: a circle across the Greenwich meridian and the turn of the year") {
  const auto data = directory_from("HORUS_TEST_DATA");
  if (!data) {
    MESSAGE("skipped: HORUS_TEST_DATA does not name tests/data");
    return;
  }
  const std::string log = read_file(*data / "rover.nmea");
  REQUIRE_FALSE(log.empty());
  NmeaParser parser;
  NmeaLines lines;
  std::map<int64_t, Fix> fixes;
  lines.feed(log, [&](std::string_view line) {
    parser.parse(line);
    if (auto time = parser.fix().unix_time_ms()) fixes[*time] = parser.fix();
  });
  CHECK(parser.lines() == 207);
  CHECK(parser.count(NmeaOutcome::kMerged) == 193);
  CHECK(parser.count(NmeaOutcome::kIgnored) == 7);        // 4 of another kind, 3 that follow a refused one
  CHECK(parser.count(NmeaOutcome::kNoStart) == 2);        // the comment; a sentence that lost its start
  CHECK(parser.count(NmeaOutcome::kWrongChecksum) == 1);  // a flipped digit
  CHECK(parser.count(NmeaOutcome::kNoChecksum) == 1);     // a sentence that was cut off
  CHECK(parser.count(NmeaOutcome::kBadPosition) == 1);    // 99 minutes
  CHECK(parser.count(NmeaOutcome::kBadDate) == 1);        // 31 February
  CHECK(parser.count(NmeaOutcome::kTooLong) == 1);
  CHECK(parser.epochs() == 40);
  REQUIRE(fixes.size() == 40);

  int second = 0;
  const int64_t start = unix_ms("2025-12-31T23:59:40.000Z");
  for (const auto& [time, fix] : fixes) {
    CAPTURE(second);
    const double angle = 2 * std::numbers::pi * second / 40;
    const double latitude = 51.4779 + 12 * std::cos(angle) / 111320;
    const double longitude = 12 * std::sin(angle) / (111320 * std::cos(51.4779 * std::numbers::pi / 180));
    CHECK(time == start + int64_t{second} * 1000);
    CHECK(std::abs(said(fix.latitude_deg) - latitude) < 1e-7);
    CHECK(std::abs(said(fix.longitude_deg) - longitude) < 1e-7);
    if (second == 12) {
      CHECK_FALSE(fix.speed_mps.has_value());  // its RMC was cut off, so its VTG has no place
    } else {
      CHECK(std::abs(said(fix.speed_mps) - 2 * std::numbers::pi * 12 / 40) < 0.001);
      CHECK(std::abs(said(fix.course_deg) - std::fmod(second * 9 + 90, 360)) < 0.01);
    }
    CHECK(fix.mode == (second == 7 || second == 31 ? 0 : 3));  // a GSA after a refused GGA; a broken GSA
    if (second == 7) {
      CHECK_FALSE(fix.altitude_msl_m.has_value());  // its GGA was refused
    } else {
      CHECK(std::abs(said(fix.altitude_msl_m) - (46 + 2 * std::sin(angle))) <= 0.0501);
      CHECK(said(fix.satellites) == 9 + second % 4);
      CHECK(fix.quality == 1);
    }
    ++second;
  }
}

TEST_CASE("receivers' logs give what gpsd makes of them") {
  // gpsd's .chk files repeat the sentences and tell, after each that matters, what gpsd believed at that point.
  const auto root = directory_from("HORUS_SOURCE_ROOT");
  const auto folder = root.value_or("") / ".." / "shared" / "data" / "nmea";
  std::error_code error;
  if (!root || !std::filesystem::is_directory(folder, error)) {
    MESSAGE("skipped: no receivers' logs beside the source tree");
    return;
  }
  int logs = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (!file.path().string().ends_with(".log.chk")) continue;
    ++logs;
    const std::string name = file.path().filename();
    CAPTURE(name);
    std::ifstream lines(file.path());
    NmeaParser parser;
    int positions = 0, times = 0, speeds = 0, altitudes = 0, courses = 0, derived_speeds = 0;
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("{")) {
        const NmeaOutcome outcome = parser.parse(line);
        REQUIRE((outcome == NmeaOutcome::kMerged || outcome == NmeaOutcome::kIgnored));
        continue;
      }
      if (json_value(line, "class") != "TPV") continue;
      CAPTURE(line);
      const Fix& fix = parser.fix();
      const std::string latitude = json_value(line, "lat"), longitude = json_value(line, "lon"),
                        time = json_value(line, "time"), speed = json_value(line, "speed"),
                        altitude = json_value(line, "altMSL"), course = json_value(line, "track");
      REQUIRE(fix.has_position() == !latitude.empty());
      if (!latitude.empty()) {
        ++positions;
        REQUIRE(std::abs(said(fix.latitude_deg) - std::stod(latitude)) < 1e-8);
        REQUIRE(std::abs(said(fix.longitude_deg) - std::stod(longitude)) < 1e-8);
      }
      REQUIRE(fix.unix_time_ms().has_value() == !time.empty());
      if (!time.empty()) {
        ++times;
        REQUIRE(said(fix.unix_time_ms()) == unix_ms(time));
      }
      if (!speed.empty() && !fix.speed_mps) {
        ++derived_speeds;  // gpsd derives a speed from two positions until the receiver says its own
      } else if (fix.has_position()) {
        REQUIRE(fix.speed_mps.has_value() == !speed.empty());
        if (!speed.empty()) {
          ++speeds;
          REQUIRE(std::abs(said(fix.speed_mps) - std::stod(speed)) < 0.00051);
        }
      }
      if (!altitude.empty()) {
        ++altitudes;
        REQUIRE(fix.altitude_msl_m.has_value());
        REQUIRE(std::abs(said(fix.altitude_msl_m) - std::stod(altitude)) < 1e-4);
      }
      if (!course.empty()) {
        ++courses;
        REQUIRE(fix.course_deg.has_value());
        REQUIRE(std::abs(said(fix.course_deg) - std::stod(course)) < 1e-4);
      }
    }
    MESSAGE(name << ": " << positions << " positions, " << times << " times, " << speeds << " speeds, "
                 << altitudes << " altitudes, " << courses << " courses as gpsd has them; " << derived_speeds
                 << " speeds that gpsd derived");
    CHECK(positions > 60);
    CHECK(speeds > 30);
  }
  CHECK(logs >= 3);
}
