// SPDX-License-Identifier: Apache-2.0
#include <horus/io/signals.hpp>

#include <cerrno>
#include <cstring>

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/io/loop/awaiter.hpp>
#include <horus/io/poll.hpp>
#include <horus/io/reactor.hpp>

namespace horus::HORUS_ABI::io {
namespace {

struct ReadSignal : OperationAwaiter<ReadSignal> {
  static constexpr const char* kName = "signalfd";
  ReadSignal(int descriptor, signalfd_siginfo& info) noexcept : OperationAwaiter(descriptor), info_(info) {}
  void prepare(io_uring_sqe& entry) const noexcept { fill::read(entry, fd, &info_, sizeof info_, 0); }
  [[nodiscard]] int await_resume() const noexcept { return result; }

 private:
  signalfd_siginfo& info_;
};

}  // namespace

std::string signal_name(int number) {
  const char* name = ::sigabbrev_np(number);
  if (name == nullptr) return fmt::format("signal {}", number);
  return fmt::format("SIG{}", name);
}

pid_t process_id() noexcept {
  Reactor* reactor = Reactor::current();
  return reactor != nullptr ? reactor->system().process_id() : ::getpid();
}

namespace {

Result<> send(pid_t pid, int number, const std::int32_t* value) {
  Reactor* reactor = Reactor::current();
  const int result = reactor != nullptr ? reactor->system().send_signal(pid, number, value)
                                        : detail::send_system_signal(pid, number, value);
  if (result < 0) return Error(-result, "kill", fmt::format("process {} with {}", pid, signal_name(number)));
  return {};
}

}  // namespace

Result<> send_signal(pid_t pid, int number) { return send(pid, number, nullptr); }
Result<> send_signal(pid_t pid, int number, std::int32_t value) { return send(pid, number, &value); }

SignalSet::SignalSet(const std::vector<int>& numbers) : owner_(::pthread_self()) {
  for (const int number : numbers) {
    sigset_t possible;  // glibc keeps some numbers for itself
    ::sigemptyset(&possible);
    if (number == SIGKILL || number == SIGSTOP || number > 64 || ::sigaddset(&possible, number) < 0) {
      throw Error(EINVAL, "wait for a signal", fmt::format("{} (it cannot be blocked)", signal_name(number)));
    }
    claim_.numbers |= SignalClaim::bit(number);
  }
  Reactor* reactor = Reactor::current();
  simulated_ = reactor != nullptr && reactor->system().world_process() != 0;
  const int fd =
      reactor != nullptr ? reactor->system().claim_signals(claim_) : detail::claim_system_signals(claim_);
  if (fd == -EBUSY) {
    throw Error(
        EBUSY, "wait for a signal",
        fmt::format("{} (another SignalSet of this process waits for it)", signal_name(claim_.refused)));
  }
  if (fd < 0) throw Error(-fd, "signalfd");
  descriptor_ = Descriptor(fd);
}

SignalSet::~SignalSet() {
  HORUS_ASSERT(::pthread_equal(owner_, ::pthread_self()) != 0,
               "a SignalSet must die on the thread that made it");
  Reactor* reactor = Reactor::current();
  if (reactor != nullptr) {
    reactor->system().release_signals(claim_);
  } else if (!simulated_) {
    detail::release_system_signals(claim_);
  }
}

Task<Result<SignalInfo>> SignalSet::next() {
  const int fd = descriptor_.get();
  signalfd_siginfo raw;
  while (true) {
    const int size = co_await ReadSignal(fd, raw);
    if (size == static_cast<int>(sizeof raw)) break;
    if (size >= 0) co_return Error(EIO, "signalfd");
    if (size == -EINTR) continue;
    if (size != -EAGAIN) co_return Error(-size, "wait for a signal");
    auto ready = co_await wait_readable(fd);
    if (!ready) co_return ready.error().on("wait for a signal", {});
  }
  SignalInfo info;
  info.number = static_cast<int>(raw.ssi_signo);
  info.pid = static_cast<pid_t>(raw.ssi_pid);
  info.uid = static_cast<uid_t>(raw.ssi_uid);
  info.value = raw.ssi_int;
  co_return info;
}

}  // namespace horus::HORUS_ABI::io
