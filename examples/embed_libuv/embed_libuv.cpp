// SPDX-License-Identifier: Apache-2.0
// Horus inside a service that runs on libuv: the reactor is one uv_poll_t in its loop. The loop sleeps until somebody
// has something to do, and a node ticks at 50 Hz beside the host's own timer.
#include <uv.h>

#include <horus/horus.hpp>

using namespace horus::literals;

double cpu_ms() {
  uv_rusage_t usage;
  ::uv_getrusage(&usage);
  return 1e3 * static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-3 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

struct Service {
  horus::io::Reactor reactor;
  horus::Scheduler scheduler;
  horus::Spawned<int> run;
  uv_poll_t poll;
  uv_timer_t timer;
  int ticks = 0;
  int periods = 0;
  int wake_ups[2] = {};  // without and with the node
  double cpu[3] = {cpu_ms()};
};

// All there is to embedding: the reactor's descriptor is readable, so let it run.
void on_reactor(uv_poll_t* poll, int, int) {
  auto& service = *static_cast<Service*>(poll->data);
  ++service.wake_ups[service.run.valid() ? 1 : 0];
  service.reactor.run_once();
  if (!service.run.done()) return;
  ::uv_close(reinterpret_cast<uv_handle_t*>(&service.poll), nullptr);
  ::uv_close(reinterpret_cast<uv_handle_t*>(&service.timer), nullptr);
}

// The host's own work, every 500 ms: after one period it starts the node, after three it stops it.
void on_timer(uv_timer_t* timer) {
  auto& service = *static_cast<Service*>(timer->data);
  ++service.periods;
  if (service.periods == 1) {
    service.cpu[1] = cpu_ms();
    service.run = service.reactor.spawn(service.scheduler.run_async(), "scheduler");
  }
  if (service.periods == 3) service.scheduler.stop();
}

int main() {
  uv_loop_t* loop = ::uv_default_loop();
  Service service;
  service.scheduler.add("control", [&] { ++service.ticks; }).rate(50_hz);
  ::uv_timer_init(loop, &service.timer);
  ::uv_poll_init(loop, &service.poll, service.reactor.poll_fd().or_throw());
  service.timer.data = service.poll.data = &service;
  ::uv_timer_start(&service.timer, on_timer, 500, 500);
  ::uv_poll_start(&service.poll, UV_READABLE, on_reactor);
  ::uv_run(loop, UV_RUN_DEFAULT);
  service.cpu[2] = cpu_ms();
  ::uv_loop_close(loop);

  const double idle = service.cpu[1] - service.cpu[0];
  const double ticking = service.cpu[2] - service.cpu[1];
  fmt::print("idle for 500 ms:       {:3} wake-ups, {:.1f} ms of CPU time\n", service.wake_ups[0], idle);
  fmt::print("node at 50 Hz for 1 s: {:3} wake-ups, {:.1f} ms of CPU time, {} ticks\n", service.wake_ups[1],
             ticking, service.ticks);
  const bool slept = service.wake_ups[0] <= 2 && service.wake_ups[1] <= 2 * service.ticks + 10 &&
                     idle + ticking < 75;  // 5 %
  const bool ticked = service.ticks >= 45 && service.ticks <= 52;
  if (!slept) fmt::print("the loop did not sleep\n");
  if (!ticked) fmt::print("the node did not keep its rate\n");
  return slept && ticked ? service.run.take() : 1;
}
