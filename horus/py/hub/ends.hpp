// SPDX-License-Identifier: Apache-2.0
// A subscriber and a publisher as Python's classes hold them. Calls come from any thread that holds the interpreter; the ends
// themselves live on the hubs' thread. Internal.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <horus/msg/link/latest.hpp>
#include <horus/py/hub/format.hpp>
#include <horus/py/hub/hub_ports.hpp>
#include <horus/py/hub/options.hpp>
#include <horus/py/hub/pack.hpp>
#include <horus/py/loop/slot.hpp>

namespace horus::python {

inline constexpr std::int64_t kForever = INT64_MAX;
inline constexpr double kLongest_s = 1e9;

[[noreturn]] inline void throw_closed(const std::string& topic) {
  throw std::runtime_error(topic + " is closed");
}

inline std::int64_t deadline(std::optional<double> seconds) {
  if (!seconds || *seconds >= kLongest_s) return kForever;
  return now_ns() + std::llround(*seconds * 1e9);
}

// What Python lets go ends on the hubs' thread. In a forked child, which has none, it is left alone.
template <class Part, class Last>
void dispose(std::shared_ptr<Part>& part, Last last) noexcept {
  if (part == nullptr) return;
  if (!HubThread::ours()) {
    static_cast<void>(new std::shared_ptr<Part>(std::move(part)));
    return;
  }
  try {
    HubThread::get().hand_over(
        [gone = std::move(part), last]() mutable { last(*std::exchange(gone, nullptr)); });
  } catch (const std::exception&) {
    // The thread has ended, and has closed it.
  }
}

template <class Part>
void close_and_wait(const std::shared_ptr<Part>& part) {
  HubThread::check_fork();
  try {
    HubThread::get().call([part] { part->close_here(); });
  } catch (const std::runtime_error&) {
    // The same.
  }
}

// --- Receiving

// A message that Python looks at where it came.
class HeldMessage final : public SlotOwner {
 public:
  explicit HeldMessage(std::shared_ptr<InPort> port) : port_(std::move(port)) {}
  ~HeldMessage() override {
    if (HubThread::ours() && arrival_.inlet != nullptr) port_->give_back(arrival_);
  }
  InPort::Outcome hold() { return port_->hold(arrival_, size_, storage_); }
  [[nodiscard]] std::byte* data() const noexcept { return const_cast<std::byte*>(arrival_.data); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  const std::shared_ptr<InPort> port_;
  msg::Arrival arrival_;
  std::size_t size_ = 0;
  msg::MessageStorage storage_;
};

class In {
 public:
  In(std::shared_ptr<InPort> port, Format format, std::string topic)
      : port_(std::move(port)), format_(format), topic_(std::move(topic)) {}
  In(const In&) = delete;
  In& operator=(const In&) = delete;
  ~In() {
    dispose(port_, [](InPort& port) { port.close_here(); });
  }

  /// The next message, or `nothing`.
  py::object take(const py::object& nothing) {
    msg::Inbox::Taken taken;
    return take(nothing, taken);
  }
  /// The newest message, the same object again and again, or `nothing`.
  py::object latest(const py::object& nothing) {
    const std::int64_t asked_ns = now_ns();
    // A publisher that is faster than this thread keeps nobody here.
    for (std::uint32_t most = SubscribeOptions::kMaxDepth; most > 0; --most) {
      msg::Inbox::Taken taken;
      py::object message = take(nothing, taken);
      if (message.is(nothing)) break;
      latest_.keep(std::move(message), taken, *port_);
      if (taken.published_ns > asked_ns) break;
    }
    const py::object* newest = latest_.newest(*port_);
    return newest != nullptr ? *newest : nothing;
  }

