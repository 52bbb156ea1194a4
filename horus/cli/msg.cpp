// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/msg.hpp>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/cli/cpp_message.hpp>
#include <horus/cli/json.hpp>
#include <horus/msg/ros_definition.hpp>

#include <CLI/CLI.hpp>

namespace horus::cli {
namespace {

namespace fs = std::filesystem;

struct ImportArguments {
  std::vector<std::string> files;
  std::vector<std::string> folders;
  std::string package;
  std::string out;
  bool overwrite = false;
  CppOptions options;
};

int fail(std::string_view why, int code = 1) {
  fmt::print(stderr, "horus: {}\n", printable(why));
  return code;
}

Result<std::string> read_file(const fs::path& path) {
  std::error_code problem;
  if (fs::is_directory(path, problem)) return Error(EISDIR, "read", path.string());
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(errno, "read", path.string());
  std::string text(RosDefinition::kMostText + 1, '\0');  // more than that is refused
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (file.bad()) return Error(EIO, "read", path.string());
  return text;
}

// ".../rover_msgs/msg/Drive.msg" is "rover_msgs/msg/Drive". Empty: nobody says the package.
std::string type_of(const fs::path& path, const std::string& package) {
  const fs::path folder = fs::absolute(path).lexically_normal().parent_path();
  const std::string found = !package.empty()             ? package
                            : folder.filename() == "msg" ? folder.parent_path().filename().string()
                                                         : std::string();
  return found.empty() ? std::string() : fmt::format("{}/msg/{}", found, path.stem().string());
}

// Where the .msg files of nested types are: given, beside the one that uses them, in a package beside its package, or in -I.
class Finder {
 public:
  explicit Finder(const ImportArguments& arguments) : arguments_(arguments) {
    for (const std::string& file : arguments.files)
      if (auto type = type_of(file, arguments.package); !type.empty()) given_.emplace(std::move(type), file);
  }

  [[nodiscard]] std::optional<std::string> find(std::string_view type) const {
    if (const auto given = given_.find(type); given != given_.end()) return text_of(given->second);
    if (auto ready = ready_definition(type); !ready.empty()) return ready;
    const std::size_t slash = type.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const std::string package(type.substr(0, slash));
    const std::string file = fmt::format("{}.msg", type.substr(type.rfind('/') + 1));
    for (const std::string& user : arguments_.files) {
      const fs::path folder = fs::absolute(user).lexically_normal().parent_path();
      const std::string own = type_of(user, arguments_.package);
      if (own.starts_with(package + "/"))
        if (auto found = text_of(folder / file)) return found;
      if (folder.filename() == "msg")
        if (auto found = text_of(folder.parent_path().parent_path() / package / "msg" / file)) return found;
    }
    for (const std::string& folder : arguments_.folders)
      if (auto found = text_of(fs::path(folder) / package / "msg" / file)) return found;
    return std::nullopt;
  }

 private:
  static std::optional<std::string> text_of(const fs::path& path) {
    std::error_code problem;
    if (!fs::is_regular_file(path, problem)) return std::nullopt;
    auto text = read_file(path);
    return text ? std::optional(std::move(*text)) : std::nullopt;
  }

