// SPDX-License-Identifier: Apache-2.0
// Hubs, publishers and subscribers for Python. The classes of the package wrap these and check their arguments.
#include <horus/msg/hub.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <horus/py/hub/ends.hpp>
#include <horus/py/hub/format.hpp>
#include <horus/py/hub/home.hpp>
#include <horus/py/hub/options.hpp>
#include <horus/py/hub/pack.hpp>

#include <pybind11/stl.h>

namespace horus::python {
namespace {

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
      .def_static("text",
                  [] {
                    return Format{&horus::layout_of<std::string>(), Codec::text,
                                  &horus::describe<std::string>()};
                  })
      .def("learn",
           [](Format& format, const py::bytes& description) {
             const std::string_view bytes = description;
             format.learn(std::as_bytes(std::span(bytes)));
           })
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
