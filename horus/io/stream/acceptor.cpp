// SPDX-License-Identifier: Apache-2.0
#include <horus/io/acceptor.hpp>

#include <cerrno>
#include <utility>

#include <sys/socket.h>

#include <fmt/format.h>

#include <horus/base/above_standard.hpp>
#include <horus/base/log.hpp>

namespace horus::HORUS_ABI::io::detail {

namespace {

bool is_shortage(int code) noexcept {
  return code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM;
}
// The connection failed, not the listener (accept(2): treat like EAGAIN).
bool is_of_one_connection(int code) noexcept {
  return code == ECONNABORTED || code == EPROTO || code == EPERM || code == EINTR || code == EAGAIN;
}
bool is_final(int code) noexcept {
  return code == EBADF || code == EINVAL || code == ENOTSOCK || code == EOPNOTSUPP || code == EFAULT;
}

}  // namespace

// A task that waits for a connection.
struct Acceptor::Next : horus::detail::QueuedWaiter {
  explicit Next(Acceptor& acceptor) noexcept : QueuedWaiter(kKind), acceptor_(acceptor) {}
  ~Next() { const Descriptor unclaimed(fd); }
  [[nodiscard]] bool await_ready() const noexcept {
    return !acceptor_.queue_.empty() || acceptor_.failure_ != 0 || acceptor_.dropped_;
  }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    if (!suspend(awaiting)) return refuse();
    acceptor_.waiters_.push_back(*this);
    acceptor_.arm_if_wanted();
  }
  Result<Descriptor> await_resume() {
    if (fd >= 0) return Descriptor(std::exchange(fd, -1));
    if (!cancelled && !acceptor_.queue_.empty()) {
      Descriptor connection(acceptor_.queue_.front());
      acceptor_.queue_.pop_front();
      acceptor_.arm_if_wanted();
      return connection;
    }
    const int code = cancelled || acceptor_.dropped_ ? ECANCELED : acceptor_.failure_;
    return Error(code, "accept", acceptor_.name_);
  }

  int fd = -1;

 private:
  static constexpr WaitKind kKind{.name = "a connection", .cancel = &QueuedWaiter::cancel};
  Acceptor& acceptor_;
};

Acceptor::Acceptor(Descriptor listener, std::string name, std::size_t limit)
    : reactor_(*Reactor::current()), listener_(std::move(listener)), name_(std::move(name)), limit_(limit) {
  complete = [](CompletionHandler& self, std::int32_t result, std::uint32_t flags) noexcept {
    static_cast<Acceptor&>(self).completed(result, flags);
  };
  expired = [](Timer& self) noexcept {
    auto& acceptor = static_cast<Acceptor&>(self);
    const auto kept = std::move(acceptor.keep_);
    acceptor.step_ = Step::idle;
    acceptor.take_reserve();
    acceptor.arm_if_wanted();
  };
  take_reserve();
}

Task<Result<Descriptor>> Acceptor::accept(std::shared_ptr<Acceptor> self) {
  if (self == nullptr) co_return Error(EBADF, "accept", "(the listener is not open)");
  self->owner_.check("listener");
  Next next(*self);
  auto connection = co_await next;
  co_return std::move(connection);
}

Descriptor Acceptor::drop() noexcept {
  dropped_ = true;
  while (auto* waiter = waiters_.pop_front()) waiter->refuse();
  while (!queue_.empty()) {
    const Descriptor connection(queue_.front());
    queue_.pop_front();
  }
  const Descriptor reserve(std::exchange(reserve_, -1));
  if (step_ == Step::resting) {
    reactor_.timers().cancel(*this);
    step_ = Step::idle;
    keep_.reset();  // the caller holds another reference
  }
  return std::move(listener_);
}

// --- Accepting --------------------------------------------------------------------------------------------------------

void Acceptor::arm_if_wanted() noexcept {
  if (step_ != Step::idle || dropped_ || failure_ != 0) return;
  if (waiters_.empty() && queue_.size() > limit_ / 2) return;
  pausing_ = false;
  start(Step::accepting, &fill::accept_many, listener_.get());
}

