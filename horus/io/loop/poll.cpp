// SPDX-License-Identifier: Apache-2.0
#include <horus/io/poll.hpp>

#include <algorithm>

#include <horus/io/time.hpp>

namespace horus::HORUS_ABI::io {
namespace {

constexpr Duration kShortestPollRest(std::chrono::milliseconds(1));
constexpr Duration kLongestPollRest(std::chrono::milliseconds(8));

}  // namespace

Task<Result<short>> wait_for(int fd, short events) {
  Duration rest = kShortestPollRest;
  while (true) {
    const auto ready = co_await detail::PollAwaiter(fd, events);
    if (!ready || (*ready & ~POLLRDHUP) != 0 || (events & POLLRDHUP) != 0) co_return ready;
    // Half-closed, and nothing of what was asked for: the kernel would say so at once, again and again.
    try {
      co_await sleep(rest);
    } catch (const Error& error) {
      co_return Error(error.code(), "poll");
    }
    rest = std::min(2 * rest, kLongestPollRest);
  }
}

}  // namespace horus::HORUS_ABI::io
