"""Nets as users write them: layers, residuals, gates, norms by hand, lists and dictionaries of layers, flags."""

import random

ACTIVATIONS = ["nn.ReLU()", "nn.Tanh()", "nn.Sigmoid()", "nn.GELU()", "nn.SiLU()", "nn.ELU()", "nn.SELU()",
               "nn.LeakyReLU(0.1)", "nn.Softplus()", "nn.Hardtanh()", "nn.LogSigmoid()", "nn.GELU('tanh')",
               "nn.Identity()"]  # fmt: skip
FUNCTIONS = ["ops.relu(h)", "ops.tanh(h)", "h.tanh()", "h.sigmoid()", "np.tanh(h)", "ops.gelu(h)", "ops.silu(h)",
             "ops.softplus(h)", "ops.leaky_relu(h, slope=0.2)", "ops.elu(h, alpha=0.7)", "ops.selu(h)", "ops.sin(h)",
             "h / (1.0 + abs(h))", "h * ops.sigmoid(1.7 * h)", "ops.maximum(h, 0.1 * h)",
             "ops.where(h > 0, h, 0.1 * h)",
             "ops.clip(h, low=-1.5, high=1.5)", "0.3 * h**2", "ops.erf(h)", "1.0 - ops.exp(-h * h)", "ops.hardtanh(h)",
             "ops.log1p(h * h)", "ops.sqrt(h * h + 0.1)", "h * (h > 0)", "np.sin(h) + np.cos(h)", "ops.minimum(h, 1)",
             "h - h.mean(axis=0)", "ops.sign(h) * ops.log1p(abs(h))", "(h * h + 1.0) ** 0.5", "h / 2 + 1 / (2 + h * h)",
             "ops.logsigmoid(h)", "2.0 ** (-h * h)", "ops.cos(h)", "ops.rsqrt(h * h + 1)", "+h", "-h"]  # fmt: skip


class Draw(random.Random):
    """A random generator, with what the templates need."""

    def maybe(self, share=0.5):
        return self.random() < share

    def pick(self, *options):
        return self.choice(options)

    def size(self):
        """A number of features: mostly small, now and then wide enough for other kernels."""
        return self.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 33] + [64] * self.maybe(0.1))

    def weighted(self, **shares):
        return self.choices([*shares], [*shares.values()])[0]


