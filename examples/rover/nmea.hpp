// SPDX-License-Identifier: Apache-2.0
// NMEA 0183, as GPS receivers speak it: lines from a byte stream, checked, and merged into one fix per epoch.
// Plain values without threads or I/O; the GPS node owns one of each.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace rover {

/// What became of a line. Up to kIgnored the line was in order; the rest are reasons for refusing it.
enum class NmeaOutcome : uint8_t {
  kMerged,         // RMC, GGA, GLL, VTG or GSA: now part of the fix
  kIgnored,        // in order, but says nothing about the fix, or nobody knows about which
  kEmpty,          // nothing but white space
  kNoStart,        // no '$' or '!': line noise, or a comment in a log
  kTooLong,        // more than kMaxSentence characters
  kBadCharacter,   // something that is not printable ASCII
  kNoChecksum,     // no '*' with two hexadecimal digits at the end
  kWrongChecksum,  // the checksum is another one
  kBadAddress,     // the address field is not a talker and a type
  kMissingFields,  // fewer fields than the type has
  kBadTime,        // not hhmmss with hours, minutes and seconds in range
  kBadDate,        // not a ddmmyy that exists
  kBadPosition,    // not degrees and minutes in range with a hemisphere
  kBadNumber,      // another numeric field that is no number, or out of range
  kBadStatus,      // a status, quality or mode that the standard does not know
};
inline constexpr size_t kNmeaOutcomes = static_cast<size_t>(NmeaOutcome::kBadStatus) + 1;

/// A few words for people; a view of static text.
std::string_view describe(NmeaOutcome outcome) noexcept;

/// What the receiver says about one moment. Empty means that no sentence of this epoch has said it (yet).
struct Fix {
  std::optional<int32_t> time_of_day_ms;  // UTC since midnight
  std::optional<int32_t> date_days;       // UTC days since 1970-01-01; kept from epoch to epoch
  std::optional<double> latitude_deg;     // north positive, WGS 84
  std::optional<double> longitude_deg;    // east positive
  std::optional<double> speed_mps;        // over ground
  std::optional<double> course_deg;       // over ground, true, 0 to 360
  std::optional<double> altitude_msl_m;   // above mean sea level
  std::optional<double> hdop;             // horizontal dilution of precision
  std::optional<int> satellites;          // in use; many receivers stop at 12
  int quality = 0;  // of GGA: 0 none, 1 GPS, 2 differential, 4 RTK, 5 float RTK, 6 dead reckoning
  int mode = 0;     // of GSA: 0 not said, 1 none, 2 flat (2D), 3 with altitude (3D)

  bool has_position() const noexcept { return latitude_deg.has_value(); }
  /// UTC milliseconds since 1970, when both date and time are known.
  std::optional<int64_t> unix_time_ms() const noexcept;
};

/// Reads sentences and merges those that bear the same time. A sentence with another time starts a new epoch:
/// all but the date is forgotten. A refused sentence changes no value; but as it may have been the one that begins
/// an epoch, sentences without a time (VTG, GSA) are ignored from there to the next one with a time.
///
/// Nothing here throws or allocates.
class NmeaParser {
 public:
  /// The standard allows 82 characters; receivers are known to send somewhat more.
  static constexpr size_t kMaxSentence = 128;

  /// Takes one line, with or without its line end. Noise before the last '$' of the line is passed over.
  NmeaOutcome parse(std::string_view line) noexcept;

  /// What the sentences of the present epoch have said so far.
  const Fix& fix() const noexcept { return fix_; }
  /// Number of epochs begun.
  uint64_t epochs() const noexcept { return epochs_; }
  /// Number of lines with this outcome.
  uint64_t count(NmeaOutcome outcome) const noexcept { return counts_[static_cast<size_t>(outcome)]; }
  uint64_t lines() const noexcept;
  uint64_t refused() const noexcept;

 private:
  NmeaOutcome read(std::string_view line) noexcept;
  NmeaOutcome merge(std::string_view type, std::string_view fields) noexcept;
  NmeaOutcome merge_rmc(const class Fields& fields) noexcept;
  NmeaOutcome merge_gga(const class Fields& fields) noexcept;
  NmeaOutcome merge_gll(const class Fields& fields) noexcept;
  NmeaOutcome merge_vtg(const class Fields& fields) noexcept;
  NmeaOutcome merge_gsa(const class Fields& fields) noexcept;
  void begin_epoch(std::optional<int32_t> time_of_day_ms) noexcept;

  Fix fix_;
  bool epoch_in_doubt_ = false;
  uint64_t epochs_ = 0;
  std::array<uint64_t, kNmeaOutcomes> counts_{};
};

/// Cuts a byte stream into lines, in a buffer of fixed size. A line that does not fit is cut short to one byte
/// more than a sentence may have, so that the parser refuses it, and the rest up to its end is dropped.
class NmeaLines {
 public:
  /// Calls `on_line(std::string_view)` for each line that `bytes` completes. The view lives during the call.
  template <class OnLine>
  void feed(std::string_view bytes, OnLine&& on_line) {
    for (char byte : bytes) {
      if (byte == '\n' || byte == '\r') {
        if (size_ > 0) on_line(std::string_view(buffer_.data(), size_));
        size_ = 0;
      } else if (size_ < buffer_.size()) {
        buffer_[size_++] = byte;
      }
    }
  }

 private:
  std::array<char, NmeaParser::kMaxSentence + 1> buffer_;
  size_t size_ = 0;
};

}  // namespace rover
