// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/circuit_breaker.hpp>

#include <algorithm>

namespace horus::HORUS_ABI {

bool CircuitBreaker::admit(std::int64_t now_ns) noexcept {
  if (state_ == CircuitState::open && now_ns >= reopen_ns_) half_open(now_ns);
  const bool may = state_ == CircuitState::closed || state_ == CircuitState::half_open;
  if (!may) ++rejected_;
  return may;
}

void CircuitBreaker::succeeded(std::int64_t now_ns) noexcept {
  failures_ = 0;
  if (state_ == CircuitState::half_open) {
    if (++successes_ >= config_.close_after) reset(now_ns);
    return;
  }
  note(false);
}

bool CircuitBreaker::failed(std::int64_t now_ns) noexcept {
  ++failures_;
  if (state_ == CircuitState::half_open) {
    ++doublings_;
    open(now_ns);
    return true;
  }
  if (state_ != CircuitState::closed) return false;
  note(true);
  if (!config_.enabled || (failures_ < config_.max_failures && !window_is_bad())) return false;
  left_closed_ns_ = now_ns;
  open(now_ns);
  return true;
}

void CircuitBreaker::note(bool failure) noexcept {
  if (config_.window == 0) return;
  if (window_.size() < config_.window) {
    window_.push_back(failure);
  } else {
    window_failures_ -= window_[window_at_] ? 1 : 0;
    window_[window_at_] = failure;
    window_at_ = (window_at_ + 1) % config_.window;
  }
  window_failures_ += failure ? 1 : 0;
}

bool CircuitBreaker::window_is_bad() const noexcept {
  return config_.window != 0 && window_.size() >= config_.window_least &&
         window_failures_ >= config_.window_share * static_cast<double>(window_.size());
}

void CircuitBreaker::open(std::int64_t now_ns) noexcept {
  state_ = CircuitState::open;
  ++opens_;
  const std::int64_t most = config_.longest_open.count();
  std::int64_t wait = std::min(config_.open_for.count(), most);
  for (std::uint32_t i = 0; i < doublings_ && wait < most; ++i) wait = wait > most / 2 ? most : wait * 2;
  reopen_ns_ = saturating_add(now_ns, wait);
}

void CircuitBreaker::force_open(std::int64_t now_ns) noexcept {
  if (state_ == CircuitState::closed) left_closed_ns_ = now_ns;
  if (state_ != CircuitState::forced_open) ++opens_;
  state_ = CircuitState::forced_open;
}

void CircuitBreaker::half_open(std::int64_t now_ns) noexcept {
  if (state_ == CircuitState::forced_open) return;
  if (state_ == CircuitState::closed) left_closed_ns_ = now_ns;
  state_ = CircuitState::half_open;
  successes_ = 0;
  reopen_ns_ = kNever;
}

void CircuitBreaker::reset(std::int64_t now_ns) noexcept {
  open_ns_ = time_open(now_ns);
  state_ = CircuitState::closed;
  failures_ = successes_ = doublings_ = 0;
  window_.clear();
  window_at_ = 0;
  window_failures_ = 0;
  reopen_ns_ = kNever;
}

std::int64_t CircuitBreaker::time_open(std::int64_t now_ns) const noexcept {
  return open_ns_ + (state_ == CircuitState::closed ? 0 : now_ns - left_closed_ns_);
}

}  // namespace horus::HORUS_ABI
