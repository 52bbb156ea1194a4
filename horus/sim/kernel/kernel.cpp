// SPDX-License-Identifier: Apache-2.0
// Descriptors, attempts and waiting; files are in kernel_files.cpp.
#include <horus/sim/kernel/kernel.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/epoll.h>

#include <horus/base/assert.hpp>
#include <horus/sim/base/transcript.hpp>

namespace horus::HORUS_ABI::sim::detail {
namespace {

constexpr std::size_t kFirstDescriptor = 3;  // behind stdin, stdout and stderr

}  // namespace

// --- The process ------------------------------------------------------------------------------------------------------

void Context::spend_for(std::string_view node) noexcept {
  const auto found = costs_.find(node);
  if (found == costs_.end()) return;
  const Duration cost = found->second.draw(engine_.random());
  engine_.trace(Trace::node, number_, static_cast<std::uint64_t>(cost.count()));
  spend(cost);
}

void Context::after(Duration delay, std::function<void()> action) {
  engine_.at(saturating_add(now(), delay.count()),
             [alive = std::weak_ptr<char>(alive_), action = std::move(action)] {
               if (!alive.expired()) action();
             });
}

// --- Descriptors ----------------------------------------------------------------------------------------------------

int SimProvider::add(std::shared_ptr<Object> object) {
  if (cut_off_) return -EIO;
  if (!has_room()) return -EMFILE;
  std::size_t fd = kFirstDescriptor;
  while (fd < table_.size() && table_[fd].object) ++fd;
  install(static_cast<int>(fd), object);
  return static_cast<int>(fd);
}

void SimProvider::install(int fd, const std::shared_ptr<Object>& object) {
  const auto place = static_cast<std::size_t>(fd);
  if (place >= table_.size()) table_.resize(place + 1);
  Entry& entry = table_[place];
  HORUS_ASSERT(!entry.object, "a descriptor of a simulated process was given twice");
  entry.watched = 0;
  entry.object = object;
  entry.object->opened_as(*this, fd);
  if (place >= kFirstDescriptor) ++open_;
}

std::shared_ptr<Object> SimProvider::shared(int fd) noexcept {
  return find(fd) == nullptr ? nullptr : table_[static_cast<std::size_t>(fd)].object;
}

int SimProvider::duplicate(int fd) {
  if (find(fd) == nullptr) return -EBADF;
  return add(table_[static_cast<std::size_t>(fd)].object);
}

bool SimProvider::has_room() const noexcept { return open_ < kMostDescriptors - kFirstDescriptor; }

Object* SimProvider::find(int fd) noexcept {
  if (fd < 0 || static_cast<std::size_t>(fd) >= table_.size()) return nullptr;
  return table_[static_cast<std::size_t>(fd)].object.get();
}

int SimProvider::close(int fd) noexcept {
  if (find(fd) == nullptr) return -EBADF;
  Entry& entry = table_[static_cast<std::size_t>(fd)];
  const auto object = std::move(entry.object);
  entry.object.reset();
  entry.watched = 0;
  ++entry.generation;
  if (static_cast<std::size_t>(fd) >= kFirstDescriptor) --open_;
  object->closed_as(*this, fd);
  return 0;
}

void SimProvider::close_all() noexcept {
  for (std::size_t fd = 0; fd < table_.size(); ++fd) {
    if (table_[fd].object) static_cast<void>(close(static_cast<int>(fd)));
  }
}

void SimProvider::touch(int fd) noexcept {
  Entry& entry = table_[static_cast<std::size_t>(fd)];
  if (entry.watched == 0 || entry.candidate) return;
  entry.candidate = true;
  candidates_.push_back(fd);
  context_.wake();
}

std::uint32_t SimProvider::generation(int fd) noexcept {
  return fd >= 0 && static_cast<std::size_t>(fd) < table_.size()
             ? table_[static_cast<std::size_t>(fd)].generation
             : 0;
}

int SimProvider::watch(int fd, std::uint32_t, std::uint32_t after) noexcept {
  if (find(fd) == nullptr) return -EBADF;
  table_[static_cast<std::size_t>(fd)].watched = after;
  touch(fd);
  return 0;
}

int SimProvider::classify(int fd, io::DescriptorTraits& traits) noexcept {
  Object* object = find(fd);
  if (object == nullptr) return -EBADF;
  traits.kind = object->kind();
  traits.nonblocking = (object->flags() & O_NONBLOCK) != 0;
  return 0;
}

// --- Attempts -------------------------------------------------------------------------------------------------------

std::size_t SimProvider::shortened(std::size_t size) noexcept {
  const unsigned rate = engine_.faults().short_transfer;
  if (rate == 0 || size < 2) return size;
  if (!engine_.fault_random().chance(rate, 1000)) return size;
  ++engine_.oddities().short_transfers;
  const std::uint64_t part = engine_.fault_random().below(size - 1);
  return static_cast<std::size_t>(part) + 1;
}

// The first parts of a message, as many bytes as go through at once.
std::vector<iovec> SimProvider::shortened(const iovec* parts, std::size_t count) noexcept {
  std::vector<iovec> first(parts, parts + count);
  std::size_t size = 0;
  for (const iovec& part : first) size += part.iov_len;
  std::size_t left = shortened(size);
  for (iovec& part : first) {
    part.iov_len = std::min(part.iov_len, left);
    left -= part.iov_len;
  }
  return first;
}

bool SimProvider::whim(Whim which) noexcept {
  const Faults& faults = engine_.faults();
  Oddities& oddities = engine_.oddities();
  unsigned rate = 0;
  std::uint64_t* counter = nullptr;
  switch (which) {
    case Whim::end_multishot:
      rate = faults.multishot_end;
      counter = &oddities.ended_multishots;
      break;
    case Whim::no_buffers:
      rate = faults.no_buffers;
      counter = &oddities.missing_buffers;
      break;
    case Whim::data_before_cancel:
      rate = faults.cancel_late;
      counter = &oddities.late_cancels;
      break;
  }
  if (!unlucky(rate)) return false;
  ++*counter;
  return true;
}

Object* SimProvider::receiver(int fd) noexcept {
  Object* object = find(fd);
  Transcript* transcript = object == nullptr ? nullptr : object->incoming();
  if (transcript != nullptr) transcript->receives(context_.number());
  return object;
}

Object* SimProvider::sender(int fd) noexcept {
  Object* object = find(fd);
  Transcript* transcript = object == nullptr ? nullptr : object->outgoing();
  if (transcript != nullptr) transcript->sends(context_.number());
  return object;
}

ssize_t SimProvider::moved(const char* what, int fd, ssize_t result) noexcept {
  std::uint64_t detail = static_cast<std::uint64_t>(fd) << 32;
  detail ^= static_cast<std::uint32_t>(result);
  if (const Duration cost = engine_.faults().kib_cost; cost > Duration::zero() && result > 0)
    context_.spend((result + 1023) / 1024 * cost);
  engine_.trace(Trace::attempt, context_.number() << 8 | static_cast<unsigned char>(what[0]), detail);
  return result;
}

ssize_t SimProvider::receive(int fd, void* data, std::size_t size, int flags) noexcept {
  Object* object = receiver(fd);
  if (object == nullptr) return -EBADF;
  const bool stream = object->is_byte_stream();
  iovec part{data, stream ? shortened(size) : size};
  msghdr message = message_of(&part, 1);
  return moved("receive", fd, object->receive(message, flags));
}

ssize_t SimProvider::send(int fd, const void* data, std::size_t size, int flags) noexcept {
  Object* object = sender(fd);
  if (object == nullptr) return -EBADF;
  const bool stream = object->is_byte_stream();
  iovec part{const_cast<void*>(data), stream ? shortened(size) : size};
  const msghdr message = message_of(&part, 1);
  return moved("send", fd, object->send(message, flags));
}

ssize_t SimProvider::read(int fd, const iovec* parts, int count, std::int64_t,
                          io::DescriptorTraits&) noexcept {
  Object* object = receiver(fd);
  if (object == nullptr) return -EBADF;
  if (object->kind() == Object::Kind::file) return -EAGAIN;  // a thread's work
  if (count == 1) {
    const bool whole = !object->is_byte_stream();
    iovec part{parts->iov_base, whole ? parts->iov_len : shortened(parts->iov_len)};
    msghdr message = message_of(&part, 1);
    return moved("read", fd, object->receive(message, 0));
  }
  msghdr message = message_of(const_cast<iovec*>(parts), static_cast<std::size_t>(count));
  return moved("read", fd, object->receive(message, 0));
}

ssize_t SimProvider::write(int fd, const iovec* parts, int count, std::int64_t,
                           io::DescriptorTraits&) noexcept {
  Object* object = sender(fd);
  if (object == nullptr) return -EBADF;
  if (object->kind() == Object::Kind::file) return -EAGAIN;  // a thread's work
  if (count == 1) {
    const bool whole = !object->is_byte_stream();
    iovec part{parts->iov_base, whole ? parts->iov_len : shortened(parts->iov_len)};
    const msghdr message = message_of(&part, 1);
    return moved("write", fd, object->send(message, 0));
  }
  const msghdr message = message_of(const_cast<iovec*>(parts), static_cast<std::size_t>(count));
  return moved("write", fd, object->send(message, 0));
}

int SimProvider::accept(int fd, sockaddr* address, socklen_t* size, int,
                        const io::DescriptorTraits&) noexcept {
  Object* listener = find(fd);
  if (listener == nullptr) return -EBADF;
  // Without a descriptor to give, the connection stays where it is.
  if (!has_room() && (listener->ready() & EPOLLIN) != 0)
    return static_cast<int>(moved("accept", fd, -EMFILE));
  int error = 0;
  auto connection = listener->accept(error);
  if (!connection) return static_cast<int>(moved("accept", fd, error));
  if (address != nullptr && size != nullptr)
    static_cast<void>(copy_address(connection->peer(), address, size));
  const int accepted = add(connection);
  if (accepted < 0) connection->closed();
  return static_cast<int>(moved("accept", fd, accepted));
}

int SimProvider::connect(int fd, const sockaddr* address, socklen_t size) noexcept {
  Object* object = find(fd);
  if (object == nullptr) return -EBADF;
  const int result = object->connect(context_.host(), io::Address::from(address, size));
  return static_cast<int>(moved("connect", fd, result));
}

int SimProvider::connect_result(int fd) noexcept {
  Object* object = find(fd);
  if (object == nullptr) return -EBADF;
  return static_cast<int>(moved("connected", fd, object->connect_result()));
}

int SimProvider::poll(int fd, std::uint32_t events) noexcept {
  Object* object = find(fd);
  if (object == nullptr) return -EBADF;
  return static_cast<int>(object->ready() & (events | EPOLLERR | EPOLLHUP));
}

int SimProvider::shutdown(int fd, int how) noexcept {
  Object* object = find(fd);
  if (object == nullptr) return -EBADF;
  return static_cast<int>(moved("shutdown", fd, object->shutdown(how)));
}

// --- Waiting --------------------------------------------------------------------------------------------------------

// Never waits: virtual time passes between two turns, and the seam lets an enter return early with nothing.
int SimProvider::wait(Readiness* ready, int limit, std::int64_t deadline_ns) noexcept {
  if (draining_ && deadline_ns != 0) {
    for (io::BlockingOperation* operation : std::exchange(started_, {})) finish(*operation);
    if (candidates_.empty() && finished_.empty() && deadline_ns != kNever)
      context_.spend(Duration(std::max<std::int64_t>(deadline_ns - context_.now(), 0)));
  }
  if (alone_ && deadline_ns != 0) {
    while (candidates_.empty() && finished_.empty()) {
      const std::int64_t next = std::min(engine_.next_event(), deadline_ns);
      HORUS_ASSERT(next != kNever, "a deadlock in the simulated world: nothing can ever happen again");
      engine_.advance(std::max(next, engine_.now()));
      if (next == deadline_ns) break;
    }
  }
  const unsigned early = engine_.faults().early_return;
  if (early > 0 && !draining_ && engine_.fault_random().chance(early, 1000)) {
    context_.wake();
    ++engine_.oddities().early_returns;
    return engine_.fault_random().chance(1, 2) ? -EINTR : 0;
  }
  int found = 0;
  auto candidates = std::exchange(candidates_, {});
  // Who comes first is the seed's choice.
  for (std::size_t i = candidates.size(); i > 1; --i) {
    const std::uint64_t other = engine_.random().below(i);
    std::swap(candidates[i - 1], candidates[static_cast<std::size_t>(other)]);
  }
  for (const int fd : candidates) {
    Entry& entry = table_[static_cast<std::size_t>(fd)];
    entry.candidate = false;
    if (!entry.object || entry.watched == 0) continue;
    const std::uint32_t events = entry.object->ready() & (entry.watched | EPOLLERR | EPOLLHUP);
    if (events == 0) continue;
    if (found < limit) ready[found++] = {fd, events};
    touch(fd);  // level-triggered: it stays a candidate until a look finds it idle
  }
  return found;
}

void SimProvider::tick(std::int64_t period_ns) noexcept {
  ticking_ = period_ns > 0;
  if (!ticking_) return;
  context_.after(Duration(period_ns), [this, period_ns, number = ++retry_ticks_] {
    if (!ticking_ || number != retry_ticks_) return;
    context_.wake();
    tick(period_ns);
  });
}

bool SimProvider::start(io::BlockingOperation& operation) noexcept {
  finished_.expect();
  started_.push_back(&operation);
  const Duration taken = engine_.faults().disk.draw(engine_.random());
  context_.after(taken, [this, &operation] {
    const auto place = std::find(started_.begin(), started_.end(), &operation);
    if (place == started_.end()) return;
    started_.erase(place);
    finish(operation);
  });
  return true;
}

void SimProvider::finish(io::BlockingOperation& operation) noexcept {
  operation.result = perform(operation.entry);
  finished_.push(operation);
  finished_.let_go();
  context_.wake();
}

bool SimProvider::cancel(io::BlockingOperation& operation) noexcept {
  const auto place = std::find(started_.begin(), started_.end(), &operation);
  if (place == started_.end()) return false;
  started_.erase(place);
  finished_.let_go();
  return true;
}
}  // namespace horus::HORUS_ABI::sim::detail
