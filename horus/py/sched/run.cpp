// SPDX-License-Identifier: Apache-2.0
#include <horus/py/sched/run.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <utility>

#include <horus/base/error.hpp>
#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/task/shield.hpp>

namespace horus::python {
namespace {

bool is_interrupt(const py::object& exception) {
  return PyErr_GivenExceptionMatches(exception.ptr(), PyExc_KeyboardInterrupt) != 0 ||
         PyErr_GivenExceptionMatches(exception.ptr(), PyExc_SystemExit) != 0;
}

Task<> wait_for(Event& event) { co_await event.wait(); }

}  // namespace

// --- Run --------------------------------------------------------------------------------------------------------------

void Run::forget_nodes() noexcept {
  for (PythonPart* node : nodes_) node->release();
}

void Run::call_safe_states(bool only_asked) noexcept {
  const std::vector<PythonPart*> all = nodes_;
  for (PythonPart* node : all) {
    if (std::find(nodes_.begin(), nodes_.end(), node) == nodes_.end()) continue;
    if (!only_asked || node->take_question()) node->safe_state_from_loop();
  }
}

void Run::interrupt(const py::object& exception) {
  if (interrupt_.is_none()) {
    interrupt_ = exception;
    scheduler_.stop();
    return;
  }
  call_safe_states(false);
}

void Run::keep_init_failure(const py::object& exception) {
  if (init_failure_.is_none()) init_failure_ = exception;
}

py::object Run::take_exception(int code) {
  py::object init_failure = std::exchange(init_failure_, py::none());
  py::object interrupt = std::exchange(interrupt_, py::none());
  if (!interrupt.is_none()) return interrupt;
  return code == 0 ? py::object(py::none()) : init_failure;
}

void Run::start_safe_state_thread() {
  if (thread_.joinable()) return;
  ending_.store(false);
  // A signal that another thread takes interrupts nothing in Python's main thread.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { serve_safe_states(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Run::stop_safe_state_thread() {
  if (!thread_.joinable()) return;
  ending_.store(true);
  wake_.release();
  thread_.join();
}

void Run::serve_safe_states() noexcept {
  while (true) {
    wake_.acquire();
    if (asked_.exchange(false)) {
      const py::gil_scoped_acquire gil;
      call_safe_states(true);
    }
    if (ending_.load()) return;
  }
}

// --- Calls into Python ------------------------------------------------------------------------------------------------

py::object PythonPart::value_of(py::error_already_set& error) {
  py::object value = error.value();
  if (error.trace()) PyException_SetTraceback(value.ptr(), error.trace().ptr());
  return value;
}

std::string PythonPart::describe(const py::object& exception, const char* phase) {
  try {
    return py::cast<std::string>(node_.attr("_report")(exception, phase));
  } catch (py::error_already_set& second) {
    py::object value = value_of(second);
    if (is_interrupt(value)) run_.interrupt(value);
    return std::string(phase) + " failed, and so did the report of it";
  }
}

void PythonPart::fail(const py::object& exception, const char* phase) {
  if (is_interrupt(exception)) {
    run_.interrupt(exception);
    last_error_ = py::none();
    throw ReportedFailure("interrupted");
  }
  last_error_ = exception;
  if (std::string(phase) == "init") run_.keep_init_failure(exception);
  throw ReportedFailure(describe(exception, phase));
}

void PythonPart::call(const char* method) {
  const py::gil_scoped_acquire gil;
  if (!node_) return;
  // What was due already may still be released; it must not hang where Ctrl-C was heard.
  if (run_.interrupted() && std::string_view(method) == "tick") throw ReportedFailure("interrupted");
  const bool first = !std::exchange(ticked_, ticked_ || std::string_view(method) == "tick");
  try {
    const py::object given = node_.attr(method)();
    if (given.is_none()) return;
    const py::object mistake = node_.attr("_mistake")(method, given);
    if (mistake.is_none()) return;
    // A tick that has never done anything is no tick that fails: the program is wrong, and run() says so.
    if (first) run_.interrupt(mistake);
    fail(mistake, method);
  } catch (py::error_already_set& error) {
    fail(value_of(error), method);
  }
}

void PythonPart::tell_error() noexcept {
  const py::gil_scoped_acquire gil;
  const py::object exception = std::exchange(last_error_, py::none());
  if (!node_ || exception.is_none()) return;
  try {
    node_.attr("on_error")(exception);
  } catch (py::error_already_set& error) {
    py::object value = value_of(error);
    if (is_interrupt(value)) {
      run_.interrupt(value);
    } else {
      static_cast<void>(describe(value, "on_error"));
    }
  }
}

void PythonPart::safe_state(const std::string& node) noexcept {
  if (io::Reactor::current() != nullptr) return safe_state_from_loop();
  log_warning(node + ": its enter_safe_state() is Python; it runs as soon as the interpreter can be had");
  asked_.store(true);
  run_.ask_for_safe_state();
}

void PythonPart::safe_state_from_loop() noexcept {
  const py::gil_scoped_acquire gil;
  if (!node_) return;
  try {
    node_.attr("_enter_safe_state")();
  } catch (py::error_already_set& error) {
    static_cast<void>(describe(value_of(error), "enter_safe_state"));
  }
}

// --- Async nodes ------------------------------------------------------------------------------------------------------

// True when there is something to wait for.
bool AsyncNode::begin(const char* phase, const std::shared_ptr<Pending>& pending) {
  const py::gil_scoped_acquire gil;
  if (!node_) return false;
  try {
    cancel_ = node_.attr("_begin")(
        phase, py::cpp_function([this, pending](bool cancelled, const py::object& exception) {
          pending->cancelled = cancelled;
          pending->failed = !exception.is_none();
          exception_ = exception;
          pending->ended.set();
        }));
  } catch (py::error_already_set& error) {
    fail(value_of(error), phase);
  }
  return !cancel_.is_none();
}

void AsyncNode::cancel() noexcept {
  const py::gil_scoped_acquire gil;
  try {
    cancel_();
  } catch (py::error_already_set& error) {
    error.discard_as_unraisable("cancelling a tick");
  }
}

void AsyncNode::finish(const Pending& pending, const char* phase) {
  const py::gil_scoped_acquire gil;
  cancel_ = py::none();
  const py::object exception = std::exchange(exception_, py::none());
  if (pending.cancelled) {
    last_error_ = py::none();
    throw Error(ECANCELED, "tick_async");
  }
  if (pending.failed) fail(exception, phase);
}

Task<> AsyncNode::await(const char* phase) {
  const auto pending = std::make_shared<Pending>();
  if (!begin(phase, pending)) co_return;
  bool asked_to_stop = false;
  try {
    co_await pending->ended.wait();
  } catch (const Error&) {
    asked_to_stop = true;
  }
  if (asked_to_stop) {
    cancel();
    auto ending = wait_for(pending->ended);
    co_await shield(std::move(ending));
  }
  finish(*pending, phase);
}

}  // namespace horus::python
