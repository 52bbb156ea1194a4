// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/inspect.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <deque>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/config/tree.hpp>
#include <horus/msg/door/doorstep.hpp>
#include <horus/msg/door/frames.hpp>
#include <horus/msg/door/talk.hpp>

namespace horus::HORUS_ABI::inspect {
namespace {

namespace door = msg::door;

constexpr std::size_t kReadBytes = std::size_t{64} * 1024;
constexpr std::size_t kMostKeptBytes = std::size_t{4} << 20;  // of messages that come before an answer
constexpr std::size_t kMostTopics = 65536;
constexpr std::size_t kMostNodes = 65536;
constexpr std::size_t kListed = 8;  // programs that a message names

struct Limit {
  std::int64_t until_ns;
  explicit Limit(Duration timeout) : until_ns(saturating_add(monotonic_ns(), timeout.count())) {}
  [[nodiscard]] bool passed() const { return monotonic_ns() >= until_ns; }
  [[nodiscard]] int ms() const {
    const Duration left(std::max<std::int64_t>(until_ns - monotonic_ns(), 0));
    return static_cast<int>(
        std::min<std::int64_t>(std::chrono::ceil<std::chrono::milliseconds>(left).count(), 60'000));
  }
};

struct Kept {
  door::DataHead head;
  bool ended = false;
  std::vector<std::byte> bytes;
};

struct Found {
  std::string path;
  pid_t pid;
};

std::vector<Found> find_doors(const ClientOptions& options) {
  std::vector<Found> found;
  for (const std::string& folder : door::folders(options.directory)) {
    for (const std::string& name : door::doors_in(folder)) {
      if (const auto pid = door::pid_in(name)) found.push_back({folder + "/" + name, *pid});
    }
  }
  return found;
}

std::string listed(const std::vector<Process>& processes) {
  if (processes.empty()) return "no program with an open door runs here";
  std::string list = "there are: ";
  for (std::size_t i = 0; i < std::min(processes.size(), kListed); ++i)
    list += fmt::format("{}{} ({})", i == 0 ? "" : ", ", processes[i].name, processes[i].pid);
  return processes.size() > kListed ? list + ", ..." : list;
}

}  // namespace

struct Client::State {
  State(int fd, std::string path, Duration limit) : socket(fd), where(std::move(path)), timeout(limit) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (socket >= 0) ::close(socket);
  }

  Result<> write(const door::Request& request, const Limit& limit);
  Result<bool> wait_for_bytes(const Limit& limit);
  Result<std::optional<door::Frame>> next_frame(const Limit& limit);
  Result<door::Answer> ask(door::Request request);
  Result<door::Answer> answer_to(std::uint64_t id, const Limit& limit);
  Result<Process> greet(const Limit& limit);
  Result<> hear(const door::Answer& told);
  Result<> keep(door::FrameBytes payload);
  Result<Subscription> tap(door::Request request);
  [[nodiscard]] Error failed(int code, std::string_view why) const {
    return Error(code, "ask the program at", fmt::format("{}{}{}", where, why.empty() ? "" : ": ", why));
  }

