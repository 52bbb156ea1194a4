// SPDX-License-Identifier: Apache-2.0
// TCP echo on Horus: one coroutine per connection, multishot receive into a shared buffer pool, sends behind.
//
//   echo_server --port N [--backend uring|epoll] [--threads K] [--buffers N] [--buffer-size N]
//
// Prints `listening on 127.0.0.1:PORT` and serves until SIGTERM or SIGINT. With several threads each has a reactor and
// a listener of its own on the same port (SO_REUSEPORT).
#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include <horus/horus.hpp>
#include <horus/io/chunk_stream.hpp>
#include <horus/io/signals.hpp>
#include <horus/io/tcp.hpp>

#include "common/arguments.hpp"

namespace io = horus::io;
using horus::Task;

namespace {

struct Options {
  std::uint16_t port = 0;
  std::uint32_t threads = 1;
  std::uint32_t buffers = 128;
  std::uint32_t buffer_size = 16 * 1024;
  io::BackendChoice backend = io::BackendChoice::automatic;
};

Task<> echo(io::TcpStream stream, io::BufferPool& pool) {
  io::ChunkReader reader(stream.fd(), pool);
  io::ChunkWriter writer(stream.fd());
  while (true) {
    auto chunk = co_await reader.next();
    if (!chunk) break;
    auto sent = co_await writer.send(*std::move(chunk));
    if (!sent) break;
  }
  static_cast<void>(co_await writer.flush());
}

Task<> accept_all(io::TcpListener& listener, io::BufferPool& pool, horus::Scope& connections) {
  while (true) {
    auto accepted = co_await listener.accept();
    if (!accepted) break;
    static_cast<void>(connections.spawn(echo(*std::move(accepted), pool)));
  }
}

Task<> serve(io::TcpListener listener, const Options& options) {
  io::BufferPool pool(options.buffers, options.buffer_size);
  horus::Scope connections("connections");
  auto accepting = accept_all(listener, pool, connections);
  co_await accepting;
  connections.cancel();
  co_await connections.join();
}

io::TcpListener listen_on(std::uint16_t port, bool shared) {
  io::ListenOptions options;
  options.reuse_port = shared;
  options.backlog = 4096;
  return io::TcpListener::listen("127.0.0.1:" + std::to_string(port), options).or_throw();
}

// One reactor's share: serves until its task is asked to stop.
void run_server(io::Reactor& reactor, io::TcpListener listener, const Options& options) {
  try {
    reactor.run(serve(std::move(listener), options));
  } catch (const horus::Error& error) {
    if (!error.cancelled()) throw;
  }
}

Task<> stop_on_signal(std::vector<std::atomic<io::Reactor*>>& reactors) {
  io::SignalSet signals{SIGINT, SIGTERM};
  auto next = signals.next();
  static_cast<void>(co_await next);
  for (auto& reactor : reactors) {
    if (io::Reactor* running = reactor.load()) running->stop();
  }
}

Options parse(int argc, char** argv) {
  Options options;
  bench::Arguments arguments(argc, argv);
  options.port = static_cast<std::uint16_t>(arguments.count("--port", 0));
  options.threads = static_cast<std::uint32_t>(arguments.count("--threads", 1));
  options.buffers = static_cast<std::uint32_t>(arguments.count("--buffers", options.buffers));
  options.buffer_size = static_cast<std::uint32_t>(arguments.count("--buffer-size", options.buffer_size));
  const std::string backend = arguments.text("--backend", "auto");
  if (backend == "uring") options.backend = io::BackendChoice::uring;
  if (backend == "epoll") options.backend = io::BackendChoice::epoll;
  arguments.finish();
  return options;
}

}  // namespace

int main(int argc, char** argv) try {
  const Options options = parse(argc, argv);
  const auto config = io::ReactorConfig().with_backend(options.backend);
  std::vector<std::atomic<io::Reactor*>> reactors(options.threads);
  io::Reactor here(config);
  reactors[0] = &here;
  io::TcpListener first = listen_on(options.port, options.threads > 1);
  const std::uint16_t port = first.local_address().port();
  std::vector<std::thread> threads;
  for (std::uint32_t i = 1; i < options.threads; ++i) {
    threads.emplace_back([&, i] {
      io::Reactor reactor(config);
      reactors[i] = &reactor;
      run_server(reactor, listen_on(port, true), options);
      reactors[i] = nullptr;
    });
  }
  fmt::print("listening on 127.0.0.1:{}\n", port);
  std::fflush(stdout);
  horus::RootChain<void> signals(stop_on_signal(reactors), "signals");
  signals.start();
  run_server(here, std::move(first), options);
  for (std::thread& thread : threads) thread.join();
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "echo_server: {}\n", error.what());
  return 1;
}
