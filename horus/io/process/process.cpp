// SPDX-License-Identifier: Apache-2.0
// A child is known by its pidfd: it becomes readable when the child ends, and signals sent through it never reach a
// stranger that got the number.
#include <horus/io/process.hpp>

#include <array>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include <poll.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/base/owner_thread.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/io/offload.hpp>
#include <horus/io/poll.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/seam/process_spawn.hpp>
#include <horus/io/signals.hpp>
#include <horus/io/time.hpp>

namespace horus::HORUS_ABI::io {

std::string ExitStatus::to_string() const {
  if (signalled()) return fmt::format("ended by {}", signal_name(signal_));
  return fmt::format("exit code {}", code_);
}

Result<> ExitStatus::expect_success(std::string_view program) const {
  if (success()) return {};
  return Error(kProcessFailed, "run", fmt::format("{} ({})", program, to_string()));
}

namespace {

constexpr int kLastReapLimit_ms = 1000;  // a killed child at the end of its reactor

// The seam of a child: its backend while this thread has a reactor, the system itself when that is gone.
System* system_here() noexcept {
  Reactor* reactor = Reactor::current();
  return reactor != nullptr ? &reactor->system() : nullptr;
}
int send_signal_to(int pidfd, int number) noexcept {
  System* system = system_here();
  return system != nullptr ? system->signal_process(pidfd, number)
                           : detail::signal_system_process(pidfd, number);
}
void wait_at_most(int pidfd, int limit_ms) noexcept {
  if (System* system = system_here()) return system->await_end(pidfd, limit_ms);
  detail::await_system_process(pidfd, limit_ms);
}

// Takes the exit status without waiting, or only reads it (`keep`): a status; none while the child runs; an Error
// (ECHILD).
Result<std::optional<ExitStatus>> reap(int pidfd, bool keep) noexcept {
  siginfo_t info{};
  System* system = system_here();
  const int result =
      system != nullptr ? system->reap(pidfd, info, keep) : detail::reap_system_process(pidfd, info, keep);
  if (result < 0) return Error(-result, "waitid");
  if (info.si_pid == 0) return std::optional<ExitStatus>();
  if (info.si_code == CLD_EXITED) return std::optional(ExitStatus::exited_with(info.si_status));
  return std::optional(ExitStatus::ended_by(info.si_status));
}

// A killed child whose Process is gone: takes its status when it has ended. Owns itself.
struct Reaper : CompletionHandler {
  Reactor* reactor = nullptr;
  int pidfd = -1;
  pid_t pid = 0;

  static void start(Reactor& reactor, int pidfd, pid_t pid) noexcept {
    auto* reaper = new Reaper;
    reaper->reactor = &reactor;
    reaper->pidfd = pidfd;
    reaper->pid = pid;
    reaper->complete = [](CompletionHandler& handler, std::int32_t result, std::uint32_t) noexcept {
      auto& self = static_cast<Reaper&>(handler);
      if (result < 0) wait_at_most(self.pidfd, kLastReapLimit_ms);  // the reactor ends
      take(self.pidfd, self.pid);
      self.reactor->close_later(self.pidfd);
      delete &self;
    };
    reactor.submit_handler(*reaper,
                           [&](io_uring_sqe& entry) { detail::PollAwaiter(pidfd, POLLIN).prepare(entry); });
  }
  static void take(int pidfd, pid_t pid) noexcept {
    const auto status = reap(pidfd, false);
    if (status && !status->has_value()) {
      log_warning(fmt::format("process {} did not end after SIGKILL; Horus no longer waits for it", pid));
    }
  }
};

}  // namespace

// Shared by the Process and its waiting tasks. Whoever is last sees to it that no zombie stays. The leader of a group of
// its own stays a zombie until then: what it has started may live on, and nobody else may get the group's number.
struct detail::Child {
  pid_t pid = 0;
  Descriptor pidfd;
  OwnerThread owner;
  std::string program;
  bool own_group = false;
  bool lost = false;       // somebody else took the status
  bool simulated = false;  // a child of a simulated world: it ends with that
  pid_t parent = ::getpid();
  std::optional<ExitStatus> status;

  Child() = default;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (!pidfd || lost || parent != ::getpid()) return;  // a copy in a forked process owns no child
    if (simulated && Reactor::current() == nullptr) {
      static_cast<void>(pidfd.release());
      return;
    }
    kill_all();
    const int fd = pidfd.release();
    if (Reactor* reactor = Reactor::current()) {
      Reaper::start(*reactor, fd, pid);
    } else {
      wait_at_most(fd, kLastReapLimit_ms);
      Reaper::take(fd, pid);
      ::close(fd);
    }
  }

