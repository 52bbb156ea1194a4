// SPDX-License-Identifier: Apache-2.0
//
// Wake by not sleeping: the target polls its mailbox all the time. Needs two CPUs.
//
//   wake_spin --cpus A,B --count N

#include "wake_mailbox.hpp"

struct NeverSleeps {
  void sleep(std::atomic<std::uint32_t>&) { bench::relax_cpu(); }
  void signal(std::atomic<std::uint32_t>&) {}
};

int main(int argc, char** argv) {
  bench::Arguments arguments(argc, argv);
  auto options = bench::WakeOptions::from(arguments);
  if (options.one_cpu()) bench::fail("spinning needs two CPUs: --cpus 0,1");
  options.poll = true;
  return bench::run_wake<bench::MailboxParty<NeverSleeps>>(options);
}
