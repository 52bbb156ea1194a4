// SPDX-License-Identifier: Apache-2.0
// Hubs, publishers and subscribers for Python. The classes of the package wrap these and check their arguments.
#include <horus/msg/hub.hpp>

#include <cmath>
#include <ctime>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include <fmt/format.h>

#include <horus/msg/link/latest.hpp>
#include <horus/msg/tcp/tcp_limits.hpp>
#include <horus/py/hub/hub_ports.hpp>
#include <horus/py/hub/pack.hpp>
#include <horus/py/loop/slot.hpp>

#include <pybind11/stl.h>

namespace horus::python {
namespace {

/// What a topic's messages are in Python.
enum class Codec : std::uint8_t { data, bytes, text, raw };

constexpr std::int64_t kForever = INT64_MAX;
constexpr double kLongest_s = 1e9;
constexpr std::uint32_t kMaxLoans = 8;

// --- Layouts ----------------------------------------------------------------------------------------------------------

// Kept for good: ports point to them. As many as a program has types.
const Layout& intern(Layout layout) {
  static std::mutex mutex;
  static auto* all = new std::map<std::uint64_t, Layout>();
  layout.settle();
  const std::lock_guard lock(mutex);
  return all->try_emplace(layout.hash, std::move(layout)).first->second;
}

const Layout& layout_of_data() {
  static const Layout& layout = []() -> const Layout& {
    Layout made;
    made.name = "data (MessagePack)";
    made.element_bytes = 1;
    return intern(std::move(made));
  }();
  return layout;
}

/// How a topic travels.
struct Format {
  const Layout* layout;
  Codec codec;
};

Format make_format(const std::string& name, const std::string& fields, std::uint32_t head_bytes,
                   std::uint32_t alignment, std::uint32_t element_bytes, std::uint32_t element_alignment) {
  Layout layout;
  layout.name = name;
  layout.fields = fields;
  layout.head_bytes = head_bytes;
  layout.alignment = std::max(alignment, element_alignment);
  layout.element_bytes = element_bytes;
  layout.tail_offset = (head_bytes + element_alignment - 1) / element_alignment * element_alignment;
  if (layout.alignment > 64) throw py::type_error(name + " is aligned to more than 64 bytes");
  return {&intern(std::move(layout)), Codec::raw};
}

// --- Ports ------------------------------------------------------------------------------------------------------------

[[noreturn]] void throw_closed(const std::string& topic) { throw std::runtime_error(topic + " is closed"); }

std::int64_t deadline(std::optional<double> seconds) {
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

// --- Hubs -------------------------------------------------------------------------------------------------------------

/// A hub, and what Python has made through it. It ends on the hubs' thread when nobody has it or a port of it.
class HubHome final : public HubPart {
 public:
  explicit HubHome(Hub hub) : hub_(std::move(hub)), name_(hub_->name()) {}
  ~HubHome() override { close_here(); }

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const std::shared_ptr<HubCounters>& counters() const noexcept { return counters_; }
  [[nodiscard]] std::optional<Hub> hub() const {
    const std::lock_guard lock(mutex_);
    return hub_;
  }
  [[nodiscard]] HubMetrics metrics() const {
    const std::lock_guard lock(mutex_);
    return hub_ ? with_counters(*hub_) : last_;
  }

  // --- The hubs' thread
  void add(const std::shared_ptr<HubPart>& port) {
    if (ports_.size() == ports_.capacity())
      std::erase_if(ports_, [](const auto& other) { return other.expired(); });
    ports_.push_back(port);
  }
  void close_here() noexcept override {
    for (const auto& weak : std::exchange(ports_, {})) {
      if (const auto port = weak.lock()) port->close_here();
    }
    std::optional<Hub> gone = hub();
    if (!gone) return;
    const HubMetrics last = with_counters(*gone);
    HubThread::get_running().linger_for(gone->core()->transports());
    const std::lock_guard lock(mutex_);
    last_ = last;
    hub_.reset();
  }

 private:
  // What is between Python and its publisher counts as sent; and it is never counted twice.
  [[nodiscard]] HubMetrics with_counters(const Hub& hub) const {
    constexpr int kTries = 2000;
    constexpr timespec kMoment{0, 50'000};  // the other thread may have lost its processor
    HubMetrics metrics;
    for (int tries = 0; tries < kTries; ++tries) {
      if (tries > 0) ::nanosleep(&kMoment, nullptr);
      const std::uint64_t round = counters_->round.load(std::memory_order_acquire);
      metrics = hub.metrics();
      metrics.messages_sent += counters_->waiting.load(std::memory_order_relaxed);
      metrics.bytes_sent += counters_->waiting_bytes.load(std::memory_order_relaxed);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (round % 2 == 0 && counters_->round.load(std::memory_order_relaxed) == round) break;
    }
    metrics.send_failures += counters_->refused.load(std::memory_order_relaxed);
    metrics.recv_failures += counters_->malformed.load(std::memory_order_relaxed);
    return metrics;
  }

  mutable std::mutex mutex_;
  std::optional<Hub> hub_;
  HubMetrics last_;  // when it was closed
  const std::string name_;
  const std::shared_ptr<HubCounters> counters_ = std::make_shared<HubCounters>();
  std::vector<std::weak_ptr<HubPart>> ports_;
};

class CoreHub {
 public:
  /// `make` makes the hub on the hubs' thread.
  template <class Make>
  explicit CoreHub(Make make)
      : home_(HubThread::get().call([make] {
          auto home = std::make_shared<HubHome>(make());
          HubThread::get_running().keep(home);
          return home;
        })) {}
  CoreHub(const CoreHub&) = delete;
  CoreHub& operator=(const CoreHub&) = delete;
  ~CoreHub() {
    dispose(home_, [](HubHome&) {});
  }

  std::unique_ptr<Out> advertise(const std::string& topic, const Format& format,
                                 const AdvertiseOptions& send) {
    auto port = HubThread::get().call([home = home_, info = info(topic, format, {}, send)] {
      auto made = OutPort::open(hub_of(*home), info, home, home->counters());
      home->add(made);
      return made;
    });
    return std::make_unique<Out>(std::move(port), format, "topic " + topic);
  }

  std::unique_ptr<In> subscribe(const std::string& topic, const Format& format,
                                const SubscribeOptions& receive) {
    auto port = HubThread::get().call([home = home_, info = info(topic, format, receive, {})] {
      auto made = InPort::open(hub_of(*home), info, home, home->counters());
      home->add(made);
      return made;
    });
    return std::make_unique<In>(std::move(port), format, "topic " + topic);
  }

  py::tuple create_link(const std::string& name, const std::string& peer, const Format& format,
                        const SubscribeOptions& receive, const AdvertiseOptions& send) {
    msg::PortInfo both = info(name, format, receive, send);
    both.link = true;
    both.peer = peer;
    both.pair = msg::new_pair();
    auto [in, out] = HubThread::get().call([home = home_, both] {
      auto incoming = InPort::open(hub_of(*home), both, home, home->counters());
      home->add(incoming);
      std::shared_ptr<OutPort> outgoing;
      try {
        outgoing = OutPort::open(hub_of(*home), both, home, home->counters());
      } catch (...) {
        incoming->close_here();
        throw;
      }
      home->add(outgoing);
      return std::pair(std::move(incoming), std::move(outgoing));
    });
    const std::string words = "link " + name;
    return py::make_tuple(std::make_unique<Out>(std::move(out), format, words),
                          std::make_unique<In>(std::move(in), format, words));
  }

  HubHome& home() {
    HubThread::check_fork();
    return *home_;
  }
  void close() { close_and_wait(home_); }

  static Hub hub_of(const HubHome& home) {
    auto hub = home.hub();
    if (!hub) throw std::runtime_error("hub " + home.name() + " is closed");
    return *hub;
  }

 private:
  static msg::PortInfo info(const std::string& topic, const Format& format, const SubscribeOptions& receive,
                            const AdvertiseOptions& send) {
    msg::PortInfo info;
    info.topic = topic;
    info.layout = format.layout;
    info.subscribe = receive;
    info.advertise = send;
    return info;
  }

  std::shared_ptr<HubHome> home_;
};

// --- Options ----------------------------------------------------------------------------------------------------------

template <class T>
T number(const std::string& name, const py::handle& value) {
  if (PyBool_Check(value.ptr()) != 0 || PyLong_Check(value.ptr()) == 0)
    throw py::type_error(name + " is a whole number, not " + Py_TYPE(value.ptr())->tp_name);
  const unsigned long long whole = PyLong_AsUnsignedLongLong(value.ptr());
  if (PyErr_Occurred() != nullptr || whole > std::numeric_limits<T>::max()) {
    PyErr_Clear();
    throw py::value_error(name + " is " + py::cast<std::string>(py::repr(value)) + ", which is out of range");
  }
  return static_cast<T>(whole);
}

Duration in_milliseconds(const std::string& name, const py::handle& value) {
  if (PyBool_Check(value.ptr()) != 0 || PyNumber_Check(value.ptr()) == 0)
    throw py::type_error(name + " is a number of milliseconds, not " + Py_TYPE(value.ptr())->tp_name);
  const double ms = PyFloat_AsDouble(value.ptr());
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();
  if (!(ms >= 0 && ms <= 1e9)) throw py::value_error(name + " is out of range");
  return from_ms(ms);
}

/// Options by the names of docs/hub.toml; each is taken once.
class Options {
 public:
  explicit Options(const py::dict& options) : options_(options) {}
  template <class Take>
  void take(const std::string& name, Take take) {
    known_ += (known_.empty() ? "" : ", ") + name;
    if (!options_.contains(name.c_str())) return;
    taken_.insert(name);
    take(options_[name.c_str()]);
  }
  void finish() const {
    for (const auto& [key, value] : options_) {
      const auto name = py::cast<std::string>(py::str(key));
      if (!taken_.contains(name))
        throw py::type_error("a hub has no option '" + name + "'; there are: " + known_);
    }
  }

 private:
  const py::dict& options_;
  std::set<std::string> taken_;
  std::string known_;
};

TcpHubOptions tcp_options(const py::dict& given) {
  TcpHubOptions options;
  Options all(given);
  all.take("role", [&](const py::handle& value) {
    const auto word = py::cast<std::string>(py::str(value));
    if (word == "automatic") {
      options.role = TcpRole::automatic;
    } else if (word == "listen") {
      options.role = TcpRole::listen;
    } else if (word == "connect") {
      options.role = TcpRole::connect;
    } else {
      throw py::value_error("role is one of automatic, listen, connect, not '" + word + "'");
    }
  });
  all.take("peers", [&](const py::handle& value) {
    if (py::isinstance<py::str>(value)) throw py::type_error("peers is a list of addresses, not a str");
    for (const py::handle& address : py::iter(value)) {
      if (!py::isinstance<py::str>(address)) throw py::type_error("peers is a list of str");
      options.peers.push_back(py::cast<std::string>(address));
    }
  });
  all.take("insecure", [&](const py::handle& value) {
    if (!py::isinstance<py::bool_>(value)) throw py::type_error("insecure is True or False");
    options.insecure = py::cast<bool>(value);
  });
  msg::visit_limits(options, [&](const char* name, auto& limit, auto, auto) {
    using Limit = std::remove_reference_t<decltype(limit)>;
    if constexpr (std::is_same_v<Limit, Duration>) {
      const std::string in_ms = std::string(name) + "_ms";
      all.take(in_ms, [&](const py::handle& value) { limit = in_milliseconds(in_ms, value); });
    } else {
      all.take(name, [&](const py::handle& value) { limit = number<Limit>(name, value); });
    }
  });
  all.finish();
  return options;
}

ShmOptions shm_options(const py::dict& given) {
  ShmOptions options;
  Options all(given);
  all.take("directory", [&](const py::handle& value) {
    options.directory = py::cast<std::string>(py::module_::import("os").attr("fspath")(value));
  });
  all.take("max_peers",
           [&](const py::handle& value) { options.max_peers = number<std::uint16_t>("max_peers", value); });
  all.take("handshake_limit_ms", [&](const py::handle& value) {
    options.handshake_limit = in_milliseconds("handshake_limit_ms", value);
  });
  all.take("idle_limit_ms",
           [&](const py::handle& value) { options.idle_limit = in_milliseconds("idle_limit_ms", value); });
  all.finish();
  if (options.max_peers == 0) throw py::value_error("max_peers is 1 to 65535, not 0");
  return options;
}

SubscribeOptions receive_options(std::uint32_t depth, int overflow, std::optional<double> stale_after_s,
                                 bool keep_in_emergency) {
  auto options = SubscribeOptions().with_depth(depth).with_overflow(static_cast<Overflow>(overflow));
  if (stale_after_s) options.stale_after = Duration(std::llround(*stale_after_s * 1e9));
  options.keep_in_emergency = keep_in_emergency;
  return options;
}
AdvertiseOptions send_options(std::size_t max_bytes, std::uint32_t max_queued) {
  return AdvertiseOptions().with_max_bytes(max_bytes).with_max_queued(max_queued).with_max_loans(kMaxLoans);
}

// --- Answers ----------------------------------------------------------------------------------------------------------

py::dict metrics_dict(const HubMetrics& metrics) {
  py::dict dict;
  dict["messages_sent"] = metrics.messages_sent;
  dict["messages_received"] = metrics.messages_received;
  dict["bytes_sent"] = metrics.bytes_sent;
  dict["bytes_received"] = metrics.bytes_received;
  dict["send_failures"] = metrics.send_failures;
  dict["recv_failures"] = metrics.recv_failures;
  dict["dropped"] = metrics.dropped;
  dict["queued"] = metrics.queued;
  dict["publishers"] = metrics.publishers;
  dict["subscribers"] = metrics.subscribers;
  dict["latency"] = to_dict(metrics.latency);
  return dict;
}

py::dict state_dict(const ConnectionState& state) {
  py::dict dict;
  dict["connected"] = state.connected;
  py::list peers;
  for (const PeerState& peer : state.peers) {
    py::dict one;
    one["name"] = peer.name;
    one["address"] = peer.address;
    one["connected"] = peer.connected;
    one["problem"] = peer.problem;
    peers.append(one);
  }
  dict["peers"] = peers;
  return dict;
}

}  // namespace

Hub hub_behind(const py::handle& hub) { return CoreHub::hub_of(hub.cast<CoreHub&>().home()); }

void bind_hubs(py::module_& module) {
  module.def("end_hubs", &HubThread::end);
  module.def("pack", [](const py::object& message, std::size_t most) {
    std::string bytes;
    pack(message, most, bytes);
    return py::bytes(bytes);
  });
  module.def("unpack", [](const py::bytes& bytes) {
    std::string problem;
    py::object message = unpack(static_cast<std::string_view>(bytes), problem);
    if (!message) throw py::value_error("not a message: " + problem);
    return message;
  });

  py::class_<Format>(module, "Format")
      .def(py::init(&make_format))
      .def_static("data", [] { return Format{&layout_of_data(), Codec::data}; })
      .def_static("bytes",
                  [] { return Format{&horus::layout_of<std::vector<std::uint8_t>>(), Codec::bytes}; })
      .def_static("text", [] { return Format{&horus::layout_of<std::string>(), Codec::text}; })
      .def_property_readonly("tail_offset", [](const Format& format) { return format.layout->tail_offset; })
      .def_property_readonly("hash", [](const Format& format) { return format.layout->hash; })
      .def("describe", [](const Format& format) { return format.layout->describe(); });

  py::class_<Wakeup, std::shared_ptr<Wakeup>>(module, "Wakeup")
      .def(py::init<>())
      .def("clear", &Wakeup::clear)
      .def("fileno", &Wakeup::fd);

  py::class_<In>(module, "In")
      .def("take", py::overload_cast<const py::object&>(&In::take))
      .def("latest", &In::latest)
      .def("take_view", &In::take_view)
      .def("recv", &In::recv)
      .def("recv_view", &In::recv_view)
      .def("listen", &In::listen)
      .def("add_waiter", &In::add_waiter)
      .def("remove_waiter", &In::remove_waiter)
      .def("has_message", [](In& in) { return in.port().has_message(); })
      .def("missed", [](In& in) { return in.port().missed(); })
      .def("publishers", [](In& in) { return in.port().publishers(); })
      .def("closed", [](In& in) { return in.port().closed(); })
      .def("close", &In::close);

  py::class_<PatientMessage>(module, "PatientMessage")
      .def("waits", &PatientMessage::waits)
      .def("finish", &PatientMessage::finish);

  py::class_<Out>(module, "Out")
      .def("send", &Out::send)
      .def("send_raw", &Out::send_raw)
      .def("send_wait", &Out::send_wait)
      .def("send_raw_wait", &Out::send_raw_wait)
      .def("begin_wait", &Out::begin_wait)
      .def("begin_raw_wait", &Out::begin_raw_wait)
      .def("loan", &Out::loan)
      .def("shrink", &Out::shrink)
      .def("publish", &Out::publish)
      .def("subscribers", [](Out& out) { return out.port().subscribers(); })
      .def("closed", [](Out& out) { return out.port().closed(); })
      .def("close", &Out::close);

  py::class_<CoreHub>(module, "Hub")
      .def_static(
          "here",
          [](const std::string& name) { return std::make_unique<CoreHub>([name] { return Hub(name); }); })
      .def_static("tcp",
                  [](const std::string& address, const std::string& name, const py::dict& given) {
                    const TcpHubOptions options = tcp_options(given);
                    return std::make_unique<CoreHub>(
                        [address, name, options] { return Hub::tcp(address, name, options).or_throw(); });
                  })
      .def_static(
          "shm",
          [](const std::string& name, const py::dict& given) {
            const ShmOptions options = shm_options(given);
            return std::make_unique<CoreHub>([name, options] { return Hub::shm(name, options).or_throw(); });
          })
      .def_static("global_hub",
                  [](const std::string& name, const py::dict& given) {
                    const ShmOptions options = shm_options(given);
                    return std::make_unique<CoreHub>(
                        [name, options] { return Hub::global_hub(name, options).or_throw(); });
                  })
      .def_static("from_config",
                  [](const std::string& path, const std::string& name) {
                    return std::make_unique<CoreHub>(
                        [path, name] { return Hub::from_config(path, name).or_throw(); });
                  })
      .def_property_readonly("name", [](CoreHub& hub) { return hub.home().name(); })
      .def_property_readonly("address",
                             [](CoreHub& hub) {
                               const auto open = hub.home().hub();
                               return open ? open->address() : std::string();
                             })
      .def("metrics",
           [](CoreHub& hub) {
             HubMetrics metrics;
             {
               HubHome& home = hub.home();
               const Away away;
               metrics = home.metrics();
             }
             return metrics_dict(metrics);
           })
      .def("connection_state",
           [](CoreHub& hub) {
             const auto open = hub.home().hub();
             return state_dict(open ? open->connection_state() : ConnectionState());
           })
      .def("advertise",
           [](CoreHub& hub, const std::string& topic, const Format& format, std::size_t max_bytes,
              std::uint32_t max_queued) {
             return hub.advertise(topic, format, send_options(max_bytes, max_queued));
           })
      .def("subscribe",
           [](CoreHub& hub, const std::string& topic, const Format& format, std::uint32_t depth, int overflow,
              std::optional<double> stale_after_s, bool keep_in_emergency) {
             return hub.subscribe(topic, format,
                                  receive_options(depth, overflow, stale_after_s, keep_in_emergency));
           })
      .def("create_link",
           [](CoreHub& hub, const std::string& name, const std::string& peer, const Format& format,
              std::uint32_t depth, int overflow, std::optional<double> stale_after_s, bool keep_in_emergency,
              std::size_t max_bytes, std::uint32_t max_queued) {
             return hub.create_link(name, peer, format,
                                    receive_options(depth, overflow, stale_after_s, keep_in_emergency),
                                    send_options(max_bytes, max_queued));
           })
      .def("closed", [](CoreHub& hub) { return !hub.home().hub().has_value(); })
      .def("close", &CoreHub::close);
}

}  // namespace horus::python
