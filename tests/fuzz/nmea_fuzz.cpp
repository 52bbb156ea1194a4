// SPDX-License-Identifier: Apache-2.0
// The rover's NMEA reader over any bytes of a serial line: every line has one outcome, every value is within its range, and
// how the bytes were cut makes no difference. Each line also comes with the checksum it should have had.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "nmea.hpp"

namespace {

using rover::NmeaOutcome;
using rover::NmeaParser;

void must(bool holds) {
  if (!holds) std::abort();
}

template <class Number>
void must_be_within(const std::optional<Number>& value, double least, double most) {
  must(!value || (static_cast<double>(*value) >= least && static_cast<double>(*value) <= most));
}

void must_be_sound(const rover::Fix& fix) {
  must_be_within(fix.time_of_day_ms, 0, 86'401'000);  // a leap second is a second
  must_be_within(fix.date_days, 3652, 40'176);        // 1980 to 2079
  must_be_within(fix.latitude_deg, -90, 90);
  must_be_within(fix.longitude_deg, -180, 180);
  must(fix.latitude_deg.has_value() == fix.longitude_deg.has_value());
  must_be_within(fix.course_deg, 0, 360);
  must(!fix.speed_mps || (std::isfinite(*fix.speed_mps) && *fix.speed_mps >= 0));
  must(!fix.altitude_msl_m || std::isfinite(*fix.altitude_msl_m));
  must(!fix.hdop || (std::isfinite(*fix.hdop) && *fix.hdop >= 0));
  must(!fix.satellites || *fix.satellites >= 0);
  must(fix.quality >= 0 && fix.quality <= 9 && fix.mode >= 0 && fix.mode <= 3);
  static_cast<void>(fix.unix_time_ms());
}

void must_count(const NmeaParser& parser) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < rover::kNmeaOutcomes; ++i) {
    const auto outcome = static_cast<NmeaOutcome>(i);
    must(!rover::describe(outcome).empty());
    sum += parser.count(outcome);
  }
  must(sum == parser.lines() && parser.refused() <= parser.lines());
}

bool is_same(const std::optional<double>& one, const std::optional<double>& other) { return one == other; }

std::string with_checksum(std::string_view line) {
  std::string_view body = line.substr(0, line.rfind('*'));
  if (!body.empty() && body.front() == '$') body.remove_prefix(1);
  unsigned sum = 0;
  for (const char c : body) sum ^= static_cast<unsigned char>(c);
  constexpr char kHex[] = "0123456789ABCDEF";
  return "$" + std::string(body) + "*" + kHex[sum >> 4 & 15U] + kHex[sum & 15U];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::size_t piece = 1 + data[0] % 32;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);

  NmeaParser whole;
  NmeaParser corrected;
  rover::NmeaLines lines;
  lines.feed(bytes, [&](std::string_view line) {
    must(line.size() <= NmeaParser::kMaxSentence + 1);
    static_cast<void>(whole.parse(line));
    must_be_sound(whole.fix());
    const NmeaOutcome outcome = corrected.parse(with_checksum(line));
    must(outcome != NmeaOutcome::kNoChecksum);
    must_be_sound(corrected.fix());
  });
  must_count(whole);
  must_count(corrected);

  NmeaParser pieces;
  rover::NmeaLines cut;
  for (std::size_t at = 0; at < bytes.size(); at += piece)
    cut.feed(bytes.substr(at, piece), [&](std::string_view line) { static_cast<void>(pieces.parse(line)); });
  must(pieces.lines() == whole.lines() && pieces.refused() == whole.refused() &&
       pieces.epochs() == whole.epochs() && is_same(pieces.fix().latitude_deg, whole.fix().latitude_deg) &&
       is_same(pieces.fix().longitude_deg, whole.fix().longitude_deg));
  return 0;
}
