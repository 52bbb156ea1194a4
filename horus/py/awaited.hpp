// SPDX-License-Identifier: Apache-2.0
// What a Python coroutine waits for in a C++ reactor: started when it is awaited, told to the loop when it has ended.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace horus::python {

/// One wait. The object that Python sees owns it.
class Awaited {
 public:
  Awaited() = default;
  Awaited(const Awaited&) = delete;
  Awaited& operator=(const Awaited&) = delete;
  virtual ~Awaited() = default;

  /// Begins, on the loop's thread, with the GIL. True when it has ended at once.
  virtual bool start() = 0;
  /// Asks it to end soon. With the GIL.
  virtual void cancel() noexcept = 0;
  /// It has ended, and nobody wants the value: take() follows all the same. With the GIL.
  virtual void discard() noexcept {}
  /// Its value, a new reference, or null with an exception set. Once, after it has ended, with the GIL.
  virtual PyObject* take() = 0;
  /// It has ended, and its task is back: false when there is more to wait for, which has begun. With the GIL.
  virtual bool resume() { return true; }
  /// Asks it to end at once: true when it has, and finish() will not follow; otherwise as cancel(). With the GIL.
  virtual bool let_go() noexcept {
    cancel();
    return false;
  }
  /// It uses memory until it has ended; otherwise it can be forgotten at any time.
  [[nodiscard]] bool in_kernel() const noexcept { return in_kernel_; }

 protected:
  /// It has ended. The loop's thread, with the GIL or without.
  void finish() noexcept { ended_(*this); }

  bool in_kernel_ = true;

 private:
  friend struct Operation;
  friend struct LoopCore;
  void (*ended_)(Awaited&) noexcept = nullptr;
  void* operation_ = nullptr;
  Awaited* next_ = nullptr;  // in the loop's list of what has ended
};

}  // namespace horus::python
