// SPDX-License-Identifier: Apache-2.0
// Whom a hub knows of: it looks into the directories again and again, and connects to whoever is there until there is a
// session. The transport's reactor.
#include <algorithm>
#include <cerrno>
#include <utility>

#include <sys/stat.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/seam/system.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/shm/shm_hints.hpp>
#include <horus/msg/shm/shm_session.hpp>
#include <horus/msg/shm/shm_transport.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kScanLeast = seconds(1);
constexpr Duration kScanMost = seconds(5);
constexpr Duration kHintRest = milliseconds(20);  // between two scans that hints asked for
constexpr Duration kRetryFirst = milliseconds(100);
constexpr Duration kRetryMost = seconds(4);
constexpr Duration kLetThemCome = milliseconds(50);  // the hub with the smaller instance connects first
constexpr std::size_t kDialing = 32;                 // at a time
constexpr std::size_t kMaxMembers = 4096;

Task<Result<>> until_set(Event& event) {
  co_await event.wait();
  co_return Result<>();
}

}  // namespace

Duration ShmTransport::chance(Duration least, Duration most) {
  std::uint32_t number = 0;
  reactor_->system().random_bytes(&number, sizeof number);
  return least + Duration((most - least).count() / 1024 * (number % 1024));
}

void ShmTransport::look_again() { look_.set(); }

Task<> ShmTransport::look_around(std::shared_ptr<ShmTransport> self) {
  ShmTransport& hub = *self;
  std::int64_t next_scan_ns = 0;
  while (true) {
    if (hub.hinted_ || now_ns() >= next_scan_ns) {
      hub.hinted_ = false;
      auto scanning = hub.scan();
      co_await scanning;
      next_scan_ns = now_ns() + hub.chance(kScanLeast, kScanMost).count();
    }
    const std::int64_t next_ns = std::min(next_scan_ns, hub.dial_whom_is_due());
    hub.look_.reset();
    if (!hub.hinted_) {
      const Duration pause(std::max<std::int64_t>(next_ns - now_ns(), 1'000'000));
      static_cast<void>(co_await with_timeout(pause, until_set(hub.look_)));
      if (!hub.alive()) co_return;
    }
    if (hub.hinted_) co_await sleep(hub.chance(milliseconds(1), kHintRest));  // many start at the same moment
  }
}

// One look at all directories, a piece at a time.
Task<> ShmTransport::scan() {
  ++scans_;
  keep_socket();
  std::map<std::string, std::string> wanted{{socket_prefix(hub_), hub_}};
  for (const auto& port : ports()) {
    if (port->info().link) wanted.emplace(socket_prefix(port->info().peer), port->info().peer);
  }
  std::vector<std::string> there;
  for (const std::string& directory : directories_) {
    struct stat status{};
    if (io::System::here().status(directory.c_str(), status) < 0 || !S_ISDIR(status.st_mode)) continue;
    if (status.st_uid != io::System::here().user() || (status.st_mode & 0022) != 0) {
      say(fmt::format("hub {}: {} belongs to somebody else: nobody is looked for there", hub_, directory));
      continue;
    }
    auto reader = DirectoryReader::open(directory);
    if (!reader) {
      own_problems_[directory] = reader.error().message();
      continue;
    }
    own_problems_.erase(directory);
    there.push_back(directory);
    std::vector<std::string> names;
    while (reader->read(names)) {
      for (const std::string& name : names) {
        if (is_temporary(name)) sweep_temporary(directory + "/" + name);
        for (const auto& [prefix, hub] : wanted) {
          const auto instance = instance_of(name, prefix);
          if (instance && *instance != instance_) found(directory, name, *instance);
        }
      }
      names.clear();
      co_await yield();
    }
  }
  std::erase_if(members_,
                [&](const auto& entry) { return entry.second.seen != scans_ && !entry.second.dialing; });
  publish_state();
  const std::shared_ptr<DirectoryHints> hints = DirectoryHints::here();
  hints->ask(weak_from_this(), waker_, there, [this] {
    hinted_ = true;
    look_.set();
  });
  begin(DirectoryHints::serve(hints), "look for hubs");
}

