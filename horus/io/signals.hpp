// SPDX-License-Identifier: Apache-2.0
// Signals as values that a coroutine waits for. A SignalSet belongs to the thread that makes it and dies there.
// Nothing else in Horus touches a process-wide signal, except that the first reactor ignores SIGPIPE and SIGXFSZ.
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

namespace horus::io {

/// One signal that has arrived.
struct SignalInfo {
  int number = 0;          ///< SIGINT, SIGTERM …
  pid_t pid = 0;           ///< who sent it; 0: the kernel (Ctrl-C comes from the terminal)
  uid_t uid = 0;           ///< as whom
  std::int32_t value = 0;  ///< what sigqueue(3) sent along
};

/// "SIGTERM"; "signal 40" for a number without a name.
HORUS_API std::string signal_name(int number);

/// This process's number: in a simulated world that of the simulated process.
[[nodiscard]] HORUS_API pid_t process_id() noexcept;
/// Sends a signal to a process, or with a negative number to a group; 0 only asks whether there is one. For children
/// prefer Process::kill, which never reaches a stranger. Errors: ESRCH, EPERM, EINVAL. Source: kill(2), sigqueue(3).
HORUS_API Result<> send_signal(pid_t pid, int number);
/// The same with a value that SignalInfo shows.
HORUS_API Result<> send_signal(pid_t pid, int number, std::int32_t value);

/// Signals that are waited for instead of interrupting.
///
/// Semantics: from construction to destruction the signals are blocked in this thread, and read in the order that
/// the kernel keeps (the same number sent twice before it is read counts once, except real-time signals). A signal to
/// the process that another thread takes, because that one does not block it, is handed over to this thread by a
/// handler. Destruction restores the former handlers and unblocks what this set had blocked; a signal that arrived and was never read then does what it
/// would have done. Children start with an empty mask.
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

  /// Waits for the next signal of the set. With several waiters each signal goes to one of them.
  /// Errors: ECANCELED when the task is asked to stop; the signal then waits for the next caller.
  [[nodiscard]] Task<Result<SignalInfo>> next();

 private:
  Descriptor descriptor_;
  SignalClaim claim_;
  bool simulated_ = false;
  pthread_t owner_;
};

}  // namespace horus::io
