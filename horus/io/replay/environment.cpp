// SPDX-License-Identifier: Apache-2.0
#include <horus/io/replay/environment.hpp>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>

#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/base/owner_thread.hpp>
#include <horus/io/replay/journal.hpp>
#include <horus/io/replay/parts.hpp>

namespace horus::HORUS_ABI::io {
namespace {

constexpr std::uint64_t kMostLogBytes = std::uint64_t{1} << 32;
constexpr std::uint64_t kLeastMegabytes = 1;
constexpr std::uint64_t kMostMegabytes = std::uint64_t{1} << 20;

// Never destroyed: threads that outlive main() may still be at work for it.
std::atomic<Journal*> journal{nullptr};

// Not for the children of this process, which would write into the same file.
std::string take_from_environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return {};
  std::string text(value);
  ::unsetenv(name);
  return text;
}

Result<std::uint64_t> most_bytes() {
  const std::string text = take_from_environment("HORUS_RECORD_SEAM_MB");
  if (text.empty()) return kMostLogBytes;
  std::uint64_t megabytes = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), megabytes);
  if (problem != std::errc() || end != text.data() + text.size() || megabytes < kLeastMegabytes ||
      megabytes > kMostMegabytes)
    return Error(EINVAL, "HORUS_RECORD_SEAM_MB",
                 fmt::format("\"{}\" (use a number of megabytes from {} to {})", text, kLeastMegabytes,
                             kMostMegabytes));
  return megabytes << 20;
}

Result<> begin_journal() {
  const std::string to = take_from_environment("HORUS_RECORD_SEAM");
  const std::string from = take_from_environment("HORUS_REPLAY_SEAM");
  if (to.empty() && from.empty()) return {};
  if (!to.empty() && !from.empty())
    return Error(EINVAL, "HORUS_RECORD_SEAM", to)
        .with_detail("(HORUS_REPLAY_SEAM is set, too: a run is either recorded or replayed)");
  const auto limit = most_bytes();
  if (!limit) return limit.error();
  auto made = to.empty() ? Journal::replay(from) : Journal::record(to, *limit);
  if (!made) return made.error();
  journal.store(made->release(), std::memory_order_release);
  ::on_exit([](int code, void*) { journal.load(std::memory_order_acquire)->end(code); }, nullptr);
  if (to.empty()) {
    log_info(fmt::format("replay {}: begins", from));
  } else {
    log_info(fmt::format("record exactly {}: begins (replay it with HORUS_REPLAY_SEAM={})", to, to));
  }
  return {};
}

// Only loops of the main thread are followed. Whoever has none there is told at the end.
void warn_if_only_other_threads() {
  static const bool once = [] {
    if (std::getenv("HORUS_RECORD_SEAM") == nullptr && std::getenv("HORUS_REPLAY_SEAM") == nullptr)
      return false;
    std::atexit([] {
      if (is_exact()) return;
      log_warning(
          "HORUS_RECORD_SEAM, HORUS_REPLAY_SEAM: nothing was recorded or replayed: the program's main thread "
          "runs no loop "
          "of Horus");
      static_cast<void>(flush_log());
    });
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace

bool is_exact() noexcept { return journal.load(std::memory_order_acquire) != nullptr; }

bool is_replay() noexcept {
  const Journal* here = journal.load(std::memory_order_acquire);
  return here != nullptr && here->replays();
}

Result<Backend> make_exact_backend(const ReactorConfig& config) {
  if (::gettid() != ::getpid()) {
    warn_if_only_other_threads();
    return make_backend(config);
  }
  static bool begun = false;
  if (!begun) {
    if (auto outcome = begin_journal(); !outcome) return outcome.error();
    begun = true;
  }
  Journal* here = journal.load(std::memory_order_acquire);
  if (here == nullptr || !here->is_here() || Journal::at_work() || here->is_over())
    return make_backend(config);
  if (here->replays()) return replay::replaying(*here);
  auto real = make_backend(config);
  if (!real) return real.error();
  return replay::recording(*here, std::move(*real));
}

}  // namespace horus::HORUS_ABI::io
