"""What programs are for: arguments, nets and a loss, task by task; the lines of a step up to the loss."""

from .nets import ACTIVATIONS, linear, network



def normal(p, *shape):
    return f"rng.standard_normal(({p.n}, {', '.join(map(str, shape))}{',' * (not shape)})).astype(FLOAT)"


def inputs(p, d, name="x"):
    """Rows of d features, as numbers of some kind; the expression of them as fractions."""
    kind = p.draw.weighted(normal=8, uniform=2, bytes=1, bools=0.5, ints=0.5)
    if kind == "normal":
        p.argument(name, normal(p, d))
        return name
    if kind == "uniform":
        p.argument(name, f"rng.random(({p.n}, {d})).astype(FLOAT)")
        return name
    made = {"bytes": ("rng.integers(0, 256, ({n}, {d})).astype(np.uint8)", "{x} / 255.0"),
            "bools": ("rng.random(({n}, {d})) < 0.5", "{x} * 1.0"),
            "ints": ("rng.integers(-3, 4, ({n}, {d}))", "{x} * 0.5")}[kind]  # fmt: skip
    p.argument(name, made[0].format(n=p.n, d=d))
    fraction = p.draw.pick(made[1], "ops.cast({x}, dtype=FLOAT) * 0.3", "{x}.astype(FLOAT) - 0.5")
    p.forward.append(f"{name} = {fraction.format(x=name)}")
    return name


def pointwise(p, a, b, d, rows="x"):
    """A loss of two tensors of shape (n, d)."""
    draw = p.draw
    settings = draw.weighted(**{"": 5, ', reduction="sum"': 1, ', reduction="batch"': 1, "mask": 1.2, "weight": 1,
                                "const": 0.8, "number": 0.4, "column": 0.6})  # fmt: skip
    if settings == "mask":
        p.argument("m", f"rng.random(({p.n}, {d})) < 0.7")
        settings = draw.pick(", mask=m", ", mask=m", f", mask={b} > -0.5", ", mask=m != 0")
    elif settings == "column":
        p.argument("m", f"(rng.random(({p.n}, 1)) < 0.6) | (np.arange({p.n})[:, None] % 2 == 0)")
        settings = ", mask=m"
    elif settings == "weight":
        p.argument("wt", f"rng.random(({p.n}, {draw.pick(d, 1)})).astype(FLOAT) + 0.1")
        settings = ", weight=wt"
    elif settings == "const":
        p.setup.append(f"$weight = tinyae.constant(np.linspace(0.5, 1.5, {d}).astype(FLOAT))")
        settings = ", weight=$weight"
    elif settings == "number":
        settings = ", weight=2.0"
    loss = draw.weighted(mse=6, l1=1, huber=1, smooth_l1=0.6, log_cosh=0.6, hand=3, cosine=0.4)
    if loss == "cosine" and settings in ("", ', reduction="sum"'):
        return f"nn.cosine_distance({a}, {b}{settings})"
    if loss == "hand":
        return draw.pick(f"((({a}) - {b}) ** 2).mean()", f"ops.mean(ops.square({a} - {b}))",
                         f"ops.sum(({a} - {b}) ** 2) / len({rows})",
                         f"np.mean(({a} - {b}) ** 2)", f"ops.mean(ops.sum(ops.square({b} - {a}), axis=1))",
                         f"ops.sqrt(ops.mean(ops.square({a} - {b})) + 1e-4)", f"abs({a} - {b}).mean()",
                         f"ops.mean(({a} - {b}) ** 2, axis=(0, 1))", f"({a} - {b}).norm()",
                         f"ops.norm({a} - {b}, axis=1).mean()",
                         f"ops.max(abs({a} - {b}), axis=0).mean()", f"ops.mean(ops.square({a} - {b}), axis=0).sum()",
                         f"ops.log(1.0 + ops.square({a} - {b})).mean()", f"(({a} - {b}) ** 2).sum(axis=-1).mean()",
                         f"ops.logsumexp(ops.square({a} - {b}), axis=-1).mean()")  # fmt: skip
    extra = {"huber": ", delta=0.5", "smooth_l1": ", beta=0.5"}.get(loss, "") if draw.maybe() else ""
    return f"nn.{loss if loss != 'cosine' else 'mse'}({a}, {b}{extra}{settings})"


