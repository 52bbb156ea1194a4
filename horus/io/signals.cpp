// SPDX-License-Identifier: Apache-2.0
#include <horus/io/signals.hpp>

#include <atomic>
#include <cerrno>
#include <cstring>

#include <pthread.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/io/poll.hpp>
#include <horus/io/reactor.hpp>

namespace horus::io {
namespace {

// Which signals some SignalSet of this process waits for.
std::atomic<std::uint64_t> claimed_signals{0};

constexpr std::uint64_t bit_of(int number) { return std::uint64_t{1} << (number - 1); }

// Per claimed signal: who waits for it, and what the signal did before.
struct Claim {
  std::atomic<pid_t> process{0};
  std::atomic<pid_t> thread{0};
  struct sigaction before{};
};
Claim claims[65];

// Runs on a thread that does not block the signal, one that was started before the SignalSet: hands it to the thread
// that waits. Async-signal-safe.
void hand_over(int number, siginfo_t* received, void*) noexcept {
  const int saved = errno;
  const pid_t process = ::getpid();
  if (claims[number].process.load(std::memory_order_relaxed) != process) {
    ::signal(number, SIG_DFL);  // a forked child, which waits for nothing
    ::raise(number);
  } else {
    siginfo_t info{};
    info.si_signo = number;
    info.si_code = SI_QUEUE;  // the only code that any thread may queue
    info.si_pid = received->si_pid;
    info.si_uid = received->si_uid;
    if (received->si_code == SI_QUEUE) info.si_value = received->si_value;
    ::syscall(SYS_rt_tgsigqueueinfo, process, claims[number].thread.load(std::memory_order_relaxed), number,
              &info);
  }
  errno = saved;
}

struct ReadSignal : OperationAwaiter<ReadSignal> {
  static constexpr const char* kName = "signalfd";
  ReadSignal(int descriptor, signalfd_siginfo& info) noexcept : OperationAwaiter(descriptor), info_(info) {}
  void prepare(io_uring_sqe& entry) const noexcept {
    entry.opcode = IORING_OP_READ;
    entry.fd = fd;
    entry.addr = reinterpret_cast<std::uintptr_t>(&info_);
    entry.len = sizeof info_;
  }
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

SignalSet::SignalSet(std::initializer_list<int> numbers) : owner_(::pthread_self()) {
  sigset_t wanted;
  ::sigemptyset(&wanted);
  for (const int number : numbers) {
    if (number == SIGKILL || number == SIGSTOP || number > 64 || ::sigaddset(&wanted, number) < 0) {
      throw Error(EINVAL, "wait for a signal", fmt::format("{} (it cannot be blocked)", signal_name(number)));
    }
  }
  for (const int number : numbers) {
    if ((claimed_ & bit_of(number)) != 0) continue;  // named twice
    if ((claimed_signals.fetch_or(bit_of(number)) & bit_of(number)) != 0) {
      claimed_signals.fetch_and(~claimed_);
      throw Error(EBUSY, "wait for a signal",
                  fmt::format("{} (another SignalSet of this process waits for it)", signal_name(number)));
    }
    claimed_ |= bit_of(number);
  }
  sigset_t before;
  ::pthread_sigmask(SIG_BLOCK, &wanted, &before);
  ::sigemptyset(&blocked_);
  for (const int number : numbers) {
    if (::sigismember(&before, number) == 0) ::sigaddset(&blocked_, number);
  }
  const int fd = ::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) {
    const int code = errno;
    ::pthread_sigmask(SIG_UNBLOCK, &blocked_, nullptr);
    claimed_signals.fetch_and(~claimed_);
    throw Error(code, "signalfd");
  }
  descriptor_ = Descriptor(fd);
  struct sigaction handing_over{};
  handing_over.sa_sigaction = &hand_over;
  handing_over.sa_flags = SA_SIGINFO | SA_RESTART;
  for (int number = 1; number <= 64; ++number) {
    if ((claimed_ & bit_of(number)) == 0) continue;
    claims[number].process.store(::getpid(), std::memory_order_relaxed);
    claims[number].thread.store(::gettid(), std::memory_order_relaxed);
    ::sigaction(number, &handing_over, &claims[number].before);
  }
}

SignalSet::~SignalSet() {
  HORUS_ASSERT(::pthread_equal(owner_, ::pthread_self()) != 0,
               "a SignalSet must die on the thread that made it");
  for (int number = 1; number <= 64; ++number) {
    if ((claimed_ & bit_of(number)) != 0) ::sigaction(number, &claims[number].before, nullptr);
  }
  ::pthread_sigmask(SIG_UNBLOCK, &blocked_, nullptr);
  claimed_signals.fetch_and(~claimed_);
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

}  // namespace horus::io
