// SPDX-License-Identifier: Apache-2.0
#include <horus/base/thread_look.hpp>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <ctime>
#include <string_view>

#include <execinfo.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

namespace horus::HORUS_ABI::detail {
namespace {

constexpr int kStackSignal = SIGURG;  // ignored by default, so that a late one harms nobody

// Reads a file of /proc/self/task into `text`.
template <std::size_t Size>
std::string_view read_of(pid_t thread, const char* file, char (&text)[Size]) noexcept {
  char path[64];
  *fmt::format_to_n(path, sizeof path - 1, "/proc/self/task/{}/{}", thread, file).out = '\0';
  const int opened = ::open(path, O_RDONLY | O_CLOEXEC);
  if (opened < 0) return {};
  const ssize_t size = ::read(opened, text, Size);
  ::close(opened);
  return {text, size > 0 ? static_cast<std::size_t>(size) : 0};
}

template <class T>
T number_after(std::string_view text, std::string_view key, int base = 10) noexcept {
  T value = 0;
  const auto found = text.find(key);
  if (found == std::string_view::npos) return value;
  text.remove_prefix(found + key.size());
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  std::from_chars(text.data(), text.data() + text.size(), value, base);
  return value;
}

// --- Stacks. One request at a time; whoever takes the pointer writes, or gives up.
struct Request {
  Stack* into = nullptr;
  AlsoInHandler also;
  pid_t thread = 0;
  std::atomic<int> count{-1};  // -1: not yet
};
Request the_request;
std::atomic<Request*> wanted{nullptr};
std::atomic_flag in_use = ATOMIC_FLAG_INIT;

void write_down(int) {
  const int saved = errno;
  if (Request* request = wanted.exchange(nullptr, std::memory_order_acq_rel)) {
    if (request->thread == ::gettid()) {
      const int count = ::backtrace(request->into->frames, Stack::kFrames);
      if (request->also.look != nullptr) request->also.look(request->also.context);
      request->count.store(count, std::memory_order_release);
    } else {  // somebody else's SIGURG came first
      wanted.store(request, std::memory_order_release);
    }
  }
  errno = saved;
}

void wait_a_moment() noexcept {
  const timespec moment{0, 100'000};
  ::nanosleep(&moment, nullptr);
}

}  // namespace

ThreadShare share_of(pid_t thread) noexcept {
  char text[128];
  const std::string_view line = read_of(thread, "schedstat", text);
  ThreadShare share;
  const char* const begin = line.begin();
  const char* const end = line.end();
  const auto ran = std::from_chars(begin, end, share.ran_ns);
  if (line.empty() || ran.ec != std::errc() || ran.ptr == end) return share;
  share.known = std::from_chars(ran.ptr + 1, end, share.waited_ns).ec == std::errc();
  return share;
}

ThreadStatus status_of(pid_t thread) noexcept {
  char text[2048];
  const std::string_view all = read_of(thread, "status", text);
  ThreadStatus status;
  if (const auto found = all.find("State:\t"); found != std::string_view::npos && found + 7 < all.size())
    status.state = all[found + 7];
  status.tracer = number_after<pid_t>(all, "TracerPid:");
  status.pending = number_after<std::uint64_t>(all, "SigPnd:", 16);
  return status;
}

bool prepare_stacks() {
  struct sigaction now{};
  if (::sigaction(kStackSignal, nullptr, &now) != 0) return false;
  if (now.sa_handler == write_down) return true;
  if (now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN) return false;
  void* warm[2];  // the first call loads a library
  ::backtrace(warm, 2);
  struct sigaction handler{};
  handler.sa_handler = write_down;
  handler.sa_flags = SA_RESTART;
  return ::sigaction(kStackSignal, &handler, nullptr) == 0;
}

bool take_stack(pid_t thread, Stack& into, AlsoInHandler also) noexcept {
  into.count = 0;
  if (in_use.test_and_set(std::memory_order_acquire)) return false;  // another scheduler's monitor
  the_request.into = &into;
  the_request.also = also;
  the_request.thread = thread;
  the_request.count.store(-1, std::memory_order_relaxed);
  wanted.store(&the_request, std::memory_order_release);
  if (::syscall(SYS_tgkill, ::getpid(), thread, kStackSignal) == 0) {
    for (int i = 0; i < 100 && the_request.count.load(std::memory_order_acquire) < 0; ++i) wait_a_moment();
  }
  // Taken back, or the handler is at it, which does not take long.
  if (wanted.exchange(nullptr, std::memory_order_acq_rel) == nullptr) {
    for (int i = 0; i < 100 && the_request.count.load(std::memory_order_acquire) < 0; ++i) wait_a_moment();
  }
  const int count = the_request.count.load(std::memory_order_acquire);
  in_use.clear(std::memory_order_release);
  into.count = count > 0 ? count : 0;
  return count > 0;
}

}  // namespace horus::HORUS_ABI::detail