class Body:
    """The lines of a module's __init__ and forward, over h, whose last axis has k features."""

    def __init__(self, p, k, steps=False):
        self.p, self.draw, self.k, self.steps = p, p.draw, k, steps
        self.init, self.lines, self.layers = [], [], []  # layers: the same as modules in a row, while that is possible

    def add(self, init, line, layer=None):
        """One more move: lines of __init__, lines of forward, and the module that does it alone, if one does."""
        self.init += init
        self.lines += [line] if isinstance(line, str) else line
        if self.layers is not None:
            self.layers = None if layer is None else [*self.layers, layer]

    def module(self, layer):
        name = self.p.new("l")
        self.add([f"self.{name} = {layer}"], f"h = self.{name}(h)", layer)

    def linear(self, k=None, bias=None):
        k = k or self.draw.size()
        self.module(linear(self.draw, self.k, k, bias))
        self.k = k

    def any(self, plain=False):
        """A move drawn at random; plain ones are modules."""
        draw, k, new = self.draw, self.k, self.p.new
        moves = dict(linear=5, activation=4, norm=2, noise=1)
        if not plain:
            moves |= dict(function=5, residual=1.5, gate=1, glu=1, scale=1.5, skip=0.7, attention=0.5, normed=1,
                          cut=0.7,
                          twice=0.8, outer=0.4, maxout=0.6, sort=0.4, stop=0.5, through=0.4, checkpoint=0.3, centre=0.7,
                          own_norm=0.6, constant=0.7, flag=0.7, dictionary=0.6, blocks=0.6, bayes=0.4, softmax=0.5,
                          cumsum=0.3, pad=0.3, roll=0.4, helper=0.4, chained=0.5, custom=0.2, each=0.4)  # fmt: skip
        move = draw.weighted(**moves)
        if move == "linear":
            self.linear()
        elif move == "activation":
            self.module(draw.choice(ACTIVATIONS))
        elif move == "norm":
            self.module(f"nn.LayerNorm({k}{draw.pick('', '', ', affine=False', ', eps=1e-3')})" if self.steps or
                        draw.maybe(0.4) else draw.pick(f"nn.BatchNorm1d({k})", f"nn.BatchNorm1d({k})",
                        f"nn.BatchNorm1d({k}, momentum=0.3)", f"nn.BatchNorm1d({k}, affine=False)",
                        f"nn.GroupNorm(1, {k})", f"nn.BatchNorm1d({k}, track_running_stats=False)"))  # fmt: skip
        elif move == "noise":
            self.module(draw.pick("nn.Dropout(0.2, generator=3)", "nn.Dropout(0.5, generator=4)",
                                  "nn.GaussianNoise(0.1, generator=5)"))  # fmt: skip
        elif move == "function":
            self.add([], f"h = {draw.choice(FUNCTIONS)}")
        elif move == "residual":
            a = new("l")
            inner = draw.pick("ops.relu(h)", "h", "ops.tanh(h)", "h * 0.5")
            self.add([f"self.{a} = {linear(draw, k, k)}"], f"h = h + self.{a}({inner})")
        elif move == "gate":
            a = new("l")
            self.add([f"self.{a} = {linear(draw, k, k)}"], f"h = h * ops.sigmoid(self.{a}(h))")
        elif move == "glu":
            m = draw.pick(2, 3, 5)
            self.linear(2 * m)
            self.add([], draw.pick("a, b = h.split({m}, axis=-1)|h = a * b.sigmoid()",
                                   "h = h[..., :{m}] * ops.tanh(h[..., {m}:])").format(m=m).split("|"))  # fmt: skip
            self.k = m
        elif move == "scale":
            a, shape = new("gain"), draw.pick("()", "(1,)", f"({k},)", f"(1, {k})")
            self.add(*draw.pick(([f"self.{a} = nn.Parameter(np.full({shape}, 0.8, FLOAT))"], f"h = h * self.{a}"),
                                ([f"self.{a} = 0.7"], f"h = self.{a} * h"),
                                ([f"self.{a} = nn.Parameter(np.zeros({shape}, FLOAT))"], f"h = h + self.{a}"),
                                ([f"self.{a} = nn.Parameter(np.ones({shape}{draw.pick('', *[', FLOAT'] * 9)}))"],
                                 f"h = h / (1.0 + self.{a} ** 2)")))
        elif move == "skip" and k + self.p.width < 80 and not self.steps:
            self.add([], draw.pick("h = ops.concat(h, x, axis=-1)", "h = np.concatenate([x, h], axis=-1)"))
            self.k = k + self.p.width
        elif move == "attention" and not self.steps:
            q, r = new("l"), new("l")
            self.add([f"self.{q} = nn.Linear({k}, 3, generator=1)", f"self.{r} = nn.Linear({k}, 3, generator=2)"],
                     f"h = ops.softmax(self.{q}(h) @ self.{r}(h).T / 3**0.5, axis=-1) @ h")  # fmt: skip
        elif move == "normed":
            self.add([], "h = " + draw.pick("h / (h.norm(axis=-1, keepdims=True) + 1e-3)",
                     "(h - h.mean(axis=-1, keepdims=True)) / (h.var(axis=-1, keepdims=True) + 1e-3).sqrt()",
                     "h * ops.rsqrt(ops.mean(h * h, axis=-1, keepdims=True) + 1e-3)",
                     "h / ops.sqrt(ops.sum(ops.square(h), axis=-1, keepdims=True) + 1e-2)",
                     "(h - h.mean(axis=0)) / (h.std(axis=0) + 0.1)",
                     "h - h.max(axis=-1, keepdims=True)", "h - ops.logsumexp(h, axis=-1, keepdims=True)",
                     "h / (1e-2 + abs(h).sum(axis=-1, keepdims=True))"))  # fmt: skip
        elif move == "cut" and k > 2:
            how, self.k = draw.pick((f"h[..., :{k - 1}]", k - 1), ("h[..., ::-1]", k), ("h[..., 1:]", k - 1),
                                    ("h[..., ::2]", (k + 1) // 2), ("ops.flip(h, axis=-1)", k),
                                    (f"h[..., {list(range(k - 1, -1, -2))}]", (k + 1) // 2))  # fmt: skip
            self.add([], f"h = {how}")
        elif move == "twice":
            a = new("shared")
            self.add([f"self.{a} = {linear(draw, k, k)}"],
                     draw.pick(f"h = self.{a}(ops.tanh(self.{a}(h)))", f"for _ in range(3): h = ops.tanh(self.{a}(h))"))
        elif move == "outer" and k < 8 and not self.steps:
            self.add([], draw.pick("h = (h.unsqueeze(-1) * h.unsqueeze(1)).flatten(1)",
                                   "h = (h.unsqueeze(2) @ h.unsqueeze(1)).reshape(len(h), -1)",
                                   "h = (h[:, :, None] - h[:, None, :]).reshape((h.shape[0], -1))"))  # fmt: skip
            self.k = k * k
        elif move == "maxout":
            m = draw.pick(2, 3, 4)
            self.linear(2 * m)
            self.add([], draw.pick(f"h = h.reshape(*h.shape[:-1], {m}, 2).max(axis=-1)",
                                   f"h = ops.maximum(h[..., :{m}], h[..., {m}:])",
                                   f"h = h.reshape(*h.shape[:-1], 2, {m}).mean(axis=-2)"))  # fmt: skip
            self.k = m
        elif move == "sort" and k > 1:
            self.add([], f"h = h.topk({max(1, k // 2)})[0]")
            self.k = max(1, k // 2)
        elif move == "stop":
            self.add([], draw.pick("h = h + ops.stop_gradient(h)", "h = h * h.detach()", "h = h - h.detach().mean()"))
        elif move == "through":
            self.add([], draw.pick("h = ops.straight_through(ops.sign(h), h)",
                                   "h = h + (ops.sign(h) - h).detach()"))  # fmt: skip
        elif move == "checkpoint":
            a = new("l")
            self.add([f"self.{a} = nn.Sequential({linear(draw, k, k)}, nn.Tanh())"],
                     f"h = tinyae.checkpoint(self.{a}, h)")  # fmt: skip
        elif move == "centre":
            self.add([], draw.pick("h = h - h.mean(axis=0, keepdims=True)", "h = h - ops.mean(h)",
                                   "h = h / (1.0 + h.std())", "h = h - h.max(axis=0)"))  # fmt: skip
        elif move == "own_norm" and not self.steps:
            a = new("mean")
            self.add([f"self.{a} = nn.Buffer(np.zeros({k}, 'f'))"],
                     ["if self.training:", "    mean = h.mean(axis=0)", "    with tinyae.no_grad():",
                      f"        tinyae.assign(self.{a}, 0.9 * self.{a} + 0.1 * mean.detach())",
                      "else:", f"    mean = self.{a}", "h = h - mean"])  # fmt: skip
        elif move == "constant":
            a, seed = new("c"), draw.randrange(99)
            make = f"np.random.default_rng({seed}).standard_normal"
            m = draw.pick(2, 4, 6)
            way = draw.pick("mul", "matmul", "mask")
            if way == "matmul":
                self.k = m
            init = {"mul": f"{make}({k}).astype(FLOAT)", "matmul": f"{make}(({k}, {m})).astype(FLOAT)",
                    "mask": f"({make}({k}) > -0.5).astype(FLOAT)"}[way]  # fmt: skip
            self.add([f"self.{a} = tinyae.constant({init})"], f"h = h {'@' if way == 'matmul' else '*'} self.{a}")
        elif move == "flag":
            a = new("flag")
            self.add([f"self.{a} = {draw.pick(True, False)}"],
                     [f"if self.{a}:", f"    h = {draw.choice(FUNCTIONS)}", "elif self.training:", "    h = h * 0.9"])
        elif move == "dictionary":
            a, m = new("parts"), self.draw.size()
            kind = draw.pick("nn.ModuleDict({})", "{}")
            inside = f"{{'map': {linear(draw, k, m)}, 'act': {draw.choice(ACTIVATIONS)}}}"
            self.add([f"self.{a} = {kind.format(inside) if kind != '{}' else inside}"],
                     f"h = self.{a}['act'](self.{a}['map'](h))")  # fmt: skip
            self.k = m
        elif move == "blocks":
            a = new("blocks")
            inside = f"{linear(draw, k, k)}, {draw.choice(ACTIVATIONS)}, {linear(draw, k, k)}"
            self.add([f"self.{a} = {draw.pick('nn.ModuleList([{}])', '[{}]', '({})').format(inside)}"],
                     draw.pick([f"for block in self.{a}:", "    h = block(h)"],
                               [f"for j, block in enumerate(self.{a}):", "    h = h + block(h) / (j + 1)"]))
        elif move == "bayes":
            a, m = new("w"), draw.pick(2, 4)
            weights = f"np.random.default_rng(1).standard_normal(({k}, {m})).astype('f')"
            self.add([f"self.{a} = nn.Parameter(0.3 * {weights})",
                      f"self.{a}_rho = nn.Parameter(np.full(({k}, {m}), -3, 'f'))",
                      f"self.{a}_noise = tinyae.Generator(8)"],
                     f"h = h @ (self.{a} + ops.softplus(self.{a}_rho) * ops.normal(self.{a}, "
                     f"generator=self.{a}_noise))")  # fmt: skip
            self.k = m
        elif move == "softmax":
            self.add([], draw.pick("h = h * ops.softmax(h, axis=-1)", "h = ops.softmax(h, axis=0)",
                                   "h = ops.log_softmax(h, axis=-1) * 0.2", "h = ops.softmax(h / 0.7)"))  # fmt: skip
        elif move == "cumsum":
            self.add([], "h = ops.cumsum(h, axis=-1) * 0.5")
        elif move == "pad":
            self.add([], "h = ops.pad(h, widths=[(0, 0)] * (h.ndim - 1) + [(1, 0)])")
            self.k = k + 1
        elif move == "roll":
            self.add([], draw.pick("h = ops.roll(h, shift=1, axis=-1)", "h = 0.5 * (h + h.roll(1, axis=0))"))
        elif move == "helper":
            name = self.p.new("helper")
            self.p.classes.append(f"def {name}(h, *, scale=0.8):\n    return {draw.choice(FUNCTIONS)} * scale\n")
            self.add([], f"h = {name}(h, scale=0.6)" if draw.maybe() else f"h = {name}(h)")
        elif move == "chained":
            f = " + ".join(f"{draw.pick(0.1, 0.2, 0.5)} * ({draw.choice(FUNCTIONS)})" for _ in range(draw.pick(2, 3,
                                                                                                               6)))
            self.add([], f"h = {f}")
        elif move == "custom":
            if not any("def swish" in c for c in self.p.classes):
                self.p.classes.append("@tinyae.custom_op\ndef swish(x):\n    return x / (1.0 + np.exp(-x))\n\n\n"
                                      "@swish.vjp\ndef _(g, x):\n    s = 1.0 / (1.0 + np.exp(-x))\n"
                                      "    return g * (s + x * s * (1.0 - s))\n")  # fmt: skip
            self.add([], "h = swish(h)")
        elif move == "each" and not self.steps:
            self.add([], draw.pick("h = ops.stack(*[h[j] * (j + 1) / 4 for j in range(len(h))])",
                                   "h = ops.concat(*[row.unsqueeze(0) for row in h])",
                                   "h = sum(h * w for w in (0.2, 0.3, 0.5))"))  # fmt: skip


def linear(draw, m, k, bias=None):
    bias = draw.maybe(0.85) if bias is None else bias
    return f"nn.Linear({m}, {k}{'' if bias else ', bias=False'}, generator={draw.randrange(20)})"


def network(p, m, k, moves=None, steps=False, plain=None):
    """A module of features m -> k: an expression, its class among the program's."""
    draw, body = p.draw, Body(p, m, steps)
    p.width = m
    plain = draw.maybe(0.35) if plain is None else plain
    for _ in range(moves if moves is not None else draw.randint(1, 6)):
        body.any(plain)
    if k is not None:
        body.linear(k)
    if body.layers is not None and plain:
        expression = f"nn.Sequential({', '.join(body.layers)})"
    else:
        name = p.new("Net")
        lines = [f"class {name}(nn.Module):", "    def __init__(self):",
                 *[f"        {line}" for line in body.init or ["pass"]],
                 "", "    def forward(self, x):", "        h = x", *[f"        {line}" for line in body.lines],
                 "        return h", ""]  # fmt: skip
        p.classes.append("\n".join(lines))
        expression = f"{name}()"
    return expression + (".astype('float64')" if p.float == "float64" else "")


