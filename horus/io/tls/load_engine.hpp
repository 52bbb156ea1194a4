// SPDX-License-Identifier: Apache-2.0
// Finds and loads the shared object with TLS in it. Any thread; it reads the disk the first time. Internal.
#pragma once

#include <horus/base/result.hpp>
#include <horus/io/tls/engine.hpp>

namespace horus::HORUS_ABI::io::tls {

/// The engine of this process. It is looked for beside the library (<libdir>/horus/<version>) and then in the folders of
/// HORUS_PLUGIN_PATH, which counts for nothing in a set-user-ID program. It stays loaded.
/// Errors: ENOPKG: there is none; the text names what to install and where it was looked for. A later call looks again.
Result<const Engine*> load_engine();

}  // namespace horus::HORUS_ABI::io::tls
