// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/play.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <regex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/cli/bag_command.hpp>
#include <horus/cli/json.hpp>
#include <horus/io/poll.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/signals.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/record/player.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>

#include <CLI/CLI.hpp>

namespace horus::cli {
namespace {

constexpr double kMost_s = 1e8;
constexpr double kMostClock_hz = 1000;
constexpr double kClock_hz = 40;
constexpr Duration kAgain = std::chrono::milliseconds(20);
constexpr Duration kStep = std::chrono::milliseconds(5);  // that one takes at most

struct Arguments {
  std::vector<std::string> files;
  std::string shm;
  std::string tcp;
  bool insecure = false;
  double rate = 1;
  bool loop = false;
  bool paused = false;
  double start_s = 0;
  double duration_s = 0;
  double delay_s = 0;
  std::vector<std::string> topics;
  std::string regex;
  std::string exclude;
  std::vector<std::string> remap;
  double clock_hz = 0;
  std::uint32_t subscribers = 0;
};

Duration seconds(double value) { return Duration(std::llround(value * 1e9)); }

PlayOptions options_of(const Arguments& arguments) {
  PlayOptions options;
  options.topics = arguments.topics;
  if (!arguments.regex.empty() || !arguments.exclude.empty()) {
    const std::regex wanted(arguments.regex);
    const std::regex unwanted(arguments.exclude);
    const bool excludes = !arguments.exclude.empty();
    options.wanted = [wanted, unwanted, excludes](const std::string& topic) {
      return std::regex_search(topic, wanted) && !(excludes && std::regex_search(topic, unwanted));
    };
  }
  for (const std::string& pair : arguments.remap) {
    const std::size_t sign = pair.find(":=");
    if (sign == std::string::npos || sign == 0 || sign + 2 == pair.size())
      throw CLI::ValidationError("--remap " + pair + ": the recorded topic, then :=, then the new one");
    options.renamed.insert_or_assign(pair.substr(0, sign), pair.substr(sign + 2));
  }
  options.rate = arguments.rate;
  options.loop = arguments.loop;
  options.paused = arguments.paused;
  options.start = seconds(arguments.start_s);
  options.length = seconds(arguments.duration_s);
  options.delay = seconds(arguments.delay_s);
  if (arguments.clock_hz > 0) options.clock = seconds(1 / arguments.clock_hz);
  options.subscribers = arguments.subscribers;
  return options;
}

// Bad ones are told before anything is done.
void check(const Arguments& arguments) {
  try {
    static_cast<void>(options_of(arguments));
  } catch (const std::regex_error& error) {
    throw CLI::ValidationError(fmt::format("{}{}: this is no regular expression ({})", arguments.regex,
                                           arguments.exclude, error.what()));
  }
}

// --- The terminal -----------------------------------------------------------------------------------------------------

// Keys come as they are pressed, without a line's end and without being shown, while standard input is this program's terminal.
class Terminal {
 public:
  Terminal() { take(); }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() { give_back(); }

  [[nodiscard]] bool has_keys() const noexcept { return taken_; }
  void take() noexcept {
    // In the background its settings belong to somebody else.
    if (taken_ || ::isatty(STDIN_FILENO) == 0 || ::tcgetpgrp(STDIN_FILENO) != ::getpgrp() ||
        ::tcgetattr(STDIN_FILENO, &before_) != 0)
      return;
    termios keys = before_;
    keys.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    keys.c_cc[VMIN] = 1;
    keys.c_cc[VTIME] = 0;
    // What was typed meanwhile was meant for somebody else.
    taken_ = ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &keys) == 0;
    if (taken_) come_.set();
  }
  void give_back() noexcept {
    if (!std::exchange(taken_, false)) return;
    ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
    come_.reset();
  }
  /// Set while it has keys.
  [[nodiscard]] Event& come() noexcept { return come_; }

