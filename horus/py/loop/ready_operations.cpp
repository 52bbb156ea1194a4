// SPDX-License-Identifier: Apache-2.0
// Sockets and pipes of Horus' event loop. An operation waits until its descriptor is ready, and moves the bytes when its
// task is back: one that is cancelled has taken nothing, so the bytes are there for whoever reads next, by any call.
#include <algorithm>
#include <cerrno>

#include <sys/socket.h>
#include <unistd.h>

#include <horus/py/loop/buffers.hpp>
#include <horus/py/loop/raw_type.hpp>

namespace horus::python {
namespace {

class DescriptorWait : public Awaited, public ReadyWait {
 public:
  // `file`: the socket object, or null for a descriptor that is nobody's object.
  DescriptorWait(LoopCore* owner, PyObject* file, int descriptor, Watches::Side side) noexcept
      : loop(owner), file_(Py_XNewRef(file)), fd_(descriptor), side_(side) {
    in_kernel_ = false;
    ready = [](ReadyWait& waiting) noexcept { static_cast<DescriptorWait&>(waiting).is_ready(); };
  }
  ~DescriptorWait() override {
    ReadyWait::unlink();
    Py_XDECREF(file_);
  }
  bool start() override {
    if (tries_first() && attempt()) return true;
    return !wait();
  }
  bool resume() override {
    if (over_ || asked_to_stop) return true;
    if (!is_still_open()) {
      result = -EBADF;
      return true;
    }
    return attempt() || !wait();
  }
  void cancel() noexcept override {
    asked_to_stop = true;
    if (!ReadyWait::linked()) return;
    ReadyWait::unlink();
    finish();
  }
  bool let_go() noexcept override {
    asked_to_stop = true;
    if (!ReadyWait::linked()) return false;  // it is about to be told
    ReadyWait::unlink();
    return true;
  }
  void discard() noexcept override { asked_to_stop = true; }

 protected:
  // One try that does not wait: true when it is over, with `result`.
  virtual bool attempt() noexcept = 0;
  [[nodiscard]] virtual bool tries_first() const noexcept { return true; }
  // On the loop's thread, from look().
  virtual void is_ready() noexcept {
    ReadyWait::unlink();
    finish();
  }
  // False when the socket was closed while this waited; its number may be another's.
  [[nodiscard]] bool is_still_open() const noexcept {
    if (file_ == nullptr) return true;
    const int fd = PyObject_AsFileDescriptor(file_);
    if (fd < 0) PyErr_Clear();
    return fd == fd_;
  }
  // What a system call gave; false when it has to be tried again later.
  bool ended(ssize_t count) noexcept {
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    result = count < 0 ? -errno : count;
    over_ = true;
    return true;
  }
  bool wait() noexcept {
    const int refused = loop->state->watches.wait(fd_, side_, *this, file_);
    if (refused == 0) return true;
    result = refused;
    over_ = true;
    return false;
  }
  PyObject* fail() const {
    if (asked_to_stop && result >= 0) {
      PyErr_SetNone(cancelled_error());
      return nullptr;
    }
    errno = static_cast<int>(-result);
    return PyErr_SetFromErrno(PyExc_OSError);
  }
  [[nodiscard]] bool failed() const noexcept { return asked_to_stop || result < 0; }

  LoopCore* const loop;
  PyObject* const file_;
  const int fd_;
  const Watches::Side side_;
  std::int64_t result = 0;
  bool asked_to_stop = false;
  bool over_ = false;
};

template <class Call>
ssize_t again_when_interrupted(Call&& call) noexcept {
  ssize_t count = 0;
  do {
    count = call();
  } while (count < 0 && errno == EINTR);
  return count;
}

// Whether a receive tries before it waits: where nobody asked yet whether there is something, and where the last one
// filled its buffer, but not so often that a fast sender keeps the loop from everything else.
class Receiving : public DescriptorWait {
 public:
  using DescriptorWait::DescriptorWait;

 protected:
  [[nodiscard]] bool tries_first() const noexcept override {
    return loop->state->watches.may_have_more(fd_, side_, file_);
  }
  bool receive(char* data, std::size_t size) noexcept {
    const ssize_t count =
        again_when_interrupted([&] { return ::recv(fd_, data, clamp(size), MSG_DONTWAIT); });
    loop->state->watches.took(fd_, side_, count > 0 && static_cast<std::size_t>(count) == size);
    return ended(count);
  }
};

class Receive final : public Receiving {
 public:
  Receive(LoopCore* owner, PyObject* socket, int descriptor, Py_ssize_t size) noexcept
      : Receiving(owner, socket, descriptor, Watches::kReader), size_(size) {}
  PyObject* take() override {
    if (no_memory_) return PyErr_NoMemory();
    return failed() ? fail() : bytes_.give(result);
  }

 protected:
  [[nodiscard]] bool tries_first() const noexcept override { return size_ == 0 || Receiving::tries_first(); }
  // The memory exists while bytes are moved, not while nothing comes.
  bool attempt() noexcept override {
    if (!bytes_.has_memory() && !bytes_.make(size_)) {
      PyErr_Clear();
      return no_memory_ = over_ = true;
    }
    const bool over = receive(bytes_.data(), static_cast<std::size_t>(size_));
    if (!over) bytes_.free();
    return over;
  }

 private:
  OwnBytes bytes_;
  Py_ssize_t size_;
  bool no_memory_ = false;
};

class ReceiveInto final : public Receiving {
 public:
  ReceiveInto(LoopCore* owner, PyObject* socket, int descriptor) noexcept
      : Receiving(owner, socket, descriptor, Watches::kReader) {}
  PyObject* take() override { return failed() ? fail() : PyLong_FromLongLong(result); }
  HeldBuffer buffer;

