// SPDX-License-Identifier: Apache-2.0
// Recordings for Python: the file of a scheduler's runs, and one that a program starts and stops itself.
#include <horus/record/recording.hpp>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include <horus/py/base/bindings.hpp>

#include <pybind11/stl.h>

namespace horus::python {
namespace {

// A path that exists, or does not, is Python's FileExistsError, FileNotFoundError …
[[noreturn]] void raise_os_error(const Error& error) {
  PyErr_SetObject(PyExc_OSError, py::make_tuple(error.code(), in_pythons_words(error.message())).ptr());
  throw py::error_already_set();
}

}  // namespace

RecordOptions record_options(std::vector<std::string> topics, std::vector<std::string> left_out,
                             bool compressed, std::size_t max_waiting_bytes) {
  return RecordOptions()
      .with_topics(std::move(topics))
      .without_topics(std::move(left_out))
      .with_compression(compressed)
      .with_max_waiting_bytes(max_waiting_bytes);
}

void bind_recording(py::module_& module) {
  py::class_<Recording>(module, "Recording")
      .def_static("start",
                  [](const std::string& path, std::vector<std::string> topics,
                     std::vector<std::string> left_out, bool compressed, std::size_t max_waiting_bytes) {
                    const RecordOptions options =
                        record_options(std::move(topics), std::move(left_out), compressed, max_waiting_bytes);
                    auto recording = [&] {
                      const py::gil_scoped_release away;
                      return Recording::start(path, options);
                    }();
                    if (!recording) raise_os_error(recording.error());
                    return std::move(*recording);
                  })
      .def("stop",
           [](Recording& self) {
             const auto stopped = [&] {
               const py::gil_scoped_release away;
               return self.stop();
             }();
             if (!stopped) raise_os_error(stopped.error());
           })
      .def("status", [](const Recording& self) {
        const RecordingStatus status = self.status();
        py::dict dict;
        dict["path"] = status.path;
        dict["messages"] = status.messages;
        dict["lost"] = status.lost;
        dict["bytes"] = status.bytes;
        dict["ended"] = status.ended;
        dict["problem"] = status.problem;
        return dict;
      });
}

}  // namespace horus::python