  const ImportArguments& arguments_;
  std::map<std::string, std::string, std::less<>> given_;
};

int write(const ImportArguments& arguments, const std::string& text) {
  const std::string& out = arguments.out;
  std::FILE* file = out.empty() ? stdout : std::fopen(out.c_str(), arguments.overwrite ? "wbe" : "wbxe");
  if (file == nullptr) {
    const Error error(errno, "create", out);
    return fail((errno == EEXIST ? error.with_detail("(--overwrite replaces it)") : error).message());
  }
  bool whole = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  whole = std::fflush(file) == 0 && whole;
  const Error error(errno, "write", out.empty() ? "standard output" : out);
  if (!out.empty()) std::fclose(file);
  return whole ? 0 : fail(error.message());
}

int import(const ImportArguments& arguments) {
  const Finder finder(arguments);
  std::vector<RosDefinition> messages;
  for (const std::string& file : arguments.files) {
    const auto text = read_file(file);
    if (!text) return fail(text.error().message());
    if (fs::path(file).extension() != ".msg")
      return fail(fmt::format("{}: a file of one message is expected, as in rover_msgs/msg/Drive.msg", file),
                  2);
    const std::string type = type_of(file, arguments.package);
    if (type.empty())
      return fail(fmt::format("{}: which package is it of? --package NAME says so, or its place: NAME/msg/{}",
                              file, fs::path(file).filename().string()),
                  2);
    auto made = parse_ros2msg(type, *text, [&](std::string_view name) { return finder.find(name); });
    if (!made) {
      const std::string why(made.error().target());
      const bool is_missing = why.find("there is no definition of") != std::string::npos;
      return fail(fmt::format(
          "{}: {}{}", file, why,
          is_missing ? " (-I FOLDER names a folder with packages, as /opt/ros/jazzy/share)" : ""));
    }
    messages.push_back(std::move(*made));
  }
  auto text = to_cpp(messages, arguments.options);
  if (!text) return fail(text.error().target());
  for (const std::string& note : text->notes) fmt::print(stderr, "note: {}\n", printable(note));
  return write(arguments, text->text);
}

std::string check_namespace(const std::string& text) {
  std::string_view rest = text;
  while (true) {
    const std::size_t end = std::min(rest.find("::"), rest.size());
    const std::string_view part = rest.substr(0, end);
    const bool is_name = !part.empty() && std::isdigit(static_cast<unsigned char>(part.front())) == 0 &&
                         std::all_of(part.begin(), part.end(), [](unsigned char c) {
                           return c == '_' || (std::isalnum(c) != 0 && c < 0x80);
                         });
    if (!is_name) return fmt::format("{} is no namespace, as in rover::messages", text);
    if (end == rest.size()) return {};
    rest.remove_prefix(end + 2);
  }
}
std::string check_package(const std::string& text) {
  const bool is_name = !text.empty() && std::islower(static_cast<unsigned char>(text.front())) != 0 &&
                       std::all_of(text.begin(), text.end(), [](unsigned char c) {
                         return c == '_' || std::islower(c) != 0 || std::isdigit(c) != 0;
                       });
  return is_name ? std::string() : fmt::format("{} is no package, as in rover_msgs", text);
}

}  // namespace

void add_msg(CLI::App& app, std::function<int()>& action) {
  CLI::App* msg = app.add_subcommand("msg", "Work on types of messages");
  msg->require_subcommand(1);
  CLI::App* importing = msg->add_subcommand("import", "Write the C++ structs of ROS messages");
  importing->footer(
      "Exit code: 0; 1 when a file cannot be read or no struct can hold it; 2 for wrong arguments.");
  const auto given = std::make_shared<ImportArguments>();
  importing->add_option("FILES", given->files, "Definitions: rover_msgs/msg/Drive.msg")
      ->required()
      ->expected(1, -1);
  importing->add_option("-o,--output", given->out, "The header; without it standard output");
  importing->add_flag("--overwrite", given->overwrite, "Replace the header where it exists");
  importing->add_option("--namespace", given->options.space, "Of all structs; without it each one's package")
      ->check(check_namespace);
  importing->add_option("--package", given->package, "Of the files; without it the folder above msg/")
      ->check(check_package);
  importing
      ->add_option("-I", given->folders, "A folder with packages that have nested types; may be repeated")
      ->allow_extra_args(false);
  importing->add_option("--tail", given->options.tail,
                        "Which list is the tail; without it the only one without a bound");
  importing->add_option("--max", given->options.most, "Values of other lists without a bound (16)")
      ->check(CLI::Range(1, 1 << 20));
  importing->add_option("--text", given->options.text_bytes, "Bytes of a string without a bound (64)")
      ->check(CLI::Range(1, 1 << 16));
  importing->callback([&action, given] { action = [given] { return import(*given); }; });
}

}  // namespace horus::cli