 private:
  termios before_{};
  bool taken_ = false;
  Event come_;
};

void say(const std::string& line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

std::string position_of(const Player& player) {
  return fmt::format("at {:.3f} s", static_cast<double>(player.status().position.count()) / 1e9);
}

// Whether a step was taken.
bool press(Player& player, std::string_view keys) {
  bool steps = false;
  const auto step = [&] {
    player.pause();
    player.step();
    steps = true;
  };
  while (!keys.empty()) {
    if (keys.starts_with("\x1b[C") || keys.starts_with("\x1bOC")) {
      step();
      keys.remove_prefix(3);
      continue;
    }
    const char key = keys.front();
    keys.remove_prefix(1);
    if (key == ' ' && player.paused()) {
      player.resume();
      say("plays");
    } else if (key == ' ') {
      player.pause();
      say("paused " + position_of(player));
    } else if (key == 's') {
      step();
    } else if (key == 'q' || key == '\x04') {
      player.stop();
    }
  }
  return steps;
}

Task<> read_keys(Player& player, Terminal& terminal) {
  std::array<char, 64> keys{};
  while (true) {
    co_await terminal.come();
    const auto ready = co_await io::wait_readable(STDIN_FILENO);
    if (!ready && ready.error().cancelled()) co_return;
    if (!ready) {  // a terminal's wait may end with an error when the process was stopped meanwhile
      co_await sleep(kAgain);
      continue;
    }
    if (!terminal.has_keys()) continue;
    pollfd hint{STDIN_FILENO, POLLIN, 0};
    if (::poll(&hint, 1, 0) == 0) continue;
    const ssize_t count = ::read(STDIN_FILENO, keys.data(), keys.size());
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count <= 0) co_return;
    const bool steps = press(player, std::string_view(keys.data(), static_cast<std::size_t>(count)));
    if (!steps) continue;
    co_await sleep(kStep);
    say(position_of(player));
  }
}

Task<> obey_signals(io::SignalSet& signals, Player& player, Terminal& terminal, int& number) {
  while (true) {
    const auto signal = co_await signals.next();
    if (!signal) co_return;
    if (signal->number == SIGCONT) {  // perhaps it is in the foreground again
      terminal.take();
      continue;
    }
    if (signal->number != SIGTSTP) {
      number = signal->number;
      player.stop();
      continue;
    }
    const bool played = !player.paused();
    player.pause();
    terminal.give_back();
    static_cast<void>(::raise(SIGSTOP));  // here it stands still until SIGCONT
    terminal.take();
    if (played) player.resume();
    if (terminal.has_keys()) say(played ? "plays" : "paused " + position_of(player));
  }
}

// --- The command ------------------------------------------------------------------------------------------------------

// The hubs that the recording names, or the one that the arguments do.
class HubChoice {
 public:
  explicit HubChoice(const Arguments& arguments) : arguments_(arguments) {}

  std::vector<Hub> operator()(const std::string& /*topic*/, const std::string& recorded) {
    std::vector<Hub> hubs;
    if (arguments_.shm.empty() && arguments_.tcp.empty()) {
      if (!recorded.empty()) {
        hubs.push_back(named(recorded));
      } else if (!hubs_.empty()) {  // the clock
        for (const auto& [name, hub] : hubs_) hubs.push_back(hub);
      } else {
        throw Error(EINVAL, "play")
            .with_detail("(the recording does not say on which hub: --shm NAME or --tcp ADDRESS)");
      }
    } else {
      hubs.push_back(named(arguments_.shm.empty() ? "play" : arguments_.shm));
    }
    return hubs;
  }
  [[nodiscard]] std::string names() const {
    std::string all;
    for (const auto& [name, hub] : hubs_) all += (all.empty() ? "" : ", ") + name;
    return all;
  }

 private:
  Hub named(const std::string& name) {
    const auto known = hubs_.find(name);
    if (known != hubs_.end()) return known->second;
    Hub hub =
        arguments_.tcp.empty()
            ? Hub::shm(name).or_throw()
            : Hub::tcp(arguments_.tcp, name, TcpHubOptions().with_insecure(arguments_.insecure)).or_throw();
    return hubs_.emplace(name, std::move(hub)).first->second;
  }

