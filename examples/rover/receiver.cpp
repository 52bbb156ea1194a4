// SPDX-License-Identifier: Apache-2.0
#include "receiver.hpp"

#include <chrono>
#include <cmath>
#include <numbers>
#include <string_view>

#include <fmt/format.h>

#include <horus/io/reactor.hpp>

namespace rover {

namespace {

constexpr double kKnotsPerMetrePerSecond = 3600.0 / 1852.0;

void append_sentence(std::string& out, std::string_view body) {
  unsigned checksum = 0;
  for (char c : body) checksum ^= static_cast<unsigned char>(c);
  out += fmt::format("${}*{:02X}\r\n", body, checksum);
}

// ddmm.mmmmm: five decimals of a minute are 2 cm.
std::string angle(double degrees, int width, char positive, char negative) {
  const auto minutes = static_cast<int64_t>(std::llround(std::abs(degrees) * 60 * 1e5));  // 1e-5 minutes
  return fmt::format("{:0{}}{:02}.{:05},{}", minutes / 6'000'000, width, minutes / 100'000 % 60,
                     minutes % 100'000, degrees < 0 ? negative : positive);
}

}  // namespace

std::string receiver_epoch(const Drive& drive, int64_t unix_ms) {
  using namespace std::chrono;
  const sys_time<milliseconds> moment{milliseconds(unix_ms)};
  const auto day = floor<days>(moment);
  const year_month_day date{day};
  const hh_mm_ss clock{moment - day};
  const std::string time =
      fmt::format("{:02}{:02}{:02}.{:03}", clock.hours().count(), clock.minutes().count(),
                  clock.seconds().count(), clock.subseconds().count());
  const double latitude = kHomeLatitude_deg + drive.north_m / kMetresPerDegree;
  const double longitude =
      kHomeLongitude_deg +
      drive.east_m / (kMetresPerDegree * std::cos(kHomeLatitude_deg * std::numbers::pi / 180));
  const std::string position = angle(latitude, 2, 'N', 'S') + "," + angle(longitude, 3, 'E', 'W');

  std::string out;
  append_sentence(out, fmt::format("GPRMC,{},A,{},{:.2f},{:.1f},{:02}{:02}{:02},,,A", time, position,
                                   drive.speed_mps * kKnotsPerMetrePerSecond, drive.heading_deg,
                                   static_cast<unsigned>(date.day()), static_cast<unsigned>(date.month()),
                                   static_cast<int>(date.year()) % 100));
  append_sentence(out, fmt::format("GPGGA,{},{},1,09,0.9,46.0,M,45.6,M,,", time, position));
  append_sentence(out, "GPGSA,A,3,02,07,14,15,17,20,22,30,31,,,,1.5,0.9,1.2");
  return out;
}

std::string receiver_epoch_now(const Drive& drive) {
  return receiver_epoch(drive, horus::wall_clock_ns() / 1'000'000);
}

}  // namespace rover