  /// The next message as a view, an object of `type`, or `nothing`.
  py::object take_view(const py::type& type, const py::object& nothing) {
    HubThread::check_fork();
    auto held = std::make_unique<HeldMessage>(port_);
    switch (held->hold()) {
      case InPort::Outcome::nothing: return nothing;
      case InPort::Outcome::closed: throw_closed(topic_);
      case InPort::Outcome::too_many_held: throw_too_many_held();
      case InPort::Outcome::taken: break;
    }
    // Nobody writes through a view.
    std::byte* data = held->data();
    const std::size_t size = held->size();
    PyObject* view =
        Slot::make(reinterpret_cast<PyTypeObject*>(type.ptr()), std::move(held), data, size, false);
    if (view == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(view);
  }

  py::object recv(std::optional<double> seconds) {
    return wait_for_one(seconds, [this](const py::object& nothing) { return take(nothing); });
  }
  py::object recv_view(const py::type& type, std::optional<double> seconds) {
    return wait_for_one(seconds, [&](const py::object& nothing) { return take_view(type, nothing); });
  }

  [[nodiscard]] bool listen() { return port_->listen(); }
  void add_waiter(const std::shared_ptr<Wakeup>& wakeup) { port_->bell().add(wakeup); }
  void remove_waiter(const std::shared_ptr<Wakeup>& wakeup) { port_->bell().remove(*wakeup); }
  InPort& port() {
    HubThread::check_fork();
    return *port_;
  }
  void close() { close_and_wait(port_); }

 private:
  py::object take(const py::object& nothing, msg::Inbox::Taken& taken) {
    HubThread::check_fork();
    while (true) {
      py::bytes bytes;
      switch (port_->take(bytes, taken)) {
        case InPort::Outcome::nothing: return nothing;
        case InPort::Outcome::closed: throw_closed(topic_);
        case InPort::Outcome::too_many_held: throw_too_many_held();
        case InPort::Outcome::taken: break;
      }
      if (py::object message = decode(bytes)) return message;
    }
  }

  [[noreturn]] void throw_too_many_held() const {
    throw std::runtime_error(topic_ +
                             ": too many messages are held as views; release() them, or copy what you keep");
  }

  template <class Take>
  py::object wait_for_one(std::optional<double> seconds, Take take) {
    const py::object nothing;
    if (py::object message = take(nothing)) return message;
    const std::int64_t until = deadline(seconds);
    const std::shared_ptr<Wakeup> wakeup = Wakeup::of_this_thread();
    const Listening listening(*this, wakeup);
    while (true) {
      if (HubThread::ended() && port_->closed()) {
        PyErr_SetNone(PyExc_SystemExit);  // of a daemon thread, which says nothing about it
        throw py::error_already_set();
      }
      if (py::object message = take(nothing)) return message;
      if (port_->listen()) continue;
      if (wakeup->wait(until)) continue;
      PyErr_Format(PyExc_TimeoutError, "no message on %s within %R seconds", topic_.c_str(),
                   py::cast(seconds).ptr());
      throw py::error_already_set();
    }
  }

  struct Listening {
    Listening(In& in, const std::shared_ptr<Wakeup>& wakeup) : in_(in), wakeup_(wakeup) {
      in_.add_waiter(wakeup_);
    }
    Listening(const Listening&) = delete;
    Listening& operator=(const Listening&) = delete;
    ~Listening() { in_.remove_waiter(wakeup_); }
    In& in_;
    const std::shared_ptr<Wakeup>& wakeup_;
  };

  // Empty for what is no message; it is counted then.
  py::object decode(py::bytes& bytes) {
    const std::string_view view(PyBytes_AS_STRING(bytes.ptr()),
                                static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.ptr())));
    std::string problem;
    switch (format_.codec) {
      case Codec::bytes:
      case Codec::raw: return std::move(bytes);
      case Codec::data: {
        py::object message = unpack(view, problem);
        if (message) return message;
        break;
      }
      case Codec::text: {
        PyObject* text = PyUnicode_DecodeUTF8(view.data(), static_cast<Py_ssize_t>(view.size()), nullptr);
        if (text != nullptr) return py::reinterpret_steal<py::object>(text);
        if (PyErr_ExceptionMatches(PyExc_UnicodeDecodeError) == 0) throw py::error_already_set();
        PyErr_Clear();
        problem = "it is no UTF-8";
        break;
      }
    }
    if (port_->count_malformed()) {
      py::module_::import("logging")
          .attr("getLogger")("horus.hub")
          .attr("warning")("topic %s: a message was dropped (%s)", topic_, problem);
    }
    return {};
  }

  std::shared_ptr<InPort> port_;
  const Format format_;
  const std::string topic_;
  msg::Latest<py::object> latest_;
};

// --- Sending

// A message that waits until every subscriber has room. With the GIL; it is abandoned when nobody has it.
class PatientMessage {
 public:
  PatientMessage(std::shared_ptr<OutPort> port, std::string message, std::optional<double> seconds,
                 std::shared_ptr<Wakeup> wakeup, std::string topic)
      : port_(std::move(port)), topic_(std::move(topic)), seconds_(seconds) {
    patient_->message = std::move(message);
    patient_->until_ns = deadline(seconds);
    patient_->wakeup = std::move(wakeup);
    port_->send_patiently(patient_);
  }
  PatientMessage(const PatientMessage&) = delete;
  PatientMessage& operator=(const PatientMessage&) = delete;
  ~PatientMessage() {
    if (!waits() || !HubThread::ours()) return;
    try {
      port_->abandon(patient_);
    } catch (const std::exception&) {
      // The thread has ended: nothing is sent any more.
    }
  }

