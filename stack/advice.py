"""What to install when this machine lacks something, in exact commands."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from callsheet.errors import PreconditionError
from stack.command import Command, CommandFailedError
from stack.jdk import JavaRequirement

_LONG_TERM = (25, 21, 17)


@dataclass(frozen=True, slots=True)
class Advice:
    """Knows what the machine's package manager can provide."""

    command: Command

    def jdk_package(self, requirement: JavaRequirement) -> str | None:
        """The apt package with a fitting JDK, if apt has one."""
        if shutil.which("apt-cache") is None:
            return None
        packages = [
            f"openjdk-{version}-jdk-headless"
            for version in _LONG_TERM
            if requirement.at_least <= version <= (requirement.at_most or version)
        ]
        offered = self._offered(packages)
        return next((package for package in packages if package in offered), None)

    def missing_java(self, title: str, requirement: JavaRequirement) -> PreconditionError:
        """There is no JDK for this server: say which, and how to get it."""
        package = self.jdk_package(requirement)
        version = (requirement.at_most and 21) or 25
        hint = (
            f"Install it: apt-get install {package} (`callsheet stack up --install` does so, as "
            "root)."
            if package
            else f"This system's apt has none. Install Temurin {version} (package "
            f"temurin-{version}-jdk of the Adoptium repository; Debian from trixie on has "
            f"openjdk-{version}-jdk-headless), or unpack any such JDK and set "
            f"JDK{version}_HOME to its folder."
        )
        return PreconditionError(f"{title} needs {requirement}, and none was found.", hint=hint)

    def install(self, packages: Sequence[str]) -> None:
        """Have apt install packages; for root, when asked to."""
        try:
            self.command(["apt-get", "install", "-y", "--no-install-recommends", *packages])
        except CommandFailedError as error:
            faults = [line for line in error.output.splitlines() if line.startswith("E:")]
            raise PreconditionError(
                f"apt-get could not install {' '.join(packages)}: {(faults or [error.message])[0]}",
                hint="Run apt-get update, then try again.",
            ) from error

    def _offered(self, packages: Sequence[str]) -> set[str]:
        try:
            policy = self.command(["apt-cache", "policy", *packages])
        except CommandFailedError:
            return set()
        found = re.findall(r"^(\S+):\n.*\n\s+Candidate: (\S+)", policy, re.MULTILINE)
        return {package for package, candidate in found if candidate != "(none)"}


def require_platform() -> None:
    """The native stack's programs are for Linux on x86_64."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise PreconditionError(
            f"The native stack runs on Linux x86_64, and this is {system} {machine}.",
            hint="Use the containers, which hold the same servers: docker compose up.",
        )
