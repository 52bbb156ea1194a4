// SPDX-License-Identifier: Apache-2.0
//
// A mailbox from any number of threads to one, and the loop of a party that sleeps on it; the `wake_*` peers add only
// how they sleep and how they signal. Bounded: the harness never has more than kMaxOutstandingPosts in it.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "../common/wake_load.hpp"

namespace bench {

// Lock-free: a list of preallocated nodes, pushed one by one, taken as a whole.
class Mailbox {
 public:
  Mailbox() : nodes_(2 * kMaxOutstandingPosts) {}

  void push(std::uint64_t message) {
    std::uint64_t ticket = tickets_.fetch_add(1, std::memory_order_relaxed);
    Node& node = nodes_[ticket % nodes_.size()];
    node.message = message;
    Node* head = head_.load(std::memory_order_relaxed);
    do {
      node.next = head;
    } while (!head_.compare_exchange_weak(head, &node, std::memory_order_seq_cst, std::memory_order_relaxed));
  }

  bool empty() const { return head_.load(std::memory_order_seq_cst) == nullptr; }

  // Hands over all messages, oldest first; false when the handler said so.
  template <typename Handler>
  bool drain(Handler& handler) {
    Node* newest_first = head_.exchange(nullptr, std::memory_order_acquire);
    Node* oldest_first = nullptr;
    while (newest_first != nullptr) {
      Node* next = newest_first->next;
      newest_first->next = oldest_first;
      oldest_first = newest_first;
      newest_first = next;
    }
    while (oldest_first != nullptr) {
      Node* next = oldest_first->next;
      if (!handler(oldest_first->message)) return false;
      oldest_first = next;
    }
    return true;
  }

 private:
  struct Node {
    Node* next = nullptr;
    std::uint64_t message = 0;
  };
  std::vector<Node> nodes_;
  std::atomic<std::uint64_t> tickets_{0};
  alignas(64) std::atomic<Node*> head_{nullptr};
};

// Sleeper: `void sleep(std::atomic<std::uint32_t>& asleep)` returns after a signal, or early; `void signal(…)` is
// called by the posting thread, and only when the party is asleep.
template <typename Sleeper>
class MailboxParty {
 public:
  explicit MailboxParty(const WakeOptions& options) : poll_(options.poll) {}

  void post(std::uint64_t message) {
    mailbox_.push(message);
    if (asleep_.load(std::memory_order_seq_cst) != 0 && asleep_.exchange(0, std::memory_order_seq_cst) != 0)
      sleeper_.signal(asleep_);
  }

  template <typename Handler>
  void run(Handler&& handler) {
    while (mailbox_.drain(handler)) {
      if (poll_) {
        relax_cpu();
        continue;
      }
      asleep_.store(1, std::memory_order_seq_cst);
      if (mailbox_.empty()) sleeper_.sleep(asleep_);
      asleep_.store(0, std::memory_order_seq_cst);
    }
  }

 private:
  Mailbox mailbox_;
  alignas(64) std::atomic<std::uint32_t> asleep_{0};
  Sleeper sleeper_;
  bool poll_;
};

template <typename Sleeper>
int run_mailbox_wake(int argc, char** argv) {
  Arguments arguments(argc, argv);
  return run_wake<MailboxParty<Sleeper>>(WakeOptions::from(arguments));
}

}  // namespace bench
