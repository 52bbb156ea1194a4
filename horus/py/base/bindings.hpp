// SPDX-License-Identifier: Apache-2.0
// The parts of the extension module horus._core. Only horus/py includes this: it needs Python's headers. With the GIL
// held, unless a line says otherwise.
#pragma once

#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <horus/base/clock.hpp>
#include <horus/msg/hub.hpp>
#include <horus/record/recording.hpp>
#include <horus/sched/scheduler_config.hpp>
#include <horus/sched/states.hpp>
#include <horus/sched/statistics.hpp>

#include <pybind11/pybind11.h>

namespace horus::python {

namespace py = pybind11;

void bind_errors(py::module_& module);
void bind_config(py::module_& module);
void bind_scheduler(py::module_& module);
void bind_recording(py::module_& module);
void bind_bag(py::module_& module);
void bind_interface(py::module_& module);
void bind_io(py::module_& module);
void bind_hubs(py::module_& module);

RecordOptions record_options(std::vector<std::string> topics, std::vector<std::string> left_out,
                             bool compressed, std::size_t max_waiting_bytes);

/// The hub behind a _core.Hub. Throws std::runtime_error when it is closed.
Hub hub_behind(const py::handle& hub);

/// A message of the library without the spelling of C++: "raise AdvertiseOptions::max_queued" → "raise max_queued".
std::string in_pythons_words(std::string_view message);

/// Keys as the members of NodeStatistics; histograms as dicts.
py::dict to_dict(const NodeStatistics& node);
py::dict to_dict(const Histogram& histogram);

inline Duration from_ms(double ms) { return Duration(std::llround(ms * 1e6)); }
inline double to_ms(Duration duration) { return static_cast<double>(duration.count()) / 1e6; }

/// The value of an enumeration by its name. Throws std::invalid_argument, which Python sees as ValueError.
template <class E>
E parse(const char* what, const std::string& word, E last) {
  std::string words;
  for (int i = 0; i <= static_cast<int>(last); ++i) {
    const std::string name = to_string(static_cast<E>(i));
    if (name == word) return static_cast<E>(i);
    words += (words.empty() ? "" : ", ") + name;
  }
  throw std::invalid_argument(std::string(what) + " is one of " + words + ", not '" + word + "'");
}

}  // namespace horus::python
