# What launch/compare-transformers.sh asks of transformers: reference cases of real bytes, with rotations that are
# written down, and models of its own. Formats: Tests/TrainingTests/Fixtures/README.md.
import json, os, shutil, sys
import torch, transformers
from safetensors.torch import load_file, save_file
from transformers.models.reformer import modeling_reformer as reformer


def load(folder):
    model, info = transformers.ReformerModelWithLMHead.from_pretrained(folder, output_loading_info=True)
    wrong = {k: v for k, v in info.items() if v and k != "error_msgs"}
    assert not wrong, wrong
    # Training mode, without dropout: transformers' evaluation pads and does not use chunked backward.
    config = json.load(open(folder + "/config.json"))
    for key in ("hidden_dropout_prob", "lsh_attention_probs_dropout_prob", "local_attention_probs_dropout_prob"):
        config[key] = 0.0
    quiet = transformers.ReformerModelWithLMHead(transformers.ReformerConfig.from_dict(dict(config)))
    quiet.load_state_dict(model.state_dict())
    return quiet.train(), config


def layers(model):
    """LSH layers by their place among all."""
    found = {}
    for place, layer in enumerate(model.reformer.encoder.layers):
        if isinstance(layer.attention.self_attention, reformer.LSHSelfAttention):
            found[place] = layer.attention.self_attention
    return found


def rotations(config, seed):
    """One tensor [heads, head size, hashes, buckets / 2] for each LSH layer."""
    buckets = config["num_buckets"]
    width = sum(buckets) // 2 if isinstance(buckets, list) else buckets // 2
    generator = torch.Generator().manual_seed(seed)
    shape = (config["num_attention_heads"], config["attention_head_size"], config["num_hashes"], width)
    kinds = config["attn_layers"]
    return {p: torch.randn(shape, generator=generator) for p, k in enumerate(kinds) if k == "lsh"}


def inject(model, given):
    """Lets each LSH layer hash with what `given` says at the time: torch.randn is what it draws rotations with."""
    for place, layer in layers(model).items():
        original = type(layer)._hash_vectors

        def hashed(vectors, *arguments, _layer=layer, _place=place, _original=original, **words):
            draw = torch.randn
            torch.randn = lambda *a, **k: given[_place].to(vectors.dtype)
            try:
                return _original(_layer, vectors, *arguments, **words)
            finally:
                torch.randn = draw

        layer._hash_vectors = hashed


def windows(path, length, count, offset):
    """The first windows behind the corpus's head, one after the other."""
    with open(path, "rb") as file:
        file.seek(10_000)
        data = file.read(count * length)
    if len(data) < count * length:
        print(f"{path}: too short; {10_000 + count * length} bytes are needed", file=sys.stderr)
        sys.exit(2)
    return [torch.tensor([[b + offset for b in data[i * length:(i + 1) * length]]]) for i in range(count)]


def reference(folder, corpus, case):
    model, config = load(folder)
    shutil.copytree(folder, case)
    # What a reference case holds: each parameter once.
    tensors = load_file(folder + "/model.safetensors")
    tensors.pop("lm_head.decoder.bias")
    save_file(tensors, case + "/model.safetensors")
    json.dump(config, open(case + "/config.json", "w"))
    length = config["max_position_embeddings"]
    given = rotations(config, 1)
    inject(model, given)
    ids = windows(corpus, length, 1, config["byte_offset"])[0]
    result = model(ids, labels=ids)
    result.loss.backward()
    tensors = {"input_ids": ids, "logits": result.logits.detach(), "loss": result.loss.detach().reshape(1)}
    tensors |= {f"rotations.{p}": r for p, r in given.items()}
    tensors |= {"grad." + n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    save_file({n: t.contiguous().clone() for n, t in tensors.items()}, case + "/reference.safetensors")
    print(f"transformers: loss {result.loss.item():.6f} nats on {length} bytes, no key missing or unexpected")


def training(folder, corpus, case, steps=200):
    """Trains a model of `folder`'s config from first values of its own, and again from ones that differ by 1e-6."""
    steps, rate = int(steps), 1e-3
    torch.manual_seed(1)
    _, config = load(folder)
    length = config["max_position_embeddings"]
    model = transformers.ReformerModelWithLMHead(transformers.ReformerConfig.from_dict(dict(config))).train()
    parameters = dict(model.named_parameters())
    first = {n: p.detach().clone() for n, p in parameters.items()}
    ids = windows(corpus, length, steps, config["byte_offset"])
    drawn = [rotations(config, 1000 + step) for step in range(steps)]
    given = {}
    inject(model, given)

    def losses(seed):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, value in first.items():
                noise = torch.randn(value.shape, generator=generator)
                parameters[name].copy_(value + (1e-6 * noise if seed else 0))
        optimizer = torch.optim.Adam(parameters.values(), lr=rate, betas=(0.9, 0.98), eps=1e-9)
        found = []
        for step in range(steps):
            given.update(drawn[step])
            optimizer.zero_grad()
            loss = model(ids[step], labels=ids[step]).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
            optimizer.step()
            found.append(loss.item())
        return torch.tensor(found)

    plain = losses(0)
    moved = torch.stack([(losses(seed) - plain).abs() for seed in (1, 2, 3)])
    os.makedirs(case)
    json.dump(config, open(case + "/config.json", "w"))
    save_file(first, case + "/model.safetensors")
    tensors = {"input_ids": torch.cat(ids), "losses": plain, "learning_rate": torch.tensor([rate])}
    # A single step of a single run may be hit by chance.
    tensors["floor"] = moved.max(dim=0).values.cummax(dim=0).values
    tensors |= {f"rotations.{p}": torch.stack([d[p] for d in drawn]) for p in drawn[0]}
    save_file(tensors, case + "/training.safetensors")
    print(f"transformers: loss {plain[0]:.4f} nats at step 1, {plain[-1]:.4f} at step {steps}")


def random_model(folder):
    """A model of google/reformer-enwik8's shape, as transformers draws it."""
    torch.manual_seed(1)
    kinds = ["local", "local", "lsh", "local"]
    config = transformers.ReformerConfig(
        attn_layers=kinds * 3, hidden_size=1024, num_attention_heads=8, attention_head_size=128,
        feed_forward_size=4096, local_attn_chunk_length=128, lsh_attn_chunk_length=256, num_buckets=512, num_hashes=4,
        axial_pos_shape=[128, 512], axial_pos_embds_dim=[256, 768], max_position_embeddings=65536, vocab_size=258,
        hidden_act="relu", hidden_dropout_prob=0.2, local_attention_probs_dropout_prob=0.2,
        lsh_attention_probs_dropout_prob=0.2, is_decoder=True)
    transformers.ReformerModelWithLMHead(config).save_pretrained(folder, max_shard_size="999GB")


if __name__ == "__main__":
    {"reference": reference, "training": training, "random-model": random_model}[sys.argv[1]](*sys.argv[2:])
