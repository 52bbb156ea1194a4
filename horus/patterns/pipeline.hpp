// SPDX-License-Identifier: Apache-2.0
// Pipeline: producers, stages and consumers joined by bounded queues. A slow stage slows down the ones before it.
// One reactor's thread. A Pipeline owns its stages and queues; run() owns the workers.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/patterns/failure.hpp>
#include <horus/task/channel.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/task.hpp>
#include <horus/task/when_all.hpp>

namespace horus::HORUS_ABI {

/// How a pipeline reacts to a failed item. In either case the failure is counted and logged.
enum class OnFailure : std::uint8_t {
  skip,  ///< the pipeline continues with the next item
  stop,  ///< the whole pipeline stops, and run() returns the failure
};

struct StageOptions {
  /// Items processed at once, 1 to 1024; with more than one worker their order may change.
  std::size_t workers = 1;
  /// How many items may wait before the stage, 1 or more; a Channel given by from() has its own capacity.
  std::size_t queue_depth = 16;
  OnFailure on_failure = OnFailure::skip;
};

/// A snapshot of one stage. Every item received is exactly one of processed, failed, cancelled, in work.
struct StageStatistics {
  std::string name;
  std::size_t workers = 0;
  std::size_t queue_depth = 0;  ///< items that wait before it now; 0 for a source
  std::size_t queue_limit = 0;
  std::size_t queue_high_water = 0;
  std::uint64_t received = 0;  ///< for a source: items that it produced
  std::uint64_t processed = 0;
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;    ///< in work when the pipeline was stopped
  std::uint64_t filtered = 0;     ///< items that were processed and produced nothing to pass on
  std::uint64_t undelivered = 0;  ///< items that were processed when the next stage accepted no more
  std::size_t in_work = 0;
  std::string last_error;
};

class Pipeline;

namespace detail {

// What a stage's function gives, without the Task and the Result; `optional` may give nothing.
template <class R>
struct StageOutput {
  using type = R;
  static constexpr bool optional = false;
};
template <class R>
struct StageOutput<std::optional<R>> {
  using type = R;
  static constexpr bool optional = true;
};
template <class R>
struct StageOutput<Result<R>> : StageOutput<R> {};
template <class F, class... In>
using StageReturned = typename std::invoke_result_t<F&, In...>::value_type;
template <class F, class... In>
using StageGives = typename StageOutput<StageReturned<F, In...>>::type;

class HORUS_API StageBase {
 public:
  StageBase(Pipeline& pipeline, std::string name, const StageOptions& options);
  StageBase(const StageBase&) = delete;
  StageBase& operator=(const StageBase&) = delete;
  virtual ~StageBase();

  // Works until its input ends, or nobody wants its output.
  virtual Task<> run() = 0;
  [[nodiscard]] virtual bool connected() const noexcept = 0;
  [[nodiscard]] virtual StageStatistics statistics() const;
  [[nodiscard]] const std::string& name() const noexcept { return statistics_.name; }

 protected:
  // True: the worker goes on with the next item.
  bool failed(Failure failure, bool stopping) noexcept;

  Pipeline& pipeline_;
  OnFailure on_failure_;
  StageStatistics statistics_;

 private:
  FailureLog failures_;
};

// The end of a stage that the next one, or a channel, is joined to.
template <class Out>
struct Outlet {
  Channel<Out>* channel = nullptr;
};
template <>
struct Outlet<void> {};

template <class Out, class F>
class SourceStage final : public StageBase, public Outlet<Out> {
 public:
  SourceStage(Pipeline& pipeline, std::string name, F function, const StageOptions& options)
      : StageBase(pipeline, std::move(name), options), function_(std::move(function)) {}

  [[nodiscard]] bool connected() const noexcept override { return this->channel != nullptr; }
  Task<> run() override {
    while (true) {
      bool stopping = co_await stop_requested();
      if (stopping) break;
      std::optional<Out> item;
      std::optional<Failure> failure;
      try {
        auto producing = function_();
        if constexpr (is_result<StageReturned<F>>) {
          auto result = co_await producing;
          if (result) {
            item = *std::move(result);
          } else {
            failure.emplace(result.error());
          }
        } else {
          item = co_await producing;
        }
      } catch (...) {
        failure.emplace(std::current_exception());
      }
      if (failure) {
        stopping = co_await stop_requested();
        const bool go_on = failed(*std::move(failure), stopping);
        if (!go_on) break;
        co_await yield();  // a source that only fails starves nobody
        continue;
      }
      if (!item) break;
      ++statistics_.received;
      ++statistics_.processed;
      auto sent = co_await this->channel->send(*std::move(item));
      if (!sent) {
        ++statistics_.undelivered;
        break;
      }
    }
    this->channel->close();
  }

