// SPDX-License-Identifier: Apache-2.0
// Sockets and files of Horus' event loop. What the kernel can do at once is done at once, without a Future; the rest
// goes through the ring.
#include <algorithm>
#include <cerrno>
#include <climits>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <horus/py/operation.hpp>
#include <horus/py/raw_type.hpp>

namespace horus::python {
namespace {

// One entry of the ring after another until the wait is over.
class KernelWait : public Awaited, public io::CompletionHandler {
 public:
  KernelWait(LoopCore* owner, int descriptor) noexcept : loop(owner), fd_(descriptor) {
    complete = [](io::CompletionHandler& handler, std::int32_t outcome, std::uint32_t) noexcept {
      auto& self = static_cast<KernelWait&>(handler);
      self.result = outcome;
      if (!self.goes_on()) self.finish();
    };
  }
  void cancel() noexcept override {
    asked_to_stop = true;
    if (loop->state->reactor) loop->state->reactor->cancel_handler(*this);
  }
  void discard() noexcept override { asked_to_stop = true; }

 protected:
  virtual void fill(io_uring_sqe& entry) noexcept = 0;
  // After a completion: true when another entry was submitted.
  virtual bool goes_on() noexcept { return false; }
  bool submit() noexcept {
    if (fd_ >= 0) loop->state->reactor->backend().may_be_another(fd_);  // Python closes without us
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

// A user's buffer, held until the kernel has let it go.
class HeldBuffer {
 public:
  HeldBuffer() = default;
  HeldBuffer(const HeldBuffer&) = delete;
  HeldBuffer& operator=(const HeldBuffer&) = delete;
  ~HeldBuffer() {
    if (view_.obj != nullptr) PyBuffer_Release(&view_);
  }
  bool hold(PyObject* object, int flags) { return PyObject_GetBuffer(object, &view_, flags) == 0; }
  [[nodiscard]] char* data() const noexcept { return static_cast<char*>(view_.buf); }
  [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(view_.len); }

 private:
  Py_buffer view_{};
};

// A bytes object that the kernel fills.
class OwnBytes {
 public:
  OwnBytes() = default;
  OwnBytes(const OwnBytes&) = delete;
  OwnBytes& operator=(const OwnBytes&) = delete;
  ~OwnBytes() { Py_XDECREF(object_); }
  /// False with an exception set.
  bool make(Py_ssize_t size) {
    object_ = PyBytes_FromStringAndSize(nullptr, size);
    return object_ != nullptr;
  }
  [[nodiscard]] char* data() const noexcept { return PyBytes_AS_STRING(object_); }
  /// The first `count` of them; null with an exception set.
  PyObject* give(std::int64_t count) {
    if (count < PyBytes_GET_SIZE(object_) && _PyBytes_Resize(&object_, static_cast<Py_ssize_t>(count)) < 0)
      return nullptr;
    return std::exchange(object_, nullptr);
  }

 private:
  PyObject* object_ = nullptr;
};

// The kernel counts in 32 bits.
std::uint32_t clamp(std::size_t bytes) noexcept {
  return static_cast<std::uint32_t>(std::min<std::size_t>(bytes, INT_MAX & ~4095));
}

// What came for a receive that was cancelled belongs to the next one on this socket.
void keep(LoopCore* loop, PyObject* socket, const char* data, Py_ssize_t size) {
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  if (loop->kept == nullptr) {
    PyObject* dictionary = attribute_of("weakref", "WeakKeyDictionary");
    loop->kept = dictionary == nullptr ? nullptr : PyObject_CallNoArgs(dictionary);
    Py_XDECREF(dictionary);
  }
  PyObject* bytes = PyBytes_FromStringAndSize(data, size);
  PyObject* earlier = loop->kept == nullptr ? nullptr : PyObject_GetItem(loop->kept, socket);
  if (earlier == nullptr) {
    PyErr_Clear();
  } else if (bytes != nullptr) {
    PyBytes_ConcatAndDel(&earlier, bytes);
    bytes = earlier;
  }
  if (loop->kept == nullptr || bytes == nullptr || PyObject_SetItem(loop->kept, socket, bytes) < 0)
    PyErr_WriteUnraisable(socket);
  Py_XDECREF(bytes);
  PyErr_Restore(type, value, trace);
}

// At most `most` bytes of what was kept; a new reference, null when there is nothing or, with an exception, on failure.
PyObject* take_kept(LoopCore* loop, PyObject* socket, Py_ssize_t most) {
  PyObject* bytes = PyObject_GetItem(loop->kept, socket);
  if (bytes == nullptr) {
    PyErr_Clear();
    return nullptr;
  }
  const Py_ssize_t size = PyBytes_GET_SIZE(bytes);
  const Py_ssize_t taken = std::min(size, most);
  PyObject* part = PyBytes_FromStringAndSize(PyBytes_AS_STRING(bytes), taken);
  int changed = -1;
  if (part != nullptr && taken == size) {
    changed = PyObject_DelItem(loop->kept, socket);
  } else if (part != nullptr) {
    PyObject* rest = PyBytes_FromStringAndSize(PyBytes_AS_STRING(bytes) + taken, size - taken);
    changed = rest == nullptr ? -1 : PyObject_SetItem(loop->kept, socket, rest);
    Py_XDECREF(rest);
  }
  Py_DECREF(bytes);
  if (changed < 0) Py_CLEAR(part);
  return part;
}

class Receive final : public KernelWait {
 public:
  Receive(LoopCore* owner, PyObject* socket, int descriptor, Py_ssize_t size) noexcept
      : KernelWait(owner, descriptor), socket_(Py_NewRef(socket)), size_(size) {}
  ~Receive() override {
    Py_XDECREF(kept_);
    Py_DECREF(socket_);
  }
  bool start() override {
    if (loop->kept != nullptr) kept_ = take_kept(loop, socket_, size_);
    failed_ = PyErr_Occurred() != nullptr || (kept_ == nullptr && !bytes_.make(size_));
    return failed_ || kept_ != nullptr || !submit();
  }
  PyObject* take() override {
    if (failed_) return nullptr;
    if (kept_ != nullptr) return std::exchange(kept_, nullptr);
    if (result < 0) return fail();
    if (asked_to_stop) {
      if (result > 0) keep(loop, socket_, bytes_.data(), static_cast<Py_ssize_t>(result));
      PyErr_SetNone(cancelled_error());
      return nullptr;
    }
    return bytes_.give(result);
  }

 protected:
  void fill(io_uring_sqe& entry) noexcept override {
    entry.opcode = IORING_OP_RECV;
    entry.fd = fd_;
    entry.addr = reinterpret_cast<std::uintptr_t>(bytes_.data());
    entry.len = clamp(static_cast<std::size_t>(size_));
  }

 private:
  PyObject* socket_;
  PyObject* kept_ = nullptr;
  OwnBytes bytes_;
  Py_ssize_t size_;
  bool failed_ = false;
};

class ReceiveInto final : public KernelWait {
 public:
  ReceiveInto(LoopCore* owner, PyObject* socket, int descriptor) noexcept
      : KernelWait(owner, descriptor), socket_(Py_NewRef(socket)) {}
  ~ReceiveInto() override { Py_DECREF(socket_); }
  bool start() override {
    if (loop->kept == nullptr) return !submit();
    PyObject* bytes = take_kept(loop, socket_, static_cast<Py_ssize_t>(buffer.size()));
    failed_ = PyErr_Occurred() != nullptr;
    if (bytes == nullptr) return failed_ || !submit();
    result = PyBytes_GET_SIZE(bytes);
    std::copy_n(PyBytes_AS_STRING(bytes), result, buffer.data());
    Py_DECREF(bytes);
    return true;
  }
  PyObject* take() override {
    if (failed_) return nullptr;
    if (result < 0) return fail();
    if (asked_to_stop) {
      if (result > 0) keep(loop, socket_, buffer.data(), static_cast<Py_ssize_t>(result));
      PyErr_SetNone(cancelled_error());
      return nullptr;
    }
    return PyLong_FromLongLong(result);
  }
  HeldBuffer buffer;

 protected:
  void fill(io_uring_sqe& entry) noexcept override {
    entry.opcode = IORING_OP_RECV;
    entry.fd = fd_;
    entry.addr = reinterpret_cast<std::uintptr_t>(buffer.data());
    entry.len = clamp(buffer.size());
  }

 private:
  PyObject* socket_;
  bool failed_ = false;
};

// Everything, or an error.
class SendAll final : public KernelWait {
 public:
  SendAll(LoopCore* owner, int descriptor) noexcept : KernelWait(owner, descriptor) {}
  bool start() override {
    while (sent_ < buffer.size()) {
      const ssize_t sent =
          ::send(fd_, buffer.data() + sent_, buffer.size() - sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent >= 0) {
        sent_ += static_cast<std::size_t>(sent);
      } else if (errno == EAGAIN) {
        return !submit();
      } else if (errno != EINTR) {
        result = -errno;
        return true;
      }
    }
    return true;
  }
  PyObject* take() override {
    if (result < 0) return fail();
    Py_RETURN_NONE;
  }
  HeldBuffer buffer;

 protected:
  bool goes_on() noexcept override {
    if (result < 0) return false;
    sent_ += static_cast<std::size_t>(result);
    if (sent_ >= buffer.size()) return false;
    if (asked_to_stop) {
      result = -ECANCELED;
      return false;
    }
    return submit();
  }
  void fill(io_uring_sqe& entry) noexcept override {
    entry.opcode = IORING_OP_SEND;
    entry.fd = fd_;
    entry.addr = reinterpret_cast<std::uintptr_t>(buffer.data() + sent_);
    entry.len = clamp(buffer.size() - sent_);
    entry.msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
  }

 private:
  std::size_t sent_ = 0;
};

// Reads what the page cache has at once. False when that is less than all: only the ring knows whether the rest is not
// in memory, or the file ends there.
bool read_at_once(int fd, void* data, std::size_t size, std::int64_t offset) {
  iovec piece{data, size};
  return ::preadv2(fd, &piece, 1, offset, RWF_NOWAIT) == static_cast<ssize_t>(size);
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
    entry.opcode = IORING_OP_READ;
    entry.fd = fd_;
    entry.addr = reinterpret_cast<std::uintptr_t>(bytes_.data());
    entry.len = clamp(static_cast<std::size_t>(size_));
    entry.off = static_cast<std::uint64_t>(offset_);
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
  FileBuffer(LoopCore* owner, std::uint8_t opcode, int descriptor, std::int64_t offset) noexcept
      : KernelWait(owner, descriptor), opcode_(opcode), offset_(offset) {}
  bool start() override {
    if (opcode_ == IORING_OP_READ && offset_ >= 0 &&
        read_at_once(fd_, buffer.data(), buffer.size(), offset_)) {
      result = static_cast<std::int64_t>(buffer.size());
      return true;
    }
    return !submit();
  }
  PyObject* take() override { return result < 0 ? fail() : PyLong_FromLongLong(result); }
  HeldBuffer buffer;

 protected:
  void fill(io_uring_sqe& entry) noexcept override {
    entry.opcode = opcode_;
    entry.fd = fd_;
    entry.addr = reinterpret_cast<std::uintptr_t>(buffer.data());
    entry.len = clamp(buffer.size());
    entry.off = static_cast<std::uint64_t>(offset_);
  }

 private:
  std::uint8_t opcode_;
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
    return PyLong_FromLongLong(result);
  }

 protected:
  void fill(io_uring_sqe& entry) noexcept override {
    entry.opcode = IORING_OP_OPENAT;
    entry.fd = AT_FDCWD;
    entry.addr = reinterpret_cast<std::uintptr_t>(PyBytes_AS_STRING(path_));
    entry.open_flags = static_cast<std::uint32_t>(flags_ | O_CLOEXEC);
    entry.len = mode_;
  }

 private:
  PyObject* given_;
  PyObject* path_;  // bytes
  int flags_;
  mode_t mode_;
  bool given_away_ = false;
};

// Without a buffer: a poll, an fsync, a close, nothing at all. Gives the result.
class Plain final : public KernelWait {
 public:
  Plain(LoopCore* owner, std::uint8_t opcode, int descriptor, std::uint32_t flags = 0) noexcept
      : KernelWait(owner, descriptor), opcode_(opcode), flags_(flags) {}
  bool start() override { return !submit(); }
  PyObject* take() override { return result < 0 ? fail() : PyLong_FromLongLong(result); }

