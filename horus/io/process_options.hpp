// SPDX-License-Identifier: Apache-2.0
// How to start a child process, and how it ended. Plain values; copy freely.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>

namespace horus::HORUS_ABI::io {

/// The connection of one of a child's three standard descriptors.
class Redirect {
 public:
  enum class Kind : std::uint8_t { inherit, null, pipe, descriptor, merge };

  /// The parent's descriptor.
  static constexpr Redirect inherit() noexcept { return {Kind::inherit, -1}; }
  /// /dev/null.
  static constexpr Redirect null() noexcept { return {Kind::null, -1}; }
  /// A pipe; the parent's end is `Process::standard_in()`, `standard_out()` or `standard_err()`.
  static constexpr Redirect pipe() noexcept { return {Kind::pipe, -1}; }
  /// A copy of `fd`. The caller keeps `fd`, and it must stay open until `spawn` has ended.
  static constexpr Redirect descriptor(int fd) noexcept { return {Kind::descriptor, fd}; }
  /// For standard error alone: the same destination as standard output.
  static constexpr Redirect to_standard_out() noexcept { return {Kind::merge, -1}; }

  [[nodiscard]] constexpr Kind kind() const noexcept { return kind_; }
  [[nodiscard]] constexpr int fd() const noexcept { return fd_; }

 private:
  constexpr Redirect(Kind kind, int fd) noexcept : kind_(kind), fd_(fd) {}
  Kind kind_;
  int fd_;
};

/// Which program to start and how. Everything except the arguments has a default: the parent's environment,
/// directory, standard
/// descriptors and process group.
///
/// Example: `auto options = ProcessOptions("ffmpeg", "-i", url).with_output(Redirect::pipe()).with_own_group();`
class ProcessOptions {
 public:
  /// The program and its arguments. A program without a slash is looked up on the parent's PATH; one with a slash is
  /// relative to the child's working directory.
  template <std::convertible_to<std::string_view>... Arguments>
    requires(sizeof...(Arguments) > 0)
  explicit ProcessOptions(const Arguments&... argv) : arguments{std::string(std::string_view(argv))...} {}
  /// The same from a vector. (It is a template, so that braces never match: g++ 12 finds them ambiguous, and refuses
  /// or miscompiles them in a co_await expression.)
  template <std::same_as<std::vector<std::string>> Vector>
  explicit ProcessOptions(Vector argv) : arguments(std::move(argv)) {}

  std::vector<std::string> arguments;
  std::string directory;                                       ///< working directory; empty: the parent's
  std::vector<std::pair<std::string, std::string>> variables;  ///< added to the inherited environment
  bool inherit_environment = true;  ///< false: the child gets these variables alone
  Redirect input = Redirect::inherit();
  Redirect output = Redirect::inherit();
  Redirect error = Redirect::inherit();
  /// Gives the child a process group of its own. Signals from the terminal (Ctrl-C) do not reach it, and
  /// `kill_group`, `terminate` and the destructor reach every process that the child has started.
  bool own_group = false;

  ProcessOptions& with_directory(std::string path) & { return directory = std::move(path), *this; }
  ProcessOptions& with_variable(std::string name, std::string value) & {
    variables.emplace_back(std::move(name), std::move(value));
    return *this;
  }
  ProcessOptions& without_environment() & { return inherit_environment = false, *this; }
  ProcessOptions& with_input(Redirect to) & { return input = to, *this; }
  ProcessOptions& with_output(Redirect to) & { return output = to, *this; }
  ProcessOptions& with_error(Redirect to) & { return error = to, *this; }
  ProcessOptions& with_own_group() & { return own_group = true, *this; }
  [[nodiscard]] ProcessOptions with_directory(std::string path) && {
    return std::move(with_directory(std::move(path)));
  }
  [[nodiscard]] ProcessOptions with_variable(std::string name, std::string value) && {
    return std::move(with_variable(std::move(name), std::move(value)));
  }
  [[nodiscard]] ProcessOptions without_environment() && { return std::move(without_environment()); }
  [[nodiscard]] ProcessOptions with_input(Redirect to) && { return std::move(with_input(to)); }
  [[nodiscard]] ProcessOptions with_output(Redirect to) && { return std::move(with_output(to)); }
  [[nodiscard]] ProcessOptions with_error(Redirect to) && { return std::move(with_error(to)); }
  [[nodiscard]] ProcessOptions with_own_group() && { return std::move(with_own_group()); }
};

/// How a child ended: by an exit code or by a signal.
class HORUS_API ExitStatus {
 public:
  static ExitStatus exited_with(int code) noexcept { return {code, 0}; }
  static ExitStatus ended_by(int signal) noexcept { return {-1, signal}; }

  /// Exit code 0.
  [[nodiscard]] bool success() const noexcept { return code_ == 0; }
  [[nodiscard]] bool exited() const noexcept { return signal_ == 0; }
  [[nodiscard]] bool signalled() const noexcept { return signal_ != 0; }
  /// 0 to 255; -1 when a signal ended it.
  [[nodiscard]] int code() const noexcept { return code_; }
  /// The signal, such as SIGKILL; 0 when it exited.
  [[nodiscard]] int signal() const noexcept { return signal_; }
  /// "exit code 3", "ended by SIGPIPE".
  [[nodiscard]] std::string to_string() const;
  /// Success, or an Error (kProcessFailed) that says how `program` ended.
  [[nodiscard]] Result<> expect_success(std::string_view program) const;

  friend bool operator==(const ExitStatus&, const ExitStatus&) = default;

 private:
  ExitStatus(int code, int signal) noexcept : code_(code), signal_(signal) {}
  int code_;
  int signal_;
};

}  // namespace horus::HORUS_ABI::io