def classes(p, logits, k, y="y"):
    """A loss of logits (n, k) and class numbers."""
    draw = p.draw
    way = draw.weighted(plain=5, smoothing=1, onehot=1, nll=1.5, weight=1, ignore=1, hand=1, mask=0.7, focal=0.7,
                        sum=0.7)
    if way == "plain":
        return f"nn.cross_entropy({logits}, {y})"
    if way == "smoothing":
        return f"nn.cross_entropy({logits}, {y}, label_smoothing=0.1)"
    if way == "sum":
        return f"nn.cross_entropy({logits}, {y}, reduction={draw.pick('sum', 'batch')!r})"
    if way == "onehot":
        return f"nn.cross_entropy({logits}, ops.one_hot({y}, n={k}))"
    if way == "nll":
        return f"nn.nll(ops.log_softmax({logits}, axis=-1), {y})"
    if way == "weight":
        p.argument("wt", f"rng.random({p.n}).astype(FLOAT) + 0.1")
        return f"nn.cross_entropy({logits}, {y}, weight=wt)"
    if way == "ignore":
        p.data.append(f"{y.upper()} = np.where(np.arange(len({y.upper()})) % 4 == 1, -1, {y.upper()}.astype(np.int64))")
        return f"nn.cross_entropy({logits}, {y}, ignore_index=-1)"
    if way == "mask":
        p.argument("m", f"(rng.random({p.n}) < 0.6) | (np.arange({p.n}) % 2 == 0)")
        return f"nn.cross_entropy({logits}, {y}, mask=m)"
    if way == "focal":
        return f"ops.mean((1.0 - ops.exp(-nn.cross_entropy({logits}, {y}, reduction='none'))) ** 2)"
    return draw.pick(f"-ops.log_softmax({logits}, axis=-1).gather({y}.reshape(-1, 1), axis=1).mean()",
                     f"ops.mean(ops.logsumexp({logits}, axis=1) - ops.sum({logits} * ops.one_hot({y}, n={k}), axis=1))",
                     f"-(ops.one_hot({y}, n={k}) * ops.log(ops.softmax({logits}) + 1e-6)).sum(axis=1).mean()",
                     f"-ops.mean(ops.log_softmax({logits})[np.arange(len({y})), {y}])",
                     f"ops.mean(ops.relu(1.0 - {logits} * (2.0 * ops.one_hot({y}, n={k}) - 1.0)))")  # fmt: skip


def labels(p, k, name="y"):
    kind = p.draw.pick("np.int64", "np.int64", "np.int32", "np.uint8")
    p.argument(name, f"rng.integers(0, {k}, {p.n}).astype({kind})")


def regression(p):
    d, k = p.draw.size(), p.draw.size()
    x = inputs(p, d)
    p.argument("y", normal(p, k))
    p.net(network(p, d, k))
    p.forward += [f"out = $net({x})", f"loss = {pointwise(p, 'out', 'y', k)}"]
    p.hidden = "out"


def autoencoder(p):
    d, code = p.draw.pick(4, 6, 8, 16, 33), p.draw.pick(2, 3, 5)
    x = inputs(p, d)
    how = p.draw.weighted(two=4, tied=1.5, one=2, binary=2, noisy=1.5, sparse=1, contractive=0.7)
    if how == "tied":
        p.setup += [f"$enc = {linear(p.draw, d, code)}", "$dec = nn.Tied($enc)"]
        if p.float == "float64":
            p.setup += ["$enc.astype(FLOAT)", "$dec.astype(FLOAT)"]
        p.params += ["$enc.parameters()", "[$dec.bias]"]
        p.state += ["$enc", "$dec"]
        p.forward += [f"z = ops.tanh($enc({x}))", "out = $dec(z)"]
    elif how == "one":
        p.net(network(p, d, d))
        p.forward += [f"out = z = $net({x})"]
    else:
        p.net(network(p, d, code), "enc")
        p.net(network(p, code, d), "dec")
        noisy = f"{x} + 0.1 * ops.normal({x}, generator=$noise)" if how == "noisy" else x
        if how == "noisy":
            p.setup.append("$noise = tinyae.Generator(11)")
            p.state.append("$noise")
            noisy = p.draw.pick(noisy, f"{x} * ops.bernoulli({x}, generator=$noise, p=0.8)",
                                f"ops.dropout({x}, p=0.3, generator=$noise)")
        p.forward += [f"z = $enc({noisy})", "out = $dec(z)"]
    if how == "binary":
        target = f"ops.clip(abs({x}), low=0.0, high=1.0)"
        extra = p.draw.pick("", "", ', reduction="batch"', ", pos_weight=3.0")
        p.forward.append(p.draw.pick(f"loss = nn.bce_with_logits(out, {target}{extra})",
                                     f"loss = nn.bce(ops.sigmoid(out), {target})"))
    else:
        p.forward.append(f"loss = {pointwise(p, 'out', x, d)}")
    if how == "sparse":
        p.forward += ["rho = ops.sigmoid(z).mean(axis=0)",
                      "loss = loss + 0.1 * ops.sum(0.1 * ops.log(0.1 / rho) + 0.9 * ops.log(0.9 / (1.0 - rho)))"]
    p.hidden = "z"


def classification(p):
    d, k = p.draw.size(), p.draw.pick(2, 3, 5, 10)
    x = inputs(p, d)
    labels(p, k)
    p.net(network(p, d, k))
    p.forward += [f"out = $net({x})", f"loss = {classes(p, 'out', k)}"]
    if p.draw.maybe(0.2):
        p.forward.append("accuracy = (out.argmax(axis=1) == y).astype('float32').mean()")
        p.returns.append("accuracy")
    p.hidden = "out"


