"""effects.paths: every sequence of effects that code may run through, and no other."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnaudit.analyzer.effects import Block, BranchNode, CallNode, Effect, Exit, LoopNode, Node, paths
from nnaudit.analyzer.scopes import Frame
from nnaudit.analyzer.values import UNKNOWN, Function, Space, Value
from nnaudit.rules.finding import Site

SPACE = Space()
SITE = Site("train.py", 1)
BREAK, CONTINUE, RETURN, RAISE = map(Exit, ("break", "continue", "return", "raise"))


def effect(name: str, kind: str = "step") -> Effect:
    """An effect that prints as ``name``."""
    return Effect(kind, SPACE.const(name), SITE, ())


A, B, C = effect("a"), effect("b"), effect("c")
SKIPPED = effect("skipped by keep")
OTHER = effect("of another kind", "mode")


def branch(*arms: Iterable[Node], key: Value | None = None) -> BranchNode:
    answers = (True, False) if len(arms) == 2 else (None,) * len(arms)
    return BranchNode(SITE, key, [(answer, list(arm)) for answer, arm in zip(answers, arms, strict=True)])


def loop(*passes: Iterable[Node], exact: bool = False, serial: int = 10**9) -> LoopNode:
    return LoopNode(SITE, (), UNKNOWN, UNKNOWN, [list(body) for body in passes], exact, serial, True)


def call(*body: Node) -> CallNode:
    function = Function(None, Frame(None, None, None), None, None)  # type: ignore[arg-type]
    return CallNode(SITE, function, list(body))


def found(*block: Node, limit: int = 64) -> set[str] | None:
    """The paths through a block as words: ``{"ab", ""}``."""
    sequences = paths(list(block), frozenset(("step",)), lambda e: e is not SKIPPED, limit)
    return None if sequences is None else {"".join(e.subject.value for e in one) for one in sequences}  # type: ignore[attr-defined]


# ---------------------------------------------------------------------------- one thing at a time


def test_what_was_not_asked_for_is_left_out() -> None:
    assert found(A, OTHER, SKIPPED, call(B)) == {"ab"}


def test_nothing_is_one_empty_path() -> None:
    assert found() == found(OTHER, branch([OTHER], [])) == {""}


def test_a_branch_takes_one_arm() -> None:
    assert found(branch([A], [B], []), C) == {"ac", "bc", "c"}


def test_a_loop_runs_every_recorded_pass() -> None:
    assert found(loop([A, B], [A, B]), C) == {"ababc"}


def test_break_leaves_the_inner_loop_only() -> None:
    inner = loop([A, BREAK, B], [A, BREAK, B])
    assert found(loop([inner, B], [inner, B]), C) == {"ababc"}


def test_continue_goes_on_with_the_next_pass() -> None:
    body = (branch([CONTINUE], []), A)
    assert found(loop(body, body), B) == {"b", "ab", "aab"}


def test_a_break_without_effects_decides_what_follows_it() -> None:
    body = (branch([BREAK], []), A)
    assert found(loop(body, body), B) == {"b", "ab", "aab"}


def test_return_leaves_loops_and_the_function_but_not_its_caller() -> None:
    body = (A, branch([RETURN], []))
    assert found(call(loop(body, body), B), C) == {"ac", "aac", "aabc"}


def test_a_return_without_effects_in_a_loop() -> None:
    body = (branch([RETURN], []),)
    assert found(call(loop(body, body), A), B) == {"b", "ab"}


def test_return_at_the_top_ends_the_path() -> None:
    assert found(A, branch([RETURN], []), B) == {"a", "ab"}


def test_raising_paths_are_dropped() -> None:
    assert found(branch([A, RAISE], [B]), C) == {"bc"}
    assert found(branch([A], [RAISE]), C) == {"ac"}
    assert found(branch([RAISE], [OTHER]), C) == {"c"}
    assert found(branch([call(A, RAISE)], [B])) == {"b"}


@pytest.mark.xfail(strict=True, reason="a call that only raises is projected away, and its arm stays a path")
def test_an_arm_that_calls_what_only_raises_is_dropped() -> None:
    assert found(branch([A], [call(RAISE)]), C) == {"ac"}


@pytest.mark.xfail(strict=True, reason="a branch that raises in every arm is projected away, and what holds it stays")
def test_an_arm_that_raises_in_each_of_its_arms_is_dropped() -> None:
    assert found(branch([A], [branch([RAISE], [RAISE])]), C) == {"ac"}


# ---------------------------------------------------------------------------- equal conditions


KEY = SPACE.data("param", Site("train.py", 7), (SPACE.const("verbose"),))
OTHER_KEY = SPACE.data("param", Site("train.py", 7), (SPACE.const("debug"),))


def test_equal_conditions_are_decided_alike() -> None:
    assert found(branch([A], [], key=KEY), branch([B], [], key=KEY)) == {"ab", ""}
    assert found(branch([A], [], key=KEY), branch([B], [], key=OTHER_KEY)) == {"ab", "a", "b", ""}
    assert found(branch([A], []), branch([B], [])) == {"ab", "a", "b", ""}


def test_a_negated_condition_is_decided_the_other_way() -> None:
    negated = BranchNode(SITE, KEY, [(False, [B]), (True, [])])
    assert found(branch([A], [], key=KEY), negated) == {"a", "b"}


def test_a_condition_decided_in_a_call_holds_outside() -> None:
    assert found(call(branch([A], [RETURN], key=KEY)), branch([B], [], key=KEY)) == {"ab", ""}


def test_a_condition_that_a_loop_may_change_is_decided_anew_in_each_pass() -> None:
    """``KEY`` was made after the loop with serial 0 began, and before the one with the large serial."""
    body = (branch([A], [B], key=KEY),)
    assert found(loop(body, body)) == {"aa", "bb"}
    assert found(loop(body, body, exact=True, serial=0)) == {"aa", "bb"}
    assert found(loop(body, body, serial=0)) == {"aa", "ab", "ba", "bb"}


# ---------------------------------------------------------------------------- the limit


def test_too_many_paths_are_no_answer() -> None:
    three = [branch([effect(name)], []) for name in "xyz"]
    assert len(found(*three, limit=8) or ()) == 8
    assert found(*three, limit=7) is None


def test_only_different_paths_count() -> None:
    assert found(*[branch([A], [A])] * 20, limit=2) == {"a" * 20}


def test_branches_without_kept_effects_do_not_count() -> None:
    assert found(*[branch([OTHER], [SKIPPED, RAISE])] * 20, A, limit=1) == {"a"}


def test_decisions_are_forgotten_before_giving_up() -> None:
    """Both sides of a condition lead to the same effects: two paths with one face, and a limit of one."""
    body = [branch([A], [A], key=KEY), branch([OTHER], [SKIPPED], key=KEY)]
    assert found(*body, branch([B], [B], key=KEY), limit=1) == {"ab"}


# ---------------------------------------------------------------------------- against running it


class Left(Exception):
    """How an exit travels in the reference."""


class Runner:
    """Runs a block like a program; ``tape`` says which arm each branch takes and grows where it ends."""

    def __init__(self, tape: list[tuple[int, int]]) -> None:
        self.tape = tape
        self.position = 0
        self.events: list[Effect] = []
        self.decided: dict[Value, int] = {}

    def arm(self, node: BranchNode) -> Block:
        if node.key not in self.decided or node.key is None:
            if self.position == len(self.tape):
                self.tape.append((0, len(node.arms)))
            self.decided[node.key] = self.tape[self.position][0]  # type: ignore[index]
            self.position += 1
        return node.arms[self.decided[node.key]][1]  # type: ignore[index]

    def run(self, block: Block) -> None:
        for node in block:
            if isinstance(node, Effect):
                self.events.append(node)
            elif isinstance(node, Exit):
                raise Left(node.kind)
            elif isinstance(node, BranchNode):
                self.run(self.arm(node))
            elif isinstance(node, LoopNode):
                self.run_loop(node)
            else:
                try:
                    self.run(node.body)
                except Left as left:
                    if left.args != ("return",):
                        raise

    def run_loop(self, node: LoopNode) -> None:
        for body in node.passes:
            try:
                self.run(body)
            except Left as left:
                if left.args == ("break",):
                    return
                if left.args != ("continue",):
                    raise


def by_running(block: Block) -> set[tuple[Effect, ...]]:
    """The kept effects of every possible run that does not raise."""
    runs = set()
    tape: list[tuple[int, int]] = []
    while True:
        runner = Runner(tape)
        try:
            runner.run(block)
            raised = False
        except Left as left:
            raised = left.args == ("raise",)
        if not raised:
            runs.add(tuple(e for e in runner.events if e.kind == "step" and e is not SKIPPED))
        while tape and tape[-1][0] + 1 == tape[-1][1]:
            tape.pop()
        if not tape:
            return runs
        tape[-1] = (tape[-1][0] + 1, tape[-1][1])


def blocks(exits: tuple[Exit, ...], keys: tuple[Value | None, ...], depth: int) -> st.SearchStrategy[Block]:
    """Random blocks; ``exits`` may stand in them, ``break`` and ``continue`` in loops besides, ``return`` in calls."""
    nodes: st.SearchStrategy[Node] = st.sampled_from((A, B, SKIPPED, OTHER, *exits))
    if depth:
        arm = blocks(exits, keys, depth - 1)
        body = blocks((*exits, BREAK, CONTINUE), keys, depth - 1)
        called = blocks((*(e for e in exits if e is RAISE), RETURN), keys, depth - 1)
        nodes = st.one_of(
            nodes,
            st.builds(branch, arm, arm, key=st.sampled_from(keys)),
            st.builds(branch, arm, arm, arm),
            st.builds(lambda passes: loop(*passes, exact=True), st.lists(body, min_size=1, max_size=2)),
            st.builds(lambda nodes: call(*nodes), called),
        )
    return st.lists(nodes, max_size=3)


def check(block: Block, subset: bool = False) -> None:
    found = paths(block, frozenset(("step",)), lambda e: e is not SKIPPED, 10**6)
    assert found is not None
    assert len(set(found)) == len(found)
    expected = by_running(block)
    assert expected <= set(found) if subset else expected == set(found)


@settings(max_examples=200, deadline=None)
@given(blocks((RETURN,), (None,), 2))
def test_paths_are_what_running_gives(block: Block) -> None:
    check(block)


@settings(max_examples=200, deadline=None)
@given(blocks((RETURN,), (None, KEY, OTHER_KEY), 2))
def test_paths_are_what_running_gives_where_conditions_recur(block: Block) -> None:
    check(block)


@settings(max_examples=200, deadline=None)
@given(blocks((RETURN, RAISE), (None,), 2))
def test_no_path_is_lost_where_some_raise(block: Block) -> None:
    check(block, subset=True)
