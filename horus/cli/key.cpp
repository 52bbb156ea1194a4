// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/key.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/hex.hpp>
#include <horus/cli/bag_command.hpp>
#include <horus/cli/json.hpp>
#include <horus/cli/table.hpp>
#include <horus/io/certificate.hpp>

#include <CLI/CLI.hpp>

namespace horus::cli {
namespace {

constexpr std::size_t kSecretBytes = 32;
constexpr int kMostDays = 36'500;
constexpr mode_t kSecret = 0600;
constexpr mode_t kPublic = 0644;

struct KeyArguments {
  std::string file;
  std::string identity = "fleet";
  std::vector<std::string> names;
  std::string out;
  std::string authority;  // files
  std::string authority_key;
  bool is_authority = false;
  int days = 730;
};

// A new file: one that is there may be the only copy of a secret.
Result<> write_new(const std::string& path, std::string_view text, mode_t mode) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) {
    const Error error(errno, "create", path);
    return errno == EEXIST ? error.with_detail("(nothing is replaced: choose another name, or remove it)")
                           : error;
  }
  Result<> written;
  while (!text.empty() && written) {
    const ssize_t bytes = ::write(fd, text.data(), text.size());
    if (bytes > 0) text.remove_prefix(static_cast<std::size_t>(bytes));
    if (bytes < 0 && errno != EINTR) written = Error(errno, "write", path);
  }
  if (::close(fd) != 0 && written) written = Error(errno, "write", path);
  if (!written) ::unlink(path.c_str());
  return written;
}

Result<std::string> contents_of(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file.good() && text.empty()) return Error(errno != 0 ? errno : EIO, "read", path);
  return text;
}

int make_key(const KeyArguments& arguments) {
  std::array<std::byte, kSecretBytes> secret{};
  if (::getentropy(secret.data(), secret.size()) != 0)
    return complain(Error(errno, "make a key", arguments.file));
  const std::string text = fmt::format(
      "# Shared keys of hubs: an identity, and its secret. Whoever has this file may publish and "
      "subscribe.\n{} {}\n",
      arguments.identity, to_hex(secret));
  if (auto written = write_new(arguments.file, text, kSecret); !written) return complain(written.error());
  return put(fmt::format("{}: a key of {}. Copy it to each robot over a safe way, with mode 0600.\n",
                         printable(arguments.file), printable(arguments.identity)))
             ? 0
             : 1;
}

int make_certificate_files(const KeyArguments& arguments) {
  io::Certificate authority;
  if (!arguments.authority.empty()) {
    auto certificate = contents_of(arguments.authority);
    if (!certificate) return complain(certificate.error());
    auto key = contents_of(arguments.authority_key);
    if (!key) return complain(key.error());
    authority = {std::move(*certificate), std::move(*key)};
  }
  io::CertificateRequest request(arguments.names.front());
  request.names = arguments.names;
  request.life = std::chrono::hours(24) * arguments.days;
  request.authority = arguments.is_authority;
  auto made = io::make_certificate(request, authority);
  if (!made) return complain(made.error());
  const std::string base = arguments.out.empty() ? arguments.names.front() : arguments.out;
  const std::string certificate = base + ".pem";
  const std::string key = base + ".key";
  if (auto written = write_new(key, made->private_key, kSecret); !written) return complain(written.error());
  if (auto written = write_new(certificate, made->certificate, kPublic); !written) {
    ::unlink(key.c_str());
    return complain(written.error());
  }
  return put(fmt::format("{}: the certificate, for everybody\n{}: its private key, a secret\n",
                         printable(certificate), printable(key)))
             ? 0
             : 1;
}

std::string date_of(std::int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  if (::gmtime_r(&time, &parts) == nullptr) return fmt::format("{} s", seconds);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02} UTC", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min);
}

int show(const KeyArguments& arguments) {
  auto text = contents_of(arguments.file);
  if (!text) return complain(text.error());
  auto told = io::describe_certificate(*text);
  if (!told) return complain(told.error().on("read", arguments.file));
  return put(table({{"names", printable(fmt::format("{}", fmt::join(told->names, ", ")))},
                    {"signed by", printable(told->issuer)},
                    {"from", date_of(told->begin_s)},
                    {"until", date_of(told->end_s)},
                    {"use", told->authority ? "signs other certificates" : "a peer's own"}}))
             ? 0
             : 1;
}

}  // namespace

void add_key(CLI::App& app, std::function<int()>& action) {
  CLI::App* key =
      app.add_subcommand("key", "Keys and certificates for encrypted links: new, certificate, show");
  key->require_subcommand(1);
  key->footer("No file is replaced. Exit code: 0; 1 when it failed; 2 for wrong arguments.");
  const auto add = [&](const char* name, const char* purpose, int (*run)(const KeyArguments&),
                       auto&& options) {
    auto arguments = std::make_shared<KeyArguments>();
    CLI::App* verb = key->add_subcommand(name, purpose);
    options(*verb, *arguments);
    verb->callback([&action, arguments, run] { action = [arguments, run] { return run(*arguments); }; });
  };
  const auto is_word = [](const std::string& text) {
    return text.empty() || text.find_first_of(" \t\r\n#") != std::string::npos
               ? std::string("an identity is one word without #")
               : std::string();
  };
  add("new", "A file with a new shared key, for all hubs that are to meet", make_key,
      [&](CLI::App& verb, KeyArguments& arguments) {
        verb.add_option("FILE", arguments.file, "The new file")->required();
        verb.add_option("--identity", arguments.identity, "The key's name, one word; fleet without it")
            ->check(is_word);
      });
  add("certificate", "A certificate and its private key, signed by an authority or by itself",
      make_certificate_files, [](CLI::App& verb, KeyArguments& arguments) {
        verb.add_option("NAMES", arguments.names,
                        "Names and addresses of the robot; the first names the files, too")
            ->required();
        verb.add_option("-o,--out", arguments.out, "The files are OUT.pem and OUT.key");
        CLI::Option* authority =
            verb.add_option("--authority", arguments.authority, "Sign with this certificate of an authority");
        CLI::Option* authority_key =
            verb.add_option("--authority-key", arguments.authority_key, "Its private key")->needs(authority);
        authority->needs(authority_key);
        verb.add_flag("--as-authority", arguments.is_authority, "It is an authority: it signs others");
        verb.add_option("--days", arguments.days, "How long it is good for; 730 without it")
            ->check(CLI::Range(1, kMostDays));
      });
  add("show", "What a certificate says of itself", show, [](CLI::App& verb, KeyArguments& arguments) {
    verb.add_option("FILE", arguments.file, "A certificate, PEM")->required();
  });
}

}  // namespace horus::cli
