// SPDX-License-Identifier: Apache-2.0
// The log of an exact recording: events of a kind each, made of varints and bytes. Internal; plain data.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace horus::HORUS_ABI::io::replay {

inline constexpr char kMagic[8] = {'H', 'O', 'R', 'U', 'S', 'E', 'A', 'M'};
inline constexpr std::uint32_t kFormat = 1;
inline constexpr std::size_t kPreface = 4096;  // bytes before the first event

/// How far a file is written.
struct Extent {
  std::uint64_t bytes;  ///< of events, behind the preface
  std::uint32_t sum;    ///< of them: CRC-32C
  std::uint32_t last;   ///< Kind of the last one
};

/// What stands at the beginning of a file. Each event is followed by a new extent in the place that does not count, which then
/// counts: at whatever instant a process is killed, bytes and sum belong together.
struct Preface {
  char magic[8];
  std::uint32_t format;
  std::uint32_t current;  ///< the extent that counts
  Extent extents[2];
};

enum class Kind : std::uint8_t {
  program = 1,  ///< what was recorded: arguments, build, machine
  ring,         ///< a reactor begins: its ring
  clock,        ///< a reading of the monotonic clock: the difference to the one before it
  wall_clock,   ///< the same of UTC
  enter,        ///< a batch of entries, and of completions with what they wrote
  call,         ///< of a System: which, with which arguments (a checksum), what came of it
  decision,     ///< something that other threads had a part in was true
  post,         ///< the loop takes a closure that somebody posted
  job,          ///< work that was away on a pool comes back, with the calls that it made
  errand,       ///< work that the loop handed to itself
  foreign,      ///< work that another thread handed over
  result,       ///< what an offloaded function gave
  outside,      ///< what other threads have told the scheduler
  limit,        ///< the file has reached its largest size: the rest of the run is not in it
  end,          ///< the program has ended
};
[[nodiscard]] const char* name_of(Kind kind) noexcept;

/// Writes one event.
class Event {
 public:
  explicit Event(Kind kind) { bytes_.push_back(static_cast<std::byte>(kind)); }

  Event& number(std::uint64_t value) {
    while (value >= 0x80) {
      bytes_.push_back(static_cast<std::byte>(value | 0x80));
      value >>= 7;
    }
    bytes_.push_back(static_cast<std::byte>(value));
    return *this;
  }
  Event& signed_number(std::int64_t value) {
    return number((static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
  }
  Event& raw(const void* data, std::size_t size) {
    const auto* from = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), from, from + size);
    return *this;
  }
  /// With its length.
  Event& block(const void* data, std::size_t size) { return number(size).raw(data, size); }
  Event& text(std::string_view text) { return block(text.data(), text.size()); }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  /// The same memory for the next one.
  void begin(Kind kind) {
    bytes_.clear();
    bytes_.push_back(static_cast<std::byte>(kind));
  }

 private:
  std::vector<std::byte> bytes_;
};

/// Reads events. Nothing is trusted: what is cut off or too long gives zeros, and `broken()`.
class Cursor {
 public:
  Cursor() = default;
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  [[nodiscard]] bool at_end() const noexcept { return at_ >= bytes_.size(); }
  [[nodiscard]] std::size_t at() const noexcept { return at_; }
  [[nodiscard]] bool broken() const noexcept { return broken_; }
  /// Of the next event; Kind{0} at the end.
  [[nodiscard]] Kind kind() const noexcept { return at_end() ? Kind{} : static_cast<Kind>(bytes_[at_]); }
  void take_kind() noexcept { ++at_; }

  std::uint64_t number() noexcept {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_end()) return fail();
      const auto byte = static_cast<std::uint64_t>(bytes_[at_++]);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return fail();
  }
  std::int64_t signed_number() noexcept {
    const std::uint64_t value = number();
    return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
  }
  /// `size` bytes where they lie; none when there are not as many.
  std::span<const std::byte> raw(std::uint64_t size) noexcept {
    if (size > bytes_.size() - at_) return fail(), std::span<const std::byte>();
    const auto result = bytes_.subspan(at_, static_cast<std::size_t>(size));
    at_ += static_cast<std::size_t>(size);
    return result;
  }
  std::span<const std::byte> block() noexcept { return raw(number()); }
  std::string text() {
    const auto bytes = block();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  std::uint64_t fail() noexcept {
    broken_ = true;
    at_ = bytes_.size();
    return 0;
  }
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  bool broken_ = false;
};

/// What was recorded: the first event.
struct Program {
  std::string version;             ///< of Horus
  std::string machine;             ///< "x86_64"
  std::string file;                ///< of the program
  std::string folder;              ///< in which it ran
  std::string arguments;           ///< each with a zero behind it
  std::int64_t began_ns = 0;       ///< CLOCK_MONOTONIC
  std::int64_t began_wall_ns = 0;  ///< CLOCK_REALTIME
};

inline void write_program(Event& event, const Program& program) {
  event.text(program.version)
      .text(program.machine)
      .text(program.file)
      .text(program.folder)
      .text(program.arguments);
  event.signed_number(program.began_ns).signed_number(program.began_wall_ns);
}
inline Program read_program(Cursor& cursor) {
  Program program;
  for (std::string* text :
       {&program.version, &program.machine, &program.file, &program.folder, &program.arguments})
    *text = cursor.text();
  program.began_ns = cursor.signed_number();
  program.began_wall_ns = cursor.signed_number();
  return program;
}

}  // namespace horus::HORUS_ABI::io::replay
