// SPDX-License-Identifier: Apache-2.0
// Signals of the real system: blocked in one thread, read from a signalfd, handed over by threads that do not block them.
// A claim is made and released on one thread; handlers run on any.
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <pthread.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <horus/base/above_standard.hpp>
#include <horus/io/base/signal_claim.hpp>
#include <horus/io/seam/system.hpp>

namespace horus::HORUS_ABI::io {
namespace {

// Which signals some SignalSet of this process waits for.
std::atomic<std::uint64_t> claimed_signals{0};

// Per claimed signal: who waits for it, and what the signal did before.
struct Claim {
  std::atomic<pid_t> process{0};
  std::atomic<pid_t> thread{0};
  std::atomic<std::uint32_t> handed_over{0};
  struct sigaction before{};
};
Claim claims[65];
std::atomic<int> last_handed_over{0};

// Runs on a thread that does not block the signal, one that was started before the SignalSet: hands it to the thread
// that waits. Async-signal-safe.
void hand_over(int number, siginfo_t* received, void*) noexcept {
  const int saved = errno;
  const pid_t process = ::getpid();
  if (claims[number].process.load(std::memory_order_relaxed) != process) {
    ::signal(number, SIG_DFL);  // a forked child, which waits for nothing
    ::raise(number);
  } else {
    claims[number].handed_over.fetch_add(1, std::memory_order_relaxed);
    last_handed_over.store(number, std::memory_order_relaxed);
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

sigset_t set_of(std::uint64_t numbers) noexcept {
  sigset_t set;
  ::sigemptyset(&set);
  for (int number = 1; number <= 64; ++number) {
    if ((numbers & SignalClaim::bit(number)) != 0) ::sigaddset(&set, number);
  }
  return set;
}

}  // namespace

int detail::claim_system_signals(SignalClaim& claim) noexcept {
  const std::uint64_t before_us = claimed_signals.fetch_or(claim.numbers);
  if (const std::uint64_t taken = before_us & claim.numbers; taken != 0) {
    claimed_signals.fetch_and(~(claim.numbers & ~taken));
    claim.refused = __builtin_ctzll(taken) + 1;
    return -EBUSY;
  }
  const sigset_t wanted = set_of(claim.numbers);
  sigset_t before;
  ::pthread_sigmask(SIG_BLOCK, &wanted, &before);
  for (int number = 1; number <= 64; ++number) {
    if (claim.has(number) && ::sigismember(&before, number) == 0) claim.unblock |= SignalClaim::bit(number);
  }
  const int fd = above_standard(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  if (fd < 0) {
    const int code = errno;
    const sigset_t unblock = set_of(claim.unblock);
    ::pthread_sigmask(SIG_UNBLOCK, &unblock, nullptr);
    claimed_signals.fetch_and(~claim.numbers);
    return -code;
  }
  struct sigaction handing_over{};
  handing_over.sa_sigaction = &hand_over;
  handing_over.sa_flags = SA_SIGINFO | SA_RESTART;
  for (int number = 1; number <= 64; ++number) {
    if (!claim.has(number)) continue;
    claims[number].process.store(::getpid(), std::memory_order_relaxed);
    claims[number].thread.store(::gettid(), std::memory_order_relaxed);
    ::sigaction(number, &handing_over, &claims[number].before);
  }
  return fd;
}

void detail::release_system_signals(const SignalClaim& claim) noexcept {
  for (int number = 1; number <= 64; ++number) {
    if (claim.has(number)) ::sigaction(number, &claims[number].before, nullptr);
  }
  const sigset_t unblock = set_of(claim.unblock);
  ::pthread_sigmask(SIG_UNBLOCK, &unblock, nullptr);
  claimed_signals.fetch_and(~claim.numbers);
}

std::uint32_t detail::signals_handed_over(std::uint64_t numbers) noexcept {
  std::uint32_t sum = 0;
  for (std::uint64_t left = numbers; left != 0; left &= left - 1)
    sum += claims[__builtin_ctzll(left) + 1].handed_over.load(std::memory_order_relaxed);
  return sum;
}

int detail::last_signal_handed_over() noexcept { return last_handed_over.load(std::memory_order_relaxed); }

int detail::send_system_signal(pid_t pid, int number, const std::int32_t* value) noexcept {
  if (value == nullptr) return ::kill(pid, number) < 0 ? -errno : 0;
  sigval with{};
  with.sival_int = *value;
  return ::sigqueue(pid, number, with) < 0 ? -errno : 0;
}

int System::signal_action(int number) noexcept {
  struct sigaction now{};
  if (::sigaction(number, nullptr, &now) != 0) return -errno;
  return now.sa_handler == SIG_DFL ? 0 : now.sa_handler == SIG_IGN ? 1 : 2;
}
int System::claim_signals(SignalClaim& claim) noexcept { return detail::claim_system_signals(claim); }
void System::release_signals(const SignalClaim& claim) noexcept { detail::release_system_signals(claim); }
int System::send_signal(pid_t pid, int number, const std::int32_t* value) noexcept {
  return detail::send_system_signal(pid, number, value);
}
pid_t System::process_id() noexcept { return ::getpid(); }

}  // namespace horus::HORUS_ABI::io
