// SPDX-License-Identifier: Apache-2.0
#include <horus/task/async_stream.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

// A coroutine that frees another one when it is resumed in its place.
struct Undertaker {
  struct promise_type {
    Undertaker get_return_object() noexcept {
      return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    static std::suspend_always initial_suspend() noexcept { return {}; }
    static std::suspend_never final_suspend() noexcept { return {}; }
    static void return_void() noexcept {}
    static void unhandled_exception() noexcept {}
    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* frame, std::size_t size) noexcept { free_frame(frame, size); }
  };
  std::coroutine_handle<> handle;
};

Undertaker bury(Chain& body, std::coroutine_handle<> frame) {
  body.ListHook<RootTag>::unlink();
  frame.destroy();
  co_return;
}

void ignore(Waiter&) noexcept {}

}  // namespace

const WaitKind StreamWaiter::kKind{.name = "the next value of a stream",
                                   .cancel = &StreamWaiter::cancel,
                                   .describe = nullptr,
                                   .children = &StreamWaiter::children};
const WaitKind StreamEnd::kKind{
    .name = "the end of a stream", .cancel = &ignore, .describe = nullptr, .children = nullptr};

// --- The body ---------------------------------------------------------------------------------------------------------

// As in Task: while the body runs on this stack, a value simply returns here.
bool StreamBody::start(std::coroutine_handle<> body) noexcept {
  state = State::working;
  starting = true;
  body.resume();
  starting = false;
  return state == State::holding;
}

std::coroutine_handle<> StreamBody::arrived() noexcept {
  state = State::holding;
  ListHook<RootTag>::unlink();
  if (starting || consumer == nullptr) return std::noop_coroutine();
  Waiter& waiter = *std::exchange(consumer, nullptr);
  waiter.unsuspend();
  return waiter.handle;
}

// Nobody waits any more: dumps show a body that works on as a task of its own, and nobody pays for it.
void StreamBody::leave() noexcept {
  consumer = nullptr;
  charge_to(nullptr);
  if (!ListHook<RootTag>::linked()) list_root(*this);
}

// What the body awaits directly must end before its frame may die (the kernel may still write there), and library code
// that it called ends in order, so that bytes it has read are not lost. Where the body itself would go on, its frame is
// freed instead: it may refer to what has died with the consumer.
void StreamBody::drop(std::coroutine_handle<> body) noexcept {
  if (state != State::working) return body.destroy();
  HORUS_ASSERT(!starting, "a stream was destroyed by its own body");
  leave();
  const auto belongs = [this](const Ready& ready) {
    return ready.promise != nullptr && ready.promise->chain == this;
  };
  Ready* innermost = const_cast<Waiter*>(leaf());
  if (innermost == nullptr && thread_state.ready != nullptr) innermost = thread_state.ready->find(belongs);
  HORUS_ASSERT(innermost != nullptr,
               "a stream was destroyed while its body moves to another reactor, or waits for something that "
               "Horus does "
               "not know (co_await stream.close() first)");
  const std::coroutine_handle<> end = bury(*this, body).handle;
  PromiseBase* promise = innermost->promise;
  if (promise == this) {
    innermost->handle = end;
  } else {
    while (promise->parent != this) promise = promise->parent;
    promise->continuation = end;
  }
  request_stop();
}

// --- Whoever waits ----------------------------------------------------------------------------------------------------

bool StreamWaiter::wait(bool willing) noexcept {
  HORUS_ASSERT(
      body_->consumer == nullptr,
      "two tasks wait for the next value of one AsyncStream: give it to one task, and let that hand the "
      "values on (a Channel)");
  gave_up_ = !willing;
  if (willing) {
    const Chain* chain = promise != nullptr ? promise->chain : nullptr;
    body_->charge_to(chain != nullptr ? chain->execution_account() : nullptr);
    body_->consumer = this;
    body_->ListHook<RootTag>::unlink();
    const bool here = body_->state == StreamBody::State::resting && body_->start(frame_);
    if (!here && !gave_up_) return true;
    body_->consumer = nullptr;
  }
  unsuspend();
  return false;
}

void StreamWaiter::cancel(Waiter& waiter) noexcept {
  auto& self = static_cast<StreamWaiter&>(waiter);
  self.gave_up_ = true;
  if (self.body_->starting) return;  // on the stack of wait(), which sees it
  self.body_->leave();
  self.make_ready();
}

void StreamWaiter::children(const Waiter& waiter, void (*visit)(const Chain&, void*), void* context) {
  visit(*static_cast<const StreamWaiter&>(waiter).body_, context);
}

}  // namespace horus::HORUS_ABI::detail
