// SPDX-License-Identifier: Apache-2.0
// Looking up names on threads of their own. A task that gives up leaves its look-up behind; all tasks of the process that
// ask for one name at the same time share one. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/address.hpp>
#include <horus/io/loop/lookout.hpp>
#include <horus/io/seam/system.hpp>
#include <horus/task/chain.hpp>

namespace horus::HORUS_ABI::io::detail {

struct LookUp;

/// What a task waits for: filled on the resolver's thread, handed over to the task's reactor.
struct Answer {
  std::shared_ptr<Waker> home;
  Waiter* waiter = nullptr;  // on the reactor's thread; null: it has given up
  std::vector<Address> addresses;
  Error error;
  LookUp* look_up = nullptr;  // under the resolver's mutex; null: it is over
};

/// Waits for the addresses of `host`, at most as long as the system's resolver needs.
/// Errors: those of the look-up; EAGAIN (too many look-ups hang already); ECANCELED, at once.
class LookUpAwaiter : public Waiter {
 public:
  LookUpAwaiter(System::NameLookUp function, const std::string& host) noexcept
      : Waiter(&kKind), function_(function), host_(host) {}
  static constexpr bool await_ready() noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> awaiting) {
    if (suspend(awaiting) && begin()) return true;
    unsuspend();
    return false;
  }
  [[nodiscard]] Result<std::vector<Address>> await_resume();

 private:
  bool begin();
  static void cancel(Waiter& waiter) noexcept;
  static void describe(const Waiter& waiter, std::string& line);
  static const WaitKind kKind;

  System::NameLookUp function_;
  const std::string& host_;
  std::shared_ptr<Answer> answer_;
  int refused_ = ECANCELED;  // errno; 0: answered
};

}  // namespace horus::HORUS_ABI::io::detail
