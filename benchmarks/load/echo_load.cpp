// SPDX-License-Identifier: Apache-2.0
//
// Load for the echo servers: a closed loop of `--connections` connections with `--pipeline` messages of `--size`
// bytes in flight on each. One thread on epoll; every echoed byte is compared with what was sent.
//
//   echo_load --port N [--connections 50] [--size 64] [--pipeline 1] [--seconds 1] [--warmup 0.2]
//             [--spin] [--server-pid PID] [--json]
//
// Prints requests, rps and latency percentiles of the measured window; with --server-pid also the CPU time that all
// threads of the server took in that very window, from the server's process CPU clock (the sum of what
// /proc/PID/task/*/schedstat shows, current to the nanosecond). --spin polls instead of sleeping.

#include <cerrno>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../common/arguments.hpp"
#include "../common/measure.hpp"

namespace {

constexpr std::size_t kChunk = 256 * 1024;
constexpr std::size_t kPatternPeriod =
    4093;  // prime: a byte that is misplaced by a message or a page is seen

struct Options {
  int port;
  std::size_t connections;
  std::size_t size;
  std::size_t pipeline;
  double seconds;
  double warmup;
  bool spin;
  int server_pid;
  bool json;
};

// Byte i of every stream is pattern[(i + phase) % period], so a chunk is checked by one memcmp.
class Pattern {
 public:
  Pattern() : bytes_(kChunk + kPatternPeriod) {
    bench::Random random;
    for (std::size_t i = 0; i < bytes_.size(); ++i)
      bytes_[i] = i < kPatternPeriod ? static_cast<char>(random()) : bytes_[i - kPatternPeriod];
  }
  const char* at(std::uint64_t position) const { return bytes_.data() + position % kPatternPeriod; }

 private:
  std::vector<char> bytes_;
};

struct Connection {
  int fd = -1;
  std::size_t index = 0;
  std::uint64_t queued = 0;  // bytes that shall be sent, since the beginning
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  bool waits_for_room = false;
  std::vector<std::uint64_t> started_ns;  // per message in flight
};

class Load {
 public:
  explicit Load(const Options& options)
      : options_(options), inbox_(kChunk), connections_(options.connections) {
    poller_ = epoll_create1(EPOLL_CLOEXEC);
    if (poller_ < 0) bench::fail("epoll_create1", errno);
    for (std::size_t i = 0; i < connections_.size(); ++i) connect(connections_[i], i);
  }

  ~Load() {
    for (auto& connection : connections_) close(connection.fd);
    close(poller_);
  }

