"""Finding cards and resolving names. Exact, or refused with suggestions; never a neighbour."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loader.errors import CardError, UnknownModelError, UnsupportedFeatureError
from registry.lifecycle import notice
from registry.naming import Target, either, fold, natural
from registry.shelf import Shelf

if TYPE_CHECKING:
    from registry.cards import Card
    from registry.extends import Value

CARDS = Path(__file__).parent / "models"
CLOSEST = 12
"""Names that are looked up for three suggestions."""


class Catalog:
    """The cards of a folder and the names they answer to, with those of folders that go before or after it.

    The cards of this package (`trusted`) are validated by its tests, also that no two share a name
    (`check_names`), so a file is read when a name may be in it. Another folder is read as a whole and its
    names checked right away; each of its cards is validated when it is asked for.

    `over`: folders of the user's. A name means what the first folder that has it says; where that is one of
    these and another folder has the name, too, the log tells. `below`: asked for folders where only names
    are looked for that no other card has.
    """

    def __init__(
        self,
        folder: Path = CARDS,
        *,
        trusted: bool = False,
        over: Sequence[Path] = (),
        below: Callable[[], Sequence[Path]] = tuple,
    ) -> None:
        self._shelves: list[Shelf] = []
        for path in over:
            self._shelves.append(Shelf(path, hidden=self._ids(), bases=self._folders))
        self._main = Shelf(folder, trusted=trusted, hidden=self._ids(), bases=self._folders)
        self._shelves.append(self._main)
        self._folders_below = below
        self._reported: set[str] = set()
        if not trusted:
            self.check_names()

    def families(self) -> tuple[str, ...]:
        """Ids of all cards that are not retired, in natural order."""
        known = (f for shelf in self._all() for f in self._readable(shelf) if not shelf.is_retired(f))
        return tuple(sorted(known, key=natural))

    def names(self) -> tuple[str, ...]:
        """Full names of all models that are not retired, in natural order."""
        names: dict[str, str] = {}
        for shelf in self._all():
            for name in (name for family in self._readable(shelf) for name in shelf.models(family)):
                names.setdefault(fold(name), name)
        return tuple(sorted(names.values(), key=natural))

    def card(self, target: Target) -> Card:
        """The card that a name means; the same object when it is asked for again. Raises CardError."""
        return self._shelf(target.family).card(target)

    def cards(self) -> list[Card]:
        """The cards of all models, as `names` has them. The log tells of none: nobody chose one of them."""
        targets = (self._find(fold(name)) for name in self.names())
        # A name that an alias of the user's hides means what the alias does.
        meant = dict.fromkeys(target.without_quantization() for target in targets if target is not None)
        return [self.card(target) for target in meant]

    def path(self, family: str) -> Path:
        """The file of a card."""
        return self._shelf(family).path(family)

    def values(self, target: Target) -> Iterator[Value]:
        """Every value that is written for a card, as a model sees it, and where. Raises CardError."""
        from registry.extends import values

        shelf = self._shelf(target.family)
        return values(shelf.data(target.family), shelf.files(target.family), target.model)

    def check_names(self) -> None:
        """Raises CardError where a card is malformed, or two cards of a folder have one name."""
        targets: dict[str, Target] = {}
        for shelf in self._all():
            for name, target in self._names(shelf):
                other = targets.setdefault(fold(name), target)
                # A family may share its name with its own model_type; two cards may share no name.
                if other != target and self._shelf(other.family) is shelf:
                    raise self._clash(name, other, target)

    def find(self, name: str) -> Target:
        """What `name` means. Case and the characters `_.-` are folded, nothing else.

        The log tells, once, of a model that is deprecated, an old name, and a name that hides another.
        Raises UnknownModelError with up to three suggestions, UnsupportedFeatureError when the
        model is retired, or exists, but not in the quantization that the name asks for.
        """
        base, at, quantization = name.strip().partition("@")
        target = self._find(fold(base))
        if target is None:
            raise self._unknown(name, base)
        self._tell(base.strip(), target)
        if not at:
            return target
        return self._quantized(name, target, quantization)

    def model_of(self, name: str) -> Target:
        """As `find`, for calls that need one model: a family is refused."""
        target = self.find(name)
        if target.model is None:
            raise UnknownModelError(self._choose_a_model(target.family), name=name)
        return target

    def find_model_type(self, model_type: str) -> Target | None:
        """The family whose checkpoints have this `model_type`, None if no single one has."""
        target = self._of_type(model_type)
        if target is not None:
            self._tell(model_type, target)
        return target

    def _ids(self) -> list[str]:
        return [family for shelf in self._shelves for family in shelf.families]

    def _folders(self) -> list[Path]:
        """Where a card may find the one that it extends, in the order of names."""
        return list(
            dict.fromkeys([*(shelf.folder for shelf in self._shelves), CARDS, *self._folders_below()])
        )

    @functools.cached_property
    def _below(self) -> list[Shelf]:
        """The cards that other packages contribute."""
        shelves: list[Shelf] = []
        for folder in self._folders_below():
            ids = [*self._ids(), *(family for shelf in shelves for family in shelf.families)]
            shelves.append(Shelf(folder, hidden=ids, bases=self._folders))
            for family in sorted(shelves[-1].hidden):
                self._report(f"{shelves[-1].path(family)} is not used: another card is called {family}.")
        return shelves

    def _all(self) -> Iterator[Shelf]:
        yield from self._shelves
        yield from self._below

    def _shelf(self, family: str) -> Shelf:
        return next(shelf for shelf in self._all() if family in shelf.families)

    def _readable(self, shelf: Shelf) -> Iterator[str]:
        """The cards of a shelf. A malformed one besides the main ones keeps no other from being found."""
        for family in shelf.families:
            if shelf is self._main or self._is_readable(shelf, family):
                yield family

    def _is_readable(self, shelf: Shelf, family: str) -> bool:
        try:
            shelf.data(family)
        except CardError as error:
            self._report(f"A card is left out. {error}")
            return False
        return True

    def _mentioning(self, shelf: Shelf, key: str) -> Iterator[str]:
        """The cards of a shelf that may answer to a folded name; a malformed one to its id, to say why."""
        for family in shelf.mentioning(key):
            if shelf is self._main or fold(family) == key or self._is_readable(shelf, family):
                yield family

    def _find(self, key: str) -> Target | None:
        """What a folded name means; a model type only if it is no other name."""
        types: list[str] = []
        for shelf in self._all():
            for family in self._mentioning(shelf, key):
                target = shelf.targets(family).get(key)
                if target is not None:
                    return target
                types += [t for t in shelf.types(family) if fold(t) == key]
        return next((only for t in types if (only := self._of_type(t)) is not None), None)

    def _of_type(self, model_type: str) -> Target | None:
        """Among the user's and the package's cards; a contributed one only where none of them has it."""
        key = fold(model_type)
        for shelves in (self._shelves, self._below):
            families = ((shelf, family) for shelf in shelves for family in self._mentioning(shelf, key))
            having = [family for shelf, family in families if model_type in shelf.types(family)]
            if having:
                return Target(having[0]) if len(having) == 1 else None
        return None

    def _tell(self, name: str, target: Target) -> None:
        """What who uses a name should know. Raises UnsupportedFeatureError where it is retired."""
        shelf = self._shelf(target.family)
        said = notice(name, target, shelf.data(target.family))
        if said is not None:
            self._report(said)
        if shelf is self._main:
            return
        meant = f"{target.model or target.family} of {shelf.path(target.family)}"
        for file, other in self._hidden(shelf, fold(name), target):
            self._report(f"{name} means {meant}, and hides {other} of {file}.")
        if "/" in name and shelf.is_alias(name, target):
            self._report(f"{name} is an alias of {meant}: it is not loaded from the repository of that name.")

    def _hidden(self, own: Shelf, key: str, target: Target) -> Iterator[tuple[Path, str]]:
        """What a name would mean without this card, the user's or a contributed one.

        Raises CardError where it means two things in one folder.
        """
        among = self._shelves if own in self._shelves else self._below
        for shelf in among[among.index(own) :]:
            if target.family in shelf.hidden:
                yield shelf.path(target.family), target.family
            for family in self._mentioning(shelf, key):
                other = shelf.targets(family).get(key)
                if other is None or other == target:
                    continue
                if shelf is own:
                    raise self._clash(key, target, other)
                yield shelf.path(family), other.model or other.family

    def _report(self, message: str) -> None:
        """Says it in the log, once."""
        if message not in self._reported:
            import logging  # takes as long as looking a name up, and most names need no report

            self._reported.add(message)
            logging.getLogger(__name__).warning(message)

    def _names(self, shelf: Shelf) -> Iterator[tuple[str, Target]]:
        """All names of a shelf; a model type is one where a single family has it."""
        types: dict[str, set[str]] = {}
        for family in self._readable(shelf):
            yield from shelf.names(family)
            for model_type in shelf.types(family):
                types.setdefault(model_type, set()).add(family)
        for model_type, having in types.items():
            if len(having) == 1:
                yield model_type, Target(*having)

    def _clash(self, name: str, first: Target, second: Target) -> CardError:
        return CardError(
            f"the name {name!r} already means {first.model or first.family} in {first.family}.yaml. "
            "Rename one of them.",
            path=str(self._shelf(second.family).path(second.family)),
        )

    def _quantized(self, name: str, target: Target, quantization: str) -> Target:
        if target.model is None:
            raise UnknownModelError(self._choose_a_model(target.family), name=name)
        model = self._shelf(target.family).data(target.family)["models"][target.model]
        there = model.get("quantizations", {})
        if quantization.lower() not in there:
            if there:
                todo = f"Choose one of: {', '.join(there)}."
            else:
                todo = f"Convert {model['source']} with mlx_vlm.convert and load the folder."
            raise UnsupportedFeatureError(
                f"{name.partition('@')[0]} has no published {quantization!r} quantization. {todo}"
            )
        return Target(target.family, target.model, quantization.lower())

    def _choose_a_model(self, family: str) -> str:
        full = sorted(self._shelf(family).models(family), key=natural)
        return f"{family} is a family, not one model. Choose one of: {', '.join(full)}."

    def _unknown(self, name: str, base: str) -> UnknownModelError:
        suggestions = tuple(itertools.islice(self._alike(base), 3))
        what = f"No model is called {name!r}, and a name is never resolved to one that looks like it."
        if suggestions:
            todo = f"Did you mean {either(suggestions)}?"
        elif base.startswith((".", "/", "~", "\\")):
            todo = "The commands that load a model take the path of a checkpoint, if it is there."
        elif "/" in base:
            todo = "A hub repository that no card lists is recognised by its config when it is loaded."
        else:
            todo = "`mlx-cards list` shows all names; a checkpoint folder is given by its path."
        return UnknownModelError(f"{what} {todo}", name=name, suggestions=suggestions)

    def _alike(self, base: str) -> Iterator[str]:
        """Names that look like one that there is not, as their cards write them, the closest first."""
        from registry.suggest import closest

        keys: set[str] = set()
        for shelf in self._all():
            known = shelf.keys()
            keys |= {fold(name) for name, _ in self._names(shelf)} if known is None else known
        # Repositories share their owner, which alone must not make them alike.
        for key in closest(fold(base), keys, CLOSEST, cutoff=0.9 if "/" in base else 0.6):
            with contextlib.suppress(CardError):  # an index knows where names may be, not that they are names
                if (target := self._find(key)) is not None:
                    yield self._spelled(key, target.family)

    def _spelled(self, key: str, family: str) -> str:
        """A folded name of a family as its card writes it."""
        shelf = self._shelf(family)
        names = (*(name for name, _ in shelf.names(family)), *shelf.types(family))
        return next(name for name in names if fold(name) == key)


def all_cards() -> Catalog:
    """All cards at hand: the user's, this package's, and those that other packages contribute."""
    from registry.overlays import folders

    return _all_cards(folders())


@functools.cache
def _all_cards(over: tuple[Path, ...]) -> Catalog:
    from registry.overlays import contributed

    return Catalog(trusted=True, over=over, below=contributed)