def binary(p):
    d = p.draw.size()
    x = inputs(p, d)
    p.argument("y", p.draw.pick(f"(rng.random({p.n}) < 0.4).astype(FLOAT)", f"rng.integers(0, 2, {p.n})",
                                f"rng.random({p.n}) < 0.4"))
    p.net(network(p, d, 1))
    target = p.draw.pick("y.astype(FLOAT)", "ops.cast(y, dtype=FLOAT)", "y * 1.0") if "FLOAT" not in p.data[-1] else "y"
    p.forward += [p.draw.pick(f"out = $net({x})[:, 0]", f"out = $net({x}).squeeze(1)", f"out = $net({x}).reshape(-1)",
                              f"out = $net({x}).squeeze(axis=-1)"),
                  p.draw.pick(f"loss = nn.bce_with_logits(out, {target})",
                              f"loss = nn.bce_with_logits(out, {target}, pos_weight=3.0)",
                              f"loss = nn.bce(out.sigmoid(), {target})",
                              f"loss = ops.softplus(-out * (2.0 * {target} - 1.0)).mean()",
                              "q = ops.sigmoid(out); "
                              f"loss = -({target} * q.log() + (1 - {target}) * ops.log(1 - q)).mean()")]
    p.hidden = "out"


def images(p):
    draw = p.draw
    c, size, m = draw.pick(1, 1, 2, 3), draw.pick(4, 6, 8), draw.pick(2, 3, 4, 8)
    p.argument("x", f"rng.random(({p.n}, {c}, {size}, {size})).astype(FLOAT)" if draw.maybe(0.8) else
               f"rng.integers(0, 256, ({p.n}, {c}, {size}, {size})).astype(np.uint8)")
    if "uint8" in p.data[-1]:
        p.forward.append("x = x / 255.0")
    g = draw.randrange(20)
    conv = draw.pick(f"nn.Conv2d({c}, {m}, 3, padding=1, generator={g})",
                     f"nn.Conv2d({c}, {m}, 3, padding='same', generator={g})",
                     f"nn.Conv2d({c}, {m}, 1, bias=False, generator={g})",
                     f"nn.Conv2d({c}, {m}, 3, padding=2, dilation=2, generator={g})")
    norm = draw.pick("", f", nn.BatchNorm2d({m})", f", nn.BatchNorm2d({m})", f", nn.GroupNorm(1, {m})",
                     f", nn.BatchNorm2d({m}, affine=False)")
    act = draw.choice(ACTIVATIONS)
    drop = draw.pick("", "", ", nn.Dropout(0.2, generator=7)")
    half = draw.pick("nn.MaxPool2d(2)", "nn.AvgPool2d(2)", f"nn.Conv2d({m}, {m}, 3, stride=2, padding=1, generator=2)",
                     f"nn.Conv2d({m}, {m}, 2, stride=2, groups={draw.pick(1, m)}, generator=2)")
    body = f"{conv}{norm}, {act}{drop}, {half}"
    s = size // 2
    if draw.maybe(0.5):
        k = draw.pick(2, 3, 10)
        labels(p, k)
        head = draw.pick("flat", "flat", "pooled", "max")
        if head == "flat":
            p.net(f"nn.Sequential({body}, nn.Flatten(), nn.Linear({m * s * s}, {k}, generator=1)){p.cast}")
            p.forward.append("out = $net(x)")
        else:
            p.net(f"nn.Sequential({body}){p.cast}", "net")
            p.net(f"nn.Linear({m}, {k}, generator=4){p.cast}", "head")
            pool = "mean(axis=(2, 3))" if head == "pooled" else "max(axis=(-2, -1))"
            p.forward.append(f"out = $head($net(x).{pool})")
        p.forward.append(f"loss = {classes(p, 'out', k)}")
    else:
        up = draw.pick(f"nn.ConvTranspose2d({m}, {c}, 2, stride=2, generator=3)",
                       f"nn.Upsample(2), nn.Conv2d({m}, {c}, 3, padding=1, generator=3)",
                       f"nn.Upsample(2, mode='bilinear'), nn.Conv2d({m}, {c}, 1, generator=3)",
                       f"nn.ConvTranspose2d({m}, {c}, 3, stride=2, padding=1, output_padding=1, generator=3)")
        p.net(f"nn.Sequential({body}, {up}){p.cast}")
        p.forward += ["out = $net(x)", draw.pick("loss = nn.mse(out, x)", "loss = nn.bce_with_logits(out, x)",
                                                 "loss = nn.mse(out, x, reduction='batch')",
                      "loss = ops.mean(ops.square(out - x), axis=(1, 2, 3)).mean()",
                      "loss = ((out - x) ** 2).sum(axis=(1, 2, 3)).mean()", "loss = nn.l1(out, x) + nn.mse(out, x)")]
        if draw.maybe(0.3):
            p.forward += ["down, right = out[..., 1:, :] - out[..., :-1, :], out[..., 1:] - out[..., :-1]",
                          "loss = loss + 0.01 * (abs(down).mean() + abs(right).mean())"]
    p.hidden = "out"


