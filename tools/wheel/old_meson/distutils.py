# SPDX-License-Identifier: Apache-2.0
"""As much of distutils as Meson before 1.3 asks of an interpreter, for Pythons that have none (3.12 and newer).

What Meson wants to know is answered by sysconfig there; from here it only hears that nothing is special.
"""

import sys
import types

__path__ = []  # a package, so that `import distutils.command.install` looks into sys.modules


class Distribution:
    def get_command_obj(self, name):
        return types.SimpleNamespace(ensure_finalized=lambda: None, get_libraries=lambda extension: [])


def Extension(name, sources):
    return (name, sources)


install = types.ModuleType("distutils.command.install")
install.INSTALL_SCHEMES = {}
command = types.ModuleType("distutils.command")
command.install = install
core = types.ModuleType("distutils.core")
core.Distribution, core.Extension = Distribution, Extension
sys.modules.update({module.__name__: module for module in (install, command, core)})
