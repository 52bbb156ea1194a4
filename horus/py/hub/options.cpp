// SPDX-License-Identifier: Apache-2.0
#include <horus/py/hub/options.hpp>

#include <cmath>
#include <limits>
#include <set>
#include <string>

#include <horus/msg/tcp/tcp_limits.hpp>

namespace horus::python {
namespace {

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

}  // namespace

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

}  // namespace horus::python
