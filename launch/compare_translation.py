# What launch/compare-translation.sh asks of torch: a plain Transformer with encoder and decoder (Vaswani et al. 2017,
# norms before sub-layers) of a config's sizes, trained on the same pairs, and its targets; and the scores of targets by
# sacrebleu.
import json, math, random, sys, time, tomllib
import sacrebleu, torch
from torch import nn
from torch.nn import functional

PAD, BEGIN, END, BYTES = 0, 1, 2, 3


def pairs_of(config):
    """Training, validation and test pairs, cut as the program cuts them."""
    data, pairs = config["data"], []
    for line in open(data["corpus"], "rb").read().split(b"\n"):
        sides = line.split(b"\t")
        if len(sides) == 2 and 0 < len(sides[0]) < data["source_length"] and 0 < len(sides[1]) < data["length"]:
            pairs.append(tuple(sides))
    shares = data.get("split", [0.9, 0.05, 0.05])
    cuts = [len(pairs) * round(share * 1_000_000) // 1_000_000 for share in (shares[0], shares[0] + shares[1])]
    return pairs[: cuts[0]], pairs[cuts[0] : cuts[1]], pairs[cuts[1] :]


def padded(rows):
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=PAD)


def sources(batch):
    return padded([[byte + BYTES for byte in source] + [END] for source, _ in batch])


def targets(batch):
    return padded([[BEGIN] + [byte + BYTES for byte in target] + [END] for _, target in batch])


class Transformer(nn.Module):
    def __init__(self, config):
        super().__init__()
        model, data = config["model"], config["data"]
        self.width = model["width"]
        self.embedding = nn.Embedding(256 + BYTES, self.width)
        nn.init.normal_(self.embedding.weight, std=self.width**-0.5)
        sizes = dict(dropout=0.0, batch_first=True, norm_first=True)
        sizes |= dict(d_model=self.width, nhead=model["heads"], dim_feedforward=model["feed_forward_width"])
        layers = len(model["encoder_layers"]), len(model["layers"])
        norms = [nn.LayerNorm(self.width) for _ in layers]
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(**sizes), layers[0], norms[0], enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(**sizes), layers[1], norms[1])
        for parameter in [*self.encoder.parameters(), *self.decoder.parameters()]:
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        places = torch.arange(max(data["source_length"], data["length"]) + 1)[:, None]
        angles = places * torch.exp(torch.arange(0, self.width, 2) * (-math.log(10_000) / self.width))
        self.register_buffer("waves", torch.stack([angles.sin(), angles.cos()], 2).flatten(1))

    def embedded(self, ids):
        return self.embedding(ids) * self.width**0.5 + self.waves[: ids.shape[1]]

    def encode(self, source):
        return self.encoder(self.embedded(source), src_key_padding_mask=source == PAD)

    def decode(self, memory, source, target):
        mask = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)
        rows = self.decoder(
            self.embedded(target), memory, tgt_mask=mask, tgt_is_causal=True, memory_key_padding_mask=source == PAD)
        return rows @ self.embedding.weight.T

    def loss(self, batch):
        """Sum over all bytes of the targets and their ends, in nats."""
        source, target = sources(batch), targets(batch)
        logits = self.decode(self.encode(source), source, target[:, :-1])
        return functional.cross_entropy(
            logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=PAD, reduction="sum")

    @torch.no_grad()
    def translate(self, batch):
        """The likeliest byte at each place."""
        source, done = sources(batch), [None] * len(batch)
        memory, going = self.encode(source), list(range(len(batch)))
        written = torch.full((len(batch), 1), BEGIN)
        for _ in range(self.waves.shape[0] - 1):
            ids = self.decode(memory, source, written)[:, -1].argmax(1)
            written = torch.cat([written, ids[:, None]], 1)
            stays = [place for place, byte in enumerate(ids.tolist()) if byte != END]
            for place in set(range(len(going))) - set(stays):
                done[going[place]] = written[place, 1:-1].tolist()
            going = [going[place] for place in stays]
            if not going:
                break
            memory, source, written = memory[stays], source[stays], written[stays]
        for place, number in enumerate(going):
            done[number] = written[place, 1:].tolist()
        # A line each: an end of line within one is none.
        return [bytes(max(0, byte - BYTES) for byte in row).replace(b"\n", b" ") for row in done]


