// SPDX-License-Identifier: Apache-2.0
#include <horus/py/hub/hub_ports.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <horus/base/above_standard.hpp>
#include <horus/base/clock.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>

namespace horus::python {
namespace {

// A signal that comes just before the wait does not end it, so Python's main thread looks now and then.
constexpr std::int64_t kLookAgain_ns = 200'000'000;
constexpr std::int64_t kLongNap_ns = 3'600'000'000'000;
constexpr std::int64_t kQuiet_ns = 1'000'000'000;  // between two lines of the log

}  // namespace

// --- Wakeup -----------------------------------------------------------------------------------------------------------

Wakeup::Wakeup() : fd_(above_standard(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))) {
  if (fd_ < 0) throw Error(errno, "eventfd");
}
Wakeup::~Wakeup() { ::close(fd_); }

void Wakeup::signal() noexcept {
  const std::uint64_t once = 1;
  [[maybe_unused]] const ssize_t written = ::write(fd_, &once, sizeof once);
}

void Wakeup::clear() noexcept {
  std::uint64_t times = 0;
  [[maybe_unused]] const ssize_t read = ::read(fd_, &times, sizeof times);
}

bool Wakeup::wait(std::int64_t until_ns) {
  const std::int64_t now = now_ns();
  if (now >= until_ns) return false;
  const bool main_thread = ::gettid() == ::getpid();
  const std::int64_t nap = std::min(until_ns - now, main_thread ? kLookAgain_ns : kLongNap_ns);
  const timespec limit{nap / 1'000'000'000, nap % 1'000'000'000};
  pollfd one{fd_, POLLIN, 0};
  {
    const Away away;
    if (::ppoll(&one, 1, &limit, nullptr) > 0) clear();
  }
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  return true;
}

const std::shared_ptr<Wakeup>& Wakeup::of_this_thread() {
  thread_local std::shared_ptr<Wakeup> own;
  if (own == nullptr) own = std::make_shared<Wakeup>();
  own->clear();
  return own;
}

void WakeupBell::ring() noexcept {
  const std::lock_guard lock(mutex_);
  for (const auto& wakeup : waiting_) wakeup->signal();
}

void WakeupBell::add(std::shared_ptr<Wakeup> wakeup) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(std::move(wakeup));
}

void WakeupBell::remove(const Wakeup& wakeup) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                  [&](const auto& other) { return other.get() == &wakeup; });
  if (found != waiting_.end()) waiting_.erase(found);
}

// --- InPort -----------------------------------------------------------------------------------------------------------

std::shared_ptr<InPort> InPort::open(const Hub& hub, msg::PortInfo info, std::shared_ptr<HubPart> home,
                                     std::shared_ptr<HubCounters> counters) {
  auto port = std::make_shared<InPort>(std::move(counters));
  port->home_ = std::move(home);
  info.direction = msg::Direction::in;
  info.bell = port->bell_;
  port->port_ = std::make_shared<msg::Port>(std::move(info));
  port->port_->open(hub.core());
  HubThread::get_running().keep(port);
  return port;
}

InPort::Outcome InPort::next(msg::Arrival& arrival, std::size_t& size, msg::MessageStorage& storage) {
  if (port_ == nullptr) return Outcome::closed;
  int failure = 0;
  if (!port_->inbox().take(arrival, failure, storage.bytes)) return Outcome::nothing;
  if (failure != 0) return Outcome::too_many_held;
  const Layout& layout = *port_->info().layout;
  size = layout.element_bytes == 0 ? layout.head_bytes : std::size_t{layout.tail_offset} + arrival.tail_bytes;
  return Outcome::taken;
}

InPort::Outcome InPort::hold(msg::Arrival& arrival, std::size_t& size, msg::MessageStorage& storage) {
  const std::lock_guard lock(mutex_);
  return next(arrival, size, storage);
}

void InPort::give_back(const msg::Arrival& arrival) noexcept {
  const std::lock_guard lock(mutex_);
  arrival.give_back();
}

