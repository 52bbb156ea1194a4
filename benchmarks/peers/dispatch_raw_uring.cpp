// SPDX-License-Identifier: Apache-2.0
//
// The floor of `dispatch`: NOP completions, each answered by preparing the next NOP, without any coroutine.
//
//   dispatch_raw_uring [--count 5000000] [--batch 32] [--json]
//
// `user_ns_per_op` is the wall time outside io_uring_enter.

#include "../common/arguments.hpp"
#include "uring.hpp"

int main(int argc, char** argv) {
  bench::Arguments arguments(argc, argv);
  std::uint64_t count = arguments.count("--count", 5'000'000);
  std::uint64_t batch = arguments.count("--batch", 32);
  bool json = arguments.flag("--json");
  arguments.finish();

  bench::Ring ring(static_cast<unsigned>(batch), static_cast<unsigned>(2 * batch));
  auto prepare = [&](std::uint64_t slot) {
    io_uring_sqe* entry = ring.entry();
    io_uring_prep_nop(entry);
    io_uring_sqe_set_data64(entry, slot);
  };
  for (std::uint64_t slot = 0; slot < batch; ++slot) prepare(slot);

  std::uint64_t operations = 0;
  std::uint64_t kernel_ns = 0;
  std::uint64_t enters = 0;
  std::uint64_t start_ns = bench::monotonic_ns();
  while (operations < count) {
    std::uint64_t before_ns = bench::monotonic_ns();
    ring.submit_and_wait(static_cast<unsigned>(batch));
    kernel_ns += bench::monotonic_ns() - before_ns;
    ++enters;
    operations +=
        ring.for_each_completion([&](const io_uring_cqe& completion) { prepare(completion.user_data); });
  }
  auto elapsed_ns = static_cast<double>(bench::monotonic_ns() - start_ns);

  // One of the two clock readings per enter falls outside the measured kernel time.
  constexpr int kReadings = 1000;
  std::uint64_t readings_start_ns = bench::monotonic_ns();
  for (int i = 0; i < kReadings; ++i) bench::monotonic_ns();
  double reading_ns = static_cast<double>(bench::monotonic_ns() - readings_start_ns) / kReadings;
  double user_ns = elapsed_ns - static_cast<double>(kernel_ns) - reading_ns * static_cast<double>(enters);

  bench::Report report;
  report.add("ns_per_op", elapsed_ns / static_cast<double>(operations));
  report.add("user_ns_per_op", user_ns / static_cast<double>(operations));
  report.print(json);
}
