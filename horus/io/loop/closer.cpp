// SPDX-License-Identifier: Apache-2.0
#include <horus/io/loop/closer.hpp>

#include <cerrno>
#include <memory>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

#include <horus/io/base/thread_pool.hpp>
#include <horus/io/loop/lookout.hpp>

namespace horus::HORUS_ABI::io {

namespace {

// Lingering sockets that wait for a thread of the room. Further ones do not linger: the kernel goes on sending what they
// still hold, and only nobody waits for it.
constexpr std::size_t kLingering = 256;

}  // namespace

// A close on a thread. It owns itself, so that neither the reactor nor a task has to outlive what may take for ever.
struct detail::ClosingJob : ThreadPool::Job, RemoteWork {
  ClosingJob(int number, CloseAwaiter* awaiting, Reactor& reactor)
      : fd(number), waiter(awaiting), home(awaiting == nullptr ? nullptr : reactor.waker()) {
    run = [](ThreadPool::Job& job) noexcept {
      auto& self = static_cast<ClosingJob&>(job);
      self.result = ::close(self.fd) == 0 ? 0 : -errno;
      if (self.home == nullptr || !self.home->send(self)) delete &self;
    };
    complete = [](RemoteWork& work) noexcept {
      const std::unique_ptr<ClosingJob> self(&static_cast<ClosingJob&>(work));
      if (self->waiter == nullptr) return;
      self->waiter->job_ = nullptr;
      self->waiter->refuse(self->result);
    };
  }

  int fd;
  int result = 0;
  CloseAwaiter* waiter;  // null: nobody (any more)
  std::shared_ptr<Waker> home;
};

Closer::Closer(Reactor& reactor) noexcept : reactor_(reactor) {
  complete = [](CompletionHandler&, std::int32_t, std::uint32_t) noexcept {};
}

void Closer::close(int fd) noexcept {
  if (fd < 0) return;
  reactor_.closing_ = true;  // the next turn has a budget of its own
  if (budget_ == 0) {
    waiting_.push_back(fd);
    return;
  }
  begin(fd);
}

bool Closer::close_at_once(int fd, int& result) noexcept {
  if (budget_ == 0 || reactor_.names(fd) || reactor_.system().closing_of(fd) != Closing::at_once)
    return false;
  result = reactor_.ring().close_descriptor(fd);
  if (result == -EBUSY) return false;
  reactor_.closing_ = true;
  --budget_;
  return true;
}

void Closer::begin(int fd) noexcept {
  int result = 0;
  if (close_at_once(fd, result)) return;
  if (budget_ > 0) --budget_;
  if (prepare(fd, nullptr) == nullptr) submit(fd);
}

void Closer::submit(int fd) noexcept {
  reactor_.submit_handler(*this, [fd](io_uring_sqe& entry) { fill::close(entry, fd); });
}

detail::ClosingJob* Closer::prepare(int fd, CloseAwaiter* waiter) noexcept {
  reactor_.cancel_on(fd);
  System& system = reactor_.system();
  if (system.closing_of(fd) != Closing::room) return nullptr;
  ThreadPool& room = ThreadPool::closings();
  const linger none{};
  if (room.queued() >= kLingering && system.set_option(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none) == 0) {
    return nullptr;
  }
  // What names the number runs first; what still works by it on a thread keeps it.
  if (reactor_.names(fd)) reactor_.submit_now();
  if (reactor_.names(fd) || !reactor_.ring().let_go(fd)) return nullptr;
  auto job = std::make_unique<detail::ClosingJob>(fd, waiter, reactor_);
  if (!room.submit(static_cast<ThreadPool::Job&>(*job))) return nullptr;
  return job.release();
}

bool Closer::turn() noexcept {
  budget_ = kPerTurn;
  while (budget_ > 0 && waiting()) begin(waiting_[taken_++]);
  if (waiting()) return true;
  waiting_.clear();
  taken_ = 0;
  return false;
}

// --- Waiting for a close ----------------------------------------------------------------------------------------------

const OperationKind CloseAwaiter::kKind{{"close", &CloseAwaiter::stop_waiting, &Operation::describe, nullptr},
                                        &CloseAwaiter::prepare_entry};

bool CloseAwaiter::await_ready() noexcept {
  Reactor* reactor = Reactor::current();
  HORUS_ASSERT(reactor != nullptr, "a descriptor was closed by a task on a thread that runs no reactor");
  return reactor->closer().close_at_once(number_, result);
}

// An entry is not cancelled, or the descriptor would leak. The room closes it whoever waits.
void CloseAwaiter::start(bool may_wait) noexcept {
  Reactor& reactor = *Reactor::current();
  job_ = reactor.closer().prepare(number_, may_wait ? this : nullptr);
  if (job_ == nullptr) return reactor.submit(*this);
  if (may_wait) return;
  job_ = nullptr;
  refuse(-ECANCELED);
}

void CloseAwaiter::stop_waiting(Waiter& waiter) noexcept {
  auto& self = static_cast<CloseAwaiter&>(waiter);
  if (self.job_ == nullptr) return;
  std::exchange(self.job_, nullptr)->waiter = nullptr;
  self.refuse(-ECANCELED);
}

void CloseAwaiter::prepare_entry(Operation& operation, io_uring_sqe& entry) noexcept {
  static_cast<CloseAwaiter&>(operation).prepare(entry);
}

Result<> CloseAwaiter::await_resume() const {
  if (result < 0) return Error(-result, "close");
  return {};
}

}  // namespace horus::HORUS_ABI::io
