// SPDX-License-Identifier: Apache-2.0
// A program that was started without 0, 1 and 2: nothing of Horus's has their numbers.
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <string>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/directory.hpp>
#include <horus/io/file.hpp>
#include <horus/io/pipe.hpp>
#include <horus/io/process.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/run_process.hpp>
#include <horus/io/tcp.hpp>
#include <horus/io/time.hpp>
#include <horus/io/unix.hpp>

#include "../support/real_kernel.hpp"

namespace {

using horus::Task;
using horus::io::Reactor;

// What `body` says in a child that was started without standard descriptors. It writes to the descriptor that it gets.
std::string without_standard_descriptors(const std::function<std::string()>& body) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    for (const int fd : {0, 1, 2}) ::close(fd);
    const std::string said = body();
    const ssize_t written = ::write(ends[1], said.data(), said.size());
    std::_Exit(written == static_cast<ssize_t>(said.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(got));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  return text;
}

std::string standard_numbers(const char* when) {
  std::string taken;
  for (const int fd : {0, 1, 2}) {
    if (::fcntl(fd, F_GETFD) >= 0) taken += std::string(when) + " has " + std::to_string(fd) + "; ";
  }
  return taken;
}

}  // namespace

TEST_CASE("without standard descriptors nothing that the library opens takes their numbers") {
  NEEDS_REAL_KERNEL("descriptors of a process of its own");
  const std::string taken = without_standard_descriptors([] {
    Reactor reactor;
    std::string text = standard_numbers("a reactor");
    static_cast<void>(reactor.poll_fd());
    text += standard_numbers("its poll_fd");
    reactor.run([&]() -> Task<> {
      co_await horus::sleep(std::chrono::milliseconds(1));
      text += standard_numbers("a sleep");
      auto opening = horus::io::File::open_read("/proc/self/status");
      const auto file = co_await opening;
      text += standard_numbers("a file");
      auto listing = horus::io::fs::read_directory("/proc/self/task");
      const auto entries = co_await listing;
      if (!entries) text += entries.error().message();
      const auto pipe = horus::io::make_pipe().or_throw();
      text += standard_numbers("a pipe");
      auto listener = horus::io::TcpListener::listen("127.0.0.1:0").or_throw();
      text += standard_numbers("a listener");
      auto connecting = horus::io::TcpStream::connect(listener.local_address());
      const auto client = (co_await connecting).or_throw();
      auto accepting = listener.accept();
      const auto server = (co_await accepting).or_throw();
      text += standard_numbers("a connection");
    });
    return text;
  });
  CHECK(taken == "");
}

TEST_CASE("without standard descriptors children inherit nothing of the library's") {
  NEEDS_REAL_KERNEL("descriptors of a process of its own");
  const std::string said = without_standard_descriptors([] {
    std::string text;
    Reactor reactor;
    reactor.run([&]() -> Task<> {
      auto options =
          horus::io::ProcessOptions("sh", "-c", "for f in 0 1 2; do readlink /proc/$$/fd/$f; done");
      options.with_output(horus::io::Redirect::pipe());
      auto spawned = horus::io::Process::spawn(options);
      auto process = (co_await spawned).or_throw();
      auto reading = process.standard_out().read_all();
      text = (co_await reading).or_throw();
      auto waiting = process.wait();
      static_cast<void>(co_await waiting);
    });
    return text;
  });
  CHECK(said.starts_with("pipe:["));
  CHECK(said.find('\n') == said.size() - 1);  // its standard output, and nothing as 0 or 2
}
