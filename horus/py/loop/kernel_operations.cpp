// SPDX-License-Identifier: Apache-2.0
// Files of Horus' event loop. What the kernel can do at once is done at once, without a Future; the rest goes through
// the ring.
#include <cerrno>

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <horus/base/above_standard.hpp>
#include <horus/io/reactor.hpp>
#include <horus/py/loop/buffers.hpp>
#include <horus/py/loop/operation.hpp>
#include <horus/py/loop/raw_type.hpp>

namespace horus::python {
namespace {

// One entry of the ring.
class KernelWait : public Awaited, public io::CompletionHandler {
 public:
  KernelWait(LoopCore* owner, int descriptor) noexcept : loop(owner), fd_(descriptor) {
    complete = [](io::CompletionHandler& handler, std::int32_t outcome, std::uint32_t) noexcept {
      auto& self = static_cast<KernelWait&>(handler);
      self.result = outcome;
      self.finish();
    };
  }
  void cancel() noexcept override {
    asked_to_stop = true;
    if (loop->state->reactor) loop->state->reactor->cancel_handler(*this);
  }
  void discard() noexcept override { asked_to_stop = true; }

 protected:
  virtual void fill(io_uring_sqe& entry) noexcept = 0;
  bool submit() noexcept {
    if (fd_ >= 0) loop->state->reactor->ring().may_be_another(fd_);  // Python closes without us
    loop->state->reactor->submit_handler(*this, [this](io_uring_sqe& entry) { fill(entry); });
    return true;
  }
  PyObject* fail(PyObject* path = nullptr) const {
    if (result == -ECANCELED && asked_to_stop) {
      PyErr_SetNone(cancelled_error());
      return nullptr;
    }
    errno = -result;
    return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
  }

  LoopCore* const loop;
  const int fd_;
  std::int64_t result = 0;
  bool asked_to_stop = false;
};

// Reads what the page cache has at once. False when that is less than all: only the ring knows whether the rest is not
// in memory, or the file ends there.
bool read_at_once(int fd, void* data, std::size_t size, std::int64_t offset) {
  iovec piece{data, size};
  return ::preadv2(fd, &piece, 1, offset, RWF_NOWAIT) == static_cast<ssize_t>(size);
}

// A file that a server or a driver answers must not keep the loop: the kernel asks on a thread of its own.
std::uint8_t flags_of(int fd) noexcept {
  return io::Reactor::current()->system().file_may_wait(fd, nullptr) ? IOSQE_ASYNC : 0;
}

class FileRead final : public KernelWait {
 public:
  FileRead(LoopCore* owner, int descriptor, Py_ssize_t size, std::int64_t offset) noexcept
      : KernelWait(owner, descriptor), size_(size), offset_(offset) {}
  bool start() override {
    failed_ = !bytes_.make(size_);
    if (failed_) return true;
    // At the file's own position nothing can be tried: a short read would have moved it.
    if (offset_ >= 0 && read_at_once(fd_, bytes_.data(), static_cast<std::size_t>(size_), offset_)) {
      result = size_;
      return true;
    }
    return !submit();
  }
  PyObject* take() override {
    if (failed_) return nullptr;
    return result < 0 ? fail() : bytes_.give(result);
  }

 protected:
  void fill(io_uring_sqe& entry) noexcept override {
    io::fill::read(entry, fd_, bytes_.data(), clamp(static_cast<std::size_t>(size_)),
                   static_cast<std::uint64_t>(offset_));
    entry.flags |= flags_of(fd_);
  }

 private:
  OwnBytes bytes_;
  Py_ssize_t size_;
  std::int64_t offset_;
  bool failed_ = false;
};

// Reads into, or writes from, a user's buffer; gives the count.
class FileBuffer final : public KernelWait {
 public:
  FileBuffer(LoopCore* owner, bool writes, int descriptor, std::int64_t offset) noexcept
      : KernelWait(owner, descriptor), writes_(writes), offset_(offset) {}
  bool start() override {
    if (!writes_ && offset_ >= 0 && read_at_once(fd_, buffer.data(), buffer.size(), offset_)) {
      result = static_cast<std::int64_t>(buffer.size());
      return true;
    }
    return !submit();
  }
  PyObject* take() override { return result < 0 ? fail() : PyLong_FromLongLong(result); }
  HeldBuffer buffer;

 protected:
  void fill(io_uring_sqe& entry) noexcept override {
    const auto fill = writes_ ? &io::fill::transfer<IORING_OP_WRITE> : &io::fill::transfer<IORING_OP_READ>;
    fill(entry, fd_, buffer.data(), clamp(buffer.size()), static_cast<std::uint64_t>(offset_));
    entry.flags |= flags_of(fd_);
  }

 private:
  bool writes_;
  std::int64_t offset_;
};

class FileOpen final : public KernelWait {
 public:
  FileOpen(LoopCore* owner, PyObject* given, PyObject* encoded, int flags, mode_t mode) noexcept
      : KernelWait(owner, -1), given_(Py_NewRef(given)), path_(encoded), flags_(flags), mode_(mode) {
    result = -EINVAL;  // nothing is open yet
  }
  ~FileOpen() override {
    if (result >= 0 && !given_away_) ::close(static_cast<int>(result));
    Py_DECREF(given_);
    Py_DECREF(path_);
  }
  bool start() override { return !submit(); }
  PyObject* take() override {
    if (result < 0) return fail(given_);
    if (asked_to_stop) {
      PyErr_SetNone(cancelled_error());
      return nullptr;
    }
    given_away_ = true;
    const int fd = above_standard(static_cast<int>(result));
    return fd < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(fd);
  }

