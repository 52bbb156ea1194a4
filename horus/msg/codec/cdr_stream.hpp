// SPDX-License-Identifier: Apache-2.0
// Values one after the other in CDR. Positions count from behind its header. One thread each. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::msg {

static_assert(std::endian::native == std::endian::little, "CDR is copied from memory");

struct RosTime {
  std::int32_t sec;
  std::uint32_t nanosec;
};
constexpr std::int64_t kNsPerSecond = 1'000'000'000;

/// What ROS' time cannot say becomes its first or last.
constexpr RosTime to_ros_time(std::int64_t ns) noexcept {
  std::int64_t seconds = ns / kNsPerSecond;
  std::int64_t rest = ns % kNsPerSecond;
  if (rest < 0) {
    --seconds;
    rest += kNsPerSecond;
  }
  if (seconds < INT32_MIN) return {INT32_MIN, 0};
  if (seconds > INT32_MAX) return {INT32_MAX, static_cast<std::uint32_t>(kNsPerSecond - 1)};
  return {static_cast<std::int32_t>(seconds), static_cast<std::uint32_t>(rest)};
}
constexpr std::int64_t from_ros_time(RosTime time) noexcept {
  return std::int64_t{time.sec} * kNsPerSecond + time.nanosec;
}

/// Writes as long as there is room, and counts what it takes: without memory it counts alone.
class CdrWriter {
 public:
  explicit CdrWriter(std::span<std::byte> to) noexcept : to_(to.data()), room_(to.size()) {}

  void align(std::size_t alignment) noexcept {
    const std::size_t padding = (0 - at_) & (alignment - 1);
    if (padding > 0 && has_room(padding)) std::memset(to_ + at_, 0, padding);
    at_ += padding;
  }
  void bytes(const void* from, std::size_t size) noexcept {
    if (size > 0 && has_room(size)) std::memcpy(to_ + at_, from, size);
    at_ += size;
  }
  template <class N>
    requires std::is_arithmetic_v<N>
  void number(N value) noexcept {
    align(sizeof(N));
    bytes(&value, sizeof(N));
  }
  void text(std::string_view value) noexcept {
    number(static_cast<std::uint32_t>(value.size() + 1));
    bytes(value.data(), value.size());
    number(std::uint8_t{0});
  }
  void time(std::int64_t ns) noexcept {
    const RosTime time = to_ros_time(ns);
    number(time.sec);
    number(time.nanosec);
  }
  [[nodiscard]] std::size_t position() const noexcept { return at_; }

 private:
  [[nodiscard]] bool has_room(std::size_t size) const noexcept { return at_ <= room_ && size <= room_ - at_; }

  std::byte* to_;
  std::size_t room_;
  std::size_t at_ = 0;
};

/// Reads what may come from anybody. After the first failure `ok()` is false, and nothing more is read.
class HORUS_API CdrReader {
 public:
  explicit CdrReader(std::span<const std::byte> from) noexcept : from_(from) {}

  bool align(std::size_t alignment) { return skip((0 - at_) & (alignment - 1)); }
  bool skip(std::size_t size) {
    if (size > left()) return fail("it ends here");
    at_ += size;
    return true;
  }
  /// Null: it ends too early.
  const std::byte* bytes(std::size_t size) {
    const std::byte* found = from_.data() + at_;
    return skip(size) ? found : nullptr;
  }
  bool bytes(void* to, std::size_t size) {
    const std::byte* found = bytes(size);
    if (found != nullptr && size > 0) std::memcpy(to, found, size);
    return found != nullptr;
  }
  template <class N>
    requires std::is_arithmetic_v<N>
  bool number(N& value) {
    return align(sizeof(N)) && bytes(&value, sizeof(N));
  }
  bool boolean(bool& value) {
    std::uint8_t byte = 0;
    if (!number(byte)) return false;
    value = byte != 0;
    return true;
  }
  bool time(std::int64_t& ns) {
    RosTime time{};
    if (!number(time.sec) || !number(time.nanosec)) return false;
    ns = from_ros_time(time);
    return true;
  }
  /// The characters, without the zero behind them.
  bool text(std::string_view& value);
  /// Into `room` bytes that are zero.
  bool text(char* to, std::size_t room);
  /// The length of a list. More values than can be in what is left, of `least` bytes each, are a failure.
  bool length(std::size_t& count, std::size_t least);

  /// Always false.
  bool fail(std::string why) {
    if (why_.empty()) why_ = std::move(why);
    return false;
  }
  /// Names the field that a failure is about; always false, and the first name counts.
  bool blame(std::string_view field) {
    if (field_.empty()) field_ = field;
    return false;
  }
  [[nodiscard]] bool ok() const noexcept { return why_.empty(); }
  [[nodiscard]] const std::string& why() const noexcept { return why_; }
  [[nodiscard]] const std::string& field() const noexcept { return field_; }
  [[nodiscard]] std::size_t position() const noexcept { return at_; }
  [[nodiscard]] std::size_t left() const noexcept { return from_.size() - at_; }

 private:
  std::span<const std::byte> from_;
  std::size_t at_ = 0;
  std::string why_;
  std::string field_;
};

}  // namespace horus::HORUS_ABI::msg