  void run_until(std::uint64_t stop_ns) {
    epoll_event events[256];
    while (bench::monotonic_ns() < stop_ns) {
      int ready = epoll_wait(poller_, events, 256, options_.spin ? 0 : 50);
      if (ready < 0 && errno != EINTR) bench::fail("epoll_wait", errno);
      for (int i = 0; i < ready; ++i) {
        auto& connection = *static_cast<Connection*>(events[i].data.ptr);
        if ((events[i].events & EPOLLOUT) != 0) flush(connection);
        if ((events[i].events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) receive(connection);
      }
    }
  }

  void start() {
    std::uint64_t now = bench::monotonic_ns();
    for (auto& connection : connections_) {
      connection.started_ns.assign(options_.pipeline, now);
      connection.queued = options_.size * options_.pipeline;
      flush(connection);
    }
  }

  bench::Histogram latency;
  std::uint64_t requests_total = 0;

 private:
  void connect(Connection& connection, std::size_t index) {
    connection.index = index;
    connection.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection.fd < 0) bench::fail("socket " + std::to_string(index), errno);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(options_.port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(connection.fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
      bench::fail("connect 127.0.0.1:" + std::to_string(options_.port), errno);
    int on = 1;
    setsockopt(connection.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    fcntl(connection.fd, F_SETFL, O_NONBLOCK);
    watch(EPOLL_CTL_ADD, connection, EPOLLIN);
  }

  void watch(int operation, Connection& connection, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = &connection;
    if (epoll_ctl(poller_, operation, connection.fd, &event) != 0) bench::fail("epoll_ctl", errno);
  }

  // Position of a byte in the shared pattern: every connection starts elsewhere in it.
  static std::uint64_t phase(const Connection& connection, std::uint64_t position) {
    return position + connection.index * 31;
  }

  void flush(Connection& connection) {
    while (connection.sent < connection.queued) {
      std::size_t length = std::min<std::uint64_t>(connection.queued - connection.sent, kChunk);
      const char* bytes = pattern_.at(phase(connection, connection.sent));
      ssize_t sent = send(connection.fd, bytes, length, MSG_NOSIGNAL);
      if (sent < 0 && errno == EAGAIN) break;
      if (sent < 0) bench::fail("send on connection " + std::to_string(connection.index), errno);
      connection.sent += static_cast<std::uint64_t>(sent);
    }
    bool full = connection.sent < connection.queued;
    if (full != connection.waits_for_room) {
      connection.waits_for_room = full;
      watch(EPOLL_CTL_MOD, connection, full ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
  }

  void receive(Connection& connection) {
    ssize_t received = recv(connection.fd, inbox_.data(), inbox_.size(), 0);
    if (received < 0 && errno == EAGAIN) return;
    std::string name = "connection " + std::to_string(connection.index);
    if (received < 0) bench::fail("receive on " + name, errno);
    if (received == 0) bench::fail("the server closed " + name);
    auto length = static_cast<std::size_t>(received);
    if (connection.received + length > connection.sent) bench::fail(name + " echoed more than was sent");
    if (std::memcmp(inbox_.data(), pattern_.at(phase(connection, connection.received)), length) != 0)
      bench::fail(name + " echoed other bytes than were sent, after byte " +
                  std::to_string(connection.received));

    std::uint64_t first = connection.received / options_.size;
    connection.received += length;
    std::uint64_t end = connection.received / options_.size;
    std::uint64_t now = bench::monotonic_ns();
    for (std::uint64_t message = first; message < end; ++message) {
      std::uint64_t& started_ns = connection.started_ns[message % options_.pipeline];
      latency.record(now - started_ns);
      started_ns = now;
      connection.queued += options_.size;
    }
    requests_total += end - first;
    flush(connection);
  }

  Options options_;
  Pattern pattern_;
  std::vector<char> inbox_;
  std::vector<Connection> connections_;
  int poller_ = -1;
};

void allow_many_descriptors() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
}

Options parse(int argc, char** argv) {
  bench::Arguments arguments(argc, argv);
  Options options{};
  options.port = static_cast<int>(arguments.count("--port", 0));
  options.connections = arguments.count("--connections", 50);
  options.size = arguments.count("--size", 64);
  options.pipeline = arguments.count("--pipeline", 1);
  options.seconds = arguments.number("--seconds", 1);
  options.warmup = arguments.number("--warmup", 0.2);
  options.spin = arguments.flag("--spin");
  options.server_pid = static_cast<int>(arguments.count("--server-pid", 0));
  options.json = arguments.flag("--json");
  arguments.finish();
  if (options.port == 0 || options.connections == 0 || options.size == 0 || options.pipeline == 0)
    bench::fail("--port, --connections, --size and --pipeline want to be above 0");
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  Options options = parse(argc, argv);
  allow_many_descriptors();
  clockid_t server_clock{};
  if (options.server_pid != 0) {
    if (int error = clock_getcpuclockid(options.server_pid, &server_clock); error != 0)
      bench::fail("CPU clock of process " + std::to_string(options.server_pid), error);
  }
  auto server_cpu_ns = [&] { return options.server_pid != 0 ? bench::clock_ns(server_clock) : 0; };

  Load load(options);
  load.start();
  load.run_until(bench::monotonic_ns() + static_cast<std::uint64_t>(options.warmup * 1e9));
  load.latency.clear();

  std::uint64_t start_ns = bench::monotonic_ns();
  std::uint64_t server_start_ns = server_cpu_ns();
  load.run_until(start_ns + static_cast<std::uint64_t>(options.seconds * 1e9));
  double server_us = static_cast<double>(server_cpu_ns() - server_start_ns) / 1e3;
  double elapsed_s = static_cast<double>(bench::monotonic_ns() - start_ns) / 1e9;

  auto requests = static_cast<double>(load.latency.count());
  if (requests == 0) bench::fail("no request was answered");
  bench::Report report;
  report.add("requests", load.latency.count());
  report.add("rps", requests / elapsed_s);
  report.add("p50_us", load.latency.quantile_us(0.5));
  report.add("p99_us", load.latency.quantile_us(0.99));
  report.add("p999_us", load.latency.quantile_us(0.999));
  report.add("max_us", static_cast<double>(load.latency.max()) / 1e3);
  report.add("requests_total", load.requests_total);
  if (options.server_pid != 0) report.add("server_cpu_us", server_us / requests);
  report.print(options.json);
}
