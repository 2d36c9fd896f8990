"""Seeing what a model calls: every module and every function of the user's, with the tensors that go in and come out.

Nothing in the model has to be changed or known for this: Python tells a profile function of every call and return.
"""

from __future__ import annotations

import dis
import inspect
import itertools
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn

from throughtime.capture.forwards import DISPATCHED
from throughtime.capture.modules import named_modules
from throughtime.capture.places import kept_by, tensors_in, variables_in
from throughtime.capture.substitution import Substitution
from throughtime.capture.used_weights import UsedWeights

# By the code of what calls a module, or the forward function of a recurrent one, the names of its arguments.
_OF_MODULES = {nn.Module._call_impl.__code__: ("args", "kwargs"), DISPATCHED: ("arguments", "keywords")}
_OF_TENSORS = Substitution.__torch_function__.__code__
_OWN = str(Path(__file__).parents[1])
_TORCH = str(Path(torch.__file__).parent)
_FUNCTIONS = torch.autograd.function.__file__
_YIELD = dis.opmap["YIELD_VALUE"]
_STANDARD = {sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib")}
_PACKAGES = {sysconfig.get_paths()[name] for name in ("purelib", "platlib")}


Key = tuple[Any, ...]
Leaves = Callable[[], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Callee:
    """Something that is called: a module, a function or method of the user's, or a weight that functions of torch use.

    Args:
        name: Qualified name of a module or weight of the model; a method's behind that of its module; a function's own.
        kind: What it is called where the name of the recurrence does not say it: a class, a function, a weight.
        module: The module, or the module whose method it is.
        is_module: Whether it is a module.
        key: What it is recognised by.
        owner: Qualified name of the module that it is a part of, "" for the model.
    """

    name: str
    kind: str
    module: nn.Module | None
    is_module: bool
    key: Key
    owner: str = ""

    @property
    def has_weights(self) -> bool:
        """Whether it is a weight, or a module that has any."""
        return self.is_weight or (
            self.is_module and self.module is not None and any(True for _ in self.module.parameters())
        )

    @property
    def is_weight(self) -> bool:
        """Whether it is a weight."""
        return self.key[0] == "weight"


@dataclass(eq=False)
class Call:
    """One call, as it was seen.

    Args:
        callee: What was called.
        received: The tensors that went in, by the place where they were found: "h", "state[0]", "self.memory".
        within: The call from inside which it was made.
        caller: The local variables of the function that made it, as they were then, by place.
        line: Which instruction of that function made it.
        number: In the order in which calls began.
        returned: The tensors that came out: "[1][0]" of the value, "self.memory" left behind.
        after: Where the caller has ended since, or yielded, its variables at that time; the same for all of its calls.
        left: What the caller's variables held from this call to its next one that is watched, or to its end, by place,
            where these are looked at.
    """

    callee: Callee
    received: dict[str, Tensor]
    within: Call | None
    caller: dict[str, Tensor] = field(default_factory=dict)
    line: int = -1
    number: int = 0
    returned: dict[str, Tensor] = field(default_factory=dict)
    after: dict[str, Tensor] = field(default_factory=dict)
    left: dict[str, list[Tensor]] = field(default_factory=dict)

    def around(self) -> Iterator[Call]:
        """The calls from inside which it was made, from the innermost outwards."""
        outer = self.within
        while outer is not None:
            yield outer
            outer = outer.within


class Watch:
    """Watches a model run, as a context manager.

    Args:
        model: The model, for the names.
        only: The callees to watch, by key; None for all.
        variables: Those of the callers that are looked at between their calls, by name.
        on_call: Called when a watched call begins.
        on_return: Called when it has returned.
    """

    def __init__(
        self,
        model: nn.Module,
        only: frozenset[Key] | None = None,
        variables: frozenset[str] = frozenset(),
        on_call: Callable[[Call], None] | None = None,
        on_return: Callable[[Call], None] | None = None,
    ) -> None:
        self._names = {id(module): name for name, module in named_modules(model)}
        self._weights = UsedWeights(model)
        self._numbers = itertools.count()
        self._making: list[tuple[FrameType, Tensor]] = []
        self._model, self._only, self._variables = model, only, variables
        self._on_call, self._on_return = on_call, on_return
        self.calls: list[Call] = []
        self._callees: dict[Key, Callee] = {}
        # The calls under way, and what looks, when each returns, at what it has left behind.
        self._open: list[tuple[FrameType, Call, Leaves]] = []
        self._callers: dict[int, tuple[FrameType, list[Call]]] = {}

    def __enter__(self) -> Watch:
        self._before = sys.getprofile()
        sys.setprofile(self._event)
        return self

    def __exit__(self, *error: object) -> None:
        # A profiler written in C cannot be started again from here.
        sys.setprofile(self._before if callable(self._before) else None)
        self._open.clear()
        self._callers.clear()
        self._making.clear()

    def _event(self, frame: FrameType, event: str, value: Any) -> None:
        if event == "call":
            if self._variables and frame.f_back is not None and id(frame.f_back) in self._callers:
                self._look(frame.f_back)
            called = self._called_by(frame.f_code)
            if called is not None:
                # Looking at a tensor is no call of the model's.
                with torch._C.DisableTorchFunction():
                    called(frame)
        elif event == "return" and self._making and self._making[-1][0] is frame:
            self._weights.made(value, self._making.pop()[1])
            self._event(frame, event, value)
        elif event == "return" and (id(frame) in self._callers or (self._open and self._open[-1][0] is frame)):
            with torch._C.DisableTorchFunction():
                if self._open and self._open[-1][0] is frame:
                    self._returned(value)
                if id(frame) in self._callers:
                    self._caller_left(frame)

        elif event == "c_call" and self._variables and id(frame) in self._callers:
            # Between two lines nothing is told but calls.
            self._look(frame)

    def _called_by(self, code: CodeType) -> Callable[[FrameType], None] | None:
        if code in _OF_MODULES:
            return self._module_called
        if code is _OF_TENSORS:
            return self._weight_used
        return self._function_called if _is_users(code) else None

    def _module_called(self, frame: FrameType) -> None:
        local, (of_arguments, of_keywords) = frame.f_locals, _OF_MODULES[frame.f_code]
        module, key = local["self"], ("module", id(local["self"]))
        if module is self._model or (self._only is not None and key not in self._only):
            return
        if frame.f_code is DISPATCHED and self._open and self._open[-1][1].callee.key == key:
            return
        callee = self._callee(key, module, type(module).__name__, True)
        arguments, keywords = local[of_arguments], local[of_keywords]
        received: dict[str, Tensor] = {}
        for name, value in _bound(module, arguments, keywords).items():
            received.update(tensors_in(value, name))
        self._began(frame, callee, {**received, **kept_by(module)}, lambda: kept_by(module))

    def _function_called(self, frame: FrameType) -> None:
        code, local = frame.f_code, frame.f_locals
        if frame.f_back is not None and frame.f_back.f_code.co_filename == _FUNCTIONS:
            # The forward pass of a custom function: it stands in the graph as one operation.
            return
        owner = _owner(code, local)
        module = owner if isinstance(owner, nn.Module) else None
        if module is not None and code.co_name == "forward":
            key: Key = ("module", id(module))
            if module is self._model or (self._open and self._open[-1][1].callee.key == key):
                return
        else:
            key = ("function", code, None if owner is None else id(owner))
        if self._only is not None and key not in self._only:
            return
        is_module = key[0] == "module"
        callee = self._callee(key, module, type(module).__name__ if is_module else code.co_name, is_module)
        received: dict[str, Tensor] = {}
        for name in (*_parameters(code), *code.co_freevars):
            if name in local and local[name] is not owner:
                received.update(tensors_in(local[name], name))
        kept = {} if owner is None else kept_by(owner)
        self._began(frame, callee, {**received, **kept}, lambda: _left_by_function(frame))

    def _weight_used(self, frame: FrameType) -> None:
        """A function of torch is called with a weight, by the user's own code: "h @ self.weight"."""
        use = self._weights.used_by(frame.f_locals["args"], frame.f_locals["kwargs"])
        if use is None:
            return
        if use.makes_of is not None:
            self._making.append((frame, use.makes_of))
        key = ("weight", id(use.weight))
        # A single number scales what passes by; it is no way from state to state.
        if not use.received or use.weight.numel() == 1 or _within_module(frame):
            return
        if self._only is None or key in self._only:
            if key not in self._callees:
                name, owner = self._weights.names[id(use.weight)]
                self._callees[key] = Callee(name, name.rpartition(".")[2], None, False, key, owner)
            self._began(frame, self._callees[key], dict(tensors_in(use.received, "")), dict)

    def _callee(self, key: Key, module: nn.Module | None, kind: str, is_module: bool) -> Callee:
        if key not in self._callees:
            of = self._names.get(id(module)) if module is not None else None
            of_module = kind if of is None else of
            name = of_module if is_module else ".".join(filter(None, (of, kind)))
            self._callees[key] = Callee(name, kind, module, is_module, key, name.rpartition(".")[0])
        return self._callees[key]

    def _began(self, frame: FrameType, callee: Callee, received: dict[str, Tensor], leaves: Leaves) -> None:
        call = Call(callee, received, self._open[-1][1] if self._open else None, number=next(self._numbers))
        caller = frame.f_back
        while caller is not None and caller.f_code.co_filename.startswith(_TORCH):
            caller = caller.f_back
        if caller is not None and _is_users_file(caller.f_code):
            if id(caller) in self._callers:
                self._look(caller)
            call.caller, call.line = variables_in(caller.f_locals), caller.f_lasti
            its = self._callers.setdefault(id(caller), (caller, []))[1]
            call.after = its[0].after if its else call.after
            its.append(call)
        self._open.append((frame, call, leaves))
        if self._on_call is not None:
            self._on_call(call)

    def _returned(self, value: Any) -> None:
        _, call, leaves = self._open.pop()
        call.returned = {**dict(tensors_in(value, "")), **leaves()}
        if call.received and call.returned:
            self.calls.append(call)
        if self._on_return is not None:
            self._on_return(call)

    def _look(self, frame: FrameType) -> None:
        left, local = self._callers[id(frame)][1][-1].left, frame.f_locals
        for place, tensor in variables_in({name: local[name] for name in self._variables if name in local}).items():
            seen = left.setdefault(place, [])
            if not seen or seen[-1] is not tensor:
                seen.append(tensor)

    def _caller_left(self, frame: FrameType) -> None:
        self._look(frame)
        after = self._callers[id(frame)][1][-1].after
        after.clear()
        after.update(variables_in(frame.f_locals))
        if not _goes_on_later(frame):
            del self._callers[id(frame)]


def _within_module(frame: FrameType) -> bool:
    """Whether what is called by torch's own code is called for a module, which is seen to be called."""
    around = frame.f_back
    while around is not None and around.f_code.co_filename.startswith(_TORCH):
        if around.f_code in _OF_MODULES:
            return True
        around = around.f_back
    return around is not None and around.f_code in _OF_MODULES


def _bound(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
    """A module's arguments by the names that its forward function gives them."""
    try:
        signature = _signature(type(module).forward)
        return dict(signature.bind(module, *arguments, **keywords).arguments, self=None)
    except (AttributeError, TypeError, ValueError):
        # Compiled modules have no signature that could be read.
        return {f"args[{index}]": value for index, value in enumerate(arguments)} | keywords


@cache
def _signature(function: Any) -> inspect.Signature:
    return inspect.signature(function)


def _owner(code: CodeType, local: Mapping[str, Any]) -> Any:
    """The object whose method a function is, None for a function of its own."""
    first = local.get(code.co_varnames[0]) if code.co_argcount else None
    is_method = code.co_varnames[:1] == ("self",) or isinstance(first, nn.Module)
    return first if is_method and hasattr(type(first), code.co_name) else None


def _left_by_function(frame: FrameType) -> dict[str, Tensor]:
    """What a function leaves behind: in the object whose method it is, in variables outside, in what it was given."""
    code, local = frame.f_code, frame.f_locals
    owner = _owner(code, local)
    left = {} if owner is None else kept_by(owner)
    for name in code.co_freevars:
        if name in local:
            left.update(tensors_in(local[name], name))
    for name in _parameters(code):
        if isinstance(local.get(name), list | dict):
            left.update(tensors_in(local[name], name))
    return left


def _parameters(code: CodeType) -> tuple[str, ...]:
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_varnames[:count]


@cache
def _is_users(code: CodeType) -> bool:
    """Whether a function is neither torch's, nor the standard library's, nor ours, nor something anonymous."""
    if code.co_name.startswith("<") and code.co_name != "<lambda>":
        return False
    if code.co_name.startswith("__") and code.co_name != "__call__":
        return False
    return _is_users_file(code)


@cache
def _is_users_file(code: CodeType) -> bool:
    """Whether code is in a file of the user's, or of a package that does not work behind torch, as a compiler does that
    makes millions of calls."""
    file = code.co_filename
    if file.startswith((_TORCH, _OWN, "<frozen", "<@", "<__array_function__")):
        return False
    if any(file.startswith(folder) for folder in _PACKAGES):
        behind = ("numpy", "numba", "llvmlite", "beartype", "jaxtyping")
        return not any(f"{folder}/{name}/" in file for folder in _PACKAGES for name in behind)
    return not any(file.startswith(folder) for folder in _STANDARD)


def _goes_on_later(frame: FrameType) -> bool:
    """Whether what returns is a generator that will be asked for more."""
    code = frame.f_code
    return bool(code.co_flags & inspect.CO_GENERATOR) and code.co_code[frame.f_lasti] == _YIELD
