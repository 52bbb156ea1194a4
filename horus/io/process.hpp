// SPDX-License-Identifier: Apache-2.0
// Child processes: start, feed, read, wait for, end. A Process belongs to the thread that spawned it. It owns the
// child until the child has ended and its exit status was collected.
#pragma once

#include <csignal>
#include <memory>

#include <sys/types.h>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/pipe.hpp>
#include <horus/io/process_options.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io {

namespace detail {
struct Child;
}

/// The default time that `terminate` allows a child to end by itself.
inline constexpr Duration kTerminateGrace = std::chrono::seconds(2);

/// A child process.
///
/// Semantics: the child starts with default signal dispositions, an empty signal mask, and no descriptors except its
/// three standard ones. A child that ends becomes a zombie until `wait`, `terminate` or the destructor collects its
/// status. Destroying the Process of a running child kills it with SIGKILL and collects the status in the background;
/// at the reactor's end that takes at most a second. With a process group of its own, the destructor and `terminate`
/// kill the rest of the group as well, even when the child itself ended long ago. (Until then it stays a zombie, so
/// that its group's number cannot go to an unrelated process.)
/// When a child closes its input early, writes give EPIPE. When it never reads, writes wait. When it dies, its output
/// ends, unless a child of its own still holds the pipe.
/// Errors: values. spawn: ENOENT (no such program, or no such directory: the message says which), EACCES, ENOEXEC,
/// EMFILE, EAGAIN (RLIMIT_NPROC), E2BIG.
/// Thread safety: one thread.
/// Example:
/// ```
/// auto options = horus::io::ProcessOptions("camera", "--fps", "20").with_output(horus::io::Redirect::pipe());
/// auto camera = (co_await horus::io::Process::spawn(std::move(options))).or_throw();
/// auto line = co_await camera.standard_out().read_line();
/// auto status = co_await camera.terminate();
/// ```
/// Source: posix_spawn(3), pidfd_open(2), waitid(2).
class HORUS_API Process {
 public:
  /// Starts a child; completes when its program runs, or could not be started.
  static Task<Result<Process>> spawn(ProcessOptions options);

  /// A Process without a child.
  Process() noexcept;
  Process(Process&&) noexcept;
  Process& operator=(Process&&) noexcept;
  ~Process();

  /// 0 when there is no child. Once the status was collected, the number may belong to an unrelated process.
  [[nodiscard]] pid_t pid() const noexcept;
  /// True until the exit status was collected. (A child that has ended meanwhile still counts as running.)
  [[nodiscard]] bool running() const noexcept;

  /// Waits until the child has ended, and collects its status; later calls give the same status. It does not wait for
  /// processes that the child has started. Errors: ECANCELED (the child runs on); ECHILD when the status is lost
  /// because this program ignores SIGCHLD or waits for any child.
  Task<Result<ExitStatus>> wait();

  /// Sends a signal to the child, never to an unrelated process that got its number. ESRCH when its status was
  /// collected.
  Result<> kill(int signal = SIGKILL);
  /// Sends a signal to the child's own group, even after the child has ended. ESRCH when no process of the group is
  /// left; EINVAL without with_own_group().
  Result<> kill_group(int signal = SIGKILL);
  /// Sends SIGTERM; after `grace`, or when this task is asked to stop, SIGKILL. Collects the status. When the child
  /// has a group of its own, the signals go to the group, and the rest of the group is killed once the child has
  /// ended.
  Task<Result<ExitStatus>> terminate(Duration grace = kTerminateGrace);

  /// The parent's ends of the pipes that the options asked for; the others behave like closed streams. They may be
  /// moved out and may outlive the Process.
  [[nodiscard]] PipeWriter& standard_in() noexcept { return input_; }
  [[nodiscard]] PipeReader& standard_out() noexcept { return output_; }
  [[nodiscard]] PipeReader& standard_err() noexcept { return error_; }

 private:
  void end() noexcept;

  std::shared_ptr<detail::Child> child_;
  PipeWriter input_;
  PipeReader output_;
  PipeReader error_;
};

}  // namespace horus::HORUS_ABI::io
