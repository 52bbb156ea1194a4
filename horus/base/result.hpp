// SPDX-License-Identifier: Apache-2.0
// Result<T>: a value, or the Error that says why there is none. For failures that are expected; bugs throw.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include <horus/base/assert.hpp>
#include <horus/base/error.hpp>

namespace horus::HORUS_ABI {

/// A value of type T, or an Error.
///
/// Semantics: test with `if (result)`. Then `*result`, `result->` and `value()` give the value, `error()` the
/// failure. `value()` of a failed Result throws its Error; `*` and `->` of one abort the program (a bug in the
/// caller).
/// Thread safety: as any plain value.
template <class T = void>
class [[nodiscard("it may hold an error: test it, or say or_throw()")]] Result {
 public:
  using value_type = T;

  Result(const T& value) : ok_(true) { std::construct_at(&value_, value); }
  Result(T&& value) noexcept(std::is_nothrow_move_constructible_v<T>) : ok_(true) {
    std::construct_at(&value_, std::move(value));
  }
  Result(Error error) noexcept : ok_(false) { std::construct_at(&error_, std::move(error)); }
  /// Constructs the value in place: `Result<T>(std::in_place, arguments…)`.
  template <class... Arguments>
  explicit Result(std::in_place_t, Arguments&&... arguments) : ok_(true) {
    std::construct_at(&value_, std::forward<Arguments>(arguments)...);
  }

  Result(const Result& other)
    requires std::is_copy_constructible_v<T>
      : ok_(other.ok_) {
    ok_ ? void(std::construct_at(&value_, other.value_)) : void(std::construct_at(&error_, other.error_));
  }
  Result(Result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) : ok_(other.ok_) {
    ok_ ? void(std::construct_at(&value_, std::move(other.value_)))
        : void(std::construct_at(&error_, std::move(other.error_)));
  }
  Result& operator=(const Result& other)
    requires std::is_copy_constructible_v<T>
  {
    if (this != &other) *this = Result(other);
    return *this;
  }
  Result& operator=(Result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) {
    if (this != &other) {
      destroy();
      ok_ = other.ok_;
      ok_ ? void(std::construct_at(&value_, std::move(other.value_)))
          : void(std::construct_at(&error_, std::move(other.error_)));
    }
    return *this;
  }
  ~Result() { destroy(); }

  [[nodiscard]] bool ok() const noexcept { return ok_; }
  explicit operator bool() const noexcept { return ok_; }

  T& operator*() & { return checked(); }
  const T& operator*() const& { return const_cast<Result*>(this)->checked(); }
  T&& operator*() && { return std::move(checked()); }
  T* operator->() { return &checked(); }
  const T* operator->() const { return &const_cast<Result*>(this)->checked(); }

  T& value() & { return throwing(); }
  const T& value() const& { return const_cast<Result*>(this)->throwing(); }
  T&& value() && { return std::move(throwing()); }
  T value_or(T fallback) && { return ok_ ? std::move(value_) : std::move(fallback); }

  /// The value; a failure is thrown as horus::Error. In a node's tick that counts as an expected failure.
  T or_throw() && { return std::move(throwing()); }

  [[nodiscard]] const Error& error() const {
    HORUS_ASSERT(!ok_, "Result::error() of a success");
    return error_;
  }
  /// 0 for a success, otherwise the error's code.
  [[nodiscard]] int code() const noexcept { return ok_ ? 0 : error_.code(); }

 private:
  T& checked() {
    HORUS_ASSERT(ok_, ("a failed Result was used as if it held a value: " + error_.message()).c_str());
    return value_;
  }
  T& throwing() {
    if (!ok_) [[unlikely]]
      throw Error(error_);
    return value_;
  }
  void destroy() noexcept { ok_ ? std::destroy_at(&value_) : std::destroy_at(&error_); }

  union {
    T value_;
    Error error_;
  };
  bool ok_;
};

/// Success without a value, or an Error.
template <>
class [[nodiscard("it may hold an error: test it, or say or_throw()")]] Result<void> {
 public:
  using value_type = void;

  Result() noexcept : none_(), ok_(true) {}
  Result(Error error) noexcept : ok_(false) { std::construct_at(&error_, std::move(error)); }
  Result(const Result& other) noexcept : none_(), ok_(other.ok_) {
    if (!ok_) [[unlikely]]
      std::construct_at(&error_, other.error_);
  }
  Result(Result&& other) noexcept : none_(), ok_(other.ok_) {
    if (!ok_) [[unlikely]]
      std::construct_at(&error_, std::move(other.error_));
  }
  Result& operator=(Result other) noexcept {
    std::destroy_at(this);
    return *std::construct_at(this, std::move(other));
  }
  ~Result() {
    if (!ok_) [[unlikely]]
      std::destroy_at(&error_);
  }

  [[nodiscard]] bool ok() const noexcept { return ok_; }
  explicit operator bool() const noexcept { return ok_; }
  void value() const {
    if (!ok_) [[unlikely]]
      throw Error(error_);
  }
  void or_throw() && { value(); }
  [[nodiscard]] const Error& error() const {
    HORUS_ASSERT(!ok_, "Result::error() of a success");
    return error_;
  }
  [[nodiscard]] int code() const noexcept { return ok_ ? 0 : error_.code(); }

 private:
  union {
    char none_;
    Error error_;
  };
  bool ok_;
};

}  // namespace horus::HORUS_ABI
