// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/faulty.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <horus/io/seam/entry.hpp>
#include <horus/sim/relay.hpp>

namespace horus::HORUS_ABI::sim {
namespace {

// Moves bytes into or out of one stretch of memory, and may say so with fewer than asked for.
bool may_fall_short(std::uint8_t opcode) noexcept {
  const io::Instruction* instruction = io::instruction_of(opcode);
  return instruction != nullptr && instruction->payload == io::Payload::bytes;
}

class FaultyRing final : public RelayRing {
 public:
  FaultyRing(const io::Backend& real, const Injection& injection, InjectionRecord& record)
      : RelayRing(real.ring), clock_(real.clock), injection_(injection), record_(record) {}

 private:
  struct Kept {
    Completion completion;
    std::int64_t due_ns;
  };

  [[nodiscard]] bool matches(const io_uring_sqe& entry) noexcept {
    const bool closing = entry.opcode == IORING_OP_CLOSE || entry.opcode == IORING_OP_ASYNC_CANCEL;
    const bool of_kind = injection_.opcode < 0 ? !closing : entry.opcode == injection_.opcode;
    return of_kind && !record_.fired && ++record_.matched == injection_.nth;
  }

  void submitting(io_uring_sqe& entry) noexcept override {
    if (!matches(entry)) return;
    record_.fired = true;
    if (injection_.shorten_to > 0 && may_fall_short(entry.opcode)) {
      entry.len = std::min(entry.len, injection_.shorten_to);
      if (entry.opcode == IORING_OP_SEND || entry.opcode == IORING_OP_RECV) entry.msg_flags &= ~MSG_WAITALL;
    }
    if (injection_.error == 0 && injection_.delay == Duration::zero()) return;
    changed_ = entry.user_data;
    waits_ = true;
    if (injection_.error == 0) return;
    const std::uint64_t user_data = entry.user_data;
    entry = {};
    io::fill::nop(entry);
    entry.user_data = user_data;
  }

  void completing(std::vector<Completion>& batch) noexcept override {
    std::vector<Completion> passed;
    for (Completion completion : batch) {
      if (waits_ && completion.user_data == changed_) {
        if (injection_.error != 0) {
          completion.result = -injection_.error;
          completion.flags = 0;
        }
        waits_ = (completion.flags & IORING_CQE_F_MORE) != 0;
        if (injection_.delay > Duration::zero()) {
          kept_.push_back({completion, clock_->now_ns() + injection_.delay.count()});
          continue;
        }
      }
      passed.push_back(completion);
    }
    const std::int64_t now = kept_.empty() ? 0 : clock_->now_ns();
    while (!kept_.empty() && kept_.front().due_ns <= now) {
      passed.push_back(kept_.front().completion);
      kept_.erase(kept_.begin());
    }
    batch = std::move(passed);
  }

  [[nodiscard]] std::int64_t next_due() const noexcept override {
    return kept_.empty() ? kNever : kept_.front().due_ns;
  }

  const std::shared_ptr<io::Clock> clock_;
  const Injection injection_;
  InjectionRecord& record_;
  std::uint64_t changed_ = 0;  // the operation whose completion is to be changed
  bool waits_ = false;         // it has not come yet
  std::vector<Kept> kept_;     // completions of one operation, in order
};

Error expected(const std::string& text) {
  std::string kinds = "any";
  for (const io::Instruction& one : io::kInstructions) kinds += fmt::format(" {}", one.name);
  return Error(
      EINVAL, "read an injection",
      fmt::format("\"{}\" (expected KIND:NUMBER:WHAT; kinds: {}; what: an errno's name, short=BYTES, "
                  "delay=MILLISECONDSms)",
                  text, kinds));
}

// "ECONNRESET" → 104.
int errno_named(std::string_view name) {
  for (int code = 1; code < 134; ++code) {
    const char* known = ::strerrorname_np(code);
    if (known != nullptr && name == known) return code;
  }
  return 0;
}

bool number_in(std::string_view text, std::uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

Result<Injection> Injection::parse(const std::string& text) {
  const std::size_t first = text.find(':');
  const std::size_t second = first == std::string::npos ? first : text.find(':', first + 1);
  if (second == std::string::npos) return expected(text);
  const std::string_view all = text;
  const std::string_view kind = all.substr(0, first);
  std::string_view what = all.substr(second + 1);
  Injection injection;
  if (kind != "any") {
    const auto known = std::find_if(io::kInstructions.begin(), io::kInstructions.end(),
                                    [&](const io::Instruction& one) { return kind == one.name; });
    if (known == io::kInstructions.end()) return expected(text);
    injection.opcode = known->opcode;
  }
  if (!number_in(all.substr(first + 1, second - first - 1), injection.nth) || injection.nth == 0)
    return expected(text);
  std::uint64_t value = 0;
  if (what.starts_with("short=")) {
    if (!number_in(what.substr(6), value) || value == 0 || value > UINT32_MAX) return expected(text);
    injection.shorten_to = static_cast<std::uint32_t>(value);
  } else if (what.starts_with("delay=") && what.ends_with("ms")) {
    if (!number_in(what.substr(6, what.size() - 8), value) || value > 3'600'000) return expected(text);
    injection.delay = std::chrono::milliseconds(value);
  } else {
    injection.error = errno_named(what);
    if (injection.error == 0) return expected(text);
  }
  return injection;
}

io::Backend make_faulty_backend(io::Backend real, const Injection& injection, InjectionRecord& record) {
  real.ring = std::make_shared<FaultyRing>(real, injection, record);
  return real;
}

}  // namespace horus::HORUS_ABI::sim