 protected:
  bool attempt() noexcept override { return receive(buffer.data(), buffer.size()); }
};

// Everything, or an error.
class SendAll final : public DescriptorWait {
 public:
  SendAll(LoopCore* owner, PyObject* socket, int descriptor) noexcept
      : DescriptorWait(owner, socket, descriptor, Watches::kWriter) {}
  PyObject* take() override {
    if (failed()) return fail();
    Py_RETURN_NONE;
  }
  HeldBuffer buffer;

 protected:
  bool attempt() noexcept override {
    while (sent_ < buffer.size()) {
      const ssize_t sent = again_when_interrupted([&] {
        return ::send(fd_, buffer.data() + sent_, clamp(buffer.size() - sent_), MSG_DONTWAIT | MSG_NOSIGNAL);
      });
      if (sent < 0) return ended(sent);
      sent_ += static_cast<std::size_t>(sent);
    }
    return ended(0);
  }
  // Goes on without its task, which has nothing to do before the end.
  void is_ready() noexcept override {
    if (is_still_open()) {
      if (!attempt()) return;
    } else {
      result = -EBADF;
      over_ = true;
    }
    DescriptorWait::is_ready();
  }

 private:
  std::size_t sent_ = 0;
};

// A pipe or a terminal that does not block: bytes, or a count.
class StreamRead final : public DescriptorWait {
 public:
  StreamRead(LoopCore* owner, int descriptor, Py_ssize_t size) noexcept
      : DescriptorWait(owner, nullptr, descriptor, Watches::kReader), size_(size) {}
  PyObject* take() override {
    if (no_memory_) return PyErr_NoMemory();
    return failed() ? fail() : bytes_.give(result);
  }

 protected:
  [[nodiscard]] bool tries_first() const noexcept override { return false; }
  bool attempt() noexcept override {
    if (!bytes_.has_memory() && !bytes_.make(size_)) {
      PyErr_Clear();
      return no_memory_ = over_ = true;
    }
    return ended(again_when_interrupted(
        [&] { return ::read(fd_, bytes_.data(), clamp(static_cast<std::size_t>(size_))); }));
  }

 private:
  OwnBytes bytes_;
  Py_ssize_t size_;
  bool no_memory_ = false;
};

class StreamBuffer final : public DescriptorWait {
 public:
  StreamBuffer(LoopCore* owner, int descriptor, Watches::Side side) noexcept
      : DescriptorWait(owner, nullptr, descriptor, side) {}
  PyObject* take() override { return failed() ? fail() : PyLong_FromLongLong(result); }
  HeldBuffer buffer;

 protected:
  [[nodiscard]] bool tries_first() const noexcept override { return false; }
  bool attempt() noexcept override {
    return ended(again_when_interrupted([&] {
      return side_ == Watches::kReader ? ::read(fd_, buffer.data(), clamp(buffer.size()))
                                       : ::write(fd_, buffer.data(), clamp(buffer.size()));
    }));
  }
};

// Until a descriptor is ready; moves nothing.
class Readiness final : public DescriptorWait {
 public:
  Readiness(LoopCore* owner, int descriptor, Watches::Side side) noexcept
      : DescriptorWait(owner, nullptr, descriptor, side) {}
  PyObject* take() override {
    if (failed()) return fail();
    Py_RETURN_NONE;
  }

 protected:
  [[nodiscard]] bool tries_first() const noexcept override { return false; }
  bool attempt() noexcept override { return ended(0); }
};

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

PyObject* stream_buffer(PyObject* self, PyObject* const* arguments, Py_ssize_t count, const char* name,
                        Watches::Side side, int access) {
  Py_ssize_t fd = 0;
  if (!expect(name, count, 2) || !to_size(arguments[0], "fd", 0, fd)) return nullptr;
  LoopCore* loop = LoopCore::from(self);
  PyObject* operation = make_operation<StreamBuffer>(loop, loop, static_cast<int>(fd), side);
  if (operation == nullptr) return nullptr;
  return with_buffer(operation, wait_of<StreamBuffer>(operation).buffer, arguments[1], access);
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
  PyObject* operation = make_operation<SendAll>(loop, loop, arguments[0], fd);
  if (operation == nullptr) return nullptr;
  return with_buffer(operation, wait_of<SendAll>(operation).buffer, arguments[1], PyBUF_SIMPLE);
}

// (descriptor, size) → bytes
PyObject* stream_read(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  Py_ssize_t fd = 0, size = 0;
  if (!expect("_read_stream", count, 2) || !to_size(arguments[0], "fd", 0, fd) ||
      !to_size(arguments[1], "size", 0, size))
    return nullptr;
  LoopCore* loop = LoopCore::from(self);
  return make_operation<StreamRead>(loop, loop, static_cast<int>(fd), size);
}

// (descriptor, buffer) → count
PyObject* stream_read_into(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  return stream_buffer(self, arguments, count, "_read_stream_into", Watches::kReader, PyBUF_WRITABLE);
}
PyObject* stream_write(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  return stream_buffer(self, arguments, count, "_write_stream", Watches::kWriter, PyBUF_SIMPLE);
}

// (descriptor, to write?)
PyObject* wait_ready(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  Py_ssize_t fd = 0;
  if (!expect("_wait_ready", count, 2) || !to_size(arguments[0], "fd", 0, fd)) return nullptr;
  const int to_write = PyObject_IsTrue(arguments[1]);
  if (to_write < 0) return nullptr;
  LoopCore* loop = LoopCore::from(self);
  return make_operation<Readiness>(loop, loop, static_cast<int>(fd),
                                   to_write != 0 ? Watches::kWriter : Watches::kReader);
}

}  // namespace horus::python
