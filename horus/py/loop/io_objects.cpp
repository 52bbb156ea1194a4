// SPDX-License-Identifier: Apache-2.0
// Watches and UDP sockets for Python: what _io.py is made of. Waits are Tasks of C++ that Python awaits; what waits for
// nobody is called at once. The loop's thread, with the GIL; coroutines run with it or without.
#include <cerrno>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include <horus/io/udp.hpp>
#include <horus/io/watch.hpp>
#include <horus/py/asyncio.hpp>
#include <horus/py/base/bindings.hpp>

namespace horus::python {
namespace io_objects {
namespace {

using io::Address;
using io::UdpOptions;
using io::UdpSocket;
using io::fs::Watch;
using io::fs::WatchEvent;
using io::fs::WatchOptions;

// What a wait that a close has ended says: asyncio would take ECANCELED for the task's own cancellation.
[[noreturn]] void throw_closed(const char* what) {
  throw std::invalid_argument(std::string(what) + " is closed");
}
template <class T>
T unless_closed(Result<T> result, bool closed, const char* what) {
  if (!result && result.error().cancelled() && closed) throw_closed(what);
  return std::move(result).or_throw();
}

// --- Watches ----------------------------------------------------------------------------------------------------------

struct WatchObject {
  Watch watch;
  bool closed = false;
};
using WatchHold = std::shared_ptr<WatchObject>;

Watch& open_watch(const WatchHold& self) {
  if (self->closed) throw_closed("the watch");
  return self->watch;
}

Task<WatchHold> make_watch(std::string path, bool whole, WatchOptions options) {
  auto making = whole ? Watch::folder(std::move(path), options) : Watch::file(std::move(path), options);
  auto watch = (co_await making).or_throw();
  co_return std::make_shared<WatchObject>(WatchObject{std::move(watch)});
}

Task<> add_to_watch(WatchHold self, std::string path, bool whole) {
  auto adding = whole ? self->watch.add_folder(std::move(path)) : self->watch.add_file(std::move(path));
  auto added = co_await adding;
  unless_closed(std::move(added), self->closed, "the watch");
}

Task<> await_watch(WatchHold self) {
  auto waiting = self->watch.ready();
  auto ready = co_await waiting;
  unless_closed(std::move(ready), self->closed, "the watch");
}

Task<> close_watch(WatchHold self) {
  if (std::exchange(self->closed, true)) co_return;
  auto closing = self->watch.close();
  (co_await closing).or_throw();
}

py::object decoded(const std::string& name) {
  PyObject* text = PyUnicode_DecodeFSDefaultAndSize(name.data(), static_cast<Py_ssize_t>(name.size()));
  if (text == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(text);
}

py::object take_event(const WatchHold& self) {
  auto next = open_watch(self).try_next();
  if (!next) return py::none();
  if (!*next && next->error().end_of_stream()) {
    PyErr_SetString(PyExc_EOFError, "nothing is watched any more");
    throw py::error_already_set();
  }
  const WatchEvent event = (*std::move(next)).or_throw();
  return py::make_tuple(to_string(event.kind), decoded(event.folder), decoded(event.name),
                        decoded(event.from), event.is_folder);
}

// --- UDP --------------------------------------------------------------------------------------------------------------

struct UdpObject {
  UdpSocket socket;
  bool closed = false;
};
using UdpHold = std::shared_ptr<UdpObject>;

UdpSocket& open_socket(const UdpHold& self) {
  if (self->closed) throw_closed("the socket");
  return self->socket;
}

// One datagram that came, until Python has it.
struct Received {
  std::unique_ptr<char[]> data;
  io::DatagramDetails details;
};

Task<UdpHold> open_udp(std::string address, bool connects, UdpOptions options) {
  if (!connects) {
    auto bound = UdpSocket::bind(address, options).or_throw();
    co_return std::make_shared<UdpObject>(UdpObject{std::move(bound)});
  }
  auto connecting = UdpSocket::connect(address, options);
  auto connected = (co_await connecting).or_throw();
  co_return std::make_shared<UdpObject>(UdpObject{std::move(connected)});
}

Task<std::shared_ptr<Received>> receive(UdpHold self, std::size_t size) {
  auto received = std::make_shared<Received>();
  received->data = std::make_unique_for_overwrite<char[]>(size);
  auto receiving = self->socket.recv_detailed(io::MutableBytes(received->data.get(), size));
  auto details = co_await receiving;
  received->details = unless_closed(std::move(details), self->closed, "the socket");
  co_return received;
}

Address optional_address(const std::string& text) {
  return text.empty() ? Address() : Address::parse(text).or_throw();
}

Task<std::size_t> send(UdpHold self, std::string data, Address to, io::SendDetails details) {
  auto sending = self->socket.send_detailed(io::Bytes(data), to, details);
  auto sent = co_await sending;
  co_return unless_closed(std::move(sent), self->closed, "the socket");
}

Task<std::int64_t> send_timed(UdpHold self, std::string data, Address to, io::SendDetails details) {
  auto sending = self->socket.send_timed(io::Bytes(data), to, details);
  auto sent = co_await sending;
  co_return unless_closed(std::move(sent), self->closed, "the socket");
}

Task<> close_socket(UdpHold self) {
  if (std::exchange(self->closed, true)) co_return;
  auto closing = self->socket.close();
  (co_await closing).or_throw();
}

py::object ip_address(const Address& address) {
  if (!address.is_ip()) return py::none();
  return py::make_tuple(address.host(), address.port());
}

UdpOptions options_from(const py::kwargs& given) {
  UdpOptions options;
  for (const auto& [key, value] : given) {
    const auto name = py::cast<std::string>(key);
    if (name == "reuse_address") options.reuse_address = py::cast<bool>(value);
    if (name == "reuse_port") options.reuse_port = py::cast<bool>(value);
    if (name == "broadcast") options.broadcast = py::cast<bool>(value);
    if (name == "only_v6") options.only_v6 = py::cast<bool>(value);
    if (name == "receive_buffer") options.receive_buffer = py::cast<int>(value);
    if (name == "traffic_class") options.traffic_class = py::cast<int>(value);
    if (name == "ttl") options.ttl = py::cast<int>(value);
    if (name == "priority") options.priority = py::cast<int>(value);
  }
  return options.with_details();
}

io::SendDetails send_details(const std::string& source, unsigned interface, int traffic_class, int ttl) {
  io::SendDetails details;
  details.from = optional_address(source);
  details.interface = interface;
  details.traffic_class = traffic_class;
  details.ttl = ttl;
  return details;
}

void bind_watch(py::module_& module) {
  py::class_<WatchObject, WatchHold>(module, "Watch")
      .def_static("make",
                  [](std::string path, bool whole, bool modifications, bool attributes) {
                    WatchOptions options;
                    options.modifications = modifications;
                    options.attributes = attributes;
                    return horus::py::awaitable(make_watch(std::move(path), whole, options));
                  })
      .def("add",
           [](const WatchHold& self, std::string path, bool whole) {
             open_watch(self);
             return horus::py::awaitable(add_to_watch(self, std::move(path), whole));
           })
      .def("ready",
           [](const WatchHold& self) {
             open_watch(self);
             return horus::py::awaitable(await_watch(self));
           })
      .def("take", &take_event)
      .def("close", [](const WatchHold& self) { return horus::py::awaitable(close_watch(self)); })
      .def_readonly("closed", &WatchObject::closed);
}

void bind_udp(py::module_& module) {
  py::class_<Received, std::shared_ptr<Received>>(module, "Received").def("give", [](const Received& self) {
    const io::DatagramDetails& details = self.details;
    return py::make_tuple(py::bytes(self.data.get(), details.size), ip_address(details.from),
                          details.truncated, details.received_ns,
                          details.to.is_ip() ? py::cast(details.to.host()) : py::none(), details.interface,
                          details.dropped, details.traffic_class, details.ttl);
  });
  py::class_<UdpObject, UdpHold>(module, "UdpSocket")
      .def_static(
          "make",
          [](std::string address, bool connects, const py::kwargs& options) {
            return horus::py::awaitable(open_udp(std::move(address), connects, options_from(options)));
          })
      .def("recv",
           [](const UdpHold& self, std::size_t size) {
             open_socket(self);
             return horus::py::awaitable(receive(self, size));
           })
      .def("send",
           [](const UdpHold& self, const py::bytes& data, const std::string& to, bool timed,
              const std::string& source, unsigned interface, int traffic_class, int ttl) -> py::object {
             open_socket(self);
             const auto details = send_details(source, interface, traffic_class, ttl);
             std::string bytes(data);
             if (timed)
               return horus::py::awaitable(send_timed(self, std::move(bytes), optional_address(to), details));
             return horus::py::awaitable(send(self, std::move(bytes), optional_address(to), details));
           })
      .def("join",
           [](const UdpHold& self, const std::string& group, const std::string& interface, bool joins) {
             UdpSocket& socket = open_socket(self);
             const Address address = Address::parse(group).or_throw();
             (joins ? socket.join(address, interface) : socket.leave(address, interface)).or_throw();
           })
      .def("set_multicast",
           [](const UdpHold& self, const std::string& interface, int hops, bool loopback) {
             UdpSocket& socket = open_socket(self);
             socket.set_multicast_interface(interface).or_throw();
             socket.set_multicast_hops(hops).or_throw();
             socket.set_multicast_loopback(loopback).or_throw();
           })
      .def("local_address",
           [](const UdpHold& self) { return ip_address(open_socket(self).local_address().or_throw()); })
      .def("peer_address",
           [](const UdpHold& self) { return ip_address(open_socket(self).peer_address().or_throw()); })
      .def("fileno", [](const UdpHold& self) { return self->closed ? -1 : self->socket.fd(); })
      .def("close", [](const UdpHold& self) { return horus::py::awaitable(close_socket(self)); })
      .def_readonly("closed", &UdpObject::closed);
}

}  // namespace
}  // namespace io_objects

void bind_io(py::module_& module) {
  io_objects::bind_watch(module);
  io_objects::bind_udp(module);
}

}  // namespace horus::python
