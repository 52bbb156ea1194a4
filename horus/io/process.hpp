// SPDX-License-Identifier: Apache-2.0
// Child processes: start, feed, read, wait for, end. A Process belongs to the thread that spawned it; it owns the child
// until the child has ended and its exit status was taken.
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

namespace horus::io {

namespace detail {
struct Child;
}

/// How long `terminate` lets a child end by itself, by default.
inline constexpr Duration kTerminateGrace = std::chrono::seconds(2);

/// A child process.
///
/// Semantics: the child starts with default signal dispositions, an empty signal mask, and no descriptor but its three
/// standard ones. A child that ends becomes a zombie until `wait`, `terminate` or the destructor takes its status.
/// Destroying the Process of a running child kills it with SIGKILL and takes the status in the background; at the
/// reactor's end that takes at most a second. A child with a group of its own takes the group with it: the destructor
/// and `terminate` kill what is left of it, also when the child itself has ended long ago (until then it stays a zombie,
/// so that its group's number cannot go to strangers).
/// A child that closes its input early: writes give EPIPE. One that never reads: writes wait. One that dies: its output
/// ends (unless it left the pipe to a child of its own).
/// Errors: values. spawn: ENOENT (no such program, or directory: the message says which), EACCES, ENOEXEC, EMFILE,
/// EAGAIN (RLIMIT_NPROC), E2BIG.
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
  /// Starts a child; ends when its program runs, or could not be run.
  static Task<Result<Process>> spawn(ProcessOptions options);

  /// No child.
  Process() noexcept;
  Process(Process&&) noexcept;
  Process& operator=(Process&&) noexcept;
  ~Process();

  /// 0 when there is no child. The number may belong to a stranger once the status was taken.
  [[nodiscard]] pid_t pid() const noexcept;
  /// True until the exit status was taken. (A child that has ended meanwhile still counts as running.)
  [[nodiscard]] bool running() const noexcept;

  /// Waits until the child has ended, and takes its status; later calls give the same one. What the child has started
  /// is not waited for. Errors: ECANCELED (the child runs on); ECHILD when somebody else took the status: SIGCHLD is
  /// ignored in this program, or it waits for any child.
  Task<Result<ExitStatus>> wait();

  /// Sends a signal to the child. Never to a stranger that got its number. ESRCH when its status was taken.
  Result<> kill(int signal = SIGKILL);
  /// Sends a signal to the child's own group, also after the child has ended. ESRCH when nothing of the group is left;
  /// EINVAL without with_own_group().
  Result<> kill_group(int signal = SIGKILL);
  /// SIGTERM; after `grace`, or when this task is asked to stop, SIGKILL. Takes the status. With its own group all of
  /// that goes to the group, and what is left of it when the child has ended is killed.
  Task<Result<ExitStatus>> terminate(Duration grace = kTerminateGrace);

  /// The parent's ends of the pipes asked for in the options; the others behave like closed streams. They may be moved
  /// out and may outlive the Process.
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

}  // namespace horus::io
