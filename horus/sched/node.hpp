// SPDX-License-Identifier: Apache-2.0
// The base classes of users' nodes: Node (its tick is a coroutine) and PlainNode (its tick is a function). The
// scheduler owns nodes and calls them on its reactor's thread.
#pragma once

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <horus/base/error.hpp>
#include <horus/base/export.hpp>
#include <horus/base/literals.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/hub.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI {

class Scheduler;
namespace detail {
class Executor;
}

/// A failure that was already logged. When a tick throws it, it counts like any other failure but adds no line to the
/// log.
class HORUS_API ReportedFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The two calls of enter_safe_state() in one episode (an emergency stop or an isolation).
enum class SafeStateCall : std::uint8_t {
  at_once,  ///< immediately, on any thread, perhaps while a tick of this node runs
  settled,  ///< later, on the loop's thread, once the node's tick, init() and background work have ended
};

/// The common base of Node and PlainNode: a name, and a scope for work that goes on across ticks.
class HORUS_API NodeBase {
 public:
  NodeBase(const NodeBase&) = delete;
  NodeBase& operator=(const NodeBase&) = delete;
  virtual ~NodeBase();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }

  /// Makes a publisher of this node: in a member's initialiser, or in init(). It can be used once the scheduler
  /// starts the node. Scheduler::connect may change the topic's name. Errors: as Hub::advertise, reported when the
  /// node starts.
  template <Message T>
  [[nodiscard]] Publisher<T> advertise(std::string topic, const AdvertiseOptions& options = {}) {
    return Publisher<T>(add_port(msg::out_port<T>(std::move(topic), options)));
  }
  /// The same for a subscriber.
  template <Message T>
  [[nodiscard]] Subscriber<T> subscribe(std::string topic, const SubscribeOptions& options = {}) {
    return Subscriber<T>(add_port(msg::in_port<T>(std::move(topic), options)));
  }

  /// Puts the hardware into a safe state. It may run on another thread while the loop is blocked, so use only data
  /// that is safe there, and do not wait. It is called twice, immediately and again when the node's tick has ended,
  /// so a second call must change nothing.
  virtual void enter_safe_state() noexcept {}
  /// The same, for nodes that want to know which of the two calls it is.
  virtual void enter_safe_state_at(SafeStateCall call) noexcept {
    static_cast<void>(call);
    enter_safe_state();
  }
  /// Called after a failed tick, on the loop, with what the tick threw.
  virtual void on_error(const std::exception_ptr& error) { static_cast<void>(error); }

 protected:
  NodeBase() = default;
  explicit NodeBase(std::string name) : name_(std::move(name)), explicitly_named_(!name_.empty()) {}

  /// Starts work that runs alongside the ticks: `auto read = spawn(camera.read());`, later `read.done()`,
  /// `read.take()` or `co_await read`. The work is asked to stop, and awaited, before the node shuts down. When you
  /// drop the handle, a failure is one line in the log.
  template <class T>
  Spawned<T> spawn(Task<T> task, std::string name = {}) {
    return scope_.spawn(std::move(task), name.empty() ? name_ + " (background)" : std::move(name));
  }
  /// The same for a coroutine lambda. It is kept, with its captures, until its task has ended.
  template <class F>
    requires detail::is_task<std::invoke_result_t<F&>>
  auto spawn(F lambda, std::string name = {}) {
    return spawn(detail::with_captures(std::move(lambda)), std::move(name));
  }

 private:
  friend class Scheduler;
  friend class NodeBuilder;
  friend class detail::Executor;
  // A port by the name that the node gave it.
  struct NodePort {
    std::string name;
    std::weak_ptr<msg::Port> port;
  };
  std::shared_ptr<msg::Port> add_port(std::shared_ptr<msg::Port> port);

  std::string name_;
  bool explicitly_named_ = false;
  bool keeps_in_emergency_ = false;
  std::vector<NodePort> ports_;
  Scheduler* scheduler_ = nullptr;  // once it starts the node: ports open at once
  Scope scope_{"background", Failures::log};
};

/// A node whose tick is a coroutine: it may await anything without delaying other nodes.
///
/// Semantics: `init()` once, then `tick()` again and again, then `shutdown()`. With a rate the node is released on
/// the grid `start + k / rate`. Without one it is event-driven: released again as soon as its last tick has ended.
/// While a tick is in flight the node is not released again. A thrown horus::Error is an expected failure (one line
/// in the log), any other exception a bug; both count as failed ticks and do not stop other nodes.
/// Thread safety: the scheduler's thread.
/// Example:
/// ```
/// class Gps : public horus::Node {
///   horus::Task<> tick() override { auto line = (co_await stream_.read_line()).or_throw(); … }
/// };
/// ```
class HORUS_API Node : public NodeBase {
 public:
  Node() = default;
  explicit Node(std::string name) : NodeBase(std::move(name)) {}

  virtual Task<> init();
  virtual Task<> tick() = 0;
  virtual Task<> shutdown();
};

/// A node whose tick is a plain function, for work that computes and returns. Its rate defaults to the scheduler's.
class HORUS_API PlainNode : public NodeBase {
 public:
  PlainNode() = default;
  explicit PlainNode(std::string name) : NodeBase(std::move(name)) {}

  virtual void init() {}
  virtual void tick() = 0;
  virtual void shutdown() {}
};

namespace detail {

// What a node's function may give. A failed Result is a failed tick; a value would be lost, and does not compile.
template <class T>
inline constexpr bool kTickGives = std::is_void_v<T> || std::is_same_v<T, Result<>> ||
                                   std::is_same_v<T, Task<>> || std::is_same_v<T, Task<Result<>>>;

template <class F>
class PlainLambdaNode final : public PlainNode {
 public:
  PlainLambdaNode(std::string name, F function)
      : PlainNode(std::move(name)), function_(std::move(function)) {}
  void tick() override {
    if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
      function_();
    } else {
      function_().or_throw();
    }
  }

 private:
  F function_;
};

template <class F>
class LambdaNode final : public Node {
 public:
  LambdaNode(std::string name, F function) : Node(std::move(name)), function_(std::move(function)) {}
  Task<> tick() override {
    if constexpr (std::is_same_v<std::invoke_result_t<F&>, Task<>>) {
      return function_();
    } else {
      return failing(function_());
    }
  }

 private:
  static Task<> failing(Task<Result<>> tick) {
    auto result = co_await std::move(tick);
    std::move(result).or_throw();
  }

  F function_;
};

}  // namespace detail
}  // namespace horus::HORUS_ABI