 private:
  F function_;
};

// `Out` is void for a sink.
template <class In, class Out, class F>
class Stage final : public StageBase, public Outlet<Out> {
 public:
  Stage(Pipeline& pipeline, std::string name, F function, const StageOptions& options, Channel<In>* given)
      : StageBase(pipeline, std::move(name), options),
        function_(std::move(function)),
        own_(given == nullptr ? std::make_unique<Channel<In>>(options.queue_depth) : nullptr),
        in_(given == nullptr ? own_.get() : given) {}

  [[nodiscard]] Channel<In>* input() noexcept { return in_; }
  [[nodiscard]] bool connected() const noexcept override {
    if constexpr (std::is_void_v<Out>) {
      return true;
    } else {
      return this->channel != nullptr;
    }
  }
  [[nodiscard]] StageStatistics statistics() const override {
    StageStatistics statistics = StageBase::statistics();
    statistics.queue_depth = in_->size();
    statistics.queue_limit = in_->capacity();
    statistics.queue_high_water = std::max(statistics.queue_high_water, in_->size());
    return statistics;
  }
  Task<> run() override {
    std::vector<Task<>> workers;
    for (std::size_t i = 0; i < statistics_.workers; ++i) workers.push_back(work());
    co_await when_all(std::move(workers));
    in_->close();  // whoever still sends hears that nobody takes it
    if constexpr (!std::is_void_v<Out>) this->channel->close();
  }

 private:
  Task<> work() {
    while (true) {
      bool stopping = co_await stop_requested();
      if (stopping) break;
      statistics_.queue_high_water = std::max(statistics_.queue_high_water, in_->size());
      auto item = co_await in_->recv();
      if (!item) break;
      ++statistics_.received;
      ++statistics_.in_work;
      std::optional<NonVoid<Out>> output;
      std::optional<Failure> failure;
      try {
        using Returned = StageReturned<F, In>;
        auto processing = function_(*std::move(item));
        if constexpr (std::is_void_v<Returned>) {
          co_await processing;
        } else {
          auto returned = co_await processing;
          if constexpr (!is_result<Returned>) {
            output = std::move(returned);
          } else if (!returned) {
            failure.emplace(returned.error());
          } else if constexpr (!std::is_void_v<Out>) {
            output = *std::move(returned);
          }
        }
      } catch (...) {
        failure.emplace(std::current_exception());
      }
      --statistics_.in_work;
      if (failure) {
        stopping = co_await stop_requested();
        const bool go_on = failed(*std::move(failure), stopping);
        if (!go_on) break;
        continue;
      }
      ++statistics_.processed;
      if constexpr (!std::is_void_v<Out>) {
        if (!output) {
          ++statistics_.filtered;
          continue;
        }
        auto sent = co_await this->channel->send(*std::move(output));
        if (!sent) {
          ++statistics_.undelivered;
          in_->close();  // the other workers hear it too
          break;
        }
      }
    }
  }

  F function_;
  std::unique_ptr<Channel<In>> own_;
  Channel<In>* in_;
};

}  // namespace detail

/// The open end of a pipeline under construction, from which values of type T come. Use each end once.
template <class T>
class [[nodiscard("end it with sink() or into()")]] Flow {
 public:
  /// Appends a stage: `function(T)` returns a Task of an Out, a Result<Out>, or an std::optional of one (nothing: the
  /// item ends here). Returns the flow of Out.
  template <class F>
  auto stage(std::string name, F function, StageOptions options = {});
  /// Ends the flow: `function(T)` returns a Task<> or a Task<Result<>>.
  template <class F>
  void sink(std::string name, F function, StageOptions options = {});
  /// Ends the flow in the user's channel. It is closed after the last item, and must outlive run().
  void into(Channel<T>& channel);

 private:
  friend class Pipeline;
  template <class U>
  friend class Flow;
  Flow(Pipeline& pipeline, detail::Outlet<T>* outlet, Channel<T>* channel) noexcept
      : pipeline_(pipeline), outlet_(outlet), channel_(channel) {}
  void check_unused() const;
  template <class Out, class F>
  auto& append(std::string name, F function, const StageOptions& options);

