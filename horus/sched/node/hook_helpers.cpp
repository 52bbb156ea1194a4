// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/node/hook_helpers.hpp>

#include <algorithm>
#include <climits>
#include <csignal>

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <horus/base/clock.hpp>
#include <horus/sched/node/node_record.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

constexpr int kPriority = 89;  // above every loop's, below the monitor's

void futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value) noexcept {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), operation, value, nullptr, nullptr, 0);
}

}  // namespace

void HookHelpers::start(std::vector<NodeRecord*> nodes) {
  stop();
  nodes_ = std::move(nodes);
  std::sort(nodes_.begin(), nodes_.end(), [](const NodeRecord* a, const NodeRecord* b) {
    if (a->settings.priority != b->settings.priority) return a->settings.priority < b->settings.priority;
    return a->index < b->index;
  });
  seen_since_ns_ = 0;
  ending_.store(false, std::memory_order_relaxed);
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  for (std::thread& thread : threads_) thread = std::thread([this] { serve(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void HookHelpers::stop() noexcept {
  if (!started()) return;
  ending_.store(true, std::memory_order_release);
  word_.fetch_add(1, std::memory_order_release);
  futex(word_, FUTEX_WAKE_PRIVATE, INT_MAX);
  for (std::thread& thread : threads_) thread.join();
}

void HookHelpers::want_all(bool emergency) noexcept {
  for (NodeRecord* node : nodes_) {
    if (node->state() == NodeState::stopped || (emergency && node->settings.keep_in_emergency)) continue;
    node->vitals.hook.want();
  }
}

void HookHelpers::wake() noexcept {
  word_.fetch_add(1, std::memory_order_release);
  futex(word_, FUTEX_WAKE_PRIVATE, 1);
}

void HookHelpers::hurry(std::int64_t now) noexcept {
  const std::uint32_t progress = progress_.load(std::memory_order_relaxed);
  if (seen_since_ns_ == 0 || progress != seen_progress_) {
    seen_progress_ = progress;
    seen_since_ns_ = now;
    return;
  }
  if (now - seen_since_ns_ < kHookLimit_ns) return;
  seen_since_ns_ = now;
  if (waiting()) wake();
}

bool HookHelpers::waiting() const noexcept {
  return std::any_of(nodes_.begin(), nodes_.end(),
                     [](const NodeRecord* node) { return node->vitals.hook.wanted(); });
}

bool HookHelpers::busy() const noexcept {
  return std::any_of(nodes_.begin(), nodes_.end(),
                     [](const NodeRecord* node) { return node->vitals.hook.running(); });
}

NodeRecord* HookHelpers::overdue(std::int64_t now) noexcept {
  for (NodeRecord* node : nodes_) {
    const std::int64_t since = node->vitals.hook_since_ns.load(std::memory_order_acquire);
    if (since == 0 || now - since < kHookLimit_ns) continue;
    if (node->vitals.hook_reported_ns.exchange(since, std::memory_order_relaxed) != since) return node;
  }
  return nullptr;
}

void HookHelpers::serve() noexcept {
  ::pthread_setname_np(::pthread_self(), "horus-hooks");
  sched_param parameter{};
  parameter.sched_priority = kPriority;
  // Where it is permitted: a loop that spins in real time must not keep the hooks from starting.
  static_cast<void>(::pthread_setschedparam(::pthread_self(), SCHED_FIFO | SCHED_RESET_ON_FORK, &parameter));
  std::uint32_t seen = word_.load(std::memory_order_acquire);
  while (!ending_.load(std::memory_order_acquire)) {
    futex(word_, FUTEX_WAIT_PRIVATE, seen);
    seen = word_.load(std::memory_order_acquire);
    for (NodeRecord* node : nodes_) node->run_wanted_hook();
  }
}

}  // namespace horus::HORUS_ABI::detail
