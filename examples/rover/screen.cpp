// SPDX-License-Identifier: Apache-2.0
#include "screen.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/clock.hpp>

namespace rover {

namespace {

constexpr int kRest_ms = 2;
constexpr int kRestoreLimit_ms = 100;
constexpr int kNoticesLimit_ms = 1000;

std::atomic<bool> taken{false};

// Ways out that nobody catches; the scheduler has SIGINT and SIGTERM.
constexpr int kFatal[] = {SIGQUIT, SIGHUP, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

void die_politely(int signal) {
  LiveScreen::restore();
  ::raise(signal);  // SA_RESETHAND: now it does what it always does
}

}  // namespace

// "Ready" promises one byte of room only, and the terminal's flags are shared with the shell: so another open file of
// it is written, which does not block.
bool write_within(int descriptor, std::string_view text, int limit_ms) noexcept {
  int own = -1;
  if (limit_ms >= 0 && ::isatty(descriptor) == 1) {
    char path[] = "/proc/self/fd/0";
    path[sizeof path - 2] = static_cast<char>('0' + descriptor);
    own = ::open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  }
  const int64_t end = horus::monotonic_ns() + int64_t{limit_ms} * 1'000'000;
  while (!text.empty()) {
    const ssize_t written = ::write(own >= 0 ? own : descriptor, text.data(), text.size());
    if (written > 0) {
      text.remove_prefix(static_cast<size_t>(written));
      continue;
    }
    if (written < 0 && errno != EAGAIN && errno != EINTR) break;
    if (limit_ms >= 0 && horus::monotonic_ns() >= end) break;
    pollfd none{-1, 0, 0};
    ::poll(&none, 1, kRest_ms);
  }
  if (own >= 0) ::close(own);
  return text.empty();
}

bool LiveScreen::shown() noexcept { return taken.load(); }

bool LiveScreen::possible() noexcept {
  const char* terminal = std::getenv("TERM");
  return ::isatty(STDOUT_FILENO) == 1 && terminal != nullptr && std::string_view(terminal) != "dumb";
}

Screen LiveScreen::size() noexcept {
  Screen screen;
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
    screen.columns = size.ws_col;
    screen.rows = size.ws_row;
  }
  const char* no_colour = std::getenv("NO_COLOR");
  screen.colours = no_colour == nullptr || *no_colour == '\0';
  return screen;
}

void LiveScreen::restore() noexcept {
  if (!taken.exchange(false)) return;
  static_cast<void>(write_within(STDOUT_FILENO, close_screen(), kRestoreLimit_ms));
}

LiveScreen::LiveScreen(OnError on_error) : on_error_(on_error) {
  struct sigaction action{};
  action.sa_handler = &die_politely;
  action.sa_flags = SA_RESETHAND;
  for (const int signal : kFatal) ::sigaction(signal, &action, nullptr);
  std::atexit([] { restore(); });
  taken = write_within(STDOUT_FILENO, open_screen(), kRestoreLimit_ms);
  previous_ =
      horus::set_log_sink([this](horus::LogLevel level, std::string_view line) { take_line(level, line); });
}

void LiveScreen::take_line(horus::LogLevel level, std::string_view line) {
  const std::lock_guard lock(mutex_);
  if (level >= horus::LogLevel::error && on_error_ == OnError::kGiveUp) {
    restore();
    fmt::print(stderr, "{}\n", line);
    return;
  }
  Notice notice{horus::monotonic_ns(), std::string(line)};
  if (notices_.size() < kMostNotices) {
    notices_.push_back(std::move(notice));
  } else {
    ++dropped_;
    notices_.back() = std::move(notice);
  }
}

std::vector<std::string> LiveScreen::latest_notices(int64_t since_ns) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> latest;
  for (size_t i = notices_.size() - std::min(notices_.size(), kMostLatest); i < notices_.size(); ++i) {
    const Notice& notice = notices_[i];
    if (notice.at_ns >= since_ns) latest.push_back(notice.line.substr(0, notice.line.find('\n')));
  }
  return latest;
}

void LiveScreen::close() {
  if (!std::exchange(open_, false)) return;
  horus::set_log_sink(std::move(previous_));
  restore();
  for (const int signal : kFatal) ::signal(signal, SIG_DFL);
  std::string text;
  for (const Notice& notice : notices_) text += notice.line + '\n';
  if (dropped_ > 0) text += fmt::format("and {} more lines like these\n", dropped_);
  static_cast<void>(write_within(STDERR_FILENO, text, kNoticesLimit_ms));
}

}  // namespace rover
