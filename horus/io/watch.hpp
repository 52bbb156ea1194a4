// SPDX-License-Identifier: Apache-2.0
// What happens in folders and to files, as events that a coroutine waits for. A Watch belongs to the thread that made it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/task/task.hpp>

namespace horus::io::fs {

/// One thing that happened.
struct WatchEvent {
  enum class Kind : std::uint8_t {
    created,   ///< the name was made here: a file (its contents come later), a folder, a link, a socket
    moved,     ///< the name is here now by a rename; what had it before is replaced. `from`: its former name
    removed,   ///< the name is gone: removed, or renamed out of what is watched
    written,   ///< somebody who had opened the file for writing has closed it: it is whole
    modified,  ///< bytes or size changed, by each write (only with WatchOptions::modifications)
    attributes,  ///< mode, owner or times changed (only with WatchOptions::attributes)
    gone,        ///< the watched folder itself: removed, renamed or unmounted. It is watched no more
    overflow,    ///< more happened than the kernel keeps: events are lost. Look again yourself
  };
  WatchEvent() {}

  Kind kind = Kind::overflow;
  std::string folder;  ///< as it was given; that of a watched file; empty for `overflow`
  std::string name;    ///< in the folder; empty for the folder itself (`gone`, `attributes`) and `overflow`
  std::string from;    ///< of `moved`: the former name in the same folder; empty when it came from elsewhere
  bool is_folder = false;  ///< `name` is a folder

  /// `folder` and `name`.
  [[nodiscard]] std::string path() const { return name.empty() ? folder : folder + '/' + name; }
};

/// "created", "moved" …
HORUS_API const char* to_string(WatchEvent::Kind kind) noexcept;

/// What is told beside the usual.
struct WatchOptions {
  WatchOptions() {}
  bool modifications = false;  ///< each write (`modified`): for who follows a log file
  bool attributes = false;     ///< changes of mode, owner and times (`attributes`)

  WatchOptions& with_modifications() & {
    modifications = true;
    return *this;
  }
  [[nodiscard]] WatchOptions with_modifications() && {
    modifications = true;
    return *this;
  }
  WatchOptions& with_attributes() & {
    attributes = true;
    return *this;
  }
  [[nodiscard]] WatchOptions with_attributes() && {
    attributes = true;
    return *this;
  }
};

/// A watch of folders and files.
///
/// Semantics: a folder's events are those of the names in it, not of folders below. A file is watched by its name, through
/// its folder: it need not exist yet, and whoever replaces it (editors, `replace_file`) is seen, as `moved`; `written` and
/// `moved` both mean that it is whole. A symbolic link is a name too: what it leads to is not watched. Events come in the
/// kernel's order; equal ones in a row may come once. They begin with the call that adds: look at the contents after it.
/// While nobody takes them the kernel keeps fs.inotify.max_queued_events (16384), then `overflow` stands for the rest. A
/// name that was renamed without its new one being known yet waits up to 2 ms for it. What other machines do to files on a
/// network drive is not seen.
/// Errors: values. ENOENT, ENOTDIR, EACCES for a folder; ENOSPC (fs.inotify.max_user_watches), EMFILE
/// (fs.inotify.max_user_instances, or descriptors): the message says which. ECANCELED when the task is asked to stop: no
/// event is lost by that. EBUSY when another task waits already. kEndOfStream when nothing is watched any more.
/// Thread safety: the thread that made it. Destroying it ends a wait with ECANCELED.
/// Example:
/// ```
/// auto watch = (co_await horus::io::fs::Watch::file("/etc/robot.toml")).or_throw();
/// while (true) {
///   auto event = co_await watch.next();
///   if (!event) break;
///   fmt::print("{} {}\n", to_string(event->kind), event->path());
/// }
/// ```
/// Source: inotify(7).
class HORUS_API Watch {
 public:
  /// Watches a folder that exists.
  [[nodiscard]] static Task<Result<Watch>> folder(std::string path, WatchOptions options = {});
  /// Watches one name in a folder that exists. EINVAL for a path without a name ("/", "folder/").
  [[nodiscard]] static Task<Result<Watch>> file(std::string path, WatchOptions options = {});

  Watch(Watch&& other) noexcept = default;
  Watch& operator=(Watch&& other) noexcept;
  ~Watch();

  /// Watches one more: all share one of the user's 128 inotify instances.
  [[nodiscard]] Task<Result<>> add_folder(std::string path);
  [[nodiscard]] Task<Result<>> add_file(std::string path);

  /// Waits for the next event.
  [[nodiscard]] Task<Result<WatchEvent>> next();
  /// The next event when there is one, without waiting; for a node's tick. A failure as of next().
  [[nodiscard]] std::optional<Result<WatchEvent>> try_next();
  /// Waits until try_next() may have something.
  [[nodiscard]] Task<Result<>> ready();

  /// Ends a wait with ECANCELED, and the watch.
  [[nodiscard]] Task<Result<>> close();

 private:
  struct State;
  explicit Watch(std::shared_ptr<State> state) noexcept;
  static Task<Result<>> add(std::shared_ptr<State> state, std::string path, bool whole);
  static Task<Result<Watch>> make(std::string path, bool whole, WatchOptions options);
  static Task<Result<>> wait(std::shared_ptr<State> state);
  static Task<Result<WatchEvent>> next_of(std::shared_ptr<State> state);

  std::shared_ptr<State> state_;
};

}  // namespace horus::io::fs