InPort::Outcome InPort::take(py::bytes& message, msg::Inbox::Taken& taken) {
  const std::lock_guard lock(mutex_);
  msg::Arrival arrival;
  msg::MessageStorage storage;
  std::size_t size = 0;
  const Outcome outcome = next(arrival, size, storage);
  if (outcome != Outcome::taken) return outcome;
  taken = port_->inbox().now(arrival);
  PyObject* copy =
      PyBytes_FromStringAndSize(reinterpret_cast<const char*>(arrival.data), static_cast<Py_ssize_t>(size));
  arrival.give_back();
  if (copy == nullptr) throw py::error_already_set();
  message = py::reinterpret_steal<py::bytes>(copy);
  return Outcome::taken;
}

bool InPort::outlives_publishers() {
  const std::lock_guard lock(mutex_);
  return port_ == nullptr || port_->inbox().outlives_publishers();
}

bool InPort::still_counts(const msg::Inbox::Taken& taken) {
  const std::lock_guard lock(mutex_);
  return port_ == nullptr || port_->inbox().still_counts(taken);
}

bool InPort::listen() {
  const std::lock_guard lock(mutex_);
  return port_ == nullptr || port_->inbox().listen();
}

bool InPort::has_message() {
  const std::lock_guard lock(mutex_);
  return port_ != nullptr && port_->inbox().has_message();
}

std::uint64_t InPort::missed() {
  const std::lock_guard lock(mutex_);
  if (port_ != nullptr) {
    static_cast<void>(port_->inbox().has_message());  // it looks at its new publishers
    missed_ = port_->inbox().missed();
  }
  return missed_ + malformed_.load(std::memory_order_relaxed);
}

std::uint32_t InPort::publishers() {
  const std::lock_guard lock(mutex_);
  return port_ == nullptr ? 0 : port_->inbox().metrics().publishers;
}

bool InPort::closed() {
  const std::lock_guard lock(mutex_);
  return port_ == nullptr;
}

bool InPort::count_malformed() noexcept {
  malformed_.fetch_add(1, std::memory_order_relaxed);
  counters_->malformed.fetch_add(1, std::memory_order_relaxed);
  const std::int64_t now = now_ns();
  std::int64_t told = told_ns_.load(std::memory_order_relaxed);
  return (told == 0 || now - told >= kQuiet_ns) && told_ns_.compare_exchange_strong(told, now);
}

void InPort::close_here() noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (port_ == nullptr) return;
    missed_ = port_->inbox().missed();
    port_->close();
    port_.reset();
  }
  home_.reset();
  bell_->ring();
}

// --- OutPort ----------------------------------------------------------------------------------------------------------

std::shared_ptr<OutPort> OutPort::open(const Hub& hub, msg::PortInfo info, std::shared_ptr<HubPart> home,
                                       std::shared_ptr<HubCounters> counters) {
  info.direction = msg::Direction::out;
  auto port = std::make_shared<OutPort>(std::move(counters), info);
  port->home_ = std::move(home);
  port->port_ = std::make_shared<msg::Port>(std::move(info));
  port->port_->open(hub.core());
  port->max_tail_bytes_ = port->port_->outbox().max_tail_bytes();
  HubThread::get_running().keep(port);
  return port;
}

bool OutPort::send(std::string message) {
  Message copy;
  copy.bytes = std::move(message);
  return hand_over(std::move(copy));
}

bool OutPort::send(std::uint32_t slot, std::uint32_t tail_bytes) {
  Message loan;
  loan.slot = slot;
  loan.tail_bytes = tail_bytes;
  return hand_over(std::move(loan));
}

OutPort::Lent OutPort::lend(std::size_t bytes) {
  if (port_ == nullptr) return {};
  msg::Outbox& outbox = port_->outbox();
  const std::uint32_t slot = outbox.loan(bytes);
  if (slot == msg::SlotPool::kNone) return {&outbox, slot, nullptr, outbox.why_no_loan()};
  return {&outbox, slot, outbox.data(slot), std::nullopt};
}

