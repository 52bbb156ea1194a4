// SPDX-License-Identifier: Apache-2.0
#include <horus/io/pipe.hpp>

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include <horus/base/above_standard.hpp>
#include <horus/io/loop/awaiter.hpp>
#include <horus/io/offload.hpp>
#include <horus/io/poll.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>

namespace horus::HORUS_ABI::io {
namespace {

constexpr Duration kFifoRetry = std::chrono::milliseconds(5);  // between two looks for a reader

struct OpenFifo : OperationAwaiter<OpenFifo> {
  static constexpr const char* kName = "open";
  OpenFifo(const std::string& path, int flags) noexcept : path_(path), flags_(flags) {}
  void prepare(io_uring_sqe& entry) const noexcept {
    // Without O_NONBLOCK the open itself would wait for the other side, in a kernel thread that nothing can bound.
    fill::open(entry, AT_FDCWD, path_.c_str(), flags_ | O_NONBLOCK | O_CLOEXEC, 0);
  }
  [[nodiscard]] int await_resume() const noexcept {
    if (result < 0) return result;
    const int fd = above_standard(result);
    return fd < 0 ? -errno : fd;
  }

 private:
  const std::string& path_;  // the caller's, in its frame
  int flags_;
};

// From now on operations wait in the ring. The open file description is ours alone.
Result<> make_blocking(int fd, const std::string& path) {
  const int result = Reactor::current()->system().use_fifo(fd);
  if (result == -EINVAL) return Error(EINVAL, "open", path + " (not a FIFO)");
  if (result < 0) return Error(-result, "open", path);
  return {};
}

Result<> make_fifo(System* system, const std::string& path, unsigned mode) {
  const int result = system->make_fifo(path.c_str(), mode);
  if (result < 0) return Error(-result, "make the FIFO", path);
  return {};
}

Result<Descriptor> copy_of(int fd, const char* name) {
  Reactor* reactor = Reactor::current();
  HORUS_ASSERT(reactor != nullptr, "a standard stream was opened on a thread that runs no reactor");
  const int copy = reactor->system().duplicate(fd);
  if (copy < 0) return Error(-copy, "open", name);
  return Descriptor(copy);
}

}  // namespace

Result<Pipe> make_pipe() {
  Reactor* reactor = Reactor::current();
  HORUS_ASSERT(reactor != nullptr, "a pipe was made on a thread that runs no reactor");
  int ends[2];
  const int result = reactor->system().pipe(ends, 0);
  if (result < 0) return Error(-result, "make a pipe");
  return Pipe{PipeReader(Descriptor(ends[0]), "pipe"), PipeWriter(Descriptor(ends[1]), "pipe")};
}

Result<> PipeReader::set_room(std::size_t bytes) {
  Reactor* reactor = Reactor::current();
  if (!is_open() || reactor == nullptr) return Error(EBADF, "set the capacity of", "a pipe that is not open");
  const int result = reactor->system().set_pipe_room(fd(), bytes);
  if (result < 0) return Error(-result, "set the capacity of", name());
  return {};
}

Result<PipeReader> standard_input() {
  auto copy = copy_of(STDIN_FILENO, "standard input");
  if (!copy) return copy.error();
  return PipeReader(*std::move(copy), "standard input", Ownership::shared);
}
Result<PipeWriter> standard_output() {
  auto copy = copy_of(STDOUT_FILENO, "standard output");
  if (!copy) return copy.error();
  return PipeWriter(*std::move(copy), "standard output", Ownership::shared);
}
Result<PipeWriter> standard_error() {
  auto copy = copy_of(STDERR_FILENO, "standard error");
  if (!copy) return copy.error();
  return PipeWriter(*std::move(copy), "standard error", Ownership::shared);
}

Task<Result<>> Fifo::create(std::string path, unsigned mode) {
  auto made = co_await offload_on(ThreadPool::files(), &make_fifo, &Reactor::current()->system(), path, mode);
  co_return made;
}

Task<Result<PipeReader>> Fifo::open_read(std::string path, FifoEnd end) {
  // Open for writing too, a FIFO always has a writer, and so no end.
  const int opened = co_await OpenFifo(path, end == FifoEnd::stays ? O_RDWR : O_RDONLY);
  if (opened < 0) co_return Error(-opened, "open", path);
  Descriptor descriptor(opened);
  auto usable = make_blocking(opened, path);
  if (!usable) co_return usable.error();
  if (end == FifoEnd::ends) {
    // Before the first writer a read would tell an end at once; a poll waits.
    auto ready = co_await wait_readable(opened);
    if (!ready) {
      // Gone when this returns: a writer must not find a reader that has given up.
      auto closing = close(std::move(descriptor));
      static_cast<void>(co_await closing);
      co_return ready.error().on("open", path);
    }
  }
  co_return PipeReader(std::move(descriptor), path);
}

Task<Result<PipeWriter>> Fifo::open_write(std::string path) {
  while (true) {
    const int opened = co_await OpenFifo(path, O_WRONLY);
    if (opened >= 0) {
      Descriptor descriptor(opened);
      auto usable = make_blocking(opened, path);
      if (!usable) co_return usable.error();
      co_return PipeWriter(std::move(descriptor), path);
    }
    if (opened != -ENXIO) co_return Error(-opened, "open", path);
    try {
      co_await horus::sleep(kFifoRetry);
    } catch (const Error& error) {
      co_return error.on("open", path);
    }
  }
}

}  // namespace horus::HORUS_ABI::io
