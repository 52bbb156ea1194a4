// SPDX-License-Identifier: Apache-2.0
// For extension modules of one's own: nodes written in C++ that a Scheduler of Python runs. Needs pybind11, of the version
// that Horus was built with. docs/python.md shows the module and how to build it.
#pragma once

#include <horus/sched/node.hpp>

#include <pybind11/pybind11.h>

namespace horus::py {

/// Makes horus::Node and horus::PlainNode known to pybind11, first thing in PYBIND11_MODULE. With the GIL. Throws
/// pybind11::error_already_set (ImportError) when the package horus is not there.
///
/// Semantics: `pybind11::class_<Motor, horus::PlainNode>(module, "Motor")` with constructors is all that a node needs; Python
/// owns it, and the scheduler that it is added to keeps it.
/// Thread safety: ticks run without the GIL on the thread that runs the scheduler; take it (pybind11::gil_scoped_acquire)
/// before touching anything of Python's. What Python calls while it runs is yours to guard.
/// Example:
/// ```
/// PYBIND11_MODULE(robot, module) {
///   horus::py::import_nodes();
///   pybind11::class_<Motor, horus::PlainNode>(module, "Motor").def(pybind11::init<double>());
/// }
/// ```
inline void import_nodes() { pybind11::module_::import("horus"); }

}  // namespace horus::py
