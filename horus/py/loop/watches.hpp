// SPDX-License-Identifier: Apache-2.0
// What one loop of Python waits for at descriptors: the callbacks of add_reader() and add_writer(), and operations of
// sockets and pipes. An epoll set of the loop's own, which the reactor polls as a whole: unlike a poll in the ring it
// holds no file open, so a socket that is closed is closed at once, whoever forgot to remove it. With the GIL, on the
// loop's thread, unless a line says otherwise. Internal.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <cstdint>
#include <memory>
#include <vector>

#include <Python.h>

#include <horus/base/intrusive_list.hpp>
#include <horus/io/reactor.hpp>

namespace horus::python {

class CallbackQueue;
struct ReadyTag;

/// Somebody who waits once until a descriptor is ready. It takes itself out of the list, or is called again with the
/// next look.
struct ReadyWait : ListHook<ReadyTag> {
  void (*ready)(ReadyWait&) noexcept = nullptr;
};

class Watches {
 public:
  enum Side : std::size_t { kReader = 0, kWriter = 1 };

  Watches() = default;
  Watches(const Watches&) = delete;
  Watches& operator=(const Watches&) = delete;
  ~Watches();

  /// Makes the set, which otherwise comes with the first descriptor. False with errno set.
  bool open();
  /// Calls back whenever `fd` is ready, instead of the callback before. Takes a reference to `handle`. False with
  /// OSError set.
  bool set(int fd, Side side, PyObject* handle);
  /// The handle of set(), a new reference; null when there was none. The kernel lets go of the file before this returns.
  PyObject* remove(int fd, Side side);
  /// `waiting` is told once `fd` is ready. `file` tells apart those that had the number one after another: a Python
  /// object that means the same open file as long as it lives, or null, which costs a system call. 0 or -errno.
  int wait(int fd, Side side, ReadyWait& waiting, PyObject* file);

  /// Whether it is worth trying before a wait(): nobody watches yet, or the last receive left something.
  [[nodiscard]] bool may_have_more(int fd, Side side, PyObject* file) const noexcept;
  /// Tells how that went: whether a receive filled its buffer.
  void took(int fd, Side side, bool all_of_the_buffer);

  /// Lets `reactor` end its sleep when something is ready; nothing when it does so already.
  void arm(io::Reactor& reactor);
  /// The handle of set(), borrowed, or null.
  [[nodiscard]] PyObject* handle(int fd, Side side) const noexcept;
  /// What is ready, if something may be: callbacks join `queue`, waits are told.
  void look(CallbackQueue& queue);
  /// Something may be ready: look() before the loop sleeps.
  [[nodiscard]] bool due() const noexcept { return due_; }
  /// A look is due all the same when the reactor has nothing to tell: it was not armed.
  void look_if_not_armed() noexcept;
  [[nodiscard]] bool in_use() const noexcept { return entries_in_use_ > 0; }
  /// The reactor that arm() was called with ends elsewhere, perhaps after this object. Any thread.
  void leave_reactor() noexcept;
  /// Forgets every callback; waits are left to their owners.
  void clear();
  /// The same, and gives the set back.
  void close();
  /// In the child of a fork(): the parent's set is left alone.
  void belong_to_parent() noexcept { is_parents_ = true; }
  int visit(visitproc visit, void* arg) const;

 private:
  // One descriptor number.
  struct Entry {
    PyObject* handles[2] = {};
    IntrusiveList<ReadyWait, ReadyTag> waiting[2];
    PyObject* file = nullptr;      // weak reference to the object that `registered` is about
    std::uint32_t registered = 0;  // what the kernel was asked for, if the number still means that file
    std::uint32_t generation = 0;  // of the file behind the number
    unsigned tries[2] = {};        // receives without a wait between
    bool was_full[2] = {};         // the last of them filled its buffer
    ~Entry();
    [[nodiscard]] std::uint32_t wanted() const noexcept;
  };
  struct Poll;

  Entry& entry_of(int fd);
  [[nodiscard]] Entry* find(int fd) const noexcept;
  int apply(int fd, Entry& entry, std::uint32_t events);
  void another_file(Entry& entry);
  void tell(int fd, Entry& entry, Side side, CallbackQueue& queue);
  void start_anew();
  void count(const Entry& entry, bool was_in_use) noexcept;

  int set_ = -1;
  bool due_ = false;
  bool is_parents_ = false;
  std::size_t entries_in_use_ = 0;
  std::vector<std::unique_ptr<Entry>> entries_;  // by descriptor
  Poll* poll_ = nullptr;                         // in the reactor
};

}  // namespace horus::python
