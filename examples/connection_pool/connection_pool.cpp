// SPDX-License-Identifier: Apache-2.0
// Connection pool: ten tasks share two TCP connections to a server of this program.
#include <horus/horus.hpp>

using namespace horus::literals;
using horus::io::TcpListener;
using horus::io::TcpStream;

using Pool = horus::ConnectionPool<TcpStream>;

horus::Task<> answer(TcpStream client) {
  while (true) {
    auto line = co_await client.read_line();
    if (!line) co_return;
    auto written = co_await client.write_all("you said " + *line + "\n");
    if (!written) co_return;
  }
}

horus::Task<> serve(TcpListener& listener, int& connections) {
  horus::Scope clients("clients", horus::Failures::log);
  while (true) {
    auto client = co_await listener.accept();
    if (!client) break;
    ++connections;
    static_cast<void>(clients.spawn(answer(std::move(*client))));
  }
  clients.cancel();
  co_await clients.join();
}

horus::Task<> ask(Pool& pool, int number, int& right) {
  auto lease = (co_await pool.acquire(1s)).or_throw();  // ours until the end of this function
  auto written = co_await lease->write_all(fmt::format("{}\n", number));
  auto line = co_await lease->read_line();
  if (!written || !line) {
    lease.discard();  // nobody else shall have it
    co_return;
  }
  if (*line == fmt::format("you said {}", number)) ++right;
}

horus::Task<> run() {
  auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
  const std::string address = listener.local_address().to_string();
  int connections = 0;
  int right = 0;
  horus::Scope server;
  static_cast<void>(server.spawn(serve(listener, connections)));

  auto connect = [&]() -> horus::Task<horus::Result<Pool::Connection>> {
    auto stream = co_await TcpStream::connect(address);
    if (!stream) co_return stream.error();
    co_return std::make_unique<TcpStream>(std::move(*stream));
  };
  horus::ConnectionPoolOptions options;
  options.max_connections = 2;
  Pool pool(connect, options);

  std::vector<horus::Task<>> questions;
  for (int number = 0; number < 10; ++number) questions.push_back(ask(pool, number, right));
  co_await horus::when_all(std::move(questions));
  fmt::print("{} answers over {} connections\n", right, connections);

  pool.close();
  server.cancel();
  co_await server.join();
}

int main() { horus::io::run(run()); }
