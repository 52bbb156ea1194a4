// SPDX-License-Identifier: Apache-2.0
// Child processes: one that is fed and read line by line, one that is run to its end in a single call, one that hangs
// and is ended.
#include <horus/horus.hpp>

using namespace horus::literals;
using namespace horus::io;

horus::Task<> run() {
  // A filter: we write into it and read what comes out.
  auto options =
      ProcessOptions("tr", "a-z", "A-Z").with_input(Redirect::pipe()).with_output(Redirect::pipe());
  auto filter = (co_await Process::spawn(std::move(options))).or_throw();
  (co_await filter.standard_in().write_all("drive\nturn\n")).or_throw();
  (co_await filter.standard_in().close()).or_throw();  // the filter's end of input
  auto lines = filter.standard_out().lines();
  while (true) {
    auto line = co_await lines.next();
    if (!line || !*line) break;
    fmt::print("filter: {}\n", **line);
  }
  const auto ended = (co_await filter.wait()).or_throw();
  fmt::print("filter: {}\n", ended.to_string());

  // A whole run: input in, output and exit status out.
  auto words = (co_await run_process(ProcessOptions("wc", "-w"), "one two three")).or_throw();
  fmt::print("wc: {}", words.out);

  // One that hangs: a limited wait, then SIGTERM, then SIGKILL after a grace period.
  auto hanging = (co_await Process::spawn(ProcessOptions("sleep", "3600").with_own_group())).or_throw();
  auto wait = co_await horus::with_timeout(50ms, hanging.wait());
  fmt::print("sleep: {}\n", wait.error().message());
  const auto how = (co_await hanging.terminate(500ms)).or_throw();
  fmt::print("sleep: {}\n", how.to_string());

  // A program that is not there.
  auto missing = co_await Process::spawn(ProcessOptions("no-such-camera"));
  fmt::print("{}\n", missing.error().message());
}

int main() { horus::io::run(run()); }
