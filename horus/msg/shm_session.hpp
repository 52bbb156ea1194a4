// SPDX-License-Identifier: Apache-2.0
// One connection between two hubs that share memory: who is there, who wants what, and the links that came of it.
// The transport's reactor. Internal.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/io/unix.hpp>
#include <horus/msg/link_memory.hpp>
#include <horus/msg/port.hpp>
#include <horus/msg/shm_frames.hpp>
#include <horus/msg/transport.hpp>
#include <horus/task/event.hpp>
#include <horus/task/task.hpp>

namespace horus::msg {

class ShmTransport;

class ShmSession {
 public:
  ShmSession(ShmTransport& transport, std::uint64_t number, io::UnixStream stream, std::string address);
  ShmSession(const ShmSession&) = delete;
  ShmSession& operator=(const ShmSession&) = delete;
  ~ShmSession();

  /// From the handshake to the end of the peer. Then every link has ended, and its owner knows.
  Task<> run();
  /// A port of ours was opened.
  void announce(const Port& port);
  /// Another session with the same peer has ended, and what it had connected is to be connected again.
  void announce_again(const Port& port);
  /// One was closed.
  void withdraw(const PortInfo& port);

  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }
  [[nodiscard]] const std::string& peer() const noexcept { return hello_.instance; }

 private:
  struct RemotePublisher {
    PortInfo info;
    Layout layout;
  };
  struct Link {
    LinkMemory memory;
    std::weak_ptr<Outbox> outbox;  // one of the two
    std::weak_ptr<Inbox> inbox;
    std::uint64_t publisher;  // of a link with an inbox
  };

  Task<Result<>> greet();
  Task<> read();
  Task<> write();
  Task<> watch_process();
  Task<Result<shm::Frame>> read_frame();
  Task<Result<>> fill(std::size_t bytes);
  Result<> handle(shm::Frame frame);
  Result<> handle(const shm::Hello& frame);
  Result<> handle(shm::Publishes frame);
  Result<> handle(const shm::Gone& frame);
  Result<> handle(const shm::Subscribe& frame);
  Result<> handle(const shm::Connected& frame);
  Result<> handle(const shm::Refused& frame);
  Result<> connect(const shm::Subscribe& frame);
  void offer(RemotePublisher& remote, Port& port);
  // No duplicates of descriptors: closing one cancels what waits on the other.
  void send(const shm::Frame& frame, std::vector<int> descriptors = {},
            std::vector<std::shared_ptr<const void>> owners = {});
  void end_links(bool died) noexcept;
  void publish_state(bool connected, std::string problem = {});
  io::Descriptor take_descriptor();

  ShmTransport& transport_;
  const std::uint64_t number_;
  io::UnixStream stream_;
  const std::string address_;
  shm::Hello hello_;  // the peer's
  int pid_ = 0;
  bool up_ = false;
  Event ended_;
  std::string problem_;

  struct Outgoing {
    std::vector<std::byte> bytes;
    std::vector<int> descriptors;
    std::vector<std::shared_ptr<const void>> owners;  // of the descriptors, until they are sent
  };
  std::deque<Outgoing> outgoing_;
  Event to_write_;
  std::vector<std::byte> received_;
  std::deque<io::Descriptor> descriptors_;
  std::map<std::uint64_t, RemotePublisher> publishers_;
  std::vector<Link> links_;
};

}  // namespace horus::msg