def signals(p):
    draw = p.draw
    c, t, m = draw.pick(1, 2, 3), draw.pick(6, 8, 9), draw.pick(2, 4)
    p.argument("x", normal(p, c, t))
    conv = draw.pick(f"nn.Conv1d({c}, {m}, 3, padding=1, generator=1)",
                     f"nn.Conv1d({c}, {m}, 3, padding='same', dilation=2, generator=1)")
    norm = draw.pick("", f", nn.BatchNorm1d({m})", f", nn.GroupNorm(2, {m})")
    p.net(f"nn.Sequential({conv}{norm}, {draw.choice(ACTIVATIONS)}, nn.Conv1d({m}, {c}, 1, generator=2)){p.cast}")
    p.forward += ["out = $net(x)",
                  draw.pick("loss = nn.mse(out, x)", "loss = nn.mse(out[..., :-1], x[..., 1:])",
                            "loss = ops.mean(ops.square(out.mean(axis=2) - x.mean(axis=2)))",
                            "loss = nn.mse(out.transpose(0, 2, 1), x.swapaxes(1, 2))")]
    p.hidden = "out"


def sequences(p):
    draw = p.draw
    d, t, m = draw.pick(1, 2, 3, 5), draw.pick(2, 3, 5), draw.pick(2, 3, 4, 8)
    cell = draw.pick("RNN", "LSTM", "GRU", "LSTM", "GRU")
    both, layers = draw.maybe(0.25), draw.pick(1, 1, 2)
    p.argument("x", normal(p, t, d))
    bias = draw.pick("", "", "", ", bias=False")
    p.net(f"nn.{cell}({d}, {m}, {layers}{', bidirectional=True' if both else ''}{bias}, generator=1){p.cast}", "rnn")
    lengths = ""
    if draw.maybe(0.3):
        p.argument("n", f"rng.integers(1, {t + 1}, {p.n})")
        lengths = ", lengths=n"
    width = m * (1 + both)
    p.forward.append(f"hs, last = $rnn(x{lengths})")
    goal = draw.pick("class", "next", "mean", "auto")
    if goal == "class":
        k = draw.pick(2, 4)
        labels(p, k)
        p.net(network(p, width, k, moves=draw.randint(0, 2)), "head")
        pooled = draw.pick("hs[:, -1]", "hs.mean(axis=1)", "hs.max(axis=1)",
                           "ops.sum(hs * ops.softmax(hs.mean(axis=-1, keepdims=True), axis=1), axis=1)")
        p.forward += [f"out = $head({pooled})", f"loss = {classes(p, 'out', k)}"]
    elif goal == "next" and t > 2:
        p.net(network(p, width, d, moves=draw.randint(0, 2), steps=True), "head")
        p.forward += ["out = $head(hs[:, :-1])", "loss = nn.mse(out, x[:, 1:])"]
    else:
        p.net(network(p, width, d, moves=draw.randint(0, 2), steps=True), "head")
        p.forward += ["out = $head(hs)", draw.pick("loss = nn.mse(out, x)", "loss = nn.mse(out, x[:, ::-1])",
                                                   "loss = ops.square(out - x).mean(axis=(0, 2)).sum()")]
    p.hidden = "hs"


def tokens(p):
    draw = p.draw
    v, t, m = draw.pick(3, 5, 11), draw.pick(2, 3, 4), draw.pick(2, 4, 6)
    p.argument("x", f"rng.integers(0, {v}, ({p.n}, {t})){draw.pick('', '', '.astype(np.int32)', '.astype(np.uint8)')}")
    p.net(f"nn.Embedding({v}, {m}, generator=1){p.cast}", "embed")
    goal = draw.pick("bag", "flat", "next", "rnn", "attention")
    if goal in ("bag", "flat"):
        k = draw.pick(2, 3)
        labels(p, k)
        p.net(network(p, m if goal == "bag" else m * t, k, moves=draw.randint(0, 3)), "head")
        p.forward += [f"out = $head($embed(x).{'mean(axis=1)' if goal == 'bag' else 'flatten(1)'})",
                      f"loss = {classes(p, 'out', k)}"]
    elif goal == "attention":
        p.net(f"nn.Linear({m}, {3 * m}, generator=3){p.cast}", "qkv")
        p.net(f"nn.LayerNorm({m}){p.cast}", "norm")
        p.net(f"nn.Linear({m}, {v}, generator=5){p.cast}", "last")
        p.setup.append(f"$mask = tinyae.constant(np.triu(np.full(({t}, {t}), -1e9), 1).astype(FLOAT))")
        p.forward += ["h = $embed(x)", f"q, k, v = $qkv($norm(h)).split({m}, axis=-1)",
                      f"a = ops.softmax(q @ k.mT / {m} ** 0.5{draw.pick(' + $mask', '')}, axis=-1)", "h = h + a @ v",
                      "out = $last(h)",
                      draw.pick("loss = nn.cross_entropy(out[:, :-1], x[:, 1:])",
                                f"loss = nn.cross_entropy(out.reshape(-1, {v}), x.reshape(-1))")]
    else:
        inner = network(p, m, v, moves=draw.randint(0, 2), steps=True)
        if goal == "rnn":
            p.net(f"nn.GRU({m}, {m}, generator=2){p.cast}", "rnn")
        p.net(inner, "head")
        p.forward += ["h = $embed(x)"] + (["h, _ = $rnn(h)"] if goal == "rnn" else [])
        p.forward += ["out = $head(h)", draw.pick("loss = nn.cross_entropy(out[:, :-1], x[:, 1:])",
                                                  f"loss = nn.cross_entropy(out.reshape(-1, {v}), x.reshape(-1))",
                      "loss = nn.nll(ops.log_softmax(out[:, -1], axis=-1), x[:, 0])")]
    p.hidden = "out"


