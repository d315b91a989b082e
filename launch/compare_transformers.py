# What launch/compare-transformers.sh asks of transformers: reference cases of real bytes, with rotations that are
# written down, and models of its own. Formats: Tests/TrainingTests/Fixtures/README.md.
import json, shutil, sys
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
    """Lets each LSH layer hash with its given rotations: torch.randn is what it draws them with."""
    for place, layer in layers(model).items():
        original = type(layer)._hash_vectors

        def hashed(vectors, *arguments, _layer=layer, _given=given[place], _original=original, **words):
            draw = torch.randn
            torch.randn = lambda *a, **k: _given.to(vectors.dtype)
            try:
                return _original(_layer, vectors, *arguments, **words)
            finally:
                torch.randn = draw

        layer._hash_vectors = hashed


def windows(path, length, count, offset):
    data = open(path, "rb").read()[10_000:]
    return [torch.tensor([[b + offset for b in data[i * length:(i + 1) * length]]]) for i in range(count)]


def reference(folder, corpus, case, seed):
    model, config = load(folder)
    shutil.copytree(folder, case)
    # What a reference case holds: each parameter once.
    tensors = load_file(folder + "/model.safetensors")
    tensors.pop("lm_head.decoder.bias")
    save_file(tensors, case + "/model.safetensors")
    json.dump(config, open(case + "/config.json", "w"))
    length = config["max_position_embeddings"]
    given = rotations(config, int(seed))
    inject(model, given)
    ids = windows(corpus, length, 1, config["byte_offset"])[0]
    result = model(ids, labels=ids)
    result.loss.backward()
    tensors = {"input_ids": ids, "logits": result.logits.detach(), "loss": result.loss.detach().reshape(1)}
    tensors |= {f"rotations.{p}": r for p, r in given.items()}
    tensors |= {"grad." + n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    save_file({n: t.contiguous().clone() for n, t in tensors.items()}, case + "/reference.safetensors")
    print(f"transformers: loss {result.loss.item():.6f} nats on {length} bytes, no key missing or unexpected")


if __name__ == "__main__":
    {"reference": reference}[sys.argv[1]](*sys.argv[2:])