  [[nodiscard]] bool waits() const noexcept {
    return patient_->state.load() == OutPort::Patient::State::waiting;
  }
  /// It waits no more: throws what became of it.
  void finish() const {
    using State = OutPort::Patient::State;
    if (patient_->state.load() == State::sent) return;
    if (patient_->state.load() == State::closed) throw_closed(topic_);
    PyErr_Format(PyExc_TimeoutError, "no room on %s within %R seconds: nothing was sent", topic_.c_str(),
                 py::cast(seconds_).ptr());
    throw py::error_already_set();
  }

 private:
  const std::shared_ptr<OutPort> port_;
  const std::string topic_;
  const std::optional<double> seconds_;
  const std::shared_ptr<OutPort::Patient> patient_ = std::make_shared<OutPort::Patient>();
};

// Memory that Python writes a message into.
class LentMemory final : public SlotOwner {
 public:
  LentMemory(std::shared_ptr<OutPort> port, const OutPort::Lent& lent) : port(std::move(port)), lent_(lent) {}
  ~LentMemory() override {
    if (sent || !HubThread::ours()) return;
    try {
      HubThread::get().hand_over([lent = lent_] { lent.outbox->give_back(lent.slot); });
    } catch (const std::exception&) {
      // The thread has ended, and its publishers with it.
    }
  }
  [[nodiscard]] std::uint32_t slot() const noexcept { return lent_.slot; }

  const std::shared_ptr<OutPort> port;
  bool sent = false;

 private:
  const OutPort::Lent lent_;
};

class Out {
 public:
  Out(std::shared_ptr<OutPort> port, Format format, std::string topic)
      : port_(std::move(port)), format_(format), topic_(std::move(topic)) {}
  Out(const Out&) = delete;
  Out& operator=(const Out&) = delete;
  ~Out() {
    dispose(port_, [](OutPort& port) { port.close_here(); });
  }

  bool send(const py::object& message) { return hand_over(encode(message)); }
  bool send_raw(const py::buffer& head, const py::buffer& tail) { return hand_over(encode_raw(head, tail)); }
  void send_wait(const py::object& message, std::optional<double> seconds) { wait(encode(message), seconds); }
  void send_raw_wait(const py::buffer& head, const py::buffer& tail, std::optional<double> seconds) {
    wait(encode_raw(head, tail), seconds);
  }
  /// The same for who waits by itself, for `wakeup`.
  std::unique_ptr<PatientMessage> begin_wait(const py::object& message, std::optional<double> seconds,
                                             std::shared_ptr<Wakeup> wakeup) {
    return begin(encode(message), seconds, std::move(wakeup));
  }
  std::unique_ptr<PatientMessage> begin_raw_wait(const py::buffer& head, const py::buffer& tail,
                                                 std::optional<double> seconds,
                                                 std::shared_ptr<Wakeup> wakeup) {
    return begin(encode_raw(head, tail), seconds, std::move(wakeup));
  }