def vae(p):
    draw = p.draw
    d, z = draw.pick(4, 6, 16), draw.pick(1, 2, 3)
    x = inputs(p, d)
    p.net(network(p, d, 2 * z), "enc")
    p.net(network(p, z, d if draw.maybe(0.8) else d), "dec")
    p.setup.append("$noise = tinyae.Generator(5)")
    p.state.append("$noise")
    p.forward += [draw.pick(f"mu, logvar = $enc({x}).split({z}, axis=-1)",
                            f"h = $enc({x}); mu, logvar = h[:, :{z}], ops.clip(h[:, {z}:], low=-4.0, high=4.0)"),
                  draw.pick("code = mu + ops.exp(0.5 * logvar) * ops.normal(mu, generator=$noise)",
                            "eps = ops.normal(mu, generator=$noise); code = mu + eps * (logvar / 2).exp()"),
                  "out = $dec(code)",
                  draw.pick("rec = nn.mse(out, X)", "rec = nn.mse(out, X, reduction='batch')",
                            "rec = nn.gaussian_nll(X, out, out * 0.0)", "rec = nn.gaussian_nll(X, out, 0.0)",
                            "rec = ops.square(out - X).sum(axis=1).mean()").replace("X", x),
                  draw.pick("kl = nn.kl_normal(mu, logvar)", "kl = nn.kl_normal(mu, logvar, reduction='batch')",
                            "kl = -0.5 * ops.mean(ops.sum(1 + logvar - mu**2 - ops.exp(logvar), axis=1))",
                            "kl = ops.maximum(nn.kl_normal(mu, logvar, reduction='none'), 0.05).sum() / len(mu)")]
    way = draw.pick("number", "argument", "number", "tensor")
    if way == "argument":
        p.settings.append(("beta", draw.pick("0.1 * (i // 8 + 1)", "0.5", "min(1.0, 0.25 * (i // 6))")))
        p.forward.append("loss = rec + beta * kl")
    elif way == "tensor":
        p.setup.append("$weight = Tensor(np.zeros((), FLOAT))")
        p.before.append("$weight.data = np.array(min(1.0, i / 10))")
        p.forward.append("loss = rec + $weight * kl")
    else:
        p.forward.append(f"loss = rec + {p.number(0.3)} * kl")
    p.returns += ["rec", "kl"] if draw.maybe() else []
    p.hidden = "mu"


def contrast(p):
    draw = p.draw
    d, m = draw.pick(3, 5, 8), draw.pick(2, 4)
    x = inputs(p, d)
    p.net(network(p, d, m))
    p.forward.append(f"h = $net({x})")
    if draw.maybe():
        p.forward += ["h = h / (ops.norm(h, axis=-1, keepdims=True) + 1e-3)", "s = h @ h.T / 0.5",
                      draw.pick("loss = ops.mean(ops.logsumexp(s, axis=1) - s.diagonal())",
                                "near = ops.one_hot(ops.argmax(s, axis=1), n=len(x)); "
                                "loss = -ops.mean(ops.log_softmax(s, axis=1) * near)",
                                "loss = ops.mean(ops.square(ops.tril(s, k=-1)))",
                                "loss = (s ** 2).mean() - s.diagonal().mean()")]
    else:
        p.forward += [draw.pick("dist = ((h.unsqueeze(1) - h.unsqueeze(0)) ** 2).sum(axis=-1)",
                                "dist = (h**2).sum(axis=1, keepdims=True) + (h**2).sum(axis=1) - 2.0 * h @ h.T",
                                "dist = ops.sum(ops.square(h[:, None] - h[None]), axis=2)"),
                      draw.pick("loss = ops.mean(ops.exp(-dist))", "loss = ops.mean(ops.relu(1.0 - dist))",
                                "loss = -ops.mean(ops.log(1.0 + dist))",
                                "loss = ops.mean(ops.min(dist + 9.0 * (dist < 1e-6), axis=1))")]
    p.hidden = "h"