  [[nodiscard]] bool running() const noexcept { return !status && !lost; }
  [[nodiscard]] std::string name() const { return fmt::format("{} (process {})", program, pid); }

  // To the group where the child has one of its own. Until the status is taken the kernel reserves both numbers.
  Result<> signal(int number) {
    if (!running() || parent != ::getpid()) return Error(ESRCH, "kill", name());
    if (own_group) return signal_group(number);
    const int result = send_signal_to(pidfd.get(), number);
    if (result < 0) return Error(-result, "kill", name());
    return {};
  }
  // What is left of it: also the group of a child that has ended.
  void kill_all() noexcept {
    static_cast<void>(own_group && !lost ? signal_group(SIGKILL) : signal(SIGKILL));
  }
  Result<> signal_group(int number) {
    // A look: whoever took the child's status has given its number back.
    if (!lost && parent == ::getpid() && !reap(pidfd.get(), true)) lost = true;
    if (lost || parent != ::getpid()) return Error(ESRCH, "kill the group of", name());
    auto sent = send_signal(-pid, number);
    if (!sent) return Error(sent.code(), "kill the group of", name());
    return {};
  }
};

namespace {

using detail::Child;

// Ends when the child has ended; does not take its status.
Task<Result<>> ended(std::shared_ptr<Child> child) {
  if (!child->running()) co_return Result<>();
  auto ready = co_await wait_readable(child->pidfd.get());
  if (!ready && child->running()) co_return ready.error().on("wait for", child->name());
  co_return Result<>();
}

Result<ExitStatus> take_status(Child& child) {
  if (!child.status && !child.lost) {
    auto reaped = reap(child.pidfd.get(), child.own_group);
    if (reaped && reaped->has_value()) child.status = **reaped;
    if (!reaped) child.lost = true;
    if (child.lost || (child.status && !child.own_group)) child.pidfd.reset();
  }
  if (child.status) return *child.status;
  if (child.lost)
    return Error(ECHILD, "wait for", child.name() + ", whose exit status was taken by somebody else");
  return Error(EAGAIN, "wait for", child.name());
}

Task<Result<ExitStatus>> wait_for_status(std::shared_ptr<Child> child) {
  auto ending = ended(child);
  auto waited = co_await ending;
  if (!waited) co_return waited.error();
  co_return take_status(*child);
}

Task<Result<ExitStatus>> terminate_child(std::shared_ptr<Child> child, Duration grace) {
  if (!child->running()) {
    if (child->own_group) child->kill_all();
    co_return take_status(*child);
  }
  static_cast<void>(child->signal(SIGTERM));  // fails only for a child that has ended: what follows sees that
  auto in_time = co_await with_timeout(grace, ended(child));
  if (!child->running()) {  // another task took the status meanwhile
    if (child->own_group) child->kill_all();
    co_return take_status(*child);
  }
  // Also what is left of the group when the child itself has ended.
  if (!in_time || child->own_group) child->kill_all();
  if (in_time.code() == ECANCELED) co_return in_time.error();
  auto ending = ended(child);
  auto waited = co_await ending;
  if (!waited) co_return waited.error();
  co_return take_status(*child);
}

// The parent's and the child's end of the three standard descriptors, until the spawn is over.
struct Wiring {
  std::array<Descriptor, 3> ours;
  std::array<Descriptor, 3> theirs;

  // Moves a descriptor above 2, where no copy to 0, 1 or 2 can overwrite it.
  static Result<Descriptor> above_standard(int fd) noexcept {
    const int copy = Reactor::current()->system().duplicate(fd);
    if (copy < 0) return Error(-copy, "spawn");
    return Descriptor(copy);
  }

  Result<> prepare(std::size_t index, const Redirect& redirect) noexcept {
    if (redirect.kind() == Redirect::Kind::descriptor) {
      auto copy = above_standard(redirect.fd());
      if (!copy) return copy.error();
      theirs[index] = *std::move(copy);
    }
    if (redirect.kind() != Redirect::Kind::pipe) return {};
    int ends[2];
    const int result = Reactor::current()->system().pipe(ends, 0);
    if (result < 0) return Error(-result, "spawn");
    const bool child_reads = index == 0;
    ours[index] = Descriptor(ends[child_reads ? 1 : 0]);
    theirs[index] = Descriptor(ends[child_reads ? 0 : 1]);
    for (Descriptor* end : {&ours[index], &theirs[index]}) {
      if (end->get() > 2) continue;
      auto copy = above_standard(end->get());
      if (!copy) return copy.error();
      *end = *std::move(copy);
    }
    return {};
  }
};

// On the pool.
void reap_on(System* system, pid_t pid) { system->reap_killed(pid); }
Result<pid_t> spawn_on(System* system, const ProcessOptions& options,
                       const detail::StandardDescriptors& descriptors) {
  return system->spawn(options, descriptors);
}

}  // namespace

