// SPDX-License-Identifier: Apache-2.0
// The sentences, field by field. Each is read into locals first and merged only when all of it is in order.
#include "nmea.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>

namespace rover {

namespace {

constexpr double kMetresPerSecondPerKnot = 1852.0 / 3600.0;
constexpr double kMetresPerSecondPerKmh = 1.0 / 3.6;

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_upper(char c) noexcept { return c >= 'A' && c <= 'Z'; }

int hex_digit(char c) noexcept {
  if (is_digit(c)) return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Digits with an optional sign and point: what NMEA calls a number. No exponent, no "nan".
bool read_number(std::string_view text, double& number) noexcept {
  const std::string_view digits = !text.empty() && text.front() == '-' ? text.substr(1) : text;
  if (digits.empty() || digits.find_first_not_of("0123456789.") != std::string_view::npos) return false;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  return error == std::errc{} && end == text.data() + text.size();
}

// An optional number within bounds; false when the field holds something else.
bool read_optional(std::string_view text, double least, double most, std::optional<double>& number) noexcept {
  number.reset();
  if (text.empty()) return true;
  double value = 0;
  if (!read_number(text, value) || value < least || value > most) return false;
  number = value;
  return true;
}

int two_digits(std::string_view text, size_t at) noexcept {
  return is_digit(text[at]) && is_digit(text[at + 1]) ? (text[at] - '0') * 10 + (text[at + 1] - '0') : -1;
}

// hhmmss or hhmmss.s...; a leap second is a second.
bool read_time(std::string_view text, std::optional<int32_t>& time_of_day_ms) noexcept {
  time_of_day_ms.reset();
  if (text.empty()) return true;
  if (text.size() < 6) return false;
  const int hours = two_digits(text, 0), minutes = two_digits(text, 2), seconds = two_digits(text, 4);
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59 || seconds < 0 || seconds > 60) return false;
  int milliseconds = 0;
  if (text.size() > 6) {
    if (text[6] != '.') return false;
    int scale = 100;
    for (char c : text.substr(7)) {
      if (!is_digit(c)) return false;
      milliseconds += (c - '0') * scale;
      scale /= 10;
    }
  }
  time_of_day_ms = ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds;
  return true;
}

// ddmmyy. The first GPS satellite flew in 1978, so 80 to 99 are of the last century.
bool read_date(std::string_view text, std::optional<int32_t>& date_days) noexcept {
  date_days.reset();
  if (text.empty()) return true;
  if (text.size() != 6) return false;
  const int day = two_digits(text, 0), month = two_digits(text, 2), year = two_digits(text, 4);
  if (day < 0 || month < 0 || year < 0) return false;
  const std::chrono::year_month_day date{std::chrono::year(year < 80 ? 2000 + year : 1900 + year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return false;
  date_days = static_cast<int32_t>(std::chrono::sys_days(date).time_since_epoch().count());
  return true;
}

// (d)ddmm.mmm and a hemisphere; both empty means that there is no position.
bool read_angle(std::string_view text, std::string_view hemisphere, std::string_view letters, double most,
                std::optional<double>& angle_deg) noexcept {
  angle_deg.reset();
  if (text.empty()) return hemisphere.empty() || (hemisphere.size() == 1 && letters.find(hemisphere[0]) < 2);
  double number = 0;
  if (!is_digit(text[0]) || !read_number(text, number)) return false;
  if (hemisphere.size() != 1 || letters.find(hemisphere[0]) == std::string_view::npos) return false;
  const size_t whole = std::min(text.find('.'), text.size());
  if (whole < 3 || whole > 5) return false;
  const double degrees = std::floor(number / 100);
  const double minutes = number - degrees * 100;
  const double angle = degrees + minutes / 60;
  if (minutes >= 60 || angle > most) return false;
  angle_deg = hemisphere[0] == letters[0] ? angle : -angle;
  return true;
}

struct Position {
  std::optional<double> latitude_deg, longitude_deg;
};

bool is_one_of(std::string_view field, std::string_view letters) noexcept {
  return field.size() == 1 && letters.find(field[0]) != std::string_view::npos;
}

}  // namespace

/// The comma-separated fields of one sentence; number 0 is the first after the address.
class Fields {
 public:
  explicit Fields(std::string_view text) noexcept {
    while (size_ < fields_.size()) {
      const size_t comma = text.find(',');
      fields_[size_++] = text.substr(0, comma);
      if (comma == std::string_view::npos) return;
      text.remove_prefix(comma + 1);
    }
  }
  size_t size() const noexcept { return size_; }
  std::string_view operator[](size_t index) const noexcept {
    return index < size_ ? fields_[index] : std::string_view{};
  }
  /// Latitude, N or S, longitude, E or W from `index` on. A half of a position is none.
  bool read_position(size_t index, Position& position) const noexcept {
    const Fields& f = *this;
    return read_angle(f[index], f[index + 1], "NS", 90, position.latitude_deg) &&
           read_angle(f[index + 2], f[index + 3], "EW", 180, position.longitude_deg) &&
           position.latitude_deg.has_value() == position.longitude_deg.has_value();
  }

 private:
  std::array<std::string_view, 24> fields_;  // no sentence read here has more; others are only counted
  size_t size_ = 0;
};

std::string_view describe(NmeaOutcome outcome) noexcept {
  switch (outcome) {
    case NmeaOutcome::kMerged: return "merged";
    case NmeaOutcome::kIgnored: return "ignored";
    case NmeaOutcome::kEmpty: return "empty line";
    case NmeaOutcome::kNoStart: return "no $ or !";
    case NmeaOutcome::kTooLong: return "too long";
    case NmeaOutcome::kBadCharacter: return "unprintable character";
    case NmeaOutcome::kNoChecksum: return "no checksum";
    case NmeaOutcome::kWrongChecksum: return "wrong checksum";
    case NmeaOutcome::kBadAddress: return "bad address";
    case NmeaOutcome::kMissingFields: return "missing fields";
    case NmeaOutcome::kBadTime: return "bad time";
    case NmeaOutcome::kBadDate: return "bad date";
    case NmeaOutcome::kBadPosition: return "bad position";
    case NmeaOutcome::kBadNumber: return "bad number";
    case NmeaOutcome::kBadStatus: return "bad status";
  }
  return "unknown";
}

std::optional<int64_t> Fix::unix_time_ms() const noexcept {
  if (!date_days || !time_of_day_ms) return std::nullopt;
  return int64_t{*date_days} * 86'400'000 + *time_of_day_ms;
}

uint64_t NmeaParser::lines() const noexcept {
  uint64_t sum = 0;
  for (uint64_t count : counts_) sum += count;
  return sum;
}

uint64_t NmeaParser::refused() const noexcept {
  return lines() - count(NmeaOutcome::kMerged) - count(NmeaOutcome::kIgnored);
}

NmeaOutcome NmeaParser::parse(std::string_view line) noexcept {
  const NmeaOutcome outcome = read(line);
  const bool refused = outcome != NmeaOutcome::kMerged && outcome != NmeaOutcome::kIgnored;
  if (refused && outcome != NmeaOutcome::kEmpty && line.front() != '#') epoch_in_doubt_ = true;
  ++counts_[static_cast<size_t>(outcome)];
  return outcome;
}

// Everything that holds for all types: bounds, start, characters, checksum, address.
NmeaOutcome NmeaParser::read(std::string_view line) noexcept {
  constexpr std::string_view kWhite = " \t\r\n";
  const size_t last = line.find_last_not_of(kWhite);
  if (last == std::string_view::npos) return NmeaOutcome::kEmpty;
  line = line.substr(0, last + 1);

  const size_t start = line.find_last_of("$!");
  if (start == std::string_view::npos) {
    return line.size() > kMaxSentence ? NmeaOutcome::kTooLong : NmeaOutcome::kNoStart;
  }
  line.remove_prefix(start);
  if (line.size() > kMaxSentence) return NmeaOutcome::kTooLong;
  for (char c : line) {
    if (c < ' ' || c > '~') return NmeaOutcome::kBadCharacter;
  }

  if (line.size() < 4 || line[line.size() - 3] != '*') return NmeaOutcome::kNoChecksum;
  const int high = hex_digit(line[line.size() - 2]), low = hex_digit(line[line.size() - 1]);
  if (high < 0 || low < 0) return NmeaOutcome::kNoChecksum;
  const std::string_view body = line.substr(1, line.size() - 4);
  int sum = 0;
  for (char c : body) sum ^= c;
  if (sum != high * 16 + low) return NmeaOutcome::kWrongChecksum;

  const size_t comma = std::min(body.find(','), body.size());
  const std::string_view address = body.substr(0, comma);
  if (address.size() < 3) return NmeaOutcome::kBadAddress;
  for (char c : address) {
    if (!is_upper(c) && !is_digit(c)) return NmeaOutcome::kBadAddress;
  }
  // Proprietary sentences ($P...) and encapsulated ones (!AIVDM) are somebody else's.
  if (line[0] == '!' || address[0] == 'P' || address.size() != 5) return NmeaOutcome::kIgnored;
  return merge(address.substr(2), comma < body.size() ? body.substr(comma + 1) : std::string_view{});
}

NmeaOutcome NmeaParser::merge(std::string_view type, std::string_view fields) noexcept {
  if (type == "RMC") return merge_rmc(Fields(fields));
  if (type == "GGA") return merge_gga(Fields(fields));
  if (type == "GLL") return merge_gll(Fields(fields));
  if (type == "VTG") return merge_vtg(Fields(fields));
  if (type == "GSA") return merge_gsa(Fields(fields));
  return NmeaOutcome::kIgnored;
}

void NmeaParser::begin_epoch(std::optional<int32_t> time_of_day_ms) noexcept {
  epoch_in_doubt_ = false;
  if (epochs_ > 0 && time_of_day_ms == fix_.time_of_day_ms) return;
  auto date_days = fix_.date_days;
  // Past midnight: the new date comes only with the next RMC.
  constexpr int32_t kHalfDay_ms = 43'200'000;
  if (date_days && time_of_day_ms && fix_.time_of_day_ms &&
      *time_of_day_ms < *fix_.time_of_day_ms - kHalfDay_ms) {
    ++*date_days;
  }
  fix_ = Fix{};
  fix_.time_of_day_ms = time_of_day_ms;
  fix_.date_days = date_days;
  ++epochs_;
}

// time, status, latitude, N/S, longitude, E/W, knots, course, date, variation, E/W, mode
NmeaOutcome NmeaParser::merge_rmc(const Fields& fields) noexcept {
  if (fields.size() < 9) return NmeaOutcome::kMissingFields;
  std::optional<int32_t> time, date;
  Position position;
  std::optional<double> knots, course;
  if (!read_time(fields[0], time)) return NmeaOutcome::kBadTime;
  if (!is_one_of(fields[1], "AV")) return NmeaOutcome::kBadStatus;
  if (!fields.read_position(2, position)) return NmeaOutcome::kBadPosition;
  if (!read_optional(fields[6], 0, 1e5, knots)) return NmeaOutcome::kBadNumber;
  if (!read_optional(fields[7], 0, 360, course)) return NmeaOutcome::kBadNumber;
  if (!read_date(fields[8], date)) return NmeaOutcome::kBadDate;

  begin_epoch(time);
  if (date) fix_.date_days = date;
  if (fields[1] == "V") return NmeaOutcome::kMerged;  // a warning: what else it says is not to be used
  if (position.latitude_deg) {
    fix_.latitude_deg = position.latitude_deg;
    fix_.longitude_deg = position.longitude_deg;
  }
  if (knots) fix_.speed_mps = *knots * kMetresPerSecondPerKnot;
  if (course) fix_.course_deg = course;
  return NmeaOutcome::kMerged;
}

// time, latitude, N/S, longitude, E/W, quality, satellites, HDOP, altitude, M, geoid separation, M, age, station
NmeaOutcome NmeaParser::merge_gga(const Fields& fields) noexcept {
  if (fields.size() < 10) return NmeaOutcome::kMissingFields;
  std::optional<int32_t> time;
  Position position;
  std::optional<double> satellites, hdop, altitude;
  if (!read_time(fields[0], time)) return NmeaOutcome::kBadTime;
  if (!fields.read_position(1, position)) return NmeaOutcome::kBadPosition;
  if (!is_one_of(fields[5], "0123456789")) return NmeaOutcome::kBadStatus;
  if (!read_optional(fields[6], 0, 999, satellites)) return NmeaOutcome::kBadNumber;
  if (!read_optional(fields[7], 0, 1e4, hdop)) return NmeaOutcome::kBadNumber;
  if (!read_optional(fields[8], -1e6, 1e8, altitude)) return NmeaOutcome::kBadNumber;

  begin_epoch(time);
  fix_.quality = fields[5][0] - '0';
  if (satellites) fix_.satellites = static_cast<int>(*satellites);
  if (fix_.quality == 0) return NmeaOutcome::kMerged;
  if (position.latitude_deg) {
    fix_.latitude_deg = position.latitude_deg;
    fix_.longitude_deg = position.longitude_deg;
  }
  if (hdop) fix_.hdop = hdop;
  if (altitude) fix_.altitude_msl_m = altitude;
  return NmeaOutcome::kMerged;
}

// latitude, N/S, longitude, E/W, time, status, mode
NmeaOutcome NmeaParser::merge_gll(const Fields& fields) noexcept {
  if (fields.size() < 6) return NmeaOutcome::kMissingFields;
  std::optional<int32_t> time;
  Position position;
  if (!fields.read_position(0, position)) return NmeaOutcome::kBadPosition;
  if (!read_time(fields[4], time)) return NmeaOutcome::kBadTime;
  if (!is_one_of(fields[5], "AV")) return NmeaOutcome::kBadStatus;

  begin_epoch(time);
  if (fields[5] == "A" && position.latitude_deg) {
    fix_.latitude_deg = position.latitude_deg;
    fix_.longitude_deg = position.longitude_deg;
  }
  return NmeaOutcome::kMerged;
}

// course, T, magnetic course, M, knots, N, km/h, K, mode. Bears no time: it belongs to the present epoch.
NmeaOutcome NmeaParser::merge_vtg(const Fields& fields) noexcept {
  if (fields.size() < 8) return NmeaOutcome::kMissingFields;
  std::optional<double> course, knots, kmh;
  if (!read_optional(fields[0], 0, 360, course)) return NmeaOutcome::kBadNumber;
  if (!read_optional(fields[4], 0, 1e5, knots)) return NmeaOutcome::kBadNumber;
  if (!read_optional(fields[6], 0, 2e5, kmh)) return NmeaOutcome::kBadNumber;
  if (epoch_in_doubt_) return NmeaOutcome::kIgnored;
  if (fields[8] == "N") return NmeaOutcome::kMerged;

  if (course) fix_.course_deg = course;
  if (knots) {
    fix_.speed_mps = *knots * kMetresPerSecondPerKnot;
  } else if (kmh) {
    fix_.speed_mps = *kmh * kMetresPerSecondPerKmh;
  }
  return NmeaOutcome::kMerged;
}

// selection, mode, 12 satellites, PDOP, HDOP, VDOP. No time either; one sentence per constellation.
NmeaOutcome NmeaParser::merge_gsa(const Fields& fields) noexcept {
  if (fields.size() < 17) return NmeaOutcome::kMissingFields;
  std::optional<double> hdop;
  if (!is_one_of(fields[1], "123")) return NmeaOutcome::kBadStatus;
  if (!read_optional(fields[15], 0, 1e4, hdop)) return NmeaOutcome::kBadNumber;

  if (epoch_in_doubt_) return NmeaOutcome::kIgnored;
  fix_.mode = std::max(fix_.mode, fields[1][0] - '0');
  if (hdop && fix_.mode > 1) fix_.hdop = hdop;
  return NmeaOutcome::kMerged;
}

}  // namespace rover
