// SPDX-License-Identifier: Apache-2.0
#include <horus/base/log.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

#include <unistd.h>

namespace horus {
namespace {

LogLevel level_from_environment() {
  const char* wish = std::getenv("HORUS_LOG");
  const std::string_view word = wish == nullptr ? "" : wish;
  if (word == "debug") return LogLevel::debug;
  if (word == "warning") return LogLevel::warning;
  if (word == "error") return LogLevel::error;
  return LogLevel::info;
}

struct LogState {
  std::mutex mutex;
  LogSink sink;
  std::atomic<LogLevel> level{level_from_environment()};
  const bool colour = ::isatty(STDERR_FILENO) == 1;
};

// Never destroyed: threads and destructors of statics may still log while the process ends.
LogState& state() {
  static auto* const instance = new LogState;
  return *instance;
}

const char* prefix(LogLevel level, bool colour) {
  switch (level) {
    case LogLevel::debug: return colour ? "\033[2mhorus debug:\033[0m " : "horus debug: ";
    case LogLevel::info: return "horus: ";
    case LogLevel::warning: return colour ? "\033[33mhorus warning:\033[0m " : "horus warning: ";
    case LogLevel::error: return colour ? "\033[31mhorus error:\033[0m " : "horus error: ";
  }
  return "";
}

}  // namespace

LogSink set_log_sink(LogSink sink) {
  const std::lock_guard lock(state().mutex);
  return std::exchange(state().sink, std::move(sink));
}

void set_log_level(LogLevel level) { state().level.store(level, std::memory_order_relaxed); }

void log_line(LogLevel level, std::string_view line) {
  LogState& log = state();
  if (level < log.level.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(log.mutex);
  if (log.sink) {
    log.sink(level, line);
  } else {
    std::fprintf(stderr, "%s%.*s\n", prefix(level, log.colour), static_cast<int>(line.size()), line.data());
  }
}

}  // namespace horus
