// SPDX-License-Identifier: Apache-2.0
// Nodes whose ticks are Python, and what they share while their scheduler runs. The loop runs without the GIL; each call
// into Python takes it. Python owns its nodes; what stands here only borrows them.
#pragma once

#include <atomic>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include <horus/py/base/bindings.hpp>
#include <horus/sched/node.hpp>
#include <horus/task/event.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI {
class Scheduler;
}

namespace horus::python {

class PythonPart;

/// What the nodes of one scheduler share.
class Run {
 public:
  explicit Run(Scheduler& scheduler) : scheduler_(scheduler) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  // --- With the GIL, which guards the list of nodes. A node enters itself, and leaves with its life: one that the scheduler
  // refuses is gone at once.
  void enter(PythonPart& node) { nodes_.push_back(&node); }
  void leave(PythonPart& node) noexcept { std::erase(nodes_, &node); }
  /// The Python objects may go: what still runs does without them.
  void forget_nodes() noexcept;
  /// KeyboardInterrupt, SystemExit: the run ends and raises it. A second one calls every enter_safe_state().
  void interrupt(const py::object& exception);
  /// An init() has failed: run() raises that if it could not start.
  void keep_init_failure(const py::object& exception);
  [[nodiscard]] bool interrupted() const { return !interrupt_.is_none(); }
  /// What run() has to raise after its code; none when it has nothing to raise.
  py::object take_exception(int code);

  // --- Safe states while the loop is blocked: a thread of its own waits for the GIL, so that the monitor need not.
  void start_safe_state_thread();
  void stop_safe_state_thread();  // without the GIL
  void ask_for_safe_state() noexcept {
    asked_.store(true);
    wake_.release();
  }

 private:
  void serve_safe_states() noexcept;
  // Hooks are Python code, during which another thread may add nodes.
  void call_safe_states(bool only_asked) noexcept;

  Scheduler& scheduler_;
  std::vector<PythonPart*> nodes_;
  py::object interrupt_ = py::none();
  py::object init_failure_ = py::none();
  std::counting_semaphore<> wake_{0};
  std::atomic<bool> asked_{false};
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

/// What both kinds of Python nodes have: calls of the Python object's methods.
class PythonPart {
 public:
  PythonPart(py::handle node, Run& run) : node_(node), run_(run) { run.enter(*this); }
  PythonPart(const PythonPart&) = delete;
  PythonPart& operator=(const PythonPart&) = delete;
  ~PythonPart() { run_.leave(*this); }
  /// Forgets the Python object, which its owner lets go.
  void release() noexcept { node_ = py::handle(); }
  void safe_state_from_loop() noexcept;
  /// Whether the hook was asked for, once.
  [[nodiscard]] bool take_question() noexcept { return asked_.exchange(false); }

 protected:
  /// Calls a method without arguments. Throws ReportedFailure with one line.
  void call(const char* method);
  /// On the loop it runs here and now, on a helper as soon as the interpreter can be had; `node` is for the log.
  void safe_state(const std::string& node) noexcept;
  void tell_error() noexcept;
  /// Logs it through Python's logging and gives the line of it. With the GIL.
  std::string describe(const py::object& exception, const char* phase);
  /// The value of a Python exception, its traceback attached. With the GIL.
  static py::object value_of(py::error_already_set& error);
  [[noreturn]] void fail(const py::object& exception, const char* phase);

  py::handle node_;
  bool ticked_ = false;
  Run& run_;
  py::object last_error_ = py::none();

 private:
  std::atomic<bool> asked_{false};
};

/// A horus.Node.
class SyncNode final : public PlainNode, public PythonPart {
 public:
  SyncNode(std::string name, py::handle node, Run& run) : PlainNode(std::move(name)), PythonPart(node, run) {}
  void init() override { call("init"); }
  void tick() override { call("tick"); }
  void shutdown() override { call("shutdown"); }
  void enter_safe_state() noexcept override { safe_state(name()); }
  void on_error(const std::exception_ptr&) override { tell_error(); }
};

/// A horus.AsyncNode: its coroutines run as tasks of the asyncio loop that drives the reactor.
class AsyncNode final : public Node, public PythonPart {
 public:
  AsyncNode(std::string name, py::handle node, Run& run) : Node(std::move(name)), PythonPart(node, run) {}
  Task<> init() override { return await("init"); }
  Task<> tick() override { return await("tick"); }
  Task<> shutdown() override { return await("shutdown"); }
  void enter_safe_state() noexcept override { safe_state(name()); }
  void on_error(const std::exception_ptr&) override { tell_error(); }

 private:
  // How an asyncio task ended; kept alive by whoever comes last, the tick or the task's callback.
  struct Pending {
    Event ended;
    bool cancelled = false;
    bool failed = false;
  };
  Task<> await(const char* phase);
  bool begin(const char* phase, const std::shared_ptr<Pending>& pending);
  void cancel() noexcept;
  void finish(const Pending& pending, const char* phase);

  py::object cancel_ = py::none();     // of the task in flight
  py::object exception_ = py::none();  // of the task that ended last
};

}  // namespace horus::python
