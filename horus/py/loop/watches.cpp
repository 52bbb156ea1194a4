// SPDX-License-Identifier: Apache-2.0
#include <horus/py/loop/watches.hpp>

#include <array>
#include <cerrno>
#include <utility>

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <horus/base/above_standard.hpp>
#include <horus/py/loop/handle.hpp>
#include <horus/py/loop/loop.hpp>

namespace horus::python {
namespace {

constexpr std::size_t kMostAtOnce = 256;  // further ones are ready still at the next look
constexpr unsigned kMostInARow = 16;      // receives before the loop has a turn
constexpr std::uint32_t kEvents[] = {EPOLLIN, EPOLLOUT};

std::uint64_t tag(int fd, std::uint32_t generation) noexcept {
  return static_cast<std::uint64_t>(generation) << 32 | static_cast<std::uint32_t>(fd);
}

void cancel_handle(PyObject* handle) {
  static PyObject* const cancel = PyUnicode_InternFromString("cancel");
  PyObject* done = PyObject_CallMethodNoArgs(handle, cancel);
  if (done == nullptr) PyErr_WriteUnraisable(handle);
  Py_XDECREF(done);
  Py_DECREF(handle);
}

// asyncio's own handles, of debug mode, have the same attribute.
bool is_cancelled(PyObject* handle) {
  if (is_handle(handle)) return reinterpret_cast<Handle*>(handle)->cancelled;
  static PyObject* const name = PyUnicode_InternFromString("_cancelled");
  PyObject* value = PyObject_GetAttr(handle, name);
  if (value == nullptr) PyErr_Clear();
  const bool cancelled = value == Py_True;
  Py_XDECREF(value);
  return cancelled;
}

}  // namespace

// The reactor's one-shot poll of the set. It outlives the set when its reactor ends elsewhere.
struct Watches::Poll final : io::CompletionHandler {
  explicit Poll(Watches& watches) noexcept : owner(&watches) {
    complete = [](io::CompletionHandler& handler, std::int32_t, std::uint32_t) noexcept {
      auto& self = static_cast<Poll&>(handler);
      self.in_flight = false;
      if (self.owner == nullptr) {
        delete &self;
      } else {
        self.owner->due_ = true;  // also when it failed or was cancelled: a look costs little
      }
    };
  }
  Watches* owner;
  bool in_flight = false;
};

Watches::Entry::~Entry() {
  Py_XDECREF(handles[kReader]);
  Py_XDECREF(handles[kWriter]);
  Py_XDECREF(file);
}

std::uint32_t Watches::Entry::wanted() const noexcept {
  std::uint32_t events = 0;
  for (const Side side : {kReader, kWriter}) {
    if (handles[side] != nullptr || !waiting[side].empty()) events |= kEvents[side];
  }
  return events;
}

Watches::~Watches() {
  leave_reactor();
  if (set_ >= 0) ::close(set_);
}

Watches::Entry* Watches::find(int fd) const noexcept {
  return fd >= 0 && static_cast<std::size_t>(fd) < entries_.size()
             ? entries_[static_cast<std::size_t>(fd)].get()
             : nullptr;
}

Watches::Entry& Watches::entry_of(int fd) {
  if (static_cast<std::size_t>(fd) >= entries_.size()) entries_.resize(static_cast<std::size_t>(fd) + 16);
  auto& entry = entries_[static_cast<std::size_t>(fd)];
  if (!entry) entry = std::make_unique<Entry>();
  return *entry;
}

bool Watches::open() {
  if (set_ < 0) set_ = above_standard(::epoll_create1(EPOLL_CLOEXEC));
  return set_ >= 0;
}

void Watches::count(const Entry& entry, bool was_in_use) noexcept {
  const bool is_in_use = entry.registered != 0;
  if (is_in_use != was_in_use) entries_in_use_ += is_in_use ? 1 : static_cast<std::size_t>(-1);
}

// The number means another file than it did: whoever waited for the earlier one looks, and finds that it was closed.
void Watches::another_file(Entry& entry) {
  ++entry.generation;
  Py_CLEAR(entry.file);
  for (const Side side : {kReader, kWriter}) {
    IntrusiveList<ReadyWait, ReadyTag> earlier;
    earlier.splice(entry.waiting[side]);
    while (ReadyWait* waiting = earlier.pop_front()) waiting->ready(*waiting);
    if (PyObject* handle = std::exchange(entry.handles[side], nullptr)) cancel_handle(handle);
  }
}

// Asks the kernel for `events` of what the number means now. 0 or -errno. Python closes descriptors without telling.
int Watches::apply(int fd, Entry& entry, std::uint32_t events) {
  if (is_parents_) return -EBADF;
  if (!open()) return -errno;
  if (fd == set_) return -EBADF;  // it was closed before, and the set got its number
  epoll_event event{};
  event.events = events;
  const bool was_in_use = entry.registered != 0;
  int result = -1;
  if (events == 0) {
    static_cast<void>(::epoll_ctl(set_, EPOLL_CTL_DEL, fd, &event));  // closed already: as good
    result = 0;
  } else {
    event.data.u64 = tag(fd, entry.generation);
    errno = ENOENT;
    if (was_in_use) result = ::epoll_ctl(set_, EPOLL_CTL_MOD, fd, &event);
    if (result < 0 && errno == ENOENT) {
      if (was_in_use) another_file(entry);
      event.data.u64 = tag(fd, ++entry.generation);
      result = ::epoll_ctl(set_, EPOLL_CTL_ADD, fd, &event);
      if (result < 0 && errno == EEXIST) result = ::epoll_ctl(set_, EPOLL_CTL_MOD, fd, &event);
    }
  }
  const int failure = result < 0 ? errno : 0;
  entry.registered = result < 0 ? 0 : events;
  count(entry, was_in_use);
  return -failure;
}

bool Watches::set(int fd, Side side, PyObject* handle) {
  Entry& entry = entry_of(fd);
  const int result = apply(fd, entry, entry.wanted() | kEvents[side]);
  if (result < 0) {
    errno = -result;
    PyErr_SetFromErrno(PyExc_OSError);
    return false;
  }
  PyObject* before = std::exchange(entry.handles[side], Py_NewRef(handle));
  if (before != nullptr) cancel_handle(before);
  return true;
}

PyObject* Watches::remove(int fd, Side side) {
  Entry* entry = find(fd);
  PyObject* handle = entry == nullptr ? nullptr : std::exchange(entry->handles[side], nullptr);
  if (handle != nullptr && entry->registered != 0) static_cast<void>(apply(fd, *entry, entry->wanted()));
  return handle;
}

int Watches::wait(int fd, Side side, ReadyWait& waiting, PyObject* file) {
  if (fd < 0) return -EBADF;
  Entry& entry = entry_of(fd);
  // What was asked for stays asked for when a wait is over: an echo's next one costs nothing.
  const bool is_same =
      file != nullptr && entry.file != nullptr && PyWeakref_GetObject(entry.file) == file && !is_parents_;
  if (!is_same || (entry.registered & kEvents[side]) == 0) {
    const int result = apply(fd, entry, entry.wanted() | kEvents[side]);
    if (result < 0) return result;
    if (!is_same && file != nullptr) {
      Py_XSETREF(entry.file, PyWeakref_NewRef(file, nullptr));
      if (entry.file == nullptr) PyErr_Clear();  // cannot be referred to: asks each time
    }
  }
  entry.tries[side] = 0;
  entry.waiting[side].push_back(waiting);
  return 0;
}

PyObject* Watches::handle(int fd, Side side) const noexcept {
  const Entry* entry = find(fd);
  return entry == nullptr ? nullptr : entry->handles[side];
}

bool Watches::may_have_more(int fd, Side side, PyObject* file) const noexcept {
  const Entry* entry = find(fd);
  if (entry == nullptr) return true;
  if (entry->tries[side] >= kMostInARow) return false;
  const bool is_watched = (entry->registered & kEvents[side]) != 0 && entry->file != nullptr &&
                          PyWeakref_GetObject(entry->file) == file;
  return !is_watched || entry->was_full[side];
}

void Watches::took(int fd, Side side, bool all_of_the_buffer) {
  Entry& entry = entry_of(fd);
  ++entry.tries[side];
  entry.was_full[side] = all_of_the_buffer;
}

void Watches::look_if_not_armed() noexcept {
  if (entries_in_use_ > 0 && (poll_ == nullptr || !poll_->in_flight)) due_ = true;
}

void Watches::arm(io::Reactor& reactor) {
  if (entries_in_use_ == 0 || is_parents_) return;
  if (poll_ == nullptr) poll_ = new Poll(*this);
  if (poll_->in_flight) return;
  poll_->in_flight = true;
  reactor.submit_handler(*poll_, [this](io_uring_sqe& entry) { io::fill::poll(entry, set_, POLLIN); });
}

void Watches::leave_reactor() noexcept {
  Poll* poll = std::exchange(poll_, nullptr);
  if (poll == nullptr) return;
  if (poll->in_flight) {
    poll->owner = nullptr;
  } else {
    delete poll;
  }
}

void Watches::tell(int fd, Entry& entry, Side side, CallbackQueue& queue) {
  if (ReadyWait* first = entry.waiting[side].front()) first->ready(*first);
  PyObject* handle = entry.handles[side];
  if (handle == nullptr) return;
  if (is_cancelled(handle)) {
    Py_XDECREF(remove(fd, side));
  } else {
    queue.push(Py_NewRef(handle));
  }
}

void Watches::look(CallbackQueue& queue) {
  if (!due_) return;
  due_ = false;
  if (set_ < 0 || is_parents_) return;
  std::array<epoll_event, kMostAtOnce> events;
  const int ready = ::epoll_wait(set_, events.data(), static_cast<int>(events.size()), 0);
  bool is_stale = false;
  for (int i = 0; i < ready; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    const int fd = static_cast<int>(event.data.u64 & 0xffffffffU);
    Entry* entry = find(fd);
    if (entry == nullptr || entry->generation != event.data.u64 >> 32 || entry->registered == 0) {
      is_stale = true;  // a file that somebody else holds open, and whose number it has not any more
      continue;
    }
    const std::uint32_t wanted = entry->wanted();
    if (wanted != entry->registered) {  // nobody waits in that direction any more
      const std::uint32_t generation = entry->generation;
      if (apply(fd, *entry, wanted) < 0 || entry->generation != generation) {
        is_stale = true;
        continue;
      }
    }
    if ((event.events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) tell(fd, *entry, kReader, queue);
    if ((event.events & ~static_cast<std::uint32_t>(EPOLLIN)) != 0) tell(fd, *entry, kWriter, queue);
  }
  if (is_stale) start_anew();
}

// A registration stays as long as its file is open somewhere, also in another process, and can be removed by no number:
// a new set has none of those.
void Watches::start_anew() {
  if (set_ >= 0) ::close(std::exchange(set_, -1));
  leave_reactor();
  for (std::size_t fd = 0; fd < entries_.size(); ++fd) {
    Entry* entry = entries_[fd].get();
    if (entry == nullptr || entry->registered == 0) continue;
    entry->registered = 0;
    --entries_in_use_;
    Py_CLEAR(entry->file);
    const std::uint32_t wanted = entry->wanted();
    if (wanted != 0 && apply(static_cast<int>(fd), *entry, wanted) < 0) another_file(*entry);
  }
}

void Watches::clear() {
  for (std::size_t fd = 0; fd < entries_.size(); ++fd) {
    for (const Side side : {kReader, kWriter}) {
      PyObject* handle = remove(static_cast<int>(fd), side);
      if (handle != nullptr) cancel_handle(handle);
    }
  }
}

void Watches::close() {
  clear();
  if (set_ >= 0) ::close(std::exchange(set_, -1));
  for (const auto& entry : entries_) {
    if (entry != nullptr) entry->registered = 0;
  }
  entries_in_use_ = 0;
}

int Watches::visit(visitproc visit, void* arg) const {
  for (const auto& entry : entries_) {
    if (!entry) continue;
    Py_VISIT(entry->handles[kReader]);
    Py_VISIT(entry->handles[kWriter]);
  }
  return 0;
}

}  // namespace horus::python
