// SPDX-License-Identifier: Apache-2.0
// Signals as values that a coroutine waits for. A SignalSet belongs to the thread that makes it, and must be
// destroyed there. Nothing else in Horus changes a process-wide signal setting, except that the first reactor ignores
// SIGPIPE and SIGXFSZ.
#pragma once

#include <csignal>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include <sys/types.h>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/base/signal_claim.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io {

/// One signal that has arrived.
struct SignalInfo {
  int number = 0;          ///< SIGINT, SIGTERM …
  pid_t pid = 0;           ///< the sender; 0: the kernel (Ctrl-C comes from the terminal)
  uid_t uid = 0;           ///< the sender's user
  std::int32_t value = 0;  ///< the value that sigqueue(3) sent
};

/// "SIGTERM"; "signal 40" for a number without a name.
HORUS_API std::string signal_name(int number);

/// This process's number; in a simulated world, that of the simulated process.
[[nodiscard]] HORUS_API pid_t process_id() noexcept;
/// Sends a signal to a process, or to a group when the number is negative; signal 0 only checks whether it exists.
/// For children prefer Process::kill, which never reaches an unrelated process. Errors: ESRCH, EPERM, EINVAL. Source:
/// kill(2), sigqueue(3).
HORUS_API Result<> send_signal(pid_t pid, int number);
/// The same with a value that SignalInfo shows.
HORUS_API Result<> send_signal(pid_t pid, int number, std::int32_t value);

/// Signals that a task waits for, so that they do not interrupt the program.
///
/// Semantics: from construction to destruction the signals are blocked in this thread, and are read in the order that
/// the kernel keeps. (The same number sent twice before it is read counts once, except for real-time signals.) When
/// another thread receives a signal to the process because it does not block it, a handler passes it to this thread.
/// Destruction restores the former handlers and unblocks the signals that this set had blocked. A signal that arrived
/// and was never read then takes its former effect. Children start with an empty mask.
/// Errors: the constructor throws Error: EBUSY when another SignalSet of this process waits for one of the signals
/// (each would get some of them); EINVAL for a number that does not exist or cannot be blocked (SIGKILL, SIGSTOP).
/// Thread safety: the constructing thread.
/// Example:
/// ```
/// horus::io::SignalSet signals{SIGINT, SIGTERM};
/// auto signal = co_await signals.next();
/// if (signal) fmt::print("{}\n", horus::io::signal_name(signal->number));
/// ```
/// Source: signalfd(2), signal(7).
class HORUS_API SignalSet {
 public:
  SignalSet(std::initializer_list<int> numbers) : SignalSet(std::vector<int>(numbers)) {}
  explicit SignalSet(const std::vector<int>& numbers);
  SignalSet(const SignalSet&) = delete;
  SignalSet& operator=(const SignalSet&) = delete;
  ~SignalSet();

  /// Waits for the next signal of the set. With several waiters, each signal goes to one of them. Errors: ECANCELED
  /// when the task is asked to stop; the signal then waits for the next caller.
  [[nodiscard]] Task<Result<SignalInfo>> next();

 private:
  Descriptor descriptor_;
  SignalClaim claim_;
  bool simulated_ = false;
  pthread_t owner_;
};

}  // namespace horus::HORUS_ABI::io
