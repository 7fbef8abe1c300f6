"""The interpreter's memory: cells, with a trail so that an arm of a branch can be undone and joined."""

from __future__ import annotations

from collections.abc import Iterable

from .values import UNKNOWN, Space, Value

Key = tuple[object, str]
"""``(frame, name)`` for a variable, ``(value, attribute)`` for what an object holds; our own names begin with ``$``."""

ITEMS = "$items"
MODE = "$mode"
ESCAPED = "$escaped"
DYNAMIC = "$dynamic"

Delta = dict[Key, "Value | None"]


class State:
    """Cells that change as the program runs. Reading is one look-up; every write is on the trail."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.cells: dict[Key, Value | None] = {}
        self._trail: list[tuple[Key, Value | None]] = []
        self.attributes: dict[object, list[str]] = {}
        """Every attribute name ever written, by object (variables of frames are not listed)."""
        self.version = 0
        """Grows whenever what a module holds changes (training modes apart): forward passes depend on it."""
        self._versioned: list[int] = []

    def get(self, owner: object, name: str) -> Value | None:
        """What a cell holds, None for nothing."""
        return self.cells.get((owner, name))

    def set(self, owner: object, name: str, value: Value | None) -> None:
        """Write a cell."""
        key = (owner, name)
        self._trail.append((key, self.cells.get(key)))
        self.cells[key] = value

    def set_attribute(self, owner: Value, name: str, value: Value) -> None:
        """Write a cell of an object, and remember that the object has it."""
        names = self.attributes.setdefault(owner, [])
        if name not in names:
            names.append(name)
        self.set(owner, name, value)

    def module_changed(self) -> None:
        """The write just made changes what a module holds."""
        self.version += 1
        self._versioned.append(len(self._trail) - 1)

    def mark(self) -> int:
        """A point to come back to."""
        return len(self._trail)

    def delta(self, mark: int, without: object = None) -> Delta:
        """Every cell written since ``mark``, with what it holds now; ``without`` leaves out the cells of one frame."""
        cells = self.cells
        if without is None:
            return {key: cells.get(key) for key, _ in self._trail[mark:]}
        return {key: cells.get(key) for key, _ in self._trail[mark:] if key[0] is not without}

    def changed(self, mark: int) -> Iterable[tuple[Key, Value | None]]:
        """Every cell written since ``mark``, with what it held before its first write."""
        before: Delta = {}
        for key, old in self._trail[mark:]:
            before.setdefault(key, old)
        return before.items()

    def undo(self, mark: int) -> None:
        """Take back every write since ``mark``."""
        cells, trail = self.cells, self._trail
        for index in range(len(trail) - 1, mark - 1, -1):
            key, old = trail[index]
            cells[key] = old
        del trail[mark:]
        if self._versioned and self._versioned[-1] >= mark:
            self.version += 1
            while self._versioned and self._versioned[-1] >= mark:
                self._versioned.pop()

    def drop(self, mark: int, owner: object) -> None:
        """Forget the cells of a frame that nobody can read any more, and their writes since ``mark``."""
        trail, cells = self._trail, self.cells
        kept = []
        for entry in trail[mark:]:
            if entry[0][0] is owner:
                cells.pop(entry[0], None)
            else:
                kept.append(entry)
        trail[mark:] = kept
        if self._versioned and self._versioned[-1] > mark:
            while self._versioned and self._versioned[-1] > mark:
                self._versioned.pop()
            self._versioned.append(mark)

    def forget(self) -> None:
        """Drop the trail: what is written stays (between roots)."""
        self._trail.clear()
        self._versioned.clear()

    def join(self, deltas: list[Delta]) -> None:
        """Continue from whichever of the outcomes: each is what was written since the present state."""
        if len(deltas) == 1:
            for (owner, name), value in deltas[0].items():
                self.set(owner, name, value)
            return
        keys = dict.fromkeys(key for delta in deltas for key in delta)
        for key in keys:
            current = self.cells.get(key)
            joined: Value | None = None
            for delta in deltas:
                value = delta.get(key, current)
                if value is None:
                    continue
                joined = value if joined is None else self._join_cell(key[1], joined, value)
            if joined is not current:
                self.set(key[0], key[1], joined)

    def _join_cell(self, name: str, left: Value, right: Value) -> Value:
        if name == ITEMS:
            return left if left is right else self.space.merge(left, right)
        if name == ESCAPED:
            return self.space.true
        if name == MODE and left is not right:
            return UNKNOWN
        return self.space.join(left, right)
