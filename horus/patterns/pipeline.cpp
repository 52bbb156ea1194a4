// SPDX-License-Identifier: Apache-2.0
#include <horus/patterns/pipeline.hpp>

#include <fmt/format.h>

namespace horus::HORUS_ABI {

namespace detail {

StageBase::StageBase(Pipeline& pipeline, std::string name, const StageOptions& options)
    : pipeline_(pipeline), on_failure_(options.on_failure) {
  constexpr std::size_t kMaxWorkers = 1024;
  const auto refuse = [&](std::string_view what) {
    throw Error(EINVAL, "build pipeline", fmt::format("{}, stage \"{}\" ({})", pipeline.name(), name, what));
  };
  if (name.empty()) refuse("its name is empty");
  if (options.workers == 0 || options.workers > kMaxWorkers) refuse("workers: 1 to 1024");
  if (options.queue_depth == 0) refuse("queue_depth: 1 or more");
  statistics_.name = std::move(name);
  statistics_.workers = options.workers;
}

StageBase::~StageBase() = default;

StageStatistics StageBase::statistics() const {
  StageStatistics statistics = statistics_;
  statistics.last_error = failures_.last();
  return statistics;
}

bool StageBase::failed(Failure failure, bool stopping) noexcept {
  if (stopping && failure.cancelled()) {
    ++statistics_.cancelled;
    return false;
  }
  ++statistics_.failed;
  failures_.report(pipeline_.name() + "/" + name(), "an item failed", failure);
  if (on_failure_ == OnFailure::skip) return !stopping;
  pipeline_.stop(std::move(failure));
  return false;
}

}  // namespace detail

Pipeline::Pipeline(std::string name) : name_(std::move(name)) {}
Pipeline::~Pipeline() = default;

void Pipeline::add(std::unique_ptr<detail::StageBase> stage) {
  if (started_) throw Error(EBUSY, "build pipeline", name_ + " (it was run; add stages before)");
  stages_.push_back(std::move(stage));
}

void Pipeline::stop(Failure failure) noexcept {
  if (!failure_) failure_ = std::move(failure);
  if (workers_ != nullptr) workers_->cancel();
}

std::vector<StageStatistics> Pipeline::stats() const {
  std::vector<StageStatistics> statistics;
  statistics.reserve(stages_.size());
  for (const auto& stage : stages_) statistics.push_back(stage->statistics());
  return statistics;
}

Task<Result<>> Pipeline::run() {
  if (started_) throw Error(EINVAL, "run pipeline", name_ + " (a pipeline runs once: build another one)");
  if (stages_.empty()) throw Error(EINVAL, "run pipeline", name_ + " (it has no stages)");
  for (const auto& stage : stages_) {
    if (stage->connected()) continue;
    throw Error(EINVAL, "run pipeline",
                fmt::format("{} (stage \"{}\" leads nowhere: end the flow with sink() or into())", name_,
                            stage->name()));
  }
  started_ = true;
  Scope workers(name_, Failures::log);
  workers_ = &workers;
  for (const auto& stage : stages_)
    static_cast<void>(workers.spawn(stage->run(), name_ + "/" + stage->name()));
  co_await workers.join();
  workers_ = nullptr;
  if (failure_) co_return failure_->or_rethrow();
  const bool stopping = co_await stop_requested();
  if (stopping) co_return Error(ECANCELED, "run pipeline", name_);
  co_return Result<>();
}

}  // namespace horus::HORUS_ABI
