// SPDX-License-Identifier: Apache-2.0
#include <horus/base/uncaught.hpp>

#include <cstdio>
#include <cstdlib>
#include <exception>

#include <sys/syscall.h>
#include <unistd.h>

#include <horus/base/error.hpp>
#include <horus/base/log.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

std::terminate_handler before = nullptr;

// Not through the log: its sink may be what failed, or be gone with the statics.
bool report_error() noexcept {
  const std::exception_ptr failure = std::current_exception();
  if (!failure) return false;
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    static_cast<void>(std::fflush(stdout));
    try {
      static_cast<void>(std::fprintf(stderr, "horus error: %s\n", error.message().c_str()));
    } catch (...) {
      static_cast<void>(std::fprintf(stderr, "horus error: %s\n", "(no memory to describe it)"));
    }
    return true;
  } catch (...) {
    return false;
  }
}

[[noreturn]] void on_terminate() noexcept {
  static_cast<void>(flush_log());  // what led here comes first, and would not outlive _Exit()
  const bool reported = report_error();
  const bool in_main = ::syscall(SYS_gettid) == ::getpid();
  if (reported && in_main && running_schedulers.load() == 0) std::_Exit(EXIT_FAILURE);
  if (!reported && before != nullptr) before();
  std::abort();
}

}  // namespace

std::atomic<int> running_schedulers{0};

bool report_uncaught_errors() noexcept {
  static const bool once = [] {
    before = std::set_terminate(&on_terminate);
    return true;
  }();
  return once;
}

}  // namespace horus::HORUS_ABI::detail