Task<Result<Process>> Process::spawn(ProcessOptions options) {
  auto sound = detail::check(options);
  if (!sound) co_return sound.error();
  const std::string program = options.arguments.front();
  Wiring wiring;
  const std::array<Redirect, 3> redirects{options.input, options.output, options.error};
  for (std::size_t i = 0; i < redirects.size(); ++i) {
    auto prepared = wiring.prepare(i, redirects[i]);
    if (!prepared) co_return prepared.error().on("spawn", program);
  }
  const detail::StandardDescriptors descriptors{wiring.theirs[0].get(), wiring.theirs[1].get(),
                                                wiring.theirs[2].get()};
  const bool own_group = options.own_group;
  System& system = Reactor::current()->system();
  // A child that nothing can wait for must not be started: its place among the descriptors is taken first.
  const int place = system.event_fd(0, 0);
  if (place < 0) co_return Error(-place, "spawn", program);
  // On a pool: this thread would stand still until the kernel has read the program from the disk.
  auto pid = co_await offload_on(ThreadPool::spawns(), &spawn_on, &system, std::move(options), descriptors);
  system.close(place);
  if (!pid) {
    const bool not_tried = pid.error().operation() == std::string_view("offload");
    co_return not_tried ? pid.error().on("spawn", program) : pid.error();
  }

  Process process;
  process.child_ = std::make_shared<Child>();
  process.child_->program = program;
  process.child_->pid = *pid;
  process.child_->own_group = own_group;
  process.child_->simulated = system.world_process() != 0;
  const int pidfd = system.open_process(*pid);
  if (pidfd < 0) {
    process.child_->lost = true;
    static_cast<void>(system.send_signal(*pid, SIGKILL, nullptr));
    auto taken = co_await offload_on(ThreadPool::spawns(), &reap_on, &system, *pid);
    if (!taken) log_warning(taken.error().on("wait for", fmt::format("process {}", *pid)).message());
    co_return Error(-pidfd, "spawn", program + " (no pidfd)");
  }
  process.child_->pidfd = Descriptor(pidfd);
  if (wiring.ours[0]) process.input_ = PipeWriter(std::move(wiring.ours[0]), "standard input of " + program);
  if (wiring.ours[1])
    process.output_ = PipeReader(std::move(wiring.ours[1]), "standard output of " + program);
  if (wiring.ours[2]) process.error_ = PipeReader(std::move(wiring.ours[2]), "standard error of " + program);
  co_return std::move(process);
}

Process::Process() noexcept = default;
Process::Process(Process&&) noexcept = default;
Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    end();
    child_ = std::move(other.child_);
    input_ = std::move(other.input_);
    output_ = std::move(other.output_);
    error_ = std::move(other.error_);
  }
  return *this;
}
Process::~Process() { end(); }

// Now, even if a task still waits: it then sees how the child ended.
void Process::end() noexcept {
  if (child_ && (child_->running() || child_->own_group)) child_->kill_all();
  child_.reset();
}

pid_t Process::pid() const noexcept { return child_ ? child_->pid : 0; }
bool Process::running() const noexcept { return child_ && child_->running(); }

Task<Result<ExitStatus>> Process::wait() {
  HORUS_ASSERT(child_ != nullptr, "wait() for a Process without a child");
  child_->owner.check("Process");
  return wait_for_status(child_);
}
Task<Result<ExitStatus>> Process::terminate(Duration grace) {
  HORUS_ASSERT(child_ != nullptr, "terminate() of a Process without a child");
  child_->owner.check("Process");
  return terminate_child(child_, grace);
}

Result<> Process::kill(int signal) {
  if (!running()) return Error(ESRCH, "kill", child_ ? child_->name() : "(no child)");
  const int result = send_signal_to(child_->pidfd.get(), signal);
  if (result < 0) return Error(-result, "kill", child_->name());
  return {};
}
Result<> Process::kill_group(int signal) {
  if (!child_ || (!running() && !child_->own_group))
    return Error(ESRCH, "kill", child_ ? child_->name() : "(no child)");
  if (!child_->own_group) return Error(EINVAL, "kill", child_->name() + ", which has no group of its own");
  return child_->signal_group(signal);
}

}  // namespace horus::HORUS_ABI::io