void ShmTransport::found(const std::string& directory, const std::string& name, std::uint64_t instance) {
  if (members_.size() >= kMaxMembers && !members_.contains(instance)) return;
  const auto [entry, fresh] = members_.try_emplace(instance);
  Member& member = entry->second;
  member.seen = scans_;
  if (!fresh) return;
  member.directory = directory;
  member.name = name;
  member.next_ns = now_ns() + (instance_ < instance ? 0 : kLetThemCome.count());
}

// Whoever cleared up here may have taken our socket for old. A hub that closes is not to be found again: its folder may
// have been removed with it.
void ShmTransport::keep_socket() {
  if (closing_ || is_still_there(directory_ + "/" + name_, inode_)) return;
  const std::string before = directory_;
  auto bound = bind();
  if (bound) {
    own_problems_.erase(before);
    log_warning(
        fmt::format("hub {}: somebody removed {}/{}: bound anew in {}", hub_, before, name_, directory_));
    return;
  }
  own_problems_[before] = fmt::format("nobody can find this hub: {}", bound.error().message());
  say(fmt::format("hub {}: {}", hub_, own_problems_[before]));
}

// Gives when somebody is due next.
std::int64_t ShmTransport::dial_whom_is_due() {
  const std::int64_t now = now_ns();
  std::int64_t next_ns = INT64_MAX;
  std::size_t dialing = 0;
  for (const auto& [instance, member] : members_) dialing += member.dialing ? 1 : 0;
  for (auto& [instance, member] : members_) {
    if (member.dialing || established_.contains(instance)) continue;
    if (member.next_ns > now || dialing >= kDialing) {
      next_ns = std::min(next_ns, std::max(member.next_ns, now + kRetryFirst.count()));
      continue;
    }
    if (!make_room()) {
      try_later(member, fmt::format("{} peers are the limit: ShmOptions::max_peers", options_.max_peers));
      next_ns = std::min(next_ns, member.next_ns);
      continue;
    }
    member.dialing = true;
    ++dialing;
    if (!begin(dial(shared_from_this(), instance), "hub session")) return INT64_MAX;
  }
  return next_ns;
}

void ShmTransport::try_later(Member& member, std::string problem) {
  member.pause = std::clamp(member.pause * 2, kRetryFirst, kRetryMost);
  member.next_ns = now_ns() + chance(member.pause * 9 / 10, member.pause * 11 / 10).count();
  member.problem = std::move(problem);
}

Task<> ShmTransport::dial(std::shared_ptr<ShmTransport> self, std::uint64_t instance) {
  ShmTransport& hub = *self;
  const std::string path = hub.members_[instance].directory + "/" + hub.members_[instance].name;
  auto connecting = io::UnixStream::connect(path, hub.options_.handshake_limit);
  auto stream = co_await connecting;
  if (stream) {
    auto serving = serve(self, std::move(*stream), "shm " + path);
    co_await serving;
  }
  if (!hub.alive()) co_return;
  const auto member = hub.members_.find(instance);
  if (member == hub.members_.end()) co_return;
  member->second.dialing = false;
  hub.look_again();
  if (stream) {
    // One that says nothing, or ends before it has said who it is, has no instance in its session.
    if (member->second.next_ns <= now_ns()) hub.try_later(member->second, member->second.problem);
    co_return;
  }
  if (stream.code() == ECONNREFUSED) static_cast<void>(io::System::here().unlink(path.c_str()));
  if (stream.code() == ECONNREFUSED || stream.code() == ENOENT) {
    hub.members_.erase(member);
  } else {
    hub.try_later(member->second,
                  stream.code() == EAGAIN || stream.code() == ETIMEDOUT
                      ? std::string("it takes no connections: it is stopped, or something keeps its "
                                    "thread busy")
                      : stream.error().message());
  }
  hub.publish_state();
}

}  // namespace horus::HORUS_ABI::msg