void Acceptor::start(Step step, Fill fill, int fd) noexcept {
  step_ = step;
  keep_ = shared_from_this();
  reactor_.submit_handler(*this, [&](io_uring_sqe& entry) { fill(entry, fd); });
}

void Acceptor::completed(std::int32_t result, std::uint32_t flags) noexcept {
  const bool more = (flags & IORING_CQE_F_MORE) != 0;
  std::shared_ptr<Acceptor> kept;
  Step step = step_;
  if (!more) {
    kept = std::move(keep_);
    step_ = Step::idle;
  }
  switch (step) {
    case Step::accepting: return accepted(result, more);
    case Step::freeing:
      if (!dropped_) start(Step::draining, &fill::accept, listener_.get());
      return;
    case Step::draining: return drained(result);
    case Step::refusing:
      take_reserve();
      if (!dropped_) rest();
      return;
    case Step::idle:
    case Step::resting: return;
  }
}

void Acceptor::accepted(std::int32_t result, bool more) noexcept {
  if (result >= 0) deliver(result);
  if (dropped_) return;
  if (more) {
    if (queue_.size() >= limit_ && !pausing_) {
      pausing_ = true;
      reactor_.cancel_handler(*this);
    }
    return;
  }
  if (result == -ECANCELED) {
    // Paused, or the reactor is shutting down: only somebody who waits arms it again.
    if (!waiters_.empty()) arm_if_wanted();
  } else if (result >= 0 || is_of_one_connection(-result)) {
    if (queue_.size() < limit_) arm_if_wanted();
  } else if (is_shortage(-result)) {
    relieve(-result);
  } else if (is_final(-result)) {
    fail(-result);
  } else {
    rest();
  }
}

void Acceptor::deliver(int accepted) noexcept {
  const int fd = above_standard(accepted);
  if (fd < 0) {  // no descriptor is left for it
    ++refused_;
    return;
  }
  if (dropped_) {
    const Descriptor unwanted(fd);
    return;
  }
  if (auto* waiter = waiters_.pop_front()) {
    static_cast<Next*>(waiter)->fd = fd;
    waiter->make_ready();
    return;
  }
  queue_.push_back(fd);
}

void Acceptor::fail(int code) noexcept {
  failure_ = code;
  while (auto* waiter = waiters_.pop_front()) waiter->make_ready();
}

// --- No descriptors left ----------------------------------------------------------------------------------------------

void Acceptor::relieve(int code) noexcept {
  if (shortages_.may(reactor_.now_ns())) {
    log_warning(fmt::format("{}; connections are being closed or wait{}",
                            Error(code, "accept", name_).message(), shortages_.more()));
  }
  take_reserve();
  if (reserve_ < 0) return rest();
  start(Step::freeing, &fill::close, std::exchange(reserve_, -1));
}

void Acceptor::drained(std::int32_t result) noexcept {
  if (dropped_) {
    if (result >= 0) deliver(result);
    return;
  }
  if (result == -ECANCELED) {
    if (!waiters_.empty()) rest();
    return;
  }
  if (result < 0) return is_final(-result) ? fail(-result) : rest();
  take_reserve();
  if (reserve_ >= 0) {  // the shortage is over
    deliver(result);
    if (queue_.size() < limit_) arm_if_wanted();
    return;
  }
  ++refused_;
  start(Step::refusing, &fill::close, result);
}

void Acceptor::rest() noexcept {
  step_ = Step::resting;
  keep_ = shared_from_this();
  reactor_.timers().insert(*this, saturating_add(reactor_.now_ns(), kRest.count()));
}

void Acceptor::take_reserve() noexcept {
  if (reserve_ >= 0 || dropped_) return;
  const int fd = reactor_.system().event_fd(0, 0);
  if (fd >= 0) reserve_ = fd;
}

}  // namespace horus::HORUS_ABI::io::detail
