// SPDX-License-Identifier: Apache-2.0
//
// NOP completion → resumed coroutine → next entry: what the reactor adds to the kernel's work.
//
//   dispatch [--count 5000000] [--batch 32] [--json]
//
// `user_ns_per_op` is the wall time outside Ring::enter, measured as peers/dispatch_raw_uring.cpp measures it.

#include <memory>
#include <utility>
#include <vector>

#include <horus/io/loop/awaiter.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/seam/forwarding.hpp>

#include "common/arguments.hpp"
#include "common/measure.hpp"

namespace {

// The real ring, with a clock around the call into it.
class TimedRing final : public horus::io::ForwardingRing {
 public:
  using ForwardingRing::ForwardingRing;
  int enter(std::uint32_t to_submit, std::uint32_t min_complete, std::int64_t deadline_ns) noexcept override {
    const std::uint64_t before_ns = bench::monotonic_ns();
    const int result = ForwardingRing::enter(to_submit, min_complete, deadline_ns);
    inside_ns += bench::monotonic_ns() - before_ns;
    ++enters;
    return result;
  }

  std::uint64_t inside_ns = 0;
  std::uint64_t enters = 0;
};

struct Nop : horus::io::OperationAwaiter<Nop> {
  static constexpr const char* kName = "nop";
  void prepare(io_uring_sqe& entry) noexcept { horus::io::fill::nop(entry); }
  int await_resume() const noexcept { return result; }
};

horus::Task<> nops(std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    Nop nop;
    co_await nop;
  }
}

horus::Task<> all(std::uint64_t coroutines, std::uint64_t each) {
  horus::Scope scope;
  for (std::uint64_t i = 0; i < coroutines; ++i) static_cast<void>(scope.spawn(nops(each)));
  co_await scope.join();
}

}  // namespace

int main(int argc, char** argv) {
  bench::Arguments arguments(argc, argv);
  const std::uint64_t count = arguments.count("--count", 5'000'000);
  const std::uint64_t batch = arguments.count("--batch", 32);
  const bool json = arguments.flag("--json");
  arguments.finish();
  if (batch == 0) bench::fail("--batch wants to be above 0");

  const horus::io::ReactorConfig config;
  horus::io::Backend backend = horus::io::make_uring_backend(config).or_throw();
  const auto timed = std::make_shared<TimedRing>(backend.ring);
  backend.ring = timed;
  horus::io::Reactor reactor(std::move(backend), config);
  const std::uint64_t each = count / batch + 1;
  reactor.run(all(batch, 100));  // warms the frames, the ring and the caches

  timed->inside_ns = timed->enters = 0;
  const std::uint64_t start_ns = bench::monotonic_ns();
  reactor.run(all(batch, each));
  const auto elapsed_ns = static_cast<double>(bench::monotonic_ns() - start_ns);
  const auto operations = static_cast<double>(batch * each);

  // One of the two clock readings per enter falls outside the measured time in the backend.
  constexpr int kReadings = 1000;
  const std::uint64_t readings_start_ns = bench::monotonic_ns();
  for (int i = 0; i < kReadings; ++i) bench::monotonic_ns();
  const double reading_ns = static_cast<double>(bench::monotonic_ns() - readings_start_ns) / kReadings;
  const double user_ns =
      elapsed_ns - static_cast<double>(timed->inside_ns) - reading_ns * static_cast<double>(timed->enters);

  bench::Report report;
  report.add("ns_per_op", elapsed_ns / operations);
  report.add("user_ns_per_op", user_ns / operations);
  report.add("ops_per_enter", operations / static_cast<double>(timed->enters));
  report.print(json);
}