  Pipeline& pipeline_;
  detail::Outlet<T>* outlet_;  // of the stage before
  Channel<T>* channel_;        // or what from() was given
};

/// Stages joined by bounded queues.
///
/// Semantics: `run()` works until every source has ended and all their items are through, and joins every worker. A
/// full queue makes the stage before it wait (back-pressure). When the input of a stage ends, the stage closes the
/// queue behind it (end of stream). A stage whose successor accepts no more ends with its next item, and so on up to
/// the sources and to senders into a channel of from().
/// Errors: a mistake in the structure throws Error(EINVAL) at the call that makes it; run() throws one for a flow
/// that ends nowhere. An exception or Error from a function is the failure of that item: see OnFailure. `run`: the
/// failure that stopped it (rethrown when it is no horus::Error), ECANCELED.
/// Thread safety: one reactor's thread.
/// Example:
/// ```
/// horus::Pipeline vision("vision");
/// vision.source("camera", next_frame)                        // Task<std::optional<Frame>>()
///     .stage("detect", detect, {.workers = 2})               // Task<Objects>(Frame)
///     .sink("publish", publish);                             // Task<>(Objects)
/// auto done = co_await vision.run();
/// ```
class HORUS_API Pipeline {
 public:
  explicit Pipeline(std::string name = "pipeline");
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;
  ~Pipeline();

  /// A producer: `function()` returns a Task of an std::optional<T>, or of a Result of one; an empty optional ends
  /// the stream.
  template <class F>
  auto source(std::string name, F function, OnFailure on_failure = OnFailure::stop) {
    static_assert(detail::StageOutput<detail::StageReturned<F>>::optional,
                  "a source gives a Task<std::optional<T>>: nothing is the end of the stream");
    using Out = detail::StageGives<F>;
    StageOptions options;
    options.on_failure = on_failure;
    auto stage =
        std::make_unique<detail::SourceStage<Out, F>>(*this, std::move(name), std::move(function), options);
    auto* outlet = stage.get();
    add(std::move(stage));
    return Flow<Out>(*this, outlet, nullptr);
  }
  /// Takes items from the user's channel until it is closed. The channel must outlive run(). When the pipeline
  /// accepts no more items, run() closes it.
  template <class T>
  Flow<T> from(Channel<T>& channel) {
    return Flow<T>(*this, nullptr, &channel);
  }

  /// Runs the pipeline; call it once. When it is asked to stop, it stops all workers and awaits them.
  [[nodiscard]] Task<Result<>> run();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// One entry for each stage, in the order in which they were added. It may be called during the run.
  [[nodiscard]] std::vector<StageStatistics> stats() const;

 private:
  template <class T>
  friend class Flow;
  friend class detail::StageBase;
  void add(std::unique_ptr<detail::StageBase> stage);
  void stop(Failure failure) noexcept;

  std::string name_;
  std::vector<std::unique_ptr<detail::StageBase>> stages_;
  std::optional<Failure> failure_;  // what stopped it
  Scope* workers_ = nullptr;        // while it runs
  bool started_ = false;
};

// --- Building ---------------------------------------------------------------------------------------------------------

template <class T>
void Flow<T>::check_unused() const {
  if ((outlet_ == nullptr || outlet_->channel != nullptr) && channel_ == nullptr)
    throw Error(EINVAL, "build pipeline",
                pipeline_.name() + " (this end is joined already: each is used once)");
}

template <class T>
template <class Out, class F>
auto& Flow<T>::append(std::string name, F function, const StageOptions& options) {
  check_unused();
  auto stage = std::make_unique<detail::Stage<T, Out, F>>(pipeline_, std::move(name), std::move(function),
                                                          options, channel_);
  auto& added = *stage;
  pipeline_.add(std::move(stage));
  channel_ = nullptr;
  if (outlet_ != nullptr) outlet_->channel = added.input();
  return added;
}

template <class T>
template <class F>
auto Flow<T>::stage(std::string name, F function, StageOptions options) {
  using Out = detail::StageGives<F, T>;
  static_assert(!std::is_void_v<Out>, "a stage hands something on; what ends a flow is a sink");
  auto& added = append<Out>(std::move(name), std::move(function), options);
  return Flow<Out>(pipeline_, &added, nullptr);
}

template <class T>
template <class F>
void Flow<T>::sink(std::string name, F function, StageOptions options) {
  static_assert(std::is_void_v<detail::StageGives<F, T>>, "a sink gives a Task<> or a Task<Result<>>");
  static_cast<void>(append<void>(std::move(name), std::move(function), options));
}

template <class T>
void Flow<T>::into(Channel<T>& channel) {
  check_unused();
  if (outlet_ == nullptr)
    throw Error(EINVAL, "build pipeline",
                pipeline_.name() + " (a channel into a channel: put a stage between them)");
  outlet_->channel = &channel;
}

}  // namespace horus::HORUS_ABI
