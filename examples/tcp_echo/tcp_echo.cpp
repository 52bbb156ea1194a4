// SPDX-License-Identifier: Apache-2.0
// A TCP server that sends everything back, and a client that tries it. The server receives into buffers that all
// connections share, and sends the same buffers back: nothing is copied.
#include <array>

#include <horus/horus.hpp>

using namespace horus::literals;
using namespace horus::io;

horus::Task<horus::Result<>> echo(TcpStream stream, BufferPool& pool) {
  ChunkReader reader(stream.fd(), pool);
  ChunkWriter writer(stream.fd());
  while (true) {
    auto chunk = co_await reader.next();
    if (!chunk) break;  // the client has closed, or its connection broke
    auto queued = co_await writer.send(*std::move(chunk));
    if (!queued) co_return queued;
  }
  co_return co_await writer.flush();
}

horus::Task<> serve(TcpListener& listener) {
  BufferPool pool;
  // One task per connection. A connection that breaks is a line in the log; the others go on.
  horus::Scope connections("connection", horus::Failures::log);
  while (true) {
    auto stream = co_await listener.accept();
    if (!stream) break;  // asked to stop
    connections.spawn(echo(*std::move(stream), pool));
  }
  co_await connections.join();
}

horus::Task<> run() {
  auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
  horus::Scope scope;
  auto server = scope.spawn(serve(listener), "server");

  auto stream = (co_await TcpStream::connect(listener.local_address())).or_throw();
  for (const std::string_view word : {"hello", "again"}) {
    (co_await stream.write_all(word)).or_throw();
    std::array<char, 5> answer;
    (co_await stream.read_exact(answer)).or_throw();
    fmt::print("echo: {}\n", std::string_view(answer.data(), answer.size()));
  }
  (co_await stream.close()).or_throw();
  server.cancel();
  co_await scope.join();
}

int main() { horus::io::run(run()); }