def raw(p):
    """Parameters without modules, a loss by hand."""
    draw = p.draw
    d, m = draw.size(), draw.pick(1, 2, 4)
    x = inputs(p, d)
    p.argument("y", normal(p, m))
    w = f"0.3 * np.random.default_rng(1).standard_normal(({d}, {m})).astype(FLOAT)"
    p.setup += [f"$w = {draw.pick('Tensor', 'nn.Parameter')}({w}, requires_grad=True)",
                f"$b = Tensor(np.zeros({draw.pick(m, (1, m), (m,))}, FLOAT), requires_grad=True)"]
    p.params += ["[$w, $b]"]
    p.state += ["$w", "$b"]
    p.forward += [draw.pick(f"out = {x} @ $w + $b", f"out = ops.linear({x}, $w, $b.reshape(-1))",
                            f"out = ops.tanh({x} @ $w) + $b", f"out = $b + ops.matmul({x}, $w)",
                            f"out = ($w.T @ {x}.T).T + $b", f"out = ops.sum({x}.unsqueeze(-1) * $w, axis=1) + $b"),
                  f"loss = {pointwise(p, 'out', 'y', m)}"]
    p.hidden = "out"


def ratings(p):
    draw = p.draw
    m = draw.pick(2, 3)
    p.argument("u", f"rng.integers(0, 7, {p.n})")
    p.argument("v", f"rng.integers(0, 5, {p.n})")
    p.argument("y", f"rng.standard_normal({p.n}).astype(FLOAT)")
    p.net(f"nn.Embedding(7, {m}, generator=1){p.cast}", "users")
    p.net(f"nn.Embedding(5, {m}, generator=2){p.cast}", "items")
    p.setup.append("$bias = nn.Parameter(np.zeros(7, FLOAT))")
    p.params.append("[$bias]")
    p.state.append("$bias")
    more = draw.pick("ops.take($bias, u)", "$bias[u]", "$bias.take(u)")
    p.forward += [f"out = ($users(u) * $items(v)).sum(axis=-1) + {more}", "loss = nn.mse(out, y)"]
    p.hidden = "out"


def mixture(p):
    draw = p.draw
    d, k = draw.pick(2, 3, 5), draw.pick(2, 3)
    x = inputs(p, d)
    p.argument("y", f"rng.standard_normal({p.n}).astype(FLOAT)")
    p.net(network(p, d, 3 * k))
    p.forward += [f"pi, mu, s = $net({x}).split({k}, axis=1)", "s = ops.clip(s, low=-3.0, high=3.0)",
                  draw.pick("y = y.unsqueeze(1)", "y = y[:, None]", "y = y.reshape(-1, 1)"),
                  "terms = ops.log_softmax(pi, axis=1) - 0.5 * ((y - mu) / ops.exp(s)) ** 2 - s",
                  "loss = -ops.mean(ops.logsumexp(terms, axis=1))"]
    p.hidden = "mu"


def quantised(p):
    draw = p.draw
    d, m, k = draw.pick(4, 6), draw.pick(2, 3), draw.pick(3, 5)
    x = inputs(p, d)
    p.net(network(p, d, m), "enc")
    p.net(network(p, m, d), "dec")
    average = draw.maybe()
    kind = "nn.Buffer" if average else "nn.Parameter"
    p.setup.append(f"$book = {kind}(np.random.default_rng(2).standard_normal(({k}, {m})).astype(FLOAT))")
    p.state.append("$book")
    p.forward += [f"z = $enc({x})",
                  "dist = (z**2).sum(axis=1, keepdims=True) - 2.0 * z @ $book.T + ($book**2).sum(axis=1)",
                  "code = dist.argmin(axis=1)",
                  draw.pick("q = ops.take($book, code)", f"q = ops.one_hot(code, n={k}, dtype=FLOAT) @ $book",
                            "q = $book[code]"),
                  "out = $dec(z + (q - z).detach())" if draw.maybe() else "out = $dec(ops.straight_through(q, z))",
                  f"loss = nn.mse(out, {x}) + 0.25 * nn.mse(z, q.detach())"]
    if average:
        p.extras += ["with tinyae.no_grad():", f"    hits = ops.one_hot(code, n={k}, dtype=FLOAT)",
                     "    means = (hits.T @ z.detach()) / (hits.sum(axis=0).unsqueeze(1) + 1.0)",
                     "    tinyae.assign($book, 0.9 * $book + 0.1 * means)"]
    else:
        p.params.append("[$book]")
        p.forward.append("loss = loss + nn.mse(q, z.detach())")
    p.hidden = "z"


