// SPDX-License-Identifier: Apache-2.0
//
// Ticks by a repeating libuv timer. It counts whole milliseconds and re-arms from when it ran, so it drifts.
//
//   tick_jitter_libuv --rate 1000 --seconds 10

#include <uv.h>

#include "../common/tick_load.hpp"

int main(int argc, char** argv) {
  bench::TickLoad load(argc, argv);
  uv_loop_t* loop = uv_default_loop();
  uv_timer_t timer;
  uv_timer_init(loop, &timer);
  timer.data = &load;
  std::uint64_t period_ms = std::max<std::uint64_t>(load.period_ns() / 1'000'000, 1);
  load.start();
  uv_update_time(loop);
  uv_timer_start(
      &timer,
      [](uv_timer_t* fired) {
        auto& ticks = *static_cast<bench::TickLoad*>(fired->data);
        ticks.tick();
        if (ticks.done()) uv_timer_stop(fired);
      },
      period_ms, period_ms);
  uv_run(loop, UV_RUN_DEFAULT);
  load.print();
}
