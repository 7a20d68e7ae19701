"""``vitreous predict MODEL PICTURE`` as a bare script: torch, PIL and safetensors, no checks, no layers.

Usage: python predict.py MODEL_DIRECTORY PICTURE
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention

directory, file = Path(sys.argv[1]), sys.argv[2]
config = json.loads((directory / "config.json").read_text())
vit, prepare = config["model"]["backbone"], config["preprocess"]
weights = load_file(directory / "model.safetensors")
width, heads, eps = vit["encoder"]["width"], vit["heads"], vit["encoder"]["norm_eps"]


def norm(tokens: torch.Tensor, name: str) -> torch.Tensor:
    return layer_norm(tokens, (width,), weights[f"{name}.weight"], weights[f"{name}.bias"], eps)


def dense(tokens: torch.Tensor, name: str) -> torch.Tensor:
    return linear(tokens, weights[f"{name}.weight"], weights[f"{name}.bias"])


picture = Image.open(file).convert("RGB")
scale = prepare["shorter"] / min(picture.size)
picture = picture.resize([round(side * scale) for side in picture.size], Image.Resampling.BICUBIC)
height, across = prepare["size"]
left, top = (picture.width - across) // 2, (picture.height - height) // 2
pixels = np.asarray(picture.crop((left, top, left + across, top + height)))
image = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
image = (image - torch.tensor(prepare["mean"])[:, None, None]) / torch.tensor(prepare["std"])[:, None, None]

with torch.inference_mode():
    kernel, bias = (
        weights["backbone.embed.patches.projection.weight"],
        weights["backbone.embed.patches.projection.bias"],
    )
    patches = torch.nn.functional.conv2d(image[None], kernel, bias, stride=vit["patch"])
    patches = patches.flatten(2).transpose(1, 2)
    tokens = torch.cat([weights["backbone.embed.class_token"], patches], 1)
    tokens = tokens + weights["backbone.embed.positions.table"]
    for block in (f"backbone.encoder.blocks.{layer}" for layer in range(vit["depth"])):
        mixed = dense(norm(tokens, f"{block}.attention_norm"), f"{block}.attention.qkv")
        queries, keys, values = mixed.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)
        tokens = tokens + dense(mixed, f"{block}.attention.projection")
        hidden = gelu(dense(norm(tokens, f"{block}.mlp_norm"), f"{block}.mlp.expand"))
        tokens = tokens + dense(hidden, f"{block}.mlp.contract")
    logits = dense(norm(tokens, "backbone.norm")[:, 0], "head")[0]
    scores, order = (logits / config["temperature"]).softmax(0).topk(5)
for score, index in zip(scores.tolist(), order.tolist(), strict=True):
    print(f"{100 * score:6.2f}%  {config['classes'][index]}")