bool OutPort::hand_over(Message message) {
  bool schedule = false;
  {
    const std::lock_guard lock(mutex_);
    const std::size_t size = message.size();
    if (closed()) return false;
    if (waiting_ >= most_waiting_ || (waiting_ > 0 && waiting_bytes_ + size > kMostBytes)) {
      counters_->refused.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
    queue_.push_back(std::move(message));
    ++waiting_;
    waiting_bytes_ += size;
    counters_->waiting.fetch_add(1, std::memory_order_relaxed);
    counters_->waiting_bytes.fetch_add(size, std::memory_order_relaxed);
    schedule = !std::exchange(scheduled_, true);
  }
  if (schedule) HubThread::get().hand_over([self = shared_from_this()] { self->drain(); });
  return true;
}

void OutPort::publish(msg::Outbox& outbox, const std::string& message) noexcept {
  // Sizes were checked when it was packed.
  static_cast<void>(outbox.send(message.data(), message.data() + head_bytes_, message.size() - head_bytes_));
}

void OutPort::drain() noexcept {
  std::deque<Message> messages;
  {
    const std::lock_guard lock(mutex_);
    scheduled_ = false;
    messages.swap(queue_);
  }
  if (port_ == nullptr) return;
  msg::Outbox& outbox = port_->outbox();
  for (const Message& message : messages) {
    counters_->round.fetch_add(1, std::memory_order_acq_rel);
    if (message.slot == msg::SlotPool::kNone) {
      publish(outbox, message.bytes);
    } else {
      static_cast<void>(outbox.publish(message.slot, message.tail_bytes));
    }
    counters_->waiting.fetch_sub(1, std::memory_order_relaxed);
    counters_->waiting_bytes.fetch_sub(message.size(), std::memory_order_relaxed);
    counters_->round.fetch_add(1, std::memory_order_acq_rel);
    const std::lock_guard lock(mutex_);
    --waiting_;
    waiting_bytes_ -= message.size();
  }
}

std::uint32_t OutPort::subscribers() {
  const std::lock_guard lock(mutex_);
  if (port_ == nullptr) return 0;
  const auto outbox = port_->shared_outbox();
  return outbox == nullptr ? 0 : outbox->metrics().subscribers;
}

void OutPort::close_here() noexcept {
  if (port_ == nullptr) return;
  {
    const std::lock_guard lock(mutex_);  // who sends sees it, or is drained here
    closed_.store(true, std::memory_order_relaxed);
  }
  drain();
  std::shared_ptr<msg::Port> port;
  {
    const std::lock_guard lock(mutex_);
    port.swap(port_);
  }
  port->close();
  home_.reset();
}

// --- Messages that wait for room --------------------------------------------------------------------------------------

OutPort::Keeper::~Keeper() {
  if (patient == nullptr) return;
  auto expected = Patient::State::waiting;
  patient->state.compare_exchange_strong(expected, Patient::State::closed);
  patient->wakeup->signal();
}

void OutPort::send_patiently(const std::shared_ptr<Patient>& patient) {
  HubThread::get().hand_over([self = shared_from_this(), keeper = Keeper(patient)]() mutable {
    static_cast<void>(io::Reactor::current()->spawn(wait_for_room(self, std::move(keeper)), "send_wait"));
  });
}

void OutPort::abandon(const std::shared_ptr<Patient>& patient) {
  auto expected = Patient::State::waiting;
  if (!patient->state.compare_exchange_strong(expected, Patient::State::abandoned)) return;
  HubThread::get().hand_over([self = shared_from_this()] {
    if (self->port_ != nullptr) self->port_->outbox().room_may_have_come();
  });
}

Task<> OutPort::wait_for_room(std::shared_ptr<OutPort> self, Keeper keeper) {
  using State = Patient::State;
  const std::shared_ptr<Patient> patient = keeper.patient;
  while (self->port_ != nullptr) {
    self->drain();  // what was sent before it
    const std::shared_ptr<msg::Outbox> outbox = self->port_->shared_outbox();
    if (patient->state.load() != State::waiting) break;
    if (outbox->has_room()) {
      auto expected = State::waiting;
      if (patient->state.compare_exchange_strong(expected, State::sent))
        self->publish(*outbox, patient->message);
      break;
    }
    const std::int64_t now = now_ns();
    if (now >= patient->until_ns) {
      auto expected = State::waiting;
      patient->state.compare_exchange_strong(expected, State::timed_out);
      break;
    }
    auto room = outbox->wait_for_room();
    auto limited = with_timeout(Duration(std::min(patient->until_ns - now, kLongNap_ns)), std::move(room));
    const Result<> waited = co_await limited;
    if (!waited && waited.error().cancelled()) break;
  }
}

}  // namespace horus::python
