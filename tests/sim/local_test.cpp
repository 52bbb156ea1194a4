// SPDX-License-Identifier: Apache-2.0
// What processes of one simulated host share: Unix sockets, FIFOs, names, standard streams.
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>

#include <doctest/doctest.h>

#include <horus/horus.hpp>
#include <horus/io/seam/system.hpp>
#include <horus/sim/world.hpp>

using horus::Task;
using horus::io::Fifo;
using horus::io::FifoEnd;
using horus::io::UnixDatagram;
using horus::io::UnixListener;
using horus::io::UnixStream;
using horus::sim::Faults;
using horus::sim::Report;
using horus::sim::World;
using namespace horus::literals;

namespace {

Task<int> answer_lines(std::string name) {
  auto listener = UnixListener::listen(name).or_throw();
  auto stream = (co_await listener.accept()).or_throw();
  while (true) {
    auto line = co_await stream.read_line();
    if (!line) co_return line.code() == horus::kEndOfStream ? 0 : 1;
    auto written = co_await stream.write_all("re: " + *line + "\n");
    if (!written) co_return 1;
  }
}

Task<int> ask_lines(std::string name, int& right) {
  co_await horus::sleep(1ms);
  auto connecting = UnixStream::connect(name);
  auto stream = (co_await connecting).or_throw();
  for (int i = 0; i < 100; ++i) {
    const std::string question = "question " + std::to_string(i);
    auto written = co_await stream.write_all(question + "\n");
    std::move(written).or_throw();
    auto answer = co_await stream.read_line();
    if (std::move(answer).or_throw() == "re: " + question) ++right;
  }
  co_return 0;
}

}  // namespace

TEST_CASE(
    "processes of one host talk over a Unix stream, by path and by abstract name, with short transfers") {
  for (const char* name : {"/tmp/x.sock", "@rover"}) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      World world(seed);
      Faults faults;
      faults.short_transfer = 300;
      faults.early_return = 100;
      world.faults(faults);
      int right = 0;
      world.process("server", [&] { return answer_lines(name); }, "10.0.0.1");
      world.process("client", [&] { return ask_lines(name, right); }, "10.0.0.1");
      const Report report = world.run_for(10s);
      CHECK_MESSAGE(report.passed, report.to_string());
      CHECK(right == 100);
    }
  }
}

TEST_CASE("a Unix stream that nobody reads takes as many pieces as Linux has room for") {
  struct Case {
    std::size_t bytes;
    int pieces;
  };
  for (const Case one : {Case{1, 278}, Case{100, 278}, Case{200, 167}, Case{1000, 93}, Case{4000, 44}}) {
    CAPTURE(one.bytes);
    World world(1);
    int taken = 0;
    world.process("rover", [&] {
      return [](std::size_t bytes, int& pieces) -> Task<int> {
        horus::io::System& host = horus::io::System::here();
        int ends[2] = {-1, -1};
        CHECK(host.socket_pair(ends, AF_UNIX, SOCK_STREAM) == 0);
        const horus::io::Descriptor near(ends[0]);
        const horus::io::Descriptor far(ends[1]);
        const std::string piece(bytes, 'x');
        while (host.send(far.get(), piece.data(), piece.size()) == static_cast<ssize_t>(bytes)) ++pieces;
        CHECK(host.send(far.get(), piece.data(), piece.size()) == -EAGAIN);
        // Room comes with the end of a piece.
        std::string room(bytes, ' ');
        CHECK(host.read(near.get(), room.data(), room.size()) == static_cast<ssize_t>(bytes));
        CHECK(host.send(far.get(), piece.data(), piece.size()) == static_cast<ssize_t>(bytes));
        co_return 0;
      }(one.bytes, taken);
    });
    const Report report = world.run_for(1s);
    CHECK_MESSAGE(report.passed, report.to_string());
    CHECK(std::abs(taken - one.pieces) <= 1);
  }
}