def actions(p):
    """Q-learning with a target network that follows."""
    draw = p.draw
    d, k = draw.pick(2, 4), draw.pick(2, 3)
    p.argument("x", normal(p, d))
    p.argument("a", f"rng.integers(0, {k}, {p.n})")
    p.argument("r", f"rng.standard_normal({p.n}).astype(FLOAT)")
    p.argument("x2", normal(p, d))
    p.argument("done", f"rng.random({p.n}) < 0.2")
    net = network(p, d, k, plain=True)
    p.net(net, "q")
    p.setup.append(f"$target = {net}")
    p.state.append("$target")
    p.forward += [draw.pick("value = $q(x).gather(a.reshape(-1, 1), axis=1)[:, 0]",
                            "value = ops.sum($q(x) * ops.one_hot(a, n=%d), axis=1)" % k,
                            "value = $q(x)[np.arange(len(a)), a]"),
                  "with tinyae.no_grad():", "    best = $target(x2).max(axis=1)",
                  f"    goal = r + 0.9 * best * {draw.pick('(1.0 - done)', 'ops.where(done, 0.0, 1.0)')}",
                  "loss = nn.huber(value, goal.detach())"]
    if draw.maybe():
        p.extras += ["with tinyae.no_grad():", "    for old, fast in zip($target.parameters(), $q.parameters()):",
                     "        tinyae.assign(old, 0.9 * old + 0.1 * fast)"]
    else:
        p.after.append("if i % 7 == 6:\n    $target.load_state_dict($q.state_dict())")
    p.hidden = "value"


def penalty(p):
    """A gradient of the gradient."""
    draw = p.draw
    d = draw.pick(2, 3, 5)
    p.argument("x", normal(p, d))
    act = draw.pick("nn.Tanh()", "nn.Softplus()", "nn.SiLU()", "nn.Sigmoid()")
    p.net(f"nn.Sequential(nn.Linear({d}, 6, generator=1), {act}, nn.Linear(6, 1, generator=2)){p.cast}")
    p.forward += [draw.pick("x = x.requires_grad_()", "x.requires_grad_(True)"), "out = $net(x)",
                  "slope = tinyae.grad(out.sum(), x, create_graph=True)",
                  draw.pick("loss = ops.mean((ops.norm(slope, axis=1) - 1.0) ** 2) - out.mean()",
                            "loss = ops.mean(ops.sum(slope**2, axis=1)) + ops.mean(ops.square(out))",
                            "loss = nn.mse(slope, -x.detach())")]
    p.hidden = "out"


def adversary(p):
    """Two nets, two optimizers."""
    draw = p.draw
    d = draw.pick(2, 4)
    p.argument("x", normal(p, d))
    p.argument("z", normal(p, 3))
    act = draw.choice(ACTIVATIONS)
    layers = [f"nn.Linear({m}, {k}, generator={g})" for m, k, g in ((3, 8, 1), (8, d, 2), (d, 8, 3), (8, 1, 4))]
    p.setup += [f"$gen = nn.Sequential({layers[0]}, {act}, {layers[1]}){p.cast}",
                f"$dis = nn.Sequential({layers[2]}, nn.LeakyReLU(0.2), {layers[3]}){p.cast}",
                "$opt_g = optim.Adam($gen.parameters(), lr=0.01, betas=(0.5, 0.999))",
                f"$opt = optim.{draw.pick('Adam', 'RMSprop')}($dis.parameters(), lr=0.01)"]
    p.state += ["$gen", "$dis", "$opt_g", "$opt"]
    real = draw.pick("ops.softplus(-$dis(x)).mean() + ops.softplus($dis({f})).mean()",
                     "nn.bce_with_logits($dis(x), z[:, :1] * 0.0 + 1) + nn.bce_with_logits($dis({f}), z[:, :1] * 0.0)",
                     "$dis({f}).mean() - $dis(x).mean()")
    p.whole = ["fake = $gen(z)", "$opt.zero_grad()", f"loss = {real.format(f='fake.detach()')}", "loss.backward()",
               "$opt.step()",
               "$opt_g.zero_grad()", "loss_g = ops.softplus(-$dis(fake)).mean()", "loss_g.backward()",
               "$opt_g.step()", *(["$opt.zero_grad()"] if draw.maybe(0.8) else [])]
    p.returns.append("loss_g")
    if draw.maybe(0.3):
        p.whole = ["if who == 'dis':", *["    " + line for line in [*p.whole[1:2], "fake = $gen(z)", *p.whole[2:5]]],
                   "else:", "    fake = $gen(z)",
                   "    $opt_g.zero_grad()", "    $opt.zero_grad()", "    loss = ops.softplus(-$dis(fake)).mean()",
                   "    loss.backward()", "    $opt_g.step()", "    $opt.zero_grad()"]
        p.returns.pop()
        p.settings.append(("who", "'dis' if i % 2 else 'gen'"))
    p.hidden = "fake"


