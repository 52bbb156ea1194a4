// SPDX-License-Identifier: Apache-2.0
#include "screen.hpp"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/clock.hpp>

namespace rover {

namespace {

std::atomic<bool> taken{false};

// Ways out that nobody catches; the scheduler has SIGINT and SIGTERM.
constexpr int kFatal[] = {SIGQUIT, SIGHUP, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

void die_politely(int signal) {
  LiveScreen::restore();
  ::raise(signal);  // SA_RESETHAND: now it does what it always does
}

}  // namespace

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
  const std::string_view text = close_screen();
  static_cast<void>(::write(STDOUT_FILENO, text.data(), text.size()));
}

LiveScreen::LiveScreen(OnError on_error) : on_error_(on_error) {
  struct sigaction action{};
  action.sa_handler = &die_politely;
  action.sa_flags = SA_RESETHAND;
  for (const int signal : kFatal) ::sigaction(signal, &action, nullptr);
  std::atexit([] { restore(); });
  const std::string_view text = open_screen();
  taken = ::write(STDOUT_FILENO, text.data(), text.size()) > 0;
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
  for (const Notice& notice : notices_) fmt::print(stderr, "{}\n", notice.line);
  if (dropped_ > 0) fmt::print(stderr, "and {} more lines like these\n", dropped_);
}

}  // namespace rover
