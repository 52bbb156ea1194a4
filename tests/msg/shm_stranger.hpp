// SPDX-License-Identifier: Apache-2.0
// A peer that speaks the protocol of hubs on shared memory word by word, and may say anything. One thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <horus/io/time.hpp>
#include <horus/io/unix.hpp>
#include <horus/msg/shm/shm_frames.hpp>

class Stranger {
 public:
  explicit Stranger(horus::io::UnixStream stream) noexcept : stream_(std::move(stream)) {}

  static horus::Task<Stranger> connect(std::string path) {
    auto stream = co_await horus::io::UnixStream::connect(std::move(path));
    co_return Stranger(std::move(stream).or_throw());
  }
  /// Shakes hands as the hub that decides. False when it was not let in.
  horus::Task<bool> introduce(std::string hub, std::uint64_t instance = 1) {
    horus::msg::shm::Hello hello;
    hello.hub = std::move(hub);
    hello.instance = instance;
    static_cast<void>(co_await say(hello));
    auto theirs = co_await hear();
    if (!theirs || !std::holds_alternative<horus::msg::shm::Hello>(*theirs)) co_return false;
    if (std::get<horus::msg::shm::Hello>(*theirs).instance > instance) {
      auto said = co_await say(horus::msg::shm::Welcome{});
      co_return said;
    }
    auto answer = co_await hear();
    co_return answer&& std::holds_alternative<horus::msg::shm::Welcome>(*answer);
  }
  horus::Task<bool> say(horus::msg::shm::Frame frame, std::vector<int> descriptors = {}) {
    const auto bytes = horus::msg::shm::encode(frame);
    if (descriptors.empty()) {
      auto sent = co_await stream_.write_all(horus::io::Bytes(bytes));
      co_return sent.ok();
    }
    auto sent = co_await stream_.send_descriptors(descriptors, horus::io::Bytes(bytes));
    co_return sent.ok();
  }
  /// Bytes as they are, whole frames or not.
  horus::Task<bool> say_bytes(std::vector<std::byte> bytes, int descriptor = -1) {
    if (descriptor < 0) {
      auto sent = co_await stream_.write_all(horus::io::Bytes(bytes));
      co_return sent.ok();
    }
    const std::vector<int> descriptors(1, descriptor);
    auto sent = co_await stream_.send_descriptors(descriptors, horus::io::Bytes(bytes));
    co_return sent.ok();
  }
  horus::Task<bool> give(horus::msg::shm::Frame frame, int descriptor) {
    return say(std::move(frame), std::vector<int>(1, descriptor));
  }
  /// How long it waits for the other end to say something. Longer where the machine may be busy with other things.
  static inline horus::Duration patience = std::chrono::seconds(1);

  /// The next frame; nothing when the other end has closed, or says nothing for that long.
  horus::Task<std::optional<horus::msg::shm::Frame>> hear() {
    while (true) {
      if (received_.size() >= 4) {
        const auto at = [&](std::size_t i) { return std::to_integer<std::size_t>(received_[i]); };
        const std::size_t size = at(0) | at(1) << 8;
        if (received_.size() >= 4 + size) {
          auto frame = horus::msg::shm::decode(std::span(received_).subspan(4, size));
          received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(4 + size));
          if (!frame) co_return std::nullopt;
          co_return std::move(frame->frame);
        }
      }
      auto receiving = horus::with_timeout(patience, receive());
      auto came = co_await receiving;
      closed_ = closed_ || (!came && !came.error().timed_out());
      if (!came) co_return std::nullopt;
    }
  }
  /// The next one of that kind; others are passed over.
  template <class Kind>
  horus::Task<std::optional<Kind>> hear_of() {
    while (true) {
      auto frame = co_await hear();
      if (!frame) co_return std::nullopt;
      if (auto* kind = std::get_if<Kind>(&*frame)) co_return std::move(*kind);
    }
  }
  /// Until the other end closes. False when it does not.
  horus::Task<bool> is_shown_the_door() {
    while (true) {
      auto frame = co_await hear();
      if (!frame) co_return closed_;
    }
  }
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  std::vector<horus::io::Descriptor>& descriptors() noexcept { return descriptors_; }

 private:
  horus::Task<horus::Result<>> receive() {
    std::byte buffer[4096];
    auto came = co_await stream_.recv_descriptors(horus::io::MutableBytes(buffer));
    if (!came) co_return came.error();
    received_.insert(received_.end(), buffer, buffer + came->size);
    for (auto& descriptor : came->descriptors) descriptors_.push_back(std::move(descriptor));
    co_return horus::Result<>();
  }

  horus::io::UnixStream stream_;
  std::vector<std::byte> received_;
  std::vector<horus::io::Descriptor> descriptors_;
  bool closed_ = false;
};
