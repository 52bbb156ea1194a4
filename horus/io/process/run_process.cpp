// SPDX-License-Identifier: Apache-2.0
#include <horus/io/run_process.hpp>

#include <cerrno>

#include <fmt/format.h>

#include <horus/io/process.hpp>
#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>

namespace horus::HORUS_ABI::io {
namespace {

constexpr std::size_t kChunk = std::size_t{64} << 10;  // bytes per read

// A child that does not want its input is no failure, so how the write ends does not matter.
Task<> feed(PipeWriter& into, const std::string& text) {
  auto writing = into.write_all(Bytes(text));
  static_cast<void>(co_await writing);
  into.reset();
}

// One output of the child, up to its end or the limit.
struct Collected {
  std::string text;
  int failure = 0;  // errno
};

// All that the child has started goes with it where it has a group of its own.
void kill(Process& process) {
  if (process.kill_group().code() == EINVAL) static_cast<void>(process.kill());
}

Task<> collect(PipeReader& from, Collected& collected, std::size_t limit, Process& process) {
  std::string& text = collected.text;
  while (from.is_open()) {
    const std::size_t size = text.size();
    text.resize(size + kChunk);
    auto read = co_await from.read(MutableBytes(text.data() + size, kChunk));
    text.resize(size + (read ? *read : 0));
    if (!read) {
      // ECANCELED: the child has ended and whoever holds its output had its time.
      if (read.code() != kEndOfStream && read.code() != ECANCELED) collected.failure = read.code();
      co_return;
    }
    if (text.size() > limit) {
      collected.failure = ENOBUFS;
      kill(process);
      co_return;
    }
  }
}

Task<> join(Scope& scope) { co_await scope.join(); }

}  // namespace

Task<Result<ProcessOutput>> run_process(ProcessOptions options, std::string input, std::size_t output_limit) {
  if (options.input.kind() == Redirect::Kind::inherit) {
    options.input = input.empty() ? Redirect::null() : Redirect::pipe();
  }
  if (options.output.kind() == Redirect::Kind::inherit) options.output = Redirect::pipe();
  if (options.error.kind() == Redirect::Kind::inherit) options.error = Redirect::pipe();
  const std::string program = options.arguments.empty() ? std::string() : options.arguments.front();
  auto spawning = Process::spawn(std::move(options));
  auto spawned = co_await spawning;
  if (!spawned) co_return spawned.error();
  Process process = *std::move(spawned);

  Collected out;
  Collected err;
  Scope feeding("input of " + program);
  Scope reading("output of " + program);
  if (process.standard_in().is_open()) static_cast<void>(feeding.spawn(feed(process.standard_in(), input)));
  static_cast<void>(reading.spawn(collect(process.standard_out(), out, output_limit, process)));
  static_cast<void>(reading.spawn(collect(process.standard_err(), err, output_limit, process)));

  auto waiting = process.wait();
  auto status = co_await waiting;
  feeding.cancel();
  if (!status) reading.cancel();
  co_await feeding.join();
  // Joining cannot be stopped halfway: at the timeout the readers are stopped, and awaited.
  static_cast<void>(co_await with_timeout(kOutputLinger, join(reading)));

  if (!status) co_return status.error();
  for (const Collected* collected : {&out, &err}) {
    if (collected->failure == ENOBUFS) {
      co_return Error(ENOBUFS, "run",
                      fmt::format("{} (killed: more than {} bytes of output)", program, output_limit));
    }
    if (collected->failure != 0) co_return Error(collected->failure, "read the output of", program);
  }
  ProcessOutput output(*status);
  output.out = std::move(out.text);
  output.err = std::move(err.text);
  co_return std::move(output);
}

}  // namespace horus::HORUS_ABI::io