 protected:
  void fill(io_uring_sqe& entry) noexcept override {
    entry.opcode = opcode_;
    entry.fd = fd_;
    if (opcode_ == IORING_OP_POLL_ADD) {
      entry.poll32_events = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? flags_ << 16 : flags_;
    } else {
      entry.fsync_flags = flags_;
    }
  }

 private:
  std::uint8_t opcode_;
  std::uint32_t flags_;
};

bool expect(const char* name, Py_ssize_t count, Py_ssize_t wanted) {
  if (count == wanted) return true;
  PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, not %zd", name, wanted, count);
  return false;
}

// A whole number within Py_ssize_t, not below `least`.
bool to_size(PyObject* object, const char* what, Py_ssize_t least, Py_ssize_t& size) {
  size = PyNumber_AsSsize_t(object, PyExc_OverflowError);
  if (size == -1 && PyErr_Occurred() != nullptr) return false;
  if (size >= least) return true;
  PyErr_Format(PyExc_ValueError, "%s is at least %zd, not %zd", what, least, size);
  return false;
}

// The descriptor of a socket that belongs to asyncio's rules: not TLS, and in debug mode non-blocking. -1: refused.
int socket_fd(LoopCore* loop, PyObject* socket) {
  static PyObject* const socket_type = attribute_of("socket", "socket");
  if (socket_type == nullptr) return -1;
  if (reinterpret_cast<PyObject*>(Py_TYPE(socket)) != socket_type || loop->state->debug) {
    static PyObject* const check = PyUnicode_InternFromString("_check_socket");
    PyObject* checked = PyObject_CallMethodOneArg(loop->object(), check, socket);
    if (checked == nullptr) return -1;
    Py_DECREF(checked);
  }
  return PyObject_AsFileDescriptor(socket);
}

PyObject* with_buffer(PyObject* operation, HeldBuffer& buffer, PyObject* object, int flags) {
  if (operation == nullptr || buffer.hold(object, flags)) return operation;
  Py_DECREF(operation);
  return nullptr;
}
template <class W>
W& wait_of(PyObject* operation) {
  return static_cast<W&>(*Operation::from(operation)->wait);
}

}  // namespace

PyObject* sock_recv(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  LoopCore* loop = LoopCore::from(self);
  if (!expect("sock_recv", count, 2)) return nullptr;
  const int fd = socket_fd(loop, arguments[0]);
  Py_ssize_t size = 0;
  if (fd < 0 || !to_size(arguments[1], "nbytes", 0, size)) return nullptr;
  return make_operation<Receive>(loop, loop, arguments[0], fd, size);
}

PyObject* sock_recv_into(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  LoopCore* loop = LoopCore::from(self);
  if (!expect("sock_recv_into", count, 2)) return nullptr;
  const int fd = socket_fd(loop, arguments[0]);
  if (fd < 0) return nullptr;
  PyObject* operation = make_operation<ReceiveInto>(loop, loop, arguments[0], fd);
  if (operation == nullptr) return nullptr;
  return with_buffer(operation, wait_of<ReceiveInto>(operation).buffer, arguments[1], PyBUF_WRITABLE);
}

PyObject* sock_sendall(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  LoopCore* loop = LoopCore::from(self);
  if (!expect("sock_sendall", count, 2)) return nullptr;
  const int fd = socket_fd(loop, arguments[0]);
  if (fd < 0) return nullptr;
  PyObject* operation = make_operation<SendAll>(loop, loop, fd);
  if (operation == nullptr) return nullptr;
  return with_buffer(operation, wait_of<SendAll>(operation).buffer, arguments[1], PyBUF_SIMPLE);
}

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
                             std::uint8_t opcode, int access) {
  Py_ssize_t fd = 0, offset = 0;
  if (!expect(name, count, 3) || !to_size(arguments[0], "fd", 0, fd) ||
      !to_size(arguments[2], "offset", -1, offset))
    return nullptr;
  LoopCore* loop = LoopCore::from(self);
  PyObject* operation = make_operation<FileBuffer>(loop, loop, opcode, static_cast<int>(fd), offset);
  if (operation == nullptr) return nullptr;
  return with_buffer(operation, wait_of<FileBuffer>(operation).buffer, arguments[1], access);
}
// (descriptor, buffer, offset) → count
PyObject* file_read_into(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  return file_buffer(self, arguments, count, "_read_into", IORING_OP_READ, PyBUF_WRITABLE);
}
PyObject* file_write(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  return file_buffer(self, arguments, count, "_write", IORING_OP_WRITE, PyBUF_SIMPLE);
}

// (descriptor, only the data?)
PyObject* file_sync(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  Py_ssize_t fd = 0;
  if (!expect("_sync", count, 2) || !to_size(arguments[0], "fd", 0, fd)) return nullptr;
  const int only_data = PyObject_IsTrue(arguments[1]);
  if (only_data < 0) return nullptr;
  LoopCore* loop = LoopCore::from(self);
  return make_operation<Plain>(loop, loop, IORING_OP_FSYNC, static_cast<int>(fd),
                               only_data != 0 ? IORING_FSYNC_DATASYNC : 0U);
}

PyObject* file_close(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  Py_ssize_t fd = 0;
  if (!expect("_close", count, 1) || !to_size(arguments[0], "fd", 0, fd)) return nullptr;
  LoopCore* loop = LoopCore::from(self);
  return make_operation<Plain>(loop, loop, IORING_OP_CLOSE, static_cast<int>(fd));
}

// (descriptor, events) → those that hold
PyObject* poll_descriptor(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  Py_ssize_t events = 0;
  if (!expect("_poll", count, 2) || !to_size(arguments[1], "events", 0, events)) return nullptr;
  const int fd = PyObject_AsFileDescriptor(arguments[0]);
  if (fd < 0) return nullptr;
  LoopCore* loop = LoopCore::from(self);
  return make_operation<Plain>(loop, loop, IORING_OP_POLL_ADD, fd, static_cast<std::uint32_t>(events));
}

PyObject* no_operation(PyObject* self, PyObject*) {
  LoopCore* loop = LoopCore::from(self);
  return make_operation<Plain>(loop, loop, IORING_OP_NOP, -1);
}

}  // namespace horus::python