  int socket;
  std::string where;
  Duration timeout;
  door::FrameReader in{door::kDataHead + door::kLongestMessage};
  std::uint64_t last_id = 0;
  std::deque<Kept> kept;
  std::size_t kept_bytes = 0;
  std::vector<std::byte> shown;                        // of the message that next() gave out of the kept ones
  std::map<std::uint32_t, std::uint64_t> missed;       // told by the program
  std::map<std::uint32_t, std::uint64_t> thrown_away;  // here
};

// --- Frames

Result<> Client::State::write(const door::Request& request, const Limit& limit) {
  std::vector<std::byte> bytes;
  door::append_text(bytes, door::write_request(request));
  for (std::size_t sent = 0; sent < bytes.size();) {
    const ssize_t some =
        ::send(socket, bytes.data() + sent, bytes.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (some > 0) {
      sent += static_cast<std::size_t>(some);
    } else if (errno == EAGAIN) {
      if (limit.passed()) return failed(ETIMEDOUT, "it reads nothing (is it stopped?)");
      pollfd room{socket, POLLOUT, 0};
      static_cast<void>(::poll(&room, 1, limit.ms()));
    } else if (errno == EPIPE || errno == ECONNRESET) {
      break;  // what it said before it closed is still to be read
    } else if (errno != EINTR) {
      return failed(errno, "");
    }
  }
  return {};
}

// False when none came in time.
Result<bool> Client::State::wait_for_bytes(const Limit& limit) {
  std::vector<std::byte> piece(kReadBytes);
  while (true) {
    const ssize_t bytes = ::recv(socket, piece.data(), piece.size(), MSG_DONTWAIT);
    if (bytes > 0) {
      in.append(door::FrameBytes(piece).first(static_cast<std::size_t>(bytes)));
      return true;
    }
    if (bytes == 0 || errno == ECONNRESET) return failed(EPIPE, "it has closed its door, or has ended");
    if (errno == EAGAIN) {
      if (limit.passed()) return false;
      pollfd readable{socket, POLLIN, 0};
      static_cast<void>(::poll(&readable, 1, limit.ms()));
    } else if (errno != EINTR) {
      return failed(errno, "");
    }
  }
}

Result<std::optional<door::Frame>> Client::State::next_frame(const Limit& limit) {
  while (true) {
    auto frame = in.next();
    if (!frame || *frame) return frame;
    auto came = wait_for_bytes(limit);
    if (!came) return came.error();
    if (!*came) return std::optional<door::Frame>();
  }
}

// --- Questions

Result<door::Answer> Client::State::ask(door::Request request) {
  const Limit limit(timeout);
  request.id = ++last_id;
  if (auto written = write(request, limit); !written) return written.error();
  return answer_to(request.id, limit);
}

Result<door::Answer> Client::State::answer_to(std::uint64_t id, const Limit& limit) {
  while (true) {
    auto frame = next_frame(limit);
    if (!frame) return frame.error();
    if (!*frame) {
      return failed(ETIMEDOUT, fmt::format("it has not answered for {} ms (is it stopped, or in a debugger?)",
                                           timeout / std::chrono::milliseconds(1)));
    }
    if ((*frame)->kind == door::FrameKind::data) {
      if (auto stored = keep((*frame)->payload); !stored) return stored.error();
      continue;
    }
    auto answer = door::read_answer((*frame)->payload);
    if (!answer) return answer;
    if (answer->id == id && answer->event.empty()) {
      if (!answer->error.empty()) return failed(EINVAL, answer->error);
      return answer;
    }
    if (auto heard = hear(*answer); !heard) return heard.error();
  }
}

Result<Process> Client::State::greet(const Limit& limit) {
  auto answer = answer_to(last_id, limit);
  if (!answer) return answer.error();
  if (!answer->process) return failed(kBadInput, "it does not say who it is");
  answer->process->socket = where;
  return std::move(*answer->process);
}

// What the program says by itself.
Result<> Client::State::hear(const door::Answer& told) {
  if (told.event == "closing") return failed(ECONNABORTED, "it closes the door: " + told.error);
  if (told.lowest &&
      (*told.lowest > door::kHighestVersion || told.highest.value_or(0) < door::kLowestVersion)) {
    return failed(
        EPROTO,
        fmt::format("it speaks versions {} to {} of the door's protocol, and this visitor {} to {}",
                    *told.lowest, told.highest.value_or(0), door::kLowestVersion, door::kHighestVersion));
  }
  if (told.subscription && told.missed) missed[*told.subscription] = *told.missed;
  if (told.subscription && told.event == "ended") kept.push_back({{*told.subscription, 0, 0}, true, {}});
  return {};
}

Result<> Client::State::keep(door::FrameBytes payload) {
  const auto data = door::read_data(payload);
  if (!data) return data.error();
  if (kept_bytes + data->message.size() + sizeof(Kept) > kMostKeptBytes) {
    ++thrown_away[data->head.subscription];
    return {};
  }
  kept_bytes += data->message.size() + sizeof(Kept);
  kept.push_back({data->head, false, {data->message.begin(), data->message.end()}});
  return {};
}

Result<Subscription> Client::State::tap(door::Request request) {
  request.kind = door::Request::Kind::tap;
  auto answer = ask(std::move(request));
  if (!answer) return answer.error();
  if (!answer->subscription || !answer->topics || answer->topics->size() != 1)
    return failed(kBadInput, "it does not say what it taps");
  return Subscription{*answer->subscription, std::move(answer->topics->front())};
}

// --- The client

Client::Client(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Client::Client(Client&& other) noexcept = default;
Client& Client::operator=(Client&& other) noexcept = default;
Client::~Client() = default;

Result<std::vector<Process>> Client::processes(const ClientOptions& options) {
  const Limit limit(options.timeout);
  // All are asked before the first answer is waited for: one that is stopped delays no other.
  std::vector<std::unique_ptr<State>> asked;
  for (const Found& found : find_doors(options)) {
    const int fd = door::knock(found.path);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE)) return Error(errno, "look for programs", found.path);
    if (fd < 0) continue;  // nobody is there any more, or it has no time for visitors
    auto state = std::make_unique<State>(fd, found.path, options.timeout);
    door::Request hello;
    hello.id = ++state->last_id;
    if (state->write(hello, limit)) asked.push_back(std::move(state));
  }
  std::vector<Process> processes;
  for (const auto& state : asked) {
    if (auto process = state->greet(limit)) processes.push_back(std::move(*process));
  }
  std::sort(processes.begin(), processes.end(), [](const Process& one, const Process& other) {
    return std::tie(one.pid, one.socket) < std::tie(other.pid, other.socket);
  });
  return processes;
}

Result<Client> Client::connect(std::string_view name, const ClientOptions& options) {
  const auto all = processes(options);
  if (!all) return all.error();
  std::vector<Process> same;
  std::vector<std::string> names;
  for (const Process& process : *all) {
    names.push_back(process.name);
    if (process.name == name) same.push_back(process);
  }
  if (same.size() == 1) return connect_to(same.front().socket, options);
  if (same.size() > 1)
    return Error(
        ENOTUNIQ, "connect",
        fmt::format("{} (several have this name; say which one by its pid. {})", name, listed(same)));
  const std::string near = config::nearest(name, names);
  return Error(
      ENOENT, "connect",
      fmt::format("{} ({}{})", name, near.empty() ? "" : "did you mean " + near + "? ", listed(*all)));
}

Result<Client> Client::connect(pid_t pid, const ClientOptions& options) {
  for (const Found& found : find_doors(options)) {
    if (found.pid != pid) continue;
    auto client = connect_to(found.path, options);
    if (client || client.code() != ECONNREFUSED) return client;
  }
  const auto all = processes(options);
  return Error(ENOENT, "connect",
               fmt::format("process {} ({})", pid, all ? listed(*all) : all.error().message()));
}

Result<Client> Client::connect_to(const std::string& socket, const ClientOptions& options) {
  const Limit limit(options.timeout);
  const int fd = door::knock(socket);
  if (fd < 0) return Error(errno, "connect", socket);
  auto state = std::make_unique<State>(fd, socket, options.timeout);
  door::Request hello;
  hello.id = ++state->last_id;
  if (auto written = state->write(hello, limit); !written) return written.error();
  if (auto process = state->greet(limit); !process) return process.error();
  return Client(std::move(state));
}

Result<Process> Client::process() {
  door::Request request;
  request.kind = door::Request::Kind::process;
  auto answer = state_->ask(std::move(request));
  if (!answer) return answer.error();
  if (!answer->process) return state_->failed(kBadInput, "it does not say who it is");
  answer->process->socket = state_->where;
  return std::move(*answer->process);
}

Result<std::vector<Topic>> Client::topics() {
  std::vector<Topic> topics;
  door::Request request;
  request.kind = door::Request::Kind::topics;
  while (true) {
    auto answer = state_->ask(request);
    if (!answer) return answer.error();
    if (!answer->topics) return state_->failed(kBadInput, "it does not say what it publishes");
    for (Topic& topic : *answer->topics) topics.push_back(std::move(topic));
    if (answer->more_after == 0) return topics;
    if (answer->more_after <= request.after || topics.size() > kMostTopics)
      return state_->failed(kBadInput, "its list of topics has no end");
    request.after = answer->more_after;
  }
}

Result<MessageType> Client::describe(std::uint64_t publisher) {
  door::Request request;
  request.kind = door::Request::Kind::describe;
  request.publisher = publisher;
  auto answer = state_->ask(std::move(request));
  if (!answer) return answer.error();
  if (!answer->type) return state_->failed(kBadInput, "it does not say what the messages are");
  return std::move(*answer->type);
}

Result<std::vector<Node>> Client::nodes() {
  std::vector<Node> nodes;
  door::Request request;
  request.kind = door::Request::Kind::nodes;
  while (true) {
    auto answer = state_->ask(request);
    if (!answer) return answer.error();
    if (!answer->nodes) return state_->failed(kBadInput, "it does not say what nodes it has");
    for (Node& node : *answer->nodes) nodes.push_back(std::move(node));
    if (answer->more_after == 0) return nodes;
    if (answer->more_after <= request.after || nodes.size() > kMostNodes)
      return state_->failed(kBadInput, "its list of nodes has no end");
    request.after = answer->more_after;
  }
}

Result<std::string> Client::tasks() {
  door::Request request;
  request.kind = door::Request::Kind::tasks;
  auto answer = state_->ask(std::move(request));
  if (!answer) return answer.error();
  if (!answer->tasks) return state_->failed(kBadInput, "it does not say what its tasks do");
  return std::move(*answer->tasks);
}

Result<> Client::act(Action action, std::string_view node) {
  door::Request request;
  request.kind = door::Request::Kind::act;
  request.action = action;
  request.node = node;
  auto answer = state_->ask(std::move(request));
  if (!answer) return answer.error();
  if (answer->done.value_or(0) == 0) return state_->failed(kBadInput, "it does not say that it did it");
  return {};
}

Result<Subscription> Client::tap(std::string_view topic, std::size_t max_bytes) {
  door::Request request;
  request.topic = topic;
  request.max_bytes = max_bytes;
  return state_->tap(std::move(request));
}

Result<Subscription> Client::tap(std::uint64_t publisher, std::size_t max_bytes) {
  door::Request request;
  request.publisher = publisher;
  request.max_bytes = max_bytes;
  return state_->tap(std::move(request));
}

Result<std::uint64_t> Client::untap(std::uint32_t subscription) {
  door::Request request;
  request.kind = door::Request::Kind::untap;
  request.subscription = subscription;
  auto answer = state_->ask(std::move(request));
  if (!answer) return answer.error();
  state_->missed[subscription] = answer->missed.value_or(0);
  return missed(subscription);
}

Result<std::optional<Message>> Client::next(Duration timeout) {
  State& state = *state_;
  const Limit limit(timeout);
  while (true) {
    if (!state.kept.empty()) {
      Kept oldest = std::move(state.kept.front());
      state.kept.pop_front();
      if (!oldest.ended) state.kept_bytes -= oldest.bytes.size() + sizeof(Kept);
      state.shown = std::move(oldest.bytes);
      return std::optional<Message>(Message{oldest.head.subscription, oldest.ended, oldest.head.published_ns,
                                            oldest.head.sequence, state.shown});
    }
    auto frame = state.next_frame(limit);
    if (!frame) return frame.error();
    if (!*frame) return std::optional<Message>();
    if ((*frame)->kind == door::FrameKind::data) {
      const auto data = door::read_data((*frame)->payload);
      if (!data) return data.error();
      return std::optional<Message>(Message{data->head.subscription, false, data->head.published_ns,
                                            data->head.sequence, data->message});
    }
    auto told = door::read_answer((*frame)->payload);
    if (!told) return told.error();
    if (auto heard = state.hear(*told); !heard) return heard.error();
  }
}

int Client::descriptor() const noexcept { return state_->socket; }

std::uint64_t Client::missed(std::uint32_t subscription) const {
  std::uint64_t sum = 0;
  for (const auto* counts : {&state_->missed, &state_->thrown_away}) {
    if (const auto found = counts->find(subscription); found != counts->end()) sum += found->second;
  }
  return sum;
}

}  // namespace horus::HORUS_ABI::inspect
