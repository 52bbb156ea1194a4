// SPDX-License-Identifier: Apache-2.0
// What the safety monitor has to say: a bounded ring, and a thread that finds the names of a stack's functions (which takes
// memory and the loader's lock) and writes the lines. Internal.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/base/thread_look.hpp>

namespace horus::HORUS_ABI::detail {

[[nodiscard]] constexpr std::int64_t whole_ms(std::int64_t ns) noexcept { return ns / 1'000'000; }

/// Text without allocation; what does not fit is cut off.
template <std::size_t Size>
class FixedText {
 public:
  template <class... Arguments>
  FixedText& add(fmt::format_string<Arguments...> format, Arguments&&... arguments) noexcept {
    const auto result =
        fmt::format_to_n(text_ + size_, Size - size_, format, std::forward<Arguments>(arguments)...);
    size_ += result.size < Size - size_ ? result.size : Size - size_;
    return *this;
  }
  void clear() noexcept { size_ = 0; }
  [[nodiscard]] std::string_view view() const noexcept { return {text_, size_}; }

 private:
  char text_[Size];
  std::size_t size_ = 0;
};

/// Semantics: one thread says; nothing it calls allocates, locks or waits. A full ring loses the new line and counts it.
class MonitorLog {
 public:
  struct Line {
    LogLevel level = LogLevel::warning;
    FixedText<768> text;
    Stack stack;  // appended with its names when it has frames
  };

  MonitorLog() = default;
  MonitorLog(const MonitorLog&) = delete;
  MonitorLog& operator=(const MonitorLog&) = delete;
  ~MonitorLog() { stop(); }

  void start();
  /// Writes what is left, for at most a second: a sink that hangs keeps its thread, and nobody else.
  void stop() noexcept;
  /// A line to fill; `say` hands it over. Null when the ring is full.
  [[nodiscard]] Line* begin(LogLevel level) noexcept;
  void say() noexcept;
  /// Waits until everything is written, at most so long.
  bool flush(std::int64_t limit_ns) noexcept;

 private:
  static constexpr std::uint32_t kLines = 32;
  struct Ring {
    std::array<Line, kLines> lines;
    std::atomic<std::uint32_t> head{0};  // next to be written
    std::atomic<std::uint32_t> tail{0};  // next to be filled; a futex
    std::atomic<std::uint32_t> lost{0};
    std::atomic<bool> ending{false};
  };
  static void write(Ring& ring) noexcept;
  static void wake(Ring& ring) noexcept;

  std::shared_ptr<Ring> ring_;
  std::thread thread_;
};

}  // namespace horus::HORUS_ABI::detail
