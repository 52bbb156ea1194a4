// SPDX-License-Identifier: Apache-2.0
// LoopCore: the half of Horus' event loop for asyncio that is C++: its queue of callbacks, its timers, what it watches
// descriptors with, and the reactor that all of it waits in. The other half is horus.EventLoop, which derives from this
// and from asyncio's SelectorEventLoop. With the GIL, on the loop's thread, unless a line says otherwise. Internal.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <horus/base/intrusive_list.hpp>
#include <horus/io/reactor.hpp>
#include <horus/py/awaited.hpp>
#include <horus/py/loop/handle.hpp>
#include <horus/py/loop/watches.hpp>

namespace horus::python {

struct LoopCore;
struct Operation;

/// Callbacks in the order in which they run. A power of two of places that grows; asyncio's queue has no bound.
class CallbackQueue {
 public:
  CallbackQueue() : places_(256) {}
  [[nodiscard]] std::size_t size() const noexcept { return tail_ - head_; }
  /// Takes over the reference.
  void push(PyObject* handle) {
    if (size() == places_.size()) grow();
    places_[tail_++ & (places_.size() - 1)] = handle;
  }
  PyObject* pop() noexcept { return places_[head_++ & (places_.size() - 1)]; }
  [[nodiscard]] PyObject* at(std::size_t index) const noexcept {
    return places_[(head_ + index) & (places_.size() - 1)];
  }

 private:
  void grow();
  std::vector<PyObject*> places_;
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
};

/// Of one loop; the C++ part of the object, which Python's allocator does not construct.
struct LoopState {
  CallbackQueue ready;
  io::TimerQueue timers{monotonic_ns()};
  std::unique_ptr<io::Reactor> reactor;  // made by the first run on a thread
  std::uint64_t thread = 0;              // the reactor's
  int process = 0;
  Watches watches;
  IntrusiveList<TimerHandle::Entry, PendingTag> pending;  // the timers, for the garbage collector
  Awaited* completed = nullptr;    // operations that have ended since the last look, the last first
  std::size_t in_flight = 0;       // operations under way that use memory
  Operation* under_way = nullptr;  // all of them, in any order
  bool sleeping = false;           // the loop waits without the GIL
  bool running = false;            // inside _run_once()
  bool until_stopped = false;      // run_forever() of horus.EventLoop: _run_once() goes on until stop()
  bool closed = false;
  bool debug = false;
  bool pumping = false;   // inside the reactor's turn, in a host
  bool pump_due = false;  // the host will make one
};

struct LoopCore {
  PyObject_HEAD LoopState* state;
  PyObject* host;  // the loop of somebody else that it is attached to; null: it is a loop itself

  static LoopCore* from(PyObject* self) noexcept { return reinterpret_cast<LoopCore*>(self); }
  PyObject* object() noexcept { return reinterpret_cast<PyObject*>(this); }

  static void forget_timer(TimerHandle& timer);
  /// Calls what has not been cancelled. False with an exception set that leaves the loop.
  static bool run_callback(LoopCore* self, Handle* handle);
  /// The same for somebody who drives the loop by hand, outside of _run_once().
  static bool run_by_hand(LoopCore* self, Handle* handle);
  /// A wait has ended: its loop looks at it when it has the GIL. The loop's thread, with the GIL or without.
  static void completed(Awaited& awaited) noexcept;
  /// Wakes the tasks of a list of them, the latest first, in the order of their ends. With the GIL.
  static void settle_all(Awaited* latest);
  /// A real asyncio Future of this loop; a new reference.
  PyObject* create_future();
  /// Puts a handle, whose reference it takes over, behind all others, and wakes the loop if it sleeps.
  void push(PyObject* handle);
  /// Python code has given the reactor work outside of its turn: where a host runs the loop, it makes a turn soon.
  void touched() noexcept;
  /// Ends the reactor of an attachment; nothing happens to others.
  void leave_host() noexcept;
  /// The reactor while the loop runs on this thread; null with RuntimeError set otherwise.
  io::Reactor* running_reactor(const char* what);
};

extern PyTypeObject* loop_type;

/// Whether `object` is one of Horus' event loops.
inline bool is_loop(PyObject* object) { return PyObject_TypeCheck(object, loop_type) != 0; }
/// Those of asyncio's objects that are used all the time; null with an exception set.
PyObject* cancelled_error();

/// The horus.EventLoop that runs on this thread, or what is attached to the loop that does, borrowed; null with
/// RuntimeError set when there is none.
LoopCore* running_loop();
/// An awaitable of that loop; it owns `awaited`, also on failure.
PyObject* make_awaitable(Awaited* awaited);
/// touched() of this thread's running loop.
void touch_running_loop();

/// What is attached to `loop`, borrowed; null when nothing is.
LoopCore* attached_to(PyObject* loop);

bool add_loop(PyObject* module);
bool add_attachments(PyObject* module);
bool add_operations(PyObject* module);
bool add_transport(PyObject* module);

}  // namespace horus::python
