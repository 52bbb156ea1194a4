// SPDX-License-Identifier: Apache-2.0
// Child processes for tests that kill them. They are forked by a process of their own, which was forked before there was
// any reactor: a child of a running one would keep its descriptors, and an epoll set of it, alive.
#pragma once

#include <csignal>
#include <cstddef>
#include <exception>
#include <functional>
#include <utility>
#include <vector>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

/// Makes children that run one of several roles each. Make it before the first reactor.
class Nursery {
 public:
  using Role = std::function<void()>;

  explicit Nursery(std::vector<Role> roles) {
    int orders[2];
    int answers[2];
    if (::pipe(orders) != 0 || ::pipe(answers) != 0) std::terminate();
    nurse_ = ::fork();
    if (nurse_ == 0) {
      ::close(orders[1]);
      ::close(answers[0]);
      nurse(orders[0], answers[1], roles);
    }
    ::close(orders[0]);
    ::close(answers[1]);
    orders_ = orders[1];
    answers_ = answers[0];
  }
  Nursery(const Nursery&) = delete;
  Nursery& operator=(const Nursery&) = delete;
  ~Nursery() {
    ::close(orders_);
    ::close(answers_);
    ::waitpid(nurse_, nullptr, 0);
  }

  /// A child that plays `role`, and dies with the nursery at the latest.
  pid_t bear(std::size_t role) {
    const auto order = static_cast<char>(role);
    pid_t child = -1;
    if (::write(orders_, &order, 1) != 1 || ::read(answers_, &child, sizeof child) != sizeof child ||
        child <= 0)
      std::terminate();
    return child;
  }
  static void kill(pid_t child) { ::kill(child, SIGKILL); }

 private:
  [[noreturn]] static void nurse(int orders, int answers, const std::vector<Role>& roles) {
    ::signal(SIGCHLD, SIG_IGN);  // nobody waits for the dead
    char order = 0;
    while (::read(orders, &order, 1) == 1) {
      const pid_t child = ::fork();
      if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        ::close(orders);
        ::close(answers);
        try {
          roles[static_cast<std::size_t>(order)]();
        } catch (const std::exception& error) {
          fmt::print(stderr, "child: {}\n", error.what());
        }
        ::_exit(1);
      }
      if (::write(answers, &child, sizeof child) != sizeof child) break;
    }
    ::_exit(0);
  }

  pid_t nurse_ = -1;
  int orders_ = -1;
  int answers_ = -1;
};
