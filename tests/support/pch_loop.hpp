// SPDX-License-Identifier: Apache-2.0
// Precompiled for the tests of the lower layers. Tests include what they use all the same: nothing depends on this file.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/bytes.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/task.hpp>