def batches(pairs, size, generator):
    """Batches of pairs of like lengths, each pair once an epoch."""
    while True:
        order = generator.sample(pairs, len(pairs))
        for first in range(0, len(order), 64 * size):
            pool = sorted(order[first : first + 64 * size], key=lambda pair: (len(pair[1]), len(pair[0])))
            found = [pool[start : start + size] for start in range(0, len(pool), size)]
            generator.shuffle(found)
            yield from found


def bits(model, pairs):
    with torch.no_grad():
        parts = [pairs[first : first + 32] for first in range(0, len(pairs), 32)]
        nats = sum(model.loss(part).item() for part in parts)
    return nats / math.log(2) / sum(len(target) + 1 for _, target in pairs)


def train(config, precision, minutes, seed, rate, count, result):
    """For so many minutes; then writes the targets of the first `count` test pairs, and scores of all."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    config = tomllib.load(open(config, "rb"))
    training, validation, test = pairs_of(config)
    model = Transformer(config)
    print("torch:", sum(parameter.numel() for parameter in model.parameters()), "parameters", flush=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, betas=(0.9, 0.98))
    warmup, start, used, step = config["optimizer"]["warmup_steps"], time.monotonic(), time.process_time(), 0
    for batch in batches(training, config["run"]["global_batch"], random.Random(seed)):
        share = (time.monotonic() - start) / (60 * minutes)
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate * min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * share)))
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model.loss(batch) / sum(len(target) + 1 for _, target in batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 500 == 0:
            score = bits(model.eval(), validation[:256])
            model.train()
            print(f"torch: step {step}, {time.monotonic() - start:.0f} s, validation {score:.4f}", flush=True)
    taken = dict(steps=step, seconds=time.monotonic() - start, processor_seconds=time.process_time() - used)
    model.eval()
    chosen = sorted(range(min(count, len(test))), key=lambda place: len(test[place][0]))
    written = {}
    for first in range(0, len(chosen), 32):
        places = chosen[first : first + 32]
        written |= zip(places, model.translate([test[place] for place in places]))
    with open(result + ".txt", "wb") as file:
        file.writelines(written[place] + b"\n" for place in range(len(chosen)))
    score = dict(bits_per_byte=bits(model, test), **taken)
    json.dump(score, open(result + ".json", "w"), indent=2)


def sources_file(config, count, place):
    """The sources that are translated, a line each."""
    test = pairs_of(tomllib.load(open(config, "rb")))[2]
    open(place, "wb").writelines(source + b"\n" for source, _ in test[:count])


def table(config, ours, theirs):
    """A line for each: steps, bits per byte of all test targets, BLEU and chrF of some."""
    test = pairs_of(tomllib.load(open(config, "rb")))[2]
    own = json.load(open(ours + ".json"))
    steps = max(json.loads(line).get("step", 0) for line in open(ours + "/metrics.jsonl"))
    print("| model | steps | bits per byte | BLEU | chrF |")
    for name, place, steps, bits in (
        ("reformer-train", ours, steps, own["bits_per_byte"]),
        ("torch", theirs, *(json.load(open(theirs + ".json"))[key] for key in ("steps", "bits_per_byte"))),
    ):
        lines = open(place + ".txt", "rb").read().split(b"\n")[:-1]
        written = [line.decode(errors="replace") for line in lines]
        wanted = [target.decode(errors="replace") for _, target in test[: len(written)]]
        scores = [metric.corpus_score(written, [wanted]).score for metric in (sacrebleu.BLEU(), sacrebleu.CHRF())]
        print(f"| {name} | {steps} | {bits:.4f} | {scores[0]:.2f} | {scores[1]:.2f} |")
        if place == ours:
            found = [own["targets"][key] for key in ("bleu", "chr_f2")]
            if max(abs(a - b) for a, b in zip(scores, found)) > 0.005:
                sys.exit(f"sacrebleu gives {scores}, evaluate {found}")


if __name__ == "__main__":
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "train":
        config, precision, minutes, seed, rate, count, result = arguments
        train(config, precision, float(minutes), int(seed), float(rate), int(count), result)
    elif command == "sources":
        sources_file(arguments[0], int(arguments[1]), arguments[2])
    elif command == "table":
        table(*arguments)