  /// Memory for a head and `elements` of a tail, an object of `type`.
  py::object loan(const py::type& type, std::size_t elements) {
    HubThread::check_fork();
    const Layout& layout = *format_.layout;
    if (layout.element_bytes == 0 && elements > 0) throw py::type_error(layout.name + " has no tail");
    if (layout.element_bytes > 0 && elements > port_->max_tail_bytes() / layout.element_bytes)
      check_size(std::min(elements, SIZE_MAX / 2 / layout.element_bytes) * layout.element_bytes);
    const std::size_t size =
        layout.element_bytes == 0 ? layout.head_bytes : layout.tail_offset + elements * layout.element_bytes;
    const OutPort::Lent lent = HubThread::get().call([port = port_, size] { return port->lend(size); });
    if (lent.outbox == nullptr) throw_closed(topic_);
    if (lent.slot == msg::SlotPool::kNone) {
      if (lent.refused && lent.refused->code() != ENOBUFS) throw Error(*lent.refused);
      throw std::runtime_error(
          fmt::format("{}: {} loans are out; publish() or release() them", topic_, kMaxLoans));
    }
    PyObject* made = Slot::make(reinterpret_cast<PyTypeObject*>(type.ptr()),
                                std::make_unique<LentMemory>(port_, lent), lent.data, size, true);
    if (made == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(made);
  }
  /// Its tail has `elements` from now on, at most as many as before.
  void shrink(const py::object& loan, std::size_t elements) {
    Slot& slot = ours(loan, "shrink()");
    const Layout& layout = *format_.layout;
    const std::size_t size = layout.tail_offset + elements * layout.element_bytes;
    if (layout.element_bytes == 0 || elements > slot.size / layout.element_bytes || size > slot.size)
      throw py::value_error(fmt::format("{}: a loan's tail can only become shorter", topic_));
    slot.size = size;
  }
  bool publish(const py::object& loan) {
    Slot& slot = ours(loan, "publish()");
    if (port_->closed()) throw_closed(topic_);
    const Layout& layout = *format_.layout;
    auto& lent = static_cast<LentMemory&>(*slot.owner);
    const std::size_t tail_bytes = layout.element_bytes == 0 ? 0 : slot.size - layout.tail_offset;
    lent.sent = port_->send(lent.slot(), static_cast<std::uint32_t>(tail_bytes));
    const bool sent = lent.sent;
    delete std::exchange(slot.owner, nullptr);
    return sent;
  }

  OutPort& port() {
    HubThread::check_fork();
    return *port_;
  }
  void close() { close_and_wait(port_); }

 private:
  Slot& ours(const py::object& loan, const char* what) const {
    HubThread::check_fork();
    Slot* slot = Slot::unused(loan.ptr(), what);
    if (slot == nullptr) throw py::error_already_set();
    const auto* lent = dynamic_cast<const LentMemory*>(slot->owner);
    if (lent == nullptr || lent->port != port_)
      throw py::value_error(fmt::format("{}: {} takes a loan of this publisher", topic_, what));
    return *slot;
  }

  bool hand_over(std::string message) {
    HubThread::check_fork();
    if (port_->closed()) throw_closed(topic_);
    return port_->send(std::move(message));
  }

  std::unique_ptr<PatientMessage> begin(std::string message, std::optional<double> seconds,
                                        std::shared_ptr<Wakeup> wakeup) {
    HubThread::check_fork();
    if (port_->closed()) throw_closed(topic_);
    return std::make_unique<PatientMessage>(port_, std::move(message), seconds, std::move(wakeup), topic_);
  }

  void wait(std::string message, std::optional<double> seconds) {
    const std::shared_ptr<Wakeup> wakeup = Wakeup::of_this_thread();
    const auto patient = begin(std::move(message), seconds, wakeup);
    while (patient->waits()) wakeup->wait(kForever);
    patient->finish();
  }

  void check_size(std::size_t tail_bytes) const {
    if (tail_bytes <= port_->max_tail_bytes()) return;
    throw py::value_error(
        fmt::format("{}: a message of {} bytes; at most {}: give the topic a larger max_bytes", topic_,
                    port_->head_bytes() + tail_bytes, port_->head_bytes() + port_->max_tail_bytes()));
  }

  std::string encode(const py::object& message) const {
    std::string bytes;
    switch (format_.codec) {
      case Codec::data: pack(message, port_->max_tail_bytes(), bytes); break;
      case Codec::text: {
        if (!py::isinstance<py::str>(message)) wrong_type(message, "str");
        Py_ssize_t size = 0;
        const char* text = PyUnicode_AsUTF8AndSize(message.ptr(), &size);
        if (text == nullptr) throw py::error_already_set();
        check_size(static_cast<std::size_t>(size));
        bytes.assign(text, static_cast<std::size_t>(size));
        break;
      }
      case Codec::bytes:
        if (PyObject_CheckBuffer(message.ptr()) == 0) wrong_type(message, "bytes");
        append(message, bytes);
        check_size(bytes.size());
        break;
      case Codec::raw: wrong_type(message, format_.layout->name.c_str());
    }
    return bytes;
  }

  std::string encode_raw(const py::buffer& head, const py::buffer& tail) const {
    std::string bytes;
    append(head, bytes);
    if (bytes.size() != port_->head_bytes())
      throw py::type_error(fmt::format("{}: {} has {} bytes, not {}", topic_, format_.layout->name,
                                       port_->head_bytes(), bytes.size()));
    append(tail, bytes);
    const std::size_t tail_bytes = bytes.size() - port_->head_bytes();
    const std::uint32_t element = format_.layout->element_bytes;
    if (element == 0 ? tail_bytes != 0 : tail_bytes % element != 0)
      throw py::value_error(fmt::format("{}: a tail of {} bytes is no number of elements of {}", topic_,
                                        tail_bytes, format_.layout->describe()));
    check_size(tail_bytes);
    return bytes;
  }

  [[noreturn]] void wrong_type(const py::object& message, const char* wanted) const {
    throw py::type_error(fmt::format("{} takes {}, not {}", topic_, wanted, Py_TYPE(message.ptr())->tp_name));
  }

  static void append(const py::object& from, std::string& bytes) {
    Py_buffer view;
    if (PyObject_GetBuffer(from.ptr(), &view, PyBUF_SIMPLE) != 0) throw py::error_already_set();
    bytes.append(static_cast<const char*>(view.buf), static_cast<std::size_t>(view.len));
    PyBuffer_Release(&view);
  }

  std::shared_ptr<OutPort> port_;
  const Format format_;
  const std::string topic_;
};

}  // namespace horus::python