TEST_CASE("a Unix name says what is wrong with it, and belongs to one host") {
  World world(1);
  world.process("other", [] { return answer_lines("@elsewhere"); }, "10.0.0.2");
  world.process(
      "rover",
      [] {
        return []() -> Task<int> {
          auto taken = UnixListener::listen("/tmp/taken").or_throw();
          auto abstract = UnixListener::listen("@taken").or_throw();
          CHECK(UnixListener::listen("/tmp/taken").code() == EADDRINUSE);
          CHECK(UnixListener::listen("@taken").code() == EADDRINUSE);
          CHECK(UnixListener::listen("/no/folder/x").code() == ENOENT);
          CHECK(UnixDatagram::bind("/tmp/plain").code() == EADDRINUSE);
          struct Case {
            const char* name;
            int code;
          };
          for (const Case& one : {Case{"/tmp/none", ENOENT}, Case{"/tmp/plain", ECONNREFUSED},
                                  Case{"@nobody", ECONNREFUSED}, Case{"@elsewhere", ECONNREFUSED}}) {
            CAPTURE(one.name);
            auto connecting = UnixStream::connect(one.name);
            auto refused = co_await connecting;
            CHECK(refused.code() == one.code);
          }
          auto datagram = UnixDatagram::open().or_throw();
          auto joined = co_await datagram.connect("@taken");
          CHECK(joined.code() == EPROTOTYPE);
          co_return 0;
        }();
      },
      "10.0.0.1");
  world.file("rover", "/tmp/plain", "x");
  const Report report = world.run_for(1s);
  CHECK_MESSAGE(report.passed, report.to_string());
}

