// SPDX-License-Identifier: Apache-2.0
// Between asyncio and Horus' coroutines, for extension modules made with pybind11: Python awaits a Task, a Task awaits
// what Python can await. On the thread of a running horus.EventLoop, or of a loop that horus.Reactor is attached to.
#pragma once

#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <horus/base/error.hpp>
#include <horus/py/awaited.hpp>
#include <horus/task/chain.hpp>
#include <horus/task/event.hpp>
#include <horus/task/shield.hpp>
#include <horus/task/task.hpp>

#include <pybind11/pybind11.h>

namespace horus::python {

/// What horus._core lends to other modules.
struct ModuleInterface {
  /// An awaitable of this thread's running loop, which owns `awaited`, also on failure; null with an exception set.
  PyObject* (*make)(Awaited* awaited);
  /// Sets the Python exception for a C++ one.
  void (*raise)(const std::exception_ptr& failure);
  /// Python code has woken a coroutine: see LoopCore::touched(). With the GIL.
  void (*touched)();
};
inline constexpr const char* kModuleInterface = "horus._core.interface";
inline const ModuleInterface& module_interface() {
  static const auto* const interface =
      static_cast<const ModuleInterface*>(PyCapsule_Import(kModuleInterface, 0));
  if (interface == nullptr) throw pybind11::error_already_set();
  return *interface;
}

template <class T>
class TaskWait final : public Awaited, public Chain {
 public:
  explicit TaskWait(Task<T> task) noexcept : task_(std::move(task)) {}

  bool start() override {
    horus::detail::list_root(*this);
    starting_ = true;
    task_.start(*this);
    starting_ = false;
    return done_;
  }
  void cancel() noexcept override { request_stop(); }
  PyObject* take() override {
    try {
      if constexpr (std::is_void_v<T>) {
        task_.outcome().take();
        return Py_NewRef(Py_None);
      } else {
        return pybind11::cast(task_.outcome().take()).release().ptr();
      }
    } catch (...) {
      module_interface().raise(std::current_exception());
    }
    return nullptr;
  }
  [[nodiscard]] std::string_view label() const noexcept override { return "awaited by Python"; }
  std::coroutine_handle<> finished() noexcept override {
    done_ = true;
    ListHook<RootTag>::unlink();
    if (!starting_) finish();
    return std::noop_coroutine();
  }

 private:
  Task<T> task_;
  bool starting_ = false;
  bool done_ = false;
};

// A Python object that coroutines, which run without the GIL, may own.
class Owned {
 public:
  explicit Owned(pybind11::object object) : object_(object.release().ptr()) {}
  Owned(Owned&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  Owned& operator=(Owned&&) = delete;
  ~Owned() {
    if (object_ == nullptr) return;
    const pybind11::gil_scoped_acquire gil;
    Py_DECREF(object_);
  }
  /// With the GIL.
  [[nodiscard]] pybind11::handle get() const noexcept { return object_; }

 private:
  PyObject* object_;
};

// A Future of asyncio that a coroutine waits for. Kept alive by whoever comes last.
struct ForeignFuture {
  explicit ForeignFuture(pybind11::object object) : future(std::move(object)) {}
  Owned future;
  Event ended;
};

inline std::shared_ptr<ForeignFuture> begin_foreign(const Owned& awaitable) {
  const pybind11::gil_scoped_acquire gil;
  auto pending = std::make_shared<ForeignFuture>(
      pybind11::module_::import("asyncio").attr("ensure_future")(awaitable.get()));
  pending->future.get().attr("add_done_callback")(pybind11::cpp_function([pending](const pybind11::object&) {
    pending->ended.set();
    module_interface().touched();
  }));
  return pending;
}

inline void cancel_foreign(const ForeignFuture& pending) {
  const pybind11::gil_scoped_acquire gil;
  pending.future.get().attr("cancel")();
}

template <class T>
T take_foreign(const ForeignFuture& pending) {
  const pybind11::gil_scoped_acquire gil;
  const pybind11::handle future = pending.future.get();
  if (pybind11::cast<bool>(future.attr("cancelled")())) throw Error(ECANCELED, "an awaitable of Python");
  const pybind11::object value = future.attr("result")();
  if constexpr (!std::is_void_v<T>) return pybind11::cast<T>(value);
}

inline Task<> wait_for_foreign(ForeignFuture& pending) { co_await pending.ended.wait(); }

template <class T>
Task<T> await_foreign(Owned awaitable) {
  const auto pending = begin_foreign(awaitable);
  bool asked_to_stop = false;
  try {
    co_await pending->ended.wait();
  } catch (const Error&) {
    asked_to_stop = true;
  }
  if (asked_to_stop) {  // it ends before whoever waits for it does
    cancel_foreign(*pending);
    auto ending = wait_for_foreign(*pending);
    co_await shield(std::move(ending));
  }
  co_return take_foreign<T>(*pending);
}

}  // namespace horus::python

namespace horus::py {

/// What a Python coroutine awaits to run `task` to its end on the loop's reactor: `await module.function()`.
///
/// Semantics: the task starts when it is awaited, once; cancelling the awaiting asyncio task asks it to stop and waits
/// for that. Its value is cast by pybind11. It runs with the GIL or without: take it (`gil_scoped_acquire`) around uses
/// of Python objects.
/// Errors, raised in Python: Error as OSError, ValueError, TypeError …, CancelledError after a cancellation, other C++
/// exceptions as pybind11 translates them. Awaiting it in a loop that is neither a
/// horus.EventLoop nor has a horus.Reactor attached: RuntimeError.
/// Thread safety: the loop's thread, with the GIL.
/// Example: `module.def("fetch", [](std::string url) { return horus::py::awaitable(fetch(std::move(url))); });`
template <class T>
[[nodiscard]] pybind11::object awaitable(Task<T> task) {
  PyObject* made = python::module_interface().make(new python::TaskWait<T>(std::move(task)));
  if (made == nullptr) throw pybind11::error_already_set();
  return pybind11::reinterpret_steal<pybind11::object>(made);
}

/// Waits for whatever Python can await (a coroutine, a Future, a Task) and gives its value as a T.
///
/// Semantics: it runs as asyncio.ensure_future() has it, in the running loop; a stop of this task cancels it and waits
/// for its end.
/// Errors: throws what it raises (pybind11::error_already_set), Error ECANCELED when it was cancelled.
/// Thread safety: the loop's thread; the argument is taken over with the GIL.
/// Example: `const int answer = co_await horus::py::await<int>(coroutine);`
template <class T = void>
[[nodiscard]] Task<T> await(pybind11::object awaitable) {
  return python::await_foreign<T>(python::Owned(std::move(awaitable)));
}

}  // namespace horus::py
