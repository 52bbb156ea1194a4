// SPDX-License-Identifier: Apache-2.0
// One line per event for a person who runs the program. Any thread. Goes to stderr unless a sink is set.
#pragma once

#include <functional>
#include <string_view>

#include <horus/base/export.hpp>

namespace horus {

enum class LogLevel { debug, info, warning, error };

/// Receives every line at or above the level, without a newline. May be called from any thread, one at a time.
using LogSink = std::function<void(LogLevel, std::string_view line)>;

/// Replaces the sink (stderr at first); an empty function restores stderr. Returns the previous one.
HORUS_API LogSink set_log_sink(LogSink sink);
/// Lines below this level are dropped. Default: info; HORUS_LOG=debug|info|warning|error in the environment overrides.
HORUS_API void set_log_level(LogLevel level);
HORUS_API void log_line(LogLevel level, std::string_view line);

inline void log_info(std::string_view line) { log_line(LogLevel::info, line); }
inline void log_warning(std::string_view line) { log_line(LogLevel::warning, line); }
inline void log_error(std::string_view line) { log_line(LogLevel::error, line); }

}  // namespace horus
