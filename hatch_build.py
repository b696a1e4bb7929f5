"""The build hook: compiles the C library while the package is installed or a wheel is made."""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = Path(__file__).parent / "tokembed" / "native"


def _load_build() -> Any:
    """Return `tokembed.native.build`, without importing the package, whose requirements are not there yet."""
    spec = importlib.util.spec_from_file_location("build", NATIVE / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class NativeBuildHook(BuildHookInterface):
    """Compiles into the package's folder; an editable installation finds the library there, a wheel takes it along."""

    def dependencies(self) -> list[str]:
        """Return what building needs: a compiler that installs as a package, if there is no other."""
        return [] if _load_build().find_compiler() else ["ziglang"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; go on without the library if that fails, since the package works without it."""
        build = _load_build()
        try:
            libraries = build.build(NATIVE / "built")
        except (build.CompilerError, OSError) as error:
            self.app.display_warning(f"tokembed: no C library: {error}")
            return
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"  # called through ctypes: any Python will do
        build_data["force_include"].update({str(path): f"tokembed/native/built/{path.name}" for path in libraries})
