// SPDX-License-Identifier: Apache-2.0
// A client of a line protocol, as many instruments speak it: send a command, read the answer line, within a time.
#include <horus/horus.hpp>

using namespace horus::literals;
using namespace horus::io;

// The instrument, so that this program runs alone.
horus::Task<> instrument(TcpListener& listener) {
  auto stream = (co_await listener.accept()).or_throw();
  auto lines = stream.lines();
  while (true) {
    auto line = co_await lines.next();
    if (!line || !*line) break;
    const std::string& command = **line;
    if (command == "SLOW?") continue;  // never answers
    const std::string answer = command == "*IDN?" ? "ACME,TH-1,42,1.0\r\n" : "21.5\r\n";
    (co_await stream.write_all(answer)).or_throw();
  }
}

horus::Task<horus::Result<std::string>> query(TcpStream& stream, std::string command) {
  auto sent = co_await stream.write_all(command + "\r\n");
  if (!sent) co_return sent.error();
  auto reading = stream.read_line();
  co_return co_await horus::with_timeout(200ms, std::move(reading));
}

horus::Task<> run() {
  auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
  horus::Scope scope;
  auto serving = scope.spawn(instrument(listener), "instrument");

  auto stream = (co_await TcpStream::connect(listener.local_address())).or_throw();
  for (const std::string command : {"*IDN?", "TEMP?", "SLOW?"}) {
    auto answer = co_await query(stream, command);
    fmt::print("{:6} {}\n", command, answer ? *answer : answer.error().message());
  }
  // Nobody listens there (any more): a failure says what was tried, and what to do.
  const auto address = listener.local_address();
  scope.cancel();
  co_await scope.join();
  (co_await listener.close()).or_throw();
  auto nobody = co_await TcpStream::connect(address);
  fmt::print("refused: {}\n", nobody.code() == ECONNREFUSED);
}

int main() { horus::io::run(run()); }
