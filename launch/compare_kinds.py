# What launch/compare-kinds.sh asks of torch: a trained checkpoint's logits, loss and gradients on real bytes, with attention
# as whole matrices [L, L] under masks that are written here from the papers' definitions, and `linear` by
# performer-pytorch. Nothing of it is shared with the program, its addressed random numbers included. Reference cases have the
# formats of Tests/TrainingTests/Fixtures/README.md, with a run's config.toml in place of config.json.
import glob, json, math, os, shutil, sys, tomllib
import torch
from performer_pytorch.performer_pytorch import causal_linear_attention_noncuda, softmax_kernel
from safetensors.torch import load_file, save_file

MASK64 = (1 << 64) - 1
HASH_ROTATION, PATTERN, DIRECTIONS = 2, 11, 12


# --- Random numbers by address: keys mixed by splitmix64's finaliser, numbers by Philox 4x32-10.

def stream_key(purpose, layer, head, seed=0, step=0, sample=0):
    key = seed
    for part in (purpose, step, sample, layer, head):
        z = (key + 0x9E3779B97F4A7C15 + part * 0xD6E8FEB86659FD93) & MASK64
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
        key = z ^ (z >> 31)
    return key


def philox(key, block):
    c = [block & 0xFFFFFFFF, block >> 32, 0, 0]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        a, b = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def words(key, count):
    return [w for block in range((count + 3) // 4) for w in philox(key, block)][:count]


def normals(key, count):
    """Box and Muller's, of pairs of words."""
    drawn, out = words(key, count + count % 2), []
    for first, second in zip(drawn[::2], drawn[1::2]):
        radius = math.sqrt(-2 * math.log((first + 0.5) / 2**32))
        out += [radius * math.cos(2 * math.pi * second / 2**32), radius * math.sin(2 * math.pi * second / 2**32)]
    return torch.tensor(out[:count], dtype=torch.float64)


# --- What a query may see, by definition: functions of the positions i of the query and j <= i of the key.

def mask(length, sees):
    return torch.tensor([[j <= i and bool(sees(i, j)) for j in range(length)] for i in range(length)])


def local_sight(c, head, length, layer):
    return mask(length, lambda i, j: i // c["chunk"] - j // c["chunk"] <= c["chunks_before"])


def sliding_sight(c, head, length, layer):
    dilation = c["dilation"][head % len(c["dilation"])]

    def is_global(p):
        return p < c["global"] or (c["global_every"] > 0 and p % c["global_every"] == 0)

    def sees(i, j):
        in_window = (i - j) % dilation == 0 and (i - j) // dilation < c["window"]
        return is_global(i) or is_global(j) or in_window

    return mask(length, sees)


def strided_sight(c, head, length, layer):
    return mask(length, lambda i, j: i - j < c["stride"] or (i - j) % c["stride"] == 0)


def fixed_sight(c, head, length, layer):
    stride, summary = c["stride"], c["summary"]
    return mask(length, lambda i, j: i // stride == j // stride or j % stride >= stride - summary)


def bigbird_sight(c, head, length, layer):
    block, window, count_global, random = c["block"], c["window"], c["global"], c["random"]
    blocks = (length + block - 1) // block
    drawn = words(stream_key(PATTERN, layer, head), blocks * random)
    seen = []
    for index in range(blocks):
        if index < count_global:
            seen.append(set(range(index + 1)))
            continue
        start = max(0, index - window + 1)
        candidates = max(0, start - count_global)
        count = min(random, candidates)
        chosen = set()
        for number in range(count):  # Floyd's sample
            last = candidates - count + number
            guess = (drawn[index * random + number] * (last + 1)) >> 32
            chosen.add(last if guess in chosen else guess)
        seen.append(set(range(start, index + 1)) | set(range(min(count_global, start))) | {s + count_global for s in chosen})
    return mask(length, lambda i, j: j // block in seen[i // block])


def memory_sight(c, head, length, layer):
    return mask(length, lambda i, j: i - j <= c["rows"])


def full_sight(c, head, length, layer):
    return mask(length, lambda i, j: True)


SIGHTS = {"local": local_sight, "sliding": sliding_sight, "strided": strided_sight, "fixed": fixed_sight,
          "bigbird": bigbird_sight, "memory": memory_sight, "full": full_sight}


# --- Heads: [L, K] queries, keys and values to an output.

def by_mask(name):
    def head(q, k, v, c, number, layer, turn, own):
        sees = SIGHTS[name](c, number, len(q), layer)
        scores = turn(q) @ turn(k).T / math.sqrt(q.shape[1])
        return scores.masked_fill(~sees, -math.inf).softmax(-1) @ v
    return head


def lsh(q, k, v, c, number, layer, turn, own):
    """Sight `bucket`: in each round the last members of the own bucket, and the last positions as one more list."""
    length, width = q.shape
    if c["sight"] != "bucket":
        sys.exit("compare_kinds.py: lsh with sight chunks is compared by launch/compare-transformers.sh")
    factors = c["buckets"]
    columns = sum(factors) // 2
    rotations = normals(stream_key(HASH_ROTATION, layer, number), width * c["hashes"] * columns)
    rotated = (q.detach() @ rotations.reshape(width, -1)).reshape(length, c["hashes"], columns)
    times = torch.zeros(length, length, dtype=q.dtype)
    for r in range(c["hashes"]):
        bucket, weight, start = torch.zeros(length, dtype=torch.long), 1, 0
        for factor in factors:
            part = rotated[:, r, start:start + factor // 2]
            bucket += weight * torch.cat([part, -part], -1).argmax(-1)
            weight, start = weight * factor, start + factor // 2
        for i in range(length):
            earlier = [j for j in range(i) if bucket[j] == bucket[i]]
            for j in earlier[-c["chunk"] * c["chunks_before"]:]:
                times[i, j] += 1
    for i in range(length):
        times[i, max(0, i - c["window"]):i] += 1
        if times[i].sum() == 0:
            times[i, i] = 1
    keys = q / ((q * q).mean(-1, keepdim=True) + 1e-6).sqrt() / math.sqrt(width)
    return (turn(q) @ turn(keys).T + times.log()).softmax(-1) @ v


def compressed(q, k, v, c, number, layer, turn, own):
    block, rows, length = c["block"], c["rows"], len(q)
    blocks = (length - 1) // block
    parts = [own[name + "_compression.weight"].reshape(-1, rows, block)[number] for name in ("key", "value")]
    keys = turn(k)
    mixed = [torch.cat([w @ x[b * block:(b + 1) * block] for b in range(blocks)]) for w, x in zip(parts, (keys, v))]
    near = mask(length, lambda i, j: i // block == j // block)
    far = torch.tensor([[r // rows < i // block for r in range(blocks * rows)] for i in range(length)])
    scores = turn(q) @ torch.cat([keys, mixed[0]]).T / math.sqrt(q.shape[1])
    return scores.masked_fill(~torch.cat([near, far], 1), -math.inf).softmax(-1) @ torch.cat([v, mixed[1]])


def chosen_blocks(q, k, v, c, number, layer, turn, own):
    block, window, top, length = c["block"], c["window"], c["top"], len(q)
    queries, keys = turn(q), turn(k)
    blocks = max(0, (length - 1) // block - window + 1)
    landmarks = torch.stack([keys[b * block:(b + 1) * block].mean(0) for b in range(blocks)])
    scores = queries @ keys.T / math.sqrt(q.shape[1])
    met = queries @ landmarks.T
    near = mask(length, lambda i, j: i // block - j // block < window)
    found = torch.full((length, length), -math.inf, dtype=q.dtype)
    found[near] = scores[near]
    far = torch.zeros_like(near)
    for i in range(length):
        candidates = max(0, i // block - window + 1)
        for b in met[i, :candidates].detach().topk(min(top, candidates)).indices.tolist():
            far[i, b * block:(b + 1) * block] = True
    spread = met.repeat_interleave(block, 1) / math.sqrt(q.shape[1])
    spread = torch.cat([spread, torch.zeros(length, length - spread.shape[1], dtype=q.dtype)], 1)
    return torch.where(far, scores + spread, found).softmax(-1) @ v


def linear(q, k, v, c, number, layer, turn, own):
    """By performer-pytorch. Its floors of features are set to what they are here: none for queries, 1e-6 for keys before
    the largest exponent of the sequence is taken out."""
    count, width = c["features"], q.shape[1]
    directions = normals(stream_key(DIRECTIONS, layer, number), count * width).reshape(count, width)
    for first in range(0, count, width):
        lengths = directions[first:first + width].norm(dim=1, keepdim=True)
        q_factor, r_factor = torch.linalg.qr(directions[first:first + width].T)
        signs = r_factor.diagonal().sign()
        directions[first:first + width] = (q_factor * signs).T[:len(lengths)] * lengths
    queries, keys = turn(q)[None, None], turn(k)[None, None]
    largest = (keys * width ** -0.25 @ directions.T).amax().detach()
    phi_q = softmax_kernel(queries, projection_matrix=directions, is_query=True, eps=0)
    phi_k = softmax_kernel(keys, projection_matrix=directions, is_query=False, eps=1e-6 * torch.exp(-largest))
    return causal_linear_attention_noncuda(phi_q, phi_k, v[None, None], eps=0)[0, 0]


def span(q, k, v, c, number, layer, turn, own):
    """Keys fade out behind the span that the head has learnt."""
    length = len(q)
    learnt = own["span"][number].clamp(0, 1) * c["maximum"]
    distance = torch.arange(length)[:, None] - torch.arange(length)
    fading = ((c["ramp"] + learnt - distance) / c["ramp"]).clamp(0, 1).masked_fill(distance < 0, 0)
    weights = fading * (turn(q) @ turn(k).T / math.sqrt(q.shape[1])).exp()
    return weights / weights.sum(-1, keepdim=True) @ v


HEADS = {name: by_mask(name) for name in SIGHTS} | {
    "lsh": lsh, "compressed": compressed, "blocks": chosen_blocks, "linear": linear, "span": span}


# --- The model around them.

def sinusoids(length, width):
    angles = torch.arange(length, dtype=torch.float64)[:, None] * 10000 ** (
        -torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    return angles.cos(), angles.sin()


def turned(x):
    half = x.shape[1] // 2
    cosine, sine = sinusoids(*x.shape)
    return torch.cat([x[:, :half] * cosine - x[:, half:] * sine, x[:, half:] * cosine + x[:, :half] * sine], 1)


def norm(x, w, name, epsilon):
    return torch.nn.functional.layer_norm(x, x.shape[-1:], w[name + ".weight"], w[name + ".bias"], epsilon)


def logits(w, config, ids):
    model, length = config["model"], len(ids)
    if model["activation"] != "relu2" or model["positions"] not in ("rotary", "infused") or model["ngrams"]["orders"]:
        sys.exit("compare_kinds.py: only models with relu2, rotary or infused positions and no n-grams")
    width, heads, features = model["width"], model["heads"], model["head_width"]
    late = width // 4 if model["token_shift"] else 0

    def read(stream, name):
        before = torch.cat([torch.zeros(1, late, dtype=stream.dtype), stream[:-1, :late]])
        return norm(torch.cat([before, stream[:, late:]], 1), w, name, model["layer_norm_epsilon"])

    first = second = w["reformer.embeddings.word_embeddings.weight"][ids]
    for layer, kind in enumerate(model["layers"]):
        name = f"reformer.encoder.layers.{layer}."
        inside = name + "attention.self_attention."
        x = read(second, name + "attention.layer_norm")
        infused = x
        if model["positions"] == "infused":
            infused = x + torch.cat(sinusoids(length, width), 1)
        shared = inside + "query_key.weight" in w
        q = infused @ w[inside + ("query_key.weight" if shared else "query.weight")].T
        k = q if shared else infused @ w[inside + "key.weight"].T
        v = x @ w[inside + "value.weight"].T
        own = {n[len(inside):]: t for n, t in w.items() if n.startswith(inside)}
        out = []
        for head in range(heads):
            part = slice(head * features, (head + 1) * features)
            turn = turned if model["positions"] == "rotary" else lambda x: x
            out.append(HEADS[kind](
                q[:, part], k[:, part], v[:, part], config["attention"].get(kind, {}), head, layer, turn, own))
        first = first + torch.cat(out, 1) @ w[name + "attention.output.dense.weight"].T
        inner, outer = name + "feed_forward.dense.dense.", name + "feed_forward.output.dense."
        hidden = read(first, name + "feed_forward.layer_norm") @ w[inner + "weight"].T + w[inner + "bias"]
        second = second + hidden.relu() ** 2 @ w[outer + "weight"].T + w[outer + "bias"]
    x = norm(torch.cat([first, second], 1), w, "reformer.encoder.layer_norm", model["layer_norm_epsilon"])
    return x @ w["lm_head.decoder.weight"].T + w["lm_head.bias"]


# --- What the script calls.

def load(run):
    """Config and weights of a run's last step."""
    step = sorted(glob.glob(run + "/step-*"))[-1]
    with open(run + "/config.toml", "rb") as file:
        config = tomllib.load(file)
    return config, {n: t.double() for n, t in load_file(step + "/model.safetensors").items()}


def reference(run, text, case):
    """Writes a reference case of the run's model on the bytes of `text`, a window."""
    config, w = load(run)
    for n, t in w.items():
        # Some steps leave spans at 0, where the loss has no derivative by them.
        if n.endswith(".span"):
            t.copy_(torch.linspace(0.11, 0.43, len(t)).double())
        t.requires_grad_()
    ids = read(text)
    found = logits(w, config, ids)
    loss = torch.nn.functional.cross_entropy(found[:-1], ids[1:])
    loss.backward()
    os.makedirs(case)
    shutil.copy(run + "/config.toml", case)
    save_file({n: t.detach().float() for n, t in w.items()}, case + "/model.safetensors")
    tensors = {"input_ids": ids[None], "logits": found.detach()[None].float(), "loss": loss.detach().reshape(1).float()}
    tensors |= {"grad." + n: t.grad.float() for n, t in w.items()}
    save_file({n: t.contiguous().clone() for n, t in tensors.items()}, case + "/reference.safetensors")


def conformance(name, report):
    """Says what `conformance --json` found, and whether it is within the limits."""
    with open(report) as file:
        found = json.load(file)
    differences = found["max_abs_logit_difference"], found["max_relative_gradient_difference"]
    verdict(name, f"logits {differences[0]:.1e}  loss {found['loss_difference']:.1e}  gradients {differences[1]:.1e}",
            differences[0] <= 1e-4 and differences[1] <= 2e-3)


def stream(name, run, text, report):
    """The same of `evaluate --json` on `text` in windows of a stream, which are here one sequence."""
    config, w = load(run)
    ids = read(text)
    bits = torch.nn.functional.cross_entropy(logits(w, config, ids)[:-1], ids[1:]).item() / math.log(2)
    with open(report) as file:
        difference = abs(json.load(file)["bits_per_byte"] - bits)
    verdict(name, f"bits per byte {difference:.1e} of {bits:.4f}", difference <= 1e-6)


def read(text):
    with open(text, "rb") as file:
        return torch.tensor(list(file.read()))


def verdict(name, differences, agrees):
    print(f"{name:20} {differences}  {'agrees' if agrees else 'DIFFERS'}")
    sys.exit(not agrees)


if __name__ == "__main__":
    {"reference": reference, "conformance": conformance, "stream": stream}[sys.argv[1]](*sys.argv[2:])
