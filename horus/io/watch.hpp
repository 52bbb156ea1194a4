// SPDX-License-Identifier: Apache-2.0
// Changes of folders and files, as events that a coroutine waits for. A Watch belongs to the thread that made it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io::fs {

/// One change.
struct WatchEvent {
  enum class Kind : std::uint8_t {
    created,     ///< the name was made here: a file (its contents come later), a folder, a link, a socket
    moved,       ///< a rename brought the name here and replaced a file of that name. `from`: its former name
    removed,     ///< the name is gone: removed, or renamed to an unwatched place
    written,     ///< a writer has closed the file: it is complete
    modified,    ///< a write changed bytes or size (only with WatchOptions::modifications)
    attributes,  ///< mode, owner or times changed (only with WatchOptions::attributes)
    gone,        ///< the watched folder itself was removed, renamed or unmounted; its watch has ended
    overflow,    ///< the kernel's queue was full and events are lost: list the folder again
  };
  WatchEvent() {}

  Kind kind = Kind::overflow;
  std::string folder;  ///< as given to the call; for a watched file, its folder; empty for `overflow`
  std::string name;    ///< in the folder; empty for the folder itself (`gone`, `attributes`) and `overflow`
  std::string from;    ///< for `moved`: the former name in the same folder; empty when it came from elsewhere
  bool is_folder = false;  ///< `name` is a folder

  /// `folder` and `name` as one path.
  [[nodiscard]] std::string path() const { return name.empty() ? folder : folder + '/' + name; }
};

/// "created", "moved" …
HORUS_API const char* to_string(WatchEvent::Kind kind) noexcept;

/// Which changes to report in addition to the usual ones.
struct WatchOptions {
  WatchOptions() {}
  bool modifications = false;  ///< each write (`modified`), for following a log file
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
/// Semantics: watching a folder reports the names in it, not those in folders below. A file is watched by its name,
/// through its folder. It need not exist yet, and a replacement (by an editor or `replace_file`) is reported as `moved`;
/// `written` and `moved` both mean that the file is complete. A symbolic link is a name too; its target is not watched.
/// Events come in the kernel's order; equal ones in a row may be merged. They begin with the call that adds the watch, so
/// read the contents after it. The kernel queues fs.inotify.max_queued_events events (16384); then `overflow` stands for
/// the rest, also for `gone`: add the folders again. The last event waits up to 2 ms where it is half a rename. Changes
/// that other machines make on a network drive are not reported.
/// Errors: values. ENOENT, ENOTDIR, EACCES for a folder; ENOSPC (fs.inotify.max_user_watches), EMFILE
/// (fs.inotify.max_user_instances, or descriptors): the message says which. ECANCELED when the task is asked to stop;
/// no event is lost. EBUSY when another task waits already. kEndOfStream when no watch is left. EBADF after a move.
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
  /// Watches an existing folder.
  [[nodiscard]] static Task<Result<Watch>> folder(std::string path, WatchOptions options = {});
  /// Watches one name in an existing folder. EINVAL for a path without a name ("/", "folder/").
  [[nodiscard]] static Task<Result<Watch>> file(std::string path, WatchOptions options = {});

  Watch(Watch&& other) noexcept = default;
  Watch& operator=(Watch&& other) noexcept;
  ~Watch();

  /// Adds a folder or a file. All watches of an object share one of the user's 128 inotify instances.
  [[nodiscard]] Task<Result<>> add_folder(std::string path);
  [[nodiscard]] Task<Result<>> add_file(std::string path);

  /// Waits for the next event.
  [[nodiscard]] Task<Result<WatchEvent>> next();
  /// The next event when there is one, without waiting, for a node's tick. Failures: those of next().
  [[nodiscard]] std::optional<Result<WatchEvent>> try_next();
  /// Waits until try_next() may have an event.
  [[nodiscard]] Task<Result<>> ready();

  /// Ends the watch; a waiting task gets ECANCELED.
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

}  // namespace horus::HORUS_ABI::io::fs
