// SPDX-License-Identifier: Apache-2.0
#include <horus/patterns/failure.hpp>

#include <cerrno>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>

namespace horus::HORUS_ABI {

Failure::Failure(std::exception_ptr thrown) {
  exception = std::move(thrown);
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    text = error.message();
    code = error.code();
  } catch (const std::exception& error) {
    text = error.what();
  } catch (...) {
    text = "an exception that is not a std::exception";
  }
}

Failure::Failure(const Error& error)
    : text(error.message()), exception(std::make_exception_ptr(error)), code(error.code()) {}

bool Failure::cancelled() const noexcept { return code == ECANCELED; }

Error Failure::or_rethrow() const {
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    return error;
  }
}

namespace detail {

void FailureLog::report(const std::string& name, const char* what, const Failure& failure) noexcept {
  ++count_;
  try {
    last_ = failure.text;
    if (!log_.may(now_ns())) return;
    log_line(failure.code != 0 ? LogLevel::warning : LogLevel::error,
             fmt::format("{}: {}: {}{}", name, what, failure.text, log_.more()));
  } catch (...) {
    return;  // no memory for words; the count stands
  }
}

}  // namespace detail
}  // namespace horus::HORUS_ABI
