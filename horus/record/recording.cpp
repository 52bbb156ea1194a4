// SPDX-License-Identifier: Apache-2.0
#include <horus/record/recording.hpp>

#include <atomic>
#include <cerrno>
#include <exception>
#include <future>
#include <utility>

#include <pthread.h>

#include <horus/base/background_thread.hpp>
#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/record/engine.hpp>

namespace horus::HORUS_ABI {
namespace {

constexpr std::size_t kStackBytes = std::size_t{1} << 20;
constexpr Duration kDiskLimit = std::chrono::seconds(5);

// Times below 0 would mean "never" in one place and "at once" in another.
Result<> check(const RecordOptions& options, const std::string& path) {
  if (options.max_file_time < Duration(0))
    return Error(EINVAL, "record", path).with_detail("(max_file_time is below 0)");
  if (options.snapshot < Duration(0))
    return Error(EINVAL, "record", path).with_detail("(snapshot is below 0)");
  return {};
}

}  // namespace

struct Recording::Shared {
  Shared(std::string path, const RecordOptions& options) : engine(std::move(path), options) {}

  static void* thread(void* argument) {
    const std::unique_ptr<std::shared_ptr<Shared>> holder(static_cast<std::shared_ptr<Shared>*>(argument));
    Shared& self = **holder;
    ::pthread_setname_np(::pthread_self(), "horus-record");
    try {
      io::Reactor reactor;
      self.ended.set_value(reactor.run(
          self.engine.run([&self](const Result<>& outcome) { self.tell(outcome); }), "recording"));
    } catch (const Error& error) {
      self.fail(error);
    } catch (const std::exception& error) {
      self.fail(Error(EIO, "record", self.engine.status().path).with_detail(error.what()));
    }
    return nullptr;
  }
  void tell(const Result<>& outcome) {
    if (!std::exchange(told, true)) opened.set_value(outcome);
  }
  void fail(const Error& error) {
    tell(error);
    ended.set_value(error);
  }

  record::Engine engine;
  bool told = false;
  std::promise<Result<>> opened;
  std::promise<Result<>> ended;
  const std::shared_future<Result<>> end{ended.get_future()};
  std::atomic<bool> stopped{false};  // stop() has told somebody how it ended
};

Result<Recording> Recording::start(std::string path, const RecordOptions& options) {
  if (!io::System::here().has_threads())
    return Error(ENOTSUP, "record", path)
        .with_detail("(a simulated world has no threads: record_topics() records in a task)");
  if (auto checked = check(options, path); !checked) return checked.error();
  auto shared = std::make_shared<Shared>(path, options);
  auto opened = shared->opened.get_future();
  auto holder = std::make_unique<std::shared_ptr<Shared>>(shared);
  if (const int refused = detail::start_background_thread(kStackBytes, &Shared::thread, holder.get());
      refused != 0)
    return Error(refused, "start a thread for", path);
  static_cast<void>(holder.release());  // the thread's
  if (opened.wait_for(kDiskLimit) != std::future_status::ready) {
    shared->engine.stop();
    return Error(ETIMEDOUT, "record", path).with_detail("(the disk does not answer)");
  }
  if (auto outcome = opened.get(); !outcome) return outcome.error();
  return Recording(std::move(shared));
}

Recording::Recording(std::shared_ptr<Shared> shared) noexcept : shared_(std::move(shared)) {}
Recording::Recording(Recording&& other) noexcept = default;

Recording& Recording::operator=(Recording&& other) noexcept {
  std::swap(shared_, other.shared_);
  return *this;
}

Recording::~Recording() {
  if (shared_ == nullptr || shared_->stopped.load()) return;
  if (auto stopped = stop(); !stopped) log_error(stopped.error().message());
}

Result<> Recording::stop() {
  shared_->engine.stop();
  const std::shared_future<Result<>> end = shared_->end;  // each thread waits on one of its own
  // A disk that has not answered once is not waited for again.
  const Duration limit = shared_->stopped.load() ? Duration(0) : kDiskLimit;
  const bool ready = end.wait_for(limit) == std::future_status::ready;
  shared_->stopped.store(true);
  if (ready) return end.get();
  return Error(ETIMEDOUT, "record", shared_->engine.status().path)
      .with_detail("(the disk does not answer; the file ends with its last complete chunk)");
}

Result<> Recording::snapshot(std::string path) {
  auto written = shared_->engine.snapshot(path);
  if (written.wait_for(kDiskLimit) != std::future_status::ready)
    return Error(ETIMEDOUT, "write a snapshot", path).with_detail("(the disk does not answer)");
  return written.get();
}

RecordingStatus Recording::status() const { return shared_->engine.status(); }

Task<Result<RecordingStatus>> record_topics(std::string path, RecordOptions options) {
  if (auto checked = check(options, path); !checked) co_return checked.error();
  record::Engine engine(std::move(path), options);
  auto running = engine.run([](const Result<>&) {});
  const Result<> outcome = co_await running;
  if (!outcome) co_return outcome.error();
  co_return engine.status();
}

}  // namespace horus::HORUS_ABI
