"""LLVM instructions written from Python: loops, vectors of float32 in lanes, and their sums in one order.

Numba cannot say which registers hold a tile of a product, nor in which order a sum of floats is taken: with `reassoc`
that depends on how wide the processor's vectors are, without it loops are not vectorised. So the kernels are written as
instructions. Everything here is on LANES float32 at a time, whatever the processor's own vectors hold: LLVM splits
what is wider. No operation may be reordered or fused unless it is written so (`Lanes.fused`): therefore the same
instructions give the same bits on every processor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from llvmlite import ir

LANES = 16
"""Float32 that are treated together."""

I1, I8, I16, I32, I64, F32 = (*(ir.IntType(bits) for bits in (1, 8, 16, 32, 64)), ir.FloatType())
ADDRESS: Any = I8.as_pointer()
FLOATS, INTEGERS, SHORTS = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES), ir.VectorType(I16, LANES)


@dataclass
class Loop:
    """A loop as its body sees it: `following` are set in the body to what the next turn finds in `carried`."""

    index: Any
    carried: list[Any]
    following: list[Any] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Lanes:
    """A vector of float32; its operators write instructions."""

    code: Code
    value: Any

    def _of(self, other: Lanes | float) -> Any:
        return other.value if isinstance(other, Lanes) else self.code.everywhere(other).value

    def __add__(self, other: Lanes | float) -> Lanes:
        return Lanes(self.code, self.code.builder.fadd(self.value, self._of(other)))

    def __sub__(self, other: Lanes | float) -> Lanes:
        return Lanes(self.code, self.code.builder.fsub(self.value, self._of(other)))

    def __mul__(self, other: Lanes | float) -> Lanes:
        return Lanes(self.code, self.code.builder.fmul(self.value, self._of(other)))

    def __truediv__(self, other: Lanes | float) -> Lanes:
        return Lanes(self.code, self.code.builder.fdiv(self.value, self._of(other)))

    def fused(self, factor: Lanes | float, more: Lanes | float) -> Lanes:
        """Return self · factor + more, rounded once."""
        return Lanes(self.code, self.code.intrinsic("llvm.fma", self.value, self._of(factor), self._of(more)))

    def largest(self, other: Lanes | float) -> Lanes:
        """Return the larger of each; the other where self is no number."""
        value = self._of(other)
        above = self.code.builder.fcmp_ordered(">", self.value, value)
        return Lanes(self.code, self.code.builder.select(above, self.value, value))

    def least(self, other: Lanes | float) -> Lanes:
        """Return the smaller of each; the other where self is no number."""
        value = self._of(other)
        below = self.code.builder.fcmp_ordered("<", self.value, value)
        return Lanes(self.code, self.code.builder.select(below, self.value, value))

    def root(self) -> Lanes:
        return Lanes(self.code, self.code.intrinsic("llvm.sqrt", self.value))

    def floor(self) -> Lanes:
        return Lanes(self.code, self.code.intrinsic("llvm.floor", self.value))

    def whole(self) -> Any:
        """Return the nearest integers, ties to even, of 32 bits."""
        return self.code.builder.fptosi(self.code.intrinsic("llvm.rint", self.value), INTEGERS)

    def total(self) -> Lanes:
        """Return the sum everywhere: halves, then halves of these."""
        return self._folded(lambda one, other: one + other)

    def highest(self) -> Lanes:
        """Return the largest one everywhere."""
        return self._folded(lambda one, other: one.largest(other))

    def _folded(self, join: Any) -> Lanes:
        found, step = self, LANES // 2
        while step:
            mask = [lane ^ step for lane in range(LANES)]
            found, step = join(found, found.code.shuffled(found.value, mask)), step // 2
        return found


class Code:
    """Writes instructions at the end of `builder`'s block.

    Addresses are of bytes (`ADDRESS`), all numbers of elements are 64 bits.
    """

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def number(self, value: Any) -> Any:
        """Return a 64-bit integer of LLVM."""
        return ir.Constant(I64, value) if isinstance(value, int) else value

    def add(self, *terms: Any) -> Any:
        """Return the sum of 64-bit integers."""
        found = self.number(terms[0])
        for term in terms[1:]:
            found = self.builder.add(found, self.number(term))
        return found

    def times(self, one: Any, other: Any) -> Any:
        return self.builder.mul(self.number(one), self.number(other))

    def over(self, one: Any, other: int) -> Any:
        """Return the quotient of non-negative integers, rounded down."""
        return self.builder.udiv(self.number(one), self.number(other))

    def less(self, one: Any, other: Any) -> Any:
        return self.builder.icmp_signed("<", self.number(one), self.number(other))

    def smaller(self, one: Any, other: Any) -> Any:
        return self.builder.select(self.less(one, other), self.number(one), self.number(other))

    def at(self, address: Any, kind: Any, index: Any) -> Any:
        """Return a pointer to element `index` of an array of `kind`."""
        return self.builder.gep(self.builder.bitcast(address, kind.as_pointer()), [self.number(index)])

    def moved(self, address: Any, kind: Any, index: Any) -> Any:
        """Return the address of element `index`."""
        return self.builder.bitcast(self.at(address, kind, index), ADDRESS)

    def room(self, kind: Any, count: int) -> Any:
        """Return a pointer to `count` numbers that live as long as the function's call."""
        with self.builder.goto_entry_block():
            return self.builder.alloca(kind, count)

    def load(self, address: Any, kind: Any, index: Any = 0) -> Any:
        """Return one number of an array of `kind`, or as many as the vector `kind` has, from element `index` on."""
        element = getattr(kind, "element", kind)
        pointer = self.builder.bitcast(self.at(address, element, index), kind.as_pointer())
        return self.builder.load(pointer, align=_size(element))

    def store(self, value: Any, address: Any, index: Any = 0) -> None:
        """Write a number or a vector of numbers from element `index` on."""
        element = getattr(value.type, "element", value.type)
        pointer = self.builder.bitcast(self.at(address, element, index), value.type.as_pointer())
        self.builder.store(value, pointer, align=_size(element))

    def lanes(self, address: Any, index: Any = 0) -> Lanes:
        """Return LANES float32 from element `index` on."""
        return Lanes(self, self.load(address, FLOATS, index))

    def everywhere(self, value: Any) -> Lanes:
        """Return a float32, of LLVM or of Python, in all lanes."""
        if isinstance(value, int | float):
            return Lanes(self, ir.Constant(FLOATS, [value] * LANES))
        return Lanes(self, self.spread(value, LANES))

    def spread(self, value: Any, count: int) -> Any:
        """Return a vector of `count` times a number."""
        empty = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
        vector = self.builder.insert_element(empty, value, ir.Constant(I32, 0))
        return self.builder.shuffle_vector(vector, empty, ir.Constant(ir.VectorType(I32, count), [0] * count))

    def first(self, vector: Any) -> Any:
        """Return the first number of a vector."""
        return self.builder.extract_element(vector, ir.Constant(I32, 0))

    def shuffled(self, vector: Any, order: Sequence[int], other: Any = None) -> Lanes:
        """Return the vector's elements, and from its length on those of `other`, in that order."""
        empty = ir.Constant(vector.type, ir.Undefined) if other is None else other
        mask = ir.Constant(ir.VectorType(I32, len(order)), list(order))
        return Lanes(self, self.builder.shuffle_vector(vector, empty, mask))

    def fetched_ahead(self, address: Any) -> None:
        """Ask for the line of the cache at an address; a hint that reads nothing and cannot fail."""
        kind = ir.FunctionType(ir.VoidType(), [ADDRESS, I32, I32, I32])
        function = self.outside("llvm.prefetch.p0", kind.return_type, kind.args)
        self.builder.call(function, [address, I32(0), I32(3), I32(1)])  # for reading, into every level, data

    def intrinsic(self, name: str, *values: Any, result: Any = None) -> Any:
        """Call an instruction of LLVM that is named by the type of its first operand, or wholly by `name`."""
        kind = values[0].type
        if result is None:
            vector = isinstance(kind, ir.VectorType)
            name += f".v{kind.count}f32" if vector else ".f32"
            result = kind
        return self.builder.call(self.outside(name, result, [value.type for value in values]), values)

    def outside(self, name: str, result: Any, arguments: Sequence[Any]) -> Any:
        """Return the declaration of a function of the module."""
        module = self.builder.module
        found = module.globals.get(name)
        return ir.Function(module, ir.FunctionType(result, list(arguments)), name) if found is None else found

    @contextmanager
    def loop(self, stop: Any, carried: Sequence[Any] = (), *, start: Any = 0, step: int = 1) -> Iterator[Loop]:
        """Write the body of `with` for each index; not at all where there is none."""
        builder, before = self.builder, self.builder.block
        head = builder.append_basic_block("loop")
        body, after = builder.append_basic_block("body"), builder.append_basic_block("after")
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(I64)
        index.add_incoming(self.number(start), before)
        phis = [builder.phi(value.type) for value in carried]
        for phi, value in zip(phis, carried, strict=True):
            phi.add_incoming(value, before)
        builder.cbranch(self.less(index, stop), body, after)
        builder.position_at_end(body)
        loop = Loop(index, phis)
        yield loop
        index.add_incoming(self.add(index, step), builder.block)
        for phi, value in zip(phis, loop.following, strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        loop.results = phis

    def ordered(self) -> None:
        """Keep the loads and stores before this before those after it; writes no instruction."""
        barrier = ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", side_effect=True)
        self.builder.call(barrier, [])


def _size(kind: Any) -> int:
    return 4 if isinstance(kind, ir.FloatType) else max(1, kind.width // 8)
