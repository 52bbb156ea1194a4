// SPDX-License-Identifier: Apache-2.0
// The one header that a user needs. Each header under horus/ also works alone.
#pragma once

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <horus/base/clock.hpp>
#include <horus/base/literals.hpp>
#include <horus/base/log.hpp>
#include <horus/base/result.hpp>
#include <horus/base/version.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/node.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/sched/scheduler_config.hpp>
#include <horus/task/async_stream.hpp>
#include <horus/task/channel.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/task.hpp>
#include <horus/task/when_all.hpp>
#include <horus/task/when_any.hpp>
