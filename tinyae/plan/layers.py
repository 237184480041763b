"""How layers become instructions: convolution, pooling, upsampling, and recurrences over the steps of a sequence.

What C is told of the two sides of a convolution is read from the settings where the kernels read it, so a compiled step
has what they have.

Ring 4. Must not know how instructions are encoded or run. Read with lower.py, which is made of this.
"""

import numpy as np

from ..kernels.conv import conv2d_windows, conv_transpose2d_windows, weight_windows
from ..kernels.plan import windows_fit
from ..kernels.pool import counts_all, places_of, pool_windows, repeat_windows
from .memory import Ref
from .program import Value, Vjp

__all__ = ["Layers"]

_CONVOLUTIONS = {
    "conv2d": ("conv2d", conv2d_windows),
    "conv_transpose2d": ("conv2d_transposed", conv_transpose2d_windows),
    "_conv2d_weight": ("conv2d_weight", weight_windows),
}


class Layers:
    """The part of the lowering that knows layers."""

    def windows(self, i):
        """(kind, what C is told of the two sides) of a convolution, or None."""
        kind, windows_of = _CONVOLUTIONS[i.name]
        return self._fitting(kind, i, windows_of(*(x.shape for x in i.operands[:2]), **i.settings))

    def _fitting(self, kind, i, windows):
        code = int(self.dtype_of(i.result) == np.float64)
        return (kind, windows) if windows is not None and windows_fit(kind, code, windows) else None

    def _of_windows(self, node, how, out, param=0.0, **places):
        """The instruction `how`, (kind, windows) or None; out: which of its places the result is."""
        if how is None:
            return False
        kind, windows = how
        places = {name: self.dense(self.ref(value)) for name, value in places.items() if value is not None}
        y = self.ref(node.result)
        name, setting = node.activation or (None, param)
        self.add("windows", list(places.values()), [y], what=kind, dtype=y.root.dtype, windows=windows, param=setting,
                 activation=name, **places, **{out: y})  # fmt: skip
        return True

    def _do_conv2d(self, node):
        x, weight, *bias = node.instruction.operands
        bias = bias[0] if bias else None
        return self._of_windows(node, self.windows(node.instruction), "small", big=x, weight=weight, bias=bias)

    def _do_conv_transpose2d(self, node):
        x, weight, *bias = node.instruction.operands
        bias = bias[0] if bias else None
        return self._of_windows(node, self.windows(node.instruction), "big", small=x, weight=weight, bias=bias)

    def _do_conv2d_weight(self, node):
        big, small = node.instruction.operands
        return self._of_windows(node, self.windows(node.instruction), "weight", big=big, small=small)

    def _pooled(self, node, kind, out, how, divides=False, **places):
        """how: (what C is told, the result's shape of the op), or None."""
        how = how and self._fitting(kind, node.instruction, how[0])
        return self._of_windows(node, how, out, param=float(places_of(how[1])) if divides and how else 1.0, **places)

    def _do_max_pool(self, node):
        i = node.instruction
        (x,) = i.operands
        return self._pooled(node, "max_pool", "small", pool_windows(x.shape, **i.settings), big=x)

    def _back_max_pool(self, node):
        i = node.instruction
        g, kept = i.operands[0], dict(zip(i.op.names, i.operands[1:]))
        how = pool_windows(kept["x"].shape, **i.settings)
        return self._pooled(node, "max_pool_backward", "big", how, small=g, pooled=kept["x"])

    def _do_avg_pool(self, node):
        i = node.instruction
        (x,) = i.operands
        how = _means(x.shape, **i.settings)
        return self._pooled(node, "sum_pool", "small", how, divides=True, big=x)

    def _do_avg_pool_spread(self, node):
        i = node.instruction
        return self._pooled(node, "spread", "big", _means(**i.settings), divides=True, small=i.operands[0])

    def _do_upsample(self, node):
        i = node.instruction
        (x,) = i.operands
        return self._pooled(node, "spread", "big", repeat_windows(x.shape, **i.settings), small=x)

    def _do_upsample_back(self, node):
        i = node.instruction
        (g,) = i.operands
        return self._pooled(node, "sum_pool", "small", repeat_windows(g.shape, **i.settings, back=True), big=g)

    # -- recurrences ------------------------------------------------------------------------------------------------

    def _recurrent(self, name, values, settings):
        """What an instruction says of an op and of its operands by name; {name: ref} of those that it reads."""
        reads = {key: self.ref(value) for key, value in values.items() if key in ("z", "weight", "bias", "h", "c")}
        reads.setdefault("z", self.ref(values["y"]) if "y" in values else None)  # which an RNN's gradient does not read
        steps, repeats = reads["z"].shape[0], reads["z"].strides[0] == 0 and reads["z"].shape[0] > 1
        if repeats:  # one input for all steps
            reads["z"] = reads["z"].view(lambda a: a[0])
        lengths = values.get("lengths", settings.get("lengths"))
        if lengths is not None:
            reads["lengths"] = self.ref(lengths) if isinstance(lengths, Value) else self.lengths(lengths)
        reads = {key: self.dense(ref) for key, ref in reads.items()}
        n, hidden = reads["h"].shape
        said = {"what": name, "dtype": reads["h"].root.dtype, "steps": steps, "n": n, "hidden": hidden,
                "z_repeats": repeats, "activation": settings["activation"], "reverse": settings["reverse"]}  # fmt: skip
        return said, reads

    def _do_recurrent(self, node):
        i = node.instruction
        said, reads = self._recurrent(i.name, dict(zip(i.op.arguments, i.operands)), i.settings)
        writes = {"y": self.ref(node.result)}
        if i.name != "rnn" and any(isinstance(n.instruction.op, Vjp) for n in self.users.get(writes["y"].root, ())):
            writes["gates"] = self.temporary((said["steps"], said["n"], 4 * said["hidden"]), said["dtype"])
            self.gates[writes["y"].root] = writes["gates"]
        self.add("recurrent", list(reads.values()), list(writes.values()), **said, **reads, **writes)
        return True

    _do_rnn = _do_lstm = _do_gru = _do_recurrent

    def _back_recurrent(self, node):
        i = node.instruction
        values = dict(zip(i.op.names, i.operands[1:]))
        said, reads = self._recurrent(i.op.op.name, values, i.settings)
        reads |= {"g": self.dense(self.ref(i.operands[0])), "y": self.dense(self.ref(values["y"]))}
        if reads["y"].root in self.gates:  # in whose place z is needed no more
            reads["gates"] = self.gates[reads["y"].root]
            del reads["z"]
        names = ("dz", "dweight", *["dbias"] * ("bias" in values), "dh", *["dc"] * ("c" in values))
        writes = {name: self.ref(value) for name, value in zip(names, i.results)}
        self.add("recurrent_backward", list(reads.values()), list(writes.values()), **said, **reads, **writes)
        return True

    _back_rnn = _back_lstm = _back_gru = _back_recurrent

    def lengths(self, values):
        """How many steps of each row are real, as memory."""
        values = np.ascontiguousarray(values, np.int64)
        return Ref.whole(self.root("array", np.int64, values.size, array=values), values.shape)


def _means(shape, kernel_size, stride, padding, count_include_pad):
    """The windows of a mean, of which all count equally many values; else None."""
    return pool_windows(shape, kernel_size, stride, padding) if counts_all(padding, count_include_pad) else None