  const Arguments& arguments_;
  std::map<std::string, Hub> hubs_;
};

std::string table_of(const PlayStatus& status) {
  std::size_t width = 5;
  for (const PlayedTopic& topic : status.topics) width = std::max(width, topic.topic.size());
  std::string out = fmt::format("{:<{}}  {:>9}  {:>7}  {:>7}  {:>7}\n", "topic", width, "published", "late",
                                "dropped", "failed");
  for (const PlayedTopic& topic : status.topics)
    out += fmt::format("{:<{}}  {:>9}  {:>7}  {:>7}  {:>7}\n", printable(topic.topic), width, topic.messages,
                       topic.late, topic.dropped, topic.failed);
  out += fmt::format("{} messages", status.messages);
  if (status.rounds > 1) out += fmt::format(" in {} rounds", status.rounds);
  if (status.late > 0)
    out += fmt::format("; {} came more than 10 ms late, the latest by {:.1f} ms", status.late,
                       static_cast<double>(status.latest.count()) / 1e6);
  return out;
}

Task<int> play(const Arguments& arguments) {
  auto opening = Player::open(arguments.files, options_of(arguments));
  auto opened = co_await opening;
  if (!opened) co_return complain(opened.error());
  Player& player = *opened;
  for (const std::string& line : player.status().left_out)
    fmt::print(stderr, "horus: not played: {}\n", printable(line));

  HubChoice hubs(arguments);
  io::SignalSet signals{SIGINT, SIGTERM, SIGHUP, SIGTSTP,
                        SIGCONT};  // first: none leaves the terminal as it is then
  Terminal terminal;
  int signal = 0;
  Scope scope("play");
  scope.spawn(obey_signals(signals, player, terminal, signal));
  if (terminal.has_keys()) {
    say(player.paused() ? "paused: SPACE plays, s or the right arrow steps, q ends"
                        : "SPACE pauses, s or the right arrow steps, q ends");
    scope.spawn(read_keys(player, terminal));
  }
  auto playing = scope.spawn(player.run(Player::Hubs(std::ref(hubs))));
  const Result<PlayStatus> played = co_await playing;
  scope.cancel();
  co_await scope.join();
  terminal.give_back();
  if (!played) co_return complain(played.error());
  say(table_of(*played));
  const bool somebody = std::any_of(played->topics.begin(), played->topics.end(),
                                    [](const PlayedTopic& topic) { return topic.sent > 0; });
  if (!somebody && played->messages > 0)
    fmt::print(stderr,
               "horus: nobody subscribed. A program meets this one through Hub::shm(\"{}\"); --shm NAME and "
               "--tcp ADDRESS "
               "name another hub, and --wait-for-subscribers waits\n",
               printable(arguments.tcp.empty() ? hubs.names() : arguments.tcp));
  if (played->messages == 0 && played->rounds > 0) {
    fmt::print(stderr, "horus: there was nothing to play: no message in this part of the recording\n");
    co_return 1;
  }
  co_return signal == 0 ? 0 : 128 + signal;
}

int run(const Arguments& arguments) {
  const int outcome = io::run(play(arguments));
  if (std::fflush(stdout) == 0) return outcome;
  std::perror("horus: standard output");
  return 1;
}

}  // namespace

void add_play(CLI::App& app, std::function<int()>& action) {
  auto arguments = std::make_shared<Arguments>();
  Arguments& given = *arguments;
  CLI::App* made = app.add_subcommand("play", "Publish what was recorded, in its time and with its types");
  made->footer(
      "On a terminal SPACE pauses and goes on, s or the right arrow publishes the next message, q ends.\n"
      "Exit code: 0; 1 when it cannot be played; 2 for wrong arguments; 128 and its number after a signal.");
  made->add_option("FILES", given.files, "The recordings, which are played as one")
      ->required()
      ->expected(1, -1);
  CLI::Option* shm =
      made->add_option("--shm", given.shm, "The hub in shared memory; without it those that were recorded");
  CLI::Option* tcp =
      made->add_option("--tcp", given.tcp, "The address of a hub on TCP, 127.0.0.1:8080")->excludes(shm);
  made->add_flag("--insecure", given.insecure, "Allow an address that other machines reach")->needs(tcp);
  made->add_option("-r,--rate", given.rate, "So many times as fast")
      ->check(CLI::Range(PlayOptions::kMinRate, PlayOptions::kMaxRate));
  made->add_flag("-l,--loop", given.loop, "Begin anew at the end");
  made->add_option("--start", given.start_s, "Seconds after the first message")
      ->check(CLI::Range(0.0, kMost_s));
  made->add_option("--duration", given.duration_s, "Seconds of the recording; 0: to its end")
      ->check(CLI::Range(0.0, kMost_s));
  made->add_option("-t,--topics,--topic", given.topics,
                   "Only this topic; * stands for any characters; may be repeated")
      ->allow_extra_args(false);
  made->add_option("--regex", given.regex, "Of these, topics in which this regular expression is found");
  made->add_option("--exclude-regex", given.exclude, "But not topics in which this one is found");
  made->add_option("--remap", given.remap, "OLD:=NEW, another name for a topic; may be repeated")
      ->allow_extra_args(false);
  made->add_flag("-p,--start-paused", given.paused, "Wait for SPACE");
  made->add_option("--delay", given.delay_s, "Seconds before the first message")
      ->check(CLI::Range(0.0, kMost_s));
  made->add_flag("--clock{40}", given.clock_hz,
                 fmt::format("Publish the recording's time on the topic clock, {} times a second; --clock=HZ",
                             kClock_hz))
      ->check(CLI::Range(0.0, kMostClock_hz));
  made->add_flag("--wait-for-subscribers{1}", given.subscribers,
                 "Begin when each topic has a subscriber; --wait-for-subscribers=N");
  made->callback([&action, arguments] {
    check(*arguments);
    action = [arguments] { return run(*arguments); };
  });
}

}  // namespace horus::cli