def transforms(p):
    """tinyae's own derivatives, and updates by hand."""
    draw = p.draw
    d = draw.pick(2, 4)
    p.argument("x", normal(p, d))
    p.argument("y", normal(p, 2))
    p.setup += [f"$w = Tensor(np.random.default_rng(1).standard_normal(({d}, 2)).astype(FLOAT), requires_grad=True)"]
    p.state += ["$w"]
    loss = "loss = nn.mse(ops.tanh(x @ $w), y)"
    slope = draw.pick(
        ["loss, slope = tinyae.value_and_grad(lambda w: nn.mse(ops.tanh(x @ w), y))($w)"],
        [loss, "slope = tinyae.grad(loss, $w)"],
        [loss, "$w.grad = None", "loss.backward()", "slope = $w.grad"],
        ["v = $w.detach()", "loss, _ = tinyae.jvp(lambda w: nn.mse(x @ w, y), (v,), (v * 0.0 + 1.0,))",
         "slope = tinyae.grad(nn.mse(x @ $w, y), $w)"],
        [loss, "v = $w.detach()", "_, (slope,) = tinyae.hvp(lambda w: nn.mse(ops.tanh(x @ w), y), (v,), (v,))"],
    )  # fmt: skip
    move = draw.pick("$w - 0.1 * slope", "$w - 0.05 * slope / (ops.norm(slope) + 1e-3)")
    p.whole = [*slope, "with tinyae.no_grad():", f"    tinyae.assign($w, {move})"]
    p.returns.append("slope")
    p.hidden = "slope"


def carried(p):
    """A state that the program carries from step to step: what one call returns is given to the next."""
    draw = p.draw
    d, m = draw.pick(2, 3), draw.pick(2, 4)
    cell = draw.pick("RNNCell", "GRUCell", "Linear")
    p.argument("x", normal(p, d))
    if cell == "Linear":
        p.net(f"nn.Linear({d + m}, {m}, generator=1){p.cast}", "cell")
        p.forward.append("h2 = ops.tanh($cell(ops.concat(x, h, axis=1)))")
    else:
        p.net(f"nn.{cell}({d}, {m}, generator=1){p.cast}", "cell")
        p.forward.append("h2 = $cell(x, h)")
    p.net(f"nn.Linear({m}, {d}, generator=2){p.cast}", "head")
    p.setup.append(f"$h = Tensor(np.zeros((4, {m}), FLOAT))")
    p.numbers.append(("h", "$h"))
    p.forward += ["h2 = h2[0] if isinstance(h2, tuple) else h2", "loss = nn.mse($head(h2), x)"]
    p.whole = ["$opt.zero_grad()", *p.forward, "loss.backward()", "$opt.step()"]
    p.setup.append(f"$opt = optim.{draw.pick('SGD', 'Adam')}({p.every}, lr=0.01)")
    p.state.append("$opt")
    p.returns.append("h2")
    p.changed.add("h")
    p.after.append("$h = [*result.values()][1] if isinstance(result, dict) else result[1]")
    p.kinds.add("carried")
    p.hidden = "h2"


def faulty(p):
    """Data that a step refuses, once: it must refuse it as a plan, too."""
    draw = p.draw
    p.kinds.add("raises")
    k = draw.pick(2, 3)
    p.net(f"nn.Linear(3, {k}, generator=1){p.cast}")
    p.argument("x", normal(p, 3))
    if draw.maybe():
        labels(p, k)
        p.data.append("Y = Y.astype(np.int64)")
        p.forward += ["out = $net(x)", "loss = nn.cross_entropy(out, y)"]
        p.before.append(f"Y[:] = rng.integers(0, {k}, {p.n}) if i != {draw.pick(1, 2, 5)} else {draw.pick(k, -1)}")
    else:
        p.forward += ["out = abs($net(x)) * 0.01 * (x[:, :1] ** 4)", "loss = nn.bce(out, out.detach() * 0.0)"]
        p.before.append(f"if i == {draw.pick(1, 2, 5)}:\n    X[:] = 90")
    p.hidden = "out"


def refused(p):
    """What no plan can repeat, as users try it."""
    draw = p.draw
    p.argument("x", normal(p, 3))
    p.net(f"nn.Linear(3, 3, generator=1){p.cast}")
    p.forward += ["out = $net(x)", draw.pick("loss = nn.mse(out, x)\nif loss.item() > 1e9:\n    loss = loss * 0.0",
                  "loss = nn.mse(out, x) * float(abs(out).max().item() > 0.0)",
                  "loss = nn.mse(out, Tensor(np.ones(x.shape, FLOAT)) * x)")]
    p.hidden = "out"


TASKS = {regression: 5, autoencoder: 5, classification: 5, binary: 2.5, images: 4, signals: 1.5, sequences: 3,
         tokens: 3, vae: 3, contrast: 1.5, raw: 1.5, ratings: 1, mixture: 1, quantised: 1.2, actions: 1.2, penalty: 0.8,
         adversary: 1.2, transforms: 0.8, carried: 0.7, faulty: 0.7, refused: 0.2}  # fmt: skip