 protected:
  void fill(io_uring_sqe& entry) noexcept override {
    io::fill::open(entry, AT_FDCWD, PyBytes_AS_STRING(path_), flags_ | O_CLOEXEC, mode_);
    if (io::Reactor::current()->system().path_may_wait(AT_FDCWD, PyBytes_AS_STRING(path_)))
      entry.flags |= IOSQE_ASYNC;
  }

 private:
  PyObject* given_;
  PyObject* path_;  // bytes
  int flags_;
  mode_t mode_;
  bool given_away_ = false;
};

// Without a buffer: an fsync, a close, nothing at all. Gives the result.
class Plain final : public KernelWait {
 public:
  using Fill = void (*)(io_uring_sqe& entry, int fd) noexcept;
  Plain(LoopCore* owner, Fill fill, int descriptor) noexcept : KernelWait(owner, descriptor), fill_(fill) {}
  bool start() override { return !submit(); }
  PyObject* take() override { return result < 0 ? fail() : PyLong_FromLongLong(result); }

 protected:
  void fill(io_uring_sqe& entry) noexcept override { fill_(entry, fd_); }

 private:
  Fill fill_;
};

}  // namespace

// (path, flags, mode) → descriptor
PyObject* file_open(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  Py_ssize_t flags = 0, mode = 0;
  if (!expect("_open", count, 3) || !to_size(arguments[1], "flags", 0, flags) ||
      !to_size(arguments[2], "mode", 0, mode))
    return nullptr;
  PyObject* encoded = nullptr;
  if (PyUnicode_FSConverter(arguments[0], static_cast<void*>(&encoded)) == 0) return nullptr;
  LoopCore* loop = LoopCore::from(self);
  PyObject* operation = make_operation<FileOpen>(loop, loop, arguments[0], encoded, static_cast<int>(flags),
                                                 static_cast<mode_t>(mode));
  if (operation == nullptr) Py_DECREF(encoded);
  return operation;
}

// (descriptor, size, offset; -1: the file's own position) → bytes
PyObject* file_read(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  Py_ssize_t fd = 0, size = 0, offset = 0;
  if (!expect("_read", count, 3) || !to_size(arguments[0], "fd", 0, fd) ||
      !to_size(arguments[1], "size", 0, size) || !to_size(arguments[2], "offset", -1, offset))
    return nullptr;
  LoopCore* loop = LoopCore::from(self);
  return make_operation<FileRead>(loop, loop, static_cast<int>(fd), size, offset);
}

static PyObject* file_buffer(PyObject* self, PyObject* const* arguments, Py_ssize_t count, const char* name,
                             bool writes, int access) {
  Py_ssize_t fd = 0, offset = 0;
  if (!expect(name, count, 3) || !to_size(arguments[0], "fd", 0, fd) ||
      !to_size(arguments[2], "offset", -1, offset))
    return nullptr;
  LoopCore* loop = LoopCore::from(self);
  PyObject* operation = make_operation<FileBuffer>(loop, loop, writes, static_cast<int>(fd), offset);
  if (operation == nullptr) return nullptr;
  return with_buffer(operation, wait_of<FileBuffer>(operation).buffer, arguments[1], access);
}
// (descriptor, buffer, offset) → count
PyObject* file_read_into(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  return file_buffer(self, arguments, count, "_read_into", false, PyBUF_WRITABLE);
}
PyObject* file_write(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  return file_buffer(self, arguments, count, "_write", true, PyBUF_SIMPLE);
}

// (descriptor, only the data?)
PyObject* file_sync(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  Py_ssize_t fd = 0;
  if (!expect("_sync", count, 2) || !to_size(arguments[0], "fd", 0, fd)) return nullptr;
  const int only_data = PyObject_IsTrue(arguments[1]);
  if (only_data < 0) return nullptr;
  LoopCore* loop = LoopCore::from(self);
  const Plain::Fill fill =
      only_data != 0
          ? Plain::Fill([](io_uring_sqe& entry, int file) noexcept { io::fill::sync(entry, file, true); })
          : Plain::Fill([](io_uring_sqe& entry, int file) noexcept { io::fill::sync(entry, file, false); });
  return make_operation<Plain>(loop, loop, fill, static_cast<int>(fd));
}

PyObject* file_close(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  Py_ssize_t fd = 0;
  if (!expect("_close", count, 1) || !to_size(arguments[0], "fd", 0, fd)) return nullptr;
  LoopCore* loop = LoopCore::from(self);
  return make_operation<Plain>(loop, loop, Plain::Fill(&io::fill::close), static_cast<int>(fd));
}

PyObject* no_operation(PyObject* self, PyObject*) {
  LoopCore* loop = LoopCore::from(self);
  return make_operation<Plain>(
      loop, loop, Plain::Fill([](io_uring_sqe& entry, int) noexcept { io::fill::nop(entry); }), -1);
}

}  // namespace horus::python
