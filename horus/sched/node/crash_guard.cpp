// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/node/crash_guard.hpp>

#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <ctime>
#include <iterator>
#include <mutex>
#include <new>

#include <unistd.h>

#include <horus/base/clock.hpp>
#include <horus/base/log.hpp>
#include <horus/sched/node/hook_helpers.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGABRT};
constexpr std::int64_t kLimit_ns = 100'000'000;
constexpr std::size_t kStackBytes = std::size_t{64} * 1024;

// What handlers look at; schedulers that guard at the same time have a place each, further ones go without.
std::array<std::atomic<HookHelpers*>, 16> guarded;
std::atomic<pid_t> owner{0};
std::atomic<bool> crashing{false};
struct sigaction before[std::size(kSignals)];

std::mutex installing;
int guards = 0;

void rest() noexcept {
  const timespec moment{0, 500'000};
  ::nanosleep(&moment, nullptr);
}

void on_crash(int number, siginfo_t* info, void*) noexcept {
  if (owner.load(std::memory_order_relaxed) == ::getpid()) {
    const std::int64_t until = monotonic_ns() + kLimit_ns;
    if (!crashing.exchange(true, std::memory_order_acq_rel)) {
      const auto any = [](auto what) noexcept {
        bool some = false;
        for (auto& place : guarded) {
          if (HookHelpers* hooks = place.load(std::memory_order_acquire)) some = what(*hooks) || some;
        }
        return some;
      };
      any([](HookHelpers& hooks) noexcept {
        hooks.want_all(false);
        hooks.wake();
        return true;
      });
      while (monotonic_ns() < until && any([](HookHelpers& hooks) noexcept {
               hooks.hurry(monotonic_ns());
               return hooks.waiting() || hooks.busy();
             }))
        rest();
      static_cast<void>(flush_log(std::chrono::milliseconds(20)));
    } else {
      while (monotonic_ns() < until) rest();  // another thread has crashed before
    }
  }
  for (std::size_t i = 0; i < std::size(kSignals); ++i) {
    if (kSignals[i] == number) ::sigaction(number, &before[i], nullptr);
  }
  // A fault happens anew when this returns; a signal that was sent does not.
  if (info->si_code <= 0) ::raise(number);
}

thread_local std::byte* alternate_stack = nullptr;

}  // namespace

CrashGuard::CrashGuard(HookHelpers& hooks) noexcept {
  const std::lock_guard lock(installing);
  for (std::size_t i = 0; i < guarded.size() && place_ < 0; ++i) {
    HookHelpers* none = nullptr;
    if (guarded[i].compare_exchange_strong(none, &hooks, std::memory_order_acq_rel))
      place_ = static_cast<int>(i);
  }
  if (place_ < 0) return;
  stack_t now{};
  if (::sigaltstack(nullptr, &now) == 0 && (now.ss_flags & SS_DISABLE) != 0) {
    alternate_stack = new (std::nothrow) std::byte[kStackBytes];
    now.ss_sp = alternate_stack;
    now.ss_size = kStackBytes;
    now.ss_flags = 0;
    if (alternate_stack != nullptr) ::sigaltstack(&now, nullptr);
  }
  if (guards++ > 0) return;
  owner.store(::getpid(), std::memory_order_relaxed);
  crashing.store(false, std::memory_order_relaxed);
  struct sigaction handler{};
  handler.sa_sigaction = &on_crash;
  handler.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (std::size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &handler, &before[i]);
}

CrashGuard::~CrashGuard() {
  const std::lock_guard lock(installing);
  if (place_ < 0) return;
  guarded[static_cast<std::size_t>(place_)].store(nullptr, std::memory_order_release);
  if (--guards == 0) {
    for (std::size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &before[i], nullptr);
  }
  if (alternate_stack == nullptr) return;
  stack_t none{};
  none.ss_flags = SS_DISABLE;
  ::sigaltstack(&none, nullptr);
  delete[] alternate_stack;
  alternate_stack = nullptr;
}

}  // namespace horus::HORUS_ABI::detail
