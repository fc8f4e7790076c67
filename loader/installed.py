"""Whether the package that a card needs is installed, in a version that the card was checked with."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from loader.errors import UnsupportedFeatureError

if TYPE_CHECKING:
    from registry.cards import Backend


def check_version(requirements: Backend) -> None:
    """Raises UnsupportedFeatureError where it is not, with the command that installs it."""
    from packaging.specifiers import SpecifierSet

    package = requirements.package
    try:
        installed = metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise UnsupportedFeatureError(
            f"{package} is not installed, and models run on it. "
            "Install it with: pip install 'mlx-cards[mlx]'."
        ) from error
    if installed not in SpecifierSet(requirements.requires, prereleases=True):
        raise UnsupportedFeatureError(
            f"{package} {installed} is installed, and this family was checked with "
            f"{requirements.requires}. Install that: pip install '{package}{requirements.requires}'."
        )
