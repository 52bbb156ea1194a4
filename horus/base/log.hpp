// SPDX-License-Identifier: Apache-2.0
// One line per event for a person who runs the program. Any thread. Goes to stderr unless a sink is set.
//
// Logging never waits: a line goes into a bounded ring, and a thread of the log writes it. While that thread cannot
// write (a stopped terminal, a full pipe, a slow sink), the oldest lines are dropped and the log reports how many.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>

namespace horus::HORUS_ABI {

enum class LogLevel { debug, info, warning, error };

/// Receives every line at or above the level, without a newline: one at a time, in order, on the log's own thread,
/// soon after it was logged. Call flush_log() before you look at the collected lines. A sink may log, flush and set
/// sinks itself.
using LogSink = std::function<void(LogLevel, std::string_view line)>;

/// Replaces the sink (stderr at first); an empty function restores stderr. Returns the previous one.
///
/// Earlier lines go to the previous sink, which is no longer in use when this returns. A sink that does not return
/// within 5 s is abandoned in its call, so it and everything that it refers to must stay alive. Any thread.
HORUS_API LogSink set_log_sink(LogSink sink);
/// Lines below this level are dropped. Default: info; HORUS_LOG=debug|info|warning|error in the environment overrides
/// it.
HORUS_API void set_log_level(LogLevel level) noexcept;
/// Never waits. It takes about 0.1 µs, and makes a system call only to wake the log's thread. At most 64 KiB of a
/// line are kept. Any thread.
HORUS_API void log_line(LogLevel level, std::string_view line) noexcept;

inline void log_info(std::string_view line) noexcept { log_line(LogLevel::info, line); }
inline void log_warning(std::string_view line) noexcept { log_line(LogLevel::warning, line); }
inline void log_error(std::string_view line) noexcept { log_line(LogLevel::error, line); }

/// Waits until the sink or the descriptor has taken every earlier line, at most `limit`; false when the time was up.
/// The log flushes by itself, for 100 ms in all, at exit(), std::terminate and failed assertions. A program that
/// calls _exit() or execve() must flush before. Any thread; signal handlers too, once a line was logged.
HORUS_API bool flush_log(Duration limit = std::chrono::milliseconds(100)) noexcept;
/// Lines that were dropped because they came faster than they could be written.
HORUS_API std::uint64_t lost_log_lines() noexcept;

namespace detail {

/// Sees each line at or above the level, on the thread that logs it, inside of log_line(): it must be quick, and must not log.
class LogObserver {
 public:
  virtual void logged(LogLevel level, std::string_view line) noexcept = 0;

 protected:
  ~LogObserver() = default;
};
/// From now on; any thread.
HORUS_API void observe_log(LogObserver& observer);
/// When this returns, nobody is in a call of it.
HORUS_API void forget_log_observer(LogObserver& observer) noexcept;

/// While it lives, lines of this thread are handed over before log_line() returns. It is for a simulator, which needs
/// no second thread and whose lines must come in the same order every time.
class HORUS_API LogAtOnce {
 public:
  LogAtOnce() noexcept;
  LogAtOnce(const LogAtOnce&) = delete;
  LogAtOnce& operator=(const LogAtOnce&) = delete;
  ~LogAtOnce();
};

/// The last line of a program that is about to abort: to stderr, whatever the sink and the level, within 100 ms.
HORUS_API void last_words(std::string_view line) noexcept;
/// The program was started without a standard error: nothing is ever written to whatever has its number now.
HORUS_API void forget_standard_error() noexcept;

}  // namespace detail
}  // namespace horus::HORUS_ABI
