// SPDX-License-Identifier: Apache-2.0
#include <horus/base/error.hpp>

#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include <fmt/format.h>

#include <horus/base/uncaught.hpp>

namespace horus::HORUS_ABI {

// Here, because whoever throws an Error has this file, in a static library too.
[[maybe_unused]] static const bool kUncaughtErrorsAreReported = detail::report_uncaught_errors();

// Target and finished message, shared by the copies of an Error. `message` is written at most once: by the
// copy that wins the exchange in what().
struct Error::Text {
  std::atomic<int> references{1};
  std::string target;
  std::string detail;  // of the cause
  std::atomic<const std::string*> message{nullptr};

  ~Text() { delete message.load(std::memory_order_acquire); }

  static Text* share(Text* text) noexcept {
    if (text != nullptr) text->references.fetch_add(1, std::memory_order_relaxed);
    return text;
  }
  static void release(Text* text) noexcept {
    if (text != nullptr && text->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete text;
  }
};

Error::Error(int code, const char* operation, std::string_view target) : code_(code), operation_(operation) {
  if (target.empty()) return;
  auto* text = new Text;
  text->target = target;
  text_.store(text, std::memory_order_release);
}

Error::Error(const Error& other) noexcept
    : std::exception(other),
      code_(other.code_),
      operation_(other.operation_),
      text_(Text::share(other.text_.load(std::memory_order_acquire))) {}

Error::Error(Error&& other) noexcept
    : std::exception(other),
      code_(other.code_),
      operation_(other.operation_),
      text_(other.text_.exchange(nullptr, std::memory_order_acq_rel)) {}

Error& Error::operator=(const Error& other) noexcept {
  if (this != &other) {
    code_ = other.code_;
    operation_ = other.operation_;
    Text::release(text_.exchange(Text::share(other.text_.load(std::memory_order_acquire))));
  }
  return *this;
}

Error& Error::operator=(Error&& other) noexcept {
  if (this != &other) {
    code_ = other.code_;
    operation_ = other.operation_;
    Text::release(text_.exchange(other.text_.exchange(nullptr)));
  }
  return *this;
}

Error::~Error() { Text::release(text_.load(std::memory_order_acquire)); }

std::string_view Error::target() const noexcept {
  const Text* text = text_.load(std::memory_order_acquire);
  return text == nullptr ? std::string_view{} : std::string_view{text->target};
}

Error Error::on(const char* operation, std::string_view target) const {
  const Error seen(code_, operation, target);
  const Text* text = text_.load(std::memory_order_acquire);
  return text == nullptr || text->detail.empty() ? seen : seen.with_detail(text->detail);
}

Error Error::with_detail(std::string_view detail) const {
  Error fuller(code_, operation_);
  auto* text = new Text;
  text->target = target();
  text->detail = detail;
  fuller.text_.store(text, std::memory_order_release);
  return fuller;
}

std::string_view Error::detail() const noexcept {
  const Text* text = text_.load(std::memory_order_acquire);
  return text == nullptr ? std::string_view() : std::string_view(text->detail);
}

bool Error::cancelled() const noexcept { return code_ == ECANCELED; }
bool Error::timed_out() const noexcept { return code_ == ETIMEDOUT; }

namespace {

// What a person can do about it. Only advice that is right whenever this code meets this operation.
std::string_view advice(int code, std::string_view operation) {
  const bool connecting = operation == "connect";
  switch (code) {
    case ECONNREFUSED:
      return connecting ? "is the server running, and listening there?" : "nobody listens there";
    case EHOSTUNREACH:
    case ENETUNREACH: return "check the address and the network route";
    case EADDRINUSE: return "another program uses this address; choose another port or stop that program";
    case EADDRNOTAVAIL: return "this machine has no such address";
    case EMFILE: return "the limit of this process; raise it with ulimit -n";
    case ENFILE: return "the limit of the system; see /proc/sys/fs/file-max";
    case ENOSPC: return "free some space on that disk";
    case ENOENT: return operation == "spawn" ? "is the program installed and on PATH?" : "check the path";
    case EMSGSIZE: return operation == "send a datagram" ? "too long for one datagram" : "";
    case EACCES:
      if (operation == "send a datagram") return "broadcasts need UdpOptions::with_broadcast()";
      [[fallthrough]];
    case EPERM: return operation == "bind" ? "ports below 1024 need a privilege" : "check owner and mode";
    case EISDIR: return "a file was expected";
    case ENXIO:
      return operation == "open" ? "a FIFO that nobody reads, a socket, or a device without a driver" : "";
    case ENOTDIR: return "a part of the path is not a directory";
    case EROFS: return "mounted read-only";
    case ENOMEM: return "check ulimit -l and free memory";
    case ELOOP: return "symbolic links point in a circle";
    case ENAMETOOLONG: return "the name or path is too long";
    case kNameNotFound: return "check the spelling, or use a numeric address";
    case kTruncated: return "the connection ended without a farewell: bytes may be missing";
    case kResolverFailed: return "check /etc/resolv.conf and the network";
    default: return {};
  }
}

}  // namespace

std::string describe_code(int code) {
  switch (code) {
    case kEndOfStream: return "end of stream";
    case kChannelClosed: return "channel closed";
    case kNameNotFound: return "name not found";
    case kResolverFailed: return "name resolution failed";
    case kProcessFailed: return "process failed";
    case kBadInput: return "bad input";
    case kTypeMismatch: return "message types differ";
    case kBadConfiguration: return "bad configuration";
    case kUntrusted: return "not trusted";
    case kTruncated: return "cut short";
    case ETIMEDOUT: return "timed out";
    case ECANCELED: return "cancelled";
    default: break;
  }
  char buffer[128];
  std::string words = ::strerror_r(code, buffer, sizeof buffer);
  if (!words.empty() && words.size() > 1 && words[1] >= 'a' && words[1] <= 'z') words[0] |= 0x20;
  return words;
}

std::string Error::message() const {
  std::string line = operation_;
  if (code_ == kBadConfiguration && line.empty()) return std::string(target());  // it says everything
  if (const auto subject = target(); !subject.empty()) {
    if (!line.empty()) line += ' ';
    line += subject;
  }
  if (!line.empty()) line += ": ";
  line += describe_code(code_);
  if (const Text* text = text_.load(std::memory_order_acquire); text != nullptr && !text->detail.empty()) {
    line += ' ';
    line += text->detail;
    return line;  // whoever knew the cause knows better what helps
  }
  if (const auto what_to_do = advice(code_, operation_); !what_to_do.empty()) {
    line += " (";
    line += what_to_do;
    line += ')';
  }
  return line;
}

const char* Error::what() const noexcept {
  try {
    Text* text = text_.load(std::memory_order_acquire);
    if (text == nullptr) {
      auto* fresh = new Text;
      if (text_.compare_exchange_strong(text, fresh, std::memory_order_acq_rel)) {
        text = fresh;
      } else {
        delete fresh;
      }
    }
    const std::string* line = text->message.load(std::memory_order_acquire);
    if (line == nullptr) {
      const auto* fresh = new std::string(message());
      if (text->message.compare_exchange_strong(line, fresh, std::memory_order_acq_rel)) {
        line = fresh;
      } else {
        delete fresh;
      }
    }
    return line->c_str();
  } catch (...) {
    return "horus::Error (no memory left to describe it)";
  }
}

}  // namespace horus::HORUS_ABI
