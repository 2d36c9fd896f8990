"""Element-wise equations as lines of a kernel, each thing computed once, under a name that says what it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from textwrap import fill, indent
from typing import Any

import sympy
from sympy.printing.codeprinter import CodePrinter

from throughtime.cells import relu, sigmoid, tanh
from throughtime.cells.functions import ON_TENSORS
from throughtime.fused.functions import written
from throughtime.fused.languages import Language, NotFused

SLOPE = "_slope"
# Above every operator, so that whatever is no name or number stands in parentheses.
TIGHT = 999
# What a function of the equations is called in a kernel, by the name of its SymPy class.
IN_KERNELS = {type(function(sympy.Symbol("a"))).__name__: function.__name__ for function in (sigmoid, tanh, relu)}
IN_KERNELS |= {name + SLOPE: function + SLOPE for name, function in IN_KERNELS.items()}


class Lines:
    """The lines that compute some expressions.

    Args:
        wanted: The expressions, by the name that each is to have; one may stand in another under its name.
        gates: By the name of a pre-activation the gate that it belongs to, after which its activation is named.
        language: That of the kernel.

    Attributes:
        lines: Assignments, in an order in which they can be run.
        read: What they read and do not assign.
        functions: What they call of a kernel's own functions.
        own: By name the source of the other functions that they call.

    Raises:
        NotFused: The equations hold what no kernel computes.
    """

    def __init__(self, wanted: Mapping[str, Any], gates: Mapping[str, str], language: Language) -> None:
        self.lines, self.read, self.functions = list[str](), set[str](), set[str]()
        self.own: dict[str, str] = {}
        self._called: dict[str, str] = {}
        self._gates, self._language, self._printer = gates, language, _Printer(self._called, language)
        self._named: dict[Any, sympy.Symbol] = {}
        self._definitions: dict[sympy.Symbol, Any] = {}
        opened = {_symbol(name): self._opened(sympy.sympify(expression)) for name, expression in wanted.items()}
        definitions = self._definitions | opened
        names = (_symbol(f"shared_{number}") for number in range(1, 10**6))
        shared, expressions = sympy.cse(list(definitions.values()), symbols=names)
        self._definitions = dict(shared) | dict(zip(definitions, expressions, strict=True))
        self._assigned: set[sympy.Symbol] = set()
        for name in opened:
            self._assign(name)

    def _opened(self, expression: Any) -> Any:
        """With a name in the place of every applied function, the innermost ones first."""
        applied = expression.atoms(sympy.Function)
        for one in sorted(applied, key=lambda one: (len(one.atoms(sympy.Function)), sympy.default_sort_key(one))):
            if one not in self._named:
                name = self._name(one)
                self._definitions[name] = one.func(*(argument.xreplace(self._named) for argument in one.args))
                self._named[one] = name
        return expression.xreplace(self._named)

    def _name(self, applied: Any) -> sympy.Symbol:
        """The function, and what it is of: a gate, or a variable."""
        function = self._function(type(applied).__name__)
        within = {str(symbol) for symbol in applied.args[0].xreplace(self._named).free_symbols}
        of = [self._gates[name] for name in sorted(within) if name in self._gates] or sorted(within)
        first = name = f"{function}_{of[0]}" if of else function
        number = 1
        while _symbol(name) in self._definitions:
            number += 1
            name = f"{first}_{number}"
        return _symbol(name)

    def _function(self, symbol: str) -> str:
        """What a function is called in the kernel, by the name of its SymPy class."""
        if symbol in self._called:
            return self._called[symbol]
        if symbol in IN_KERNELS:
            function = IN_KERNELS[symbol]
            self.functions.add(function)
        elif symbol in ON_TENSORS:
            slope = SLOPE if symbol.endswith(SLOPE) else ""
            said = symbol.removesuffix(SLOPE).rpartition("_")[0]
            function = f"own_{re.sub(r'[^a-zA-Z0-9_]', '_', said)}{slope}"
            if function in self.own:
                raise NotFused(f"two functions of its equations are named {said!r}; give one another name")
            try:
                self.own[function] = written(function, ON_TENSORS[symbol], self._language)
            except ValueError as error:
                raise NotFused(f"of the function {said!r} {'the slope' if slope else 'the value'}: {error}") from error
            self.functions.update(self._language.known)
        else:
            raise NotFused(f"{symbol} is none of the functions of throughtime.cells; make one with elementwise")
        self._called[symbol] = function
        return function

    def _assign(self, name: sympy.Symbol) -> None:
        if name in self._assigned:
            return
        self._assigned.add(name)
        expression = self._definitions[name]
        for symbol in sorted(expression.free_symbols, key=str):
            if symbol in self._definitions:
                self._assign(symbol)
            else:
                self.read.add(str(symbol))
        self.lines.append(f"{name} = {self._printer.doprint(expression)}")


def block(spaces: int, lines: Iterable[str]) -> str:
    """Lines below each other, indented."""
    return indent("\n".join(lines), " " * spaces)


def listed(arguments: Iterable[str]) -> str:
    """What a function takes, in lines of even length."""
    return fill(", ".join(arguments), 100, initial_indent=" " * 4, subsequent_indent=" " * 4)


def _symbol(name: str) -> sympy.Symbol:
    return sympy.Symbol(name, real=True)


class _Printer(CodePrinter):
    """An expression in the kernel's language."""

    def __init__(self, called: Mapping[str, str], language: Language) -> None:
        super().__init__({"strict": True})
        self._called, self._written_in = called, language

    def _format_code(self, lines: list[str]) -> list[str]:
        return lines

    def _print_number(self, number: Any) -> str:
        return self._written_in.number(float(number))

    _print_Integer = _print_Rational = _print_Float = _print_NumberSymbol = _print_number
    _print_Zero = _print_One = _print_NegativeOne = _print_Half = _print_number

    def _print_Pow(self, power: Any) -> str:
        base, exponent = power.args
        to = float(exponent) if exponent.is_number else self.parenthesize(exponent, TIGHT)
        return self._written_in.raised(self.parenthesize(base, TIGHT), to)

    def _print_Abs(self, absolute: Any) -> str:
        return self._written_in.absolute.format(self._print(absolute.args[0]))

    def _print_Function(self, applied: Any) -> str:
        return f"{self._called[type(applied).__name__]}({', '.join(map(self._print, applied.args))})"
