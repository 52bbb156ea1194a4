// SPDX-License-Identifier: Apache-2.0
// Horus inside a service that has its own epoll loop: the reactor is one more descriptor in it. The loop sleeps until
// somebody has something to do, and a node ticks at 50 Hz beside the host's own work.
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <horus/horus.hpp>

using namespace horus::literals;

double cpu_ms() {
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  return 1e3 * static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-3 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

void watch(int loop, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  ::epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
}

int main() {
  horus::io::Reactor reactor;
  horus::Scheduler scheduler;
  int ticks = 0;
  scheduler.add("control", [&] { ++ticks; }).rate(50_hz);
  horus::Spawned<int> run;

  // The host's loop: a timer of its own, due every 500 ms, and the reactor.
  const int loop = ::epoll_create1(EPOLL_CLOEXEC);
  const int host_timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  const itimerspec every_500_ms{{0, 500'000'000}, {0, 500'000'000}};
  ::timerfd_settime(host_timer, 0, &every_500_ms, nullptr);
  const int reactor_fd = reactor.poll_fd().or_throw();
  watch(loop, host_timer);
  watch(loop, reactor_fd);

  int wake_ups[2] = {};  // without and with the node
  double cpu[3] = {cpu_ms()};
  int periods = 0;
  while (!run.done()) {
    epoll_event events[8];
    const int count = ::epoll_wait(loop, events, 8, -1);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.fd == reactor_fd) {
        ++wake_ups[run.valid() ? 1 : 0];
        reactor.run_once();
        continue;
      }
      std::uint64_t
          expirations;  // the host's own work: after one period it starts the node, after three it stops it
      if (::read(host_timer, &expirations, sizeof expirations) < 0) return 1;
      ++periods;
      if (periods == 1) cpu[1] = cpu_ms();
      if (periods == 1) run = reactor.spawn(scheduler.run_async(), "scheduler");
      if (periods == 3) scheduler.stop();
    }
  }
  cpu[2] = cpu_ms();
  ::close(host_timer);
  ::close(loop);

  fmt::print("idle for 500 ms:       {:3} wake-ups, {:.1f} ms of CPU time\n", wake_ups[0], cpu[1] - cpu[0]);
  fmt::print("node at 50 Hz for 1 s: {:3} wake-ups, {:.1f} ms of CPU time, {} ticks\n", wake_ups[1],
             cpu[2] - cpu[1], ticks);
  const bool slept =
      wake_ups[0] <= 2 && wake_ups[1] <= 2 * ticks + 10 && cpu[2] - cpu[0] < 75;  // 5 % of the time
  const bool ticked = ticks >= 45 && ticks <= 52;
  if (!slept) fmt::print("the loop did not sleep\n");
  if (!ticked) fmt::print("the node did not keep its rate\n");
  return slept && ticked ? run.take() : 1;
}