TEST_CASE("credentials and descriptors pass between processes") {
  World world(1);
  pid_t server_pid = 0;
  std::string heard;
  world.process(
      "server",
      [&] {
        return [](pid_t& mine, std::string& text) -> Task<int> {
          mine = horus::io::process_id();
          auto listener = UnixListener::listen("@pass").or_throw();
          auto stream = (co_await listener.accept()).or_throw();
          // The other end of a pipe that the client keeps.
          auto received = (co_await stream.recv_descriptor()).or_throw();
          horus::io::PipeWriter writer(std::move(received), "a passed pipe");
          auto written = co_await writer.write_all("through another process\n");
          static_cast<void>(text);
          co_return written.ok() ? 0 : 1;
        }(server_pid, heard);
      },
      "10.0.0.1");
  world.process(
      "client",
      [&] {
        return [](pid_t& expected, std::string& text) -> Task<int> {
          co_await horus::sleep(1ms);
          auto connecting = UnixStream::connect("@pass");
          auto stream = (co_await connecting).or_throw();
          ucred peer{};
          socklen_t size = sizeof peer;
          auto& system = horus::io::Reactor::current()->system();
          CHECK(system.get_option(stream.fd(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0);
          CHECK(peer.pid == expected);
          auto [reader, writer] = horus::io::make_pipe().or_throw();
          auto sent = co_await stream.send_descriptor(writer.fd());
          CHECK(sent.ok());
          auto closed = co_await writer.close();
          CHECK(closed.ok());
          text = (co_await reader.read_line()).or_throw();
          auto end = co_await reader.read_line();
          CHECK(end.code() == horus::kEndOfStream);
          co_return 0;
        }(server_pid, heard);
      },
      "10.0.0.1");
  const Report report = world.run_for(10s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(heard == "through another process");
}

TEST_CASE("datagrams arrive whole and in order, and a sender waits for a slow receiver") {
  World world(1);
  int right = 0;
  world.process(
      "log",
      [&] {
        return [](int& count) -> Task<int> {
          auto socket = UnixDatagram::bind("/tmp/log").or_throw();
          std::string buffer(64, '\0');
          for (; count < 200; ++count) {
            auto datagram = (co_await socket.recv_from(buffer)).or_throw();
            if (buffer.substr(0, datagram.size) != std::to_string(count)) co_return 1;
            if (count % 50 == 0) co_await horus::sleep(10ms);
          }
          co_return 0;
        }(right);
      },
      "10.0.0.1");
  world.process(
      "writer",
      [] {
        return []() -> Task<int> {
          co_await horus::sleep(1ms);
          auto socket = UnixDatagram::open().or_throw();
          const auto to = horus::io::Address::unix_path("/tmp/log").or_throw();
          for (int i = 0; i < 200; ++i) {
            const std::string text = std::to_string(i);
            auto sent = co_await socket.send_to(text, to);
            std::move(sent).or_throw();
          }
          co_return 0;
        }();
      },
      "10.0.0.1");
  const Report report = world.run_for(10s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(right == 200);
}

TEST_CASE("a sequenced-packet pair keeps the borders of its messages") {
  World world(1);
  world.process("pair", [] {
    return []() -> Task<int> {
      auto& system = horus::io::Reactor::current()->system();
      int ends[2];
      REQUIRE(system.socket_pair(ends, AF_UNIX, SOCK_SEQPACKET) == 0);
      UnixStream one{horus::io::Descriptor(ends[0])};
      UnixStream other{horus::io::Descriptor(ends[1])};
      auto first = co_await one.write_all("first");
      auto second = co_await one.write_all("second");
      CHECK((first.ok() && second.ok()));
      std::string buffer(64, '\0');
      auto read = co_await other.read(buffer);
      CHECK(buffer.substr(0, *read) == "first");
      read = co_await other.read(buffer);
      CHECK(buffer.substr(0, *read) == "second");
      co_return 0;
    }();
  });
  const Report report = world.run_for(1s);
  CHECK_MESSAGE(report.passed, report.to_string());
}

TEST_CASE("a killed process leaves its peer the end of the stream, and its socket file") {
  World world(1);
  int code = 0;
  world.process("server", [] { return answer_lines("/tmp/x.sock"); }, "10.0.0.1");
  world.process(
      "client",
      [&] {
        return [](int& last) -> Task<int> {
          co_await horus::sleep(1ms);
          auto connecting = UnixStream::connect("/tmp/x.sock");
          auto stream = (co_await connecting).or_throw();
          auto end = co_await stream.read_line();
          CHECK(end.code() == horus::kEndOfStream);
          connecting = UnixStream::connect("/tmp/x.sock");
          auto again = co_await connecting;
          last = again.code();
          co_return 0;
        }(code);
      },
      "10.0.0.1");
  world.at(1s).kill("server");
  const Report report = world.run_for(2s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(code == ECONNREFUSED);
}

TEST_CASE("commands come through a FIFO from another process") {
  World world(1);
  std::string heard;
  world.process(
      "rover",
      [&] {
        return [](std::string& text) -> Task<int> {
          auto making = Fifo::create("/tmp/commands");
          auto made = co_await making;
          std::move(made).or_throw();
          auto opening = Fifo::open_read("/tmp/commands", FifoEnd::stays);
          auto commands = (co_await opening).or_throw();
          while (text.find("stop") == std::string::npos) {
            auto line = co_await commands.read_line();
            text += std::move(line).or_throw() + ";";
          }
          co_return 0;
        }(heard);
      },
      "10.0.0.1");
  world.process(
      "operator",
      [] {
        return []() -> Task<int> {
          co_await horus::sleep(10ms);
          for (const char* command : {"go\n", "faster\n", "stop\n"}) {
            auto opening = Fifo::open_write("/tmp/commands");
            auto writer = (co_await opening).or_throw();
            auto written = co_await writer.write_all(command);
            std::move(written).or_throw();
            co_await horus::sleep(5ms);
          }
          co_return 0;
        }();
      },
      "10.0.0.1");
  const Report report = world.run_for(10s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(heard == "go;faster;stop;");
}

TEST_CASE("names of the world are resolved, others are not found") {
  World world(1);
  world.name("camera.local", "10.0.0.7").name("camera.local", "fe80::7");
  world.process(
      "rover",
      [] {
        return []() -> Task<int> {
          struct Case {
            const char* name;
            std::size_t count;
            const char* first;
          };
          for (const Case& one : {Case{"localhost", 2, "127.0.0.1:80"},
                                  Case{"camera.local", 2, "10.0.0.7:80"}, Case{"rover", 1, "10.0.0.1:80"}}) {
            CAPTURE(one.name);
            auto resolving = horus::io::resolve(one.name, 80);
            auto found = co_await resolving;
            REQUIRE(found.ok());
            CHECK(found->size() == one.count);
            CHECK(found->front().to_string() == one.first);
          }
          auto resolving = horus::io::resolve("nobody.local", 80);
          auto nobody = co_await resolving;
          CHECK(nobody.code() == horus::kNameNotFound);
          co_return 0;
        }();
      },
      "10.0.0.1");
  const Report report = world.run_for(10s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK_THROWS_AS(world.name("x", "not numeric"), std::invalid_argument);
}

TEST_CASE("what a process prints is kept, and its input has ended") {
  World world(1);
  world.process("talker", [] {
    return []() -> Task<int> {
      auto output = horus::io::standard_output().or_throw();
      auto written = co_await output.write_all("hello\n");
      auto input = horus::io::standard_input().or_throw();
      auto end = co_await input.read_line();
      CHECK(end.code() == horus::kEndOfStream);
      co_return written.ok() ? 0 : 1;
    }();
  });
  const Report report = world.run_for(1s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(world.output("talker") == "hello\n");
}
