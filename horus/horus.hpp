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
#include <horus/io/address.hpp>
#include <horus/io/chunk_stream.hpp>
#include <horus/io/directory.hpp>
#include <horus/io/event_fd.hpp>
#include <horus/io/file.hpp>
#include <horus/io/file_contents.hpp>
#include <horus/io/fs.hpp>
#include <horus/io/offload.hpp>
#include <horus/io/pipe.hpp>
#include <horus/io/poll.hpp>
#include <horus/io/process.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/resolve.hpp>
#include <horus/io/run_process.hpp>
#include <horus/io/serial.hpp>
#include <horus/io/signals.hpp>
#include <horus/io/tcp.hpp>
#include <horus/io/time.hpp>
#include <horus/io/udp.hpp>
#include <horus/io/unix.hpp>
#include <horus/io/unix_datagram.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/messages.hpp>
#include <horus/sched/node.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/sched/scheduler_config.hpp>
#include <horus/task/async_stream.hpp>
#include <horus/task/channel.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/shield.hpp>
#include <horus/task/task.hpp>
#include <horus/task/when_all.hpp>
#include <horus/task/when_any.hpp>
