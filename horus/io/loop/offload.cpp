// SPDX-License-Identifier: Apache-2.0
#include <horus/io/offload.hpp>

#include <iterator>

#include <fmt/format.h>

namespace horus::HORUS_ABI::io::detail {

const WaitKind OffloadBase::kKind{.name = "offload",
                                  .cancel = &OffloadBase::cancel,
                                  .describe = &OffloadBase::describe,
                                  .children = nullptr};

OffloadBase::OffloadBase(ThreadPool& pool, void (*run_on_pool)(Job&) noexcept) noexcept
    : Waiter(&kKind), pool_(pool) {
  run = run_on_pool;
  complete = [](RemoteWork& work) noexcept {
    auto& self = static_cast<OffloadBase&>(work);
    self.away_ = false;
    self.make_ready();
  };
}

OffloadBase::~OffloadBase() {
  HORUS_ASSERT(
      !away_,
      "a coroutine frame died while a pool thread still worked for it (was a running task destroyed?)");
}

void OffloadBase::leave() noexcept {
  home_ = Reactor::current();
  HORUS_ASSERT(home_ != nullptr, "offload on a thread that runs no reactor");
  arrivals_ = &home_->remote();
  arrivals_->expect();
  away_ = true;
  if (!home_->system().run_job(pool_, *this)) {
    arrivals_->let_go();
    refuse(EAGAIN);
  }
}

void OffloadBase::go_home() noexcept {
  Arrivals& home = *arrivals_;  // this may be gone while it completes
  home.complete(*this);
}

void OffloadBase::refuse(int code) noexcept {
  refused_ = code;
  away_ = false;
  make_ready();
}

void OffloadBase::cancel(Waiter& waiter) noexcept {
  auto& self = static_cast<OffloadBase&>(waiter);
  if (!self.home_->system().take_job_back(self.pool_, self))
    return;  // it runs: its frame must stay until it has ended
  self.arrivals_->let_go();
  self.refuse(ECANCELED);
}

void OffloadBase::describe(const Waiter& waiter, std::string& line) {
  fmt::format_to(std::back_inserter(line), " (pool {})",
                 static_cast<const OffloadBase&>(waiter).pool_.name());
}

Error OffloadBase::refusal() const {
  if (refused_ == EAGAIN) {
    return Error(EAGAIN, "offload",
                 fmt::format("to pool {} ({} threads busy, {} calls wait)", pool_.name(), pool_.threads(),
                             pool_.queued()));
  }
  return Error(refused_, "offload");
}

}  // namespace horus::HORUS_ABI::io::detail
